//! A trial's time line: boot, steps of the guest and of the host, what happened
//! to the service, findings; as a picture, and as a table for who cannot see it.

use super::markup::Markup;
use super::{Placed, duration};
use crate::guest::protocol::GuestMessage;
use crate::record::{Entry, Line, Side, StepEnd};

/// The picture's width, and the part of it that is left for names, in its own
/// units.
const WIDTH: f64 = 1000.0;
const NAMES: f64 = 90.0;
const ROW: f64 = 24.0;
/// The width of a letter, generously.
const LETTER: f64 = 8.5;
/// Rows that a side's steps may take at a time.
const ROWS: usize = 4;
/// Steps and moments that are drawn; more would be one black bar.
const DRAWN: usize = 400;
/// Rows of the table.
const TABLE: usize = 400;

/// What one bar shows.
struct Bar {
    label: String,
    side: Side,
    from: f64,
    to: f64,
    end: End,
    row: usize,
}

/// How a step ended.
enum End {
    Done,
    Allowed(String),
    Failed(String),
    /// The trial ended before it did.
    Never,
}

/// Something that happened at a moment.
struct Moment {
    at: f64,
    what: String,
    /// The line of the console that says so.
    line: Option<u64>,
}

/// All of a trial's journal that is drawn.
struct Times {
    booted: Option<f64>,
    bars: Vec<Bar>,
    /// Of the service, and deadlines.
    events: Vec<Moment>,
    findings: Vec<Moment>,
    dump: Option<f64>,
    end: f64,
}

/// The time line; nothing if the journal tells nothing.
pub(super) fn timeline(
    page: &mut Markup,
    placed: &Placed<'_>,
    journal: &[Line],
    has_line: &dyn Fn(u64) -> bool,
) {
    let times = read(journal, placed.trial.seconds);
    if times.bars.is_empty() && times.findings.is_empty() && times.booted.is_none() {
        return;
    }
    picture(page, placed, &times, has_line);
    table(page, &times);
}

fn read(journal: &[Line], seconds: f64) -> Times {
    let mut times = Times {
        booted: None,
        bars: Vec::new(),
        events: Vec::new(),
        findings: Vec::new(),
        dump: None,
        end: seconds.clamp(0.001, 1e7),
    };
    let mut open: Vec<(u32, bool, usize)> = Vec::new();
    for Line { at, entry } in journal {
        let at = if at.is_finite() {
            at.clamp(0.0, 1e7)
        } else {
            0.0
        };
        times.end = times.end.max(at);
        let moment = |what: &str, line| Moment {
            at,
            what: what.to_owned(),
            line,
        };
        match entry {
            Entry::Guest(GuestMessage::Ready(_)) => times.booted = times.booted.or(Some(at)),
            Entry::StepBegan {
                step,
                label,
                side,
                background,
                ..
            } => {
                // One in the foreground is over when the next begins, whether or
                // not somebody said so.
                if !background {
                    open.retain(|&(_, waits, bar)| {
                        if !waits {
                            times.bars[bar].to = at;
                            times.bars[bar].end = End::Done;
                        }
                        waits
                    });
                }
                open.push((*step, *background, times.bars.len()));
                times.bars.push(Bar {
                    label: label.clone(),
                    side: *side,
                    from: at,
                    to: at,
                    end: End::Never,
                    row: 0,
                });
            }
            Entry::StepEnded { step, result } => {
                if let Some(place) = open.iter().position(|(number, ..)| number == step) {
                    let (.., bar) = open.remove(place);
                    times.bars[bar].to = at;
                    times.bars[bar].end = match result {
                        StepEnd::Done => End::Done,
                        StepEnd::Allowed { errno } => End::Allowed(errno.clone()),
                        StepEnd::Failed { message } => End::Failed(message.clone()),
                    };
                }
            }
            Entry::Finding { title, line, .. } => times.findings.push(moment(title, Some(*line))),
            Entry::Service { what } => times.events.push(moment(what, None)),
            Entry::Unread => times
                .events
                .push(moment("the console is read no further", None)),
            Entry::Deadline { step } => {
                let what = format!("deadline of {step}");
                times.events.push(moment(&what, None));
            }
            Entry::Circle { tasks } => {
                let what = format!("in a circle of waits: {}", tasks.join(", "));
                times.events.push(moment(&what, None));
            }
            Entry::Memory { bytes, problem } => {
                let what = match (bytes, problem) {
                    (_, Some(problem)) => format!("no memory dump: {problem}"),
                    _ => "kvet keeps the guest's memory".to_owned(),
                };
                times.events.push(moment(&what, None));
            }
            Entry::Dump => times.dump = times.dump.or(Some(at)),
            _ => {}
        }
    }
    for (.., bar) in open {
        times.bars[bar].to = times.end;
    }
    stack_up(&mut times.bars);
    times
}

/// Gives bars of one side that overlap rows of their own.
fn stack_up(bars: &mut [Bar]) {
    let mut ends = [[0.0_f64; ROWS]; 2];
    for bar in bars {
        let ends = &mut ends[usize::from(bar.side == Side::Host)];
        let free = ends.iter().position(|end| *end <= bar.from);
        bar.row = free.unwrap_or(ROWS - 1);
        ends[bar.row] = ends[bar.row].max(bar.to);
    }
}

/// Where things are in the picture, in its own units.
struct Layout {
    /// Seconds that the whole width stands for.
    end: f64,
    guest: f64,
    host: Option<f64>,
    events: f64,
    findings: f64,
    axis: f64,
}

impl Layout {
    fn of(times: &Times) -> Self {
        let rows = |host: bool| {
            let of_side = times.bars.iter();
            let of_side = of_side.filter(|bar| (bar.side == Side::Host) == host);
            of_side.map(|bar| bar.row + 1).max().unwrap_or(0)
        };
        let guest = ROW;
        let host = guest + height(rows(false).max(1));
        let events = host + height(rows(true));
        let findings = events + height(usize::from(!times.events.is_empty()));
        Self {
            end: times.end,
            guest,
            host: (rows(true) > 0).then_some(host),
            events,
            findings,
            axis: findings + height(usize::from(!times.findings.is_empty())),
        }
    }

    fn x(&self, at: f64) -> f64 {
        NAMES + (WIDTH - NAMES - 10.0) * (at / self.end).clamp(0.0, 1.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
fn height(rows: usize) -> f64 {
    rows as f64 * ROW
}

fn picture(page: &mut Markup, placed: &Placed<'_>, times: &Times, has_line: &dyn Fn(u64) -> bool) {
    let layout = Layout::of(times);
    page.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"time line\">")
        .raw("<svg class=\"timeline\" role=\"img\" aria-labelledby=\"s")
        .show(placed.place)
        .raw("\" viewBox=\"0 0 1000 ")
        .at(layout.axis + ROW)
        .raw("\">\n<title id=\"s")
        .show(placed.place)
        .raw("\">")
        .text(&summary(times))
        .raw("</title>\n");
    ticks(page, &layout);
    name(page, "boot", 0.0);
    let booted = layout.x(times.booted.unwrap_or(times.end));
    bar(page, "boot", "boot", (layout.x(0.0), booted), 0.0);
    steps(page, times, &layout);
    if !times.events.is_empty() {
        name(page, "events", layout.events);
    }
    for moment in times.events.iter().take(DRAWN) {
        mark(page, "event", moment, layout.x(moment.at), layout.events);
    }
    if !times.findings.is_empty() {
        name(page, "findings", layout.findings);
    }
    for moment in times.findings.iter().take(DRAWN) {
        let line = moment.line.filter(|line| has_line(*line));
        if let Some(line) = line {
            // By keyboard the list above the picture leads there.
            page.raw("<a tabindex=\"-1\" href=\"#t")
                .show(placed.place)
                .raw("L")
                .show(line)
                .raw("\">");
        }
        let x = layout.x(moment.at);
        mark(page, "finding", moment, x, layout.findings);
        if line.is_some() {
            page.raw("</a>");
        }
    }
    if let Some(dump) = times.dump.map(|at| layout.x(at)) {
        page.raw("<line class=\"dump\" x1=\"")
            .at(dump)
            .raw("\" x2=\"")
            .at(dump)
            .raw("\" y1=\"0\" y2=\"")
            .at(layout.axis)
            .raw("\"><title>kvet has the kernel print all stacks</title></line>\n");
    }
    page.raw("</svg></div>\n");
}

fn steps(page: &mut Markup, times: &Times, layout: &Layout) {
    name(page, "guest", layout.guest);
    if let Some(host) = layout.host {
        name(page, "host", host);
    }
    for step in times.bars.iter().take(DRAWN) {
        let of_host = layout.host.filter(|_| step.side == Side::Host);
        let top = of_host.unwrap_or(layout.guest) + height(step.row);
        let class = match (&step.end, step.side) {
            (End::Done, Side::Host) => "host",
            (End::Done, Side::Guest) => "guest",
            (End::Done, Side::Wait) => "wait",
            (End::Allowed(_), _) => "allowed",
            (End::Failed(_), _) => "failed",
            (End::Never, _) => "never",
        };
        let (from, to) = (layout.x(step.from), layout.x(step.to));
        bar(page, class, &words(step), (from, to), top);
        #[expect(clippy::cast_precision_loss, reason = "a label's length")]
        if step.label.chars().count() as f64 <= (to - from) / LETTER {
            page.raw("<text class=\"label\" x=\"")
                .at(from + 4.0)
                .raw("\" y=\"")
                .at(top + 16.0)
                .raw("\">")
                .text(&step.label)
                .raw("</text>\n");
        }
    }
}

fn name(page: &mut Markup, name: &'static str, top: f64) {
    page.raw("<text class=\"name\" x=\"0\" y=\"")
        .at(top + 16.0)
        .raw("\">");
    page.raw(name).raw("</text>\n");
}

fn bar(page: &mut Markup, class: &'static str, words: &str, (from, to): (f64, f64), top: f64) {
    page.raw("<rect class=\"")
        .raw(class)
        .raw("\" x=\"")
        .at(from)
        .raw("\" y=\"")
        .at(top + 3.0);
    page.raw("\" width=\"")
        .at((to - from).max(2.0))
        .raw("\" height=\"18\" rx=\"2\"><title>");
    page.text(words).raw("</title></rect>\n");
}

fn mark(page: &mut Markup, class: &'static str, moment: &Moment, x: f64, top: f64) {
    page.raw("<path class=\"")
        .raw(class)
        .raw("\" d=\"M")
        .at(x)
        .raw(" ")
        .at(top + 3.0);
    page.raw("l6 9l-6 9l-6 -9z\"><title>")
        .text(&moment.what)
        .raw(", ");
    page.show(duration(moment.at)).raw("</title></path>\n");
}

fn ticks(page: &mut Markup, layout: &Layout) {
    let Layout { end, axis, .. } = *layout;
    // The least of 1, 2 and 5 times a power of ten that leaves at most ten.
    let rough = (end / 10.0).max(0.001);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(end);
    let mut at = 0.0;
    while at <= end && step > 0.0 {
        page.raw("<line class=\"tick\" x1=\"")
            .at(layout.x(at))
            .raw("\" x2=\"")
            .at(layout.x(at));
        page.raw("\" y1=\"0\" y2=\"")
            .at(axis)
            .raw("\"/><text class=\"tick\" x=\"")
            .at(layout.x(at));
        let digits = if step < 0.1 {
            2
        } else {
            usize::from(step < 1.0)
        };
        page.raw("\" y=\"")
            .at(axis + 16.0)
            .raw("\">")
            .show(format!("{at:.digits$} s"));
        page.raw("</text>\n");
        at += step;
    }
}

/// What the picture shows, in a sentence.
fn summary(times: &Times) -> String {
    let boot = match times.booted {
        Some(at) => format!("The guest came up after {}", duration(at)),
        None => "The guest did not come up".to_owned(),
    };
    let last = times.bars.iter().find(|bar| matches!(bar.end, End::Never));
    let hung = last.map_or_else(String::new, |bar| {
        format!(
            "; {} began at {} and did not end",
            bar.label,
            duration(bar.from)
        )
    });
    format!(
        "{boot}; {} steps, {} findings, {} in all{hung}.",
        times.bars.len(),
        times.findings.len(),
        duration(times.end)
    )
}

fn words(bar: &Bar) -> String {
    let took = duration((bar.to - bar.from).max(0.0));
    let end = match &bar.end {
        End::Done => took,
        End::Allowed(errno) => format!("{took}, {errno} as allowed"),
        End::Failed(message) => format!("{took}, failed: {message}"),
        End::Never => "did not end".to_owned(),
    };
    format!("{} (from {}): {end}", bar.label, duration(bar.from))
}

fn table(page: &mut Markup, times: &Times) {
    page.raw("<details>\n<summary>Steps</summary>\n<div class=\"scroll\"><table>\n<thead><tr>")
        .raw("<th scope=\"col\">began</th><th scope=\"col\">who</th>")
        .raw("<th scope=\"col\">what</th><th scope=\"col\">took</th>")
        .raw("<th scope=\"col\">how it ended</th></tr></thead>\n<tbody>\n");
    // In order of time, findings and events between the steps.
    let steps = times.bars.iter().map(|bar| {
        let who = match bar.side {
            Side::Guest => "guest",
            Side::Host => "host",
            Side::Wait => "wait",
        };
        let took = format!("{:.3} s", (bar.to - bar.from).max(0.0));
        let end = match &bar.end {
            End::Done => "done".to_owned(),
            End::Allowed(errno) => format!("{errno}, as allowed"),
            End::Failed(message) => message.clone(),
            End::Never => "not at all".to_owned(),
        };
        (bar.from, who, bar.label.clone(), took, end)
    });
    let moments = |who: &'static str, moments: &[Moment]| {
        let row = |m: &Moment| (m.at, who, m.what.clone(), String::new(), String::new());
        moments.iter().map(row).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = steps.collect();
    rows.extend(moments("event", &times.events));
    rows.extend(moments("kernel", &times.findings));
    rows.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (at, who, what, took, end) in rows.iter().take(TABLE) {
        page.raw("<tr><td class=\"number\">")
            .show(format!("{at:.3} s"))
            .raw("</td><td>");
        page.raw(who)
            .raw("</td><td>")
            .text(what)
            .raw("</td><td class=\"number\">")
            .text(took);
        page.raw("</td><td>").text(end).raw("</td></tr>\n");
    }
    if rows.len() > TABLE {
        page.raw("<tr><td colspan=\"5\">and ")
            .show(rows.len() - TABLE)
            .raw(" more</td></tr>\n");
    }
    page.raw("</tbody></table></div>\n</details>\n");
}
