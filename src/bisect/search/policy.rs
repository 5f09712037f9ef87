//! Which candidate to boot next: the one that tells most about the culprit for
//! its price.
//!
//! What a boot tells is the mutual information of its outcome and the culprit.
//! Its price is a boot, and a build if the candidate has none yet. A build is
//! worth its price to the degree that the culprit is among the candidates it
//! divides: to name the culprit, those must be divided sooner or later. So a
//! build in the middle of a range that surely holds the culprit is free, and one
//! in a range that an unlucky boot points to costs almost all of its price.

use super::order::Order;
use super::posterior::{Posterior, Segment};
use super::terms::{Change, Point, Prices};

/// Below this probability a range is not worth dividing.
const NEGLIGIBLE: f64 = 1e-4;

/// Where in a range to look for the best place to divide it.
const PLACES: [f64; 7] = [0.25, 0.35, 0.4, 0.45, 0.5, 0.55, 0.65];

/// What a build that divides a wrong range costs at least, in boots: whoever looks
/// in the wrong range tends to build there more than once, and the fewer bits a
/// boot tells, the longer it takes to notice.
#[derive(Debug, Clone, Copy)]
struct Waste {
    /// The cost, before all that follows.
    boots: f64,
    /// The cost, whatever follows.
    least: f64,
    /// How it grows with the halvings of all candidates.
    all: f64,
    /// How it grows with the halvings still ahead.
    ahead: f64,
    /// How it grows as a boot tells less.
    dullness: f64,
    /// Boots that tell fewer bits than this do not make builds dearer still.
    dull: f64,
    /// Where boots tell fewer bits than this, there are so many of them that builds
    /// matter less.
    faint: f64,
    /// Where boots tell more bits than this, a wrong range is noticed sooner.
    telling: f64,
    /// Where they tell as many as this, it is noticed at once.
    certain: f64,
    /// How much each per cent of false alarms adds, up to two.
    false_alarms: f64,
    /// How it falls with the part of the build that is lost, in 0 to 1.
    lost: f64,
}

/// With the rates known a range is as likely as it looks.
const WASTE_KNOWN: Waste = Waste {
    boots: 0.191,
    least: 12.0,
    all: 1.0,
    ahead: 0.0,
    dullness: 1.6,
    dull: 0.06,
    faint: 0.08,
    telling: 1.0,
    certain: 2.0,
    false_alarms: 0.0,
    lost: 0.8,
};

/// With the rates learned it is less so, above all early on.
const WASTE_LEARNED: Waste = Waste {
    boots: 0.13,
    least: 7.0,
    all: 1.2,
    ahead: 0.6,
    dullness: 0.8,
    dull: 0.1,
    faint: 0.0,
    telling: 0.3,
    certain: 0.42,
    false_alarms: 1.0,
    lost: 0.7,
};

impl Waste {
    /// The cost in boots for a build in a range of `size` of all candidates, when
    /// a boot tells `capacity` bits, if this part of it is lost.
    fn cost(&self, all: f64, size: f64, capacity: f64, false_alarm: f64, lost: f64) -> f64 {
        let unnoticed = (self.certain - capacity) / (self.certain - self.telling);
        let mut cost = self.boots
            * (1.0 + all).log2().powf(self.all)
            * (1.0 + size).log2().powf(self.ahead)
            * (1.0 + self.false_alarms * (100.0 * false_alarm).min(2.0))
            / capacity.max(self.dull).powf(self.dullness)
            * unnoticed.clamp(0.0, 1.0);
        if capacity < self.faint {
            cost *= capacity / self.faint;
        }
        cost.max(self.least) * lost.powf(self.lost)
    }
}

/// By how many standard deviations a hit rate that is still being learned is taken
/// to be lower than it seems, where the price of a build depends on it.
const CAUTION: f64 = 1.0;

/// The probability of being after the culprit at which a boot tells about most.
const BALANCE: f64 = 0.48;

/// How many boots of a new build are looked ahead.
const LOOK_AHEAD: [u32; 6] = [1, 2, 3, 5, 8, 12];

/// Which candidates can be booted, and what of them costs a build.
pub(super) trait Market {
    /// Whether it can be booted.
    fn open(&self, candidate: usize) -> bool;
    /// Whether it is built already.
    fn built(&self, candidate: usize) -> bool;
    /// The probability that it will not build or boot.
    fn risk(&self, candidate: usize) -> f64;
}

/// A boot that could come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub(super) point: Point,
    /// Bits per unit of cost.
    pub(super) score: f64,
    /// Bits that one boot is expected to tell.
    pub(super) bits: f64,
    /// The probability that it shows the target.
    pub(super) hit: f64,
}

/// The entropy of a coin, in bits.
pub(super) fn entropy(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    -(p * p.log2() + (1.0 - p) * (1.0 - p).log2())
}

/// What a boot's outcome depends on, summed over hypotheses.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// The probability of a hit.
    hit: f64,
    /// The entropy that the outcome keeps once the culprit is known.
    rest: f64,
    /// The probability of being at or after the culprit.
    after: f64,
}

impl Sums {
    fn add(&mut self, other: Self, times: f64) {
        self.hit += other.hit * times;
        self.rest += other.rest * times;
        self.after += other.after * times;
    }

    fn bits(&self) -> f64 {
        (entropy(self.hit) - self.rest).max(0.0)
    }
}

/// The posterior as the choice sees it.
struct View<'a> {
    order: &'a Order,
    posterior: &'a Posterior,
    /// What a boot from before all candidates would see.
    base: Sums,
    /// What changes, per cell, if the booted candidate contains the cell.
    shift: Vec<Sums>,
    /// Mean rates before and after the culprit.
    rates: (f64, f64),
    /// What a build in a wrong range costs.
    waste: Waste,
    /// Bits that a boot tells at best.
    capacity: f64,
}

/// The best boot, or `None` if nothing can be told by any. `learned_from` is the
/// number of boots so far, if the rates are learned from them.
pub(super) fn best(
    order: &Order,
    posterior: &Posterior,
    change: Change,
    learned_from: Option<u32>,
    prices: Prices,
    market: &impl Market,
) -> Option<Choice> {
    let view = View::new(order, posterior, change, learned_from);
    let mut best: Option<Choice> = None;
    let mut offer = |choice: Choice| {
        if choice.bits > 1e-12 && best.is_none_or(|held| choice.score > held.score) {
            best = Some(choice);
        }
    };
    offer(View::choice(Point::Base, view.base, prices.boot));
    for (index, &candidate) in posterior.booted.iter().enumerate() {
        if market.open(candidate) {
            let sums = view.booted(index);
            let build = if market.built(candidate) {
                0.0
            } else {
                prices.build
            };
            offer(View::choice(
                Point::Candidate(candidate),
                sums,
                prices.boot + build,
            ));
        }
    }
    for choice in view.new_builds(prices, market) {
        offer(choice);
    }
    best
}

impl<'a> View<'a> {
    fn new(
        order: &'a Order,
        posterior: &'a Posterior,
        change: Change,
        learned_from: Option<u32>,
    ) -> Self {
        let none = posterior.none;
        let mut base = Sums {
            hit: none * posterior.unchanged.hit,
            rest: none * entropy(posterior.unchanged.hit),
            after: 0.0,
        };
        let mut rates = (0.0, 0.0);
        let shift = posterior
            .explained
            .iter()
            .zip(&posterior.mass)
            .map(|(explained, &mass)| {
                let (before, after) = match change {
                    Change::Appears => (explained.false_alarm, explained.hit),
                    Change::Disappears => (explained.hit, explained.false_alarm),
                };
                base.hit += mass * before;
                base.rest += mass * entropy(before);
                rates.0 += mass * before;
                rates.1 += mass * after;
                Sums {
                    hit: mass * (after - before),
                    rest: mass * (entropy(after) - entropy(before)),
                    after: mass,
                }
            })
            .collect();
        let some = (1.0 - none).max(f64::MIN_POSITIVE);
        let rates = (rates.0 / some, rates.1 / some);
        let (waste, cautious) = match learned_from {
            None => (WASTE_KNOWN, rates),
            Some(boots) => (WASTE_LEARNED, cautious(rates, boots)),
        };
        Self {
            order,
            posterior,
            base,
            shift,
            rates,
            waste,
            capacity: block_bits(1, BALANCE, cautious).max(1e-4),
        }
    }

    fn choice(point: Point, sums: Sums, price: f64) -> Choice {
        let bits = sums.bits();
        Choice {
            point,
            score: bits / price,
            bits,
            hit: sums.hit,
        }
    }

    /// What a boot of a candidate that was booted before would see.
    fn booted(&self, index: usize) -> Sums {
        let mut sums = self.base;
        for (cell, shift) in self.posterior.cells.iter().zip(&self.shift) {
            if cell.contained[index] {
                sums.add(*shift, 1.0);
            }
        }
        sums
    }

    /// The places where a build not yet booted would tell most.
    fn new_builds(&self, prices: Prices, market: &impl Market) -> Vec<Choice> {
        let of_chains = self.chain_sums();
        let of_blocks: Vec<Sums> = of_chains
            .chunks(64)
            .map(|chains| {
                let mut block = Sums::default();
                for &sums in chains {
                    block.add(sums, 1.0);
                }
                block
            })
            .collect();
        let mut choices = Vec::new();
        let merges = self.order.chains().len() > 1;
        let mut chain = usize::MAX;
        let mut under = Sums::default();
        for segment in &self.posterior.segments {
            if segment.chain != chain {
                chain = segment.chain;
                under = self.base;
                self.order
                    .over_below(chain, &of_chains, &of_blocks, |sums| under.add(sums, 1.0));
            }
            let size = self.posterior.cells[segment.cell].size as f64;
            let each = 1.0 / size;
            let shift = self.shift[segment.cell];
            let likely = self.posterior.mass[segment.cell] >= NEGLIGIBLE;
            // Without merges, an unlikely range tells no more than its ends; with
            // them it may lie on top of likely ones.
            let parts = match (likely, merges) {
                (true, _) => &PLACES[..],
                (false, true) => &PLACES[..1],
                (false, false) => &[],
            };
            for rank in places(self.order, *segment, parts, market) {
                let mut sums = under;
                sums.add(shift, each * (rank + 1 - segment.from) as f64);
                choices.push((segment, rank, sums));
            }
            under.add(shift, each * segment.len() as f64);
        }
        // Many ranges are nearly alike; only the most telling are priced in full.
        choices.sort_by(|a, b| b.2.bits().total_cmp(&a.2.bits()));
        choices.truncate(24.max(PLACES.len() * 3));
        choices
            .into_iter()
            .map(|(segment, rank, sums)| self.priced(segment, rank, sums, prices, market))
            .collect()
    }

    fn priced(
        &self,
        segment: &Segment,
        rank: usize,
        sums: Sums,
        prices: Prices,
        market: &impl Market,
    ) -> Choice {
        let candidate = self.order.chains()[segment.chain][rank];
        let build = if market.built(candidate) {
            0.0
        } else {
            let size = self.posterior.cells[segment.cell].size as f64;
            let all = self.order.len() as f64;
            let false_alarm = self.rates.0.min(self.rates.1);
            let lost = self.wasted(segment, rank);
            let waste = self.waste.cost(all, size, self.capacity, false_alarm, lost);
            (prices.build * lost).max(prices.boot * waste)
        };
        let chance = 1.0 - market.risk(candidate);
        let mut choice = Self::choice(Point::Candidate(candidate), sums, prices.boot + build);
        if build > 0.0 {
            for boots in LOOK_AHEAD {
                let bits = block_bits(boots, sums.after, self.rates);
                let score = bits / (prices.boot * f64::from(boots) + build);
                choice.score = choice.score.max(score);
            }
        }
        choice.score *= chance;
        choice
    }

    /// The part of this build that is lost: it divides candidates that the
    /// culprit is not among, or not in the middle. In 0 to 1.
    fn wasted(&self, segment: &Segment, rank: usize) -> f64 {
        let mut contained = vec![0_usize; self.posterior.cells.len()];
        contained[segment.cell] += rank + 1 - segment.from;
        for other in &self.posterior.segments {
            let below = if other.chain == segment.chain {
                other.to <= segment.from
            } else {
                self.order.is_below(other.chain, segment.chain)
            };
            if below {
                contained[other.cell] += other.len();
            }
        }
        let divided: f64 = contained
            .iter()
            .zip(&self.posterior.cells)
            .zip(&self.posterior.mass)
            .map(|((&inside, cell), mass)| mass * entropy(inside as f64 / cell.size as f64))
            .sum();
        // If there is no culprit, no build divides anything.
        let some = (1.0 - self.posterior.none).max(NEGLIGIBLE);
        (1.0 - divided / some).clamp(0.0, 1.0)
    }

    fn chain_sums(&self) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); self.order.chains().len()];
        for segment in &self.posterior.segments {
            let size = self.posterior.cells[segment.cell].size as f64;
            sums[segment.chain].add(self.shift[segment.cell], segment.len() as f64 / size);
        }
        sums
    }
}

/// The rates, with the hit rate as low as it may well be: about half of the boots
/// so far were of candidates with the bug.
fn cautious(rates: (f64, f64), boots: u32) -> (f64, f64) {
    let deviation = |rate: f64| (rate * (1.0 - rate) / (1.0 + f64::from(boots) / 2.0)).sqrt();
    let lower = |rate: f64, other: f64| (rate - CAUTION * deviation(rate)).max(other);
    if rates.0 < rates.1 {
        (rates.0, lower(rates.1, rates.0))
    } else {
        (lower(rates.0, rates.1), rates.1)
    }
}

/// Where in its chain a range may be divided, around the usual places.
fn places(order: &Order, segment: Segment, parts: &[f64], market: &impl Market) -> Vec<usize> {
    let members = &order.chains()[segment.chain];
    let length = segment.len() as f64;
    let mut found: Vec<usize> = parts
        .iter()
        .map(|part| segment.from + ((length * part).ceil() as usize).max(1) - 1)
        .chain((parts.len() > 1).then_some(segment.to - 1))
        .filter_map(|wanted| {
            let span = segment.len();
            (0..span)
                .flat_map(|away| {
                    [
                        wanted.checked_sub(away),
                        (away > 0).then_some(wanted + away),
                    ]
                })
                .flatten()
                .filter(|&rank| segment.from <= rank && rank < segment.to)
                .find(|&rank| market.open(members[rank]))
        })
        .collect();
    found.dedup();
    found
}

/// What a number of boots of one candidate tells about whether it is at or after
/// the culprit, in bits.
fn block_bits(boots: u32, after: f64, (before_rate, after_rate): (f64, f64)) -> f64 {
    let mut bits = 0.0;
    let mut choose = 1.0;
    for hits in 0..=boots {
        let chance = |rate: f64| {
            choose
                * rate.powi(i32::try_from(hits).unwrap_or(i32::MAX))
                * (1.0 - rate).powi(i32::try_from(boots - hits).unwrap_or(i32::MAX))
        };
        let (with, without) = (chance(after_rate), chance(before_rate));
        let either = after * with + (1.0 - after) * without;
        for (weight, value) in [(after, with), (1.0 - after, without)] {
            if weight > 0.0 && value > 0.0 {
                bits += weight * value * (value / either).log2();
            }
        }
        choose = choose * f64::from(boots - hits) / f64::from(hits + 1);
    }
    bits
}
