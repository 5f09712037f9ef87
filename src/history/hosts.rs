//! What hosts show over many runs of a job, and which of them is odd. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::index::HostRow;
use super::rate::Rate;
use crate::outcome::Outcome;
use crate::verdict::{Deviation, HostTrial, deviations};

/// So many of the last runs count: a machine that was odd may have been mended.
pub(super) const RUNS: u32 = 100;

/// A host's trials of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// The host.
    pub host: String,
    /// The arm.
    pub arm: String,
    /// Runs in which it had some.
    pub runs: u32,
    /// How often they showed the target.
    pub target: Rate,
    /// Those that told nothing, and attempts that the harness failed there, of all.
    pub nothing: Rate,
    /// How long one took, in seconds.
    pub seconds: f64,
}

/// What each host's trials of each arm came to, in the hosts' order.
pub(super) fn hosts(rows: &[HostRow]) -> Vec<Host> {
    let keys: BTreeSet<(&str, &str)> = rows.iter().map(|row| (&*row.host, &*row.arm)).collect();
    let one = |(host, arm): (&str, &str)| {
        let own = || {
            rows.iter()
                .filter(move |row| row.host == host && row.arm == arm)
        };
        let sum = |of: fn(&HostRow) -> u32| own().map(of).fold(0, u32::saturating_add);
        let (tells, trials) = (sum(|row| row.tells), sum(|row| row.trials));
        let failed = sum(|row| row.failed);
        let runs: BTreeSet<&str> = own().map(|row| &*row.run).collect();
        Host {
            host: host.to_owned(),
            arm: arm.to_owned(),
            runs: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            target: Rate::of(sum(|row| row.hits), tells),
            nothing: Rate::of(
                trials.saturating_sub(tells).saturating_add(failed),
                trials.saturating_add(failed),
            ),
            seconds: own().map(|row| row.seconds).sum::<f64>() / f64::from(trials.max(1)),
        }
    };
    keys.into_iter().map(one).collect()
}

/// Which of them differ from the others. A run's trials are compared with each
/// other alone: kernel, job and load change from one to the next.
pub(super) fn differing(rows: &[HostRow]) -> Vec<Deviation> {
    let within: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.run, row.workload))
        .collect();
    let mut trials = Vec::new();
    for (row, within) in rows.iter().zip(&within) {
        let missed = row.tells.saturating_sub(row.hits);
        let nothing = row.trials.saturating_sub(row.tells);
        for (outcome, count) in [
            (Outcome::Target, row.hits),
            (Outcome::Clean, missed),
            (Outcome::Harness, nothing.saturating_add(row.failed)),
        ] {
            let one = HostTrial {
                arm: &row.arm,
                workload: within,
                host: &row.host,
                outcome,
            };
            trials.extend((0..count).map(|_| one));
        }
    }
    deviations(&trials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: u32, host: &str, hits: u32) -> HostRow {
        HostRow {
            run: format!("run {run}"),
            host: host.to_owned(),
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            tells: 3,
            hits,
            trials: 4,
            failed: 1,
            seconds: 8.0,
        }
    }

    #[test]
    fn a_host_s_trials_of_all_runs_count_together() {
        let hosts = hosts(&[row(1, "b", 1), row(1, "a", 2), row(2, "b", 3)]);
        let names: Vec<&str> = hosts.iter().map(|one| &*one.host).collect();
        assert_eq!(names, ["a", "b"]);
        let b = &hosts[1];
        assert_eq!((b.runs, b.target.hits, b.target.trials), (2, 4, 6));
        assert_eq!((b.nothing.hits, b.nothing.trials), (4, 10));
        assert!((b.seconds - 2.0).abs() < 1e-9);
    }

    #[test]
    fn an_odd_host_shows_over_runs_that_are_too_small_by_themselves() {
        let of_run = |run| [row(run, "a", 3), row(run, "b", 3), row(run, "odd", 0)];
        assert_eq!(differing(&of_run(1)), []);
        let many: Vec<HostRow> = (1..=5).flat_map(of_run).collect();
        let named: Vec<_> = differing(&many).into_iter().map(|one| one.host).collect();
        assert_eq!(named, ["odd"]);
    }

    #[test]
    fn a_host_that_came_with_another_kernel_is_not_odd() {
        // Half the runs have a kernel that never shows it; the new host has only these.
        let old = (1..=10).flat_map(|run| [row(run, "a", 3), row(run, "b", 3)]);
        let new = (11..=20).flat_map(|run| [row(run, "a", 0), row(run, "new", 0)]);
        let rows: Vec<HostRow> = old.chain(new).collect();
        assert_eq!(differing(&rows), []);
    }
}
