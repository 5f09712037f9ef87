//! Which trials run when: as many at a time as the run allows, those first that
//! tell most ([`next`]), until all have run or, if the job says so, until the
//! verdict is settled. Arms join as their kernels become ready.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::attempts::another_follows;
use super::bench::Bench;
use super::build::Ready;
use super::one_trial::{Subject, one_trial};
use super::report::{judge_one, question};
use super::self_test::{is_due, self_test};
use super::width::Width;
use crate::error::Error;
use crate::job::PlannedWorkload;
use crate::testbed::Testbed;
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
    schedule.join(first)?;
    let mut open = true;
    if !bench.plan.compare.is_empty() {
        // A compiler beside it would slow down what is measured.
        while let Some(more) = ready.recv().await {
            schedule.join(more)?;
        }
    }
    loop {
        schedule.begin();
        let crowded = schedule.crowded;
        tokio::select! {
            more = ready.recv(), if open => match more {
                Some(more) => schedule.join(more)?,
                None => open = false,
            },
            Some(ended) = schedule.running.next(), if !schedule.running.is_empty() => {
                schedule.ended(ended)?;
            }
            () = schedule.width.look_again(), if crowded => {}
            else => break,
        }
    }
    if bench.plan.self_test {
        schedule.test_again().await?;
    }
    Ok(())
}

/// The numbers of an arm's trials of a workload that ended or were begun.
#[derive(Debug, Default)]
struct Taken {
    numbers: BTreeSet<u32>,
    /// All up to this one are.
    up_to: u32,
}

impl Taken {
    /// The lowest number that is free, which is taken from here on. A run that was
    /// resumed may have gaps.
    fn next(&mut self) -> u32 {
        loop {
            self.up_to = self.up_to.saturating_add(1);
            if self.numbers.insert(self.up_to) {
                return self.up_to;
            }
        }
    }
}

/// Runs a trial on a testbed that no other is on.
async fn on_a_lane(
    bench: &Bench<'_>,
    subject: &Subject<'_>,
    hostname: &str,
) -> Result<Option<Judged>, Error> {
    let open = async |number: u32| bench.open_lane(number).await;
    let work = async |testbed: &Testbed| {
        let tried = one_trial(bench, Some(testbed), subject, hostname).await?;
        Ok((tried.judged, tried.lost))
    };
    bench.lanes.carry_out(bench.context, open, work).await
}

/// The arms that are ready, and the trials under way.
struct Schedule<'a> {
    bench: &'a Bench<'a>,
    arms: Vec<Rc<Ready>>,
    /// What is known of each, in the order of `arms`.
    results: Vec<ArmResult>,
    /// The trials that ended or were begun, by arm and workload.
    taken: BTreeMap<(usize, String), Taken>,
    running: FuturesUnordered<Running<'a>>,
    /// A trial that must not have another beside it is under way.
    alone: bool,
    width: Width,
    /// Another trial would begin if there were room for it.
    crowded: bool,
    /// Guests so far: each has a name of its own.
    serial: u32,
}

impl<'a> Schedule<'a> {
    fn new(bench: &'a Bench<'a>) -> Self {
        Self {
            bench,
            arms: Vec::new(),
            results: Vec::new(),
            taken: BTreeMap::new(),
            running: FuturesUnordered::new(),
            alone: false,
            width: Width::new(bench.options.jobs, bench.plan.hardware.memory),
            crowded: false,
            serial: 0,
        }
    }

    fn join(&mut self, ready: Ready) -> Result<(), Error> {
        let arm = &ready.arm;
        let mut result = ArmResult {
            name: arm.name.clone(),
            control: arm.control,
            target: target_key(arm.target.as_ref()),
            planned: arm.planned(),
            workloads: arm.workloads.clone(),
            ..ArmResult::default()
        };
        for workload in &arm.workloads {
            let tried = self.recorded(&ready, workload)?;
            let taken = self.taken.entry((self.arms.len(), workload.clone()));
            let numbers = tried.iter().map(|tried| tried.number).collect();
            taken.or_default().numbers = numbers;
            result.trials.extend(tried);
        }
        self.results.push(result);
        self.arms.push(Rc::new(ready));
        Ok(())
    }

    /// What an arm's trials came to before the run was resumed. One that is worth
    /// another attempt has not ended.
    fn recorded(&self, ready: &Ready, workload: &str) -> Result<Vec<Tried>, Error> {
        let bench = self.bench;
        if !bench.options.resume {
            return Ok(Vec::new());
        }
        let mut tried = Vec::new();
        for recorded in bench.record.trials(&ready.arm.name, workload)? {
            let ended = bench.record.ended_attempts(&recorded.trial.id)?;
            let trial = recorded.trial;
            let question = question(&bench.beginning, &ready.arm);
            // A run that goes on has a service of its own, whatever became of the first.
            if another_follows(&trial, &question, false, ended) {
                continue;
            }
            let judged = judge_one(bench.record, &bench.beginning, &ready.arm, &trial)?;
            tried.push(Tried::of(workload, trial.id.number, &judged));
        }
        Ok(tried)
    }

    /// Begins as many trials as there is room for.
    fn begin(&mut self) {
        let bench = self.bench;
        self.crowded = false;
        while !self.alone {
            let running = self.running.len();
            let until = bench.plan.rules.until.is_some();
            let hosts = bench.place.width(until);
            let has_room =
                hosts.map_or_else(|| self.width.has_room(running), |most| running < most);
            if !has_room {
                self.crowded = hosts.is_none();
                self.width.looked();
                return;
            }
            let Next::Try { arm, workload } = next(&self.results, &bench.plan.rules) else {
                return;
            };
            let Some(planned) = bench.plan.workload(&workload) else {
                return;
            };
            // What is measured must not depend on who else is there.
            let alone = bench.plan.measures(&workload) && bench.place.is_here();
            if alone && !self.running.is_empty() {
                return;
            }
            self.alone = alone;
            self.push(arm, planned);
            self.width.begun();
        }
    }

    /// Tests the kernels of arms whose trials have all ended before the run was
    /// resumed, and wait for that.
    async fn test_again(&self) -> Result<(), Error> {
        let bench = self.bench;
        for ready in &self.arms {
            if ready.tested.get().is_none() && is_due(bench.record, &ready.arm)? {
                self_test(bench, &ready.arm, &ready.image).await?;
            }
        }
        Ok(())
    }

    fn push(&mut self, arm: usize, planned: &'a PlannedWorkload) {
        let bench = self.bench;
        let ready = Rc::clone(&self.arms[arm]);
        let result = &mut self.results[arm];
        let workload = planned.workload.name.clone();
        let taken = self.taken.entry((arm, workload.clone())).or_default();
        let id = TrialId {
            arm: ready.arm.name.clone(),
            workload: workload.clone(),
            number: taken.next(),
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
                        self_test(bench, &ready.arm, &ready.image).await?;
                    }
                    Ok::<_, Error>(())
                };
                ready.tested.get_or_try_init(test).await?;
                if planned.workload.disturbs_others() && bench.place.is_shared() {
                    // What stops a daemon stops it for every trial that uses it.
                    return on_a_lane(bench, &subject, &hostname).await;
                }
                let tried = one_trial(bench, None, &subject, &hostname).await?;
                // Without its service no further trial would tell anything.
                Ok(tried.judged.filter(|_| !tried.lost))
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
            // The service is lost, and with it every further trial; why is told.
            None => self.results.iter_mut().for_each(|arm| arm.planned = 0),
        }
        Ok(())
    }
}
