//! Pruning the caches by a limit: what was used longest ago goes first, what
//! someone uses stays.

use std::time::SystemTime;

use super::limit::{Limit, Over, remove_over};
use super::{Held, Store, StoreError};

/// What a prune came to.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What is gone, or would be.
    pub removed: Vec<Held>,
    /// What would have gone, but someone uses it.
    pub in_use: Vec<Held>,
    /// Bytes that the removed entries had.
    pub freed: u64,
    /// Bytes that are left.
    pub left: u64,
}

impl Store {
    /// Removes what the limit does not keep, and what a killed process left half
    /// made; what someone makes or uses is left. With `dry_run`, only says what
    /// would be removed.
    pub fn prune(&self, limit: &Limit, dry_run: bool) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        loop {
            let before = pruned.removed.len();
            self.prune_once(limit, dry_run, &mut pruned)?;
            // A file that several entries share is free only when the last of
            // them is gone: it takes another look to see whether it is enough.
            let enough = limit.max_size.is_none_or(|most| pruned.left <= most);
            if dry_run || enough || pruned.removed.len() == before {
                return Ok(pruned);
            }
        }
    }

    fn prune_once(
        &self,
        limit: &Limit,
        dry_run: bool,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        pruned.in_use.clear();
        let mut all = Vec::new();
        let mut held = Vec::new();
        for one in self.contents()? {
            // What is half made is of no use to anyone.
            if one.unfinished && self.evict(&one, dry_run)? {
                pruned.freed += one.size;
                pruned.removed.push(one);
                continue;
            }
            all.push(Over {
                used: one.used,
                size: one.size,
            });
            held.push(Some(one));
        }
        pruned.left = remove_over(&all, limit, SystemTime::now(), |place| {
            let Some(one) = held[place].take() else {
                return Ok(false);
            };
            let gone = self.evict(&one, dry_run)?;
            if gone {
                pruned.freed += one.size;
                pruned.removed.push(one);
            } else {
                pruned.in_use.push(one);
            }
            Ok::<_, StoreError>(gone)
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// A store with entries of 64 KiB each, last used so many days ago.
    fn store_with(entries: &[(&str, u32)]) -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        for (name, days) in entries {
            let path = home.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("content"), vec![1; 60 << 10]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(86400) * *days;
            std::fs::File::open(&path)
                .unwrap()
                .set_modified(used)
                .unwrap();
        }
        (home, store)
    }

    fn left(home: &Path) -> Vec<String> {
        let mut left = Vec::new();
        for kind in std::fs::read_dir(home).unwrap() {
            for entry in std::fs::read_dir(kind.unwrap().path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                left.extend((!name.starts_with('.')).then_some(name));
            }
        }
        left.sort();
        left
    }

    #[test]
    fn of_all_kinds_what_was_used_longest_ago_goes_until_the_rest_fits() {
        let (home, store) = store_with(&[
            ("builds/a", 1),
            ("git/b.git", 9),
            ("trees/c", 5),
            ("library/d", 3),
            ("mails/e", 7),
        ]);
        let limit = Limit {
            keep: None,
            max_size: Some(200 << 10),
        };
        let pruned = store.prune(&limit, true).unwrap();
        assert_eq!(pruned.removed.len(), 2);
        assert_eq!(left(home.path()).len(), 5);
        let pruned = store.prune(&limit, false).unwrap();
        assert_eq!(left(home.path()), ["a", "c", "d"]);
        assert!(pruned.left <= 200 << 10, "{}", pruned.left);
    }

    #[test]
    fn what_is_in_use_stays_and_the_next_goes_in_its_place() {
        let (home, store) = store_with(&[("builds/a", 1), ("library/b", 9), ("rootfs/c", 5)]);
        let series = home.path().join("library/b/patches/series");
        let held = store.hold([series.as_path(), Path::new("/elsewhere")]);
        assert_eq!(held.len(), 1);
        // Holding it makes it the youngest; as old it would stay, too.
        let old = std::fs::File::open(home.path().join("library/b")).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let limit = Limit {
            keep: None,
            max_size: Some(130 << 10),
        };
        let pruned = store.prune(&limit, false).unwrap();
        assert_eq!(pruned.in_use[0].name, "b");
        let all = Limit {
            keep: Some(Duration::ZERO),
            max_size: None,
        };
        store.prune(&all, false).unwrap();
        assert_eq!(left(home.path()), ["b"]);
        drop(held);
        store.prune(&all, false).unwrap();
        assert_eq!(left(home.path()), [""; 0]);
    }

    #[test]
    fn an_entry_that_is_used_again_is_not_the_next_to_go() {
        let (home, store) = store_with(&[("builds/a", 9), ("builds/b", 5)]);
        drop(store.hold([home.path().join("builds/a/bzImage").as_path()]));
        let limit = Limit {
            keep: Some(Duration::from_secs(86400)),
            max_size: None,
        };
        store.prune(&limit, false).unwrap();
        assert_eq!(left(home.path()), ["a"]);
    }
}
