//! Which candidate to boot next: the one that tells most about the culprit for
//! its price.
//!
//! What a boot tells is the mutual information of its outcome and the culprit, and
//! besides how much it settles where one candidate is likely already. Its price is a
//! boot, and a build if the candidate has none yet. A build is worth its price to the
//! degree that the culprit is among the candidates it divides: to name the culprit,
//! those must be divided sooner or later. So a build in the middle of a range that
//! surely holds the culprit is free, and one in a range that an unlucky boot points
//! to costs almost all of its price, and more: see [`Waste`].

use super::order::Order;
use super::posterior::{Posterior, Segment};
use super::rates::{Explanation, Rates};
use super::terms::{Change, Point, Prices};

/// Below this probability a range is not worth dividing.
const NEGLIGIBLE: f64 = 1e-4;

/// Where in a range of a line to divide it.
const MIDDLE: [f64; 1] = [0.5];

/// Where in a range to look for the best place to divide it, if others lie below or the
/// middle may be broken or is built already.
const PLACES: [f64; 7] = [0.25, 0.35, 0.4, 0.45, 0.5, 0.55, 0.65];

/// A single candidate as likely as this is worth settling.
const SUSPECTED: f64 = 0.05;

/// What a build costs beside its own price, in boots, if it divides a range that the
/// culprit is not in. Whoever looks in the wrong range builds there more than once
/// before the boots say so: as long as each candidate is booted once, a bug that shows
/// in half of the boots looks like one that always shows, at another place.
#[derive(Debug, Clone, Copy)]
struct Waste {
    /// The cost, before all that follows.
    boots: f64,
    /// How it grows with the halvings of all candidates.
    all: f64,
    /// How it grows with the halvings still ahead.
    ahead: f64,
    /// How it grows with the boots without the target that a bug gives, if boots of
    /// candidates with the bug were taken for boots of others: the more of them, the
    /// longer nobody notices.
    unlucky: f64,
    /// The same, if false alarms were taken for hits: what follows then are boots
    /// without the target, which soon tell.
    alarmed: f64,
    /// The weight of that, beside the former.
    alarm: f64,
    /// Where the bug shows less often than this, boots are so many that builds matter
    /// less: the cost falls with the power of 3/2 of the hit rate.
    faint: f64,
}

/// With the rates known a range is as likely as it looks.
const WASTE_KNOWN: Waste = Waste {
    boots: 118.0,
    all: 0.0,
    ahead: 0.1,
    unlucky: 3.4,
    alarmed: 0.75,
    alarm: 1.35,
    faint: 0.25,
};

/// With the rates learned it is less so, above all early on.
const WASTE_LEARNED: Waste = Waste {
    boots: 23.0,
    all: 1.35,
    ahead: 0.45,
    unlucky: 4.4,
    alarmed: 2.0,
    alarm: 0.32,
    faint: 0.35,
};

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
}

/// The entropy of a coin, in bits.
fn entropy(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    -(p * p.log2() + (1.0 - p) * (1.0 - p).log2())
}

/// How far a coin of rate `b` is from one of rate `a`, in bits.
pub(super) fn divergence(a: f64, b: f64) -> f64 {
    let term = |a: f64, b: f64| {
        if a > 0.0 { a * (a / b).log2() } else { 0.0 }
    };
    term(a, b) + term(1.0 - a, 1.0 - b)
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

/// The part of a build that is lost: it divides candidates that the culprit is not
/// among, or not in the middle.
struct Lost {
    /// In 0 to 1.
    part: f64,
    /// What is not divided at all, by what it leads to.
    weighted: f64,
}

/// A candidate that may well be the culprit.
struct Suspect {
    candidate: usize,
    probability: f64,
    /// The rates of the target before it and from it on, if it is the culprit.
    rates: (f64, f64),
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
    change: Change,
    suspects: Vec<Suspect>,
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
    offer(view.choice(Point::Base, view.base, prices.boot));
    for (index, &candidate) in posterior.booted.iter().enumerate() {
        if market.open(candidate) {
            let sums = view.booted(index);
            let build = if market.built(candidate) {
                0.0
            } else {
                prices.build
            };
            offer(view.choice(Point::Candidate(candidate), sums, prices.boot + build));
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
                let (before, after) = in_order(*explained, change);
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
        let suspects = posterior
            .segments
            .iter()
            .filter(|one| {
                posterior.cells[one.cell].size == 1 && posterior.mass[one.cell] > SUSPECTED
            })
            .map(|one| Suspect {
                candidate: order.chains()[one.chain][one.from],
                probability: posterior.mass[one.cell],
                rates: in_order(posterior.explained[one.cell], change),
            })
            .collect();
        Self {
            order,
            posterior,
            base,
            shift,
            rates,
            waste: match posterior.rates {
                Rates::Known { .. } => WASTE_KNOWN,
                Rates::Learned => WASTE_LEARNED,
            },
            change,
            suspects,
        }
    }

    fn choice(&self, point: Point, sums: Sums, price: f64) -> Choice {
        let bits = sums.bits() + self.settled(point, sums.hit);
        Choice {
            point,
            score: bits / price,
            bits,
        }
    }

    /// How much more than its information a boot tells for or against single
    /// candidates, in bits: what each predicts is compared with what all others
    /// predict, and not with what all together do (the extrinsic Jensen-Shannon
    /// divergence, less the information).
    fn settled(&self, point: Point, hit: f64) -> f64 {
        self.suspects
            .iter()
            .map(|suspect| {
                let rate = match point {
                    Point::Candidate(booted) if self.order.contains(booted, suspect.candidate) => {
                        suspect.rates.1
                    }
                    _ => suspect.rates.0,
                };
                let probability = suspect.probability.min(1.0 - NEGLIGIBLE);
                // What one of them rules out is not worth more than all else.
                let others =
                    ((hit - probability * rate) / (1.0 - probability)).clamp(1e-9, 1.0 - 1e-9);
                probability * (divergence(rate, others) - divergence(rate, hit))
            })
            .sum()
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
                (true, false) => &MIDDLE[..],
                (true, true) => &PLACES[..],
                (false, true) => &PLACES[..1],
                (false, false) => &[],
            };
            let mut ranks = places(self.order, *segment, parts, market);
            let members = &self.order.chains()[chain];
            // It may be broken; or it is there already, and no build can be wasted.
            let look_around =
                |&rank: &usize| market.risk(members[rank]) > 0.0 || market.built(members[rank]);
            if !merges && ranks.iter().any(look_around) {
                ranks = places(self.order, *segment, &PLACES, market);
            }
            for rank in ranks {
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
            let lost = self.lost(segment, rank);
            (prices.build * lost.part).max(prices.boot * self.waste_of(segment, lost.weighted))
        };
        let chance = 1.0 - market.risk(candidate);
        let mut choice = self.choice(Point::Candidate(candidate), sums, prices.boot + build);
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

    /// What such a build in this range costs beside its price, in boots.
    fn waste_of(&self, segment: &Segment, weighted: f64) -> f64 {
        let halvings = |candidates: usize| (1.0 + candidates as f64).log2();
        self.waste.boots
            * halvings(self.order.len()).powf(self.waste.all)
            * halvings(self.posterior.cells[segment.cell].size).powf(self.waste.ahead)
            * (self.rates.0.max(self.rates.1) / self.waste.faint)
                .min(1.0)
                .powf(1.5)
            * weighted
    }

    /// How much of this build is lost.
    fn lost(&self, segment: &Segment, rank: usize) -> Lost {
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
        let (mut part, mut weighted) = (0.0, 0.0);
        let cells = self.posterior.cells.iter().zip(&self.posterior.explained);
        for ((&inside, &mass), (cell, explained)) in
            contained.iter().zip(&self.posterior.mass).zip(cells)
        {
            let lost = mass * (1.0 - entropy(inside as f64 / cell.size as f64));
            // If the culprit is there, this is how it came to look as if it were not.
            let unlucky = match self.change {
                Change::Appears => inside == cell.size,
                Change::Disappears => inside == 0,
            };
            let misses = 1.0 - explained.hit;
            part += lost;
            if inside == 0 || inside == cell.size {
                weighted += lost
                    * if unlucky {
                        misses.powf(self.waste.unlucky)
                    } else {
                        self.waste.alarm * misses.powf(self.waste.alarmed)
                    };
            }
        }
        // If there is no culprit, no build divides anything.
        let some = (1.0 - self.posterior.none).max(NEGLIGIBLE);
        Lost {
            part: (part / some).clamp(0.0, 1.0),
            weighted: weighted / some,
        }
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

/// The rates of the target before a culprit and from it on.
fn in_order(explained: Explanation, change: Change) -> (f64, f64) {
    match change {
        Change::Appears => (explained.false_alarm, explained.hit),
        Change::Disappears => (explained.hit, explained.false_alarm),
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
