//! The guest's root file system: an initramfs that kvet writes itself.
//!
//! A recipe (`rootfs/*.yaml`) names programs of the host; each is copied with
//! its loader and the libraries it needs, cut down to what is loaded. The agent
//! is `/init`, and so the guest's PID 1. The result depends on the
//! content of those files and nothing else, and is cached by it.

mod agent;
pub mod cpio;
mod elf;
mod library;
mod recipe;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use miette::Diagnostic;
use thiserror::Error;

pub(crate) use recipe::is_package;
pub use recipe::{ExtraFile, Recipe};

use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::event::{Event, Stage};
use crate::store::{InUse, Key, Store, StoreError};

/// The image's name inside its cache entry.
const IMAGE: &str = "initramfs.cpio";

/// An initramfs, ready for QEMU's `-initrd`.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// The image.
    pub path: PathBuf,
    /// What decided its content.
    pub key: Key,
    /// Keeps it in the store.
    _in_use: Option<InUse>,
}

/// A root file system could not be made.
#[derive(Debug, Error, Diagnostic)]
pub enum RootfsError {
    /// There is no such recipe.
    #[error("there is no root file system recipe `{name}`")]
    #[diagnostic(help(
        "kvet has {}; a path to a YAML file relative to the job works, too",
        Recipe::shipped().join(", ")
    ))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// A recipe's text is not one.
    #[error("{path}: {message}")]
    #[diagnostic(help(
        "a recipe has `name`, `about`, `programs`, `files`, `trees`, `with` and `packages`"
    ))]
    Recipe {
        /// The file.
        path: String,
        /// What is wrong, with its place.
        message: String,
    },
    /// A program is not on this host.
    #[error("the recipe `{recipe}` wants the program `{program}`, which this host does not have")]
    #[diagnostic(help("install it, put its directory on PATH, or leave it out of the recipe"))]
    NoProgram {
        /// The recipe.
        recipe: String,
        /// The program.
        program: String,
    },
    /// A program names a library that is nowhere.
    #[error("{} needs the library {library}, which cannot be found", program.display())]
    #[diagnostic(help("the loader would not find it either: does the program run on this host?"))]
    NoLibrary {
        /// Who needs it.
        program: PathBuf,
        /// The library.
        library: String,
    },
    /// Two programs need different files of one name.
    #[error("{} and {} would both be {place} in the guest", one.display(), other.display())]
    #[diagnostic(help("leave one of the programs out, or make a recipe for each"))]
    Collision {
        /// Where in the guest.
        place: String,
        /// One file.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A directory has more in it than a guest's memory should hold.
    #[error("{} has {what}: a guest's root file system is in its memory", path.display())]
    #[diagnostic(help("name the part of it that the guest needs"))]
    TooMuch {
        /// The directory.
        path: PathBuf,
        /// How much there is.
        what: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was written to meanwhile.
    #[error("a file of the root file system was changed while it was copied")]
    #[diagnostic(help("start again once what it is made of is there"))]
    Changed,
    /// The cache could not be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// kvet was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Fault for RootfsError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// Makes the image of a recipe with the agent of this build, or finds it in the
/// cache.
pub async fn build(
    context: &Context,
    store: &Store,
    recipe: &Recipe,
) -> Result<Rootfs, RootfsError> {
    let agent = blocking(|| Ok(agent::locate())).await?;
    build_with(context, store, recipe, &agent).await
}

/// The same with a given program as the agent.
pub async fn build_with(
    context: &Context,
    store: &Store,
    recipe: &Recipe,
    agent: &Path,
) -> Result<Rootfs, RootfsError> {
    let begin = Instant::now();
    context.emit(Event::Started {
        stage: Stage::Rootfs,
        subject: recipe.name.clone(),
    });
    let work = make(store, recipe.clone(), agent.to_owned());
    let (rootfs, cached) = tokio::select! {
        made = work => made?,
        () = context.cancel.cancelled() => return Err(RootfsError::Interrupted),
    };
    context.emit(Event::Finished {
        stage: Stage::Rootfs,
        subject: recipe.name.clone(),
        cached,
        elapsed: begin.elapsed(),
    });
    Ok(rootfs)
}

/// Copies a program under a name of one's own into a directory, with its loader
/// as `ld.so` and the libraries that it needs, each cut down to what is loaded:
/// there it runs whatever the host has. Returns the names.
pub fn copy_program(
    program: &Path,
    name: &str,
    directory: &Path,
) -> Result<Vec<String>, RootfsError> {
    tree::program(name, program)?.write_flat(directory)
}

async fn make(
    store: &Store,
    recipe: Recipe,
    agent: PathBuf,
) -> Result<(Rootfs, bool), RootfsError> {
    match make_once(store, recipe.clone(), agent.clone()).await {
        // Somebody may just have been at it.
        Err(RootfsError::Changed) => make_once(store, recipe, agent).await,
        made => made,
    }
}

async fn make_once(
    store: &Store,
    recipe: Recipe,
    agent: PathBuf,
) -> Result<(Rootfs, bool), RootfsError> {
    let (tree, key) = blocking(move || {
        let tree = tree::gather(&recipe, &agent)?;
        let key = tree.key()?;
        Ok((tree, key))
    })
    .await?;
    let wanted = key.clone();
    let entry = store
        .fill("rootfs", key.as_str(), |directory| {
            blocking(move || write(&tree, &wanted, &directory.join(IMAGE)))
        })
        .await?;
    let rootfs = Rootfs {
        _in_use: entry.in_use,
        path: entry.path.join(IMAGE),
        key,
    };
    Ok((rootfs, entry.cached))
}

/// Writes the image of a tree that has this key, and sees that it had it to the end:
/// what is in the store under a key is found for good.
fn write(tree: &tree::Tree, key: &Key, image: &Path) -> Result<(), RootfsError> {
    tree.write(image)?;
    if tree.key()? == *key {
        Ok(())
    } else {
        Err(RootfsError::Changed)
    }
}

/// Hashing and copying take a while: not on the runtime's one thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RootfsError> + Send + 'static,
) -> Result<T, RootfsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(RootfsError::Interrupted),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_what_has_changed_is_not_kept_under_the_key_of_what_was() {
        let home = tempfile::tempdir().unwrap();
        let agent = home.path().join("agent");
        std::fs::write(&agent, "one").unwrap();
        let tree = tree::gather(&Recipe::default(), &agent).unwrap();
        let key = tree.key().unwrap();
        let image = home.path().join(IMAGE);
        write(&tree, &key, &image).unwrap();
        std::fs::write(&agent, "two").unwrap();
        let error = write(&tree, &key, &image).unwrap_err();
        assert!(matches!(error, RootfsError::Changed), "{error}");
    }
}
