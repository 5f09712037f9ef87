//! What stages tell while they work. Stages emit, reporters print; nothing
//! here decides anything.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::verdict::Outcome;

/// The stages of a run, in the order data passes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Starting the Ceph cluster.
    Cluster,
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
            Self::Cluster => "cluster",
            Self::Machine => "machine",
        }
    }
}

/// What the numbers of a progress event count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things, such as object files.
    Count,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
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
        elapsed: Duration,
    },
    /// Something a user should know that changes nothing.
    Note(String),
    /// Something a user should look at.
    Warning(String),
    /// A trial began.
    TrialStarted {
        /// The arm.
        arm: String,
        /// The trial's number, from 1.
        trial: u32,
    },
    /// A trial reached a step of its workload.
    TrialStep {
        /// The arm.
        arm: String,
        /// The trial's number, from 1.
        trial: u32,
        /// The step, as the workload names it.
        step: String,
    },
    /// The kernel or the harness said something.
    TrialFinding {
        /// The arm.
        arm: String,
        /// The trial's number, from 1.
        trial: u32,
        /// The finding's title.
        title: String,
    },
    /// A trial is over.
    TrialFinished {
        /// The arm.
        arm: String,
        /// The trial's number, from 1.
        trial: u32,
        /// How it ended.
        outcome: Outcome,
        /// Why, in a few words.
        reason: String,
        /// Time it took.
        elapsed: Duration,
    },
}

/// The sending half. The default one discards everything.
#[derive(Debug, Clone, Default)]
pub struct EventSink(Option<UnboundedSender<Event>>);

impl EventSink {
    /// A sink and the receiver a reporter reads.
    #[must_use]
    pub fn channel() -> (Self, UnboundedReceiver<Event>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Sends an event; one that nobody listens to is dropped.
    pub fn emit(&self, event: Event) {
        if let Some(sender) = &self.0 {
            drop(sender.send(event));
        }
    }
}
