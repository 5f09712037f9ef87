//! What is to be tested, as the command line says it: `--kernel`, `--patch`,
//! `--series`, `--message-id`, `--config`, `--coverage`. Patches and a .config
//! are taken once into the store, so that an edit during the run, or the end of
//! a pipe, is not between what arms are compared for.

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
use crate::job::Choice;
use crate::kernel::archive::{self, MessageId};
use crate::kernel::mail::{self, LARGEST, MailError, Posted};
use crate::kernel::{self, SourceSpec, WholeConfig};
use crate::store::Store;

#[derive(Debug, Clone, Default, Args)]
pub(super) struct Tested {
    /// The kernel to test instead of the job's: a version, a directory, ...
    ///
    /// One of: a version, such as 7.3.4, whose source Debian has;
    /// debian:PACKAGE[=VERSION][/SUITE]; kernel.org:VERSION, a release; an
    /// archive, such as linux.tar.xz or `https://...#sha256=DIGEST`; a directory,
    /// `.` being the tree you are in with all that is not committed; or
    /// git:REPOSITORY@REF. Without it, patches that say for which commit they
    /// were made are tested on that, if the repository you are in has it.
    #[arg(long, value_name = "KERNEL")]
    pub(super) kernel: Option<String>,
    /// Test this patch: a file, a mailbox of its thread, or `-` (may be repeated)
    ///
    /// Adds an arm `patched` beside the job's control, of the same kernel with
    /// the patch on top, and leaves out the job's other arms unless --arm names
    /// them. Of a mailbox the newest version of the series is applied in order;
    /// cover letters and replies are passed over.
    #[arg(long = "patch", value_name = "FILE|MBOX|-")]
    pub(super) patches: Vec<PathBuf>,
    /// The same with a directory of patches, or commits such as v7.3..HEAD of
    /// the tree that --kernel names or kvet is in
    #[arg(long = "series", value_name = "DIR|RANGE")]
    pub(super) series: Vec<String>,
    /// The same with the series that this mail is of: a patch of it, its cover
    /// letter, or a reply; b4 gets it from lore.kernel.org (may be repeated)
    #[arg(long = "message-id", value_name = "ID")]
    pub(super) ids: Vec<String>,
    /// Where --message-id looks instead: a mailbox, a maildir, a public-inbox,
    /// or the address of a mirror of lore.kernel.org
    #[arg(long, value_name = "ARCHIVE")]
    pub(super) from: Option<String>,
    /// Configure the kernels as this whole .config says, with what the job needs
    /// added
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Tell which of the lines that the patches change the trials executed
    ///
    /// The kernels are built again, with counters in the files that the patches
    /// touch.
    #[arg(long)]
    pub(super) coverage: bool,
}

impl Tested {
    /// What is tested on a kernel, as words of a command line: flags with what
    /// follows them.
    pub(super) fn words(&self) -> Vec<(&'static str, String)> {
        let shown = |path: &PathBuf| path.display().to_string();
        let patches = self.patches.iter().map(|path| ("--patch", shown(path)));
        let series = self.series.iter().map(|word| ("--series", word.clone()));
        let ids = self.ids.iter().map(|id| ("--message-id", id.clone()));
        let from = self.from.iter().map(|from| ("--from", from.clone()));
        let config = self.config.iter().map(|path| ("--config", shown(path)));
        let all = patches.chain(series).chain(ids).chain(from);
        all.chain(config).collect()
    }
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

impl Tested {
    /// What of the job it changes; patches are read and kept now.
    pub(super) async fn choice(self, context: &Context) -> Result<Choice, Error> {
        let posted = self.posted(context).await?;
        self.with(&posted, context).await
    }

    /// The same with these series instead of those that the arguments name.
    pub(super) async fn with(self, posted: &[Posted], context: &Context) -> Result<Choice, Error> {
        let source = self.source(posted, context).await?;
        let mut choice = Choice {
            coverage: self.coverage,
            source,
            ..Choice::default()
        };
        if self.config.is_none() && posted.is_empty() && self.series.is_empty() {
            return Ok(choice);
        }
        let store = Store::open()?;
        for posted in posted {
            tell(context, posted);
            choice.patched.push(mail::keep(&store, posted).await?);
        }
        for word in self.series.iter().filter(|word| is_topic(word)) {
            let path = Path::new(word);
            let absolute = std::path::absolute(path);
            choice
                .patched
                .push(absolute.unwrap_or_else(|_| path.to_owned()));
        }
        if let Some(path) = self.config {
            let config = on_a_thread(context, move || Ok(WholeConfig::read(&path)?)).await?;
            choice.whole_config = Some(config.keep(&store).await?);
        }
        Ok(choice)
    }

    /// The series that were named, but for topics with a description.
    async fn posted(&self, context: &Context) -> Result<Vec<Posted>, Error> {
        let mut all = Vec::new();
        for path in self.patches.clone() {
            all.push(on_a_thread(context, move || Ok(one(&path)?)).await??);
        }
        for word in self.series.iter().filter(|word| !is_topic(word)) {
            let path = PathBuf::from(word);
            all.push(if path.is_dir() {
                on_a_thread(context, move || Ok(all_in(&path)?)).await??
            } else {
                let range = kernel::range(context, &self.repository(), word).await?;
                Posted {
                    base_commit: range.base,
                    ..mail::commits(word, &range.mailbox)?
                }
            });
        }
        for id in &self.ids {
            let id = MessageId::parse(id)?;
            let mailbox = archive::thread(context, self.from.as_deref(), &id).await?;
            all.push(mail::read_series(id.as_str(), &mailbox, id.as_str())?);
        }
        Ok(all)
    }

    /// Where a range of commits is: the tree under test, or that around here.
    fn repository(&self) -> PathBuf {
        let word = self.kernel.as_deref().unwrap_or(".");
        let word = word.strip_prefix("git:").unwrap_or(word);
        let candidates = [Some(word), word.rsplit_once('@').map(|(repo, _)| repo)];
        let mut paths = candidates.into_iter().flatten().map(PathBuf::from);
        paths
            .find(|path| path.is_dir())
            .unwrap_or_else(|| ".".into())
    }

    /// The kernel under test. That it is the one for which patches say they
    /// were made is seen to, where nothing else was asked for.
    async fn source(
        &self,
        posted: &[Posted],
        context: &Context,
    ) -> Result<Option<SourceSpec>, Error> {
        let base = posted.iter().find_map(|posted| posted.base_commit.clone());
        let word = match (&self.kernel, base) {
            (None, None) => return Ok(None),
            (None, Some(base)) => {
                let Some(repo) = kernel::repository_with(context, Path::new("."), &base).await?
                else {
                    context.emit(Event::Note(format!(
                        "the patches were made for commit {base}, which is not in a repository \
                         here: they are tried on the job's kernel"
                    )));
                    return Ok(None);
                };
                context.emit(Event::Note(format!(
                    "the kernel is the commit that the patches were made for, {base} of {}; \
                     --kernel chooses another",
                    repo.display()
                )));
                format!("git:{}@{base}", repo.display())
            }
            // A repository alone: the commit they were made for, or the last one.
            (Some(word), base) if is_repository_alone(word) => {
                format!("{word}@{}", base.as_deref().unwrap_or("HEAD"))
            }
            (Some(word), _) => word.clone(),
        };
        let read = move || Ok(Some(SourceSpec::from_word(&word)?));
        on_a_thread(context, read).await
    }
}

/// Whether a word names a repository on this machine and no commit of it.
fn is_repository_alone(word: &str) -> bool {
    let path = word.strip_prefix("git:").map(Path::new);
    path.is_some_and(Path::is_dir)
}

/// Whether a word is the directory of a series with a description, which has
/// patches for several kernels.
fn is_topic(word: &str) -> bool {
    Path::new(word).join("series.yaml").is_file()
}

/// Reads one file, or standard input.
fn one(path: &Path) -> Result<Result<Posted, MailError>, Unreadable> {
    if path == Path::new("-") {
        return Ok(mail::read("standard input", &standard_input()?));
    }
    let content = bounded::read(path, LARGEST).map_err(|source| Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(mail::read(&path.display().to_string(), &content))
}

/// What comes on standard input, to its end.
fn standard_input() -> Result<Vec<u8>, Unreadable> {
    let unreadable = |source| Unreadable {
        path: PathBuf::from("-"),
        source,
    };
    let mut content = Vec::new();
    let mut input = std::io::stdin().lock().take(LARGEST + 1);
    input.read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > LARGEST {
        return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(content)
}

/// A mail on standard input.
pub(super) async fn mail_on_standard_input(context: &Context) -> Result<Vec<u8>, Error> {
    on_a_thread(context, || Ok(standard_input()?)).await
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
        all.base_commit = all.base_commit.take().or(posted.base_commit);
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

/// Says what is taken of what was named.
fn tell(context: &Context, posted: &Posted) {
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
    if let Some(newer) = posted.newer {
        let _ = write!(note, "; there is a version {newer} in its thread");
    }
    if !posted.passed_over.is_empty() {
        let count = posted.passed_over.len();
        let _ = write!(note, "; {count} more mails with patches are passed over");
    }
    context.emit(Event::Note(note));
}
