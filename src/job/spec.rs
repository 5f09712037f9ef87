//! The shape of a job file. Names in it (fragments, series, workloads) are
//! still names here; `plan` looks them up.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};

use crate::cluster::ClusterSpec;
use crate::detect::{ExtraRule, Mute, Target};
use crate::kernel::SourceSpec;
use crate::vm::{Acceleration, Hardware};

/// One experiment, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The job's name, used for run directories and reports.
    pub name: String,
    /// What the experiment is for.
    #[serde(default)]
    pub about: Option<String>,
    /// The kernel that arms share unless they say otherwise.
    pub kernel: KernelSpec,
    /// The machine of every trial.
    #[serde(default)]
    pub machine: MachineSpec,
    /// The Ceph cluster of the run.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// What guest and host do in a trial.
    pub workload: WorkloadSpec,
    /// Trials per arm.
    #[serde(default = "one")]
    pub trials: u32,
    /// The finding that is the bug.
    #[serde(default)]
    pub target: Option<Target>,
    /// Findings that are known and not this job's question: shown, not counted.
    #[serde(default)]
    pub known: Vec<Mute>,
    /// Messages that are findings in this job, besides those that kvet knows.
    #[serde(default)]
    pub patterns: Vec<ExtraRule>,
    /// The kernels to compare, in the order they are reported.
    pub arms: IndexMap<String, ArmSpec>,
}

fn one() -> u32 {
    1
}

/// Where a kernel comes from and how it is configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// The source.
    pub source: SourceSpec,
    /// Kconfig fragments by name (`kconfigs/NAME.config`) or path, in order.
    pub config: Vec<String>,
    /// Words added to the kernel's command line.
    #[serde(default)]
    pub command_line: String,
}

/// The machine: CPUs, memory and what runs it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineSpec {
    /// Virtual CPUs; 2 unless given.
    pub cpus: Option<u32>,
    /// Memory in MiB; 1024 unless given.
    pub memory: Option<u32>,
    /// `auto`, `kvm` or `tcg`.
    pub accel: Acceleration,
}

impl MachineSpec {
    /// The hardware with defaults filled in.
    #[must_use]
    pub fn hardware(&self) -> Hardware {
        let standard = Hardware::default();
        Hardware {
            cpus: self.cpus.unwrap_or(standard.cpus),
            memory: self.memory.unwrap_or(standard.memory),
        }
    }
}

/// Which workload, and how long it may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// A workload by name (`jobs/workloads/NAME.yaml`) or path.
    #[serde(rename = "use")]
    pub name: String,
    /// The most a trial's steps may take together, besides the limits of the
    /// workload's own steps. Emulation multiplies both.
    #[serde(default, deserialize_with = "duration")]
    pub timeout: Option<Duration>,
}

/// One kernel variant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArmSpec {
    /// Whether this arm must show the target for the experiment to mean anything.
    pub control: bool,
    /// Patch series by topic (`patches/TOPIC`), or patch files by path, in order.
    pub patches: Vec<String>,
    /// Fragments added to the job's.
    pub config: Vec<String>,
    /// A source of its own.
    pub source: Option<SourceSpec>,
    /// A target of its own, such as the early panic of a debug series.
    pub target: Option<Target>,
    /// A number of trials of its own.
    pub trials: Option<u32>,
}

/// Reads `60s`, `2m 30s` and the like.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map(Some)
        .map_err(|error| serde::de::Error::custom(format!("`{text}` is not a duration: {error}")))
}
