//! The report as the text of a mail to a list: what was seen and how often, the
//! decoded stack, versions, configuration, and how to see it oneself. Under 100
//! columns, plain text, and neutral: the reader judges.

use std::fmt::Write;

use super::executed::sentences;
use super::model::{ArmReport, Report};
use super::safe::{cut, plain};
use super::shown::{Role, Shown, frequencies, heading, shown, stack};
use super::table::{beside, counts, figure, percent};
use crate::outcome::VerdictKind;

/// Columns of a line.
const WIDTH: usize = 98;
/// Findings told with their stacks; the others by title.
const STACKS: usize = 3;
/// Findings told by title.
const TITLES: usize = 20;
/// Lines of a stack.
const FRAMES: usize = 40;

/// The mail, with its subject as the first line.
#[must_use]
pub fn mail(report: &Report) -> String {
    let shown = shown(report);
    let subject = match shown.first() {
        Some(first) if first.role < Role::Known => plain(&first.finding.title),
        _ => plain(&report.job),
    };
    let kind = report.verdict.kind;
    let mut out = cut(
        &format!("Subject: [kvet] {}: {subject}", kind.name()),
        WIDTH,
    );
    out.push_str("\n\n");
    paragraph(&mut out, "", answer(kind));
    for reason in &report.verdict.reasons {
        paragraph(&mut out, "  ", reason);
    }
    if let Some(chance) = report.verdict.chance {
        let chance = format!(
            "Chance of such a difference without any effect of the patches: at most {}.",
            percent(chance)
        );
        paragraph(&mut out, "  ", &chance);
    }
    for sentence in beside(report).iter().take(TITLES) {
        paragraph(&mut out, "  ", sentence);
    }
    out.push('\n');
    table(&mut out, &counts(report));
    for arm in &report.arms {
        if let Some(broken) = &arm.broken {
            let text = format!("{}: {}", arm.name, broken.message);
            paragraph(&mut out, "  ", &text);
        }
    }
    measures(&mut out, report);
    executed(&mut out, report);
    findings(&mut out, report, &shown);
    kernels(&mut out, report);
    section(&mut out, "Where it was tried");
    let host = &report.host;
    let service = if host.service.is_empty() {
        "none"
    } else {
        &host.service
    };
    for (what, value) in [
        ("kvet", host.kvet.as_str()),
        ("QEMU", &host.qemu),
        ("accelerator", &host.accelerator),
        ("guests mount", service),
        ("host", &host.kernel),
        ("begun", &report.started),
    ] {
        paragraph(&mut out, "  ", &format!("{what}: {value}"));
    }
    reproduction(&mut out, report);
    out
}

/// What a run measured of a series, for a cover letter: the table of counts,
/// which arms had the series, and where it was tried. The series' patches are
/// given by their SHA-256, in hexadecimal. None if no arm with a trial had all of
/// them: then the run says nothing of the series.
#[must_use]
pub fn measured(report: &Report, series: &[String]) -> Option<String> {
    let with: Vec<String> = report
        .arms
        .iter()
        .filter(|arm| !arm.trials.is_empty())
        .filter_map(|arm| {
            let patches = &arm.kernel.as_ref()?.patches;
            let has = |digest: &String| patches.iter().any(|(_, sha256)| sha256 == digest);
            let others = patches
                .iter()
                .filter(|(_, sha256)| !series.contains(sha256));
            let others = match others.count() {
                0 => String::new(),
                1 => " (and 1 other patch)".to_owned(),
                count => format!(" (and {count} other patches)"),
            };
            let all = series.iter().all(has);
            all.then(|| format!("{}{others}", arm.name))
        })
        .collect();
    if with.is_empty() {
        return None;
    }
    let mut out = String::from("What was tried, and how often the bug showed:\n\n");
    table(&mut out, &counts(report));
    out.push('\n');
    let with = format!("Kernels with this series: {}.", with.join(", "));
    paragraph(&mut out, "  ", &with);
    let host = &report.host;
    let place = format!(
        "kvet {}, {}, {}, {}",
        host.kvet, host.qemu, host.accelerator, host.service
    );
    paragraph(&mut out, "  ", &place);
    Some(out)
}

/// A text of lines as a mail, its first line as the subject. Long lines go on
/// below, a bit to the right; tags stay whole, since programs read them.
#[must_use]
pub fn mailed(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let subject = format!("Subject: [kvet] {}", plain(first));
    let mut out = cut(&subject, WIDTH) + "\n\n";
    for line in text.lines() {
        let tag = ["Fixes:", "#regzbot", "Cc:"];
        if line.chars().count() <= WIDTH || tag.iter().any(|tag| line.starts_with(tag)) {
            let _ = writeln!(out, "{}", plain(line));
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        // The columns of a table stay where they are, as far as they fit.
        let mut rest = plain(line);
        let mut before = String::new();
        while before.len() + rest.chars().count() > WIDTH {
            let most = WIDTH - before.len();
            let end = rest
                .char_indices()
                .nth(most)
                .map_or(rest.len(), |(at, _)| at);
            let blank = rest[..end].rfind(' ').filter(|at| *at > indent);
            let at = blank.unwrap_or(end);
            let _ = writeln!(out, "{before}{}", rest[..at].trim_end());
            rest = rest[at..].trim_start().to_owned();
            before = " ".repeat(indent + 4);
        }
        let _ = writeln!(out, "{before}{rest}");
    }
    out
}

fn answer(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Fixed => "The patches remove what their controls show:",
        VerdictKind::NotFixed => "The patches do not remove what their controls show:",
        VerdictKind::Regressed => "The patches bring something that their controls do not show:",
        VerdictKind::Reproduced => "The bug could be reproduced:",
        VerdictKind::Inconclusive => "These trials do not tell whether the patches help:",
    }
}

fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, "\n{title}\n{}\n", "-".repeat(title.len()));
}

fn measures(out: &mut String, report: &Report) {
    if report.comparison.is_empty() {
        return;
    }
    section(out, "Medians of trials");
    for measure in &report.comparison {
        let arms = report.arms.iter().zip(&measure.values);
        let values = arms.filter_map(|(arm, value)| Some((arm, (*value)?)));
        let values: Vec<String> = values
            .map(|(arm, value)| format!("{} {}", arm.name, figure(value)))
            .collect();
        paragraph(
            out,
            "  ",
            &format!("{}: {}", measure.name, values.join(", ")),
        );
    }
}

/// Which of the changed lines were executed, if they were counted.
fn executed(out: &mut String, report: &Report) {
    let all = sentences(report);
    if all.is_empty() {
        return;
    }
    section(out, "Whether the change was run");
    for (sentence, below) in all {
        paragraph(out, "", &sentence);
        for line in below {
            paragraph(out, "  ", &line);
        }
    }
}

fn findings(out: &mut String, report: &Report, all: &[Shown<'_>]) {
    if all.is_empty() {
        return;
    }
    section(out, "What the kernels said");
    for (number, shown) in all.iter().take(TITLES).enumerate() {
        if number < STACKS && shown.role < Role::Known {
            paragraph(out, "", &heading(shown.finding));
        } else {
            paragraph(out, "", &plain(&shown.finding.title));
        }
        let times = frequencies(report, shown);
        paragraph(out, "  ", &format!("{}: {times}", shown.role.words()));
        if number >= STACKS || shown.role == Role::Known {
            continue;
        }
        out.push('\n');
        let stack = stack(shown.finding);
        for line in stack.iter().take(FRAMES) {
            let _ = writeln!(out, "> {}", cut(line, WIDTH - 2));
        }
        if stack.len() > FRAMES {
            let _ = writeln!(out, "> [{} more]", stack.len() - FRAMES);
        }
        out.push('\n');
    }
    if all.len() > TITLES {
        let _ = writeln!(out, "and {} more", all.len() - TITLES);
    }
}

fn kernels(out: &mut String, report: &Report) {
    section(out, "Kernels");
    let mut told: Option<&ArmReport> = None;
    for arm in &report.arms {
        let Some(kernel) = &arm.kernel else { continue };
        paragraph(out, "", &format!("{}: Linux {}", arm.name, kernel.release));
        // What all arms share is said once.
        let before = told.and_then(|told| told.kernel.as_ref());
        if before.is_none_or(|before| before.origin != kernel.origin) {
            paragraph(out, "  ", &format!("source: {}", kernel.origin));
        }
        if told.is_none_or(|told| told.configuration != arm.configuration)
            && !arm.configuration.is_empty()
        {
            let fragments = arm.configuration.join(", ");
            paragraph(out, "  ", &format!("configuration: {fragments}"));
        }
        if let Some(compiler) = &arm.compiler
            && told.is_none_or(|told| told.compiler != arm.compiler)
        {
            paragraph(out, "  ", &format!("compiler: {compiler}"));
        }
        if told.is_none_or(|told| told.detectors != arm.detectors) && !arm.detectors.is_empty() {
            let detectors = arm.detectors.iter().map(|name| format!("CONFIG_{name}"));
            let detectors = detectors.collect::<Vec<_>>().join(", ");
            paragraph(out, "  ", &format!("with {detectors}"));
        }
        if let Some(armed) = arm.armed.name() {
            paragraph(
                out,
                "  ",
                &format!("detectors shown to be armed by: {armed}"),
            );
        }
        patches(out, report, arm);
        told = Some(arm);
    }
}

/// An arm's patches, by the beginning of their SHA-256. What begins as another
/// arm's did before is not told again.
fn patches(out: &mut String, report: &Report, arm: &ArmReport) {
    let of = |arm: &ArmReport| {
        let kernel = arm.kernel.as_ref();
        kernel.map_or_else(Vec::new, |kernel| kernel.patches.clone())
    };
    let all = of(arm);
    let before = report.arms.iter().take_while(|one| one.name != arm.name);
    let shared = before
        .map(|one| (one, of(one)))
        .filter(|(_, patches)| patches.len() > 1 && all.starts_with(patches))
        .max_by_key(|(_, patches)| patches.len());
    let mut told = 0;
    if let Some((one, patches)) = &shared {
        told = patches.len();
        let and = if told < all.len() { ", and then:" } else { "" };
        paragraph(out, "  ", &format!("the patches of {}{and}", one.name));
    } else if !all.is_empty() {
        paragraph(out, "  ", "patches, each after its SHA-256:");
    }
    for (file, hash) in &all[told..] {
        let hash = hash.get(..12).unwrap_or(hash);
        let line = format!("    {hash} {}", plain(file));
        let _ = writeln!(out, "{}", cut(&line, WIDTH));
    }
}

fn reproduction(out: &mut String, report: &Report) {
    section(out, "How to see it");
    for workload in &report.workloads {
        paragraph(out, "", &format!("{}: {}", workload.name, workload.about));
        if workload.by_hand.is_empty() {
            // A record of an earlier kvet's.
            for (number, step) in (1..).zip(&workload.steps) {
                paragraph(out, "  ", &format!("{number}. {step}"));
            }
        } else {
            out.push_str("As lines for bash, to be adapted:\n\n");
            for line in &workload.by_hand {
                command(out, line);
            }
        }
        out.push('\n');
    }
    let controls = report.arms.iter().filter(|arm| arm.control);
    let controls: Vec<String> = controls.map(|arm| format!(" --arm {}", arm.name)).collect();
    let controls = controls.concat();
    paragraph(
        out,
        "",
        "Each trial's directory has QEMU's command line (command.txt), the whole console \
         (console.log) and the kernel's .config beside it. With kvet:",
    );
    let _ = writeln!(out);
    let command = format!("kvet run jobs/{}.yaml{controls}", report.job);
    paragraph(out, "    ", &command);
    out.push('\n');
    paragraph(
        out,
        "",
        "Without kvet: `kvet bundle` packs a trial's kernel, .config, patches and initramfs with a \
         script, repro.sh, that needs QEMU and, for a cluster, its daemons, and takes another \
         kernel, too. Ask for it if it is not beside this mail.",
    );
}

/// A line for a shell, broken where the shell does not mind: at blanks between words
/// if there are any, or else in the middle of one, whose quotes are closed and opened
/// again. What it remarks goes below if there is no room beside it.
fn command(out: &mut String, line: &str) {
    if let Some(comment) = line.strip_prefix("# ") {
        paragraph(out, "    # ", comment);
        return;
    }
    let line = plain(line);
    let mut rest = line.as_str();
    let mut shown = String::from("    ");
    // How the text at hand is quoted, and the last blank of this line between words.
    let mut quote: Option<&str> = None;
    let mut blank = None;
    while !rest.is_empty() {
        if quote.is_none() && rest.starts_with('#') && shown.ends_with("  ") {
            break;
        }
        let (unit, after) = rest.split_at(unit(rest, quote));
        // With what ends a line that goes on.
        while shown.chars().count() + unit.chars().count() + 2 > WIDTH {
            let next = match (blank.take(), quote) {
                (Some(at), _) => {
                    let next = shown.split_off(at + 1);
                    shown.pop();
                    shown.push_str(" \\");
                    format!("        {next}")
                }
                (None, Some("$'" | "'")) => {
                    shown.push_str("'\\");
                    quote.unwrap_or_default().to_owned()
                }
                (None, _) => {
                    shown.push('\\');
                    String::new()
                }
            };
            let _ = writeln!(out, "{shown}");
            shown = next;
        }
        match (quote, unit) {
            (None, "'" | "$'" | "\"") => quote = Some(unit),
            (Some("\""), "\"") | (Some("'" | "$'"), "'") => quote = None,
            (None, " ") if !shown.trim().is_empty() => blank = Some(shown.len()),
            _ => {}
        }
        shown.push_str(unit);
        rest = after;
    }
    if shown.chars().count() + rest.chars().count() <= WIDTH {
        let _ = writeln!(out, "{shown}{rest}");
    } else {
        let _ = writeln!(out, "{}", shown.trim_end());
        paragraph(out, "    # ", rest.trim_start_matches(['#', ' ']));
    }
}

/// Bytes of what a shell reads as one at the beginning of a text.
fn unit(text: &str, quote: Option<&str>) -> usize {
    let mut letters = text.chars();
    let first = letters.next().map_or(0, char::len_utf8);
    let escapes = text.starts_with('\\') && quote != Some("'");
    let opens = text.starts_with('$') && quote.is_none();
    if escapes || opens {
        first + letters.next().map_or(0, char::len_utf8)
    } else {
        first
    }
}

/// Text, with its lines joined, in lines that fit; a word that does not is cut
/// in pieces.
fn paragraph(out: &mut String, indent: &str, text: &str) {
    let width = WIDTH - indent.len();
    let joined: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect();
    let mut line = String::new();
    let mut length = 0;
    let mut flush = |line: &mut String, length: &mut usize| {
        if *length > 0 {
            let _ = writeln!(out, "{indent}{line}");
        }
        line.clear();
        *length = 0;
    };
    for word in plain(&joined).split(' ').filter(|word| !word.is_empty()) {
        let letters: Vec<char> = word.chars().collect();
        if length > 0 && length + 1 + letters.len() > width {
            flush(&mut line, &mut length);
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        for letter in letters {
            if length == width {
                flush(&mut line, &mut length);
            }
            line.push(letter);
            length += 1;
        }
    }
    flush(&mut line, &mut length);
}

/// Aligned columns. Names that would make it too wide are cut.
fn table(out: &mut String, rows: &[Vec<String>]) {
    let cell = |text: &str| cut(&plain(text), 28);
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let lengths = cells.map(|text| cell(text).chars().count());
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (text, width)) in row.iter().zip(&widths).enumerate() {
            let text = cell(text);
            // Words to the left, numbers to the right.
            let _ = if column < 3 {
                write!(line, "  {text:width$}")
            } else {
                write!(line, "  {text:>width$}")
            };
        }
        let _ = writeln!(out, "{}", cut(line.trim_end(), WIDTH));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn no_line_has_100_columns_and_nothing_hides() {
        for report in [fixture::report(), fixture::hostile(), fixture::large()] {
            let text = mail(&report);
            for line in text.lines() {
                assert!(line.chars().count() < 100, "{line}");
            }
            let hidden = |c: char| c != '\n' && super::super::safe::is_mark(c);
            assert!(!text.contains(hidden), "{text}");
        }
    }

    #[test]
    fn a_text_s_long_lines_go_on_below_and_tags_stay_whole() {
        let long = format!(
            "  culprit  0 of 5  (0 % to 43 %)  p = 8e-3  {}",
            "n".repeat(70)
        );
        let fixes = format!("Fixes: 0123456789ab (\"{}\")", "subject ".repeat(14));
        let text = format!(
            "0003.patch cured a hang (97 %)\n\n{long}\n{fixes}\n{}\n",
            "w".repeat(250)
        );
        let mail = mailed(&text);
        assert!(mail.starts_with("Subject: [kvet] 0003.patch cured a hang (97 %)\n\n0003.patch"));
        let broken = format!("  p = 8e-3\n      {}\n", "n".repeat(70));
        assert!(mail.contains(&broken), "{mail}");
        assert!(mail.contains(&format!("\n{fixes}\n")), "{mail}");
        let short = |line: &str| line.chars().count() < 100 || line == fixes;
        assert!(mail.lines().all(short), "{mail}");
        assert_eq!(mail.matches('w').count(), 250);
    }

    #[test]
    fn steps_are_lines_for_a_shell_and_long_ones_go_on() {
        let mut report = fixture::report();
        report.arms[0].compiler = Some("gcc 12.2.0".to_owned());
        report.arms[0].detectors = vec!["KASAN".to_owned(), "SMP".to_owned()];
        let long = format!("dd {}>&$victim", "if=/dev/urandom ".repeat(12));
        let comment = format!("# storm {}", "files=8 ".repeat(20));
        let short = "mkdir -p a && mount -t ceph MONITOR:/ a".to_owned();
        report.workloads[0].by_hand = vec![short, long.clone(), comment];
        let text = mail(&report);
        for wanted in [
            "  compiler: gcc 12.2.0\n",
            "  with CONFIG_KASAN, CONFIG_SMP\n",
            "\n    mkdir -p a && mount -t ceph MONITOR:/ a\n    dd if=/dev/urandom ",
            " \\\n        if=/dev/urandom ",
            "\n    # storm files=8 ",
            "\n    # files=8 ",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
        }
        assert!(!text.contains("1. mount a"));
        assert!(
            text.lines().all(|line| line.chars().count() < 100),
            "{text}"
        );
        let joined = text.replace(" \\\n        ", " ");
        assert!(joined.contains(&long), "nothing is lost: {joined}");
    }

    #[test]
    fn a_run_is_told_of_a_series_only_if_an_arm_had_all_of_it() {
        let mut report = fixture::report();
        let series = [1, 2].map(|digit| format!("{digit}").repeat(64));
        assert_eq!(measured(&report, &series), None);
        let patch = |digest: &String| ("x.patch".to_owned(), digest.clone());
        let with = |report: &mut Report, patches: Vec<(String, String)>| {
            report.arms[1].kernel.as_mut().unwrap().patches = patches;
        };
        with(&mut report, vec![patch(&series[1])]);
        assert_eq!(measured(&report, &series), None);
        with(&mut report, vec![patch(&series[0]), patch(&series[1])]);
        let text = measured(&report, &series).unwrap();
        assert!(
            text.contains("\n\n  Kernels with this series: fixed.\n  kvet "),
            "{text}"
        );
        let other = "3".repeat(64);
        with(
            &mut report,
            vec![patch(&series[0]), patch(&other), patch(&series[1])],
        );
        let text = measured(&report, &series).unwrap();
        assert!(text.contains(": fixed (and 1 other patch).\n"), "{text}");
        // A kernel that was never tried measured nothing.
        report.arms[1].trials.clear();
        assert_eq!(measured(&report, &series), None);
    }

    #[test]
    fn a_reader_learns_what_was_seen_and_how_to_see_it() {
        let text = mail(&fixture::report());
        for wanted in [
            "Subject: [kvet] fixed: INFO: task hung in evict\n",
            "  stock  control  7.3.4        3       2      1      21-94 %\n",
            "> inode_wait_for_writeback+0x5f/0xa0 (fs/fs-writeback.c:1541)\n",
            "> ? add_wait_queue_priority+0x70/0x70\n",
            "  target: stock 2/3\n",
            "    0123456789ab 0001-iput.patch\n",
            "  configuration: base.config, ceph.config\n",
            "  2. evict_client a\n",
            "    kvet run jobs/example.yaml --arm stock\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
        }
    }

    /// bash takes what stands in the mail for what the line says.
    #[test]
    fn a_long_line_is_broken_where_a_shell_does_not_mind() {
        let words: Vec<_> = (0..60).map(|n| format!("word {n}  \\# it's; ")).collect();
        let words = words.concat();
        let long = words.replace('\\', "\\\\").replace('\'', "\\'");
        let plain = words.replace('\'', "'\\''");
        let (letters, count) = ("x".repeat(300), words.len());
        for line in [
            format!("printf %s $'{long}'"),
            format!("printf %s '{plain}'"),
            format!("test -n \"$(printf %s '{letters}')\" && printf %s '{plain}'"),
        ] {
            let mut text = String::new();
            command(&mut text, &line);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() < 100 && text.lines().count() > 1, "{text}");
            let mut bash = std::process::Command::new("bash");
            let said = bash.arg("-c").arg(&text).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), words, "{text}");
            assert_eq!(said.stdout.len(), count);
        }
        let mut text = String::new();
        let place = "p/".repeat(40);
        command(
            &mut text,
            &format!("kill -STOP PID  # of {place} and others"),
        );
        assert_eq!(
            text,
            format!("    kill -STOP PID\n    # of {place} and\n    # others\n")
        );
    }
}
