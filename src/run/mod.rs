//! A run: the one place that sequences the stages. Kernels are built one after
//! the other; as soon as one is there its trials start, several at a time,
//! while the next is being built. All trials share one cluster.

mod armed;
mod host_step;
mod journal;
mod judge;
mod record;
mod self_test;
mod shell;
mod steps;
mod trial;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryFutureExt};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::{OnceCell, Semaphore, mpsc, watch};

use crate::cluster::{Cluster, ClusterError};
use crate::context::Context;
use crate::detect::Class;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::host;
use crate::job::{Arm, Plan, PlannedWorkload};
use crate::kernel::{self, Fragment, KernelImage, KernelVersion};
use crate::process::{Namespace, ProcessError};
use crate::report::Report;
use crate::rootfs;
use crate::store::Store;
use crate::verdict::{Ending, Trial, decide};
use crate::vm;

pub use judge::judge_again;
pub use record::{Beginning, Record, RecordError};
pub use self_test::SelfTest;
pub use shell::{ShellError, shell};
pub use trial::COMMAND_LINE;

/// The address of a cluster inside its namespace.
pub const CLUSTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// How often a trial that failed for the harness's own fault is repeated.
const RETRIES: u32 = 1;

/// How many findings of a trial are kept, the first ones: a guest that is out
/// of control could go on for ever.
const FINDINGS: usize = 1000;

/// How a run is carried out; what is carried out is the plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Trials at a time.
    pub jobs: usize,
    /// The run directory.
    pub out: PathBuf,
}

/// An arm whose kernel is there.
struct Ready {
    arm: Arm,
    image: Rc<KernelImage>,
    /// What its self-test did not show, once the first of its trials has come
    /// to it.
    unseen: Rc<OnceCell<Vec<Class>>>,
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
    let started = Timestamp::now();
    let record = Record::create(&options.out, plan, &host, started)?;
    let day = started.to_zoned(TimeZone::UTC).date();
    let (ready, to_try) = mpsc::unbounded_channel();
    // Neither side goes on for minutes when the other's failure has decided
    // how the run ends.
    let inner = Context {
        cancel: context.cancel.child_token(),
        events: context.events.clone(),
    };
    let builds = build_arms(&inner, store, plan, &record, ready);
    let work = Work {
        plan,
        record: &record,
        jobs: options.jobs,
        day,
    };
    let trials = run_trials(&inner, store, &work, to_try);
    let (building, trying) = tokio::join!(
        builds.inspect_err(|_| inner.cancel.cancel()),
        trials.inspect_err(|_| inner.cancel.cancel()),
    );
    // The record tells what was obtained, whatever failed.
    let report = record.report(began.elapsed().as_secs_f64());
    if context.cancel.is_cancelled() {
        return Err(ProcessError::Interrupted.into());
    }
    let failures = [building.err(), trying.err()];
    // The one that was stopped for the other's sake has nothing to tell.
    let told = |error: &Error| error.exit() != Exit::Interrupted;
    if let Some(failure) = failures.into_iter().flatten().find(told) {
        return Err(failure);
    }
    Ok(report?)
}

/// Makes each arm's kernel and hands it on. An arm that cannot be made is
/// recorded as broken; the others go on.
async fn build_arms(
    context: &Context,
    store: &Store,
    plan: &Plan,
    record: &Record,
    ready: mpsc::UnboundedSender<Ready>,
) -> Result<(), Error> {
    for arm in &plan.arms {
        match kernel(context, store, arm).await {
            Ok((image, version)) => {
                let left_out = plan.too_new(arm, &version);
                record.kernel(&arm.name, &image, &left_out)?;
                let arm = arm.without(&left_out);
                let image = Rc::new(image);
                let unseen = Rc::default();
                let arm = Ready { arm, image, unseen };
                if ready.send(arm).is_err() {
                    // The trials ended early; their error says why.
                    return Ok(());
                }
            }
            Err(error) if error.exit() == Exit::Undecided => {
                context.emit(Event::Warning(format!(
                    "{} has no kernel: {}",
                    arm.name,
                    error.one_line()
                )));
                record.broken(&arm.name, &error.one_line())?;
            }
            // A mistake of the job or the host: nothing after it would be right.
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes one arm's kernel, or finds it in the store; and its version.
async fn kernel(
    context: &Context,
    store: &Store,
    arm: &Arm,
) -> Result<(KernelImage, KernelVersion), Error> {
    let tree = kernel::fetch(context, store, &arm.source).await?;
    let mut series = Vec::new();
    for path in &arm.patches {
        let (directory, name) = split(path);
        series.extend(kernel::select(
            directory,
            directory,
            &[name],
            &tree.version,
        )?);
    }
    kernel::leave_to_first(&mut series);
    let mut fragments = Vec::new();
    for path in &arm.fragments {
        let (directory, name) = split(path);
        let name = name.strip_suffix(".config").unwrap_or(&name);
        fragments.push(Fragment::find(directory, directory, name)?);
    }
    let image = kernel::prepare(context, store, &tree, &series, &fragments, 0).await?;
    Ok((image, tree.version))
}

fn split(path: &Path) -> (&Path, String) {
    let directory = path.parent().unwrap_or(path);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (directory, name.into_owned())
}

/// What the trials of a run are about.
struct Work<'a> {
    plan: &'a Plan,
    record: &'a Record,
    /// Trials at a time.
    jobs: usize,
    /// When the run began: a finding may be known until some day only.
    day: Date,
}

/// Runs the trials of arms as they become ready.
async fn run_trials(
    context: &Context,
    store: &Store,
    work: &Work<'_>,
    mut ready: mpsc::UnboundedReceiver<Ready>,
) -> Result<(), Error> {
    let Work {
        plan,
        record,
        jobs,
        day,
    } = *work;
    // Nothing is started before there is a kernel to try.
    let Some(first) = ready.recv().await else {
        return Ok(());
    };
    let namespace = crate::cluster::private_network(CLUSTER_ADDRESS).await?;
    let logs = record.path().join("cluster");
    let result = {
        let prepared = tokio::try_join!(
            async { Ok(rootfs::build(context, store, &plan.rootfs).await?) },
            start_cluster(context, store, plan, &namespace, &logs),
            async {
                let kernel = &first.image.bzimage;
                vm::choose(context, store, plan.acceleration, kernel, &namespace)
                    .await
                    .map_err(Error::from)
            }
        );
        match prepared {
            Ok((rootfs, cluster, accelerator)) => {
                let (down, cluster_down) = watch::channel(None);
                let bench = trial::Bench {
                    context,
                    plan,
                    initramfs: &rootfs.path,
                    namespace: &namespace,
                    accelerator,
                    cluster: &cluster,
                    cluster_down,
                    day,
                };
                let all = async {
                    record.accelerator(accelerator.name())?;
                    all_trials(&bench, record, jobs, first, ready).await
                };
                let watching = async {
                    let ended = cluster.lost().await;
                    let what = Error::from(ClusterError::from(ended)).one_line();
                    down.send_replace(Some(what));
                    // The trials see it and end.
                    std::future::pending::<()>().await;
                };
                let result = tokio::select! {
                    result = all => result,
                    () = watching => Ok(()),
                    () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
                };
                cluster.stop().await;
                result
            }
            Err(error) => Err(error),
        }
    };
    namespace.close().await;
    result
}

async fn start_cluster(
    context: &Context,
    store: &Store,
    plan: &Plan,
    namespace: &Namespace,
    directory: &Path,
) -> Result<Cluster, Error> {
    let started = Cluster::start(
        context,
        store,
        &plan.cluster,
        namespace,
        CLUSTER_ADDRESS,
        directory,
    );
    Ok(started.await?)
}

/// Runs every trial of every arm, at most `jobs` at a time, in the arms' order.
async fn all_trials(
    bench: &trial::Bench<'_>,
    record: &Record,
    jobs: usize,
    first: Ready,
    mut ready: mpsc::UnboundedReceiver<Ready>,
) -> Result<(), Error> {
    // Tokio's semaphore is fair, so trials start in the order they were pushed.
    let all = u32::try_from(jobs.max(1)).unwrap_or(u32::MAX);
    let places = Semaphore::new(jobs.max(1));
    let mut running = FuturesUnordered::new();
    let mut serial = 0;
    let mut waiting = vec![first];
    let mut open = true;
    if !bench.plan.compare.is_empty() {
        // A compiler beside it would slow down what is measured.
        while let Some(more) = ready.recv().await {
            waiting.push(more);
        }
    }
    loop {
        for Ready { arm, image, unseen } in waiting.drain(..) {
            for number in 1..=arm.planned() {
                let planned = arm.workload(number);
                let Some(planned) = planned.and_then(|name| bench.plan.workload(name)) else {
                    continue;
                };
                serial += 1;
                let hostname = format!("trial-{serial}");
                let (arm, image, places) = (arm.clone(), Rc::clone(&image), &places);
                let unseen = Rc::clone(&unseen);
                // What stops a daemon stops it for every trial under way, and
                // what is measured must not depend on who else is there.
                let alone = planned.workload.disturbs_others()
                    || bench.plan.measures(&planned.workload.name);
                let share = if alone { all } else { 1 };
                running.push(async move {
                    let _places = places.acquire_many(share).await;
                    // The first one tests the kernel; the others wait for it.
                    let unseen = unseen.get_or_try_init(async || {
                        if bench.plan.self_test {
                            self_test::self_test(bench, record, &arm, &image).await
                        } else {
                            Ok(Vec::new())
                        }
                    });
                    let kernel = (&arm, &*image, unseen.await?.as_slice());
                    one_trial(bench, record, kernel, (number, planned), &hostname).await
                });
            }
        }
        tokio::select! {
            more = ready.recv(), if open => {
                open = more.is_some();
                waiting.extend(more);
            }
            Some(result) = running.next(), if !running.is_empty() => result?,
            else => return Ok(()),
        }
    }
}

/// Runs and records one trial, once more if the harness failed.
async fn one_trial(
    bench: &trial::Bench<'_>,
    record: &Record,
    (arm, image, unseen): (&Arm, &KernelImage, &[Class]),
    (number, planned): (u32, &PlannedWorkload),
    hostname: &str,
) -> Result<(), Error> {
    let context = bench.context;
    context.emit(Event::TrialStarted {
        arm: arm.name.clone(),
        trial: number,
    });
    let mut trial: Trial;
    let mut retries = 0;
    loop {
        // A name of its own for every attempt: the cluster must not mistake
        // one guest for another.
        let hostname = format!("{hostname}-{retries}");
        let directory = record.begin_trial(&arm.name, number)?;
        let subject = trial::Subject {
            arm,
            image,
            number,
            planned,
            hostname: &hostname,
            directory: &directory,
        };
        trial = trial::run(bench, &subject).await?;
        trial.retries = retries;
        trial.unseen = unseen.to_vec();
        let cluster_down = bench.cluster_down.borrow().is_some();
        if !cluster_down {
            evict_leftovers(bench, &hostname).await;
        }
        let failed = matches!(trial.ending, Ending::Harness { .. });
        if !failed || cluster_down || retries == RETRIES {
            break;
        }
        retries += 1;
    }
    record.end_trial(&trial)?;
    let judged = decide(&trial, arm.target.as_ref(), &bench.plan.known, bench.day);
    context.emit(Event::TrialFinished {
        arm: arm.name.clone(),
        trial: number,
        outcome: judged.outcome,
        reason: judged.reason,
        elapsed: std::time::Duration::from_secs_f64(trial.seconds),
    });
    Ok(())
}

/// A guest that died leaves sessions behind, whose capabilities others would
/// wait for until they time out.
async fn evict_leftovers(bench: &trial::Bench<'_>, hostname: &str) {
    let sessions = match bench.cluster.sessions().await {
        Ok(sessions) => sessions,
        Err(error) => {
            let text = Error::from(error).one_line();
            bench.context.emit(Event::Warning(format!(
                "cannot list the sessions that {hostname} left: {text}"
            )));
            return;
        }
    };
    for session in sessions.iter().filter(|s| s.hostname == hostname) {
        // One that went away meanwhile needs no eviction.
        drop(bench.cluster.evict(session.id).await);
    }
}
