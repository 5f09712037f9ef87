//! What a kernel is made of, and the whole way from there to the kernel.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::build::KernelImage;
use super::fragment::Fragment;
use super::prepare::prepare;
use super::series::{leave_to_first, select_at};
use super::source::{SourceSpec, Tree, fetch};
use super::version::KernelVersion;
use crate::context::Context;
use crate::error::Error;
use crate::store::Store;

/// What a kernel is made of. Its paths are those of files and directories that
/// were looked up; which patches of a series are for the kernel at hand is
/// decided when its version is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Where the source comes from.
    pub source: SourceSpec,
    /// Topics, directories of patches, or patch files, in order.
    #[serde(rename = "patches")]
    pub series: Vec<PathBuf>,
    /// Kconfig fragments, in order.
    pub fragments: Vec<PathBuf>,
}

/// Makes the kernel of a recipe, or finds it in the store; and its version.
/// Kernels of one run whose source may change meanwhile, such as a directory,
/// are of one state with [`make_from`].
pub async fn make(
    context: &Context,
    store: &Store,
    recipe: &Recipe,
) -> Result<(KernelImage, KernelVersion), Error> {
    let tree = fetch(context, store, &recipe.source).await?;
    let image = make_from(context, store, &tree, recipe).await?;
    Ok((image, tree.version))
}

/// Makes the kernel of a recipe from this tree and not from its source.
pub async fn make_from(
    context: &Context,
    store: &Store,
    tree: &Tree,
    recipe: &Recipe,
) -> Result<KernelImage, Error> {
    let mut series = Vec::new();
    for path in &recipe.series {
        series.push(select_at(path, &tree.version)?);
    }
    leave_to_first(&mut series);
    let mut fragments = Vec::new();
    for path in &recipe.fragments {
        fragments.push(Fragment::read(path)?);
    }
    prepare(context, store, tree, &series, &fragments, 0).await
}
