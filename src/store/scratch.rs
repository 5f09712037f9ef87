//! Short-lived directories for sockets, images and mounts. A directory holds a
//! lock while its process lives; one without is a crashed kvet's and is
//! removed at the next start.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Lock, StoreError, io_error, remove_tree};

const PREFIX: &str = "kvet-";
const LOCK: &str = ".lock";

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
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(PRIVATE))
            .tempdir_in(base)
            .map_err(io_error("create a directory in", base))?;
        let path = directory.path().join(LOCK);
        let lock = Lock::try_acquire(&path)?
            .ok_or_else(|| io_error("lock", &path)(std::io::ErrorKind::ResourceBusy.into()))?;
        Ok(Self {
            directory,
            _lock: lock,
        })
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

/// Removes what dead processes of this user left under `base`.
fn reclaim(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && owned_directory(&entry.path());
        if !is_ours {
            continue;
        }
        // Without a lock file it may be another kvet's, a moment old.
        let lock = entry.path().join(LOCK);
        if lock.exists() && matches!(Lock::try_acquire(&lock), Ok(Some(_))) {
            drop(remove_tree(&entry.path()));
        }
    }
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
}
