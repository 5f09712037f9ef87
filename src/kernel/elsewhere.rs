//! A kernel that another host makes: the order that goes there, with the files of
//! its tree as a pack of git's, and what comes back. Both sides know the kernel by
//! its key, so one that was made elsewhere lies in the store as one made here.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::build::{self, BuildError, KernelImage};
use super::configuration::Configuration;
use super::fragment::{Fragment, FragmentError};
use super::key::build_key;
use super::line::Line;
use super::prepare::{key_of, prepare};
use super::recipe::Recipe;
use super::repository::{Repository, RepositoryError, is_id};
use super::series::SelectedSeries;
use super::source::{SourceError, Tree};
use super::toolchain::{self, ToolchainError};
use super::version::KernelVersion;
use super::whole_config::WholeConfig;
use crate::context::Context;
use crate::error::Error;
use crate::process::ProcessError;
use crate::store::{Key, Store, io_error};

/// All that decides a kernel, but for the files of its tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What it is called in every store.
    pub key: Key,
    /// What it is, for messages.
    pub subject: String,
    /// The compiler and linker that it is made with: those of the host that orders
    /// it, so that all kernels of a run have the same.
    pub compiler: String,
    line: Line,
    version: KernelVersion,
    tree_key: Key,
    origin: String,
    /// git's name of the tree.
    tree: String,
    series: Vec<SelectedSeries>,
    base: Option<WholeConfig>,
    /// Names and texts.
    fragments: Vec<(String, String)>,
}

/// The order for a recipe's kernel of this tree. `None` if the store has it, or if
/// it counts lines, for which the compiler's notes are needed here.
pub async fn order(
    context: &Context,
    store: &Store,
    tree: &Tree,
    recipe: &Recipe,
) -> Result<Option<Order>, Error> {
    if !recipe.instrumented.is_empty() {
        return Ok(None);
    }
    let series = recipe.select(&tree.version)?;
    let configuration = recipe.configuration()?;
    let (key, compiler) = key_of(context, tree, &series, &configuration).await?;
    if build::built(store, &key).await.is_some() {
        return Ok(None);
    }
    let fragments = configuration.fragments.into_iter();
    Ok(Some(Order {
        key,
        subject: super::patch::subject(tree, &series),
        compiler,
        line: tree.line.clone(),
        version: tree.version.clone(),
        tree_key: tree.key.clone(),
        origin: tree.origin.clone(),
        tree: tree.id.clone(),
        series,
        base: configuration.base,
        fragments: fragments.map(|one| (one.name, one.text)).collect(),
    }))
}

/// Writes the files of a tree as a pack, in a directory that is empty, without what
/// is in trees that the other host has. Returns its path.
pub async fn pack(
    context: &Context,
    tree: &Tree,
    known: &[String],
    directory: &Path,
) -> Result<PathBuf, Error> {
    let repository = &tree.repository;
    let mut wanted = format!("{}\n", tree.id);
    for id in known {
        // What it has of others' trees says nothing here.
        if is_id(id) && repository.has(context, id).await.map_err(failed)? {
            let _ = writeln!(wanted, "^{id}");
        }
    }
    let packed = repository
        .git()
        // As it lies in the repository: to press it further takes longer than to
        // send it.
        .args(["pack-objects", "--revs", "--window=0", "-q"])
        .arg(directory.join("tree"))
        .input(wanted);
    packed.run(&context.cancel).await.map_err(failed)?;
    let entries = std::fs::read_dir(directory).map_err(io_error("read", directory))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let pack = paths.find(|path| path.extension().is_some_and(|end| end == "pack"));
    Ok(pack.ok_or_else(|| {
        let nothing = std::io::Error::from(std::io::ErrorKind::NotFound);
        io_error("find git's pack in", directory)(nothing)
    })?)
}

impl Order {
    /// What its tree shares a working tree and objects with, by its name in the store.
    #[must_use]
    pub fn line(&self) -> &Key {
        &self.line.key
    }

    /// Whether this host makes such kernels: why not, if it does not.
    pub async fn refused(&self, context: &Context) -> Result<Option<String>, Error> {
        let missing = toolchain::missing();
        if !missing.is_empty() {
            let lack = ToolchainError::Missing { missing };
            return Ok(Some(Error::from(lack).one_line()));
        }
        let own = toolchain::compiler(context).await?;
        if own != self.compiler {
            return Ok(Some(format!(
                "its compiler is {own}, not {}",
                self.compiler
            )));
        }
        let configuration = self.configuration()?;
        let key = build_key(&self.tree_key, &self.series, &configuration, &own);
        let other = "its kvet is another one and knows this kernel by another key";
        Ok((key != self.key).then(|| other.to_owned()))
    }

    fn configuration(&self) -> Result<Configuration, FragmentError> {
        let mut configuration = Configuration {
            base: self.base.clone(),
            ..Configuration::default()
        };
        for (name, text) in &self.fragments {
            configuration.fragments.push(Fragment::parse(name, text)?);
        }
        Ok(configuration)
    }

    /// The trees of its line that this host has, and whether its own is among them.
    pub async fn known(
        &self,
        context: &Context,
        store: &Store,
    ) -> Result<(Vec<String>, bool), Error> {
        let Some(repository) = Repository::existing(store, &self.line) else {
            return Ok((Vec::new(), false));
        };
        let has = repository.has(context, &self.tree).await.map_err(failed)?;
        Ok((repository.received(), has))
    }

    /// Takes the files of its tree from a pack.
    pub async fn take(&self, context: &Context, store: &Store, pack: &Path) -> Result<(), Error> {
        let opened = Repository::open(context, store, &self.line).await;
        let (repository, writing) = opened.map_err(unopened)?;
        let taken = repository.take(context, &writing, pack, &self.tree).await;
        Ok(taken.map_err(unopened)?)
    }

    /// Takes over the kernel that another host made of it: its files in this directory.
    pub async fn accept(&self, store: &Store, files: &Path) -> Result<KernelImage, BuildError> {
        let image = build::accept(store, &self.key, files).await?;
        let base = self.base.iter().map(|base| base.name.clone());
        let fragments = self.fragments.iter().map(|(name, _)| name.clone());
        let names = base.chain(fragments).collect();
        Ok(image.called(&self.origin, &self.series, names))
    }

    /// Makes the kernel here, where its tree is by now.
    pub async fn make(&self, context: &Context, store: &Store) -> Result<KernelImage, Error> {
        let repository = Repository::existing(store, &self.line);
        let origin = self.origin.clone();
        let repository = repository.ok_or(SourceError::NoKernel { origin })?;
        let tree = Tree {
            version: self.version.clone(),
            key: self.tree_key.clone(),
            line: self.line.clone(),
            origin: self.origin.clone(),
            id: self.tree.clone(),
            repository,
        };
        let configuration = self.configuration()?;
        prepare(context, store, &tree, &self.series, &configuration, 0).await
    }
}

fn failed(error: ProcessError) -> SourceError {
    SourceError::from(error)
}

fn unopened(error: RepositoryError) -> SourceError {
    SourceError::from(error)
}
