//! How one trial ended, decided from what it recorded.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::detect::{Class, Finding, Mute, Target, known_as};
use crate::host::Load;
use crate::outcome::Outcome;
use crate::record::{Ending, Trial};

/// More tasks than this, ready to run on each processor of the host, and what
/// a guest does in time says nothing: a trial of its own is at most two.
const CROWDED: f64 = 4.0;

/// The same for the share of time that a virtual host's own host took.
const STOLEN: f64 = 0.25;

/// The same for the share of its time in which the guest waited for its turn: as
/// with [`CROWDED`] tasks of its own priority.
const DENIED: f64 = 0.75;

/// What a trial is asked: what of its job and its arm decides its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The finding that is the bug.
    pub target: Option<&'a Target>,
    /// Findings that are shown and not counted.
    pub known: &'a [Mute],
    /// When the run began: a finding may be known until some day only.
    pub day: Date,
}

/// A finding of a trial, as it is counted over trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Seen {
    /// The name developers know it by.
    pub title: String,
    /// Its class and its stack's shape, which is what it is recognised by.
    pub signature: String,
}

impl Seen {
    /// Whether it is the same trouble.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

/// An outcome with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Judged {
    /// The outcome.
    pub outcome: Outcome,
    /// Why, in a few words: a title, a failed step.
    pub reason: String,
    /// Titles of known findings, which were not counted.
    pub known: Vec<String>,
    /// What kept the kernel from coming up, if that is what happened. It takes
    /// more than one boot to tell whether the kernel or the host is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// What was seen besides the target and what is known, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Seen>,
}

/// Decides a trial's outcome; `unarmed` are the detectors that it needed and did
/// not have. What the kernel said outranks how the trial ended; what made the
/// trial unable to show anything outranks silence. What a kernel says of its
/// machine while it boots, or while the host or the service leave it waiting,
/// is the harness's.
#[must_use]
pub fn decide(trial: &Trial, question: &Question<'_>, unarmed: &[String]) -> Judged {
    let (known, counted): (Vec<&Finding>, Vec<&Finding>) =
        trial.findings.iter().partition(|finding| {
            let Question { target, known, day } = *question;
            known_as(finding, known, target, &trial.release, day).is_some()
        });
    let (outcome, reason, boot) = judge(trial, question.target, &counted, unarmed);
    Judged {
        outcome,
        reason,
        known: known.iter().map(|finding| finding.title.clone()).collect(),
        boot,
        others: others(&counted, question.target),
    }
}

/// Findings that are not the target, each once.
fn others(counted: &[&Finding], target: Option<&Target>) -> Vec<Seen> {
    let mut others: Vec<Seen> = Vec::new();
    for finding in counted {
        let is_target = target.is_some_and(|target| target.matches(finding));
        let seen = Seen {
            title: finding.title.clone(),
            signature: finding.signature.clone(),
        };
        if !is_target && !others.iter().any(|other| other.same(&seen)) {
            others.push(seen);
        }
    }
    others
}

fn judge(
    trial: &Trial,
    target: Option<&Target>,
    counted: &[&Finding],
    unarmed: &[String],
) -> (Outcome, String, Option<String>) {
    let seen = target.and_then(|target| counted.iter().find(|finding| target.matches(finding)));
    let later = counted.iter().find(|finding| !of_the_boot(trial, finding));
    let harness = |reason: String| (Outcome::Harness, reason, None);
    if !trial.unanswered.is_empty() {
        let silent = format!("{} did not answer", trial.unanswered.join(", "));
        let found = seen.or(counted.first());
        return harness(found.map_or(silent.clone(), |finding| {
            format!("{silent}: {}", finding.title)
        }));
    }
    if let Some(finding) = seen {
        return (Outcome::Target, finding.title.clone(), None);
    }
    let crowded = trial.load.and_then(|load| crowded(&load));
    match (later, &crowded) {
        (Some(finding), Some(crowded)) if is_of_time(finding.class) => {
            return harness(format!("{crowded}: {}", finding.title));
        }
        (Some(finding), _) => return (Outcome::Other, finding.title.clone(), None),
        (None, _) => {}
    }
    if let Some(finding) = counted.first() {
        let title = finding.title.clone();
        let reason = format!("the kernel did not come up: {title}");
        return (Outcome::Harness, reason, Some(title));
    }
    let (outcome, reason) = match &trial.ending {
        Ending::Harness { what, .. } => (Outcome::Harness, what.clone()),
        _ if !unarmed.is_empty() => (
            Outcome::Unarmed,
            format!("not armed: {}", unarmed.join(", ")),
        ),
        Ending::Finished => (Outcome::Clean, String::new()),
        Ending::Stopped => (
            Outcome::Timeout,
            "stopped for a finding that is not there any more".to_owned(),
        ),
        Ending::StepFailed { step, error, .. } => (Outcome::Workload, format!("{step}: {error}")),
        Ending::Deadline { step } => (Outcome::Timeout, format!("{step} did not finish")),
        Ending::GuestEnded { step, how } => (
            Outcome::Timeout,
            format!("the guest {how} during {step} without a word"),
        ),
    };
    match (outcome, crowded) {
        (Outcome::Timeout, Some(crowded)) => harness(format!("{crowded}: {reason}")),
        // It never came up, and nobody knows why.
        (Outcome::Timeout, None) if trial.ready.is_none() && trial.booted_at.is_none() => {
            let reason_at_boot = format!("the kernel did not come up: {reason}");
            (Outcome::Harness, reason_at_boot, Some(reason))
        }
        _ => (outcome, reason, None),
    }
}

/// Whether this was said before the agent was up and by a kernel that did not
/// go on from there: it is about the machine, not about the workload.
fn of_the_boot(trial: &Trial, finding: &Finding) -> bool {
    let early = trial
        .booted_at
        .is_none_or(|line| finding.first_line <= line);
    early && finding.class.ends_trial()
}

/// Whether a class of findings is about time that went by, which it also does
/// while the host runs something else.
#[must_use]
pub fn is_of_time(class: Class) -> bool {
    matches!(
        class,
        Class::HungTask
            | Class::RcuStall
            | Class::SoftLockup
            | Class::HardLockup
            | Class::WorkqueueLockup
    )
}

/// Why the host was too busy for a trial to tell anything by time.
fn crowded(load: &Load) -> Option<String> {
    if load.runnable > CROWDED {
        let tasks = load.runnable;
        return Some(format!(
            "the host was too busy ({tasks:.1} tasks for each processor)"
        ));
    }
    if load.stolen > STOLEN {
        let percent = load.stolen * 100.0;
        return Some(format!(
            "the host was too busy (its own host took {percent:.0} % of its time)"
        ));
    }
    let denied = load.denied.filter(|denied| *denied > DENIED)?;
    let percent = denied * 100.0;
    Some(format!(
        "the host was too busy (the guest had to wait {percent:.0} % of its time)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Scanner;
    use crate::guest::protocol::FailureKind;
    use crate::record::Part;

    use crate::trial_id::TrialId;

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

    /// A trial that came up, and what it showed then.
    fn trial(ending: Ending, findings: Vec<Finding>) -> Trial {
        Trial {
            id: TrialId {
                arm: "a".to_owned(),
                workload: "w".to_owned(),
                number: 1,
            },
            attempt: 1,
            release: "7.3.4".to_owned(),
            ending,
            findings,
            ready: None,
            booted_at: Some(0),
            console_length: 0,
            said: 0,
            lines: 9,
            seconds: 1.0,
            counters: std::collections::BTreeMap::new(),
            load: None,
            unanswered: Vec::new(),
            host: None,
            silenced: None,
            disk: None,
            failed_tests: Vec::new(),
            memory: None,
            unarmed_then: Vec::new(),
        }
    }

    fn target() -> Target {
        serde_yaml::from_str("{ class: hung_task, frames: [inode_wait_for_writeback] }").unwrap()
    }

    fn asked<'a>(target: Option<&'a Target>, known: &'a [Mute]) -> Question<'a> {
        let day = DAY;
        Question { target, known, day }
    }

    fn judged(trial: &Trial) -> Judged {
        decide(trial, &asked(Some(&target()), &[]), &[])
    }

    fn outcome(trial: &Trial) -> Outcome {
        judged(trial).outcome
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
                    failure: Some(FailureKind::Syscall),
                    errno: Some("ENODEV".to_owned()),
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
            (
                Ending::Harness {
                    part: Part::Machine,
                    what: step(),
                },
                Outcome::Harness,
            ),
        ]
    }

    #[test]
    fn without_findings_the_ending_decides() {
        for (ending, expected) in endings() {
            assert_eq!(outcome(&trial(ending, Vec::new())), expected);
        }
    }

    #[test]
    fn what_the_kernel_said_outranks_every_ending_and_what_was_not_armed() {
        let unarmed = ["CONFIG_X".to_owned()];
        for (ending, _) in endings() {
            let hit = trial(ending.clone(), hang("inode_wait_for_writeback"));
            let judged = decide(&hit, &asked(Some(&target()), &[]), &unarmed);
            assert_eq!(judged.outcome, Outcome::Target, "{ending:?}");
            let other = trial(ending.clone(), hang("ceph_mdsc_sync"));
            assert_eq!(outcome(&other), Outcome::Other, "{ending:?}");
        }
    }

    #[test]
    fn the_target_counts_wherever_it_stands_among_findings() {
        let mut findings = hang("ceph_mdsc_sync");
        findings.extend(hang("inode_wait_for_writeback"));
        assert_eq!(outcome(&trial(Ending::Stopped, findings)), Outcome::Target);
    }

    #[test]
    fn silence_of_an_unarmed_trial_is_neither_clean_nor_the_workload_s_fault() {
        let unarmed = ["CONFIG_CEPH_FS".to_owned()];
        for (ending, expected) in endings() {
            let judged = decide(&trial(ending, Vec::new()), &asked(None, &[]), &unarmed);
            if expected == Outcome::Harness {
                assert_eq!(judged.outcome, Outcome::Harness);
            } else {
                assert_eq!(judged.outcome, Outcome::Unarmed);
                assert_eq!(judged.reason, "not armed: CONFIG_CEPH_FS");
            }
        }
    }

    #[test]
    fn a_known_finding_is_told_and_not_counted() {
        let known: Vec<Mute> =
            serde_yaml::from_str("[{ title: '/ceph_mdsc_sync/', reason: it is old }]").unwrap();
        let hung = trial(Ending::Finished, hang("ceph_mdsc_sync"));
        let judged = decide(&hung, &asked(None, &known), &[]);
        assert_eq!(judged.outcome, Outcome::Clean);
        assert_eq!(judged.known.len(), 1);
        assert_eq!(outcome(&hung), Outcome::Other);
    }

    /// What a job asks about is no less its target for being known; a target that
    /// is any of a class leaves out what is known.
    #[test]
    fn a_target_that_names_one_bug_is_not_known() {
        let known: Vec<Mute> =
            serde_yaml::from_str("[{ title: 'INFO: task hung in *', reason: it is old }]").unwrap();
        let hung = trial(Ending::Stopped, hang("inode_wait_for_writeback"));
        let judged = decide(&hung, &asked(Some(&target()), &known), &[]);
        assert_eq!(judged.outcome, Outcome::Target);
        assert_eq!(judged.known, [""; 0]);
        let any: Target = serde_yaml::from_str("{ class: hung_task }").unwrap();
        let judged = decide(&hung, &asked(Some(&any), &known), &[]);
        assert_ne!(judged.outcome, Outcome::Target);
        assert_eq!(judged.known.len(), 1);
    }

    #[test]
    fn what_a_kernel_says_while_it_boots_is_about_its_machine() {
        let at_boot = |booted_at: Option<u64>, findings| Trial {
            booted_at,
            ..trial(
                Ending::GuestEnded {
                    step: "the boot".to_owned(),
                    how: "reset".to_owned(),
                },
                findings,
            )
        };
        let other = judged(&at_boot(None, hang("mount_root")));
        assert_eq!(other.outcome, Outcome::Harness);
        assert_eq!(other.boot.as_deref(), Some("INFO: task hung in mount_root"));
        // The same before the agent was up, and after.
        assert_eq!(
            outcome(&at_boot(Some(9), hang("mount_root"))),
            Outcome::Harness
        );
        assert_eq!(
            outcome(&at_boot(Some(0), hang("mount_root"))),
            Outcome::Other
        );
        // A job may well ask for it.
        let target = judged(&at_boot(None, hang("inode_wait_for_writeback")));
        assert_eq!((target.outcome, target.boot), (Outcome::Target, None));
        // A kernel that says nothing at all does not come up either.
        let silent = judged(&at_boot(None, Vec::new()));
        assert_eq!(silent.outcome, Outcome::Harness);
        assert!(silent.boot.is_some());
    }

    #[test]
    fn what_is_about_time_says_nothing_on_a_host_without_time() {
        let busy = |runnable, stolen, denied| {
            Some(Load {
                runnable,
                stolen,
                pressure: None,
                denied: Some(denied),
            })
        };
        for load in [
            busy(8.0, 0.0, 0.0),
            busy(1.0, 0.5, 0.0),
            busy(1.0, 0.0, 0.9),
        ] {
            let mut trial = trial(Ending::Finished, hang("ceph_mdsc_sync"));
            assert_eq!(outcome(&trial), Outcome::Other);
            trial.load = busy(2.0, 0.0, 0.6);
            assert_eq!(outcome(&trial), Outcome::Other);
            trial.load = load;
            assert_eq!(outcome(&trial), Outcome::Harness);
            // The job's own signature is no accident.
            trial.findings = hang("inode_wait_for_writeback");
            assert_eq!(outcome(&trial), Outcome::Target);
            trial.findings = Vec::new();
            assert_eq!(outcome(&trial), Outcome::Clean);
            let step = "sync".to_owned();
            trial.ending = Ending::Deadline { step };
            assert_eq!(outcome(&trial), Outcome::Harness);
        }
    }

    #[test]
    fn what_guests_show_while_the_service_does_not_answer_is_its_own_doing() {
        let mut trial = trial(Ending::Stopped, hang("inode_wait_for_writeback"));
        trial.unanswered = vec!["mds.a".to_owned()];
        let judged = judged(&trial);
        assert_eq!(judged.outcome, Outcome::Harness);
        assert!(
            judged
                .reason
                .starts_with("mds.a did not answer: INFO: task")
        );
    }
}
