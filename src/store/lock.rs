//! Locks between processes, by flock(2): released by the kernel when the
//! holder ends, however it ends.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::{StoreError, io_error};

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
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io_error("lock", path)(errno.into())),
        }
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
