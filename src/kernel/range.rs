//! The patches of a range of commits in the user's repository.

use std::path::Path;

use miette::Diagnostic;
use thiserror::Error;

use super::source::of_the_user;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::ProcessError;

/// git gives no patches for a range.
#[derive(Debug, Error, Diagnostic)]
pub enum RangeError {
    /// The words could be taken for something else.
    #[error("`{0}` is neither a directory nor a range of commits")]
    #[diagnostic(help("a range is such as `v7.3..HEAD`, `-3` of `HEAD` is `HEAD~3..HEAD`"))]
    Words(String),
    /// git does not know it.
    #[error("cannot get the commits `{range}`")]
    #[diagnostic(help("check it with `git log {range}` in {directory}"))]
    Git {
        /// The range.
        range: String,
        /// Where git was asked.
        directory: String,
        /// What it said.
        source: ProcessError,
    },
}

impl Fault for RangeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Git {
                source: ProcessError::Interrupted,
                ..
            } => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// The commits of a range as a mailbox, in order. Merges are left out, as git
/// does; the repository is only read.
pub async fn range(
    context: &Context,
    directory: &Path,
    range: &str,
) -> Result<Vec<u8>, RangeError> {
    let fit = range.contains("..")
        && !range.starts_with('-')
        && !range.contains(|c: char| c.is_whitespace() || c.is_control());
    if !fit {
        return Err(RangeError::Words(range.to_owned()));
    }
    let git = of_the_user(directory)
        .args(["format-patch", "--stdout", "--no-signature", "--no-color"])
        .args([
            "--no-ext-diff",
            "--no-textconv",
            "--no-cover-letter",
            "--no-thread",
        ])
        .args(["--src-prefix=a/", "--dst-prefix=b/", "--no-attach", "-N"])
        .args([range, "--"]);
    match git.run(&context.cancel).await {
        Ok(finished) => Ok(finished.stdout),
        Err(source) => Err(RangeError::Git {
            range: range.to_owned(),
            directory: directory.display().to_string(),
            source,
        }),
    }
}
