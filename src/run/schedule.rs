//! Which trials run when: as many at a time as the run allows, those first that
//! tell most ([`next`]), until all have run or, if the job says so, until the
//! verdict is settled. Arms join as their kernels become ready.

use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::build::Ready;
use super::{Bench, Subject, one_trial, self_test};
use crate::error::Error;
use crate::job::PlannedWorkload;
use crate::trial_id::TrialId;
use crate::verdict::{ArmResult, Judged, Next, Tried, next, target_key};

/// A trial under way: the arm's index, which trial, and what it came to.
type Running<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

struct Ended {
    arm: usize,
    id: TrialId,
    result: Result<Option<Judged>, Error>,
}

/// Runs the trials of arms as they become ready.
pub(super) async fn all_trials(
    bench: &Bench<'_>,
    first: Ready,
    mut ready: mpsc::UnboundedReceiver<Ready>,
) -> Result<(), Error> {
    let mut schedule = Schedule::new(bench);
    schedule.join(first);
    let mut open = true;
    if !bench.plan.compare.is_empty() {
        // A compiler beside it would slow down what is measured.
        while let Some(more) = ready.recv().await {
            schedule.join(more);
        }
    }
    loop {
        schedule.begin();
        tokio::select! {
            more = ready.recv(), if open => match more {
                Some(more) => schedule.join(more),
                None => open = false,
            },
            Some(ended) = schedule.running.next(), if !schedule.running.is_empty() => {
                schedule.ended(ended)?;
            }
            else => return Ok(()),
        }
    }
}

/// The arms that are ready, and the trials under way.
struct Schedule<'a> {
    bench: &'a Bench<'a>,
    arms: Vec<Rc<Ready>>,
    /// What is known of each, in the order of `arms`.
    results: Vec<ArmResult>,
    running: FuturesUnordered<Running<'a>>,
    /// A trial that must not have another beside it is under way.
    alone: bool,
    /// Guests so far: each has a name of its own.
    serial: u32,
}

impl<'a> Schedule<'a> {
    fn new(bench: &'a Bench<'a>) -> Self {
        Self {
            bench,
            arms: Vec::new(),
            results: Vec::new(),
            running: FuturesUnordered::new(),
            alone: false,
            serial: 0,
        }
    }

    fn join(&mut self, ready: Ready) {
        let arm = &ready.arm;
        self.results.push(ArmResult {
            name: arm.name.clone(),
            control: arm.control,
            target: target_key(arm.target.as_ref()),
            planned: arm.planned(),
            workloads: arm.workloads.clone(),
            ..ArmResult::default()
        });
        self.arms.push(Rc::new(ready));
    }

    /// Begins as many trials as there is room for.
    fn begin(&mut self) {
        let bench = self.bench;
        while !self.alone && self.running.len() < bench.options.jobs.max(1) {
            let Next::Try { arm, workload } = next(&self.results, &bench.plan.rules) else {
                return;
            };
            let Some(planned) = bench.plan.workload(&workload) else {
                return;
            };
            // What stops a daemon stops it for every trial under way, and what is
            // measured must not depend on who else is there.
            let alone = planned.workload.disturbs_others() || bench.plan.measures(&workload);
            if alone && !self.running.is_empty() {
                return;
            }
            self.alone = alone;
            self.push(arm, planned);
        }
    }

    fn push(&mut self, arm: usize, planned: &'a PlannedWorkload) {
        let bench = self.bench;
        let ready = Rc::clone(&self.arms[arm]);
        let result = &mut self.results[arm];
        let workload = planned.workload.name.clone();
        let same = |name: &&String| **name == workload;
        let ended = result.trials.iter().map(|tried| &tried.workload);
        let begun = ended.filter(same).count() + result.under_way.iter().filter(same).count();
        let id = TrialId {
            arm: ready.arm.name.clone(),
            workload: workload.clone(),
            number: u32::try_from(begun).map_or(u32::MAX, |begun| begun + 1),
        };
        result.under_way.push(workload);
        self.serial += 1;
        let hostname = format!("trial-{}", self.serial);
        self.running.push(Box::pin(async move {
            let subject = Subject {
                arm: &ready.arm,
                image: &ready.image,
                planned,
                id: id.clone(),
            };
            let result = async {
                // The first one tests the kernel; the others wait for it.
                let test = async || {
                    if bench.plan.self_test {
                        self_test::self_test(bench, &ready.arm, &ready.image).await?;
                    }
                    Ok::<_, Error>(())
                };
                ready.tested.get_or_try_init(test).await?;
                one_trial(bench, &subject, &hostname).await
            };
            let result = result.await;
            Ended { arm, id, result }
        }));
    }

    fn ended(&mut self, ended: Ended) -> Result<(), Error> {
        let Ended { arm, id, result } = ended;
        self.alone = false;
        let arm = &mut self.results[arm];
        if let Some(at) = arm.under_way.iter().position(|name| *name == id.workload) {
            arm.under_way.remove(at);
        }
        match result? {
            Some(judged) => arm.trials.push(Tried::of(&id.workload, id.number, &judged)),
            // The service is lost, and with it every further trial.
            None => self.results.iter_mut().for_each(|arm| arm.planned = 0),
        }
        Ok(())
    }
}
