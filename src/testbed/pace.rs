//! How long the steps of workloads take on a testbed, learnt from those that
//! ended: a step that takes much longer is worth a look.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// A step that takes less is never looked at.
const SHORTEST: Duration = Duration::from_secs(1);

/// How many times the longest that was seen is out of the ordinary.
const TIMES: u32 = 2;

/// The longest that each step took, by its workload and its place in it.
#[derive(Debug, Default)]
pub struct Pace {
    longest: RefCell<HashMap<(String, usize), Duration>>,
}

impl Pace {
    /// A step ended after this time.
    pub fn took(&self, workload: &str, step: usize, time: Duration) {
        let mut longest = self.longest.borrow_mut();
        let known = longest.entry((workload.to_owned(), step)).or_default();
        *known = (*known).max(time);
    }

    /// After how long a step that has not ended is out of the ordinary.
    #[must_use]
    pub fn patience(&self, workload: &str, step: usize) -> Duration {
        let longest = self.longest.borrow();
        let known = longest.get(&(workload.to_owned(), step));
        known.map_or(SHORTEST, |known| (*known * TIMES).max(SHORTEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_took_at_most_decides_for_it_alone() {
        let pace = Pace::default();
        assert_eq!(pace.patience("w", 0), SHORTEST);
        for seconds in [3, 4, 2] {
            pace.took("w", 0, Duration::from_secs(seconds));
        }
        pace.took("w", 1, Duration::from_millis(3));
        assert_eq!(pace.patience("w", 0), Duration::from_secs(8));
        assert_eq!(pace.patience("w", 1), SHORTEST);
        assert_eq!(pace.patience("v", 0), SHORTEST);
    }
}
