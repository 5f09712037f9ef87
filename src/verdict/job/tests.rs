//! Verdicts on made-up trials.

use super::*;
use crate::job::Confidence;
use crate::verdict::{Judged, Seen, Tried};
use Outcome::{Clean, Harness, Other as Else, Target, Unarmed};

/// An arm whose trials had these outcomes; those with another finding have a
/// warning of one kind.
pub(in crate::verdict) fn arm(name: &str, control: bool, outcomes: &[Outcome]) -> ArmResult {
    let trials = outcomes.iter().zip(1..).map(|(&outcome, number)| Tried {
        outcome,
        reason: outcome.name().to_owned(),
        workload: "w".to_owned(),
        number,
        findings: if outcome == Else {
            vec![warning("f")]
        } else {
            Vec::new()
        },
    });
    ArmResult {
        name: name.to_owned(),
        control,
        planned: u32::try_from(outcomes.len()).unwrap(),
        workloads: vec!["w".to_owned()],
        trials: trials.collect(),
        ..ArmResult::default()
    }
}

fn warning(function: &str) -> Seen {
    Seen {
        title: format!("WARNING in {function}"),
        signature: format!("warning:{function}"),
    }
}

/// So many trials that hit, and the rest of so many that did not.
fn of(name: &str, control: bool, hit: Outcome, hits: usize, trials: usize) -> ArmResult {
    let mut outcomes = vec![hit; hits];
    outcomes.resize(trials, Clean);
    arm(name, control, &outcomes)
}

fn verdict(arms: &[ArmResult]) -> Verdict {
    judge(arms, &Rules::default())
}

fn kind(arms: &[ArmResult]) -> VerdictKind {
    verdict(arms).kind
}

/// A control and a fix, by hits and trials.
fn pair(control: (usize, usize), clean: usize) -> [ArmResult; 2] {
    [
        of("stock", true, Target, control.0, control.1),
        of("fixed", false, Target, 0, clean),
    ]
}

#[test]
fn fixed_needs_controls_that_failed_and_fixes_that_are_clean() {
    let arms = pair((3, 3), 3);
    let verdict = verdict(&arms);
    assert_eq!(verdict.kind, VerdictKind::Fixed);
    assert!((verdict.chance.unwrap() - 1.0 / 64.0).abs() < 1e-4);
    let [stock, fixed] = arms;
    assert_eq!(kind(&[fixed]), VerdictKind::Inconclusive);
    assert_eq!(kind(&[stock]), VerdictKind::Reproduced);
}

#[test]
fn what_may_be_chance_is_inconclusive_and_says_what_would_settle_it() {
    for (control, clean, more) in [((1, 3), 3, 6), ((1, 1), 1, 2), ((2, 2), 2, 1)] {
        let verdict = verdict(&pair(control, clean));
        assert_eq!(verdict.kind, VerdictKind::Inconclusive, "{control:?}");
        assert_eq!(verdict.evidence[0].more, Some(more), "{control:?}");
        let expected = format!("about {more} more trials of each would settle it");
        assert!(verdict.reasons[0].contains(&expected), "{verdict:?}");
    }
}

#[test]
fn a_higher_confidence_needs_more() {
    let rules = Rules {
        confidence: "99%".parse::<Confidence>().unwrap(),
        until: None,
    };
    let kind = |arms: &[ArmResult]| judge(arms, &rules).kind;
    assert_eq!(kind(&pair((3, 3), 3)), VerdictKind::Inconclusive);
    assert_eq!(kind(&pair((4, 4), 3)), VerdictKind::Fixed);
}

#[test]
fn each_fix_is_judged_by_the_control_that_has_its_target() {
    let with = |target: &str, arm: ArmResult| ArmResult {
        name: format!("{}-{target}", arm.name),
        target: target.to_owned(),
        ..arm
    };
    let [stock, fixed] = pair((3, 3), 3);
    let both = |rare: ArmResult| {
        [
            with("hang", stock.clone()),
            with("panic", rare),
            with("hang", fixed.clone()),
            with("panic", fixed.clone()),
        ]
    };
    let verdict = verdict(&both(stock.clone()));
    assert_eq!(verdict.kind, VerdictKind::Fixed);
    assert_eq!(verdict.evidence.len(), 2);
    // The sum of both targets would be 4 of 6 against 0 of 6.
    let verdict = super::judge(&both(of("stock", true, Target, 1, 3)), &Rules::default());
    assert_eq!(verdict.kind, VerdictKind::Inconclusive);
    assert!(verdict.reasons[0].starts_with("fixed-panic against stock-panic: 0/3 against 1/3"));
    assert!(verdict.reasons[1].starts_with("fixed-hang by itself is fixed (3.1 %"));
    let apart = [with("hang", stock.clone()), with("panic", fixed.clone())];
    assert_eq!(kind(&apart), VerdictKind::Inconclusive);
}

#[test]
fn workloads_that_the_control_was_not_tried_with_prove_no_fix() {
    let [stock, mut fixed] = pair((3, 3), 3);
    for trial in &mut fixed.trials[1..] {
        trial.workload = "other".to_owned();
    }
    assert_eq!(kind(&[stock, fixed]), VerdictKind::Inconclusive);
}

#[test]
fn workloads_that_both_were_tried_with_count_together() {
    let spread = |mut arm: ArmResult| {
        for (trial, name) in arm.trials.iter_mut().zip(["a", "b", "c"]) {
            trial.workload = name.to_owned();
        }
        arm
    };
    assert_eq!(kind(&pair((3, 3), 3).map(spread)), VerdictKind::Fixed);
    // Three clean trials of one workload are worth as much as its control's.
    let [stock, fixed] = pair((3, 3), 5);
    let mut fixed = spread(fixed);
    fixed.trials[3].workload = "a".to_owned();
    fixed.trials[4].workload = "a".to_owned();
    let verdict = verdict(&[spread(stock), fixed]);
    assert!((verdict.chance.unwrap() - 1.0 / 64.0).abs() < 1e-4);
}

#[test]
fn a_clean_control_makes_it_inconclusive() {
    let verdict = verdict(&pair((0, 3), 3));
    assert_eq!(verdict.kind, VerdictKind::Inconclusive);
    assert_eq!(
        verdict.reasons,
        ["control stock did not show the target: 3 clean (clean); its rate may still be 63.2 %"]
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
fn fewer_hits_are_an_improvement_and_no_fix() {
    let says = |hits| {
        let arms = [
            of("stock", true, Target, 20, 20),
            of("fixed", false, Target, hits, 20),
        ];
        let verdict = verdict(&arms);
        assert_eq!(verdict.kind, VerdictKind::NotFixed);
        verdict.reasons[0].clone()
    };
    assert!(says(2).contains("at least 1.8 % of its trials, more rarely than stock (20/20)"));
    assert!(!says(20).contains("improvement"));
}

#[test]
fn a_finding_counts_by_its_rate_and_not_by_its_absence_in_few_trials() {
    let stock = of("stock", true, Target, 3, 3);
    let once = verdict(&[stock.clone(), of("fixed", false, Else, 1, 20)]);
    assert_eq!(once.kind, VerdictKind::Fixed);
    let shown = &once.others[0];
    assert_eq!((shown.hits, shown.trials, shown.control_trials), (1, 20, 3));
    assert!(!shown.regressed && shown.finding.title == "WARNING in f");
    // What is not as rare as that leaves it open.
    let often = verdict(&[stock.clone(), of("fixed", false, Else, 1, 6)]);
    assert_eq!(often.kind, VerdictKind::Inconclusive);
    assert!(
        often.reasons[0].ends_with("stock in 0/3: no regression at 95 %, and not clean"),
        "{often:?}"
    );
    let always = verdict(&[stock, of("fixed", false, Else, 3, 3)]);
    assert_eq!(always.kind, VerdictKind::Regressed);
    assert!(
        always.reasons[0].starts_with("fixed shows WARNING in f in 3/3 trials of w, stock in 0/3")
    );
    assert!(always.reasons[0].contains("may be an old bug"));
}

#[test]
fn a_finding_of_a_workload_without_a_control_leaves_it_open() {
    let [stock, mut fixed] = pair((3, 3), 3);
    fixed.trials.extend(arm("", false, &[Else]).trials);
    fixed.trials[3].workload = "other".to_owned();
    let verdict = verdict(&[stock, fixed]);
    assert_eq!(verdict.kind, VerdictKind::Inconclusive);
    assert_eq!(verdict.others[0].control, None);
}

#[test]
fn a_finding_that_controls_share_is_no_regression() {
    let stock = of("stock", true, Else, 10, 20);
    assert_eq!(
        kind(&[stock.clone(), of("fixed", false, Else, 12, 20)]),
        VerdictKind::Inconclusive
    );
    // But it is if it was rare and is not any more.
    let rare = of("stock", true, Else, 1, 20);
    assert_eq!(
        kind(&[rare, of("fixed", false, Else, 20, 20)]),
        VerdictKind::Regressed
    );
}

#[test]
fn many_kinds_of_findings_make_one_of_them_less_telling() {
    let stock = of("stock", true, Target, 3, 3);
    let mut fixed = of("fixed", false, Else, 3, 3);
    for (index, trial) in fixed.trials.iter_mut().enumerate() {
        trial.findings.push(warning(&format!("g{index}")));
        trial.findings.push(warning(&format!("h{index}")));
    }
    let verdict = verdict(&[stock, fixed]);
    assert_ne!(verdict.kind, VerdictKind::Regressed);
    assert_eq!(verdict.others.len(), 7);
}

#[test]
fn trials_that_another_finding_ended_say_nothing_about_the_target() {
    let stock = of("stock", true, Target, 3, 3);
    let few = arm("fixed", false, &[Clean, Else, Else, Else, Else]);
    assert_ne!(kind(&[stock, few]), VerdictKind::Fixed);
}

#[test]
fn trials_that_show_nothing_do_not_count_as_clean() {
    for silent in [Harness, Unarmed, Outcome::Timeout, Outcome::Workload] {
        let arms = [
            arm("stock", true, &[Target; 2]),
            arm("fixed", false, &[Clean, Clean, silent]),
        ];
        assert_eq!(kind(&arms), VerdictKind::Inconclusive, "{silent:?}");
    }
}

#[test]
fn silence_that_may_be_the_target_counts_against_a_fix() {
    let with = |clean: usize, silent: usize| {
        let mut outcomes = vec![Clean; clean];
        outcomes.resize(clean + silent, Outcome::Timeout);
        let stock = arm("stock", true, &[Target; 6]);
        verdict(&[stock, arm("fixed", false, &outcomes)])
    };
    assert_eq!(with(19, 1).kind, VerdictKind::Fixed);
    for (clean, silent) in [(18, 1), (6, 6)] {
        let many = with(clean, silent);
        assert_eq!(many.kind, VerdictKind::Inconclusive);
        assert!(
            many.reasons[0].contains("may have met the target"),
            "{many:?}"
        );
    }
}

#[test]
fn a_run_that_was_cut_short_is_not_judged_fixed() {
    let [mut stock, mut fixed] = pair((6, 6), 6);
    fixed.planned = 9;
    assert_eq!(
        kind(&[stock.clone(), fixed.clone()]),
        VerdictKind::Inconclusive
    );
    (stock.planned, fixed.planned) = (9, 6);
    assert_eq!(kind(&[stock, fixed]), VerdictKind::Inconclusive);
}

#[test]
fn an_arm_without_trials_is_not_clean() {
    let arms = [arm("stock", true, &[Target; 3]), arm("fixed", false, &[])];
    assert_eq!(kind(&arms), VerdictKind::Inconclusive);
}

#[test]
fn an_arm_that_could_not_be_built_is_named() {
    let mut broken = arm("fixed", false, &[]);
    broken.planned = 3;
    broken.broken = Some("it does not compile".to_owned());
    let verdict = verdict(&[arm("stock", true, &[Target; 3]), broken]);
    assert_eq!(verdict.kind, VerdictKind::Inconclusive);
    assert!(verdict.reasons[0].contains("it does not compile"));
}

#[test]
fn until_it_is_settled_only_an_unbroken_row_of_trials_counts() {
    let rules = Rules::until(Confidence::default(), None);
    let mut arms = pair((2, 2), 3);
    assert_eq!(judge(&arms, &rules).kind, VerdictKind::Fixed);
    // The fix's first trial has not ended yet: it may still hit.
    for trial in &mut arms[1].trials {
        trial.number += 1;
    }
    assert_eq!(judge(&arms, &rules).kind, VerdictKind::Inconclusive);
}

#[test]
fn until_it_is_settled_a_regression_is_found_too() {
    let rules = Rules::until(Confidence::default(), None);
    let stock = of("stock", true, Target, 3, 3);
    let kind = |hits| {
        judge(
            &[stock.clone(), of("fixed", false, Else, hits, hits)],
            &rules,
        )
        .kind
    };
    assert_eq!(kind(1), VerdictKind::Inconclusive);
    assert_eq!(kind(6), VerdictKind::Regressed);
}

#[test]
fn a_verdict_from_before_there_were_rules_is_still_read() {
    let old = r#"{"kind":"fixed","reasons":["x"],"chance":0.5}"#;
    let verdict: Verdict = serde_json::from_str(old).unwrap();
    assert_eq!(verdict.rules, Rules::default());
}

/// A guest that a busy host left waiting shows hangs that are nobody's.
#[test]
fn what_is_seen_in_trials_that_tell_nothing_is_no_finding() {
    let stock = arm("stock", true, &[Target; 3]);
    let mut fixed = arm("fixed", false, &[Harness; 3]);
    let judged = Judged {
        outcome: Harness,
        reason: "the host was too busy".to_owned(),
        known: Vec::new(),
        boot: None,
        others: vec![warning("f")],
    };
    fixed.trials = (1..=3).map(|n| Tried::of("w", n, &judged)).collect();
    let verdict = verdict(&[stock, fixed]);
    assert_eq!(verdict.kind, VerdictKind::Inconclusive, "{verdict:?}");
    assert_eq!(verdict.others, []);
}

/// A console that went silent may have done so with the target.
#[test]
fn trials_whose_detectors_were_not_armed_count_against_a_fix() {
    let with = |unarmed: usize| {
        let mut outcomes = vec![Clean; 6];
        outcomes.resize(6 + unarmed, Unarmed);
        let stock = arm("stock", true, &[Target; 6]);
        verdict(&[stock, arm("fixed", false, &outcomes)])
    };
    assert_eq!(with(0).kind, VerdictKind::Fixed);
    let many = with(6);
    assert_eq!(many.kind, VerdictKind::Inconclusive);
    assert!(
        many.reasons[0].contains("may have met the target: 6 clean (clean), 6 unarmed (unarmed)"),
        "{many:?}"
    );
}

#[test]
fn a_workload_of_which_the_fix_told_nothing_leaves_it_open() {
    let mut stock = arm("stock", true, &[Target; 6]);
    let mut outcomes = [Clean; 6];
    outcomes[3..].fill(Harness);
    let mut fixed = arm("fixed", false, &outcomes);
    for arm in [&mut stock, &mut fixed] {
        arm.workloads.push("other".to_owned());
        for (trial, number) in arm.trials[3..].iter_mut().zip(1..) {
            trial.workload = "other".to_owned();
            trial.number = number;
        }
    }
    let open = verdict(&[stock.clone(), fixed.clone()]);
    assert_eq!(open.kind, VerdictKind::Inconclusive);
    assert!(
        open.reasons[0].contains("no trial of fixed with other told anything of the target"),
        "{open:?}"
    );
    // Where the control never showed the target nothing is lost.
    for trial in &mut stock.trials[3..] {
        trial.outcome = Clean;
    }
    assert_eq!(kind(&[stock, fixed]), VerdictKind::Fixed);
}

/// The same while trials end in whatever order, and when they are read back.
#[test]
fn signatures_appear_in_the_order_in_which_trials_were_begun() {
    let rules = Rules::until(Confidence::default(), None);
    let stock = of("stock", true, Target, 3, 3);
    let mut fixed = of("fixed", false, Else, 5, 5);
    fixed.trials[0].findings = vec![warning("rare")];
    let titles = |fixed: &ArmResult| -> Vec<String> {
        let verdict = judge(&[stock.clone(), fixed.clone()], &rules);
        let others = verdict.others.into_iter();
        others.map(|other| other.finding.title).collect()
    };
    let in_order = titles(&fixed);
    assert_eq!(in_order, ["WARNING in rare", "WARNING in f"]);
    fixed.trials.reverse();
    assert_eq!(titles(&fixed), in_order);
}
