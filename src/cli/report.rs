//! `kvet report RUN --format FORMAT`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::{print, print_json, style};
use crate::error::{Error, Exit};
use crate::record::Record;
use crate::report::{human, junit};
use crate::run::kept_report;

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
    let (record, beginning) = Record::open(&arguments.run)?;
    let report = kept_report(&record, &beginning)?;
    match arguments.format {
        Format::Human => print(&human(&report, style()))?,
        Format::Json => print_json(&report)?,
        Format::Junit => print(&junit(&report))?,
    }
    Ok(Exit::Good)
}
