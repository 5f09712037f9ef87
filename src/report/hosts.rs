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

/// Ranges of numbers of trials that are told of a host and an arm.
const RANGES: usize = 8;

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
            failed: u32::try_from(
                failed(std::slice::from_ref(arm))
                    .filter(|(_, _, on, _)| *on == host)
                    .count(),
            )
            .unwrap_or(u32::MAX),
            seconds: median(arm.trials.iter().filter(of_host).map(|trial| trial.seconds)),
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

/// Attempts that the harness failed and that were made again, each with its host.
/// Where the trial came to something in the end, that host would look as good as any.
fn failed(arms: &[ArmReport]) -> impl Iterator<Item = (&ArmReport, &TrialReport, &str, Outcome)> {
    let trials = arms
        .iter()
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)));
    trials.flat_map(|(arm, trial)| {
        let hosts = trial.failed_on.iter();
        hosts.map(move |host| (arm, trial, host.as_str(), Outcome::Harness))
    })
}

/// What some hosts do differently.
#[must_use]
pub fn differing(arms: &[ArmReport]) -> Vec<Deviation> {
    let trials: Vec<HostTrial<'_>> = arms
        .iter()
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
        .filter_map(|(arm, trial)| Some((arm, trial, trial.host.as_deref()?, trial.judged.outcome)))
        .chain(failed(arms))
        .map(|(arm, trial, host, outcome)| HostTrial {
            arm: &arm.name,
            workload: &trial.workload,
            host,
            outcome,
        })
        .collect();
    deviations(&trials)
}

/// Marks trials of a fix on a kind of host on which no control with its target
/// told anything of their workload: beside controls of another kind they would
/// prove nothing. One that shows the target proves that the bug is there. `here` is
/// the driver's own kind.
pub fn mark_alone(arms: &mut [ArmReport], hosts: &[HostRecord], here: &str) {
    let kinds: BTreeMap<&str, &str> = hosts
        .iter()
        .map(|host| (host.name.as_str(), host.kind.as_str()))
        .collect();
    let kind = |trial: &TrialReport| match trial.host.as_deref() {
        Some(host) => kinds.get(host).copied().unwrap_or_default(),
        None => here,
    };
    let all = arms.iter().flat_map(|arm| &arm.trials);
    if all.map(kind).collect::<BTreeSet<_>>().len() < 2 {
        return;
    }
    let controlled: BTreeSet<(String, String, &str)> = arms
        .iter()
        .filter(|arm| arm.control)
        .flat_map(|arm| arm.trials.iter().map(move |trial| (arm, trial)))
        .filter(|(_, trial)| trial.judged.outcome.tells())
        .map(|(arm, trial)| (arm.target.clone(), trial.workload.clone(), kind(trial)))
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
            let proves = matches!(trial.judged.outcome, Outcome::Clean | Outcome::Other);
            let place = (arm.target.clone(), trial.workload.clone(), kind(trial));
            trial.alone = proves && !controlled.contains(&place);
        }
    }
}

/// The hosts in words: a line each, and what is odd.
pub(super) fn in_words(report: &Report) -> String {
    let mut text = String::new();
    for host in &report.hosts {
        let _ = write!(text, "  on {}:", printable(&host.name));
        let had_any = |rate: &&HostRate| rate.trials + rate.failed > 0;
        let mut rates = host.rates.iter().filter(had_any).peekable();
        if rates.peek().is_none() {
            text.push_str(" no trial");
        }
        let words = |rate| format!("{}{}", words(rate), which(report, &host.name, rate));
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
    if rate.failed > 0 {
        let _ = write!(words, " ({} attempts failed)", rate.failed);
    }
    if let Some(seconds) = rate.seconds {
        let _ = write!(words, " in {} s each", super::table::figure(seconds));
    }
    words
}

/// Which trials of an arm a host had, by number, as far as that stays short: other
/// forms of the report have the host beside each trial.
fn which(report: &Report, host: &str, rate: &HostRate) -> String {
    let arm = report.arms.iter().find(|arm| arm.name == rate.arm);
    let mut numbers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for trial in arm.iter().flat_map(|arm| &arm.trials) {
        let numbers = numbers.entry(&trial.workload).or_default();
        if trial.host.as_deref() == Some(host) {
            numbers.push(trial.number);
        }
    }
    let several = numbers.len() > 1;
    let had = numbers
        .into_iter()
        .filter(|(_, numbers)| !numbers.is_empty());
    let words = had.map(|(workload, numbers)| {
        let ranges = ranges(numbers);
        if several {
            format!("{} {ranges}", printable(workload))
        } else {
            ranges
        }
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return String::new();
    }
    format!(" (trials {})", words.join("; "))
}

/// Numbers as people write them: `1-3, 7`.
fn ranges(mut numbers: Vec<u32>) -> String {
    numbers.sort_unstable();
    let runs: Vec<&[u32]> = numbers.chunk_by(|one, next| one + 1 == *next).collect();
    let words = runs.iter().take(RANGES).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(u32::to_string).collect(),
    });
    let mut words: Vec<String> = words.collect();
    let more: usize = runs.iter().skip(RANGES).map(|run| run.len()).sum();
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

/// The middle of some numbers.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len().is_multiple_of(2) {
        let below = numbers.get(middle.checked_sub(1)?)?;
        return Some(f64::midpoint(*below, numbers[middle]));
    }
    numbers.get(middle).copied()
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
#[must_use]
pub fn deviation(one: &Deviation) -> String {
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
        super::table::percent(one.chance)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::host::HostFacts;
    use crate::outcome::VerdictKind;

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
        mark_alone(&mut arms, &same, "");
        assert!(!arms[1].trials[1].alone);
        let different = [record("n1", "a"), record("n2", "b")];
        mark_alone(&mut arms, &different, "");
        let alone: Vec<bool> = arms[1].trials.iter().map(|trial| trial.alone).collect();
        assert_eq!(alone, [false, true]);
        assert_eq!(arms[1].result().trials.len(), 1);
        let mut report = fixture::of(arms);
        report.hosts = hosts(different.to_vec(), &report.arms);
        let text = in_words(&report);
        assert!(
            text.contains("on n1: stock 2/2 target in 8.25 s each (trials 1-2), fixed 0/1 target"),
            "{text}"
        );
        assert!(text.contains("fixed: 1 trials are not compared"), "{text}");
        // They ran.
        for text in [
            super::super::human(&report, super::super::Style::Plain),
            super::super::ktap(&report),
            super::super::junit(&report),
            super::super::markdown(&report),
        ] {
            // The verdict's own words are its own.
            let (verdict, rest): (Vec<&str>, Vec<&str>) = text
                .lines()
                .partition(|line| line.contains("is not through"));
            drop(verdict);
            let rest = rest.join("\n");
            assert!(!rest.contains("not run"), "{rest}");
        }
        assert!(text.contains("kind of n2: b"), "{text}");
    }

    fn target(number: u32) -> TrialReport {
        fixture::trial(number, Outcome::Target, "INFO: task hung in evict")
    }

    fn clean(number: u32) -> TrialReport {
        fixture::trial(number, Outcome::Clean, "")
    }

    /// A control with three trials on n1, and a fix with three clean ones there and
    /// this one on n2, which is of another kind.
    fn with_one_apart(apart: TrialReport) -> Vec<ArmReport> {
        let controls = (1..=3).map(|number| on("n1", target(number)));
        let fixes = (1..=3).map(|number| on("n1", clean(number)));
        let fixes = fixes.chain([on("n2", apart)]);
        let mut arms = vec![
            fixture::arm("stock", true, controls.collect()),
            fixture::arm("fixed", false, fixes.collect()),
        ];
        mark_alone(&mut arms, &[record("n1", "a"), record("n2", "b")], "");
        arms
    }

    #[test]
    fn a_fix_that_shows_the_target_is_never_set_aside() {
        let report = fixture::of(with_one_apart(target(4)));
        assert_eq!(report.verdict.kind, VerdictKind::NotFixed);
    }

    #[test]
    fn a_finding_that_nothing_can_be_compared_with_leaves_a_job_open() {
        let apart = fixture::trial(4, Outcome::Other, "kernel BUG in f");
        let report = fixture::of(with_one_apart(apart));
        assert_eq!(report.verdict.kind, VerdictKind::Inconclusive);
    }

    #[test]
    fn trials_that_are_not_compared_do_not_keep_a_job_from_fixed() {
        let mut arms = with_one_apart(clean(4));
        let said = |arms: &[ArmReport]| {
            let verdict = fixture::of(arms.to_vec()).verdict;
            (verdict.kind, verdict.reasons[0].clone())
        };
        assert_eq!(said(&arms).0, VerdictKind::Fixed);
        // One that did not run at all does.
        arms[1].planned += 1;
        let (kind, reason) = said(&arms);
        assert_eq!(kind, VerdictKind::Inconclusive);
        assert!(
            reason.ends_with(": 3 clean, 1 not compared, 1 not run"),
            "{reason}"
        );
        for trial in &mut arms[1].trials {
            trial.alone = true;
        }
        let (_, reason) = said(&arms);
        assert!(reason.ends_with(": 4 not compared, 1 not run"), "{reason}");
    }

    /// A run that was begun on one host may be gone on with on others.
    #[test]
    fn the_driver_s_own_host_is_of_a_kind_too() {
        let marked = |here: &str| {
            let mut arms = vec![
                fixture::arm("stock", true, vec![target(1)]),
                fixture::arm("fixed", false, vec![on("n1", clean(1))]),
            ];
            mark_alone(&mut arms, &[record("n1", "a")], here);
            arms[1].trials[0].alone
        };
        assert!(!marked("a"));
        assert!(marked("b"));
    }

    #[test]
    fn a_control_of_another_workload_is_none() {
        let of = |workload: &str, mut trial: TrialReport| {
            trial.workload = workload.to_owned();
            trial
        };
        let stock = vec![on("n1", of("w1", target(1))), on("n2", of("w2", target(1)))];
        let fixed = vec![on("n1", of("w1", clean(1))), on("n1", of("w2", clean(1)))];
        let mut arms = vec![
            fixture::arm("stock", true, stock),
            fixture::arm("fixed", false, fixed),
        ];
        mark_alone(&mut arms, &[record("n1", "a"), record("n2", "b")], "");
        let alone: Vec<bool> = arms[1].trials.iter().map(|trial| trial.alone).collect();
        assert_eq!(alone, [false, true]);
    }

    #[test]
    fn a_host_on_which_attempts_fail_is_odd_though_its_trials_came_to_something() {
        let trials = |host: &'static str, failed: bool| {
            (1..=12).map(move |number| {
                let mut trial = on(host, fixture::trial(number, Outcome::Clean, ""));
                if failed {
                    trial.host = Some("n1".to_owned());
                    trial.failed_on = vec![host.to_owned()];
                }
                trial
            })
        };
        let all = trials("n1", false).chain(trials("n2", false));
        let arms = vec![fixture::arm(
            "stock",
            true,
            all.chain(trials("n3", true)).collect(),
        )];
        let named: Vec<_> = differing(&arms).into_iter().map(|one| one.host).collect();
        assert_eq!(named, ["n3"]);
        let records = ["n1", "n2", "n3"].map(|name| record(name, "k"));
        let hosts = hosts(records.to_vec(), &arms);
        let failed: Vec<u32> = hosts.iter().map(|host| host.rates[0].failed).collect();
        assert_eq!(failed, [0, 0, 12]);
        let mut report = fixture::of(arms);
        report.hosts = hosts;
        let text = in_words(&report);
        assert!(
            text.contains("on n3: stock 0/0 target (12 attempts failed)"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_told_as_ranges_and_not_without_end() {
        assert_eq!(ranges(vec![3, 1, 2, 7]), "1-3, 7");
        let odd: Vec<u32> = (0..20).map(|number| 2 * number).collect();
        assert_eq!(ranges(odd), "0, 2, 4, 6, 8, 10, 12, 14, and 12 more");
    }

    #[test]
    fn nothing_is_said_of_a_run_on_one_host() {
        assert_eq!(in_words(&fixture::report()), "");
    }
}
