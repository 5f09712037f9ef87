//! `kvet check JOB`: runs a job on a posted series, for
//! `b4.review-series-check-cmd`. A cover letter comes in, JSON goes out: what
//! b4 shows a reviewer, one result with a line of details for each arm.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::output::{Format, print, print_json};
use super::patched::{Tested, mail_on_standard_input};
use super::run::{RunOptions, execute};
use super::{load_plan, on_a_thread};
use crate::bounded;
use crate::context::Context;
use crate::error::{Error, Exit, Fault, causes};
use crate::kernel::archive::{self, MessageId};
use crate::kernel::{self, PatchError, mail};
use crate::outcome::{Outcome, VerdictKind};
use crate::printable::{printable, printable_lines};
use crate::report::{ArmReport, Report, Style, verdict_line};

/// b4's variable with what it knows of the series under review.
const TRACKING: &str = "B4_TRACKING_FILE";

/// The largest such file.
const LARGEST_TRACKING: u64 = 64 << 20;

/// What is shown in a table has at most so many characters.
const SUMMARY: usize = 240;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet (`kvet list jobs`)
    job: PathBuf,
    #[command(flatten)]
    tested: Tested,
    #[command(flatten)]
    options: RunOptions,
    /// Where the run's report can be read, for whoever reads the result
    #[arg(long, value_name = "URL", default_value = "")]
    url: String,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// The run directory [default: one of its own in `$XDG_STATE_HOME/kvet/runs`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// There is no mail to check the series of.
#[derive(Debug, Error, Diagnostic)]
enum NoMail {
    #[error("there is no mail with a Message-ID on standard input")]
    #[diagnostic(help(
        "b4 gives the cover letter: `git config b4.review-series-check-cmd \"kvet check JOB\"`; by \
         hand, `--message-id ID`, or `kvet check JOB < mail`"
    ))]
    Absent,
    #[error("cannot read {TRACKING}, {}", path.display())]
    #[diagnostic(help("it is b4's; without the variable the series is looked for elsewhere"))]
    Tracking {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Fault for NoMail {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What b4 takes of a check.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct CheckResult {
    tool: String,
    status: Status,
    summary: String,
    url: String,
    /// A list of [`Detail`], as JSON in a string.
    details: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pass,
    Warn,
    Fail,
}

/// A line of a result's details.
#[derive(Debug, Serialize)]
struct Detail {
    status: Status,
    context: String,
    state: String,
    description: String,
}

pub(super) async fn check(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let (format, url, job) = (
        arguments.format,
        arguments.url.clone(),
        arguments.job.clone(),
    );
    let mut series = Vec::new();
    let (result, exit) = match run(arguments, context, &mut series).await {
        Ok(report) => (of_report(&report, url), report.verdict.kind.exit()),
        Err(error) if error.exit() == Exit::Interrupted => return Err(error),
        // b4 shows what is on standard output and nothing else.
        Err(error) => (of_error(&job, &error, &series, url), error.exit()),
    };
    let tell = move || {
        match format {
            Format::Json => print_json(&[&result])?,
            Format::Human => print(&text(&result))?,
        }
        Ok(exit)
    };
    on_a_thread(context, tell).await
}

/// Runs the job on the series; tells what these are called as soon as that is known.
async fn run(
    arguments: Arguments,
    context: &Context,
    series: &mut Vec<String>,
) -> Result<Report, Error> {
    let Arguments {
        job,
        tested,
        options,
        out,
        ..
    } = arguments;
    let named = !(tested.patches.is_empty() && tested.series.is_empty() && tested.ids.is_empty());
    let choice = if named {
        tested.choice(context).await?
    } else {
        let mail = mail_on_standard_input(context).await?;
        let posted = series_of(context, &mail, tested.from.as_deref()).await?;
        tested.with(&[posted], context).await?
    };
    let posted = choice.patched.iter().filter_map(|path| path.file_name());
    series.extend(posted.map(|name| name.to_string_lossy().into_owned()));
    let plan = load_plan(context, job, options.on(choice)).await?;
    execute(context, &plan, &options, out).await
}

/// The series that a mail is of: from b4's own copy of the thread, from the
/// mail itself if that is all of it, or from an archive.
async fn series_of(
    context: &Context,
    mail: &[u8],
    from: Option<&str>,
) -> Result<mail::Posted, Error> {
    let id = archive::id_of(mail).ok_or(NoMail::Absent)?;
    let id = MessageId::parse(&id)?;
    let name = id.as_str();
    if from.is_none() {
        if let Some(mailbox) = tracked(context).await?
            && let Ok(posted) = mail::read_series(name, &mailbox, name)
        {
            return Ok(posted);
        }
        if mail::is_whole(mail) {
            return Ok(mail::read(name, mail)?);
        }
    }
    let mailbox = archive::thread(context, from, &id).await?;
    Ok(mail::read_series(name, &mailbox, name)?)
}

/// b4's copy of the thread, which it keeps in the repository, if b4 tells of one.
async fn tracked(context: &Context) -> Result<Option<Vec<u8>>, Error> {
    #[derive(Deserialize)]
    struct Tracking {
        series: Series,
    }
    #[derive(Deserialize)]
    struct Series {
        #[serde(rename = "thread-blob")]
        thread_blob: Option<String>,
    }
    let Some(path) = std::env::var_os(TRACKING).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    let text = bounded::read(&path, LARGEST_TRACKING)
        .map_err(|source| NoMail::Tracking { path, source })?;
    let blob = serde_json::from_slice::<Tracking>(&text).ok();
    let Some(blob) = blob.and_then(|tracking| tracking.series.thread_blob) else {
        return Ok(None);
    };
    Ok(kernel::blob(context, Path::new("."), &blob).await?)
}

/// What a run came to, for b4.
fn of_report(report: &Report, url: String) -> CheckResult {
    let broken = report
        .arms
        .iter()
        .find(|arm| !arm.control && arm.broken.is_some());
    let status = match (report.verdict.kind, broken) {
        (VerdictKind::NotFixed | VerdictKind::Regressed, _) | (_, Some(_)) => Status::Fail,
        (VerdictKind::Fixed | VerdictKind::Reproduced, None) => Status::Pass,
        (VerdictKind::Inconclusive, None) => Status::Warn,
    };
    let line = verdict_line(report, Style::Plain);
    let line = line.strip_prefix("verdict: ").unwrap_or(&line).to_owned();
    let summary = match broken.and_then(|arm| arm.broken.as_ref()) {
        Some(broken) => broken.message.clone(),
        None => line,
    };
    let excused = report.verdict.kind.exit() == Exit::Good;
    let arms = report.arms.iter().map(|arm| detail(arm, excused));
    let mut details: Vec<Detail> = arms.collect();
    details.extend(report.verdict.reasons.iter().map(|reason| Detail {
        status,
        context: "verdict".to_owned(),
        state: report.verdict.kind.name().to_owned(),
        description: shown(reason),
    }));
    CheckResult {
        tool: format!("kvet/{}", report.job),
        status,
        summary: shown(&summary),
        url,
        details: serde_json::to_string(&details).unwrap_or_default(),
    }
}

/// A line for an arm: what its trials came to. Nothing is held against it that a
/// good verdict excuses.
fn detail(arm: &ArmReport, excused: bool) -> Detail {
    let role = if arm.control { " (control)" } else { "" };
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for trial in &arm.trials {
        let name = trial.judged.outcome.name();
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let all = arm.trials.len();
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(name, count)| format!("{count}/{all} {name}"))
        .collect();
    let hit = arm
        .trials
        .iter()
        .find(|trial| !trial.judged.reason.is_empty());
    let broken = arm.broken.as_ref();
    let any = |outcome| arm.trials.iter().any(|t| t.judged.outcome == outcome);
    let target = any(Outcome::Target);
    Detail {
        status: match (broken, arm.control) {
            (Some(_), _) => Status::Fail,
            (None, true) if target => Status::Pass,
            (None, false) if (target || any(Outcome::Other)) && !excused => Status::Fail,
            (None, false) if any(Outcome::Clean) => Status::Pass,
            // It says nothing of the series.
            (None, _) => Status::Warn,
        },
        context: format!("{}{role}", arm.name),
        state: match broken {
            Some(_) => "no kernel".to_owned(),
            None => counts.join(", "),
        },
        description: match (broken, hit) {
            (Some(broken), _) => shown(&broken.message),
            (None, Some(trial)) => shown(&trial.judged.reason),
            (None, None) => String::new(),
        },
    }
}

/// Why there was no run: one of these series does not apply, or something that says
/// nothing of them. One that does not build is an arm without a kernel.
fn of_error(job: &Path, error: &Error, series: &[String], url: String) -> CheckResult {
    // A patch of the job's own is not theirs.
    let is_theirs = |patch: &str| {
        let of = patch.split_once('/').map(|(name, _)| name);
        series.iter().any(|name| Some(name.as_str()) == of)
    };
    let status = match error.downcast_ref() {
        Some(PatchError::Refused { patch, .. }) if is_theirs(patch) => Status::Fail,
        _ => Status::Warn,
    };
    let whole = error.diagnostic().to_string();
    let first = whole
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(':');
    let mut details = format!("{whole}\n");
    for cause in causes(error.diagnostic()) {
        details.push_str(&cause);
        details.push('\n');
    }
    if let Some(help) = error.help() {
        details.push_str("help: ");
        details.push_str(&help);
    }
    let name = job.file_stem().unwrap_or_default().to_string_lossy();
    CheckResult {
        tool: format!("kvet/{}", printable(&name)),
        status,
        summary: shown(first),
        url,
        details: printable_lines(&details),
    }
}

/// What others wrote, as a line that is not too long.
fn shown(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(SUMMARY) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn text(result: &CheckResult) -> String {
    let status = match result.status {
        Status::Pass => "pass",
        Status::Warn => "warn",
        Status::Fail => "fail",
    };
    format!("{status} {}: {}\n", result.tool, result.summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::archive::ArchiveError;
    use crate::record::Broken;
    use crate::report::fixture;

    #[test]
    fn a_verdict_becomes_what_b4_reads() {
        let report = fixture::report();
        let result = of_report(&report, String::new());
        let json = serde_json::to_value([&result]).unwrap();
        assert_eq!(json[0]["tool"], "kvet/example");
        let keys: Vec<_> = json[0].as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        let details: serde_json::Value = serde_json::from_str(&result.details).unwrap();
        let contexts: Vec<_> = details
            .as_array()
            .unwrap()
            .iter()
            .map(|d| &d["context"])
            .collect();
        assert!(
            contexts[0].as_str().unwrap().ends_with("(control)"),
            "{contexts:?}"
        );
        assert!(contexts.len() > report.arms.len());
    }

    #[test]
    fn a_series_that_does_not_apply_or_build_fails_and_a_host_that_cannot_only_warns() {
        let mut report = fixture::report();
        let patched = report.arms.iter_mut().find(|arm| !arm.control).unwrap();
        patched.broken = Some(Broken {
            message: "7.3.4 + x does not build\u{1b}[2J".to_owned(),
            help: None,
        });
        let result = of_report(&report, String::new());
        assert_eq!(result.status, Status::Fail);
        assert!(result.summary.starts_with("7.3.4 + x does not build"));
        assert!(!result.summary.contains('\u{1b}'));
        let error = Error::from(PatchError::Refused {
            patch: "posted/one.patch".to_owned(),
            version: "7.3.4".to_owned(),
            file: None,
            hunk: None,
            reason: "it is empty".to_owned(),
            help: "rebase it".to_owned(),
        });
        let job = Path::new("jobs/x.yaml");
        let of_error = |error, series: &str| {
            let series = [series.to_owned()];
            of_error(job, error, &series, String::new())
        };
        assert_eq!(of_error(&error, "posted").status, Status::Fail);
        assert_eq!(of_error(&error, "other").status, Status::Warn);
        let error = Error::from(ArchiveError::NoB4);
        let result = of_error(&error, "posted");
        assert_eq!(
            (result.status, result.tool.as_str()),
            (Status::Warn, "kvet/x")
        );
        assert!(
            result.details.contains("pip install b4"),
            "{}",
            result.details
        );
    }

    #[test]
    fn what_the_harness_failed_is_no_fault_of_the_series() {
        use Outcome::{Clean, Harness, Other, Target};

        let error = Error::from(crate::cluster::ClusterError::Monitors {
            said: String::new(),
        });
        assert_eq!(error.exit(), Exit::Undecided);
        let result = of_error(Path::new("x"), &error, &[], String::new());
        assert_eq!(result.status, Status::Warn);
        let trials = |outcome| {
            let trial = |number| fixture::trial(number, outcome, "a reason");
            (1..4).map(trial).collect()
        };
        let statuses = |control, fix| {
            let report = fixture::of(vec![
                fixture::arm("stock", true, trials(control)),
                fixture::arm("fixed", false, trials(fix)),
            ]);
            let result = of_report(&report, String::new());
            let details: serde_json::Value = serde_json::from_str(&result.details).unwrap();
            [0, 1].map(|arm| details[arm]["status"].as_str().unwrap().to_owned())
        };
        assert_eq!(statuses(Target, Clean), ["pass", "pass"]);
        assert_eq!(statuses(Target, Harness), ["pass", "warn"]);
        assert_eq!(statuses(Target, Target), ["pass", "fail"]);
        assert_eq!(statuses(Other, Other), ["warn", "fail"]);
        // What a good verdict does not hold against an arm is none of its faults.
        let mut report = fixture::of(vec![
            fixture::arm("stock", true, trials(Target)),
            fixture::arm("fixed", false, trials(Other)),
        ]);
        report.verdict.kind = VerdictKind::Fixed;
        let result = of_report(&report, String::new());
        assert!(!result.details.contains("fail"), "{}", result.details);
    }
}
