//! What is known of one arm when a job is judged: what it was meant to show and
//! its trials' outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outcome::{Judged, Seen};
use crate::detect::Target;
use crate::outcome::Outcome;

/// By what an arm's detectors were shown to be armed: silence is worth as much
/// as this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Armed {
    /// Not recorded.
    #[default]
    Unknown,
    /// The final configuration and the running kernel's parameters have what the
    /// job's detectors need.
    Config,
    /// That, and the kernel reported what a self-test provoked in it.
    SelfTest,
}

impl Armed {
    /// The words a report shows; none if nothing is known.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Config => Some("config"),
            Self::SelfTest => Some("self-test"),
        }
    }
}

/// One trial, as a verdict needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What it did.
    pub workload: String,
    /// Which one of its arm and workload, from 1, in the order in which they
    /// were begun.
    pub number: u32,
    /// What it came to.
    pub outcome: Outcome,
    /// Why, in a few words.
    pub reason: String,
    /// What was seen besides the target and what is known, each once; nothing, if
    /// the trial says nothing about the kernel.
    pub findings: Vec<Seen>,
}

impl Tried {
    /// A trial of this workload and number that came to this.
    #[must_use]
    pub fn of(workload: &str, number: u32, judged: &Judged) -> Self {
        let mut findings = judged.others.clone();
        if !judged.outcome.tells() {
            findings.clear();
        }
        if findings.is_empty() && judged.outcome == Outcome::Other {
            // A kernel that does not come up, and does not say why.
            findings.push(Seen {
                title: judged.reason.clone(),
                signature: judged.reason.clone(),
            });
        }
        Self {
            workload: workload.to_owned(),
            number,
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            findings,
        }
    }
}

/// One arm's trials, judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArmResult {
    /// The arm's name.
    pub name: String,
    /// Whether it had to show the target.
    pub control: bool,
    /// What its target is, as a key: arms are compared if theirs are the same.
    /// See [`target_key`].
    pub target: String,
    /// How many trials the plan asks for; the most there may be if they go on
    /// until the verdict is settled.
    pub planned: u32,
    /// The workloads of its trials, in the job's order.
    pub workloads: Vec<String>,
    /// Why there is no kernel to try, if it could not be made.
    pub broken: Option<String>,
    /// Its trials that ended and are compared.
    pub trials: Vec<Tried>,
    /// How many were clean that are not compared: on a kind of hosts on which no
    /// control told anything.
    pub alone: u32,
    /// The workloads of trials that are under way: they count for which trial
    /// is next, and for nothing else.
    pub under_way: Vec<String>,
}

impl ArmResult {
    /// How many trials had this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u32 {
        let with_outcome = self.trials.iter().filter(|t| t.outcome == outcome);
        number(with_outcome.count())
    }

    /// Trials that say something about the kernel.
    #[must_use]
    pub fn telling(&self) -> u32 {
        number(self.trials.iter().filter(|t| t.outcome.tells()).count())
    }

    /// How many planned trials have no outcome: the run ended before they did.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let ended = number(self.trials.len()).saturating_add(self.alone);
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

    /// Its trials of one workload, in order.
    pub(super) fn of(&self, workload: &str) -> impl Iterator<Item = &Tried> {
        let of_workload = move |trial: &&Tried| trial.workload == workload;
        self.trials.iter().filter(of_workload)
    }

    /// Its trials of one workload up to the first that has not ended: one that
    /// ends early must not be looked at before one that takes its time.
    pub(super) fn in_order(&self, workload: &str) -> Vec<&Tried> {
        let mut trials: Vec<&Tried> = self.of(workload).collect();
        trials.sort_by_key(|trial| trial.number);
        let expected = trials.iter().zip(1..);
        let ended = expected.take_while(|(trial, number)| trial.number <= *number);
        let ended = ended.count();
        trials.truncate(ended);
        trials
    }

    /// The workloads that it and another arm both were tried with.
    pub(super) fn workloads_with(&self, other: &Self) -> Vec<&str> {
        let mut shared: Vec<&str> = Vec::new();
        for trial in &self.trials {
            let workload = trial.workload.as_str();
            if !shared.contains(&workload) && other.of(workload).next().is_some() {
                shared.push(workload);
            }
        }
        shared
    }
}

/// The key of a target, the same for the same target.
#[must_use]
pub fn target_key(target: Option<&Target>) -> String {
    let text = target.and_then(|target| serde_json::to_string(target).ok());
    text.unwrap_or_default()
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
