//! Whether one of several hosts shows something else than the others: an odd
//! machine is to be named, since an average would hide it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::statistics::{chance, holm};
use crate::outcome::Outcome;

/// How unlikely a difference must be, all comparisons together.
const LEVEL: f64 = 0.01;

/// One trial, and where it ran.
#[derive(Debug, Clone, Copy)]
pub struct HostTrial<'a> {
    /// Its arm.
    pub arm: &'a str,
    /// Its host.
    pub host: &'a str,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a host does differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deviation {
    /// The host.
    pub host: String,
    /// The arm.
    pub arm: String,
    /// What it shows more or less often: the target, or nothing (the harness, a
    /// timeout, ...).
    pub what: Rate,
    /// So many of its trials show it.
    pub hits: u32,
    /// Its trials.
    pub trials: u32,
    /// So many of the others' trials show it.
    pub other_hits: u32,
    /// The others' trials.
    pub other_trials: u32,
    /// How likely a difference like this, or a larger one, is somewhere in the
    /// run, if all hosts are alike.
    pub chance: f64,
}

/// A share of trials that is compared between hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Of the trials that tell something, those that show the target.
    Target,
    /// Of all trials, those that tell nothing.
    Nothing,
}

/// Hits and trials of each host, for an arm and a rate.
type Counts<'a> = BTreeMap<(&'a str, Rate), BTreeMap<&'a str, (u32, u32)>>;

/// The hosts that differ from all others together: Fisher's exact test on both
/// sides, for each host, arm and rate, corrected for their number after Holm. The
/// oddest is named first and no longer counted among the others; of two, nobody
/// can say which one is odd, and both are named.
#[must_use]
pub fn deviations(trials: &[HostTrial<'_>]) -> Vec<Deviation> {
    let mut counts = Counts::new();
    for trial in trials {
        let tells = trial.outcome.tells();
        let mut count = |rate, hit| {
            let hosts = counts.entry((trial.arm, rate)).or_default();
            let (hits, all) = hosts.entry(trial.host).or_default();
            *hits += u32::from(hit);
            *all += 1;
        };
        count(Rate::Nothing, !tells);
        if tells {
            count(Rate::Target, trial.outcome == Outcome::Target);
        }
    }
    let mut named = Vec::new();
    loop {
        let mut all = compared(&counts);
        all.retain(|one| one.chance < LEVEL);
        let oddest = all.iter().min_by(|a, b| a.chance.total_cmp(&b.chance));
        let Some(oddest) = oddest.cloned() else {
            return named;
        };
        let hosts = counts
            .iter_mut()
            .find(|((arm, what), _)| *arm == oddest.arm && *what == oddest.what);
        if let Some((_, hosts)) = hosts {
            if hosts.len() == 2 {
                let other = all.into_iter().find(|one| {
                    one.host != oddest.host && one.arm == oddest.arm && one.what == oddest.what
                });
                named.extend(other);
                hosts.clear();
            }
            hosts.remove(oddest.host.as_str());
        }
        named.push(oddest);
    }
}

/// Each host beside all others, with corrected chances.
fn compared(counts: &Counts<'_>) -> Vec<Deviation> {
    let mut all = Vec::new();
    for ((arm, what), hosts) in counts {
        let sum = |of: fn(&(u32, u32)) -> u32| hosts.values().map(of).sum::<u32>();
        let (all_hits, all_trials) = (sum(|count| count.0), sum(|count| count.1));
        for (host, &(hits, trials)) in hosts {
            let (other_hits, other_trials) = (all_hits - hits, all_trials - trials);
            if other_trials > 0 {
                all.push(Deviation {
                    host: (*host).to_owned(),
                    arm: (*arm).to_owned(),
                    what: *what,
                    hits,
                    trials,
                    other_hits,
                    other_trials,
                    chance: both_sides(hits, trials, other_hits, other_trials),
                });
            }
        }
    }
    let chances: Vec<f64> = all.iter().map(|one| one.chance).collect();
    for (one, corrected) in all.iter_mut().zip(holm(&chances)) {
        one.chance = corrected;
    }
    all
}

/// Twice the smaller of the two one-sided probabilities.
fn both_sides(hits: u32, trials: u32, other_hits: u32, other_trials: u32) -> f64 {
    let fewer = chance(hits, trials, other_hits, other_trials);
    let more = chance(other_hits, other_trials, hits, trials);
    (2.0 * fewer.min(more)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Clean, Harness, Target};

    fn trials<'a>(host: &'a str, outcomes: &[(Outcome, usize)]) -> Vec<HostTrial<'a>> {
        let one = |outcome| HostTrial {
            arm: "stock",
            host,
            outcome,
        };
        let each = outcomes.iter();
        each.flat_map(|&(outcome, count)| vec![one(outcome); count])
            .collect()
    }

    #[test]
    fn an_odd_host_is_named_and_its_neighbours_are_not() {
        let alike = [(Target, 5), (Clean, 25)];
        let all = [
            trials("n1", &alike),
            trials("n2", &alike),
            trials("n3", &[(Target, 26), (Clean, 4)]),
        ]
        .concat();
        let found = deviations(&all);
        assert_eq!(found.len(), 1, "{found:?}");
        let odd = &found[0];
        assert_eq!((&*odd.host, odd.hits, odd.trials), ("n3", 26, 30));
        assert_eq!((odd.other_hits, odd.other_trials), (10, 60));
    }

    #[test]
    fn of_two_both_are_named() {
        let all = [trials("n1", &[(Target, 20)]), trials("n2", &[(Clean, 20)])].concat();
        let mut names: Vec<_> = deviations(&all).into_iter().map(|one| one.host).collect();
        names.sort();
        assert_eq!(names, ["n1", "n2"]);
    }

    #[test]
    fn a_host_whose_harness_fails_is_named() {
        let all = [
            trials("n1", &[(Clean, 20)]),
            trials("n2", &[(Clean, 20)]),
            trials("n3", &[(Clean, 8), (Harness, 12)]),
        ]
        .concat();
        let found = deviations(&all);
        // Those of its trials that told something told the same.
        let named: Vec<_> = found.iter().map(|one| (&*one.host, one.what)).collect();
        assert_eq!(named, [("n3", Rate::Nothing)]);
    }

    #[test]
    fn chance_alone_names_hardly_ever_one() {
        // Twelve hosts with ten trials each of a rate of 0.3, a hundred times.
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % 10
        };
        let names: Vec<String> = (0..12).map(|host| format!("n{host}")).collect();
        let mut runs = 0;
        for _ in 0..100 {
            let mut all = Vec::new();
            for host in &names {
                for _ in 0..10 {
                    let outcome = if next() < 3 { Target } else { Clean };
                    all.extend(trials(host, &[(outcome, 1)]));
                }
            }
            runs += usize::from(!deviations(&all).is_empty());
        }
        assert!(runs <= 3, "{runs} of 100");
    }

    #[test]
    fn one_host_differs_from_nobody() {
        assert!(deviations(&trials("n1", &[(Target, 5), (Clean, 5)])).is_empty());
        assert!(deviations(&[]).is_empty());
    }
}
