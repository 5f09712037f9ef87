//! The files a trial writes while it runs: the console, whole and raw, and
//! what guest and host did when.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use crate::store::{StoreError, io_error};

const CONSOLE: &str = "console.log";
const STEPS: &str = "steps.jsonl";

/// How many bytes of steps are kept; a guest that sends more has its further
/// messages obeyed and forgotten.
const STEPS_LIMIT: u64 = 64 << 20;

/// The open files of one trial.
pub(super) struct Journal {
    directory: PathBuf,
    console: File,
    steps: File,
    began: Instant,
    console_length: u64,
    steps_length: u64,
}

impl Journal {
    /// Creates the files in a trial's directory.
    pub(super) fn create(directory: &Path, began: Instant) -> Result<Self, StoreError> {
        let open = |name: &str| {
            let path = directory.join(name);
            File::create(&path).map_err(io_error("create", path))
        };
        Ok(Self {
            directory: directory.to_owned(),
            console: open(CONSOLE)?,
            steps: open(STEPS)?,
            began,
            console_length: 0,
            steps_length: 0,
        })
    }

    /// Keeps bytes of the console.
    pub(super) fn console(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.console_length += bytes.len() as u64;
        self.console
            .write_all(bytes)
            .map_err(|error| io_error("write", self.directory.join(CONSOLE))(error))
    }

    /// Bytes of console kept so far.
    pub(super) fn console_length(&self) -> u64 {
        self.console_length
    }

    /// Keeps one entry with its time in seconds from the trial's start.
    pub(super) fn entry(&mut self, entry: &Value) -> Result<(), StoreError> {
        if self.steps_length > STEPS_LIMIT {
            return Ok(());
        }
        let mut line =
            json!({"at": self.began.elapsed().as_secs_f64(), "entry": entry}).to_string();
        line.push('\n');
        self.steps_length += line.len() as u64;
        self.steps
            .write_all(line.as_bytes())
            .map_err(|error| io_error("write", self.directory.join(STEPS))(error))
    }
}
