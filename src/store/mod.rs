//! Where kvet keeps things: content-keyed caches under the XDG cache
//! directory, scratch space that is reclaimed after a crash, and files that
//! appear whole or not at all.

mod atomic;
mod contents;
mod kinds;
mod limit;
mod lock;
mod prune;
mod scratch;
mod walk;

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use atomic::{copy_whole, link_or_copy, remove_unfinished, write_atomic, write_json};
pub use contents::Held;
pub use kinds::room_for_a_kernel;
pub use limit::{Limit, Over, parse_size, remove_over};
pub use lock::{InUse, Lock, LockedFile};
pub use prune::Pruned;
pub use scratch::Scratch;
pub use walk::{Below, files_below};

use crate::error::{Exit, Fault};

/// A place of kvet's own could not be read or written.
#[derive(Debug, Error, Diagnostic)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help(
        "free space there or make it writable; XDG_CACHE_HOME, XDG_STATE_HOME, TMPDIR and --out choose \
         other places"
    ))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The path for temporary files leaves no room for the names of sockets.
    #[error("the path {} is too long: sockets below it could not be used", .0.display())]
    #[diagnostic(help("set TMPDIR to a directory with a path of at most 70 bytes"))]
    LongPath(PathBuf),
    /// What is to be made would not fit.
    #[error(
        "{} GiB are free in {}, and a new entry of `{kind}` wants {}",
        gib(*free), path.display(), gib(*wanted)
    )]
    #[diagnostic(help("`kvet cache prune` makes room; XDG_CACHE_HOME chooses another place"))]
    NoRoom {
        /// The cache.
        path: PathBuf,
        /// What is to be made.
        kind: String,
        /// Bytes.
        free: u64,
        /// Bytes.
        wanted: u64,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no place for a cache: neither XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set XDG_CACHE_HOME to a directory on a disk with some 5 GiB free"))]
    NoHome,
    /// Neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("there is no place for what is remembered: neither XDG_STATE_HOME nor HOME is set")]
    #[diagnostic(help("set XDG_STATE_HOME to a directory that is kept"))]
    NoState,
}

impl Fault for StoreError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Names the operation and the path of an I/O error.
pub fn io_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.into();
    move |source| StoreError::Io {
        action,
        path,
        source,
    }
}

/// A key made from everything that decides a cached thing's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// The key of these parts, in order; any change of any part changes it.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            // Lengths keep ("ab","c") and ("a","bc") apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut text = hex::encode(hash.finalize());
        text.truncate(32);
        Self(text)
    }

    /// The key as a file name: 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 32 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not a key of the cache"))
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

/// The root of all caches.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// Whether nothing is begun that would fill the disk.
    checks_room: bool,
}

/// An entry's directory and whether it had to be made.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The complete entry.
    pub path: PathBuf,
    /// It was there already.
    pub cached: bool,
    /// Nobody removes it as long as this lives. `None` where its file system has
    /// no locks.
    pub in_use: Option<InUse>,
}

impl Store {
    /// The user's cache directory, `$XDG_CACHE_HOME/kvet` or `~/.cache/kvet`.
    /// Nothing is made in it that would fill its disk.
    pub fn open() -> Result<Self, StoreError> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .ok_or(StoreError::NoHome)?;
        Ok(Self {
            checks_room: true,
            ..Self::at(base.join("kvet"))?
        })
    }

    /// A store at a place of one's own choice, whatever room there is.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(io_error("create", &root))?;
        Ok(Self {
            root,
            checks_room: false,
        })
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of one kind of entries (`sources`, `builds`, ...), made
    /// if need be.
    pub fn kind(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let path = self.root.join(kind);
        std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        Ok(path)
    }

    /// A complete entry, if it exists. Entries appear by rename, so one that
    /// exists is whole.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<PathBuf> {
        let path = self.root.join(kind).join(name);
        path.is_dir().then_some(path)
    }

    /// A complete entry, if it exists and nobody is about to remove it: it stays as
    /// long as the answer lives.
    #[must_use]
    pub fn take(&self, kind: &str, name: &str) -> Option<Entry> {
        let path = self.get(kind, name)?;
        let in_use = Some(InUse::of(&path)?);
        touch(&path);
        Some(Entry {
            path,
            cached: true,
            in_use,
        })
    }

    /// The same, but one that somebody looks at for removal is waited for.
    pub async fn find(&self, kind: &str, name: &str) -> Result<Option<Entry>, StoreError> {
        let taken = self.take(kind, name);
        if taken.is_some() || self.get(kind, name).is_none() {
            return Ok(taken);
        }
        let _lock = Lock::acquire(&self.kind(kind)?.join(format!(".{name}.lock"))).await?;
        Ok(self.locked(kind, name))
    }

    /// A complete entry, for who holds its lock.
    fn locked(&self, kind: &str, name: &str) -> Option<Entry> {
        let path = self.get(kind, name)?;
        touch(&path);
        Some(Entry {
            in_use: InUse::of(&path),
            path,
            cached: true,
        })
    }

    /// Marks the entries that these paths lie in as used, until what is returned
    /// is dropped; paths elsewhere are nobody's to remove.
    #[must_use]
    pub fn hold<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Vec<InUse> {
        let entry = |path: &Path| {
            let mut parts = path.strip_prefix(&self.root).ok()?.components();
            let (kind, name) = (parts.next()?, parts.next()?);
            Some(self.root.join(kind).join(name))
        };
        let mut entries: Vec<PathBuf> = paths.into_iter().filter_map(entry).collect();
        entries.sort();
        entries.dedup();
        let held = entries.iter().map(|entry| {
            touch(entry);
            InUse::of(entry)
        });
        held.flatten().collect()
    }

    /// Removes an entry that turned out to be of no use.
    pub async fn discard(&self, kind: &str, name: &str) -> Result<(), StoreError> {
        let directory = self.kind(kind)?;
        let _lock = Lock::acquire(&directory.join(format!(".{name}.lock"))).await?;
        let (path, partial) = (
            directory.join(name),
            directory.join(format!(".{name}.partial")),
        );
        remove_tree(&partial)?;
        // Out of the way in one step: half an entry must not be found.
        match std::fs::rename(&path, &partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("rename", &path)(error))
            }
            _ => remove_tree(&partial),
        }
    }

    /// Returns the entry, made by `make` in a temporary directory and renamed
    /// into place if it was missing. Two processes that want the same entry
    /// make it once; a failed or interrupted `make` leaves nothing behind.
    pub async fn fill<E, F, Fut>(&self, kind: &str, name: &str, make: F) -> Result<Entry, E>
    where
        E: From<StoreError>,
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        let wait = async |lock: PathBuf| Ok(Lock::acquire(&lock).await?);
        self.fill_in_turn(kind, name, wait, make).await
    }

    /// The same with a say in how the lock of another process that makes the entry
    /// is waited for: `wait` gets its path.
    pub async fn fill_in_turn<E, W, Turn, F, Fut>(
        &self,
        kind: &str,
        name: &str,
        wait: W,
        make: F,
    ) -> Result<Entry, E>
    where
        E: From<StoreError>,
        W: FnOnce(PathBuf) -> Turn,
        Turn: Future<Output = Result<Lock, E>>,
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        if let Some(entry) = self.take(kind, name) {
            return Ok(entry);
        }
        let directory = self.kind(kind)?;
        // Who makes it holds the lock, and so does who removes it.
        let _lock = wait(directory.join(format!(".{name}.lock"))).await?;
        if let Some(entry) = self.locked(kind, name) {
            return Ok(entry);
        }
        reclaim(&directory)?;
        if self.checks_room {
            let room = kinds::kind(kind).map_or(0, |kind| kind.room);
            enough(&self.root, kind, free(&self.root), room)?;
        }
        // The lock is ours, so a partial directory is a dead process's.
        let partial = directory.join(format!(".{name}.partial"));
        remove_tree(&partial)?;
        std::fs::create_dir(&partial).map_err(io_error("create", &partial))?;
        let guard = RemoveOnDrop(&partial);
        make(partial.clone()).await?;
        let path = directory.join(name);
        std::fs::rename(&partial, &path).map_err(io_error("rename", &partial))?;
        std::mem::forget(guard);
        Ok(Entry {
            in_use: InUse::of(&path),
            path,
            cached: false,
        })
    }
}

/// Gives an entry the present time: it is used now, and the last to be removed.
fn touch(entry: &Path) {
    let touched = std::fs::File::open(entry)
        .and_then(|entry| entry.set_modified(std::time::SystemTime::now()));
    // A cache that cannot be written serves as well.
    drop(touched);
}

/// Where kvet keeps what is not to be lost with a cache: `$XDG_STATE_HOME/kvet` or
/// `~/.local/state/kvet`. As elsewhere, a relative path counts as not set.
pub fn state_directory() -> Result<PathBuf, StoreError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = || Some(PathBuf::from(set("HOME")?).join(".local/state"));
    let base = set("XDG_STATE_HOME").map(PathBuf::from);
    let base = base.filter(|base| base.is_absolute()).or_else(home);
    Ok(base.ok_or(StoreError::NoState)?.join("kvet"))
}

/// Removes what processes that were killed have left of entries they were
/// making: a partial directory whose lock nobody holds.
fn reclaim(directory: &Path) -> Result<(), StoreError> {
    let entries =
        std::fs::read_dir(directory).map_err(io_error("read the directory", directory))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(name) = name.strip_suffix(".partial") else {
            continue;
        };
        let lock = directory.join(format!("{name}.lock"));
        if let Some(_lock) = Lock::try_acquire(&lock)? {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Bytes that are free in the file system of a directory.
#[must_use]
pub fn free(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

/// Bytes in GiB, with a digit of the fraction.
#[must_use]
pub fn gib(bytes: u64) -> String {
    let tenths = bytes / ((1 << 30) / 10);
    match tenths % 10 {
        0 => format!("{}", tenths / 10),
        fraction => format!("{}.{fraction}", tenths / 10),
    }
}

fn enough(root: &Path, kind: &str, free: u64, wanted: u64) -> Result<(), StoreError> {
    if free >= wanted {
        return Ok(());
    }
    Err(StoreError::NoRoom {
        path: root.to_owned(),
        kind: kind.to_owned(),
        free,
        wanted,
    })
}

struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        // Reclaimed at the next attempt if it fails now.
        drop(remove_tree(self.0));
    }
}

/// Removes a directory and all below it; one that is not there is fine.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_fill_leaves_nothing_and_a_good_one_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let failed: Result<Entry, StoreError> = store
            .fill("things", "one", |path| async move {
                std::fs::write(path.join("half"), "x").unwrap();
                Err(StoreError::NoHome)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(store.get("things", "one"), None);
        let names: Vec<_> = std::fs::read_dir(home.path().join("things"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [".one.lock"]);
        for cached in [false, true] {
            let entry = store
                .fill::<StoreError, _, _>("things", "one", |path| async move {
                    std::fs::write(path.join("whole"), "x").unwrap();
                    Ok(())
                })
                .await
                .unwrap();
            assert_eq!(entry.cached, cached);
            assert!(entry.path.join("whole").exists());
        }
    }

    #[tokio::test]
    async fn what_a_killed_process_left_goes_with_the_next_fill_of_any_entry() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let directory = store.kind("things").unwrap();
        let [dead, live] = [".dead", ".live"].map(|name| {
            let partial = directory.join(format!("{name}.partial"));
            std::fs::create_dir(&partial).unwrap();
            std::fs::write(partial.join("half"), "x").unwrap();
            partial
        });
        std::fs::write(directory.join(".dead.lock"), "").unwrap();
        let _held = Lock::try_acquire(&directory.join(".live.lock")).unwrap();
        store
            .fill::<StoreError, _, _>("things", "other", |_| async { Ok(()) })
            .await
            .unwrap();
        assert!(!dead.exists());
        assert!(live.exists());
    }

    #[tokio::test]
    async fn only_what_has_to_be_made_needs_room() {
        let home = tempfile::tempdir().unwrap();
        let store = Store {
            checks_room: true,
            ..Store::at(home.path()).unwrap()
        };
        std::fs::create_dir_all(home.path().join("sources/one")).unwrap();
        let made = store
            .fill::<StoreError, _, _>("sources", "one", |_| async { Err(StoreError::NoHome) })
            .await;
        assert!(made.unwrap().cached);
        let error = enough(home.path(), "sources", 1 << 30, 3 << 30).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("1 GiB are free in") && said.ends_with("wants 3"),
            "{said}"
        );
        enough(home.path(), "sources", 3 << 30, 3 << 30).unwrap();
        assert_eq!(gib((5 << 30) / 2), "2.5");
        assert!(room_for_a_kernel() > 4 << 30);
    }

    /// Whoever gets an entry has it until it lets go, however often somebody prunes
    /// meanwhile.
    #[test]
    fn an_entry_that_is_being_removed_is_made_again_and_never_lost() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let ended = std::sync::atomic::AtomicBool::new(false);
        let ended = &ended;
        let all = Limit {
            keep: Some(std::time::Duration::ZERO),
            max_size: None,
        };
        std::thread::scope(|scope| {
            let pruner = store.clone();
            scope.spawn(move || {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    // Another prune's removal may be under its feet.
                    drop(pruner.prune(&all, false));
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                for _ in 0..500 {
                    let found = store.find("builds", "one").await.unwrap();
                    let entry = match found {
                        Some(entry) => entry,
                        None => store
                            .fill::<StoreError, _, _>("builds", "one", |path| async move {
                                std::fs::write(path.join("whole"), "x").unwrap();
                                Ok(())
                            })
                            .await
                            .unwrap(),
                    };
                    for _ in 0..10 {
                        assert!(entry.path.join("whole").exists());
                        std::thread::yield_now();
                    }
                }
            });
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn keys_depend_on_where_parts_end() {
        assert_ne!(Key::of(["ab", "c"]), Key::of(["a", "bc"]));
        assert_eq!(Key::of(["ab", "c"]), Key::of(["ab", "c"]));
    }
}
