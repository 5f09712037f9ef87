//! `kvet batch SPOOL TASK`, `kvet batch -`: a host's part of a run that `--on`
//! spreads. For drivers; people use `kvet run --on`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::open_store;
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::fleet;
use crate::testbed::Testbed;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The directory that driver and hosts share; `-` for standard input and output
    spool: PathBuf,
    /// Which task of it
    task: Option<u64>,
}

pub(super) async fn batch(arguments: &Arguments, context: &Context) -> Result<Exit, Error> {
    let store = open_store(context).await?;
    match (arguments.spool.as_path(), arguments.task) {
        (spool, Some(task)) => fleet::task::<Testbed>(context, &store, spool, task).await?,
        (spool, None) if spool == Path::new("-") => {
            fleet::session::<Testbed>(context, &store).await?;
        }
        (spool, None) => return Err(fleet::FleetError::NotOn(spool.to_owned()).into()),
    }
    Ok(Exit::Good)
}
