//! An arm's kernel in one call: from the store if it is there, made otherwise.

use super::build::{self, KernelImage, Stored, build};
use super::configuration::Configuration;
use super::configure::{ConfigError, configure};
use super::key::build_key;
use super::patch::{patch_for, subject};
use super::progress::Progress;
use super::series::SelectedSeries;
use super::source::Tree;
use super::toolchain;
use crate::context::Context;
use crate::error::Error;
use crate::event::{Event, Stage};
use crate::store::{Key, Store};

/// The arm's kernel if the store has it; nothing is made or changed.
pub async fn stored(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
    configuration: &Configuration,
) -> Result<Option<KernelImage>, Error> {
    let (key, _) = key_of(context, tree, series, configuration).await?;
    Ok(match build::stored(store, &key).await {
        Stored::Whole(image) => Some(image.called(&tree.origin, series, configuration.names())),
        Stored::Damaged(_) | Stored::Nothing => None,
    })
}

/// What a kernel is called in the store, and the compiler that decides it.
pub(super) async fn key_of(
    context: &Context,
    tree: &Tree,
    series: &[SelectedSeries],
    configuration: &Configuration,
) -> Result<(Key, String), Error> {
    let compiler = toolchain::compiler(context)
        .await
        .map_err(ConfigError::from)?;
    let key = build_key(&tree.key, series, configuration, &compiler);
    Ok((key, compiler))
}

/// The arm's kernel: from the store, or patched, configured and built with
/// `jobs` compilers at a time (0: one per processor). One in the store that was
/// damaged is built again.
pub async fn prepare(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
    configuration: &Configuration,
    jobs: usize,
) -> Result<KernelImage, Error> {
    let (key, _) = key_of(context, tree, series, configuration).await?;
    let subject = subject(tree, series);
    match build::stored(store, &key).await {
        Stored::Whole(image) => {
            Progress::start(context, Stage::Build, subject).finish(true);
            return Ok(image.called(&tree.origin, series, configuration.names()));
        }
        Stored::Damaged(problem) => {
            context.emit(Event::Warning(format!(
                "the kernel {subject} in the cache is damaged and is built again: {problem}"
            )));
            build::discard(store, &key).await?;
        }
        Stored::Nothing => {}
    }
    let patched = patch_for(context, store, tree, series, &configuration.instrumented).await?;
    let configured = configure(context, store, patched, configuration).await?;
    Ok(build(context, store, configured, jobs).await?)
}
