//! One trial: on the bench or on a lane, recorded, and done again if it tells
//! nothing but that the harness failed.

use std::path::Path;

use super::attempts::{Attempt, Attempts};
use super::bench::Bench;
use super::report::question;
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
    let lost = match lane {
        Some(lane) => crate::trial::lost(lane).await,
        None => bench.place.lost().await,
    };
    // No further trial would tell anything.
    let tell = |why: &str| {
        context.emit(Event::Warning(format!(
            "{why}; no further trial is run there"
        )));
    };
    if let Some(why) = lost {
        tell(&why);
        return Ok(OneTrial {
            judged: None,
            lost: true,
        });
    }
    let attempts = Attempts {
        context,
        record: bench.record,
        beginning: &bench.beginning,
        arm: subject.arm,
        id: &subject.id,
        hostname,
    };
    let first = bench.place.begin(bench.record, &subject.id)?;
    let make = async |attempt: Attempt| {
        let request = request(bench, subject, attempt.number, attempt.hostname);
        let directory = attempt.directory;
        let place = &bench.place;
        let attempted = place.attempt(context, lane, &request, &directory, attempt.avoid);
        let attempted = attempted.await?;
        count_lines(context, subject.image, &directory).await;
        if let Some(why) = &attempted.lost {
            tell(why);
        }
        Ok(attempted)
    };
    let (judged, lost) = attempts.make(first, make).await?;
    Ok(OneTrial {
        judged: Some(judged),
        lost,
    })
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
