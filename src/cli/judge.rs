//! `kvet judge RUN`

use std::path::PathBuf;

use clap::Args;

use super::output::{Format, complain, print, print_json, style};
use crate::error::{Error, Exit};
use crate::report::human;
use crate::run::judge_again;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run directory
    run: PathBuf,
    /// Form of the result on standard output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn judge(arguments: &Arguments) -> Result<Exit, Error> {
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
