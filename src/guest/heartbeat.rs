//! The heartbeat on the console: lines of the agent's own in the kernel's log,
//! by which the host knows that what the kernel says still arrives. A workload,
//! or something in the guest, may have turned the console off (`kernel.printk`),
//! and silence of a kernel that cannot be heard means nothing.
//!
//! The agent writes a [`Beat`] after each step and now and then between, and
//! only then tells the host of it over the link: [`GuestMessage::Finished`]
//! stands for [`Beat::Step`], [`GuestMessage::Beat`] for [`Beat::Tick`]. What
//! was told and is not on the console was not shown: see [`unheard`].
//!
//! A line of its own ends what `SysRq` had the kernel print, see [`dump_end`]:
//! newer kernels leave the printing to a thread, and the agent is back from
//! pulling the letters long before the console has it all.
//!
//! [`GuestMessage::Finished`]: super::protocol::GuestMessage::Finished
//! [`GuestMessage::Beat`]: super::protocol::GuestMessage::Beat

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use memchr::memmem;

/// How long the agent waits between two ticks when it is asked for a
/// heartbeat and nothing else is wanted. A line in so long costs nothing.
pub const PERIOD: Duration = Duration::from_secs(10);

/// What a beat's message begins with. A program's lines in the kernel's log
/// look like this, and what reads logs does not take them for the kernel's.
const MARK: &str = "kvet[1]: ";

/// The level of a beat, `err`: shown unless the console is as good as off.
const LEVEL: u8 = 3;

/// The kernel's own word that the console could not keep up. What was lost
/// then was not turned off.
const DROPPED: &[u8] = b" printk messages dropped **";

/// A sign of life of the agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Beat {
    /// This step ended.
    Step(u32),
    /// Time passed; ticks are counted from 1.
    Tick(u32),
}

impl fmt::Display for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(number) => write!(f, "step {number} done"),
            Self::Tick(number) => write!(f, "tick {number}"),
        }
    }
}

impl Beat {
    /// What is written to `/dev/kmsg`, in one piece.
    #[must_use]
    pub fn record(self) -> String {
        format!("<{LEVEL}>{MARK}{self}\n")
    }

    /// The beat that a line of the console shows.
    fn shown(line: &[u8]) -> Option<Self> {
        let at = memmem::find(line, MARK.as_bytes())? + MARK.len();
        let text = std::str::from_utf8(&line[at..]).ok()?.trim_end();
        let number = |text: &str| text.parse().ok();
        if let Some(tick) = text.strip_prefix("tick ") {
            return number(tick).map(Self::Tick);
        }
        let step = text.strip_prefix("step ")?.strip_suffix(" done")?;
        number(step).map(Self::Step)
    }
}

/// What the agent writes to `/dev/kmsg` when it has pulled these `SysRq` letters:
/// on the console it stands below all that they had the kernel print.
#[must_use]
pub fn dump_end(letters: &str) -> String {
    format!("<{LEVEL}>{MARK}sysrq {letters} done\n")
}

/// Whether the console shows the end of what these letters made the kernel print.
#[must_use]
pub fn shows_dump_end(console: &[u8], letters: &str) -> bool {
    let wanted = format!("{MARK}sysrq {letters} done");
    memmem::find(console, wanted.as_bytes()).is_some()
}

/// Those beats the guest told of that the console did not show, in the order
/// told: while they were written, the console was off. Beats that the console
/// lost because it could not keep up, which it says between those before and
/// after, are not counted.
///
/// `console` is all that it said, read to its end: what was told last may be
/// the last thing that it says.
#[must_use]
pub fn unheard(console: &[u8], told: &[Beat]) -> Vec<Beat> {
    let mut shown = HashMap::new();
    let mut dropped = Vec::new();
    for (number, line) in console.split(|byte| *byte == b'\n').enumerate() {
        if let Some(beat) = Beat::shown(line) {
            shown.insert(beat, number);
        } else if memmem::find(line, DROPPED).is_some() {
            dropped.push(number);
        }
    }
    // Where each beat is or, if it is nowhere, would be: between what was told
    // before it and what was told after it. A guest decides how many of all these
    // there are: each is looked at once.
    let places: Vec<Option<usize>> = told.iter().map(|beat| shown.get(beat).copied()).collect();
    let mut before = vec![usize::MAX; told.len()];
    let mut next = usize::MAX;
    for (before, place) in before.iter_mut().zip(&places).rev() {
        next = place.unwrap_or(next);
        *before = next;
    }
    let mut after = 0;
    let mut missing = Vec::new();
    for ((beat, place), before) in told.iter().zip(places).zip(before) {
        if let Some(place) = place {
            after = place;
            continue;
        }
        // They are in order.
        let next = dropped.partition_point(|at| *at < after);
        if dropped.get(next).is_none_or(|at| *at > before) {
            missing.push(*beat);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: [Beat; 4] = [Beat::Step(0), Beat::Tick(1), Beat::Step(1), Beat::Step(10)];

    fn console(lines: &[&str]) -> Vec<u8> {
        let stamped = |line: &&str| format!("[   12.345678][    T1] {line}\r\n");
        lines.iter().map(stamped).collect::<String>().into_bytes()
    }

    /// What the console shows of a record: all but the level.
    fn line(beat: Beat) -> String {
        let record = beat.record();
        record.trim_start_matches("<3>").trim_end().to_owned()
    }

    fn shown(beats: &[Beat]) -> Vec<u8> {
        let lines: Vec<String> = beats.iter().map(|beat| line(*beat)).collect();
        console(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn a_dump_ends_where_its_own_letters_are_named() {
        let record = dump_end("w");
        let shown = record.strip_prefix("<3>").unwrap();
        let console = format!("[    4.2] sysrq: Show Blocked State\r\n[    4.3] {shown}");
        assert!(shows_dump_end(console.as_bytes(), "w"));
        assert!(!shows_dump_end(console.as_bytes(), "wlt"));
        assert!(!shows_dump_end(&console.as_bytes()[..50], "w"));
        assert_eq!(Beat::shown(shown.as_bytes()), None);
    }

    #[test]
    fn a_console_that_shows_every_beat_is_heard() {
        assert_eq!(unheard(&shown(&TOLD), &TOLD), []);
        // One that nobody told of yet does no harm, nor does no beat at all.
        assert_eq!(unheard(&shown(&TOLD), &TOLD[..2]), []);
        assert_eq!(unheard(b"", &[]), []);
    }

    #[test]
    fn a_console_that_was_turned_off_is_silent_from_there_on() {
        assert_eq!(unheard(&shown(&TOLD[..2]), &TOLD), TOLD[2..]);
        assert_eq!(unheard(b"", &TOLD), TOLD);
    }

    #[test]
    fn a_console_that_was_off_for_a_while_was_silent_then() {
        assert_eq!(unheard(&shown(&[TOLD[0], TOLD[3]]), &TOLD), TOLD[1..3]);
    }

    #[test]
    fn one_step_is_not_taken_for_another() {
        assert_eq!(unheard(&shown(&TOLD[3..]), &TOLD[2..3]), [Beat::Step(1)]);
    }

    #[test]
    fn what_the_console_says_it_dropped_is_not_silence() {
        let [first, .., last] = TOLD;
        let dropped = "** 512 printk messages dropped **";
        let (first, last) = (line(first), line(last));
        let between = console(&[&first, dropped, &last]);
        assert_eq!(unheard(&between, &TOLD), []);
        // What it dropped before says nothing of what comes later.
        let before = console(&[dropped, &first, &last]);
        assert_eq!(unheard(&before, &TOLD), TOLD[1..3]);
        assert_eq!(unheard(&console(&[&first, dropped]), &TOLD), []);
    }

    #[test]
    fn a_guest_that_drops_and_tells_without_end_is_soon_looked_at() {
        let told: Vec<Beat> = (0..10_000).map(Beat::Step).collect();
        let (first, last) = (line(told[0]), line(told[9_999]));
        let mut lines = vec![first.as_str(), last.as_str()];
        lines.resize(200_000, "** 1 printk messages dropped **");
        assert_eq!(unheard(&console(&lines), &told), told[1..9_999]);
    }

    #[test]
    fn hostile_lines_are_not_beats() {
        for line in [
            "kvet[1]: step 99999999999 done",
            "kvet[1]: step 1",
            "kvet[1]: ",
            "kvet[1]: step \u{1b}[2J done",
        ] {
            assert_eq!(Beat::shown(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Beat::shown(b"kvet[1]: step \xff done"), None);
    }
}
