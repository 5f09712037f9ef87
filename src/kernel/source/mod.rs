//! Kernel sources: from a source's description in a job to a pristine tree in
//! the store, which is a tree in the repository of its line. One provider per
//! file; every one that fails names what to try next.

mod archive;
mod channel;
mod debian;
mod directory;
mod git;
mod http;
mod kernel_org;
mod moving;
mod spec;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use channel::Channel;
pub(super) use git::objects_of;
pub(crate) use git::of_the_user;
pub use http::{KEYRING_VARIABLE, MAINLINE_VARIABLE, MIRRORS_VARIABLE, Network, RELEASES_VARIABLE};
pub use moving::{Extent, pin};
pub use spec::SourceSpec;
pub use words::WordError;

use super::line::Line;
use super::progress::Progress;
use super::repository::{Repository, RepositoryError};
use super::used;
use super::version::KernelVersion;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::Stage;
use crate::process::ProcessError;
use crate::store::{Key, Store, StoreError, write_json};

/// A pristine kernel tree in the store: one of its line's, by git's name.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The version its Makefile states.
    pub version: KernelVersion,
    /// What decides its content.
    pub key: Key,
    /// With what it shares a working tree and objects.
    pub line: Line,
    /// Where it came from and how that was checked, for people.
    pub origin: String,
    /// git's name of the tree in the line's repository.
    pub(super) id: String,
    pub(super) repository: Repository,
}

impl Tree {
    /// git's name of it, which says all of its content.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The content of one of its files, by its path in the tree.
    pub async fn file(&self, context: &Context, path: &str) -> Result<Vec<u8>, SourceError> {
        Ok(self.repository.file(context, &self.id, path).await?)
    }
}

/// Snapshots of directories: git's name of each by the directory's path.
pub type Snapshots = BTreeMap<PathBuf, String>;

/// A kernel's source could not be had.
#[derive(Debug, Error, Diagnostic)]
pub enum SourceError {
    /// No suite has the package in the version asked for.
    #[error("no suite has {wanted}; looked in {suites}")]
    #[diagnostic(help("{help}"))]
    NotInDebian {
        /// Package, with version if one was asked for.
        wanted: String,
        /// The suites.
        suites: String,
        /// What there is instead.
        help: String,
    },
    /// The host has no Debian archive to ask.
    #[error("cannot read Debian's archive: {reason}")]
    #[diagnostic(help(
        "use another source: `version: \"…\"` (kernel.org), `url:` with `sha256:`, `git:` or `dir:`"
    ))]
    NoDebian {
        /// What is missing.
        reason: String,
    },
    /// An apt program failed.
    #[error("cannot {action}")]
    #[diagnostic(help(
        "check the network and the mirror in the host's apt sources; or use another source: \
         `version: \"…\"` (kernel.org), `url:` with `sha256:`, `git:` or `dir:`"
    ))]
    Apt {
        /// What was attempted.
        action: String,
        /// How it failed.
        source: ProcessError,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {}", archive.display())]
    #[diagnostic(help(
        "it is fetched again next time; check the free space of the cache (XDG_CACHE_HOME chooses another place)"
    ))]
    Unpack {
        /// The archive.
        archive: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No server had the right content.
    #[error("cannot download {what}:{}", crate::kernel::indented(attempts))]
    #[diagnostic(help(
        "run it again to go on where it stopped; name other mirrors in KVET_KERNEL_MIRRORS; or use \
         another source: `debian: linux-source-…`, `url:` with `sha256:`, `git:` or `dir:`"
    ))]
    Download {
        /// What was wanted.
        what: String,
        /// Every server with its failure.
        attempts: Vec<String>,
    },
    /// An archive on this machine is not what it was, or cannot be read.
    #[error("cannot use the archive {}: {problem}", path.display())]
    #[diagnostic(help("name it again: --kernel takes it as it is now"))]
    LocalArchive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// kernel.org has no such release.
    #[error("{file} is not in {url}")]
    #[diagnostic(help("{help}"))]
    NotReleased {
        /// The archive.
        file: String,
        /// The list.
        url: String,
        /// What there is.
        help: String,
    },
    /// A commit is not to be had.
    #[error("cannot get `{reference}` of {repo}")]
    #[diagnostic(help(
        "check both with `git ls-remote`; a commit id must be given in full; or use another \
         source: `debian: linux-source-…`, `version: \"…\"`, `url:` with `sha256:`, or `dir:`"
    ))]
    Git {
        /// The repository.
        repo: String,
        /// The branch, tag or commit.
        reference: String,
        /// What git said.
        source: ProcessError,
    },
    /// A repository has no such branch or tag.
    #[error("{repo} has no `{reference}`")]
    #[diagnostic(help("`git ls-remote` shows its branches and tags"))]
    NoTip {
        /// The repository.
        repo: String,
        /// The branch or tag.
        reference: String,
    },
    /// A directory could not be read.
    #[error("cannot read the kernel tree {}", path.display())]
    #[diagnostic(help("check its path, and that all of it can be read"))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state of a directory could not be kept.
    #[error("cannot take a snapshot of {}", path.display())]
    #[diagnostic(help(
        "check that it can be read and does not change meanwhile, and the free space of the cache"
    ))]
    Snapshot {
        /// The directory.
        path: PathBuf,
        /// What git said.
        source: ProcessError,
    },
    /// A directory is not in the state any more that a run is about.
    #[error(
        "{} has changed since the run was asked for, and the cache has its state no longer",
        .0.display()
    )]
    #[diagnostic(help("put the directory back as it was, or begin another run"))]
    Changed(PathBuf),
    /// What arrived is no kernel.
    #[error("{origin} holds no kernel tree: its top Makefile states no version")]
    #[diagnostic(help("name the top directory of a Linux tree, or an archive of one"))]
    NoKernel {
        /// The source.
        origin: String,
    },
    /// kvet was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A program failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(ProcessError),
}

impl From<ProcessError> for SourceError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Interrupted => Self::Interrupted,
            other => Self::Process(other),
        }
    }
}

impl From<RepositoryError> for SourceError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Store(error) => error.into(),
            RepositoryError::Process(error) => error.into(),
        }
    }
}

impl Fault for SourceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// What the store remembers of an archive whose tree it has.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: KernelVersion,
    origin: String,
    line: Line,
    /// git's name of the tree.
    tree: String,
}

const RECORD: &str = "source.json";
const TREE: &str = "tree";
const KIND: &str = "trees";

/// Gets a kernel's source into the store, if it is not there yet.
pub async fn fetch(
    context: &Context,
    store: &Store,
    spec: &SourceSpec,
) -> Result<Tree, SourceError> {
    fetch_with(context, store, spec, &Network::from_environment()).await
}

/// The kernel versions of which Debian has a source package, unordered.
pub async fn offered(context: &Context, store: &Store) -> Result<Vec<KernelVersion>, SourceError> {
    debian::offered(context, store).await
}

/// The same with a say in how the network is used.
pub async fn fetch_with(
    context: &Context,
    store: &Store,
    spec: &SourceSpec,
    network: &Network,
) -> Result<Tree, SourceError> {
    let spec = &pin(context, store, spec, Extent::Moving, network).await?;
    let progress = Progress::start(context, Stage::Source, spec.name());
    let (tree, cached) = match spec {
        // Pinned: what they stood for is one of the others.
        SourceSpec::Newest { .. } | SourceSpec::Watched { .. } => {
            return Err(SourceError::NoKernel {
                origin: spec.name(),
            });
        }
        SourceSpec::Debian {
            package,
            version,
            suite,
        } => {
            debian::fetch(
                context,
                store,
                &progress,
                package,
                version.as_deref(),
                suite.as_deref(),
            )
            .await?
        }
        SourceSpec::Release { version } => {
            kernel_org::release(context, store, &progress, network, version).await?
        }
        SourceSpec::Archive { url, sha256 } => {
            kernel_org::archive(context, store, &progress, network, url, sha256).await?
        }
        SourceSpec::Git { repo, reference } => git::fetch(context, store, repo, reference).await?,
        SourceSpec::Directory { path } => directory::fetch(context, store, path).await?,
    };
    progress.finish(cached);
    Ok(tree)
}

/// The state that a directory had when this snapshot of it was taken, whatever has
/// become of it since.
pub async fn fetch_snapshot(
    context: &Context,
    store: &Store,
    path: &Path,
    id: &str,
) -> Result<Tree, SourceError> {
    if let Some(tree) = directory::taken(context, store, path, id).await? {
        return Ok(tree);
    }
    let (tree, _) = directory::fetch(context, store, path).await?;
    if tree.id == id {
        Ok(tree)
    } else {
        Err(SourceError::Changed(path.to_owned()))
    }
}

/// The tree of an archive, if the store has it. An entry whose tree is not in
/// its line's repository is removed.
async fn stored(context: &Context, store: &Store, key: &Key) -> Result<Option<Tree>, SourceError> {
    let Some(entry) = store.get(KIND, key.as_str()) else {
        return Ok(None);
    };
    used(&entry.join(RECORD));
    let record = std::fs::read(entry.join(RECORD)).ok();
    let record = record.and_then(|text| serde_json::from_slice::<Record>(&text).ok());
    if let Some(record) = record
        && let Some(repository) = Repository::existing(store, &record.line)
        && repository.has(context, &record.tree).await?
    {
        return Ok(Some(Tree {
            version: record.version,
            key: key.clone(),
            line: record.line,
            origin: record.origin,
            id: record.tree,
            repository,
        }));
    }
    store.discard(KIND, key.as_str()).await?;
    Ok(None)
}

/// Finishes the entry of an archive: moves the files that were unpacked below
/// it into the line's repository, and writes the record.
async fn seal(
    context: &Context,
    store: &Store,
    line: impl FnOnce(&KernelVersion) -> Line,
    entry: &Path,
    origin: &str,
) -> Result<(), SourceError> {
    let unpacked = entry.join(TREE);
    let version = KernelVersion::of_tree(&unpacked).ok_or_else(|| SourceError::NoKernel {
        origin: origin.to_owned(),
    })?;
    let line = line(&version);
    let (repository, writing) = Repository::open(context, store, &line).await?;
    let tree = repository.import(context, &writing, &unpacked).await?;
    crate::store::remove_tree(&unpacked)?;
    let record = Record {
        version,
        origin: origin.to_owned(),
        line,
        tree,
    };
    write_json(&entry.join(RECORD), &record)?;
    Ok(())
}

/// The part of a line's name that versions of one series of releases share.
fn release_series(version: &KernelVersion) -> String {
    let (major, minor, _) = version.numbers();
    format!("{major}.{minor}")
}

/// The tree of an entry that was just made.
async fn finished(
    context: &Context,
    store: &Store,
    key: &Key,
    origin: &str,
) -> Result<Tree, SourceError> {
    let tree = stored(context, store, key).await?;
    tree.ok_or_else(|| SourceError::NoKernel {
        origin: origin.to_owned(),
    })
}

/// A tree that is in a repository already: its version is read there.
async fn in_repository(
    context: &Context,
    repository: Repository,
    (key, line, id): (Key, Line, String),
    origin: String,
) -> Result<Tree, SourceError> {
    let makefile = match repository.file(context, &id, "Makefile").await {
        Ok(makefile) => makefile,
        Err(ProcessError::Failed { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let version = KernelVersion::from_makefile(&String::from_utf8_lossy(&makefile));
    let Some(version) = version else {
        return Err(SourceError::NoKernel { origin });
    };
    Ok(Tree {
        version,
        key,
        line,
        origin,
        id,
        repository,
    })
}
