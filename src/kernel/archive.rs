//! Mail archives: from a message's id to all mails of its thread. A local one is
//! read here, be it a mailbox, a maildir or a public-inbox; lore.kernel.org and
//! its mirrors are asked by b4.

mod inbox;
mod index;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::mail::LARGEST;
use crate::bounded;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::{Command, ProcessError, find_program};
use crate::store::{Scratch, StoreError};
use index::{Head, Index};

/// The longest id that is looked for, in bytes; mail's lines have 998.
const LONGEST: usize = 990;

/// A server that does not answer must not be waited for for ever.
const DEADLINE: Duration = Duration::from_secs(180);

/// What b4 is told to call a thread's file.
const THREAD: &str = "thread.mbx";

/// The line before each mail of a mailbox.
const SEPARATOR: &[u8] = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n";

/// The id of a mail, without its brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

/// A thread is not to be had.
#[derive(Debug, Error, Diagnostic)]
pub enum ArchiveError {
    /// The word is not a message id.
    #[error("`{0}` is not a message id")]
    #[diagnostic(help(
        "it is in the mail's header Message-ID, such as `20260102030405.1-2-a@example.org`; a link \
         to the mail on lore.kernel.org serves as well"
    ))]
    Id(String),
    /// No archive is there.
    #[error("`{from}` is not a mail archive: {reason}")]
    #[diagnostic(help(
        "--from takes a mailbox, a maildir, a public-inbox (a git repository, or a directory of \
         them), or the address of a mirror of lore.kernel.org"
    ))]
    Place {
        /// What was named.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The mail is not in the archive.
    #[error("{archive} has no mail <{id}>")]
    #[diagnostic(help("{help}"))]
    Absent {
        /// What was searched.
        archive: String,
        /// The id.
        id: String,
        /// What to do.
        help: String,
    },
    /// The archive could not be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check the path, and that all of it can be read"))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// b4 is not installed.
    #[error("b4, which asks lore.kernel.org, is not installed")]
    #[diagnostic(help(
        "`python3 -m venv ~/b4 && ~/b4/bin/pip install b4`, and put ~/b4/bin into PATH; or name a \
         local archive with --from"
    ))]
    NoB4,
    /// git or b4 failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl Fault for ArchiveError {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            _ => Exit::Usage,
        }
    }
}

impl MessageId {
    /// Reads an id, with or without brackets, or the address of a mail in an
    /// archive.
    pub fn parse(word: &str) -> Result<Self, ArchiveError> {
        let wrong = || ArchiveError::Id(word.to_owned());
        let mut id = word.trim();
        let is_link = id.starts_with("https://") || id.starts_with("http://");
        let decoded;
        if is_link {
            let mut parts = id.split('/').filter(|part| part.contains(['@', '%']));
            let part = parts.next().ok_or_else(wrong)?;
            decoded = decode(part).ok_or_else(wrong)?;
            id = &decoded;
        }
        let id = id.strip_prefix('<').unwrap_or(id);
        let id = id.strip_suffix('>').unwrap_or(id);
        let fit = id.contains('@')
            && id.len() <= LONGEST
            && !id.starts_with('-')
            && id
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"<>\"".contains(&byte));
        if fit {
            Ok(Self(id.to_owned()))
        } else {
            Err(wrong())
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a mail.
#[must_use]
pub fn id_of(mail: &[u8]) -> Option<String> {
    Some(Head::parse(mail)?.id)
}

/// `%40` for `@` and the like.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// All mails of the thread with this id, as a mailbox. `from` is a local archive
/// or a mirror's address; lore.kernel.org, or what b4 is told to use, if absent.
pub async fn thread(
    context: &Context,
    from: Option<&str>,
    id: &MessageId,
) -> Result<Vec<u8>, ArchiveError> {
    let from = match from {
        None => return by_b4(context, None, id).await,
        Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
            return by_b4(context, Some(url), id).await;
        }
        Some(from) => from,
    };
    let path = Path::new(from);
    let wrong = |reason: &str| ArchiveError::Place {
        from: from.to_owned(),
        reason: reason.to_owned(),
    };
    let metadata = path.metadata().map_err(|error| wrong(&error.to_string()))?;
    let repositories = inbox::repositories(path);
    let mails = if metadata.is_file() {
        let (path, id) = (path.to_owned(), id.clone());
        aside(move || mailbox(&path, &id)).await?
    } else if path.join("cur").is_dir() || path.join("new").is_dir() {
        let (path, id) = (path.to_owned(), id.clone());
        aside(move || maildir(&path, &id)).await?
    } else if !repositories.is_empty() {
        inbox::thread(context, &repositories, id).await?
    } else if metadata.is_dir() {
        return Err(wrong(
            "the directory is neither a maildir nor a git repository",
        ));
    } else {
        return Err(wrong("it is neither a file nor a directory"));
    };
    if mails.is_empty() {
        return Err(ArchiveError::Absent {
            archive: from.to_owned(),
            id: id.0.clone(),
            help: "check the id, and that the archive reaches to its day; without --from, b4 asks \
                   lore.kernel.org"
                .to_owned(),
        });
    }
    Ok(joined(mails))
}

/// Reads files on a thread of its own.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ProcessError::Interrupted.into()))
}

/// Mails as a mailbox.
fn joined(mails: Vec<Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for mail in mails {
        all.extend_from_slice(SEPARATOR);
        for line in mail.split_inclusive(|&byte| byte == b'\n') {
            // A commit's first line in a mail's text does not begin another mail.
            if super::mail::is_from_line(line) {
                all.push(b'>');
            }
            all.extend_from_slice(line);
        }
        all.extend_from_slice(if mail.ends_with(b"\n") {
            b"\n"
        } else {
            b"\n\n"
        });
    }
    all
}

/// The mails of a thread in a mailbox of any size.
fn mailbox(path: &Path, id: &MessageId) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut index = Index::default();
    let mut places = Vec::new();
    let mut each = |place: (u64, u64), head: &[u8]| {
        if let Some(head) = Head::parse(head) {
            index.add(places.len(), head);
            places.push(place);
        }
    };
    split(path, &mut each).map_err(unreadable)?;
    let mut file = File::open(path).map_err(unreadable)?;
    let mut mails = Vec::new();
    for mail in index.thread(id.as_str()) {
        let (start, length) = places[mail];
        io::Seek::seek(&mut file, io::SeekFrom::Start(start)).map_err(unreadable)?;
        let mut content = Vec::new();
        let mut part = (&mut file).take(length);
        part.read_to_end(&mut content).map_err(unreadable)?;
        mails.push(content);
    }
    Ok(mails)
}

/// So much of a mail is looked at for its headers.
const HEAD: usize = 256 << 10;

/// Tells where in a mailbox each mail begins and how long it is, with its
/// beginning. Those that are too large are passed over.
fn split(path: &Path, mut each: impl FnMut((u64, u64), &[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut at, mut start, mut after_blank) = (0, 0, true);
    let mut head = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end is as good as its beginning.
        let mut part = (&mut reader).take(HEAD as u64);
        let length = part.read_until(b'\n', &mut line)? as u64;
        let begins = after_blank && super::mail::is_from_line(&line);
        if begins || length == 0 {
            if at > start && at - start <= LARGEST {
                each((start, at - start), &head);
            }
            start = at + length;
            head.clear();
        } else if head.len() < HEAD {
            head.extend_from_slice(&line);
        }
        if length == 0 {
            return Ok(());
        }
        after_blank = line.trim_ascii().is_empty();
        at += length;
    }
}

/// The mails of a thread in a maildir.
fn maildir(path: &Path, id: &MessageId) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ArchiveError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for part in ["cur", "new"] {
        let directory = path.join(part);
        if !directory.is_dir() {
            continue;
        }
        let entries = std::fs::read_dir(&directory).map_err(unreadable(&directory))?;
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|file| file.is_file());
    files.sort();
    let mut index = Index::default();
    for (number, file) in files.iter().enumerate() {
        let mut head = Vec::new();
        let mut part = File::open(file)
            .map_err(unreadable(file))?
            .take(HEAD as u64);
        part.read_to_end(&mut head).map_err(unreadable(file))?;
        if let Some(head) = Head::parse(&head) {
            index.add(number, head);
        }
    }
    let mut mails = Vec::new();
    for number in index.thread(id.as_str()) {
        let file = &files[number];
        mails.push(bounded::read(file, LARGEST).map_err(unreadable(file))?);
    }
    Ok(mails)
}

/// Has b4 fetch a thread.
async fn by_b4(
    context: &Context,
    mirror: Option<&str>,
    id: &MessageId,
) -> Result<Vec<u8>, ArchiveError> {
    if find_program("b4").is_none() {
        return Err(ArchiveError::NoB4);
    }
    let scratch = Scratch::new()?;
    let mut b4 = Command::new("b4").args(["--no-stdin", "--no-interactive"]);
    // One file, whatever else is somebody's habit.
    b4 = b4.args(["-c", "b4.save-maildirs=no"]);
    if let Some(mirror) = mirror {
        let mask = format!("b4.midmask={}/%s", mirror.trim_end_matches('/'));
        b4 = b4.args(["-c", &mask]);
    }
    let b4 = b4
        .args(["mbox", "--mbox-name", THREAD, "--outdir"])
        .arg(scratch.path())
        .arg(id.as_str())
        .deadline(DEADLINE);
    let finished = b4.status(&context.cancel).await?;
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    let path = scratch.join(THREAD);
    if !finished.status.success() || !path.exists() {
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        return Err(ArchiveError::Absent {
            archive: mirror.unwrap_or("lore.kernel.org").to_owned(),
            id: id.0.clone(),
            help: format!(
                "b4 says: {}; check the id and the network, or name a local archive with --from",
                last.unwrap_or("nothing").trim()
            ),
        });
    }
    bounded::read(&path, LARGEST).map_err(|source| ArchiveError::Unreadable { path, source })
}

#[cfg(test)]
mod tests;
