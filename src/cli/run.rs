//! `kvet run JOB`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::cache::format_size;
use super::history::{find_run, time};
use super::output::{Format, print, print_json, style, width};
use super::{hosts, load_plan, on_a_thread, open_store, patched, plan_text};
use crate::bisect::is_bisection;
use crate::context::Context;
use crate::doctor::{self, Lack, SetupError};
use crate::error::{Error, Exit};
use crate::event::{Event, Expected};
use crate::fleet::{self, FleetOptions};
use crate::history::{self, History, HistoryError};
use crate::job::Confidence;
use crate::job::{Choice, JobError, MOST_TRIALS, Part, Plan};
use crate::kernel::source::Extent;
use crate::limits::Limits;
use crate::printable::printable_lines;
use crate::record::{Past, Record};
use crate::report::{Report, human_within};
use crate::run::{Executor, Options, after_the_verdict, pin_sources, question_key, sources};
use crate::store::{Limit, Lock, Store, io_error};
use crate::tested::{Answer, Tested};

/// Trials at a time. Each is a machine with memory of its own.
const MOST_JOBS: i64 = 256;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet (`kvet list jobs`)
    #[arg(required_unless_present = "resume")]
    job: Option<PathBuf>,
    #[command(flatten)]
    tested: patched::Tested,
    #[command(flatten)]
    options: RunOptions,
    /// Go on with a run that was killed or interrupted: its directory, its id, the
    /// beginning or the end of that, or `latest`
    #[arg(long, value_name = "RUN", conflicts_with_all = RESUMED)]
    resume: Option<PathBuf>,
    /// Run only this part of it, such as 2/6: `kvet plan` tells which there are
    ///
    /// A part has no verdict: `kvet join` makes one run of all of them.
    #[arg(long, value_name = "K/N", conflicts_with = "if_new")]
    part: Option<Part>,
    #[command(flatten)]
    news: NewsArguments,
    /// Print the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The run directory [default: one of its own in `$XDG_STATE_HOME/kvet/runs`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What a run is, and where it is recorded, is settled when it begins.
const RESUMED: [&str; 17] = [
    "job",
    "arms",
    "workloads",
    "trials",
    "until",
    "dump",
    "kernel",
    "patches",
    "series",
    "ids",
    "from",
    "config",
    "coverage",
    "dry_run",
    "part",
    "if_new",
    "out",
];

/// How a job is run, for all subcommands that run one.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Run only this arm (may be repeated)
    #[arg(long = "arm", value_name = "NAME")]
    arms: Vec<String>,
    /// Run only this workload (may be repeated)
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Trials of each arm and workload, instead of the job's; at most, with --until
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TRIALS)))]
    trials: Option<u32>,
    /// Go on until the verdict is this sure, such as 95%
    #[arg(long, value_name = "CONFIDENCE")]
    until: Option<Confidence>,
    /// Keep the memory of guests that show something, for crash and drgn: the
    /// first two of an arm
    #[arg(long)]
    dump: bool,
    /// Trials at a time [default: as many as the host has room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_JOBS))]
    jobs: Option<u16>,
    #[command(flatten)]
    hosts: hosts::HostArguments,
    /// Where trials run, for tests of kvet itself
    #[arg(long, hide = true, default_value = "here")]
    executor: Executor,
    /// Install what the host lacks first
    #[arg(long)]
    setup: bool,
}

impl RunOptions {
    /// What they change about a job, besides `choice`.
    pub(super) fn on(&self, choice: Choice) -> Choice {
        Choice {
            arms: self.arms.clone(),
            workloads: self.workloads.clone(),
            trials: self.trials,
            until: self.until,
            dump: self.dump,
            ..choice
        }
    }
}

/// Whether anything is run that asks nothing new.
#[derive(Debug, Args)]
pub(super) struct NewsArguments {
    /// Only if there is something new to ask: another kernel, or another job
    ///
    /// What was answered is remembered in `$XDG_STATE_HOME/kvet`. Sources are pinned
    /// to what they stand for now. A run that left its question undecided is made
    /// again twice.
    #[arg(long)]
    pub(super) if_new: bool,
    /// With --if-new, nevertheless
    #[arg(long, requires = "if_new")]
    pub(super) force: bool,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let format = arguments.format;
    if let Some(directory) = arguments.resume {
        let directory = find_run(&directory)?;
        let (report, out) = resume(context, directory, &arguments.options).await?;
        return conclude(context, report, &out, format).await;
    }
    let choice = arguments.tested.choice(context).await?;
    let choice = arguments.options.on(choice);
    let job = arguments.job.unwrap_or_default();
    let mut plan = load_plan(context, job, choice).await?;
    if arguments.dry_run {
        plan.can_settle()?;
        if let Some(part) = arguments.part {
            plan = part_of(&plan, part)?;
        }
        let tell = move || {
            match format {
                Format::Human => {
                    print(&printable_lines(&plan.to_string()))?;
                    print(&printable_lines(&estimate(&plan)))?;
                }
                Format::Json => print_json(&plan)?,
            }
            Ok(Exit::Good)
        };
        return on_a_thread(context, tell).await;
    }
    plan.can_settle()?;
    // Held until the end: a second run of the job then finds this one's answer.
    let _alone = match settle(context, &mut plan, &arguments.news, arguments.part).await? {
        Settled::Run(alone) => alone,
        Settled::NothingNew(answer) => {
            return on_a_thread(context, move || tell_nothing_new(format, &answer)).await;
        }
    };
    let (report, out) = execute_at(context, &plan, &arguments.options, arguments.out).await?;
    conclude(context, report, &out, format).await
}

/// What is to be done with a plan.
enum Settled {
    /// It is run, with this lock if only what is new is.
    Run(Option<Lock>),
    /// Its question was answered.
    NothingNew(Box<Answer>),
}

/// Pins what moves in a plan, sees whether it asks anything new, and cuts the part
/// out of it that is to be run.
async fn settle(
    context: &Context,
    plan: &mut Plan,
    news: &NewsArguments,
    part: Option<Part>,
) -> Result<Settled, Error> {
    let store = open_store(context).await?;
    let alone = if news.if_new {
        Some(Tested::alone(context, &plan.name).await?)
    } else {
        None
    };
    let remembered = news.if_new || part.is_some();
    let extent = if remembered {
        Extent::All
    } else {
        Extent::Moving
    };
    pin_sources(context, &store, plan, extent).await?;
    if remembered {
        plan.question = Some(question_key(context, &store, plan).await?);
    }
    if news.if_new
        && let Some(answer) = nothing_new(context, plan, news.force)?
    {
        return Ok(Settled::NothingNew(Box::new(answer)));
    }
    if let Some(part) = part {
        *plan = part_of(plan, part)?;
    }
    Ok(Settled::Run(alone))
}

/// Tells of a run that has ended, whoever waits for it first.
async fn conclude(
    context: &Context,
    report: Report,
    out: &Path,
    format: Format,
) -> Result<Exit, Error> {
    let plan = Record::open(out)?.1.plan;
    let part = plan.part_of.as_ref().map(|part_of| part_of.part);
    if part.is_none() {
        after_the_verdict(context, &plan, &report, out).await;
    }
    on_a_thread(context, move || tell(&report, part, format)).await
}

fn tell(report: &Report, part: Option<Part>, format: Format) -> Result<Exit, Error> {
    match (format, part) {
        (Format::Human, None) => print(&human_within(report, style(), width()))?,
        (Format::Human, Some(part)) => print(&format!(
            "part {part} of {} is recorded; `kvet join` has the verdict on all\n",
            report.job
        ))?,
        (Format::Json, _) => print_json(report)?,
    }
    // A part that was carried out has done what it can.
    Ok(match part {
        None => report.verdict.kind.exit(),
        Some(_) => Exit::Good,
    })
}

/// Goes on with the run that is recorded in this directory.
async fn resume(
    context: &Context,
    directory: PathBuf,
    options: &RunOptions,
) -> Result<(Report, PathBuf), Error> {
    refuse_bisection(&directory)?;
    let beginning = Record::open(&directory)?.1;
    let fleet = match options.hosts.options(options.jobs) {
        None => fleet::resumed(&directory)?,
        fleet => fleet,
    };
    let run = Run {
        out: directory,
        started: beginning.started,
        fleet,
        resume: true,
    };
    carry_out(context, &beginning.plan, options, run).await
}

/// A bisection has a record, too: a run's trials among its candidates' would make
/// neither.
fn refuse_bisection(directory: &Path) -> Result<(), JobError> {
    if !is_bisection(directory) {
        return Ok(());
    }
    let directory = directory.display();
    let message = format!("{directory} is a bisection, which is not gone on with as a run");
    let help = format!("`kvet bisect resume --in {directory}` goes on with it");
    Err(JobError::Choice(message, Some(help)))
}

/// Runs a plan, whose record goes to `out`, or where history keeps its runs.
pub(super) async fn execute(
    context: &Context,
    plan: &Plan,
    options: &RunOptions,
    out: Option<PathBuf>,
) -> Result<Report, Error> {
    plan.can_settle()?;
    Ok(execute_at(context, plan, options, out).await?.0)
}

/// The same, and where it is recorded.
async fn execute_at(
    context: &Context,
    plan: &Plan,
    options: &RunOptions,
    out: Option<PathBuf>,
) -> Result<(Report, PathBuf), Error> {
    let started = jiff::Timestamp::now();
    let out = match (out, History::of_the_user()) {
        (Some(out), _) => out,
        (None, Ok(history)) => history.new_run(&plan.name, started),
        (None, Err(_)) => return Err(HistoryError::NoHome.into()),
    };
    let run = Run {
        out,
        started,
        fleet: options.hosts.options(options.jobs),
        resume: false,
    };
    carry_out(context, plan, options, run).await
}

/// Where a run is recorded, and where its trials run.
struct Run {
    out: PathBuf,
    started: jiff::Timestamp,
    fleet: Option<FleetOptions>,
    resume: bool,
}

async fn carry_out(
    context: &Context,
    plan: &Plan,
    options: &RunOptions,
    run: Run,
) -> Result<(Report, PathBuf), Error> {
    let store = open_store(context).await?;
    let limits = Limits::of_the_user()?;
    let elsewhere = run.fleet.is_some();
    prepare_host(context, plan, options.setup, elsewhere).await?;
    let keeping = Keeping {
        context,
        store: &store,
        history: History::of_the_user().ok(),
        limits,
    };
    // A run that is gone on with is not to be removed by its own limit.
    let held = history::hold(&run.out);
    // Room only: what is old may be what this run is about to use.
    keeping.limit(false).await;
    let past = keeping.past(plan).await;
    let options = Options {
        jobs: options.jobs.map(usize::from),
        out: run.out,
        executor: options.executor,
        started: run.started,
        past,
        fleet: run.fleet,
        resume: run.resume,
    };
    std::fs::create_dir_all(&options.out).map_err(io_error("create", &options.out))?;
    let held = held.or_else(|| history::hold(&options.out));
    let done = crate::run::run(context, &store, plan, &options).await;
    keeping.keep(&options.out).await;
    keeping.limit(true).await;
    drop(held);
    let report = done?;
    context.emit(Event::Note(format!(
        "the run is recorded in {}",
        options.out.display()
    )));
    Ok((report, options.out))
}

/// How long a run of this plan takes, as far as history knows; nothing if it
/// does not.
fn estimate(plan: &Plan) -> String {
    // A plan is a plan without any history, too.
    let past = History::of_the_user().and_then(|history| history.past(plan));
    let Ok((past, _)) = past else {
        return String::new();
    };
    let Expected { run, trials, .. } = past.expected;
    let mut text = String::new();
    if let Some(run) = run {
        let _ = writeln!(text, "takes about {}, as the runs before", time(run));
    }
    for arm in &plan.arms {
        for workload in &arm.workloads {
            let of = format!("{}/{workload}", arm.name);
            if let Some(seconds) = trials.get(&of) {
                let _ = writeln!(text, "  a trial of {of} about {}", time(*seconds));
            }
        }
    }
    text
}

/// What a run owes to others: history that knows of it, and limits that are
/// kept. None of it costs the run; what goes wrong is told.
struct Keeping<'a> {
    context: &'a Context,
    store: &'a Store,
    history: Option<History>,
    limits: Limits,
}

impl Keeping<'_> {
    /// What the runs before had shown.
    async fn past(&self, plan: &Plan) -> Option<Past> {
        let history = self.history.clone()?;
        let plan = plan.clone();
        let past = on_a_thread(self.context, move || Ok(history.past(&plan)?)).await;
        let (past, remarks) = self.told("history is not asked", past)?;
        self.warn(remarks);
        Some(past)
    }

    /// Lets history know of the run, however far it came.
    async fn keep(&self, run: &Path) {
        let Some(history) = self.history.clone() else {
            return;
        };
        let run = run.to_owned();
        // Also of a run that was interrupted.
        let context = Context {
            events: self.context.events.clone(),
            ..Context::default()
        };
        let kept = on_a_thread(&context, move || {
            if run.join("run.json").is_file() {
                Ok(history.keep(&run)?)
            } else {
                Ok(Vec::new())
            }
        });
        if let Some(remarks) = self.told("history does not know of this run", kept.await) {
            self.warn(remarks);
        }
    }

    /// Removes what the limits do not keep; without `age` what is too much only.
    async fn limit(&self, age: bool) {
        let now = |limit: Limit| Limit {
            keep: limit.keep.filter(|_| age),
            ..limit
        };
        let (cache, runs) = (now(self.limits.cache), now(self.limits.runs));
        if !cache.is_none() {
            let store = self.store.clone();
            let pruned = on_a_thread(self.context, move || Ok(store.prune(&cache, false)?));
            if let Some(pruned) =
                self.told("the cache cannot be kept within its limit", pruned.await)
            {
                let over = cache.max_size.is_some_and(|most| pruned.left > most);
                self.removed(
                    "the cache",
                    pruned.removed.len(),
                    pruned.freed,
                    pruned.left,
                    over,
                );
            }
        }
        let Some(history) = self.history.clone().filter(|_| !runs.is_none()) else {
            return;
        };
        let pruned = on_a_thread(self.context, move || Ok(history.prune(None, &runs, false)?));
        if let Some(pruned) = self.told("runs cannot be kept within their limit", pruned.await) {
            for (run, why) in &pruned.left_alone {
                let text = format!("{} is not removed by the limit: {why}", run.display());
                self.context.emit(Event::Warning(text));
            }
            let freed = pruned.removed.iter().map(|(_, size)| size).sum();
            let over = runs.max_size.is_some_and(|most| pruned.left > most);
            self.removed("runs", pruned.removed.len(), freed, pruned.left, over);
        }
    }

    fn removed(&self, what: &str, count: usize, freed: u64, left: u64, over: bool) {
        let (freed, left) = (format_size(freed), format_size(left));
        if count > 0 {
            self.context.emit(Event::Note(format!(
                "{what}: {count} entries ({freed}) removed by the limit, {left} left"
            )));
        }
        if over {
            self.context.emit(Event::Warning(format!(
                "{what}: {left} are above the limit, and in use"
            )));
        }
    }

    fn told<T>(&self, what: &str, done: Result<T, Error>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            // The run's own error says that.
            Err(error) if error.exit() == Exit::Interrupted => None,
            Err(error) => {
                let text = format!("{what}: {}", error.one_line());
                self.context.emit(Event::Warning(text));
                None
            }
        }
    }

    fn warn(&self, remarks: Vec<String>) {
        for remark in remarks {
            self.context.emit(Event::Warning(remark));
        }
    }
}

/// The plan of one part.
fn part_of(plan: &Plan, part: Part) -> Result<Plan, JobError> {
    let mut parts = plan.parts(part.of);
    let number = part.number as usize;
    if parts.len() == part.of as usize && number >= 1 {
        return Ok(parts.swap_remove(number - 1));
    }
    let message = format!(
        "there is no part {part}: the run can be split into at most {}",
        parts.len()
    );
    let help = plan.indivisible().map_or_else(
        || "`kvet plan` tells which parts there are".to_owned(),
        |why| format!("one part: {why}"),
    );
    Err(JobError::Choice(message, Some(help)))
}

/// What was answered to the plan's question, if asking again is of no use;
/// otherwise it is told what is new.
fn nothing_new(context: &Context, plan: &Plan, force: bool) -> Result<Option<Answer>, Error> {
    let tested = Tested::open(context, &plan.name)?;
    let answer = plan.question.as_ref().and_then(|key| tested.answer(key));
    if let Some(answer) = answer.filter(|answer| answer.settles() && !force) {
        return Ok(Some(answer.clone()));
    }
    let now = sources(plan).join(", ");
    let what = match (answer, tested.last()) {
        (Some(answer), _) if force => format!("{now} again, as --force says: {}", answer.run),
        (Some(answer), _) => format!("{now} again: {} was undecided", answer.run),
        (None, Some(last)) if last.sources == sources(plan) => {
            format!("{now} as before, and the job has changed")
        }
        (None, Some(last)) => format!("new: {now}, after {}", last.sources.join(", ")),
        (None, None) => format!("new: {now}, the first"),
    };
    context.emit(Event::Note(what));
    Ok(None)
}

fn tell_nothing_new(format: Format, answer: &Answer) -> Result<Exit, Error> {
    match format {
        Format::Human => print(&(plan_text::nothing_new(answer) + "\n"))?,
        Format::Json => print_json(&serde_json::json!({ "new": false, "answer": answer }))?,
    }
    Ok(Exit::Good)
}

/// Sees that the host has what a run needs, installing it if that was asked.
/// With trials `elsewhere` that is what kernels and the initramfs are made with.
async fn prepare_host(
    context: &Context,
    plan: &Plan,
    setup: bool,
    elsewhere: bool,
) -> Result<(), Error> {
    let checks = async || {
        if elsewhere {
            doctor::checks_for_building(&plan.rootfs).await
        } else {
            doctor::checks(&plan.service, &plan.rootfs).await
        }
    };
    let mut found = checks().await;
    let packages = doctor::missing_packages(&found);
    if !packages.is_empty() {
        if !setup {
            let missing = found
                .iter()
                .filter(|check| matches!(check.lack, Some(Lack::Package(_))))
                .map(|check| check.what.clone())
                .collect();
            return Err(SetupError::Missing {
                missing,
                packages: packages.join(" "),
            }
            .into());
        }
        doctor::install(context, &packages).await?;
        found = checks().await;
    }
    for check in found {
        match check.lack {
            None => {}
            Some(Lack::Package(package)) => {
                return Err(SetupError::Unfit {
                    what: check.what,
                    problem: format!("it is missing although {package} is installed"),
                    advice: "see that PATH leads to it".to_owned(),
                }
                .into());
            }
            Some(Lack::Other { problem, advice }) => {
                return Err(SetupError::Unfit {
                    what: check.what,
                    problem,
                    advice,
                }
                .into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments as Whole;
    use super::*;

    #[test]
    fn what_a_run_is_of_was_settled_when_it_began() {
        let resumed = |more: &[&str]| {
            let words = [&["kvet", "run", "--resume", "latest"], more].concat();
            Whole::try_parse_from(words)
        };
        assert!(resumed(&["--jobs", "2", "--setup"]).is_ok());
        for more in [
            &["--patch", "fix.patch"][..],
            &["--series", "v7.3..HEAD"],
            &["--message-id", "a@b"],
            &["--from", "archive"],
            &["--config", "config"],
            &["--coverage"],
            &["--dump"],
            &["--kernel", "7.3.4"],
        ] {
            assert!(resumed(more).is_err(), "{more:?}");
        }
    }

    #[test]
    fn a_bisection_is_not_gone_on_with_as_a_run() {
        let home = tempfile::tempdir().unwrap();
        refuse_bisection(home.path()).unwrap();
        std::fs::write(home.path().join("log.jsonl"), "").unwrap();
        let error = Error::from(refuse_bisection(home.path()).unwrap_err());
        assert!(error.help().unwrap().contains("kvet bisect resume --in"));
        assert_eq!(error.exit(), Exit::Usage);
    }
}
