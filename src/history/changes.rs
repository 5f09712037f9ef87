//! What is different in a second run: verdict, arms, rates, findings, kernels,
//! times. Pure: two reports go in.

use serde::Serialize;

use super::rate::Rate;
use crate::error::Exit;
use crate::outcome::{Outcome, VerdictKind};
use crate::record::KernelFacts;
use crate::report::{ArmReport, Report, TrialReport};
use crate::verdict::{difference, holm};

/// Up to this probability, corrected for all rates that are compared, a change
/// is no chance. Rounding must not decide.
const LEVEL: f64 = 0.05 + 1e-9;

/// What is different.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// The verdicts, before and after.
    pub verdict: [VerdictKind; 2],
    /// Why the verdict after is what it is, where it is another.
    pub reasons: Vec<String>,
    /// Arms that only the run before has.
    pub arms_gone: Vec<String>,
    /// Arms that only the run after has.
    pub arms_new: Vec<String>,
    /// Arms that both have.
    pub arms: Vec<ArmChange>,
    /// Findings whose presence or rate is another in some arm, and those that
    /// are as before.
    pub findings: Vec<FindingChange>,
    /// Arms whose kernel is another.
    pub kernels: Vec<KernelChange>,
    /// How long the runs took, in seconds.
    pub seconds: [f64; 2],
    /// What differs of the host, a line each.
    pub host: Vec<String>,
    /// Why the run after is worse, a line each; empty if it is not.
    pub worse: Vec<String>,
}

/// An arm in both runs, in the workloads that both were tried with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmChange {
    /// The arm.
    pub arm: String,
    /// Whether it has to show the target.
    pub control: bool,
    /// How often it showed the target.
    pub target: [Rate; 2],
    /// The probability of such a difference if nothing has changed.
    pub chance: f64,
    /// How long a trial takes, in seconds.
    pub seconds: [f64; 2],
    /// Workloads that only one of the runs tried it with.
    pub workloads: Vec<String>,
    /// Whether its target is another one in the run after: then the rates are of
    /// different things.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other_target: bool,
}

/// Whether a finding is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only after.
    New,
    /// Only before.
    Gone,
    /// In both.
    Both,
}

impl Change {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Both => "both",
        }
    }
}

/// A finding of an arm that both runs have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FindingChange {
    /// The name developers know it by.
    pub title: String,
    /// What it is recognised by.
    pub signature: String,
    /// The arm.
    pub arm: String,
    /// Whether it is there.
    pub change: Change,
    /// How often.
    pub rates: [Rate; 2],
    /// The probability of such a difference if nothing has changed.
    pub chance: f64,
    /// Whether the run after knew it, and did not count it.
    pub known: bool,
}

/// An arm whose kernel is another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelChange {
    /// The arm.
    pub arm: String,
    /// What is different, a line each.
    pub what: Vec<String>,
}

/// What is different in the run after.
#[must_use]
pub fn changes(before: &Report, after: &Report) -> Changes {
    let names = |report: &Report| -> Vec<String> {
        report.arms.iter().map(|arm| arm.name.clone()).collect()
    };
    let (old, new) = (names(before), names(after));
    let both: Vec<(&ArmReport, &ArmReport)> = new
        .iter()
        .filter_map(|name| Some((find(before, name)?, find(after, name)?)))
        .collect();
    let arms: Vec<ArmChange> = both.iter().map(|(a, b)| arm(a, b)).collect();
    let mut findings: Vec<FindingChange> = both.iter().flat_map(|(a, b)| of_arm(a, b)).collect();
    findings.sort_by_key(|finding| finding.change);
    let verdict = [before.verdict.kind, after.verdict.kind];
    let mut changes = Changes {
        verdict,
        reasons: if verdict[0] == verdict[1] {
            Vec::new()
        } else {
            after.verdict.reasons.clone()
        },
        arms_gone: old
            .iter()
            .filter(|name| !new.contains(name))
            .cloned()
            .collect(),
        arms_new: new
            .iter()
            .filter(|name| !old.contains(name))
            .cloned()
            .collect(),
        kernels: both.iter().filter_map(|(a, b)| kernel(a, b)).collect(),
        arms,
        findings,
        seconds: [before.seconds, after.seconds],
        host: host(before, after),
        worse: Vec::new(),
    };
    changes.worse = worse(&changes);
    changes
}

fn find<'a>(report: &'a Report, name: &str) -> Option<&'a ArmReport> {
    let mut arms = report.arms.iter();
    arms.find(|arm| arm.name == name)
}

impl Changes {
    /// 1 if the run after is worse, 125 if it says less than the run before or
    /// nothing can be compared, 0 otherwise.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let undecided = |kind: VerdictKind| kind.exit() == Exit::Undecided;
        let says_less = undecided(self.verdict[1]) && !undecided(self.verdict[0]);
        if !self.worse.is_empty() {
            Exit::Bad
        } else if says_less || self.arms.is_empty() {
            Exit::Undecided
        } else {
            Exit::Good
        }
    }
}

/// Why the run after is worse: a verdict that is bad and was not, or a fix arm
/// that shows something more often, by no chance. That a control shows its
/// target more often is no harm.
fn worse(changes: &Changes) -> Vec<String> {
    let mut why = Vec::new();
    let [before, after] = changes.verdict;
    if after.exit() == Exit::Bad && before.exit() != Exit::Bad {
        why.push(format!(
            "the verdict is {}, it was {}",
            after.name(),
            before.name()
        ));
    }
    let fixes: Vec<&ArmChange> = changes.arms.iter().filter(|arm| !arm.control).collect();
    let is_fix = |name: &str| fixes.iter().any(|arm| arm.arm == name);
    let counted = changes.findings.iter();
    let counted = counted.filter(|finding| !finding.known && is_fix(&finding.arm));
    let counted: Vec<&FindingChange> = counted.collect();
    let all: Vec<f64> = fixes
        .iter()
        .map(|arm| arm.chance)
        .chain(counted.iter().map(|finding| finding.chance))
        .collect();
    let corrected = holm(&all);
    let more = |[a, b]: &[Rate; 2]| {
        f64::from(b.hits) * f64::from(a.trials) > f64::from(a.hits) * f64::from(b.trials)
    };
    let (of_arms, of_findings) = corrected.split_at(fixes.len());
    for (arm, chance) in fixes.iter().zip(of_arms) {
        if *chance <= LEVEL && more(&arm.target) {
            why.push(format!("{} shows the target more often", arm.arm));
        }
    }
    for (finding, chance) in counted.iter().zip(of_findings) {
        if *chance <= LEVEL && more(&finding.rates) {
            why.push(format!(
                "{} shows {} more often",
                finding.arm, finding.title
            ));
        }
    }
    why
}

fn workloads(arm: &ArmReport) -> Vec<&str> {
    let mut workloads: Vec<&str> = Vec::new();
    for trial in &arm.trials {
        if !workloads.contains(&trial.workload.as_str()) {
            workloads.push(&trial.workload);
        }
    }
    workloads
}

/// The trials of an arm in these workloads.
fn trials<'a>(arm: &'a ArmReport, workloads: &[&str]) -> Vec<&'a TrialReport> {
    let trials = arm.trials.iter();
    let trials = trials.filter(|trial| workloads.contains(&trial.workload.as_str()));
    trials.collect()
}

fn shared<'a>(before: &'a ArmReport, after: &'a ArmReport) -> Vec<&'a str> {
    let others = workloads(before);
    let mut shared = workloads(after);
    shared.retain(|workload| others.contains(workload));
    shared
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// How many of the trials that say something of the kernel are so.
fn rate(trials: &[&TrialReport], is: impl Fn(&TrialReport) -> bool) -> Rate {
    let telling = trials.iter().filter(|trial| trial.judged.outcome.tells());
    let hits = telling.clone().filter(|trial| is(trial)).count();
    Rate::of(number(hits), number(telling.count()))
}

fn chance([a, b]: &[Rate; 2]) -> f64 {
    difference(a.hits, a.trials, b.hits, b.trials)
}

fn arm(before: &ArmReport, after: &ArmReport) -> ArmChange {
    let shared = shared(before, after);
    let both = [trials(before, &shared), trials(after, &shared)];
    let target = both
        .each_ref()
        .map(|trials| rate(trials, |trial| trial.judged.outcome == Outcome::Target));
    let seconds = both.each_ref().map(|trials| {
        let sum: f64 = trials.iter().map(|trial| trial.seconds.max(0.0)).sum();
        sum / f64::from(number(trials.len()).max(1))
    });
    // Earlier kvets did not record it.
    let recorded = !before.target.is_empty() && !after.target.is_empty();
    let other_target = recorded && before.target != after.target;
    let all = workloads(before).into_iter().chain(workloads(after));
    let mut alone: Vec<String> = all
        .filter(|workload| !shared.contains(workload))
        .map(str::to_owned)
        .collect();
    alone.sort();
    ArmChange {
        arm: after.name.clone(),
        control: after.control,
        chance: if other_target { 1.0 } else { chance(&target) },
        target,
        seconds,
        workloads: alone,
        other_target,
    }
}

fn of_arm(before: &ArmReport, after: &ArmReport) -> Vec<FindingChange> {
    let shared = shared(before, after);
    let both = [trials(before, &shared), trials(after, &shared)];
    let mut seen: Vec<(String, String)> = Vec::new();
    for finding in both.iter().flatten().flat_map(|trial| &trial.findings) {
        let name = (finding.title.clone(), finding.signature.clone());
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    let change = |(title, signature): (String, String)| {
        let shows = |trial: &TrialReport| {
            let mut findings = trial.findings.iter();
            findings.any(|one| one.title == title && one.signature == signature)
        };
        let rates = both.each_ref().map(|trials| rate(trials, shows));
        let knows = |trial: &&TrialReport| trial.judged.known.contains(&title);
        let change = match rates.map(|rate| rate.hits > 0) {
            [false, true] => Change::New,
            [true, false] => Change::Gone,
            [true, true] => Change::Both,
            // Only in trials that say nothing of the kernel.
            [false, false] => return None,
        };
        Some(FindingChange {
            known: both[1].iter().any(knows),
            arm: after.name.clone(),
            change,
            chance: chance(&rates),
            rates,
            title,
            signature,
        })
    };
    seen.into_iter().filter_map(change).collect()
}

fn kernel(before: &ArmReport, after: &ArmReport) -> Option<KernelChange> {
    let mut what = Vec::new();
    match (&before.kernel, &after.kernel) {
        (Some(a), Some(b)) => what = kernels(a, b),
        (None, Some(b)) => what.push(format!("there was none; it is {}", b.release)),
        (Some(a), None) => {
            let why = after.broken.as_ref().map(|broken| broken.message.as_str());
            let why = why.unwrap_or("none was made");
            what.push(format!("it was {}; {why}", a.release));
        }
        (None, None) => {}
    }
    // Earlier kvets did not record it.
    if before.configuration != after.configuration && !before.configuration.is_empty() {
        let names = |arm: &ArmReport| arm.configuration.join(" ");
        what.push(format!(
            "configuration: {} -> {}",
            names(before),
            names(after)
        ));
    }
    (!what.is_empty()).then(|| KernelChange {
        arm: after.name.clone(),
        what,
    })
}

fn kernels(a: &KernelFacts, b: &KernelFacts) -> Vec<String> {
    let mut what = Vec::new();
    if a.release != b.release {
        what.push(format!("{} -> {}", a.release, b.release));
    }
    if a.origin != b.origin {
        what.push(format!("source: {} -> {}", a.origin, b.origin));
    }
    // A patch that comes earlier or later in its series is the same patch.
    let of = |facts: &KernelFacts, name: &str| -> Option<String> {
        let mut patches = facts.patches.iter();
        let same = patches.find(|(patch, _)| unnumbered(patch) == unnumbered(name));
        same.map(|(_, hash)| hash.clone())
    };
    for (name, hash) in &b.patches {
        match of(a, name) {
            None => what.push(format!("new patch {name}")),
            Some(other) if other != *hash => what.push(format!("another {name}")),
            Some(_) => {}
        }
    }
    for (name, _) in a.patches.iter().filter(|(name, _)| of(b, name).is_none()) {
        what.push(format!("without patch {name}"));
    }
    if what.is_empty() && a.patches != b.patches {
        what.push("the patches in another order".to_owned());
    }
    if what.is_empty() && a.key != b.key {
        what.push("built differently: another configuration, compiler or tree".to_owned());
    }
    what
}

/// A patch's name without its number: `series/0005-x.patch` is `series/`, `x.patch`.
fn unnumbered(name: &str) -> (&str, &str) {
    let (series, file) = name.rsplit_once('/').unwrap_or(("", name));
    let digits = file.trim_start_matches(|c: char| c.is_ascii_digit());
    (series, digits.strip_prefix('-').unwrap_or(file))
}

fn host(before: &Report, after: &Report) -> Vec<String> {
    let (a, b) = (&before.host, &after.host);
    let cpus = |cpus: usize| cpus.to_string();
    let pairs = [
        ("kvet", a.kvet.clone(), b.kvet.clone()),
        ("kernel", a.kernel.clone(), b.kernel.clone()),
        ("processors", cpus(a.cpus), cpus(b.cpus)),
        ("accelerator", a.accelerator.clone(), b.accelerator.clone()),
        ("QEMU", a.qemu.clone(), b.qemu.clone()),
        ("service", a.service.clone(), b.service.clone()),
    ];
    let other = pairs.into_iter().filter(|(_, a, b)| a != b);
    other
        .map(|(what, a, b)| format!("{what}: {a} -> {b}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn run(fix: &[(Outcome, &str)]) -> Report {
        let trial = |(number, (outcome, reason)): (u32, &(Outcome, &str))| {
            fixture::trial(number, *outcome, reason)
        };
        let hung = (Outcome::Target, "INFO: task hung in evict");
        let trials = |list: &[(Outcome, &str)]| (1..).zip(list).map(trial).collect();
        fixture::of(vec![
            fixture::arm("stock", true, trials(&[hung; 3])),
            fixture::arm("fixed", false, trials(fix)),
        ])
    }

    const CLEAN: (Outcome, &str) = (Outcome::Clean, "");
    const OTHER: (Outcome, &str) = (Outcome::Other, "WARNING in f");

    #[test]
    fn the_same_run_has_not_changed() {
        let report = run(&[CLEAN; 3]);
        let changes = changes(&report, &report);
        assert_eq!(changes.exit(), Exit::Good);
        assert!(changes.kernels.is_empty() && changes.host.is_empty());
        assert!(changes.arms.iter().all(|arm| arm.chance > 0.99));
        assert_eq!(changes.findings.len(), 1);
        assert_eq!(changes.findings[0].change, Change::Both);
    }

    #[test]
    fn a_fix_that_shows_more_is_worse_and_a_control_that_does_is_not() {
        let (good, bad) = (run(&[CLEAN; 8]), run(&[OTHER; 8]));
        let worse = changes(&good, &bad);
        assert_eq!(worse.exit(), Exit::Bad);
        assert!(
            worse
                .worse
                .contains(&"fixed shows WARNING in f more often".to_owned()),
            "{:?}",
            worse.worse
        );
        let better = changes(&bad, &good);
        assert_eq!(better.exit(), Exit::Good);
        let gone = &better.findings[0];
        assert_eq!((gone.change, gone.arm.as_str()), (Change::Gone, "fixed"));
        // What is known does not count.
        let mut known = run(&[OTHER; 8]);
        for trial in &mut known.arms[1].trials {
            trial.judged.outcome = Outcome::Clean;
            trial.judged.known = vec!["WARNING in f".to_owned()];
        }
        known.verdict = good.verdict.clone();
        assert_eq!(changes(&good, &known).exit(), Exit::Good);
        // A control that shows nothing any more: there is less to say.
        let mut clean = run(&[CLEAN; 8]);
        clean.arms[0].trials = run(&[CLEAN; 3]).arms.remove(1).trials;
        clean.verdict.kind = VerdictKind::Inconclusive;
        assert_eq!(changes(&good, &clean).exit(), Exit::Undecided);
        assert_eq!(changes(&clean, &good).exit(), Exit::Good);
    }

    #[test]
    fn one_in_eight_is_new_and_no_harm_yet() {
        let good = run(&[CLEAN; 8]);
        let mut one = [CLEAN; 8];
        one[3] = OTHER;
        let mut after = run(&one);
        after.verdict = good.verdict.clone();
        let changes = changes(&good, &after);
        assert_eq!(changes.findings[0].change, Change::New);
        assert!(changes.findings[0].chance > 0.9);
        assert_eq!(changes.exit(), Exit::Good);
    }

    #[test]
    fn another_kernel_is_told_patch_by_patch() {
        let before = run(&[CLEAN; 3]);
        let mut after = run(&[CLEAN; 3]);
        let kernel = after.arms[1].kernel.as_mut().unwrap();
        kernel.release = "7.3.5".to_owned();
        kernel.patches[0] = ("0002-iput.patch".to_owned(), "f".repeat(64));
        kernel
            .patches
            .push(("0003-more.patch".to_owned(), "0".repeat(64)));
        let changed = changes(&before, &after);
        assert_eq!(changed.kernels.len(), 1);
        assert_eq!(
            changed.kernels[0].what,
            [
                "7.3.4 -> 7.3.5",
                "another 0002-iput.patch",
                "new patch 0003-more.patch"
            ]
        );
        after.arms[1].name = "renamed".to_owned();
        let changed = changes(&before, &after);
        assert_eq!(
            (changed.arms_gone, changed.arms_new),
            (vec!["fixed".to_owned()], vec!["renamed".to_owned()])
        );
    }

    #[test]
    fn runs_without_an_arm_in_common_cannot_be_compared() {
        let before = fixture::of(vec![fixture::arm("a", true, Vec::new())]);
        let after = fixture::of(vec![fixture::arm("b", true, Vec::new())]);
        assert_eq!(changes(&before, &after).exit(), Exit::Undecided);
    }

    #[test]
    fn what_shows_another_target_is_not_compared_by_it() {
        let target = (Outcome::Target, "INFO: task hung in evict");
        let (good, mut bad) = (run(&[CLEAN; 8]), run(&[target; 8]));
        bad.verdict = good.verdict.clone();
        assert_eq!(changes(&good, &bad).exit(), Exit::Bad);
        for arm in &mut bad.arms {
            "another".clone_into(&mut arm.target);
        }
        let other = changes(&good, &bad);
        assert!(other.arms.iter().all(|arm| arm.other_target));
        let of_target = "fixed shows the target more often".to_owned();
        assert!(!other.worse.contains(&of_target), "{:?}", other.worse);
        // Earlier kvets did not record it.
        for arm in &mut bad.arms {
            arm.target.clear();
        }
        let earlier = changes(&good, &bad);
        assert!(earlier.worse.contains(&of_target), "{:?}", earlier.worse);
    }
}
