//! Kernel sources: from a source's description in a job to a pristine tree in
//! the store. One provider per file; every one that fails names what to try
//! next.

mod archive;
mod debian;
mod directory;
mod git;
mod http;
mod kernel_org;
mod mirror;
mod spec;

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use http::{KEYRING_VARIABLE, MIRRORS_VARIABLE, Network};
pub use spec::SourceSpec;

use super::progress::Progress;
use super::used;
use super::version::KernelVersion;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::Stage;
use crate::process::ProcessError;
use crate::store::{Key, Store, StoreError, write_json};

/// A pristine kernel tree in the store.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The tree. Read it; nothing may ever write there: working trees share
    /// its files.
    pub path: PathBuf,
    /// The version its Makefile states.
    pub version: KernelVersion,
    /// What decides its content.
    pub key: Key,
    /// Where it came from and how that was checked, for people.
    pub origin: String,
}

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
    /// A directory could not be copied.
    #[error("cannot take a snapshot of {}", path.display())]
    #[diagnostic(help(
        "check that it can be read and does not change meanwhile, and the free space of the cache"
    ))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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

impl Fault for SourceError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// What a source entry of the store remembers beside its tree.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: KernelVersion,
    origin: String,
}

const RECORD: &str = "source.json";
const TREE: &str = "tree";
const KIND: &str = "sources";

/// Gets a kernel's source into the store, if it is not there yet.
pub async fn fetch(
    context: &Context,
    store: &Store,
    spec: &SourceSpec,
) -> Result<Tree, SourceError> {
    fetch_with(context, store, spec, &Network::from_environment()).await
}

/// The same with a say in how the network is used.
pub async fn fetch_with(
    context: &Context,
    store: &Store,
    spec: &SourceSpec,
    network: &Network,
) -> Result<Tree, SourceError> {
    let progress = Progress::start(context, Stage::Source, spec.name());
    let (tree, cached) = match spec {
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

/// A tree of the store, if it is there.
fn stored(store: &Store, key: &Key) -> Option<Tree> {
    let entry = store.get(KIND, key.as_str())?;
    used(&entry.join(RECORD));
    let record: Record = serde_json::from_slice(&std::fs::read(entry.join(RECORD)).ok()?).ok()?;
    Some(Tree {
        path: entry.join(TREE),
        version: record.version,
        key: key.clone(),
        origin: record.origin,
    })
}

/// Finishes an entry: reads the tree's version and writes the record.
fn seal(entry: &Path, origin: &str) -> Result<(), SourceError> {
    let version =
        KernelVersion::of_tree(&entry.join(TREE)).ok_or_else(|| SourceError::NoKernel {
            origin: origin.to_owned(),
        })?;
    let record = Record {
        version,
        origin: origin.to_owned(),
    };
    write_json(&entry.join(RECORD), &record)?;
    Ok(())
}

/// The tree of a complete entry.
fn finished(store: &Store, key: &Key, origin: &str) -> Result<Tree, SourceError> {
    stored(store, key).ok_or_else(|| SourceError::NoKernel {
        origin: origin.to_owned(),
    })
}
