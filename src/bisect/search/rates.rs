//! What boots say about the two rates: how often a candidate with the bug shows
//! the target, and how often one without it does.
//!
//! Where the rates are not known they are integrated out. The prior has three
//! parts. Many bugs show every time or are never seen without their cause, since
//! only the target's own signature counts:
//!
//! - a candidate without the bug never shows it, and one with it always does;
//! - one without it never does, and the hit rate is more often high than low;
//! - both rates have Jeffreys' prior, which is flat in the angle
//!   `asin(sqrt(rate))`, or false alarms are few; times a factor that fades as the
//!   false-alarm rate comes near the hit rate: a culprit changes the rate, or it
//!   is none.

use std::f64::consts::{FRAC_PI_2, PI};

/// Points of the integral in each direction, at least and at most.
const NODES: usize = 24;
const MOST_NODES: usize = 512;

/// How far apart they may be, in standard deviations of the angle of the hypothesis
/// that has the most boots: its peak must not fall between them.
const APART: f64 = 1.4;

/// Points at which the boots are less likely than at the best by this many orders
/// (of e) add nothing.
const NOTHING: f64 = 30.0;

/// Half the width of the window that is integrated over, in standard
/// deviations of the angle.
const REACH: f64 = 5.5;

/// What the prior gives to bugs that always show and never without their cause.
const ALWAYS: f64 = 0.15;

/// What it gives to others that never show without their cause.
const CLEAN: f64 = 0.27;

/// The hit rate of these has the density Beta(`SHOWS`, 1/2), with a mean of three in
/// four: what nothing else causes seldom depends on luck alone.
const SHOWS: f64 = 1.5;

/// The part of the rest in which false alarms are few: their rate has the density
/// Beta(1, `SELDOM`), with a mean of one in eighteen.
const FEW: f64 = 0.8;
const SELDOM: f64 = 17.0;

/// How sharply the prior fades as the two rates meet.
const FADE: i32 = 3;

/// Hypotheses that explain the boots worse than the best by this many orders (of
/// e) are not integrated.
const HOPELESS: f64 = 60.0;

/// A rate that is declared to be zero or one may still be off by this much, so
/// that contradictory boots lower the confidence instead of ending the search.
const NEVER: f64 = 1e-6;

/// If every hypothesis explains the boots worse than this, as a logarithm, boots
/// contradict the rates that were declared to be zero and one.
const CONTRADICTION: f64 = -7.0;

/// Hits among boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Boots that showed the target.
    pub hits: u32,
    /// Boots that told something.
    pub boots: u32,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            boots: self.boots + other.boots,
        }
    }

    /// These without `part`, which is contained in them.
    #[must_use]
    pub(super) fn minus(self, part: Self) -> Self {
        Self {
            hits: self.hits - part.hits,
            boots: self.boots - part.boots,
        }
    }
}

/// What is known of the rates before the first boot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rates {
    /// Nothing: they are learned from the boots.
    Learned,
    /// Both are given, in 0 to 1.
    Known {
        /// Of a candidate with the bug.
        hit: f64,
        /// Of one without.
        false_alarm: f64,
    },
}

impl Rates {
    /// Whether they are declared to be one and zero, and this is how the best of all
    /// hypotheses explains the boots: some kernel showed the target in one boot and
    /// did not in another, or the like.
    pub(super) fn are_contradicted(self, best: f64) -> bool {
        let certain = matches!(self, Self::Known { hit, false_alarm }
            if hit >= 1.0 - NEVER && false_alarm <= NEVER);
        certain && best < CONTRADICTION
    }
}

/// How one hypothesis explains the boots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Explanation {
    /// The logarithm of the boots' probability under it.
    pub(super) ln_likelihood: f64,
    /// The expected hit rate, given it and the boots.
    pub(super) hit: f64,
    /// The expected false-alarm rate.
    pub(super) false_alarm: f64,
}

/// Of a hypothesis that the boots leave no hope.
const RULED_OUT: Explanation = Explanation {
    ln_likelihood: f64::NEG_INFINITY,
    hit: 0.5,
    false_alarm: 0.5,
};

/// The boots of candidates with and without the bug, under one hypothesis.
pub(super) type Sides = (Counts, Counts);

/// Explains the boots under each hypothesis.
pub(super) fn explain(rates: Rates, sides: &[Sides]) -> Vec<Explanation> {
    match rates {
        Rates::Known { hit, false_alarm } => {
            let hit = hit.clamp(NEVER, 1.0 - NEVER);
            let false_alarm = false_alarm.clamp(NEVER, 1.0 - NEVER);
            sides
                .iter()
                .map(|&(with, without)| Explanation {
                    ln_likelihood: ln_probability(with, hit) + ln_probability(without, false_alarm),
                    hit,
                    false_alarm,
                })
                .collect()
        }
        Rates::Learned => learned(sides),
    }
}

/// Explains the boots by one rate for all candidates.
pub(super) fn explain_unchanged(rates: Rates, all: Counts) -> Explanation {
    match rates {
        Rates::Known { hit, false_alarm } => {
            let hit = hit.clamp(NEVER, 1.0 - NEVER);
            let false_alarm = false_alarm.clamp(NEVER, 1.0 - NEVER);
            let (everywhere, nowhere) =
                (ln_probability(all, hit), ln_probability(all, false_alarm));
            let most = everywhere.max(nowhere);
            let (a, b) = ((everywhere - most).exp(), (nowhere - most).exp());
            let rate = (a * hit + b * false_alarm) / (a + b);
            Explanation {
                ln_likelihood: most + (f64::midpoint(a, b)).ln(),
                hit: rate,
                false_alarm: rate,
            }
        }
        Rates::Learned => {
            let rate = (f64::from(all.hits) + 0.5) / (f64::from(all.boots) + 1.0);
            let one_rate = |part: f64, ln_likelihood: f64, rate: f64| Explanation {
                ln_likelihood: part.ln() + ln_likelihood,
                hit: rate,
                false_alarm: rate,
            };
            let always = (all.hits == all.boots).then(|| one_rate(ALWAYS, 0.0, 1.0));
            let some = one_rate(1.0 - ALWAYS, ln_jeffreys(all), rate);
            mixed(always.into_iter().chain([some]))
        }
    }
}

fn ln_probability(counts: Counts, rate: f64) -> f64 {
    let misses = counts.boots - counts.hits;
    f64::from(counts.hits) * rate.ln() + f64::from(misses) * (1.0 - rate).ln()
}

/// The logarithm of the boots' probability under Jeffreys' prior.
fn ln_jeffreys(counts: Counts) -> f64 {
    let misses = counts.boots - counts.hits;
    ln_gamma_half(counts.hits) + ln_gamma_half(misses)
        - ln_gamma(f64::from(counts.boots) + 1.0)
        - PI.ln()
}

/// The same under the density Beta(`SHOWS`, 1/2).
fn ln_shows(counts: Counts) -> f64 {
    let beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let (hits, misses) = (counts.hits, counts.boots - counts.hits);
    beta(f64::from(hits) + SHOWS, f64::from(misses) + 0.5) - beta(SHOWS, 0.5)
}

fn ln_gamma_half(count: u32) -> f64 {
    ln_gamma(f64::from(count) + 0.5)
}

/// The logarithm of the gamma function for arguments of at least one half, by
/// Stirling's series after a shift.
fn ln_gamma(argument: f64) -> f64 {
    let (mut x, mut product) = (argument, 1.0);
    while x < 8.0 {
        product *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series =
        inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - product.ln()
}

/// The points at which one rate is integrated.
struct Axis {
    rates: Vec<f64>,
    ln_rates: Vec<f64>,
    ln_rest: Vec<f64>,
    step: f64,
}

/// The boots' probability at the points of an axis that matter.
struct Likelihood {
    /// The first of these points.
    from: usize,
    values: Vec<f64>,
    /// The logarithm of the factor taken out of all of them.
    ln_factor: f64,
}

impl Axis {
    /// The middle points of equal steps of the angle, where these hypotheses have
    /// their mass.
    fn new(hypotheses: impl Iterator<Item = Counts> + Clone) -> Self {
        let most = hypotheses.clone().map(|counts| counts.boots).max();
        let (low, high) = window(hypotheses);
        let finest = APART * deviation(most.unwrap_or(0));
        let nodes = (((high - low) / finest).ceil() as usize).clamp(NODES, MOST_NODES);
        let step = (high - low) / nodes as f64;
        let mut axis = Self {
            rates: Vec::with_capacity(nodes),
            ln_rates: Vec::with_capacity(nodes),
            ln_rest: Vec::with_capacity(nodes),
            step,
        };
        for node in 0..nodes {
            let angle = low + step * (node as f64 + 0.5);
            let (sine, cosine) = angle.sin_cos();
            axis.rates.push(sine * sine);
            axis.ln_rates.push(2.0 * sine.ln());
            axis.ln_rest.push(2.0 * cosine.ln());
        }
        axis
    }

    fn likelihood(&self, counts: Counts) -> Likelihood {
        let (hits, misses) = (
            f64::from(counts.hits),
            f64::from(counts.boots - counts.hits),
        );
        let mut values: Vec<f64> = self
            .ln_rates
            .iter()
            .zip(&self.ln_rest)
            .map(|(rate, rest)| hits * rate + misses * rest)
            .collect();
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let matters = |value: &f64| *value > most - NOTHING;
        let from = values.iter().position(matters).unwrap_or(0);
        let to = values.iter().rposition(matters).map_or(0, |last| last + 1);
        values.truncate(to);
        values.drain(..from);
        for value in &mut values {
            *value = (*value - most).exp();
        }
        Likelihood {
            from,
            values,
            ln_factor: most,
        }
    }
}

/// The prior's factor for a pair of rates, over Jeffreys' for each: zero where the
/// rates are equal.
fn fade(hit: f64, false_alarm: f64) -> f64 {
    if false_alarm >= hit {
        return 0.0;
    }
    few(false_alarm) * (1.0 - false_alarm / hit).powi(FADE)
}

/// What of it the false-alarm rate alone decides.
fn few(false_alarm: f64) -> f64 {
    let jeffreys = 1.0 / (PI * (false_alarm * (1.0 - false_alarm)).sqrt());
    let few = SELDOM * (1.0 - false_alarm).powf(SELDOM - 1.0) / jeffreys;
    1.0 - FEW + FEW * few
}

/// The integral of [`fade`] over both angles, by which the prior is divided.
fn prior_mass() -> f64 {
    static MASS: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    *MASS.get_or_init(|| {
        let steps = 600;
        let step = FRAC_PI_2 / f64::from(steps);
        let rate = |index: i32| ((f64::from(index) + 0.5) * step).sin().powi(2);
        let sum: f64 = (0..steps)
            .flat_map(|i| (0..steps).map(move |j| (i, j)))
            .map(|(i, j)| fade(rate(i), rate(j)))
            .sum();
        sum * step * step
    })
}

/// The part of the angle where hypotheses that matter have their mass.
fn window(counts: impl Iterator<Item = Counts>) -> (f64, f64) {
    let (mut low, mut high) = (FRAC_PI_2, 0.0_f64);
    for Counts { hits, boots } in counts {
        let reach = REACH * deviation(boots);
        let boots = f64::from(boots) + 0.5;
        let middle = ((f64::from(hits) + 0.25) / boots).sqrt().asin();
        low = low.min(middle - reach);
        high = high.max(middle + reach);
    }
    (low.max(0.0), high.min(FRAC_PI_2))
}

/// The standard deviation of the angle after so many boots.
fn deviation(boots: u32) -> f64 {
    0.5 / (f64::from(boots) + 0.5).sqrt()
}

fn learned(sides: &[Sides]) -> Vec<Explanation> {
    // Without the prior's factor the two rates come apart; that tells which
    // hypotheses matter, and so where to integrate.
    let rough: Vec<f64> = sides
        .iter()
        .map(|&(with, without)| ln_jeffreys(with) + ln_jeffreys(without))
        .collect();
    let most = rough.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let matter = || {
        sides
            .iter()
            .zip(&rough)
            .filter(move |(_, value)| **value > most - 16.0)
            .map(|(sides, _)| sides)
    };
    let hit = Axis::new(matter().map(|sides| sides.0));
    let false_alarm = Axis::new(matter().map(|sides| sides.1));
    let few: Vec<f64> = false_alarm.rates.iter().map(|&q| few(q)).collect();
    let prior: Vec<Vec<f64>> = hit
        .rates
        .iter()
        .map(|&p| {
            let of = |(&q, few): (&f64, &f64)| few * (1.0 - q / p).max(0.0).powi(FADE);
            false_alarm.rates.iter().zip(&few).map(of).collect()
        })
        .collect();
    let scale = (hit.step * false_alarm.step / prior_mass()).ln();
    sides
        .iter()
        .zip(&rough)
        .map(|(&(with, without), &value)| {
            if value < most - HOPELESS {
                return RULED_OUT;
            }
            let any = integrate(&hit, &false_alarm, &prior, with, without, scale);
            if without.hits > 0 {
                return part_of(1.0 - ALWAYS - CLEAN, any);
            }
            let clean = Explanation {
                ln_likelihood: ln_shows(with),
                hit: (f64::from(with.hits) + SHOWS) / (f64::from(with.boots) + SHOWS + 0.5),
                false_alarm: 0.0,
            };
            let always = (with.hits == with.boots).then_some(Explanation {
                ln_likelihood: 0.0,
                hit: 1.0,
                false_alarm: 0.0,
            });
            mixed(
                [part_of(1.0 - ALWAYS - CLEAN, any), part_of(CLEAN, clean)]
                    .into_iter()
                    .chain(always.map(|always| part_of(ALWAYS, always))),
            )
        })
        .collect()
}

/// What one part of the prior has of the whole.
fn part_of(part: f64, explanation: Explanation) -> Explanation {
    Explanation {
        ln_likelihood: part.ln() + explanation.ln_likelihood,
        ..explanation
    }
}

/// The parts of the prior together.
fn mixed(parts: impl Iterator<Item = Explanation> + Clone) -> Explanation {
    let most = parts
        .clone()
        .map(|part| part.ln_likelihood)
        .fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return RULED_OUT;
    }
    let (mut sum, mut hit, mut false_alarm) = (0.0, 0.0, 0.0);
    for part in parts {
        let weight = (part.ln_likelihood - most).exp();
        sum += weight;
        hit += weight * part.hit;
        false_alarm += weight * part.false_alarm;
    }
    Explanation {
        ln_likelihood: most + sum.ln(),
        hit: hit / sum,
        false_alarm: false_alarm / sum,
    }
}

fn integrate(
    hit: &Axis,
    false_alarm: &Axis,
    prior: &[Vec<f64>],
    with: Counts,
    without: Counts,
    scale: f64,
) -> Explanation {
    let of_hit = hit.likelihood(with);
    let of_false = false_alarm.likelihood(without);
    let columns = of_false.from..of_false.from + of_false.values.len();
    let weighted: Vec<f64> = of_false
        .values
        .iter()
        .zip(&false_alarm.rates[columns.clone()])
        .map(|(value, rate)| value * rate)
        .collect();
    let (mut total, mut mean_hit, mut mean_false) = (0.0, 0.0, 0.0);
    for (node, value) in (of_hit.from..).zip(&of_hit.values) {
        let (mut plain, mut rate) = (0.0, 0.0);
        let row = &prior[node][columns.clone()];
        for ((prior, value), weighted) in row.iter().zip(&of_false.values).zip(&weighted) {
            plain += prior * value;
            rate += prior * weighted;
        }
        total += value * plain;
        mean_hit += value * plain * hit.rates[node];
        mean_false += value * rate;
    }
    if total <= f64::MIN_POSITIVE {
        return RULED_OUT;
    }
    Explanation {
        ln_likelihood: total.ln() + of_hit.ln_factor + of_false.ln_factor + scale,
        hit: mean_hit / total,
        false_alarm: mean_false / total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(hits: u32, boots: u32) -> Counts {
        Counts { hits, boots }
    }

    #[test]
    fn jeffreys_closed_form_holds() {
        // One boot is a hit or not with probability one half each.
        assert!((ln_jeffreys(counts(1, 1)).exp() - 0.5).abs() < 1e-12);
        // Two hits: 3/8.
        assert!((ln_jeffreys(counts(2, 2)).exp() - 0.375).abs() < 1e-12);
        // Many boots: the probabilities of all numbers of hits sum to one.
        let choose = |n: u32, k: u32| {
            ln_gamma(f64::from(n) + 1.0)
                - ln_gamma(f64::from(k) + 1.0)
                - ln_gamma(f64::from(n - k) + 1.0)
        };
        let sum: f64 = (0..=300)
            .map(|hits| (choose(300, hits) + ln_jeffreys(counts(hits, 300))).exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-10, "{sum}");
    }

    #[test]
    fn a_bug_without_false_alarms_is_taken_to_show_often() {
        let chance = |hits: u32| ln_shows(counts(hits, 1)).exp();
        assert!((chance(0) + chance(1) - 1.0).abs() < 1e-12);
        assert!((chance(1) - SHOWS / (SHOWS + 0.5)).abs() < 1e-12);
        // Against Jeffreys', many misses speak against it and hits for it.
        assert!(ln_shows(counts(1, 12)) < ln_jeffreys(counts(1, 12)));
        assert!(ln_shows(counts(3, 3)) > ln_jeffreys(counts(3, 3)));
    }

    #[test]
    fn without_boots_every_hypothesis_has_likelihood_one() {
        let explained = explain(Rates::Learned, &[(counts(0, 0), counts(0, 0))]);
        assert!(explained[0].ln_likelihood.abs() < 0.01, "{explained:?}");
        assert!(explained[0].hit > 0.5 && explained[0].false_alarm < 0.3);
    }

    /// The probabilities of all outcomes of a few boots sum to one, whatever
    /// window was chosen for the integral.
    #[test]
    fn the_integral_is_a_probability() {
        for (with, without) in [(4, 3), (12, 30), (40, 1)] {
            let choose = |n: u32, k: u32| {
                (ln_gamma(f64::from(n) + 1.0)
                    - ln_gamma(f64::from(k) + 1.0)
                    - ln_gamma(f64::from(n - k) + 1.0))
                .exp()
            };
            let mut sum = 0.0;
            for h in 0..=with {
                for f in 0..=without {
                    let sides = [(counts(h, with), counts(f, without))];
                    let one = explain(Rates::Learned, &sides)[0];
                    sum += choose(with, h) * choose(without, f) * one.ln_likelihood.exp();
                }
            }
            assert!((sum - 1.0).abs() < 0.02, "{with} {without}: {sum}");
        }
    }

    /// The boots' probability by a sum so fine that it is right.
    fn by_hand(with: Counts, without: Counts) -> f64 {
        let steps = 1500;
        let step = FRAC_PI_2 / f64::from(steps);
        let rates: Vec<f64> = (0..steps)
            .map(|index| ((f64::from(index) + 0.5) * step).sin().powi(2))
            .collect();
        let of = |counts: Counts| -> Vec<f64> {
            let values = rates.iter().map(|&rate| ln_probability(counts, rate));
            values.collect()
        };
        let (hits, false_alarms) = (of(with), of(without));
        let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (hit, false_alarm) = (most(&hits), most(&false_alarms));
        let mut sum = 0.0;
        for (i, &p) in rates.iter().enumerate() {
            let of_hit = (hits[i] - hit).exp();
            if of_hit < 1e-12 {
                continue;
            }
            for (j, &q) in rates.iter().enumerate() {
                sum += of_hit * (false_alarms[j] - false_alarm).exp() * fade(p, q);
            }
        }
        (1.0 - ALWAYS - CLEAN).ln() + (sum * step * step / prior_mass()).ln() + hit + false_alarm
    }

    /// One hypothesis of few boots must not make the others' integrals coarse.
    #[test]
    fn many_boots_are_integrated_as_well_as_few() {
        for (boots, false_alarms) in [(100, 5), (300, 15), (1000, 60), (2000, 150), (4000, 340)] {
            let with = counts(boots / 10, boots);
            let without = counts(false_alarms, boots);
            let (tip, some) = (counts(2, 12), counts(1, 30));
            let sides = [
                (with.plus(tip), without),
                (tip, without.plus(with)),
                (with.plus(tip).plus(some), without.minus(some)),
            ];
            let right = sides.map(|(with, without)| by_hand(with, without));
            let most = right.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for (found, right) in explain(Rates::Learned, &sides).iter().zip(right) {
                assert!(right > most - 16.0, "{boots}: it does not matter");
                let off = found.ln_likelihood - right;
                assert!(off.abs() < 0.01, "{boots}: {off}");
            }
        }
    }

    #[test]
    fn means_follow_the_boots() {
        let sides = [(counts(150, 500), counts(5, 500))];
        let one = explain(Rates::Learned, &sides)[0];
        assert!((one.hit - 0.3).abs() < 0.01, "{one:?}");
        assert!((one.false_alarm - 0.011).abs() < 0.002, "{one:?}");
    }

    #[test]
    fn a_declared_certainty_can_be_contradicted() {
        let sure = Rates::Known {
            hit: 1.0,
            false_alarm: 0.0,
        };
        let explained = explain(sure, &[(counts(3, 4), counts(0, 2))]);
        assert!(explained[0].ln_likelihood.is_finite());
    }
}
