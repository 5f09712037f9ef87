//! What the kernels said, each finding once, with its stack.

use super::Placed;
use super::markup::Markup;
use crate::report::model::Report;
use crate::report::shown::{Role, Shown, frequencies, heading, stack};

/// Findings that are shown.
const SHOWN: usize = 200;

/// The section; nothing if nothing was said.
pub(super) fn findings(
    page: &mut Markup,
    report: &Report,
    all: &[Shown<'_>],
    placed: &[Placed<'_>],
) {
    if all.is_empty() {
        return;
    }
    page.raw("<section aria-labelledby=\"findings\">\n")
        .raw("<h2 id=\"findings\">What the kernels said</h2>\n");
    for shown in all.iter().take(SHOWN) {
        finding(page, report, shown, placed);
    }
    if all.len() > SHOWN {
        page.raw("<p>and ")
            .show(all.len() - SHOWN)
            .raw(" more, in the trials below</p>\n");
    }
    page.raw("</section>\n");
}

fn finding(page: &mut Markup, report: &Report, shown: &Shown<'_>, placed: &[Placed<'_>]) {
    let class = match shown.role {
        Role::Target => "target",
        Role::Decided => "other",
        Role::Beside | Role::Known => "beside",
    };
    let finding = shown.finding;
    page.raw("<details class=\"finding\">\n<summary><span class=\"role ")
        .raw(class)
        .raw("\">");
    page.raw(shown.role.words())
        .raw("</span> ")
        .text(&finding.title);
    page.raw(" <span class=\"when\">")
        .text(&frequencies(report, shown));
    page.raw("</span></summary>\n<p>")
        .text(&heading(finding))
        .raw("</p>\n");
    page.raw("<div class=\"scroll\"><pre><code>");
    for line in stack(finding).iter().take(100) {
        page.text(line).raw("\n");
    }
    page.raw("</code></pre></div>\n<dl>\n");
    let mut row = |what: &'static str, value: &str| {
        page.raw("<div><dt>")
            .raw(what)
            .raw("</dt><dd><code>")
            .text(value);
        page.raw("</code></dd></div>\n");
    };
    row("signature", &finding.signature);
    if !finding.waits_for.is_empty() {
        row("waits for", &finding.waits_for.join(", "));
    }
    for lock in finding.locks.iter().take(20) {
        row("lock", &format!("{} at {}", lock.lock, lock.at));
    }
    if let Some(panic) = &finding.panic {
        row("panic", panic);
    }
    page.raw("</dl>\n");
    let first = placed.iter().find(|p| std::ptr::eq(p.trial, shown.trial));
    if let Some(first) = first {
        page.raw("<p>first in <a href=\"#t")
            .show(first.place)
            .raw("\">")
            .text(&shown.arm.name);
        page.raw(", ")
            .text(&shown.trial.workload)
            .raw(", trial ")
            .show(shown.trial.number);
        page.raw("</a>, line ")
            .show(finding.first_line)
            .raw("</p>\n");
    }
    page.raw("</details>\n");
}
