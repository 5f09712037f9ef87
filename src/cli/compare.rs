//! `kvet compare RUN RUN`: what is different in the second run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::history::{Form, day, find_run, interval, share, time};
use super::output::{Format, print, print_json, width};
use crate::bisect::is_bisection;
use crate::error::{Error, Exit, Fault};
use crate::history::{Change, Changes, changes, id};
use crate::printable::{printable, printable_lines};
use crate::record::{Beginning, Record};
use crate::report::{Report, listed};
use crate::run::report_of;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 1 if the second run is worse (a verdict that is bad and was \
not, or a fix that shows something more often, by no chance); 125 if it says less than the first, \
or they have no arm in common; 0 otherwise."
)]
pub(super) struct Arguments {
    /// The run before: its directory, its id, or the beginning or end of that
    before: PathBuf,
    /// The run after
    after: PathBuf,
    #[command(flatten)]
    form: Form,
}

/// What is to be compared is a bisection.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} is a bisection: it has no verdict that could be compared", .0.display())]
#[diagnostic(help("`kvet report` tells what it came to; compare runs of its job"))]
struct Bisection(PathBuf);

impl Fault for Bisection {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A run that is compared.
#[derive(Debug, Serialize)]
struct Side {
    id: String,
    job: String,
    started: jiff::Timestamp,
    path: PathBuf,
    /// Whether it came to its end.
    finished: bool,
}

#[derive(Serialize)]
struct Compared {
    before: Side,
    after: Side,
    #[serde(flatten)]
    changes: Changes,
}

pub(super) fn compare(arguments: &Arguments) -> Result<Exit, Error> {
    let (before, old) = open(&arguments.before)?;
    let (after, new) = open(&arguments.after)?;
    let compared = Compared {
        before,
        after,
        changes: changes(&old, &new),
    };
    match arguments.form.format() {
        Format::Json => print_json(&compared)?,
        Format::Human => print(&text(&compared, width()))?,
    }
    Ok(compared.changes.exit())
}

fn open(run: &Path) -> Result<(Side, Report), Error> {
    let path = find_run(run)?;
    if is_bisection(&path) {
        return Err(Bisection(path).into());
    }
    let (record, beginning) = Record::open(&path)?;
    let (report, finished) = report_of(&record, &beginning)?;
    let Beginning { started, .. } = beginning;
    let side = Side {
        id: id(&report.job, started),
        job: report.job.clone(),
        started,
        path,
        finished,
    };
    Ok((side, report))
}

fn text(compared: &Compared, width: usize) -> String {
    let Compared {
        before,
        after,
        changes,
    } = compared;
    let mut text = String::new();
    let mut rows = Vec::new();
    for (name, side, place) in [("before", before, 0), ("after", after, 1)] {
        rows.push(vec![
            name.to_owned(),
            side.id.clone(),
            day(side.started),
            time(changes.seconds[place]),
            if side.finished {
                changes.verdict[place].name().to_owned()
            } else {
                format!("{} (unfinished)", changes.verdict[place].name())
            },
        ]);
    }
    text.push_str(&listed(&rows, width));
    sentences(&mut text, changes);
    text.push_str(&arms(changes, width));
    text.push_str(&findings(changes, width));
    text.push_str(&kernels(changes));
    for what in &changes.host {
        let _ = writeln!(text, "  {}", printable(what));
    }
    if changes.worse.is_empty() && changes.exit() == Exit::Good {
        text.push_str("\n  not worse\n");
    }
    for worse in &changes.worse {
        let _ = writeln!(text, "\n  worse: {}", printable(worse));
    }
    printable_lines(&text)
}

fn sentences(text: &mut String, changes: &Changes) {
    for reason in &changes.reasons {
        let _ = writeln!(text, "  {}", printable(reason));
    }
    for (arms, what) in [
        (&changes.arms_gone, "only before"),
        (&changes.arms_new, "only after"),
    ] {
        if !arms.is_empty() {
            let _ = writeln!(text, "  {what}: {}", printable(&arms.join(", ")));
        }
    }
    for arm in changes.arms.iter().filter(|arm| arm.other_target) {
        let other = format!(
            "{}: how often it shows its target is not compared, as that is another one",
            arm.arm
        );
        let _ = writeln!(text, "  {}", printable(&other));
    }
    for arm in changes.arms.iter().filter(|arm| !arm.workloads.is_empty()) {
        let alone = format!(
            "{}: not compared, as one run has no trial of it: {}",
            arm.arm,
            arm.workloads.join(", ")
        );
        let _ = writeln!(text, "  {}", printable(&alone));
    }
}

/// What is told of a kernel; `--json` has all of it.
const TOLD: usize = 3;

/// Arms with the same changes together.
fn kernels(changes: &Changes) -> String {
    let mut grouped: Vec<(&[String], Vec<&str>)> = Vec::new();
    for change in &changes.kernels {
        match grouped.iter_mut().find(|(what, _)| *what == change.what) {
            Some((_, arms)) => arms.push(&change.arm),
            None => grouped.push((&change.what, vec![&change.arm])),
        }
    }
    let mut text = String::new();
    for (what, arms) in grouped {
        let mut told = what
            .iter()
            .take(TOLD)
            .cloned()
            .collect::<Vec<_>>()
            .join("; ");
        if what.len() > TOLD {
            let _ = write!(told, "; and {} more", what.len() - TOLD);
        }
        let line = format!("kernel of {}: {told}", arms.join(", "));
        let _ = writeln!(text, "  {}", printable(&line));
    }
    text
}

fn arms(changes: &Changes, width: usize) -> String {
    if changes.arms.is_empty() {
        return String::new();
    }
    let heading = [
        "arm",
        "",
        "target before",
        "",
        "after",
        "",
        "p",
        "a trial before",
        "after",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for arm in &changes.arms {
        let [a, b] = &arm.target;
        rows.push(vec![
            arm.arm.clone(),
            if arm.control { "control" } else { "" }.to_owned(),
            share(a),
            interval(a),
            share(b),
            interval(b),
            format!("{:.3}", arm.chance),
            time(arm.seconds[0]),
            time(arm.seconds[1]),
        ]);
    }
    format!("\n{}", listed(&rows, width))
}

fn findings(changes: &Changes, width: usize) -> String {
    let told = |change: Change| match change {
        Change::Both => "",
        change => change.name(),
    };
    let mut rows = vec![
        ["", "finding", "arm", "before", "after", "p", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for finding in &changes.findings {
        rows.push(vec![
            told(finding.change).to_owned(),
            finding.title.clone(),
            finding.arm.clone(),
            share(&finding.rates[0]),
            share(&finding.rates[1]),
            format!("{:.3}", finding.chance),
            if finding.known { "known" } else { "" }.to_owned(),
        ]);
    }
    if rows.len() == 1 {
        return String::new();
    }
    format!("\n{}\n", listed(&rows, width).trim_end_matches('\n'))
}
