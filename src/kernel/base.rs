//! The commit that a series is sent for: what a revision of the user's repository
//! is called, and whether the series applies there. The repository is only read:
//! the index and the objects that this takes are in a scratch directory.

use std::path::Path;

use miette::Diagnostic;
use thiserror::Error;

use super::series::PatchFile;
use super::source::{objects_of, of_the_user};
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::{Command, ProcessError};

/// A series has no such base.
#[derive(Debug, Error, Diagnostic)]
pub enum BaseError {
    /// The revision is not to be had.
    #[error("cannot find the commit `{revision}`")]
    #[diagnostic(help("check it with `git log -1 {revision}` in {directory}"))]
    Revision {
        /// As given.
        revision: String,
        /// Where git was asked.
        directory: String,
        /// What it said.
        source: ProcessError,
    },
    /// A patch does not apply.
    #[error("{patch} does not apply to {commit}")]
    #[diagnostic(help("name another base, or the kernel that the base is of"))]
    Apply {
        /// The patch's name.
        patch: String,
        /// The base.
        commit: String,
        /// What git said.
        source: ProcessError,
    },
}

impl Fault for BaseError {
    fn exit(&self) -> Exit {
        match self {
            Self::Revision { source, .. } | Self::Apply { source, .. }
                if matches!(source, ProcessError::Interrupted) =>
            {
                Exit::Interrupted
            }
            _ => Exit::Usage,
        }
    }
}

/// What a series applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The commit's full name.
    pub commit: String,
    /// The patch ids (`git patch-id --stable`) of what has to be applied to it
    /// before the series; none if it has that already.
    pub before: Vec<String>,
}

/// The commit `revision` of the repository at `directory`, once the patches were
/// seen to apply to it in order, after those of `before` unless it has them.
/// `scratch` is for git's files.
pub async fn base(
    context: &Context,
    directory: &Path,
    revision: &str,
    before: &[PatchFile],
    patches: &[PatchFile],
    scratch: &Path,
) -> Result<Base, BaseError> {
    let unknown = |source| BaseError::Revision {
        revision: revision.to_owned(),
        directory: directory.display().to_string(),
        source,
    };
    let asked = |what: &[&str]| of_the_user(directory).args(["rev-parse"]).args(what);
    let commit = format!("{revision}^{{commit}}");
    let name = asked(&["--verify", "--quiet", "--end-of-options", &commit]);
    let commit = said(context, name).await.map_err(unknown)?;
    let repository = asked(&["--absolute-git-dir"]);
    let repository = said(context, repository).await.map_err(unknown)?;
    let objects = objects_of(context, directory).await.map_err(unknown)?;
    let own = scratch.join("objects");
    // Without it git takes the repository for none, and says so.
    let _ = std::fs::create_dir(&own);
    let apart = |what: &[&str]| {
        Command::new("git")
            .env("GIT_INDEX_FILE", scratch.join("index"))
            .env("GIT_OBJECT_DIRECTORY", &own)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &objects)
            .args(["--git-dir", &repository])
            .args(what)
    };
    let read = async || apart(&["read-tree", &commit]).run(&context.cancel).await;
    let apply = async |patch: &PatchFile, how: &[&str]| {
        let git = apart(&["apply", "--cached"]).args(how).args(["-"]);
        let applied = git.input(patch.content.clone()).run(&context.cancel).await;
        applied.map_err(|source| BaseError::Apply {
            patch: patch.name.clone(),
            commit: commit.clone(),
            source,
        })
    };
    read().await.map_err(unknown)?;
    let mut ids = Vec::new();
    let mut missing = Ok(());
    for patch in before {
        missing = apply(patch, &[]).await.map(drop);
        if missing.is_err() {
            break;
        }
        let id = Command::new("git").args(["patch-id", "--stable"]);
        let id = said(context, id.input(patch.content.clone())).await;
        let id = id.map_err(unknown)?;
        ids.extend(id.split_whitespace().next().map(str::to_owned));
    }
    if let Err(error) = missing {
        // Then the commit must have them: they can be taken back.
        ids.clear();
        read().await.map_err(unknown)?;
        for patch in before.iter().rev() {
            if apply(patch, &["--reverse"]).await.is_err() {
                return Err(error);
            }
        }
        read().await.map_err(unknown)?;
    }
    for patch in patches {
        apply(patch, &[]).await?;
    }
    let before = ids;
    Ok(Base { commit, before })
}

async fn said(context: &Context, git: Command) -> Result<String, ProcessError> {
    let finished = git.run(&context.cancel).await?;
    Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
}
