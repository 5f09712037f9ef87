//! The one working tree of a line: it goes from one tree of the line to the
//! next by their difference.
//!
//! git does it, with an index of kvet's own that remembers what is there. Only
//! files whose content or mode differs are written, and those get the present
//! time even where they return to a content they had before: whatever was
//! compiled since is older, so `make` compiles what follows from them and
//! nothing else.
//!
//! A marker lies beside the tree while it changes. If it is found later, what
//! is not in the index is taken away as well.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use miette::Diagnostic;
use thiserror::Error;

use super::build_log::tells_of_a_full_disk;
use super::repository::Repository;
use super::source::Tree;
use super::turn::turn;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::{Command, ProcessError};
use crate::store::{
    Key, Lock, Scratch, Store, StoreError, io_error, remove_tree, remove_unfinished, write_atomic,
};

const KIND: &str = "worktrees";
const TREE: &str = "tree";
const INDEX: &str = "index";
const STAGED: &str = "staged";
const MARKER: &str = "changing";
const GENERATION: &str = "generation";

/// A working tree, locked for one arm.
#[derive(Debug)]
pub(super) struct Worktree {
    root: PathBuf,
    repository: Repository,
    /// See [`Worktree::generation`].
    generation: String,
    /// Since this generation was taken up here.
    clock: Clock,
    _lock: Lock,
}

/// The time of day at a moment, and the clock that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Clock {
    wall: SystemTime,
    steady: Instant,
}

impl Clock {
    fn now() -> Self {
        // In this order what is expected below is never behind a clock that was
        // not set.
        let wall = SystemTime::now();
        let steady = Instant::now();
        Self { wall, steady }
    }

    /// The time of day that it should be by now. If it is less, the clock went
    /// back, and files from before may be as young as this.
    fn expected(&self) -> SystemTime {
        self.wall + self.steady.elapsed()
    }
}

/// The working tree could not be made or changed.
#[derive(Debug, Error, Diagnostic)]
pub enum WorktreeError {
    /// git could not write the tree.
    #[error("cannot write a working tree in {}", directory.display())]
    #[diagnostic(help(
        "check the free space and inodes of the cache; XDG_CACHE_HOME chooses another place"
    ))]
    Write {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: ProcessError,
    },
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A program could not be run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(ProcessError),
    /// kvet was told to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<ProcessError> for WorktreeError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Interrupted => Self::Interrupted,
            other => Self::Process(other),
        }
    }
}

impl Fault for WorktreeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Process(error) => error.exit(),
            Self::Write { .. } | Self::Store(_) => Exit::Usage,
        }
    }
}

impl Worktree {
    /// Waits for the working tree of the tree's line to be free and takes it.
    pub(super) async fn open(
        context: &Context,
        store: &Store,
        tree: &Tree,
    ) -> Result<Self, WorktreeError> {
        let name = tree.line.key.as_str();
        let home = store.kind(KIND)?;
        let lock = home.join(format!(".{name}.arm.lock"));
        let builds = format!("builds a kernel of {}", tree.line.name);
        let lock: Lock = turn::<WorktreeError>(context, &lock, &builds).await?;
        let root = home.join(name);
        std::fs::create_dir_all(&root).map_err(io_error("create", &root))?;
        remove_unfinished(&root)?;
        tree.line.describe(&root)?;
        let clock = Clock::now();
        let generation = generation(&root, clock.wall)?;
        Ok(Self {
            root,
            repository: tree.repository.clone(),
            generation,
            clock,
            _lock: lock,
        })
    }

    /// The tree itself.
    pub(super) fn path(&self) -> PathBuf {
        self.root.join(TREE)
    }

    /// Changes when times of files here cannot be compared with those of what
    /// was compiled before: the tree was written anew, or the clock went back.
    pub(super) fn generation(&self) -> &str {
        &self.generation
    }

    /// Remembers how young files here, or objects made of them, may be by now. If
    /// the clock went back since the tree was taken, who takes it next begins
    /// another generation, unless it has caught up by then.
    pub(super) fn used(&self) -> Result<(), StoreError> {
        let expected = self.clock.expected();
        remember(&self.root, expected, SystemTime::now()).map(|_| ())
    }

    /// Begins another generation.
    fn renew(&mut self) -> Result<(), StoreError> {
        self.generation = new_generation(&self.root)?;
        self.clock = Clock::now();
        Ok(())
    }

    /// Where an arm's tree is put together.
    pub(super) fn staging(&self) -> Result<Staging, WorktreeError> {
        Staging::new(&self.repository, self.root.join(STAGED), self.path())
    }

    /// The names and contents of the files for which `patterns` (git's
    /// pathspecs) hold, as one text that differs whenever one of them does.
    pub(super) async fn listing(
        &self,
        context: &Context,
        patterns: &[&str],
    ) -> Result<Vec<u8>, ProcessError> {
        let list = self.git().args(["ls-files", "--stage", "-z", "--"]);
        Ok(list.args(patterns).run(&context.cancel).await?.stdout)
    }

    /// What differs between two trees, without context.
    pub(super) async fn difference(
        &self,
        context: &Context,
        old: &str,
        new: &str,
    ) -> Result<Vec<u8>, ProcessError> {
        let diff = self.git().args(["diff-tree", "-r", "-p", "-M", "-U0"]);
        let diff = diff.args(["--no-color", "--no-ext-diff", "--no-textconv"]);
        let diff = diff.args(["--src-prefix=a/", "--dst-prefix=b/", old, new]);
        Ok(diff.run(&context.cancel).await?.stdout)
    }

    /// Makes the working tree hold exactly this tree. Returns how many files
    /// were written or removed.
    pub(super) async fn become_tree(
        &mut self,
        context: &Context,
        tree: &str,
    ) -> Result<usize, WorktreeError> {
        let directory = self.root.clone();
        let failed = |error| match error {
            WorktreeError::Process(source) => WorktreeError::Write { directory, source },
            other => other,
        };
        match self.change(context, tree).await {
            // What is there is as good as before, once there is room.
            Err(error) if is_of_a_full_disk(&error) => return Err(failed(error)),
            Err(WorktreeError::Process(ProcessError::Failed { .. })) => {}
            result => return result,
        }
        // Whatever came over it: nothing in it is needed to write it anew.
        remove_tree(&self.path())?;
        forget(&self.root.join(INDEX))?;
        self.renew()?;
        self.change(context, tree).await.map_err(failed)
    }

    async fn change(&mut self, context: &Context, tree: &str) -> Result<usize, WorktreeError> {
        let path = self.path();
        std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        forget(&self.root.join(format!("{INDEX}.lock")))?;
        let marker = self.root.join(MARKER);
        let was_changing = marker.exists();
        let compare = self.git().args([
            "diff-index",
            "--cached",
            "--name-only",
            "--no-renames",
            "-z",
        ]);
        let differing = compare.arg(tree).run(&context.cancel).await?.stdout;
        let differing = differing.split(|&byte| byte == 0).count() - 1;
        write_atomic(&marker, b"")?;
        let read = self.git().args(["read-tree", "--reset", "-u", tree]);
        read.run(&context.cancel).await?;
        if was_changing {
            let clean = self.git().args(["clean", "-ffdxq"]);
            clean.run(&context.cancel).await?;
        }
        forget(&marker)?;
        let expected = self.clock.expected();
        if remember(&self.root, expected, SystemTime::now())? {
            // What was just written may be older than what was compiled before.
            self.renew()?;
        }
        Ok(differing)
    }

    fn git(&self) -> Command {
        self.repository.git_on(&self.root.join(INDEX), &self.path())
    }
}

/// An index in which an arm's tree is put together; files of a working tree are
/// not touched.
#[derive(Debug)]
pub(super) struct Staging {
    repository: Repository,
    index: PathBuf,
    /// A directory for git's sake.
    tree: PathBuf,
}

impl Staging {
    fn new(repository: &Repository, index: PathBuf, tree: PathBuf) -> Result<Self, WorktreeError> {
        std::fs::create_dir_all(&tree).map_err(io_error("create", &tree))?;
        Ok(Self {
            repository: repository.clone(),
            index,
            tree,
        })
    }

    /// One for a look only, in a directory of its own.
    pub(super) fn beside(
        repository: &Repository,
        scratch: &Scratch,
    ) -> Result<Self, WorktreeError> {
        Self::new(repository, scratch.join(STAGED), scratch.join(TREE))
    }

    /// git on it.
    pub(super) fn git(&self) -> Command {
        self.repository.git_on(&self.index, &self.tree)
    }

    /// Begins with the files of a tree.
    pub(super) async fn begin(&self, context: &Context, tree: &str) -> Result<(), WorktreeError> {
        forget(&self.index.with_extension("lock"))?;
        let read = self.git().args(["read-tree", tree]);
        read.run(&context.cancel).await?;
        Ok(())
    }
}

/// The generation of the working tree in `root`: the last one, unless the clock
/// is now behind the time at which that was last used.
fn generation(root: &Path, now: SystemTime) -> Result<String, StoreError> {
    let path = root.join(GENERATION);
    let used = path.metadata().and_then(|data| data.modified());
    if used.is_ok_and(|used| used <= now)
        && let Ok(generation) = std::fs::read_to_string(&path)
    {
        return Ok(generation);
    }
    new_generation(root)
}

/// Remembers that files of the working tree in `root`, or objects made of them,
/// may be as young as now, as it should be now, and as was remembered before: the
/// latest of these. Returns whether the clock is behind that.
fn remember(root: &Path, expected: SystemTime, now: SystemTime) -> Result<bool, StoreError> {
    let path = root.join(GENERATION);
    let touched = std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| {
            let before = file.metadata()?.modified()?;
            let youngest = before.max(expected).max(now);
            file.set_modified(youngest).map(|()| youngest)
        });
    let youngest = touched.map_err(io_error("write", &path))?;
    Ok(youngest > now)
}

fn new_generation(root: &Path) -> Result<String, StoreError> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let unique = [
        std::process::id().to_string(),
        now.as_nanos().to_string(),
        root.display().to_string(),
    ];
    let generation = Key::of(&unique);
    write_atomic(&root.join(GENERATION), generation.as_str().as_bytes())?;
    Ok(generation.as_str().to_owned())
}

fn is_of_a_full_disk(error: &WorktreeError) -> bool {
    matches!(error, WorktreeError::Process(ProcessError::Failed { stderr, .. })
        if tells_of_a_full_disk(stderr))
}

/// Removes a file that need not be there.
fn forget(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_went_back_while_the_tree_was_used_begins_another_generation() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        let now = SystemTime::now();
        let first = generation(root, now).unwrap();
        // Time goes by, and all is well.
        let later = now + HOUR;
        assert!(!remember(root, later, later).unwrap());
        assert_eq!(generation(root, later).unwrap(), first);
        // The clock went back behind what was remembered before make.
        assert!(remember(root, now, now).unwrap());
        assert!(remember(root, now + HOUR / 2, now + HOUR / 2).unwrap());
        let second = generation(root, now + HOUR / 2).unwrap();
        assert_ne!(second, first);
        // It went back while make ran, and not as far: what was compiled before is
        // younger than it says.
        assert!(remember(root, later, later - HOUR / 4).unwrap());
        assert_ne!(generation(root, later - HOUR / 8).unwrap(), second);
    }

    #[test]
    fn what_is_written_after_all_that_is_there_is_of_the_same_generation() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        let now = SystemTime::now();
        let first = generation(root, now).unwrap();
        // It went back by a moment, and has passed that point since.
        assert!(remember(root, now + HOUR, now + HOUR / 2).unwrap());
        assert_eq!(generation(root, now + HOUR * 2).unwrap(), first);
    }

    #[test]
    fn a_clock_that_was_not_set_is_never_behind() {
        let clock = Clock::now();
        for _ in 0..1000 {
            let expected = clock.expected();
            assert!(expected <= SystemTime::now());
        }
    }
}
