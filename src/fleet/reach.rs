//! How a driver reaches a host: it starts `kvet batch -` there and holds both ends
//! of the pipe. `ssh` and `srun` know how.

use std::path::Path;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::batch::Digest;
use super::{srun, ssh};
use crate::error::Error;
use crate::process::{Process, ProcessError};

/// A host and the way there.
#[derive(Debug)]
pub(super) enum Reach {
    /// Over ssh.
    Ssh(ssh::Remote),
    /// As a task that Slurm starts.
    Srun(srun::Remote),
}

/// Why a host cannot be had.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This time.
    Failed(String),
    /// Ever.
    Unfit(String),
}

/// A kvet that runs there, and the pipes to it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) process: Process,
    pub(super) input: ChildStdin,
    pub(super) output: BufReader<ChildStdout>,
    pub(super) errors: ChildStderr,
}

impl Connection {
    /// Of a process that was started with all its pipes.
    pub(super) fn of(mut process: Process) -> Result<Self, Refusal> {
        let pipes = (
            process.take_stdin(),
            process.take_stdout(),
            process.take_stderr(),
        );
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(Refusal::Failed("it has no pipes".to_owned()));
        };
        Ok(Self {
            process,
            input,
            output: BufReader::new(output),
            errors,
        })
    }
}

impl Reach {
    /// What records call the host.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Ssh(remote) => &remote.name,
            Self::Srun(remote) => &remote.node,
        }
    }

    /// Sees that the host has these inputs, where that is done aside; otherwise it
    /// asks for them when it needs them.
    pub(super) async fn provide(&self, inputs: &[(&Digest, &Path)]) -> Result<(), Refusal> {
        match self {
            Self::Ssh(remote) => remote.provide(inputs).await.map(|_| ()),
            Self::Srun(_) => Ok(()),
        }
    }

    /// Starts this program there, sent before if need be.
    pub(super) async fn start(&self, program: (&Digest, &Path)) -> Result<Connection, Refusal> {
        match self {
            Self::Ssh(remote) => remote.start(program).await,
            Self::Srun(remote) => remote.start(program).await,
        }
    }
}

/// What a program complained about, without how it was called.
pub(super) fn what_failed(error: ProcessError) -> String {
    let ProcessError::Failed { stderr, status, .. } = error else {
        return Error::from(error).one_line();
    };
    // rsync says first what went wrong, and then what follows from it.
    let first = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    first.map_or_else(|| status.to_string(), str::to_owned)
}

/// Keeps the end of what is complained about on the way.
pub(super) async fn listen_to(errors: ChildStderr, complaints: &std::cell::RefCell<String>) {
    let mut errors = BufReader::new(errors);
    let mut chunk = [0; 4096];
    while let Ok(count) = errors.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        let mut kept = complaints.borrow_mut();
        kept.push_str(&String::from_utf8_lossy(&chunk[..count]));
        let from = kept.len().saturating_sub(2000);
        let from = (from..kept.len()).find(|at| kept.is_char_boundary(*at));
        kept.drain(..from.unwrap_or_default());
    }
}
