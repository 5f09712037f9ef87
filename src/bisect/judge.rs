//! What a trial says of the target, and a whole bisection judged again from what
//! it recorded: without a machine, and with today's rules.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::drive::{PATIENCE, SERVICE_PATIENCE};
use super::error::AskedError;
use super::log::{Begun, Entry, LogError, State, entries, replay};
use crate::detect::Finding;
use crate::error::Error;
use crate::job::{Arm, Plan, PlannedWorkload, Variation};
use crate::outcome::Outcome;
use crate::record::{Beginning, Record, Trial, read_trial};
use crate::verdict::{
    Judged, Question, decide, is_mute, is_of_time, spent, unarmed, unchecked, unheard,
};

/// What decides about trials.
pub(super) struct Judge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) planned: &'a PlannedWorkload,
    pub(super) arm: &'a Arm,
    /// Any finding counts.
    pub(super) any: bool,
    pub(super) day: Date,
}

impl Judge<'_> {
    /// Whether the target shows in a trial of a kernel with this `.config`;
    /// nothing if the trial does not tell. Only the target's signature counts,
    /// unless any finding does; a detector that was not armed makes silence worth
    /// nothing.
    pub(super) fn trial(
        &self,
        config: &str,
        trial: &Trial,
        variation: Option<&Variation>,
    ) -> (Option<bool>, Judged) {
        let target = self.arm.target.as_ref();
        let workload = &self.planned.workload;
        let varied = variation.map(|variation| variation.workload(workload));
        let mut missing = unarmed(
            Some(config),
            varied.as_ref().unwrap_or(workload),
            !self.plan.profile.is_empty(),
            target.and_then(|target| target.class),
            trial.ready.as_ref(),
            is_mute(trial),
        );
        missing.extend(unheard(trial));
        missing.extend(unchecked(trial, target));
        let question = Question {
            target,
            known: &self.plan.known,
            day: self.day,
        };
        missing.extend(spent(trial, &question, &self.arm.command_line));
        let judged = decide(trial, &question, &missing);
        let hit = match judged.outcome {
            Outcome::Target => Some(true),
            Outcome::Clean => Some(false),
            Outcome::Other if self.any => Some(true),
            // It said something, and then did not come up: unless all that it said is
            // how long things took, which is the host's affair while it boots.
            Outcome::Harness if self.any && judged.boot.is_some() => {
                let counts = |finding: &Finding| {
                    !is_of_time(finding.class)
                        && judged
                            .others
                            .iter()
                            .any(|seen| seen.signature == finding.signature)
                };
                trial.findings.iter().any(counts).then_some(true)
            }
            _ => None,
        };
        (hit, judged)
    }

    /// Titles of what a trial showed that does not count.
    pub(super) fn others(&self, judged: &Judged) -> Vec<String> {
        if self.any {
            return Vec::new();
        }
        let titles = judged.others.iter().map(|seen| seen.title.clone());
        titles.collect()
    }
}

/// Why a boot told what it did, in a few words.
pub(super) fn reason(hit: Option<bool>, judged: &Judged) -> String {
    if hit.is_some() {
        judged.reason.clone()
    } else {
        format!("{}: {}", judged.outcome.name(), judged.reason)
    }
}

/// The bisection as its recorded trials have it: every one is judged again, and
/// the search replayed with what they say now.
pub(super) fn again(record: &Record, beginning: &Beginning, path: &Path) -> Result<State, Error> {
    let entries = entries(path)?;
    let Some(Entry::Begun(begun)) = entries.first() else {
        return Err(LogError::NoBeginning(path.to_owned()).into());
    };
    let begun = begun.clone();
    let plan = &beginning.plan;
    let arm = plan.arms.first().ok_or(AskedError::NoArm)?;
    let judge = Judge {
        plan,
        planned: planned(plan, arm, &begun.workload)?,
        arm,
        any: begun.any,
        day: beginning.started.to_zoned(TimeZone::UTC).date(),
    };
    let again = Again {
        record,
        judge,
        begun: &begun,
    };
    let mut state = replay(path, vec![Entry::Begun(begun.clone())])?;
    for entry in entries.into_iter().skip(1) {
        for entry in again.entries(entry, &state)? {
            // Who told nothing three times may tell something now.
            if let Entry::Skipped {
                candidate,
                mute: true,
                ..
            } = &entry
            {
                let number = state.number(candidate)?;
                let count = |lost: &BTreeMap<Option<usize>, u32>| lost.get(&Some(number)).copied();
                let (lost, service) = (count(&state.lost), count(&state.service_lost));
                if lost.unwrap_or(0) < PATIENCE && service.unwrap_or(0) < SERVICE_PATIENCE {
                    continue;
                }
            }
            state.take(entry)?;
        }
    }
    Ok(state)
}

struct Again<'a> {
    record: &'a Record,
    judge: Judge<'a>,
    begun: &'a Begun,
}

impl Again<'_> {
    /// What a trial comes to now; nothing if it is not there any more.
    fn trial(
        &self,
        directory: &Path,
        state: &State,
    ) -> Result<Option<(Option<bool>, Judged, f64)>, Error> {
        let inside =
            |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
        if !directory.components().all(inside) {
            return Ok(None);
        }
        let Some(trial) = read_trial(&self.record.path().join(directory))? else {
            return Ok(None);
        };
        let config = self.record.config(&trial.id.arm)?.unwrap_or_default();
        let way = state.way.and_then(|way| way.checked_sub(1));
        let variation = way.and_then(|number| self.begun.variations.get(number));
        let (hit, judged) = self.judge.trial(&config, &trial, variation);
        Ok(Some((hit, judged, trial.seconds)))
    }

    /// What stands in the log for this entry now that its trial is judged again,
    /// what was seen besides first.
    fn entries(&self, entry: Entry, state: &State) -> Result<Vec<Entry>, Error> {
        let directory = match &entry {
            Entry::Boot { trial, .. }
            | Entry::Confirmed { trial, .. }
            | Entry::Lost {
                trial: Some(trial),
                service: false,
                ..
            } => trial.clone(),
            _ => return Ok(vec![entry]),
        };
        let Some((hit, judged, seconds)) = self.trial(&directory, state)? else {
            return Ok(vec![entry]);
        };
        let (candidate, base, confirmed) = match entry {
            Entry::Boot {
                candidate, base, ..
            }
            | Entry::Lost {
                candidate, base, ..
            } => (Some(candidate), base, None),
            Entry::Confirmed { culprit, row, .. } => (None, 0, Some((culprit, row))),
            entry => return Ok(vec![entry]),
        };
        let mut now = Vec::new();
        if let Some(candidate) = &candidate {
            let other = |title: String| Entry::Other {
                candidate: candidate.clone(),
                title,
            };
            now.extend(self.judge.others(&judged).into_iter().map(other));
        }
        match (candidate, confirmed, hit) {
            (Some(candidate), _, Some(hit)) => now.push(Entry::Boot {
                candidate,
                base,
                hit,
                reason: judged.reason,
                trial: directory,
                seconds,
            }),
            (Some(candidate), _, None) => now.push(Entry::Lost {
                candidate,
                base,
                reason: reason(None, &judged),
                trial: Some(directory),
                service: false,
            }),
            (None, Some((culprit, row)), Some(hit)) => now.push(Entry::Confirmed {
                culprit,
                row,
                hit,
                reason: judged.reason,
                trial: directory,
                seconds,
            }),
            // A boot of the table that tells nothing any more is not in it.
            _ => {}
        }
        Ok(now)
    }
}

/// The workload of this name, as the job has it for the arm.
pub(super) fn planned<'a>(
    plan: &'a Plan,
    arm: &Arm,
    workload: &str,
) -> Result<&'a PlannedWorkload, Error> {
    Ok(plan
        .workload(workload)
        .ok_or_else(|| AskedError::NoWorkload {
            arm: arm.name.clone(),
            workload: workload.to_owned(),
            there: arm.workloads.join(", "),
        })?)
}
