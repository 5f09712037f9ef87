//! Each trial's section: what it showed, its time line, its console, folded.

use super::markup::Markup;
use super::{LIMIT, Placed, Stories, class, console, duration, id, sign, timeline};
use crate::outcome::Outcome;
use crate::report::model::{ArmReport, Report};
use crate::report::safe::cut;
use crate::report::shown::same;
use crate::report::standing::why;
use crate::report::table::OUTCOMES;

/// Characters of a reason in a list.
const REASON: usize = 300;

/// A section for each trial.
pub(super) fn trials(page: &mut Markup, report: &Report, placed: &[Placed<'_>], stories: &Stories) {
    page.raw("<section aria-labelledby=\"trials\">\n")
        .raw("<h2 id=\"trials\" tabindex=\"-1\">Trials</h2>\n");
    for arm in &report.arms {
        if arm.trials.is_empty() {
            continue;
        }
        page.raw("<div class=\"of-arm\">\n<h3>").text(&arm.name);
        page.raw(" <span class=\"when\">")
            .text(&came_to(arm))
            .raw("</span></h3>\n");
        for placed in placed.iter().filter(|one| std::ptr::eq(one.arm, arm)) {
            trial(page, placed, stories);
        }
        page.raw("</div>\n");
    }
    page.raw("</section>\n");
}

/// `44 target, 13 clean of 57 trials`.
fn came_to(arm: &ArmReport) -> String {
    let count = |outcome: &Outcome| {
        let trials = arm.trials.iter();
        trials.filter(|t| t.judged.outcome == *outcome).count()
    };
    let counts: Vec<String> = OUTCOMES
        .iter()
        .map(|outcome| (outcome, count(outcome)))
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| format!("{count} {}", outcome.name()))
        .collect();
    let all = arm.trials.len();
    let trials = if all == 1 { "trial" } else { "trials" };
    format!("{} of {all} {trials}", counts.join(", "))
}

fn trial(page: &mut Markup, placed: &Placed<'_>, stories: &Stories) {
    let Placed { place, arm, trial } = *placed;
    let outcome = trial.judged.outcome;
    page.raw("<details class=\"trial\" id=\"t")
        .show(place)
        .raw("\" data-outcome=\"");
    page.raw(class(outcome))
        .raw("\">\n<summary><span class=\"chip ")
        .raw(class(outcome));
    page.raw("\" aria-hidden=\"true\">")
        .raw(sign(outcome))
        .raw("</span> <b>");
    page.text(&arm.name)
        .raw("</b> ")
        .text(&trial.workload)
        .raw(" ")
        .show(trial.number);
    page.raw(": ").text(&cut(&why(trial), REASON));
    page.raw(" <span class=\"when\">")
        .show(duration(trial.seconds))
        .raw("</span></summary>\n");
    if trial.attempts > 1 {
        page.raw("<p>Attempt ").show(trial.attempts);
        page.raw(": the harness failed the ones before.</p>\n");
    }
    if let Some(story) = stories.get(&id(arm, trial)).filter(|_| page.len() < LIMIT) {
        let has = |line: u64| story.console.lines.iter().any(|shown| shown.number == line);
        if !trial.findings.is_empty() {
            page.raw("<ul class=\"said\">\n");
            for (number, finding) in trial.findings.iter().enumerate() {
                // The same words again say nothing new.
                if trial.findings[..number]
                    .iter()
                    .any(|before| same(before, finding))
                {
                    continue;
                }
                page.raw("<li>");
                if has(finding.first_line) {
                    page.raw("<a href=\"#t")
                        .show(place)
                        .raw("L")
                        .show(finding.first_line);
                    page.raw("\">").text(&finding.title).raw("</a>");
                } else {
                    page.text(&finding.title);
                }
                page.raw(" <span class=\"when\">line ")
                    .show(finding.first_line);
                page.raw("</span></li>\n");
            }
            page.raw("</ul>\n");
        }
        timeline::timeline(page, placed, &story.journal, &has);
        console::console(page, placed, &story.console);
    } else {
        page.raw("<p>This page is long enough: its time line and console are in the run's ")
            .raw("directory.</p>\n");
    }
    if !trial.counters.is_empty() {
        page.raw("<details>\n<summary>Counters</summary>\n<div class=\"scroll\"><table>\n");
        for (name, count) in trial.counters.iter().take(500) {
            page.raw("<tr><th scope=\"row\">")
                .text(name)
                .raw("</th><td class=\"number\">");
            page.show(count).raw("</td></tr>\n");
        }
        page.raw("</table></div>\n</details>\n");
    }
    if trial.memory.is_some() {
        let (arm, _) = trial.directory.split_once("/trials/").unwrap_or_default();
        let command = format!("drgn -c {}/vmcore -s {arm}/vmlinux", trial.directory);
        page.raw("<p>memory dump: <code>")
            .text(&command)
            .raw("</code></p>\n");
    }
    page.raw("<p class=\"when\">recorded in <code>")
        .text(&trial.directory);
    page.raw("</code>");
    if let Some(host) = &trial.host {
        page.raw(" on ").text(host);
    }
    page.raw("</p>\n</details>\n");
}
