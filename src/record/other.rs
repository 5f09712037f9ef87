//! Findings of a trial that its kernel did not tell: what the checker of its file
//! system found, and tests that failed. Derived from its facts, like the rest.

use super::format::{TestFailure, Trial};
use crate::detect::{Class, Finding};
use crate::service::{DiskCheck, DiskState};

/// The trial with these findings after those of its console. What is there
/// already is not there twice.
#[must_use]
pub fn with_other_findings(mut trial: Trial) -> Trial {
    let is_other = |finding: &Finding| {
        let signature = &finding.signature;
        signature.starts_with(DAMAGE) || signature.starts_with(TEST)
    };
    trial.findings.retain(|finding| !is_other(finding));
    let damaged = trial.disk.iter().filter_map(damage);
    let failed = trial.failed_tests.iter().map(failure);
    let others: Vec<Finding> = damaged.chain(failed).collect();
    trial.findings.extend(others);
    trial
}

/// How the signature of a checker's finding begins.
const DAMAGE: &str = "file_system:checker:";

/// How the signature of a failed test begins.
const TEST: &str = "test_failure:";

fn damage(check: &DiskCheck) -> Option<Finding> {
    if check.state != DiskState::Damaged {
        return None;
    }
    let program = check.command.split(' ').next().unwrap_or_default();
    let title = format!("{program} found the file system damaged after umount");
    let signature = format!("{DAMAGE}{program}");
    Some(finding(Class::FileSystem, title, signature, check.line))
}

fn failure(failed: &TestFailure) -> Finding {
    let TestFailure { test, line } = failed;
    let title = format!("{} failed", test.name);
    let signature = format!("{TEST}{}", test.name);
    finding(Class::TestFailure, title, signature, *line)
}

/// One without a stack, at the console's line by which it was known.
fn finding(class: Class, title: String, signature: String, line: u64) -> Finding {
    Finding {
        class,
        title,
        alternatives: Vec::new(),
        signature,
        damaged: false,
        first_line: line.max(1),
        last_line: line.max(1),
        frames: Vec::new(),
        task: None,
        pid: None,
        cpu: None,
        time: None,
        clock: None,
        workqueue: None,
        tainted: None,
        kernel: None,
        instruction: None,
        locks: Vec::new(),
        waits_for: Vec::new(),
        panic: None,
    }
}
