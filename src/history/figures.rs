//! What the runs of a job amount to: how often each kernel showed the target and
//! each other finding, since when, and whether that has changed. Pure, but for a
//! look at what is left of run directories.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::hosts::Host;
use super::index::{ArmRow, FindingRow, RunRow};
use super::rate::Rate;
use crate::store::Lock;
use crate::verdict::{Deviation, appeared, difference, vanished};

/// Up to this probability a change is no chance. Rounding must not decide.
const LEVEL: f64 = 0.05 + 1e-9;

/// A job over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobHistory {
    /// The job.
    pub job: String,
    /// Its runs and bisections, the first one first.
    pub runs: Vec<Run>,
    /// How many runs came to which verdict; `unfinished` did not come to one.
    pub verdicts: BTreeMap<String, u32>,
    /// The median time of a run that came to its end, in seconds.
    pub median_seconds: Option<f64>,
    /// Each arm on each kernel, in the order in which they came up.
    pub arms: Vec<Arm>,
    /// Each finding, the one seen last first.
    pub findings: Vec<Finding>,
    /// What each host showed of each arm, in the last runs that ran on other hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Host>,
    /// What some of them do differently in these runs together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<Deviation>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its job.
    pub job: String,
    /// Its directory.
    pub path: String,
    /// Whether that is not there any more.
    pub gone: bool,
    /// Whether it is being written.
    pub running: bool,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// What it came to; nothing if it did not come to its end.
    pub verdict: Option<String>,
    /// Its trials that ended; of a bisection, the boots that told something.
    pub trials: u32,
    /// Whether it is a bisection: that has an answer and no verdict.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bisection: bool,
    /// What that came to, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// An arm on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// The arm.
    pub arm: String,
    /// Whether it has to show the target.
    pub control: bool,
    /// The kernel's release; nothing if there was none.
    pub kernel: String,
    /// Runs with trials of it.
    pub runs: u32,
    /// How often it showed the target.
    pub target: Rate,
    /// How long a trial takes, in seconds.
    pub seconds: f64,
}

/// A finding over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The name developers know it by.
    pub title: String,
    /// What it is recognised by.
    pub signature: String,
    /// Its class.
    pub class: String,
    /// The run that showed it first.
    pub first: Sight,
    /// The run that showed it last.
    pub last: Sight,
    /// How often each arm showed it on each kernel.
    pub rates: Vec<KernelRate>,
    /// Whether that has changed.
    pub trend: Trend,
}

/// A run that showed something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sight {
    /// The run.
    pub run: String,
    /// When it began.
    pub at: Timestamp,
}

/// A finding's rate on one kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelRate {
    /// The arm.
    pub arm: String,
    /// The kernel's release.
    pub kernel: String,
    /// How often.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Whether something has changed over the runs, at 5 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// There is one run only.
    Unknown,
    /// Nothing says so.
    Steady,
    /// Earlier runs did not show it.
    New,
    /// Later runs do not show it any more.
    Gone,
    /// Later runs show it more often than earlier ones.
    MoreOften,
    /// Later runs show it more rarely.
    Rarer,
}

impl Trend {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "-",
            Self::Steady => "steady",
            Self::New => "new",
            Self::Gone => "gone",
            Self::MoreOften => "more often",
            Self::Rarer => "rarer",
        }
    }
}

/// Runs as lists show them, the first one first. A directory that served several
/// has the record of the last one.
pub(super) fn runs(rows: &[RunRow]) -> Vec<Run> {
    let mut runs: Vec<Run> = rows.iter().map(run).collect();
    let mut later = HashSet::new();
    for run in runs.iter_mut().rev() {
        run.gone |= !later.insert(run.path.clone());
    }
    runs
}

/// A run as lists show it.
fn run(row: &RunRow) -> Run {
    Run {
        id: row.id.clone(),
        job: row.job.clone(),
        path: row.path.display().to_string(),
        gone: !row.path.is_dir(),
        running: row.verdict.is_none() && row.answer.is_none() && is_held(&row.path),
        started: row.started,
        seconds: row.seconds,
        verdict: row.verdict.clone(),
        trials: row.trials,
        bisection: row.bisection,
        answer: row.answer.clone(),
    }
}

/// Whether a run holds on to its directory.
fn is_held(path: &Path) -> bool {
    path.is_dir() && matches!(Lock::of_unused(path), Ok(None))
}

/// What these rows of a job amount to.
pub(super) fn figures(
    job: &str,
    runs: &[RunRow],
    arms: &[ArmRow],
    findings: &[FindingRow],
) -> JobHistory {
    let mut verdicts: BTreeMap<String, u32> = BTreeMap::new();
    for run in runs.iter().filter(|run| !run.bisection) {
        let verdict = run.verdict.as_deref().unwrap_or("unfinished");
        *verdicts.entry(verdict.to_owned()).or_default() += 1;
    }
    let ended = runs.iter().filter(|run| run.verdict.is_some());
    JobHistory {
        job: job.to_owned(),
        verdicts,
        median_seconds: median(ended.map(|run| run.seconds).collect()),
        arms: arms_on_kernels(arms),
        findings: over_time(runs, arms, findings),
        hosts: Vec::new(),
        deviations: Vec::new(),
        runs: self::runs(runs),
    }
}

/// The middle of some numbers.
pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        n if n % 2 == 1 => Some(numbers[middle]),
        _ => Some(f64::midpoint(numbers[middle - 1], numbers[middle])),
    }
}

fn arms_on_kernels(rows: &[ArmRow]) -> Vec<Arm> {
    let mut arms: Vec<(Arm, u32, u32, u32, f64)> = Vec::new();
    for row in rows {
        let same = |arm: &Arm| arm.arm == row.arm && arm.kernel == row.release;
        let at = arms.iter().position(|(arm, ..)| same(arm));
        let at = at.unwrap_or_else(|| {
            let arm = Arm {
                arm: row.arm.clone(),
                control: row.control,
                kernel: row.release.clone(),
                runs: 0,
                target: Rate::of(0, 0),
                seconds: 0.0,
            };
            arms.push((arm, 0, 0, 0, 0.0));
            arms.len() - 1
        });
        let (arm, hits, tells, trials, seconds) = &mut arms[at];
        arm.runs += 1;
        *hits += row.hits;
        *tells += row.tells;
        *trials += row.trials;
        *seconds += row.seconds;
    }
    let whole = arms
        .into_iter()
        .map(|(arm, hits, tells, trials, seconds)| Arm {
            target: Rate::of(hits, tells),
            seconds: seconds / f64::from(trials.max(1)),
            ..arm
        });
    whole.collect()
}

fn over_time(runs: &[RunRow], arms: &[ArmRow], rows: &[FindingRow]) -> Vec<Finding> {
    let mut grouped: Vec<(&FindingRow, Vec<&FindingRow>)> = Vec::new();
    for row in rows {
        let same = |one: &FindingRow| one.title == row.title && one.signature == row.signature;
        match grouped.iter_mut().find(|(one, _)| same(one)) {
            Some((_, all)) => all.push(row),
            None => grouped.push((row, vec![row])),
        }
    }
    let mut findings: Vec<(usize, Finding)> = grouped
        .into_iter()
        .filter_map(|(one, rows)| {
            let first = rows.iter().map(|row| row.run).min()?;
            let last = rows.iter().map(|row| row.run).max()?;
            let sight = |run: usize| {
                let run = runs.get(run)?;
                Some(Sight {
                    run: run.id.clone(),
                    at: run.started,
                })
            };
            let finding = Finding {
                title: one.title.clone(),
                signature: one.signature.clone(),
                class: one.class.clone(),
                first: sight(first)?,
                last: sight(last)?,
                rates: rates(arms, &rows),
                trend: trend(&sequence(runs.len(), arms, &rows)),
            };
            Some((last, finding))
        })
        .collect();
    findings.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    findings.into_iter().map(|(_, finding)| finding).collect()
}

/// The arms and kernels that ever showed a finding, in a trial that tells something.
fn showed(arm: &ArmRow, rows: &[&FindingRow]) -> bool {
    rows.iter()
        .any(|row| row.hits > 0 && row.arm == arm.arm && row.release == arm.release)
}

fn rates(arms: &[ArmRow], rows: &[&FindingRow]) -> Vec<KernelRate> {
    let mut rates: Vec<KernelRate> = Vec::new();
    for arm in arms_on_kernels(arms) {
        let here = rows.iter();
        let here = here.filter(|row| row.arm == arm.arm && row.release == arm.kernel);
        let hits: u32 = here.map(|row| row.hits).sum();
        if hits > 0 {
            rates.push(KernelRate {
                rate: Rate::of(hits, arm.target.trials),
                arm: arm.arm,
                kernel: arm.kernel,
            });
        }
    }
    rates
}

/// Run by run, hits and trials of the arms and kernels that ever showed it; a
/// run without such trials is left out.
fn sequence(runs: usize, arms: &[ArmRow], rows: &[&FindingRow]) -> Vec<(u32, u32)> {
    let mut sequence = vec![(0, 0); runs];
    for arm in arms.iter().filter(|arm| showed(arm, rows)) {
        if let Some((_, trials)) = sequence.get_mut(arm.run) {
            *trials += arm.tells;
        }
    }
    for row in rows {
        if let Some((hits, _)) = sequence.get_mut(row.run) {
            *hits += row.hits;
        }
    }
    sequence.retain(|(_, trials)| *trials > 0);
    sequence
}

/// What hits and trials, run by run, say of a change.
fn trend(runs: &[(u32, u32)]) -> Trend {
    let sum = |runs: &[(u32, u32)]| {
        let hits = runs.iter().map(|(hits, trials)| (*hits).min(*trials)).sum();
        (hits, runs.iter().map(|(_, trials)| *trials).sum::<u32>())
    };
    let shown = |(hits, _): &(u32, u32)| *hits > 0;
    let (Some(first), Some(last)) = (runs.iter().position(shown), runs.iter().rposition(shown))
    else {
        return Trend::Unknown;
    };
    if runs.len() < 2 {
        return Trend::Unknown;
    }
    let (hits, trials): (u32, u32) = sum(&runs[..=last]);
    let (_, since) = sum(&runs[last + 1..]);
    if since > 0 && vanished(hits, trials, since) <= LEVEL {
        return Trend::Gone;
    }
    let (hits, trials) = sum(&runs[first..]);
    let (_, before) = sum(&runs[..first]);
    if before > 0 && appeared(hits, trials, before) <= LEVEL {
        return Trend::New;
    }
    // Halves by the number of runs, which does not depend on what they showed.
    let (earlier, later) = runs.split_at(runs.len() / 2);
    let ((a, of_a), (b, of_b)) = (sum(earlier), sum(later));
    if difference(a, of_a, b, of_b) > LEVEL {
        return Trend::Steady;
    }
    if f64::from(b) * f64::from(of_a) > f64::from(a) * f64::from(of_b) {
        Trend::MoreOften
    } else {
        Trend::Rarer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_what_is_no_chance() {
        let said = |runs: &[(u32, u32)]| trend(runs);
        assert_eq!(said(&[(3, 3)]), Trend::Unknown);
        assert_eq!(said(&[(3, 3), (3, 3)]), Trend::Steady);
        assert_eq!(said(&[(3, 3), (0, 3)]), Trend::Gone);
        assert_eq!(said(&[(1, 3), (0, 3)]), Trend::Steady);
        assert_eq!(said(&[(0, 3), (3, 3)]), Trend::New);
        assert_eq!(said(&[(0, 1), (1, 1)]), Trend::Steady);
        assert_eq!(said(&[(10, 10), (9, 10), (2, 10), (1, 10)]), Trend::Rarer);
        assert_eq!(
            said(&[(1, 10), (1, 10), (9, 10), (9, 10)]),
            Trend::MoreOften
        );
        assert_eq!(said(&[(0, 3), (0, 3)]), Trend::Unknown);
    }

    fn run(number: i64) -> RunRow {
        RunRow {
            id: format!("run-{number}"),
            path: "/nowhere".into(),
            job: "j".to_owned(),
            started: Timestamp::from_second(number * 1000).unwrap(),
            seconds: 10.0,
            verdict: (number != 2).then(|| "fixed".to_owned()),
            trials: 6,
            bisection: false,
            answer: None,
        }
    }

    fn arm(run: usize, arm: &str, release: &str, hits: u32) -> ArmRow {
        ArmRow {
            run,
            arm: arm.to_owned(),
            control: arm == "stock",
            release: release.to_owned(),
            tells: 3,
            hits,
            trials: 3,
            seconds: 30.0,
        }
    }

    #[test]
    fn rates_are_of_the_arms_and_kernels_that_were_tried() {
        let runs = [run(0), run(1), run(2)];
        let arms = [
            arm(0, "stock", "7.3.4", 3),
            arm(0, "fixed", "7.3.4", 0),
            arm(1, "stock", "7.3.5", 2),
            arm(2, "stock", "7.3.4", 1),
        ];
        let shown = |run, release: &str, hits| FindingRow {
            run,
            arm: "stock".to_owned(),
            release: release.to_owned(),
            class: "hung_task".to_owned(),
            title: "hung".to_owned(),
            signature: "s".to_owned(),
            hits,
        };
        let findings = [shown(0, "7.3.4", 3), shown(1, "7.3.5", 2)];
        let history = figures("j", &runs, &arms, &findings);
        assert_eq!(history.verdicts["fixed"], 2);
        assert_eq!(history.verdicts["unfinished"], 1);
        assert_eq!(history.median_seconds, Some(10.0));
        let rates: Vec<(&str, &str, u32, u32, u32)> = history
            .arms
            .iter()
            .map(|arm| {
                let (hits, trials) = (arm.target.hits, arm.target.trials);
                (
                    arm.arm.as_str(),
                    arm.kernel.as_str(),
                    arm.runs,
                    hits,
                    trials,
                )
            })
            .collect();
        assert_eq!(
            rates,
            [
                ("stock", "7.3.4", 2, 4, 6),
                ("fixed", "7.3.4", 1, 0, 3),
                ("stock", "7.3.5", 1, 2, 3)
            ]
        );
        let finding = &history.findings[0];
        assert_eq!(
            (finding.first.run.as_str(), finding.last.run.as_str()),
            ("run-0", "run-1")
        );
        let rates: Vec<(u32, u32)> = finding
            .rates
            .iter()
            .map(|of| (of.rate.hits, of.rate.trials))
            .collect();
        assert_eq!(rates, [(3, 6), (2, 3)]);
        assert!((history.arms[0].seconds - 10.0).abs() < 1e-9);
        assert!(history.runs[0].gone);
    }

    #[test]
    fn an_arm_whose_harness_alone_showed_it_does_not_count() {
        let runs = [run(0), run(1)];
        let many = |run, arm: &str, hits| ArmRow {
            tells: 30,
            ..self::arm(run, arm, "7.3.4", hits)
        };
        let arms = [
            many(0, "stock", 30),
            many(1, "stock", 30),
            many(1, "fixed", 0),
        ];
        let shown = |run, arm: &str, hits| FindingRow {
            run,
            arm: arm.to_owned(),
            release: "7.3.4".to_owned(),
            class: "hung_task".to_owned(),
            title: "hung".to_owned(),
            signature: "s".to_owned(),
            hits,
        };
        // In a trial of the fix that told nothing.
        let findings = [
            shown(0, "stock", 30),
            shown(1, "stock", 30),
            shown(1, "fixed", 0),
        ];
        let history = figures("j", &runs, &arms, &findings);
        assert_eq!(history.findings[0].trend, Trend::Steady);
    }
}
