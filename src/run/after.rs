//! What follows a verdict, whatever it is, and changes nothing of it: it is
//! remembered, and whoever waits for a change is told.

use std::path::Path;

use super::news::remember;
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::job::Plan;
use crate::notify::{self, Facts, LINK_VARIABLE};
use crate::report::Report;
use crate::store::Key;

/// Does what follows the verdict of a run in this directory. What fails is a
/// warning.
pub async fn after_the_verdict(context: &Context, plan: &Plan, report: &Report, run: &Path) {
    let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    if let Err(error) = remember(context, plan, report, &run) {
        let text = Error::from(error).one_line();
        context.emit(Event::Warning(format!(
            "the answer is not remembered: {text}"
        )));
    }
    if let Some(notify) = &plan.notify {
        let series = Key::of([plan.name.as_str(), plan.stream.as_str()]);
        notify::tell(context, notify, &series, facts(report, &run)).await;
    }
}

/// What can be told of a report.
fn facts(report: &Report, run: &Path) -> Facts {
    let mut kernels: Vec<&str> = report
        .arms
        .iter()
        .filter_map(|arm| Some(arm.kernel.as_ref()?.release.as_str()))
        .collect();
    kernels.sort_unstable();
    kernels.dedup();
    let uname = rustix::system::uname();
    Facts {
        job: report.job.clone(),
        verdict: report.verdict.kind,
        before: None,
        reason: report.verdict.reasons.join("; "),
        kernels: kernels.join(", "),
        run: run.display().to_string(),
        host: uname.nodename().to_string_lossy().into_owned(),
        link: std::env::var(LINK_VARIABLE).unwrap_or_default(),
    }
}
