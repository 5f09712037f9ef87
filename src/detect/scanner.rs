//! The stream: chunks of a log in, sightings out.
//!
//! Outside reports the log is only searched for the texts of the table, in
//! whole chunks; lines are parsed near a match and while a report is open.
//! Each context (task or CPU, where the kernel names it) has its own open
//! report, so that reports of several CPUs do not mix.

use std::collections::{HashSet, VecDeque};

use memchr::{memchr, memchr_iter, memrchr};

use super::Class;
use super::assemble;
use super::boot::{Boot, line_key};
use super::finding::{Finding, Sighting};
use super::frame;
use super::parts::announces_dump;
use super::report::Report;
use super::rules::{Hit, Role, TABLE, refine};
use super::target::ExtraRule;
use super::title;
use super::waiting::Dump;
use super::wrap::Wrapped;
use crate::console::{self, Caller, Decoder, ESCAPE, Line, Splitter, Template, is_control};

/// Lines of a context that belong to no report before its report is closed.
const STRANGERS: u32 = 64;
/// Such lines behind a prefix that is still to prove one.
const PATIENCE: u32 = 12;
/// Lines of the whole log without one of a report's before it is closed.
const SILENCE: u64 = 4096;
/// Seconds without one.
const SILENT_SECONDS: f64 = 90.0;
/// Lines after `cut here` in which the message must come.
const PRELUDE_LINES: u64 = 12;
/// Lines after it in which a report ends whose message was lost.
const LOST_LINES: u64 = 256;
/// Lines that may follow a boot loader's last word without being a kernel's.
const FAREWELL_LINES: u64 = 1;
/// Seconds between two reports of one check for hung tasks: a slow console's.
const CHECK_SECONDS: f64 = 3.0;
/// Reports open at once; more contexts than that only come from garbage.
const OPEN: usize = 64;
/// Messages that are looked for in one line: of as many processors that print at once.
const MESSAGES: u32 = 8;
/// First lines remembered to recognise a replay.
const REMEMBERED: usize = 4096;

/// The first control character in these lines that does not end one.
fn control(lines: &[u8]) -> Option<usize> {
    /// Bytes that are looked at at once.
    const STRIDE: usize = 64;
    let is_other = |byte: u8| byte != b'\r' && is_control(byte);
    let other = lines
        .chunks(STRIDE)
        .enumerate()
        .find_map(|(number, chunk)| {
            // Without a branch for each byte: most of a log has none.
            let any = chunk.iter().fold(false, |any, byte| any | is_other(*byte));
            let at = any.then(|| chunk.iter().position(|byte| is_other(*byte)))??;
            Some(number * STRIDE + at)
        });
    let ends = |at: &usize| matches!(lines.get(at + 1), None | Some(b'\r' | b'\n'));
    let mut returns = memchr_iter(b'\r', &lines[..other.unwrap_or(lines.len())]);
    returns.find(|at| !ends(at)).or(other)
}

/// Reads a log as it comes and tells what it finds.
#[derive(Debug, Default)]
pub struct Scanner {
    decoder: Decoder,
    splitter: Splitter,
    state: State,
}

impl Scanner {
    /// A scanner at the beginning of a log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A scanner that also finds what a job's own rules name. Every line is
    /// then looked at, which takes its time.
    #[must_use]
    pub fn with_rules(rules: Vec<ExtraRule>) -> Self {
        let mut scanner = Self::default();
        scanner.state.extra = rules;
        scanner
    }

    /// Reads on; chunks may end anywhere.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Sighting> {
        let state = &mut self.state;
        let chunk = self.decoder.push(chunk);
        self.splitter.push(&chunk, |run| state.run(run));
        std::mem::take(&mut self.state.out)
    }

    /// Completes what is open, as far as it goes: for a log that has fallen
    /// silent but may go on.
    pub fn settle(&mut self) -> Vec<Sighting> {
        self.state.release_held();
        self.state.restarted();
        self.state.close_all();
        std::mem::take(&mut self.state.out)
    }

    /// Whether a report is being read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let state = &self.state;
        !state.open.is_empty() || state.held.is_some() || state.boot.is_in_doubt()
    }

    /// Whether a report is being read that has not come to its end: its stack is
    /// still to come, or was broken off.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.open.iter().any(Report::is_cut)
    }

    /// The log is over: what was open is completed.
    #[must_use]
    pub fn finish(mut self) -> Vec<Finding> {
        self.end()
            .into_iter()
            .filter_map(|sighting| match sighting {
                Sighting::Complete(finding) => Some(*finding),
                Sighting::Begun { .. } => None,
            })
            .collect()
    }

    /// As `finish`, with the sightings.
    pub fn end(&mut self) -> Vec<Sighting> {
        let state = &mut self.state;
        let rest = self.decoder.finish();
        self.splitter.push(&rest, |run| state.run(run));
        let last = self.splitter.finish();
        if !last.is_empty() {
            self.state.run(&last);
        }
        self.state.release_held();
        self.state.restarted();
        self.state.close_all();
        self.state.unheard_of();
        std::mem::take(&mut self.state.out)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Lines read.
    lines: u64,
    open: Vec<Report>,
    /// Hung tasks of one check, which share the list of locks at its end.
    group: Vec<Report>,
    /// A report of which only the line before its first came yet.
    prelude: Option<Report>,
    /// A line that may go on in the next one.
    wrapped: Option<Wrapped>,
    /// A line as long as a terminal is wide.
    held: Option<Broken>,
    terminal: Terminal,
    /// Where the message at hand begins: its last line is the one that is counted.
    first: u64,
    /// The last line that was looked at, if it had a stamp.
    last: Last,
    /// What stands before each line of the capture.
    template: Option<Template>,
    /// Whether the line at hand had that.
    stripped: bool,
    out: Vec<Sighting>,
    /// Whether anything was found yet, and where it ended.
    last_finding: Option<u64>,
    first_lines: HashSet<u64>,
    first_order: VecDeque<u64>,
    boot: Boot,
    /// A dump of tasks that was asked for after tasks were found hung, and in
    /// what context it is printed.
    dump: Option<(Option<Caller>, Dump)>,
    /// A job's own rules.
    extra: Vec<ExtraRule>,
}

/// A line, to tell whether the next one is the same.
#[derive(Debug, Default)]
struct Last {
    time: Option<f64>,
    caller: Option<Caller>,
    body: String,
}

/// Columns of terminals, which go on in the next line with one that is longer.
const WIDTHS: &[usize] = &[80, 100, 120, 132];

/// How a line begins that is no rest of another one.
const BEGINNINGS: &[&str] = &["---[", "Call Trace:", "Call trace:", "Modules linked in: "];

/// Lines that a terminal must have broken before the next one is put together that
/// could as well be whole.
const EVIDENCE: u32 = 1;

/// Bytes of a line that is put together again: a kernel's record.
const LONGEST_BROKEN: usize = 1024;

/// A line of which more may come.
#[derive(Debug)]
struct Broken {
    raw: Vec<u8>,
    /// The first of its lines.
    number: u64,
    /// How many it has.
    lines: u64,
    /// How long the full ones are.
    width: usize,
    /// Whether the terminal was seen to break others.
    sure: bool,
}

/// What the lines so far tell of a terminal that breaks them: none is longer than it
/// is wide.
#[derive(Debug, Default)]
struct Terminal {
    /// The longest line.
    longest: usize,
    /// Lines of that length, with a stamp, that seemed to go on in the next one.
    broken: u32,
    /// Whether the last line is one that may.
    full: bool,
}

impl Terminal {
    /// Whether no line will be taken for a broken one any more.
    fn is_done(&self) -> bool {
        WIDTHS.last().is_some_and(|widest| self.longest > *widest)
    }

    /// Sees a line, without its end; whether more of it may come.
    fn see(&mut self, line: &[u8]) -> bool {
        if std::mem::take(&mut self.full) && is_rest(line) {
            self.broken += 1;
        }
        let hides = |byte: &u8| matches!(*byte, b'\r' | ESCAPE);
        if line.len() > self.longest && !line.iter().any(hides) {
            self.longest = line.len();
            self.broken = 0;
        }
        self.full =
            line.len() == self.longest && WIDTHS.contains(&line.len()) && console::is_stamped(line);
        self.full
    }

    /// Sees lines that nothing else looks at.
    fn skip(&mut self, run: &[u8]) {
        let mut rest = run;
        while !rest.is_empty() && !self.is_done() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            self.see(trim_end(&rest[..end]));
            rest = &rest[end..];
        }
    }
}

/// A line without what ends it.
fn trim_end(raw: &[u8]) -> &[u8] {
    let end = raw.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &raw[..end.map_or(0, |end| end + 1)]
}

/// Whether a line may be the rest of one that a terminal broke: it has nothing in
/// front of it, and is nothing by itself.
fn is_rest(line: &[u8]) -> bool {
    if line.is_empty() || !console::is_bare(line) {
        return false;
    }
    let body = console::parse(line).body;
    let is_frame = body.starts_with(' ') && frame::parse(&body).is_some();
    let begins = BEGINNINGS.iter().any(|start| body.starts_with(start));
    let is_message = || TABLE.find(&body).is_some_and(|hit| !hit.doubtful);
    !is_frame && !begins && !is_message()
}

/// Whether a line ends in a word, which is not that of a whole function.
fn ends_in_word(line: &[u8]) -> bool {
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or(line);
    let is_whole = memchr::memmem::find(word, b"+0x").is_some()
        && memchr::memmem::find(word, b"/0x").is_some();
    !is_whole && word.last().is_some_and(|byte| is_word(*byte))
}

/// Whether a byte may be in the middle of a function's name or of a message's word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// What a line is to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Nothing,
    /// A message of the table that is still a line of a report.
    Seen,
    /// It went into a report as what begins or continues it.
    Taken,
}

impl State {
    /// Reads a run of complete lines.
    fn run(&mut self, run: &[u8]) {
        self.boot.look_before(run);
        let mut at = 0;
        while at < run.len() {
            if self.is_idle() {
                let rest = &run[at..];
                let found = TABLE.next(rest);
                // What is between the characters of a message hides it.
                let before = &rest[..found.unwrap_or(rest.len())];
                let Some(found) = control(before).or(found) else {
                    self.pass(rest);
                    return;
                };
                let found = at + found;
                let start = memrchr(b'\n', &run[at..found]).map_or(at, |end| at + end + 1);
                self.pass(&run[at..start]);
                at = start;
            }
            let end = memchr(b'\n', &run[at..]).map_or(run.len(), |end| at + end + 1);
            self.lines += 1;
            self.boot.keep(&run[at..end]);
            self.line(&run[at..end]);
            at = end;
        }
    }

    /// Goes over lines that hold nothing.
    fn pass(&mut self, lines: &[u8]) {
        self.lines += count_lines(lines);
        self.terminal.skip(lines);
        self.boot.keep(lines);
    }

    /// Whether lines need not be looked at that hold no text of the table.
    fn is_idle(&self) -> bool {
        self.open.is_empty()
            && self.prelude.is_none()
            && self.wrapped.is_none()
            && self.extra.is_empty()
            && !self.boot.is_in_doubt()
            && self.held.is_none()
    }

    /// Reads a line; one that may be the beginning of a longer one waits for the next.
    fn line(&mut self, raw: &[u8]) {
        let raw = &raw[..raw.len().min(console::LONGEST_LINE)];
        let kept = trim_end(raw);
        let is_full = self.terminal.see(kept);
        let sure = self.terminal.broken >= EVIDENCE;
        if let Some(mut held) = self.held.take() {
            let is_word = || kept.first().is_some_and(|byte| is_word(*byte));
            if kept.len() > held.width || !is_rest(kept) || !(held.sure || is_word()) {
                self.release(&held);
            } else {
                held.raw.extend_from_slice(kept);
                held.lines += 1;
                if kept.len() == held.width && held.raw.len() < LONGEST_BROKEN {
                    self.held = Some(held);
                } else {
                    self.release(&held);
                }
                return;
            }
        }
        self.first = self.lines;
        if is_full && (sure || ends_in_word(kept)) {
            self.held = Some(Broken {
                raw: kept.to_vec(),
                number: self.lines,
                lines: 1,
                width: kept.len(),
                sure,
            });
        } else {
            self.whole_line(raw);
        }
    }

    /// Reads a line that waited, as of where it ends.
    fn release(&mut self, held: &Broken) {
        let now = std::mem::replace(&mut self.lines, held.number + held.lines - 1);
        self.first = held.number;
        self.whole_line(&held.raw);
        self.lines = now;
    }

    /// Reads what waits: nothing comes behind it.
    fn release_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.release(&held);
        }
    }

    fn whole_line(&mut self, raw: &[u8]) {
        let raw = raw.trim_ascii_end();
        let raw = console::visible(raw);
        let raw = &*raw;
        if memchr(b'\r', raw).is_none() {
            let line = console::parse(raw);
            self.parsed(line);
            return;
        }
        // A carriage return moves the cursor back over what was printed: a
        // message that ends there, or one that somebody wants to hide.
        let mut hit = false;
        for part in raw.split(|byte| *byte == b'\r') {
            if !part.is_empty() {
                hit |= self.parsed(console::parse(part));
            }
        }
        if !hit {
            let whole: Vec<u8> = raw.iter().copied().filter(|b| *b != b'\r').collect();
            let line = console::parse(&whole);
            self.trigger(&line);
        }
    }

    /// Reads a line that is taken apart; whether it is a message of the table.
    fn parsed(&mut self, mut line: Line<'_>) -> bool {
        self.stripped = false;
        if let Some(template) = &self.template {
            if self.open.is_empty() {
                self.template = None;
            } else if let Some(rest) = template.strip(&line.body) {
                line.body = rest.to_owned().into();
                self.stripped = true;
            }
        }
        if self.is_doubled(&line) {
            return true;
        }
        self.close_silent(&line);
        if let Some(banner) = self.boot.follow(&line) {
            self.reset(banner);
        }
        self.boot.stamp(&line);
        let hit = self.trigger(&line);
        if hit != Trigger::Taken && !self.dumped(&line) {
            self.route(&line);
        }
        if !line.user && !self.extra.is_empty() && hit != Trigger::Taken {
            self.extra(&line);
        }
        hit != Trigger::Nothing
    }

    /// Looks for a message of the table in the line, or in it and the one
    /// before.
    fn trigger(&mut self, line: &Line<'_>) -> Trigger {
        self.first_of(line, MESSAGES)
    }

    /// The same in a line that may hold so many messages.
    fn first_of(&mut self, line: &Line<'_>, messages: u32) -> Trigger {
        let wrapped = self.wrapped.take();
        let interesting = TABLE.may_match(line.body.as_bytes());
        if line.user {
            // What others say of the machine's end explains its next start.
            if interesting && let Some(hit) = TABLE.find(&line.body) {
                self.boot.explained |= hit.rule().role == Role::Restarts;
            }
            return Trigger::Nothing;
        }
        let found = if interesting {
            TABLE.find(&line.body)
        } else {
            None
        };
        if let Some(wrapped) = &wrapped
            && found.is_none()
            && let Some(hit) = wrapped.joined(line, self.lines)
        {
            self.unwrap(hit, line, wrapped);
            return Trigger::Taken;
        }
        if !interesting {
            return Trigger::Nothing;
        }
        self.wrapped = Wrapped::of(line, self.lines, found.as_ref());
        let certain = found.as_ref().is_some_and(|hit| !hit.doubtful);
        // Two messages in one line.
        if !certain
            && messages > 1
            && let Some(second) = console::after_stamp(&line.body)
        {
            return self.first_of(&second, messages - 1);
        }
        match found {
            Some(hit) if self.hit(&hit, line) => Trigger::Taken,
            Some(_) => Trigger::Seen,
            None => Trigger::Nothing,
        }
    }

    /// A message that began in the line before.
    fn unwrap(&mut self, hit: Hit, line: &Line<'_>, wrapped: &Wrapped) {
        let open = self
            .open
            .iter_mut()
            .find(|report| report.trigger_line == wrapped.number);
        if let Some(report) = open {
            report.repeat(hit, line, self.lines);
            return;
        }
        let whole = Line {
            time: wrapped.time,
            caller: wrapped.caller,
            ..line.clone()
        };
        if self.hit(&hit, &whole)
            && let Some(report) = self.open.last_mut()
            && report.trigger_line == self.lines
        {
            report.start_at(wrapped.number);
        }
    }

    /// Findings of a job's own rules are a line each.
    fn extra(&mut self, line: &Line<'_>) {
        let Some(rule) = self
            .extra
            .iter()
            .find(|rule| rule.message.matches(&line.body))
        else {
            return;
        };
        let mut finding = assemble::single(rule, line, self.lines);
        finding.first_line = self.first;
        if self.is_replay(line) {
            return;
        }
        self.out.push(Sighting::Begun {
            class: finding.class,
            title: finding.title.clone(),
            line: finding.first_line,
        });
        self.last_finding = Some(finding.last_line);
        self.out.push(Sighting::Complete(Box::new(finding)));
    }

    /// A line that may begin a report; false if it is only a line after all.
    fn hit(&mut self, hit: &Hit, line: &Line<'_>) -> bool {
        let own = self
            .open
            .iter()
            .rposition(|report| report.caller == line.caller);
        if hit.doubtful && (own.is_some() || !hit.rule().role.begins()) {
            return false;
        }
        if let Some(own) = own
            && self.open[own].is_repeated(hit, line, self.lines)
        {
            self.open[own].repeat(hit.clone(), line, self.lines);
            return true;
        }
        match hit.rule().role {
            Role::Restarts => {
                self.boot.explained = true;
                return false;
            }
            Role::Told => return false,
            Role::Banner => return self.banner(hit.clone(), line),
            Role::Prelude => {
                self.prelude = Some(self.report(hit.clone(), line));
                return false;
            }
            Role::Hands => {
                self.boot.handed = Some(self.report(hit.clone(), line));
                return false;
            }
            Role::Panics => {
                self.boot.explained = true;
                if self.panic(hit, line, own) {
                    return true;
                }
            }
            Role::Continues => {
                let announced = self.prelude.as_ref().map(|prelude| prelude.first_line);
                if let Some(own) = own
                    && continues(&self.open[own], hit, announced)
                {
                    let report = &mut self.open[own];
                    if report.hit.file.is_none() {
                        report.hit.file.clone_from(&hit.file);
                    }
                    if report.hit.function.is_none() {
                        report.hit.function.clone_from(&hit.function);
                    }
                    report.confirmed |= hit.rule().class == Class::Oom;
                    report.add(line, self.lines);
                    self.prelude = None;
                    return true;
                }
            }
            Role::Begins | Role::Tentative(_) => {}
        }
        if self.is_replay(line) {
            return true;
        }
        self.begin(hit.clone(), line);
        true
    }

    /// A report that begins with the line.
    fn report(&self, hit: Hit, line: &Line<'_>) -> Report {
        let mut report = Report::new(hit, line, self.lines);
        report.start_at(self.first);
        report
    }

    fn begin(&mut self, hit: Hit, line: &Line<'_>) {
        // What was not seen before is of a new boot, and told after its banner.
        if !hit.doubtful && !matches!(hit.rule().role, Role::Tentative(_)) {
            self.restarted();
        }
        let mut index = 0;
        while index < self.open.len() {
            let report = &self.open[index];
            if report.caller == line.caller && !goes_on(report, &hit) {
                let report = self.open.remove(index);
                if !tells_again(&report, &hit) {
                    self.interrupt(report, &hit, line);
                }
            } else {
                index += 1;
            }
        }
        if self.open.len() >= OPEN {
            let oldest = self.open.remove(0);
            self.close(oldest);
        }
        let mut report = self.report(hit, line);
        report.add(line, self.lines);
        if let Some(prelude) = self
            .prelude
            .take_if(|prelude| prelude.caller == line.caller)
            && self.lines - prelude.first_line <= PRELUDE_LINES
        {
            report.start_at(prelude.first_line);
        }
        if report.hit.prefix > 0 {
            self.template = Template::of(&line.body[..report.hit.prefix]);
        }
        if report.is_certain() {
            self.announce(&report);
        }
        self.open.push(report);
    }

    /// Ends a report because another one begins.
    fn interrupt(&mut self, mut report: Report, hit: &Hit, line: &Line<'_>) {
        report.broken |= report.is_cut();
        let soon = match (report.last_time, line.time) {
            (Some(last), Some(now)) => now - last < CHECK_SECONDS,
            _ => true,
        };
        let hung = |class| class == Class::HungTask;
        let check = hung(hit.rule().class) && hung(report.hit.rule().class);
        if check && soon && self.group.len() < OPEN {
            self.group.push(report);
        } else {
            self.close(report);
        }
    }

    fn announce(&mut self, report: &Report) {
        self.out.push(Sighting::Begun {
            class: report.hit.rule().class,
            title: title::provisional(report),
            line: report.first_line,
        });
    }

    /// Whether the panic belongs to something that was reported already.
    fn panic(&mut self, hit: &Hit, line: &Line<'_>, own: Option<usize>) -> bool {
        let message = hit.groups.first().cloned().unwrap_or_default();
        let consequence = is_consequence(&message);
        // What was not worth a report by itself causes no panic, unless that
        // says so: `System is deadlocked on memory`.
        let causes = |report: &Report| {
            let tentative = matches!(report.hit.rule().role, Role::Tentative(_));
            !tentative || report.confirmed || message.to_lowercase().contains("memory")
        };
        let memory =
            |report: &Report| report.hit.rule().class == Class::Oom && message.contains("memory");
        let fresh = own.filter(|own| {
            let report = &self.open[*own];
            memory(report)
                || causes(report) && (consequence || (!report.ended && report.strangers < 8))
        });
        let last = || self.open.iter().rposition(causes).filter(|_| consequence);
        let target = fresh.or_else(last);
        if let Some(target) = target {
            let report = &mut self.open[target];
            report.confirmed = true;
            report.panic.get_or_insert(message);
            report.add(line, self.lines);
            return true;
        }
        consequence && self.last_finding.is_some()
    }

    fn banner(&mut self, hit: Hit, line: &Line<'_>) -> bool {
        let again = self.boot.banner.is_some();
        let announced = self.boot.explained || self.boot.handed.is_some() || line.relayed;
        if self.boot.banner == Some(true) && line.time.is_none() && !announced {
            // A program shows it, or another kernel starts, which has no stamps.
            if self.open.is_empty() && !self.boot.is_in_doubt() {
                let mut report = self.report(hit, line);
                report.add(line, self.lines);
                report.reset = true;
                self.boot.doubt(report);
            }
            return true;
        }
        if line.time.is_some() {
            self.boot.overtake();
        }
        self.restarted();
        let firmware = self.boot.handed.is_some();
        let ran = std::mem::take(&mut self.boot.ran);
        let explained = std::mem::take(&mut self.boot.explained) || !self.open.is_empty();
        self.boot.banner = Some(line.time.is_some());
        self.boot.handed = None;
        self.close_all();
        // Files of syslog and of journals go over many boots.
        if explained || line.relayed || !(again || ran) || self.is_replay(line) {
            self.boot.begin();
            return true;
        }
        let mut report = self.report(hit, line);
        report.add(line, self.lines);
        // With the boot before in sight nothing but a reset is left; without
        // it there is no telling what ran before.
        report.reset = again;
        if firmware {
            self.reset(report);
        } else {
            self.boot.doubt(report);
        }
        true
    }

    /// A banner whose lines did not come a second time is a reset's.
    fn restarted(&mut self) {
        if let Some(banner) = self.boot.settle() {
            self.reset(banner);
        }
    }

    /// The machine started over.
    fn reset(&mut self, banner: Report) {
        self.out.push(Sighting::Begun {
            class: if banner.reset {
                Class::TripleFault
            } else {
                Class::Other
            },
            title: title::provisional(&banner),
            line: banner.first_line,
        });
        self.close(banner);
    }

    /// The log is over: a machine that was handed to its kernel and has said
    /// nothing since never came up.
    fn unheard_of(&mut self) {
        if let Some(report) = self.boot.handed.take()
            && self.lines - report.first_line <= FAREWELL_LINES
        {
            self.out.push(Sighting::Begun {
                class: report.hit.rule().class,
                title: title::provisional(&report),
                line: report.first_line,
            });
            self.emit(&[report]);
        }
    }

    /// Gives a line to the report it is of; to two of one context where one has
    /// to do with the other.
    fn route(&mut self, line: &Line<'_>) {
        let mut given = false;
        for index in (0..self.open.len()).rev() {
            if self.open[index].caller == line.caller {
                self.give(index, line);
                given = true;
            }
        }
        // Other CPUs answer for a stall by NMI, in their own context.
        if !given && line.caller.is_some() {
            let stall = self.open.iter().position(|report| {
                matches!(
                    report.hit.rule().class,
                    Class::RcuStall | Class::SoftLockup | Class::HardLockup
                )
            });
            if let Some(index) = stall {
                self.give(index, line);
            }
        }
        self.follow_prelude(line);
    }

    fn give(&mut self, index: usize, line: &Line<'_>) {
        let number = self.lines;
        let report = &mut self.open[index];
        let certain = report.is_certain();
        let belongs = report.add(line, number);
        if let Role::Tentative(confirmations) = report.hit.rule().role {
            let confirms = |beginning: &&str| line.body.starts_with(*beginning);
            report.confirmed |= confirmations.iter().any(confirms);
        }
        if report.hit.doubtful && belongs && self.stripped {
            report.hit.doubtful = false;
        }
        if !certain && report.is_certain() {
            let report = report.clone();
            self.announce(&report);
        }
        let report = &self.open[index];
        let patience = if self.stripped { PATIENCE } else { 1 };
        let unlike = report.hit.doubtful && report.strangers > patience;
        if report.strangers > STRANGERS || unlike {
            let report = self.open.remove(index);
            self.close(report);
        }
    }

    /// Reads on after the line that announces a report. If its end comes before
    /// its first line, that one was lost.
    fn follow_prelude(&mut self, line: &Line<'_>) {
        let number = self.lines;
        let late = |prelude: &Report| number - prelude.first_line > LOST_LINES;
        if self.prelude.as_ref().is_some_and(late) {
            self.prelude = None;
        }
        let Some(prelude) = &mut self.prelude else {
            return;
        };
        if prelude.caller != line.caller {
            return;
        }
        prelude.add(line, number);
        if prelude.ended
            && prelude.stack_lines > 0
            && let Some(report) = self.prelude.take()
        {
            self.announce(&report);
            self.close(report);
        }
    }

    /// Whether the line came just before: two consoles print it.
    fn is_doubled(&mut self, line: &Line<'_>) -> bool {
        let time = line.time.filter(|time| *time > 0.0);
        let last = &mut self.last;
        let doubled = time.is_some()
            && last.time == time
            && last.caller == line.caller
            && last.body == line.body;
        last.time = time;
        last.caller = line.caller;
        last.body.clear();
        last.body.push_str(&line.body);
        doubled
    }

    /// Whether the line is of a dump of tasks that belongs to hung tasks.
    fn dumped(&mut self, line: &Line<'_>) -> bool {
        let hung = |report: &Report| report.hit.rule().class == Class::HungTask;
        if announces_dump(&line.body) && self.open.iter().any(hung) {
            let (_, dump) = self.dump.take().unwrap_or_default();
            self.dump = Some((line.caller, dump));
        }
        let Some((caller, dump)) = &mut self.dump else {
            return false;
        };
        if *caller != line.caller {
            return false;
        }
        let goes_on = dump.line(&line.body);
        let at = self.open.iter().position(hung);
        match (goes_on, at) {
            (true, Some(at)) => self.open[at].stays(line, self.lines),
            (false, Some(at)) => {
                let report = self.open.remove(at);
                self.close(report);
            }
            (_, None) => self.dump = None,
        }
        true
    }

    /// Closes reports that nothing was added to for long.
    fn close_silent(&mut self, line: &Line<'_>) {
        let mut index = 0;
        while index < self.open.len() {
            let report = &self.open[index];
            let late = match (line.time, report.last_time) {
                (Some(now), Some(last)) => {
                    now - last > SILENT_SECONDS || now + 1.0 < last && now < 1.0
                }
                _ => false,
            };
            if late || self.lines - report.last_heard > SILENCE {
                let report = self.open.remove(index);
                self.close(report);
            } else {
                index += 1;
            }
        }
    }

    fn close_all(&mut self) {
        for report in std::mem::take(&mut self.open) {
            self.close(report);
        }
        let group = std::mem::take(&mut self.group);
        self.emit(&group);
        self.prelude = None;
    }

    fn close(&mut self, report: Report) {
        if report.hit.doubtful {
            return;
        }
        let mut reports = if report.hit.rule().class == Class::HungTask {
            std::mem::take(&mut self.group)
        } else {
            Vec::new()
        };
        if matches!(report.hit.rule().role, Role::Tentative(_)) && !report.confirmed {
            return;
        }
        reports.push(report);
        self.emit(&reports);
    }

    fn emit(&mut self, reports: &[Report]) {
        if reports.is_empty() {
            return;
        }
        let dump = if reports
            .iter()
            .any(|report| report.hit.rule().class == Class::HungTask)
        {
            self.dump.take().map(|(_, dump)| dump)
        } else {
            None
        };
        for finding in assemble::findings(reports, dump.unwrap_or_default()) {
            self.last_finding = Some(finding.last_line);
            self.out.push(Sighting::Complete(Box::new(finding)));
        }
    }

    /// Whether the same line, stamp and all, was seen before: a second dump of
    /// the same log.
    fn is_replay(&mut self, line: &Line<'_>) -> bool {
        let Some(time) = line.time.filter(|time| *time > 0.0) else {
            return false;
        };
        let key = line_key(time, line);
        if !self.first_lines.insert(key) {
            return true;
        }
        self.first_order.push_back(key);
        if self.first_order.len() > REMEMBERED
            && let Some(oldest) = self.first_order.pop_front()
        {
            self.first_lines.remove(&oldest);
        }
        false
    }
}

fn count_lines(run: &[u8]) -> u64 {
    memchr_iter(b'\n', run).count() as u64
}

/// Whether a report reads on although another one begins in its context: what
/// may come to nothing ends none, what a processor says that is asked about a
/// stall is about the stall, and a complaint may fail while it is printed.
fn goes_on(report: &Report, hit: &Hit) -> bool {
    let tentative = matches!(hit.rule().role, Role::Tentative(_));
    if tentative || !report.is_waiting() {
        return tentative && !report.ended;
    }
    match report.hit.rule().class {
        Class::RcuStall => hit.rule().class == Class::HardLockup,
        // It stumbles over the broken lock that it tells of.
        Class::Lockdep | Class::SpinlockDebug => {
            matches!(
                hit.rule().class,
                Class::Kasan | Class::Gpf | Class::PagingNull
            )
        }
        _ => false,
    }
}

/// Whether a report that begins tells of the same as the one before it, and of whom it
/// is about.
fn tells_again(report: &Report, hit: &Hit) -> bool {
    let warns = |name: &str| name.starts_with("kmem_cache_destroy") || name == "__slab_err";
    match report.hit.rule().name {
        "slab-remaining" => hit.function.as_deref().is_some_and(warns),
        // The list that the count is of.
        "kmemleak" => hit.rule().name == "leaked-object",
        _ => false,
    }
}

/// Whether a line that continues reports continues this one; `announced` is
/// where a report was that is still to come.
fn continues(report: &Report, hit: &Hit, announced: Option<u64>) -> bool {
    let open = report.hit.rule();
    if open.name == "oom" {
        return hit.rule().class == Class::Oom;
    }
    if hit.rule().class == Class::Leak {
        // The count of those that were listed; the object of a leak.
        return open.class == Class::Leak
            && (hit.rule().name == "kmemleak"
                || open.name == "memory-leak" && report.is_waiting());
    }
    if !report.is_waiting() || report.strangers > 10 {
        return false;
    }
    if !open.stack && open.class == Class::BugOther && announced > Some(report.trigger_line) {
        return false;
    }
    match hit.rule().class {
        Class::Warning => {
            matches!(open.class, Class::VfsWarn | Class::BusyInodes)
                || matches!(open.name, "busy-dentry" | "control-flow")
        }
        Class::Oom => false,
        _ if open.name == "unhandled-fault" => true,
        _ => matches!(
            open.class,
            Class::VfsBug
                | Class::KernelBug
                | Class::PagingNull
                | Class::Gpf
                | Class::BusyInodes
                | Class::BugOther
                // Where the undefined behaviour sanitizer traps.
                | Class::Ubsan
        ),
    }
}

fn is_consequence(message: &str) -> bool {
    refine::CONSEQUENCES
        .iter()
        .any(|known| message.contains(known))
}
