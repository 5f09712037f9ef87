//! How a trial stands before the verdict, for formats that know only passed and
//! failed. They must not be red where the verdict is not, nor green where it
//! is.

use super::model::{ArmReport, Report, TrialReport};
use crate::error::Exit;
use crate::outcome::Outcome;

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It came to what its arm is there for.
    Expected,
    /// It did not, and the verdict does not hold that against anybody: its
    /// control showed the target in other trials, or the verdict is good.
    Excused,
    /// The kernel did what it must not, or a control not what it must.
    Failed,
    /// It says nothing of the kernel.
    Untold,
}

/// What a trial of this arm is expected to come to.
pub(super) fn expected(arm: &ArmReport) -> Outcome {
    if arm.control {
        Outcome::Target
    } else {
        Outcome::Clean
    }
}

/// How a trial of this arm stands.
pub(super) fn standing(report: &Report, arm: &ArmReport, trial: &TrialReport) -> Standing {
    let outcome = trial.judged.outcome;
    if outcome == expected(arm) {
        return Standing::Expected;
    }
    let shows = |trial: &TrialReport| trial.judged.outcome == Outcome::Target;
    let excused =
        report.verdict.kind.exit() == Exit::Good || (arm.control && arm.trials.iter().any(shows));
    match (excused, outcome.tells()) {
        (true, _) => Standing::Excused,
        (false, true) => Standing::Failed,
        (false, false) => Standing::Untold,
    }
}

/// Why a trial came to what it did, in a line.
pub(super) fn why(trial: &TrialReport) -> String {
    let outcome = trial.judged.outcome.name();
    if trial.judged.reason.is_empty() {
        outcome.to_owned()
    } else {
        format!("{outcome}: {}", trial.judged.reason)
    }
}
