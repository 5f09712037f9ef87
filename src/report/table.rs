//! The table of counts that formats for people begin with: a row an arm, a
//! column for each outcome that occurred.

use super::known;
use super::model::{ArmReport, Report};
use crate::outcome::Outcome;
use crate::verdict::{Other, interval};

/// Every outcome, in the order of columns.
pub(super) const OUTCOMES: [Outcome; 7] = [
    Outcome::Target,
    Outcome::Other,
    Outcome::Clean,
    Outcome::Workload,
    Outcome::Timeout,
    Outcome::Unarmed,
    Outcome::Harness,
];

/// The heading and the rows, as text; nothing is escaped.
pub(super) fn counts(report: &Report) -> Vec<Vec<String>> {
    let results: Vec<_> = report.arms.iter().map(ArmReport::result).collect();
    let occurred = |outcome: &Outcome| results.iter().any(|arm| arm.count(*outcome) > 0);
    let outcomes: Vec<Outcome> = OUTCOMES.into_iter().filter(occurred).collect();
    let missing = report.arms.iter().any(|arm| missing(report, arm) > 0);
    let mut heading: Vec<String> = ["arm", "role", "kernel", "trials"]
        .map(str::to_owned)
        .into();
    heading.extend(outcomes.iter().map(|outcome| outcome.name().to_owned()));
    if missing {
        heading.push("not run".to_owned());
    }
    heading.push("target rate".to_owned());
    let mut rows = vec![heading];
    for (arm, result) in report.arms.iter().zip(&results) {
        let role = if arm.control { "control" } else { "fix" };
        let release = arm.kernel.as_ref().map(|kernel| kernel.release.clone());
        let mut row = vec![
            arm.name.clone(),
            role.to_owned(),
            release.unwrap_or_else(|| "none".to_owned()),
            result.trials.len().to_string(),
        ];
        row.extend(outcomes.iter().map(|o| result.count(*o).to_string()));
        if missing {
            row.push(self::missing(report, arm).to_string());
        }
        row.push(rate(result.count(Outcome::Target), result.telling()));
        rows.push(row);
    }
    rows
}

/// How many planned trials have no outcome. Where they go on until the verdict is
/// settled, the plan says how many there may be, and none is missing.
pub(super) fn missing(report: &Report, arm: &ArmReport) -> u32 {
    // Those that are not compared ran nevertheless.
    let ran = u32::try_from(arm.trials.len()).unwrap_or(u32::MAX);
    match report.verdict.rules.until {
        None => arm.planned.saturating_sub(ran),
        Some(_) => 0,
    }
}

/// The 95 % interval of a rate: `44-100 %`; nothing without trials.
pub(super) fn rate(hits: u32, trials: u32) -> String {
    if trials == 0 {
        return String::new();
    }
    let (low, high) = interval(hits, trials);
    format!("{:.0}-{:.0} %", low * 100.0, high * 100.0)
}

/// What fix arms showed besides their targets and what is not held against
/// them, and what was known before, a sentence each: it is for a person to look
/// at.
pub(super) fn beside(report: &Report) -> Vec<String> {
    excused(report)
        .iter()
        .flat_map(|of_one| {
            if of_one.len() > ALIKE {
                vec![in_several(of_one)]
            } else {
                of_one.iter().map(|other| sentence(other)).collect()
            }
        })
        .chain(known::sentences(report))
        .collect()
}

/// From more than so many workloads that show the same, one sentence is made.
pub(super) const ALIKE: usize = 2;

/// What is not held against fix arms, by arm and finding.
pub(super) fn excused(report: &Report) -> Vec<Vec<&Other>> {
    let mut groups: Vec<Vec<&Other>> = Vec::new();
    let others = report.verdict.others.iter();
    for other in others.filter(|other| !other.regressed && !other.open) {
        let same = |group: &&mut Vec<&Other>| {
            group[0].fix == other.fix && group[0].finding.title == other.finding.title
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(other),
            None => groups.push(vec![other]),
        }
    }
    groups
}

/// One finding of a fix arm in several workloads: those with most of it by name.
/// Trials of different workloads are not added up.
pub(super) fn in_several(of_one: &[&Other]) -> String {
    const NAMED: usize = 3;
    let mut sorted = of_one.to_vec();
    sorted.sort_by_key(|other| std::cmp::Reverse(other.hits));
    let named: Vec<String> = sorted
        .iter()
        .take(NAMED)
        .map(|other| {
            let shown = format!("{} {}/{}", other.workload, other.hits, other.trials);
            match &other.control {
                Some(control) => {
                    let (hits, trials) = (other.control_hits, other.control_trials);
                    format!("{shown} ({control} {hits}/{trials})")
                }
                None => format!("{shown} (no control)"),
            }
        })
        .collect();
    let more = match of_one.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} also shows {} in trials of {} workloads: {}{more}",
        of_one[0].fix,
        of_one[0].finding.title,
        of_one.len(),
        named.join(", ")
    )
}

fn sentence(other: &Other) -> String {
    let Other { fix, finding, .. } = other;
    let shown = format!(
        "{fix} also shows {} in {} of {} trials of {} ({})",
        finding.title,
        other.hits,
        other.trials,
        other.workload,
        rate(other.hits, other.trials)
    );
    match &other.control {
        Some(control) => format!(
            "{shown}, {control} in {} of {} ({})",
            other.control_hits,
            other.control_trials,
            rate(other.control_hits, other.control_trials)
        ),
        None => format!("{shown}; no control with its target was tried with that"),
    }
}

/// A number as tables show it.
pub(super) fn figure(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// A probability in percent.
pub(super) fn percent(chance: f64) -> String {
    if chance < 0.001 {
        "below 0.1 %".to_owned()
    } else {
        format!("{:.1} %", chance * 100.0)
    }
}
