//! `kvet schema`: the JSON schema of job files, for editors.

use clap::Args;

use super::on_a_thread;
use super::output::print;
use crate::context::Context;
use crate::error::{Error, Exit};

/// Made from the types that read jobs; a test compares the two.
const JOB: &str = include_str!("../../schema/job.json");

/// The same for reports.
const REPORT: &str = include_str!("../../schema/report.json");

/// What has a schema.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Kind {
    /// Job files
    #[default]
    Job,
    /// `kvet report --format json`
    Report,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Of what
    #[arg(value_enum, default_value_t)]
    of: Kind,
}

pub(super) async fn schema(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let text = match arguments.of {
        Kind::Job => JOB,
        Kind::Report => REPORT,
    };
    on_a_thread(context, move || Ok(print(text)?)).await?;
    Ok(Exit::Good)
}
