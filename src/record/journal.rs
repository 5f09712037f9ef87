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

/// How many bytes of a guest's messages are kept in the journal; one that sends more
/// has its further ones obeyed and forgotten. What the host itself records comes to
/// little, whatever a guest does, and is always kept.
const GUEST_LIMIT: u64 = 64 << 20;

/// The open files of one attempt. One that keeps nothing serves a guest that
/// nobody records.
#[derive(Debug)]
pub struct Journal {
    files: Option<Files>,
    began: Instant,
    console_length: u64,
    console_lines: u64,
    /// Bytes of the guest's messages that may be kept yet.
    room: u64,
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

    /// Goes on with the files of an attempt that began then.
    pub fn reopen(directory: &Path, began: Instant) -> Result<Self, StoreError> {
        let open = |name: &str| {
            let path = directory.join(name);
            let opened = File::options().append(true).open(&path);
            opened.map_err(io_error("open", path))
        };
        Ok(Self {
            files: Some(Files {
                directory: directory.to_owned(),
                console: open(CONSOLE)?,
                journal: open(JOURNAL)?,
            }),
            began,
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
            room: GUEST_LIMIT,
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
        let is_guest_s = matches!(entry, Entry::Guest(_));
        let path = || files.directory.join(JOURNAL);
        let line = Line {
            at: self.began.elapsed().as_secs_f64(),
            entry,
        };
        let mut line =
            serde_json::to_vec(&line).map_err(|error| io_error("write", path())(error.into()))?;
        line.push(b'\n');
        if is_guest_s {
            // Once one was left out, no later one is in.
            let room = self.room.checked_sub(line.len() as u64);
            self.room = room.unwrap_or(0);
            if room.is_none() {
                return Ok(());
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventSink, Stage, Unit};
    use crate::guest::protocol::GuestMessage;
    use crate::record::Ending;

    #[test]
    fn what_the_host_records_has_room_whatever_the_guest_says() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(directory.path()).unwrap();
        journal.room = 100;
        let note = |length| {
            let text = "x".repeat(length);
            Entry::Guest(GuestMessage::Note { text })
        };
        for length in [10, 200, 10] {
            journal.entry(note(length)).unwrap();
        }
        let step = "sync".to_owned();
        let late = Entry::Deadline { step: step.clone() };
        journal.entry(late.clone()).unwrap();
        drop(journal);
        let mut journal = Journal::reopen(directory.path(), Instant::now()).unwrap();
        let ended = Entry::Ended(Ending::Deadline { step });
        journal.entry(ended.clone()).unwrap();
        let text = std::fs::read_to_string(directory.path().join(JOURNAL)).unwrap();
        let kept: Vec<Entry> = (text.lines())
            .map(|line| serde_json::from_str::<Line>(line).unwrap().entry)
            .collect();
        assert_eq!(kept, [note(10), late, ended]);
    }

    #[tokio::test]
    async fn what_was_told_is_kept_with_its_time_after_what_was_there() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("events.jsonl");
        std::fs::write(&path, "{\"note\":\"before\"}\n").unwrap();
        let (events, told) = EventSink::channel();
        let before = jiff::Timestamp::now();
        events.emit(Event::Note("first".to_owned()));
        events.emit(Event::Progress {
            stage: Stage::Build,
            subject: "7.3.4".to_owned(),
            done: 1,
            total: None,
            unit: Unit::Count,
        });
        events.emit(Event::Warning("last".to_owned()));
        let after = jiff::Timestamp::now();
        // Nobody tells anything any more.
        drop(events);
        keep_events(&path, told).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = (text.lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0]["note"], "before");
        assert_eq!(lines[1]["note"], "first");
        assert_eq!(lines[2]["warning"], "last");
        for line in &lines[1..] {
            let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
            assert!(before <= at && at <= after, "{line}");
        }
    }
}
