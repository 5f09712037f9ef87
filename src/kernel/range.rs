//! Commits of the user's repositories, which are only read: the patches of a
//! range, and whether a commit is there.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::mail::LARGEST;
use super::source::of_the_user;
use super::version::KernelVersion;
use crate::bounded;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::ProcessError;
use crate::store::{Scratch, StoreError, io_error};

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
    /// There are too many, or they are too large.
    #[error("the commits `{range}` are too many, or too large, for a series")]
    #[diagnostic(help("to test what a commit or release is, name it with --kernel"))]
    Large {
        /// The range.
        range: String,
        /// How large they are.
        source: std::io::Error,
    },
    /// There is no place to put them.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl Fault for RangeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Git {
                source: ProcessError::Interrupted,
                ..
            } => Exit::Interrupted,
            Self::Store(source) => source.exit(),
            _ => Exit::Usage,
        }
    }
}

/// A range of commits.
#[derive(Debug)]
pub struct Range {
    /// Its patches as a mailbox, in order. Merges are left out, as git does.
    pub mailbox: Vec<u8>,
    /// The commit that it begins after, where that is a single one.
    pub base: Option<String>,
}

/// The commits of a range such as `v7.3..HEAD`.
pub async fn range(context: &Context, directory: &Path, range: &str) -> Result<Range, RangeError> {
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
            "--no-base",
        ])
        .args(["--src-prefix=a/", "--dst-prefix=b/", "--no-attach", "-N"])
        .args([range, "--"]);
    // A file: they may be more than what is kept of a program's output.
    let scratch = Scratch::new()?;
    let path = scratch.join("range.mbox");
    let file = File::create(&path).map_err(io_error("create", &path))?;
    git.stdout_to(file)
        .run(&context.cancel)
        .await
        .map_err(|source| RangeError::Git {
            range: range.to_owned(),
            directory: directory.display().to_string(),
            source,
        })?;
    let mailbox = bounded::read(&path, LARGEST).map_err(|source| match source.kind() {
        ErrorKind::FileTooLarge => RangeError::Large {
            range: range.to_owned(),
            source,
        },
        _ => io_error("read", &path)(source).into(),
    })?;
    let start = range.split_once("..").map_or("", |(start, _)| start);
    let base = commit(context, directory, start).await;
    Ok(Range { mailbox, base })
}

/// The commit that a name stands for in a repository, in full.
async fn commit(context: &Context, directory: &Path, name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let wanted = format!("{name}^{{commit}}");
    let ask = of_the_user(directory).args(["rev-parse", "--verify", "--quiet", &wanted]);
    let finished = ask.run(&context.cancel).await.ok()?;
    Some(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
}

/// The kernel repository around a directory, if it has this commit.
pub async fn repository_with(
    context: &Context,
    directory: &Path,
    id: &str,
) -> Result<Option<PathBuf>, ProcessError> {
    let ask = of_the_user(directory).args(["rev-parse", "--show-toplevel"]);
    let finished = match ask.status(&context.cancel).await {
        Ok(finished) if finished.status.success() => finished,
        Ok(_) | Err(ProcessError::Start { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let top = finished
        .stdout
        .strip_suffix(b"\n")
        .unwrap_or(&finished.stdout);
    let top = PathBuf::from(std::ffi::OsString::from_vec(top.to_vec()));
    let is_kernel = KernelVersion::of_tree(&top).is_some();
    let known = is_kernel && commit(context, &top, id).await.is_some();
    Ok(known.then_some(top))
}

/// A blob of the repository around a directory; `None` if it has no such one.
pub async fn blob(
    context: &Context,
    directory: &Path,
    id: &str,
) -> Result<Option<Vec<u8>>, ProcessError> {
    if id.len() < 40 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let ask = of_the_user(directory).args(["cat-file", "blob", id]);
    let finished = ask.status(&context.cancel).await?;
    Ok(finished.status.success().then_some(finished.stdout))
}
