//! `kvet new [--from JOB] DIR`: a job of one's own, that runs as it is.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::on_a_thread;
use super::output::print;
use crate::bounded;
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::job::{self, Choice, Plan};
use crate::library::{Kind, Place, Places};
use crate::names::LARGEST;
use crate::printable::printable_lines;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job to set out from: a file, or the name of one that comes with kvet
    #[arg(long, value_name = "JOB", default_value = "ceph-iput-async")]
    from: PathBuf,
    /// The directory to make; its name becomes the job's
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// The job could not be written.
#[derive(Debug, Error, Diagnostic)]
enum NewError {
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("name a directory that is not there yet; nothing is overwritten"))]
    Write { path: PathBuf, source: io::Error },
    #[error("{} cannot be a job's name", path.display())]
    #[diagnostic(help(
        "the directory's name becomes the job's: letters, digits, `-`, `_` and `.`"
    ))]
    Name { path: PathBuf },
}

impl Fault for NewError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn new(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let places = Places::of_the_user(&Store::open()?).await?;
    on_a_thread(context, move || make(&arguments, places)).await
}

fn make(arguments: &Arguments, places: Places) -> Result<Exit, Error> {
    let directory =
        std::path::absolute(&arguments.directory).unwrap_or_else(|_| arguments.directory.clone());
    let name = directory.file_name().and_then(|name| name.to_str());
    let name = name
        .filter(|name| job::is_name(name))
        .ok_or_else(|| NewError::Name {
            path: arguments.directory.clone(),
        })?;
    let from = job::find(&arguments.from, &places)?;
    let choice = Choice {
        places,
        ..Choice::default()
    };
    // What does not run is not taken over.
    let plan = Plan::load(&from, &choice)?;
    let text = bounded::read_text(&from, LARGEST).map_err(|source| NewError::Write {
        path: from.clone(),
        source,
    })?;
    let path = directory.join("job.yaml");
    write(&path, job::commented(&text, name).as_bytes())?;
    // What lies beside the other job would not be found from here.
    let own = |found: &&crate::library::Found| found.place == Place::Beside;
    let base = from.parent().unwrap_or(Path::new("."));
    for found in plan.found.iter().filter(own) {
        let to = match found.kind {
            _ if found.name.contains('/')
                || Path::new(&found.name)
                    .extension()
                    .is_some_and(|end| end == "yaml") =>
            {
                directory.join(found.path.strip_prefix(base).unwrap_or(&found.path))
            }
            Kind::Job => continue,
            Kind::Workload => directory.join("workloads").join(file_name(&found.path)),
            Kind::Series => directory.join("patches").join(file_name(&found.path)),
            Kind::Fragment => directory.join("kconfigs").join(file_name(&found.path)),
            Kind::Rootfs => directory.join("rootfs").join(file_name(&found.path)),
        };
        if to.starts_with(&directory) && to != found.path {
            copy(&found.path, &to)?;
        }
    }
    let path = arguments.directory.join("job.yaml");
    let shown = path.display();
    print(&printable_lines(&format!(
        "{shown} is a job of your own; it runs as it is:\n    kvet run {shown}\n\
         What kernel, workload and patches it has is said in it; `kvet list` shows others.\n"
    )))?;
    Ok(Exit::Good)
}

fn file_name(path: &Path) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

/// Writes a file that must not be there, and its directory.
fn write(path: &Path, content: &[u8]) -> Result<(), NewError> {
    let failed = |source| NewError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)
}

/// Copies a file, or a directory of a series with one level of directories.
fn copy(from: &Path, to: &Path) -> Result<(), NewError> {
    let failed = |source| NewError::Write {
        path: to.to_owned(),
        source,
    };
    if !from.is_dir() {
        let content = bounded::read(from, crate::kernel::mail::LARGEST).map_err(failed)?;
        return write(to, &content);
    }
    for entry in std::fs::read_dir(from).map_err(failed)?.flatten() {
        // A link may lead anywhere, above itself, too.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
