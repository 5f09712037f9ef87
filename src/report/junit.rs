//! The report as `JUnit` XML: an arm is a test suite, a trial a test case. The
//! case tells whether the arm behaved as expected, so a control that shows its
//! target passes, and one that stays clean fails.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::model::{ArmReport, Report, TrialReport};
use crate::outcome::Outcome;
use crate::printable::printable;

/// The XML document as text.
#[must_use]
pub fn junit(report: &Report) -> String {
    let mut document = Document::new(printable(&report.job));
    document.set_time(Duration::from_secs_f64(report.seconds.max(0.0)));
    for arm in &report.arms {
        let mut suite = TestSuite::new(printable(&arm.name));
        for trial in &arm.trials {
            suite.add_test_case(case(arm, trial));
        }
        if let Some(broken) = &arm.broken {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(printable(&broken.message));
            suite.add_test_case(TestCase::new("kernel", status));
        }
        document.add_test_suite(suite);
    }
    let name = report.verdict.kind.name();
    let mut status = match report.verdict.kind.exit() {
        crate::Exit::Good => TestCaseStatus::success(),
        crate::Exit::Bad => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if !matches!(status, TestCaseStatus::Success { .. }) {
        let why = report.verdict.reasons.join("; ");
        status.set_message(printable(&format!("{name}: {why}")));
    }
    let mut suite = TestSuite::new("verdict");
    suite.add_test_case(TestCase::new(name, status));
    document.add_test_suite(suite);
    // Writing to a string fails only for text that is not XML, and every text
    // above went through `printable`.
    document.to_string().unwrap_or_default()
}

fn case(arm: &ArmReport, trial: &TrialReport) -> TestCase {
    let expected = if arm.control {
        Outcome::Target
    } else {
        Outcome::Clean
    };
    let judged = &trial.judged;
    let mut status = match judged.outcome {
        outcome if outcome == expected => TestCaseStatus::success(),
        Outcome::Clean | Outcome::Target | Outcome::Other => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::Workload | Outcome::Harness | Outcome::Timeout | Outcome::Unarmed => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    if judged.outcome != expected {
        status.set_type(judged.outcome.name());
        status.set_message(printable(&judged.reason));
    }
    let name = format!("trial {}: {}", trial.number, printable(&trial.workload));
    let mut case = TestCase::new(name, status);
    case.set_time(Duration::from_secs_f64(trial.seconds.max(0.0)));
    if judged.outcome == expected && !judged.reason.is_empty() {
        case.set_system_out(printable(&judged.reason));
    }
    case
}
