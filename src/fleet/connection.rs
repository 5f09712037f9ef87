//! A kvet on a host, with both ends of the pipe to it; or why there is none.

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::error::Error;
use crate::process::{Process, ProcessError};

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
