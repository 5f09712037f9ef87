//! The order of the candidates: a directed acyclic graph of which one builds on
//! which, kept as chains so that a history of many thousand commits stays small.
//!
//! A chain is a run of candidates that each have one parent and one child. What
//! lies below a candidate is then the older part of its own chain, and other
//! chains only as wholes. A linear history is one chain.

use thiserror::Error;

/// A set of chains, one bit each.
type ChainSet = Vec<u64>;

/// Which candidates build on which. Candidates are numbers from zero.
#[derive(Debug, Clone)]
pub struct Order {
    /// Chain and place in the chain, by candidate.
    places: Vec<(usize, usize)>,
    /// The candidates of each chain, oldest first. A chain comes after the
    /// chains that are below it.
    chains: Vec<Vec<usize>>,
    /// The chains wholly below each chain.
    below: Vec<ChainSet>,
}

/// What makes a list of parents no order.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderError {
    /// A candidate descends from itself.
    #[error("candidate {0} descends from itself")]
    Circle(usize),
    /// A parent is not a candidate.
    #[error("candidate {candidate} has the parent {parent}, which is not a candidate")]
    Unknown {
        /// Who names it.
        candidate: usize,
        /// The number named.
        parent: usize,
    },
}

impl Order {
    /// A history in which each candidate builds on the one before.
    #[must_use]
    pub fn linear(candidates: usize) -> Self {
        Self {
            places: (0..candidates).map(|candidate| (0, candidate)).collect(),
            chains: vec![(0..candidates).collect()],
            below: vec![vec![0]],
        }
    }

    /// A history with merges: the parents of each candidate, as far as they are
    /// candidates themselves.
    pub fn from_parents(parents: &[Vec<usize>]) -> Result<Self, OrderError> {
        let sorted = topological(parents)?;
        let mut children = vec![0_usize; parents.len()];
        for &parent in parents.iter().flatten() {
            children[parent] += 1;
        }
        let mut places = vec![(0, 0); parents.len()];
        let mut chains: Vec<Vec<usize>> = Vec::new();
        for &candidate in &sorted {
            match parents[candidate][..] {
                [parent] if children[parent] == 1 => {
                    let chain = places[parent].0;
                    places[candidate] = (chain, chains[chain].len());
                    chains[chain].push(candidate);
                }
                _ => {
                    places[candidate] = (chains.len(), 0);
                    chains.push(vec![candidate]);
                }
            }
        }
        let words = chains.len().div_ceil(64);
        let mut below: Vec<ChainSet> = Vec::with_capacity(chains.len());
        for chain in &chains {
            let mut set = vec![0; words];
            for &parent in &parents[chain[0]] {
                let under = places[parent].0;
                set[under / 64] |= 1 << (under % 64);
                for (word, more) in set.iter_mut().zip(&below[under]) {
                    *word |= more;
                }
            }
            below.push(set);
        }
        Ok(Self {
            places,
            chains,
            below,
        })
    }

    /// How many candidates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether `later` contains `earlier`: it is the same candidate or one that
    /// builds on it.
    #[must_use]
    pub fn contains(&self, later: usize, earlier: usize) -> bool {
        let ((chain, rank), (under, place)) = (self.places[later], self.places[earlier]);
        if chain == under {
            place <= rank
        } else {
            self.is_below(under, chain)
        }
    }

    /// Chain and place in it.
    pub(super) fn place(&self, candidate: usize) -> (usize, usize) {
        self.places[candidate]
    }

    pub(super) fn chains(&self) -> &[Vec<usize>] {
        &self.chains
    }

    /// Whether the whole chain `under` is below the chain `chain`.
    pub(super) fn is_below(&self, under: usize, chain: usize) -> bool {
        self.below[chain][under / 64] >> (under % 64) & 1 == 1
    }

    /// Hands over a value for each chain wholly below `chain`: the chain's own of
    /// `each` or, where 64 neighbours all are below, theirs together of `blocks`.
    pub(super) fn over_below<T: Copy>(
        &self,
        chain: usize,
        each: &[T],
        blocks: &[T],
        mut take: impl FnMut(T),
    ) {
        for (index, &word) in self.below[chain].iter().enumerate() {
            if word == u64::MAX {
                take(blocks[index]);
                continue;
            }
            let mut rest = word;
            while rest != 0 {
                take(each[index * 64 + rest.trailing_zeros() as usize]);
                rest &= rest - 1;
            }
        }
    }
}

/// The candidates, each after its parents.
fn topological(parents: &[Vec<usize>]) -> Result<Vec<usize>, OrderError> {
    let mut children = vec![Vec::new(); parents.len()];
    let mut waiting = vec![0_usize; parents.len()];
    for (candidate, list) in parents.iter().enumerate() {
        for &parent in list {
            let of_parent = children
                .get_mut(parent)
                .ok_or(OrderError::Unknown { candidate, parent })?;
            of_parent.push(candidate);
            waiting[candidate] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..parents.len())
        .rev()
        .filter(|&candidate| waiting[candidate] == 0)
        .collect();
    let mut sorted = Vec::with_capacity(parents.len());
    while let Some(candidate) = ready.pop() {
        sorted.push(candidate);
        for &child in &children[candidate] {
            waiting[child] -= 1;
            if waiting[child] == 0 {
                ready.push(child);
            }
        }
    }
    match waiting.iter().position(|&left| left > 0) {
        Some(candidate) => Err(OrderError::Circle(candidate)),
        None => Ok(sorted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_history_is_one_chain() {
        let order = Order::from_parents(&[vec![], vec![0], vec![1], vec![2]]).unwrap();
        assert_eq!(order.chains().len(), 1);
        assert!(order.contains(3, 0) && order.contains(2, 2) && !order.contains(0, 3));
    }

    #[test]
    fn a_merge_contains_both_sides_and_they_not_each_other() {
        // 0 - 1 - 2 ---- 5 (merge)
        //   \ 3 - 4 -- /
        let parents = [vec![], vec![0], vec![1], vec![0], vec![3], vec![2, 4]];
        let order = Order::from_parents(&parents).unwrap();
        for earlier in 0..6 {
            assert!(order.contains(5, earlier));
            assert!(order.contains(earlier, 0));
        }
        assert!(!order.contains(2, 3) && !order.contains(4, 1));
        assert!(order.contains(4, 3) && order.contains(2, 1));
    }

    #[test]
    fn parents_may_come_in_any_order_but_not_in_a_circle() {
        let order = Order::from_parents(&[vec![1], vec![2], vec![]]).unwrap();
        assert!(order.contains(0, 2));
        assert!(matches!(
            Order::from_parents(&[vec![1], vec![0]]),
            Err(OrderError::Circle(_))
        ));
        assert_eq!(
            Order::from_parents(&[vec![7]]).unwrap_err(),
            OrderError::Unknown {
                candidate: 0,
                parent: 7
            }
        );
    }
}
