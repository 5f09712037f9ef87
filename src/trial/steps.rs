//! Where a trial stands in its list of steps: which one is in the foreground,
//! which run in the background, and what comes of one that ended.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use super::Request;
use crate::context::Context;
use crate::error::Error;
use crate::guest::protocol::{FailureKind, StepResult};
use crate::job::CounterTable;
use crate::patience;
use crate::record::{Ending, Part, Side, StepEnd};
use crate::service::{Service, ServiceFault};
use crate::step::{CounterStep, GuestStep, MountStep};
use crate::workload::{Action, Step};

/// How long the unmounting at the end may take: file systems give up what they
/// wait for after a minute, one mount after the other.
const CONCLUSION: Duration = Duration::from_secs(90);

/// A step of the host under way.
pub(super) type HostStepFuture<'a> = Pin<Box<dyn Future<Output = Result<(), ServiceFault>> + 'a>>;

/// What follows from something that happened.
#[derive(Debug)]
pub(super) enum Move {
    /// Go on waiting.
    Wait,
    /// Start the next step.
    Next,
    /// The trial is over.
    End(Ending),
}

/// A step that was just begun.
pub(super) struct Begun {
    pub(super) number: u32,
    pub(super) label: String,
    pub(super) side: Side,
    pub(super) background: bool,
    /// What the guest has to be told.
    pub(super) guest: Option<GuestStep>,
    /// How it has ended already: a `wait` for what is over.
    pub(super) ended: Option<StepEnd>,
    pub(super) then: Move,
}

/// The list and the place in it.
pub(super) struct Steps<'a> {
    context: &'a Context,
    service: &'a Service,
    request: &'a Request,
    list: Vec<Step>,
    next: usize,
    current: Option<usize>,
    /// The `wait` that has brought the step in the background to the foreground.
    waiting: Option<usize>,
    /// The host's step in the foreground.
    pub(super) host: Option<HostStepFuture<'a>>,
    /// How background steps ended: each can be waited for any number of times.
    ended: HashMap<usize, StepResult>,
    /// Mounts and the client numbers the guest says they got.
    clients: HashMap<String, u64>,
    /// When the first step began.
    began: Option<tokio::time::Instant>,
}

/// The workload's steps, with what the job has every trial do before and after.
fn list(request: &Request) -> Vec<Step> {
    let workload = &request.workload;
    let guest = |name: &str, action: GuestStep| Step {
        name: Some(name.to_owned()),
        timeout: None,
        background: false,
        allow: Vec::new(),
        only: Vec::new(),
        action: Action::Guest(action),
    };
    let mut list = Vec::new();
    if let Some(action) = workload.preparation() {
        list.push(guest("prepare", action));
    }
    if !request.profile.is_empty() {
        let functions = request.profile.clone();
        list.push(guest("profile", CounterStep::Profile { functions }.into()));
    }
    list.extend(workload.steps.iter().cloned());
    list.extend(workload.unawaited().map(|name| Step {
        name: None,
        timeout: None,
        background: false,
        allow: Vec::new(),
        only: Vec::new(),
        action: Action::Wait(name.to_owned()),
    }));
    if !request.profile.is_empty() {
        list.push(guest("profiled", CounterStep::Profiled.into()));
    }
    for table in &request.counters {
        let CounterTable {
            name, path, keys, ..
        } = table;
        let (name, path, keys) = (name.clone(), path.clone(), *keys);
        list.push(Step {
            // An arm without the patch that counts has no such file.
            allow: vec!["ENOENT".to_owned()],
            ..guest(
                "counters",
                CounterStep::Counters { name, path, keys }.into(),
            )
        });
    }
    list.push(Step {
        timeout: Some(patience::of(CONCLUSION)),
        ..guest("umount_all", workload.conclusion())
    });
    list
}

impl<'a> Steps<'a> {
    pub(super) fn new(context: &'a Context, service: &'a Service, request: &'a Request) -> Self {
        Self {
            context,
            service,
            request,
            list: list(request),
            next: 0,
            current: None,
            waiting: None,
            host: None,
            ended: HashMap::new(),
            clients: HashMap::new(),
            began: None,
        }
    }

    /// The step in the foreground, by position.
    pub(super) fn current(&self) -> Option<usize> {
        self.current
    }

    /// The step in the foreground.
    pub(super) fn foreground(&self) -> Option<&Step> {
        self.list.get(self.current?)
    }

    /// What the trial is about, for messages.
    pub(super) fn label(&self) -> String {
        match self.current.and_then(|at| self.list.get(at)) {
            Some(step) => step.label(),
            None if self.next == 0 => "the boot".to_owned(),
            None => "the end".to_owned(),
        }
    }

    /// How long the step in the foreground may take, before scaling. A `wait` with
    /// a time of its own says how long it waits. What takes so long by itself has the
    /// workload's time besides.
    pub(super) fn timeout(&self) -> Duration {
        let own = |at: usize| self.list.get(at)?.timeout;
        self.waiting
            .and_then(own)
            .or_else(|| self.current.and_then(own))
            .unwrap_or_else(|| {
                let lasts = self.foreground().map(Step::lasts);
                self.request.workload.step_timeout + lasts.unwrap_or_default()
            })
    }

    /// When the job wants all steps to be through.
    pub(super) fn whole_deadline(&self, slowdown: u32) -> Option<tokio::time::Instant> {
        let timeout = self.request.timeout?;
        Some(self.began? + timeout * slowdown)
    }

    /// Takes the next step off the list; `None` at its end.
    pub(super) fn begin_next(&mut self) -> Option<Begun> {
        let at = self.next;
        let step = self.list.get(at)?.clone();
        self.next += 1;
        self.began.get_or_insert_with(tokio::time::Instant::now);
        let mut begun = Begun {
            number: number_of(at),
            label: step.label(),
            side: match &step.action {
                Action::Guest(_) => Side::Guest,
                Action::Host(_) => Side::Host,
                Action::Wait(_) => Side::Wait,
            },
            background: step.background,
            guest: None,
            ended: None,
            then: Move::Wait,
        };
        match step.action {
            Action::Guest(action) => {
                begun.guest = Some(action);
                if step.background {
                    begun.then = Move::Next;
                } else {
                    self.current = Some(at);
                }
            }
            Action::Host(action) => {
                let (context, service) = (self.context, self.service);
                let hostname = &self.request.hostname;
                let clients = self.clients.clone();
                self.current = Some(at);
                self.host = Some(Box::pin(async move {
                    service.perform(context, &action, hostname, &clients).await
                }));
            }
            Action::Wait(name) => {
                let named = |step: &Step| step.background && step.name.as_ref() == Some(&name);
                let awaited = self.list.iter().position(named);
                let ended = awaited.and_then(|at| Some((at, self.ended.get(&at)?.clone())));
                if let Some((awaited, result)) = ended {
                    begun.ended = Some(StepEnd::of(&result, &self.list[awaited].allow));
                    begun.then = self.follow(awaited, result);
                } else {
                    self.current = awaited;
                    self.waiting = Some(at);
                }
            }
        }
        Some(begun)
    }

    /// Whether the guest was asked to do this step. Those of the host are not its to
    /// end.
    fn is_asked(&self, at: usize) -> bool {
        let begun = self.list.get(..self.next).unwrap_or_default();
        let step = begun.get(at);
        step.is_some_and(|step| matches!(step.action, Action::Guest(_)))
    }

    /// A step of the guest ended.
    pub(super) fn guest_ended(&mut self, number: u32, result: StepResult) -> Move {
        let at = number as usize;
        if !self.is_asked(at) {
            // A hostile guest: it answers what it was not asked.
            return Move::Wait;
        }
        if self.list[at].background {
            // What is said first counts.
            self.ended.entry(at).or_insert_with(|| result.clone());
        }
        if self.current == Some(at) {
            self.current = None;
            self.waiting = None;
            return self.follow(at, result);
        }
        Move::Wait
    }

    /// The host's step ended: which one, how, and what follows.
    pub(super) fn host_ended(&mut self, result: Result<(), ServiceFault>) -> (u32, StepEnd, Move) {
        self.host = None;
        let label = self.label();
        let number = self.current.take().unwrap_or_default();
        let number = number_of(number);
        match result {
            Ok(()) => (number, StepEnd::Done, Move::Next),
            Err(fault) => {
                let message = Error::from(fault).one_line();
                let ending = Ending::Harness {
                    part: Part::Service,
                    what: format!("{label}: {message}"),
                };
                (number, StepEnd::Failed { message }, Move::End(ending))
            }
        }
    }

    /// What ends with a guest's result for this step, and how: the step, and the
    /// `wait` for it. Nothing, if it was not begun or has ended before.
    pub(super) fn ends(&self, number: u32, result: &StepResult) -> Vec<(u32, StepEnd)> {
        let at = number as usize;
        if !self.is_asked(at) {
            return Vec::new();
        }
        let step = &self.list[at];
        let is_current = self.current == Some(at);
        let runs_beside = step.background && !self.ended.contains_key(&at);
        if !is_current && !runs_beside {
            return Vec::new();
        }
        let end = StepEnd::of(result, &step.allow);
        let wait = self.waiting.filter(|_| is_current).map(number_of);
        let ended = std::iter::once(number).chain(wait);
        ended.map(|number| (number, end.clone())).collect()
    }

    /// What follows from a guest step's result.
    fn follow(&mut self, at: usize, result: StepResult) -> Move {
        let step = &self.list[at];
        match result {
            StepResult::Done(report) => {
                if let Action::Guest(GuestStep::Mount(MountStep::Mount { name, .. })) = &step.action
                    && let Some(client) = report.client
                {
                    self.clients.insert(name.clone(), client);
                }
                Move::Next
            }
            StepResult::Failed(failure) => {
                let errno = failure.errno.as_deref().unwrap_or("");
                if step.allow.iter().any(|allowed| allowed == errno) {
                    return Move::Next;
                }
                let label = step.label();
                match failure.kind {
                    FailureKind::Agent => Move::End(Ending::Harness {
                        part: Part::Link,
                        what: format!("{label}: {}", failure.message),
                    }),
                    FailureKind::Timeout => Move::End(Ending::Deadline { step: label }),
                    FailureKind::Syscall
                    | FailureKind::Data
                    | FailureKind::Program
                    | FailureKind::Usage => Move::End(Ending::StepFailed {
                        step: label,
                        error: in_a_line(&failure.message),
                        failure: Some(failure.kind),
                        errno: failure.errno,
                    }),
                }
            }
        }
    }
}

/// What a place in the list is called elsewhere.
fn number_of(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// A failure in one line: its first, and the last where a program said more.
/// The journal has the whole.
fn in_a_line(message: &str) -> String {
    let mut lines = message.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{first}: {last}"),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_last_words_stand_for_all() {
        assert_eq!(in_a_line("fsync x: EIO"), "fsync x: EIO");
        let said = "cmp: exit status: 1\nreading a\n\na b differ: char 1\n";
        assert_eq!(in_a_line(said), "cmp: exit status: 1: a b differ: char 1");
    }
}
