//! What kvet itself does, for whoever debugs it: processes it starts, what it
//! asks of QEMU, what passes between it and agents. Written to `kvet.log` in the
//! run directory, and to standard error with `-v`: at `info` processes that begin
//! and end, and who can be talked to; with `-vv`, at `debug`, what is said, too. No
//! secret is ever traced.

use std::fmt::{self, Write as _};
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

/// The most that is written to a run's file by one process, in bytes.
pub const OF_A_RUN: u64 = 256 << 20;

/// The most that is written to an attempt's: a run has thousands of these.
pub const OF_AN_ATTEMPT: u64 = 16 << 20;

/// The most of a message that is traced, in bytes.
const SHOWN: usize = 1 << 10;

/// The file that is written to now.
static FILE: Mutex<Option<Log>> = Mutex::new(None);

/// A file that does not grow for ever.
#[derive(Debug)]
struct Log {
    file: File,
    /// Bytes that may be written yet.
    left: u64,
    /// Whether it was said that no more is.
    is_cut: bool,
}

impl Log {
    fn new(path: &Path, limit: u64) -> Result<Self, StoreError> {
        let opened = File::options().create(true).append(true).open(path);
        let mut file = opened.map_err(io_error("open", path))?;
        let length = file.metadata().map_err(io_error("read", path))?.len();
        if length > 0 {
            // The line before may have been cut by whatever ended that process.
            let (time, process) = (jiff::Timestamp::now(), std::process::id());
            let line = format!("\n{time} Here another kvet goes on, as process {process}.\n");
            drop(file.write_all(line.as_bytes()));
        }
        Ok(Self {
            file,
            left: limit,
            is_cut: false,
        })
    }

    /// Writes a line. What goes wrong is not told: a full disk shows in the record
    /// itself, where it matters.
    fn write(&mut self, line: &[u8]) {
        if self.is_cut {
            return;
        }
        if let Some(left) = self.left.checked_sub(line.len() as u64) {
            self.left = left;
            drop(self.file.write_all(line));
        } else {
            self.is_cut = true;
            drop(self.file.write_all(CUT));
        }
    }
}

/// The last line of a file that has become too long.
const CUT: &[u8] = b"The log of this process is cut here: it has become too long.\n";

/// Something as its debug output shows it, or the beginning of that.
pub struct Shortened<'a, T>(pub &'a T);

impl<T: fmt::Debug> fmt::Debug for Shortened<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Beginning(String::new());
        if write!(shown, "{:?}", self.0).is_ok() {
            return f.write_str(&shown.0);
        }
        write!(f, "{}… (cut)", shown.0)
    }
}

/// A text that takes no more than [`SHOWN`] bytes.
struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = SHOWN - self.0.len();
        let end = (0..=room.min(text.len())).rfind(|at| text.is_char_boundary(*at));
        let end = end.unwrap_or(0);
        self.0.push_str(&text[..end]);
        if end < text.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Begins to listen; `verbosity` is how often `-v` was given.
pub fn listen(verbosity: u8) {
    let file = tracing_subscriber::fmt::layer()
        .with_writer(RunFile)
        .with_ansi(false)
        .with_filter(LevelFilter::DEBUG);
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_filter(level(verbosity));
    // A second listener in one process is a test's: the first one serves.
    drop(
        tracing_subscriber::registry()
            .with(file)
            .with(terminal)
            .try_init(),
    );
}

/// What is shown where `-v` was given so often.
fn level(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

/// Appends to this file from now on, at most so many bytes, until the guard is
/// dropped.
pub fn to_file(path: &Path, limit: u64) -> Result<Guard, StoreError> {
    let log = Log::new(path, limit)?;
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(log);
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
        let mut log = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = log.as_mut() {
            log.write(bytes);
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

/// What this thread's tracing said, for a test.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Captured(std::sync::Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what this thread traces as `-v`, given so often, would show it.
#[cfg(test)]
pub(crate) fn capture(verbosity: u8) -> (Captured, tracing::subscriber::DefaultGuard) {
    // While there is one subscriber alone, the thread that comes first to a place
    // that traces is asked for all threads, even if it has none.
    static ANOTHER: std::sync::LazyLock<tracing::Dispatch> = std::sync::LazyLock::new(|| {
        tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default())
    });
    std::sync::LazyLock::force(&ANOTHER);
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_max_level(level(verbosity))
        .finish();
    (captured, tracing::subscriber::set_default(subscriber))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_where_another_process_s_ended() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kvet.log");
        Log::new(&path, 20).unwrap().write(b"killed in the mid");
        Log::new(&path, 10).unwrap().write(b"one\n");
        Log::new(&path, 10).unwrap().write(b"two\n");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let process = format!("goes on, as process {}.", std::process::id());
        assert!(lines[1].ends_with(&process), "{text}");
        assert_eq!([lines[2], lines[4]], ["one", "two"], "{text}");
    }

    #[test]
    fn a_log_says_once_that_it_is_cut() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kvet.log");
        let mut log = Log::new(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "4\n"] {
            log.write(line.as_bytes());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let cut = std::str::from_utf8(CUT).unwrap();
        assert_eq!(text, format!("one\ntwo\n{cut}"));
    }

    #[test]
    fn of_a_long_message_the_beginning_is_shown() {
        assert_eq!(format!("{:?}", Shortened(&"a\u{1b}b")), "\"a\\u{1b}b\"");
        let long = "ä".repeat(1 << 20);
        let shown = format!("{:?}", Shortened(&long));
        assert!(shown.starts_with("\"ää") && shown.ends_with("ä… (cut)"));
        assert!(shown.len() < SHOWN + 20, "{}", shown.len());
    }
}
