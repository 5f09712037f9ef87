//! Arms by trials as a grid of links, with what narrows it. A job with a few
//! workloads has a row for each arm; one with more has a row for each workload and
//! a column for each arm, so that arms stand beside each other.

use super::markup::Markup;
use super::{Placed, class, sign, title};
use crate::report::model::{ArmReport, Report};
use crate::report::safe::cut;
use crate::report::table::{OUTCOMES, missing};

/// Characters of a reason in a list.
const REASON: usize = 300;

/// From so many workloads on, arms are columns.
const MANY: usize = 3;

/// The section.
pub(super) fn grid(page: &mut Markup, report: &Report, placed: &[Placed<'_>]) {
    page.raw("<section aria-labelledby=\"arms\">\n<h2 id=\"arms\">Arms and trials</h2>\n");
    filters(page, placed);
    let mut workloads: Vec<&str> = Vec::new();
    let planned = report.arms.iter().flat_map(|arm| &arm.workloads);
    let tried = placed.iter().map(|placed| &placed.trial.workload);
    for workload in planned.chain(tried) {
        if !workloads.contains(&workload.as_str()) {
            workloads.push(workload);
        }
    }
    if workloads.len() < MANY || report.arms.len() < 2 {
        by_arm(page, report, placed, &workloads);
    } else {
        by_workload(page, report, placed, &workloads);
    }
    page.raw("</section>\n");
}

/// A row for each arm and workload.
fn by_arm(page: &mut Markup, report: &Report, placed: &[Placed<'_>], workloads: &[&str]) {
    let several = workloads.len() > 1;
    page.raw("<div class=\"scroll\"><table class=\"grid\">\n<caption>");
    match workloads {
        [workload] => page
            .raw("Each mark is a trial of ")
            .text(workload)
            .raw(" and leads to it"),
        _ => page.raw("Each mark is a trial and leads to it"),
    };
    page.raw("</caption>\n<thead><tr><th scope=\"col\">arm</th>");
    if several {
        page.raw("<th scope=\"col\">workload</th>");
    }
    page.raw("<th scope=\"col\">trials</th></tr></thead>\n");
    for arm in &report.arms {
        let of = |workload: &str| {
            let of_arm = placed.iter().filter(|placed| std::ptr::eq(placed.arm, arm));
            of_arm
                .filter(|placed| placed.trial.workload == workload)
                .collect::<Vec<_>>()
        };
        let rows: Vec<(&str, Vec<&Placed<'_>>)> = workloads
            .iter()
            .map(|workload| (*workload, of(workload)))
            .filter(|(_, trials)| !trials.is_empty())
            .collect();
        page.raw("<tbody>\n");
        for (number, (workload, trials)) in rows.iter().enumerate() {
            page.raw("<tr>");
            if number == 0 {
                page.raw("<th scope=\"rowgroup\" rowspan=\"")
                    .show(rows.len())
                    .raw("\">");
                arm_name(page, arm);
                page.raw("</th>");
            }
            if several {
                page.raw("<td>").text(workload).raw("</td>");
            }
            page.raw("<td class=\"chips\">");
            for placed in trials {
                chip(page, placed);
            }
            page.raw("</td></tr>\n");
        }
        if let Some(what) = lacking(report, arm) {
            page.raw("<tr>");
            if rows.is_empty() {
                page.raw("<th scope=\"row\">");
                arm_name(page, arm);
                page.raw("</th>");
            } else {
                page.raw("<td></td>");
            }
            page.raw(if several {
                "<td colspan=\"2\">"
            } else {
                "<td>"
            });
            page.text(&what).raw("</td></tr>\n");
        }
        page.raw("</tbody>\n");
    }
    page.raw("</table></div>\n");
}

/// A row for each workload, a column for each arm.
fn by_workload(page: &mut Markup, report: &Report, placed: &[Placed<'_>], workloads: &[&str]) {
    page.raw("<div class=\"scroll\"><table class=\"grid matrix\">\n<caption>")
        .raw("Each mark is a trial and leads to it</caption>\n")
        .raw("<thead><tr><th scope=\"col\">workload</th>");
    for arm in &report.arms {
        page.raw("<th scope=\"col\">");
        arm_name(page, arm);
        page.raw("</th>");
    }
    page.raw("</tr></thead>\n<tbody>\n");
    for workload in workloads {
        page.raw("<tr><th scope=\"row\">")
            .text(workload)
            .raw("</th>");
        for arm in &report.arms {
            page.raw("<td class=\"chips\">");
            let of_arm = placed.iter().filter(|placed| std::ptr::eq(placed.arm, arm));
            for placed in of_arm.filter(|placed| placed.trial.workload == *workload) {
                chip(page, placed);
            }
            page.raw("</td>");
        }
        page.raw("</tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n");
    let lacking: Vec<_> = report
        .arms
        .iter()
        .filter_map(|arm| Some((arm, lacking(report, arm)?)))
        .collect();
    if !lacking.is_empty() {
        page.raw("<ul>\n");
        for (arm, what) in lacking {
            page.raw("<li>").text(&arm.name).raw(": ");
            page.text(&what).raw("</li>\n");
        }
        page.raw("</ul>\n");
    }
}

/// Why an arm has fewer trials than the plan asks for, if it has.
fn lacking(report: &Report, arm: &ArmReport) -> Option<String> {
    if let Some(broken) = &arm.broken {
        return Some(broken.message.clone());
    }
    match missing(report, arm) {
        0 => arm.trials.is_empty().then(|| "no trial ran".to_owned()),
        missing => Some(format!("{missing} of {} trials did not run", arm.planned)),
    }
}

fn arm_name(page: &mut Markup, arm: &ArmReport) {
    page.text(&arm.name);
    if arm.control {
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
    for outcome in OUTCOMES {
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
