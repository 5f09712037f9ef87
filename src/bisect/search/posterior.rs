//! How likely each candidate is the culprit, given the boots so far.
//!
//! Boots tell candidates apart only by which booted candidates contain them, so
//! candidates with the same answer to that share a cell, and the work grows with
//! the candidates that were booted and not with all of them.

use std::collections::HashMap;

use super::order::Order;
use super::rates::{Counts, Explanation, Rates, Sides, explain, explain_unchanged};
use super::terms::{Change, Point};

/// What is known of one candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its boots.
    pub(super) counts: Counts,
    /// What somebody says it is, against whatever the boots say.
    pub(super) asserted: Option<bool>,
    /// It behaves as this other point does: their images are the same.
    pub(super) same_as: Option<Point>,
}

impl Known {
    /// Whether it tells candidates apart.
    fn divides(&self) -> bool {
        self.counts.boots > 0 || self.asserted.is_some() || self.same_as.is_some()
    }
}

/// Neighbours in one chain that lie in the same cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) chain: usize,
    /// The first place in the chain.
    pub(super) from: usize,
    /// The place after the last.
    pub(super) to: usize,
    pub(super) cell: usize,
}

impl Segment {
    pub(super) fn len(&self) -> usize {
        self.to - self.from
    }
}

/// Candidates that no boot has told apart.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    /// By booted candidate: whether it contains these.
    pub(super) contained: Vec<bool>,
    /// How many candidates.
    pub(super) size: usize,
    /// Whether one of them may be the culprit at all.
    possible: bool,
}

/// What decides the posterior.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) order: std::sync::Arc<Order>,
    pub(super) rates: Rates,
    pub(super) change: Change,
    /// The prior probability that the rate never changes.
    pub(super) none: f64,
    /// Boots from before all candidates.
    pub(super) base: Counts,
    pub(super) known: HashMap<usize, Known>,
}

/// The posterior, with what the choice of the next boot needs of it.
#[derive(Debug, Clone)]
pub(super) struct Posterior {
    /// The candidates that tell others apart, in no special order.
    pub(super) booted: Vec<usize>,
    pub(super) cells: Vec<Cell>,
    /// By chain and place.
    pub(super) segments: Vec<Segment>,
    /// The probability of each cell.
    pub(super) mass: Vec<f64>,
    /// The rates, if the culprit is in the cell.
    pub(super) explained: Vec<Explanation>,
    /// The probability that the rate never changes.
    pub(super) none: f64,
    pub(super) unchanged: Explanation,
    /// The rates by which all this is reckoned: learned, if boots contradict those
    /// that were said to be certain.
    pub(super) rates: Rates,
}

impl Posterior {
    pub(super) fn new(evidence: &Evidence) -> Self {
        let (booted, cells, segments) = divide(evidence);
        let mut posterior = Self {
            booted,
            cells,
            segments,
            mass: Vec::new(),
            explained: Vec::new(),
            none: 0.0,
            unchanged: explain_unchanged(evidence.rates, Counts::default()),
            rates: evidence.rates,
        };
        posterior.weigh(evidence);
        posterior
    }

    /// Takes more boots of candidates into account that were booted before.
    pub(super) fn weigh(&mut self, evidence: &Evidence) {
        let order = &evidence.order;
        let counts: Vec<Counts> = self
            .booted
            .iter()
            .map(|candidate| evidence.known[candidate].counts)
            .collect();
        let all = counts
            .iter()
            .fold(evidence.base, |sum, &more| sum.plus(more));
        let sides: Vec<Sides> = self
            .cells
            .iter()
            .map(|cell| {
                let after = cell
                    .contained
                    .iter()
                    .zip(&counts)
                    .filter(|(contained, _)| **contained)
                    .fold(Counts::default(), |sum, (_, &more)| sum.plus(more));
                let before = all.minus(after);
                match evidence.change {
                    Change::Appears => (after, before),
                    Change::Disappears => (before, after),
                }
            })
            .collect();
        self.rates = evidence.rates;
        self.explained = explain(self.rates, &sides);
        self.unchanged = explain_unchanged(self.rates, all);
        if self.rates.are_contradicted(self.best(evidence.none)) {
            self.rates = Rates::Learned;
            self.explained = explain(self.rates, &sides);
            self.unchanged = explain_unchanged(self.rates, all);
        }
        let share = (1.0 - evidence.none) / order.len().max(1) as f64;
        let weights: Vec<f64> = self
            .cells
            .iter()
            .zip(&self.explained)
            .map(|(cell, explanation)| {
                if cell.possible {
                    (share * cell.size as f64).ln() + explanation.ln_likelihood
                } else {
                    f64::NEG_INFINITY
                }
            })
            .collect();
        let none = evidence.none.ln() + self.unchanged.ln_likelihood;
        let most = weights.iter().copied().fold(none, f64::max);
        // If contradictions rule out every candidate, nothing is known; not, that
        // it is none of them.
        if most == f64::NEG_INFINITY || !self.is_possible() {
            self.mass = vec![0.0; self.cells.len()];
            self.none = 0.0;
            return;
        }
        let scaled = |weight: f64| (weight - most).exp();
        let sum: f64 = weights.iter().copied().map(scaled).sum::<f64>() + scaled(none);
        self.mass = weights.iter().map(|&weight| scaled(weight) / sum).collect();
        self.none = scaled(none) / sum;
    }

    /// How the best hypothesis explains the boots.
    fn best(&self, none: f64) -> f64 {
        let possible = self.cells.iter().zip(&self.explained);
        let explained = possible
            .filter(|(cell, _)| cell.possible)
            .map(|(_, explained)| explained.ln_likelihood);
        let unchanged = (none > 0.0).then_some(self.unchanged.ln_likelihood);
        explained.chain(unchanged).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Whether what is certain leaves any candidate.
    pub(super) fn is_possible(&self) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|cell| cell.possible)
    }

    /// The cell of a candidate.
    pub(super) fn cell_of(&self, order: &Order, candidate: usize) -> usize {
        let (chain, rank) = order.place(candidate);
        let index = self
            .segments
            .partition_point(|segment| (segment.chain, segment.to) <= (chain, rank));
        self.segments[index].cell
    }

    /// The probability that the culprit is contained in this one of [`Self::booted`].
    pub(super) fn after(&self, booted: usize) -> f64 {
        let cells = self.cells.iter().zip(&self.mass);
        cells
            .filter(|(cell, _)| cell.contained[booted])
            .map(|(_, mass)| mass)
            .sum()
    }

    /// The probability that this candidate alone is the culprit.
    pub(super) fn of_candidate(&self, order: &Order, candidate: usize) -> f64 {
        let cell = self.cell_of(order, candidate);
        self.mass[cell] / self.cells[cell].size as f64
    }
}

/// Cuts the candidates into cells.
fn divide(evidence: &Evidence) -> (Vec<usize>, Vec<Cell>, Vec<Segment>) {
    let order = &evidence.order;
    let mut booted: Vec<usize> = evidence
        .known
        .iter()
        .filter(|(_, known)| known.divides())
        .flat_map(|(&candidate, known)| match known.same_as {
            Some(Point::Candidate(other)) => [Some(candidate), Some(other)],
            _ => [Some(candidate), None],
        })
        .flatten()
        .filter(|&candidate| evidence.known.contains_key(&candidate))
        .collect();
    booted.sort_unstable();
    booted.dedup();
    let mut cuts: Vec<Vec<usize>> = vec![Vec::new(); order.chains().len()];
    for &candidate in &booted {
        let (chain, rank) = order.place(candidate);
        cuts[chain].push(rank + 1);
    }
    let mut segments = Vec::new();
    let mut cells: Vec<Cell> = Vec::new();
    let mut by_answer: HashMap<Vec<bool>, usize> = HashMap::new();
    for (chain, members) in order.chains().iter().enumerate() {
        let ends = &mut cuts[chain];
        ends.push(members.len());
        ends.sort_unstable();
        ends.dedup();
        let mut from = 0;
        for &to in ends.iter() {
            let contained: Vec<bool> = booted
                .iter()
                .map(|&later| order.contains(later, members[from]))
                .collect();
            let cell = *by_answer.entry(contained).or_insert_with_key(|contained| {
                cells.push(Cell {
                    possible: possible(evidence, &booted, contained),
                    contained: contained.clone(),
                    size: 0,
                });
                cells.len() - 1
            });
            cells[cell].size += to - from;
            segments.push(Segment {
                chain,
                from,
                to,
                cell,
            });
            from = to;
        }
    }
    (booted, cells, segments)
}

/// Whether a culprit that is contained in just these agrees with what is certain.
fn possible(evidence: &Evidence, booted: &[usize], contained: &[bool]) -> bool {
    let is_after = |point: Point, unknown: bool| match point {
        Point::Base => false,
        Point::Candidate(candidate) => booted
            .iter()
            .position(|&other| other == candidate)
            .map_or(unknown, |index| contained[index]),
    };
    booted.iter().zip(contained).all(|(candidate, &after)| {
        let known = &evidence.known[candidate];
        let bad = match evidence.change {
            Change::Appears => after,
            Change::Disappears => !after,
        };
        known.asserted.is_none_or(|asserted| asserted == bad)
            && known
                .same_as
                .is_none_or(|other| is_after(other, after) == after)
    })
}
