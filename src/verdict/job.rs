//! A job's verdict from its arms' outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::Judged;
use super::statistics::chance;
use crate::error::Exit;
use crate::outcome::Outcome;

/// What a job's trials amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// The controls showed the target, the other arms did not.
    Fixed,
    /// An arm that should be free of it showed the target.
    NotFixed,
    /// An arm that should be clean showed something no control did.
    Regressed,
    /// There are only controls, and each showed the target.
    Reproduced,
    /// Nothing can be said.
    Inconclusive,
}

impl VerdictKind {
    /// The words a report shows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::NotFixed => "not fixed",
            Self::Regressed => "regressed",
            Self::Reproduced => "reproduced",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Fixed | Self::Reproduced => Exit::Good,
            Self::NotFixed | Self::Regressed => Exit::Bad,
            Self::Inconclusive => Exit::Undecided,
        }
    }
}

/// One arm's trials, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmResult {
    /// The arm's name.
    pub name: String,
    /// Whether it had to show the target.
    pub control: bool,
    /// How many trials the plan asks for.
    pub planned: u32,
    /// Why there is no kernel to try, if it could not be made.
    pub broken: Option<String>,
    /// Each trial's outcome, in order.
    pub trials: Vec<Judged>,
}

impl ArmResult {
    /// How many trials had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u32 {
        let count = self.trials.iter().filter(|t| t.outcome == outcome).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Trials that say something about the kernel.
    #[must_use]
    pub fn telling(&self) -> u32 {
        [Outcome::Clean, Outcome::Target, Outcome::Other]
            .map(|outcome| self.count(outcome))
            .iter()
            .sum()
    }

    /// How many planned trials have no outcome: the run ended before they did.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let ended = u32::try_from(self.trials.len()).unwrap_or(u32::MAX);
        self.planned.saturating_sub(ended)
    }

    /// The most frequent reason among the trials with this outcome.
    #[must_use]
    pub fn reason(&self, outcome: Outcome) -> Option<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for trial in self.trials.iter().filter(|t| t.outcome == outcome) {
            *counts.entry(&trial.reason).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(reason, _)| reason)
    }
}

/// A job's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub kind: VerdictKind,
    /// Why, one sentence per fact.
    pub reasons: Vec<String>,
    /// The probability of such a difference between controls and fixes if the
    /// patch did nothing; only with both kinds of arms.
    pub chance: Option<f64>,
}

/// Judges a job. Pure.
#[must_use]
pub fn judge(arms: &[ArmResult]) -> Verdict {
    let (controls, fixes): (Vec<&ArmResult>, Vec<&ArmResult>) =
        arms.iter().partition(|arm| arm.control);
    let sum = |arms: &[&ArmResult], count: &dyn Fn(&ArmResult) -> u32| -> u32 {
        arms.iter().map(|arm| count(arm)).sum()
    };
    let hits = |arm: &ArmResult| arm.count(Outcome::Target);
    let chance = (!controls.is_empty() && !fixes.is_empty()).then(|| {
        chance(
            sum(&fixes, &hits),
            sum(&fixes, &ArmResult::telling),
            sum(&controls, &hits),
            sum(&controls, &ArmResult::telling),
        )
    });
    let verdict = |kind, reasons| Verdict {
        kind,
        reasons,
        chance,
    };

    let unproven: Vec<String> = controls
        .iter()
        .filter(|arm| hits(arm) == 0)
        .map(|arm| {
            format!(
                "control {} did not show the target: {}",
                arm.name,
                summary(arm)
            )
        })
        .collect();

    // A finding stands, whatever else went wrong.
    let still: Vec<String> = fixes
        .iter()
        .filter(|arm| hits(arm) > 0)
        .map(|arm| format!("{} still shows the target: {}", arm.name, summary(arm)))
        .collect();
    if !still.is_empty() {
        return verdict(VerdictKind::NotFixed, still);
    }
    let in_controls: Vec<&str> = controls
        .iter()
        .flat_map(|arm| &arm.trials)
        .filter(|trial| trial.outcome == Outcome::Other)
        .map(|trial| trial.reason.as_str())
        .collect();
    let fresh: Vec<String> = fixes
        .iter()
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
        .filter(|(_, trial)| {
            trial.outcome == Outcome::Other && !in_controls.contains(&trial.reason.as_str())
        })
        .map(|(arm, trial)| format!("only {} shows: {}", arm.name, trial.reason))
        .collect();
    if !fresh.is_empty() && unproven.is_empty() && !controls.is_empty() {
        return verdict(VerdictKind::Regressed, dedup(fresh));
    }

    let mut doubts = unproven;
    if controls.is_empty() {
        doubts.push("no control ran, so a clean arm proves nothing".to_owned());
    }
    for arm in &fixes {
        if arm.count(Outcome::Clean) < arm.planned.max(1) {
            doubts.push(format!(
                "{} is not clean throughout: {}",
                arm.name,
                summary(arm)
            ));
        }
    }
    if !doubts.is_empty() {
        return verdict(VerdictKind::Inconclusive, doubts);
    }
    if fixes.is_empty() {
        return verdict(
            VerdictKind::Reproduced,
            vec!["every control shows the target".to_owned()],
        );
    }
    verdict(
        VerdictKind::Fixed,
        vec!["every control shows the target, and no other arm does".to_owned()],
    )
}

fn dedup(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines.dedup();
    lines
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
    if counts.is_empty() {
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
    if arm.missing() > 0 {
        parts.push(format!("{} not run", arm.missing()));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Clean, Harness, Other, Target, Unarmed};

    fn arm(name: &str, control: bool, outcomes: &[Outcome]) -> ArmResult {
        ArmResult {
            name: name.to_owned(),
            control,
            planned: u32::try_from(outcomes.len()).unwrap(),
            broken: None,
            trials: outcomes
                .iter()
                .map(|&outcome| Judged {
                    outcome,
                    reason: outcome.name().to_owned(),
                    known: Vec::new(),
                    boot: None,
                })
                .collect(),
        }
    }

    fn kind(arms: &[ArmResult]) -> VerdictKind {
        judge(arms).kind
    }

    #[test]
    fn fixed_needs_controls_that_failed_and_fixes_that_are_clean() {
        let stock = arm("stock", true, &[Target; 3]);
        let fixed = arm("fixed", false, &[Clean; 3]);
        let verdict = judge(&[stock.clone(), fixed.clone()]);
        assert_eq!(verdict.kind, VerdictKind::Fixed);
        assert!((verdict.chance.unwrap() - 0.05).abs() < 1e-9);
        assert_eq!(kind(&[fixed]), VerdictKind::Inconclusive);
        assert_eq!(kind(&[stock]), VerdictKind::Reproduced);
    }

    #[test]
    fn a_clean_control_makes_it_inconclusive() {
        let verdict = judge(&[
            arm("stock", true, &[Clean; 3]),
            arm("fixed", false, &[Clean; 3]),
        ]);
        assert_eq!(verdict.kind, VerdictKind::Inconclusive);
        assert_eq!(
            verdict.reasons,
            ["control stock did not show the target: 3 clean (clean)"]
        );
    }

    #[test]
    fn one_hit_in_a_fix_is_enough_for_not_fixed() {
        let arms = [
            arm("stock", true, &[Target; 3]),
            arm("fixed", false, &[Clean, Harness, Target]),
        ];
        assert_eq!(kind(&arms), VerdictKind::NotFixed);
    }

    #[test]
    fn a_finding_that_controls_share_is_no_regression() {
        let stock = arm("stock", true, &[Target, Other]);
        let fixed = arm("fixed", false, &[Clean, Other]);
        assert_eq!(kind(&[stock, fixed.clone()]), VerdictKind::Inconclusive);
        let stock = arm("stock", true, &[Target, Target]);
        assert_eq!(kind(&[stock, fixed]), VerdictKind::Regressed);
    }

    #[test]
    fn trials_that_show_nothing_do_not_count_as_clean() {
        for silent in [Harness, Unarmed, Outcome::Timeout, Outcome::Workload] {
            let arms = [
                arm("stock", true, &[Target; 2]),
                arm("fixed", false, &[Clean, silent]),
            ];
            assert_eq!(kind(&arms), VerdictKind::Inconclusive, "{silent:?}");
        }
    }

    #[test]
    fn an_arm_without_trials_is_not_clean() {
        let arms = [arm("stock", true, &[Target]), arm("fixed", false, &[])];
        assert_eq!(kind(&arms), VerdictKind::Inconclusive);
    }

    #[test]
    fn an_arm_that_could_not_be_built_is_named() {
        let mut broken = arm("fixed", false, &[]);
        broken.planned = 3;
        broken.broken = Some("it does not compile".to_owned());
        let verdict = judge(&[arm("stock", true, &[Target; 3]), broken]);
        assert_eq!(verdict.kind, VerdictKind::Inconclusive);
        assert!(verdict.reasons[0].contains("it does not compile"));
    }
}
