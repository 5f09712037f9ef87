//! `kvet history [JOB]`, `kvet history prune`, `kvet history rebuild`: what runs
//! came to over time, and how to get their space back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::cache::{Kept, format_size};
use super::output::{Format, complain, note, print, print_json, width};
use crate::error::{Error, Exit};
use crate::history::{Finding, History, HistoryError, Host, JobHistory, Rate, Run};
use crate::job;
use crate::printable::printable;
use crate::report::{aligned, deviation, listed};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<HistoryCommand>,
    /// The job, by name or file; without one, the last runs of all jobs
    job: Option<PathBuf>,
    /// Runs that are listed, the last one first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    runs: usize,
    #[command(flatten)]
    form: Form,
}

/// The form of a result.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Form {
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Remove run directories in kvet's own place that are old or too much
    ///
    /// What is known of the runs stays, and so do run directories that --out put
    /// elsewhere, unless --in names that place.
    Prune(PruneArguments),
    /// Take run directories in, wherever they lie: from another host, from CI
    Add {
        /// The run directories
        #[arg(required = true)]
        runs: Vec<PathBuf>,
    },
    /// Make the index anew from what is kept of each run
    Rebuild,
}

#[derive(Debug, Args)]
struct PruneArguments {
    /// In this directory: of what lies in it, only records of runs are removed
    /// [default: kvet's own place]
    #[arg(long = "in", value_name = "DIR")]
    place: Option<PathBuf>,
    #[command(flatten)]
    kept: Kept,
    /// Remove all but those that are being written
    #[arg(long, conflicts_with_all = ["keep", "max_size"])]
    all: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn history(arguments: &Arguments) -> Result<Exit, Error> {
    let history = History::of_the_user()?;
    match &arguments.command {
        Some(HistoryCommand::Prune(prune)) => return pruned(&history, prune),
        Some(HistoryCommand::Add { runs }) => {
            return Ok(add(&history, runs));
        }
        Some(HistoryCommand::Rebuild) => {
            let (runs, remarks) = history.rebuild()?;
            tell(&remarks);
            print(&format!("{runs} runs\n"))?;
            return Ok(Exit::Good);
        }
        None => {}
    }
    match &arguments.job {
        None => all(&history, arguments),
        Some(job) => of_a_job(&history, job, arguments),
    }
}

/// The directory of a run that is given in one of several ways. One given by its
/// path needs no history.
pub(super) fn find_run(name: &Path) -> Result<PathBuf, Error> {
    if name.is_dir() || name.components().count() > 1 {
        return Ok(name.to_owned());
    }
    match History::of_the_user().and_then(|history| history.find(name)) {
        // Then there are paths only.
        Err(HistoryError::NoHome) => Ok(name.to_owned()),
        found => Ok(found?),
    }
}

/// Says what went wrong and cost no answer.
pub(super) fn tell(remarks: &[String]) {
    for remark in remarks {
        note("warning", remark);
    }
}

fn all(history: &History, arguments: &Arguments) -> Result<Exit, Error> {
    let (mut runs, remarks) = history.list()?;
    tell(&remarks);
    runs.reverse();
    let all = runs.len();
    runs.truncate(arguments.runs);
    match arguments.form.format() {
        Format::Json => print_json(&runs)?,
        Format::Human if runs.is_empty() => {
            print(&format!("no runs in {}\n", history.runs().display()))?;
        }
        Format::Human => {
            let mut text = listed(&list(&runs), width());
            if all > runs.len() {
                let _ = writeln!(text, "  and {} more: -n {all}", all - runs.len());
            }
            print(&text)?;
        }
    }
    Ok(Exit::Good)
}

fn of_a_job(history: &History, job: &Path, arguments: &Arguments) -> Result<Exit, Error> {
    let name = job::name_of(job)?;
    let (found, remarks) = history.job(&name)?;
    tell(&remarks);
    match (arguments.form.format(), found) {
        (Format::Json, found) => print_json(&found)?,
        (Format::Human, Some(found)) => print(&text(&found, arguments.runs, width()))?,
        (Format::Human, None) => print(&format!("no run of {} yet\n", printable(&name)))?,
    }
    Ok(Exit::Good)
}

fn list(runs: &[Run]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["run", "began", "took", "trials", "verdict", ""])];
    for run in runs {
        rows.push(vec![
            run.id.clone(),
            day(run.started),
            time(run.seconds),
            run.trials.to_string(),
            came_to(run),
            if run.gone {
                "its directory is gone".to_owned()
            } else {
                String::new()
            },
        ]);
    }
    rows
}

/// What a run or a bisection came to.
fn came_to(run: &Run) -> String {
    let ended = run.verdict.as_ref().or(run.answer.as_ref());
    let ended = match ended {
        Some(ended) => ended.as_str(),
        None if run.running => "running",
        None => "unfinished",
    };
    if run.bisection {
        format!("bisection: {ended}")
    } else {
        ended.to_owned()
    }
}

/// A job's history for a person.
fn text(history: &JobHistory, most: usize, width: usize) -> String {
    let verdicts: Vec<String> = history
        .verdicts
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    let bisections = history.runs.iter().filter(|run| run.bisection).count();
    let runs = history.runs.len() - bisections;
    let mut text = format!("{}: {runs} runs", printable(&history.job));
    if runs > 0 {
        let _ = write!(text, " ({})", verdicts.join(", "));
    }
    if bisections > 0 {
        let s = if bisections == 1 { "" } else { "s" };
        let _ = write!(text, ", {bisections} bisection{s}");
    }
    if let Some(median) = history.median_seconds {
        let _ = write!(text, ", {} each at the median", time(median));
    }
    text.push_str("\n\n");
    let mut rows = vec![row([
        "arm", "", "kernel", "runs", "target", "95 %", "a trial",
    ])];
    rows.extend(history.arms.iter().map(|arm| {
        vec![
            arm.arm.clone(),
            if arm.control { "control" } else { "" }.to_owned(),
            kernel(&arm.kernel),
            arm.runs.to_string(),
            share(&arm.target),
            interval(&arm.target),
            time(arm.seconds),
        ]
    }));
    if rows.len() > 1 {
        text.push_str(&listed(&rows, width));
    }
    if !history.findings.is_empty() {
        text.push('\n');
        text.push_str(&findings(&history.findings, width));
    }
    if !history.hosts.is_empty() {
        text.push('\n');
        text.push_str(&listed(&hosts(&history.hosts), width));
        for odd in &history.deviations {
            let _ = writeln!(text, "  {}", printable(&deviation(odd)));
        }
    }
    text.push('\n');
    let last: Vec<Run> = history.runs.iter().rev().take(most).cloned().collect();
    text.push_str(&listed(&list(&last), width));
    if history.runs.len() > last.len() {
        let more = history.runs.len() - last.len();
        let _ = writeln!(text, "  and {more} more: -n {}", history.runs.len());
    }
    text
}

/// Each finding: when it was seen, and below it how often on each kernel.
fn findings(findings: &[Finding], width: usize) -> String {
    let mut rows = vec![row([
        "finding",
        "first seen",
        "last seen",
        "trend",
        "rate",
        "95 %",
    ])];
    for finding in findings {
        rows.push(vec![
            finding.title.clone(),
            day(finding.first.at),
            day(finding.last.at),
            finding.trend.name().to_owned(),
            String::new(),
            String::new(),
        ]);
        for of in &finding.rates {
            rows.push(vec![
                format!("  {} on {}", of.arm, kernel(&of.kernel)),
                String::new(),
                String::new(),
                String::new(),
                share(&of.rate),
                interval(&of.rate),
            ]);
        }
    }
    listed(&rows, width)
}

/// What each host showed of each arm.
fn hosts(hosts: &[Host]) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "host",
        "arm",
        "runs",
        "target",
        "95 %",
        "told nothing",
        "a trial",
    ])];
    rows.extend(hosts.iter().map(|one| {
        vec![
            one.host.clone(),
            one.arm.clone(),
            one.runs.to_string(),
            share(&one.target),
            interval(&one.target),
            share(&one.nothing),
            time(one.seconds),
        ]
    }));
    rows
}

fn pruned(history: &History, arguments: &PruneArguments) -> Result<Exit, Error> {
    let limit = arguments.kept.limit(arguments.all);
    let place = arguments.place.as_deref();
    let pruned = history.prune(place, &limit, arguments.dry_run)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut freed = 0;
    for (run, size) in &pruned.removed {
        freed += size;
        let run = run.display().to_string();
        rows.push(vec!["removed:".to_owned(), format_size(*size), run]);
    }
    for run in &pruned.in_use {
        let run = run.display().to_string();
        rows.push(vec!["in use:".to_owned(), String::new(), run]);
    }
    for (run, why) in &pruned.left_alone {
        note("warning", &format!("{} stays: {why}", run.display()));
    }
    let verb = if arguments.dry_run {
        "would free"
    } else {
        "freed"
    };
    let (freed, left) = (format_size(freed), format_size(pruned.left));
    print(&format!("{}{verb} {freed}, {left} left\n", aligned(&rows)))?;
    Ok(if pruned.left_alone.is_empty() {
        Exit::Good
    } else {
        Exit::Usage
    })
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn kernel(release: &str) -> String {
    if release.is_empty() { "none" } else { release }.to_owned()
}

/// `3/3`.
pub(super) fn share(rate: &Rate) -> String {
    format!("{}/{}", rate.hits, rate.trials)
}

/// `44-100 %`; nothing without trials.
pub(super) fn interval(rate: &Rate) -> String {
    if rate.trials == 0 {
        return String::new();
    }
    format!("{:.0}-{:.0} %", rate.low * 100.0, rate.high * 100.0)
}

/// `2026-01-02 03:04`, in UTC.
pub(super) fn day(at: jiff::Timestamp) -> String {
    at.strftime("%F %H:%M").to_string()
}

/// `8.5 s`, `1:05`.
pub(super) fn time(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // years at most
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Takes runs in; one that cannot be costs no other.
fn add(history: &History, runs: &[PathBuf]) -> Exit {
    let mut exit = Exit::Good;
    for run in runs {
        match history.keep(run) {
            Ok(remarks) => tell(&remarks),
            Err(error) => {
                complain(&error.into());
                exit = Exit::Usage;
            }
        }
    }
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_cannot_be_taken_in_costs_no_other() {
        let home = tempfile::tempdir().unwrap();
        let history = History::at(home.path());
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in");
        let runs = [home.path().join("nothing"), recorded.join("version1")];
        assert_eq!(add(&history, &runs), Exit::Usage);
        assert_eq!(history.list().unwrap().0.len(), 1);
        assert_eq!(add(&history, &runs[1..]), Exit::Good);
    }
}
