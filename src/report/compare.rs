//! What trials counted, put side by side: the measures a job asks for, and
//! which rows of its tables of counters moved. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{ArmReport, ColumnCoverage, Comparison, Coverage, TrialReport};
use crate::job::{CounterTable, Measure};

/// Each measure for each arm.
#[must_use]
pub fn compare(measures: &[Measure], arms: &[ArmReport]) -> Vec<Comparison> {
    let row = |measure: &Measure| {
        let of_arm = |arm: &ArmReport| -> Vec<f64> {
            let trials = arm.trials.iter();
            trials.filter_map(|trial| value(measure, trial)).collect()
        };
        let samples: Vec<Vec<f64>> = arms.iter().map(of_arm).collect();
        Comparison {
            name: measure.name.clone(),
            values: samples.iter().cloned().map(median).collect(),
            samples,
        }
    };
    measures.iter().map(row).collect()
}

/// A measure in one trial; none if the trial has no such counter.
#[expect(
    clippy::cast_precision_loss,
    reason = "15 digits are enough to compare"
)]
fn value(measure: &Measure, trial: &TrialReport) -> Option<f64> {
    let other = |workload: &String| *workload != trial.workload;
    if measure.workload.as_ref().is_some_and(other) {
        return None;
    }
    let counter = *trial.counters.get(&measure.counter)? as f64;
    let per = match &measure.per {
        Some(name) => *trial.counters.get(name)? as f64,
        None => 1.0,
    };
    (per > 0.0).then(|| counter / per * measure.times)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// What moved, for each arm and table that has rows at all.
#[must_use]
pub fn coverage(tables: &[CounterTable], arms: &[ArmReport]) -> Vec<Coverage> {
    let pairs = arms
        .iter()
        .flat_map(|arm| tables.iter().map(move |table| (arm, table)));
    pairs
        .filter_map(|(arm, table)| of_arm(arm, table))
        .collect()
}

fn of_arm(arm: &ArmReport, table: &CounterTable) -> Option<Coverage> {
    // For each row, the columns that moved.
    let mut rows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut columns = BTreeSet::new();
    for (name, count) in arm.trials.iter().flat_map(|trial| &trial.counters) {
        let place = name
            .strip_prefix(&table.name)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.rsplit_once('/'));
        if let Some((row, column)) = place {
            columns.insert(column);
            let moved = rows.entry(row).or_default();
            if *count > 0 {
                moved.insert(column);
            }
        }
    }
    let named = |wanted: &dyn Fn(&BTreeSet<&str>) -> bool| -> Vec<String> {
        let rows = rows.iter().filter(|(_, moved)| wanted(moved));
        rows.map(|(row, _)| (*row).to_owned()).collect()
    };
    let of_column = |column: &&str| {
        let still = named(&|moved| !moved.contains(column));
        ColumnCoverage {
            name: (*column).to_owned(),
            moved: rows.len() - still.len(),
            still,
        }
    };
    (!rows.is_empty()).then(|| Coverage {
        arm: arm.name.clone(),
        table: table.name.clone(),
        moved: named(&|moved| !moved.is_empty()),
        still: named(&|moved| moved.is_empty()),
        reached: table.reached.clone(),
        columns: columns.iter().map(of_column).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::verdict::Judged;

    fn arm(name: &str, trials: &[(&str, &[(&str, u64)])]) -> ArmReport {
        let trial = |(workload, counters): &(&str, &[(&str, u64)])| TrialReport {
            workload: (*workload).to_owned(),
            number: 1,
            attempts: 1,
            judged: Judged {
                outcome: Outcome::Clean,
                reason: String::new(),
                known: Vec::new(),
                boot: None,
                others: Vec::new(),
            },
            findings: Vec::new(),
            seconds: 1.0,
            counters: counters
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
            directory: String::new(),
            host: None,
            failed_on: Vec::new(),
            alone: false,
            memory: None,
        };
        ArmReport {
            name: name.to_owned(),
            planned: 1,
            trials: trials.iter().map(trial).collect(),
            ..ArmReport::default()
        }
    }

    #[test]
    fn a_measure_is_the_median_of_an_arm_s_trials() {
        let measure: Measure = serde_yaml::from_str(
            "{ name: rate, workload: storm, counter: operations, per: milliseconds, times: 1000 }",
        )
        .unwrap();
        let trial = |operations| [("operations", operations), ("milliseconds", 500)];
        let (slow, fast, odd) = (trial(10), trial(20), trial(90));
        let arms = [
            arm("a", &[("storm", &slow), ("storm", &fast), ("other", &odd)]),
            arm("b", &[("storm", &odd), ("storm", &slow), ("storm", &fast)]),
            arm("c", &[("storm", &[("operations", 1)])]),
            arm("d", &[]),
        ];
        let rows = compare(&[measure], &arms);
        assert_eq!(rows[0].values, [Some(30.0), Some(40.0), None, None]);
    }

    #[test]
    fn a_row_moved_if_any_of_its_counters_did_in_any_trial() {
        let table = CounterTable {
            name: "t".to_owned(),
            path: "/t".to_owned(),
            keys: 1,
            reached: Some("y".to_owned()),
        };
        let arms = [
            arm("without", &[("w", &[("operations", 3)])]),
            arm(
                "with",
                &[
                    (
                        "w",
                        &[("t/a/x", 0), ("t/a/y", 1), ("t/b/x", 0), ("tt/c/x", 1)],
                    ),
                    ("w", &[("t/b/x", 0), ("t/d/x", 2)]),
                ],
            ),
        ];
        let found = coverage(&[table], &arms);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].arm, "with");
        assert_eq!(found[0].moved, ["a", "d"]);
        assert_eq!(found[0].still, ["b"]);
        assert_eq!(found[0].reached.as_deref(), Some("y"));
        // What a row has no counter for did not move there.
        let column = |name: &str, moved, still: [&str; 2]| ColumnCoverage {
            name: name.to_owned(),
            moved,
            still: still.map(str::to_owned).to_vec(),
        };
        assert_eq!(
            found[0].columns,
            [column("x", 1, ["a", "b"]), column("y", 1, ["b", "d"])]
        );
    }
}
