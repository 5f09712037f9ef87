//! `kvet join PART… --out RUN`: the verdict on a run that machines shared.

use std::path::PathBuf;

use clap::Args;

use super::on_a_thread;
use super::output::{Format, print, print_json, style, width};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::history::History;
use crate::record::join;
use crate::report::human_within;
use crate::run::{after_the_verdict, judge_joined};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directories that `kvet run --part` wrote
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The directory of the whole run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let Arguments { parts, format, out } = arguments;
    let told = context.clone();
    let joined = on_a_thread(context, move || {
        let joined = join(&parts, &out)?;
        for part in &joined.missing {
            told.emit(Event::Warning(format!(
                "part {part} is missing: its trials count as not run"
            )));
        }
        for difference in &joined.differences {
            told.emit(Event::Warning(difference.clone()));
        }
        let (report, unkept) = judge_joined(&joined.record, &joined.beginning)?;
        if let Some(unkept) = unkept {
            let text = format!("cannot keep the report: {}", Error::from(unkept).one_line());
            told.emit(Event::Warning(text));
        }
        Ok((joined, report))
    });
    let (joined, report) = joined.await?;
    if let Err(error) = known_to_history(context, joined.record.path()).await {
        let text = format!("history does not know of this run: {}", error.one_line());
        context.emit(Event::Warning(text));
    }
    let plan = &joined.beginning.plan;
    after_the_verdict(context, plan, &report, joined.record.path()).await;
    let tell = move || {
        match format {
            Format::Human => print(&human_within(&report, style(), width()))?,
            Format::Json => print_json(&report)?,
        }
        Ok(report.verdict.kind.exit())
    };
    on_a_thread(context, tell).await
}

/// Lets history know of the joined run.
async fn known_to_history(context: &Context, run: &std::path::Path) -> Result<(), Error> {
    let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    let kept = move || Ok(History::of_the_user()?.keep(&run)?);
    for remark in on_a_thread(context, kept).await? {
        context.emit(Event::Warning(remark));
    }
    Ok(())
}
