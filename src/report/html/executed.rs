//! Which of the lines that patches change were executed, file by file: the answer
//! to "was my change run at all?".

use super::markup::Markup;
use crate::coverage::executed::{Executed, ExecutedFile};
use crate::report::executed::sentences;
use crate::report::model::Report;

/// Lines of a file that are shown.
const LINES: usize = 2000;
/// Files of an arm that are shown.
const FILES: usize = 200;

/// The section; nothing if no lines were counted.
pub(super) fn executed(page: &mut Markup, report: &Report) {
    let arms = report.arms.iter().filter_map(|arm| arm.executed.as_ref());
    let arms: Vec<&Executed> = arms.filter(|arm| !arm.files.is_empty()).collect();
    if arms.is_empty() {
        return;
    }
    page.raw("<section aria-labelledby=\"executed\">\n")
        .raw("<h2 id=\"executed\">Was the change run?</h2>\n");
    let told = sentences(report);
    for (arm, (sentence, _)) in arms.into_iter().zip(told) {
        page.raw("<h3>").text(&sentence).raw("</h3>\n<ul>\n");
        for by in &arm.workloads {
            page.raw("<li>").text(&by.workload).raw(": ");
            page.show(by.run).raw(" lines");
            if by.counted < by.trials {
                page.raw(", known of ").show(by.counted).raw(" of ");
                page.show(by.trials).raw(" trials");
            }
            page.raw("</li>\n");
        }
        for problem in arm.problems.iter().take(FILES) {
            page.raw("<li>not known: ").text(problem).raw("</li>\n");
        }
        page.raw("</ul>\n");
        for one in arm.files.iter().take(FILES) {
            file(page, arm, one);
        }
    }
    page.raw("</section>\n");
}

/// Tabs that all lines of a file begin with: narrow screens have better to show.
fn indent(file: &ExecutedFile) -> usize {
    let lines = file.lines.iter().map(|line| line.text.as_str());
    let lines = lines.filter(|text| !text.trim().is_empty());
    let tabs = lines.map(|text| text.len() - text.trim_start_matches('\t').len());
    tabs.min().unwrap_or(0)
}

/// A file's changed lines; open if some were never run.
fn file(page: &mut Markup, arm: &Executed, file: &ExecutedFile) {
    if !file.counted || file.lines.is_empty() {
        page.raw("<p><code>").text(&file.file);
        page.raw(if file.counted {
            "</code>: no changed line has code</p>\n"
        } else {
            "</code>: not counted, since this kernel does not compile it by itself</p>\n"
        });
        return;
    }
    let all = file.lines.len();
    let run = file
        .lines
        .iter()
        .filter(|line| !line.run_by.is_empty())
        .count();
    page.raw(if run < all {
        "<details open>\n<summary><code>"
    } else {
        "<details>\n<summary><code>"
    });
    page.text(&file.file).raw("</code>: ").show(run);
    page.raw(" of ")
        .show(all)
        .raw(" changed lines were run</summary>\n");
    page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"changed lines of ")
        .text(&file.file);
    page.raw("\"><table class=\"executed\">\n<thead><tr><th scope=\"col\">line</th>")
        .raw("<th scope=\"col\">run</th><th scope=\"col\">code</th>")
        .raw("<th scope=\"col\">by</th></tr></thead>\n<tbody>\n");
    let indent = indent(file);
    for line in file.lines.iter().take(LINES) {
        let never = line.run_by.is_empty();
        page.raw(if never {
            "<tr class=\"never\"><td class=\"number\">"
        } else {
            "<tr><td class=\"number\">"
        });
        page.show(line.line);
        page.raw(if never {
            "</td><td>never</td><td><code>"
        } else {
            "</td><td><span aria-label=\"run\">\u{2713}</span></td><td><code>"
        });
        let code = line.text.get(indent..).unwrap_or_default();
        page.text(code).raw("</code></td><td>");
        if never {
            let patch = arm.patches.get(line.patch);
            page.raw("<span class=\"when\">changed by ")
                .text(patch.map_or("a patch", String::as_str))
                .raw("</span>");
        } else {
            page.text(&line.run_by.join(", "));
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n");
    if all > LINES {
        page.raw("<p>and ")
            .show(all - LINES)
            .raw(" more, which are in the run's report</p>\n");
    }
    page.raw("</details>\n");
}
