//! The search for the culprit among ordered candidates, by boots that may lie.
//!
//! Pure and general: it knows numbers of candidates, which of them builds on
//! which, prices and outcomes; nothing of kernels. A [`Search`] is told what
//! boots showed and says which boot to make next and how likely each candidate
//! is the culprit: the first one at which the rate of the target changes. That
//! the rate never changes is one of the hypotheses.

mod forecast;
mod order;
mod policy;
mod posterior;
mod rates;
mod terms;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub use forecast::Forecast;
pub use order::{Order, OrderError};
pub use rates::{Counts, Rates};
pub use terms::{Change, Point, Prices};

use policy::{Choice, Market};
use posterior::{Evidence, Known, Posterior};

/// Hits of the bad end before the search, if its rate is learned: with a rate that seems
/// higher than it is, whoever sees a few boots without the target takes a bad range for a
/// good one.
const PROOF: u32 = 3;

/// After so many boots one hit is enough.
const PROOF_BOOTS: u32 = 8;

/// The bad end is booted again while less than this part of all boots were of candidates
/// with the bug: their rate decides what a boot without the target means, and boots of
/// others do not tell it.
const MEASURED: f64 = 0.4;

/// So many boots of candidates with the bug are enough for that.
const ENOUGH: f64 = 5.0;

/// The search leaves the ends once "the rate never changes" is less likely.
const DOUBT: f64 = 0.15;

/// Hits that a culprit must have shown itself, where the rates are learned: a
/// single one may be a false alarm of a kind that was not seen before.
const SHOWN: u32 = 2;

/// Unless the bug shows at about each boot.
const SURELY: f64 = 0.8;

/// A candidate as likely as this is booted until it has shown the target.
const LIKELY: f64 = 0.95;

/// False alarms that are this part of the hits, or less, are no reason for doubt.
const APART: f64 = 0.03;

/// From this part on they are as much a reason as they get to be.
const CLOSE: f64 = 0.08;

/// The part of the probability of being wrong that is allowed no more then.
const STRICT: f64 = 0.6;

/// What the search is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What is known of the rates.
    pub rates: Rates,
    /// Which way the rate changes.
    pub change: Change,
    /// The probability, before the first boot, that it never does.
    pub none: f64,
    /// What tests cost.
    pub prices: Prices,
    /// Whether both ends are booted before candidates between them.
    pub prove_ends: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rates: Rates::Learned,
            change: Change::Appears,
            none: 0.05,
            prices: Prices {
                boot: 1.0,
                build: 8.0,
            },
            prove_ends: true,
        }
    }
}

/// What the boots so far amount to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// One of these is the culprit; several if no test can tell them apart.
    Culprit {
        /// The candidates, in the order's own sequence.
        candidates: Vec<usize>,
        /// How likely that is.
        probability: f64,
    },
    /// The rate never changes in this range.
    None {
        /// How likely that is.
        probability: f64,
    },
    /// Not known yet.
    Open,
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    evidence: Evidence,
    posterior: Posterior,
    settings: Settings,
    skipped: BTreeSet<usize>,
    built: BTreeSet<usize>,
    /// The candidate that contains all others, if there is one.
    top: Option<usize>,
}

impl Search {
    /// A search that has seen nothing yet.
    #[must_use]
    pub fn new(order: Arc<Order>, settings: Settings) -> Self {
        let top = top_of(&order);
        let evidence = Evidence {
            order,
            rates: settings.rates,
            change: settings.change,
            none: settings.none,
            base: Counts::default(),
            known: HashMap::new(),
        };
        Self {
            posterior: Posterior::new(&evidence),
            evidence,
            settings,
            skipped: BTreeSet::new(),
            built: BTreeSet::new(),
            top,
        }
    }

    /// Takes the outcome of one boot.
    pub fn record(&mut self, point: Point, hit: bool) {
        let one = Counts {
            hits: u32::from(hit),
            boots: 1,
        };
        match point {
            Point::Base => {
                self.evidence.base = self.evidence.base.plus(one);
                self.posterior.weigh(&self.evidence);
            }
            Point::Candidate(candidate) => {
                self.built.insert(candidate);
                let known = self.evidence.known.entry(candidate).or_default();
                let first = *known == Known::default();
                known.counts = known.counts.plus(one);
                if first {
                    self.posterior = Posterior::new(&self.evidence);
                } else {
                    self.posterior.weigh(&self.evidence);
                }
            }
        }
    }

    /// Takes it that these are all boots from before all candidates.
    pub fn set_base(&mut self, counts: Counts) {
        self.evidence.base = counts;
        self.posterior.weigh(&self.evidence);
    }

    /// Takes it that a candidate cannot be tested. What its earlier boots showed
    /// stays.
    pub fn skip(&mut self, candidate: usize) {
        self.skipped.insert(candidate);
    }

    /// Takes somebody's word for what a candidate is, whatever its boots show.
    pub fn assert(&mut self, candidate: usize, bad: bool) {
        self.evidence.known.entry(candidate).or_default().asserted = Some(bad);
        self.posterior = Posterior::new(&self.evidence);
    }

    /// Takes it that a candidate behaves as another point does, as their images
    /// are the same.
    pub fn same(&mut self, candidate: usize, other: Point) {
        if Point::Candidate(candidate) == other {
            return;
        }
        if let Point::Candidate(other) = other {
            self.evidence.known.entry(other).or_default();
        }
        self.evidence.known.entry(candidate).or_default().same_as = Some(other);
        self.posterior = Posterior::new(&self.evidence);
    }

    /// Whether a candidate is taken to behave as another point does.
    #[must_use]
    pub fn is_same(&self, candidate: usize) -> bool {
        let known = self.evidence.known.get(&candidate);
        known.is_some_and(|known| known.same_as.is_some())
    }

    /// Forgets all that is known of a point, except that it is built.
    pub fn forget(&mut self, point: Point) {
        match point {
            Point::Base => self.evidence.base = Counts::default(),
            Point::Candidate(candidate) => {
                self.skipped.remove(&candidate);
                self.evidence.known.remove(&candidate);
                for known in self.evidence.known.values_mut() {
                    if known.same_as == Some(Point::Candidate(candidate)) {
                        known.same_as = None;
                    }
                }
            }
        }
        self.posterior = Posterior::new(&self.evidence);
    }

    /// Takes it that a candidate needs no build.
    pub fn mark_built(&mut self, candidate: usize) {
        self.built.insert(candidate);
    }

    /// Sets what tests cost from here on.
    pub fn set_prices(&mut self, prices: Prices) {
        self.settings.prices = prices;
    }

    /// The boots of a point.
    #[must_use]
    pub fn counts(&self, point: Point) -> Counts {
        match point {
            Point::Base => self.evidence.base,
            Point::Candidate(candidate) => self
                .evidence
                .known
                .get(&candidate)
                .map_or_else(Counts::default, |known| known.counts),
        }
    }

    /// Whether a candidate contains another one.
    #[must_use]
    pub fn contains(&self, later: usize, earlier: usize) -> bool {
        self.evidence.order.contains(later, earlier)
    }

    /// The candidate that contains all others, if there is one: the newer end.
    #[must_use]
    pub fn top(&self) -> Option<usize> {
        self.top
    }

    /// The boot to make next; `None` if no boot tells anything.
    #[must_use]
    pub fn next(&self) -> Option<Point> {
        self.choose().map(|choice| choice.point)
    }

    /// Up to `many` boots to make side by side. Each is chosen for what it tells
    /// on average over the outcomes of those before it.
    #[must_use]
    pub fn batch(&self, many: usize) -> Vec<Point> {
        let mut points = Vec::new();
        // Each branch is a way the boots chosen so far may turn out.
        let mut branches = vec![(1.0, self.clone())];
        while points.len() < many.min(6) {
            let mut votes: HashMap<Point, f64> = HashMap::new();
            for (weight, branch) in &branches {
                if let Some(choice) = branch.choose() {
                    *votes.entry(choice.point).or_default() += weight * choice.score;
                }
            }
            let Some(point) = most_voted(&votes) else {
                break;
            };
            points.push(point);
            branches = branches
                .into_iter()
                .flat_map(|(weight, branch)| branch.outcomes(point, weight))
                .collect();
        }
        points
    }

    /// The builds that will likely be wanted next, with the probability that
    /// they are: for builds to run ahead of boots.
    #[must_use]
    pub fn builds_ahead(&self, many: usize) -> Vec<(usize, f64)> {
        let mut wanted: HashMap<usize, f64> = HashMap::new();
        let mut branches = vec![(1.0, self.clone())];
        for _ in 0..4 {
            let mut next = Vec::new();
            for (weight, branch) in branches {
                let Some(choice) = branch.choose() else {
                    continue;
                };
                if let Point::Candidate(candidate) = choice.point
                    && !branch.built.contains(&candidate)
                {
                    *wanted.entry(candidate).or_default() += weight;
                }
                next.extend(branch.outcomes(choice.point, weight));
            }
            branches = next;
        }
        let mut list: Vec<(usize, f64)> = wanted.into_iter().collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list.truncate(many);
        list
    }

    /// What is known at this confidence, in 0 to 1.
    #[must_use]
    pub fn answer(&self, confidence: f64) -> Answer {
        // Not before both ends were booted as often as that takes.
        if self.posterior.none >= confidence && self.unproved_end().is_none() {
            return Answer::None {
                probability: self.posterior.none,
            };
        }
        let likeliest = self
            .posterior
            .mass
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1));
        match likeliest {
            Some((cell, &probability))
                if probability >= self.asked(cell, confidence)
                    && !self.divisible(cell)
                    && self.unshown(cell).is_none() =>
            {
                Answer::Culprit {
                    candidates: self.members(cell),
                    probability,
                }
            }
            _ => Answer::Open,
        }
    }

    /// The likeliest candidates with their probability, at most `many`.
    #[must_use]
    pub fn likeliest(&self, many: usize) -> Vec<(usize, f64)> {
        let mut cells: Vec<usize> = (0..self.posterior.cells.len()).collect();
        let each = |cell: usize| self.posterior.mass[cell] / self.posterior.cells[cell].size as f64;
        cells.sort_by(|&a, &b| each(b).total_cmp(&each(a)));
        cells
            .into_iter()
            .flat_map(|cell| {
                let probability = each(cell);
                self.members(cell)
                    .into_iter()
                    .map(move |member| (member, probability))
            })
            .filter(|(_, probability)| *probability > 0.0)
            .take(many)
            .collect()
    }

    /// The probability that this candidate is the culprit.
    #[must_use]
    pub fn probability(&self, candidate: usize) -> f64 {
        self.posterior.of_candidate(&self.evidence.order, candidate)
    }

    /// Whether what is certain, by somebody's word or by equal images, leaves any
    /// candidate.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.posterior.is_possible()
    }

    /// Whether boots contradict rates that were said to be certain.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.posterior.rates != self.settings.rates
    }

    /// The probability that the rate never changes.
    #[must_use]
    pub fn none(&self) -> f64 {
        self.posterior.none
    }

    /// The expected rates: with the bug, and without.
    #[must_use]
    pub fn rates(&self) -> (f64, f64) {
        let some: f64 = self.posterior.mass.iter().sum();
        if some <= f64::MIN_POSITIVE {
            let rate = self.posterior.unchanged.hit;
            return (rate, rate);
        }
        let sum = self
            .posterior
            .explained
            .iter()
            .zip(&self.posterior.mass)
            .fold((0.0, 0.0), |sum, (explained, mass)| {
                (
                    sum.0 + mass * explained.hit,
                    sum.1 + mass * explained.false_alarm,
                )
            });
        (sum.0 / some, sum.1 / some)
    }

    /// The fewest candidates that hold the culprit with this probability.
    #[must_use]
    pub fn left(&self, confidence: f64) -> usize {
        let mut cells: Vec<(f64, usize)> = self
            .posterior
            .cells
            .iter()
            .zip(&self.posterior.mass)
            .map(|(cell, &mass)| (mass / cell.size as f64, cell.size))
            .collect();
        cells.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut missing = confidence * (1.0 - self.posterior.none);
        let mut count = 0;
        for (each, size) in cells {
            if missing <= 0.0 || each <= 0.0 {
                break;
            }
            let wanted = (missing / each).ceil().min(size as f64);
            missing -= wanted * each;
            count += wanted as usize;
        }
        count
    }

    /// What the rest of the search will likely cost, from about this many decisions
    /// of searches that are played out.
    #[must_use]
    pub fn forecast(&self, confidence: f64, decisions: u32) -> Forecast {
        forecast::forecast(self, confidence, decisions)
    }

    fn choose(&self) -> Option<Choice> {
        let due = self
            .unproved_end()
            .or_else(|| self.unmeasured_end())
            .or_else(|| self.likely_and_unshown());
        if let Some(point) = due {
            return Some(Choice {
                point,
                score: 1.0,
                bits: 1.0,
            });
        }
        policy::best(
            &self.evidence.order,
            &self.posterior,
            self.settings.change,
            self.settings.prices,
            self,
        )
    }

    /// The end with the bug and the one without, if they can be booted and are to be.
    fn ends(&self) -> Option<(Point, Point)> {
        let top = self
            .top
            .filter(|&top| self.settings.prove_ends && self.open(top))
            .map(Point::Candidate)?;
        Some(match self.settings.change {
            Change::Appears => (top, Point::Base),
            Change::Disappears => (Point::Base, top),
        })
    }

    /// The end that has to be booted before anything between the ends is.
    fn unproved_end(&self) -> Option<Point> {
        let (bad, good) = self.ends()?;
        let of_bad = self.counts(bad);
        let proof = match self.settings.rates {
            Rates::Known { .. } => 1,
            Rates::Learned if of_bad.boots >= PROOF_BOOTS => 1,
            Rates::Learned => PROOF,
        };
        if of_bad.hits < proof {
            return Some(bad);
        }
        let seen = self.counts(good).boots;
        (seen == 0 || (self.posterior.none > DOUBT && seen <= 2 * of_bad.boots)).then_some(good)
    }

    /// How likely a cell has to be for this confidence. False alarms that are not much
    /// rarer than hits are more often taken for hits than the prior of the rates has
    /// it, which is an average over all bugs.
    fn asked(&self, cell: usize, confidence: f64) -> f64 {
        let rates = &self.posterior.explained[cell];
        if self.posterior.rates != Rates::Learned || rates.hit > SURELY {
            return confidence;
        }
        let close = (rates.false_alarm / rates.hit - APART) / (CLOSE - APART);
        1.0 - (1.0 - confidence) * (1.0 - STRICT * close.clamp(0.0, 1.0))
    }

    /// The candidate of this cell, if it would be named for what others showed: it
    /// was seen to bring the bug too seldom itself, or one of the same image was.
    fn unshown(&self, cell: usize) -> Option<Point> {
        let learned = self.posterior.rates == Rates::Learned;
        if !learned || self.settings.change == Change::Disappears || self.rates().0 > SURELY {
            return None;
        }
        let [mut candidate] = self.members(cell)[..] else {
            return None;
        };
        let known = self.evidence.known.get(&candidate);
        if let Some(Point::Candidate(other)) = known.and_then(|known| known.same_as) {
            candidate = other;
        }
        let point = Point::Candidate(candidate);
        (self.open(candidate) && self.counts(point).hits < SHOWN).then_some(point)
    }

    /// A candidate that is the culprit but for what [`Self::unshown`] asks.
    fn likely_and_unshown(&self) -> Option<Point> {
        let mass = &self.posterior.mass;
        let (cell, _) = mass
            .iter()
            .enumerate()
            .find(|(_, probability)| **probability >= LIKELY)?;
        self.unshown(cell)
    }

    /// The end with the bug, if too few boots tell how often the bug shows.
    fn unmeasured_end(&self) -> Option<Point> {
        let (bad, _) = self.ends()?;
        let known = self.evidence.known.values();
        let boots: u32 = known.map(|known| known.counts.boots).sum();
        let enough = MEASURED * f64::from(self.evidence.base.boots + boots);
        let learned = self.posterior.rates == Rates::Learned;
        (learned && self.boots_with_bug() < enough.min(ENOUGH)).then_some(bad)
    }

    /// The expected number of boots of points with the bug, if any candidate brings it.
    fn boots_with_bug(&self) -> f64 {
        let some = (1.0 - self.posterior.none).max(f64::MIN_POSITIVE);
        let with_bug = |after: f64| match self.settings.change {
            Change::Appears => after / some,
            Change::Disappears => 1.0 - after / some,
        };
        let of_base = with_bug(0.0) * f64::from(self.evidence.base.boots);
        let booted = self.posterior.booted.iter().enumerate();
        booted.fold(of_base, |sum, (index, &candidate)| {
            let boots = self.counts(Point::Candidate(candidate)).boots;
            sum + with_bug(self.posterior.after(index)) * f64::from(boots)
        })
    }

    /// Both ways a boot may turn out, with their probabilities.
    fn outcomes(self, point: Point, weight: f64) -> Vec<(f64, Self)> {
        let (with, without) = self.rates();
        let after = match point {
            Point::Base => 0.0,
            Point::Candidate(candidate) => self.after_culprit(candidate),
        };
        let shows = match self.settings.change {
            Change::Appears => after,
            Change::Disappears => 1.0 - self.posterior.none - after,
        };
        let hit = (shows * with
            + (1.0 - shows - self.posterior.none) * without
            + self.posterior.none * self.posterior.unchanged.hit)
            .clamp(0.0, 1.0);
        [(true, hit), (false, 1.0 - hit)]
            .into_iter()
            .filter(|(_, chance)| chance * weight > 0.01)
            .map(|(outcome, chance)| {
                let mut branch = self.clone();
                branch.record(point, outcome);
                (weight * chance, branch)
            })
            .collect()
    }

    /// The probability that the culprit is contained in this candidate.
    #[must_use]
    pub fn after_culprit(&self, candidate: usize) -> f64 {
        let order = &self.evidence.order;
        self.posterior
            .segments
            .iter()
            .map(|segment| {
                let members = &order.chains()[segment.chain][segment.from..segment.to];
                let inside = members.partition_point(|&member| order.contains(candidate, member));
                let size = self.posterior.cells[segment.cell].size;
                self.posterior.mass[segment.cell] * inside as f64 / size as f64
            })
            .sum()
    }

    /// Whether a candidate that can be tested divides this cell.
    fn divisible(&self, cell: usize) -> bool {
        let order = &self.evidence.order;
        let size = self.posterior.cells[cell].size;
        if size == 1 {
            return false;
        }
        let mut inside = vec![0_usize; order.chains().len()];
        for segment in self.posterior.segments.iter().filter(|s| s.cell == cell) {
            inside[segment.chain] += segment.len();
        }
        let blocks: Vec<usize> = inside
            .chunks(64)
            .map(|chains| chains.iter().sum())
            .collect();
        order.chains().iter().enumerate().any(|(chain, members)| {
            let mut under = 0;
            order.over_below(chain, &inside, &blocks, |count| under += count);
            members.iter().any(|&member| {
                under += usize::from(self.posterior.cell_of(order, member) == cell);
                0 < under && under < size && self.open(member)
            })
        })
    }

    fn members(&self, cell: usize) -> Vec<usize> {
        let chains = self.evidence.order.chains();
        self.posterior
            .segments
            .iter()
            .filter(|segment| segment.cell == cell)
            .flat_map(|segment| &chains[segment.chain][segment.from..segment.to])
            .copied()
            .collect()
    }
}

impl Market for Search {
    fn open(&self, candidate: usize) -> bool {
        !self.skipped.contains(&candidate)
            && self
                .evidence
                .known
                .get(&candidate)
                .is_none_or(|known| known.asserted.is_none() && known.same_as.is_none())
    }

    fn built(&self, candidate: usize) -> bool {
        self.built.contains(&candidate)
    }

    /// What breaks builds stays broken for a while: between a skipped candidate
    /// and the nearest that worked, the end of it may be anywhere.
    fn risk(&self, candidate: usize) -> f64 {
        if self.skipped.is_empty() || self.evidence.known.contains_key(&candidate) {
            return 0.0;
        }
        let order = &self.evidence.order;
        let (chain, rank) = order.place(candidate);
        let worked = |&rank: &usize| {
            self.evidence
                .known
                .contains_key(&order.chains()[chain][rank])
        };
        let length = order.chains()[chain].len();
        self.skipped
            .iter()
            .filter(|&&skipped| order.place(skipped).0 == chain)
            .map(|&skipped| {
                let from = order.place(skipped).1;
                let end = if from < rank {
                    (rank..length).find(worked).unwrap_or(length)
                } else {
                    (0..=rank).rev().find(worked).map_or(0, |rank| rank + 1)
                };
                1.0 - from.abs_diff(rank) as f64 / (from.abs_diff(end).max(1) + 1) as f64
            })
            .fold(0.0, f64::max)
            .min(0.95)
    }
}

fn most_voted(votes: &HashMap<Point, f64>) -> Option<Point> {
    let rank = |point: &Point| match point {
        Point::Base => 0,
        Point::Candidate(candidate) => candidate + 1,
    };
    votes
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1).then(rank(b.0).cmp(&rank(a.0))))
        .map(|(&point, _)| point)
}

fn top_of(order: &Order) -> Option<usize> {
    let last = *order.chains().last()?.last()?;
    (0..order.len())
        .all(|candidate| order.contains(last, candidate))
        .then_some(last)
}

#[cfg(test)]
mod tests;
