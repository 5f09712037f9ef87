//! Arms by trials as a grid with its filters, and each trial's section.

use super::markup::Markup;
use super::{LIMIT, Placed, Stories, class, console, duration, id, sign, timeline, title};
use crate::outcome::Outcome;
use crate::report::model::Report;
use crate::report::safe::cut;
use crate::report::shown::same;
use crate::report::standing::why;
use crate::report::table::missing;

/// Characters of a reason in a list.
const REASON: usize = 300;

/// A row for each arm and workload, a link for each trial.
pub(super) fn grid(page: &mut Markup, report: &Report, placed: &[Placed<'_>]) {
    page.raw("<section aria-labelledby=\"arms\">\n<h2 id=\"arms\">Arms and trials</h2>\n");
    filters(page, placed);
    page.raw("<div class=\"scroll\"><table class=\"grid\">\n<thead><tr>")
        .raw("<th scope=\"col\">arm</th><th scope=\"col\">workload</th>")
        .raw("<th scope=\"col\">trials</th></tr></thead>\n");
    for arm in &report.arms {
        let of_arm = || placed.iter().filter(|placed| std::ptr::eq(placed.arm, arm));
        let mut workloads: Vec<&str> = Vec::new();
        for placed in of_arm() {
            if !workloads.contains(&placed.trial.workload.as_str()) {
                workloads.push(&placed.trial.workload);
            }
        }
        page.raw("<tbody>\n");
        for (number, workload) in workloads.iter().enumerate() {
            page.raw("<tr>");
            if number == 0 {
                page.raw("<th scope=\"rowgroup\" rowspan=\"")
                    .show(workloads.len())
                    .raw("\">");
                arm_name(page, &arm.name, arm.control);
                page.raw("</th>");
            }
            page.raw("<td>")
                .text(workload)
                .raw("</td><td class=\"chips\">");
            let of_row = of_arm().filter(|placed| placed.trial.workload == *workload);
            for placed in of_row {
                chip(page, placed);
            }
            page.raw("</td></tr>\n");
        }
        let missing = missing(report, arm);
        if workloads.is_empty() || missing > 0 {
            page.raw("<tr>");
            if workloads.is_empty() {
                page.raw("<th scope=\"row\">");
                arm_name(page, &arm.name, arm.control);
                page.raw("</th>");
            } else {
                page.raw("<td></td>");
            }
            page.raw("<td colspan=\"2\">");
            match &arm.broken {
                Some(broken) => page.text(&broken.message),
                None => page
                    .show(missing)
                    .raw(" of ")
                    .show(arm.planned)
                    .raw(" trials did not run"),
            };
            page.raw("</td></tr>\n");
        }
        page.raw("</tbody>\n");
    }
    page.raw("</table></div>\n</section>\n");
}

fn arm_name(page: &mut Markup, name: &str, control: bool) {
    page.text(name);
    if control {
        page.raw(" <span class=\"role\">control</span>");
    }
}

fn chip(page: &mut Markup, placed: &Placed<'_>) {
    let outcome = placed.trial.judged.outcome;
    let words = cut(&title(placed), REASON);
    page.raw("<a class=\"chip ")
        .raw(class(outcome))
        .raw("\" data-trial=\"")
        .show(placed.place);
    page.raw("\" href=\"#t")
        .show(placed.place)
        .raw("\" title=\"")
        .text(&words);
    page.raw("\" aria-label=\"")
        .text(&words)
        .raw("\">")
        .raw(sign(outcome))
        .raw("</a>");
}

/// What narrows the trials that are shown: outcomes, and words.
fn filters(page: &mut Markup, placed: &[Placed<'_>]) {
    page.raw("<form class=\"filters\" id=\"filters\" role=\"search\" hidden>\n")
        .raw("<fieldset><legend>Show trials that were</legend>\n");
    let outcomes = [
        Outcome::Target,
        Outcome::Other,
        Outcome::Clean,
        Outcome::Workload,
        Outcome::Timeout,
        Outcome::Unarmed,
        Outcome::Harness,
    ];
    for outcome in outcomes {
        let count = placed
            .iter()
            .filter(|p| p.trial.judged.outcome == outcome)
            .count();
        if count == 0 {
            continue;
        }
        page.raw("<label><input type=\"checkbox\" checked value=\"")
            .raw(class(outcome));
        page.raw("\"> <span class=\"chip ")
            .raw(class(outcome))
            .raw("\" aria-hidden=\"true\">");
        page.raw(sign(outcome)).raw("</span> ").raw(outcome.name());
        page.raw(" (").show(count).raw(")</label>\n");
    }
    page.raw("</fieldset>\n<label>with the words <input type=\"search\" id=\"words\" ")
        .raw("autocomplete=\"off\" spellcheck=\"false\"></label>\n")
        .raw("<output id=\"count\" aria-live=\"polite\"></output>\n</form>\n");
}

/// A section for each trial.
pub(super) fn trials(page: &mut Markup, placed: &[Placed<'_>], stories: &Stories) {
    page.raw("<section aria-labelledby=\"trials\">\n")
        .raw("<h2 id=\"trials\" tabindex=\"-1\">Trials</h2>\n");
    for placed in placed {
        trial(page, placed, stories);
    }
    page.raw("</section>\n");
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
