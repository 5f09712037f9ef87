//! The verdict and the findings as annotations of a GitHub Actions step: workflow
//! commands, a line each. GitHub shows ten of a kind for a step and drops the
//! others without a word, so what is left out is told in one that is shown.

use std::fmt::Write;

use super::model::Report;
use super::safe::{cut, plain};
use super::shown::{Role, Shown, frequencies, heading, shown, stack};
use crate::error::Exit;

/// Annotations of one kind that GitHub shows for a step.
const MOST: usize = 10;
/// Characters of a title.
const TITLE: usize = 200;
/// Characters of a message.
const MESSAGE: usize = 2000;
/// Lines of a stack in a message.
const FRAMES: usize = 12;

/// The kinds of annotations, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Warning,
    Notice,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// The annotations of a report, a line each.
#[must_use]
pub fn annotations(report: &Report) -> String {
    let verdict = &report.verdict;
    let kind = match verdict.kind.exit() {
        Exit::Good => Kind::Notice,
        Exit::Bad => Kind::Error,
        _ => Kind::Warning,
    };
    let title = format!("{}: {}", report.job, verdict.kind.name());
    let mut told = vec![(kind, title, verdict.reasons.join("\n"))];
    for shown in &shown(report) {
        let title = heading(shown.finding);
        let mut message = format!("{}: {}", shown.role.words(), frequencies(report, shown));
        for frame in stack(shown.finding).iter().take(FRAMES) {
            let _ = write!(message, "\n{frame}");
        }
        told.push((weight(report, shown), title, message));
    }
    let mut out = String::new();
    let mut left_out = 0;
    for kind in [Kind::Error, Kind::Warning, Kind::Notice] {
        // One of the notices tells how many there are besides.
        let most = MOST - usize::from(kind == Kind::Notice);
        let of_kind = told.iter().filter(|(of, ..)| *of == kind);
        for (at, (_, title, message)) in of_kind.enumerate() {
            if at < most {
                line(&mut out, kind, title, message);
            } else {
                left_out += 1;
            }
        }
    }
    if left_out > 0 {
        let message = "the summary and the report have them";
        line(
            &mut out,
            Kind::Notice,
            &format!("{left_out} findings more"),
            message,
        );
    }
    out
}

/// A control must show its target, so that is no error; nor is what is known.
fn weight(report: &Report, shown: &Shown<'_>) -> Kind {
    let fixes = shown.arms.iter().any(|(name, _)| {
        let mut arms = report.arms.iter();
        arms.any(|arm| arm.name == *name && !arm.control)
    });
    match shown.role {
        Role::Target | Role::Decided if fixes => Kind::Error,
        Role::Decided | Role::Beside if fixes => Kind::Warning,
        _ => Kind::Notice,
    }
}

/// One workflow command. What would end it or begin another one is escaped.
fn line(out: &mut String, kind: Kind, title: &str, message: &str) {
    let message: Vec<String> = message.lines().map(plain).collect();
    let message = cut(&message.join("\n"), MESSAGE);
    let message = message.replace('%', "%25").replace('\n', "%0A");
    let title = cut(&plain(title), TITLE)
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace(',', "%2C");
    let _ = writeln!(out, "::{} title={title}::{message}", kind.word());
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn each_annotation_is_one_command_whatever_guests_say() {
        for report in [fixture::report(), fixture::hostile()] {
            let text = annotations(&report);
            assert!(!text.is_empty());
            for line in text.lines() {
                let rest = line.strip_prefix("::").unwrap();
                let (head, message) = rest.split_once("::").unwrap();
                let (kind, title) = head.split_once(" title=").unwrap();
                assert!(["error", "warning", "notice"].contains(&kind), "{line}");
                assert!(!title.contains([':', ',']), "{line}");
                assert!(!title.is_empty() && !message.contains('\r'), "{line}");
            }
        }
        let good = annotations(&fixture::report());
        assert!(
            good.starts_with("::notice title=example%3A fixed::"),
            "{good}"
        );
        assert!(!good.contains("::error"), "{good}");
        assert!(annotations(&fixture::hostile()).contains("::error"));
    }

    #[test]
    fn more_than_are_shown_are_told_in_one_that_is() {
        let mut report = fixture::report();
        let finding = report.arms[0].trials[0].findings[0].clone();
        for number in 0..40 {
            let mut other = finding.clone();
            other.title = format!("WARNING in f{number}");
            other.signature = format!("s{number}");
            report.arms[1].trials[0].findings.push(other.clone());
            other.title = format!("INFO in f{number}");
            report.arms[0].trials[0].findings.push(other);
        }
        let text = annotations(&report);
        for kind in ["error", "warning", "notice"] {
            let of_kind = text
                .lines()
                .filter(|line| line.starts_with(&format!("::{kind} ")));
            assert!(of_kind.count() <= MOST, "{text}");
        }
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("::notice title=6"), "{last}");
        assert!(last.contains("findings more"), "{last}");
    }
}
