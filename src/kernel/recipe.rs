//! What a kernel is made of, and the whole way from there to the kernel.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::build::KernelImage;
use super::configuration::Configuration;
use super::fragment::Fragment;
use super::prepare::prepare;
use super::series::{SelectedSeries, SeriesError, leave_to_first, select_at};
use super::source::{Snapshots, SourceError, SourceSpec, Tree, fetch, fetch_snapshot};
use super::version::KernelVersion;
use super::whole_config::WholeConfig;
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
    /// A whole .config that they come on top of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_config: Option<PathBuf>,
    /// Files of the source whose executed lines are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instrumented: Vec<PathBuf>,
}

impl Recipe {
    /// The patches for a kernel of this version, topic by topic.
    pub fn select(&self, version: &KernelVersion) -> Result<Vec<SelectedSeries>, SeriesError> {
        let mut series = Vec::new();
        for path in &self.series {
            series.push(select_at(path, version)?);
        }
        leave_to_first(&mut series);
        Ok(series)
    }

    /// How its kernel is configured, read from its files.
    pub(super) fn configuration(&self) -> Result<Configuration, Error> {
        let mut fragments = Vec::new();
        for path in &self.fragments {
            fragments.push(Fragment::read(path)?);
        }
        let base = match &self.whole_config {
            Some(path) => Some(WholeConfig::read(path)?),
            None => None,
        };
        Ok(Configuration {
            base,
            fragments,
            instrumented: self.instrumented.iter().cloned().collect(),
        })
    }
}

/// The sources of one run. Each is taken once: an edit, or a commit, between
/// two arms must not come between what they are compared for.
#[derive(Debug, Default)]
pub struct Sources {
    taken: Vec<(SourceSpec, Tree)>,
}

impl Sources {
    /// Begins with these snapshots of directories, which are taken as they were.
    pub async fn pinned(
        context: &Context,
        store: &Store,
        snapshots: &Snapshots,
    ) -> Result<Self, SourceError> {
        let mut taken = Vec::new();
        for (path, id) in snapshots {
            let tree = fetch_snapshot(context, store, path, id).await?;
            taken.push((SourceSpec::Directory { path: path.clone() }, tree));
        }
        Ok(Self { taken })
    }

    /// The tree of a source as it was when it was first asked for.
    pub async fn tree(
        &mut self,
        context: &Context,
        store: &Store,
        source: &SourceSpec,
    ) -> Result<Tree, SourceError> {
        if let Some((_, tree)) = self.taken.iter().find(|(taken, _)| taken == source) {
            return Ok(tree.clone());
        }
        let tree = fetch(context, store, source).await?;
        self.taken.push((source.clone(), tree.clone()));
        Ok(tree)
    }
}

/// Makes the kernel of a recipe, or finds it in the store; and its version.
/// Several kernels of one run are made with [`Sources`] and [`make_from`].
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
    let series = recipe.select(&tree.version)?;
    let configuration = recipe.configuration()?;
    prepare(context, store, tree, &series, &configuration, 0).await
}
