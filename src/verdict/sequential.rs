//! Looking after every trial without fooling oneself: a boundary of hits that
//! is crossed by chance no more often than the level allows, whatever the rate
//! and although it is looked at after each trial. docs/verdict.md has the
//! reasoning and the simulated figures.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::statistics::rates;

/// Points of the grid of rates on which the error is computed.
const GRID: u32 = 200;

/// What of the level the grid's points may use up: so much less that the error
/// is seen to be below the level in 10,000 experiments, too, and a quarter less
/// at most. That covers the rates between the points as well.
fn allowed(alpha: f64) -> f64 {
    let deviation = (alpha * (1.0 - alpha) / 10_000.0).sqrt();
    (alpha - 2.5 * deviation).max(0.75 * alpha)
}

/// How many trials of a fix go with one of its control: the number that makes
/// the expected total smallest where hits are rare. `c` hits of the control in
/// a row, before the first of a fix that is tried `ratio` times as often, come
/// by chance with probability `(1 + ratio)^-c`, at a cost of `c (1 + ratio)`.
#[must_use]
pub(super) fn ratio(alpha: f64) -> f64 {
    // A little below, since trials are whole.
    let alpha = 0.95 * allowed(alpha);
    let root = |hits: u32| alpha.powf(-1.0 / f64::from(hits));
    let cost = |hits: &u32| f64::from(*hits) * root(*hits);
    let best = (1..=30).min_by(|a, b| cost(a).total_cmp(&cost(b)));
    root(best.unwrap_or(3)) - 1.0
}

/// One look at the trials of two arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// How many trials of the arm that should hit are looked at.
    pub(super) trials: usize,
    /// How many of the other arm, none of which may have hit.
    pub(super) clean: usize,
    /// With how many hits the difference is settled.
    pub(super) hits: usize,
}

/// When a difference is settled.
#[derive(Debug)]
pub(super) struct Boundary {
    /// The looks at which it can be, in order.
    looks: Vec<Look>,
}

impl Boundary {
    /// The boundary for this level, where `ratio` trials of the clean arm go
    /// with one of the other, up to `most` trials of either.
    pub(super) fn of(alpha: f64, ratio: f64, most: u32) -> Arc<Self> {
        type Known = HashMap<(u64, u64, u32), Arc<Boundary>>;
        // The same few are asked for after each trial.
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let key = (alpha.to_bits(), ratio.to_bits(), most);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(key);
        Arc::clone(entry.or_insert_with(|| Arc::new(Self::compute(alpha, ratio, most))))
    }

    fn compute(alpha: f64, ratio: f64, most: u32) -> Self {
        let course = course(ratio, most);
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..24 {
            let middle = f64::midpoint(low, high);
            if size(&course, &thresholds(&course, middle)) <= allowed(alpha) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let hits = thresholds(&course, low);
        let looks = course.iter().zip(hits);
        Self {
            looks: looks
                .filter(|(step, hits)| *hits <= step.trials)
                .map(|(step, hits)| Look {
                    trials: step.trials,
                    clean: step.clean,
                    hits,
                })
                .collect(),
        }
    }

    /// With how many hits it is settled at last, however many trials that takes;
    /// 0 if nothing settles it.
    pub(super) fn enough(&self) -> u32 {
        let last = self.looks.last().map_or(0, |look| look.hits);
        u32::try_from(last).unwrap_or(u32::MAX)
    }

    /// Whether the difference is settled: `hits` tells trial by trial whether
    /// the one arm hit; the first `clean` trials of the other did not.
    pub(super) fn crossed(&self, hits: &[bool], clean: usize) -> bool {
        let mut so_far = vec![0; hits.len() + 1];
        for (index, &hit) in hits.iter().enumerate() {
            so_far[index + 1] = so_far[index] + usize::from(hit);
        }
        self.looks
            .iter()
            .filter(|look| look.clean <= clean)
            .any(|look| so_far.get(look.trials).is_some_and(|&n| n >= look.hits))
    }
}

/// A trial of one arm or the other, and how many there are with it.
struct Step {
    of_hitting: bool,
    trials: usize,
    clean: usize,
}

/// The order of trials: the arm that is behind is next.
fn course(ratio: f64, most: u32) -> Vec<Step> {
    let (mut trials, mut clean) = (0_u32, 0_u32);
    let mut course = Vec::new();
    while trials < most || clean < most {
        let behind = f64::from(clean) + 1e-9 >= ratio * f64::from(trials);
        let of_hitting = clean == most || (behind && trials < most);
        if of_hitting {
            trials += 1;
        } else {
            clean += 1;
        }
        course.push(Step {
            of_hitting,
            trials: trials as usize,
            clean: clean as usize,
        });
    }
    course
}

/// The fewest hits, at each step, that one common rate explains worse than a
/// rate of its own for the arm that hit, by this factor: the likelihood ratio.
fn thresholds(course: &[Step], factor: f64) -> Vec<usize> {
    let ln = factor.ln();
    course
        .iter()
        .map(|step| {
            // More hits against as many clean trials only say more.
            let (mut low, mut high) = (1, step.trials + 1);
            while low < high {
                let middle = low.midpoint(high);
                if ln_ratio(middle, step) <= ln {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            low
        })
        .collect()
}

/// The logarithm of the likelihood of one common rate by that of two.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn ln_ratio(hits: usize, step: &Step) -> f64 {
    let (hits, trials) = (hits as f64, step.trials as f64);
    let all = trials + step.clean as f64;
    let part = |n: f64, rate: f64| if n == 0.0 { 0.0 } else { n * rate.ln() };
    let common = part(hits, hits / all) + part(all - hits, 1.0 - hits / all);
    let own = part(hits, hits / trials) + part(trials - hits, 1.0 - hits / trials);
    common - own
}

/// How often, at worst over all rates, the boundary is crossed if both arms have
/// the same rate.
fn size(course: &[Step], thresholds: &[usize]) -> f64 {
    rates(GRID)
        .map(|rate| crossing(course, thresholds, rate, rate))
        .fold(0.0, f64::max)
}

/// The probability that the boundary is crossed at these rates, step by step
/// over the number of hits so far.
fn crossing(course: &[Step], thresholds: &[usize], rate: f64, clean_rate: f64) -> f64 {
    // What is still possible, by hits; a hit of the clean arm ends it.
    let mut possible = vec![1.0];
    let mut crossed = 0.0;
    for (step, &threshold) in course.iter().zip(thresholds) {
        if step.of_hitting {
            possible.push(0.0);
            for hits in (1..possible.len()).rev() {
                possible[hits] = possible[hits] * (1.0 - rate) + possible[hits - 1] * rate;
            }
            possible[0] *= 1.0 - rate;
        } else {
            for probability in &mut possible {
                *probability *= 1.0 - clean_rate;
            }
        }
        if threshold < possible.len() {
            crossed += possible.drain(threshold..).sum::<f64>();
        }
    }
    crossed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_keeps_its_ratio() {
        let course = course(1.5, 30);
        let steps: String = course[..10]
            .iter()
            .map(|step| if step.of_hitting { 'c' } else { 'f' })
            .collect();
        assert_eq!(steps, "cffcfcffcf");
        let last = course.last().unwrap();
        assert_eq!((last.trials, last.clean), (30, 30));
    }

    #[test]
    fn a_deterministic_difference_is_settled_in_five_trials_at_95_and_eight_at_99_percent() {
        let settled = |alpha: f64, hits: usize, clean: usize| {
            let boundary = Boundary::of(alpha, ratio(alpha), 100);
            boundary.crossed(&vec![true; hits], clean)
        };
        assert!(settled(0.05, 2, 3) && !settled(0.05, 2, 2) && !settled(0.05, 1, 3));
        assert!(settled(0.01, 3, 5) && !settled(0.01, 3, 4) && !settled(0.01, 2, 5));
    }

    /// The boundary's error, computed on a finer grid of rates than the one it
    /// was chosen by.
    #[test]
    fn a_boundary_is_crossed_by_chance_no_more_often_than_its_level() {
        for alpha in [0.05, 0.01] {
            for ratio in [ratio(alpha), 1.0 / ratio(alpha)] {
                let course = course(ratio, 60);
                let boundary = Boundary::compute(alpha, ratio, 60);
                let thresholds: Vec<usize> = course
                    .iter()
                    .map(|step| {
                        let look = boundary
                            .looks
                            .iter()
                            .find(|look| (look.trials, look.clean) == (step.trials, step.clean));
                        look.map_or(usize::MAX, |look| look.hits)
                    })
                    .collect();
                let error = |rate| crossing(&course, &thresholds, rate, rate);
                let worst = rates(1111).map(error).fold(0.0, f64::max);
                assert!(worst <= alpha && worst > alpha / 2.0, "{alpha}: {worst}");
                assert!(crossing(&course, &thresholds, 0.5, 0.0) > 0.99);
            }
        }
    }

    #[test]
    fn hits_after_a_look_do_not_count_for_it() {
        let boundary = Boundary {
            looks: vec![Look {
                trials: 2,
                clean: 3,
                hits: 2,
            }],
        };
        assert!(boundary.crossed(&[true, true, false], 4));
        assert!(!boundary.crossed(&[true, false, true], 4));
        assert!(!boundary.crossed(&[true, true], 2));
        assert!(!boundary.crossed(&[true], 4));
    }
}
