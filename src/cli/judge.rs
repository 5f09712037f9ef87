//! `kvet judge RUN`

use std::path::PathBuf;

use clap::Args;

use super::history::find_run;
use super::output::{Format, complain, print, print_json, style, width};
use crate::bisect;
use crate::error::{Error, Exit};
use crate::report::human_within;
use crate::run::judge_again;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run or the bisection: its directory, its id, the beginning or the end of
    /// that, or `latest`
    run: PathBuf,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn judge(arguments: &Arguments) -> Result<Exit, Error> {
    let run = find_run(&arguments.run)?;
    if bisect::is_bisection(&run) {
        let (report, unkept) = bisect::judge_again(&run)?;
        let exit = super::bisect::show(&report, arguments.format)?;
        if let Some(error) = unkept {
            complain(&error);
        }
        return Ok(exit);
    }
    let (report, unkept) = judge_again(&run)?;
    match arguments.format {
        Format::Human => print(&human_within(&report, style(), width()))?,
        Format::Json => print_json(&report)?,
    }
    // The verdict stands whether or not it could be kept.
    if let Some(error) = unkept {
        complain(&error.into());
    }
    Ok(report.verdict.kind.exit())
}
