//! Reads back what an attempt's journal and console tell, as much as a report
//! can show: both may be of any size, and say anything.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use memchr::memchr;

use super::format::Line;
use super::{JOURNAL, Record, Recorded, version1};

/// Entries of a journal that are read.
const ENTRIES: usize = 4000;
/// Bytes of one entry; a longer one is passed over.
const ENTRY: u64 = 256 << 10;
/// Bytes of a console's line that are kept.
const LONGEST: usize = 800;
/// Lines shown before and after a finding.
const AROUND: u64 = 8;

/// What one attempt's files tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    /// What happened when, in order.
    pub journal: Vec<Line>,
    /// What the kernel said.
    pub console: Excerpt,
}

/// Some lines of a console.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// The lines, by number; those between are left out.
    pub lines: Vec<ConsoleLine>,
    /// How many lines there are in all.
    pub all: u64,
    /// The first line that the harness asked the kernel for, if there is one.
    pub asked: Option<u64>,
}

/// One line of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Its number, from 1, as findings count.
    pub number: u64,
    /// Its text without the line end; whatever bytes a guest sent.
    pub text: String,
    /// Whether it is longer than this.
    pub cut: bool,
}

impl Recorded {
    /// What the last attempt's files tell, with at most about `lines` of its
    /// console: the beginning, the end, and what stands around its findings.
    /// A file that cannot be read tells nothing.
    #[must_use]
    pub fn story(&self, lines: usize) -> Story {
        let journal = self.directory.join(JOURNAL);
        let journal = if journal.exists() {
            entries(&journal, |line| serde_json::from_str(line).ok())
        } else {
            entries(&self.directory.join(version1::JOURNAL), version1::entry)
        };
        let findings = &self.trial.findings;
        let spans = findings.iter().map(|f| (f.first_line, f.last_line));
        let wanted = Wanted::new(spans, lines);
        let console = regular(&self.console()).map(|file| file.take(CONSOLE));
        let console = console.map(|file| excerpt(file, self.trial.console_length, &wanted));
        Story {
            journal,
            console: console.unwrap_or_default(),
        }
    }
}

/// Opens a file of a record, which may come from anywhere: a FIFO in its place would
/// be waited for, and a device never ends.
fn regular(path: &Path) -> Option<File> {
    path.is_file().then(|| File::open(path).ok()).flatten()
}

/// Bytes of a console that are read; a guest's has a quarter of that.
const CONSOLE: u64 = 1 << 30;

/// Bytes of `events.jsonl` that are read.
const EVENTS: u64 = 64 << 20;

impl Record {
    /// How long each kernel of the run took that had to be compiled, in seconds,
    /// by what the build is called. What cannot be read is left out.
    #[must_use]
    pub fn compiled(&self) -> BTreeMap<String, f64> {
        let mut compiled = BTreeMap::new();
        let Some(file) = regular(&self.events_file()) else {
            return compiled;
        };
        let mut reader = BufReader::new(file.take(EVENTS));
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(ENTRY).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return compiled,
                Ok(_) => compiled.extend(build(&line)),
            }
        }
    }
}

/// The build that an event says is done, if it was one and had to be made.
fn build(line: &[u8]) -> Option<(String, f64)> {
    // Most events are others.
    memchr::memmem::find(line, b"\"finished\"")?;
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    let done = &event["finished"];
    let made = done["stage"] == "build" && done["cached"] == false;
    let seconds = done["elapsed"].as_f64().filter(|seconds| *seconds >= 0.0)?;
    made.then(|| Some((done["subject"].as_str()?.to_owned(), seconds)))?
}

/// The entries of a journal that can be read.
fn entries(path: &Path, entry: impl Fn(&str) -> Option<Line>) -> Vec<Line> {
    let Some(file) = regular(path) else {
        return Vec::new();
    };
    let mut reader = BufReader::new(file);
    let mut found = Vec::new();
    let mut text = Vec::new();
    while found.len() < ENTRIES {
        text.clear();
        match reader.by_ref().take(ENTRY).read_until(b'\n', &mut text) {
            Ok(0) | Err(_) => break,
            Ok(_) => found.extend(std::str::from_utf8(&text).ok().and_then(&entry)),
        }
    }
    found
}

/// Which lines of a console are wanted.
struct Wanted {
    /// So many at the beginning.
    head: u64,
    /// So many at the end.
    tail: usize,
    /// Those around findings, first and last, in order.
    spans: Vec<(u64, u64)>,
}

impl Wanted {
    /// A half for findings, a quarter each for the beginning and the end. Each
    /// finding has an equal share; what is more of it is left out.
    fn new(findings: impl Iterator<Item = (u64, u64)>, lines: usize) -> Self {
        let mut spans: Vec<(u64, u64)> = findings.collect();
        let share = lines / 2 / spans.len().max(1);
        let share = u64::try_from(share).unwrap_or(u64::MAX).max(1);
        for (first, last) in &mut spans {
            let before = AROUND.min(share / 4);
            *last = (*last)
                .min(first.saturating_add(share))
                .saturating_add(before);
            *first = first.saturating_sub(before);
        }
        // A console may have a line for each of its bytes: none is looked for among
        // all findings.
        spans.sort_unstable();
        spans.dedup_by(|next, before| {
            let meets = next.0 <= before.1;
            if meets {
                before.1 = before.1.max(next.1);
            }
            meets
        });
        Self {
            head: u64::try_from(lines / 4).unwrap_or(u64::MAX),
            tail: lines / 4,
            spans,
        }
    }

    fn has(&self, line: u64) -> bool {
        let begun = self.spans.partition_point(|(first, _)| *first <= line);
        let before = begun.checked_sub(1).and_then(|at| self.spans.get(at));
        line <= self.head || before.is_some_and(|(_, last)| line <= *last)
    }
}

/// Reads a console once, in constant memory.
fn excerpt(console: impl Read, asked_at: u64, wanted: &Wanted) -> Excerpt {
    let mut reader = BufReader::with_capacity(64 << 10, console);
    let mut found = Excerpt::default();
    let mut tail = VecDeque::with_capacity(wanted.tail);
    let mut kept: Vec<u8> = Vec::new();
    let (mut length, mut offset, mut began) = (0_usize, 0_u64, 0_u64);
    let mut end = |kept: &mut Vec<u8>, length: &mut usize, began: u64| {
        found.all += 1;
        if began >= asked_at && found.asked.is_none() {
            found.asked = Some(found.all);
        }
        if kept.last() == Some(&b'\r') && *length == kept.len() {
            kept.pop();
        }
        let line = ConsoleLine {
            number: found.all,
            text: String::from_utf8_lossy(kept).into_owned(),
            cut: *length > LONGEST,
        };
        kept.clear();
        *length = 0;
        if wanted.has(line.number) {
            found.lines.push(line);
        } else if wanted.tail > 0 {
            if tail.len() == wanted.tail {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    };
    while let Ok(chunk) = reader.fill_buf() {
        if chunk.is_empty() {
            break;
        }
        let newline = memchr(b'\n', chunk);
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        let room = LONGEST.saturating_sub(kept.len()).min(part.len());
        kept.extend_from_slice(&part[..room]);
        length += part.len();
        let used = newline.map_or(chunk.len(), |at| at + 1);
        offset += used as u64;
        reader.consume(used);
        if newline.is_some() {
            end(&mut kept, &mut length, began);
            began = offset;
        }
    }
    if length > 0 {
        end(&mut kept, &mut length, began);
    }
    found.lines.extend(tail);
    found.lines.sort_by_key(|line| line.number);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, asked: u64, wanted: &Wanted) -> (Vec<u64>, u64, Option<u64>) {
        let found = excerpt(text.as_bytes(), asked, wanted);
        let lines = found.lines.iter().map(|line| line.number).collect();
        (lines, found.all, found.asked)
    }

    #[test]
    fn the_beginning_the_end_and_what_surrounds_findings_is_kept() {
        let lines: Vec<String> = (1..=100).map(|n| format!("line {n}\r\n")).collect();
        let text = lines.concat();
        let wanted = Wanted {
            head: 2,
            tail: 2,
            spans: vec![(50, 52), (51, 53)],
        };
        let at = text.find("line 60").unwrap() as u64;
        let expected = vec![1, 2, 50, 51, 52, 53, 99, 100];
        assert_eq!(numbers(&text, at, &wanted), (expected, 100, Some(60)));
        let first = &excerpt(text.as_bytes(), at, &wanted).lines[0];
        assert_eq!(first.text, "line 1");
    }

    #[test]
    fn whatever_a_guest_sends_is_bounded() {
        let mut bytes = vec![b'x'; 300_000];
        bytes.extend_from_slice(b"\n\xff\xfe\n");
        bytes.extend_from_slice(b"without an end");
        let wanted = Wanted::new([(u64::MAX, 0), (0, u64::MAX)].into_iter(), 40);
        let found = excerpt(bytes.as_slice(), u64::MAX, &wanted);
        assert_eq!(found.all, 3);
        assert!(found.lines[0].cut);
        assert_eq!(found.lines[0].text.len(), LONGEST);
        assert_eq!(found.lines[1].text, "\u{fffd}\u{fffd}");
        assert_eq!(found.lines[2].text, "without an end");
        assert_eq!(found.asked, None);
        let text = "x\n".repeat(10_000);
        let found = excerpt(text.as_bytes(), 0, &wanted);
        assert!(found.lines.len() <= 60, "{}", found.lines.len());
    }

    #[test]
    fn only_kernels_that_had_to_be_compiled_took_time() {
        let done = |stage: &str, cached: bool| {
            let text = format!(
                r#"{{"at":"x","finished":{{"stage":"{stage}","subject":"7.3.4","cached":{cached},"elapsed":61.5}}}}"#
            );
            build(text.as_bytes())
        };
        assert_eq!(done("build", false), Some(("7.3.4".to_owned(), 61.5)));
        assert_eq!(done("build", true), None);
        assert_eq!(done("source", false), None);
        assert_eq!(build(b"{\"finished\": \"build\"}"), None);
        assert_eq!(build(b"\"finished\" nonsense"), None);
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(JOURNAL);
        let text = "{\"at\":1.0,\"dump\":null}\nnonsense\n\n{\"at\":2.0,\"dump\":null}\n{\"at\":3";
        std::fs::write(&path, text).unwrap();
        let found = entries(&path, |line| serde_json::from_str(line).ok());
        let times: Vec<f64> = found.iter().map(|line: &Line| line.at).collect();
        assert_eq!(times, [1.0, 2.0]);
    }

    #[test]
    fn lines_around_findings_are_found_however_these_overlap() {
        let spans = [(60, 61), (10, 40), (12, 14), (90, 80), (41, 43)];
        let wanted = Wanted::new(spans.into_iter(), 400);
        let has: Vec<u64> = (1..200).filter(|line| wanted.has(*line)).collect();
        let before = 8;
        let around = |(first, last): (u64, u64)| first - before..=last + before;
        let all = |line: &u64| {
            let near = spans.iter().any(|span| around(*span).contains(line));
            *line <= wanted.head || near
        };
        assert_eq!(has, (1..200).filter(all).collect::<Vec<u64>>());
    }

    #[test]
    fn what_stands_in_a_file_s_place_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(JOURNAL);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert_eq!(entries(&path, |line| serde_json::from_str(line).ok()), []);
        assert!(regular(&path).is_none() && regular(home.path()).is_none());
    }
}
