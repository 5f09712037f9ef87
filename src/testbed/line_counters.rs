//! Asks a guest at its end for the counters of executed lines, object by object
//! and piece by piece. The guest may be in any state: what does not come in time
//! is left.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::guest::{ASKING_STEPS, Guest, Happening};
use crate::coverage::Artifacts;
use crate::coverage::artifacts::LARGEST;
use crate::detect::Finding;
use crate::error::Error;
use crate::guest::protocol::StepResult;
use crate::step::{CounterStep, PIECE};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Guest<'_> {
    /// What the guest counts of these objects; what its kernel reports meanwhile
    /// is added to `found`.
    pub async fn line_counters(
        &mut self,
        objects: &[String],
        found: &mut Vec<Finding>,
    ) -> Result<Artifacts, Error> {
        let mut artifacts = Artifacts::default();
        let deadline = self.within(PATIENCE);
        let mut step = ASKING_STEPS;
        let mut gone = None;
        for object in objects {
            let counters = match &gone {
                Some(problem) => Err(Problem::Gone(String::clone(problem))),
                None => self.counters_of(object, &mut step, deadline, found).await?,
            };
            if let Err(Problem::Gone(problem)) = &counters {
                gone.get_or_insert_with(|| problem.clone());
            }
            artifacts.take(object, counters.map_err(Problem::text));
        }
        Ok(artifacts)
    }

    async fn counters_of(
        &mut self,
        object: &str,
        step: &mut u32,
        deadline: Instant,
        found: &mut Vec<Finding>,
    ) -> Result<Result<Vec<u8>, Problem>, Error> {
        let mut counters = Vec::new();
        loop {
            let action = CounterStep::LineCounters {
                object: object.to_owned(),
                offset: counters.len() as u64,
            };
            *step += 1;
            self.start(*step, &action.into()).await;
            let piece = match self.answer(*step, deadline, found).await? {
                Ok(text) => STANDARD.decode(text),
                Err(problem) => return Ok(Err(problem)),
            };
            let Ok(piece) = piece else {
                return Ok(Err(Problem::Object(
                    "the guest's answer is not base64".to_owned(),
                )));
            };
            counters.extend_from_slice(&piece);
            if piece.len() < PIECE || counters.len() > LARGEST {
                return Ok(Ok(counters));
            }
        }
    }

    /// The text that a step gives.
    async fn answer(
        &mut self,
        asked: u32,
        deadline: Instant,
        found: &mut Vec<Finding>,
    ) -> Result<Result<String, Problem>, Error> {
        loop {
            let gone = match self.next(deadline, std::future::pending::<()>()).await? {
                Happening::Finished { step, result } if step == asked => {
                    return Ok(match result {
                        StepResult::Done(report) => Ok(report.output.unwrap_or_default()),
                        StepResult::Failed(failure) => Err(Problem::Object(failure.message)),
                    });
                }
                Happening::Deadline => "the guest did not answer in time",
                Happening::Broken(_) | Happening::Ended(_) | Happening::Held => {
                    "the guest was gone"
                }
                Happening::ServiceLost(_) => "what the guest mounts was lost",
                Happening::Finding(finding) => {
                    found.push(*finding);
                    continue;
                }
                Happening::Ready(_)
                | Happening::Blocked(_)
                | Happening::Greeted
                | Happening::Finished { .. }
                | Happening::Aside(()) => continue,
            };
            return Ok(Err(Problem::Gone(gone.to_owned())));
        }
    }
}

/// Why counters are not to be had.
enum Problem {
    /// Of this object.
    Object(String),
    /// Of any from now on.
    Gone(String),
}

impl Problem {
    fn text(self) -> String {
        match self {
            Self::Object(text) | Self::Gone(text) => text,
        }
    }
}
