//! A job's verdict from its arms' outcomes.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::arm::ArmResult;
use super::evidence::{Evidence, compare, untold};
use super::regression::{Other, others};
use super::statistics::{ROUNDING, at_least_rate, chance, holm, unseen_rate};
use crate::job::Rules;
use crate::outcome::{Outcome, VerdictKind};

/// A job's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The answer.
    pub kind: VerdictKind,
    /// Why, one sentence per fact.
    pub reasons: Vec<String>,
    /// The largest probability of such a difference between any fix and its
    /// control if that fix did nothing; only if the numbers of trials were fixed
    /// beforehand and no fix showed the target.
    pub chance: Option<f64>,
    /// By what rules it was given.
    #[serde(default)]
    pub rules: Rules,
    /// Each fix arm against each control with the same target.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// What fix arms showed besides their targets.
    #[serde(default)]
    pub others: Vec<Other>,
}

/// Judges a job. Pure.
#[must_use]
pub fn judge(arms: &[ArmResult], rules: &Rules) -> Verdict {
    let case = Case::of(arms, rules);
    let (kind, reasons) = case.answer();
    let chances: Option<Vec<f64>> = case.evidence.iter().map(|one| one.chance).collect();
    Verdict {
        kind,
        reasons,
        // Every fix must have an effect: the verdict is as sure as the least sure
        // of them.
        chance: chances.and_then(|all| all.into_iter().reduce(f64::max)),
        rules: *rules,
        evidence: case.evidence,
        others: case.others,
    }
}

/// All that a verdict is made from.
struct Case<'a> {
    rules: &'a Rules,
    controls: Vec<&'a ArmResult>,
    fixes: Vec<&'a ArmResult>,
    evidence: Vec<Evidence>,
    others: Vec<Other>,
}

impl<'a> Case<'a> {
    fn of(arms: &'a [ArmResult], rules: &'a Rules) -> Self {
        let (controls, fixes): (Vec<&ArmResult>, Vec<&ArmResult>) =
            arms.iter().partition(|arm| arm.control);
        let pairs = fixes.iter().flat_map(|fix| {
            let same = controls.iter().filter(|arm| arm.target == fix.target);
            same.map(move |control| (*fix, *control))
        });
        let evidence = pairs.map(|(fix, control)| compare(fix, control, rules));
        Self {
            rules,
            evidence: evidence.collect(),
            others: others(arms, rules),
            controls,
            fixes,
        }
    }

    fn answer(&self) -> (VerdictKind, Vec<String>) {
        // A finding stands, whatever else went wrong.
        let still: Vec<String> = self
            .fixes
            .iter()
            .filter(|arm| hits(arm) > 0)
            .map(|arm| self.still(arm))
            .collect();
        if !still.is_empty() {
            return (VerdictKind::NotFixed, still);
        }
        let regressions = self.others.iter().filter(|other| other.regressed);
        let regressions: Vec<String> = regressions.map(regression).collect();
        if !regressions.is_empty() {
            return (VerdictKind::Regressed, regressions);
        }
        let doubts = self.doubts();
        if !doubts.is_empty() {
            return (VerdictKind::Inconclusive, doubts);
        }
        if self.fixes.is_empty() {
            let reason = "every control shows the target".to_owned();
            return (VerdictKind::Reproduced, vec![reason]);
        }
        let reason = "every control shows the target, and no other arm does".to_owned();
        (VerdictKind::Fixed, vec![reason])
    }

    /// That an arm shows the target, how often at least, and whether that is an
    /// improvement nevertheless.
    fn still(&self, arm: &ArmResult) -> String {
        let alpha = self.rules.confidence.alpha();
        let least = at_least_rate(hits(arm), arm.telling(), alpha);
        let mut text = format!(
            "{} still shows the target: {}; in at least {} of its trials",
            arm.name,
            summary(arm),
            percent(least)
        );
        // Looking after each trial would make this test worth nothing.
        let better = self.rules.until.is_none().then(|| {
            self.against(arm).find(|one| {
                let (trials, controls) = (one.trials, one.control_trials);
                chance(one.hits, trials, one.control_hits, controls) <= alpha + ROUNDING
            })
        });
        if let Some(one) = better.flatten() {
            let _ = write!(
                text,
                ", more rarely than {} ({}/{}): an improvement, and no fix",
                one.control, one.control_hits, one.control_trials
            );
        }
        text
    }

    fn against(&self, fix: &ArmResult) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(move |one| one.fix == fix.name)
    }

    /// What stands against the verdict that everything is as it should be.
    fn doubts(&self) -> Vec<String> {
        let alpha = self.rules.confidence.alpha();
        let unproven = self.controls.iter().filter(|arm| hits(arm) == 0);
        let mut doubts: Vec<String> = unproven
            .map(|arm| {
                let mut text = format!(
                    "control {} did not show the target: {}",
                    arm.name,
                    summary(arm)
                );
                if arm.telling() > 0 {
                    let most = percent(unseen_rate(arm.telling(), alpha));
                    let _ = write!(text, "; its rate may still be {most}");
                }
                text
            })
            .collect();
        if self.controls.is_empty() {
            doubts.push("no control ran, so a clean arm proves nothing".to_owned());
        }
        for fix in &self.fixes {
            if self.rules.until.is_none() && fix.missing() > 0 || fix.count(Outcome::Clean) == 0 {
                doubts.push(format!("{} is not through: {}", fix.name, summary(fix)));
            } else if !self.controls.is_empty() && self.against(fix).next().is_none() {
                doubts.push(format!("no control has the target of {}", fix.name));
            } else {
                let open = self.against(fix).filter(|one| !one.settled);
                doubts.extend(open.filter_map(|one| self.open(fix, one)));
            }
            let open = self.others.iter().filter(|other| other.open);
            doubts.extend(open.filter(|other| other.fix == fix.name).map(|other| {
                let confidence = self.rules.confidence;
                format!(
                    "{}: no regression at {confidence}, and not clean",
                    sight(other)
                )
            }));
        }
        if !doubts.is_empty() {
            doubts.extend(self.settled_alone());
        }
        doubts
    }

    /// Why a fix is not settled against one control, if that is not clear from
    /// the control alone, and what would settle it.
    fn open(&self, fix: &ArmResult, one: &Evidence) -> Option<String> {
        let Evidence { control, .. } = one;
        let arm = self.controls.iter().find(|arm| arm.name == *control)?;
        if hits(arm) == 0 {
            return None;
        }
        if self.rules.until.is_none() && arm.missing() > 0 {
            return Some(format!("{control} is not through: {}", summary(arm)));
        }
        let mut text = format!(
            "{} against {control}: 0/{} against {}/{}",
            fix.name, one.trials, one.control_hits, one.control_trials
        );
        if one.control_trials == 0 || one.trials == 0 {
            return Some(format!(
                "{text}: there is no workload that both were tried with"
            ));
        }
        if self.rules.until.is_none()
            && let Some(workload) = untold(fix, arm)
        {
            return Some(format!(
                "{text}; no trial of {} with {workload} told anything of the target: {}",
                fix.name,
                summary(fix)
            ));
        }
        let alpha = self.rules.confidence.alpha();
        let _ = match one.chance {
            Some(chance) if chance <= alpha + ROUNDING => write!(
                text,
                "; trials of {} that told nothing may have met the target: {}",
                fix.name,
                summary(fix)
            ),
            Some(chance) => write!(
                text,
                " is up to {} likely by chance, at most {} is asked for",
                percent(chance),
                percent(alpha)
            ),
            None => write!(text, " does not settle it at {}", self.rules.confidence),
        };
        if let Some(more) = one.more {
            let _ = write!(
                text,
                "; about {more} more trials of each would settle it, at these rates"
            );
        }
        Some(text)
    }

    /// Of several fixes, those that are settled whatever the others are: as
    /// each is told by itself, the level is corrected for their number.
    fn settled_alone(&self) -> Vec<String> {
        if self.rules.until.is_some() || self.fixes.len() < 2 {
            return Vec::new();
        }
        let worst = |fix: &&ArmResult| {
            let chances = self.against(fix).map(|one| match one.chance {
                Some(chance) if one.settled => chance,
                _ => 1.0,
            });
            chances.reduce(f64::max).unwrap_or(1.0)
        };
        let chances: Vec<f64> = self.fixes.iter().map(worst).collect();
        let corrected = holm(&chances);
        let alone = self.fixes.iter().zip(corrected);
        alone
            .filter(|(_, chance)| *chance <= self.rules.confidence.alpha() + ROUNDING)
            .map(|(fix, chance)| {
                format!(
                    "{} by itself is fixed ({} likely by chance, corrected for {} arms)",
                    fix.name,
                    percent(chance),
                    self.fixes.len()
                )
            })
            .collect()
    }
}

fn hits(arm: &ArmResult) -> u32 {
    arm.count(Outcome::Target)
}

/// Why the patches are held to have brought it.
fn regression(other: &Other) -> String {
    let mut text = sight(other);
    if other.control_ended_early {
        text.push_str("; each of these ended at the target, so it may be an old bug behind that");
    }
    text
}

/// "fixed shows WARNING in f in 3/3 trials of w, stock in 0/3".
fn sight(other: &Other) -> String {
    let mut text = format!(
        "{} shows {} in {}/{} trials of {}",
        other.fix, other.finding.title, other.hits, other.trials, other.workload
    );
    let _ = match &other.control {
        Some(control) => write!(
            text,
            ", {control} in {}/{}",
            other.control_hits, other.control_trials
        ),
        None => write!(text, ", which no control was tried with"),
    };
    text
}

/// A probability or a rate, for people.
fn percent(share: f64) -> String {
    if share < 0.001 {
        "less than 0.1 %".to_owned()
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// "2 clean, 1 harness (the cluster's mds.a ended)" or why there is nothing.
fn summary(arm: &ArmResult) -> String {
    if let Some(broken) = &arm.broken {
        return broken.clone();
    }
    let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
    for trial in &arm.trials {
        *counts.entry(trial.outcome).or_default() += 1;
    }
    if counts.is_empty() && arm.alone == 0 {
        return "no trial ran".to_owned();
    }
    let mut parts: Vec<String> = counts
        .into_iter()
        .map(|(outcome, count)| match arm.reason(outcome) {
            Some(reason) if !reason.is_empty() => {
                format!("{count} {} ({reason})", outcome.name())
            }
            _ => format!("{count} {}", outcome.name()),
        })
        .collect();
    if arm.alone > 0 {
        parts.push(format!("{} not compared", arm.alone));
    }
    if arm.missing() > 0 {
        parts.push(format!("{} not run", arm.missing()));
    }
    parts.join(", ")
}

#[cfg(test)]
pub(super) mod tests;
