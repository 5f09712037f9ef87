//! The table of counts that formats for people begin with: a row an arm, a
//! column for each outcome that occurred.

use super::model::Report;
use crate::outcome::Outcome;

/// Every outcome, in the order of columns.
const OUTCOMES: [Outcome; 7] = [
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
    let results: Vec<_> = report.arms.iter().map(|arm| arm.result()).collect();
    let occurred = |outcome: &Outcome| results.iter().any(|arm| arm.count(*outcome) > 0);
    let outcomes: Vec<Outcome> = OUTCOMES.into_iter().filter(occurred).collect();
    let missing = results.iter().any(|arm| arm.missing() > 0);
    let mut heading: Vec<String> = ["arm", "role", "kernel", "trials"]
        .map(str::to_owned)
        .into();
    heading.extend(outcomes.iter().map(|outcome| outcome.name().to_owned()));
    if missing {
        heading.push("not run".to_owned());
    }
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
            row.push(result.missing().to_string());
        }
        rows.push(row);
    }
    rows
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
