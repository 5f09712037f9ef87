//! The report as one HTML page that stands by itself: no network, and nothing of
//! a guest's but as text. The verdict and why come first, then arms by trials,
//! figures, findings, and for each trial a time line and its console, folded.
//!
//! `markup` is the only way into the page; style and script are files beside it,
//! named by hash in the page's content security policy, so that a browser runs
//! nothing else even if something slipped in.

mod console;
mod executed;
mod figures;
mod findings;
mod grid;
mod markup;
mod timeline;
mod trials;

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

pub(crate) use self::figures::picture;
pub(crate) use self::markup::Markup;
use super::model::{ArmReport, Report, TrialReport};
use super::shown::shown;
use super::standing::why;
use super::table::{beside, percent};
use crate::error::Exit;
use crate::outcome::Outcome;
use crate::record::Story;
use crate::trial_id::TrialId;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Trials whose time line and console are shown; those that were not clean come
/// first.
const STORIES: usize = 300;
/// Lines of console in the whole page, and in one trial.
const LINES: usize = 30_000;
const LINES_OF_TRIAL: usize = 1500;
/// Reasons, and remarks, that stand with the verdict; the others are folded.
const REASONS: usize = 8;
/// Bytes of page after which no further story is shown.
const LIMIT: usize = 12 << 20;

/// What trials' files tell, by trial.
pub type Stories = HashMap<TrialId, Story>;

/// Which trials the page shows in full, and how many lines of console of each.
#[must_use]
pub fn wanted(report: &Report) -> (Vec<TrialId>, usize) {
    let trials = report.arms.iter().flat_map(|arm| {
        let trials = arm.trials.iter();
        trials.map(|trial| (trial.judged.outcome == Outcome::Clean, id(arm, trial)))
    });
    let mut trials: Vec<(bool, TrialId)> = trials.collect();
    trials.sort_by_key(|(clean, _)| *clean);
    trials.truncate(STORIES);
    let lines = (LINES / trials.len().max(1)).min(LINES_OF_TRIAL);
    (trials.into_iter().map(|(_, id)| id).collect(), lines)
}

/// The name of a trial.
pub(super) fn id(arm: &ArmReport, trial: &TrialReport) -> TrialId {
    TrialId {
        arm: arm.name.clone(),
        workload: trial.workload.clone(),
        number: trial.number,
    }
}

/// A trial with its place in the page.
#[derive(Clone, Copy)]
struct Placed<'a> {
    /// Its number in the page, from 1: what its anchors are made from.
    place: usize,
    arm: &'a ArmReport,
    trial: &'a TrialReport,
}

/// The page.
#[must_use]
pub fn html(report: &Report, stories: &Stories) -> String {
    let trials = report.arms.iter().flat_map(|arm| {
        let trials = arm.trials.iter();
        trials.map(move |trial| (arm, trial))
    });
    let placed = (1..).zip(trials);
    let placed = placed.map(|(place, (arm, trial))| Placed { place, arm, trial });
    let placed: Vec<Placed<'_>> = placed.collect();
    let mut page = Markup::default();
    let title = format!("{}: {}", report.job, report.verdict.kind.name());
    begin(&mut page, &title, "#trials", "Skip to the trials");
    verdict(&mut page, report);
    page.raw("<main>\n");
    grid::grid(&mut page, report, &placed);
    figures::figures(&mut page, report);
    executed::executed(&mut page, report);
    findings::findings(&mut page, report, &shown(report), &placed);
    trials::trials(&mut page, report, &placed, stories);
    kernels(&mut page, report);
    workloads(&mut page, report);
    end(&mut page);
    page.into_string()
}

/// The end of every page.
pub(crate) fn end(page: &mut Markup) {
    page.raw("</main>\n<script>")
        .raw(SCRIPT)
        .raw("</script>\n</body>\n</html>\n");
}

/// The beginning of a section.
pub(crate) fn section(page: &mut Markup, id: &'static str, title: &'static str) {
    page.raw("<section aria-labelledby=\"")
        .raw(id)
        .raw("\">\n<h2 id=\"")
        .raw(id);
    page.raw("\" tabindex=\"-1\">").raw(title).raw("</h2>\n");
}

/// The beginning of every page, with a first link for those who come by keyboard.
pub(crate) fn begin(page: &mut Markup, title: &str, to: &'static str, skip: &'static str) {
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ")
        .raw("base-uri 'none'; form-action 'none'; style-src 'sha256-")
        .show(hash(STYLE))
        .raw("'; script-src 'sha256-")
        .show(hash(SCRIPT))
        .raw("'\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>")
        .text(title)
        .raw("</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"")
        .raw(to)
        .raw("\">")
        .raw(skip)
        .raw("</a>\n");
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

fn verdict(page: &mut Markup, report: &Report) {
    let verdict = &report.verdict;
    let (class, sign) = match verdict.kind.exit() {
        Exit::Good => ("good", "\u{2713} "),
        Exit::Bad => ("bad", "\u{2717} "),
        _ => ("open", "? "),
    };
    page.raw("<header class=\"")
        .raw(class)
        .raw("\">\n<p class=\"job\">");
    page.text(&report.job)
        .raw("</p>\n<h1><span aria-hidden=\"true\">");
    page.raw(sign)
        .raw("</span>")
        .raw(verdict.kind.name())
        .raw("</h1>\n<ul>\n");
    for reason in verdict.reasons.iter().take(REASONS) {
        page.raw("<li>").text(reason).raw("</li>\n");
    }
    if let Some(chance) = verdict.chance {
        page.raw("<li>chance of such a difference without any effect of the patches: at most ")
            .text(&percent(chance))
            .raw("</li>\n");
    }
    let beside = beside(report);
    for sentence in beside.iter().take(REASONS) {
        page.raw("<li>").text(sentence).raw("</li>\n");
    }
    page.raw("</ul>\n");
    // A verdict is read at a glance: what there is too much of is folded.
    let reasons = verdict.reasons.iter().skip(REASONS);
    let rest: Vec<&String> = reasons.chain(beside.iter().skip(REASONS)).collect();
    if !rest.is_empty() {
        page.raw("<details>\n<summary>and ")
            .show(rest.len())
            .raw(" more</summary>\n<ul>\n");
        for sentence in rest {
            page.raw("<li>").text(sentence).raw("</li>\n");
        }
        page.raw("</ul>\n</details>\n");
    }
    page.raw("<p class=\"when\">begun ").text(&report.started);
    page.raw(", ")
        .show(duration(report.seconds))
        .raw("</p>\n</header>\n");
}

/// Seconds in words.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{:.0} min {:.0} s",
            (seconds / 60.0).floor(),
            seconds % 60.0
        )
    }
}

fn kernels(page: &mut Markup, report: &Report) {
    page.raw("<section aria-labelledby=\"kernels\">\n<h2 id=\"kernels\">Kernels and host</h2>\n");
    for arm in &report.arms {
        page.raw("<details>\n<summary>").text(&arm.name);
        let release = arm
            .kernel
            .as_ref()
            .map_or("no kernel", |kernel| &kernel.release);
        page.raw(": ").text(release).raw("</summary>\n<dl>\n");
        if let Some(broken) = &arm.broken {
            row(page, "why there is none", &broken.message);
            if let Some(help) = &broken.help {
                row(page, "help", help);
            }
        }
        if let Some(kernel) = &arm.kernel {
            row(page, "source", &kernel.origin);
            row(page, "build", &kernel.key);
            if let Some(armed) = arm.armed.name() {
                row(page, "armed by", armed);
            }
            for (file, hash) in &kernel.patches {
                row(page, "patch", &format!("{file} (SHA-256 {hash})"));
            }
            if !kernel.left_out.is_empty() {
                row(page, "too old for", &kernel.left_out.join(", "));
            }
        }
        if !arm.configuration.is_empty() {
            row(page, "configuration", &arm.configuration.join(", "));
        }
        if let Some(compiler) = &arm.compiler {
            row(page, "compiler", compiler);
        }
        if !arm.detectors.is_empty() {
            row(page, "checks", &arm.detectors.join(", "));
        }
        page.raw("</dl>\n</details>\n");
    }
    let host = &report.host;
    page.raw("<dl>\n");
    for (what, value) in [
        ("host", &host.kernel),
        ("accelerator", &host.accelerator),
        ("QEMU", &host.qemu),
        ("guests mount", &host.service),
        ("kvet", &host.kvet),
    ] {
        if !value.is_empty() {
            row(page, what, value);
        }
    }
    for line in crate::report::hosts::in_words(report).lines() {
        row(page, "trials", line.trim());
    }
    page.raw("</dl>\n</section>\n");
}

pub(crate) fn row(page: &mut Markup, what: &'static str, value: &str) {
    page.raw("<div><dt>").raw(what).raw("</dt><dd>");
    page.text(value).raw("</dd></div>\n");
}

fn workloads(page: &mut Markup, report: &Report) {
    if report.workloads.is_empty() {
        return;
    }
    page.raw("<section aria-labelledby=\"workloads\">\n<h2 id=\"workloads\">Workloads</h2>\n");
    for workload in &report.workloads {
        page.raw("<details>\n<summary>").text(&workload.name);
        page.raw("</summary>\n<p>")
            .text(&workload.about.replace('\n', " "));
        page.raw("</p>\n<ol>\n");
        for (number, step) in workload.steps.iter().enumerate() {
            page.raw("<li><code>").text(step).raw("</code>");
            if let Some(line) = workload.by_hand.get(number) {
                page.raw(" <code class=\"when\">").text(line).raw("</code>");
            }
            page.raw("</li>\n");
        }
        page.raw("</ol>\n</details>\n");
    }
    page.raw("</section>\n");
}

/// The class by which an outcome is coloured and filtered.
fn class(outcome: Outcome) -> &'static str {
    outcome.name()
}

/// The sign by which an outcome is known without colour.
fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "\u{2713}",
        Outcome::Target => "\u{2717}",
        Outcome::Other => "!",
        Outcome::Workload => "w",
        Outcome::Harness => "h",
        Outcome::Timeout => "t",
        Outcome::Unarmed => "u",
    }
}

/// `stock, example, trial 1: target: INFO: task hung in evict`
fn title(placed: &Placed<'_>) -> String {
    let Placed { arm, trial, .. } = placed;
    format!(
        "{}, {}, trial {}: {}",
        arm.name,
        trial.workload,
        trial.number,
        why(trial)
    )
}

#[cfg(test)]
mod tests;
