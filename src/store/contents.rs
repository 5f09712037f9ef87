//! What a store holds, for whoever looks at it or wants its space back.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::atomic::is_unfinished;
use super::kinds::{self, Guard, Kind};
use super::{Lock, Store, StoreError, io_error, remove_tree};
use crate::bounded;

/// The most bytes of a record that are read.
const RECORD: u64 = 1 << 20;

/// Files that a killed process was about to rename are taken for such after
/// this long. Writing one takes a moment.
const ABANDONED: Duration = Duration::from_secs(3600);

/// One thing in a cache.
#[derive(Debug)]
pub struct Held {
    /// The kind: sources, builds, …
    pub kind: String,
    /// Its name: a key.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes on disk that no entry listed before it holds as well.
    pub size: u64,
    /// When it was last made or used.
    pub used: SystemTime,
    /// What its record says of it.
    pub about: String,
    /// It is being made, or whoever made it was killed.
    pub unfinished: bool,
}

/// Names of what lies beside entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    Entry(&'a str),
    /// `.NAME.partial`.
    Unfinished(&'a str),
    /// A file before it was renamed, of [`super::write_atomic`].
    Temporary,
    /// A lock, or nothing of kvet's.
    Other,
}

fn name_of(file: &str) -> Name<'_> {
    let Some(hidden) = file.strip_prefix('.') else {
        return Name::Entry(file);
    };
    match hidden.strip_suffix(".partial") {
        Some(name) if !name.is_empty() => Name::Unfinished(name),
        _ if is_unfinished(file) => Name::Temporary,
        _ => Name::Other,
    }
}

impl Store {
    /// Everything in the caches, largest first, with what is unfinished. Files
    /// that several entries share (a working tree and its source) are counted
    /// once.
    pub fn contents(&self) -> Result<Vec<Held>, StoreError> {
        let mut seen = HashSet::new();
        let mut held = Vec::new();
        for kind in self.caches()? {
            for path in children(&self.root().join(&kind))? {
                let file = file_name(&path);
                let (name, unfinished) = match name_of(&file) {
                    Name::Entry(name) => (name, false),
                    Name::Unfinished(name) => (name, true),
                    Name::Temporary | Name::Other => continue,
                };
                let mut size = 0;
                // What cannot be read is not counted.
                drop(measure(&path, &mut seen, &mut size));
                let record = kinds::kind(&kind).and_then(|kind| kind.record);
                let record = record.map(|record| path.join(record));
                held.push(Held {
                    used: last_used(&path, record.as_deref()),
                    about: record.as_deref().and_then(about).unwrap_or_default(),
                    name: name.to_owned(),
                    kind: kind.clone(),
                    path,
                    size,
                    unfinished,
                });
            }
        }
        held.sort_by_key(|one| std::cmp::Reverse(one.size));
        Ok(held)
    }

    /// Removes what processes that were killed have left half made. Every start
    /// does this; it costs a look into a few directories.
    pub fn reclaim(&self) -> Result<(), StoreError> {
        for kind in self.caches()? {
            for path in children(&self.root().join(&kind))? {
                let file = file_name(&path);
                match name_of(&file) {
                    Name::Unfinished(name) => {
                        let lock = path.with_file_name(lock_name(name));
                        // Whoever makes it holds the lock.
                        if let Some(_lock) = Lock::try_acquire(&lock)? {
                            remove_any(&path)?;
                        }
                    }
                    Name::Temporary if is_older(&path, ABANDONED) => remove_any(&path)?,
                    // Entries that are written in place have such files, too.
                    Name::Entry(_) if path.is_dir() => {
                        for inner in children(&path)? {
                            if is_unfinished(&file_name(&inner)) && is_older(&inner, ABANDONED) {
                                remove_any(&inner)?;
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Removes entries of a kind that nobody uses until no more than `count` are
    /// left: those first that were used longest ago.
    pub(crate) fn keep_newest(&self, kind: &str, count: usize) -> Result<(), StoreError> {
        let mut held = self.entries(kind)?;
        held.sort_by_key(|one| std::cmp::Reverse(one.used));
        for one in held.iter().skip(count) {
            self.evict(one, false)?;
        }
        Ok(())
    }

    /// Removes entries of a kind that nobody uses and nobody used for this long.
    pub(crate) fn keep_for(&self, kind: &str, time: Duration) -> Result<(), StoreError> {
        for one in self.entries(kind)? {
            if one.used.elapsed().is_ok_and(|age| age > time) {
                self.evict(&one, false)?;
            }
        }
        Ok(())
    }

    /// The whole entries of a kind; what they weigh is not looked at.
    fn entries(&self, kind: &str) -> Result<Vec<Held>, StoreError> {
        let record = kinds::kind(kind).and_then(|kind| kind.record);
        let mut held = Vec::new();
        for path in children(&self.kind(kind)?)? {
            let file = file_name(&path);
            if let Name::Entry(name) = name_of(&file) {
                let record = record.map(|record| path.join(record));
                held.push(Held {
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                    used: last_used(&path, record.as_deref()),
                    path,
                    size: 0,
                    about: String::new(),
                    unfinished: false,
                });
            }
        }
        Ok(held)
    }

    /// Removes an entry, unless someone makes or uses it; whether it is gone.
    /// With `dry_run`, whether it would be.
    pub fn evict(&self, held: &Held, dry_run: bool) -> Result<bool, StoreError> {
        let Some(_locks) = self.locks(held)? else {
            // Somebody else may have removed it since it was listed.
            return Ok(held.path.symlink_metadata().is_err());
        };
        if dry_run {
            return Ok(true);
        }
        if held.unfinished {
            remove_any(&held.path)?;
            return Ok(true);
        }
        // Out of the way in one step: a half removed entry must not be found.
        let partial = held.path.with_file_name(format!(".{}.partial", held.name));
        remove_any(&partial)?;
        std::fs::rename(&held.path, &partial).map_err(io_error("rename", &held.path))?;
        remove_any(&partial)?;
        Ok(true)
    }

    /// The kinds that have a directory, in order.
    fn caches(&self) -> Result<Vec<String>, StoreError> {
        let mut kinds: Vec<String> = children(self.root())?
            .into_iter()
            .filter(|path| path.is_dir())
            .map(|path| file_name(&path))
            .filter(|name| !name.starts_with('.') && !kinds::NOT_CACHES.contains(&name.as_str()))
            .collect();
        kinds.sort();
        Ok(kinds)
    }

    /// Takes the locks under which an entry is made or used; `None` if someone
    /// holds one of them.
    fn locks(&self, held: &Held) -> Result<Option<Vec<Lock>>, StoreError> {
        let mut paths = vec![held.path.with_file_name(lock_name(&held.name))];
        let guards = kinds::kind(&held.kind).map_or(&[][..], |Kind { guards, .. }| guards);
        for guard in guards {
            match guard {
                Guard::Named { kind, suffix } => {
                    paths.push(self.kind(kind)?.join(format!(".{}.{suffix}", held.name)));
                }
                Guard::All(kind) => {
                    let all = children(&self.kind(kind)?)?;
                    let is_lock = |path: &PathBuf| {
                        path.extension() == Some(OsStr::new("lock")) && path.is_file()
                    };
                    paths.extend(all.into_iter().filter(is_lock));
                }
                Guard::Lock(kind, name) => paths.push(self.kind(kind)?.join(name)),
            }
        }
        let mut locks = Vec::new();
        for path in paths {
            match Lock::try_acquire(&path)? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
        // A run holds on to its kernels and its initramfs.
        match Lock::of_unused(&held.path) {
            Ok(Some(lock)) => locks.push(lock),
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            Ok(None) => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Some(locks))
    }
}

fn lock_name(name: &str) -> String {
    format!(".{name}.lock")
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries =
        std::fs::read_dir(directory).map_err(io_error("read the directory", directory))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn measure(path: &Path, seen: &mut HashSet<(u64, u64)>, size: &mut u64) -> std::io::Result<()> {
    let data = path.symlink_metadata()?;
    if data.nlink() < 2 || data.is_dir() || seen.insert((data.dev(), data.ino())) {
        *size += data.blocks() * 512;
    }
    if data.is_dir() {
        for entry in std::fs::read_dir(path)? {
            measure(&entry?.path(), seen, size)?;
        }
    }
    Ok(())
}

fn last_used(path: &Path, record: Option<&Path>) -> SystemTime {
    record
        .into_iter()
        .chain([path])
        .filter_map(|path| path.metadata().ok()?.modified().ok())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn is_older(path: &Path, than: Duration) -> bool {
    let modified = path.symlink_metadata().and_then(|data| data.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > than))
}

/// What a record says: a build's release and patches, a source's origin.
fn about(record: &Path) -> Option<String> {
    let text = bounded::read_own(record, RECORD).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let Some(patches) = record["patches"].as_array() else {
        return Some(text("origin"));
    };
    let names = patches
        .iter()
        .filter_map(|patch| patch["name"].as_str().map(str::to_owned));
    let parts: Vec<String> = std::iter::once(text("release")).chain(names).collect();
    Some(parts.join(" + "))
}

fn remove_any(path: &Path) -> Result<(), StoreError> {
    if path.is_file() {
        std::fs::remove_file(path).map_err(io_error("remove", path))
    } else {
        remove_tree(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::store::InUse;

    fn store_with(names: &[&str]) -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        for name in names {
            let path = home.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(
                path.join("build.json"),
                r#"{"release":"7.3.4","patches":[{"name":"a"}]}"#,
            )
            .unwrap();
        }
        (home, store)
    }

    /// Discards all that can be.
    fn discard(store: &Store) {
        for held in store.contents().unwrap() {
            store.evict(&held, false).unwrap();
        }
    }

    #[test]
    fn a_kernel_that_a_run_boots_stays() {
        let (home, store) = store_with(&["builds/one"]);
        let path = home.path().join("builds/one");
        let kernel = InUse::of(&path);
        discard(&store);
        assert!(path.exists());
        drop(kernel);
        discard(&store);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_used_last_is_kept_and_what_is_in_use() {
        let names = ["builds/one", "builds/two", "builds/three", "builds/four"];
        let (home, store) = store_with(&names);
        for (age, name) in (0..).zip(names) {
            let record = File::open(home.path().join(name).join("build.json")).unwrap();
            let time = SystemTime::now() + Duration::from_secs(1000 - age * 100);
            record.set_modified(time).unwrap();
        }
        let used = InUse::of(&home.path().join("builds/four"));
        store.keep_newest("builds", 2).unwrap();
        let there = names.map(|name| home.path().join(name).exists());
        assert_eq!(there, [true, true, false, true]);
        drop(used);
    }

    #[test]
    fn what_another_prune_removed_is_gone() {
        let (home, store) = store_with(&["builds/one"]);
        std::fs::write(home.path().join("builds/file"), "x").unwrap();
        for held in store.contents().unwrap() {
            super::remove_any(&held.path).unwrap();
            assert!(store.evict(&held, false).unwrap(), "{}", held.name);
        }
    }

    #[test]
    fn what_was_used_long_ago_goes_whole_and_under_its_lock() {
        let (home, store) = store_with(&["inputs/old", "inputs/busy", "inputs/used", "inputs/new"]);
        let path = |name: &str| home.path().join("inputs").join(name);
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        for name in ["old", "busy", "used"] {
            File::open(path(name))
                .unwrap()
                .set_modified(long_ago)
                .unwrap();
        }
        let lock = Lock::try_acquire(&path(".busy.lock")).unwrap().unwrap();
        let used = InUse::of(&path("used")).unwrap();
        store.keep_for("inputs", Duration::from_secs(3600)).unwrap();
        let there = ["old", "busy", "used", "new"].map(|name| path(name).exists());
        assert_eq!(there, [false, true, true, true]);
        drop((lock, used));
    }

    #[test]
    fn what_is_worked_on_under_another_lock_stays() {
        for (entries, lock) in [
            (["sources/one", "worktrees/one"], "worktrees/.one.arm.lock"),
            (["git/one.git", "git/one.git"], "git/.one.git.lock"),
            (
                ["downloads/x.tar.xz", "downloads/x.part"],
                "trees/.any.lock",
            ),
        ] {
            let (home, store) = store_with(&entries);
            store.kind("trees").unwrap();
            let lock = Lock::try_acquire(&home.path().join(lock)).unwrap().unwrap();
            discard(&store);
            for entry in entries {
                assert!(home.path().join(entry).exists(), "{entry}");
            }
            drop(lock);
            discard(&store);
            for entry in entries {
                assert!(!home.path().join(entry).exists(), "{entry}");
            }
        }
    }

    #[test]
    fn shared_files_count_once_and_entries_say_what_they_are() {
        let (home, store) = store_with(&["builds/one", "builds/two"]);
        let big = home.path().join("builds/one/big");
        std::fs::write(&big, vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(&big, home.path().join("builds/two/big")).unwrap();
        let held = store.contents().unwrap();
        let total: u64 = held.iter().map(|one| one.size).sum();
        assert!(total < 3 << 19, "{total}");
        assert_eq!(held[0].about, "7.3.4 + a");
    }

    #[test]
    fn what_a_killed_process_left_half_made_is_seen_and_reclaimed() {
        let (home, store) = store_with(&["sources/.one.partial", "sources/.two.partial"]);
        let held = store.contents().unwrap();
        let names: Vec<_> = held
            .iter()
            .map(|one| (one.name.as_str(), one.unfinished))
            .collect();
        assert!(
            names.contains(&("one", true)) && names.contains(&("two", true)),
            "{names:?}"
        );
        let busy = home.path().join("sources/.two.lock");
        let lock = Lock::try_acquire(&busy).unwrap().unwrap();
        store.reclaim().unwrap();
        assert!(!home.path().join("sources/.one.partial").exists());
        assert!(
            home.path().join("sources/.two.partial").exists(),
            "it is being made"
        );
        discard(&store);
        assert!(
            home.path().join("sources/.two.partial").exists(),
            "it is being made"
        );
        drop(lock);
        discard(&store);
        assert!(!home.path().join("sources/.two.partial").exists());
    }

    #[test]
    fn a_file_that_was_never_renamed_is_reclaimed_when_it_is_old() {
        let (home, store) = store_with(&["debian/apt"]);
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        let files = ["debian", "debian/apt"].map(|place| {
            let [old, new] =
                ["old", "new"].map(|name| home.path().join(format!("{place}/.kvet-{name}")));
            std::fs::write(&new, "x").unwrap();
            let file = std::fs::File::create(&old).unwrap();
            file.set_modified(long_ago).unwrap();
            (old, new)
        });
        store.reclaim().unwrap();
        for (old, new) in files {
            assert!(!old.exists() && new.exists());
        }
    }

    #[test]
    fn a_cluster_that_is_up_is_not_in_the_cache() {
        let (home, store) = store_with(&["run/x", "cluster-logs/x", "builds/x"]);
        discard(&store);
        assert!(home.path().join("run/x").exists() && home.path().join("cluster-logs/x").exists());
        assert!(!home.path().join("builds/x").exists());
    }

    #[test]
    fn a_record_that_is_something_else_says_nothing() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let (home, store) = store_with(&["builds/one"]);
        let record = home.path().join("builds/one/build.json");
        std::fs::remove_file(&record).unwrap();
        mknodat(CWD, &record, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(store.contents().unwrap()[0].about, "");
    }
}
