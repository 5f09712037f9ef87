//! What the rest of a search will cost, from searches played out: culprits are
//! drawn from the posterior, and boots as the expected rates have them.

use super::{Answer, Change, Point, Search};

/// Searches played out, at most and at least.
const GAMES: u64 = 24;
const FEWEST: u64 = 2;

/// No game goes on for longer.
const LONGEST: u32 = 4000;

/// What a search will likely cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Boots, on average.
    pub boots: f64,
    /// Boots that nine in ten searches get by with.
    pub boots_at_most: u32,
    /// Builds, on average.
    pub builds: f64,
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Plays games until they have had this many boots together, each of which takes a
/// decision; a few in any case, and at most [`GAMES`].
pub(super) fn forecast(search: &Search, confidence: f64, most: u32) -> Forecast {
    let mut boots: Vec<u32> = Vec::new();
    let mut builds = 0;
    for game in 0..GAMES {
        if game >= FEWEST && boots.iter().sum::<u32>() >= most {
            break;
        }
        let (some, new) = play(search.clone(), confidence, &mut Dice(game));
        boots.push(some);
        builds += new;
    }
    boots.sort_unstable();
    let count = boots.len() as f64;
    Forecast {
        boots: boots.iter().copied().map(f64::from).sum::<f64>() / count,
        boots_at_most: boots[boots.len() * 9 / 10],
        builds: builds as f64 / count,
    }
}

/// Boots and new builds until the search has its answer.
fn play(mut search: Search, confidence: f64, dice: &mut Dice) -> (u32, usize) {
    let culprit = draw(&search, dice);
    let (with, without) = search.rates();
    let start = search.built.len();
    let mut boots = 0;
    while boots < LONGEST && search.answer(confidence) == Answer::Open {
        let Some(point) = search.next() else { break };
        let after = match (point, culprit) {
            (Point::Candidate(candidate), Some(culprit)) => {
                search.evidence.order.contains(candidate, culprit)
            }
            _ => false,
        };
        let rate = match (culprit, after, search.settings.change) {
            (None, ..) => search.posterior.unchanged.hit,
            (_, true, Change::Appears) | (_, false, Change::Disappears) => with,
            _ => without,
        };
        search.record(point, dice.roll() < rate);
        boots += 1;
    }
    (boots, search.built.len() - start)
}

/// A culprit, or that there is none, as the posterior has it.
fn draw(search: &Search, dice: &mut Dice) -> Option<usize> {
    let mut left = dice.roll();
    for (cell, mass) in search.posterior.mass.iter().enumerate() {
        if left < *mass {
            let members = search.members(cell);
            let index = (left / mass * members.len() as f64) as usize;
            return members.get(index).copied();
        }
        left -= mass;
    }
    None
}
