//! Building: make, its progress, and the kernel with all that is kept of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{LineWriter, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

use super::build_log::BuildLog;
use super::configure::Configured;
use super::counters::{self, Counters};
use super::kept::{self, Kept};
use super::patch::subject;
use super::progress::Progress;
use super::series::{PatchFile, SelectedSeries};
use super::turn::turn;
use super::used;
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::{Stage, Unit};
use crate::process::{Command, Namespace, ProcessError};
use crate::store::{Entry, InUse, Key, Store, StoreError, io_error, write_json};

const KIND: &str = "builds";
const RECORD: &str = "build.json";

/// A built kernel in the store.
#[derive(Debug, Clone)]
pub struct KernelImage {
    /// What QEMU boots.
    pub bzimage: PathBuf,
    /// The same with symbols.
    pub vmlinux: PathBuf,
    /// The final .config.
    pub config: PathBuf,
    /// Addresses and names.
    pub system_map: PathBuf,
    /// What make printed.
    pub log: PathBuf,
    /// What `uname -r` says.
    pub release: String,
    /// What decided its content.
    pub key: Key,
    /// It was in the store already.
    pub cached: bool,
    /// How it came about.
    pub record: BuildRecord,
    /// What lines it counts, if it counts any.
    pub counters: Option<Counters>,
    /// Keeps it in the store.
    _in_use: Option<InUse>,
}

/// What the store remembers of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    /// What `uname -r` says.
    pub release: String,
    /// Where the source came from.
    pub source: String,
    /// The patches in order, by name and SHA-256.
    pub patches: Vec<PatchRecord>,
    /// The fragments' names, in order.
    pub fragments: Vec<String>,
    /// The compiler and linker.
    pub compiler: String,
    /// Objects that this build had to compile.
    pub objects_compiled: u64,
    /// Object files of the whole kernel.
    pub objects_total: u64,
    /// Time that make took, in milliseconds.
    pub elapsed_ms: u64,
    /// What the kept files were when they were kept, by name. Builds from
    /// before this was recorded have none.
    #[serde(default)]
    pub files: BTreeMap<String, Kept>,
}

/// A patch that is in a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRecord {
    /// Its name.
    pub name: String,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// A kernel did not build.
#[derive(Debug, ThisError, Diagnostic)]
pub enum BuildError {
    /// make failed.
    #[error("{subject} does not build ({status}):\n{first}")]
    #[diagnostic(help("the whole log is {}", log.display()))]
    Failed {
        /// The arm's source and patches.
        subject: String,
        /// How make ended.
        status: ExitStatus,
        /// The first error, with its place in the tree.
        first: String,
        /// The log.
        log: PathBuf,
    },
    /// The disk is full.
    #[error("the disk was full while {subject} was being built in {}", directory.display())]
    #[diagnostic(help(
        "free about 2 GiB there, `kvet cache prune`, or choose another place with XDG_CACHE_HOME; \
         the build goes on from where it stopped"
    ))]
    NoSpace {
        /// The arm's source and patches.
        subject: String,
        /// Where.
        directory: PathBuf,
    },
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// make could not be run to its end.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

impl KernelImage {
    /// The same with its parts called as they are by those who ask for it now: who
    /// had it built may have called them otherwise.
    pub(super) fn called(
        mut self,
        source: &str,
        series: &[SelectedSeries],
        fragments: Vec<String>,
    ) -> Self {
        source.clone_into(&mut self.record.source);
        self.record.patches = patch_records(series);
        self.record.fragments = fragments;
        if let Some(counters) = &mut self.counters {
            let patches = self.record.patches.iter();
            counters.changed.patches = patches.map(|patch| patch.name.clone()).collect();
        }
        self
    }

    /// The directory with its files, as the store has it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.bzimage.parent().unwrap_or(&self.bzimage)
    }
}

impl Fault for BuildError {
    fn exit(&self) -> Exit {
        match self {
            Self::Failed { .. } => Exit::Undecided,
            Self::NoSpace { .. } => Exit::Usage,
            Self::Store(error) => error.exit(),
            Self::Process(error) => error.exit(),
        }
    }
}

/// What the store has for a key.
#[derive(Debug)]
pub(super) enum Stored {
    /// A kernel with all its files as they were kept.
    Whole(Box<KernelImage>),
    /// One that cannot be used any more, and why.
    Damaged(String),
    /// Nothing.
    Nothing,
}

/// The kernel of this key, if it was built before; what is booted and read is
/// compared with what was kept.
pub(super) async fn stored(store: &Store, key: &Key) -> Stored {
    let Ok(Some(entry)) = store.find(KIND, key.as_str()).await else {
        return Stored::Nothing;
    };
    let path = entry.path.clone();
    used(&path.join(RECORD));
    let image = match image(entry, key) {
        Ok(image) => image,
        Err(error) => return Stored::Damaged(Error::from(error).one_line()),
    };
    let files = image.record.files.clone();
    let checked = tokio::task::spawn_blocking(move || kept::check(&path, &files)).await;
    match checked {
        Ok(Ok(())) => Stored::Whole(Box::new(image)),
        Ok(Err(problem)) => Stored::Damaged(problem),
        Err(error) => Stored::Damaged(error.to_string()),
    }
}

/// The kernel of this key if the store has it, whole; nothing is made.
pub async fn built(store: &Store, key: &Key) -> Option<KernelImage> {
    match stored(store, key).await {
        Stored::Whole(image) => Some(*image),
        Stored::Damaged(_) | Stored::Nothing => None,
    }
}

/// The kernel of this key with its symbols, if the store has it.
#[must_use]
pub fn vmlinux_of(store: &Store, key: &Key) -> Option<PathBuf> {
    let path = store.get(KIND, key.as_str())?.join("vmlinux");
    path.is_file().then_some(path)
}

/// Removes a kernel that cannot be used any more.
pub(super) async fn discard(store: &Store, key: &Key) -> Result<(), StoreError> {
    store.discard(KIND, key.as_str()).await
}

/// Takes over a kernel that another host made: its files in this directory, which
/// must be what its record says.
pub async fn accept(store: &Store, key: &Key, files: &Path) -> Result<KernelImage, BuildError> {
    // One that cannot be used any more would be found in its place.
    if let Stored::Damaged(_) = stored(store, key).await {
        discard(store, key).await?;
    }
    let entry = store
        .fill(KIND, key.as_str(), async |place: PathBuf| {
            for name in kept::FILES.iter().map(|(name, _)| *name).chain([RECORD]) {
                let from = files.join(name);
                std::fs::copy(&from, place.join(name)).map_err(io_error("copy", &from))?;
            }
            let record = read_record(&place)?;
            kept::check(&place, &record.files).map_err(|problem| {
                let damaged = std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
                io_error("take over the kernel in", files)(damaged)
            })?;
            Ok::<(), BuildError>(())
        })
        .await?;
    Ok(image(entry, key)?)
}

fn read_record(directory: &Path) -> Result<BuildRecord, StoreError> {
    let path = directory.join(RECORD);
    let text = std::fs::read(&path).map_err(io_error("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| io_error("read", &path)(error.into()))
}

fn image(entry: Entry, key: &Key) -> Result<KernelImage, StoreError> {
    let path = &entry.path;
    let record = read_record(path)?;
    Ok(KernelImage {
        bzimage: path.join("bzImage"),
        vmlinux: path.join("vmlinux"),
        config: path.join("config"),
        system_map: path.join("System.map"),
        log: path.join("build.log"),
        release: record.release.clone(),
        key: key.clone(),
        cached: entry.cached,
        record,
        counters: Counters::of(path)?,
        _in_use: entry.in_use,
    })
}

/// Builds the kernel with `jobs` compilers at a time (0: one per processor),
/// unless the store has it.
pub async fn build(
    context: &Context,
    store: &Store,
    configured: Configured,
    jobs: usize,
) -> Result<KernelImage, BuildError> {
    let patched = &configured.patched;
    let progress = Progress::start(
        context,
        Stage::Build,
        subject(&patched.tree, &patched.series),
    );
    let key = configured.key.as_str();
    let builds = format!("builds {}", subject(&patched.tree, &patched.series));
    let wait = async |lock: PathBuf| turn(context, &lock, &builds).await;
    let entry = store
        .fill_in_turn(KIND, key, wait, async |place: PathBuf| {
            let (compiled, elapsed) = make(context, &configured, jobs, &progress).await?;
            let objects = &configured.objects;
            for (name, made) in kept::FILES {
                let from = objects.join(made);
                std::fs::copy(&from, place.join(name)).map_err(io_error("copy", &from))?;
            }
            if let Some(changed) = &configured.patched.changed {
                counters::keep(&place, objects, &configured.instrumented, changed)?;
            }
            let mut record = record(&configured, compiled, elapsed)?;
            record.files = kept::of(&place)?;
            write_json(&place.join(RECORD), &record)?;
            Ok::<(), BuildError>(())
        })
        .await?;
    progress.finish(entry.cached);
    let patched = &configured.patched;
    let image = image(entry, &configured.key)?;
    Ok(image.called(
        &patched.tree.origin,
        &patched.series,
        configured.fragments.clone(),
    ))
}

fn record(
    configured: &Configured,
    compiled: u64,
    elapsed: Duration,
) -> Result<BuildRecord, StoreError> {
    let release = configured.objects.join("include/config/kernel.release");
    let text = std::fs::read_to_string(&release).map_err(io_error("read", &release))?;
    Ok(BuildRecord {
        release: text.trim().to_owned(),
        source: configured.patched.tree.origin.clone(),
        patches: patch_records(&configured.patched.series),
        fragments: configured.fragments.clone(),
        compiler: configured.compiler.clone(),
        objects_compiled: compiled,
        objects_total: configured.objects.objects(),
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        files: BTreeMap::new(),
    })
}

fn patch_records(series: &[SelectedSeries]) -> Vec<PatchRecord> {
    let patches = series.iter().flat_map(|series| &series.patches);
    let record = |patch: &PatchFile| PatchRecord {
        name: patch.name.clone(),
        sha256: patch.sha256(),
    };
    patches.map(record).collect()
}

/// Runs make to its end. Returns how many objects it compiled and the time.
async fn make(
    context: &Context,
    configured: &Configured,
    jobs: usize,
    progress: &Progress,
) -> Result<(u64, Duration), BuildError> {
    let objects = &configured.objects;
    let source = &configured.patched.path;
    let jobs = match jobs {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        jobs => jobs,
    };
    let command = objects.make(source).arg(format!("-j{jobs}")).arg("bzImage");
    let log = objects.join(kept::LOG);
    // Line by line, for whoever watches it.
    let mut file = LineWriter::new(File::create(&log).map_err(io_error("create", &log))?);
    let mut written = writeln!(file, "$ {}", command.display());
    let (present, total) = match objects.estimate() {
        Some((present, total)) => (present, Some(total)),
        None => (0, None),
    };
    let mut reading = BuildLog::new(source);
    let before = progress.elapsed();
    objects.mark()?;
    let status = run(context, command, |line| {
        if written.is_ok() {
            written = writeln!(file, "{line}");
        }
        if reading.line(line) {
            let done = present + reading.compiled;
            progress.at(done, total.map(|total| total.max(done)), Unit::Count);
        }
    })
    .await?;
    // make came to its own end: what it left is whole.
    objects.unmark()?;
    configured.patched.worktree.used()?;
    let written = written.and_then(|()| file.flush());
    let subject = subject(&configured.patched.tree, &configured.patched.series);
    if !status.success() {
        if reading.no_space {
            return Err(BuildError::NoSpace {
                subject,
                directory: objects.path().to_owned(),
            });
        }
        return Err(BuildError::Failed {
            subject,
            status,
            first: reading.error(),
            log,
        });
    }
    written.map_err(io_error("write", &log))?;
    objects.complete()?;
    Ok((reading.compiled, progress.elapsed().saturating_sub(before)))
}

/// Runs make where nothing of it can outlive kvet: in a namespace of its own
/// if the host allows one. make starts many processes, and a kvet that is
/// killed can only take its direct children along.
async fn run(
    context: &Context,
    command: Command,
    mut each: impl FnMut(&str),
) -> Result<ExitStatus, ProcessError> {
    let namespace = Namespace::create(Ipv4Addr::new(10, 99, 0, 1)).await.ok();
    let command = match &namespace {
        Some(namespace) => command.inside(namespace),
        None => command,
    };
    let status = command.lines(&context.cancel, |_, line| each(line)).await;
    if let Some(namespace) = namespace {
        namespace.close().await;
    }
    status
}
