//! `kvet judge RUN`

use std::path::PathBuf;

use clap::Args;

use super::output::{Format, complain, print, print_json, style};
use crate::bisect;
use crate::error::{Error, Exit};
use crate::report::human;
use crate::run::judge_again;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory of a run or of a bisection
    run: PathBuf,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn judge(arguments: &Arguments) -> Result<Exit, Error> {
    if bisect::is_bisection(&arguments.run) {
        let (report, unkept) = bisect::judge_again(&arguments.run)?;
        let exit = super::bisect::show(&report, arguments.format)?;
        if let Some(error) = unkept {
            complain(&error);
        }
        return Ok(exit);
    }
    let (report, unkept) = judge_again(&arguments.run)?;
    match arguments.format {
        Format::Human => print(&human(&report, style()))?,
        Format::Json => print_json(&report)?,
    }
    // The verdict stands whether or not it could be kept.
    if let Some(error) = unkept {
        complain(&error.into());
    }
    Ok(report.verdict.kind.exit())
}
