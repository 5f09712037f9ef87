//! What can go wrong with a cluster, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::error::{Exit, Fault};
use crate::process::ProcessError;
use crate::store::StoreError;

/// A cluster did not start, did not answer, or did not do what it was told.
#[derive(Debug, Error, Diagnostic)]
pub enum ClusterError {
    /// A program failed that is no daemon.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(ProcessError),
    /// A file or directory of kvet's own could not be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The description makes no sense.
    #[error("such a cluster cannot be started: {problem}")]
    #[diagnostic(help("correct `cluster:` in the job"))]
    Spec {
        /// What is wrong, and with which key.
        problem: String,
    },
    /// Programs are not installed.
    #[error("not installed: {}", programs.join(", "))]
    #[diagnostic(help(
        "install them with `apt-get install {}`, or let `kvet doctor --fix` do it",
        packages.join(" ")
    ))]
    Missing {
        /// What was looked for in `PATH`.
        programs: Vec<String>,
        /// The Debian packages that have them.
        packages: Vec<String>,
    },
    /// The cluster failed, and there is no space left for its files.
    #[error("no space left in {}: {cause}", path.display())]
    #[diagnostic(help(
        "free some there; a cluster in memory needs about 100 MiB, one with bluestore some GiB. \
         TMPDIR chooses another place for its state"
    ))]
    Full {
        /// The directory.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
    /// A daemon ended while it was needed.
    #[error("{name} ended{}{}", how(*status), tail_of(tail))]
    #[diagnostic(help("its whole log is {}", log.display()))]
    Died {
        /// The daemon, such as `mds.a`.
        name: String,
        /// How it ended, where known.
        status: Option<ExitStatus>,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The cluster runs but is not fit to use.
    #[error(
        "the cluster was not healthy after {}:\n  {}{}",
        humantime::format_duration(*after),
        missing.join("\n  "),
        tail_of(tail)
    )]
    #[diagnostic(help(
        "the daemons' logs are in {}; `deadline:` under `cluster:` gives them more time",
        logs.display()
    ))]
    Unhealthy {
        /// The deadline.
        after: Duration,
        /// What was missing, by daemon.
        missing: Vec<String>,
        /// Where the logs are.
        logs: PathBuf,
        /// The last lines of the log of the first daemon that misses something.
        tail: String,
    },
    /// A daemon's admin socket could not be reached or closed early.
    #[error("cannot talk to {daemon}")]
    #[diagnostic(help("it may have ended or be restarting; see its log"))]
    Admin {
        /// The daemon.
        daemon: String,
        /// Why.
        source: io::Error,
    },
    /// A daemon does not answer.
    #[error("{daemon} did not answer {command:?} for {}", humantime::format_duration(*after))]
    #[diagnostic(help("it is stopped, or the host is overloaded; see its log"))]
    Silent {
        /// The daemon.
        daemon: String,
        /// What was asked.
        command: String,
        /// How long was waited.
        after: Duration,
    },
    /// A daemon answered with an error.
    #[error("{daemon} refused {command:?}: {said}")]
    #[diagnostic(help("`kvet cluster status` shows what the daemons do"))]
    Refused {
        /// The daemon, or `mon` for a command to the monitors.
        daemon: String,
        /// What was asked.
        command: String,
        /// What it answered.
        said: String,
    },
    /// The client is not known to any metadata server.
    #[error("no metadata server has a session {id}")]
    #[diagnostic(help("the sessions are: {known}"))]
    NoSession {
        /// The client's number.
        id: u64,
        /// The sessions that exist.
        known: String,
    },
    /// There is no such daemon.
    #[error("there is no daemon {name}")]
    #[diagnostic(help("the daemons are: {known}"))]
    NoDaemon {
        /// What was asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The connection to the monitors is gone.
    #[error("lost the connection to the monitors{}", tail_of(said))]
    #[diagnostic(help("python3-rados must fit the installed ceph-common"))]
    Monitors {
        /// The last lines of what the helper said.
        said: String,
    },
    /// `vstart.sh` failed or cannot be had.
    #[error("vstart.sh: {problem}{}", tail_of(tail))]
    #[diagnostic(help("{help}"))]
    Vstart {
        /// What happened.
        problem: String,
        /// The last lines of what it said.
        tail: String,
        /// What to do.
        help: String,
    },
    /// kvet was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<ProcessError> for ClusterError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Interrupted => Self::Interrupted,
            other => Self::Process(other),
        }
    }
}

impl Fault for ClusterError {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Spec { .. }
            | Self::Missing { .. }
            | Self::Full { .. }
            | Self::NoSession { .. }
            | Self::NoDaemon { .. }
            | Self::Vstart { .. } => Exit::Usage,
            // The harness failed: nothing is known about the kernel.
            Self::Died { .. }
            | Self::Unhealthy { .. }
            | Self::Admin { .. }
            | Self::Silent { .. }
            | Self::Refused { .. }
            | Self::Monitors { .. } => Exit::Undecided,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

fn how(status: Option<ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

fn tail_of(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() {
        String::new()
    } else {
        format!("\n{text}")
    }
}
