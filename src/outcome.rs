//! The words for how a trial ended: what it showed of its kernel, or why it
//! showed nothing. Shared by events, verdicts and reports.

use serde::{Deserialize, Serialize};

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
