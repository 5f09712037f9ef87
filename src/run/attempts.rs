//! The attempts at a trial. One that tells nothing but that the harness failed is
//! followed by another, a few times, beside it in the record. How an attempt is
//! made is the caller's affair.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::executor::Attempted;
use super::report::{judge_one, question};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::job::Arm;
use crate::outcome::Outcome;
use crate::record::{Beginning, Record, Trial};
use crate::trial_id::TrialId;
use crate::verdict::{Judged, Question, decide};

/// How often a trial that tells nothing but that the harness failed is repeated.
const RETRIES: u32 = 2;

/// Whether another attempt at a trial follows one that ended like this, after
/// which so many have ended. `lost`: the service is, so that none would tell
/// anything.
pub(super) fn another_follows(
    trial: &Trial,
    question: &Question<'_>,
    lost: bool,
    ended: u32,
) -> bool {
    !lost && ended <= RETRIES && decide(trial, question, &[]).outcome == Outcome::Harness
}

/// An attempt that is to be made.
pub(super) struct Attempt {
    /// Which one, from 1.
    pub(super) number: u32,
    /// Where its files go.
    pub(super) directory: PathBuf,
    /// A name of its own: the service must not mistake one guest for another.
    pub(super) hostname: String,
    /// Hosts on which the harness failed earlier ones.
    pub(super) avoid: BTreeSet<String>,
}

/// A trial that is to be attempted until it tells something.
pub(super) struct Attempts<'a> {
    pub(super) context: &'a Context,
    pub(super) record: &'a Record,
    pub(super) beginning: &'a Beginning,
    pub(super) arm: &'a Arm,
    pub(super) id: &'a TrialId,
    /// What the names of its guests begin with.
    pub(super) hostname: &'a str,
}

impl Attempts<'_> {
    /// Makes attempts, of which the first was begun already, and judges the last.
    /// Returns what it came to, and whether the service is lost now.
    pub(super) async fn make(
        &self,
        first: (u32, PathBuf),
        mut make: impl AsyncFnMut(Attempt) -> Result<Attempted, Error>,
    ) -> Result<(Judged, bool), Error> {
        let Self {
            context,
            record,
            beginning,
            arm,
            id,
            hostname,
        } = *self;
        let question = question(beginning, arm);
        let mut avoid = BTreeSet::new();
        let (mut number, mut directory) = first;
        let Attempted { trial, lost } = loop {
            context.emit(Event::TrialStarted {
                trial: id.clone(),
                attempt: number,
            });
            let attempted = make(Attempt {
                number,
                directory,
                hostname: format!("{hostname}-{number}"),
                avoid: avoid.clone(),
            });
            let attempted = attempted.await?;
            let ended = record.ended_attempts(id)?;
            if !another_follows(&attempted.trial, &question, attempted.lost.is_some(), ended) {
                break attempted;
            }
            avoid.extend(attempted.trial.host);
            (number, directory) = record.begin_attempt(id)?;
        };
        let judged = judge_one(record, beginning, arm, &trial)?;
        context.emit(Event::TrialFinished {
            trial: id.clone(),
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            elapsed: Duration::from_secs_f64(trial.seconds.max(0.0)),
        });
        Ok((judged, lost.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::detect::{Class, Target};
    use crate::record::{Ending, Part, keep_trial};
    use crate::report::fixture;

    /// The run that the golden tests judge, with no trial yet.
    struct Run {
        _home: tempfile::TempDir,
        record: Record,
        beginning: Beginning,
        /// A trial of its control, which ended as a finding ends one.
        trial: Trial,
    }

    impl Run {
        fn new() -> Self {
            let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(home.path().join("arms/stock")).unwrap();
            for name in ["run.json", "arms/stock/config"] {
                std::fs::copy(recorded.join(name), home.path().join(name)).unwrap();
            }
            let (record, beginning) = Record::open(home.path()).unwrap();
            let (recorded, _) = Record::open(&recorded).unwrap();
            let trial = recorded.trials("stock", "example").unwrap().remove(0).trial;
            Self {
                _home: home,
                record,
                beginning,
                trial,
            }
        }

        /// An attempt that the harness failed.
        fn failed(&self) -> Trial {
            Trial {
                ending: Ending::Harness {
                    part: Part::Link,
                    what: "the agent is gone".to_owned(),
                },
                findings: Vec::new(),
                ..self.trial.clone()
            }
        }

        /// An attempt that says something of its kernel.
        fn clean(&self) -> Trial {
            Trial {
                ending: Ending::Finished,
                findings: Vec::new(),
                ..self.trial.clone()
            }
        }

        /// Makes attempts that come to these, and returns those that were made with
        /// what the trial came to.
        async fn attempts(
            &self,
            came_to: Vec<Attempted>,
        ) -> (Vec<Attempt>, Result<(Judged, bool), Error>) {
            let attempts = Attempts {
                context: &Context::default(),
                record: &self.record,
                beginning: &self.beginning,
                arm: &self.beginning.plan.arms[0],
                id: &self.trial.id,
                hostname: "trial-7",
            };
            let mut came_to = came_to.into_iter();
            let mut made = Vec::new();
            let first = self.record.begin_attempt(&self.trial.id).unwrap();
            let result = attempts.make(first, async |attempt: Attempt| {
                let attempted = came_to.next().expect("one attempt too many");
                // It is marked as begun before anything is done.
                assert!(attempt.directory.join("started").exists());
                keep_trial(&attempt.directory, &attempted.trial)?;
                made.push(attempt);
                Ok(attempted)
            });
            let result = result.await;
            (made, result)
        }
    }

    fn on(host: &str, trial: Trial) -> Attempted {
        Attempted {
            trial: Trial {
                host: Some(host.to_owned()),
                ..trial
            },
            lost: None,
        }
    }

    #[tokio::test]
    async fn a_trial_that_the_harness_failed_is_tried_twice_more_and_no_third_time() {
        let run = Run::new();
        let hosts = ["a", "b", "c", "d"];
        let came_to = hosts.map(|host| on(host, run.failed())).into();
        let (made, result) = run.attempts(came_to).await;
        let (judged, lost) = result.unwrap();
        assert_eq!((judged.outcome, lost), (Outcome::Harness, false));
        assert_eq!(judged.reason, "the agent is gone");
        assert_eq!(run.record.ended_attempts(&run.trial.id).unwrap(), 3);
        let numbers: Vec<u32> = made.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        // None takes the place or the name of another.
        for attempt in &made {
            let place = format!("trials/example/1/{}", attempt.number);
            assert!(
                attempt.directory.ends_with(&place),
                "{:?}",
                attempt.directory
            );
            assert_eq!(attempt.hostname, format!("trial-7-{}", attempt.number));
        }
        let avoided = made.iter().map(|attempt| &attempt.avoid);
        let avoided: Vec<Vec<&str>> = avoided
            .map(|hosts| hosts.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(avoided, [vec![], vec!["a"], vec!["a", "b"]]);
    }

    #[tokio::test]
    async fn what_another_attempt_shows_is_what_the_trial_comes_to() {
        let run = Run::new();
        let came_to = vec![on("a", run.failed()), on("b", run.clean())];
        let (made, result) = run.attempts(came_to).await;
        assert_eq!(made.len(), 2);
        assert_eq!(result.unwrap().0.outcome, Outcome::Clean);
        let recorded = run.record.trials("stock", "example").unwrap().remove(0);
        assert_eq!(recorded.trial.host.as_deref(), Some("b"));
        assert_eq!(recorded.earlier.len(), 1);
    }

    #[tokio::test]
    async fn no_attempt_follows_one_with_which_the_service_was_lost() {
        let run = Run::new();
        let lost = Attempted {
            lost: Some("mds.a died".to_owned()),
            ..on("a", run.failed())
        };
        let (made, result) = run.attempts(vec![lost]).await;
        assert_eq!(made.len(), 1);
        let (judged, lost) = result.unwrap();
        assert_eq!((judged.outcome, lost), (Outcome::Harness, true));
    }

    /// One that was killed with its run did not end, and counts for nothing.
    #[tokio::test]
    async fn a_resumed_trial_has_the_attempts_that_are_left() {
        let run = Run::new();
        let (_, ended) = run.record.begin_attempt(&run.trial.id).unwrap();
        keep_trial(&ended, &run.failed()).unwrap();
        run.record.begin_attempt(&run.trial.id).unwrap();
        let came_to = ["a", "b", "c"].map(|host| on(host, run.failed()));
        let (made, _) = run.attempts(came_to.into()).await;
        let names: Vec<&str> = made.iter().map(|one| one.hostname.as_str()).collect();
        assert_eq!(names, ["trial-7-3", "trial-7-4"]);
    }

    #[test]
    fn what_a_kernel_showed_is_never_tried_again() {
        let run = Run::new();
        let target: Target = serde_yaml::from_str("{ class: hung_task }").unwrap();
        let question = Question {
            target: Some(&target),
            ..question(&run.beginning, &run.beginning.plan.arms[0])
        };
        let follows = |trial: &Trial| another_follows(trial, &question, false, 1);
        let showing = |class: Class, trial: Trial| {
            let mut finding = fixture::finding("something in f");
            finding.class = class;
            finding.first_line = 9;
            Trial {
                findings: vec![finding],
                ..trial
            }
        };
        assert!(follows(&run.failed()));
        assert!(!follows(&run.clean()));
        // Whatever failed beside it.
        assert!(!follows(&showing(Class::HungTask, run.failed())));
        assert!(!follows(&showing(Class::Warning, run.failed())));
        // A deadline that passes without a word is the workload's, too.
        let late = Trial {
            ending: Ending::Deadline {
                step: "sync".to_owned(),
            },
            ..run.clean()
        };
        assert!(!follows(&late));
        // A part of the service that does not answer explains whatever was found.
        let unanswered = Trial {
            unanswered: vec!["osd.0".to_owned()],
            ..showing(Class::HungTask, run.clean())
        };
        assert!(follows(&unanswered));
    }

    #[test]
    fn how_many_attempts_there_were_and_the_service_decide_whether_another_follows() {
        let run = Run::new();
        let question = question(&run.beginning, &run.beginning.plan.arms[0]);
        let follows = |lost, ended| another_follows(&run.failed(), &question, lost, ended);
        assert_eq!(
            [1, 2, 3, 4].map(|ended| follows(false, ended)),
            [true, true, false, false]
        );
        assert!(!follows(true, 1));
    }
}
