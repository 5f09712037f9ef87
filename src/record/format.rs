//! The shapes of most files of a run directory; `super` names the others. Facts only:
//! what a trial showed and whether its detectors were armed is derived from them each
//! time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::detect::{Class, Finding};
use crate::event::Expected;
use crate::guest::protocol::{
    FailedTest, FailureKind, GuestMessage, Ready, StepFailure, StepResult,
};
use crate::host::{HostFacts, Load};
use crate::job::Plan;
use crate::service::DiskCheck;
use crate::trial_id::TrialId;

/// Version of the run directory's layout that is written.
pub const VERSION: u32 = 2;

/// `run.json`: what is known when a run begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beginning {
    /// Version of the layout.
    pub version: u32,
    /// When, RFC 3339 in UTC.
    pub started: Timestamp,
    /// What is to be done.
    pub plan: Plan,
    /// Where.
    pub host: HostFacts,
}

/// `kernel.json`: what an arm's kernel was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// Where its source came from.
    pub origin: String,
    /// The content key of the build.
    pub key: String,
    /// Whether it had been built before.
    pub cached: bool,
    /// The patches applied, in order: file name and SHA-256.
    pub patches: Vec<(String, String)>,
    /// The arm's workloads that are for later kernels than this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// `decoded.json`: where in the source the functions of an arm's stacks are, by
/// `function+offset/size`, with `<` before a return address: those inlined there,
/// innermost first, and the function itself.
pub type Decoding = BTreeMap<String, Vec<DecodedFrame>>;

/// A function at a place in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedFrame {
    /// Its name.
    pub function: String,
    /// `file:line`.
    pub place: String,
}

/// `broken.json`: why an arm has no kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Broken {
    /// What happened, in a line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// `self-test/result.json`: what a self-test found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// How many boots it took; each has a directory of its own.
    pub boots: u32,
    /// The number of the first one: those before are of a self-test that was
    /// interrupted.
    #[serde(default = "first_boot")]
    pub first: u32,
    /// What was provoked and not seen.
    pub unseen: Vec<Class>,
    /// Why not all was provoked: two guests in a row came to nothing. That is not
    /// the kernel's silence, and a resumed run tests it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_done: Option<String>,
    /// Wall-clock time, in seconds.
    pub seconds: u64,
}

/// The number of the first boot of a self-test that none came before.
fn first_boot() -> u32 {
    1
}

/// `history.json`: what the runs before had shown when this one began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How long things took.
    #[serde(default)]
    pub expected: Expected,
    /// Of each of the plan's known findings, in its order, the workloads of this
    /// job that ever showed it.
    #[serde(default)]
    pub known: Vec<Vec<Stream>>,
}

/// How often a workload showed a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The workload.
    pub workload: String,
    /// Trials that showed it.
    pub hits: u32,
    /// Of how many, up to the last run that did.
    pub trials: u32,
    /// Trials since.
    pub since: u32,
}

/// `hosts/NAME.json`: a host that trials ran on, or were to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub name: String,
    /// What it is; empty if it never said.
    pub facts: HostFacts,
    /// What trials that are compared must have in common.
    pub kind: String,
    /// Why it got no more trials at some point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// How the machine and the steps of an attempt came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Ending {
    /// All steps finished.
    Finished,
    /// The kernel's words ended it: a finding was complete, or the guest reset.
    Stopped,
    /// A step failed.
    StepFailed {
        /// Which step.
        step: String,
        /// What failed.
        error: String,
        /// What kind of failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureKind>,
        /// Of a system call's: the error by name, such as `EIO`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
    },
    /// A step, or the boot, was not through at its deadline.
    Deadline {
        /// What was waited for.
        step: String,
    },
    /// The guest powered off or reset before its steps were through.
    GuestEnded {
        /// What was going on.
        step: String,
        /// `powered off` or `reset`.
        how: String,
    },
    /// Something around the guest failed.
    Harness {
        /// What failed.
        #[serde(default)]
        part: Part,
        /// How.
        what: String,
    },
}

/// The parts of the harness that can fail under a guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// QEMU.
    Machine,
    /// The line to the agent, or the agent itself.
    Link,
    /// What the guest mounts.
    Service,
    /// This host: its files, its speed.
    #[default]
    Host,
}

/// `trial.json`: what one attempt at a trial recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// Which trial.
    #[serde(flatten)]
    pub id: TrialId,
    /// Which attempt at it, from 1: one that the harness failed is repeated.
    pub attempt: u32,
    /// The host it ran on, where that is not the driver's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The kernel's release.
    pub release: String,
    /// How it ended.
    pub ending: Ending,
    /// What its console said, as found at the time.
    pub findings: Vec<Finding>,
    /// What the guest said of itself once its agent was up; `None` if it never
    /// was.
    pub ready: Option<Ready>,
    /// The console's lines before that moment: what stands in them was said of
    /// the machine, not of the workload.
    #[serde(default)]
    pub booted_at: Option<u64>,
    /// How many bytes of the console came before the harness itself had the
    /// kernel print everybody's stacks; what follows is not searched.
    pub console_length: u64,
    /// Bytes of console in all.
    pub said: u64,
    /// Lines of console in all.
    #[serde(default)]
    pub lines: u64,
    /// Wall-clock time, in seconds.
    pub seconds: f64,
    /// What the workload counted, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// How busy the host was meanwhile.
    #[serde(default)]
    pub load: Option<Load>,
    /// Parts of the service that did not answer at its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<String>,
    /// From where on the kernel's words were not heard: the first sign of life that
    /// the agent wrote to the console and the console did not show, or how much of
    /// the console was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
    /// What the checker of its file system said of its disk; of a trial that had
    /// one and unmounted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskCheck>,
    /// Tests of a suite that did not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<TestFailure>,
    /// Bytes of the dump of its memory beside this file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Of a version 1 record alone: what was not armed, as judged then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unarmed_then: Vec<String>,
}

/// A test that did not pass, and when that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestFailure {
    /// The test.
    #[serde(flatten)]
    pub test: FailedTest,
    /// The console's lines by then: where a finding of it stands.
    pub line: u64,
}

/// A line of `journal.jsonl`: when, in seconds from the attempt's begin, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Seconds from the attempt's begin.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What happens in a trial, so that a time line can be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// QEMU runs, with its channels open.
    Machine {
        /// Its process, as this host knows it.
        process: u32,
    },
    /// The machine was not booted but is one that was saved, and goes on from
    /// there.
    Restored {
        /// The saved guest, by its name in the cache.
        guest: String,
    },
    /// The agent said something.
    Guest(GuestMessage),
    /// A step began.
    StepBegan {
        /// Its place in the list, from 0.
        step: u32,
        /// What it is called.
        label: String,
        /// Who does it.
        side: Side,
        /// Whether the list goes on meanwhile.
        background: bool,
        /// How long it may take, in seconds; in the background that begins with the
        /// `wait` for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<f64>,
    },
    /// A step ended.
    StepEnded {
        /// Its place in the list, from 0.
        step: u32,
        /// How.
        result: StepEnd,
    },
    /// The console was found to say something.
    Finding {
        /// Its class.
        class: Class,
        /// Its title.
        title: String,
        /// Its first line in the console, from 1.
        line: u64,
    },
    /// The console said more than is read: from here on nothing of it is.
    Unread,
    /// Something happened to the service.
    Service {
        /// What.
        what: String,
    },
    /// A deadline passed.
    Deadline {
        /// What was waited for.
        step: String,
    },
    /// The harness has the kernel print everybody's stacks from here on.
    Dump,
    /// A step takes longer than usual, and the kernel prints its blocked tasks.
    Look,
    /// The guest's memory was to be kept: its dump's size, or why there is none.
    Memory {
        /// Bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// Tasks wait for each other, or one for itself, and will for ever.
    Circle {
        /// Which.
        tasks: Vec<String>,
    },
    /// A self-test provokes a failure.
    Provoke {
        /// As LKDTM calls it.
        name: String,
    },
    /// It is over.
    Ended(Ending),
}

/// Who carries out a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The agent.
    Guest,
    /// The host.
    Host,
    /// Nobody: a background step is waited for.
    Wait,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// As asked.
    Done,
    /// Otherwise, and the workload allows it.
    Allowed {
        /// The error's name.
        errno: String,
    },
    /// Otherwise.
    Failed {
        /// How.
        message: String,
    },
}

/// So many bytes of what a guest says of a step's failure are kept: as much as a
/// step may print.
const FAILURE: usize = 64 << 10;

impl StepEnd {
    /// What a guest's result is to the workload, given the failures it allows.
    #[must_use]
    pub fn of(result: &StepResult, allow: &[String]) -> Self {
        match result {
            StepResult::Done(_) => Self::Done,
            StepResult::Failed(StepFailure {
                errno: Some(errno), ..
            }) if allow.contains(errno) => Self::Allowed {
                errno: errno.clone(),
            },
            StepResult::Failed(StepFailure { message, .. }) => {
                let most = FAILURE.min(message.len());
                let end = (0..=most).rfind(|at| message.is_char_boundary(*at));
                Self::Failed {
                    message: message[..end.unwrap_or(0)].to_owned(),
                }
            }
        }
    }
}
