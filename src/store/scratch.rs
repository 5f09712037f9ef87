//! Short-lived directories for sockets, images and mounts. A directory holds a
//! lock while its process lives; one without is a crashed kvet's and is
//! removed at the next start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{InUse, Lock, StoreError, io_error, remove_tree};

const PREFIX: &str = "kvet-";
const LOCK: &str = ".lock";

/// How often another directory is made when a kvet that starts at the same moment
/// takes one away.
const ATTEMPTS: u32 = 20;

/// A directory is locked a moment after it was made, where nobody can tell whether
/// one is being made.
const LOCKED_WITHIN: Duration = Duration::from_secs(60);

/// The longest path, in bytes, under which a directory for sockets is made. A
/// socket's whole path has at most 107; a scratch directory's name and the
/// longest socket's take the rest.
const LONGEST: usize = 70;

/// Who may look into a scratch directory: keys and sockets lie there, and what
/// a daemon writes below it has whatever mode that daemon likes.
const PRIVATE: u32 = 0o700;

/// A private temporary directory (mode 0700), removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
    _lock: Lock,
}

impl Scratch {
    /// Makes one under `$TMPDIR` (or `/tmp`), whose path must be short enough
    /// for sockets.
    pub fn new() -> Result<Self, StoreError> {
        let base = std::env::temp_dir();
        if base.as_os_str().len() > LONGEST {
            return Err(StoreError::LongPath(base));
        }
        Self::under(&base)
    }

    /// Makes one under a given directory.
    pub fn under(base: &Path) -> Result<Self, StoreError> {
        reclaim(base);
        let mut attempt = 1;
        loop {
            // Held until the directory's own lock is. Who reclaims has the base alone
            // for a moment: that costs another attempt at worst.
            let _making = InUse::of(base);
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(PRIVATE))
                .tempdir_in(base)
                .map_err(io_error("create a directory in", base))?;
            match lock(directory.path()) {
                Ok(Some(lock)) => {
                    return Ok(Self {
                        directory,
                        _lock: lock,
                    });
                }
                // Another kvet that starts took it for a dead one's.
                Ok(None) | Err(_) if attempt < ATTEMPTS => attempt += 1,
                Ok(None) => {
                    let busy = std::io::ErrorKind::ResourceBusy.into();
                    return Err(io_error("lock", directory.path())(busy));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path inside.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Takes the lock of a directory that was just made; `None` if somebody else took
/// it, and the directory with it.
fn lock(directory: &Path) -> Result<Option<Lock>, StoreError> {
    let path = directory.join(LOCK);
    let lock = Lock::try_acquire(&path)?;
    Ok(lock.filter(|_| path.exists()))
}

/// Removes what dead processes of this user left under `base`.
fn reclaim(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    let mut unlocked = Vec::new();
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && owned_directory(&entry.path());
        if !is_ours {
            continue;
        }
        let path = entry.path();
        let lock = path.join(LOCK);
        if lock.exists() {
            if let Ok(Some(_lock)) = Lock::try_acquire(&lock) {
                drop(remove_tree(&path));
            }
        } else {
            unlocked.push(path);
        }
    }
    if unlocked.is_empty() {
        return;
    }
    // Whoever made them was killed, if nobody is making one.
    let alone = Lock::of_unused(base).ok().flatten();
    for path in unlocked {
        if alone.is_some() || is_old(&path) {
            // One with anything in it is not ours.
            drop(std::fs::remove_dir(&path));
        }
    }
}

/// Whether whoever made a directory would have locked it long ago.
fn is_old(directory: &Path) -> bool {
    let made = directory.metadata().and_then(|data| data.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > LOCKED_WITHIN))
}

fn owned_directory(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path)
        .is_ok_and(|data| data.is_dir() && data.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_looks_in() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::under(base.path()).unwrap();
        let mode = scratch.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_dead_process_s_directory_is_reclaimed_and_a_live_one_kept() {
        let base = tempfile::tempdir().unwrap();
        let live = Scratch::under(base.path()).unwrap();
        let dead = base.path().join("kvet-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        let other = base.path().join("someone-else");
        std::fs::create_dir(&other).unwrap();
        let _next = Scratch::under(base.path()).unwrap();
        assert!(!dead.exists());
        assert!(other.exists());
        assert!(live.path().exists());
    }

    #[test]
    fn one_that_was_never_locked_is_reclaimed_unless_one_is_being_made() {
        let base = tempfile::tempdir().unwrap();
        let [old, new, full] = ["kvet-old", "kvet-new", "kvet-full"].map(|name| {
            let path = base.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        });
        // Something else that is called alike.
        std::fs::write(full.join("file"), "").unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * LOCKED_WITHIN;
        for path in [&old, &full] {
            let directory = std::fs::File::open(path).unwrap();
            directory.set_modified(long_ago).unwrap();
        }
        let making = InUse::of(base.path()).unwrap();
        let _one = Scratch::under(base.path()).unwrap();
        assert!(!old.exists());
        assert!(new.exists());
        drop(making);
        let _another = Scratch::under(base.path()).unwrap();
        assert!(!new.exists());
        assert!(full.exists());
    }

    /// Kvets that start at one moment look at each other's directories before
    /// these are locked.
    #[test]
    fn many_that_start_at_once_all_get_one() {
        let base = tempfile::tempdir().unwrap();
        let make = || {
            (0..50)
                .map(|_| Scratch::under(base.path()).unwrap())
                .all(|scratch| scratch.join(LOCK).exists())
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            assert!(all.into_iter().all(|one| one.join().unwrap()));
        });
    }
}
