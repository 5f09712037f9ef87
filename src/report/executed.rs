//! What is told of the changed lines that trials executed: a few sentences, and
//! the lines that never were.

use super::model::Report;

/// So many lines that were never run are named; the model has all.
const NAMED: usize = 12;

/// Sentences for each arm whose lines were counted, each with what belongs
/// below it.
pub(super) fn sentences(report: &Report) -> Vec<(String, Vec<String>)> {
    let counted = report.arms.iter().filter_map(|arm| arm.executed.as_ref());
    let counted = counted.filter(|executed| !executed.files.is_empty());
    counted
        .map(|executed| {
            let mut below: Vec<String> = executed
                .workloads
                .iter()
                .map(|by| {
                    let known = if by.counted == by.trials {
                        String::new()
                    } else {
                        format!(", known of {} of {} trials", by.counted, by.trials)
                    };
                    format!("{}: {}{known}", by.workload, by.run)
                })
                .collect();
            let never: Vec<_> = executed.never().collect();
            let shown = never.iter().take(NAMED);
            below.extend(shown.map(|(file, line)| {
                format!("never run: {file}:{}: {}", line.line, line.text.trim())
            }));
            if never.len() > NAMED {
                below.push(format!("and {} more lines never run", never.len() - NAMED));
            }
            below.extend(
                executed
                    .problems
                    .iter()
                    .map(|problem| format!("not known: {problem}")),
            );
            let sentence = format!(
                "{}: {} of {} changed lines of code were run",
                executed.arm, executed.run, executed.lines
            );
            (sentence, below)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::coverage::executed::Counted;
    use crate::coverage::{Changed, ChangedFile, ChangedLine, Counts, executed};

    #[test]
    fn workloads_and_lines_that_were_never_run_are_named() {
        let lines = (1..=20).map(|line| ChangedLine {
            line,
            patch: 0,
            text: format!("\tcall({line});"),
        });
        let changed = Changed {
            patches: vec!["one.patch".to_owned()],
            files: vec![ChangedFile {
                file: "fs/f.c".to_owned(),
                lines: lines.collect(),
            }],
        };
        let counts = Counts {
            files: [(
                "fs/f.c".to_owned(),
                (1..=20).map(|n| (n, u64::from(n < 3))).collect(),
            )]
            .into(),
            problems: vec!["fs/g: ENOENT".to_owned()],
        };
        let trial = |counts| Counted {
            workload: "w".to_owned(),
            counts,
        };
        let trials = [trial(Some(counts)), trial(None)];
        let mut report = fixture::report();
        report.arms[0].executed = Some(executed(&report.arms[0].name, &changed, &trials));
        let told = sentences(&report);
        assert_eq!(told.len(), 1);
        let (sentence, below) = &told[0];
        assert!(
            sentence.ends_with("2 of 20 changed lines of code were run"),
            "{sentence}"
        );
        assert_eq!(below[0], "w: 2, known of 1 of 2 trials");
        assert_eq!(below[1], "never run: fs/f.c:3: call(3);");
        assert_eq!(below[1 + NAMED], "and 6 more lines never run");
        assert_eq!(below.last().unwrap(), "not known: fs/g: ENOENT");
    }
}
