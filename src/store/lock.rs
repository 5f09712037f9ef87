//! Locks between processes, by flock(2): released by the kernel when the
//! holder ends, however it ends.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{StoreError, io_error};

/// How often a lock is asked for that another process has.
const AGAIN: Duration = Duration::from_millis(200);

/// Whoever only looks whether something is locked has the lock for an instant. Those
/// who are to keep it ask so often, with so much time in between.
const LOOKS: u32 = 10;
const INSTANT: Duration = Duration::from_millis(5);

/// An open file with a lock on it, which goes when this is dropped. To close the file
/// would not do: a child that another thread is just starting has it open, too, until
/// it executes its program.
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Locks a file that is open for writing for itself. `None` if another process
    /// has it. Where a file system has no locks, nobody is kept out.
    pub fn take(file: File) -> std::io::Result<Option<Self>> {
        match Self::keep(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(locked) => Ok(Some(locked)),
            Err((file, Errno::NOSYS | Errno::NOLCK | Errno::OPNOTSUPP)) => Ok(Some(Self(file))),
            Err((_, Errno::WOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Locks a file that somebody may be looking at.
    fn keep(mut file: File, how: FlockOperation) -> Result<Self, (File, Errno)> {
        for _ in 1..LOOKS {
            match Self::lock(file, how) {
                Err((busy, Errno::WOULDBLOCK)) => file = busy,
                result => return result,
            }
            std::thread::sleep(INSTANT);
        }
        Self::lock(file, how)
    }

    fn lock(file: File, how: FlockOperation) -> Result<Self, (File, Errno)> {
        match flock(&file, how) {
            Ok(()) => Ok(Self(file)),
            Err(errno) => Err((file, errno)),
        }
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // If it fails, closing it is all that can be done.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockedFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

/// A directory that is being used, until the last clone is dropped: nobody gets
/// it with [`Lock::of_unused`] meanwhile.
#[derive(Debug, Clone)]
pub struct InUse {
    _directory: Arc<LockedFile>,
}

impl InUse {
    /// Marks a directory. `None` if that cannot be done: it is away already or
    /// about to be, or its file system has no locks.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let file = File::open(directory).ok()?;
        let file = LockedFile::keep(file, FlockOperation::NonBlockingLockShared).ok()?;
        // Whoever removes it renames it first, maybe since it was opened.
        let (opened, there) = (file.metadata().ok()?, directory.metadata().ok()?);
        let is_same = (opened.dev(), opened.ino()) == (there.dev(), there.ino());
        is_same.then(|| Self {
            _directory: Arc::new(file),
        })
    }
}

/// A lock, held until dropped. The file stays: removing it would let two holders
/// lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    _file: LockedFile,
}

impl Lock {
    /// Takes the lock if nobody has it.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, StoreError> {
        Self::take(
            opened(path)?,
            path,
            FlockOperation::NonBlockingLockExclusive,
        )
    }

    fn take(file: File, path: &Path, how: FlockOperation) -> Result<Option<Self>, StoreError> {
        match LockedFile::lock(file, how) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, Errno::WOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(io_error("lock", path)(errno.into())),
        }
    }

    /// Takes the lock for itself, after waiting for so long at most. For threads that
    /// may wait.
    pub fn acquire_within(path: &Path, patience: Duration) -> Result<Option<Self>, StoreError> {
        Self::wait(path, FlockOperation::NonBlockingLockExclusive, patience)
    }

    /// Takes the lock together with others that do the same; nobody has it for himself
    /// meanwhile. Waits for so long at most, for threads that may.
    pub fn share_within(path: &Path, patience: Duration) -> Result<Option<Self>, StoreError> {
        Self::wait(path, FlockOperation::NonBlockingLockShared, patience)
    }

    fn wait(
        path: &Path,
        how: FlockOperation,
        patience: Duration,
    ) -> Result<Option<Self>, StoreError> {
        let began = Instant::now();
        loop {
            let taken = Self::take(opened(path)?, path, how)?;
            if taken.is_some() || began.elapsed() >= patience {
                return Ok(taken);
            }
            std::thread::sleep(AGAIN.min(patience));
        }
    }

    /// Takes a directory or file that nobody uses; see [`InUse`].
    pub fn of_unused(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        Self::take(file, path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Waits for the lock. Cancel by dropping the future.
    pub async fn acquire(path: &Path) -> Result<Self, StoreError> {
        loop {
            if let Some(lock) = Self::try_acquire(path)? {
                return Ok(lock);
            }
            // A blocking flock could not be cancelled; holders keep it for minutes.
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn opened(path: &Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(io_error("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_whoever_has_the_file_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let take = || LockedFile::take(file.reopen().unwrap()).unwrap();
        let locked = take().unwrap();
        // As a child has it between fork(2) and execve(2).
        let of_a_child = locked.try_clone().unwrap();
        assert!(take().is_none());
        drop(locked);
        assert!(take().is_some());
        drop(of_a_child);
    }

    #[test]
    fn a_lock_is_shared_or_one_s_own() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let share = || Lock::share_within(&path, Duration::ZERO).unwrap();
        let (one, other) = (share().unwrap(), share().unwrap());
        let acquire = || Lock::acquire_within(&path, Duration::ZERO).unwrap();
        assert!(acquire().is_none());
        drop(one);
        assert!(acquire().is_none());
        drop(other);
        let own = acquire().unwrap();
        assert!(share().is_none());
        drop(own);
        assert!(share().is_some());
    }
}
