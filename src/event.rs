//! What stages tell while they work. Stages emit, reporters print; nothing
//! here decides anything.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::outcome::Outcome;
use crate::trial_id::TrialId;

/// The stages of a run, in the order data passes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Installing what the host lacks.
    Setup,
    /// Fetching and unpacking a kernel's source.
    Source,
    /// Applying an arm's patches.
    Patch,
    /// Making and checking an arm's .config.
    Config,
    /// Compiling an arm.
    Build,
    /// Writing the initramfs.
    Rootfs,
    /// Starting what guests mount. Written as `cluster`, the job's key for it.
    #[serde(rename = "cluster")]
    Service,
    /// Probing accelerators and booting guests.
    Machine,
}

impl Stage {
    /// The word a reporter shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Source => "source",
            Self::Patch => "patch",
            Self::Config => "config",
            Self::Build => "build",
            Self::Rootfs => "rootfs",
            Self::Service => "cluster",
            Self::Machine => "machine",
        }
    }
}

/// What the numbers of a progress event count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things, such as object files.
    Count,
}

/// How long things took in the runs before, in seconds; what never ran is not
/// there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Builds, by what stages call their subject.
    #[serde(default)]
    pub builds: BTreeMap<String, f64>,
    /// Trials, by `ARM/WORKLOAD`.
    #[serde(default)]
    pub trials: BTreeMap<String, f64>,
    /// The whole run.
    #[serde(default)]
    pub run: Option<f64>,
    /// Trials go on until a verdict is settled: nobody knows how many there
    /// will be.
    #[serde(default)]
    pub open_end: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A run began; its directory.
    RunStarted {
        /// The job's name.
        job: String,
        /// Where it is recorded.
        directory: String,
        /// How many trials are planned.
        trials: u64,
    },
    /// How long what follows may take.
    Expected(Expected),
    /// A run has its verdict.
    RunFinished {
        /// The verdict's words.
        verdict: String,
        /// Time it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A stage began working on `subject` (a version, an arm).
    Started {
        /// Which stage.
        stage: Stage,
        /// What it works on.
        subject: String,
    },
    /// How far a stage got.
    Progress {
        /// Which stage.
        stage: Stage,
        /// What it works on, as in `Started`.
        subject: String,
        /// Units done so far.
        done: u64,
        /// Units in all, where known or estimated.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// A stage is through with `subject`.
    Finished {
        /// Which stage.
        stage: Stage,
        /// What it worked on, as in `Started`.
        subject: String,
        /// Whether the result was there already.
        cached: bool,
        /// Time it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// How far a bisection is.
    Bisection {
        /// The fewest candidates that hold the culprit, as sure as was asked.
        left: usize,
        /// The probability that there is no culprit.
        none: f64,
        /// The likeliest candidates with their probability.
        likeliest: Vec<(String, f64)>,
        /// Kernels built.
        builds: u32,
        /// Boots that told something.
        boots: u32,
        /// Builds and boots still to come, about, where that is known.
        to_go: Option<(f64, f64)>,
    },
    /// Something a user should know that changes nothing.
    Note(String),
    /// Something a user should look at.
    Warning(String),
    /// An attempt at a trial began.
    TrialStarted {
        /// Which trial.
        trial: TrialId,
        /// Which attempt at it, from 1.
        attempt: u32,
    },
    /// A trial reached a step of its workload.
    TrialStep {
        /// Which trial.
        trial: TrialId,
        /// The step, as the workload names it.
        step: String,
    },
    /// The kernel or the harness said something.
    TrialFinding {
        /// Which trial.
        trial: TrialId,
        /// The finding's title.
        title: String,
    },
    /// A trial is over.
    TrialFinished {
        /// Which trial.
        trial: TrialId,
        /// How it ended.
        outcome: Outcome,
        /// Why, in a few words.
        reason: String,
        /// Time it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}

/// An event with the moment it happened.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// When, in UTC.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// The sending half; every listener is told everything. The default one has no
/// listener.
#[derive(Debug, Clone, Default)]
pub struct EventSink(Vec<UnboundedSender<Stamped>>);

impl EventSink {
    /// A sink and the receiver a reporter reads.
    #[must_use]
    pub fn channel() -> (Self, UnboundedReceiver<Stamped>) {
        Self::default().and_channel()
    }

    /// The same sink with one listener more.
    #[must_use]
    pub fn and_channel(&self) -> (Self, UnboundedReceiver<Stamped>) {
        let (sender, receiver) = unbounded_channel();
        let mut senders = self.0.clone();
        senders.push(sender);
        (Self(senders), receiver)
    }

    /// A sink, and what gives the warnings that came since it was last asked.
    #[cfg(test)]
    pub(crate) fn warnings() -> (Self, impl FnMut() -> Vec<String>) {
        let (sink, mut told) = Self::channel();
        let warnings = move || {
            std::iter::from_fn(|| told.try_recv().ok())
                .filter_map(|stamped| match stamped.event {
                    Event::Warning(text) => Some(text),
                    _ => None,
                })
                .collect()
        };
        (sink, warnings)
    }

    /// Sends an event; one that nobody listens to is dropped.
    pub fn emit(&self, event: Event) {
        let stamped = Stamped {
            at: Timestamp::now(),
            event,
        };
        for listener in &self.0 {
            drop(listener.send(stamped.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts that read `events.jsonl` know these words.
    #[test]
    fn a_stage_is_recorded_under_the_word_that_is_shown() {
        for stage in [Stage::Setup, Stage::Rootfs, Stage::Service, Stage::Machine] {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
        assert_eq!(Stage::Service.name(), "cluster");
    }
}
