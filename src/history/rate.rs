//! How often something was seen.

use serde::Serialize;

use crate::verdict::interval;

/// A rate, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Trials that showed it.
    pub hits: u32,
    /// Of how many that say something of the kernel.
    pub trials: u32,
    /// From this rate on,
    pub low: f64,
    /// to this one.
    pub high: f64,
}

impl Rate {
    /// So many of so many.
    #[must_use]
    pub fn of(hits: u32, trials: u32) -> Self {
        let hits = hits.min(trials);
        let (low, high) = interval(hits, trials);
        Self {
            hits,
            trials,
            low,
            high,
        }
    }
}
