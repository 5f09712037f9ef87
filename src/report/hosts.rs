//! The hosts of a run whose trials ran on others: what each of them showed, which
//! of them differs, and which trials have nothing on their kind of host that they
//! could be compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::model::{ArmReport, HostRate, HostReport, Report, TrialReport};
use super::printable;
use crate::outcome::Outcome;
use crate::record::HostRecord;
use crate::verdict::{Deviation, HostTrial, Rate, deviations};

/// The hosts, with what their trials came to.
#[must_use]
pub fn hosts(records: Vec<HostRecord>, arms: &[ArmReport]) -> Vec<HostReport> {
    let rate = |host: &str, arm: &ArmReport| {
        let of_host = |trial: &&TrialReport| trial.host.as_deref() == Some(host);
        let count = |counts: &dyn Fn(Outcome) -> bool| {
            let trials = arm.trials.iter().filter(of_host);
            let counted = trials.filter(|trial| counts(trial.judged.outcome)).count();
            u32::try_from(counted).unwrap_or(u32::MAX)
        };
        HostRate {
            arm: arm.name.clone(),
            trials: count(&|_| true),
            telling: count(&Outcome::tells),
            target: count(&|outcome| outcome == Outcome::Target),
        }
    };
    let host = |record: HostRecord| HostReport {
        rates: arms.iter().map(|arm| rate(&record.name, arm)).collect(),
        name: record.name,
        facts: record.facts,
        kind: record.kind,
        left_out: record.left_out,
    };
    records.into_iter().map(host).collect()
}

/// What some hosts do differently.
#[must_use]
pub fn differing(arms: &[ArmReport]) -> Vec<Deviation> {
    let trials: Vec<HostTrial<'_>> = arms
        .iter()
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
        .filter_map(|(arm, trial)| {
            Some(HostTrial {
                arm: &arm.name,
                host: trial.host.as_deref()?,
                outcome: trial.judged.outcome,
            })
        })
        .collect();
    deviations(&trials)
}

/// Marks trials of a fix on a kind of host on which no control with its target
/// told anything: beside controls of another kind they would prove nothing.
pub fn mark_alone(arms: &mut [ArmReport], hosts: &[HostRecord]) {
    let kinds: BTreeMap<&str, &str> = hosts
        .iter()
        .map(|host| (host.name.as_str(), host.kind.as_str()))
        .collect();
    if kinds.values().collect::<BTreeSet<_>>().len() < 2 {
        return;
    }
    let kind = |trial: &TrialReport| kinds.get(trial.host.as_deref()?).copied();
    let controlled: BTreeSet<(String, &str)> = arms
        .iter()
        .filter(|arm| arm.control)
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
        .filter(|(_, trial)| trial.judged.outcome.tells())
        .filter_map(|(arm, trial)| Some((arm.target.clone(), kind(trial)?)))
        .collect();
    let has_control: BTreeSet<String> = arms
        .iter()
        .filter(|arm| arm.control)
        .map(|arm| arm.target.clone())
        .collect();
    for arm in arms {
        if arm.control || !has_control.contains(&arm.target) {
            continue;
        }
        for trial in &mut arm.trials {
            let there = kind(trial).is_none_or(|kind| {
                controlled
                    .iter()
                    .any(|(target, other)| *target == arm.target && *other == kind)
            });
            trial.alone = !there;
        }
    }
}

/// The hosts in words: a line each, and what is odd.
pub(super) fn in_words(report: &Report) -> String {
    let mut text = String::new();
    for host in &report.hosts {
        let _ = write!(text, "  on {}:", printable(&host.name));
        let mut rates = host.rates.iter().filter(|rate| rate.trials > 0).peekable();
        if rates.peek().is_none() {
            text.push_str(" no trial");
        }
        let words: Vec<String> = rates.map(words).collect();
        if !words.is_empty() {
            let _ = write!(text, " {}", words.join(", "));
        }
        if let Some(why) = &host.left_out {
            let _ = write!(text, "; left out: {}", printable(why));
        }
        text.push('\n');
    }
    for kind in kinds(report) {
        let _ = writeln!(text, "  {}", printable(&kind));
    }
    for one in &report.deviations {
        let _ = writeln!(text, "  {}", printable(&deviation(one)));
    }
    let alone = |arm: &ArmReport| arm.trials.iter().filter(|trial| trial.alone).count();
    for arm in report.arms.iter().filter(|arm| alone(arm) > 0) {
        let _ = writeln!(
            text,
            "  {}: {} trials are not compared: no control told anything on their kind of host",
            printable(&arm.name),
            alone(arm)
        );
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn words(rate: &HostRate) -> String {
    let untold = rate.trials - rate.telling;
    let mut words = format!(
        "{} {}/{} target",
        printable(&rate.arm),
        rate.target,
        rate.telling
    );
    if untold > 0 {
        let _ = write!(words, " ({untold} told nothing)");
    }
    words
}

/// The kinds of hosts, if they are several.
fn kinds(report: &Report) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in report.hosts.iter().filter(|host| !host.kind.is_empty()) {
        kinds.entry(&host.kind).or_default().push(&host.name);
    }
    if kinds.len() < 2 {
        return Vec::new();
    }
    let line = |(kind, hosts): (&str, Vec<&str>)| format!("kind of {}: {kind}", hosts.join(", "));
    kinds.into_iter().map(line).collect()
}

/// What a host does differently, in a line.
pub(super) fn deviation(one: &Deviation) -> String {
    let what = match one.what {
        Rate::Target => "show the target",
        Rate::Nothing => "tell nothing",
    };
    format!(
        "{} is odd: of {}, {} of {} trials there {what}, {} of {} elsewhere (chance {})",
        one.host,
        one.arm,
        one.hits,
        one.trials,
        one.other_hits,
        one.other_trials,
        super::terminal::percent(one.chance)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::host::HostFacts;

    fn record(name: &str, kind: &str) -> HostRecord {
        HostRecord {
            name: name.to_owned(),
            facts: HostFacts::default(),
            kind: kind.to_owned(),
            left_out: None,
        }
    }

    fn on(host: &str, mut trial: TrialReport) -> TrialReport {
        trial.host = Some(host.to_owned());
        trial
    }

    #[test]
    fn a_fix_is_not_compared_with_controls_of_another_kind() {
        let hung = "INFO: task hung in evict";
        let target = |number| fixture::trial(number, Outcome::Target, hung);
        let clean = |number| fixture::trial(number, Outcome::Clean, "");
        let mut arms = vec![
            fixture::arm(
                "stock",
                true,
                vec![on("n1", target(1)), on("n1", target(2))],
            ),
            fixture::arm("fixed", false, vec![on("n1", clean(1)), on("n2", clean(2))]),
        ];
        let same = [record("n1", "a"), record("n2", "a")];
        mark_alone(&mut arms, &same);
        assert!(!arms[1].trials[1].alone);
        let different = [record("n1", "a"), record("n2", "b")];
        mark_alone(&mut arms, &different);
        let alone: Vec<bool> = arms[1].trials.iter().map(|trial| trial.alone).collect();
        assert_eq!(alone, [false, true]);
        assert_eq!(arms[1].result().trials.len(), 1);
        let mut report = fixture::of(arms);
        report.hosts = hosts(different.to_vec(), &report.arms);
        let text = in_words(&report);
        assert!(
            text.contains("on n1: stock 2/2 target, fixed 0/1 target"),
            "{text}"
        );
        assert!(text.contains("fixed: 1 trials are not compared"), "{text}");
        assert!(text.contains("kind of n2: b"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_a_run_on_one_host() {
        assert_eq!(in_words(&fixture::report()), "");
    }
}
