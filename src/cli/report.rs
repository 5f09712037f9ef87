//! `kvet report RUN [--format FORMAT]`, `kvet report RUN --all DIR`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::history::find_run;
use super::output::{complain, note, print, style, width};
use crate::bisect::course::{Course, course, is_bisection};
use crate::bisect::page::page;
use crate::error::{Error, Exit, Fault};
use crate::printable::{printable_json, printable_lines};
use crate::record::{Beginning, Record};
use crate::report::{self, Report, Stories, Style, WIDTH, human_within};
use crate::run::kept_report;
use crate::store::{io_error, write_atomic};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run or the bisection: its directory, its id, the beginning or the end of
    /// that, or `latest`
    run: PathBuf,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Write the report in every form into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "format")]
    all: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Text for a terminal
    Human,
    /// The whole report as data; its schema is schema/report.json
    Json,
    /// JUnit XML, for CI services
    Junit,
    /// The kernel's test protocol
    Ktap,
    /// A submission to the `KernelCI` project's database
    Kcidb,
    /// For the summary of a CI job
    Markdown,
    /// Annotations of a GitHub Actions step
    Github,
    /// A check of patchwork's
    Patchwork,
    /// Text for a mail to a list
    Mail,
    /// A page with time lines and consoles
    Html,
}

impl Format {
    /// What its file is called.
    fn file(self) -> &'static str {
        match self {
            Self::Human => "report.txt",
            Self::Json => "report.json",
            Self::Junit => "junit.xml",
            Self::Ktap => "report.ktap",
            Self::Kcidb => "kcidb.json",
            Self::Markdown => "summary.md",
            Self::Github => "annotations.txt",
            Self::Patchwork => "patchwork.json",
            Self::Mail => "mail.txt",
            Self::Html => "report.html",
        }
    }
}

/// A run and its report.
struct Run {
    record: Record,
    beginning: Beginning,
    report: Report,
}

impl Run {
    fn open(path: &Path) -> Result<Self, Error> {
        let (record, beginning) = Record::open(path)?;
        let report = kept_report(&record, &beginning)?;
        Ok(Self {
            record,
            beginning,
            report,
        })
    }

    /// The report in this form.
    fn text(&self, format: Format, style: Style, width: usize) -> String {
        let report = &self.report;
        let json =
            |value: serde_json::Result<String>| printable_json(&value.unwrap_or_default()) + "\n";
        match format {
            Format::Human => human_within(report, style, width),
            Format::Json => json(serde_json::to_string_pretty(report)),
            Format::Junit => report::junit(report),
            Format::Ktap => report::ktap(report),
            Format::Kcidb => json(serde_json::to_string_pretty(&report::kcidb(report))),
            Format::Markdown => report::markdown(report),
            Format::Github => report::annotations(report),
            Format::Patchwork => json(serde_json::to_string_pretty(&report::patchwork(
                report,
                link().as_deref(),
            ))),
            Format::Mail => report::mail(report),
            Format::Html => report::html(report, &self.stories()),
        }
    }

    /// What the files of those trials tell that the page shows in full. One
    /// that cannot be read costs its own story only.
    fn stories(&self) -> Stories {
        let (ids, lines) = report::wanted(&self.report);
        let mut stories = Stories::new();
        for arm in &self.beginning.plan.arms {
            for workload in &arm.workloads {
                let Ok(trials) = self.record.trials(&arm.name, workload) else {
                    continue;
                };
                for recorded in trials {
                    let id = recorded.trial.id.clone();
                    if ids.contains(&id) {
                        stories.insert(id, recorded.story(lines));
                    }
                }
            }
        }
        stories
    }
}

/// A bisection's report has fewer forms.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("a bisection has no report in this form")]
#[diagnostic(help("it has human, json, html and mail; --all writes these"))]
struct NoSuchForm;

impl Fault for NoSuchForm {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The forms of a bisection's report.
const OF_BISECTIONS: [Format; 4] = [Format::Human, Format::Json, Format::Html, Format::Mail];

/// A bisection's report in this form; nothing if it has none.
fn of_bisection(course: &Course, format: Format) -> Option<String> {
    match format {
        Format::Human => Some(printable_lines(&course.report.text())),
        Format::Mail => Some(report::mailed(&course.report.text())),
        Format::Json => serde_json::to_string_pretty(&course.report)
            .ok()
            .map(|text| printable_json(&text) + "\n"),
        Format::Html => Some(page(course)),
        _ => None,
    }
}

fn bisection(path: &Path, arguments: &Arguments) -> Result<Exit, Error> {
    let course = course(path)?;
    if let Some(directory) = &arguments.all {
        let texts = OF_BISECTIONS.into_iter();
        let texts = texts.filter_map(|form| Some((form, of_bisection(&course, form)?)));
        return Ok(write_all(directory, texts));
    }
    print(&of_bisection(&course, arguments.format).ok_or(NoSuchForm)?)?;
    Ok(Exit::Good)
}

pub(super) fn report(arguments: &Arguments) -> Result<Exit, Error> {
    let path = find_run(&arguments.run)?;
    if is_bisection(&path) {
        return bisection(&path, arguments);
    }
    let run = Run::open(&path)?;
    if let Some(directory) = &arguments.all {
        let forms = Format::value_variants().iter();
        let texts = forms.map(|form| (*form, run.text(*form, Style::Plain, WIDTH)));
        return Ok(write_all(directory, texts));
    }
    print(&run.text(arguments.format, style(), width()))?;
    // Whoever gets a mail wants to see lines; whoever sends it can still have them.
    if matches!(arguments.format, Format::Mail) && bare_stacks(&run.report) {
        note(
            "note",
            "no stack has files and lines: the kernels have no debug information \
             (`debug-info` in the job's `config`, docs/debugging.md)",
        );
    }
    Ok(Exit::Good)
}

/// Where the reader of a check finds more: what the environment says, as for a
/// webhook.
fn link() -> Option<String> {
    std::env::var(crate::notify::LINK_VARIABLE).ok()
}

/// Whether there are stacks, and none with a file and a line.
fn bare_stacks(report: &Report) -> bool {
    let trials = report.arms.iter().flat_map(|arm| &arm.trials);
    let findings = trials.flat_map(|trial| &trial.findings);
    let mut frames = findings.flat_map(|finding| &finding.frames).peekable();
    frames.peek().is_some() && frames.all(|frame| frame.place.is_none())
}

/// Writes every form; one that cannot be written does not cost the others.
fn write_all(directory: &Path, texts: impl Iterator<Item = (Format, String)>) -> Exit {
    let mut exit = Exit::Good;
    let made = std::fs::create_dir_all(directory).map_err(io_error("create", directory));
    if let Err(error) = made {
        complain(&error.into());
        return Exit::Usage;
    }
    for (format, text) in texts {
        let path = directory.join(format.file());
        if let Err(error) = write_atomic(&path, text.as_bytes()) {
            complain(&error.into());
            exit = Exit::Usage;
        }
    }
    exit
}
