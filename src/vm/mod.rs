//! The virtual machine of a trial: which accelerator to trust, QEMU's argument
//! vector (pure), QMP, and a running machine with its console and its agent's
//! channel.

mod accelerator;
mod arguments;
mod dump;
mod machine;
mod qmp;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

pub use accelerator::{Acceleration, Accelerator, Startup};
pub use arguments::{Boot, Debugging, Hardware, Memory, Sockets, arguments};
pub use dump::Uname;
pub use machine::{Channels, End, Machine};

use crate::error::{Exit, Fault};
use crate::process::ProcessError;

/// The program that is started, and the Debian package it comes from.
pub const PROGRAMS: &[(&str, &str)] = &[(QEMU, "qemu-system-x86")];

pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// A machine could not be started or talked to.
#[derive(Debug, Error, Diagnostic)]
pub enum VmError {
    /// Starting or waiting for QEMU failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
    /// QEMU ended before it had opened its channels.
    #[error("QEMU ended before the machine started: {said}")]
    #[diagnostic(help("its command was:\n{command}"))]
    NotStarted {
        /// What it said.
        said: String,
        /// The command, as one would type it.
        command: String,
    },
    /// QEMU did not open its channels in time.
    #[error("QEMU did not start within {}{}", humantime::format_duration(*after), after_colon(said))]
    Silent {
        /// The deadline.
        after: Duration,
        /// What it said until then.
        said: String,
    },
    /// A socket of kvet's own failed.
    #[error("cannot listen on {}", path.display())]
    #[diagnostic(help("TMPDIR must be writable and its path shorter than 80 bytes"))]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The control connection broke or said something that is not QMP.
    #[error("QEMU's control connection failed: {0}")]
    Qmp(String),
    /// A dump of the guest's memory could not be put together.
    #[error("the memory dump cannot be put together: {0}")]
    Dump(String),
    /// The serial line broke.
    #[error("QEMU's serial line failed: {0}")]
    Console(String),
    /// A guest could not be saved or restored.
    #[error("QEMU did not {action} the guest: {said}")]
    Snapshot {
        /// `save` or `restore`.
        action: &'static str,
        /// What it said.
        said: String,
    },
    /// The job asks for KVM and it does not run guests here.
    #[error("the job asks for KVM, and {reason}")]
    #[diagnostic(help("`accel: auto` falls back to emulation"))]
    NoKvm {
        /// Why it cannot be used.
        reason: String,
    },
}

impl Fault for VmError {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            Self::NoKvm { .. } | Self::Socket { .. } => Exit::Usage,
            Self::NotStarted { .. }
            | Self::Silent { .. }
            | Self::Qmp(_)
            | Self::Console(_)
            | Self::Snapshot { .. }
            | Self::Dump(_) => Exit::Undecided,
        }
    }
}

fn after_colon(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}
