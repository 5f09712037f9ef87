//! A bisection as a page (`report::html` has what pages are made of): what it found, how the belief moved from boot to boot,
//! and the table that confirms it.

use super::course::{Course, Moment, What};
use super::drive::short;
use super::report::{Compared, Finding, Report, Row, Suspect, percent};
use crate::report::cut;
use crate::report::html::{Markup, begin, duration, end, picture, row, section};

/// Rows of the picture; candidates beyond share one.
const ROWS: usize = 48;
/// Columns of the picture: of more boots the last ones are shown.
const COLUMNS: usize = 160;
/// The picture's units: a row, a column, and the room for names.
const ROW: f64 = 18.0;
const COLUMN: f64 = 18.0;
const NAMES: f64 = 64.0;
const HEAD: f64 = 22.0;
/// Characters of a name beside a row, each so wide at most.
const BESIDE: usize = 56;
const LETTER: f64 = 7.0;
/// Lists are cut after so many.
const LISTED: usize = 200;

/// The page.
#[must_use]
pub fn page(course: &Course) -> String {
    let report = &course.report;
    let mut page = Markup::default();
    let title = format!("{}: bisection", course.job);
    begin(&mut page, &title, "#boots", "Skip to the boots");
    found(&mut page, course);
    page.raw("<main>\n");
    belief(&mut page, course);
    table(&mut page, report);
    to_send(&mut page, report);
    boots(&mut page, course);
    rest(&mut page, course);
    end(&mut page);
    page.into_string()
}

fn found(page: &mut Markup, course: &Course) {
    let report = &course.report;
    let (class, sign) = match report.finding {
        Finding::Culprit { .. } => ("good", "\u{2713} "),
        Finding::None { .. } | Finding::Open { .. } => ("open", "? "),
    };
    page.raw("<header class=\"")
        .raw(class)
        .raw("\">\n<p class=\"job\">bisection of ");
    page.text(&course.job)
        .raw("</p>\n<h1><span aria-hidden=\"true\">")
        .raw(sign)
        .raw("</span>");
    let noun = report.searched.noun();
    match &report.finding {
        Finding::Culprit { suspects, .. } if suspects.len() == 1 => {
            page.raw("the ").text(noun).raw(" is found");
        }
        Finding::Culprit { suspects, .. } => {
            page.raw("one of ").show(suspects.len()).raw(" ");
            page.text(report.searched.plural());
        }
        Finding::None { .. } => {
            page.raw("no ").text(noun).raw(" changes it");
        }
        Finding::Open { .. } => {
            page.raw("no answer");
        }
    }
    page.raw("</h1>\n<ul>\n");
    let target = if report.target.is_empty() {
        "the target"
    } else {
        &report.target
    };
    let did = if report.fixed { " cured " } else { " brought " };
    let (suspects, probability) = match &report.finding {
        Finding::Culprit {
            suspects,
            probability,
        } => (suspects.as_slice(), Some(*probability)),
        Finding::Open { reason, suspects } => {
            page.raw("<li>").text(reason).raw("</li>\n");
            (suspects.as_slice(), None)
        }
        Finding::None { probability } => {
            page.raw("<li>how often ").text(target);
            page.raw(" shows does not change between ")
                .text(&report.good);
            page.raw(" and ").text(&report.bad);
            page.raw(" (").text(&percent(*probability)).raw(")</li>\n");
            (&[][..], None)
        }
    };
    for one in suspects.iter().take(LISTED) {
        page.raw("<li>");
        suspect(page, one);
        match probability {
            Some(_) => page.raw(did).text(target),
            None => page.raw(": ").text(&percent(one.probability)),
        };
        page.raw("</li>\n");
    }
    if let Some(probability) = probability {
        page.raw("<li>probability: ").text(&percent(probability));
        page.raw(", asked for ")
            .text(&percent(report.confidence))
            .raw("</li>\n");
    }
    for note in report.notes.iter().take(LISTED) {
        page.raw("<li>").text(note).raw("</li>\n");
    }
    let (with, without) = report.rates;
    page.raw("<li>the target shows in about ")
        .text(&percent(with));
    page.raw(" of boots with the bug and ")
        .text(&percent(without));
    page.raw(" of those without</li>\n</ul>\n<p class=\"when\">");
    page.show(report.candidates)
        .raw(" ")
        .text(report.searched.plural());
    page.raw(" between ").text(short(&report.good)).raw(" and ");
    page.text(short(&report.bad)).raw("; ");
    page.show(report.cost.builds).raw(" builds in ");
    page.show(duration(report.cost.build_seconds)).raw(", ");
    page.show(report.cost.boots).raw(" boots in ");
    page.show(duration(report.cost.boot_seconds))
        .raw("</p>\n</header>\n");
}

fn suspect(page: &mut Markup, suspect: &Suspect) {
    page.raw("<code>").text(short(&suspect.name)).raw("</code>");
    if !suspect.subject.is_empty() && suspect.subject != suspect.name {
        page.raw(" ").text(&suspect.subject);
    }
    if !suspect.author.is_empty() {
        page.raw(" <span class=\"when\">")
            .text(&suspect.author)
            .raw("</span>");
    }
}

/// The candidates that share a row of the picture, first and last.
fn rows(candidates: usize) -> Vec<(usize, usize)> {
    let each = candidates.div_ceil(ROWS).max(1);
    (0..candidates)
        .step_by(each)
        .map(|first| (first, (first + each).min(candidates) - 1))
        .collect()
}

/// How likely each candidate was after each boot, as a picture: a row a
/// candidate, a column a boot, the darker the likelier.
fn belief(page: &mut Markup, course: &Course) {
    section(page, "belief", "How the belief moved");
    let moments = shown(course);
    if moments.is_empty() {
        page.raw("<p>Nothing was booted.</p>\n</section>\n");
        return;
    }
    page.raw("<p>Each column is a boot, each row a ")
        .text(course.report.searched.noun());
    page.raw(", the first one on top. The stronger its colour, the likelier that one was the culprit after the boot. \
        <span class=\"chip target\">\u{2717}</span> the boot showed the target, \
        <span class=\"chip clean\">\u{2713}</span> it did not.</p>\n");
    let rows = rows(course.candidates.len());
    #[expect(
        clippy::cast_precision_loss,
        reason = "some dozens of rows and columns"
    )]
    let (width, height) = (
        NAMES + COLUMN * moments.len() as f64 + 12.0 + LETTER * beside(course, &rows) as f64,
        HEAD + ROW * (rows.len() + 2) as f64 + 4.0,
    );
    page.raw(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"how the belief moved\">\
        <svg class=\"belief\" role=\"img\" aria-label=\"",
    )
    .text(&summary(course))
    .raw("\" viewBox=\"0 0 ");
    page.at(width)
        .raw(" ")
        .at(height)
        .raw("\" width=\"")
        .at(width);
    page.raw("\" height=\"").at(height).raw("\">\n");
    for (place, &(first, last)) in (1_u32..).zip(&rows) {
        let top = HEAD + ROW * f64::from(place);
        label(page, top, &numbers(first, last), &course.candidates[first]);
    }
    #[expect(clippy::cast_precision_loss, reason = "some dozens of columns")]
    let right = NAMES + COLUMN * moments.len() as f64 + 8.0;
    for (place, &(first, _)) in (1_u32..).zip(&rows) {
        let top = HEAD + ROW * f64::from(place);
        page.raw("<text class=\"beside\" x=\"").at(right);
        page.raw("\" y=\"").at(top + ROW * 0.75).raw("\">");
        page.text(&cut(bare(&course.candidates[first]), BESIDE))
            .raw("</text>\n");
    }
    label(page, HEAD, "base", &course.base);
    let none = HEAD + ROW * f64::from(u32::try_from(rows.len() + 1).unwrap_or(0));
    label(page, none, "none", "no candidate changes it");
    for (column, moment) in (0_u32..).zip(&moments) {
        let left = NAMES + COLUMN * f64::from(column);
        for (place, &(first, last)) in (1_u32..).zip(&rows) {
            let sum: f64 = moment.belief[first..=last].iter().sum();
            cell(page, left, HEAD + ROW * f64::from(place), sum);
        }
        cell(page, left, none, moment.none);
        let row = moment.candidate.map_or(Some(0), |number| {
            let within = |&(first, last): &(usize, usize)| (first..=last).contains(&number);
            rows.iter().position(within).map(|row| row + 1)
        });
        let row = row.and_then(|row| u32::try_from(row).ok()).unwrap_or(0);
        mark(page, left, HEAD + ROW * f64::from(row), course, moment);
    }
    page.raw("</svg></div>\n</section>\n");
}

/// The longest of the names that stand beside rows, in characters.
fn beside(course: &Course, rows: &[(usize, usize)]) -> usize {
    let lengths = rows.iter().map(|&(first, _)| {
        let name = bare(&course.candidates[first]);
        name.chars().count().min(BESIDE)
    });
    lengths.max().unwrap_or(0)
}

/// A patch's name without its series.
fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The boots of the picture.
fn shown(course: &Course) -> Vec<&Moment> {
    let from = course.moments.len().saturating_sub(COLUMNS);
    course.moments[from..].iter().collect()
}

fn numbers(first: usize, last: usize) -> String {
    if first == last {
        (first + 1).to_string()
    } else {
        format!("{}-{}", first + 1, last + 1)
    }
}

fn label(page: &mut Markup, top: f64, text: &str, full: &str) {
    page.raw("<text class=\"name\" x=\"").at(NAMES - 8.0);
    page.raw("\" y=\"").at(top + ROW * 0.75).raw("\">");
    page.text(text)
        .raw("<title>")
        .text(full)
        .raw("</title></text>\n");
}

/// A cell; one that nobody would see is left out.
fn cell(page: &mut Markup, left: f64, top: f64, probability: f64) {
    page.raw("<rect class=\"cell\" x=\"")
        .at(left + 1.0)
        .raw("\" y=\"")
        .at(top + 1.0);
    page.raw("\" width=\"")
        .at(COLUMN - 2.0)
        .raw("\" height=\"")
        .at(ROW - 2.0);
    page.raw("\"/>");
    if probability < 0.005 {
        return;
    }
    // Small ones are seen, too: by the root.
    page.raw("<rect class=\"likely\" x=\"")
        .at(left + 1.0)
        .raw("\" y=\"")
        .at(top + 1.0);
    page.raw("\" width=\"")
        .at(COLUMN - 2.0)
        .raw("\" height=\"")
        .at(ROW - 2.0);
    page.raw("\" fill-opacity=\"")
        .show(format!("{:.2}", probability.sqrt()));
    page.raw("\"><title>")
        .text(&percent(probability))
        .raw("</title></rect>\n");
}

fn mark(page: &mut Markup, left: f64, top: f64, course: &Course, moment: &Moment) {
    let (class, sign) = signs(&moment.what);
    page.raw("<circle class=\"boot\" cx=\"")
        .at(left + COLUMN / 2.0);
    page.raw("\" cy=\"").at(top + ROW / 2.0).raw("\" r=\"7\"/>");
    page.raw("<text class=\"boot ")
        .raw(class)
        .raw("\" x=\"")
        .at(left + COLUMN / 2.0);
    page.raw("\" y=\"")
        .at(top + ROW * 0.75)
        .raw("\">")
        .raw(sign)
        .raw("<title>");
    page.text(&told(course, moment)).raw("</title></text>\n");
}

fn signs(what: &What) -> (&'static str, &'static str) {
    match what {
        What::Hit(_) => ("target", "\u{2717}"),
        What::Miss => ("clean", "\u{2713}"),
        What::Skipped(_) => ("skipped", "-"),
        What::Same(_) => ("skipped", "="),
        What::Word(true) => ("target", "b"),
        What::Word(false) => ("clean", "g"),
        What::Forgotten => ("skipped", "0"),
    }
}

fn words(course: &Course, what: &What) -> String {
    match what {
        What::Hit(title) if title.is_empty() => "showed the target".to_owned(),
        What::Hit(title) => title.clone(),
        What::Miss => "did not show it".to_owned(),
        What::Skipped(reason) => format!("skipped: {reason}"),
        What::Same(Some(other)) => format!("has the image of {}", course.candidates[*other]),
        What::Same(None) => "has the image of the older end".to_owned(),
        What::Word(true) => "bad, as somebody said".to_owned(),
        What::Word(false) => "good, as somebody said".to_owned(),
        What::Forgotten => "forgotten".to_owned(),
    }
}

fn name<'a>(course: &'a Course, moment: &Moment) -> &'a str {
    moment
        .candidate
        .map_or(&course.base, |number| &course.candidates[number])
}

fn told(course: &Course, moment: &Moment) -> String {
    format!("{}: {}", name(course, moment), words(course, &moment.what))
}

/// The likeliest candidate after a boot.
fn likeliest(moment: &Moment) -> Option<(usize, f64)> {
    let all = moment.belief.iter().copied().enumerate();
    all.max_by(|one, other| one.1.total_cmp(&other.1))
}

/// What the picture shows, in a sentence.
fn summary(course: &Course) -> String {
    let Some((last, (number, probability))) = course
        .moments
        .last()
        .and_then(|last| Some((last, likeliest(last)?)))
    else {
        return String::new();
    };
    format!(
        "After {} boots {} is the likeliest of {} ({}); that there is none: {}. The table below has each boot.",
        course.moments.len(),
        course.candidates[number],
        course.candidates.len(),
        percent(probability),
        percent(last.none)
    )
}

/// The rows that confirm it, with intervals.
fn table(page: &mut Markup, report: &Report) {
    if report.table.is_empty() {
        return;
    }
    section(page, "table", "The final table");
    page.raw(
        "<table class=\"figure\">\n<caption>Boots of the confirmation that showed the target, \
        with the 95 % interval of the rate; p: how likely such a difference to the row above is by \
        chance</caption>\n",
    );
    for (row, compared) in report.table.iter().zip(report.compared()) {
        confirmed(page, row, &compared);
    }
    page.raw("</table>\n</section>\n");
}

fn confirmed(page: &mut Markup, row: &Row, compared: &Compared) {
    page.raw("<tr><th scope=\"row\">").text(&row.what);
    page.raw("</th><td class=\"picture\">");
    let share = f64::from(row.hits) / f64::from(row.boots.max(1));
    let bar = (compared.low * 200.0, compared.high * 200.0);
    picture(
        page,
        Some(bar),
        &[],
        (row.boots > 0).then_some(share * 200.0),
    );
    page.raw("</td><td class=\"number\">")
        .show(row.hits)
        .raw("/")
        .show(row.boots);
    page.raw("</td><td class=\"number\">");
    page.show(format!(
        "{:.0}-{:.0} %",
        compared.low * 100.0,
        compared.high * 100.0
    ));
    page.raw("</td></tr>\n<tr class=\"under\"><td colspan=\"4\">");
    if !row.name.is_empty() {
        page.raw("<code>").text(short(&row.name)).raw("</code> ");
    }
    match compared.p_value {
        Some(p) if p < 0.0001 => page.raw("p below 0.0001"),
        Some(p) if p >= 0.9999 => page.raw("p = 1"),
        Some(p) => page.raw("p = ").show(format!("{p:.4}")),
        None => page,
    };
    if let Some(showed) = &row.showed {
        page.raw(" ").text(showed);
    }
    page.raw("</td></tr>\n");
}

/// The lines that go into a mail.
fn to_send(page: &mut Markup, report: &Report) {
    let lines: Vec<String> = [report.fixes(), report.regzbot()]
        .into_iter()
        .flatten()
        .collect();
    if lines.is_empty() && report.recipients.is_empty() {
        return;
    }
    section(page, "send", "To send");
    page.raw("<div class=\"scroll\"><pre><code>");
    for line in lines.iter().flat_map(|lines| lines.lines()) {
        page.text(line).raw("\n");
    }
    for recipient in report.recipients.iter().take(LISTED) {
        page.raw("Cc: ").text(recipient).raw("\n");
    }
    page.raw("</code></pre></div>\n</section>\n");
}

/// Every boot, as a table.
fn boots(page: &mut Markup, course: &Course) {
    section(page, "boots", "Boots");
    page.raw("<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">boot</th>\
        <th scope=\"col\"></th><th scope=\"col\">of</th><th scope=\"col\">what it showed</th>\
        <th scope=\"col\">the likeliest after it</th><th scope=\"col\">recorded in</th></tr></thead>\n\
        <tbody>\n");
    for (number, moment) in (1..).zip(&course.moments) {
        let (class, sign) = signs(&moment.what);
        page.raw("<tr><td class=\"number\">")
            .show(number)
            .raw("</td><td><span class=\"chip ");
        page.raw(class)
            .raw("\" aria-hidden=\"true\">")
            .raw(sign)
            .raw("</span></td><td><code>");
        let named = name(course, moment);
        match moment.candidate {
            Some(number) => page.show(number + 1),
            None => page.raw("base"),
        };
        page.raw("</code> ")
            .text(&cut(bare(named), BESIDE))
            .raw("</td><td>");
        page.text(&words(course, &moment.what)).raw("</td><td>");
        if let Some((number, probability)) = likeliest(moment) {
            page.raw("<code>").show(number + 1).raw("</code> ");
            page.text(&percent(probability));
        }
        page.raw("</td><td>");
        if let Some(trial) = &moment.trial {
            page.raw("<code class=\"when\">").text(trial).raw("</code>");
        }
        page.raw("</td></tr>\n");
    }
    page.raw("</tbody>\n</table></div>\n</section>\n");
}

/// What else there is to know.
fn rest(page: &mut Markup, course: &Course) {
    let report = &course.report;
    section(page, "rest", "What was searched");
    page.raw("<dl>\n");
    row(page, "job", &course.job);
    row(page, "arm", &course.arm);
    row(page, "workload", &course.workload);
    row(page, "good end", &report.good);
    row(page, "bad end", &report.bad);
    page.raw("</dl>\n");
    if !report.skipped.is_empty() {
        page.raw("<details>\n<summary>Not tested: ")
            .show(report.skipped.len());
        page.raw("</summary>\n<ul>\n");
        for (name, reason) in report.skipped.iter().take(LISTED) {
            page.raw("<li><code>")
                .text(short(name))
                .raw("</code>: ")
                .text(reason);
            page.raw("</li>\n");
        }
        page.raw("</ul>\n</details>\n");
    }
    if !report.others.is_empty() {
        page.raw("<details open>\n<summary>Also seen, and not counted</summary>\n<ul>\n");
        for (title, at) in report.others.iter().take(LISTED) {
            let at: Vec<&str> = at.iter().take(20).map(|name| short(name)).collect();
            page.raw("<li>")
                .text(title)
                .raw(": ")
                .text(&at.join(", "))
                .raw("</li>\n");
        }
        page.raw("</ul>\n</details>\n");
    }
    page.raw("<details>\n<summary>All ")
        .show(course.candidates.len())
        .raw(" ");
    page.text(report.searched.plural())
        .raw("</summary>\n<ol>\n");
    for name in course.candidates.iter().take(2000) {
        page.raw("<li><code>").text(name).raw("</code></li>\n");
    }
    page.raw("</ol>\n</details>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_has_its_row_however_many_there_are() {
        for count in [1, 12, 48, 49, 1000, 12345] {
            let rows = rows(count);
            assert!(rows.len() <= ROWS, "{count}");
            assert_eq!(rows[0].0, 0);
            assert_eq!(rows.last().unwrap().1, count - 1);
            assert!(rows.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
        }
        assert_eq!(rows(0), []);
    }
}
