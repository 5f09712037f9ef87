//! The shape of a job file. Names in it (fragments, series, workloads) are
//! still names here; `plan` looks them up.

use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::rules::Confidence;
use super::variation::Variation;
use crate::detect::{ExtraRule, Mute, Target};
use crate::kernel::SourceSpec;
use crate::notify::Notify;
use crate::service::{DiskSpec, ServiceSpec};
use crate::vm::{Acceleration, Hardware, Startup};

/// One experiment, as written.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, schemars(transform = super::schema::disk_without_cluster))]
pub struct Job {
    /// The job's name, used for run directories and reports.
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9_+.-]{0,63}$")))]
    pub name: String,
    /// What the experiment is for.
    #[serde(default)]
    pub about: Option<String>,
    /// The kernel that arms share unless they say otherwise.
    pub kernel: KernelSpec,
    /// The machine of every trial.
    #[serde(default)]
    pub machine: MachineSpec,
    /// How guests come up: `restore` (from one that was booted once and saved,
    /// unless given) or `boot`.
    #[serde(default)]
    pub start: Startup,
    /// The guests' root file system: a recipe by name (`rootfs/NAME.yaml`) or
    /// path.
    #[serde(default = "agent_only")]
    pub rootfs: String,
    /// What guests mount: the run's cluster, or `none`.
    #[serde(default)]
    pub cluster: ServiceSpec,
    /// A scratch disk that guests mount instead; goes with `cluster: none`.
    #[serde(default)]
    pub disk: Option<DiskSpec>,
    /// What guest and host do in a trial: one workload, or a list of them. Each
    /// trial is of one.
    #[serde(deserialize_with = "workloads")]
    #[cfg_attr(test, schemars(with = "super::schema::Workloads"))]
    pub workload: Vec<WorkloadSpec>,
    /// Trials per arm and workload.
    #[serde(default)]
    pub trials: Trials,
    /// How sure the verdict has to be; 95 % unless given.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// The finding that is the bug.
    #[serde(default)]
    pub target: Option<Target>,
    /// How often a trial of a kernel with the bug shows the target, if that is
    /// known. Only 1, every trial, can be said; any other rate is learned.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Other ways to run the trial, which show the same bug: `kvet bisect
    /// --amplify` takes the most telling.
    #[serde(default)]
    pub amplify: Vec<Variation>,
    /// Findings that are known and not this job's question: shown, not counted.
    #[serde(default)]
    pub known: Vec<Mute>,
    /// Messages that are findings in this job, besides those that kvet knows.
    #[serde(default)]
    pub patterns: Vec<ExtraRule>,
    /// Whether each arm's kernel must show first, in a guest of its own, that it
    /// reports a warning, a hung task and a BUG. Adds the fragment `lkdtm`.
    #[serde(default)]
    pub self_test: bool,
    /// Whether the memory of guests that show something is kept, for crash and
    /// drgn. Adds the fragment `memory-dump`.
    #[serde(default)]
    pub dump: bool,
    /// Tables of counters in the guest that every trial reads at its end.
    #[serde(default)]
    pub counters: Vec<CounterTable>,
    /// Functions of the kernel whose calls and time every trial counts.
    #[serde(default)]
    pub profile: Vec<String>,
    /// What to show side by side for all arms.
    #[serde(default)]
    pub compare: Vec<Measure>,
    /// Whom to tell when the verdict is another one than before.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// The kernels to compare, in the order they are reported.
    #[cfg_attr(test, schemars(schema_with = "super::schema::arms"))]
    pub arms: IndexMap<String, ArmSpec>,
}

fn agent_only() -> String {
    "kvet".to_owned()
}

/// How many trials there are of each arm and workload: a number, `until 95%`, or
/// `{ until: 95%, most: 200 }`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trials {
    /// So many.
    Number(u32),
    /// As many as it takes for the verdict to be this sure.
    Until {
        /// How sure.
        confidence: Confidence,
        /// But not more than this.
        most: Option<u32>,
    },
}

impl Default for Trials {
    fn default() -> Self {
        Self::Number(1)
    }
}

/// Where a kernel comes from and how it is configured.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct KernelSpec {
    /// The source.
    pub source: SourceSpec,
    /// Kconfig fragments by name (`kconfigs/NAME.config`) or path, in order.
    pub config: Vec<String>,
    /// Words added to the kernel's command line.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 1024)))]
    pub command_line: String,
}

/// The machine: CPUs, memory and what runs it.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct MachineSpec {
    /// Virtual CPUs; 2 unless given.
    #[cfg_attr(test, schemars(range(min = 1, max = 255)))]
    pub cpus: Option<u32>,
    /// Memory in MiB; 1024 unless given.
    #[cfg_attr(test, schemars(range(min = 64, max = 1_048_576)))]
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

/// Which workload, and how long it may take. A name alone does, too.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// A workload by name (`jobs/workloads/NAME.yaml`) or path.
    #[serde(rename = "use")]
    pub name: String,
    /// The most a trial's steps may take together, besides the limits of the
    /// workload's own steps. Emulation multiplies both.
    #[serde(default, with = "crate::duration::optional")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Time>"))]
    pub timeout: Option<Duration>,
}

/// A text table of counters in the guest, such as one in debugfs. Its first
/// line names the columns. A guest that has no such file counts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CounterTable {
    /// What reports call it.
    pub name: String,
    /// The absolute path; a `*` in a component matches any one name.
    pub path: String,
    /// How many columns together name a row.
    #[serde(default = "one_column")]
    pub keys: u8,
    /// The column, by its name in the first line, that has to be above 0 for a row
    /// to count as reached; any column does unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(regex(pattern = "^[^\\s/]+$")))]
    pub reached: Option<String>,
}

fn one_column() -> u8 {
    1
}

/// A quotient of two counters, or one counter, to show for every arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// What it is, with its unit.
    pub name: String,
    /// Only in trials of this workload.
    #[serde(default)]
    pub workload: Option<String>,
    /// The counter.
    pub counter: String,
    /// Another one that it is divided by.
    #[serde(default)]
    pub per: Option<String>,
    /// A factor, for the unit.
    #[serde(default = "unit")]
    pub times: f64,
}

fn unit() -> f64 {
    1.0
}

/// One kernel variant.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// A number of trials of its own; the most if they go on until the verdict
    /// is settled.
    #[cfg_attr(test, schemars(range(min = 1, max = 10_000)))]
    pub trials: Option<u32>,
    /// Only these of the job's workloads.
    pub workloads: Vec<String>,
}

/// One workload, by name or with more words, or a list of such.
fn workloads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WorkloadSpec>, D::Error> {
    deserializer.deserialize_any(Workloads)
}

struct Workloads;

impl<'de> Visitor<'de> for Workloads {
    type Value = Vec<WorkloadSpec>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a workload's name, `{ use: NAME }`, or a list of these")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let name = name.to_owned();
        let timeout = None;
        Ok(vec![WorkloadSpec { name, timeout }])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let one = WorkloadSpec::deserialize(MapAccessDeserializer::new(map))?;
        Ok(vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut workloads = Vec::new();
        while let Some(OneWorkload(one)) = list.next_element()? {
            workloads.push(one);
        }
        Ok(workloads)
    }
}

/// An entry of the list: not itself a list.
struct OneWorkload(WorkloadSpec);

impl<'de> Deserialize<'de> for OneWorkload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut found = workloads(deserializer)?;
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(Self(one)),
            _ => Err(serde::de::Error::custom(
                "a list inside the list of workloads",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Trials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenTrials)
    }
}

struct WrittenTrials;

impl<'de> Visitor<'de> for WrittenTrials {
    type Value = Trials;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, `until 95%`, or `{ until: 95%, most: 200 }`")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Trials, E> {
        let too_many = |_| E::custom(format!("{number} trials are too many"));
        u32::try_from(number).map(Trials::Number).map_err(too_many)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Trials, E> {
        let Some(confidence) = text.strip_prefix("until ") else {
            return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self));
        };
        let most = None;
        let confidence = confidence.parse().map_err(E::custom)?;
        Ok(Trials::Until { confidence, most })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Trials, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Until {
            until: Confidence,
            #[serde(default)]
            most: Option<u32>,
        }
        let Until { until, most } = Until::deserialize(MapAccessDeserializer::new(map))?;
        let confidence = until;
        Ok(Trials::Until { confidence, most })
    }
}
