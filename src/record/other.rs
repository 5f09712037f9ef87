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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::protocol::FailedTest;
    use crate::record::Ending;
    use crate::trial_id::TrialId;

    fn trial(state: DiskState, failed: &[&str]) -> Trial {
        let failed = failed.iter().map(|name| TestFailure {
            test: FailedTest {
                name: (*name).to_owned(),
                how: "output mismatch".to_owned(),
            },
            line: 7,
        });
        let id = TrialId {
            arm: "a".to_owned(),
            workload: "w".to_owned(),
            number: 1,
        };
        let text = serde_json::json!({
            "arm": id.arm, "workload": id.workload, "number": id.number, "attempt": 1,
            "release": "7.3.4", "ending": Ending::Finished, "findings": [], "ready": null,
            "console_length": 0, "said": 0, "seconds": 1.0,
        });
        let mut trial: Trial = serde_json::from_value(text).unwrap();
        trial.failed_tests = failed.collect();
        trial.disk = Some(DiskCheck {
            command: "e2fsck -f -n /disk".to_owned(),
            state,
            said: String::new(),
            line: 9,
        });
        trial
    }

    #[test]
    fn damage_and_failed_tests_are_findings_each_once() {
        let trial = trial(DiskState::Damaged, &["generic/001"]);
        let once = with_other_findings(trial);
        let twice = with_other_findings(once.clone());
        assert_eq!(once.findings, twice.findings);
        let found: Vec<_> = once
            .findings
            .iter()
            .map(|f| (f.title.as_str(), f.class, f.first_line))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "e2fsck found the file system damaged after umount",
                    Class::FileSystem,
                    9
                ),
                ("generic/001 failed", Class::TestFailure, 7),
            ]
        );
        // They are facts: what a job asks for is a pattern of them.
        let target: crate::detect::Target =
            serde_yaml::from_str("{ class: test_failure, title: generic/001 failed }").unwrap();
        assert!(target.matches(&once.findings[1]));
    }

    #[test]
    fn what_nobody_knows_is_no_finding() {
        let why = "killed".to_owned();
        for state in [DiskState::Clean, DiskState::Unknown { why }] {
            assert_eq!(with_other_findings(trial(state, &[])).findings, []);
        }
    }
}
