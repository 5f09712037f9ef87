//! `kvet trial REQUEST DIR`: one attempt at a trial in a process of its own.
//! For drivers; people use `kvet run`.

use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::error::{Error, Exit};
use crate::run::trial_of;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file that describes the attempt
    request: PathBuf,
    /// The directory that its files go to
    directory: PathBuf,
}

pub(super) async fn trial(arguments: &Arguments, context: &Context) -> Result<Exit, Error> {
    let store = Store::open()?;
    trial_of(context, &store, &arguments.request, &arguments.directory).await?;
    Ok(Exit::Good)
}
