//! A run: the driver that sequences the stages of an experiment. Kernels are
//! built one after the other; as soon as one is there its trials start, several
//! at a time, while the next is being built. All trials share one testbed.

mod after;
mod attempts;
mod bench;
mod build;
mod decode;
mod executor;
mod judge;
mod lanes;
mod news;
mod one_trial;
mod options;
mod replay;
mod report;
mod schedule;
mod self_test;
mod shell;
mod width;

use std::fs::File;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Instant;

use futures_util::TryFutureExt;
use tokio::sync::mpsc;

pub use after::after_the_verdict;
pub use executor::{Executor, trial_of};
pub use judge::{judge_again, judge_joined};
pub use news::{pin_sources, question_key, sources};
pub use options::Options;
pub use replay::{Replay, Replayed, replay};
pub use report::{kept_report, report_of};
pub use shell::{ShellError, shell};

pub(crate) use build::facts;
pub(crate) use executor::on_a_host;

use bench::Bench;
use build::{Ready, build_arms};
use executor::Place;
use lanes::Lanes;
use report::{Findings, derive, keep};
use schedule::all_trials;

use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::fleet::{Common, Fleet, FleetError};
use crate::host;
use crate::job::Plan;
use crate::process::ProcessError;
use crate::record::Record;
use crate::report::Report;
use crate::rootfs::{self, Rootfs};
use crate::store::{LockedFile, Store, io_error};
use crate::testbed::{Setup, Testbed};

/// The file in a run directory that whoever works on the run has locked.
const LOCK: &str = ".lock";

/// Carries out a plan and returns its report, which is in the run directory,
/// too. When interrupted, what was obtained is judged and kept first.
pub async fn run(
    context: &Context,
    store: &Store,
    plan: &Plan,
    options: &Options,
) -> Result<Report, Error> {
    let began = Instant::now();
    let record = if options.resume {
        Record::open(&options.out)?.0
    } else {
        let host = host::facts(context).await;
        let record = Record::create(&options.out, plan, &host, options.started)?;
        if let Some(past) = &options.past {
            record.past(past)?;
        }
        record
    };
    let _alone = alone(&record)?;
    // What a prune would take for old is used as long as this lives.
    let files = plan.arms.iter().flat_map(|arm| {
        let files = arm.recipe.series.iter().chain(&arm.recipe.fragments);
        files.map(PathBuf::as_path)
    });
    let _held = store.hold(files);
    let work = |inner| carry_out(inner, store, plan, options, &record, began);
    let result = record.logged(context, work).await;
    concluded(context, result)
}

/// Keeps other kvets from going on with this run meanwhile: the attempts of two would
/// take each other's place.
fn alone(record: &Record) -> Result<LockedFile, Error> {
    let path = record.path().join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error("open", &path))?;
    let locked = LockedFile::take(file).map_err(io_error("lock", &path))?;
    locked.ok_or_else(|| FleetError::Busy(record.path().to_owned()).into())
}

/// What a run comes to. One that was interrupted says so, whatever it has by then.
fn concluded(context: &Context, result: Result<Report, Error>) -> Result<Report, Error> {
    if context.cancel.is_cancelled() {
        return Err(ProcessError::Interrupted.into());
    }
    result
}

/// `context` is the run's own: neither half goes on for minutes when the other's
/// failure has decided how the run ends.
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
    let builds = build_arms(&context, store, plan, record, options.fleet.as_ref(), ready);
    let trials = run_trials(&context, store, plan, record, options, to_try);
    let (building, trying) = tokio::join!(
        builds.inspect_err(|_| context.cancel.cancel()),
        trials.inspect_err(|_| context.cancel.cancel()),
    );
    for arm in &plan.arms {
        if let Err(error) = decode::decode(record, store, &arm.name) {
            let text = format!(
                "stacks are shown without source lines: {}",
                Error::from(error).one_line()
            );
            context.emit(Event::Warning(text));
        }
    }
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
        let place = place(context, store, plan, record, options, &rootfs, &first).await?;
        Ok::<_, Error>((rootfs, place))
    };
    let (rootfs, place) = tokio::select! {
        prepared = prepared => prepared?,
        () = context.cancel.cancelled() => return Err(ProcessError::Interrupted.into()),
    };
    let kernel = first.image.bzimage.clone();
    let opened = || {
        if let Place::Here(testbed, _) = &place {
            record.accelerator(testbed.accelerator().name())?;
        }
        Record::open(record.path())
    };
    let beginning = match opened() {
        Ok((_, beginning)) => beginning,
        Err(error) => {
            place.close().await;
            return Err(error.into());
        }
    };
    let bench = Bench {
        context,
        plan,
        record,
        beginning,
        place,
        rootfs: &rootfs,
        options,
        store,
        kernel: &kernel,
        lanes: Lanes::default(),
    };
    let result = {
        let trials = all_trials(&bench, first, ready);
        tokio::select! {
            result = with_hosts(&bench.place, trials, &context.cancel) => result,
            () = context.cancel.cancelled(), if bench.place.is_here() => {
                Err(ProcessError::Interrupted.into())
            }
        }
    };
    bench.lanes.close().await;
    bench.place.close().await;
    result
}

/// Where the run's trials are to be: its own testbed, or other hosts.
async fn place(
    context: &Context,
    store: &Store,
    plan: &Plan,
    record: &Record,
    options: &Options,
    rootfs: &Rootfs,
    first: &Ready,
) -> Result<Place, Error> {
    if let Some(fleet) = &options.fleet {
        let mut workloads = plan.workloads.iter().map(|planned| &planned.workload);
        let common = Common {
            service: &plan.service,
            image: &rootfs.path,
            acceleration: plan.acceleration,
            kernel: &first.image.bzimage,
            cpus: plan.hardware.cpus,
            alone: workloads.any(|one| one.disturbs_others() || plan.measures(&one.name)),
        };
        let fleet = Fleet::open(context, record, fleet, &common)?;
        return Ok(Place::Fleet(Box::new(fleet)));
    }
    let setup = Setup {
        service: &plan.service,
        logs: &record.service_logs(),
        image: rootfs.path.clone(),
        acceleration: record.acceleration(plan)?,
        kernel: &first.image.bzimage,
    };
    let testbed = Testbed::open(context, store, setup).await?;
    Ok(Place::Here(Box::new(testbed), options.executor))
}

/// Drives the hosts of a fleet, if the trials run on one, until the trials have
/// ended or are interrupted, and calls off there what is still under way.
async fn with_hosts(
    place: &Place,
    trials: impl Future<Output = Result<(), Error>>,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<(), Error> {
    let Place::Fleet(fleet) = place else {
        return trials.await;
    };
    let mut driving = pin!(fleet.drive());
    let result = tokio::select! {
        result = trials => result,
        () = cancel.cancelled() => Err(ProcessError::Interrupted.into()),
        // It ends by itself only if no host can go on.
        driven = &mut driving => return driven,
    };
    fleet.stop();
    // Hosts that say nothing end what they do once they find that nobody listens.
    let ended = tokio::time::timeout(Fleet::farewell(), driving).await;
    result.and(ended.unwrap_or(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFacts;
    use crate::job::Choice;

    #[test]
    fn a_run_is_gone_on_with_by_one_kvet_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        let text = "\
name: j
kernel: { source: { dir: /linux }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms: { stock: { control: true } }
";
        std::fs::create_dir(home.path().join("kconfigs")).unwrap();
        std::fs::write(home.path().join("kconfigs/base.config"), "").unwrap();
        std::fs::write(&job, text).unwrap();
        let plan = Plan::load(&job, &Choice::default()).unwrap();
        let started = jiff::Timestamp::UNIX_EPOCH;
        let run = home.path().join("run");
        let record = Record::create(&run, &plan, &HostFacts::default(), started).unwrap();
        let first = alone(&record).unwrap();
        let error = alone(&record).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        let said = error.one_line();
        assert!(said.contains("another kvet is working on"), "{said}");
        drop(first);
        alone(&record).unwrap();
    }

    #[test]
    fn an_interrupted_run_has_no_verdict() {
        let context = Context::default();
        let report = crate::report::fixture::report();
        assert_eq!(concluded(&context, Ok(report.clone())).unwrap(), report);
        context.cancel.cancel();
        let error = concluded(&context, Ok(report)).unwrap_err();
        assert_eq!(error.exit(), Exit::Interrupted);
    }
}
