//! The words for how a trial ended (what it showed of its kernel, or why it
//! showed nothing) and for what a job's trials amount to. Shared by events,
//! verdicts, reports and webhooks.
#![forbid(clippy::disallowed_methods)]

use serde::{Deserialize, Serialize};

use crate::error::Exit;

/// The outcome of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// QEMU, the service or the host failed.
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

    /// Whether it says something about the kernel.
    #[must_use]
    pub fn tells(self) -> bool {
        matches!(self, Self::Clean | Self::Target | Self::Other)
    }
}

/// What a job's trials amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The controls showed the target, the other arms did not, and that is no
    /// chance.
    Fixed,
    /// An arm that should be free of it showed the target.
    NotFixed,
    /// An arm that should be clean shows something more often than its control,
    /// and that is no chance.
    Regressed,
    /// There are only controls, and each showed the target.
    Reproduced,
    /// Nothing can be said.
    Inconclusive,
}

impl VerdictKind {
    /// The words a report shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not fixed",
            Self::Regressed => "regressed",
            Self::Reproduced => "reproduced",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Fixed | Self::Reproduced => Exit::Good,
            Self::NotFixed | Self::Regressed => Exit::Bad,
            Self::Inconclusive => Exit::Undecided,
        }
    }
}
