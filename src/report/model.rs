//! The report of a run as data: what `--format json` prints and what every
//! other format is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::verdict::{ArmResult, Verdict};

/// A run's report. `version` changes when a field changes its meaning or goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this shape: 1.
    pub version: u32,
    /// The job's name.
    pub job: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// Wall-clock time of the run, in seconds.
    pub seconds: f64,
    /// The answer.
    pub verdict: Verdict,
    /// The arms, in the job's order.
    pub arms: Vec<ArmReport>,
    /// What the job compares, a row per measure.
    pub comparison: Vec<Comparison>,
    /// Which counters of the job's tables moved, per arm that has them.
    pub coverage: Vec<Coverage>,
    /// Where it ran.
    pub host: HostFacts,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmReport {
    /// Its trials, judged.
    #[serde(flatten)]
    pub result: ArmResult,
    /// Its kernel, if it could be made.
    pub kernel: Option<KernelFacts>,
    /// What was measured in each trial, in the order of `trials`.
    pub measured: Vec<Measured>,
}

/// What was measured in one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What the trial did.
    pub workload: String,
    /// Its wall-clock time, in seconds.
    pub seconds: f64,
    /// What workload and kernel counted, by name.
    pub counters: BTreeMap<String, u64>,
}

/// One measure, arm by arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What it is, with its unit.
    pub name: String,
    /// The median over each arm's trials, in the arms' order; none where no
    /// trial has the counter.
    pub values: Vec<Option<f64>>,
}

/// Which rows of a table of counters moved in an arm's trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The arm.
    pub arm: String,
    /// The table.
    pub table: String,
    /// Rows with a counter that is not zero after some trial.
    pub moved: Vec<String>,
    /// The others.
    pub still: Vec<String>,
}

/// What an arm's kernel was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// The machine a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// `uname -srm`.
    pub kernel: String,
    /// Processors available to this process.
    pub cpus: usize,
    /// `kvm` or `tcg`, once known.
    pub accelerator: String,
    /// QEMU's version line.
    pub qemu: String,
    /// Ceph's version line.
    pub ceph: String,
    /// kvet's version.
    pub kvet: String,
}
