//! The report as `JUnit` XML: an arm is a test suite, a trial a test case. The
//! case tells whether the arm behaved as expected, so a control that shows its
//! target passes, and one that stays clean fails.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::model::{ArmReport, Report};
use super::terminal::printable;
use crate::verdict::{Judged, Outcome};

/// The XML document as text.
#[must_use]
pub fn junit(report: &Report) -> String {
    let mut document = Document::new(printable(&report.job));
    document.set_time(Duration::from_secs_f64(report.seconds.max(0.0)));
    for arm in &report.arms {
        let mut suite = TestSuite::new(printable(&arm.result.name));
        for (index, trial) in arm.result.trials.iter().enumerate() {
            suite.add_test_case(case(arm, index, trial));
        }
        if let Some(broken) = &arm.result.broken {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(printable(broken));
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

fn case(arm: &ArmReport, index: usize, trial: &Judged) -> TestCase {
    let expected = if arm.result.control {
        Outcome::Target
    } else {
        Outcome::Clean
    };
    let mut status = match trial.outcome {
        outcome if outcome == expected => TestCaseStatus::success(),
        Outcome::Clean | Outcome::Target | Outcome::Other => {
            TestCaseStatus::non_success(NonSuccessKind::Failure)
        }
        Outcome::Workload | Outcome::Harness | Outcome::Timeout | Outcome::Unarmed => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
    };
    if trial.outcome != expected {
        status.set_type(trial.outcome.name());
        status.set_message(printable(&trial.reason));
    }
    let number = index + 1;
    let measured = arm.measured.get(index);
    let name = match measured {
        Some(measured) => format!("trial {number}: {}", printable(&measured.workload)),
        None => format!("trial {number}"),
    };
    let mut case = TestCase::new(name, status);
    if let Some(measured) = measured {
        case.set_time(Duration::from_secs_f64(measured.seconds.max(0.0)));
    }
    if trial.outcome == expected && !trial.reason.is_empty() {
        case.set_system_out(printable(&trial.reason));
    }
    case
}
