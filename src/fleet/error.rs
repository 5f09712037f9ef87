//! What can go wrong with trials on other hosts, beyond a host that fails: that
//! one is left out by name and its trials go elsewhere.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::error::{Exit, Fault};
use crate::process::ProcessError;
use crate::record::RecordError;
use crate::store::StoreError;

/// The hosts together cannot go on.
#[derive(Debug, Error, Diagnostic)]
pub enum FleetError {
    /// A place of kvet's own could not be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The run directory could not.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// A program could not be run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
    /// A file that was sent is another one on arrival.
    #[error("{} arrived damaged: its SHA-256 is {found}, not {wanted}", path.display())]
    #[diagnostic(help("try again; if it happens again, check the host's disk and memory"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// A host was not sent what it needs.
    #[error("the input {0} is not on this host")]
    NoInput(String),
    /// Nobody can run trials.
    #[error("no host is left that runs trials:\n{}", why.join("\n"))]
    #[diagnostic(help(
        "mend one of them and go on where it stopped: kvet run --resume {}", run.display()
    ))]
    NoHost {
        /// Each host with its reason.
        why: Vec<String>,
        /// The run directory.
        run: PathBuf,
    },
    /// Slurm took no job.
    #[error("Slurm did not accept the trials: {said}")]
    #[diagnostic(help(
        "`sinfo` and `sbatch --test-only` tell more; sbatch's own variables apply \
         (SBATCH_ACCOUNT, SBATCH_QOS, SBATCH_TIMELIMIT)"
    ))]
    Refused {
        /// What sbatch said.
        said: String,
    },
    /// Slurm's programs are not there.
    #[error("{0} is not on this host, so there is no Slurm to run trials on")]
    #[diagnostic(help(
        "run kvet where jobs are submitted, or use --on ssh:HOST,HOST, which needs no Slurm"
    ))]
    NoSlurm(&'static str),
    /// The controller was away for long and no trial ended meanwhile.
    #[error("Slurm's controller has not answered for {minutes} minutes: {said}")]
    #[diagnostic(help(
        "what was obtained is kept; once it answers, go on with: kvet run --resume {}",
        run.display()
    ))]
    Away {
        /// For how long.
        minutes: u64,
        /// What squeue said last.
        said: String,
        /// The run directory.
        run: PathBuf,
    },
    /// The shared file system has no room.
    #[error("{} has {free} MiB left: the hosts cannot hand over their results", path.display())]
    #[diagnostic(help(
        "make room and go on where it stopped: kvet run --resume {}; \
         --spool DIR chooses another shared directory",
        run.display()
    ))]
    SpoolFull {
        /// The spool.
        path: PathBuf,
        /// What is free.
        free: u64,
        /// The run directory.
        run: PathBuf,
    },
    /// A host could not make a kernel, and the kernel is to blame.
    #[error("{message} (on {host})")]
    #[diagnostic(help("{}", advice.as_deref().unwrap_or("mend its source or its patches")))]
    NotBuilt {
        /// The host.
        host: String,
        /// What it said.
        message: String,
        /// What it said of what to do.
        advice: Option<String>,
    },
    /// The files of a kernel's tree could not be put together for a host.
    #[error("cannot pack the kernel's source for a host: {0}")]
    Unpacked(String),
    /// What `--on` says cannot be read.
    #[error("{0:?} names no hosts")]
    #[diagnostic(help("one of: slurm, slurm:PARTITION, ssh:HOST,HOST"))]
    On(String),
    /// The run directory was not made with `--on`.
    #[error("{} has no record of where its trials ran", .0.display())]
    NotOn(PathBuf),
    /// Another kvet works on the run.
    #[error("another kvet is working on {}", .0.display())]
    #[diagnostic(help("wait for it, or end it first"))]
    Busy(PathBuf),
    /// A host said something that is not part of the protocol.
    #[error("{host} said something that kvet does not understand: {said}")]
    Nonsense {
        /// The host.
        host: String,
        /// What, its beginning.
        said: String,
    },
    /// What came as a result is none.
    #[error("the result of {key} cannot be used: {problem}")]
    NoResult {
        /// The item.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Writing to or reading from a host failed.
    #[error("lost the connection to {host}")]
    Link {
        /// The host.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Fault for FleetError {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            Self::NotBuilt { .. } => Exit::Undecided,
            _ => Exit::Usage,
        }
    }
}
