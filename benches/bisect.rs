//! How few boots and builds a bisection needs, and whether its confidence can be
//! believed: simulated histories, beside two other policies and the limit that
//! theory sets.
//!
//! - `git`: what `git bisect run` does with one boot a step.
//! - `syz`: 20 boots of the bad end, then 10 a step, 20 once a bad result had a
//!   ratio below one half; bad is at least max(2, tests / 6) hits, good is none,
//!   anything else a skip; a result with less than .66 confidence is dropped.
//! - `known`: kvet's search with both rates given, without booting the ends.
//! - `learned`: kvet's search as it is used: rates learned, ends proved.
//!
//! The limit is what no search can beat by much: the bits to find one of *n* over
//! the bits a boot can tell, and the boots to confirm the culprit and its parent.
//!
//! `cargo bench --bench bisect`; `-- --quick` takes 40 histories a cell instead
//! of 300 and leaves the slowest cells out. `KVET_BENCH_CELLS=1024:0.5:0,64:1:0`
//! measures these cells only (n, p, q); `KVET_BENCH_SEED` draws other histories.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::many_single_char_names,
    reason = "a simulation counts, and its letters are those of the formulas"
)]

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use kvet::bisect::search::{Answer, Order, Point, Prices, Rates, Search, Settings};

const SIZES: [usize; 3] = [64, 1024, 16384];
const HITS: [f64; 5] = [0.1, 0.3, 0.5, 0.9, 1.0];
const FALSE_ALARMS: [f64; 3] = [0.0, 0.01, 0.05];
const CONFIDENCES: [f64; 2] = [0.95, 0.99];

/// What a build costs, in boots.
const BUILD: f64 = 8.0;

/// No history is given more boots.
const LONGEST: u32 = 30_000;

#[derive(Clone, Copy)]
struct Cell {
    n: usize,
    p: f64,
    q: f64,
}

/// What a policy came to in a cell, summed over histories.
#[derive(Clone, Copy, Default)]
struct Sum {
    right: u32,
    boots: f64,
    builds: f64,
}

/// All that was measured in a cell.
#[derive(Clone, Default)]
struct Row {
    git: Sum,
    syz: Sum,
    known: [Sum; 2],
    learned: [Sum; 2],
}

impl Row {
    fn add(&mut self, other: &Self) {
        let pairs = [(&mut self.git, other.git), (&mut self.syz, other.syz)]
            .into_iter()
            .chain(self.known.iter_mut().zip(other.known))
            .chain(self.learned.iter_mut().zip(other.learned));
        for (sum, more) in pairs {
            sum.right += more.right;
            sum.boots += more.boots;
            sum.builds += more.builds;
        }
    }
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn roll(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() * n as f64) as usize
    }
}

/// A linear history: candidates 0 to n-1, of which those from `culprit` on have
/// the bug. The base is before all of them.
struct History {
    cell: Cell,
    culprit: Option<usize>,
    dice: Dice,
    boots: u32,
    built: HashSet<Point>,
}

/// The number of the first history, by which all differ from those of another
/// `KVET_BENCH_SEED`.
fn first_history() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let seed = std::env::var("KVET_BENCH_SEED").ok();
        seed.and_then(|seed| seed.parse::<u64>().ok())
            .unwrap_or(0)
            .wrapping_mul(1 << 32)
    })
}

impl History {
    fn new(cell: Cell, number: u64, with_culprit: bool) -> Self {
        let mut seed = Dice(number.wrapping_add(first_history()));
        for part in [cell.n as f64, cell.p, cell.q] {
            seed.0 = seed.word() ^ part.to_bits();
        }
        let mut dice = Dice(seed.word());
        let culprit = dice.below(cell.n);
        Self {
            cell,
            culprit: with_culprit.then_some(culprit),
            dice,
            boots: 0,
            built: HashSet::new(),
        }
    }

    fn boot(&mut self, point: Point) -> bool {
        self.boots += 1;
        self.built.insert(point);
        let rate = match (self.culprit, point) {
            (None, _) => self.cell.p,
            (Some(culprit), Point::Candidate(candidate)) if candidate >= culprit => self.cell.p,
            _ => self.cell.q,
        };
        self.dice.roll() < rate
    }

    fn add_to(&self, sum: &mut Sum, named: Option<usize>) {
        sum.right += u32::from(named.is_some() && named == self.culprit);
        sum.boots += f64::from(self.boots);
        sum.builds += self.built.len() as f64;
    }
}

/// `git bisect run`: the middle of what is left, one boot a step.
fn git(mut history: History, sum: &mut Sum) {
    let (mut good, mut bad) = (-1_isize, history.cell.n as isize - 1);
    while bad - good > 1 {
        let middle = isize::midpoint(good, bad);
        if history.boot(Point::Candidate(middle.unsigned_abs())) {
            bad = middle;
        } else {
            good = middle;
        }
    }
    history.add_to(sum, Some(bad.unsigned_abs()));
}

/// syzkaller's policy, as far as it is public.
fn syz(mut history: History, sum: &mut Sum) {
    let top = Point::Candidate(history.cell.n - 1);
    let (mut flaky, mut confidence) = (false, 1.0);
    let mut test = |history: &mut History, point: Point, boots: u32| {
        let hits = (0..boots).filter(|_| history.boot(point)).count() as f64;
        let ratio = hits / f64::from(boots);
        if hits >= f64::from(boots / 6).max(2.0) {
            flaky |= ratio < 0.5;
            (Some(true), flaky, ratio)
        } else {
            ((hits == 0.0).then_some(false), flaky, ratio)
        }
    };
    let (first, mut many, mut rate) = test(&mut history, top, 20);
    if first != Some(true) {
        return history.add_to(sum, None);
    }
    let (mut good, mut bad) = (-1_isize, history.cell.n as isize - 1);
    let mut skipped = HashSet::new();
    loop {
        let middle = isize::midpoint(good, bad);
        let next = (good + 1..bad)
            .filter(|one| !skipped.contains(one))
            .min_by_key(|one| (one - middle).abs());
        let Some(next) = next else { break };
        let boots = if many { 20 } else { 10 };
        let point = Point::Candidate(next.unsigned_abs());
        let (outcome, flaky, ratio) = test(&mut history, point, boots);
        many = flaky;
        match outcome {
            Some(true) => {
                bad = next;
                rate = f64::min(rate, ratio);
            }
            Some(false) => {
                good = next;
                // A clean result may be a bug that did not show.
                confidence *= 1.0 - (1.0 - rate).powi(boots.cast_signed());
            }
            None => {
                skipped.insert(next);
            }
        }
    }
    let named = (bad - good == 1 && confidence >= 0.66).then_some(bad.unsigned_abs());
    history.add_to(sum, named);
}

/// kvet's search; what it came to at each confidence.
fn kvet(mut history: History, order: &Arc<Order>, rates: Rates, sums: &mut [Sum; 2]) -> [bool; 2] {
    let proving = rates == Rates::Learned;
    let settings = Settings {
        rates,
        prove_ends: proving,
        none: if proving {
            Settings::default().none
        } else {
            0.0
        },
        prices: Prices {
            boot: 1.0,
            build: BUILD,
        },
        ..Settings::default()
    };
    let mut search = Search::new(Arc::clone(order), settings);
    let mut none = [false; 2];
    for (level, confidence) in CONFIDENCES.into_iter().enumerate() {
        let named = loop {
            match search.answer(confidence) {
                Answer::Culprit { candidates, .. } => {
                    break (candidates.len() == 1).then(|| candidates[0]);
                }
                Answer::None { .. } => {
                    none[level] = true;
                    break None;
                }
                Answer::Open if history.boots >= LONGEST => break None,
                Answer::Open => {}
            }
            let Some(point) = search.next() else {
                break None;
            };
            let hit = history.boot(point);
            search.record(point, hit);
        };
        history.add_to(&mut sums[level], named);
    }
    none
}

/// What all policies come to in one history of a cell.
fn measure(cell: Cell, number: u64, order: &Arc<Order>) -> Row {
    let mut row = Row::default();
    let known = Rates::Known {
        hit: cell.p,
        false_alarm: cell.q,
    };
    git(History::new(cell, number, true), &mut row.git);
    syz(History::new(cell, number, true), &mut row.syz);
    let history = || History::new(cell, number, true);
    kvet(history(), order, known, &mut row.known);
    kvet(history(), order, Rates::Learned, &mut row.learned);
    row
}

/// The cells that are measured: those of `KVET_BENCH_CELLS`, or all.
fn cells(quick: bool) -> Vec<Cell> {
    let wanted = std::env::var("KVET_BENCH_CELLS").unwrap_or_default();
    let is_wanted = |cell: &Cell| {
        let name = format!("{}:{}:{}", cell.n, cell.p, cell.q);
        wanted.is_empty() || wanted.split(',').any(|one| one == name)
    };
    let mut cells = Vec::new();
    for n in SIZES {
        for p in HITS {
            for q in FALSE_ALARMS {
                if !quick || p >= 0.3 {
                    cells.push(Cell { n, p, q });
                }
            }
        }
    }
    cells.retain(is_wanted);
    cells
}

fn entropy(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        0.0
    } else {
        -x * x.log2() - (1.0 - x) * (1.0 - x).log2()
    }
}

/// How far a coin of rate `b` is from one of rate `a`, in bits.
fn divergence(a: f64, b: f64) -> f64 {
    [(a, b), (1.0 - a, 1.0 - b)]
        .into_iter()
        .filter(|(u, _)| *u > 0.0)
        .map(|(u, v)| {
            if v <= 0.0 {
                f64::INFINITY
            } else {
                u * (u / v).log2()
            }
        })
        .sum()
}

/// The boots that a search for one of n takes at best, to first order, if it may
/// be wrong with probability `d`.
fn limit(Cell { n, p, q }: Cell, d: f64) -> f64 {
    let n = n as f64;
    if p >= 1.0 && q <= 0.0 {
        return n.log2();
    }
    let told = |w: f64| entropy(w * p + (1.0 - w) * q) - w * entropy(p) - (1.0 - w) * entropy(q);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..200 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if told(a) < told(b) { low = a } else { high = b }
    }
    let search = (n.log2() - entropy(d) - d * (n - 1.0).log2()) / told(f64::midpoint(low, high));
    let sure = divergence(1.0 - d, d);
    let confirmation: f64 = [divergence(p, q), divergence(q, p)]
        .into_iter()
        .filter(|told| told.is_finite())
        .map(|told| sure / told)
        .sum();
    search + confirmation
}

/// The probability of at most `right` of `histories`, if each is right with this
/// probability.
fn at_most(right: u32, histories: u32, probability: f64) -> f64 {
    // In logarithms: the first terms are too small for a number.
    let odds = (probability / (1.0 - probability)).ln();
    let mut term = f64::from(histories) * (1.0 - probability).ln();
    let mut sum = term.exp();
    for k in 1..=right {
        term += odds + (f64::from(histories - k + 1) / f64::from(k)).ln();
        sum += term.exp();
    }
    sum
}

/// What is wanted of a cell and was not met.
fn misses(cell: Cell, row: &Row, histories: u32) -> Vec<String> {
    let Cell { n, p, q } = cell;
    let mut list = Vec::new();
    let mean = |sum: f64| sum / f64::from(histories);
    let at = format!("n {n} p {p} q {q}");
    if p >= 0.3 || q <= 0.01 {
        for (name, sums) in [("known", row.known), ("learned", row.learned)] {
            for (sum, confidence) in sums.iter().zip(CONFIDENCES) {
                if at_most(sum.right, histories, confidence) < 0.01 {
                    list.push(format!(
                        "{at}: {name} is right in {} of {histories} where it claims {confidence}",
                        sum.right
                    ));
                }
            }
        }
    }
    let limit = limit(cell, 0.05);
    let halvings = (n as f64).log2();
    let mut at_least = |name: &str, value: f64, wanted: f64| {
        if value > wanted {
            list.push(format!("{at}: {name} {value:.1}, wanted {wanted:.1}"));
        }
    };
    let factor = if p <= 0.5 { 1.3 } else { 1.5 };
    at_least("known boots", mean(row.known[0].boots), factor * limit);
    let wanted = if p <= 0.5 { 2.0 * limit } else { limit + 12.0 };
    at_least("learned boots", mean(row.learned[0].boots), wanted);
    if p >= 0.3 {
        at_least("known builds", mean(row.known[0].builds), halvings + 1.0);
        if q <= 0.01 {
            at_least(
                "learned builds",
                mean(row.learned[0].builds),
                halvings + 3.0,
            );
        }
    }
    list
}

fn shown(sum: &Sum, histories: u32) -> String {
    let count = f64::from(histories);
    format!(
        "{:.1}/{:.1}/{:.1}",
        f64::from(sum.right) * 100.0 / count,
        sum.boots / count,
        sum.builds / count
    )
}

/// Does a task for each number below `count`, on all processors.
fn on_all<T: Send + Clone + Default>(count: usize, task: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results = vec![T::default(); count];
    let done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return mine;
                        }
                        mine.push((number, task(number)));
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    for (number, result) in done {
        results[number] = result;
    }
    results
}

/// In how many histories without a culprit the answer is that there is none.
fn without_culprit(histories: u32) -> (u32, f64) {
    let cell = Cell {
        n: 1024,
        p: 0.5,
        q: 0.5,
    };
    let order = Arc::new(Order::linear(cell.n));
    let answers = on_all(histories as usize, |number| {
        let history = History::new(cell, number as u64, false);
        let mut sums = [Sum::default(); 2];
        let [none, _] = kvet(history, &order, Rates::Learned, &mut sums);
        (none, sums[0].boots)
    });
    let right = answers.iter().filter(|(none, _)| *none).count();
    let boots: f64 = answers.iter().map(|(_, boots)| boots).sum();
    (
        u32::try_from(right).unwrap_or(u32::MAX),
        boots / f64::from(histories),
    )
}

/// Processor time of this thread, seconds: another program's is not counted.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The longest that one decision takes among 16,384 candidates, milliseconds:
/// in a line, and with a merge for every eight commits.
fn decisions() -> [f64; 2] {
    let n = 16384_usize;
    let merging: Vec<Vec<usize>> = (0..n)
        .map(|commit| match commit % 8 {
            0 if commit >= 16 => vec![commit - 9, commit - 1],
            1 if commit >= 16 => vec![commit - 9],
            _ => commit.checked_sub(1).into_iter().collect(),
        })
        .collect();
    let orders = [Some(Order::linear(n)), Order::from_parents(&merging).ok()];
    orders.map(|order| {
        let Some(order) = order else { return f64::NAN };
        let order = Arc::new(order);
        let mut search = Search::new(Arc::clone(&order), Settings::default());
        let (culprit, mut longest, mut dice) = (n / 3, 0.0_f64, Dice(1));
        for _ in 0..60 {
            let start = processor_time();
            let Some(point) = search.next() else { break };
            let rate = match point {
                Point::Candidate(one) if order.contains(one, culprit) => 0.5,
                _ => 0.0,
            };
            search.record(point, dice.roll() < rate);
            longest = longest.max((processor_time() - start) * 1e3);
        }
        longest
    })
}

fn main() -> io::Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let histories: u32 = if quick { 40 } else { 300 };
    let cells = cells(quick);
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "right % / mean boots / mean distinct builds, {histories} histories a cell; a build is priced at {BUILD} boots"
    )?;
    writeln!(
        out,
        "| n | p | q | limit | git | syz | known 95 | known 99 | learned 95 | learned 99 |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    let orders = SIZES.map(|n| Arc::new(Order::linear(n)));
    // The longest first, so that no processor ends up alone with one.
    let mut by_length: Vec<usize> = (0..cells.len()).collect();
    by_length.sort_by(|&a, &b| limit(cells[b], 0.05).total_cmp(&limit(cells[a], 0.05)));
    let each = histories as usize;
    let measured = on_all(cells.len() * each, |task| {
        let cell = cells[by_length[task / each]];
        let order = orders.iter().find(|order| order.len() == cell.n);
        order.map_or_else(Row::default, |order| {
            measure(cell, (task % each) as u64, order)
        })
    });
    let mut rows = vec![Row::default(); cells.len()];
    for (task, one) in measured.iter().enumerate() {
        rows[by_length[task / each]].add(one);
    }
    let mut missed = Vec::new();
    for (cell, row) in cells.iter().zip(&rows) {
        let Cell { n, p, q } = *cell;
        write!(out, "| {n} | {p} | {q} | {:.1} |", limit(*cell, 0.05))?;
        let sums = [
            row.git,
            row.syz,
            row.known[0],
            row.known[1],
            row.learned[0],
            row.learned[1],
        ];
        for sum in &sums {
            write!(out, " {} |", shown(sum, histories))?;
        }
        writeln!(out)?;
        missed.extend(misses(*cell, row, histories));
    }
    let (none, boots) = without_culprit(histories);
    writeln!(
        out,
        "no culprit, p .5: \"none of them\" in {none} of {histories}, {boots:.0} boots on average (wanted: 95 %)"
    )?;
    if f64::from(none) < 0.95 * f64::from(histories) {
        missed.push(format!("\"none of them\" in {none} of {histories}"));
    }
    let [line, merges] = decisions();
    writeln!(
        out,
        "longest decision among 16384 candidates: {line:.2} ms in a line, {merges:.2} ms with merges (wanted: 100 ms)"
    )?;
    if missed.is_empty() {
        return writeln!(out, "all that is wanted is met");
    }
    writeln!(out, "wanted and not met:")?;
    for miss in missed {
        writeln!(out, "  {miss}")?;
    }
    Ok(())
}
