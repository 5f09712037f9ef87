//! What all parts of the search speak of.

/// What can be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// What all candidates build on: the good end.
    Base,
    /// A candidate.
    Candidate(usize),
}

/// Which way the culprit changes the target's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change {
    /// The culprit brings the bug.
    #[default]
    Appears,
    /// The culprit cures it.
    Disappears,
}

/// What tests cost, in any unit that is the same for both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// One boot.
    pub boot: f64,
    /// One build, on top of its first boot.
    pub build: f64,
}
