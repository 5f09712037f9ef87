//! `kvet bisect JOB`, and what is done with a bisection that has begun.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};

use super::history::find_run;
use super::hosts::HostArguments;
use super::on_a_thread;
use super::output::{Format, print, print_json};
use crate::bisect::candidates::git::Range;
use crate::bisect::report::{Finding, Report};
use crate::bisect::{
    Asked, Bounds, Correction, Over, Wanted, ask, begin, correct, git_log, is_bisection, resume,
};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::history::{self, History};
use crate::printable::printable_lines;
use crate::store::{Store, io_error};

#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group(ArgGroup::new("over").required(true).args(["git", "versions", "patches", "config"])))]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// The job: a file, or the name of one that comes with kvet
    #[arg(required = true)]
    job: Option<PathBuf>,
    /// Search the commits of this repository, between --good and --bad
    #[arg(long, value_name = "DIR", requires_all = ["good", "bad"])]
    git: Option<PathBuf>,
    /// The end without the bug: a commit, a branch, a tag
    #[arg(long, value_name = "COMMIT", requires = "git")]
    good: Option<String>,
    /// The end with the bug
    #[arg(long, value_name = "COMMIT", requires = "git")]
    bad: Option<String>,
    /// Follow only the first parent of merges
    #[arg(long, requires = "git")]
    first_parent: bool,
    /// Only commits that change these files or directories
    #[arg(last = true, requires = "git", value_name = "PATHS")]
    paths: Vec<String>,
    /// Search releases: 6.1.192,6.12.117,… or debian:6.1..7.3; the first is good
    #[arg(long, value_name = "LIST")]
    versions: Option<String>,
    /// Search the patches of the arm; with a name those of this series of it, and
    /// every kernel has the others
    #[arg(long, value_name = "SERIES", num_args = 0..=1, require_equals = true,
        default_missing_value = "")]
    patches: Option<String>,
    /// Search the options in which two configurations differ
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    config: Option<Vec<PathBuf>>,
    /// The arm whose kernel is varied [default: the first control]
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,
    /// The workload of every trial [default: the arm's first]
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Find what cured the bug: the older end is bad and the newer one good
    #[arg(long)]
    fixed: bool,
    /// Count any finding, not the target's alone
    #[arg(long)]
    any: bool,
    /// Take it that the bug shows in every boot that has it [default: if the job's
    /// `rate` or all that is known of earlier runs says so]
    #[arg(long, value_name = "TRUTH", num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    every_boot: Option<bool>,
    /// Run trials in the most telling of the ways that the job's `amplify` allows
    #[arg(long)]
    amplify: bool,
    /// Stop when the answer is so likely, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0, value_parser = percent)]
    confidence: f64,
    #[command(flatten)]
    bounds: BoundArguments,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The directory of the bisection [default: in kvet's own place, as of runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct BoundArguments {
    /// Boots at a time [default: as many as the host has processors for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=6))]
    jobs: Option<u16>,
    /// Build no more kernels than this
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_builds: u32,
    /// Boot no more often than this
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_boots: u32,
    /// Build the kernel that is likely wanted next while others boot [default: if
    /// the host has processors to spare]
    #[arg(long, value_name = "WHEN", value_parser = ["always", "never"])]
    ahead: Option<String>,
    #[command(flatten)]
    hosts: HostArguments,
}

impl From<BoundArguments> for Bounds {
    fn from(arguments: BoundArguments) -> Self {
        Self {
            jobs: arguments.jobs.map(usize::from),
            builds: arguments.max_builds,
            boots: arguments.max_boots,
            ahead: arguments.ahead.map(|when| when == "always"),
            // Boots at a time are those of all hosts together.
            hosts: arguments.hosts.options(Some(1)),
        }
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Go on with a bisection that was stopped, killed or corrected
    Resume {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        bounds: BoundArguments,
        /// Form of the result on standard output
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print what is sure in the format of `git bisect log`
    Log {
        #[command(flatten)]
        place: Place,
    },
    /// Take it that a candidate does not have the bug
    Good(Corrected),
    /// Take it that a candidate has the bug
    Bad(Corrected),
    /// Do not test a candidate
    Skip(Corrected),
    /// Forget all that was seen of a candidate
    Forget(Corrected),
}

#[derive(Debug, Args)]
struct Place {
    /// The bisection: its directory, its id, the beginning or the end of that
    /// [default: the one that began last]
    #[arg(long = "in", value_name = "BISECTION")]
    bisection: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Corrected {
    /// The candidate: a commit, a version, a patch, an option
    candidate: String,
    #[command(flatten)]
    place: Place,
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Error> {
        match &self.bisection {
            Some(name) => find_run(name),
            None => Ok(History::of_the_user()?.last_bisection()?),
        }
    }
}

/// Trials that all showed the target, after which it is taken to show in every one:
/// with fewer, a rate of 95 % could look like that more than once in twenty times.
const ALWAYS: u32 = 59;

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (50.0..=99.0).contains(&value) => Ok(value / 100.0),
        _ => Err("a number from 50 to 99: boots are not independent enough for more".to_owned()),
    }
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    match arguments.what {
        None => begin_one(arguments, context).await,
        Some(What::Resume {
            place,
            bounds,
            format,
        }) => {
            let store = Store::open()?;
            let directory = place.directory()?;
            let work = resume(context, &store, &directory, bounds.into());
            carry_out(context, &directory, work, format).await
        }
        Some(What::Log { place }) => {
            print(&printable_lines(
                &git_log(context, &place.directory()?).await?,
            ))?;
            Ok(Exit::Good)
        }
        Some(What::Good(one)) => corrected(context, &one, Correction::Good).await,
        Some(What::Bad(one)) => corrected(context, &one, Correction::Bad).await,
        Some(What::Skip(one)) => corrected(context, &one, Correction::Skip).await,
        Some(What::Forget(one)) => corrected(context, &one, Correction::Forget).await,
    }
}

async fn corrected(
    context: &Context,
    one: &Corrected,
    correction: Correction,
) -> Result<Exit, Error> {
    let directory = one.place.directory()?;
    let meant = correct(context, &directory, &one.candidate, correction).await?;
    let said = match correction {
        Correction::Good => "does not have the bug",
        Correction::Bad => "has the bug",
        Correction::Skip => "is not tested",
        Correction::Forget => "is as if it had not been tested",
    };
    context.emit(Event::Note(format!(
        "{meant} {said}; `kvet bisect resume --in {}` goes on from there",
        directory.display()
    )));
    Ok(Exit::Good)
}

async fn begin_one(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let job = arguments.job.unwrap_or_default();
    let over = match (arguments.git, arguments.versions, arguments.config) {
        (Some(repository), ..) => Over::Git(Range {
            repository,
            good: arguments.good.unwrap_or_default(),
            bad: arguments.bad.unwrap_or_default(),
            fixed: arguments.fixed,
            first_parent: arguments.first_parent,
            paths: arguments.paths,
        }),
        (_, Some(list), _) => Over::Versions(list),
        (_, _, Some(files)) => {
            let [old, new] = files.try_into().unwrap_or_default();
            Over::Config(old, new)
        }
        (None, None, None) => Over::Patches(arguments.patches.filter(|series| !series.is_empty())),
    };
    let asked = Asked {
        job,
        arm: arguments.arm,
        workload: arguments.workload,
        over,
        fixed: arguments.fixed,
        any: arguments.any,
        every_boot: arguments.every_boot,
        amplify: arguments.amplify,
        confidence: arguments.confidence,
    };
    let store = Store::open()?;
    let mut wanted = ask(context, &store, &asked).await?;
    if is_of_history(&asked) && !wanted.every_boot() {
        learn_from_history(context, &mut wanted).await;
    }
    let started = jiff::Timestamp::now();
    let out = match arguments.out {
        Some(out) => out,
        None => History::of_the_user()?.new_run(wanted.job(), started),
    };
    std::fs::create_dir_all(&out).map_err(io_error("create", &out))?;
    let bounds = arguments.bounds.into();
    let work = begin(context, &store, wanted, &out, started, bounds);
    carry_out(context, &out, work, arguments.format).await
}

/// Whether earlier runs tell how often the target shows. What counts besides it is not
/// known of them, nor is what a variation of the trial does.
fn is_of_history(asked: &Asked) -> bool {
    asked.every_boot.is_none() && !asked.any && !asked.amplify
}

/// Takes it that the target shows in every boot if it always has. History that
/// cannot be read says nothing.
async fn learn_from_history(context: &Context, wanted: &mut Wanted) {
    let named = [wanted.job(), wanted.arm(), wanted.workload()].map(str::to_owned);
    let shown = on_a_thread(context, move || {
        let [job, arm, workload] = &named;
        Ok(History::of_the_user()?.shown(job, arm, workload)?)
    });
    let Ok(shown) = shown.await else { return };
    if shown.trials >= ALWAYS && shown.hits == shown.trials {
        context.emit(Event::Note(format!(
            "the target showed in each of {} trials of {} with {} so far, and is taken to show in \
             every boot that has the bug; `--every-boot=false` takes it otherwise",
            shown.trials,
            wanted.arm(),
            wanted.workload()
        )));
        wanted.shows_in_every_boot();
    }
}

/// Carries a bisection out, whose directory is held meanwhile, and shows what it
/// came to.
async fn carry_out(
    context: &Context,
    directory: &Path,
    work: impl Future<Output = Result<Report, Error>>,
    format: Format,
) -> Result<Exit, Error> {
    let _held = history::hold(directory);
    let ended = work.await;
    known_to_history(context, directory).await;
    show(&ended?, format)
}

/// Lets history know of a bisection, however far it came.
async fn known_to_history(context: &Context, directory: &Path) {
    if !is_bisection(directory) {
        return;
    }
    let directory = directory.to_owned();
    // Also of one that was interrupted.
    let told = Context {
        events: context.events.clone(),
        ..Context::default()
    };
    let kept = on_a_thread(&told, move || Ok(History::of_the_user()?.keep(&directory)?));
    let remarks = kept.await.unwrap_or_else(|error| {
        let text = error.one_line();
        vec![format!("history does not know of this bisection: {text}")]
    });
    for remark in remarks {
        context.emit(Event::Warning(remark));
    }
}

pub(super) fn show(report: &Report, format: Format) -> Result<Exit, Error> {
    match format {
        Format::Human => print(&printable_lines(&report.text()))?,
        Format::Json => print_json(report)?,
    }
    Ok(match report.finding {
        Finding::Culprit { .. } => Exit::Good,
        Finding::None { .. } | Finding::Open { .. } => Exit::Undecided,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_runs_showed_is_of_the_trial_as_they_had_it() {
        let asked = Asked {
            job: PathBuf::from("job.yaml"),
            arm: None,
            workload: None,
            over: Over::Patches(None),
            fixed: false,
            any: false,
            every_boot: None,
            amplify: false,
            confidence: 0.95,
        };
        assert!(is_of_history(&asked));
        let amplified = Asked {
            amplify: true,
            ..asked.clone()
        };
        assert!(!is_of_history(&amplified));
        assert!(!is_of_history(&Asked { any: true, ..asked }));
    }
}
