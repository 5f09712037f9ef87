//! How one trial ended, decided from what it recorded.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::detect::{Class, Finding, Mute, Target};

/// The outcome of one trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The workload finished, every detector was armed, no finding.
    Clean,
    /// The job's signature was seen.
    Target,
    /// Another kernel finding.
    Other,
    /// The workload itself failed: a system call, data that came back wrong.
    Workload,
    /// QEMU, Ceph or the host failed.
    Harness,
    /// Silence past the deadline and nothing to explain it.
    Timeout,
    /// A detector the job needs is missing in the final config or failed its
    /// self-test.
    Unarmed,
}

impl Outcome {
    /// The word used in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Target => "target",
            Self::Other => "other",
            Self::Workload => "workload",
            Self::Harness => "harness",
            Self::Timeout => "timeout",
            Self::Unarmed => "unarmed",
        }
    }
}

/// How the trial's machine and steps came to an end; facts, no judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Ending {
    /// All steps finished.
    Finished,
    /// The kernel's words ended it: a finding was complete, or the guest reset.
    Stopped,
    /// A step failed.
    StepFailed {
        /// Which step.
        step: String,
        /// What failed.
        error: String,
    },
    /// A step, or the boot, was not through at its deadline.
    Deadline {
        /// What was waited for.
        step: String,
    },
    /// The guest powered off or reset before its steps were through.
    GuestEnded {
        /// What was going on.
        step: String,
        /// `powered off` or `reset`.
        how: String,
    },
    /// QEMU, the cluster or the host failed.
    Harness {
        /// What.
        what: String,
    },
}

/// What a trial recorded; what an outcome is decided from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// The arm's name.
    pub arm: String,
    /// The trial's number, from 1.
    pub number: u32,
    /// What it did.
    pub workload: String,
    /// The kernel's release.
    pub release: String,
    /// How it ended.
    pub ending: Ending,
    /// What its console said, as found at the time.
    pub findings: Vec<Finding>,
    /// Detectors the job needs that were not armed.
    pub unarmed: Vec<String>,
    /// What the self-test of its kernel provoked and did not see.
    #[serde(default)]
    pub unseen: Vec<Class>,
    /// How many bytes of the console came before the harness itself had the
    /// kernel print everybody's stacks; what follows is not searched.
    pub console_length: u64,
    /// Wall-clock time, in seconds.
    pub seconds: f64,
    /// How often it had to be tried again because the harness failed.
    #[serde(default)]
    pub retries: u32,
    /// What the workload counted, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// An outcome with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in a few words: a title, a failed step.
    pub reason: String,
    /// Titles of known findings, which were not counted.
    pub known: Vec<String>,
}

/// Decides a trial's outcome; `day` is when it ran, for what is known until some
/// day only. What the kernel said outranks how the trial
/// ended; what made the trial unable to show anything outranks silence.
#[must_use]
pub fn decide(trial: &Trial, target: Option<&Target>, known: &[Mute], day: Date) -> Judged {
    let (known, counted): (Vec<&Finding>, Vec<&Finding>) =
        trial.findings.iter().partition(|finding| {
            known
                .iter()
                .any(|mute| mute.covers(finding, &trial.release, day))
        });
    let seen = target.and_then(|target| counted.iter().find(|finding| target.matches(finding)));
    let (outcome, reason) = if let Some(finding) = seen {
        (Outcome::Target, finding.title.clone())
    } else if let Some(finding) = counted.first() {
        (Outcome::Other, finding.title.clone())
    } else {
        match &trial.ending {
            Ending::Harness { what } => (Outcome::Harness, what.clone()),
            _ if !trial.unarmed.is_empty() || !trial.unseen.is_empty() => {
                (Outcome::Unarmed, not_armed(trial))
            }
            Ending::Finished => (Outcome::Clean, String::new()),
            Ending::Stopped => (
                Outcome::Timeout,
                "stopped for a finding that is not there any more".to_owned(),
            ),
            Ending::StepFailed { step, error } => (Outcome::Workload, format!("{step}: {error}")),
            Ending::Deadline { step } => (Outcome::Timeout, format!("{step} did not finish")),
            Ending::GuestEnded { step, how } => (
                Outcome::Timeout,
                format!("the guest {how} during {step} without a word"),
            ),
        }
    };
    Judged {
        outcome,
        reason,
        known: known.iter().map(|finding| finding.title.clone()).collect(),
    }
}

/// What a trial could not have shown, and how that is known.
fn not_armed(trial: &Trial) -> String {
    let unseen = trial.unseen.iter();
    let unseen = unseen.map(|class| format!("{class} (its self-test was not seen)"));
    let all: Vec<String> = trial.unarmed.iter().cloned().chain(unseen).collect();
    format!("not armed: {}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Scanner;

    const DAY: Date = jiff::civil::date(2026, 1, 2);

    /// What a kernel says when `function` of `task` hangs.
    fn hang(function: &str) -> Vec<Finding> {
        let console = format!(
            "[    6.774538] INFO: task sync:33 blocked for more than 3 seconds.\n\
             [    6.774552] task:sync   state:D stack:0     pid:33    tgid:33    ppid:2\n\
             [    6.774725] Call Trace:\n\
             [    6.774730]  <TASK>\n\
             [    6.774734]  __schedule+0x2f8/0x6e0\n\
             [    6.774746]  {function}+0x5f/0xa0\n\
             [    6.774918]  </TASK>\n"
        );
        let mut scanner = Scanner::new();
        scanner.push(console.as_bytes());
        scanner.finish()
    }

    fn trial(ending: Ending, findings: Vec<Finding>) -> Trial {
        Trial {
            arm: "a".to_owned(),
            number: 1,
            workload: "w".to_owned(),
            release: "7.3.4".to_owned(),
            ending,
            findings,
            unarmed: Vec::new(),
            unseen: Vec::new(),
            console_length: 0,
            seconds: 1.0,
            retries: 0,
            counters: BTreeMap::new(),
        }
    }

    fn target() -> Target {
        serde_yaml::from_str("{ class: hung_task, frames: [inode_wait_for_writeback] }").unwrap()
    }

    fn outcome(trial: &Trial) -> Outcome {
        decide(trial, Some(&target()), &[], DAY).outcome
    }

    fn endings() -> [(Ending, Outcome); 6] {
        let step = || "sync".to_owned();
        [
            (Ending::Finished, Outcome::Clean),
            (Ending::Stopped, Outcome::Timeout),
            (
                Ending::StepFailed {
                    step: step(),
                    error: "ENODEV".to_owned(),
                },
                Outcome::Workload,
            ),
            (Ending::Deadline { step: step() }, Outcome::Timeout),
            (
                Ending::GuestEnded {
                    step: step(),
                    how: "reset".to_owned(),
                },
                Outcome::Timeout,
            ),
            (Ending::Harness { what: step() }, Outcome::Harness),
        ]
    }

    #[test]
    fn without_findings_the_ending_decides() {
        for (ending, expected) in endings() {
            assert_eq!(outcome(&trial(ending, Vec::new())), expected);
        }
    }

    #[test]
    fn what_the_kernel_said_outranks_every_ending() {
        for (ending, _) in endings() {
            let mut hit = trial(ending.clone(), hang("inode_wait_for_writeback"));
            hit.unarmed = vec!["CONFIG_X".to_owned()];
            assert_eq!(outcome(&hit), Outcome::Target, "{ending:?}");
            let other = trial(ending.clone(), hang("ceph_mdsc_sync"));
            assert_eq!(outcome(&other), Outcome::Other, "{ending:?}");
        }
    }

    #[test]
    fn the_target_counts_wherever_it_stands_among_findings() {
        let mut findings = hang("ceph_mdsc_sync");
        findings.extend(hang("inode_wait_for_writeback"));
        let judged = decide(&trial(Ending::Stopped, findings), Some(&target()), &[], DAY);
        assert_eq!(judged.outcome, Outcome::Target);
    }

    #[test]
    fn silence_of_an_unarmed_trial_is_neither_clean_nor_the_workload_s_fault() {
        for (ending, expected) in endings() {
            let mut unarmed = trial(ending, Vec::new());
            unarmed.unarmed = vec!["CONFIG_CEPH_FS".to_owned()];
            let judged = decide(&unarmed, None, &[], DAY);
            if expected == Outcome::Harness {
                assert_eq!(judged.outcome, Outcome::Harness);
            } else {
                assert_eq!(judged.outcome, Outcome::Unarmed);
                assert_eq!(judged.reason, "not armed: CONFIG_CEPH_FS");
            }
        }
    }

    #[test]
    fn what_a_self_test_did_not_show_leaves_silence_without_meaning() {
        let mut trial = trial(Ending::Finished, Vec::new());
        trial.unseen = vec![Class::HungTask];
        let judged = decide(&trial, None, &[], DAY);
        assert_eq!(judged.outcome, Outcome::Unarmed);
        assert_eq!(
            judged.reason,
            "not armed: hung_task (its self-test was not seen)"
        );
        trial.findings = hang("inode_wait_for_writeback");
        assert_eq!(outcome(&trial), Outcome::Target);
    }

    #[test]
    fn a_known_finding_is_told_and_not_counted() {
        let known: Vec<Mute> =
            serde_yaml::from_str("[{ title: '/ceph_mdsc_sync/', reason: it is old }]").unwrap();
        let hung = trial(Ending::Finished, hang("ceph_mdsc_sync"));
        let judged = decide(&hung, None, &known, DAY);
        assert_eq!(judged.outcome, Outcome::Clean);
        assert_eq!(judged.known.len(), 1);
        assert_eq!(decide(&hung, None, &[], DAY).outcome, Outcome::Other);
    }
}
