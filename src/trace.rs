//! What kvet itself does, for whoever debugs it: processes it starts, what it
//! asks of QEMU, what passes between it and agents. Written to `kvet.log` in the
//! run directory, and to standard error with `-v`. No secret is ever traced.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::store::{StoreError, io_error};

/// The file that is written to now.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Begins to listen; `verbosity` is how often `-v` was given.
pub fn listen(verbosity: u8) {
    let file = tracing_subscriber::fmt::layer()
        .with_writer(RunFile)
        .with_ansi(false)
        .with_filter(LevelFilter::DEBUG);
    let level = match verbosity {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_filter(level);
    // A second listener in one process is a test's: the first one serves.
    drop(
        tracing_subscriber::registry()
            .with(file)
            .with(terminal)
            .try_init(),
    );
}

/// Writes to this file from now on, until the guard is dropped.
pub fn to_file(path: &Path) -> Result<Guard, StoreError> {
    let file = File::create(path).map_err(io_error("create", path))?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    Ok(Guard(()))
}

/// Ends writing to a run's file when it is dropped.
#[derive(Debug)]
pub struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        *FILE.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Writes to whatever file is the run's.
struct RunFile;

impl Write for RunFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = file.as_mut() {
            // A full disk shows in the record itself, where it matters.
            drop(file.write_all(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for RunFile {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
