//! What kernels said in a run, each finding once, with who said it how often.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::model::{ArmReport, Report, TrialReport};
use super::safe::plain;
use crate::detect::{Finding, Frame};
use crate::outcome::Outcome;

/// One finding of a run.
pub(super) struct Shown<'a> {
    /// As it was first seen.
    pub finding: &'a Finding,
    /// The arm and trial that showed it first.
    pub arm: &'a ArmReport,
    /// That trial.
    pub trial: &'a TrialReport,
    /// The arms that showed it, in the job's order, and in how many trials.
    pub arms: Vec<(&'a str, usize)>,
    /// What it is to the job.
    pub role: Role,
}

/// What a finding is to a job; what matters most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The bug that the job is about.
    Target,
    /// Another one, which decided a trial.
    Decided,
    /// Another one.
    Beside,
    /// Known, and not counted.
    Known,
}

impl Role {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Decided => "other finding",
            Self::Beside => "seen beside it",
            Self::Known => "known, not counted",
        }
    }
}

/// Every finding of the run, what matters most first.
pub(super) fn shown(report: &Report) -> Vec<Shown<'_>> {
    let mut all: Vec<Shown<'_>> = Vec::new();
    // A guest can make each of its thousand findings another one.
    let mut places = HashMap::new();
    for arm in &report.arms {
        for trial in &arm.trials {
            let mut seen = HashSet::new();
            for finding in &trial.findings {
                let role = role(trial, finding);
                let at = *places.entry(name(finding)).or_insert(all.len());
                if at == all.len() {
                    all.push(Shown {
                        finding,
                        arm,
                        trial,
                        arms: Vec::new(),
                        role,
                    });
                }
                let shown = &mut all[at];
                shown.role = shown.role.min(role);
                if seen.insert(at) {
                    match shown.arms.last_mut() {
                        Some((name, trials)) if *name == arm.name => *trials += 1,
                        _ => shown.arms.push((&arm.name, 1)),
                    }
                }
            }
        }
    }
    // Stable: of the same role, the first seen comes first.
    all.sort_by_key(|shown| shown.role);
    all
}

/// Whether two findings are one and the same to a reader.
pub(super) fn same(one: &Finding, other: &Finding) -> bool {
    name(one) == name(other)
}

/// By what a reader tells findings apart.
pub(super) fn name(finding: &Finding) -> (&str, &str) {
    (&finding.signature, &finding.title)
}

fn role(trial: &TrialReport, finding: &Finding) -> Role {
    let decided = trial.judged.reason == finding.title;
    match trial.judged.outcome {
        _ if trial.judged.known.contains(&finding.title) => Role::Known,
        Outcome::Target if decided => Role::Target,
        Outcome::Other if decided => Role::Decided,
        _ => Role::Beside,
    }
}

/// The finding that decided a trial.
pub(super) fn deciding(trial: &TrialReport) -> Option<&Finding> {
    let mut findings = trial.findings.iter();
    findings.find(|finding| finding.title == trial.judged.reason)
}

/// Who said it: `INFO: task hung in evict (kworker/1:1, pid 34, CPU 0)`.
pub(super) fn heading(finding: &Finding) -> String {
    let mut who = Vec::new();
    who.extend(finding.task.clone());
    who.extend(finding.pid.map(|pid| format!("pid {pid}")));
    who.extend(finding.cpu.map(|cpu| format!("CPU {cpu}")));
    if who.is_empty() {
        return plain(&finding.title);
    }
    plain(&format!("{} ({})", finding.title, who.join(", ")))
}

/// The stack, a line a frame, as kernels print them, with file and line where
/// these are known; `?` marks what the unwinder does not vouch for.
#[must_use]
pub fn stack(finding: &Finding) -> Vec<String> {
    finding.frames.iter().map(frame).collect()
}

/// One line of a stack.
pub(super) fn frame(frame: &Frame) -> String {
    let mut text = String::from(if frame.reliable { "" } else { "? " });
    text.push_str(&frame.function);
    if let (Some(offset), Some(size)) = (frame.offset, frame.size) {
        let _ = write!(text, "+{offset:#x}/{size:#x}");
    }
    if frame.inlined {
        text.push_str(" [inline]");
    }
    if let Some(module) = &frame.module {
        let _ = write!(text, " [{module}]");
    }
    if let Some(place) = &frame.place {
        let _ = write!(text, " ({place})");
    }
    plain(&text)
}

/// Numbers of trials by arm: `stock 3/3, fixed 1/3`.
pub(super) fn frequencies(report: &Report, shown: &Shown<'_>) -> String {
    let of = |name: &str| {
        let mut arms = report.arms.iter();
        arms.find(|arm| arm.name == name)
            .map_or(0, |arm| arm.trials.len())
    };
    let arms = shown.arms.iter();
    let parts: Vec<String> = arms
        .map(|(name, trials)| format!("{name} {trials}/{}", of(name)))
        .collect();
    parts.join(", ")
}
