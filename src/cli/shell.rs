//! `kvet shell JOB`

use std::path::PathBuf;

use clap::Args;

use super::{load_plan, open_store};
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::job::Choice;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet
    job: PathBuf,
    /// The arm whose kernel to boot [default: the job's only one]
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,
    /// Let gdb look into the guest; the command for it is told
    #[arg(long)]
    gdb: bool,
}

pub(super) async fn shell(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let choice = Choice {
        arms: arguments.arm.into_iter().collect(),
        ..Choice::default()
    };
    let plan = load_plan(context, arguments.job, choice).await?;
    let store = open_store(context).await?;
    crate::run::shell(context, &store, &plan, arguments.gdb).await?;
    Ok(Exit::Good)
}
