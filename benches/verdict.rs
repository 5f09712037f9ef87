//! How often verdicts are wrong and how many trials they take, by simulation:
//!
//! - trials go on until the verdict is settled: false `fixed` of a patch that
//!   does nothing, false `regressed` of one that brings nothing, and the trials
//!   it takes to see a fix, beside the smallest number fixed beforehand that
//!   sees it in four cases of five;
//! - numbers of trials fixed beforehand: the same errors.
//!
//! `cargo bench --bench verdict`; `KVET_BENCH_EXPERIMENTS` sets how many
//! experiments there are of each kind and rate (10,000 unless told).

use std::collections::HashMap;
use std::io::{self, Write};

use kvet::job::{Confidence, Rules};
use kvet::outcome::{Outcome, VerdictKind};
use kvet::verdict::{ArmResult, Next, Seen, Tried, judge, next};

const RATES: [f64; 12] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0];

/// Kinds of findings besides the target that a kernel may show.
const KINDS: usize = 3;

fn main() -> io::Result<()> {
    let experiments = std::env::var("KVET_BENCH_EXPERIMENTS")
        .ok()
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(10_000);
    let out = &mut io::stdout().lock();
    for percent in ["95%", "99%"] {
        let confidence: Confidence = percent.parse().map_err(io::Error::other)?;
        let rules = Rules::until(confidence, None);
        writeln!(out, "until {percent}, of {experiments} experiments each")?;
        writeln!(
            out,
            "  rate  false fixed  false regressed  fix seen  trials  fixed number  ratio"
        )?;
        for rate in RATES {
            let nothing = Kernel::hitting(rate);
            let idle = simulate(experiments, &rules, &nothing, &nothing, None);
            // The target settles nothing here, so trials go on up to the limit; a
            // regression is one at whatever look it was seen.
            let warning = Kernel::noisy(rate);
            let noise = simulate(experiments, &rules, &warning, &warning, Some((200, 200)));
            let fix = simulate(experiments, &rules, &nothing, &Kernel::hitting(0.0), None);
            let fixed_number = best_fixed_number(rate, confidence.alpha());
            writeln!(
                out,
                "  {rate:4.2}  {:10.2}%  {:14.2}%  {:7.1}%  {:6.1}  {fixed_number:12}  {:5.2}",
                100.0 * idle.fixed,
                100.0 * noise.regressed,
                100.0 * fix.fixed,
                fix.trials,
                fix.trials / f64::from(fixed_number),
            )?;
        }
    }
    let rules = Rules::default();
    writeln!(out, "numbers fixed beforehand, at 95%")?;
    writeln!(out, "  control/fix  rate  false fixed  false regressed")?;
    for numbers in [(3, 3), (7, 1), (3, 20), (10, 10), (20, 20)] {
        for rate in [0.05, 0.1, 0.2, 0.3, 0.5, 0.8] {
            let kernel = Kernel::hitting(rate);
            let idle = simulate(experiments, &rules, &kernel, &kernel, Some(numbers));
            let warning = Kernel::noisy(rate);
            let noise = simulate(experiments, &rules, &warning, &warning, Some(numbers));
            writeln!(
                out,
                "  {:7}/{:<3}  {rate:4.2}  {:10.2}%  {:14.2}%",
                numbers.0,
                numbers.1,
                100.0 * idle.fixed,
                100.0 * noise.regressed,
            )?;
        }
    }
    Ok(())
}

/// How often a kernel shows what.
struct Kernel {
    target: f64,
    /// Each kind of finding besides it.
    others: f64,
}

impl Kernel {
    fn hitting(target: f64) -> Self {
        Self {
            target,
            others: 0.0,
        }
    }

    fn noisy(others: f64) -> Self {
        Self {
            target: 0.0,
            others,
        }
    }

    fn trial(&self, number: u32, chance: &mut Chance) -> Tried {
        let target = chance.hits(self.target);
        let findings: Vec<Seen> = (0..KINDS)
            .filter(|_| chance.hits(self.others))
            .map(|kind| Seen {
                title: String::new(),
                signature: format!("warning:{kind}"),
            })
            .collect();
        let outcome = match (target, findings.is_empty()) {
            (true, _) => Outcome::Target,
            (false, true) => Outcome::Clean,
            (false, false) => Outcome::Other,
        };
        Tried {
            outcome,
            reason: String::new(),
            workload: "w".to_owned(),
            number,
            findings,
        }
    }
}

/// Verdicts by what both arms' trials came to, in numbers.
type Known = HashMap<Vec<Vec<u32>>, VerdictKind>;

/// What came of many experiments.
#[derive(Default)]
struct Result {
    fixed: f64,
    regressed: f64,
    /// The mean number of trials of both arms together.
    trials: f64,
}

fn simulate(
    experiments: u32,
    rules: &Rules,
    control: &Kernel,
    fix: &Kernel,
    numbers: Option<(u32, u32)>,
) -> Result {
    let mut chance = Chance(20_261_126);
    let mut known = Known::new();
    let mut result = Result::default();
    for _ in 0..experiments {
        let (kind, trials) = experiment(rules, [control, fix], numbers, &mut chance, &mut known);
        let one = 1.0 / f64::from(experiments);
        match kind {
            VerdictKind::Fixed => result.fixed += one,
            VerdictKind::Regressed => result.regressed += one,
            _ => {}
        }
        result.trials += one * f64::from(trials);
    }
    result
}

fn experiment(
    rules: &Rules,
    kernels: [&Kernel; 2],
    numbers: Option<(u32, u32)>,
    chance: &mut Chance,
    known: &mut Known,
) -> (VerdictKind, u32) {
    let most = rules.until.unwrap_or_default();
    let (of_control, of_fix) = numbers.unwrap_or((most, most));
    let mut arms =
        [("stock", true, of_control), ("fixed", false, of_fix)].map(|(name, control, planned)| {
            ArmResult {
                name: name.to_owned(),
                control,
                planned,
                workloads: vec!["w".to_owned()],
                ..ArmResult::default()
            }
        });
    let mut trials = 0;
    if numbers.is_some() {
        for (arm, kernel) in arms.iter_mut().zip(kernels) {
            arm.trials = (1..=arm.planned)
                .map(|number| kernel.trial(number, chance))
                .collect();
        }
    } else {
        while let Next::Try { arm, .. } = next(&arms, rules) {
            let number = u32::try_from(arms[arm].trials.len()).unwrap_or(u32::MAX) + 1;
            let trial = kernels[arm].trial(number, chance);
            arms[arm].trials.push(trial);
            trials += 1;
        }
    }
    (judged(&arms, rules, known), trials)
}

/// The verdict; worked out once where trials differ only in their order.
fn judged(arms: &[ArmResult], rules: &Rules, known: &mut Known) -> VerdictKind {
    if rules.until.is_some() {
        return judge(arms, rules).kind;
    }
    let tally = |arm: &ArmResult| -> Vec<u32> {
        let shown = |trial: &Tried, kind: usize| {
            let signature = format!("warning:{kind}");
            trial.findings.iter().any(|f| f.signature == signature)
        };
        (0..KINDS)
            .map(|kind| arm.trials.iter().filter(|trial| shown(trial, kind)).count())
            .chain([arm.count(Outcome::Target) as usize, arm.trials.len()])
            .chain([arm.count(Outcome::Other) as usize])
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX))
            .collect()
    };
    let key = arms.iter().map(tally).collect();
    *known.entry(key).or_insert_with(|| judge(arms, rules).kind)
}

/// The fewest trials of both arms together, of any split between them, that
/// settle it in four of five cases if the control's rate is this and the fix
/// never hits: for the exact test that holds at every rate.
fn best_fixed_number(rate: f64, alpha: f64) -> u32 {
    let mut best = u32::MAX;
    for control in 1..=120 {
        // The hits that four cases of five reach.
        let reached = (1..=control)
            .rev()
            .find(|&hits| at_least(control, hits, rate) >= 0.8);
        let Some(hits) = reached else { continue };
        for fix in 1..best.saturating_sub(control).min(200) {
            let worst = (1..200)
                .map(|i| f64::from(i) / 200.0)
                .map(|rate| {
                    let clean = (1.0 - rate).powi(i32::try_from(fix).unwrap_or(i32::MAX));
                    at_least(control, hits, rate) * clean
                })
                .fold(0.0, f64::max);
            if worst <= alpha {
                best = control + fix;
                break;
            }
        }
    }
    best
}

fn at_least(trials: u32, hits: u32, rate: f64) -> f64 {
    let mut below = 0.0;
    let mut ways = 1.0;
    for k in 0..hits {
        let (k_hits, misses) = (f64::from(k), f64::from(trials - k));
        below += ways * rate.powf(k_hits) * (1.0 - rate).powf(misses);
        ways *= misses / (k_hits + 1.0);
    }
    1.0 - below
}

/// A small generator (`SplitMix64`): the figures are the same in every run.
struct Chance(u64);

impl Chance {
    fn hits(&mut self, rate: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        #[allow(clippy::cast_precision_loss)] // 53 bits
        let share = (z >> 11) as f64 / (1_u64 << 53) as f64;
        share < rate
    }
}
