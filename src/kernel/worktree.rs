//! The one working tree of a source: its files are the pristine ones except
//! those that the present arm patches.
//!
//! Unpatched files are hard links to the pristine tree, so a working tree costs
//! no space; a file is changed by renaming a new one into its place, never by
//! writing to it. `touched.json` lists the files that may differ; it is written
//! before the first of them changes, so whatever a crash leaves is mended when
//! the next arm is adopted.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::source::Tree;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::Event;
use crate::store::{Lock, Store, StoreError, io_error, remove_tree, write_json};

const KIND: &str = "worktrees";
const TREE: &str = "tree";
const OVERLAY: &str = "overlay";
const TOUCHED: &str = "touched.json";

/// A working tree, locked for one arm.
#[derive(Debug)]
pub(super) struct Worktree {
    root: PathBuf,
    pristine: PathBuf,
    _lock: Lock,
}

/// The working tree could not be made or changed.
#[derive(Debug, Error, Diagnostic)]
pub enum WorktreeError {
    /// The thread that links the tree failed.
    #[error("cannot make a working tree of {}", pristine.display())]
    #[diagnostic(help(
        "check the free space and inodes of the cache; XDG_CACHE_HOME chooses another place"
    ))]
    Link {
        /// The pristine tree.
        pristine: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A patch names something that is not a regular file.
    #[error("{} is not a regular file in this kernel", path.display())]
    #[diagnostic(help("patches can change regular files only"))]
    NotAFile {
        /// The path in the tree.
        path: PathBuf,
    },
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// kvet was told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Fault for WorktreeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::NotAFile { .. } => Exit::Undecided,
            Self::Link { .. } | Self::Store(_) => Exit::Usage,
        }
    }
}

impl Worktree {
    /// Waits for the source's working tree to be free and takes it; makes it
    /// if there is none.
    pub(super) async fn open(
        context: &Context,
        store: &Store,
        tree: &Tree,
    ) -> Result<Self, WorktreeError> {
        let name = tree.key.as_str();
        let lock = store.kind(KIND)?.join(format!(".{name}.arm.lock"));
        let lock = if let Some(lock) = Lock::try_acquire(&lock)? {
            lock
        } else {
            context.emit(Event::Note(format!(
                "waiting for another kvet that builds a kernel {} too",
                tree.version
            )));
            tokio::select! {
                lock = Lock::acquire(&lock) => lock?,
                () = context.cancel.cancelled() => return Err(WorktreeError::Interrupted),
            }
        };
        let entry = store
            .fill(KIND, name, async |path: PathBuf| {
                link_tree(&tree.path, &path.join(TREE), &context.cancel).await
            })
            .await?;
        Ok(Self {
            root: entry.path,
            pristine: tree.path.clone(),
            _lock: lock,
        })
    }

    /// The tree itself.
    pub(super) fn path(&self) -> PathBuf {
        self.root.join(TREE)
    }

    /// An empty directory in which to prepare an arm's files.
    pub(super) fn fresh_overlay(&self) -> Result<PathBuf, WorktreeError> {
        let overlay = self.root.join(OVERLAY);
        remove_tree(&overlay)?;
        std::fs::create_dir(&overlay).map_err(io_error("create", &overlay))?;
        // git compares resolved paths.
        Ok(overlay
            .canonicalize()
            .map_err(io_error("resolve", &overlay))?)
    }

    /// Puts the pristine file into the overlay, if there is such a file.
    pub(super) fn copy_to_overlay(&self, path: &Path) -> Result<(), WorktreeError> {
        let from = self.pristine.join(path);
        let Some(_) = regular(&from, path)? else {
            return Ok(());
        };
        let to = self.root.join(OVERLAY).join(path);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        std::fs::copy(&from, &to).map_err(io_error("write", &to))?;
        Ok(())
    }

    /// Makes the tree hold the overlay's version of `touched` and the pristine
    /// version of everything else. Returns how many files were rewritten or
    /// removed.
    pub(super) fn adopt(&self, touched: &BTreeSet<PathBuf>) -> Result<usize, WorktreeError> {
        let record = self.root.join(TOUCHED);
        let before: BTreeSet<PathBuf> = std::fs::read(&record)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let all: BTreeSet<&PathBuf> = before.union(touched).collect();
        write_json(&record, &all)?;
        let mut rewritten = 0;
        for path in all {
            let wanted = if touched.contains(path) {
                self.root.join(OVERLAY).join(path)
            } else {
                self.pristine.join(path)
            };
            rewritten += usize::from(self.make_equal(path, &wanted)?);
        }
        write_json(&record, touched)?;
        remove_tree(&self.root.join(OVERLAY))?;
        Ok(rewritten)
    }

    /// Gives one file of the tree the content and mode of `wanted`, or removes
    /// it where that does not exist. Tells whether anything had to change.
    fn make_equal(&self, path: &Path, wanted: &Path) -> Result<bool, WorktreeError> {
        let place = self.root.join(TREE).join(path);
        let wanted = read(wanted, path)?;
        let present = read(&place, path)?;
        if wanted == present {
            return Ok(false);
        }
        let Some(File { content, mode }) = wanted else {
            std::fs::remove_file(&place).map_err(io_error("remove", &place))?;
            return Ok(true);
        };
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        // A new file, renamed: the old one may be the pristine tree's, and the
        // new one's time tells make to rebuild.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(&self.root)
            .map_err(io_error("create a file in", &self.root))?;
        file.write_all(&content)
            .map_err(io_error("write", &place))?;
        // The mode above was subject to the umask.
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))
            .map_err(io_error("write", &place))?;
        file.persist(&place)
            .map_err(|error| io_error("write", &place)(error.error))?;
        Ok(true)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct File {
    content: Vec<u8>,
    mode: u32,
}

fn read(place: &Path, path: &Path) -> Result<Option<File>, WorktreeError> {
    let Some(metadata) = regular(place, path)? else {
        return Ok(None);
    };
    let content = std::fs::read(place).map_err(io_error("read", place))?;
    Ok(Some(File {
        content,
        mode: metadata.permissions().mode() & 0o777,
    }))
}

/// The metadata of a regular file; `None` if there is nothing.
fn regular(place: &Path, path: &Path) -> Result<Option<std::fs::Metadata>, WorktreeError> {
    match std::fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(WorktreeError::NotAFile {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", place)(error).into()),
    }
}

/// Makes `to` a tree of hard links to the files of `from`, on a thread of its
/// own.
async fn link_tree(
    from: &Path,
    to: &Path,
    cancel: &CancellationToken,
) -> Result<(), WorktreeError> {
    let stop = cancel.child_token();
    let _stop_on_drop = stop.clone().drop_guard();
    let (source, target) = (from.to_owned(), to.to_owned());
    let result = tokio::task::spawn_blocking(move || link_directory(&source, &target, &stop))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    if cancel.is_cancelled() {
        return Err(WorktreeError::Interrupted);
    }
    result.map_err(|source| WorktreeError::Link {
        pristine: from.to_owned(),
        source,
    })
}

fn link_directory(from: &Path, to: &Path, stop: &CancellationToken) -> io::Result<()> {
    if stop.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            link_directory(&source, &target, stop)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else if std::fs::hard_link(&source, &target).is_err() {
            // A file system without hard links, or a link count at its limit.
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
