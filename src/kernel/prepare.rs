//! An arm's kernel in one call: from the store if it is there, made otherwise.

use super::build::{self, KernelImage, build};
use super::config::{ConfigError, configure};
use super::fragment::Fragment;
use super::key::build_key;
use super::patch::{patch, subject};
use super::progress::Progress;
use super::series::SelectedSeries;
use super::source::Tree;
use super::toolchain;
use crate::context::Context;
use crate::error::Error;
use crate::event::Stage;
use crate::store::Store;

/// The arm's kernel if the store has it; nothing is made or changed.
pub async fn stored(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
    fragments: &[Fragment],
) -> Result<Option<KernelImage>, Error> {
    let compiler = toolchain::compiler(context)
        .await
        .map_err(ConfigError::from)?;
    let key = build_key(tree, series, fragments, &compiler);
    Ok(build::stored(store, &key))
}

/// The arm's kernel: from the store, or patched, configured and built with
/// `jobs` compilers at a time (0: one per processor).
pub async fn prepare(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
    fragments: &[Fragment],
    jobs: usize,
) -> Result<KernelImage, Error> {
    if let Some(image) = stored(context, store, tree, series, fragments).await? {
        Progress::start(context, Stage::Build, subject(tree, series)).finish(true);
        return Ok(image);
    }
    let patched = patch(context, store, tree, series).await?;
    let configured = configure(context, store, patched, fragments).await?;
    Ok(build(context, store, configured, jobs).await?)
}
