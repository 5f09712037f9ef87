//! Which way to run the trial: of those that the job allows, the one whose boots
//! tell most per second. Pure; the driver boots the bad end in the ways that are
//! asked for here.
//!
//! Each way gets a few boots; then the better half gets as many again, until
//! one is left. A way is as good as the bits that a boot tells about whether a
//! kernel has the bug, if those without never show it (the capacity of the
//! Z-channel), over the time that it takes.

/// Boots of each way before the worse half is given up.
const ROUND: usize = 4;

/// What boots in each way showed, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tries {
    ways: Vec<Vec<Try>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Try {
    /// Whether the target showed; nothing if the boot did not tell.
    hit: Option<bool>,
    seconds: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Boot in this way.
    Try(usize),
    /// Take this way.
    Take(usize),
}

impl Tries {
    /// So many ways, none of which was tried.
    #[must_use]
    pub fn new(ways: usize) -> Self {
        Self {
            ways: vec![Vec::new(); ways],
        }
    }

    /// Takes in what a boot in one way showed.
    pub fn add(&mut self, way: usize, hit: Option<bool>, seconds: f64) {
        if let Some(tries) = self.ways.get_mut(way) {
            tries.push(Try { hit, seconds });
        }
    }

    /// Hits and boots of a way.
    #[must_use]
    pub fn counts(&self, way: usize) -> (usize, usize) {
        let tries = self.ways.get(way).map_or(&[][..], Vec::as_slice);
        let hits = tries.iter().filter(|one| one.hit == Some(true)).count();
        (hits, tries.len())
    }

    /// The way to try next, or the one to take.
    #[must_use]
    pub fn next(&self) -> Next {
        let mut left: Vec<usize> = (0..self.ways.len()).collect();
        let mut boots = ROUND;
        while left.len() > 1 {
            // In turn, so that what changes with time changes for all.
            let fewest = left.iter().copied().min_by_key(|&way| self.ways[way].len());
            if let Some(way) = fewest.filter(|&way| self.ways[way].len() < boots) {
                return Next::Try(way);
            }
            left.sort_by(|&a, &b| self.score(b, boots).total_cmp(&self.score(a, boots)));
            left.truncate(left.len().div_ceil(2));
            boots += ROUND;
        }
        Next::Take(left.first().copied().unwrap_or(0))
    }

    /// Bits per second, by the first so many boots of a way.
    fn score(&self, way: usize, boots: usize) -> f64 {
        let tries = &self.ways[way][..boots.min(self.ways[way].len())];
        let hits = tries.iter().filter(|one| one.hit == Some(true)).count();
        let seconds: f64 = tries.iter().map(|one| one.seconds).sum();
        // One more boot without the target: nothing is sure after a few.
        let rate = hits as f64 / (tries.len() + 1) as f64;
        capacity(rate) * tries.len() as f64 / seconds.max(1e-3)
    }
}

/// The bits that a boot tells at best, if a kernel with the bug shows it at this
/// rate and one without never does.
fn capacity(rate: f64) -> f64 {
    if rate <= 0.0 {
        return 0.0;
    }
    (1.0 + rate * (1.0 - rate).powf((1.0 - rate) / rate)).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries until one is taken; each way's hits come at regular distances.
    fn play(ways: &[(usize, f64)]) -> (usize, usize) {
        let mut tries = Tries::new(ways.len());
        for boots in 0.. {
            match tries.next() {
                Next::Take(way) => return (way, boots),
                Next::Try(way) => {
                    let (every, seconds) = ways[way];
                    let number = tries.counts(way).1 + 1;
                    tries.add(way, Some(number.is_multiple_of(every)), seconds);
                }
            }
        }
        unreachable!()
    }

    #[test]
    fn the_way_that_tells_most_per_second_is_taken() {
        // (a hit every so many boots, seconds of a boot)
        assert_eq!(play(&[(1, 10.0)]), (0, 0), "nothing to choose from");
        assert_eq!(play(&[(4, 10.0), (1, 10.0)]).0, 1, "more often");
        assert_eq!(play(&[(1, 30.0), (1, 10.0)]).0, 1, "sooner");
        assert_eq!(play(&[(1, 10.0), (2, 8.0)]).0, 0, "sooner, but too rarely");
        assert_eq!(play(&[(1, 10.0), (1, 10.0)]).0, 0, "the job's own if equal");
        let (way, boots) = play(&[(4, 10.0), (4, 9.0), (2, 10.0), (1, 12.0), (9, 1.0)]);
        assert_eq!(way, 3);
        assert!(boots <= 5 * 4 + 3 * 4 + 2 * 4, "{boots}");
    }

    #[test]
    fn a_way_that_never_shows_the_target_is_not_taken_for_being_fast() {
        assert_eq!(play(&[(4, 60.0), (100, 0.1)]).0, 0);
    }

    #[test]
    fn boots_that_tell_nothing_are_not_repeated_for_ever() {
        let mut tries = Tries::new(2);
        while let Next::Try(way) = tries.next() {
            tries.add(way, None, 1.0);
            assert!(tries.counts(way).1 <= ROUND);
        }
    }

    #[test]
    fn a_rare_bug_tells_little() {
        assert!((capacity(1.0) - 1.0).abs() < 1e-12);
        assert!((capacity(0.5) - 0.3219).abs() < 1e-4);
        assert!(capacity(0.0) == 0.0);
    }
}
