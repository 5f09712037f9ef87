//! How a bisection went: what each boot showed and what was believed after it,
//! from its log, which nobody has to open for writing. For reports.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::log::{Entry, LogError, entries, replay_with};
use super::report::Report;
use super::{LOG, REPORT, drive::short};
use crate::error::{Error as Failure, Exit, Fault};
use crate::record::{RecordError, read_json};

/// A log of more than this is not read.
const LARGEST: u64 = 256 << 20;

/// Moments that are kept: a search asks for some dozens.
const MOST: usize = 2000;

/// A bisection that was stopped, or is still under way.
#[derive(Debug, Error, Diagnostic)]
#[error("the bisection in {} did not come to its end, so it has no report", .0.display())]
#[diagnostic(help("`kvet bisect resume --in {}` goes on with it", .0.display()))]
struct Unfinished(PathBuf);

impl Fault for Unfinished {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A bisection that has a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// What it came to.
    pub report: Report,
    /// The job, as it was given.
    pub job: String,
    /// The arm whose kernel was varied.
    pub arm: String,
    /// The workload of every trial.
    pub workload: String,
    /// The candidates as people write them, in order.
    pub candidates: Vec<String>,
    /// What all candidates build on.
    pub base: String,
    /// What was seen, in order.
    pub moments: Vec<Moment>,
}

/// Something that was seen or said, and what was believed after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Which candidate it was about, by number; the base is `None`.
    pub candidate: Option<usize>,
    /// What.
    pub what: What,
    /// Where its trial is kept, below the directory of the bisection.
    pub trial: Option<String>,
    /// The probability of each candidate that it is the culprit.
    pub belief: Vec<f64>,
    /// The probability that there is no culprit.
    pub none: f64,
}

/// What was seen or said.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A boot showed the target: its title.
    Hit(String),
    /// A boot did not.
    Miss,
    /// It cannot be tested, and why.
    Skipped(String),
    /// Its image is that of another candidate, or of the older end.
    Same(Option<usize>),
    /// Somebody says that it is bad, or good.
    Word(bool),
    /// What was seen of it does not count any more.
    Forgotten,
}

/// Whether a directory is that of a bisection.
#[must_use]
pub fn is_bisection(directory: &Path) -> bool {
    directory.join(LOG).is_file()
}

/// What a bisection came to; nothing if it did not come to its end.
pub fn reported(directory: &Path) -> Result<Option<Report>, RecordError> {
    let report = directory.join(REPORT);
    report.is_file().then(|| read_json(&report)).transpose()
}

/// Reads how a bisection went.
pub fn course(directory: &Path) -> Result<Course, Failure> {
    let Some(report) = reported(directory)? else {
        return Err(Unfinished(directory.to_owned()).into());
    };
    let path = directory.join(LOG);
    // One that has no end, or never began to have one, is not read.
    let readable = path
        .metadata()
        .is_ok_and(|is| is.is_file() && is.len() <= LARGEST);
    if !readable {
        return Err(LogError::NoBeginning(path).into());
    }
    let mut moments = Vec::new();
    let state = replay_with(&path, entries(&path)?, |state, entry| {
        let booted;
        let (candidate, what, trial) = match entry {
            Entry::Boot {
                candidate,
                hit,
                reason,
                trial,
                ..
            } => {
                let what = if *hit {
                    What::Hit(reason.clone())
                } else {
                    What::Miss
                };
                (candidate.as_ref(), what, Some(trial))
            }
            Entry::Confirmed {
                culprit,
                row,
                hit,
                reason,
                trial,
                ..
            } => {
                let Some(point) = state.confirmed(culprit.as_ref(), row) else {
                    return;
                };
                booted = state.name(point);
                let what = if *hit {
                    What::Hit(reason.clone())
                } else {
                    What::Miss
                };
                (booted.as_ref(), what, Some(trial))
            }
            Entry::Skipped {
                candidate, reason, ..
            } => (Some(candidate), What::Skipped(reason.clone()), None),
            Entry::Same { candidate, other } => {
                match other.as_ref().map(|other| state.number(other)).transpose() {
                    Ok(other) => (Some(candidate), What::Same(other), None),
                    Err(_) => return,
                }
            }
            Entry::Word { candidate, bad } => (Some(candidate), What::Word(*bad), None),
            Entry::Forgotten { candidate } => (candidate.as_ref(), What::Forgotten, None),
            _ => return,
        };
        if moments.len() >= MOST {
            return;
        }
        let count = state.begun.candidates.list.len();
        let mut belief = vec![0.0; count];
        for (number, probability) in state.search.likeliest(count) {
            belief[number] = probability;
        }
        moments.push(Moment {
            candidate: candidate.and_then(|name| state.number(name).ok()),
            what,
            trial: trial.map(|trial| trial.display().to_string()),
            belief,
            none: state.search.none(),
        });
    })?;
    let begun = state.begun;
    let names = begun.candidates.list.iter();
    Ok(Course {
        report,
        job: begun.job.display().to_string(),
        arm: begun.arm,
        workload: begun.workload,
        candidates: names.map(|one| short(&one.name).to_owned()).collect(),
        base: begun.candidates.base,
        moments,
    })
}

#[cfg(test)]
mod tests {
    use super::super::candidates::{Candidates, Kind};
    use super::super::log::{Begun, Carried, Log, Source, VERSION};
    use super::super::report::{Cost, Finding};
    use super::*;

    #[test]
    fn belief_moves_with_each_boot() {
        let home = tempfile::tempdir().unwrap();
        let names = (1..=4).map(|n| format!("000{n}.patch"));
        let begun = Begun {
            version: VERSION,
            job: "job.yaml".into(),
            arm: "fixed".to_owned(),
            workload: "w".to_owned(),
            good: "base".to_owned(),
            bad: "0004.patch".to_owned(),
            fixed: false,
            any: false,
            every_boot: true,
            first_parent: false,
            confidence: 0.95,
            source: Source::Patches(Vec::new()),
            candidates: Candidates::linear(Kind::Patches, "base".to_owned(), names),
            carried: Carried::default(),
            paths: Vec::new(),
            merge_bases: Vec::new(),
            variations: Vec::new(),
        };
        let boot = |candidate: Option<&str>, hit: bool| Entry::Boot {
            candidate: candidate.map(str::to_owned),
            base: 0,
            hit,
            reason: "a hang".to_owned(),
            trial: "arms/x".into(),
            seconds: 1.0,
        };
        let (mut log, mut state) = Log::create(&home.path().join(LOG), begun).unwrap();
        for entry in [
            boot(None, false),
            boot(Some("0004.patch"), true),
            boot(Some("0002.patch"), false),
            Entry::Skipped {
                candidate: "0001.patch".to_owned(),
                reason: "does not build".to_owned(),
                mute: false,
            },
            boot(Some("0003.patch"), true),
        ] {
            log.add(&mut state, entry).unwrap();
        }
        assert!(is_bisection(home.path()));
        let error = course(home.path()).unwrap_err();
        assert!(
            error.one_line().contains("did not come to its end"),
            "{error}"
        );
        let report = Report {
            version: super::super::report::VERSION,
            searched: Kind::Patches,
            candidates: 4,
            good: "base".to_owned(),
            bad: "0004.patch".to_owned(),
            fixed: false,
            confidence: 0.95,
            finding: Finding::None { probability: 0.5 },
            target: String::new(),
            rates: (1.0, 0.0),
            table: Vec::new(),
            skipped: Vec::new(),
            others: Vec::new(),
            recipients: Vec::new(),
            notes: Vec::new(),
            stands_in: false,
            steps: Vec::new(),
            cost: Cost::default(),
        };
        let text = serde_json::to_vec(&report).unwrap();
        std::fs::write(home.path().join(REPORT), text).unwrap();
        let course = course(home.path()).unwrap();
        assert_eq!(course.candidates.len(), 4);
        let candidates: Vec<_> = course
            .moments
            .iter()
            .map(|moment| moment.candidate)
            .collect();
        assert_eq!(candidates, [None, Some(3), Some(1), Some(0), Some(2)]);
        let last = course.moments.last().unwrap();
        assert!(last.belief[2] > 0.9, "{:?}", last.belief);
        assert!(course.moments[1].belief[2] < 0.5);
        assert!(matches!(&course.moments[3].what, What::Skipped(why) if why == "does not build"));
    }
}
