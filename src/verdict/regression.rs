//! Whether a fix arm shows a finding that its control does not show, or shows
//! more rarely: by signature and rate, since one finding in many trials may as
//! well be an old one that the few trials of the control missed.

use serde::{Deserialize, Serialize};

use super::arm::{ArmResult, Tried, number};
use super::evidence::{RARE, common_workloads};
use super::outcome::Seen;
use super::sequential::{Boundary, ratio};
use super::statistics::{ROUNDING, chance_of_regression, holm};
use crate::job::Rules;
use crate::outcome::Outcome;

/// A finding of a fix arm that is not its target, beside its controls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Other {
    /// The fix arm.
    pub fix: String,
    /// What was seen.
    pub finding: Seen,
    /// The workload of the trials; findings of different workloads are not
    /// added up.
    pub workload: String,
    /// Trials of the fix that showed it.
    pub hits: u32,
    /// Of how many that say something about the kernel.
    pub trials: u32,
    /// The control that showed it most often; none if no control with the fix's
    /// target was tried with the workload.
    pub control: Option<String>,
    /// Trials of that control that showed it.
    pub control_hits: u32,
    /// Of how many.
    pub control_trials: u32,
    /// Whether all of that control's trials ended with its target, so that none
    /// may have come as far as this finding.
    pub control_ended_early: bool,
    /// The probability of so large a difference if the patches did nothing,
    /// corrected for all findings and arms that were compared; where the number
    /// of trials was fixed beforehand.
    pub chance: Option<f64>,
    /// Whether it is settled that the patches brought it.
    pub regressed: bool,
    /// Whether it is too frequent to be passed over, and neither settled nor
    /// known from a control.
    pub open: bool,
}

/// All findings of fix arms besides their targets, in the arms' order.
pub(super) fn others(arms: &[ArmResult], rules: &Rules) -> Vec<Other> {
    let fixes: Vec<&ArmResult> = arms.iter().filter(|arm| !arm.control).collect();
    let mut found = Vec::new();
    // The worst chance of each over the arm's controls, uncorrected.
    let mut chances = Vec::new();
    // What only a control showed was looked for, too.
    let mut looked_for = 0;
    for fix in &fixes {
        let controls: Vec<&ArmResult> = arms
            .iter()
            .filter(|arm| arm.control && arm.target == fix.target)
            .collect();
        for workload in workloads(fix) {
            let of_workload: Vec<&ArmResult> = controls
                .iter()
                .copied()
                .filter(|arm| exposed(arm.of(workload)) > 0)
                .collect();
            let seen = in_order_of_appearance(fix, &of_workload, workload);
            for (place, finding) in (1..).zip(seen) {
                let hits = hits(fix.of(workload), &finding);
                if hits == 0 {
                    looked_for += 1;
                    continue;
                }
                let level = Level {
                    fixes: number(fixes.len()),
                    place,
                };
                let (other, chance) = beside(fix, &of_workload, workload, finding, (rules, level));
                found.push(other);
                chances.push(chance);
            }
        }
    }
    if rules.until.is_none() {
        chances.extend(std::iter::repeat_n(1.0, looked_for));
        let alpha = rules.confidence.alpha();
        for (other, corrected) in found.iter_mut().zip(holm(&chances)) {
            other.chance = other.control.as_ref().map(|_| corrected);
            other.regressed = other.control.is_some() && corrected <= alpha + ROUNDING;
        }
    }
    for other in &mut found {
        let rare = other.hits.saturating_mul(RARE) <= other.trials;
        other.open = !other.regressed && !rare && other.control_hits == 0;
    }
    found
}

/// What the sequential test's level is divided by.
#[derive(Clone, Copy)]
struct Level {
    /// How many fix arms there are.
    fixes: u32,
    /// The signature's place in the order of appearance, from 1.
    place: u32,
}

/// One finding beside the controls; and the worst chance over them.
fn beside(
    fix: &ArmResult,
    controls: &[&ArmResult],
    workload: &str,
    finding: Seen,
    (rules, level): (&Rules, Level),
) -> (Other, f64) {
    let of_fix = hits(fix.of(workload), &finding);
    let trials = exposed(fix.of(workload));
    let chance = |control: &ArmResult| {
        let of_control = hits(control.of(workload), &finding);
        chance_of_regression(of_fix, trials, of_control, exposed(control.of(workload)))
    };
    // The patches must make a difference to each kernel that they may have been
    // put on. The number of trials must be fixed beforehand for this test.
    let chance = if rules.until.is_none() {
        controls.iter().map(|arm| chance(arm)).reduce(f64::max)
    } else {
        None
    };
    let share = |arm: &ArmResult| {
        let of_control = hits(arm.of(workload), &finding);
        f64::from(of_control) / f64::from(exposed(arm.of(workload)))
    };
    let closest = controls.iter().map(|arm| (*arm, share(arm)));
    let control = closest.max_by(|a, b| a.1.total_cmp(&b.1)).map(|one| one.0);
    let settled = |control: &&ArmResult| {
        let (seen, clean) = (seen_in_order(fix, workload, &finding), *control);
        crossed(&seen, &seen_in_order(clean, workload, &finding), {
            let workloads = number(common_workloads(fix, clean).len()).max(1);
            let place = f64::from(level.place);
            // 1/2 + 1/6 + 1/12 + … = 1, however many signatures appear.
            let parts = f64::from(level.fixes) * f64::from(workloads) * place * (place + 1.0);
            (rules, parts)
        })
    };
    let regressed = rules.until.is_some() && !controls.is_empty() && controls.iter().all(settled);
    let of_control = |count: &dyn Fn(&ArmResult) -> u32| control.map_or(0, count);
    let ended_early = |arm: &ArmResult| {
        let mut trials = arm.of(workload).filter(|trial| trial.outcome.tells());
        trials.all(|trial| trial.outcome == Outcome::Target)
    };
    let other = Other {
        fix: fix.name.clone(),
        workload: workload.to_owned(),
        hits: of_fix,
        trials,
        control: control.map(|arm| arm.name.clone()),
        control_hits: of_control(&|arm| hits(arm.of(workload), &finding)),
        control_trials: of_control(&|arm| exposed(arm.of(workload))),
        control_ended_early: control.is_some_and(ended_early),
        finding,
        chance: None,
        regressed,
        open: false,
    };
    (other, chance.unwrap_or(1.0))
}

/// Whether the sequential boundary was crossed, the roles being those of a
/// control and a fix the other way round: the fix hits, the control must not.
fn crossed(fix: &[bool], control: &[bool], (rules, parts): (&Rules, f64)) -> bool {
    let alpha = rules.confidence.alpha();
    let most = rules.until.unwrap_or_default();
    let boundary = Boundary::of(alpha / parts, 1.0 / ratio(alpha), most);
    let clean = control.iter().take_while(|seen| !**seen).count();
    boundary.crossed(fix, clean)
}

/// Trial by trial, whether it showed the finding.
fn seen_in_order(arm: &ArmResult, workload: &str, finding: &Seen) -> Vec<bool> {
    let trials = arm.in_order(workload).into_iter();
    let telling = trials.filter(|trial| trial.outcome.tells());
    telling.map(|trial| shows(trial, finding)).collect()
}

fn workloads(arm: &ArmResult) -> Vec<&str> {
    let mut workloads: Vec<&str> = Vec::new();
    for trial in &arm.trials {
        if !workloads.contains(&trial.workload.as_str()) {
            workloads.push(&trial.workload);
        }
    }
    workloads
}

/// The findings that any of these arms showed with this workload, by the first
/// trial that did: the fix's first where that is the same.
fn in_order_of_appearance(fix: &ArmResult, controls: &[&ArmResult], workload: &str) -> Vec<Seen> {
    let mut first: Vec<(u32, &Seen)> = Vec::new();
    for arm in std::iter::once(fix).chain(controls.iter().copied()) {
        let mut trials: Vec<&Tried> = arm.of(workload).collect();
        trials.sort_by_key(|trial| trial.number);
        for trial in trials {
            for finding in &trial.findings {
                match first.iter_mut().find(|(_, known)| known.same(finding)) {
                    Some((earliest, _)) => *earliest = trial.number.min(*earliest),
                    None => first.push((trial.number, finding)),
                }
            }
        }
    }
    first.sort_by_key(|(number, _)| *number);
    first
        .into_iter()
        .map(|(_, finding)| finding.clone())
        .collect()
}

fn hits<'a>(trials: impl Iterator<Item = &'a Tried>, finding: &Seen) -> u32 {
    number(trials.filter(|trial| shows(trial, finding)).count())
}

fn shows(trial: &Tried, finding: &Seen) -> bool {
    trial.findings.iter().any(|seen| seen.same(finding))
}

/// Trials that could have shown a finding.
fn exposed<'a>(trials: impl Iterator<Item = &'a Tried>) -> u32 {
    number(trials.filter(|trial| trial.outcome.tells()).count())
}
