//! What a log tells of the machine's starts, before and between banners.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::report::Report;
use crate::console::{self, Line};

/// Lines that are looked at for a system that ran before the log's first banner, and
/// for what a banner was.
const LOOKED: u32 = 512;

/// Bytes of what a boot begins with that are kept: its first hundreds of lines.
const KEPT: usize = 64 << 10;

/// Lines of a boot's beginning that are remembered with their times.
const REMEMBERED: usize = 64;

/// Of these, those that must come once more before a log is a second showing.
const SHOWN_AGAIN: u32 = 3;

/// Seconds before which lines of all boots have the same times: clocks begin there.
const EARLY: f64 = 0.1;

/// What only a kernel says that starts, without stamps as well.
const FIRST_WORDS: &[&str] = &[
    "Command line: ",
    "Kernel command line: ",
    "BIOS-provided physical RAM map:",
    "BIOS-e820: ",
    "Booting Linux on physical CPU",
    "Machine model: ",
    "Zone ranges:",
    "Memory: ",
    "ACPI: ",
    "PCI: ",
];

/// What is known of the machine's starts.
#[derive(Debug, Default)]
pub(super) struct Boot {
    /// Whether the last banner had the kernel's stamp, if there was one.
    pub(super) banner: Option<bool>,
    /// Something announced or explained a restart.
    pub(super) explained: bool,
    /// Something ran before the first banner.
    pub(super) ran: bool,
    /// Lines that were looked at for that.
    looked: u32,
    /// The last word of a boot loader, while nothing follows it.
    pub(super) handed: Option<Report>,
    /// What the last boot began with. It is only looked at if a banner is in doubt.
    beginning: Vec<u8>,
    /// How much of it was looked at.
    read: usize,
    /// What was found there: the lines that no other boot has.
    own: HashSet<u64>,
    doubted: Option<Doubted>,
    /// The last stamp that was seen.
    last: f64,
}

/// A banner that may be a program's, which shows the kernel's log once more.
#[derive(Debug)]
struct Doubted {
    banner: Report,
    /// How many lines came since.
    lines: u32,
    /// How many of them came before.
    known: u32,
    /// The stamp before it, if it has none as the last one had: from which on one
    /// shows that nothing restarted.
    before: Option<f64>,
    /// Whether what came since is a kernel's that starts.
    starts: bool,
}

impl Boot {
    /// Whether it is open what the last banner was: lines are to be shown to `follow`.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubted.is_some()
    }

    /// Waits for what comes after a banner before that is taken for a reset.
    pub(super) fn doubt(&mut self, banner: Report) {
        let unlike = banner.time.is_none() && self.banner == Some(true);
        self.doubted = Some(Doubted {
            before: unlike.then_some(self.last),
            starts: !unlike,
            banner,
            lines: 0,
            known: 0,
        });
    }

    /// A banner with a stamp after one without: that one has nothing more to tell.
    pub(super) fn overtake(&mut self) {
        self.doubted.take_if(|doubted| doubted.before.is_some());
    }

    /// Sees a stamp.
    pub(super) fn stamp(&mut self, line: &Line<'_>) {
        if let Some(time) = line.time {
            self.last = time;
        }
    }

    /// Keeps lines if they are of a boot's beginning.
    pub(super) fn keep(&mut self, lines: &[u8]) {
        if self.is_in_doubt() {
            return;
        }
        let room = KEPT.saturating_sub(self.beginning.len());
        self.beginning
            .extend_from_slice(&lines[..lines.len().min(room)]);
    }

    /// Sees a line while a banner is in doubt; gives that once it is a reset's.
    pub(super) fn follow(&mut self, line: &Line<'_>) -> Option<Report> {
        self.doubted.as_ref()?;
        let known = own_key(line).is_some_and(|key| self.began_with(key));
        let doubted = self.doubted.as_mut()?;
        doubted.lines += 1;
        doubted.known += u32::from(known);
        doubted.starts |= FIRST_WORDS.iter().any(|start| line.body.starts_with(start));
        let goes_on = line
            .time
            .zip(doubted.before)
            .is_some_and(|(time, before)| time >= before);
        if doubted.known >= SHOWN_AGAIN || goes_on {
            self.doubted = None;
            return None;
        }
        (doubted.lines >= LOOKED).then(|| self.settle())?
    }

    /// Whether the last boot began with a line. Its beginning is read no further than
    /// that takes, and none of it twice.
    fn began_with(&mut self, key: u64) -> bool {
        while self.own.len() < REMEMBERED && self.read < self.beginning.len() {
            let rest = &self.beginning[self.read..];
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let raw = console::visible(rest[..end].trim_ascii_end());
            self.own.extend(own_key(&console::parse(&raw)));
            self.read += end;
        }
        self.own.contains(&key)
    }

    /// Nothing came that shows otherwise: the banner of a reset, if it is a kernel's.
    pub(super) fn settle(&mut self) -> Option<Report> {
        let doubted = self.doubted.take().filter(|doubted| doubted.starts)?;
        self.banner = Some(doubted.banner.time.is_some());
        self.begin();
        Some(doubted.banner)
    }

    /// What comes next is the beginning of a boot.
    pub(super) fn begin(&mut self) {
        self.beginning.clear();
        self.read = 0;
        self.own.clear();
    }

    /// Sees whether what stands before the first mention of a banner, in the
    /// log's first lines, shows a running system. Line by line, so that it does
    /// not matter where chunks end.
    pub(super) fn look_before(&mut self, run: &[u8]) {
        for raw in run.split_inclusive(|byte| *byte == b'\n') {
            if self.looked >= LOOKED {
                return;
            }
            self.looked += 1;
            if memchr::memmem::find(raw, b"Linux version ").is_some() {
                self.looked = LOOKED;
            } else if shows_running(raw) {
                self.ran = true;
                self.looked = LOOKED;
            }
        }
    }
}

/// What tells a line and its time from others.
pub(super) fn line_key(time: f64, line: &Line<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    time.to_bits().hash(&mut hasher);
    line.caller.hash(&mut hasher);
    line.body.hash(&mut hasher);
    hasher.finish()
}

/// What tells the beginning of a line and its time from others, if no other boot has
/// that time. Its end may be on the terminal's next line.
fn own_key(line: &Line<'_>) -> Option<u64> {
    /// Bytes of a line that are on the terminal's first.
    const BEGINNING: usize = 32;
    let time = line.time.filter(|time| is_fine(*time))?;
    let body = line.body.as_bytes();
    let mut hasher = DefaultHasher::new();
    time.to_bits().hash(&mut hasher);
    body[..body.len().min(BEGINNING)].hash(&mut hasher);
    Some(hasher.finish())
}

/// Whether a time has microseconds, and late enough that other boots have others.
fn is_fine(time: f64) -> bool {
    time >= EARLY && (time * 1e6).round() % 1000.0 != 0.0
}

/// Whether a line is of a running system: the kernel's stamp, or a system call
/// of a fuzzer's trace.
fn shows_running(raw: &[u8]) -> bool {
    let line = console::parse(&raw[..raw.len().min(console::LONGEST_LINE)]);
    let traced = line.body.split_once('(').is_some_and(|(name, rest)| {
        !name.is_empty()
            && name.bytes().all(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || matches!(b, b'_' | b'$' | b'=' | b' ')
            })
            && rest.contains("0x")
            && rest.ends_with(')')
    });
    line.time.is_some_and(|time| time > 0.0) || traced
}
