//! A guest from QEMU's start to its end: the machine, its console, the line to
//! its agent, the scanner of what its kernel says, and the journal of it all.
//!
//! [`Guest::next`] is the one place where all that can happen to a guest is
//! raced. It keeps what comes, greets the agent, and hands on what a driver has
//! to decide about.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use crate::detect::{ExtraRule, Finding, Scanner, Sighting};
use crate::error::Error;
use crate::guest::heartbeat::{self, Beat};
use crate::guest::link::{Link, LinkError, of_this_version};
use crate::guest::protocol::{GuestMessage, Ready, StepResult, Welcome};
use crate::patience;
use crate::record::{Entry, Journal};
use crate::redact::Redactor;
use crate::step::GuestStep;
use crate::store::{Scratch, free, gib};
use crate::trace::Shortened;
use crate::vm::{Channels, End, Machine, Uname, VmError};

/// From QEMU's start to the agent's first word, under KVM.
pub const BOOT_DEADLINE: Duration = Duration::from_secs(15);

/// A report after which nothing comes for so long is complete.
const SILENCE: Duration = Duration::from_millis(100);

/// The same where its stack is still to come: a guest that is left waiting in the
/// middle of a report has more to say.
const LONG_SILENCE: Duration = Duration::from_secs(2);

/// A guest that says more than this on its console is out of control.
const CONSOLE_LIMIT: u64 = 256 << 20;

/// How many findings of a trial are kept, the first ones: a guest that is out
/// of control could go on for ever.
pub const FINDINGS: usize = 1000;

/// So often in a row the guest's words come before all else. Then whatever else
/// has happened has its turn: a guest that never stops talking hides nothing.
const IN_A_ROW: u32 = 64;

/// So many signs of life are looked for on the console.
const BEATS: usize = 10_000;

/// So many bytes of a dump of all tasks are looked at.
pub const DUMP_LIMIT: usize = 4 << 20;

/// Blocked tasks: what a look at them takes.
const LOOK_KEY: &str = "w";

/// How long the console may take to show what the kernel printed, once the agent
/// is through with having it printed.
const DUMP_END: Duration = Duration::from_millis(500);

/// Blocked tasks, the stacks of all CPUs, all tasks.
const DUMP_KEYS: &str = "wlt";

/// How long the dump of all tasks may take.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// How long a guest may take to power off.
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(5);

/// How long QEMU, asked to pass on a key, may take: one that is stopped or
/// stuck never answers.
const QEMU_DEADLINE: Duration = Duration::from_secs(5);

/// How long a dump of a guest's memory may take, under KVM. It is written and
/// compressed at some 100 MB a second.
const MEMORY_DEADLINE: Duration = Duration::from_secs(60);

/// So many bytes stay free beside a dump.
const MEMORY_SLACK: u64 = 1 << 30;

/// The numbers of the steps that ask for line counters are above this, far from
/// those of workloads.
pub(super) const ASKING_STEPS: u32 = 1 << 30;

/// Sees the console's bytes as they come.
pub type Tap = Box<dyn FnMut(&[u8])>;

/// The future of a guest's service being lost: the reason.
pub(super) type Lost<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

/// What happened to a guest.
#[derive(Debug)]
pub enum Happening<T> {
    /// The kernel, or what watches it, reported something.
    Finding(Box<Finding>),
    /// The agent is up; it is being told who it is, if there is anything to tell.
    Ready(Box<Ready>),
    /// The agent knows who it is and awaits steps.
    Greeted,
    /// The kernel has printed its blocked tasks, as [`Guest::ask_blocked`] asked.
    Blocked(Vec<u8>),
    /// A step ended.
    Finished {
        /// Its number.
        step: u32,
        /// How.
        result: StepResult,
    },
    /// The agent gave up, or what it says is not the protocol's.
    Broken(LinkError),
    /// The guest's machine has ended and QEMU holds its memory: it goes on to its
    /// end once it is let go.
    Held,
    /// QEMU has ended, and all that the console had was read.
    Ended(End),
    /// What the guest mounts is lost.
    ServiceLost(String),
    /// The deadline has come.
    Deadline,
    /// What the driver does aside is done.
    Aside(T),
}

/// What one turn of the race gave.
enum Turn<T> {
    Console(std::io::Result<usize>),
    Message(Result<GuestMessage, LinkError>),
    MachineEnded,
    ServiceLost(String),
    Silent,
    Looked,
    Closes,
    Deadline,
    Aside(T),
    /// Nothing but that the guest goes on talking.
    Nothing,
}

/// How far the agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Booting,
    Ready,
    Greeted,
}

/// A guest whose machine runs.
#[expect(clippy::struct_excessive_bools, reason = "each has an end of its own")]
pub struct Guest<'a> {
    machine: Machine,
    console: OwnedReadHalf,
    console_open: bool,
    /// More bytes of it are not read.
    console_limit: u64,
    /// It said more.
    unread: bool,
    buffer: Vec<u8>,
    link: Link,
    link_open: bool,
    /// `None`: nobody tells it who it is.
    welcome: Option<Welcome>,
    phase: Phase,
    /// What the agent said before its guest was saved, not yet handed on.
    remembered: Option<Ready>,
    ended: bool,
    /// When the console of a machine that has ended is not waited for any longer:
    /// what QEMU ran under may have been killed alone, and then it goes on.
    closes: Option<Instant>,
    lost: Lost<'a>,
    scanner: Scanner,
    /// Takes the guest's own key out of what its console says.
    redactor: Redactor,
    tap: Option<Tap>,
    /// Found and not yet handed on.
    found: VecDeque<Finding>,
    /// How many were handed on.
    findings: usize,
    last_word: Instant,
    /// How often in a row the guest's words came before all else.
    in_a_row: u32,
    /// By how much deadlines grow under this accelerator.
    slowdown: u32,
    /// Bytes of the machine's memory.
    memory: u64,
    /// What happened, as it is kept.
    pub journal: Journal,
    /// What the kernel printed because the harness asked.
    dumped: Vec<u8>,
    /// Under way since it was asked for its blocked tasks.
    look: Option<Look>,
    /// The signs of life that the agent says it wrote to the console.
    told: Vec<Beat>,
    /// QEMU did not answer when it was asked to pass on a key.
    frozen: bool,
    /// The machine has come to an end that nobody was told of yet.
    held: bool,
    _scratch: Option<Scratch>,
}

impl fmt::Debug for Guest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("machine", &self.machine)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// What a guest is besides its machine.
pub(super) struct Manner<'a> {
    /// Who it is told to be once its agent is up. A guest that is to be saved is
    /// nobody yet.
    pub(super) welcome: Option<Welcome>,
    pub(super) journal: Journal,
    pub(super) patterns: Vec<ExtraRule>,
    pub(super) slowdown: u32,
    /// Bytes of the machine's memory.
    pub(super) memory: u64,
    pub(super) lost: Lost<'a>,
    pub(super) tap: Option<Tap>,
    pub(super) scratch: Option<Scratch>,
}

impl<'a> Guest<'a> {
    pub(super) fn new(machine: Machine, channels: Channels, manner: Manner<'a>) -> Self {
        let secrets: Vec<String> = manner
            .welcome
            .iter()
            .filter_map(|welcome| welcome.file_system.as_ref())
            .flat_map(|access| &access.hidden)
            .map(|secret| secret.reveal().to_owned())
            .collect();
        Self {
            redactor: Redactor::new(&secrets),
            machine,
            console: channels.console,
            console_open: true,
            console_limit: CONSOLE_LIMIT,
            unread: false,
            buffer: vec![0; 64 << 10],
            link: Link::open(channels.agent),
            link_open: true,
            welcome: manner.welcome,
            phase: Phase::Booting,
            remembered: None,
            ended: false,
            closes: None,
            lost: manner.lost,
            scanner: Scanner::with_rules(manner.patterns),
            tap: manner.tap,
            found: VecDeque::new(),
            findings: 0,
            last_word: Instant::now(),
            in_a_row: 0,
            slowdown: manner.slowdown,
            memory: manner.memory,
            journal: manner.journal,
            dumped: Vec::new(),
            look: None,
            told: Vec::new(),
            frozen: false,
            held: false,
            _scratch: manner.scratch,
        }
    }

    /// Takes over what was heard of a guest before it was saved: its console is
    /// this one's beginning, and its agent is up.
    pub(super) fn remember(&mut self, console: &[u8], ready: Ready) -> Result<(), Error> {
        self.take(console)?;
        self.remembered = Some(ready);
        Ok(())
    }

    /// A deadline this far from now, longer under emulation.
    #[must_use]
    pub fn within(&self, time: Duration) -> Instant {
        Instant::now() + time * self.slowdown
    }

    /// By how much deadlines grow under this guest's accelerator.
    #[must_use]
    pub fn slowdown(&self) -> u32 {
        self.slowdown
    }

    /// The next thing that happens, until `deadline`, or until `aside` is done.
    /// An error means that the record cannot be kept. Nothing is lost by
    /// dropping the future: what was read is kept.
    pub async fn next<T>(
        &mut self,
        deadline: Instant,
        aside: impl Future<Output = T>,
    ) -> Result<Happening<T>, Error> {
        let mut aside = pin!(aside);
        loop {
            if let Some(finding) = self.found.pop_front() {
                return self.happened_finding(finding);
            }
            if let Some(ready) = self.remembered.take() {
                let said = Ok(GuestMessage::Ready(ready));
                if let Some(happening) = self.listen(said).await? {
                    return Ok(happening);
                }
            }
            if std::mem::take(&mut self.held) {
                return Ok(Happening::Held);
            }
            if self.look.as_ref().is_some_and(Look::is_over)
                && let Some(look) = self.look.take()
            {
                return Ok(Happening::Blocked(look.said));
            }
            if self.ended && !self.console_open {
                return Ok(Happening::Ended(self.machine.end().await));
            }
            match self.turn(deadline, aside.as_mut()).await {
                Turn::Console(read) => self.hear(read)?,
                Turn::Message(message) => {
                    if let Some(happening) = self.listen(message).await? {
                        return Ok(happening);
                    }
                }
                Turn::MachineEnded if self.machine.is_held() => {
                    self.hear_last_words().await?;
                    self.held = true;
                }
                // The console is read to its end first: it has the last words.
                Turn::MachineEnded => {
                    self.ended = true;
                    self.closes = Some(Instant::now() + patience::of(QEMU_DEADLINE));
                }
                Turn::Closes => self.console_open = false,
                Turn::ServiceLost(what) => {
                    let entry = Entry::Service { what: what.clone() };
                    self.journal.entry(entry)?;
                    return Ok(Happening::ServiceLost(what));
                }
                // Nothing follows, so the report under way is complete.
                Turn::Silent => {
                    let sightings = self.scanner.settle();
                    self.sighted(sightings);
                }
                Turn::Looked => {
                    if let Some(look) = &mut self.look {
                        look.is_shown = true;
                    }
                }
                Turn::Nothing => {}
                Turn::Deadline => return Ok(Happening::Deadline),
                Turn::Aside(done) => return Ok(Happening::Aside(done)),
            }
        }
    }

    async fn turn<T>(
        &mut self,
        deadline: Instant,
        aside: Pin<&mut impl Future<Output = T>>,
    ) -> Turn<T> {
        let silence = if self.scanner.is_cut() {
            LONG_SILENCE
        } else {
            SILENCE
        };
        let silent_from = self.last_word + silence * self.slowdown;
        let looked = self.look.as_ref().and_then(|look| look.until);
        let listens = self.listens();
        let turn = tokio::select! {
            // The kernel's words come first: they may explain all the rest.
            biased;
            read = self.console.read(&mut self.buffer), if listens && self.console_open => Turn::Console(read),
            message = self.link.next(), if listens && self.link_open && !self.ended => Turn::Message(message),
            // A guest that is gone has nothing to do with what else ends.
            done = aside, if !self.ended => Turn::Aside(done),
            () = self.machine.ended(), if !self.ended => Turn::MachineEnded,
            () = tokio::time::sleep_until(silent_from), if self.scanner.is_open() => Turn::Silent,
            reason = &mut self.lost, if !self.ended => Turn::ServiceLost(reason),
            () = tokio::time::sleep_until(looked.unwrap_or(deadline)), if looked.is_some() => Turn::Looked,
            () = tokio::time::sleep_until(self.closes.unwrap_or(deadline)), if self.closes.is_some() => Turn::Closes,
            () = tokio::time::sleep_until(deadline) => Turn::Deadline,
            () = nothing_else(listens, &mut self.in_a_row) => Turn::Nothing,
        };
        if matches!(turn, Turn::Console(_) | Turn::Message(_)) {
            self.in_a_row += 1;
        }
        turn
    }

    /// Whether the guest's words come before all else now.
    fn listens(&self) -> bool {
        self.in_a_row < IN_A_ROW
    }

    fn happened_finding<T>(&mut self, finding: Finding) -> Result<Happening<T>, Error> {
        self.findings += 1;
        if self.findings <= FINDINGS {
            self.journal.entry(Entry::Finding {
                class: finding.class,
                title: finding.title.clone(),
                line: finding.first_line,
            })?;
        }
        Ok(Happening::Finding(Box::new(finding)))
    }

    /// Takes what was read of the console.
    fn hear(&mut self, read: std::io::Result<usize>) -> Result<(), Error> {
        // An error here is QEMU going away; its end tells more.
        let count = read.unwrap_or(0);
        if count == 0 {
            self.console_open = false;
            let rest = self.redactor.finish();
            return self.keep(&rest);
        }
        let bytes = self.redactor.push(&self.buffer[..count]);
        self.keep(&bytes)
    }

    /// Takes bytes for what the console said.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let bytes = self.redactor.push(bytes);
        self.keep(&bytes)
    }

    /// Keeps what the console said, without secrets, and looks at it.
    fn keep(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(tap) = &mut self.tap {
            tap(bytes);
        }
        self.journal.console(bytes)?;
        if let Some(look) = &mut self.look {
            look.hear(bytes);
        }
        let sightings = self.scanner.push(bytes);
        self.sighted(sightings);
        self.last_word = Instant::now();
        if self.journal.console_length() > self.console_limit {
            self.console_open = false;
            self.unread = true;
            self.journal.entry(Entry::Unread)?;
        }
        Ok(())
    }

    fn sighted(&mut self, sightings: Vec<Sighting>) {
        for sighting in sightings {
            if let Sighting::Complete(finding) = sighting {
                self.found.push_back(*finding);
            }
        }
    }

    /// Takes a message; what a driver need not know is kept and forgotten.
    async fn listen<T>(
        &mut self,
        message: Result<GuestMessage, LinkError>,
    ) -> Result<Option<Happening<T>>, Error> {
        let message = match message.and_then(|message| self.redacted(message)) {
            Ok(message) => message,
            Err(LinkError::Closed) => {
                // QEMU's end follows and tells why.
                self.link_open = false;
                return Ok(None);
            }
            Err(error) => {
                self.link_open = false;
                return Ok(Some(Happening::Broken(self.redacted_error(error))));
            }
        };
        let said = Shortened(&message);
        tracing::debug!(hostname = self.hostname(), message = ?said, "from the agent");
        if !is_of_line_counters(&message) {
            self.journal.entry(Entry::Guest(message.clone()))?;
        }
        Ok(match message {
            GuestMessage::Ready(ready) if self.phase == Phase::Booting => {
                let ready = match of_this_version(ready) {
                    Ok(ready) => ready,
                    Err(error) => {
                        self.link_open = false;
                        return Ok(Some(Happening::Broken(error)));
                    }
                };
                self.phase = Phase::Ready;
                let hostname = self.hostname();
                tracing::info!(hostname, "the agent is up and can be talked to");
                if let Some(welcome) = &self.welcome
                    && self.link.hello(welcome).await.is_err()
                {
                    self.link_open = false;
                }
                Some(Happening::Ready(Box::new(ready)))
            }
            GuestMessage::Greeted if self.phase == Phase::Ready => {
                self.phase = Phase::Greeted;
                Some(Happening::Greeted)
            }
            GuestMessage::Finished { step, result } if self.phase == Phase::Greeted => {
                self.tell(Beat::Step(step));
                Some(Happening::Finished { step, result })
            }
            GuestMessage::Beat { tick } if self.phase == Phase::Greeted => {
                self.tell(Beat::Tick(tick));
                None
            }
            GuestMessage::SysrqDone { letters } => {
                let until = self.within(DUMP_END);
                if let Some(look) = self.look.as_mut().filter(|_| letters == LOOK_KEY) {
                    look.until = Some(until);
                }
                None
            }
            GuestMessage::Fatal { text } => {
                self.link_open = false;
                Some(Happening::Broken(LinkError::Fatal {
                    text: text.escape_default().to_string(),
                }))
            }
            // Progress, notes, and what a hostile guest says twice or too early.
            _ => None,
        })
    }

    /// What it is called; nothing, if nobody tells it who it is.
    fn hostname(&self) -> &str {
        let welcome = self.welcome.as_ref();
        welcome.map_or("", |welcome| welcome.hostname.as_str())
    }

    /// A message without the guest's own key: its texts are kept and shown.
    fn redacted(&self, message: GuestMessage) -> Result<GuestMessage, LinkError> {
        // Of what is no message any more, the redacted text is shown.
        let malformed = |line: &str, error: &serde_json::Error| LinkError::Malformed {
            line: line.as_bytes().to_vec(),
            problem: format!("{:?}", error.classify()),
        };
        let text = serde_json::to_string(&message).map_err(|error| malformed("", &error))?;
        let shown = self.redactor.whole(&text);
        if shown == text {
            return Ok(message);
        }
        serde_json::from_str(&shown).map_err(|error| malformed(&shown, &error))
    }

    /// An error without the guest's own key: a line that is no message is shown.
    fn redacted_error(&self, error: LinkError) -> LinkError {
        match error {
            LinkError::Malformed { line, problem } => {
                let line = self.redactor.whole(&String::from_utf8_lossy(&line));
                let line = line.into_bytes();
                LinkError::Malformed { line, problem }
            }
            other => other,
        }
    }

    fn tell(&mut self, beat: Beat) {
        if self.told.len() < BEATS {
            self.told.push(beat);
        }
    }

    /// The signs of life that the agent says it wrote to the console, in order.
    #[must_use]
    pub fn told(&self) -> &[Beat] {
        &self.told
    }

    /// Has the agent start a step. A line that breaks is not an error here:
    /// QEMU's end tells why.
    pub async fn start(&mut self, step: u32, action: &GuestStep) {
        if self.link_open && self.link.start(step, action).await.is_err() {
            self.link_open = false;
        }
    }

    /// Types on the console.
    pub async fn type_in(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.machine.type_in(bytes).await?)
    }

    /// The report under way, complete or not: nothing more will be looked at.
    pub fn last_findings(&mut self) -> Vec<Finding> {
        let sightings = self.scanner.end();
        self.sighted(sightings);
        self.found.drain(..).collect()
    }

    /// Has the kernel print its blocked tasks while the trial goes on:
    /// [`Happening::Blocked`] is the answer. False if the agent cannot be asked.
    pub async fn ask_blocked(&mut self) -> Result<bool, Error> {
        if !self.link_open || self.link.sysrq(LOOK_KEY).await.is_err() {
            return Ok(false);
        }
        self.journal.entry(Entry::Look)?;
        self.look = Some(Look::default());
        Ok(true)
    }

    /// What the kernel prints of a look that is still under way is nobody's answer:
    /// the step that it was for is over.
    pub fn forget_look(&mut self) {
        self.look = None;
    }

    /// Has the kernel print blocked tasks, the CPUs' stacks and all tasks, and
    /// returns the words: by the agent if it is there and answers in time, through
    /// the serial line otherwise, which needs no user space.
    pub async fn dump(&mut self) -> Result<&[u8], Error> {
        self.journal.entry(Entry::Dump)?;
        let deadline = self.within(patience::of(DUMP_DEADLINE));
        // QEMU takes what an agent is told that is not there yet.
        let can_be_told = self.link_open && self.phase >= Phase::Ready;
        if can_be_told && self.link.sysrq(DUMP_KEYS).await.is_ok() {
            let mut until = deadline;
            let mut is_done = false;
            while let Some(overheard) = self.overhear(until).await? {
                match overheard {
                    Overheard::SysrqDone => {
                        is_done = true;
                        until = deadline.min(self.within(DUMP_END));
                    }
                    Overheard::Hangup if !is_done => break,
                    Overheard::Hangup | Overheard::Words => {}
                }
                if is_done && heartbeat::shows_dump_end(&self.dumped, DUMP_KEYS) {
                    break;
                }
            }
            if is_done {
                return Ok(&self.dumped);
            }
        }
        // What was waited for the agent is no time of the serial line's.
        let deadline = self.within(patience::of(DUMP_DEADLINE));
        for key in DUMP_KEYS.chars() {
            if !self.console_open {
                break;
            }
            match tokio::time::timeout(patience::of(QEMU_DEADLINE), self.machine.sysrq(key)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => {
                    self.frozen = true;
                    break;
                }
            }
            // The kernel takes the next break only when it is through with
            // printing; it is when it falls silent.
            let silence = SILENCE * self.slowdown;
            let until = |last: Instant| (last + silence).min(deadline);
            while self.overhear(until(Instant::now())).await?.is_some() {}
        }
        Ok(&self.dumped)
    }

    /// What a machine that has ended said last: QEMU keeps its console open.
    async fn hear_last_words(&mut self) -> Result<(), Error> {
        while self.console_open {
            let silent = Instant::now() + SILENCE;
            let read = tokio::time::timeout_at(silent, self.console.read(&mut self.buffer));
            let Ok(read) = read.await else { break };
            self.hear(read)?;
        }
        let sightings = self.scanner.settle();
        self.sighted(sightings);
        Ok(())
    }

    /// Writes the guest's memory to a file and returns its size, or tells why it
    /// is not there: the trial is worth as much without it.
    pub async fn dump_memory(&mut self, path: &Path, uname: Uname) -> Result<u64, String> {
        let directory = path.parent().unwrap_or(Path::new("."));
        // QEMU's own form lies beside it for a moment.
        let (free, wanted) = (free(directory), MEMORY_SLACK + 2 * self.memory);
        if free < wanted {
            return Err(format!(
                "it may take {} GiB and {} has {} free",
                gib(wanted),
                directory.display(),
                gib(free)
            ));
        }
        let deadline = MEMORY_DEADLINE * self.slowdown;
        let dumped = self.machine.dump_memory(path, uname, deadline).await;
        dumped.map_err(|error| error.to_string())
    }

    /// Lets a machine that is held come to its end.
    pub async fn release(&mut self) {
        // One that does not answer is killed at its deadline.
        drop(self.machine.release().await);
    }

    /// Whether QEMU itself was found not to answer: then it is not the guest that
    /// hangs.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// How the machine ended, if it has meanwhile.
    pub async fn gone(&mut self) -> Option<End> {
        if !self.ended {
            // Its lines close a moment before it is known to have ended.
            let patience = if self.link_open && self.console_open {
                Duration::ZERO
            } else {
                patience::of(QEMU_DEADLINE)
            };
            let ended = tokio::time::timeout(patience, self.machine.ended());
            ended.await.ok()?;
        }
        if self.machine.is_held() {
            return None;
        }
        self.ended = true;
        Some(self.machine.end().await)
    }

    /// Keeps what comes until `deadline`, without looking for findings: the
    /// harness itself provoked it. `None` at the deadline or the end.
    async fn overhear(&mut self, deadline: Instant) -> Result<Option<Overheard>, Error> {
        loop {
            let listens = self.listens();
            tokio::select! {
                // What was printed before the agent was through comes first.
                biased;
                read = self.console.read(&mut self.buffer), if listens && self.console_open => {
                    self.in_a_row += 1;
                    let count = read.unwrap_or(0);
                    let bytes = self.redactor.push(&self.buffer[..count]);
                    self.journal.console(&bytes)?;
                    let is_flood = self.journal.console_length() > self.console_limit;
                    self.console_open = count > 0 && !is_flood;
                    let room = DUMP_LIMIT.saturating_sub(self.dumped.len());
                    self.dumped.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    return Ok(self.console_open.then_some(Overheard::Words));
                }
                message = self.link.next(), if listens && self.link_open => {
                    self.in_a_row += 1;
                    match message {
                        // A look at blocked tasks may be answered yet, too.
                        Ok(GuestMessage::SysrqDone { letters }) if letters == DUMP_KEYS => {
                            return Ok(Some(Overheard::SysrqDone));
                        }
                        Ok(_) => {}
                        Err(_) => {
                            self.link_open = false;
                            return Ok(Some(Overheard::Hangup));
                        }
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Ok(None),
                () = nothing_else(listens, &mut self.in_a_row) => {}
            }
        }
    }

    /// Stops the guest where it stands and writes the state of everything but its
    /// memory to `state`, as [`Machine::save`] does.
    pub(super) async fn save(&mut self, state: &File) -> Result<(), VmError> {
        self.machine.save(state).await
    }

    /// Asks the guest to power off and hears it out.
    pub async fn power_off(&mut self) -> Result<(), Error> {
        if !self.link_open || self.link.power_off().await.is_err() {
            return Ok(());
        }
        let deadline = self.within(patience::of(POWER_OFF_DEADLINE));
        while self.console_open {
            let listens = self.listens();
            tokio::select! {
                biased;
                read = self.console.read(&mut self.buffer), if listens => {
                    self.in_a_row += 1;
                    self.hear(read)?;
                }
                () = self.machine.ended(), if !self.ended => {
                    self.ended = true;
                    if self.machine.is_held() {
                        self.release().await;
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
                () = nothing_else(listens, &mut self.in_a_row) => {}
            }
        }
        Ok(())
    }

    /// Ends the machine at once; its state is worth nothing any more.
    pub async fn kill(&mut self) {
        self.machine.kill().await;
    }

    /// QEMU's command line, as one would type it.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.machine.command
    }

    /// How many bytes of its console were read, if it said more: what was not read
    /// may have been anything.
    #[must_use]
    pub fn unread_from(&self) -> Option<u64> {
        self.unread.then_some(self.console_limit)
    }

    /// Whether its kernel is in the middle of a report.
    #[must_use]
    pub fn is_reporting(&self) -> bool {
        self.scanner.is_open()
    }

    /// Reads no more than so many bytes of the console.
    #[cfg(test)]
    pub(crate) fn read_console(&mut self, bytes: u64) {
        self.console_limit = bytes;
    }

    /// Takes no more than so many messages of the guest.
    #[cfg(test)]
    pub(crate) fn take_messages(&mut self, messages: u32) {
        self.link.limit(messages);
    }

    /// QEMU's process.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.machine.pid()
    }
}

/// The last branch of a race that the guest's words come first in, or are left out
/// of: then it gives all others the time to show what they have. One that is waited
/// for has nothing to say in a row.
async fn nothing_else(listens: bool, in_a_row: &mut u32) {
    if !listens {
        // Timers and processes are looked after meanwhile.
        tokio::task::yield_now().await;
        *in_a_row = 0;
        return;
    }
    // Otherwise the runtime has only put all of them off.
    if has_budget_remaining() {
        *in_a_row = 0;
    }
    std::future::pending::<()>().await;
}

/// Whether a message is about line counters, which are kept elsewhere.
fn is_of_line_counters(message: &GuestMessage) -> bool {
    matches!(message,
        GuestMessage::Started { step } | GuestMessage::Finished { step, .. }
            if *step > ASKING_STEPS)
}

/// A look at the blocked tasks.
#[derive(Debug, Default)]
struct Look {
    /// What the console said since.
    said: Vec<u8>,
    /// Whether that is all of it.
    is_shown: bool,
    /// How long the console may take, once the agent is through.
    until: Option<Instant>,
}

impl Look {
    fn hear(&mut self, bytes: &[u8]) {
        // The line may come in pieces.
        let from = self.said.len().saturating_sub(64);
        let room = DUMP_LIMIT.saturating_sub(self.said.len());
        self.said.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_shown |= heartbeat::shows_dump_end(&self.said[from..], LOOK_KEY);
        self.is_shown |= self.said.len() == DUMP_LIMIT;
    }

    fn is_over(&self) -> bool {
        self.is_shown && self.until.is_some()
    }
}

/// What came while the kernel was made to print everybody's stacks.
#[derive(PartialEq, Eq)]
enum Overheard {
    Words,
    SysrqDone,
    /// The agent can be talked to no more.
    Hangup,
}
