//! `kvet export SERIES DIR`: a series as the mails that `git send-email` takes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::history::find_run;
use super::output::{note, print};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::kernel::posting::{Mail, Posting, mails, wrapped};
use crate::kernel::{KernelVersion, PatchFile, Series, base};
use crate::library::{Kind, Places};
use crate::names::did_you_mean;
use crate::printable::printable_lines;
use crate::process::{Command, ProcessError};
use crate::record::Record;
use crate::report::{Report, measured};
use crate::run::kept_report;
use crate::store::{Scratch, Store};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The series: one of `kvet list series`, or a directory with a series.yaml
    series: PathBuf,
    /// The directory to write the mails into
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The kernel whose patches are wanted; the newest that the series is for
    /// unless said
    #[arg(long, value_name = "VERSION")]
    kernel: Option<KernelVersion>,
    /// A run whose table of counts goes into the cover letter
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Author and sender; git's user.name and user.email unless said
    #[arg(long, value_name = "NAME <ADDRESS>")]
    from: Option<String>,
    /// Which time the series is sent
    #[arg(long, value_name = "N", default_value_t = 1)]
    reroll: u32,
    /// The repository that the series is to apply to
    #[arg(long, value_name = "DIR")]
    git: Option<PathBuf>,
    /// The revision of that repository which the series is for
    #[arg(
        long,
        value_name = "REVISION",
        default_value = "HEAD",
        requires = "git"
    )]
    base: String,
}

/// A series cannot be made mails.
#[derive(Debug, Error, Diagnostic)]
enum ExportError {
    #[error("there is no patch series `{name}`")]
    Unknown {
        name: String,
        #[help]
        help: Option<String>,
    },
    #[error("the series {} has no patches for any kernel", .0.display())]
    #[diagnostic(help("its series.yaml has no ranges"))]
    Empty(PathBuf),
    #[error("`{0}` is not a valid sender")]
    #[diagnostic(help("write it as in an email: `Name <address>`"))]
    Sender(String),
    #[error("the sender of the series is not known")]
    #[diagnostic(help("give --from 'Name <address>', or set git's user.name and user.email"))]
    Nobody(#[source] Option<ProcessError>),
    #[error("no arm of the run {} had all patches of {series} for {version}", run.display())]
    #[diagnostic(help("{help}"))]
    Unmeasured {
        run: PathBuf,
        series: String,
        version: KernelVersion,
        help: String,
    },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("name a directory without mails in it; nothing is overwritten"))]
    Write { path: PathBuf, source: io::Error },
}

impl Fault for ExportError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) async fn export(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let store = Store::open()?;
    let series = Series::load(&place(&arguments.series, &store).await?)?;
    let version = match (&arguments.kernel, series.ranges.last()) {
        (Some(version), _) => version.clone(),
        (None, Some(range)) => range.from.clone(),
        (None, None) => return Err(ExportError::Empty(arguments.series).into()),
    };
    let patches = series.select(&version)?.patches;
    let (cover, warning) = cover(&series);
    // A single patch has no cover letter.
    if let Some(warning) = warning.filter(|_| patches.len() > 1) {
        note("warning", &warning);
    }
    let base = match &arguments.git {
        Some(directory) => {
            let scratch = Scratch::new()?;
            let before = series.before(&version)?;
            let found = base(
                context,
                directory,
                &arguments.base,
                &before,
                &patches,
                scratch.path(),
            );
            Some(found.await?)
        }
        None => None,
    };
    let measured = match &arguments.run {
        Some(run) => {
            let (record, beginning) = Record::open(&find_run(run)?)?;
            let report = kept_report(&record, &beginning)?;
            let digests: Vec<String> = patches.iter().map(PatchFile::sha256).collect();
            let told = measured(&report, &digests);
            told.ok_or_else(|| unmeasured(run, &arguments.series, &version, &report))?
        }
        None => String::new(),
    };
    let posting = Posting {
        sender: sender(arguments.from, context).await?,
        version: arguments.reroll,
        title: series.title.clone(),
        cover,
        measured,
        base,
    };
    let mut written = String::new();
    for mail in mails(&patches, &posting) {
        let path = write(&arguments.directory, &mail)?;
        written.push_str(&path.display().to_string());
        written.push('\n');
    }
    print(&printable_lines(&written))?;
    Ok(Exit::Good)
}

/// What the cover letter says, and what is wrong with it.
fn cover(series: &Series) -> (String, Option<String>) {
    if let Some(cover) = &series.cover {
        return (cover.clone(), None);
    }
    let about = series.about.as_deref().unwrap_or_default();
    let has = if about.is_empty() {
        "has no text"
    } else {
        "has the text of `about`, which is for users of kvet"
    };
    let warning = format!(
        "the cover letter {has}: write `cover` in the series' series.yaml, for the \
         maintainers of the code"
    );
    (wrapped(about), Some(warning))
}

/// A run that says nothing of the series.
fn unmeasured(run: &Path, series: &Path, version: &KernelVersion, report: &Report) -> ExportError {
    let arms = report.arms.iter();
    let kernels = arms.filter_map(|arm| arm.kernel.as_ref().map(|kernel| &kernel.release));
    let mut kernels: Vec<&str> = kernels.map(String::as_str).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let help = format!(
        "name a run in which an arm has the series, and with --kernel the version that it \
         ran; the kernels of this one were {}",
        kernels.join(", ")
    );
    ExportError::Unmeasured {
        run: run.to_owned(),
        series: series.display().to_string(),
        version: version.clone(),
        help,
    }
}

/// The series' directory.
async fn place(series: &Path, store: &Store) -> Result<PathBuf, Error> {
    if series.join("series.yaml").is_file() {
        return Ok(std::path::absolute(series).unwrap_or_else(|_| series.to_owned()));
    }
    let here = std::path::absolute(".").unwrap_or_default();
    let places = Places::of_the_user(store).await?.around(&here);
    let name = series.display().to_string();
    if let Some(found) = places.find(Kind::Series, &name) {
        return Ok(found.path);
    }
    let known = places.list(Kind::Series);
    let known = known.iter().map(|(found, _)| found.name.as_str());
    let help = did_you_mean(&name, known);
    Err(ExportError::Unknown { name, help }.into())
}

/// Who sends it, as in a mail.
async fn sender(given: Option<String>, context: &Context) -> Result<String, Error> {
    if let Some(given) = given {
        let fit = given
            .strip_suffix('>')
            .and_then(|start| start.rsplit_once(" <"))
            .is_some_and(|(name, address)| !name.trim().is_empty() && address.contains('@'));
        if !fit || given.contains(char::is_control) {
            return Err(ExportError::Sender(given).into());
        }
        return Ok(given);
    }
    let mut parts = Vec::new();
    for key in ["user.name", "user.email"] {
        let git = Command::new("git").args(["config", "--get", key]);
        let said = git.run(&context.cancel).await;
        let said = said.map_err(|error| ExportError::Nobody(Some(error)))?;
        parts.push(String::from_utf8_lossy(&said.stdout).trim().to_owned());
    }
    if parts
        .iter()
        .any(|part| part.is_empty() || part.contains(char::is_control))
    {
        return Err(ExportError::Nobody(None).into());
    }
    Ok(format!("{} <{}>", parts[0], parts[1]))
}

fn write(directory: &Path, mail: &Mail) -> Result<PathBuf, ExportError> {
    let path = directory.join(&mail.file);
    let written = std::fs::create_dir_all(directory).and_then(|()| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(mail.text.as_bytes())
    });
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(ExportError::Write { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn series(text: &str) -> Series {
        serde_yaml::from_str(&format!("title: t\nranges: []\n{text}")).unwrap()
    }

    #[test]
    fn what_is_for_users_of_kvet_is_sent_with_a_warning() {
        let written = series("about: For users.\ncover: |\n  Why:\n\n    f()\n");
        assert_eq!(cover(&written), ("Why:\n\n  f()\n".to_owned(), None));
        let (text, warning) = cover(&series("about: For users."));
        assert_eq!(text, "For users.\n\n");
        let warning = warning.unwrap();
        assert!(warning.contains("`about`") && warning.contains("write `cover`"));
        let (text, warning) = cover(&series(""));
        assert_eq!(text.trim(), "");
        assert!(warning.unwrap().contains("has no text"));
    }

    #[test]
    fn a_run_of_something_else_is_refused_with_what_it_was_of() {
        let version = "6.12".parse().unwrap();
        let report = fixture::report();
        let error = unmeasured(Path::new("run"), Path::new("topic"), &version, &report);
        assert_eq!(error.exit(), Exit::Usage);
        let text = error.to_string();
        assert!(text.contains("no arm of the run run had all patches of topic for 6.12"));
        let help = error.help().unwrap().to_string();
        assert!(
            help.ends_with("the kernels of this one were 7.3.4"),
            "{help}"
        );
    }
}
