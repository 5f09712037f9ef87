//! The stream: chunks of a log in, sightings out.
//!
//! Outside reports the log is only searched for the texts of the table, in
//! whole chunks; lines are parsed near a match and while a report is open.
//! Each context (task or CPU, where the kernel names it) has its own open
//! report, so that reports of several CPUs do not mix.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use memchr::{memchr, memchr_iter, memrchr};

use super::Class;
use super::assemble;
use super::finding::{Finding, Sighting};
use super::report::Report;
use super::rules::{Hit, PRELUDE, Role, TABLE, refine};
use super::target::ExtraRule;
use super::title;
use super::waiting::{Dump, announces_dump};
use crate::console::{self, Caller, Line, Splitter};

/// Lines of a context that belong to no report before its report is closed.
const STRANGERS: u32 = 64;
/// Lines of the whole log without one of a report's before it is closed.
const SILENCE: u64 = 4096;
/// Seconds without one.
const SILENT_SECONDS: f64 = 90.0;
/// Lines after `cut here` in which the message must come.
const PRELUDE_LINES: u64 = 12;
/// Lines at the log's beginning that are looked at for a system that ran before
/// its first banner.
const LOOKED: u32 = 512;
/// Lines that may follow a boot loader's last word without being a kernel's.
const FAREWELL_LINES: u64 = 1;
/// Seconds between two reports of one check for hung tasks: a slow console's.
const CHECK_SECONDS: f64 = 3.0;
/// Reports open at once; more contexts than that only come from garbage.
const OPEN: usize = 64;
/// First lines remembered to recognise a replay.
const REMEMBERED: usize = 4096;

/// Reads a log as it comes and tells what it finds.
#[derive(Debug, Default)]
pub struct Scanner {
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
        self.splitter.push(chunk, |run| state.run(run));
        std::mem::take(&mut self.state.out)
    }

    /// Completes what is open, as far as it goes: for a log that has fallen
    /// silent but may go on.
    pub fn settle(&mut self) -> Vec<Sighting> {
        self.state.close_all();
        std::mem::take(&mut self.state.out)
    }

    /// Whether a report is being read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.state.open.is_empty()
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
        let last = self.splitter.finish();
        if !last.is_empty() {
            self.state.run(&last);
        }
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
    prelude: Option<Prelude>,
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

#[derive(Debug)]
struct Prelude {
    caller: Option<Caller>,
    line: u64,
}

/// What is known of the machine's starts.
#[derive(Debug, Default)]
struct Boot {
    banner: bool,
    /// Something announced or explained a restart.
    explained: bool,
    /// Something ran before the first banner.
    ran: bool,
    /// Lines that were looked at for that.
    looked: u32,
    /// The last word of a boot loader, while nothing follows it.
    handed: Option<Report>,
}

impl State {
    /// Reads a run of complete lines.
    fn run(&mut self, run: &[u8]) {
        self.boot.look_before(run);
        let mut at = 0;
        while at < run.len() {
            if self.open.is_empty() && self.prelude.is_none() && self.extra.is_empty() {
                let Some(found) = TABLE.next(&run[at..]) else {
                    self.lines += count_lines(&run[at..]);
                    return;
                };
                let found = at + found;
                let start = memrchr(b'\n', &run[at..found]).map_or(at, |end| at + end + 1);
                self.lines += count_lines(&run[at..start]);
                at = start;
            }
            let end = memchr(b'\n', &run[at..]).map_or(run.len(), |end| at + end + 1);
            self.lines += 1;
            self.line(&run[at..end]);
            at = end;
        }
    }

    fn line(&mut self, raw: &[u8]) {
        let raw = &raw[..raw.len().min(console::LONGEST_LINE)];
        let line = console::parse(raw);
        self.close_silent(&line);
        if !line.user && TABLE.may_match(line.body.as_bytes()) {
            if line.body.contains(PRELUDE) {
                self.prelude = Some(Prelude {
                    caller: line.caller,
                    line: self.lines,
                });
            } else if let Some(hit) = TABLE.find(&line.body)
                && self.hit(hit, &line)
            {
                return;
            }
        }
        if !self.dumped(&line) {
            self.route(&line);
        }
        if !line.user && !self.extra.is_empty() {
            self.extra(&line);
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
        let finding = assemble::single(rule, line, self.lines);
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
    fn hit(&mut self, hit: Hit, line: &Line<'_>) -> bool {
        let own = self
            .open
            .iter()
            .position(|report| report.caller == line.caller);
        if let Some(own) = own
            && self.open[own].is_repeated(&hit, self.lines)
        {
            self.open[own].repeat(hit, line, self.lines);
            return true;
        }
        match hit.rule().role {
            Role::Restarts => {
                self.boot.explained = true;
                return false;
            }
            Role::Banner => return self.banner(hit, line),
            Role::Hands => {
                self.boot.handed = Some(Report::new(hit, line, self.lines));
                return false;
            }
            Role::Panics => {
                self.boot.explained = true;
                if self.panic(&hit, line, own) {
                    return true;
                }
            }
            Role::Continues => {
                if let Some(own) = own
                    && continues(&self.open[own], &hit)
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
        self.begin(hit, line, own);
        true
    }

    fn begin(&mut self, hit: Hit, line: &Line<'_>, own: Option<usize>) {
        if let Some(own) = own {
            let mut before = self.open.remove(own);
            before.broken |= before.is_cut();
            let soon = match (before.last_time, line.time) {
                (Some(last), Some(now)) => now - last < CHECK_SECONDS,
                _ => true,
            };
            let hung = |class| class == Class::HungTask;
            let check = hung(hit.rule().class) && hung(before.hit.rule().class);
            if check && soon && self.group.len() < OPEN {
                self.group.push(before);
            } else {
                self.close(before);
            }
        }
        if self.open.len() >= OPEN {
            let oldest = self.open.remove(0);
            self.close(oldest);
        }
        let mut report = Report::new(hit, line, self.lines);
        report.add(line, self.lines);
        if let Some(prelude) = &self.prelude
            && prelude.caller == line.caller
        {
            if self.lines - prelude.line <= PRELUDE_LINES {
                report.start_at(prelude.line);
            }
            self.prelude = None;
        }
        if !matches!(report.hit.rule().role, Role::Tentative(_)) {
            self.out.push(Sighting::Begun {
                class: report.hit.rule().class,
                title: title::provisional(&report),
                line: report.first_line,
            });
        }
        self.open.push(report);
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
        let fresh = own.filter(|own| {
            let report = &self.open[*own];
            causes(report) && (consequence || (!report.ended && report.strangers < 8))
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
        let again = self.boot.banner;
        let ran = std::mem::take(&mut self.boot.ran);
        let explained = std::mem::take(&mut self.boot.explained) || !self.open.is_empty();
        self.boot.banner = true;
        self.boot.handed = None;
        self.close_all();
        if explained || !(again || ran) || self.is_replay(line) {
            return true;
        }
        let mut report = Report::new(hit, line, self.lines);
        report.add(line, self.lines);
        // With the boot before in sight nothing but a reset is left; without
        // it there is no telling what ran before.
        report.reset = again;
        self.out.push(Sighting::Begun {
            class: if again {
                Class::TripleFault
            } else {
                Class::Other
            },
            title: title::provisional(&report),
            line: report.first_line,
        });
        self.close(report);
        true
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

    /// Gives a line to the report it is of.
    fn route(&mut self, line: &Line<'_>) {
        let number = self.lines;
        let own = self
            .open
            .iter()
            .position(|report| report.caller == line.caller)
            .or_else(|| {
                // Other CPUs answer for a stall by NMI, in their own context.
                line.caller?;
                self.open.iter().position(|report| {
                    matches!(
                        report.hit.rule().class,
                        Class::RcuStall | Class::SoftLockup | Class::HardLockup
                    )
                })
            });
        let mut full = false;
        if let Some(own) = own {
            let report = &mut self.open[own];
            report.add(line, number);
            if let Role::Tentative(confirmation) = report.hit.rule().role {
                report.confirmed |= line.body.starts_with(confirmation);
            }
            full = report.strangers > STRANGERS;
        }
        if full && let Some(own) = own {
            let report = self.open.remove(own);
            self.close(report);
        }
        if self
            .prelude
            .as_ref()
            .is_some_and(|prelude| number - prelude.line > PRELUDE_LINES)
        {
            self.prelude = None;
        }
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
        let mut hasher = DefaultHasher::new();
        time.to_bits().hash(&mut hasher);
        line.body.hash(&mut hasher);
        let key = hasher.finish();
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

/// Whether a line that continues reports continues this one.
fn continues(report: &Report, hit: &Hit) -> bool {
    let open = report.hit.rule();
    if open.name == "oom" {
        return hit.rule().class == Class::Oom;
    }
    if !report.is_waiting() || report.strangers > 10 {
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

impl Boot {
    /// Sees whether what stands before the first mention of a banner, in the
    /// log's first lines, shows a running system. Line by line, so that it does
    /// not matter where chunks end.
    fn look_before(&mut self, run: &[u8]) {
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
