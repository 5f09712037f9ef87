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
use super::{Change, Point, Prices};

/// Below this probability a range is not worth dividing.
const NEGLIGIBLE: f64 = 1e-4;

/// Where in a range to look for the best place to divide it.
const PLACES: [f64; 7] = [0.25, 0.35, 0.4, 0.45, 0.5, 0.55, 0.65];

/// What a build that divides the wrong range costs at least: this many times the
/// boots that tell a bit, for each halving still ahead. Whoever looks in the
/// wrong range tends to build there more than once, and the fewer bits a boot
/// tells, the longer it takes to notice.
const WASTE: f64 = 1.4;

/// How much dearer builds are where boots tell less.
const POWER: f64 = 1.6;

/// Boots that tell fewer bits than this do not make builds dearer still.
const DULL: f64 = 0.12;

/// The probability of being after the culprit at which a boot tells about most.
const BALANCE: f64 = 0.44;

/// How many boots of a new build are looked ahead.
const LOOK_AHEAD: [u32; 5] = [1, 2, 3, 5, 8];

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
    /// Bits that a boot tells at best.
    capacity: f64,
}

/// The best boot, or `None` if nothing can be told by any.
pub(super) fn best(
    order: &Order,
    posterior: &Posterior,
    change: Change,
    prices: Prices,
    market: &impl Market,
) -> Option<Choice> {
    let view = View::new(order, posterior, change);
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
    fn new(order: &'a Order, posterior: &'a Posterior, change: Change) -> Self {
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
        Self {
            order,
            posterior,
            base,
            shift,
            rates,
            capacity: block_bits(1, BALANCE, rates).max(1e-4),
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
            let floor =
                prices.boot * WASTE * (1.0 + size).log2() / self.capacity.max(DULL).powf(POWER);
            prices.build.max(floor) * self.wasted(segment, rank)
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
