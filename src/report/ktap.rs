//! The report as KTAP, version 1 (Documentation/dev-tools/ktap.rst): an arm is a
//! test, its trials are subtests, and the last test is the verdict. `ok` means
//! that the arm behaved as expected: a control must show its target.

use std::fmt::Write;

use super::known;
use super::model::{ArmReport, Report, TrialReport};
use super::safe::{cut, identifier, plain};
use super::standing::{Standing, standing, why};
use super::table::missing;
use crate::error::Exit;
use crate::outcome::Outcome;

/// Characters of a line's text.
const TEXT: usize = 300;

/// The document.
#[must_use]
pub fn ktap(report: &Report) -> String {
    let mut out = format!("KTAP version 1\n1..{}\n", report.arms.len() + 1);
    for (number, arm) in (1..).zip(&report.arms) {
        write_arm(&mut out, report, number, arm);
    }
    for reason in &report.verdict.reasons {
        let _ = writeln!(out, "# {}", text(reason));
    }
    for sentence in known::sentences(report) {
        let _ = writeln!(out, "# {}", text(&sentence));
    }
    let kind = report.verdict.kind;
    let result = match kind.exit() {
        Exit::Good => "ok",
        _ => "not ok",
    };
    let directive = match kind.exit() {
        Exit::Good | Exit::Bad => String::new(),
        _ => format!(" # ERROR {}", kind.name()),
    };
    let number = report.arms.len() + 1;
    let name = identifier(kind.name());
    let _ = writeln!(out, "{result} {number} verdict.{name}{directive}");
    out
}

fn write_arm(out: &mut String, report: &Report, number: usize, arm: &ArmReport) {
    let name = name(&arm.name);
    if let Some(broken) = &arm.broken {
        let why = text(&broken.message);
        let _ = writeln!(out, "not ok {number} {name} # ERROR {why}");
        return;
    }
    if arm.trials.is_empty() {
        let _ = writeln!(out, "ok {number} {name} # SKIP no trial ran");
        return;
    }
    let missing = missing(report, arm);
    let tests = arm.trials.len() + usize::from(missing > 0);
    let _ = writeln!(out, "  KTAP version 1\n  # Subtest: {name}\n  1..{tests}");
    let mut failed = false;
    for (number, trial) in (1..).zip(&arm.trials) {
        let standing = standing(report, arm, trial);
        failed |= matches!(standing, Standing::Failed | Standing::Untold);
        let _ = writeln!(out, "  {}", line(number, trial, standing));
    }
    if missing > 0 {
        let _ = writeln!(
            out,
            "  ok {tests} not-run # SKIP {missing} of {} trials did not run",
            arm.planned
        );
    }
    let result = if failed { "not ok" } else { "ok" };
    let _ = writeln!(out, "{result} {number} {name}");
}

fn line(number: usize, trial: &TrialReport, standing: Standing) -> String {
    let name = format!("{}.{}", name(&trial.workload), trial.number);
    let why = text(&why(trial));
    match standing {
        Standing::Expected => format!("ok {number} {name}"),
        Standing::Excused if trial.judged.outcome.tells() => {
            format!("ok {number} {name} # XFAIL {why}")
        }
        Standing::Excused => format!("ok {number} {name} # SKIP {why}"),
        Standing::Failed => format!("not ok {number} {name} # {why}"),
        Standing::Untold if trial.judged.outcome == Outcome::Timeout => {
            format!("not ok {number} {name} # TIMEOUT {why}")
        }
        Standing::Untold => format!("not ok {number} {name} # ERROR {why}"),
    }
}

/// A name: one word, without the `#` that begins a directive.
fn name(text: &str) -> String {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let word: String = text
        .chars()
        .map(|c| if letter(c) { c } else { '_' })
        .collect();
    if word.is_empty() {
        "_".to_owned()
    } else {
        word
    }
}

/// The text of a directive or a diagnostic. The kernel's own parser takes a `#`
/// for another directive, `Subtest:` for the beginning of one, and some words of
/// a dying kernel, wherever they stand, for the end of the document. Nothing is
/// only left out: what stood around it could make the same word.
fn text(text: &str) -> String {
    let text = plain(text)
        .replace('#', ".")
        .replace("Subtest:", "Subtest.")
        .replace("Kernel panic - not syncing: VFS:", "Kernel panic: VFS:")
        .replace("reboot: System halted", "reboot. System halted")
        .replace("List of all partitions:", "List of all partitions.");
    cut(&text, TEXT)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_control_that_shows_its_target_passes() {
        let expected = "KTAP version 1\n1..3\n  \
            KTAP version 1\n  # Subtest: stock\n  1..3\n  \
            ok 1 example.1\n  ok 2 example.2 # XFAIL clean\n  ok 3 example.3\n\
            ok 1 stock\n  \
            KTAP version 1\n  # Subtest: fixed\n  1..3\n  \
            ok 1 example.1\n  ok 2 example.2\n  ok 3 example.3\n\
            ok 2 fixed\n";
        let text = ktap(&fixture::report());
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("ok 3 verdict.fixed\n"), "{text}");
    }

    #[test]
    fn every_line_is_of_the_grammar_whatever_a_guest_says() {
        let grammar = regex::Regex::new(
            r"(?x)^(\ \ )?(KTAP\ version\ 1 | 1\.\.[1-9][0-9]* | \#\ [^\#]*
            | (ok|not\ ok)\ [0-9]+\ [A-Za-z0-9._+-]+(\ \#\ [^\#]*)?)$",
        )
        .unwrap();
        let text = ktap(&fixture::hostile());
        for line in text.lines() {
            assert!(grammar.is_match(line), "{line}");
        }
        assert!(text.contains("  ok 2 not-run # SKIP 3 of 4 trials did not run\nnot ok 3 short\n"));
        assert!(text.contains("\nok 5 idle # SKIP no trial ran\n"), "{text}");
        assert_eq!(text.matches("# Subtest: ").count(), 3, "{text}");
    }

    #[test]
    fn what_is_left_when_a_word_is_taken_out_is_no_such_word() {
        let mut report = fixture::report();
        let words = "reboot: reboot: System halted, Subtest::, List of all partitions::, \
            Kernel panic - not syncing: Kernel panic - not syncing: VFS: VFS:";
        report.verdict.reasons = vec![words.to_owned()];
        let text = ktap(&report);
        for word in [
            "reboot: System halted",
            "Subtest: ,",
            "Subtest:,",
            "List of all partitions:",
            "Kernel panic - not syncing: VFS:",
        ] {
            assert!(!text.contains(word), "{word} is in\n{text}");
        }
    }
}
