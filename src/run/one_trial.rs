//! One trial: on the bench or on a lane, recorded, and done again if it tells
//! nothing but that the harness failed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::bench::Bench;
use super::executor::Attempted;
use super::report::{is_worth_another, judge_one, question};
use crate::context::Context;
use crate::coverage;
use crate::error::Error;
use crate::event::Event;
use crate::job::{Arm, PlannedWorkload};
use crate::kernel::KernelImage;
use crate::testbed::Testbed;
use crate::trial::Request;
use crate::trial_id::TrialId;
use crate::verdict::Judged;

/// How often a trial that tells nothing but that the harness failed is repeated.
pub(super) const RETRIES: u32 = 2;

/// So many guests of an arm leave their memory: one more tells nothing new.
const DUMPS: usize = 2;

/// Which trial of which arm.
pub(super) struct Subject<'a> {
    pub(super) arm: &'a Arm,
    pub(super) image: &'a KernelImage,
    pub(super) planned: &'a PlannedWorkload,
    pub(super) id: TrialId,
}

/// What a trial came to.
pub(super) struct OneTrial {
    /// `None` if the service was lost before.
    pub(super) judged: Option<Judged>,
    /// Whether the service is lost now.
    pub(super) lost: bool,
}

/// Runs and records one trial, and again if it tells nothing but that the
/// harness failed: on a lane, or on what the run's trials share.
pub(super) async fn one_trial(
    bench: &Bench<'_>,
    lane: Option<&Testbed>,
    subject: &Subject<'_>,
    hostname: &str,
) -> Result<OneTrial, Error> {
    let context = bench.context;
    let question = question(&bench.beginning, subject.arm);
    let lost = match lane {
        Some(lane) => crate::trial::lost(lane).await,
        None => bench.place.lost().await,
    };
    if let Some(why) = lost {
        // No further trial would tell anything.
        let text = format!("{why}; no further trial is run there");
        context.emit(Event::Warning(text));
        return Ok(OneTrial {
            judged: None,
            lost: true,
        });
    }
    let mut avoid = BTreeSet::new();
    let mut begun = bench.place.begin(bench.record, &subject.id)?;
    loop {
        let (attempt, directory) = begun;
        context.emit(Event::TrialStarted {
            trial: subject.id.clone(),
            attempt,
        });
        // A name of its own for every attempt: the service must not mistake one
        // guest for another.
        let request = request(bench, subject, attempt, format!("{hostname}-{attempt}"));
        let attempted = bench
            .place
            .attempt(context, lane, &request, &directory, avoid.clone());
        let Attempted { trial, lost } = attempted.await?;
        count_lines(context, subject.image, &directory).await;
        if let Some(why) = &lost {
            let text = format!("{why}; no further trial is run there");
            context.emit(Event::Warning(text));
        }
        let ended = bench.record.ended_attempts(&subject.id)?;
        if lost.is_none() && ended <= RETRIES && is_worth_another(&trial, &question) {
            avoid.extend(trial.host);
            begun = bench.record.begin_attempt(&subject.id)?;
            continue;
        }
        let judged = judge_one(bench.record, &bench.beginning, subject.arm, &trial)?;
        context.emit(Event::TrialFinished {
            trial: subject.id.clone(),
            outcome: judged.outcome,
            reason: judged.reason.clone(),
            elapsed: Duration::from_secs_f64(trial.seconds.max(0.0)),
        });
        return Ok(OneTrial {
            judged: Some(judged),
            lost: lost.is_some(),
        });
    }
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
        host: None,
        hostname,
        kernel: subject.image.bzimage.clone(),
        release: subject.image.release.clone(),
        words: subject.arm.command_line.clone(),
        hardware: plan.hardware.clone(),
        image: bench.rootfs.path.clone(),
        acceleration: plan.acceleration,
        start: plan.start,
        save: subject.arm.planned() > 1,
        service: plan.service.clone(),
        workload: subject.planned.workload.clone(),
        timeout: subject.planned.timeout,
        target: subject.arm.target.clone(),
        known: plan.known.clone(),
        patterns: plan.patterns.clone(),
        profile: plan.profile.clone(),
        counters: plan.counters.clone(),
        counted: counted(subject.image),
        dump: plan.dump && bench.record.memory_dumps(&subject.id.arm) < DUMPS,
        day: question(&bench.beginning, subject.arm).day,
    }
}
