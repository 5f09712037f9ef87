//! Which changed lines were run, by workload: from what the patches change and
//! what the attempts counted. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::changed::Changed;
use super::gcov::Counts;

/// Which of the lines that an arm's patches change its trials executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Executed {
    /// The arm.
    pub arm: String,
    /// The patches, in order.
    pub patches: Vec<String>,
    /// Changed lines that have code in this kernel.
    pub lines: usize,
    /// Those of them that some trial executed.
    pub run: usize,
    /// The same for each workload that was tried.
    pub workloads: Vec<ExecutedBy>,
    /// The files with changed lines.
    pub files: Vec<ExecutedFile>,
    /// What is not known, and why.
    pub problems: Vec<String>,
}

/// What the trials of one workload executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecutedBy {
    /// The workload.
    pub workload: String,
    /// Its trials that ended.
    pub trials: usize,
    /// Those of which it is known what they executed.
    pub counted: usize,
    /// Changed lines that they executed.
    pub run: usize,
}

/// A file with changed lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecutedFile {
    /// Its path in the tree.
    pub file: String,
    /// Whether this kernel's objects count in it: a header of the whole kernel,
    /// or a file that is not compiled, has no counters.
    pub counted: bool,
    /// Its changed lines that have code.
    pub lines: Vec<ExecutedLine>,
}

/// A changed line that has code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecutedLine {
    /// Its number in the patched file, from 1.
    pub line: u32,
    /// The patch that it is of, from 0.
    pub patch: usize,
    /// Its text.
    pub text: String,
    /// The workloads that executed it.
    pub run_by: Vec<String>,
}

/// What one trial of an arm counted; `None` if it is not known.
#[derive(Debug)]
pub struct Counted {
    /// Its workload.
    pub workload: String,
    /// What its last attempt counted.
    pub counts: Option<Counts>,
}

/// What an arm's trials executed of the lines that its patches change.
#[must_use]
pub fn executed(arm: &str, changed: &Changed, trials: &[Counted]) -> Executed {
    let files: Vec<ExecutedFile> = changed
        .files
        .iter()
        .map(|file| {
            let with_code = |line: &u32| {
                let counts = counts_of(trials, &file.file);
                counts
                    .into_iter()
                    .any(|(_, counts)| counts.contains_key(line))
            };
            let lines = file.lines.iter().filter(|line| with_code(&line.line));
            ExecutedFile {
                file: file.file.clone(),
                counted: !counts_of(trials, &file.file).is_empty(),
                lines: lines
                    .map(|line| ExecutedLine {
                        line: line.line,
                        patch: line.patch,
                        text: line.text.clone(),
                        run_by: run_by(trials, &file.file, line.line),
                    })
                    .collect(),
            }
        })
        .collect();
    let lines = || files.iter().flat_map(|file| &file.lines);
    let by = |workload: &str| ExecutedBy {
        workload: workload.to_owned(),
        trials: of(trials, workload).count(),
        counted: of(trials, workload)
            .filter(|trial| trial.counts.is_some())
            .count(),
        run: lines()
            .filter(|line| line.run_by.iter().any(|by| by == workload))
            .count(),
    };
    let mut workloads: Vec<ExecutedBy> = Vec::new();
    for trial in trials {
        if !workloads
            .iter()
            .any(|known| known.workload == trial.workload)
        {
            workloads.push(by(&trial.workload));
        }
    }
    Executed {
        arm: arm.to_owned(),
        patches: changed.patches.clone(),
        lines: lines().count(),
        run: lines().filter(|line| !line.run_by.is_empty()).count(),
        problems: problems(trials, &files),
        workloads,
        files,
    }
}

impl Executed {
    /// What a verdict that rests on this arm has to say of it: that none of the
    /// patches' lines was run, or that it is not known.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let arm = &self.arm;
        if self.workloads.iter().all(|by| by.counted == 0) {
            return Some(format!(
                "it is not known whether what {arm} changes was run"
            ));
        }
        if self.lines == 0 {
            return Some(format!("{arm} changes no line in which this kernel counts"));
        }
        (self.run == 0).then(|| {
            let lines = self.lines;
            format!("none of the {lines} lines of code that {arm} changes was ever run")
        })
    }

    /// Changed lines that no trial executed.
    pub fn never(&self) -> impl Iterator<Item = (&str, &ExecutedLine)> {
        self.files.iter().flat_map(|file| {
            let lines = file.lines.iter().filter(|line| line.run_by.is_empty());
            lines.map(|line| (file.file.as_str(), line))
        })
    }
}

fn of<'a>(trials: &'a [Counted], workload: &str) -> impl Iterator<Item = &'a Counted> {
    trials
        .iter()
        .filter(move |trial| trial.workload == workload)
}

/// What each trial counted in a file, with its workload.
fn counts_of<'a>(trials: &'a [Counted], file: &str) -> Vec<(&'a str, &'a BTreeMap<u32, u64>)> {
    let counts = trials.iter().filter_map(|trial| {
        let counts = trial.counts.as_ref()?.files.get(file)?;
        Some((trial.workload.as_str(), counts))
    });
    counts.collect()
}

fn run_by(trials: &[Counted], file: &str, line: u32) -> Vec<String> {
    let mut workloads: Vec<String> = Vec::new();
    for (workload, counts) in counts_of(trials, file) {
        let was_run = counts.get(&line).is_some_and(|&count| count > 0);
        if was_run && !workloads.iter().any(|known| known == workload) {
            workloads.push(workload.to_owned());
        }
    }
    workloads
}

/// What is not known, each once.
fn problems(trials: &[Counted], files: &[ExecutedFile]) -> Vec<String> {
    let any = trials.iter().any(|trial| trial.counts.is_some());
    let uncounted = files.iter().filter(|file| any && !file.counted);
    let mut problems: BTreeSet<String> = uncounted
        .map(|file| format!("{} has no counters", file.file))
        .collect();
    let counts = trials.iter().filter_map(|trial| trial.counts.as_ref());
    problems.extend(counts.flat_map(|counts| counts.problems.clone()));
    problems.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::changed::{ChangedFile, ChangedLine};

    fn changed() -> Changed {
        let lines = |lines: &[u32]| {
            let line = |&line: &u32| ChangedLine {
                line,
                patch: 0,
                text: format!("line {line}"),
            };
            lines.iter().map(line).collect()
        };
        Changed {
            patches: vec!["one.patch".to_owned()],
            files: vec![
                ChangedFile {
                    file: "fs/f.c".to_owned(),
                    lines: lines(&[3, 4, 5]),
                },
                ChangedFile {
                    file: "include/f.h".to_owned(),
                    lines: lines(&[1]),
                },
            ],
        }
    }

    fn trial(workload: &str, counts: Option<&[(u32, u64)]>) -> Counted {
        let counts = counts.map(|counts| Counts {
            files: [("fs/f.c".to_owned(), counts.iter().copied().collect())].into(),
            problems: Vec::new(),
        });
        Counted {
            workload: workload.to_owned(),
            counts,
        }
    }

    #[test]
    fn lines_are_run_by_workloads_or_never_or_have_no_code() {
        let trials = [
            trial("a", Some(&[(1, 9), (3, 0), (4, 0)])),
            trial("a", Some(&[(1, 9), (3, 2), (4, 0)])),
            trial("b", Some(&[(3, 1), (4, 0)])),
            trial("b", None),
        ];
        let executed = executed("fixed", &changed(), &trials);
        assert_eq!((executed.lines, executed.run), (2, 1));
        assert_eq!(executed.files[0].lines[0].run_by, ["a", "b"]);
        let never: Vec<_> = executed
            .never()
            .map(|(file, line)| (file, line.line))
            .collect();
        assert_eq!(never, [("fs/f.c", 4)]);
        let by: Vec<_> = executed
            .workloads
            .iter()
            .map(|by| (by.workload.as_str(), by.trials, by.counted, by.run))
            .collect();
        assert_eq!(by, [("a", 2, 2, 1), ("b", 2, 1, 1)]);
        assert_eq!(executed.problems, ["include/f.h has no counters"]);
        assert_eq!(executed.doubt(), None);
    }

    #[test]
    fn a_fix_that_was_never_run_or_not_seen_to_is_doubted() {
        for (trials, said) in [
            (
                vec![trial("a", Some(&[(3, 0), (4, 0)]))],
                "none of the 2 lines",
            ),
            (
                vec![trial("a", Some(&[(9, 5)]))],
                "changes no line in which",
            ),
            (vec![trial("a", None)], "it is not known"),
            (Vec::new(), "it is not known"),
        ] {
            let doubt = executed("fixed", &changed(), &trials).doubt().unwrap();
            assert!(doubt.contains(said), "{doubt}");
        }
    }
}
