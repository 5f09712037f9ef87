//! The files an attempt writes while it runs: the console, whole and raw, and
//! the journal of what happened when.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;

use super::format::{Entry, Line};
use super::{CONSOLE, JOURNAL};
use crate::event::{Event, Stamped};
use crate::store::{StoreError, io_error};

/// How many bytes of journal are kept; a guest that sends more has its further
/// messages obeyed and forgotten.
const JOURNAL_LIMIT: u64 = 64 << 20;

/// The open files of one attempt. One that keeps nothing serves a guest that
/// nobody records.
#[derive(Debug)]
pub struct Journal {
    files: Option<Files>,
    began: Instant,
    console_length: u64,
    console_lines: u64,
    kept: u64,
}

#[derive(Debug)]
struct Files {
    directory: PathBuf,
    console: File,
    journal: File,
}

impl Journal {
    /// Creates the files in an attempt's directory.
    pub fn create(directory: &Path) -> Result<Self, StoreError> {
        let open = |name: &str| {
            let path = directory.join(name);
            File::create_new(&path).map_err(io_error("create", path))
        };
        Ok(Self {
            files: Some(Files {
                directory: directory.to_owned(),
                console: open(CONSOLE)?,
                journal: open(JOURNAL)?,
            }),
            ..Self::nowhere()
        })
    }

    /// Keeps nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Self {
            files: None,
            began: Instant::now(),
            console_length: 0,
            console_lines: 0,
            kept: 0,
        }
    }

    /// Keeps bytes of the console.
    pub fn console(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.console_length += bytes.len() as u64;
        self.console_lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        match &mut self.files {
            Some(files) => files
                .console
                .write_all(bytes)
                .map_err(io_error("write", files.directory.join(CONSOLE))),
            None => Ok(()),
        }
    }

    /// Bytes of console so far.
    #[must_use]
    pub fn console_length(&self) -> u64 {
        self.console_length
    }

    /// Whole lines of console so far.
    #[must_use]
    pub fn console_lines(&self) -> u64 {
        self.console_lines
    }

    /// Time since the attempt began.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// Keeps one entry with its time.
    pub fn entry(&mut self, entry: Entry) -> Result<(), StoreError> {
        let Some(files) = &mut self.files else {
            return Ok(());
        };
        if self.kept > JOURNAL_LIMIT {
            return Ok(());
        }
        let path = || files.directory.join(JOURNAL);
        let line = Line {
            at: self.began.elapsed().as_secs_f64(),
            entry,
        };
        let mut line =
            serde_json::to_vec(&line).map_err(|error| io_error("write", path())(error.into()))?;
        line.push(b'\n');
        self.kept += line.len() as u64;
        files
            .journal
            .write_all(&line)
            .map_err(io_error("write", path()))
    }

    /// Keeps QEMU's command line, as one would type it.
    pub fn command(&self, command: &str) -> Result<(), StoreError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let path = files.directory.join(super::COMMAND);
        std::fs::write(&path, format!("{command}\n")).map_err(io_error("write", path))
    }
}

/// Keeps what is told, one JSON object a line, until nobody tells anything any
/// more. How far a stage got is left out: it is told many times a second.
pub async fn keep_events(
    path: &Path,
    mut told: UnboundedReceiver<Stamped>,
) -> Result<(), StoreError> {
    // A resumed run goes on where it was killed.
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(io_error("create", path))?;
    while let Some(stamped) = told.recv().await {
        if matches!(stamped.event, Event::Progress { .. }) {
            continue;
        }
        let mut line =
            serde_json::to_vec(&stamped).map_err(|error| io_error("write", path)(error.into()))?;
        line.push(b'\n');
        file.write_all(&line).map_err(io_error("write", path))?;
    }
    Ok(())
}
