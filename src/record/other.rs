//! Findings of a trial that its kernel did not tell: what the checker of its file
//! system found, tests that failed, and a step that did. Derived from its facts,
//! like the rest.

use super::format::{Ending, TestFailure, Trial};
use crate::detect::{Class, Finding, Target};
use crate::guest::protocol::FailureKind;
use crate::service::{DiskCheck, DiskState};

/// The trial with these findings after those of its console. What is there
/// already is not there twice. A step that failed is one only where the target
/// says so: it mostly does for reasons that are not the kernel's.
#[must_use]
pub fn with_other_findings(mut trial: Trial, target: Option<&Target>) -> Trial {
    let damaged = trial.disk.iter().filter_map(damage);
    let failed = trial.failed_tests.iter().map(failure);
    let mut others: Vec<Finding> = damaged.chain(failed).collect();
    let step = failed_step(&trial);
    let asked = target.is_some_and(|target| target.class == Some(Class::StepFailure));
    // A job's own rule may find others of these classes on the console.
    let is_other = |finding: &Finding| {
        let same =
            |own: &Finding| (&own.signature, &own.title) == (&finding.signature, &finding.title);
        others.iter().chain(&step).any(same)
    };
    trial.findings.retain(|finding| !is_other(finding));
    others.extend(step.filter(|_| asked));
    trial.findings.extend(others);
    trial
}

/// How the signature of a checker's finding begins.
const DAMAGE: &str = "file_system:checker:";

/// How the signature of a failed test begins.
const TEST: &str = "test_failure:";

/// How the signature of a failed step begins.
const STEP: &str = "step_failure:";

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

/// A step that failed, by its name and by what is the same each time: not by the
/// path or the place at which it did.
fn failed_step(trial: &Trial) -> Option<Finding> {
    let Ending::StepFailed {
        step,
        failure,
        errno,
        ..
    } = &trial.ending
    else {
        return None;
    };
    let (how, title) = match (*failure)? {
        FailureKind::Syscall => {
            let errno = errno.as_deref().unwrap_or("an error");
            (errno, format!("{step} failed with {errno}"))
        }
        FailureKind::Data => ("data", format!("{step} found wrong data")),
        FailureKind::Program => ("program", format!("a program failed in {step}")),
        // Not of the kernel.
        FailureKind::Timeout | FailureKind::Usage | FailureKind::Agent => return None,
    };
    let signature = format!("{STEP}{step}:{how}");
    Some(finding(Class::StepFailure, title, signature, trial.lines))
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
    use crate::detect::{Scanner, Sighting};
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
        let once = with_other_findings(trial, None);
        let twice = with_other_findings(once.clone(), None);
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

    /// A test's words on the console are what a job's own rule may find.
    #[test]
    fn what_a_job_s_own_rule_found_stays() {
        let rules = "[{ message: '*not ok*', class: test_failure }]";
        let mut scanner = Scanner::with_rules(serde_yaml::from_str(rules).unwrap());
        let mut found = scanner.push(b"[    1.000001] not ok 1 inode_evict\n");
        let Some(Sighting::Complete(found)) = found.pop() else {
            panic!("{found:?}");
        };
        let mut trial = trial(DiskState::Clean, &["generic/001"]);
        trial.findings = vec![(*found).clone()];
        let once = with_other_findings(trial, None);
        let twice = with_other_findings(once.clone(), None);
        assert_eq!(once.findings, twice.findings);
        assert_eq!((once.findings.len(), &once.findings[0]), (2, &*found));
    }

    #[test]
    fn what_nobody_knows_is_no_finding() {
        let why = "killed".to_owned();
        for state in [DiskState::Clean, DiskState::Unknown { why }] {
            assert_eq!(with_other_findings(trial(state, &[]), None).findings, []);
        }
    }

    #[test]
    fn a_step_that_failed_is_a_finding_where_it_is_asked_for() {
        let target: Target =
            serde_yaml::from_str("{ class: step_failure, title: '*wrong data' }").unwrap();
        let ended = |failure, errno: Option<&str>| {
            let mut trial = trial(DiskState::Clean, &[]);
            trial.ending = Ending::StepFailed {
                step: "storm".to_owned(),
                error: "w4/f3 has 49152 bytes instead of 135168".to_owned(),
                failure,
                errno: errno.map(str::to_owned),
            };
            trial
        };
        let data = ended(Some(FailureKind::Data), None);
        for other in [None, Some(&Target::default())] {
            assert_eq!(with_other_findings(data.clone(), other).findings, []);
        }
        let expected = [
            (Some(FailureKind::Data), "storm found wrong data", true),
            (Some(FailureKind::Syscall), "storm failed with EIO", false),
            (
                Some(FailureKind::Program),
                "a program failed in storm",
                false,
            ),
        ];
        for (failure, title, is_target) in expected {
            let errno = (failure == Some(FailureKind::Syscall)).then_some("EIO");
            let trial = with_other_findings(ended(failure, errno), Some(&target));
            let [found] = trial.findings.as_slice() else {
                panic!("{:?}", trial.findings);
            };
            assert_eq!(
                (found.title.as_str(), target.matches(found)),
                (title, is_target)
            );
        }
        // The job's mistake, and a record from before it was told.
        for failure in [Some(FailureKind::Usage), None] {
            let trial = with_other_findings(ended(failure, None), Some(&target));
            assert_eq!(trial.findings, []);
        }
    }
}
