//! Which trial to run next, where trials go on until the verdict is settled.

use super::arm::{ArmResult, number};
use super::job::{Verdict, judge};
use super::sequential::ratio;
use crate::job::Rules;
use crate::outcome::{Outcome, VerdictKind};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A trial of this arm (its index) and workload.
    Try {
        /// The arm's index.
        arm: usize,
        /// The workload's name.
        workload: String,
    },
    /// Nothing: there is a verdict.
    Settled,
    /// Nothing: there is no verdict, and no more trials that could give one are
    /// allowed.
    Limit,
}

/// Which trial tells most. Control and fix alternate, so that whatever changes
/// on the host while the job runs changes for both; a fix is tried more often
/// than its control, as [`judge`] has use for. Pure: trials that are under way
/// are told by `under_way` of each arm.
///
/// Without `until` all trials are wanted anyway, and they alternate as well.
#[must_use]
pub fn next(arms: &[ArmResult], rules: &Rules) -> Next {
    let verdict = rules.until.map(|_| judge(arms, rules));
    if let Some(verdict) = &verdict
        && verdict.kind != VerdictKind::Inconclusive
    {
        return Next::Settled;
    }
    let ratio = if rules.until.is_some() {
        ratio(rules.confidence.alpha())
    } else {
        1.0
    };
    let candidates = arms.iter().enumerate().filter_map(|(index, arm)| {
        let open = verdict
            .as_ref()
            .is_none_or(|so_far| tells(arms, arm, so_far));
        let workload = open.then(|| workload(arm, rules)).flatten()?;
        let weight = if arm.control { 1.0 } else { ratio };
        Some((index, workload, progress(arm) / weight, !arm.control))
    });
    let first = candidates.min_by(|a, b| a.2.total_cmp(&b.2).then(a.3.cmp(&b.3)));
    match first {
        Some((arm, workload, ..)) => Next::Try { arm, workload },
        None => Next::Limit,
    }
}

/// Whether another trial of the arm could help to settle the verdict.
fn tells(arms: &[ArmResult], arm: &ArmResult, so_far: &Verdict) -> bool {
    if arm.broken.is_some() {
        return false;
    }
    let mut partners = arms
        .iter()
        .filter(|other| other.control != arm.control && other.target == arm.target)
        .filter(|other| other.broken.is_none())
        .peekable();
    if arm.control && partners.peek().is_none() {
        // It only has to show that the bug is there.
        return arm.count(Outcome::Target) == 0;
    }
    partners.any(|other| {
        let (fix, control) = if arm.control {
            (other, arm)
        } else {
            (arm, other)
        };
        let of_fix = |name: &String| *name == fix.name;
        let mut pairs = so_far.evidence.iter();
        let pair = pairs.find(|pair| of_fix(&pair.fix) && pair.control == control.name);
        let mut others = so_far.others.iter();
        pair.is_some_and(|pair| !pair.settled)
            || others.any(|other| of_fix(&other.fix) && other.open)
    })
}

/// How far an arm is: trials that tell, and those under way, which may.
fn progress(arm: &ArmResult) -> f64 {
    f64::from(arm.telling() + number(arm.under_way.len()))
}

/// The arm's workload that was tried least, if it may be tried again.
fn workload(arm: &ArmResult, rules: &Rules) -> Option<String> {
    let workloads = number(arm.workloads.len()).max(1);
    let most = rules.until.unwrap_or(u32::MAX);
    let most = most.min(arm.planned / workloads);
    let begun = |workload: &String| {
        let under_way = arm.under_way.iter().filter(|name| *name == workload);
        number(arm.of(workload).count() + under_way.count())
    };
    let least = arm
        .workloads
        .iter()
        .min_by_key(|workload| begun(workload))?;
    (begun(least) < most).then(|| least.clone())
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::arm;
    use super::*;
    use crate::job::Confidence;
    use Outcome::{Clean, Harness, Target};

    fn rules() -> Rules {
        Rules::until(Confidence::default(), Some(50))
    }

    fn open(arm: ArmResult) -> ArmResult {
        ArmResult { planned: 50, ..arm }
    }

    /// Runs trials as they are asked for until there is an end to it.
    fn run(
        arms: &mut [ArmResult],
        rules: &Rules,
        mut outcome: impl FnMut(usize) -> Outcome,
    ) -> String {
        let mut course = String::new();
        loop {
            match next(arms, rules) {
                Next::Try { arm: index, .. } => {
                    course.push(if arms[index].control { 'c' } else { 'f' });
                    let trial = arm("", false, &[outcome(index)]).trials.remove(0);
                    let number = number(arms[index].trials.len()) + 1;
                    arms[index]
                        .trials
                        .push(crate::verdict::Tried { number, ..trial });
                }
                Next::Settled => return course + ".",
                Next::Limit => return course + "!",
            }
        }
    }

    #[test]
    fn controls_and_fixes_alternate_until_it_is_settled() {
        let stock = open(arm("stock", true, &[]));
        let fixed = open(arm("fixed", false, &[]));
        let outcomes = [Target, Clean];
        let mut arms = [stock, fixed];
        assert_eq!(run(&mut arms, &rules(), |arm| outcomes[arm]), "cffcf.");
        assert_eq!(judge(&arms, &rules()).kind, VerdictKind::Fixed);
    }

    #[test]
    fn a_hit_of_the_fix_ends_it() {
        let mut arms = ["stock", "fixed"].map(|name| open(arm(name, name == "stock", &[])));
        assert_eq!(run(&mut arms, &rules(), |_| Target), "cf.");
        assert_eq!(judge(&arms, &rules()).kind, VerdictKind::NotFixed);
    }

    #[test]
    fn what_never_settles_ends_at_the_limit() {
        let mut arms = ["stock", "fixed"].map(|name| open(arm(name, name == "stock", &[])));
        let course = run(&mut arms, &rules(), |_| Clean);
        assert_eq!((course.len(), course.ends_with('!')), (101, true));
        let mut arms = ["stock", "fixed"].map(|name| open(arm(name, name == "stock", &[])));
        let course = run(&mut arms, &rules(), |_| Harness);
        assert_eq!((course.len(), course.ends_with('!')), (101, true));
    }

    #[test]
    fn trials_under_way_count_for_the_order_alone() {
        let mut stock = open(arm("stock", true, &[]));
        let fixed = open(arm("fixed", false, &[]));
        stock.under_way = stock.workloads.clone();
        let arms = [stock, fixed];
        assert!(matches!(next(&arms, &rules()), Next::Try { arm: 1, .. }));
    }

    #[test]
    fn an_arm_without_a_kernel_is_not_tried() {
        let mut broken = open(arm("fixed", false, &[]));
        broken.broken = Some("it does not compile".to_owned());
        let mut arms = [open(arm("stock", true, &[])), broken];
        assert_eq!(run(&mut arms, &rules(), |_| Target), "c!");
    }

    #[test]
    fn a_fixed_number_of_trials_alternates_too() {
        let mut arms = ["stock", "fixed"].map(|name| {
            let arm = arm(name, name == "stock", &[]);
            ArmResult { planned: 3, ..arm }
        });
        assert_eq!(run(&mut arms, &Rules::default(), |_| Target), "cfcfcf!");
    }

    /// Outcomes at these rates, the same in every run (`SplitMix64`).
    fn outcomes(seed: u64, rates: [f64; 2]) -> impl FnMut(usize) -> Outcome {
        let mut state = seed;
        move |arm| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let share = f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / 2f64.powi(32);
            if share < rates[arm] { Target } else { Clean }
        }
    }

    /// Of so many experiments, the share that end `fixed`, and the mean number
    /// of trials. `cargo bench --bench verdict` does the same at length.
    fn simulate(experiments: u32, rates: [f64; 2]) -> (f64, f64) {
        let mut outcome = outcomes(1, rates);
        let (mut fixed, mut trials) = (0, 0);
        for _ in 0..experiments {
            let mut arms = ["stock", "fixed"].map(|name| open(arm(name, name == "stock", &[])));
            trials += run(&mut arms, &rules(), &mut outcome).len() - 1;
            fixed += u32::from(judge(&arms, &rules()).kind == VerdictKind::Fixed);
        }
        let mean = f64::from(number(trials)) / f64::from(experiments);
        (f64::from(fixed) / f64::from(experiments), mean)
    }

    #[test]
    fn a_patch_that_does_nothing_is_rarely_called_fixed() {
        for rate in [0.1, 0.25, 0.5, 0.9] {
            let (fixed, _) = simulate(400, [rate, rate]);
            // 5 %, and three standard deviations of 400 experiments.
            assert!(fixed <= 0.083, "{rate}: {fixed}");
        }
    }

    #[test]
    fn a_fix_takes_hardly_more_trials_than_the_best_number_fixed_beforehand() {
        // The numbers that four experiments of five settle it with.
        for (rate, best) in [(0.3, 24.0), (0.5, 13.0), (0.8, 7.0), (1.0, 5.0)] {
            let (fixed, trials) = simulate(200, [rate, 0.0]);
            assert!(fixed > 0.98 && trials <= 1.3 * best, "{rate}: {trials}");
        }
    }
}
