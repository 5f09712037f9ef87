//! Why a working tree could not be brought to an arm's state.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::worktree::WorktreeError;
use crate::error::{Exit, Fault};
use crate::process::ProcessError;
use crate::store::StoreError;

/// A working tree could not be brought to an arm's state.
#[derive(Debug, Error, Diagnostic)]
pub enum PatchError {
    /// A patch does not fit.
    #[error("patch {patch} does not apply to kernel {version}: {}{reason}", place(file.as_deref(), *hunk))]
    #[diagnostic(help("{help}"))]
    Refused {
        /// The patch.
        patch: String,
        /// The kernel's version.
        version: String,
        /// The file in the tree, where one is to blame.
        file: Option<PathBuf>,
        /// The number of the hunk, from 1.
        hunk: Option<usize>,
        /// What is wrong, with the lines that were looked for.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The working tree could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Worktree(#[from] WorktreeError),
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// git could not be run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

impl Fault for PatchError {
    fn exit(&self) -> Exit {
        match self {
            // For a bisection a patch that does not fit says nothing about the kernel.
            Self::Refused { .. } => Exit::Undecided,
            Self::Worktree(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Process(error) => error.exit(),
        }
    }
}

fn place(file: Option<&Path>, hunk: Option<usize>) -> String {
    match (file, hunk) {
        (Some(file), Some(hunk)) => format!("{}, hunk {hunk}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        _ => String::new(),
    }
}
