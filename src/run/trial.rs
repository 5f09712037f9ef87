//! One trial: one machine from boot to its end. The loop below races
//! everything that can happen (console, agent, a step of the host, QEMU's end,
//! a dead cluster, a deadline), keeps all of it, and stops as soon as the
//! kernel's words settle the question.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::watch;

use super::FINDINGS;
use super::armed::unarmed;
use super::journal::Journal;
use super::steps::{HostStepFuture, Move, Steps};
use crate::cluster::Cluster;
use crate::context::Context;
use crate::detect::{Class, Finding, Scanner, Sighting, complete};
use crate::error::Error;
use crate::event::Event;
use crate::guest::link::{Link, LinkError};
use crate::guest::protocol::{FileSystemAccess, GuestMessage, Ready, Secret, StepResult, Welcome};
use crate::job::{Arm, Plan, PlannedWorkload};
use crate::kernel::KernelImage;
use crate::process::Namespace;
use crate::store::{Scratch, io_error};
use crate::verdict::{Ending, Trial};
use crate::vm::{Accelerator, Boot, Channels, End, Machine};

/// The kernel's command line. Boot chatter below `notice` would cost time under
/// emulation; the agent turns everything on before it says it is ready. An oops
/// is a panic and a panic ends the machine: both are told apart at once.
pub const COMMAND_LINE: &str = "console=ttyS0 loglevel=6 panic=-1 oops=panic";

/// From QEMU's start to the agent's first word, under KVM.
pub(super) const BOOT_DEADLINE: Duration = Duration::from_secs(15);

/// After a finding that is not the target: how long other reports of the same
/// event (the other tasks that hang) may take to follow.
const SETTLE: Duration = Duration::from_secs(3);

/// A report after which nothing comes for so long is complete.
pub(super) const SILENCE: Duration = Duration::from_millis(100);

/// How long the dump of all tasks may take.
const DUMP_DEADLINE: Duration = Duration::from_secs(2);

/// So many bytes of it are looked at, here and when judged again.
pub(super) const DUMP_LIMIT: usize = 4 << 20;

/// Blocked tasks, the stacks of all CPUs, all tasks.
const DUMP_KEYS: &str = "wlt";

/// How long a guest may take to power off.
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(5);

/// A guest that says more than this on its console is out of control.
const CONSOLE_LIMIT: u64 = 256 << 20;

/// A guest may name this many counters.
const COUNTERS: usize = 1000;

/// Everything the trials of a run share.
pub(super) struct Bench<'a> {
    pub(super) context: &'a Context,
    pub(super) plan: &'a Plan,
    pub(super) initramfs: &'a Path,
    pub(super) namespace: &'a Namespace,
    pub(super) accelerator: Accelerator,
    pub(super) cluster: &'a Cluster,
    /// Turns to the reason when a daemon of the cluster ends.
    pub(super) cluster_down: watch::Receiver<Option<String>>,
    /// When the run began, for findings that are known until some day.
    pub(super) day: Date,
}

/// Which trial of which arm.
pub(super) struct Subject<'a> {
    pub(super) arm: &'a Arm,
    pub(super) image: &'a KernelImage,
    pub(super) number: u32,
    /// What it does.
    pub(super) planned: &'a PlannedWorkload,
    /// The guest's name, by which the cluster knows its sessions.
    pub(super) hostname: &'a str,
    /// Where the trial is recorded.
    pub(super) directory: &'a Path,
}

/// Runs one trial and returns what it recorded. An error means that kvet
/// itself could not go on; everything else is an [`Ending`].
pub(super) async fn run(bench: &Bench<'_>, subject: &Subject<'_>) -> Result<Trial, Error> {
    let began = Instant::now();
    let scratch = Scratch::new()?;
    let command_line = format!("{COMMAND_LINE} {}", subject.arm.command_line);
    let boot = Boot {
        hardware: &bench.plan.hardware,
        accelerator: bench.accelerator,
        kernel: &subject.image.bzimage,
        initramfs: Some(bench.initramfs),
        command_line: command_line.trim_end(),
        directory: scratch.path().to_owned(),
    };
    let journal = Journal::create(subject.directory, began)?;
    let (ending, heard) = match Machine::start(boot, bench.namespace).await {
        Ok((machine, channels)) => {
            let command = subject.directory.join("command.txt");
            std::fs::write(&command, format!("{}\n", machine.command))
                .map_err(io_error("write", &command))?;
            Attempt::new(bench, subject, machine, channels, journal)
                .run()
                .await?
        }
        Err(error) => {
            let what = Error::from(error).one_line();
            (Ending::Harness { what }, Heard::default())
        }
    };
    let config = &subject.image.config;
    let config = std::fs::read_to_string(config).map_err(io_error("read", config))?;
    let unarmed = unarmed(
        &config,
        &subject.planned.workload,
        !bench.plan.profile.is_empty(),
        subject.arm.target.as_ref().and_then(|target| target.class),
        heard.ready.as_ref(),
        is_mute(&ending, &heard),
    );
    Ok(Trial {
        arm: subject.arm.name.clone(),
        number: subject.number,
        workload: subject.planned.workload.name.clone(),
        release: subject.image.release.clone(),
        ending,
        findings: heard.findings,
        unarmed,
        unseen: Vec::new(),
        console_length: heard.console_length,
        seconds: began.elapsed().as_secs_f64(),
        retries: 0,
        counters: heard.counters,
    })
}

/// Whether a guest ran and its console said nothing at all: neither while it
/// booted, nor after the agent turned every level on, nor of a reset or of
/// powering off. Nothing of what its kernel had to say would have been seen.
fn is_mute(ending: &Ending, heard: &Heard) -> bool {
    let ran = heard.ready.is_some() || matches!(ending, Ending::GuestEnded { .. });
    ran && heard.said == 0
}

/// What was learnt from the guest.
#[derive(Default)]
struct Heard {
    ready: Option<Ready>,
    findings: Vec<Finding>,
    counters: BTreeMap<String, u64>,
    /// Bytes of console before the harness itself made the kernel talk.
    console_length: u64,
    /// Bytes of console in all.
    said: u64,
}

/// What the loop of a trial waits for.
enum Happening {
    Console(std::io::Result<usize>),
    Guest(Result<GuestMessage, LinkError>),
    HostStep(Result<(), String>),
    MachineEnded,
    ClusterDown(String),
    Silent,
    Settled,
    Deadline,
}

/// What came while the kernel was made to print everybody's stacks.
#[derive(PartialEq, Eq)]
enum Overheard {
    Words,
    SysrqDone,
}

/// A trial under way.
struct Attempt<'a> {
    bench: &'a Bench<'a>,
    subject: &'a Subject<'a>,
    machine: Machine,
    console: OwnedReadHalf,
    console_open: bool,
    buffer: Vec<u8>,
    link: Link,
    link_open: bool,
    cluster_down: watch::Receiver<Option<String>>,
    scanner: Scanner,
    journal: Journal,
    /// When a finding that ends the trial was seen: wait no longer than this.
    settled: Option<tokio::time::Instant>,
    /// When the console last said something.
    last_word: tokio::time::Instant,
    /// What the kernel printed because the harness asked.
    dumped: Vec<u8>,
    /// The agent has been told who it is, and the first step was begun.
    greeted: bool,
    heard: Heard,
}

impl<'a> Attempt<'a> {
    fn new(
        bench: &'a Bench<'a>,
        subject: &'a Subject<'a>,
        machine: Machine,
        channels: Channels,
        journal: Journal,
    ) -> Self {
        Self {
            bench,
            subject,
            machine,
            console: channels.console,
            console_open: true,
            buffer: vec![0; 64 << 10],
            link: Link::open(channels.agent),
            link_open: true,
            cluster_down: bench.cluster_down.clone(),
            scanner: Scanner::with_rules(bench.plan.patterns.clone()),
            journal,
            settled: None,
            last_word: tokio::time::Instant::now(),
            dumped: Vec::new(),
            greeted: false,
            heard: Heard::default(),
        }
    }

    async fn run(mut self) -> Result<(Ending, Heard), Error> {
        let ending = self.drive().await?;
        let sightings = self.scanner.end();
        self.sighted(sightings);
        self.heard.console_length = self.journal.console_length();
        match &ending {
            // Stuck or silent: have the kernel say where everybody is.
            Ending::Stopped | Ending::Deadline { .. } => {
                self.dump().await?;
                complete(&mut self.heard.findings, &self.dumped);
            }
            Ending::Finished => self.power_off().await?,
            Ending::StepFailed { .. } | Ending::GuestEnded { .. } | Ending::Harness { .. } => {}
        }
        self.heard.said = self.journal.console_length();
        self.machine.kill().await;
        Ok((ending, self.heard))
    }

    /// Boots, walks the steps, and returns how it came to an end.
    async fn drive(&mut self) -> Result<Ending, Error> {
        let slowdown = self.bench.accelerator.slowdown();
        let mut steps = Steps::new(self.bench, self.subject.hostname, self.subject.planned);
        let mut deadline = tokio::time::Instant::now() + BOOT_DEADLINE * slowdown;
        let mut last = None;
        loop {
            let happening = self.happening(deadline, steps.host.as_mut()).await;
            let moved = match happening {
                Happening::Console(read) => {
                    self.hear(read)?;
                    Move::Wait
                }
                Happening::Guest(Ok(message)) => self.guest_said(message, &mut steps).await?,
                Happening::Guest(Err(LinkError::Closed)) => {
                    // QEMU's end follows and tells why.
                    self.link_open = false;
                    Move::Wait
                }
                Happening::Guest(Err(error)) => Move::End(Ending::Harness {
                    what: Error::from(error).one_line(),
                }),
                Happening::HostStep(result) => steps.host_ended(result),
                Happening::MachineEnded => {
                    return self.machine_ended(&steps.label()).await;
                }
                Happening::ClusterDown(what) => Move::End(Ending::Harness { what }),
                Happening::Silent => {
                    // Nothing follows, so the report under way is complete.
                    let sightings = self.scanner.settle();
                    self.sighted(sightings);
                    Move::Wait
                }
                Happening::Settled => Move::End(Ending::Stopped),
                Happening::Deadline => Move::End(Ending::Deadline {
                    step: steps.label(),
                }),
            };
            match moved {
                Move::Wait => {}
                Move::Next => loop {
                    match self.begin_next(&mut steps).await? {
                        Move::Next => {}
                        Move::Wait => break,
                        Move::End(ending) => return Ok(ending),
                    }
                },
                Move::End(ending) => return Ok(ending),
            }
            // A deadline belongs to a step; a new step has a new one.
            if steps.current() != last {
                last = steps.current();
                deadline = tokio::time::Instant::now() + steps.timeout() * slowdown;
                if let Some(whole) = steps.whole_deadline(slowdown) {
                    deadline = deadline.min(whole);
                }
            }
        }
    }

    /// The next thing that happens.
    async fn happening(
        &mut self,
        deadline: tokio::time::Instant,
        host: Option<&mut HostStepFuture<'_>>,
    ) -> Happening {
        let settled = self.settled;
        let silent_from = self.last_word + SILENCE * self.bench.accelerator.slowdown();
        let host_step = async {
            match host {
                Some(step) => step.await,
                None => std::future::pending().await,
            }
        };
        let cluster_down = async {
            // The sender lives as long as the run; without it nothing is known.
            match self.cluster_down.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_) => std::future::pending().await,
            }
        };
        let settle = async {
            match settled {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The kernel's words come first: they may explain all the rest.
            biased;
            read = self.console.read(&mut self.buffer), if self.console_open => {
                Happening::Console(read)
            }
            message = self.link.next(), if self.link_open => Happening::Guest(message),
            result = host_step => Happening::HostStep(result),
            () = self.machine.ended() => Happening::MachineEnded,
            () = tokio::time::sleep_until(silent_from), if self.scanner.is_open() => {
                Happening::Silent
            }
            () = settle => Happening::Settled,
            reason = cluster_down => Happening::ClusterDown(reason),
            () = tokio::time::sleep_until(deadline) => Happening::Deadline,
        }
    }

    /// Keeps what the console said and looks at it.
    fn hear(&mut self, read: std::io::Result<usize>) -> Result<(), Error> {
        // An error here is QEMU going away; its end tells more.
        let count = read.unwrap_or(0);
        if count == 0 {
            self.console_open = false;
            return Ok(());
        }
        let Self {
            buffer, journal, ..
        } = self;
        let bytes = &buffer[..count];
        journal.console(bytes)?;
        let sightings = self.scanner.push(bytes);
        self.sighted(sightings);
        self.last_word = tokio::time::Instant::now();
        if self.journal.console_length() > CONSOLE_LIMIT {
            self.console_open = false;
        }
        Ok(())
    }

    fn sighted(&mut self, sightings: Vec<Sighting>) {
        for sighting in sightings {
            if let Sighting::Complete(finding) = sighting {
                self.found(*finding);
            }
        }
    }

    fn found(&mut self, finding: Finding) {
        self.bench.context.emit(Event::TrialFinding {
            arm: self.subject.arm.name.clone(),
            trial: self.subject.number,
            title: finding.title.clone(),
        });
        let target = self.subject.arm.target.as_ref();
        let is_target = target.is_some_and(|target| target.matches(&finding));
        let is_known = self
            .bench
            .plan
            .known
            .iter()
            .any(|mute| mute.covers(&finding, &self.subject.image.release, self.bench.day));
        let now = tokio::time::Instant::now();
        if is_target {
            self.settled = Some(now);
        } else if !is_known && ends_trial(finding.class) && self.settled.is_none() {
            self.settled = Some(now + SETTLE);
        }
        if self.heard.findings.len() < FINDINGS {
            self.heard.findings.push(finding);
        }
    }

    async fn guest_said(
        &mut self,
        message: GuestMessage,
        steps: &mut Steps<'a>,
    ) -> Result<Move, Error> {
        self.journal.entry(&json!({"guest": message}))?;
        Ok(match message {
            // A hostile guest says it twice; the steps are under way already.
            GuestMessage::Ready(_) if self.heard.ready.is_some() => Move::Wait,
            GuestMessage::Greeted if self.greeted => Move::Wait,
            GuestMessage::Ready(ready) => {
                self.heard.ready = Some(ready);
                let seed = self.subject.arm.seed(self.subject.number);
                let welcome = welcome(self.bench.cluster, self.subject.hostname, seed);
                match self.link.hello(&welcome).await {
                    Ok(()) => Move::Wait,
                    Err(_) => self.lost_link(),
                }
            }
            GuestMessage::Greeted => {
                self.greeted = true;
                Move::Next
            }
            GuestMessage::Finished { step, result } => {
                if let StepResult::Done(report) = &result {
                    count(&mut self.heard.counters, &report.counters);
                }
                steps.guest_ended(step, result)
            }
            GuestMessage::Fatal { text } => Move::End(Ending::Harness {
                what: format!("the guest's agent gave up: {text}"),
            }),
            GuestMessage::Started { .. }
            | GuestMessage::Progress { .. }
            | GuestMessage::SysrqDone { .. }
            | GuestMessage::Note { .. } => Move::Wait,
        })
    }

    /// Starts the next step of the workload.
    async fn begin_next(&mut self, steps: &mut Steps<'a>) -> Result<Move, Error> {
        let Some(begun) = steps.begin_next() else {
            return Ok(Move::End(Ending::Finished));
        };
        self.journal
            .entry(&json!({"step": begun.number, "label": begun.label}))?;
        self.bench.context.emit(Event::TrialStep {
            arm: self.subject.arm.name.clone(),
            trial: self.subject.number,
            step: begun.label,
        });
        if let Some(action) = begun.guest
            && self.link.start(begun.number, &action).await.is_err()
        {
            return Ok(self.lost_link());
        }
        Ok(begun.then)
    }

    /// The line to the agent broke while sending: QEMU's end tells why.
    fn lost_link(&mut self) -> Move {
        self.link_open = false;
        Move::Wait
    }

    /// QEMU is gone: takes what is left on the console, and says why.
    async fn machine_ended(&mut self, step: &str) -> Result<Ending, Error> {
        while self.console_open {
            let read = self.console.read(&mut self.buffer).await;
            self.hear(read)?;
        }
        Ok(match self.machine.end().await {
            End::PoweredOff => Ending::GuestEnded {
                step: step.to_owned(),
                how: "powered off".to_owned(),
            },
            End::Reset => Ending::GuestEnded {
                step: step.to_owned(),
                how: "reset".to_owned(),
            },
            End::Failed { said } => Ending::Harness {
                what: format!("QEMU ended: {said}"),
            },
        })
    }

    /// Has the kernel print blocked tasks, the CPUs' stacks and all tasks: by
    /// the agent if it still answers, through the serial line otherwise, which
    /// needs no user space.
    async fn dump(&mut self) -> Result<(), Error> {
        let deadline =
            tokio::time::Instant::now() + DUMP_DEADLINE * self.bench.accelerator.slowdown();
        if self.link_open && self.link.sysrq(DUMP_KEYS).await.is_ok() {
            while let Some(heard) = self.overhear(deadline).await? {
                if heard == Overheard::SysrqDone {
                    return Ok(());
                }
            }
        }
        for key in DUMP_KEYS.chars() {
            if !self.console_open || self.machine.sysrq(key).await.is_err() {
                return Ok(());
            }
            // The kernel takes the next break only when it is through with
            // printing; it is when it falls silent.
            let silence = SILENCE * self.bench.accelerator.slowdown();
            let until = |last: tokio::time::Instant| (last + silence).min(deadline);
            while self
                .overhear(until(tokio::time::Instant::now()))
                .await?
                .is_some()
            {}
        }
        Ok(())
    }

    /// Keeps what comes until `deadline`, without looking for findings: the
    /// harness itself provoked it. `None` at the deadline or the end.
    async fn overhear(
        &mut self,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Overheard>, Error> {
        loop {
            tokio::select! {
                read = self.console.read(&mut self.buffer), if self.console_open => {
                    let count = read.unwrap_or(0);
                    self.console_open = count > 0;
                    let bytes = &self.buffer[..count];
                    self.journal.console(bytes)?;
                    let room = DUMP_LIMIT.saturating_sub(self.dumped.len());
                    self.dumped.extend_from_slice(&bytes[..count.min(room)]);
                    return Ok(self.console_open.then_some(Overheard::Words));
                }
                message = self.link.next(), if self.link_open => match message {
                    Ok(GuestMessage::SysrqDone { .. }) => return Ok(Some(Overheard::SysrqDone)),
                    Ok(_) => {}
                    Err(_) => self.link_open = false,
                },
                () = tokio::time::sleep_until(deadline) => return Ok(None),
            }
        }
    }

    /// Asks the guest to power off and hears it out.
    async fn power_off(&mut self) -> Result<(), Error> {
        if self.link.power_off().await.is_err() {
            return Ok(());
        }
        let deadline =
            tokio::time::Instant::now() + POWER_OFF_DEADLINE * self.bench.accelerator.slowdown();
        while self.console_open {
            let read = tokio::time::timeout_at(deadline, self.console.read(&mut self.buffer));
            let Ok(read) = read.await else {
                return Ok(());
            };
            self.hear(read)?;
        }
        self.heard.console_length = self.journal.console_length();
        let sightings = self.scanner.end();
        self.sighted(sightings);
        Ok(())
    }
}

/// Adds what a step counted. The numbers and names are a guest's own: neither
/// may overflow anything.
fn count(counters: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        if counters.len() < COUNTERS || counters.contains_key(name) {
            let sum = counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

/// Whether a kernel that said this can go on with the workload. Warnings can;
/// waiting on after them may still show the target.
fn ends_trial(class: Class) -> bool {
    !matches!(
        class,
        Class::Warning
            | Class::VfsWarn
            | Class::Lockdep
            | Class::AtomicSleep
            | Class::Kcsan
            | Class::Kmsan
            | Class::Ubsan
            | Class::Leak
            | Class::BusyInodes
            | Class::Oom
            | Class::Other
    )
}

/// Who a guest is, and how it gets at the cluster's file system.
pub(super) fn welcome(cluster: &Cluster, hostname: &str, seed: u64) -> Welcome {
    let access = cluster.access();
    Welcome {
        hostname: hostname.to_owned(),
        seed,
        file_system: Some(FileSystemAccess {
            monitors: access.monitors.clone(),
            user: access.user.clone(),
            secret: Secret::new(access.secret.expose()),
            name: None,
            options: Vec::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_s_counters_cannot_overflow() {
        let mut counters = BTreeMap::new();
        let most = BTreeMap::from([("writes".to_owned(), u64::MAX)]);
        count(&mut counters, &most);
        count(&mut counters, &most);
        assert_eq!(counters["writes"], u64::MAX);
        let many = (0..=COUNTERS).map(|n| (n.to_string(), 1)).collect();
        count(&mut counters, &many);
        assert_eq!(counters.len(), COUNTERS);
    }

    #[test]
    fn a_guest_that_ran_and_said_nothing_is_mute() {
        let ended = Ending::GuestEnded {
            step: "the boot".to_owned(),
            how: "reset".to_owned(),
        };
        let mut heard = Heard::default();
        assert!(is_mute(&ended, &heard));
        // Nothing is known of a guest that never came up.
        let step = "the boot".to_owned();
        assert!(!is_mute(&Ending::Deadline { step }, &heard));
        heard.said = 1;
        assert!(!is_mute(&ended, &heard));
    }
}
