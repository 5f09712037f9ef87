//! What was answered already, so that a scheduled job runs only when there is
//! something new to ask: another kernel, or another job. A file for each job's
//! name below the user's state directory, with the questions of the last runs.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::outcome::VerdictKind;
use crate::store::{Key, Lock, StoreError, io_error, state_directory, write_json};

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Answers that are kept: a branch that goes back and forth is known.
const MOST_KEPT: usize = 200;

/// The most bytes of a file of these.
const LARGEST: u64 = 4 << 20;

/// How often a question without an answer is asked again.
const MOST_UNDECIDED: u32 = 3;

/// One question that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What decides the answer: kernels, patches, configuration, workloads.
    pub question: Key,
    /// The kernels' sources, for people.
    pub sources: Vec<String>,
    /// When the verdict was given.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: VerdictKind,
    /// The run's directory.
    pub run: String,
    /// How often it was asked without an answer.
    #[serde(default)]
    pub undecided: u32,
}

impl Answer {
    /// Whether asking again is of no use.
    #[must_use]
    pub fn settles(&self) -> bool {
        self.verdict.exit() != Exit::Undecided || self.undecided >= MOST_UNDECIDED
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    answers: Vec<Answer>,
}

/// The answers to one job's questions.
#[derive(Debug)]
pub struct Tested {
    file: PathBuf,
    answers: Vec<Answer>,
}

impl Tested {
    /// Reads what is known of the job of this name. A file that is damaged is
    /// moved aside and told: the worst is that something is tested twice.
    pub fn open(context: &Context, job: &str) -> Result<Self, StoreError> {
        let directory = state_directory()?.join("tested");
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        let file = directory.join(format!("{job}.json"));
        let mut answers = Vec::new();
        if file.exists() {
            match read(&file) {
                Ok(kept) => answers = kept,
                Err(problem) => {
                    let aside = file.with_extension("json.damaged");
                    std::fs::rename(&file, &aside).map_err(io_error("rename", &file))?;
                    context.emit(Event::Warning(format!(
                        "{} is damaged ({problem}), so all is taken for new; it is kept as {}",
                        file.display(),
                        aside.display()
                    )));
                }
            }
        }
        Ok(Self { file, answers })
    }

    /// Waits until no other run of this job asks what is new.
    pub async fn alone(context: &Context, job: &str) -> Result<Lock, Error> {
        let directory = state_directory()?.join("tested");
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        let file = directory.join(format!(".{job}.lock"));
        if let Some(lock) = Lock::try_acquire(&file)? {
            return Ok(lock);
        }
        context.emit(Event::Note(format!(
            "another run of {job} is under way: waiting for its end"
        )));
        tokio::select! {
            lock = Lock::acquire(&file) => Ok(lock?),
            () = context.cancel.cancelled() => {
                Err(crate::process::ProcessError::Interrupted.into())
            }
        }
    }

    /// What was answered to this question.
    #[must_use]
    pub fn answer(&self, question: &Key) -> Option<&Answer> {
        let mut all = self.answers.iter();
        all.find(|answer| answer.question == *question)
    }

    /// The answer to the last question.
    #[must_use]
    pub fn last(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// Keeps an answer, in the place of an earlier one to the same question.
    pub fn keep(&mut self, mut answer: Answer) -> Result<(), StoreError> {
        let before = self.answer(&answer.question);
        let undecided = before.map_or(0, |answer| answer.undecided);
        if answer.verdict.exit() == Exit::Undecided {
            answer.undecided = undecided + 1;
        }
        self.answers.retain(|one| one.question != answer.question);
        self.answers.push(answer);
        let too_many = self.answers.len().saturating_sub(MOST_KEPT);
        self.answers.drain(..too_many);
        let kept = Kept {
            version: VERSION,
            answers: self.answers.clone(),
        };
        write_json(&self.file, &kept)
    }
}

fn read(file: &std::path::Path) -> Result<Vec<Answer>, String> {
    let text = bounded::read_own(file, LARGEST).map_err(|error| error.to_string())?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if kept.version != VERSION {
        return Err(format!(
            "its version is {}, and this kvet reads {VERSION}",
            kept.version
        ));
    }
    Ok(kept.answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &str, verdict: VerdictKind) -> Answer {
        Answer {
            question: Key::of([question]),
            sources: vec!["linux-7.3.4".to_owned()],
            at: Timestamp::UNIX_EPOCH,
            verdict,
            run: "run".to_owned(),
            undecided: 0,
        }
    }

    fn empty(home: &std::path::Path) -> Tested {
        Tested {
            file: home.join("j.json"),
            answers: Vec::new(),
        }
    }

    #[test]
    fn an_answer_stands_and_an_undecided_one_is_asked_for_again() {
        let home = tempfile::tempdir().unwrap();
        let mut tested = empty(home.path());
        tested.keep(answer("a", VerdictKind::Fixed)).unwrap();
        tested.keep(answer("b", VerdictKind::NotFixed)).unwrap();
        for question in ["a", "b"] {
            assert!(tested.answer(&Key::of([question])).unwrap().settles());
        }
        assert!(tested.answer(&Key::of(["c"])).is_none());
        for time in 1..=MOST_UNDECIDED {
            tested.keep(answer("c", VerdictKind::Inconclusive)).unwrap();
            let settles = tested.answer(&Key::of(["c"])).unwrap().settles();
            assert_eq!(settles, time == MOST_UNDECIDED);
        }
        let again = read(&tested.file).unwrap();
        assert_eq!(again, tested.answers);
        assert_eq!(tested.last().unwrap().undecided, MOST_UNDECIDED);
    }

    #[test]
    fn what_is_kept_does_not_grow_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let mut tested = empty(home.path());
        for number in 0..MOST_KEPT + 5 {
            let one = answer(&number.to_string(), VerdictKind::Fixed);
            tested.keep(one).unwrap();
        }
        assert_eq!(tested.answers.len(), MOST_KEPT);
        assert!(tested.answer(&Key::of(["0"])).is_none());
    }

    #[test]
    fn what_is_not_a_file_of_these_is_said_to_be_damaged() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("j.json");
        for text in ["", "{", "[]", "{\"version\": 9, \"answers\": []}"] {
            std::fs::write(&file, text).unwrap();
            assert!(read(&file).is_err(), "{text}");
        }
        assert!(read(home.path()).is_err());
    }
}
