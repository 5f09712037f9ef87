//! The report as text that can be read in ten seconds.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;

use super::executed::sentences;
use super::grid::{Cell, Grid};
use super::known;
use super::model::{ArmReport, Report};
use super::moved::{Missed, told};
use super::table::{ALIKE, excused, in_several, missing, percent};
use crate::outcome::{Outcome, VerdictKind};
use crate::printable::printable;
use crate::verdict::{Other, interval};

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ANSI colours.
    Coloured,
    /// Characters only.
    Plain,
}

impl Style {
    /// Colours on a terminal that has them, unless `NO_COLOR` says otherwise.
    #[must_use]
    pub fn detect(terminal: bool) -> Self {
        let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
        Self::of(terminal, no_color.as_deref(), term.as_deref())
    }

    fn of(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        if terminal && !refused && !is_dumb(term) {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// Whether a terminal of this kind, `TERM`, obeys nothing: neither colours nor lines
/// that are renewed are for it.
#[must_use]
pub fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

/// "verdict: fixed   stock 3/3 target (…) [44-100 %]   fixed 0/3 [0-56 %]": the whole run in a line.
#[must_use]
pub fn verdict_line(report: &Report, style: Style) -> String {
    let mut line = verdict_word(report, style);
    for arm in &report.arms {
        let result = arm.result();
        let hits = result.count(Outcome::Target);
        let name = printable(&result.name);
        let _ = write!(line, "   {name} {hits}/{}", result.trials.len());
        if let Some(title) = result.reason(Outcome::Target) {
            let _ = write!(line, " target ({})", printable(title));
        }
        line.push_str(&range(hits, length(result.trials.len())));
    }
    line
}

fn verdict_word(report: &Report, style: Style) -> String {
    let colour = match report.verdict.kind {
        VerdictKind::Fixed | VerdictKind::Reproduced => "1;32",
        VerdictKind::NotFixed | VerdictKind::Regressed => "1;31",
        VerdictKind::Inconclusive => "1;33",
    };
    format!(
        "verdict: {}",
        style.paint(colour, report.verdict.kind.name())
    )
}

/// Columns of an arm's role and the blanks after it.
const ROLE: usize = "control  ".len();

/// Lines of a terminal that the verdict's line may take.
const LONGEST: usize = 4;

/// The width of text that goes to no terminal.
pub const WIDTH: usize = 120;

/// The report for a person, see [`human_within`], with tables of the usual
/// width.
#[must_use]
pub fn human(report: &Report, style: Style) -> String {
    human_within(report, style, WIDTH)
}

/// The report for a person: the verdict, a line per arm, why, and what was
/// known and not counted. Tables have `width` columns at most; sentences are the
/// terminal's to wrap.
#[must_use]
pub fn human_within(report: &Report, style: Style, width: usize) -> String {
    let room = width;
    // Where that has no end, the arms' own lines say it.
    let mut text = match verdict_line(report, Style::Plain).chars().count() {
        line if line <= LONGEST * room => verdict_line(report, style),
        _ => verdict_word(report, style),
    };
    text.push_str("\n\n");
    let width = report
        .arms
        .iter()
        .map(|arm| arm.name.len())
        .max()
        .unwrap_or(0);
    // Behind an arm's name and role.
    let indent = " ".repeat(width + 2 + 2 + ROLE);
    for arm in &report.arms {
        let flat = arm_line(report, arm, Style::Plain, None);
        let fits = width + 2 + 2 + flat.chars().count() <= room;
        let line = arm_line(report, arm, style, (!fits).then_some(indent.as_str()));
        let _ = writeln!(text, "  {:width$}  {line}", printable(&arm.name));
    }
    text.push('\n');
    text.push_str(&by_workload(report).within(room));
    text.push_str(&comparison(report).within(room));
    text.push_str(&coverage(report));
    text.push_str(&super::hosts::in_words(report));
    text.push_str(&executed(report));
    text.push_str(&left_out(report));
    for reason in &report.verdict.reasons {
        let _ = writeln!(text, "  {}", printable(reason));
    }
    let broken = report.arms.iter().filter_map(|arm| arm.broken.as_ref());
    for help in broken.filter_map(|broken| broken.help.as_ref()) {
        let _ = writeln!(text, "  help: {}", printable(help));
    }
    if let Some(chance) = report.verdict.chance {
        let _ = writeln!(
            text,
            "  chance of such a difference without any effect of the patches: at most {}",
            percent(chance)
        );
    }
    text.push_str(&others(report));
    for sentence in known::sentences(report) {
        let _ = writeln!(text, "  {}", printable(&sentence));
    }
    text
}

/// What fix arms showed besides their targets and does not count against them.
/// It is for a person to look at.
fn others(report: &Report) -> String {
    let mut text = String::new();
    let confidence = report.verdict.rules.confidence;
    let groups = excused(report);
    let (several, few): (Vec<_>, Vec<_>) = groups.iter().partition(|one| one.len() > ALIKE);
    for of_one in several {
        let _ = writeln!(
            text,
            "  {}: no regression at {confidence}",
            printable(&in_several(of_one))
        );
    }
    for other in few.into_iter().flatten() {
        let Other { fix, finding, .. } = other;
        let fix = printable(fix);
        let _ = write!(
            text,
            "  {fix} also shows: {} in {}/{} trials of {}{}, ",
            printable(&finding.title),
            other.hits,
            other.trials,
            printable(&other.workload),
            range(other.hits, other.trials)
        );
        let _ = match &other.control {
            Some(control) => writeln!(
                text,
                "{} in {}/{}{}: no regression at {confidence}",
                printable(control),
                other.control_hits,
                other.control_trials,
                range(other.control_hits, other.control_trials)
            ),
            None => writeln!(text, "which no control with its target was tried with"),
        };
    }
    text
}

/// The 95 % interval of a rate: " [44-100 %]". Nothing without trials.
fn range(hits: u32, trials: u32) -> String {
    if trials == 0 {
        return String::new();
    }
    let (low, high) = interval(hits, trials);
    format!(" [{:.0}-{:.0} %]", low * 100.0, high * 100.0)
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Workloads that a kernel is too old for.
fn left_out(report: &Report) -> String {
    let mut text = String::new();
    for arm in &report.arms {
        let Some(kernel) = &arm.kernel else { continue };
        if !kernel.left_out.is_empty() {
            let (name, release) = (printable(&arm.name), printable(&kernel.release));
            let workloads = printable(&kernel.left_out.join(", "));
            let _ = writeln!(text, "  {name}: {release} is too old for {workloads}");
        }
    }
    text
}

/// What each arm's trials came to, workload by workload; nothing if there is
/// only one, since the arms' lines say it all.
fn by_workload(report: &Report) -> Grid {
    let mut names: Vec<&String> = Vec::new();
    let trials = |arm: &'_ ArmReport| -> Vec<(String, Outcome)> {
        let trials = arm.trials.iter();
        trials
            .map(|trial| (trial.workload.clone(), trial.judged.outcome))
            .collect()
    };
    let arms: Vec<_> = report.arms.iter().map(trials).collect();
    for (name, _) in arms.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() < 2 {
        names.clear();
    }
    let rows = names.iter().map(|name| {
        let cells = arms.iter().map(|trials| {
            let of_workload = trials.iter().filter(|(workload, _)| workload == *name);
            outcomes(of_workload.map(|(_, outcome)| *outcome))
        });
        ((*name).clone(), cells.collect())
    });
    let legend: Vec<String> = SHORT
        .iter()
        .filter(|(outcome, _)| arms.iter().flatten().any(|(_, of)| of == outcome))
        .map(|(outcome, letter)| format!("{letter} {}", outcome.name()))
        .collect();
    Grid {
        corner: "workload".to_owned(),
        turned_corner: "arm".to_owned(),
        columns: names_of_arms(report),
        rows: rows.collect(),
        legend: format!(
            "{}; rates and intervals with more columns",
            legend.join(", ")
        ),
    }
}

/// How outcomes are called where there is little room.
const SHORT: [(Outcome, char); 7] = [
    (Outcome::Clean, 'c'),
    (Outcome::Target, 't'),
    (Outcome::Other, 'o'),
    (Outcome::Workload, 'w'),
    (Outcome::Harness, 'h'),
    (Outcome::Timeout, 's'),
    (Outcome::Unarmed, 'u'),
];

/// `2/3 target [21-94 %], 1/3 clean [6-79 %]`, in short `2t 1c`.
fn outcomes(trials: impl Iterator<Item = Outcome>) -> Cell {
    let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
    for outcome in trials {
        *counts.entry(outcome).or_default() += 1;
    }
    let all = counts.values().sum();
    let full = counts
        .iter()
        .map(|(outcome, &n)| format!("{n}/{all} {}{}", outcome.name(), range(n, all)));
    let letter = |outcome: &Outcome| {
        let short = SHORT.iter().find(|(of, _)| of == outcome);
        short.map_or('?', |(_, letter)| *letter)
    };
    let short = counts
        .iter()
        .map(|(outcome, n)| format!("{n}{}", letter(outcome)));
    Cell {
        full: full.collect::<Vec<_>>().join(", "),
        short: short.collect::<Vec<_>>().join(" "),
    }
}

fn comparison(report: &Report) -> Grid {
    let rows = report.comparison.iter().map(|measure| {
        let values = measure.values.iter().map(|value| {
            Cell::of(match value {
                Some(value) if *value >= 100.0 => format!("{value:.0}"),
                Some(value) => format!("{value:.2}"),
                None => "-".to_owned(),
            })
        });
        (measure.name.clone(), values.collect())
    });
    Grid {
        corner: "median of trials".to_owned(),
        turned_corner: "median of trials".to_owned(),
        columns: names_of_arms(report),
        rows: rows.collect(),
        legend: String::new(),
    }
}

fn names_of_arms(report: &Report) -> Vec<String> {
    report.arms.iter().map(|arm| arm.name.clone()).collect()
}

/// Which changed lines were run, and which never.
fn executed(report: &Report) -> String {
    let mut text = String::new();
    for (sentence, below) in sentences(report) {
        let _ = writeln!(text, "  {}", printable(&sentence));
        for line in below {
            let _ = writeln!(text, "    {}", printable(&line));
        }
        text.push('\n');
    }
    text
}

/// How much of each table of counters was reached, and what was not.
fn coverage(report: &Report) -> String {
    let mut text = String::new();
    for coverage in &report.coverage {
        let (sentence, missed) = told(coverage);
        let _ = writeln!(text, "  {}", printable(&sentence));
        for Missed { how, row } in missed {
            let _ = writeln!(text, "    {}: {}", printable(&how), printable(row));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// What an arm's trials came to, in a line; with `fold`, a line each, those after
/// the first one behind it.
fn arm_line(report: &Report, arm: &ArmReport, style: Style, fold: Option<&str>) -> String {
    let result = arm.result();
    let role = if result.control { "control" } else { "       " };
    if let Some(broken) = &arm.broken {
        return format!("{role}  {}", style.paint("33", &printable(&broken.message)));
    }
    let mut parts = Vec::new();
    let outcomes = [
        (Outcome::Target, "31"),
        (Outcome::Other, "31"),
        (Outcome::Clean, "32"),
        (Outcome::Workload, "33"),
        (Outcome::Harness, "33"),
        (Outcome::Timeout, "33"),
        (Outcome::Unarmed, "33"),
    ];
    for (outcome, colour) in outcomes {
        let count = result.count(outcome);
        if count == 0 {
            continue;
        }
        let mut part = format!(
            "{count}/{} {}",
            result.trials.len(),
            style.paint(colour, outcome.name())
        );
        if let Some(reason) = result.reason(outcome).filter(|reason| !reason.is_empty()) {
            let _ = write!(part, " ({})", printable(reason));
        }
        part.push_str(&range(count, length(result.trials.len())));
        parts.push(part);
    }
    let missing = missing(report, arm);
    if arm.trials.is_empty() {
        parts.push(style.paint("33", "no trial ran"));
    } else if parts.is_empty() {
        parts.push(style.paint("33", "no trial is compared"));
    } else if missing > 0 {
        parts.push(style.paint("33", &format!("{missing} not run")));
    }
    let (next, last) = match fold {
        None => (", ".to_owned(), "  ".to_owned()),
        Some(indent) => (format!(",\n{indent}"), format!("\n{indent}")),
    };
    let mut line = format!("{role}  {}", parts.join(&next));
    if let Some(kernel) = &arm.kernel {
        let _ = write!(line, "{last}[{}", printable(&kernel.release));
        if let Some(shown) = arm.armed.name() {
            let _ = write!(line, ", armed by {shown}");
        }
        line.push(']');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFacts;
    use crate::job::Rules;
    use crate::record::KernelFacts;
    use crate::report::model::{ColumnCoverage, Comparison, Coverage, TrialReport};
    use crate::verdict::{ArmResult, Armed, Judged, Seen, judge};

    fn report() -> Report {
        let arm = |name: &str, control, outcome, reason: &str| ArmReport {
            name: name.to_owned(),
            control,
            planned: 3,
            trials: ["one", "two", "two"]
                .map(|workload| TrialReport {
                    workload: workload.to_owned(),
                    number: 1,
                    attempts: 1,
                    judged: Judged {
                        outcome,
                        reason: reason.to_owned(),
                        known: vec![],
                        boot: None,
                        others: vec![],
                    },
                    findings: vec![],
                    seconds: 1.0,
                    counters: BTreeMap::new(),
                    directory: String::new(),
                    host: None,
                    failed_on: Vec::new(),
                    alone: false,
                    memory: None,
                })
                .to_vec(),
            ..ArmReport::default()
        };
        let arms = vec![
            arm("stock", true, Outcome::Target, "hung \x1b[2J task"),
            arm("fixed", false, Outcome::Clean, ""),
        ];
        let results: Vec<ArmResult> = arms.iter().map(ArmReport::result).collect();
        Report {
            version: 1,
            job: "j".to_owned(),
            started: String::new(),
            seconds: 1.0,
            verdict: judge(&results, &Rules::default()),
            arms,
            workloads: vec![],
            comparison: vec![Comparison {
                name: "ops/s".to_owned(),
                values: vec![Some(1234.4), None],
                samples: vec![],
            }],
            coverage: vec![Coverage {
                arm: "fixed".to_owned(),
                table: "sites".to_owned(),
                moved: vec!["a".to_owned()],
                still: vec!["b\u{7}".to_owned()],
                reached: Some("deferred".to_owned()),
                columns: vec![
                    ColumnCoverage {
                        name: "deferred".to_owned(),
                        moved: 0,
                        still: vec!["a".to_owned(), "b\u{7}".to_owned()],
                    },
                    ColumnCoverage {
                        name: "direct".to_owned(),
                        moved: 1,
                        still: vec!["b\u{7}".to_owned()],
                    },
                ],
            }],
            known: vec![],
            host: HostFacts::default(),
            hosts: Vec::new(),
            deviations: Vec::new(),
        }
    }

    #[test]
    fn the_line_has_verdict_counts_and_titles_and_no_escapes_of_a_guest() {
        assert_eq!(
            verdict_line(&report(), Style::Plain),
            "verdict: fixed   stock 3/3 target (hung \u{fffd}[2J task) [44-100 %]   \
             fixed 0/3 [0-56 %]"
        );
    }

    #[test]
    fn workloads_measures_and_counters_have_their_tables() {
        let text = human(&report(), Style::Plain);
        let expected = "  workload  stock                  fixed\n  \
                        one       1/1 target [21-100 %]  1/1 clean [21-100 %]\n  \
                        two       2/2 target [34-100 %]  2/2 clean [34-100 %]\n\n  \
                        median of trials  stock  fixed\n  \
                        ops/s             1234   -\n\n  \
                        sites in fixed: 0 of 2 reached (deferred); deferred 0, direct 1\n    \
                        never deferred: a\n    \
                        never: b\u{fffd}\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn the_text_says_why() {
        let text = human(&report(), Style::Plain);
        assert!(text.contains("  stock  control  3/3 target"), "{text}");
        assert!(text.contains("  fixed           3/3 clean"), "{text}");
        assert!(text.contains("every control shows the target"), "{text}");
        assert!(text.contains("at most 1.6 %"), "{text}");
    }

    #[test]
    fn an_arm_s_line_that_is_too_long_is_folded_behind_its_name() {
        let mut report = report();
        report.arms[0].trials[0].judged.outcome = Outcome::Clean;
        let text = human_within(&report, Style::Plain, 40);
        let expected = "  stock  control  2/3 target (hung \u{fffd}[2J task) [21-94 %],\n                  \
                        1/3 clean (hung \u{fffd}[2J task) [6-79 %]\n";
        assert!(text.contains(expected), "{text}");
        let text = human_within(&report, Style::Plain, 120);
        assert!(text.contains("[21-94 %], 1/3 clean"), "{text}");
    }

    #[test]
    fn what_is_no_regression_is_shown_with_its_rates() {
        let mut report = report();
        let mut results: Vec<ArmResult> = report.arms.iter().map(ArmReport::result).collect();
        // Of a record from elsewhere.
        results[0].name.push('\x1b');
        results[1].name.push('\x1b');
        results[1].trials[1].outcome = Outcome::Other;
        let warning = Seen {
            title: "WARNING in \x1bf".to_owned(),
            signature: "warning:f".to_owned(),
        };
        results[0].trials[1].findings = vec![warning.clone()];
        results[1].trials[1].findings = vec![warning];
        report.verdict = judge(&results, &Rules::default());
        let text = human(&report, Style::Plain);
        let expected = "  fixed\u{fffd} also shows: WARNING in \u{fffd}f in 1/2 trials of two \
                        [9-91 %], stock\u{fffd} in 1/2 [9-91 %]: no regression at 95 %\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_a_kernel_is_too_old_for_and_how_it_was_armed_is_told() {
        let mut report = report();
        report.arms[1].kernel = Some(KernelFacts {
            release: "6.1.192".to_owned(),
            origin: String::new(),
            key: String::new(),
            cached: true,
            patches: Vec::new(),
            left_out: vec!["encrypted-names".to_owned()],
        });
        report.arms[1].armed = Armed::SelfTest;
        let text = human(&report, Style::Plain);
        assert!(
            text.contains("\n  fixed: 6.1.192 is too old for encrypted-names\n"),
            "{text}"
        );
        assert!(text.contains("  [6.1.192, armed by self-test]\n"), "{text}");
    }

    #[test]
    fn colours_are_for_terminals_that_have_them() {
        let style = |no_color: Option<&str>, term: Option<&str>| {
            Style::of(true, no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert_eq!(style(None, Some("xterm")), Style::Coloured);
        assert_eq!(style(Some(""), Some("xterm")), Style::Coloured);
        assert_eq!(style(Some("1"), Some("xterm")), Style::Plain);
        assert_eq!(style(None, Some("dumb")), Style::Plain);
        assert_eq!(style(None, None), Style::Plain);
        assert_eq!(
            Style::of(false, None, Some(OsStr::new("xterm"))),
            Style::Plain
        );
    }
}
