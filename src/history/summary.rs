//! What history keeps of a run: a page instead of a directory of logs. It
//! outlives the run directory, and the index is made of nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::detect::Class;
use crate::outcome::{Outcome, VerdictKind};
use crate::record::Beginning;
use crate::report::{ArmReport, Report, TrialReport};

/// The version of a summary's shape.
pub(super) const VERSION: u32 = 1;

/// Different findings of a trial that are kept.
const FINDINGS: usize = 50;
/// Characters of a title or a signature that are kept.
const TEXT: usize = 1000;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this shape, 1.
    pub version: u32,
    /// The run's id, see [`id`].
    pub id: String,
    /// Its directory.
    pub path: PathBuf,
    /// The directory's state when this was read; another one is read again.
    pub stamp: String,
    /// The job's name.
    pub job: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The verdict; none if it did not come to its end.
    pub verdict: Option<VerdictKind>,
    /// Trials that were planned; at most, if they went on until it was settled.
    pub planned: u32,
    /// Whether they went on until the verdict was settled.
    pub open_end: bool,
    /// Its arms.
    pub arms: Vec<ArmSummary>,
    /// Its trials, arm by arm.
    pub trials: Vec<TrialSummary>,
    /// What they showed, each once.
    pub findings: Vec<FindingSummary>,
    /// Kernels that were compiled, by what the build is called, in seconds.
    pub builds: BTreeMap<String, f64>,
    /// What it came to if it is a bisection: that has neither arms that are
    /// compared nor a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bisection: Option<BisectionSummary>,
}

/// What a bisection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BisectionSummary {
    /// Its answer, in a line; none if it did not come to its end.
    pub answer: Option<String>,
    /// Kernels that it built.
    pub builds: u32,
    /// Boots that told something.
    pub boots: u32,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmSummary {
    /// Its name.
    pub name: String,
    /// Whether it had to show the target.
    pub control: bool,
    /// Its kernel's release; none if there was no kernel.
    pub release: Option<String>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialSummary {
    /// The place of its arm, from 0.
    pub arm: usize,
    /// What it did.
    pub workload: String,
    /// Which one of its arm and workload, from 1.
    pub number: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The places of the findings it showed, from 0.
    pub findings: Vec<usize>,
    /// The host that it ran on, where that is not the driver's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The hosts of attempts before the last one, which the harness failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingSummary {
    /// Its class.
    pub class: Class,
    /// The name developers know it by.
    pub title: String,
    /// What it is recognised by.
    pub signature: String,
}

/// A run's id: its job, when it began, and a few digits that tell it from others
/// of the same second. It is the same wherever the directory lies.
#[must_use]
pub fn id(job: &str, started: Timestamp) -> String {
    let mut hash = Sha256::new();
    hash.update(job);
    hash.update(started.as_nanosecond().to_le_bytes());
    let digits = hex::encode(&hash.finalize()[..3]);
    let time = started.strftime("%Y%m%dT%H%M%SZ");
    // A record can come from anywhere; an id is a file's name.
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    let job: String = job.chars().filter(|c| plain(*c)).take(64).collect();
    let job = job.trim_start_matches('.');
    format!("{job}-{time}-{digits}")
}

impl Summary {
    /// What a run's report amounts to; `finished` if it came to its end.
    #[must_use]
    pub fn of(
        path: &Path,
        stamp: String,
        beginning: &Beginning,
        report: &Report,
        finished: bool,
    ) -> Self {
        let mut findings = Findings::default();
        let mut trials = Vec::new();
        for (arm, of_arm) in report.arms.iter().enumerate() {
            let of_arm = of_arm.trials.iter();
            trials.extend(of_arm.map(|trial| findings.trial(arm, trial)));
        }
        Self {
            version: VERSION,
            id: id(&report.job, beginning.started),
            path: path.to_owned(),
            stamp,
            job: report.job.clone(),
            started: beginning.started,
            seconds: if report.seconds.is_finite() {
                report.seconds.max(0.0)
            } else {
                0.0
            },
            verdict: finished.then_some(report.verdict.kind),
            planned: planned(report.arms.iter().map(|arm| arm.planned)),
            open_end: report.verdict.rules.until.is_some(),
            arms: report.arms.iter().map(arm).collect(),
            trials,
            findings: findings.all,
            builds: BTreeMap::new(),
            bisection: None,
        }
    }

    /// What a bisection's report amounts to; there is none before its end.
    #[must_use]
    pub fn of_bisection(
        path: &Path,
        stamp: String,
        beginning: &Beginning,
        report: Option<&crate::bisect::report::Report>,
    ) -> Self {
        let job = &beginning.plan.name;
        let text = report.map(crate::bisect::report::Report::text);
        let answer = text.as_deref().and_then(|text| text.lines().next());
        let cost = report.map(|report| report.cost).unwrap_or_default();
        let seconds = cost.build_seconds + cost.boot_seconds;
        Self {
            version: VERSION,
            id: id(job, beginning.started),
            path: path.to_owned(),
            stamp,
            job: job.clone(),
            started: beginning.started,
            seconds: if seconds.is_finite() {
                seconds.max(0.0)
            } else {
                0.0
            },
            verdict: None,
            planned: 0,
            open_end: true,
            arms: Vec::new(),
            trials: Vec::new(),
            findings: Vec::new(),
            builds: BTreeMap::new(),
            bisection: Some(BisectionSummary {
                answer: answer.map(cut),
                builds: cost.builds,
                boots: cost.boots,
            }),
        }
    }
}

/// The trials of all arms, as a record has it, which can come from anywhere.
pub(super) fn planned(arms: impl Iterator<Item = u32>) -> u32 {
    arms.fold(0, u32::saturating_add)
}

fn arm(arm: &ArmReport) -> ArmSummary {
    ArmSummary {
        name: cut(&arm.name),
        control: arm.control,
        release: arm.kernel.as_ref().map(|kernel| cut(&kernel.release)),
    }
}

/// The findings of a run, each once.
#[derive(Default)]
struct Findings {
    all: Vec<FindingSummary>,
    places: std::collections::HashMap<(String, String), usize>,
}

impl Findings {
    fn trial(&mut self, arm: usize, trial: &TrialReport) -> TrialSummary {
        let mut shown = Vec::new();
        for finding in &trial.findings {
            if shown.len() == FINDINGS {
                break;
            }
            let (title, signature) = (cut(&finding.title), cut(&finding.signature));
            let all = &mut self.all;
            let place = self.places.entry((title.clone(), signature.clone()));
            let place = *place.or_insert_with(|| {
                all.push(FindingSummary {
                    class: finding.class,
                    title,
                    signature,
                });
                all.len() - 1
            });
            if !shown.contains(&place) {
                shown.push(place);
            }
        }
        TrialSummary {
            arm,
            workload: cut(&trial.workload),
            number: trial.number,
            outcome: trial.judged.outcome,
            seconds: if trial.seconds.is_finite() {
                trial.seconds.max(0.0)
            } else {
                0.0
            },
            findings: shown,
            host: trial.host.as_deref().map(cut),
            failed_on: trial.failed_on.iter().map(|host| cut(host)).collect(),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_file_s_name_and_tells_runs_of_a_second_apart() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let one = id("job", at("2026-01-02T03:04:05.1Z"));
        assert!(one.starts_with("job-20260102T030405Z-"), "{one}");
        assert_ne!(one, id("job", at("2026-01-02T03:04:05.2Z")));
        assert_eq!(one, id("job", at("2026-01-02T03:04:05.1Z")));
        let hostile = id("../..\n/\u{202e}x", at("2026-01-02T03:04:05Z"));
        assert!(
            !hostile.contains(['/', '\n']) && !hostile.starts_with('.'),
            "{hostile}"
        );
    }
}
