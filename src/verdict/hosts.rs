//! Whether one of several hosts shows something else than the others: an odd
//! machine is to be named, since an average would hide it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::statistics::{holm, ln_ways};
use crate::outcome::Outcome;

/// How unlikely a difference must be, all comparisons together.
const LEVEL: f64 = 0.01;

/// One trial, and where it ran.
#[derive(Debug, Clone, Copy)]
pub struct HostTrial<'a> {
    /// Its arm.
    pub arm: &'a str,
    /// Its workload.
    pub workload: &'a str,
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
    /// Its trials, of workloads that others had, too.
    pub trials: u32,
    /// So many of the others' trials show it.
    pub other_hits: u32,
    /// The others' trials, of workloads that it had, too.
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

/// Hits and trials of a host, workload by workload.
type Counts<'a> = BTreeMap<&'a str, (u32, u32)>;

/// The same of each host, for an arm and a rate.
type Tables<'a> = BTreeMap<(&'a str, Rate), BTreeMap<&'a str, Counts<'a>>>;

/// The hosts that differ from all others together: Fisher's exact test on both
/// sides for each host, arm and rate, workload by workload, since a host that had
/// more of a workload that shows the target more often is not odd for that.
/// Corrected for the number of tests after Holm, at 1 %; those in which not even
/// the most one-sided hosts could reach that are not counted (Tarone). The oddest
/// is named first and no longer counted among the others; of two, nobody can say
/// which one is odd, and both are named.
#[must_use]
pub fn deviations(trials: &[HostTrial<'_>]) -> Vec<Deviation> {
    let mut tables = tables(trials);
    let mut named = Vec::new();
    loop {
        let mut all = compared(&tables);
        all.retain(|one| one.chance < LEVEL);
        let oddest = all.iter().min_by(|a, b| a.chance.total_cmp(&b.chance));
        let Some(oddest) = oddest.cloned() else {
            return named;
        };
        let hosts = tables
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

fn tables<'a>(trials: &[HostTrial<'a>]) -> Tables<'a> {
    let mut tables = Tables::new();
    for trial in trials {
        let tells = trial.outcome.tells();
        let mut count = |rate, hit| {
            let hosts = tables.entry((trial.arm, rate)).or_default();
            let workloads = hosts.entry(trial.host).or_default();
            let (hits, all) = workloads.entry(trial.workload).or_default();
            *hits += u32::from(hit);
            *all += 1;
        };
        count(Rate::Nothing, !tells);
        if tells {
            count(Rate::Target, trial.outcome == Outcome::Target);
        }
    }
    tables
}

/// Each host beside all others, with corrected chances.
fn compared(tables: &Tables<'_>) -> Vec<Deviation> {
    let mut all = Vec::new();
    for ((arm, what), hosts) in tables {
        let mut together = Counts::new();
        for (workload, (hits, trials)) in hosts.values().flatten() {
            let sum = together.entry(workload).or_default();
            *sum = (sum.0 + hits, sum.1 + trials);
        }
        for (host, counts) in hosts {
            let mut one = Deviation {
                host: (*host).to_owned(),
                arm: (*arm).to_owned(),
                what: *what,
                hits: 0,
                trials: 0,
                other_hits: 0,
                other_trials: 0,
                chance: 1.0,
            };
            let mut spread = Spread::none();
            for (workload, &(hits, trials)) in counts {
                let (all_hits, all_trials) = together[workload];
                if all_trials > trials {
                    one.hits += hits;
                    one.trials += trials;
                    one.other_hits += all_hits - hits;
                    one.other_trials += all_trials - trials;
                    spread = spread.and(&Spread::of(trials, all_hits, all_trials));
                }
            }
            one.chance = spread.both_sides(one.hits);
            all.push((one, spread.smallest()));
        }
    }
    correct(all)
}

/// Corrects the chances of several tests, each with the smallest chance that it
/// could have had: those that could not have named anybody do not count.
fn correct(all: Vec<(Deviation, f64)>) -> Vec<Deviation> {
    let could = |times: usize| {
        let times = u32::try_from(times).map_or(f64::MAX, f64::from);
        move |smallest: f64| smallest * times < LEVEL
    };
    let counted = |times: usize| {
        let able = all.iter().filter(|(_, smallest)| could(times)(*smallest));
        able.count()
    };
    let times = (1..=all.len()).find(|&times| counted(times) <= times);
    let could = could(times.unwrap_or(1));
    let able = all.into_iter().filter(|(_, smallest)| could(*smallest));
    let mut able: Vec<Deviation> = able.map(|(one, _)| one).collect();
    let chances: Vec<f64> = able.iter().map(|one| one.chance).collect();
    for (one, corrected) in able.iter_mut().zip(holm(&chances)) {
        one.chance = corrected;
    }
    able
}

/// How likely a host has so many of the hits if these fall on trials by chance.
struct Spread {
    /// The fewest it can have.
    least: u32,
    /// How likely these, one more, two more, and so on to the most.
    chances: Vec<f64>,
}

impl Spread {
    /// Of no trial.
    fn none() -> Self {
        Self {
            least: 0,
            chances: vec![1.0],
        }
    }

    /// Of `trials` out of `all`, of which `hits` are hits: hypergeometric.
    fn of(trials: u32, hits: u32, all: u32) -> Self {
        let least = hits.saturating_sub(all - trials);
        let total = ln_ways(all, hits);
        let others = all - trials;
        let at = |k: u32| (ln_ways(trials, k) + ln_ways(others, hits - k) - total).exp();
        let mut ratio = at(least);
        let mut chances = Vec::new();
        for k in least..=trials.min(hits) {
            chances.push(ratio);
            // The next one from this one: exact where logarithms of thousands of
            // factors would cost more.
            let (k, hits) = (f64::from(k), f64::from(hits));
            let (trials, others) = (f64::from(trials), f64::from(others));
            ratio *= (trials - k) * (hits - k) / ((k + 1.0) * (others - hits + k + 1.0));
        }
        // A first one below what a number can hold leaves nothing to go on from.
        if least < trials.min(hits) && chances.iter().sum::<f64>() < 0.5 {
            chances = (least..=trials.min(hits)).map(at).collect();
        }
        Self { least, chances }
    }

    /// Of both together.
    fn and(&self, other: &Self) -> Self {
        let mut chances = vec![0.0; self.chances.len() + other.chances.len() - 1];
        for (i, one) in self.chances.iter().enumerate() {
            for (j, two) in other.chances.iter().enumerate() {
                chances[i + j] += one * two;
            }
        }
        Self {
            least: self.least + other.least,
            chances,
        }
    }

    /// Twice the smaller of the two one-sided probabilities.
    fn both_sides(&self, hits: u32) -> f64 {
        let place = usize::try_from(hits.saturating_sub(self.least)).unwrap_or(usize::MAX);
        let place = place.min(self.chances.len() - 1);
        let fewer: f64 = self.chances[..=place].iter().sum();
        let more: f64 = self.chances[place..].iter().sum();
        (2.0 * fewer.min(more)).min(1.0)
    }

    /// The smallest that [`Self::both_sides`] can be.
    fn smallest(&self) -> f64 {
        let ends = [self.chances.first(), self.chances.last()];
        let least = ends.into_iter().flatten().copied().fold(1.0, f64::min);
        if self.chances.len() == 1 {
            return 1.0;
        }
        2.0 * least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Clean, Harness, Target};

    fn trials<'a>(host: &'a str, outcomes: &[(Outcome, usize)]) -> Vec<HostTrial<'a>> {
        let one = |outcome| HostTrial {
            arm: "stock",
            workload: "w",
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
    fn another_mix_of_workloads_is_not_odd() {
        let of = |host, workload, outcomes: &[(Outcome, usize)]| {
            let mut all = trials(host, outcomes);
            for trial in &mut all {
                trial.workload = workload;
            }
            all
        };
        // One workload always shows it, the other one never; n3 had the first alone.
        let all = [
            of("n1", "hangs", &[(Target, 5)]),
            of("n1", "quiet", &[(Clean, 40)]),
            of("n2", "hangs", &[(Target, 5)]),
            of("n2", "quiet", &[(Clean, 40)]),
            of("n3", "hangs", &[(Target, 45)]),
        ];
        assert_eq!(deviations(&all.concat()), []);
        // A host that shows it in the other one, too, is.
        let odd = of("n3", "quiet", &[(Target, 9), (Clean, 1)]);
        let found = deviations(&[all.concat(), odd].concat());
        let named: Vec<_> = found.iter().map(|one| (&*one.host, one.what)).collect();
        assert_eq!(named, [("n3", Rate::Target)]);
    }

    #[test]
    fn arms_that_can_name_nobody_cost_nothing() {
        let mut all = [
            trials("n1", &[(Target, 8), (Clean, 2)]),
            trials("n2", &[(Target, 8), (Clean, 2)]),
            trials("n3", &[(Clean, 8)]),
        ]
        .concat();
        let alone = deviations(&all);
        assert_eq!(alone.len(), 1, "{alone:?}");
        // A hundred arms in which nothing ever shows.
        let names: Vec<String> = (0..100).map(|arm| format!("arm {arm}")).collect();
        for arm in &names {
            for host in ["n1", "n2", "n3"] {
                let clean = trials(host, &[(Clean, 10)]);
                all.extend(clean.into_iter().map(|trial| HostTrial { arm, ..trial }));
            }
        }
        assert_eq!(deviations(&all), alone);
    }

    #[test]
    fn the_chances_of_all_hits_are_one() {
        for (trials, hits, all) in [(3, 3, 6), (30, 10, 60), (2000, 3000, 6000), (5000, 1, 9999)] {
            let spread = Spread::of(trials, hits, all);
            let sum: f64 = spread.chances.iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "{trials} {hits} {all}: {sum}");
        }
        // All of three hits on one half of six: 1 in 20 on this side.
        assert!((Spread::of(3, 3, 6).both_sides(3) - 0.1).abs() < 1e-9);
        let two = Spread::of(3, 3, 6).and(&Spread::of(3, 3, 6));
        assert!((two.both_sides(6) - 2.0 / 400.0).abs() < 1e-9);
    }

    #[test]
    fn one_host_differs_from_nobody() {
        assert!(deviations(&trials("n1", &[(Target, 5), (Clean, 5)])).is_empty());
        assert!(deviations(&[]).is_empty());
    }
}
