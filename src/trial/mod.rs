//! One attempt at a trial: a guest from boot to its end, and what it showed, as
//! facts. The loop below asks [`Guest::next`] what happened, walks the
//! workload's steps, and stops as soon as the kernel's words settle the
//! question. What the facts amount to is decided later.

mod hang;
mod request;
mod self_test;
mod settle;
mod steps;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::Instant as Deadline;

use hang::{Seen, Watch};
pub use request::Request;
pub use self_test::{SelfTestRequest, self_test, unseen};
pub use settle::{lost, settle};
use steps::{Move, Steps};

use crate::context::Context;
use crate::coverage::Artifacts;
use crate::detect::{Finding, complete, known_as};
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::guest::heartbeat::{self, Beat};
use crate::guest::protocol::{FailedTest, GAVE_UP, Ready, StepResult};
use crate::host::{self, Load, Moment};
use crate::patience;
use crate::record::with_other_findings;
use crate::record::{
    DISK, Ending, Entry, Journal, MEMORY, Part, TestFailure, Trial, keep_request, keep_trial,
    read_console,
};
use crate::service::{DiskCheck, DiskState, Service, ServiceFault};
use crate::store::gib;
pub use crate::testbed::FINDINGS;
use crate::testbed::{BOOT_DEADLINE, Guest, Happening, Pace, Start, Testbed};
use crate::vm::{Debugging, End, Startup, Uname};

/// After a finding that is not the target: how long other reports of the same
/// event (the other tasks that hang) may take to follow.
const SETTLE: Duration = Duration::from_secs(3);

/// The same where another report is under way then: a kernel may go on for ever.
const SETTLE_AT_MOST: Duration = Duration::from_secs(30);

/// How long after a step's failure the kernel may take to begin a report of what
/// made it fail, under KVM.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How long QEMU may take to end once it is let go: it gives the guest's memory
/// back.
const RELEASED: Duration = Duration::from_secs(15);

/// What kernels round many of their timers to.
const SECOND: Duration = Duration::from_secs(1);

/// So many bytes of console are searched for the agent's signs of life.
const LISTENED: u64 = 64 << 20;

/// So many bytes at the console's end are searched for what an agent said last.
const LAST_WORDS: usize = 4096;

/// How a guest ends that was turned off, and not by what its kernel met.
const POWERED_OFF: &str = "powered off";

/// A guest may name this many counters.
const COUNTERS: usize = 1000;

/// The longest name of one, in bytes.
const COUNTER: usize = 256;

/// Runs one attempt at a trial, keeps its files in `directory`, which is there
/// and empty of them, and returns its facts. An error means that kvet itself
/// could not go on; everything else is an [`Ending`].
pub async fn run(
    context: &Context,
    testbed: &Testbed,
    request: &Request,
    directory: &Path,
) -> Result<Trial, Error> {
    keep_request(directory, request)?;
    let journal = Journal::create(directory)?;
    let began = Instant::now();
    let before = Moment::now();
    let (ending, mut heard) = match begin(context, testbed, request, journal).await {
        Ok(guest) => {
            let attempt = Attempt::new(context, request, directory, guest, testbed.pace());
            attempt.run(testbed.service()).await?
        }
        Err(failed) if failed.error.exit() == Exit::Interrupted => return Err(failed.error),
        Err(failed) => (failed.end(directory, began)?, Heard::default()),
    };
    let seconds = began.elapsed().as_secs_f64();
    // A guest that could not be let in, or was lost, may not be what is broken.
    let asks = heard.service_used || matches!(ending, Ending::Harness { .. });
    if asks && let Err(fault) = testbed.service().answers().await {
        heard.unanswered = match fault {
            ServiceFault::Silent(parts) => parts,
            other => vec![Error::from(other).one_line()],
        };
    }
    let disk = match &ending {
        Ending::Finished => examine(context, testbed, request, directory, &heard).await,
        _ => None,
    };
    heard.counted.keep(directory)?;
    let trial = Trial {
        silenced: silenced(directory, &ending, &heard)?,
        disk,
        failed_tests: heard.failed_tests,
        findings: heard.findings,
        ready: heard.ready,
        booted_at: heard.booted_at,
        console_length: heard.console_length,
        said: heard.said,
        lines: heard.console_lines,
        seconds,
        counters: heard.counters,
        load: Some(Load {
            denied: heard.denied,
            ..before.until(&Moment::now())
        }),
        unanswered: heard.unanswered,
        memory: heard.memory,
        ..without_guest(request, ending)
    };
    let trial = with_other_findings(trial, request.target.as_ref());
    keep_trial(directory, &trial)?;
    Ok(trial)
}

/// What the guest left on its disk, if it had unmounted it: one that was still
/// in use says nothing.
async fn examine(
    context: &Context,
    testbed: &Testbed,
    request: &Request,
    directory: &Path,
    heard: &Heard,
) -> Option<DiskCheck> {
    let check = if heard.released? {
        let keep = directory.join(DISK);
        let hostname = &request.hostname;
        testbed.examine(context, hostname, &keep).await?
    } else {
        DiskCheck::unknown("something in the guest still held the disk after umount")
    };
    if let DiskState::Unknown { why } = &check.state {
        let id = &request.id;
        context.emit(Event::Warning(format!(
            "{id}: nobody knows whether its disk is damaged: {why}"
        )));
    }
    let line = heard.console_lines;
    Some(DiskCheck { line, ..check })
}

/// From where on the kernel was not heard: the first sign of life that the agent
/// wrote to the console and the console did not show. Asked only where the console
/// was read to its end; how far it was read, where it was not.
fn silenced(directory: &Path, ending: &Ending, heard: &Heard) -> Result<Option<String>, Error> {
    if let Some(bytes) = heard.unread_from {
        return Ok(Some(format!("{} MiB", bytes >> 20)));
    }
    if !matches!(ending, Ending::Finished | Ending::Deadline { .. }) || heard.told.is_empty() {
        return Ok(None);
    }
    let console = read_console(directory, LISTENED)?;
    if console.len() as u64 >= LISTENED {
        // So much noise that what is missing may stand behind it.
        return Ok(None);
    }
    let missing = heartbeat::unheard(&console, &heard.told);
    Ok(missing.first().map(ToString::to_string))
}

/// The facts of an attempt at which no guest came to be.
#[must_use]
pub fn without_guest(request: &Request, ending: Ending) -> Trial {
    Trial {
        id: request.id.clone(),
        attempt: request.attempt,
        host: request.host.clone(),
        release: request.release.clone(),
        ending,
        findings: Vec::new(),
        ready: None,
        booted_at: None,
        console_length: 0,
        said: 0,
        lines: 0,
        seconds: 0.0,
        counters: BTreeMap::new(),
        load: None,
        unanswered: Vec::new(),
        silenced: None,
        disk: None,
        failed_tests: Vec::new(),
        memory: None,
        unarmed_then: Vec::new(),
    }
}

/// Why no guest came to be.
struct NotBegun {
    /// What failed.
    part: Part,
    error: Error,
}

impl NotBegun {
    /// How that ends an attempt that began then, recorded in its journal.
    fn end(self, directory: &Path, began: Instant) -> Result<Ending, Error> {
        let ending = Ending::Harness {
            part: self.part,
            what: self.error.one_line(),
        };
        let mut journal = Journal::reopen(directory, began)?;
        journal.entry(Entry::Ended(ending.clone()))?;
        Ok(ending)
    }
}

/// Makes something, and notes which part failed if that fails.
async fn of_part<T>(
    part: Part,
    failed: &Cell<Part>,
    made: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    made.await.inspect_err(|_| failed.set(part))
}

async fn begin<'a>(
    context: &Context,
    testbed: &'a Testbed,
    request: &Request,
    journal: Journal,
) -> Result<Guest<'a>, NotBegun> {
    // All that a guest needs besides what it mounts is its machine.
    let failed = Cell::new(Part::Machine);
    let not_begun = |error| NotBegun {
        part: failed.get(),
        error,
    };
    let welcome = testbed.welcome(context, &request.hostname, request.id.seed());
    let welcome = of_part(Part::Service, &failed, welcome);
    let disks = async { testbed.service().disks(&request.hostname) };
    let disks = of_part(Part::Service, &failed, disks);
    let disks = disks.await.map_err(not_begun)?;
    let (kernel, hardware, words) = (&request.kernel, &request.hardware, &request.words);
    // What a kernel knows of a disk it learns when it boots, and where its memory
    // is described it tells QEMU then.
    let boots = request.start == Startup::Boot || !disks.is_empty() || request.dump;
    let start = if boots {
        Start::Boot {
            kernel,
            hardware,
            words,
            disks: &disks,
            debugging: Debugging {
                keeps_memory: request.dump,
                gdb: None,
            },
        }
    } else {
        Start::Restore {
            kernel,
            hardware,
            words,
            name: &request.id.arm,
            make: request.save,
        }
    };
    testbed
        .start(start, welcome, journal, &request.patterns, None)
        .await
        .map_err(not_begun)
}

/// How long a guest that is there waits before its first step: any part of
/// [`SECOND`], by the trial's seed.
///
/// Kernels put many of their timers on whole seconds since boot. Guests that
/// were all restored from one moment, or booted by one host at one speed, would
/// have each such timer run out at the same point of the workload, trial for
/// trial, and so hit a race always or never.
fn phase(seed: u64) -> Duration {
    // Multiples of the golden section, of which only what is behind the point
    // counts: however many trials there are, they are spread evenly.
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let thousandth = (mixed * 1000) >> 32;
    SECOND * u32::try_from(thousandth).unwrap_or(0) / 1000
}

/// What was learnt from the guest.
#[derive(Debug, Default)]
struct Heard {
    ready: Option<Ready>,
    booted_at: Option<u64>,
    findings: Vec<Finding>,
    counters: BTreeMap<String, u64>,
    /// Bytes of console before the harness itself made the kernel talk.
    console_length: u64,
    /// Bytes of console in all.
    said: u64,
    /// Whether the guest came so far that it may have used the service.
    service_used: bool,
    unanswered: Vec<String>,
    told: Vec<Beat>,
    /// Bytes of console that were read, if there was more of it.
    unread_from: Option<u64>,
    /// Whether the guest said that nothing holds its disk any more.
    released: Option<bool>,
    /// Tests that did not pass, and the console's lines when that was told.
    failed_tests: Vec<TestFailure>,
    /// Lines of console.
    console_lines: u64,
    /// The line counters that were asked for.
    counted: Artifacts,
    /// Bytes of the dump of its memory, if there is one.
    memory: Option<u64>,
    /// The share of its time in which it had to wait for a processor.
    denied: Option<f64>,
}

/// An attempt under way.
struct Attempt<'a> {
    context: &'a Context,
    request: &'a Request,
    directory: &'a Path,
    guest: Guest<'a>,
    /// When a finding that ends the trial was seen: wait no longer than this.
    settled: Option<Deadline>,
    /// Until when a report under way is heard out then: it may be the target's.
    heard_out: Option<Deadline>,
    /// How long steps take.
    pace: &'a Pace,
    watch: Watch,
    /// When the step in the foreground began.
    step_began: Deadline,
    /// When the first step begins, once the guest is there.
    first_step: Option<Deadline>,
    /// Whether its memory was kept, or could not be.
    memory_asked: bool,
    heard: Heard,
}

impl<'a> Attempt<'a> {
    fn new(
        context: &'a Context,
        request: &'a Request,
        directory: &'a Path,
        guest: Guest<'a>,
        pace: &'a Pace,
    ) -> Self {
        Self {
            pace,
            watch: Watch::none(),
            step_began: Deadline::now(),
            first_step: None,
            memory_asked: false,
            context,
            request,
            directory,
            guest,
            settled: None,
            heard_out: None,
            heard: Heard::default(),
        }
    }

    async fn run(mut self, service: &'a Service) -> Result<(Ending, Heard), Error> {
        let mut ending = self.drive(service).await?;
        if let Some(text) = self.gave_up(&ending)? {
            let part = Part::Link;
            let what = format!("the guest's agent gave up: {text}");
            ending = Ending::Harness { part, what };
        }
        if matches!(ending, Ending::StepFailed { .. })
            && let Some(what) = self.hear_report().await?
        {
            let part = Part::Service;
            ending = Ending::Harness { part, what };
        }
        // While it is there.
        self.heard.denied = self.guest.process().and_then(host::denied);
        self.count_lines(&ending).await?;
        self.hear_out();
        match &ending {
            // Stuck or silent: have the kernel say where everybody is.
            Ending::Stopped | Ending::Deadline { .. } => {
                // As it is now: what follows changes it.
                self.keep_memory().await?;
                let dumped = self.guest.dump().await?;
                complete(&mut self.heard.findings, dumped);
                if matches!(ending, Ending::Deadline { .. }) {
                    let part = Part::Machine;
                    if self.guest.is_frozen() {
                        let what = "QEMU does not answer".to_owned();
                        ending = Ending::Harness { part, what };
                    } else if let Some(End::Failed { said }) = self.guest.gone().await {
                        let what = format!("QEMU ended: {said}");
                        ending = Ending::Harness { part, what };
                    }
                }
            }
            Ending::Finished => {
                self.guest.power_off().await?;
                self.hear_out();
            }
            Ending::StepFailed { .. } | Ending::GuestEnded { .. } | Ending::Harness { .. } => {}
        }
        self.heard.said = self.guest.journal.console_length();
        self.heard.console_lines = self.guest.journal.console_lines();
        self.heard.told = self.guest.told().to_vec();
        self.heard.unread_from = self.guest.unread_from();
        self.guest.journal.entry(Entry::Ended(ending.clone()))?;
        self.guest.kill().await;
        Ok((ending, self.heard))
    }

    /// Why the agent of a guest that powered off gave up, if it did: without its port
    /// it says so on the console alone.
    fn gave_up(&self, ending: &Ending) -> Result<Option<String>, Error> {
        if !matches!(ending, Ending::GuestEnded { how, .. } if how == POWERED_OFF) {
            return Ok(None);
        }
        let console = read_console(self.directory, LISTENED)?;
        let begin = console.len().saturating_sub(LAST_WORDS);
        let said = String::from_utf8_lossy(&console[begin..]);
        let text = said.rsplit_once(GAVE_UP).map(|(_, text)| text);
        let text = text.and_then(|text| text.lines().next());
        Ok(text.map(|text| text.escape_default().to_string()))
    }

    /// Hears what the kernel is saying while a step fails: what made it fail may have
    /// made another CPU begin a report. Why the service is lost, if that comes out.
    async fn hear_report(&mut self) -> Result<Option<String>, Error> {
        let at_most = Deadline::now() + SETTLE_AT_MOST;
        let mut until = self.guest.within(AFTERMATH);
        loop {
            match (self.settled, self.heard_out) {
                // The target, after which nothing is waited for.
                (Some(_), None) => return Ok(None),
                (Some(settled), Some(_)) => until = until.max(settled),
                (None, _) => {}
            }
            let next = self.guest.next(until.min(at_most), std::future::pending());
            match next.await? {
                Happening::<()>::Finding(finding) => self.found(*finding),
                Happening::ServiceLost(what) => return Ok(Some(what)),
                Happening::Held => {
                    self.keep_memory().await?;
                    return Ok(None);
                }
                Happening::Deadline if self.guest.is_reporting() && until < at_most => {
                    until += SECOND;
                }
                Happening::Ended(_) | Happening::Deadline => return Ok(None),
                _ => {}
            }
        }
    }

    /// Reads the line counters that the request names, of a guest that is there.
    async fn count_lines(&mut self, ending: &Ending) -> Result<(), Error> {
        let is_gone = matches!(ending, Ending::GuestEnded { .. } | Ending::Harness { .. });
        if is_gone || self.request.counted.is_empty() {
            return Ok(());
        }
        let mut found = Vec::new();
        let objects = &self.request.counted;
        self.heard.counted = self.guest.line_counters(objects, &mut found).await?;
        for finding in found {
            self.found(finding);
        }
        Ok(())
    }

    /// Keeps the guest's memory, if the request asks for it and there is
    /// something to see. Once: a guest that was let go has none any more.
    async fn keep_memory(&mut self) -> Result<(), Error> {
        let wanted = self.request.dump && !self.memory_asked;
        let Some(ready) = self.heard.ready.as_ref().filter(|_| wanted) else {
            return Ok(());
        };
        self.memory_asked = true;
        let uname = Uname {
            release: ready.release.clone(),
            version: ready.version.clone(),
            nodename: self.request.hostname.clone(),
        };
        let path = self.directory.join(MEMORY);
        let id = &self.request.id;
        let (bytes, problem) = match self.guest.dump_memory(&path, uname).await {
            Ok(bytes) => {
                let size = gib(bytes.max(1 << 27));
                let text = format!("the memory of {id} is in {} ({size} GiB)", path.display());
                self.context.emit(Event::Note(text));
                (Some(bytes), None)
            }
            Err(problem) => {
                let text = format!("no memory dump of {id}: {problem}");
                self.context.emit(Event::Warning(text));
                (None, Some(problem))
            }
        };
        self.heard.memory = bytes;
        Ok(self.guest.journal.entry(Entry::Memory { bytes, problem })?)
    }

    /// Takes the report under way, if any: the console so far is all of it.
    fn hear_out(&mut self) {
        for finding in self.guest.last_findings() {
            self.found(finding);
        }
        self.heard.console_length = self.guest.journal.console_length();
    }

    /// Boots, walks the steps, and returns how it came to an end.
    async fn drive(&mut self, service: &'a Service) -> Result<Ending, Error> {
        let mut steps = Steps::new(self.context, service, self.request);
        let mut deadline = self.guest.within(patience::of(BOOT_DEADLINE));
        let mut last = None;
        loop {
            let settled = self.settled.is_some_and(|settled| settled <= deadline);
            let end = self
                .settled
                .map_or(deadline, |settled| settled.min(deadline));
            let until = match self.first_step.or(self.watch.at()) {
                Some(wanted) if self.settled.is_none() => wanted.min(end),
                _ => end,
            };
            let host = async {
                match steps.host.as_mut() {
                    Some(step) => step.await,
                    None => std::future::pending().await,
                }
            };
            let happening = self.guest.next(until, host).await?;
            let moved = match happening {
                Happening::Finding(finding) => {
                    self.found(*finding);
                    Move::Wait
                }
                Happening::Ready(ready) => {
                    self.heard.ready = Some(*ready);
                    self.heard.booted_at = Some(self.guest.journal.console_lines());
                    Move::Wait
                }
                Happening::Greeted => {
                    self.heard.service_used = true;
                    self.first_step = Some(Deadline::now() + phase(self.request.id.seed()));
                    // The boot's is met, and the first step's is far.
                    deadline = self.guest.within(patience::of(BOOT_DEADLINE));
                    Move::Wait
                }
                Happening::Finished { step, result } => self.finished(step, result, &mut steps)?,
                Happening::Aside(result) => {
                    let (step, result, moved) = steps.host_ended(result);
                    let entry = Entry::StepEnded { step, result };
                    self.guest.journal.entry(entry)?;
                    moved
                }
                Happening::Broken(error) => Move::End(Ending::Harness {
                    part: Part::Link,
                    what: Error::from(error).one_line(),
                }),
                Happening::ServiceLost(what) => Move::End(Ending::Harness {
                    part: Part::Service,
                    what,
                }),
                Happening::Held => {
                    deadline = self.let_go().await?;
                    Move::Wait
                }
                Happening::Ended(end) => Move::End(ended(end, steps.label())),
                Happening::Blocked(said) => self.blocked(&said, &steps).await?,
                Happening::Deadline if until < end && self.first_step.take().is_some() => {
                    Move::Next
                }
                Happening::Deadline if until < end => {
                    self.watch.asked();
                    self.guest.ask_blocked().await?;
                    Move::Wait
                }
                Happening::Deadline
                    if settled && self.heard_out > self.settled && self.guest.is_reporting() =>
                {
                    self.settled = Some(Deadline::now() + SECOND);
                    Move::Wait
                }
                Happening::Deadline if settled => Move::End(Ending::Stopped),
                Happening::Deadline => Move::End(self.late(&steps)?),
            };
            if let Some(ending) = self.follow(moved, &mut steps).await? {
                return Ok(ending);
            }
            // A deadline belongs to a step; a new step has a new one.
            if steps.current() != last {
                last = steps.current();
                self.step_began = Deadline::now();
                self.watch = self.watch_of(&steps);
                self.guest.forget_look();
                deadline = self.guest.within(steps.timeout());
                if let Some(whole) = steps.whole_deadline(self.guest.slowdown()) {
                    deadline = deadline.min(whole);
                }
            }
        }
    }

    /// Keeps what is left of a machine that has come to its end, and lets QEMU go;
    /// until when its end is waited for.
    async fn let_go(&mut self) -> Result<Deadline, Error> {
        // What was waited for has come: its end, which nobody asked for.
        self.settled = None;
        self.first_step = None;
        self.watch = Watch::none();
        self.keep_memory().await?;
        self.guest.release().await;
        // The step's time may have gone into its memory.
        Ok(self.guest.within(patience::of(RELEASED)))
    }

    /// How the trial ends now that the step in the foreground, or the boot, is not
    /// through in time.
    fn late(&mut self, steps: &Steps<'a>) -> Result<Ending, Error> {
        let step = steps.label();
        let entry = Entry::Deadline { step: step.clone() };
        self.guest.journal.entry(entry)?;
        let whole = steps.whole_deadline(self.guest.slowdown());
        let has_time = whole.is_none_or(|whole| Deadline::now() < whole);
        if steps.host.is_some() && has_time {
            // It is not the kernel that takes so long.
            let part = Part::Service;
            let what = format!("{step} did not finish");
            return Ok(Ending::Harness { part, what });
        }
        Ok(Ending::Deadline { step })
    }

    /// Does what follows; the ending, if that is what does.
    async fn follow(
        &mut self,
        moved: Move,
        steps: &mut Steps<'a>,
    ) -> Result<Option<Ending>, Error> {
        let mut moved = moved;
        loop {
            moved = match moved {
                Move::Wait => return Ok(None),
                Move::Next => self.begin_next(steps).await?,
                Move::End(ending) => return Ok(Some(ending)),
            };
        }
    }

    /// Whether to look at the step that begins, and after how long.
    fn watch_of(&self, steps: &Steps<'a>) -> Watch {
        let step = steps.foreground();
        match (steps.current(), step) {
            (Some(at), Some(step)) if hang::is_brief(self.request, step) => {
                Watch::of(self.pace.patience(&self.request.workload.name, at))
            }
            _ => Watch::none(),
        }
    }

    /// The kernel has printed its blocked tasks.
    async fn blocked(&mut self, said: &[u8], steps: &Steps<'a>) -> Result<Move, Error> {
        let Seen::Circle(tasks) = self.watch.answered(said) else {
            return Ok(Move::Wait);
        };
        let trial = &self.request.id;
        self.context.emit(Event::Note(format!(
            "{trial}: in a circle of waits: {}",
            tasks.join(", ")
        )));
        let entry = Entry::Circle { tasks };
        self.guest.journal.entry(entry)?;
        self.watch = Watch::none();
        let haste = hang::haste(self.request, self.heard.ready.as_ref());
        if haste.is_empty() {
            // Nobody would ever say so.
            let step = steps.label();
            return Ok(Move::End(Ending::Deadline { step }));
        }
        for (number, step) in hang::NUMBERS.into_iter().zip(&haste) {
            self.guest.start(number, step).await;
        }
        Ok(Move::Wait)
    }

    fn found(&mut self, finding: Finding) {
        let request = self.request;
        let target = request.target.as_ref();
        let is_target = target.is_some_and(|target| target.matches(&finding));
        let known = &request.known;
        let is_known = known_as(&finding, known, target, &request.release, request.day).is_some();
        let now = Deadline::now();
        if is_target {
            self.settled = Some(now);
            self.heard_out = None;
        } else if !is_known && finding.class.ends_trial() && self.settled.is_none() {
            self.settled = Some(now + SETTLE);
            self.heard_out = Some(now + SETTLE_AT_MOST);
        }
        let title = finding.title.clone();
        if keep_finding(&mut self.heard.findings, finding, is_target) {
            self.context.emit(Event::TrialFinding {
                trial: self.request.id.clone(),
                title,
            });
        }
    }

    fn finished(
        &mut self,
        step: u32,
        result: StepResult,
        steps: &mut Steps<'a>,
    ) -> Result<Move, Error> {
        let ends = steps.ends(step, &result);
        if let (StepResult::Done(report), false) = (&result, ends.is_empty()) {
            if usize::try_from(step).ok() == steps.current() {
                let took = self.step_began.elapsed();
                let workload = &self.request.workload.name;
                self.pace.took(workload, step as usize, took);
            }
            count(&mut self.heard.counters, &report.counters);
            self.heard.released = report.released.or(self.heard.released);
            self.fail_tests(&report.failed_tests);
        }
        for (step, result) in ends {
            let entry = Entry::StepEnded { step, result };
            self.guest.journal.entry(entry)?;
        }
        Ok(steps.guest_ended(step, result))
    }

    /// Keeps what a suite's run said of its tests.
    fn fail_tests(&mut self, failed: &[FailedTest]) {
        let line = self.guest.journal.console_lines();
        let room = FINDINGS.saturating_sub(self.heard.failed_tests.len());
        let failures = failed.iter().take(room).map(|test| TestFailure {
            test: FailedTest::new(&test.name, &test.how),
            line,
        });
        self.heard.failed_tests.extend(failures);
    }

    /// Starts the next step of the workload.
    async fn begin_next(&mut self, steps: &mut Steps<'a>) -> Result<Move, Error> {
        let Some(begun) = steps.begin_next() else {
            return Ok(Move::End(Ending::Finished));
        };
        // In the background it has none before it is waited for.
        let limit = steps.timeout() * self.guest.slowdown();
        let limit = (!begun.background).then_some(limit.as_secs_f64());
        self.guest.journal.entry(Entry::StepBegan {
            step: begun.number,
            label: begun.label.clone(),
            side: begun.side,
            background: begun.background,
            limit,
        })?;
        if let Some(result) = begun.ended {
            let step = begun.number;
            let entry = Entry::StepEnded { step, result };
            self.guest.journal.entry(entry)?;
        }
        self.context.emit(Event::TrialStep {
            trial: self.request.id.clone(),
            step: begun.label,
        });
        if let Some(action) = begun.guest {
            self.guest.start(begun.number, &action).await;
        }
        Ok(begun.then)
    }
}

/// How QEMU's end ends the trial.
fn ended(end: End, step: String) -> Ending {
    let how = match end {
        End::PoweredOff => POWERED_OFF,
        End::Reset => "reset",
        End::Failed { said } => {
            return Ending::Harness {
                part: Part::Machine,
                what: format!("QEMU ended: {said}"),
            };
        }
    };
    let how = how.to_owned();
    Ending::GuestEnded { step, how }
}

/// Keeps a finding, if it is of the first [`FINDINGS`], or the target behind them:
/// that is what the trial is about. One that comes again and again takes half of that
/// at most, so that the first of another kind has room. False if it is passed over.
pub fn keep_finding(findings: &mut Vec<Finding>, finding: Finding, is_target: bool) -> bool {
    let is_new = findings
        .iter()
        .all(|one| one.signature != finding.signature);
    let room = if is_new || is_target {
        FINDINGS
    } else {
        FINDINGS / 2
    };
    let is_kept = findings.len() < room + usize::from(is_target);
    if is_kept {
        findings.push(finding);
    }
    is_kept
}

/// Adds what a step counted. The numbers and names are a guest's own: neither
/// may overflow anything, and one with too long a name is passed over.
fn count(counters: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    let more = more.iter().filter(|(name, _)| name.len() <= COUNTER);
    for (name, count) in more {
        if counters.len() < COUNTERS || counters.contains_key(name) {
            let sum = counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}
