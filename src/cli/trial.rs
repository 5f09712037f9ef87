//! `kvet trial REQUEST DIR`: one attempt at a trial in a process of its own.
//! For drivers; people use `kvet run`.

use std::path::PathBuf;

use clap::Args;

use super::open_store;
use crate::context::Context;
use crate::error::{Error, Exit};
use crate::run::trial_of;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file that describes the attempt
    request: PathBuf,
    /// The directory that its files go to
    directory: PathBuf,
}

pub(super) async fn trial(arguments: &Arguments, context: &Context) -> Result<Exit, Error> {
    let store = open_store(context).await?;
    trial_of(context, &store, &arguments.request, &arguments.directory).await?;
    Ok(Exit::Good)
}
