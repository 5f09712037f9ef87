//! The report of a run as data: what `--format json` prints and what every
//! other format is made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::coverage::Executed;
use crate::detect::Finding;
use crate::host::HostFacts;
use crate::outcome::Outcome;
use crate::record::{Broken, KernelFacts};
use crate::verdict::{ArmResult, Armed, Deviation, Judged, Tried, Verdict};

/// The version of this shape that is written. Version 1 had a trial's figures
/// and its outcome in two lists.
pub const VERSION: u32 = 2;

/// A run's report. `version` changes when a field changes its meaning or goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// Version of this shape: [`VERSION`].
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
    /// What trials do, in the job's order.
    #[serde(default)]
    pub workloads: Vec<WorkloadReport>,
    /// What the job compares, a row per measure.
    pub comparison: Vec<Comparison>,
    /// Which counters of the job's tables moved, per arm that has them.
    pub coverage: Vec<Coverage>,
    /// What was known before, and what became of it, in the plan's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<KnownReport>,
    /// Where it ran, or with `hosts`, where its kernels were built.
    pub host: HostFacts,
    /// The hosts that its trials ran on, if it is others, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostReport>,
    /// What some of them do differently.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

/// One arm.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ArmReport {
    /// Its name.
    pub name: String,
    /// Whether it had to show the target.
    pub control: bool,
    /// What its target is, as a key; see [`crate::verdict::target_key`].
    #[serde(default)]
    pub target: String,
    /// How many trials the plan asks for; the most there may be if they go on
    /// until the verdict is settled.
    pub planned: u32,
    /// The workloads of its trials, in the job's order.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// By what its detectors were shown to be armed.
    #[serde(default)]
    pub armed: Armed,
    /// Why there is no kernel to try, if it could not be made.
    pub broken: Option<Broken>,
    /// Its kernel, if it could be made.
    pub kernel: Option<KernelFacts>,
    /// The Kconfig fragments of its configuration, in order, by file name.
    #[serde(default)]
    pub configuration: Vec<String>,
    /// The compiler, as the kernel's .config has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<String>,
    /// The detectors and checks that its .config has on, without `CONFIG_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<String>,
    /// Its trials that ended, workload by workload in the job's order.
    pub trials: Vec<TrialReport>,
    /// Which lines that its patches change its trials executed, if lines were
    /// counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed: Option<Executed>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadReport {
    /// Its name.
    pub name: String,
    /// What it is for, in the words of its author.
    pub about: String,
    /// Its steps, in order, each as trials call it.
    pub steps: Vec<String>,
    /// The same as lines for bash, a step each; what has no such line is a comment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<String>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TrialReport {
    /// What it did.
    pub workload: String,
    /// Which one of this arm and workload, from 1.
    pub number: u32,
    /// How many attempts it took: one that the harness failed is repeated.
    pub attempts: u32,
    /// What it came to.
    #[serde(flatten)]
    pub judged: Judged,
    /// What its console said.
    pub findings: Vec<Finding>,
    /// The last attempt's wall-clock time, in seconds.
    pub seconds: f64,
    /// What workload and kernel counted, by name.
    pub counters: BTreeMap<String, u64>,
    /// The last attempt's directory, below the run's.
    pub directory: String,
    /// The host that it ran on, where that is not the driver's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The hosts of attempts before the last one, which the harness failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// It ran on a kind of hosts on which no control told anything of its workload:
    /// it is not compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// Bytes of the dump of its guest's memory, `vmcore` in that directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

impl ArmReport {
    /// What the verdict is made from.
    #[must_use]
    pub fn result(&self) -> ArmResult {
        let compared = self.trials.iter().filter(|trial| !trial.alone);
        // A finding that nobody can compare leaves the arm unfinished.
        let is_clean = |trial: &&TrialReport| trial.alone && trial.judged.outcome == Outcome::Clean;
        let alone = self.trials.iter().filter(is_clean).count();
        ArmResult {
            name: self.name.clone(),
            control: self.control,
            target: self.target.clone(),
            planned: self.planned,
            workloads: self.workloads.clone(),
            broken: self.broken.as_ref().map(|broken| broken.message.clone()),
            trials: compared.map(TrialReport::tried).collect(),
            alone: u32::try_from(alone).unwrap_or(u32::MAX),
            under_way: Vec::new(),
        }
    }
}

impl TrialReport {
    /// What the verdict is made from.
    fn tried(&self) -> Tried {
        Tried::of(&self.workload, self.number, &self.judged)
    }
}

/// A host that trials ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostReport {
    /// Its name.
    pub name: String,
    /// What it is; empty if it never said.
    pub facts: HostFacts,
    /// What trials that are compared must have in common: processor, accelerator,
    /// QEMU, service.
    pub kind: String,
    /// Why it got no more trials at some point of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// What its trials of each arm came to.
    pub rates: Vec<HostRate>,
}

/// A host's trials of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostRate {
    /// The arm.
    pub arm: String,
    /// Its trials there.
    pub trials: u32,
    /// Those that tell something of the kernel.
    pub telling: u32,
    /// Those that show the target.
    pub target: u32,
    /// Attempts there that the harness failed and that were made again, on this
    /// host or on another.
    #[serde(default, skip_serializing_if = "is_none")]
    pub failed: u32,
    /// The median of what a trial took there, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// One measure, arm by arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Comparison {
    /// What it is, with its unit.
    pub name: String,
    /// The median over each arm's trials, in the arms' order; none where no
    /// trial has the counter.
    pub values: Vec<Option<f64>>,
    /// What each trial of each arm measured, in the same order.
    #[serde(default)]
    pub samples: Vec<Vec<f64>>,
}

/// Which rows of a table of counters moved in an arm's trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Coverage {
    /// The arm.
    pub arm: String,
    /// The table.
    pub table: String,
    /// Rows with a counter that is not zero after some trial.
    pub moved: Vec<String>,
    /// The others.
    pub still: Vec<String>,
    /// The column that has to move for a row to be reached, if the job names one.
    /// The table may have no such column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    /// The same for each column by itself, by name; earlier reports have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnCoverage>,
}

/// In how many rows of a table of counters one column moved in an arm's trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ColumnCoverage {
    /// The column, as the table's first line has it.
    pub name: String,
    /// In how many rows it is not zero after some trial.
    pub moved: usize,
    /// The rows in which it never was.
    pub still: Vec<String>,
}

/// One known finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KnownReport {
    /// The pattern of its title; none if it is known by signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The pattern of its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Why it may be passed over.
    pub reason: String,
    /// Where one can read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The first kernel version it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The last day it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Where it is written, `FILE:LINE`; nothing if that was not recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
    /// Whether its last day was over when the run began: it was not passed over.
    pub expired: bool,
    /// The arms that showed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<KnownIn>,
    /// For how many trials it has not shown, if that many do not go with the
    /// rate at which it did before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_for: Option<u32>,
}

/// An arm that showed a known finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KnownIn {
    /// The arm.
    pub arm: String,
    /// Trials that showed it.
    pub hits: u32,
    /// Of how many that say something of the kernel, or showed it.
    pub trials: u32,
    /// The titles under which it was seen, each once.
    pub titles: Vec<String>,
}

impl KnownReport {
    /// What it is known by.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.title.as_deref().or(self.signature.as_deref());
        name.unwrap_or_default()
    }

    /// Its reason, and where to read more.
    pub(super) fn why(&self) -> String {
        match &self.link {
            Some(link) => format!("{}, {link}", self.reason),
            None => self.reason.clone(),
        }
    }

    /// `NAME (known.yaml:3)`.
    pub(super) fn with_place(&self) -> String {
        if self.at.is_empty() {
            return self.name().to_owned();
        }
        format!("{} ({})", self.name(), self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use schemars::generate::SchemaSettings;

    use super::Report;

    /// The schema that is committed is the one that these types have. With
    /// `KVET_SCHEMA=write` in the environment it is written anew.
    #[test]
    fn the_schema_is_of_this_shape() {
        let generator = SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator();
        let schema = generator.into_root_schema_for::<Report>();
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report.json");
        if std::env::var_os("KVET_SCHEMA").is_some_and(|how| how == "write") {
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "schema/report.json is not of this shape: KVET_SCHEMA=write cargo test the_schema"
        );
    }
}
