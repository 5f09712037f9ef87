//! A run: the driver that sequences the stages of an experiment. Kernels are
//! built one after the other; as soon as one is there its trials start, several
//! at a time, while the next is being built. All trials share one testbed.

mod build;
mod executor;
mod judge;
mod report;
mod schedule;
mod self_test;
mod shell;

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{TryFutureExt, poll};
use jiff::Timestamp;
use tokio::sync::mpsc;

pub use executor::{Executor, trial_of};
pub use judge::judge_again;
pub use report::{kept_report, report_of};
pub use shell::{ShellError, shell};

pub(crate) use build::facts;

use build::{Ready, build_arms};
use report::{Findings, derive, is_worth_another, judge_one, keep, question};
use schedule::all_trials;

use crate::context::Context;
use crate::coverage;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::host;
use crate::job::{Arm, Plan, PlannedWorkload};
use crate::kernel::KernelImage;
use crate::process::ProcessError;
use crate::record::{Beginning, Past, Record, Trial, keep_events};
use crate::report::Report;
use crate::rootfs::{self, Rootfs};
use crate::store::Store;
use crate::testbed::{Setup, Testbed};
use crate::trace;
use crate::trial::Request;
use crate::trial_id::TrialId;
use crate::verdict::Judged;

/// How often a trial that tells nothing but that the harness failed is repeated.
const RETRIES: u32 = 2;

/// How a run is carried out; what is carried out is the plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Trials at a time.
    pub jobs: usize,
    /// The run directory.
    pub out: PathBuf,
    /// Where trials run.
    pub executor: Executor,
    /// When it began, which is part of the run's id.
    pub started: Timestamp,
    /// What the runs before had shown; none if nobody was asked.
    pub past: Option<Past>,
}

/// Carries out a plan and returns its report, which is in the run directory,
/// too. When interrupted, what was obtained is judged and kept first.
pub async fn run(
    context: &Context,
    store: &Store,
    plan: &Plan,
    options: &Options,
) -> Result<Report, Error> {
    let began = Instant::now();
    let host = host::facts(context).await;
    let record = Record::create(&options.out, plan, &host, options.started)?;
    if let Some(past) = &options.past {
        record.past(past)?;
    }
    // What a prune would take for old is used as long as this lives.
    let _held = store.hold(plan.files());
    let _trace = trace::to_file(&record.path().join("kvet.log"))?;
    // Neither half goes on for minutes when the other's failure has decided how
    // the run ends.
    let (events, told) = context.events.and_channel();
    let inner = Context {
        cancel: context.cancel.child_token(),
        events,
    };
    let file = record.events_file();
    let (result, kept) = tokio::join!(
        carry_out(inner, store, plan, options, &record, began),
        keep_events(&file, told),
    );
    if context.cancel.is_cancelled() {
        return Err(ProcessError::Interrupted.into());
    }
    let report = result?;
    kept?;
    Ok(report)
}

async fn carry_out(
    context: Context,
    store: &Store,
    plan: &Plan,
    options: &Options,
    record: &Record,
    began: Instant,
) -> Result<Report, Error> {
    if let Some(past) = &options.past {
        context.emit(Event::Expected(past.expected.clone()));
    }
    context.emit(Event::RunStarted {
        job: plan.name.clone(),
        directory: record.path().display().to_string(),
        trials: plan.arms.iter().map(|arm| u64::from(arm.planned())).sum(),
    });
    let (ready, to_try) = mpsc::unbounded_channel();
    let builds = build_arms(&context, store, plan, record, ready);
    let trials = run_trials(&context, store, plan, record, options, to_try);
    let (building, trying) = tokio::join!(
        builds.inspect_err(|_| context.cancel.cancel()),
        trials.inspect_err(|_| context.cancel.cancel()),
    );
    // The record tells what was obtained, whatever failed.
    let (_, beginning) = Record::open(record.path())?;
    let seconds = began.elapsed().as_secs_f64();
    let report = derive(record, &beginning, seconds, Findings::AsFound);
    // The verdict stands whether or not it could be kept.
    if let Ok(report) = &report
        && let Err(unkept) = keep(record, report)
    {
        let text = format!("cannot keep the report: {}", Error::from(unkept).one_line());
        context.emit(Event::Warning(text));
    }
    let failures = [building.err(), trying.err()];
    // The one that was stopped for the other's sake has nothing to tell.
    let told = |error: &Error| error.exit() != Exit::Interrupted;
    if let Some(failure) = failures.into_iter().flatten().find(told) {
        return Err(failure);
    }
    let report = report?;
    context.emit(Event::RunFinished {
        verdict: report.verdict.kind.name().to_owned(),
        elapsed: began.elapsed(),
    });
    Ok(report)
}

/// What the trials of a run share.
struct Bench<'a> {
    context: &'a Context,
    plan: &'a Plan,
    record: &'a Record,
    /// The run's own words: what was known when it began.
    beginning: Beginning,
    testbed: &'a Testbed,
    rootfs: &'a Rootfs,
    options: &'a Options,
}

/// Runs the trials of arms as they become ready.
async fn run_trials(
    context: &Context,
    store: &Store,
    plan: &Plan,
    record: &Record,
    options: &Options,
    mut ready: mpsc::UnboundedReceiver<Ready>,
) -> Result<(), Error> {
    // Nothing is started before there is a kernel to try.
    let Some(first) = ready.recv().await else {
        return Ok(());
    };
    let prepared = async {
        let rootfs = rootfs::build(context, store, &plan.rootfs).await?;
        let setup = Setup {
            service: &plan.service,
            logs: &record.service_logs(),
            image: rootfs.path.clone(),
            acceleration: plan.acceleration,
            kernel: &first.image.bzimage,
        };
        let testbed = Testbed::open(context, store, setup).await?;
        Ok::<_, Error>((rootfs, testbed))
    };
    let (rootfs, testbed) = tokio::select! {
        prepared = prepared => prepared?,
        () = context.cancel.cancelled() => return Err(ProcessError::Interrupted.into()),
    };
    record.accelerator(testbed.accelerator().name())?;
    let (_, beginning) = Record::open(record.path())?;
    let bench = Bench {
        context,
        plan,
        record,
        beginning,
        testbed: &testbed,
        rootfs: &rootfs,
        options,
    };
    let result = tokio::select! {
        result = all_trials(&bench, first, ready) => result,
        () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
    };
    testbed.close().await;
    result
}

/// Which trial of which arm.
struct Subject<'a> {
    arm: &'a Arm,
    image: &'a KernelImage,
    planned: &'a PlannedWorkload,
    id: TrialId,
}

/// Runs and records one trial, and again if it tells nothing but that the
/// harness failed; what it came to, unless the service was lost before.
async fn one_trial(
    bench: &Bench<'_>,
    subject: &Subject<'_>,
    hostname: &str,
) -> Result<Option<Judged>, Error> {
    let context = bench.context;
    let question = question(&bench.beginning, subject.arm);
    let mut lost = pin!(bench.testbed.lost());
    if poll!(&mut lost).is_ready() {
        // No further trial would tell anything.
        return Ok(None);
    }
    loop {
        let (attempt, directory) = bench.record.begin_attempt(&subject.id)?;
        context.emit(Event::TrialStarted {
            trial: subject.id.clone(),
            attempt,
        });
        // A name of its own for every attempt: the service must not mistake one
        // guest for another.
        let request = request(bench, subject, attempt, format!("{hostname}-{attempt}"));
        let trial = bench
            .options
            .executor
            .run(context, bench.testbed, &request, &directory)
            .await?;
        count_lines(context, subject.image, &directory).await;
        let lost = poll!(&mut lost).is_ready() || still_silent(bench, &trial).await;
        if !lost && let Err(fault) = bench.testbed.service().clear(&request.hostname).await {
            let name = &request.hostname;
            let text = Error::from(fault).one_line();
            let text = format!("cannot remove what {name} left behind: {text}");
            context.emit(Event::Warning(text));
        }
        if !lost && attempt <= RETRIES && is_worth_another(&trial, &question) {
            continue;
        }
        let judged = judge_one(bench.record, &bench.beginning, subject.arm, &trial)?;
        context.emit(Event::TrialFinished {
            trial: subject.id.clone(),
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            elapsed: Duration::from_secs_f64(trial.seconds.max(0.0)),
        });
        // Without its service no further trial would tell anything.
        return Ok((!lost).then_some(judged));
    }
}

/// Whether parts of the service did not answer at a trial's end and do not now.
async fn still_silent(bench: &Bench<'_>, trial: &Trial) -> bool {
    if trial.unanswered.is_empty() {
        return false;
    }
    let Err(fault) = bench.testbed.service().answers().await else {
        return false;
    };
    let text = Error::from(fault).one_line();
    bench.context.emit(Event::Warning(format!(
        "{text}; the trials that are left are not run"
    )));
    true
}

/// The objects of a kernel that count their lines.
fn counted(image: &KernelImage) -> Vec<String> {
    let counters = image.counters.iter();
    counters
        .flat_map(|counters| counters.objects.clone())
        .collect()
}

/// Makes line counts of what an attempt's guest counted. That it does not work
/// costs no trial.
async fn count_lines(context: &Context, image: &KernelImage, attempt: &Path) {
    let Some(counters) = &image.counters else {
        return;
    };
    let counts = coverage::count(context, &counters.notes, &counters.changed, attempt);
    if let Err(error) = counts.await {
        let text = Error::from(error).one_line();
        context.emit(Event::Warning(format!(
            "cannot count executed lines: {text}"
        )));
    }
}

fn request(bench: &Bench<'_>, subject: &Subject<'_>, attempt: u32, hostname: String) -> Request {
    let plan = bench.plan;
    Request {
        id: subject.id.clone(),
        attempt,
        hostname,
        kernel: subject.image.bzimage.clone(),
        release: subject.image.release.clone(),
        words: subject.arm.command_line.clone(),
        hardware: plan.hardware.clone(),
        image: bench.rootfs.path.clone(),
        acceleration: plan.acceleration,
        service: plan.service.clone(),
        workload: subject.planned.workload.clone(),
        timeout: subject.planned.timeout,
        target: subject.arm.target.clone(),
        known: plan.known.clone(),
        patterns: plan.patterns.clone(),
        profile: plan.profile.clone(),
        counters: plan.counters.clone(),
        counted: counted(subject.image),
        day: question(&bench.beginning, subject.arm).day,
    }
}
