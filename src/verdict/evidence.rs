//! What a fix arm's trials show beside those of the control that has the same
//! target: whether the target is gone, and by how much.

use serde::{Deserialize, Serialize};

use super::arm::{ArmResult, number};
use super::sequential::{Boundary, ratio};
use super::statistics::{ROUNDING, chance, chance_of_fix};
use crate::job::Rules;
use crate::outcome::Outcome;

/// One in so many trials of a fix may show something that no control does: what
/// is as rare as that needs more trials than a job has to be told from chance.
pub(super) const RARE: u32 = 20;

/// The most trials that "how many more" looks ahead.
const AHEAD: u32 = 1000;

/// A fix arm against one control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Evidence {
    /// The fix arm.
    pub fix: String,
    /// The control.
    pub control: String,
    /// Trials of the fix that showed the target.
    pub hits: u32,
    /// Of how many that could have, of the workloads that both were tried with.
    pub trials: u32,
    /// Trials of the control that showed the target.
    pub control_hits: u32,
    /// Of how many.
    pub control_trials: u32,
    /// The largest probability of such a difference if the patches did nothing,
    /// where the number of trials was fixed beforehand and the fix never showed
    /// the target.
    pub chance: Option<f64>,
    /// Whether this settles that the target is gone.
    pub settled: bool,
    /// How many more trials of each arm would settle it at the rates seen.
    pub more: Option<u32>,
}

/// The trials of one workload: those that ended with the target or clean. One
/// that another finding ended says nothing about the target.
#[derive(Debug, Clone, Copy)]
struct Counts {
    hits: u32,
    trials: u32,
}

impl Counts {
    fn of(arm: &ArmResult, workload: &str) -> Self {
        let count = |outcome| {
            arm.of(workload)
                .filter(move |t| t.outcome == outcome)
                .count()
        };
        let hits = number(count(Outcome::Target));
        let trials = hits + number(count(Outcome::Clean));
        Self { hits, trials }
    }
}

/// Compares a fix with a control of the same target.
pub(super) fn compare(fix: &ArmResult, control: &ArmResult, rules: &Rules) -> Evidence {
    let alpha = rules.confidence.alpha();
    let shared = fix.workloads_with(control);
    let (mut of_fix, mut of_control) = (Vec::new(), Vec::new());
    for workload in &shared {
        let (a, b) = (Counts::of(fix, workload), Counts::of(control, workload));
        // Nothing to compare with: it must not count on one side only.
        if a.trials > 0 && b.trials > 0 {
            of_fix.push(a);
            of_control.push(b);
        }
    }
    let sum = |counts: &[Counts]| Counts {
        hits: counts.iter().map(|c| c.hits).sum(),
        trials: counts.iter().map(|c| c.trials).sum(),
    };
    let (fixes, controls) = (sum(&of_fix), sum(&of_control));
    // The fix's trials that count are as many per trial of the control as in
    // the workload where they are fewest.
    let ratios = of_fix.iter().zip(&of_control);
    let per_trial = ratios
        .map(|(fix, control)| f64::from(fix.trials) / f64::from(control.trials))
        .fold(f64::INFINITY, f64::min);
    let per_trial = if per_trial.is_finite() {
        per_trial
    } else {
        0.0
    };
    let clean = fix.count(Outcome::Target) == 0;
    let (by_chance, gone) = if rules.until.is_some() {
        (None, crossed(fix, control, rules))
    } else {
        let by_chance = chance_of_fix(
            controls.hits,
            controls.trials,
            per_trial * f64::from(controls.trials),
        );
        (Some(by_chance), by_chance <= alpha + ROUNDING)
    };
    let in_full = rules.until.is_some()
        || fix.missing() == 0 && control.missing() == 0 && untold(fix, control).is_none();
    let settled = clean && gone && in_full && unexplained_are_few(fix, fixes, controls, alpha);
    let more = if !clean || settled || per_trial <= 0.0 || controls.hits == 0 {
        None
    } else if let Some(most) = rules.until {
        let enough = Boundary::of(alpha, ratio(alpha), most).enough();
        let short = f64::from(enough.saturating_sub(controls.hits));
        let expected = short * f64::from(controls.trials) / f64::from(controls.hits);
        (short > 0.0).then(|| rounded_up(expected))
    } else {
        more(controls, fixes.trials, alpha)
    };
    Evidence {
        fix: fix.name.clone(),
        control: control.name.clone(),
        hits: fixes.hits,
        trials: fixes.trials,
        control_hits: controls.hits,
        control_trials: controls.trials,
        chance: by_chance.filter(|_| clean && controls.hits > 0),
        settled,
        more,
    }
}

/// Whether the sequential boundary was crossed for some workload. Each has its
/// share of the level, since any of them is enough.
fn crossed(fix: &ArmResult, control: &ArmResult, rules: &Rules) -> bool {
    let alpha = rules.confidence.alpha();
    let workloads = common_workloads(fix, control);
    let share = alpha / f64::from(number(workloads.len()).max(1));
    let boundary = Boundary::of(share, ratio(alpha), rules.until.unwrap_or_default());
    workloads.into_iter().any(|workload| {
        let tells = |outcome| matches!(outcome, Outcome::Target | Outcome::Clean);
        let stream = |arm: &ArmResult| -> Vec<bool> {
            let trials = arm.in_order(workload).into_iter();
            let trials = trials.filter(|trial| tells(trial.outcome));
            trials
                .map(|trial| trial.outcome == Outcome::Target)
                .collect()
        };
        boundary.crossed(&stream(control), stream(fix).len())
    })
}

/// The workloads that both arms are to be tried with; what they were tried with
/// if the plan is not known.
pub(super) fn common_workloads<'a>(fix: &'a ArmResult, control: &'a ArmResult) -> Vec<&'a str> {
    if fix.workloads.is_empty() || control.workloads.is_empty() {
        return fix.workloads_with(control);
    }
    let of_fix = fix.workloads.iter();
    let shared = of_fix.filter(|workload| control.workloads.contains(workload));
    shared.map(String::as_str).collect()
}

/// A workload with which the control showed the target and no trial of the fix told
/// anything of it: what is known of others says nothing there.
pub(super) fn untold<'a>(fix: &'a ArmResult, control: &'a ArmResult) -> Option<&'a str> {
    let mut workloads = common_workloads(fix, control).into_iter();
    workloads.find(|workload| {
        let of_fix = Counts::of(fix, workload);
        Counts::of(control, workload).hits > 0 && of_fix.trials == 0
    })
}

/// Trials of the fix that ended without a word, whose workload failed or whose
/// detectors were not armed may have met the target unseen. They must be rare, and
/// taking them for hits must leave the difference.
fn unexplained_are_few(fix: &ArmResult, fixes: Counts, controls: Counts, alpha: f64) -> bool {
    let unseen = [Outcome::Timeout, Outcome::Workload, Outcome::Unarmed];
    let unexplained: u32 = unseen.map(|outcome| fix.count(outcome)).iter().sum();
    let all = fixes.trials + unexplained;
    unexplained == 0
        || unexplained.saturating_mul(RARE) <= all
            && chance(unexplained, all, controls.hits, controls.trials) <= alpha + ROUNDING
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to some thousands
fn rounded_up(number: f64) -> u32 {
    number.ceil() as u32
}

/// How many more trials of each arm would settle it if the control goes on
/// hitting at its rate and the fix goes on being clean.
fn more(control: Counts, clean: u32, alpha: f64) -> Option<u32> {
    let settles = |more: u32| {
        let trials = control.trials + more;
        let expected = u64::from(control.hits) * u64::from(trials) / u64::from(control.trials);
        let hits = u32::try_from(expected).unwrap_or(u32::MAX);
        chance_of_fix(hits, trials, f64::from(clean + more)) <= alpha + ROUNDING
    };
    // Doubling, then halving: the first number that is enough.
    let mut enough = 1;
    while !settles(enough) {
        enough *= 2;
        if enough > AHEAD {
            return None;
        }
    }
    let mut short = enough / 2;
    while short + 1 < enough {
        let middle = short.midpoint(enough);
        if settles(middle) {
            enough = middle;
        } else {
            short = middle;
        }
    }
    Some(enough)
}
