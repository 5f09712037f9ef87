//! How one trial ended, decided from what it recorded.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::detect::{Finding, Mute, Target};

/// The outcome of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The workload finished, every detector was armed, no finding.
    Clean,
    /// The job's signature was seen.
    Target,
    /// Another kernel finding.
    Other,
    /// The workload itself failed: a system call, data that came back wrong.
    Workload,
    /// QEMU, Ceph or the host failed.
    Harness,
    /// Silence past the deadline and nothing to explain it.
    Timeout,
    /// A detector the job needs is missing in the final config or failed its
    /// self-test.
    Unarmed,
}

impl Outcome {
    /// The word used in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Target => "target",
            Self::Other => "other",
            Self::Workload => "workload",
            Self::Harness => "harness",
            Self::Timeout => "timeout",
            Self::Unarmed => "unarmed",
        }
    }
}

/// How the trial's machine and steps came to an end; facts, no judgement.
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
    /// QEMU, the cluster or the host failed.
    Harness {
        /// What.
        what: String,
    },
}

/// What a trial recorded; what an outcome is decided from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// The arm's name.
    pub arm: String,
    /// The trial's number, from 1.
    pub number: u32,
    /// The kernel's release.
    pub release: String,
    /// How it ended.
    pub ending: Ending,
    /// What its console said, as found at the time.
    pub findings: Vec<Finding>,
    /// Detectors the job needs that were not armed.
    pub unarmed: Vec<String>,
    /// How many bytes of the console came before the harness itself had the
    /// kernel print everybody's stacks; what follows is not searched.
    pub console_length: u64,
    /// Wall-clock time, in seconds.
    pub seconds: f64,
    /// How often it had to be tried again because the harness failed.
    #[serde(default)]
    pub retries: u32,
    /// What the workload counted, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// An outcome with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in a few words: a title, a failed step.
    pub reason: String,
    /// Titles of known findings, which were not counted.
    pub known: Vec<String>,
}

/// Decides a trial's outcome; `day` is when it ran, for what is known until some
/// day only. What the kernel said outranks how the trial
/// ended; what made the trial unable to show anything outranks silence.
#[must_use]
pub fn decide(trial: &Trial, target: Option<&Target>, known: &[Mute], day: Date) -> Judged {
    let (known, counted): (Vec<&Finding>, Vec<&Finding>) =
        trial.findings.iter().partition(|finding| {
            known
                .iter()
                .any(|mute| mute.covers(finding, &trial.release, day))
        });
    let seen = target.and_then(|target| counted.iter().find(|finding| target.matches(finding)));
    let (outcome, reason) = if let Some(finding) = seen {
        (Outcome::Target, finding.title.clone())
    } else if let Some(finding) = counted.first() {
        (Outcome::Other, finding.title.clone())
    } else {
        match &trial.ending {
            Ending::Harness { what } => (Outcome::Harness, what.clone()),
            _ if !trial.unarmed.is_empty() => (
                Outcome::Unarmed,
                format!("not armed: {}", trial.unarmed.join(", ")),
            ),
            Ending::Finished => (Outcome::Clean, String::new()),
            Ending::Stopped => (
                Outcome::Timeout,
                "stopped for a finding that is not there any more".to_owned(),
            ),
            Ending::StepFailed { step, error } => (Outcome::Workload, format!("{step}: {error}")),
            Ending::Deadline { step } => (Outcome::Timeout, format!("{step} did not finish")),
            Ending::GuestEnded { step, how } => (
                Outcome::Timeout,
                format!("the guest {how} during {step} without a word"),
            ),
        }
    };
    Judged {
        outcome,
        reason,
        known: known.iter().map(|finding| finding.title.clone()).collect(),
    }
}
