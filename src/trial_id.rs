//! Which trial: the name by which plans, events, records and reports know one.
#![forbid(clippy::disallowed_methods)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// One trial of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TrialId {
    /// The arm whose kernel it boots.
    pub arm: String,
    /// The workload that it runs.
    pub workload: String,
    /// Which one of that arm and workload, from 1. Trials of different arms
    /// with the same workload and number have the same seed.
    pub number: u32,
}

impl TrialId {
    /// What is mixed into its random choices, so that arms are tried with the
    /// same seeds.
    #[must_use]
    pub fn seed(&self) -> u64 {
        u64::from(self.number)
    }
}

impl fmt::Display for TrialId {
    /// `ARM/WORKLOAD/NUMBER`, as the record's directories are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.arm, self.workload, self.number)
    }
}
