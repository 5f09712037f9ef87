//! A workload as trials of a job run it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// A workload with what the job says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedWorkload {
    /// Its steps.
    pub workload: Workload,
    /// The most a trial's steps may take together, before scaling; each step
    /// has a limit of its own besides.
    pub timeout: Option<Duration>,
}
