//! `kvet run … --patch FILE --series DIR|RANGE`: what the arm `patched` has on
//! top, taken once into the store, so that an edit during the run, or the end
//! of a pipe, is not between what arms are compared for.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::on_a_thread;
use crate::bounded;
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::kernel::mail::{self, LARGEST, MailError, Posted};
use crate::kernel::{self, SourceSpec};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct PatchArguments {
    /// Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)
    ///
    /// Adds an arm `patched` beside the job's control, of the same kernel with
    /// the patch on top, and leaves out the job's other arms unless --arm names
    /// them. Of a mailbox the newest version of the series is applied in order;
    /// cover letters and replies are passed over.
    #[arg(long = "patch", value_name = "FILE|MBOX|-")]
    patches: Vec<PathBuf>,
    /// The same with a directory of patches, or commits such as v7.3..HEAD of
    /// the tree that --kernel names or kvet is in
    #[arg(long = "series", value_name = "DIR|RANGE")]
    series: Vec<String>,
}

/// A file with a patch is not to be read.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot read the patch {}", path.display())]
#[diagnostic(help(
    "--patch takes a patch or a mailbox, `-` is standard input; --series a directory or a range"
))]
struct Unreadable {
    path: PathBuf,
    source: std::io::Error,
}

impl Fault for Unreadable {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The series of the arm `patched`, in order; none if nothing was asked for.
pub(super) async fn series(
    arguments: PatchArguments,
    source: Option<&SourceSpec>,
    context: &Context,
) -> Result<Vec<PathBuf>, Error> {
    let PatchArguments { patches, series } = arguments;
    let mut kept = Vec::new();
    if patches.is_empty() && series.is_empty() {
        return Ok(kept);
    }
    let store = Store::open()?;
    for path in patches {
        let posted = on_a_thread(context, move || Ok(one(&path)?)).await?;
        kept.push(keep(context, &store, &posted?).await?);
    }
    for word in series {
        let path = PathBuf::from(&word);
        if path.join("series.yaml").is_file() {
            kept.push(std::path::absolute(&path).unwrap_or(path));
            continue;
        }
        let posted = if path.is_dir() {
            on_a_thread(context, move || Ok(all_in(&path)?)).await??
        } else {
            let tree = repository(source);
            let mailbox = kernel::range(context, &tree, &word).await?;
            mail::read(&word, &mailbox)?
        };
        kept.push(keep(context, &store, &posted).await?);
    }
    Ok(kept)
}

/// Where a range of commits is: the tree under test, or that around here.
fn repository(source: Option<&SourceSpec>) -> PathBuf {
    match source {
        Some(SourceSpec::Directory { path }) => path.clone(),
        Some(SourceSpec::Git { repo, .. }) if Path::new(repo).is_dir() => repo.into(),
        _ => PathBuf::from("."),
    }
}

/// Reads one file, or standard input.
fn one(path: &Path) -> Result<Result<Posted, MailError>, Unreadable> {
    let unreadable = |source| Unreadable {
        path: path.to_owned(),
        source,
    };
    if path != Path::new("-") {
        let content = bounded::read(path, LARGEST).map_err(unreadable)?;
        return Ok(mail::read(&path.display().to_string(), &content));
    }
    let mut content = Vec::new();
    let mut input = std::io::stdin().lock().take(LARGEST + 1);
    input.read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > LARGEST {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(mail::read("standard input", &content))
}

/// Reads the patches of a directory, in the order of their names; cover letters
/// are passed over.
fn all_in(directory: &Path) -> Result<Result<Posted, MailError>, Unreadable> {
    let unreadable = |source| Unreadable {
        path: directory.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(directory).map_err(unreadable)?.flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("patch" | "diff" | "eml" | "mbox"))
        })
        .collect();
    files.sort();
    let name = directory.display().to_string();
    let mut all: Option<Posted> = None;
    for file in files {
        let posted = match read_member(&file)? {
            Ok(posted) => posted,
            Err(MailError::NoPatch { .. }) => continue,
            Err(error) => return Ok(Err(error)),
        };
        let all = all.get_or_insert_with(|| Posted {
            name: name.clone(),
            patches: Vec::new(),
            ..posted.clone()
        });
        for (_, content) in posted.patches {
            let file = file.file_stem().unwrap_or_default().to_string_lossy();
            let number = all.patches.len() + 1;
            all.patches
                .push((format!("{number:04}-{file}.patch"), content));
        }
    }
    Ok(all.ok_or(MailError::NoPatch { name }))
}

/// Reads one file of a series.
fn read_member(file: &Path) -> Result<Result<Posted, MailError>, Unreadable> {
    let content = bounded::read(file, LARGEST).map_err(|source| Unreadable {
        path: file.to_owned(),
        source,
    })?;
    Ok(mail::read(&file.display().to_string(), &content))
}

async fn keep(context: &Context, store: &Store, posted: &Posted) -> Result<PathBuf, Error> {
    let Posted { name, patches, .. } = posted;
    let mut note = match patches.len() {
        1 => format!("{name}: one patch"),
        count => format!("{name}: {count} patches"),
    };
    if posted.version > 1 {
        let _ = write!(note, ", version {}", posted.version);
    }
    if let Some(base) = &posted.base_commit {
        let _ = write!(note, ", made for commit {base}");
    }
    if !posted.passed_over.is_empty() {
        let count = posted.passed_over.len();
        let _ = write!(note, "; {count} more mails with patches are passed over");
    }
    context.emit(Event::Note(note));
    Ok(mail::keep(store, posted).await?)
}
