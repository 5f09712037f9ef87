//! What trials are made from, on every host under the name of its content: the
//! kvet that runs them, kernels, the initramfs. Sent once to a host, checked
//! there, kept until nobody has used it for a while.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::batch::Digest;
use super::error::FleetError;
use crate::store::{InUse, Store, StoreError, io_error, remove_tree};

/// The kind of the store's entries, and the directory in a spool.
pub(super) const KIND: &str = "inputs";

/// The file in an entry.
pub(super) const CONTENT: &str = "content";

/// An input that no trial used for so long is removed from a host.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// An input on this host, in use.
#[derive(Debug)]
pub(super) struct Input {
    /// The file.
    pub(super) path: PathBuf,
    _in_use: Option<InUse>,
}

/// The input of this digest, from the host's store or, the first time, from
/// a directory `from` that has it.
pub(super) async fn get(
    store: &Store,
    digest: &Digest,
    from: Option<&Path>,
) -> Result<Input, FleetError> {
    if store.get(KIND, digest.as_str()).is_none() && from.is_none() {
        return Err(FleetError::NoInput(digest.as_str().to_owned()));
    }
    let entry = store
        .fill(KIND, digest.as_str(), async |partial: PathBuf| {
            let from = from.unwrap_or(Path::new("")).join(digest.as_str());
            let from = from.join(CONTENT);
            let to = partial.join(CONTENT);
            std::fs::copy(&from, &to).map_err(io_error("copy", &from))?;
            check(&to, digest)
        })
        .await?;
    touch(&entry.path);
    Ok(Input {
        path: entry.path.join(CONTENT),
        _in_use: entry.in_use,
    })
}

/// Sees that a file is what its name says.
pub(super) fn check(path: &Path, digest: &Digest) -> Result<(), FleetError> {
    let found = Digest::of(path)?;
    if found == *digest {
        return Ok(());
    }
    Err(FleetError::Damaged {
        path: path.to_owned(),
        wanted: digest.as_str().to_owned(),
        found: found.as_str().to_owned(),
    })
}

/// Puts a file into a directory of inputs, unless it is there. It appears whole.
pub(super) fn put(directory: &Path, file: &Path, digest: &Digest) -> Result<PathBuf, FleetError> {
    let entry = directory.join(digest.as_str());
    let content = entry.join(CONTENT);
    if content.exists() {
        return Ok(content);
    }
    std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    let partial = tempfile::Builder::new()
        .prefix(".kvet-")
        .tempdir_in(directory)
        .map_err(io_error("create a directory in", directory))?;
    let to = partial.path().join(CONTENT);
    // With its mode: the kvet among them is to be run.
    std::fs::copy(file, &to).map_err(io_error("copy", file))?;
    let partial = partial.keep();
    match std::fs::rename(&partial, &entry) {
        Ok(()) => Ok(content),
        // Another driver was faster.
        Err(_) if content.exists() => {
            remove_tree(&partial)?;
            Ok(content)
        }
        Err(error) => Err(io_error("rename", &partial)(error).into()),
    }
}

fn touch(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    // Only the time at which it is forgotten depends on it.
    let _ = utimensat(CWD, path, &times, AtFlags::empty());
}

/// Removes the inputs that nobody used for a while.
pub(super) fn forget_old(store: &Store) -> Result<(), StoreError> {
    store.keep_for(KIND, KEPT)
}

/// A host's inputs, each looked at once.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) store: &'a Store,
    /// Those that are what their names say.
    sound: RefCell<BTreeSet<Digest>>,
}

impl<'a> Inputs<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        Self {
            store,
            sound: RefCell::default(),
        }
    }

    /// Whether this host has an input. One that is not what its name says, as after a
    /// loss of power, is removed: it would be taken for the input for ever.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, FleetError> {
        let name = digest.as_str();
        if self.sound.borrow().contains(digest) {
            return Ok(self.store.get(KIND, name).is_some());
        }
        let Some(entry) = self.store.find(KIND, name).await? else {
            return Ok(false);
        };
        if check(&entry.path.join(CONTENT), digest).is_ok() {
            self.sound.borrow_mut().insert(digest.clone());
            return Ok(true);
        }
        drop(entry);
        self.store.discard(KIND, name).await?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn an_input_is_copied_once_and_checked() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("bzImage");
        std::fs::write(&file, "a kernel").unwrap();
        let digest = Digest::of(&file).unwrap();
        let shared = home.path().join("shared");
        put(&shared, &file, &digest).unwrap();
        let store = Store::at(home.path().join("store")).unwrap();
        let got = get(&store, &digest, Some(&shared)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&got.path).unwrap(), "a kernel");
        // From here on nothing is asked of the shared directory.
        remove_tree(&shared).unwrap();
        get(&store, &digest, None).await.unwrap();
        std::fs::create_dir_all(shared.join(digest.as_str())).unwrap();
        std::fs::write(shared.join(digest.as_str()).join(CONTENT), "not it").unwrap();
        let other = Store::at(home.path().join("other")).unwrap();
        let error = get(&other, &digest, Some(&shared)).await.unwrap_err();
        assert!(matches!(error, FleetError::Damaged { .. }), "{error}");
        assert!(other.get(KIND, digest.as_str()).is_none());
    }

    #[tokio::test]
    async fn what_a_loss_of_power_left_of_an_input_is_none() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("bzImage");
        std::fs::write(&file, "a kernel").unwrap();
        let digest = Digest::of(&file).unwrap();
        let shared = home.path().join("shared");
        put(&shared, &file, &digest).unwrap();
        let store = Store::at(home.path().join("store")).unwrap();
        let has = async || Inputs::of(&store).has(&digest).await;
        assert!(!has().await.unwrap());
        let got = get(&store, &digest, Some(&shared)).await.unwrap();
        assert!(has().await.unwrap());
        for damage in [Some(""), None] {
            match damage {
                Some(text) => std::fs::write(&got.path, text).unwrap(),
                None => std::fs::remove_file(&got.path).unwrap(),
            }
            assert!(!has().await.unwrap());
            let again = get(&store, &digest, Some(&shared)).await.unwrap();
            assert_eq!(std::fs::read_to_string(&again.path).unwrap(), "a kernel");
        }
    }

    #[test]
    fn what_is_old_and_unused_goes() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let inputs = store.kind(KIND).unwrap();
        let entries = ["a", "b", "c"].map(|letter| inputs.join(letter.repeat(64)));
        for entry in &entries {
            std::fs::create_dir(entry).unwrap();
        }
        let old = SystemTime::now() - KEPT - Duration::from_secs(60);
        for entry in &entries[..2] {
            let directory = std::fs::File::open(entry).unwrap();
            directory.set_modified(old).unwrap();
        }
        let _used = InUse::of(&entries[1]).unwrap();
        forget_old(&store).unwrap();
        assert_eq!(
            entries.map(|entry| entry.exists()),
            [false, true, true],
            "old; old and used; new"
        );
    }
}
