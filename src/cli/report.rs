//! `kvet report RUN --format FORMAT`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::{print, print_json, style};
use crate::error::{Error, Exit};
use crate::report::{human, junit};
use crate::run::Record;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run directory
    run: PathBuf,
    /// Form of the report
    #[arg(long, value_enum)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
    Junit,
}

pub(super) fn report(arguments: &Arguments) -> Result<Exit, Error> {
    let (record, _) = Record::open(&arguments.run)?;
    let report = record.kept_report()?;
    match arguments.format {
        Format::Human => print(&human(&report, style()))?,
        Format::Json => print_json(&report)?,
        Format::Junit => print(&junit(&report))?,
    }
    Ok(Exit::Good)
}
