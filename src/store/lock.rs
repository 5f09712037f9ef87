//! Locks between processes, by flock(2): released by the kernel when the
//! holder ends, however it ends.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::{StoreError, io_error};

/// A directory that is being used, until the last clone is dropped: nobody gets
/// it with [`Lock::of_unused`] meanwhile.
#[derive(Debug, Clone)]
pub struct InUse {
    _directory: Arc<File>,
}

impl InUse {
    /// Marks a directory. `None` if that cannot be done: it is away already or
    /// about to be, or its file system has no locks.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let file = File::open(directory).ok()?;
        flock(&file, FlockOperation::NonBlockingLockShared).ok()?;
        // Whoever removes it renames it first, maybe since it was opened.
        let (opened, there) = (file.metadata().ok()?, directory.metadata().ok()?);
        let is_same = (opened.dev(), opened.ino()) == (there.dev(), there.ino());
        is_same.then(|| Self {
            _directory: Arc::new(file),
        })
    }
}

/// Takes an exclusive lock on a file that is open for writing; it is held until the
/// file is closed. Whether it was free. Where a file system has no locks, nobody is
/// kept out.
pub fn lock_file(file: &File) -> std::io::Result<bool> {
    use rustix::io::Errno;
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// An exclusive lock, held until dropped. The file stays: removing it would
/// let two holders lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock if nobody has it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(io_error("open", path))?;
        Self::take(file, path)
    }

    fn take(file: File, path: &Path) -> Result<Option<Self>, StoreError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io_error("lock", path)(errno.into())),
        }
    }

    /// Takes a directory or file that nobody uses; see [`InUse`].
    pub fn of_unused(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        Self::take(file, path)
    }

    /// Waits for the lock. Cancel by dropping the future.
    pub async fn acquire(path: &Path) -> Result<Self, StoreError> {
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(lock);
            }
            // A blocking flock could not be cancelled; holders keep it for minutes.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
