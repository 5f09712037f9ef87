//! A trial's console: numbered lines that can be linked to, its findings marked.

use super::Placed;
use super::markup::Markup;
use crate::record::Excerpt;

/// The console, folded.
pub(super) fn console(page: &mut Markup, placed: &Placed<'_>, console: &Excerpt) {
    let Placed { place, trial, .. } = *placed;
    if console.lines.is_empty() {
        page.raw("<p>The console is empty or not there.</p>\n");
        return;
    }
    page.raw("<details class=\"console\">\n<summary>Console (")
        .show(console.all);
    page.raw(" lines");
    let left_out = console.all.saturating_sub(console.lines.len() as u64);
    if left_out > 0 {
        page.raw(", ").show(left_out).raw(" left out here");
    }
    page.raw(")</summary>\n<div class=\"scroll log\" tabindex=\"0\" role=\"region\" ")
        .raw("aria-label=\"console of ")
        .text(&placed.arm.name)
        .raw(", trial ");
    page.show(trial.number).raw("\"><ol>\n");
    let mut before = 0;
    for line in &console.lines {
        if line.number > before + 1 {
            gap(page, line.number - before - 1);
        }
        before = line.number;
        if console.asked == Some(line.number) {
            page.raw("<li class=\"gap\">from here on kvet had the kernel print all stacks</li>\n");
        }
        let begins = trial.findings.iter().find(|f| f.first_line == line.number);
        if let Some(finding) = begins {
            page.raw("<li class=\"mark\">")
                .text(&finding.title)
                .raw("</li>\n");
        }
        let within =
            |f: &crate::detect::Finding| (f.first_line..=f.last_line).contains(&line.number);
        let found = trial.findings.iter().any(within);
        page.raw(if found {
            "<li class=\"hit\" id=\"t"
        } else {
            "<li id=\"t"
        });
        page.show(place)
            .raw("L")
            .show(line.number)
            .raw("\"><a tabindex=\"-1\" href=\"#t");
        page.show(place)
            .raw("L")
            .show(line.number)
            .raw("\">")
            .show(line.number);
        page.raw("</a><code>").text(&line.text);
        if line.cut {
            page.raw("\u{2026}");
        }
        page.raw("</code></li>\n");
    }
    if console.all > before {
        gap(page, console.all - before);
    }
    page.raw("</ol></div>\n</details>\n");
}

fn gap(page: &mut Markup, lines: u64) {
    page.raw("<li class=\"gap\">").show(lines);
    page.raw(if lines == 1 { " line" } else { " lines" });
    page.raw(" left out; console.log has all</li>\n");
}
