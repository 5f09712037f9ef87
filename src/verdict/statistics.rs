//! The exact tests and intervals that verdicts rest on; docs/verdict.md says why
//! they hold. All sums are finite, nothing is approximated by a normal
//! distribution but the interval that is only shown.

use std::f64::consts::FRAC_PI_2;

/// Rounding must not decide: 1 in 20 is not above 5 %.
pub(super) const ROUNDING: f64 = 1e-9;

/// Points of the grid on which the worst rate is looked for.
const GRID: u32 = 512;

/// Rates from 0 to 1, both ends left out, closer together near the ends, where
/// probabilities change fastest.
pub(super) fn rates(points: u32) -> impl Iterator<Item = f64> {
    (1..points).map(move |i| {
        let angle = FRAC_PI_2 * f64::from(i) / f64::from(points);
        angle.sin().powi(2)
    })
}

/// How likely a control shows its target in at least `hits` of `trials`, and then
/// a fix in none of `clean`, if the fix does nothing, so that both have the same
/// rate: the largest probability over all rates, between 0 and 1.
///
/// `clean` need not be whole: trials of several workloads, each with a rate of
/// its own, count together with `clean / trials` the smallest ratio among them.
#[must_use]
pub(super) fn chance_of_fix(hits: u32, trials: u32, clean: f64) -> f64 {
    if hits == 0 || clean <= 0.0 {
        return 1.0;
    }
    let at = |rate: f64| at_least(trials, hits, rate) * (1.0 - rate).powf(clean);
    worst(at)
}

/// How likely, at worst over all rates, something that showed in `hits` of
/// `trials` shows in none of `clean` further ones if nothing has changed.
#[must_use]
pub fn vanished(hits: u32, trials: u32, clean: u32) -> f64 {
    chance_of_fix(hits, trials, f64::from(clean))
}

/// How likely something that showed in none of `clean` trials shows in `hits` of
/// `trials` further ones if nothing has changed: of all ways to spread the hits
/// over the trials, those in which all come late.
#[must_use]
pub fn appeared(hits: u32, trials: u32, clean: u32) -> f64 {
    chance(0, clean, hits, trials)
}

/// Fisher's exact test of two rates, two-sided: the probability of a table as
/// unlikely as `hits` of `trials` against `other_hits` of `others` if both have
/// the same rate. 1 where there is nothing to compare.
#[must_use]
pub fn difference(hits: u32, trials: u32, other_hits: u32, others: u32) -> f64 {
    if trials == 0 || others == 0 {
        return 1.0;
    }
    let (all_hits, all) = (hits + other_hits, trials + others);
    let total = ln_ways(all, all_hits);
    let table = |k: u32| (ln_ways(trials, k) + ln_ways(others, all_hits - k) - total).exp();
    let seen = table(hits) * (1.0 + ROUNDING);
    let least = all_hits.saturating_sub(others);
    let unlikely = (least..=trials.min(all_hits)).map(table);
    unlikely.filter(|&one| one <= seen).sum::<f64>().min(1.0)
}

/// How likely, at worst over all rates, findings of one signature are at least
/// as one-sided as `hits` in `trials` against `control_hits` in
/// `control_trials`, if both have the same rate and the signature was seen at
/// all. Ordered by Fisher's test (Boschloo's test), between 0 and 1.
#[must_use]
pub(super) fn chance_of_regression(
    hits: u32,
    trials: u32,
    control_hits: u32,
    control_trials: u32,
) -> f64 {
    if hits == 0 || control_trials == 0 {
        return 1.0;
    }
    let ways = Ways::up_to(trials + control_trials);
    let one_sided = |of_control, of_fix| ways.chance(of_control, control_trials, of_fix, trials);
    let seen = one_sided(control_hits, hits) + ROUNDING;
    // For each number of hits in the control, the fewest in the fix that are as
    // one-sided as what was seen: no fewer than with less hits in the control.
    let mut least = 1;
    let fewest: Vec<Option<u32>> = (0..=control_trials)
        .map(|of_control| {
            while least <= trials && one_sided(of_control, least) > seen {
                least += 1;
            }
            (least <= trials).then_some(least)
        })
        .collect();
    let at = |rate: f64| {
        let (of_control, of_fix) = (
            Binomial::of(control_trials, rate),
            Binomial::of(trials, rate),
        );
        let at_least = of_fix.tails();
        let pairs = of_control.probabilities.iter().zip(&fewest);
        let region: f64 = pairs
            .filter_map(|(probability, fewest)| Some(probability * at_least[(*fewest)? as usize]))
            .sum();
        let all = f64::from(trials + control_trials);
        region / -(all * (-rate).ln_1p()).exp_m1()
    };
    worst(at)
}

/// Fisher's exact test, one-sided: the probability to see at most `hits` target
/// trials among `trials` of the fix, if the fix changed nothing and the
/// `control_hits` of `control_trials` came from the same kernel behaviour.
/// Small means the patch made the difference. Between 0 and 1.
#[must_use]
pub(super) fn chance(hits: u32, trials: u32, control_hits: u32, control_trials: u32) -> f64 {
    Ways::up_to(trials + control_trials).chance(hits, trials, control_hits, control_trials)
}

/// The 95 % interval of a rate after Wilson: the rates, from 0 to 1, that
/// `hits` of `trials` do not speak against. All rates if there was no trial.
#[must_use]
pub fn interval(hits: u32, trials: u32) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(trials);
    let rate = f64::from(hits) / n;
    let scale = 1.0 + Z * Z / n;
    let middle = (rate + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

/// The lowest rate that `hits` of `trials` leave, with an error of `alpha` at
/// most: Clopper and Pearson's one-sided bound.
#[must_use]
pub(super) fn at_least_rate(hits: u32, trials: u32, alpha: f64) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    root(|rate| at_least(trials, hits, rate) > alpha)
}

/// The highest rate that so many trials without a hit leave, likewise.
#[must_use]
pub(super) fn unseen_rate(trials: u32, alpha: f64) -> f64 {
    1.0 - alpha.powf(1.0 / f64::from(trials))
}

/// Holm's step-down correction of several p-values: each can be compared with
/// the level alone, and the chance that any is wrong stays below that.
#[must_use]
pub fn holm(chances: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..chances.len()).collect();
    order.sort_by(|&a, &b| chances[a].total_cmp(&chances[b]));
    let mut corrected = vec![1.0; chances.len()];
    let (mut left, mut largest) = (chances.len(), 0.0_f64);
    for index in order {
        let times = u32::try_from(left).map_or(f64::MAX, f64::from);
        largest = largest.max((chances[index] * times).min(1.0));
        corrected[index] = largest;
        left -= 1;
    }
    corrected
}

/// Where a condition that holds from some rate on begins to.
fn root(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The largest value over all rates: the best of a grid, then closer around it.
fn worst(at: impl Fn(f64) -> f64) -> f64 {
    let mut best = (0.5, 0.0);
    for rate in rates(GRID) {
        let value = at(rate);
        if value > best.1 {
            best = (rate, value);
        }
    }
    let width = FRAC_PI_2 / f64::from(GRID);
    let (mut low, mut high) = (
        (best.0 - width).max(1e-12),
        (best.0 + width).min(1.0 - 1e-12),
    );
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        if at(low + third) < at(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    let worst = at(f64::midpoint(low, high)).max(best.1).min(1.0);
    // Digits that no other machine's logarithms need to have.
    (worst / ROUNDING).round() * ROUNDING
}

/// The probability of at least `hits` in `trials` at this rate.
fn at_least(trials: u32, hits: u32, rate: f64) -> f64 {
    Binomial::of(trials, rate).at_least(hits)
}

/// A binomial distribution, number by number.
struct Binomial {
    probabilities: Vec<f64>,
}

impl Binomial {
    fn of(trials: u32, rate: f64) -> Self {
        let (hit, miss) = (rate.ln(), (-rate).ln_1p());
        let mut ways = 0.0;
        let mut probabilities = Vec::new();
        for hits in 0..=trials {
            let misses = f64::from(trials - hits);
            // 0 times minus infinity is 0 here: nothing of what cannot be.
            let part = |n: f64, ln: f64| if n == 0.0 { 0.0 } else { n * ln };
            probabilities.push((ways + part(f64::from(hits), hit) + part(misses, miss)).exp());
            ways += misses.ln() - f64::from(hits + 1).ln();
        }
        Self { probabilities }
    }

    fn at_least(&self, hits: u32) -> f64 {
        let from = usize::try_from(hits).unwrap_or(usize::MAX);
        self.probabilities.iter().skip(from).sum()
    }

    /// The same for every number of hits.
    fn tails(&self) -> Vec<f64> {
        let mut tails = self.probabilities.clone();
        for at in (1..tails.len()).rev() {
            tails[at - 1] += tails[at];
        }
        tails
    }
}

/// The logarithms of the first factorials: what many tables are made from.
struct Ways {
    factorials: Vec<f64>,
}

impl Ways {
    fn up_to(most: u32) -> Self {
        let mut factorials = vec![0.0];
        let mut sum = 0.0;
        for n in 1..=most {
            sum += f64::from(n).ln();
            factorials.push(sum);
        }
        Self { factorials }
    }

    /// The logarithm of the number of ways to choose `k` of `n`.
    fn ln(&self, n: u32, k: u32) -> f64 {
        if k > n {
            return f64::NEG_INFINITY;
        }
        let of = |n: u32| self.factorials[n as usize];
        of(n) - of(k) - of(n - k)
    }

    /// See [`chance`].
    fn chance(&self, hits: u32, trials: u32, control_hits: u32, control_trials: u32) -> f64 {
        let all_hits = hits + control_hits;
        let all = trials + control_trials;
        if all == 0 {
            return 1.0;
        }
        let total = self.ln(all, all_hits);
        let least = all_hits.saturating_sub(control_trials);
        let (mut sum, mut before) = (0.0, 0.0);
        for k in (least..=hits.min(all_hits)).rev() {
            let ways = self.ln(trials, k) + self.ln(control_trials, all_hits - k);
            let table = (ways - total).exp();
            sum += table;
            if table < before && table < sum * f64::EPSILON / 16.0 {
                // The further ones are smaller yet.
                break;
            }
            before = table;
        }
        sum.min(1.0)
    }
}

/// The logarithm of the number of ways to choose `k` of `n`.
pub(super) fn ln_ways(n: u32, k: u32) -> f64 {
    let k = k.min(n.saturating_sub(k));
    (1..=k)
        .map(|i| f64::from(n - k + i).ln() - f64::from(i).ln())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn known_tables() {
        // 3 of 3 against 0 of 3: one way in C(6,3) = 20.
        assert!((chance(0, 3, 3, 3) - 0.05).abs() < 1e-12);
        // No difference proves nothing.
        assert!((chance(3, 3, 3, 3) - 1.0).abs() < 1e-12);
        assert!((chance(0, 3, 0, 3) - 1.0).abs() < 1e-12);
        // 1 of 10 against 9 of 10: (1 + 100) / C(20,10), by hand.
        let ways = 10.0 * 10.0 + 1.0;
        assert!((chance(1, 10, 9, 10) - ways / 184_756.0).abs() < 1e-12);
    }

    #[test]
    fn two_rates_differ_by_chance_or_not() {
        // Both ends of C(6,3) = 20.
        assert!(near(difference(3, 3, 0, 3), 0.1));
        assert!(near(difference(0, 3, 3, 3), 0.1));
        assert!(near(difference(2, 3, 2, 3), 1.0));
        // Fisher's tea: 3 of 4 against 1 of 4.
        assert!(near(difference(3, 4, 1, 4), 34.0 / 70.0));
        assert!(near(difference(0, 0, 3, 3), 1.0));
        assert!(near(appeared(3, 3, 3), 0.05));
        assert!(near(appeared(1, 1, 1), 0.5));
        assert!(near(vanished(3, 3, 3), 1.0 / 64.0));
    }

    #[test]
    fn a_fix_s_chance_is_that_of_the_worst_rate() {
        // rate^3 (1 - rate)^3 is largest at 1/2.
        assert!(near(chance_of_fix(3, 3, 3.0), 1.0 / 64.0));
        // rate (1 - rate) likewise, rate^2 (1 - rate)^3 at 2/5.
        assert!(near(chance_of_fix(1, 1, 1.0), 0.25));
        assert!(near(
            chance_of_fix(2, 2, 3.0),
            0.4_f64.powi(2) * 0.6_f64.powi(3)
        ));
        assert!(chance_of_fix(1, 3, 3.0) > 0.2);
        assert!((chance_of_fix(0, 3, 3.0) - 1.0).abs() < 1e-12);
        assert!((chance_of_fix(3, 3, 0.0) - 1.0).abs() < 1e-12);
    }

    /// Workloads with rates of their own are covered by the formula for one
    /// rate only if leaving some of the control's trials without any chance to
    /// hit does not make it worse.
    #[test]
    fn trials_that_cannot_hit_make_no_worse_case() {
        for ratio in [0.2, 0.5, 1.0, 1.7, 4.0] {
            for hits in 1..=4 {
                let mut earlier = 0.0;
                for trials in hits..=20 {
                    let chance = chance_of_fix(hits, trials, ratio * f64::from(trials));
                    assert!(chance >= earlier - 1e-6, "{hits}/{trials} at {ratio}");
                    earlier = chance;
                }
            }
        }
    }

    #[test]
    fn a_regression_needs_more_than_one_finding() {
        assert!(chance_of_regression(1, 20, 0, 3) > 0.8);
        assert!(chance_of_regression(3, 3, 0, 3) < 0.0167);
        assert!(chance_of_regression(20, 20, 1, 20) < 0.001);
        assert!(chance_of_regression(10, 20, 10, 20) > 0.3);
        assert!((chance_of_regression(3, 3, 0, 0) - 1.0).abs() < 1e-12);
    }

    /// At every rate, what the test calls a regression at 5 % is no more
    /// frequent than 5 % of the cases in which the signature was seen.
    #[test]
    fn false_regressions_stay_below_their_level_at_every_rate() {
        let (fix, control) = (12, 7);
        let called: Vec<(u32, u32)> = (0..=control)
            .flat_map(|of_control| (0..=fix).map(move |of_fix| (of_control, of_fix)))
            .filter(|&(of_control, of_fix)| {
                chance_of_regression(of_fix, fix, of_control, control) <= 0.05
            })
            .collect();
        assert!(!called.is_empty());
        for rate in rates(100) {
            let (c, f) = (Binomial::of(control, rate), Binomial::of(fix, rate));
            let wrong: f64 = called
                .iter()
                .map(|&(a, b)| c.probabilities[a as usize] * f.probabilities[b as usize])
                .sum();
            assert!(
                wrong <= 0.05 * (1.0 - (1.0 - rate).powi(19)) + 1e-9,
                "{rate}"
            );
        }
    }

    /// A job may have ten thousand trials.
    #[test]
    fn so_many_trials_as_a_job_may_have_are_judged() {
        let fisher = chance(4900, 10_000, 5000, 10_000);
        assert!((0.078..0.083).contains(&fisher), "{fisher}");
        let boschloo = chance_of_regression(5000, 10_000, 4900, 10_000);
        assert!((0.077..0.083).contains(&boschloo), "{boschloo}");
    }

    /// As each table by itself gave them.
    #[test]
    fn what_tables_have_in_common_is_computed_once() {
        for (hits, trials, of_control, controls, expected) in REGRESSIONS {
            let chance = chance_of_regression(hits, trials, of_control, controls);
            assert!(
                (chance - expected).abs() < 1e-8,
                "{hits}/{trials}: {chance:.9}"
            );
        }
    }

    const REGRESSIONS: [(u32, u32, u32, u32, f64); 4] = [
        (3, 3, 0, 3, 0.015_886_101),
        (12, 30, 2, 17, 0.021_062_081),
        (5, 40, 0, 40, 0.016_509_821),
        (1, 20, 0, 3, 0.869_565_217),
    ];

    #[test]
    fn intervals_have_the_values_that_tables_have() {
        let (low, high) = interval(3, 3);
        assert!(near(low, 0.4385) && near(high, 1.0));
        let (low, high) = interval(1, 20);
        assert!(near(low, 0.0089) && near(high, 0.2361), "{low} {high}");
        assert_eq!(interval(0, 0), (0.0, 1.0));
        assert!(near(at_least_rate(3, 3, 0.05), 0.05_f64.cbrt()));
        assert!(near(at_least_rate(1, 3, 0.05), 1.0 - 0.95_f64.cbrt()));
        assert!(near(unseen_rate(3, 0.05), 1.0 - 0.05_f64.cbrt()));
    }

    #[test]
    fn holm_corrects_step_by_step() {
        let corrected = holm(&[0.04, 0.01, 0.03]);
        assert!(near(corrected[1], 0.03) && near(corrected[2], 0.06));
        assert!(
            near(corrected[0], 0.06),
            "it never falls below a smaller one"
        );
    }
}
