//! The report as Markdown for the summary of a CI job (GitHub's flavour, which
//! takes 1 MiB). What guests said is text in it: no link, no mention, no markup.

use std::fmt::Write;

use super::executed::sentences;
use super::model::Report;
use super::moved::{Missed, told};
use super::safe::{cut, plain};
use super::shown::{Role, Shown, frequencies, heading, shown, stack};
use super::table::{beside, counts, figure, percent};

/// Bytes after which no further finding is told in full.
const LIMIT: usize = 512 << 10;
/// Findings told at most, and rows of a table of counters.
const FINDINGS: usize = 100;
/// Characters of a cell.
const CELL: usize = 300;

/// The document.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let verdict = &report.verdict;
    let mut out = format!("## {}: {}\n\n", text(&report.job), verdict.kind.name());
    for reason in verdict.reasons.iter().take(FINDINGS) {
        let _ = writeln!(out, "- {}", text(reason));
    }
    if let Some(chance) = verdict.chance {
        let chance = percent(chance);
        let _ = writeln!(
            out,
            "- chance of such a difference without any effect of the patches: at most {chance}"
        );
    }
    for sentence in beside(report).iter().take(FINDINGS) {
        let _ = writeln!(out, "- {}", text(sentence));
    }
    out.push('\n');
    table(&mut out, &counts(report));
    for arm in &report.arms {
        if let Some(broken) = &arm.broken {
            let _ = writeln!(out, "**{}**: {}\n", text(&arm.name), text(&broken.message));
        }
    }
    comparison(&mut out, report);
    for coverage in &report.coverage {
        let (sentence, missed) = told(coverage);
        let _ = writeln!(out, "{}\n", text(&sentence));
        for Missed { how, row } in missed.iter().take(FINDINGS) {
            let _ = writeln!(out, "- {}: {}", text(how), text(row));
        }
        if missed.len() > FINDINGS {
            let _ = writeln!(out, "- and {} more", missed.len() - FINDINGS);
        }
        if !missed.is_empty() {
            out.push('\n');
        }
    }
    for (sentence, below) in sentences(report) {
        let _ = writeln!(out, "{}\n", text(&sentence));
        for line in below {
            let _ = writeln!(out, "- {}", text(&line));
        }
        out.push('\n');
    }
    let all = shown(report);
    let mut told = 0;
    for shown in &all {
        if told == FINDINGS || out.len() > LIMIT {
            break;
        }
        told += 1;
        finding(&mut out, report, shown);
    }
    if told < all.len() {
        let _ = writeln!(
            out,
            "and {} more findings, which are in the run's report.\n",
            all.len() - told
        );
    }
    let hosts = super::hosts::in_words(report);
    for line in hosts.lines().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "- {}", text(line.trim()));
    }
    if !hosts.is_empty() {
        out.push('\n');
    }
    let host = &report.host;
    let _ = writeln!(
        out,
        "<sub>kvet {}; {} ({}); {}; {} s</sub>",
        text(&host.kvet),
        text(&host.qemu),
        text(&host.accelerator),
        text(&host.service),
        figure(report.seconds)
    );
    out
}

fn comparison(out: &mut String, report: &Report) {
    if report.comparison.is_empty() {
        return;
    }
    let arms = report.arms.iter().map(|arm| arm.name.clone());
    let mut rows = vec![
        std::iter::once("median of trials".to_owned())
            .chain(arms)
            .collect::<Vec<_>>(),
    ];
    for measure in &report.comparison {
        let values = measure.values.iter();
        let values = values.map(|value| value.map_or_else(|| "-".to_owned(), figure));
        rows.push(
            std::iter::once(measure.name.clone())
                .chain(values)
                .collect(),
        );
    }
    table(out, &rows);
}

fn finding(out: &mut String, report: &Report, shown: &Shown<'_>) {
    let title = html(&cut(&plain(&shown.finding.title), CELL));
    let role = match shown.role {
        Role::Target => format!("<b>{}</b>", shown.role.words()),
        _ => shown.role.words().to_owned(),
    };
    let arms = html(&plain(&frequencies(report, shown)));
    let _ = writeln!(
        out,
        "<details><summary><code>{title}</code> - {role}, {arms}</summary>\n"
    );
    // A block of code has no markup, but its fence must be longer than any
    // within; no line of a stack begins with four of them.
    let mut lines = vec![heading(shown.finding)];
    lines.extend(stack(shown.finding).iter().map(|line| format!(" {line}")));
    let longest = lines.iter().map(|line| backticks(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "{fence}\n{}\n{fence}\n", lines.join("\n"));
    let _ = writeln!(
        out,
        "first seen in trial {} of {} in {}, line {}\n\n</details>\n",
        shown.trial.number,
        text(&shown.trial.workload),
        text(&shown.arm.name),
        shown.finding.first_line
    );
}

/// The longest run of backticks.
fn backticks(line: &str) -> usize {
    let runs = line.split(|c| c != '`');
    runs.map(str::len).max().unwrap_or(0)
}

fn table(out: &mut String, rows: &[Vec<String>]) {
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| text(cell)).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
        if number == 0 {
            let rule = vec!["---"; row.len()];
            let _ = writeln!(out, "| {} |", rule.join(" | "));
        }
    }
    out.push('\n');
}

/// Text between markup: everything that could be some is taken as it stands.
/// `@` and `#` would call people and issues, `://` and `www.` make links.
fn text(text: &str) -> String {
    let mut safe = String::new();
    for c in cut(&plain(text), CELL).chars() {
        match c {
            '<' | '>' | '&' | '@' | '#' => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '~' | '!' | '+'
            | '-' | '$' | '^' | '=' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    // Autolinks are made of what is shown, entities or not.
    safe.replace("://", ":&#8203;//")
        .replace("www.", "www&#8203;.")
}

/// Text in HTML's elements.
fn html(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' | '\'' | '@' | '#' | '`' => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe.replace("://", ":&#8203;//")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn what_a_guest_says_is_no_markup() {
        assert_eq!(
            text("<b>|@me #1 [x](y) `c` https://e\u{202e}"),
            "&#60;b&#62;\\|&#64;me &#35;1 \\[x\\]\\(y\\) \\`c\\` https:&#8203;//e\u{fffd}"
        );
        assert_eq!(backticks("a ``` b ````` c `"), 5);
        let mut document = String::new();
        let mut code = false;
        for line in markdown(&fixture::hostile()).lines() {
            let fence = line.starts_with("```");
            code ^= fence;
            if !code && !fence {
                document.push_str(line);
            }
        }
        assert!(!document.contains("<script"), "{document}");
        assert!(!document.contains("@here"), "{document}");
        assert!(!document.contains('\u{202e}'), "{document}");
    }

    #[test]
    fn rows_that_were_not_reached_are_listed() {
        let document = markdown(&fixture::report());
        let expected = "sites in fixed: 0 of 2 reached \\(deferred\\); deferred 0, direct 1\n\n\
                        - never deferred: a\n- never: b\n\n";
        assert!(document.contains(expected), "{document}");
    }

    #[test]
    fn a_summary_stays_below_1_mib() {
        let document = markdown(&fixture::large());
        assert!(document.len() < 1 << 20, "{}", document.len());
        assert!(document.contains("more findings"));
    }
}
