//! Reads run directories of layout version 1: trials were numbered through all
//! workloads of an arm, `arms/ARM/N/`, a retry took the place of the attempt
//! before it, and what was not armed was judged at the time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::format::{Broken, Ending, Entry, Line, Side, StepEnd, Trial};
use super::{CONSOLE, RecordError, Recorded, TRIAL, numbered, read_json_if_there};
use crate::detect::Finding;
use crate::guest::protocol::{GuestMessage, Ready};
use crate::trial_id::TrialId;

/// `trial.json` as it was.
#[derive(Deserialize)]
struct Then {
    arm: String,
    workload: String,
    number: u32,
    release: String,
    ending: Ending,
    findings: Vec<Finding>,
    unarmed: Vec<String>,
    console_length: u64,
    seconds: f64,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    counters: BTreeMap<String, u64>,
}

/// A line of `steps.jsonl`; those that are not the agent's do not fit.
#[derive(Deserialize)]
struct Said {
    entry: Guest,
}

#[derive(Deserialize)]
struct Guest {
    guest: GuestMessage,
}

/// The journal's file.
pub(super) const JOURNAL: &str = "steps.jsonl";

/// A line of it that begins a step.
#[derive(Deserialize)]
struct Began {
    step: u32,
    label: String,
}

/// Either kind of line.
#[derive(Deserialize)]
struct Noted {
    at: f64,
    entry: Note,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Note {
    Guest(Guest),
    Began(Began),
}

/// What a line is in today's words. Who carried out a step was not kept; steps
/// of the host have no answer of the agent's.
pub(super) fn entry(line: &str) -> Option<Line> {
    let noted: Noted = serde_json::from_str(line).ok()?;
    let entry = match noted.entry {
        Note::Began(Began { step, label }) => Entry::StepBegan {
            step,
            label,
            side: Side::Guest,
            background: false,
            limit: None,
        },
        Note::Guest(Guest {
            guest: GuestMessage::Finished { step, result },
        }) => Entry::StepEnded {
            step,
            result: StepEnd::of(&result, &[]),
        },
        Note::Guest(Guest { guest }) => Entry::Guest(guest),
    };
    Some(Line {
        at: noted.at,
        entry,
    })
}

/// The trials in an arm's directory that are of this workload, of each of which so
/// many were planned.
pub(super) fn trials(
    arm: &Path,
    workload: &str,
    planned: u32,
) -> Result<Vec<Recorded>, RecordError> {
    let mut trials = Vec::new();
    for (_, directory) in numbered(arm)? {
        let Some(then) = read_json_if_there::<Then>(&directory.join(TRIAL))? else {
            continue;
        };
        if then.workload != workload {
            continue;
        }
        let said = std::fs::metadata(directory.join(CONSOLE)).map_or(0, |data| data.len());
        let trial = Trial {
            id: TrialId {
                arm: then.arm,
                workload: then.workload,
                number: of_workload(then.number, planned),
            },
            attempt: then.retries + 1,
            release: then.release,
            ending: then.ending,
            findings: then.findings,
            ready: ready(&directory),
            // All that was found counted.
            booted_at: Some(0),
            console_length: then.console_length,
            said,
            lines: 0,
            seconds: then.seconds,
            counters: then.counters,
            load: None,
            unanswered: Vec::new(),
            host: None,
            silenced: None,
            disk: None,
            failed_tests: Vec::new(),
            memory: None,
            unarmed_then: then.unarmed,
        };
        trials.push(Recorded {
            trial,
            directory,
            earlier: Vec::new(),
        });
    }
    Ok(trials)
}

/// The number of a trial among those of its workload: all of one came before those
/// of the next.
fn of_workload(number: u32, planned: u32) -> u32 {
    let before = number.saturating_sub(1).checked_rem(planned);
    before.map_or(number, |before| before + 1)
}

/// What the agent said first.
fn ready(directory: &Path) -> Option<Ready> {
    let file = std::fs::File::open(directory.join(JOURNAL)).ok()?;
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines
        .filter_map(|line| serde_json::from_str::<Said>(&line).ok())
        .find_map(|said| match said.entry.guest {
            GuestMessage::Ready(ready) => Some(ready),
            _ => None,
        })
}

/// Why an arm has no kernel.
pub(super) fn broken(arm: &Path) -> Option<Broken> {
    let message = std::fs::read_to_string(arm.join("broken.txt")).ok()?;
    let help = None;
    Some(Broken { message, help })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Record;
    use super::*;

    /// The recorded run of the golden tests.
    fn recorded(name: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/version1");
        serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap()
    }

    /// Four trials were planned of each of two workloads. The second one, the fifth
    /// and the seventh did not end.
    #[test]
    fn trials_have_their_numbers_though_some_before_them_are_missing() {
        let home = tempfile::tempdir().unwrap();
        let mut beginning = recorded("run.json");
        let arm = &mut beginning["plan"]["arms"][0];
        arm["trials"] = 4.into();
        arm["workloads"] = json!(["example", "other"]);
        std::fs::write(home.path().join("run.json"), beginning.to_string()).unwrap();
        for number in 1..=8 {
            let directory = home.path().join(format!("arms/stock/{number}"));
            std::fs::create_dir_all(&directory).unwrap();
            if [2, 5, 7].contains(&number) {
                continue;
            }
            let mut trial = recorded("arms/stock/1/trial.json");
            trial["number"] = number.into();
            trial["workload"] = if number > 4 { "other" } else { "example" }.into();
            std::fs::write(directory.join(TRIAL), trial.to_string()).unwrap();
        }
        let (record, _) = Record::open(home.path()).unwrap();
        let numbers = |workload: &str| {
            let trials = record.trials("stock", workload).unwrap();
            let numbers = trials.iter().map(|recorded| recorded.trial.id.number);
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(numbers("example"), [1, 3, 4]);
        assert_eq!(numbers("other"), [2, 4]);
    }

    #[test]
    fn a_plan_of_no_trials_leaves_them_the_numbers_that_they_say() {
        assert_eq!(of_workload(7, 0), 7);
        // Nobody wrote this one.
        assert_eq!(of_workload(0, 3), 1);
    }

    #[test]
    fn why_an_arm_has_no_kernel_is_in_its_file() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(broken(home.path()), None);
        std::fs::write(home.path().join("broken.txt"), "it does not build").unwrap();
        let why = broken(home.path()).unwrap();
        assert_eq!(
            (why.message.as_str(), why.help),
            ("it does not build", None)
        );
    }
}
