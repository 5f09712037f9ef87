//! A public-inbox on this machine, as lore.kernel.org hands them out: git
//! repositories in which each mail is a file. In the second version of its
//! layout each commit has one mail, as the file `m`; in the first a tree has all.

use std::path::{Path, PathBuf};

use super::index::{Head, Index};
use super::{ArchiveError, MessageId};
use crate::context::Context;
use crate::kernel::mail::LARGEST;
use crate::kernel::source::of_the_user;
use crate::process::{Command, ProcessError};

/// So many mails are read at a time.
const BATCH: usize = 500;

/// So many bytes are read at a time: less than is kept of what a program says.
const BATCH_BYTES: u64 = 8 << 20;

/// git's word for a file: repository, and name as `cat-file` takes it.
type Place<'a> = (&'a Path, String);

/// The repositories of an inbox, the newest first: epochs of a mirror, or the
/// one that `path` itself is.
pub(super) fn repositories(path: &Path) -> Vec<PathBuf> {
    for directory in [path.join("git"), path.to_owned()] {
        let mut epochs: Vec<(u32, PathBuf)> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_suffix(".git")?.parse().ok()?;
                is_repository(&entry.path()).then(|| (number, entry.path()))
            })
            .collect();
        epochs.sort();
        if !epochs.is_empty() {
            return epochs.into_iter().rev().map(|(_, path)| path).collect();
        }
    }
    let candidates = [path.to_owned(), path.join(".git"), path.join("all.git")];
    candidates
        .into_iter()
        .find(|path| is_repository(path))
        .into_iter()
        .collect()
}

fn is_repository(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir()
}

/// The mails of a thread, in the order in which they came.
pub(super) async fn thread(
    context: &Context,
    repositories: &[PathBuf],
    id: &MessageId,
) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut index = Index::default();
    let mut places: Vec<Place<'_>> = Vec::new();
    'all: for repository in repositories {
        let (names, newest_first) = names(context, repository).await?;
        for batch in names.chunks(BATCH) {
            for (name, mail) in contents(context, repository, batch).await? {
                if let Some(head) = Head::parse(&mail) {
                    index.add(places.len(), head);
                    places.push((repository, name));
                }
            }
            // Replies come later than what they answer: they were read before.
            if newest_first && index.has_beginning_of(id.as_str()) {
                break 'all;
            }
        }
    }
    let mut mails = Vec::new();
    for number in index.thread(id.as_str()).into_iter().rev() {
        let (repository, name) = &places[number];
        let found = contents(context, repository, std::slice::from_ref(name)).await?;
        mails.extend(found.into_iter().map(|(_, mail)| mail));
    }
    Ok(mails)
}

fn git(repository: &Path) -> Command {
    of_the_user(repository).arg("--git-dir").arg(repository)
}

/// The names of all mails of a repository, and whether the newest come first.
async fn names(context: &Context, repository: &Path) -> Result<(Vec<String>, bool), ArchiveError> {
    let mut names = Vec::new();
    let tip = git(repository).args(["cat-file", "-e", "HEAD:m"]);
    let removed = git(repository).args(["cat-file", "-e", "HEAD:d"]);
    let is_there = async |command: Command| {
        let finished = command.status(&context.cancel).await?;
        Ok::<_, ProcessError>(finished.status.success())
    };
    let newest_first = is_there(tip).await? || is_there(removed).await?;
    let list = if newest_first {
        git(repository).args(["rev-list", "HEAD"])
    } else {
        git(repository).args(["rev-list", "--objects", "--no-object-names", "HEAD"])
    };
    let suffix = if newest_first { ":m" } else { "" };
    let listed = list.lines(&context.cancel, |_, line| {
        names.push(format!("{line}{suffix}"));
    });
    listed.await?;
    Ok((names, newest_first))
}

/// The contents of those of these that are files, and not too large.
async fn contents(
    context: &Context,
    repository: &Path,
    names: &[String],
) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let ask = |how: &str, names: &[&String]| {
        let list = names.iter().flat_map(|name| [name.as_str(), "\n"]);
        git(repository)
            .args(["cat-file", how])
            .input(list.collect::<String>())
    };
    let all: Vec<&String> = names.iter().collect();
    let sizes = ask("--batch-check=%(objecttype) %(objectsize)", &all);
    let sizes = sizes.run(&context.cancel).await?.stdout;
    let sizes = String::from_utf8_lossy(&sizes).into_owned();
    let size = |line: &str| line.strip_prefix("blob ")?.parse::<u64>().ok();
    let files: Vec<(&String, u64)> = all
        .into_iter()
        .zip(sizes.lines())
        .filter_map(|(name, line)| Some((name, size(line)?)))
        .filter(|(_, size)| *size <= LARGEST.min(BATCH_BYTES))
        .collect();
    let mut found = Vec::new();
    let mut rest = files.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(_, size)| {
            bytes += size;
            bytes <= BATCH_BYTES
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let batch: Vec<&String> = now.iter().map(|(name, _)| *name).collect();
        let said = ask("--batch", &batch).run(&context.cancel).await?.stdout;
        let mut said = said.as_slice();
        for (name, size) in now {
            // A line about it, its content, an empty line.
            let Some(start) = said.iter().position(|&byte| byte == b'\n') else {
                break;
            };
            let end = (start + 1).saturating_add(usize::try_from(*size).unwrap_or(usize::MAX));
            let Some(mail) = said.get(start + 1..end) else {
                break;
            };
            found.push(((*name).clone(), mail.to_vec()));
            said = said.get(end + 1..).unwrap_or_default();
        }
        rest = later;
    }
    Ok(found)
}
