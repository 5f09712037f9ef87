//! Patches as people send them: a file, a mail, or a mailbox with a whole
//! thread, made into the patches of one series in order.
//!
//! Of a thread the patches of the highest version are taken; cover letters and
//! replies are passed over. What cannot be one series, or was damaged on its
//! way, is refused: a guess would test another change than was sent.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::LazyLock;

use mailparse::body::Body;
use mailparse::{MailHeaderMap, ParsedMail};
use miette::Diagnostic;
use regex::Regex;
use thiserror::Error;

use super::diff;
use super::series::BASE_COMMIT;
use crate::error::{Exit, Fault};
use crate::store::{Key, Store, StoreError, io_error};

/// No mailbox of one thread is larger.
pub const LARGEST: u64 = 64 << 20;

/// A mail of a list has a few parts; each one more costs another pass over it.
const MOST_PARTS: usize = 64;

/// The kind of kept patches in the store.
const KIND: &str = "mails";

/// The patches of one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// What messages call it.
    pub name: String,
    /// The patches, in order: a name for each one's file, and its content.
    pub patches: Vec<(String, Vec<u8>)>,
    /// Which reroll it is, from 1.
    pub version: u32,
    /// The commit that it was made for, if it says so.
    pub base_commit: Option<String>,
    /// Subjects of mails with patches that are not in it.
    pub passed_over: Vec<String>,
    /// A later reroll than this one that is in the same thread.
    pub newer: Option<u32>,
}

/// There is no series to be had.
#[derive(Debug, Error, Diagnostic)]
pub enum MailError {
    /// No patch is there.
    #[error("{name} holds no patch")]
    #[diagnostic(help(
        "a patch is a unified diff (`git diff`, `git format-patch`), alone or in a mail; a reply's is not taken"
    ))]
    NoPatch {
        /// The file.
        name: String,
    },
    /// There are several series.
    #[error("{name} holds several series:{}", super::indented(titles))]
    #[diagnostic(help("give a mailbox of one thread; `b4 am MESSAGE-ID` makes one"))]
    Several {
        /// The file.
        name: String,
        /// The subject of the first patch of each.
        titles: Vec<String>,
    },
    /// A patch of the series is missing or is there twice.
    #[error("{name}: patch {number}/{total} of the series {problem}")]
    #[diagnostic(help("get the whole thread again, such as with `b4 am MESSAGE-ID`"))]
    Incomplete {
        /// The file.
        name: String,
        /// From 1.
        number: u32,
        /// How many the series has.
        total: u32,
        /// What is wrong.
        problem: &'static str,
    },
    /// The diff was damaged.
    #[error("{name}: {reason}")]
    #[diagnostic(help("{help}"))]
    Damaged {
        /// The file, and the patch where there are several.
        name: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        help: &'static str,
    },
    /// It cannot be kept.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl Fault for MailError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What a subject says.
#[derive(Debug, PartialEq, Eq)]
struct Subject {
    title: String,
    version: u32,
    /// The patch's number and how many there are, if it says so.
    number: Option<(u32, u32)>,
    reply: bool,
}

impl Subject {
    /// `[PATCH RFC v3 02/11] title`
    fn parse(text: &str) -> Self {
        static REPLY: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"(?i)^\s*(re|aw|fwd?|sv|vs)\s*(\[\d+\])?\s*:").ok());
        static VERSION: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"(?i)(?:\b|patch)v(\d{1,4})\b").ok());
        static NUMBER: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"\b(\d{1,4})/(\d{1,4})\b").ok());
        let matches = |regex: &Option<Regex>, text: &str| {
            regex.as_ref().is_some_and(|regex| regex.is_match(text))
        };
        let reply = matches(&REPLY, text);
        let mut rest = text.trim();
        let (mut version, mut number) = (1, None);
        while let Some((tag, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
        {
            if let Some(found) = VERSION.as_ref().and_then(|regex| regex.captures(tag)) {
                version = found[1].parse().unwrap_or(1);
            }
            if let Some(found) = NUMBER.as_ref().and_then(|regex| regex.captures(tag)) {
                number = found[1].parse().ok().zip(found[2].parse().ok());
            }
            rest = after.trim_start();
        }
        Self {
            title: rest.split_whitespace().collect::<Vec<_>>().join(" "),
            version,
            number,
            reply,
        }
    }
}

/// One mail, as far as it matters.
struct Mail {
    subject: Subject,
    author: String,
    id: Option<String>,
    parent: Option<String>,
    /// The text that has the diff, or the first one.
    text: Vec<u8>,
    /// As it stands in the mailbox, if nothing had to be decoded.
    verbatim: Option<Vec<u8>>,
    has_diff: bool,
    /// Another part has another diff.
    has_several: bool,
}

/// Reads what a file holds; `name` is what messages call it. A patch that is
/// alone in its file is meant alone, whatever number its subject has.
pub fn read(name: &str, content: &[u8]) -> Result<Posted, MailError> {
    let mut mails: Vec<Mail> = split(content).into_iter().filter_map(parse).collect();
    if let [alone] = mails.as_mut_slice() {
        alone.subject.number = None;
    }
    let mails = &mails;
    if mails.is_empty() {
        if !has_diff(content) {
            return Err(MailError::NoPatch {
                name: name.to_owned(),
            });
        }
        check(name, content)?;
        return Ok(Posted {
            name: name.to_owned(),
            patches: vec![("0001.patch".to_owned(), content.to_owned())],
            version: 1,
            base_commit: base_commit(content),
            passed_over: Vec::new(),
            newer: None,
        });
    }
    posted(name, mails, &choose(name, mails)?)
}

/// The patches of commits, as `git format-patch` writes them: all of them, in
/// order. What stands in brackets before a commit's subject is its author's, and
/// says nothing of versions or numbers.
pub fn commits(name: &str, content: &[u8]) -> Result<Posted, MailError> {
    if content.trim_ascii().is_empty() {
        return Err(MailError::NoPatch {
            name: name.to_owned(),
        });
    }
    let mut mails = Vec::new();
    for (index, part) in split(content).into_iter().enumerate() {
        let Some(mut mail) = parse(part).filter(|mail| mail.has_diff) else {
            return Err(MailError::Damaged {
                name: format!("{name}: commit {}", index + 1),
                reason: "its patch cannot be read".to_owned(),
                help: diff::FORM,
            });
        };
        mail.subject = Subject {
            title: mail.subject.title,
            version: 1,
            number: None,
            reply: false,
        };
        mails.push(mail);
    }
    posted(name, &mails, &mails.iter().collect::<Vec<_>>())
}

/// The series that the mail of this id is of, from the mails of its thread: a
/// patch of it, its cover letter, or a reply to one of them.
pub fn read_series(name: &str, content: &[u8], id: &str) -> Result<Posted, MailError> {
    let mails: Vec<Mail> = split(content).into_iter().filter_map(parse).collect();
    let series = series_of(&mails, id);
    if series.is_empty() {
        return Err(MailError::NoPatch {
            name: name.to_owned(),
        });
    }
    posted(name, &mails, &series)
}

/// Whether a mail is a whole series by itself: one patch.
#[must_use]
pub fn is_whole(content: &[u8]) -> bool {
    parse(content).is_some_and(|mail| {
        let alone = mail.subject.number.is_none_or(|(_, total)| total == 1);
        mail.has_diff && alone && !mail.subject.reply
    })
}

/// Puts the patches of a series in order and reads what is said of them.
fn posted(name: &str, mails: &[Mail], series: &[&Mail]) -> Result<Posted, MailError> {
    let chosen = in_order(name, series)?;
    let version = chosen[0].subject.version;
    let alone = mails.len() == 1;
    let mut patches = Vec::new();
    for (index, mail) in chosen.iter().enumerate() {
        let title = format!("{name}: {}", mail.subject.title);
        if mail.has_several {
            return Err(MailError::Damaged {
                name: title,
                reason: "the mail has several patches attached".to_owned(),
                help: "save each as a file of one directory, numbered as they are to be applied, \
                       and name the directory",
            });
        }
        check(&title, &mail.text)?;
        let file = format!("{:04}-{}.patch", index + 1, slug(&mail.subject.title));
        let content = match &mail.verbatim {
            Some(verbatim) if alone => verbatim.clone(),
            _ => {
                let head = format!("Subject: {}\n\n", mail.subject.title);
                [head.as_bytes(), &mail.text].concat()
            }
        };
        patches.push((file, content));
    }
    let is_chosen = |mail: &Mail| chosen.iter().any(|other| std::ptr::eq(*other, mail));
    let is_answered = |mail: &Mail| {
        let mut parents = chosen.iter().map(|patch| &patch.parent);
        mail.id.is_some() && !mail.subject.reply && parents.any(|parent| *parent == mail.id)
    };
    let with_cover = mails
        .iter()
        .filter(|mail| is_chosen(mail) || is_answered(mail));
    Ok(Posted {
        name: name.to_owned(),
        patches,
        version,
        base_commit: with_cover.rev().find_map(|mail| base_commit(&mail.text)),
        passed_over: mails
            .iter()
            .filter(|mail| mail.has_diff && !is_chosen(mail))
            .map(|mail| mail.subject.title.clone())
            .collect(),
        newer: mails
            .iter()
            .filter(|mail| mail.has_diff && !mail.subject.reply)
            .map(|mail| mail.subject.version)
            .max()
            .filter(|&newest| newest > version),
    })
}

/// Writes the patches into the store, under a key made of their content;
/// returns their directory.
pub async fn keep(store: &Store, posted: &Posted) -> Result<PathBuf, StoreError> {
    let stem = posted.name.rsplit('/').next().unwrap_or_default();
    let stem = stem.trim_end_matches(".patch").trim_end_matches(".mbox");
    let directory = Some(slug(stem)).filter(|slug| !slug.is_empty());
    let directory = directory.unwrap_or_else(|| "patch".to_owned());
    let parts = posted.patches.iter();
    let parts = parts.flat_map(|(file, content)| [file.as_bytes(), content.as_slice()]);
    let base = posted.base_commit.iter().map(String::as_bytes);
    let parts = parts.chain(base);
    let key = Key::of(std::iter::once(directory.as_bytes()).chain(parts));
    let write = |path: PathBuf| {
        let directory = path.join(&directory);
        async move {
            std::fs::create_dir(&directory).map_err(io_error("create", &directory))?;
            for (file, content) in &posted.patches {
                let path = directory.join(file);
                std::fs::write(&path, content).map_err(io_error("write", &path))?;
            }
            if let Some(base) = &posted.base_commit {
                let path = directory.join(BASE_COMMIT);
                std::fs::write(&path, base).map_err(io_error("write", &path))?;
            }
            Ok::<(), StoreError>(())
        }
    };
    let entry = store.fill(KIND, key.as_str(), write).await?;
    Ok(entry.path.join(directory))
}

/// The part of a title that may be in a file's name.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric() && !"_.".contains(c));
    let words: Vec<&str> = words
        .map(|word| word.trim_matches('.'))
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-").chars().take(52).collect()
}

/// Cuts a mailbox at its `From ` lines.
fn split(content: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    let mut after_blank = true;
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        if after_blank && is_from_line(line) {
            starts.push((at, at + line.len()));
        }
        after_blank = line.trim_ascii().is_empty();
        at += line.len();
    }
    let Some(&(first, _)) = starts.first() else {
        return vec![content];
    };
    if !content[..first].trim_ascii().is_empty() {
        return vec![content];
    }
    let ends = starts.iter().skip(1).map(|&(start, _)| start);
    let ends = ends.chain(std::iter::once(content.len()));
    let bodies = starts.iter().zip(ends);
    bodies
        .map(|(&(_, start), end)| &content[start..end])
        .collect()
}

/// `From WHO Mon Sep 17 00:00:00 2001`: with a time and a year.
pub(super) fn is_from_line(line: &[u8]) -> bool {
    static FROM: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^From \S+ .*\d:\d\d.*\d{4}\s*$").ok());
    let text = String::from_utf8_lossy(line);
    FROM.as_ref().is_some_and(|regex| regex.is_match(&text))
}

/// A mail, if the text is one: it has headers, and a subject among them.
fn parse(text: &[u8]) -> Option<Mail> {
    let parts = text
        .windows(9)
        .filter(|window| window.eq_ignore_ascii_case(b"boundary="));
    if parts.count() > MOST_PARTS {
        return None;
    }
    let mail = mailparse::parse_mail(text).ok()?;
    let header = |name: &str| mail.headers.get_first_value(name);
    let subject = Subject::parse(&header("Subject")?);
    let parent = header("In-Reply-To").or_else(|| header("References"));
    let mut texts = Vec::new();
    texts_of(&mail, &mut texts);
    if texts.is_empty() {
        return None;
    }
    let with_diff = texts.iter().position(|(text, _)| has_diff(text));
    let (body, encoded) = texts.swap_remove(with_diff.unwrap_or(0));
    let differs = |(text, _): &(Vec<u8>, bool)| has_diff(text) && diff_of(text) != diff_of(&body);
    let verbatim = (!encoded && mail.subparts.is_empty()).then(|| text.to_owned());
    Some(Mail {
        subject,
        author: header("From").unwrap_or_default(),
        id: header("Message-ID").as_deref().and_then(last_id),
        parent: parent.as_deref().and_then(last_id),
        has_diff: has_diff(&body),
        has_several: texts.iter().any(differs),
        text: body,
        verbatim,
    })
}

/// The last `<id>` of a header's value.
fn last_id(value: &str) -> Option<String> {
    let (_, id) = value.rsplit_once('<')?;
    Some(id.split_once('>')?.0.to_owned())
}

/// The texts of a mail, in whatever parts they are; and whether each had to be
/// decoded. Bytes stay as they are: a diff must match.
fn texts_of(mail: &ParsedMail<'_>, found: &mut Vec<(Vec<u8>, bool)>) {
    if !mail.subparts.is_empty() {
        for part in &mail.subparts {
            texts_of(part, found);
        }
        return;
    }
    let mime = mail.ctype.mimetype.as_str();
    if !mime.starts_with("text/") || mime == "text/html" {
        return;
    }
    let encoded = matches!(
        mail.get_body_encoded(),
        Body::Base64(_) | Body::QuotedPrintable(_)
    );
    let Ok(mut text) = mail.get_body_raw() else {
        return;
    };
    // Where text is encoded, its lines end in CR LF on their way.
    if encoded && text.contains(&b'\r') {
        text.retain(|&byte| byte != b'\r');
    }
    found.push((text, encoded));
}

/// The lines of a text from its diff on, up to a signature.
fn diff_of(text: &[u8]) -> Vec<&[u8]> {
    let begins = |line: &&[u8]| line.starts_with(b"diff --git ") || line.starts_with(b"--- ");
    let lines = text.split(|&byte| byte == b'\n');
    let lines = lines.skip_while(|line| !begins(line));
    let lines = lines.take_while(|line| *line != b"-- ");
    lines.filter(|line| !line.is_empty()).collect()
}

fn has_diff(text: &[u8]) -> bool {
    let mut before: &[u8] = b"";
    text.split(|&byte| byte == b'\n').any(|line| {
        let pair = before.starts_with(b"--- ") && line.starts_with(b"+++ ");
        before = line;
        pair || line.starts_with(b"diff --git ")
    })
}

fn check(name: &str, diff: &[u8]) -> Result<(), MailError> {
    let damaged = |reason, help| MailError::Damaged {
        name: name.to_owned(),
        reason,
        help,
    };
    if let Some(damage) = diff::damage(diff) {
        return Err(damaged(damage.reason, damage.help));
    }
    diff::changes(diff)
        .map(drop)
        .map_err(|reason| damaged(reason, diff::FORM))
}

/// The id after `base-commit:`.
fn base_commit(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("base-commit:"));
    ids.map(str::trim)
        .find(|id| (7..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::to_owned)
}

/// The mails of the series to test: of one thread, or of one author's rerolls,
/// those of the highest version. A patch without a number is a series by itself,
/// whatever it answers; sent again, it is there once.
fn choose<'a>(name: &str, mails: &'a [Mail]) -> Result<Vec<&'a Mail>, MailError> {
    let by_id: HashMap<&str, &Mail> = mails
        .iter()
        .filter_map(|mail| Some((mail.id.as_deref()?, mail)))
        .collect();
    let root = |mail: &'a Mail| -> &'a str {
        let mut top = mail;
        for _ in 0..mails.len() {
            match top.parent.as_deref().and_then(|id| by_id.get(id)) {
                Some(parent) => top = parent,
                None => break,
            }
        }
        if mail.subject.number.is_none() && mail.id.is_some() {
            return mail.id.as_deref().unwrap_or_default();
        }
        // The cover letter may be missing: then all answer to the same id.
        let above = top.parent.as_deref().filter(|_| !top.subject.reply);
        above.or(top.id.as_deref()).unwrap_or_default()
    };
    let mut groups: BTreeMap<(u32, &str, u32), Vec<&Mail>> = BTreeMap::new();
    let patches = mails
        .iter()
        .filter(|mail| mail.has_diff && !mail.subject.reply);
    for mail in patches {
        let is_again = |other: &&Mail| {
            mail.subject == other.subject
                && mail.subject.number.is_none()
                && mail.text == other.text
        };
        if groups.values().flatten().any(is_again) {
            continue;
        }
        let total = mail.subject.number.map_or(1, |(_, total)| total);
        let group = (mail.subject.version, root(mail), total);
        groups.entry(group).or_default().push(mail);
    }
    let Some((&(version, ..), _)) = groups.last_key_value() else {
        return Err(MailError::NoPatch {
            name: name.to_owned(),
        });
    };
    let newest: Vec<_> = groups
        .iter()
        .filter(|((of, ..), _)| *of == version)
        .collect();
    let author = &newest[0].1[0].author;
    let one_author = groups.values().flatten().all(|mail| &mail.author == author);
    let one_root = groups.keys().all(|(_, root, _)| *root == newest[0].0.1);
    if newest.len() > 1 || !(one_author || one_root) {
        let titles = groups.values().map(|group| group[0].subject.title.clone());
        return Err(MailError::Several {
            name: name.to_owned(),
            titles: titles.collect(),
        });
    }
    Ok(newest[0].1.clone())
}

/// The patches of the series that the mail of this id belongs to. A series is
/// what one mail began: a cover letter or a first patch.
fn series_of<'a>(mails: &'a [Mail], id: &str) -> Vec<&'a Mail> {
    let by_id: HashMap<&str, &Mail> = mails
        .iter()
        .filter_map(|mail| Some((mail.id.as_deref()?, mail)))
        .collect();
    let parent = |mail: &Mail| -> Option<&'a Mail> { by_id.get(mail.parent.as_deref()?).copied() };
    let Some(mut named) = by_id.get(id).copied() else {
        return Vec::new();
    };
    // A reply is about what it answers.
    for _ in 0..mails.len() {
        match parent(named) {
            Some(above) if named.subject.reply => named = above,
            _ => break,
        }
    }
    let total = |mail: &Mail| mail.subject.number.map_or(1, |(_, total)| total);
    let same = |one: &Mail, other: &Mail| {
        one.subject.number.is_some()
            && other.subject.number.is_some()
            && !other.subject.reply
            && one.subject.version == other.subject.version
            && total(one) == total(other)
    };
    // The id of the mail that began it; of an absent one, too.
    let beginning = |mail: &'a Mail| -> &'a str {
        let mut top = mail;
        for _ in 0..mails.len() {
            match parent(top) {
                Some(above) if same(top, above) => top = above,
                _ => break,
            }
        }
        let is_patch = top.subject.number.is_some_and(|(number, _)| number > 0);
        match top.parent.as_deref() {
            // A cover letter that is missing: its patches all answer to it.
            Some(absent) if is_patch && parent(top).is_none() => absent,
            _ => top.id.as_deref().unwrap_or_default(),
        }
    };
    let wanted = beginning(named);
    let of_it = |mail: &&'a Mail| {
        let is_named = std::ptr::eq(*mail, named) || same(named, mail);
        mail.has_diff && is_named && beginning(mail) == wanted
    };
    mails.iter().filter(of_it).collect()
}

/// The patches by their numbers, each of which must be there once.
fn in_order<'a>(name: &str, series: &[&'a Mail]) -> Result<Vec<&'a Mail>, MailError> {
    let Some((_, total)) = series.iter().find_map(|mail| mail.subject.number) else {
        return Ok(series.to_vec());
    };
    let incomplete = |number, problem| MailError::Incomplete {
        name: name.to_owned(),
        number,
        total,
        problem,
    };
    let mut ordered = Vec::new();
    for number in 1..=total {
        let mut these = series
            .iter()
            .filter(|mail| mail.subject.number == Some((number, total)));
        let mail = these
            .next()
            .ok_or_else(|| incomplete(number, "is missing"))?;
        if these.any(|other| other.text != mail.text) {
            return Err(incomplete(number, "appears twice, with different content"));
        }
        ordered.push(*mail);
    }
    if ordered.is_empty() {
        return Err(MailError::NoPatch {
            name: name.to_owned(),
        });
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n";

    fn mail(id: &str, parent: &str, subject: &str, body: &str) -> String {
        let parent = match parent {
            "" => String::new(),
            parent => format!("In-Reply-To: <{parent}>\n"),
        };
        format!(
            "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: A U Thor <a@example.org>\n\
             Subject: {subject}\nMessage-ID: <{id}>\n{parent}\n{body}\n"
        )
    }

    fn titles(posted: &Posted) -> Vec<String> {
        let head = |content: &[u8]| {
            let text = String::from_utf8_lossy(content).into_owned();
            let line = text.lines().next().unwrap_or_default().to_owned();
            line.trim_start_matches("Subject: ").to_owned()
        };
        posted
            .patches
            .iter()
            .map(|(_, content)| head(content))
            .collect()
    }

    #[test]
    fn a_thread_becomes_its_newest_patches_in_order() {
        let thread = [
            mail("c1", "", "[PATCH 0/2] all", "base-commit: 1111111111\n"),
            mail("p1", "c1", "[PATCH 1/2] one", DIFF),
            mail("p2", "c1", "[PATCH 2/2] two", DIFF),
            mail(
                "r1",
                "p1",
                "Re: [PATCH 1/2] one",
                &format!("no, so:\n\n{DIFF}"),
            ),
            mail("c2", "", "[PATCH v2 0/2] all", "base-commit: 2222222222\n"),
            mail("q2", "c2", "[RFC PATCH v2 2/2] two", DIFF),
            mail("q1", "c2", "[PATCH v2 1/2] one\n  again", DIFF),
        ];
        let posted = read("t.mbox", thread.concat().as_bytes()).unwrap();
        assert_eq!(titles(&posted), ["one again", "two"]);
        assert_eq!(posted.patches[0].0, "0001-one-again.patch");
        assert_eq!(posted.version, 2);
        assert_eq!(posted.base_commit.as_deref(), Some("2222222222"));
        assert_eq!(posted.passed_over, ["one", "two", "Re: [PATCH 1/2] one"]);
    }

    #[test]
    fn a_mail_s_series_is_found_among_rerolls_replies_and_other_threads() {
        let base = |n: u32| format!("base-commit: {}\n", n.to_string().repeat(10));
        let reply = format!("so perhaps:\n\n{DIFF}");
        let thread = [
            mail("c1", "", "[PATCH 0/2] all", &base(1)),
            mail("p2", "c1", "[PATCH 2/2] two", DIFF),
            mail("p1", "c1", "[PATCH 1/2] one", DIFF),
            mail("r1", "p1", "Re: [PATCH 1/2] one", &reply),
            mail("r2", "r1", "Re: [PATCH 1/2] one", "no.\n"),
            // A reroll in the same thread, and one by somebody else.
            mail("c2", "c1", "[PATCH v2 0/2] all", &base(2)),
            mail("q1", "c2", "[PATCH v2 1/2] one", DIFF),
            mail("q2", "c2", "[PATCH v2 2/2] two", DIFF),
            mail("o", "p2", "[PATCH] instead of two", DIFF),
            // Without their cover letters; of one each mail answers the one before.
            mail("e1", "lost", "[PATCH 1/2] wide", DIFF),
            mail("e2", "lost", "[PATCH 2/2] open", DIFF),
            mail("d2", "d1", "[PATCH 2/3] deep", DIFF),
            mail("d3", "d2", "[PATCH 3/3] deeper", DIFF),
            mail("d1", "gone", "[PATCH 1/3] not", DIFF),
        ]
        .concat();
        let read = |id: &str| read_series("t", thread.as_bytes(), id);
        for (ids, wanted, version, base, newer) in [
            (
                &["c1", "p1", "p2", "r1", "r2"][..],
                &["one", "two"][..],
                1,
                Some("1111111111"),
                Some(2),
            ),
            (
                &["c2", "q1", "q2"],
                &["one", "two"],
                2,
                Some("2222222222"),
                None,
            ),
            (&["o"], &["instead of two"], 1, None, Some(2)),
            (
                &["d1", "d2", "d3"],
                &["not", "deep", "deeper"],
                1,
                None,
                Some(2),
            ),
        ] {
            for id in ids {
                let posted = read(id).unwrap();
                assert_eq!(titles(&posted), wanted, "{id}");
                assert_eq!((posted.version, posted.newer), (version, newer), "{id}");
                assert_eq!(posted.base_commit.as_deref(), base, "{id}");
            }
        }
        assert!(matches!(read("absent"), Err(MailError::NoPatch { .. })));
        // A patch that is lost is missed.
        let cut = thread.replace("[PATCH v2 2/2]", "Re: [PATCH v2 2/2]");
        let error = read_series("t", cut.as_bytes(), "c2")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("patch 2/2 of the series is missing"),
            "{error}"
        );
    }

    #[test]
    fn a_patch_that_answers_another_is_no_part_of_it() {
        let again = DIFF.replace("+c", "+d");
        let thread = [
            mail("a", "", "[PATCH] one", DIFF),
            mail("b", "a", "[PATCH] another way", &again),
        ]
        .concat();
        let posted = read_series("t", thread.as_bytes(), "b").unwrap();
        assert_eq!(titles(&posted), ["another way"]);
        assert_eq!(posted.passed_over, ["one"]);
        let error = read("t", thread.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("several series"), "{error}");
        let thread = [
            mail("a", "", "[PATCH] one", DIFF),
            mail("b", "a", "[PATCH RESEND] one", DIFF),
        ]
        .concat();
        assert_eq!(titles(&read("t", thread.as_bytes()).unwrap()), ["one"]);
    }

    #[test]
    fn brackets_of_a_commit_s_subject_are_no_version() {
        let commit = |subject: &str| {
            format!("From 0123abc Mon Sep 17 00:00:00 2001\nSubject: {subject}\n\n{DIFF}\n")
        };
        let range = ["[PATCH] one", "[PATCH] [v2] two", "[PATCH] [1/3] three"].map(commit);
        let posted = commits("a..b", range.concat().as_bytes()).unwrap();
        assert_eq!(posted.patches.len(), 3);
        assert_eq!(posted.version, 1);
        assert!(posted.passed_over.is_empty());
        let cut = range.concat().replacen(DIFF, "", 1);
        let error = commits("a..b", cut.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("commit 1"), "{error}");
        assert!(matches!(
            commits("a..b", b"\n"),
            Err(MailError::NoPatch { .. })
        ));
    }

    #[test]
    fn what_is_no_one_series_is_refused() {
        let one = mail("a", "", "[PATCH] one", DIFF);
        let other = mail("b", "", "[PATCH] other", DIFF);
        let part = ["2/3", "3/3"]
            .map(|n| mail(n, "c", &format!("[PATCH {n}] x"), DIFF))
            .concat();
        let reply = mail("r", "a", "Re: [PATCH] one", DIFF);
        for (content, said) in [
            (one + &other, "several series:\n"),
            (part, "patch 1/3 of the series is missing"),
            (reply, "holds no patch"),
            ("hello\n".to_owned(), "holds no patch"),
        ] {
            let error = read("t", content.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn patches_of_git_and_plain_diffs_stay_as_they_are() {
        let made = format!("From 0123abc Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n{DIFF}");
        let posted = read("x.patch", made.as_bytes()).unwrap();
        assert!(posted.patches[0].1.ends_with(DIFF.as_bytes()));
        assert_eq!(posted.patches[0].0, "0001-x.patch");
        let posted = read("x.diff", DIFF.as_bytes()).unwrap();
        assert_eq!(posted.patches[0].1, DIFF.as_bytes());
    }

    #[test]
    fn encoded_mails_are_decoded() {
        let body = DIFF.replace("+c", "+c=3D1=\n2");
        let text = format!(
            "Subject: [PATCH] x\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\n{body}"
        );
        let posted = read("x", text.as_bytes()).unwrap();
        let content = String::from_utf8(posted.patches[0].1.clone()).unwrap();
        assert!(content.contains("\n+c=12\n"), "{content}");
    }

    #[test]
    fn what_a_mail_program_did_to_a_diff_is_told() {
        let wrapped = DIFF.replace(" a\n", " a long line that\nwas wrapped\n");
        for (diff, said) in [
            (DIFF.replace('\n', "\r\n"), "CR LF"),
            (wrapped, "wrapped"),
            (DIFF.replace("b/f", "b/../../f"), "outside the kernel tree"),
            (DIFF.replace("a/f", "a//etc/f"), "outside the kernel tree"),
            (
                "diff --git a/f b/f\nindex 1..2\nGIT binary patch\nliteral 1\n".to_owned(),
                "binary",
            ),
            (DIFF[..DIFF.len() - 3].to_owned(), "ends within"),
        ] {
            for text in [diff.clone(), mail("a", "", "[PATCH] x", &diff)] {
                // The end of a mail is no end of a hunk.
                if said == "ends within" && text != diff {
                    continue;
                }
                let error = read("x.patch", text.as_bytes()).unwrap_err().to_string();
                assert!(error.contains(said), "{said}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn patches_are_kept_by_their_content() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let posted = read("../a b.patch", DIFF.as_bytes()).unwrap();
        let path = keep(&store, &posted).await.unwrap();
        assert!(path.ends_with("a-b"), "{path:?}");
        assert_eq!(
            std::fs::read(path.join("0001.patch")).unwrap(),
            DIFF.as_bytes()
        );
        assert_eq!(keep(&store, &posted).await.unwrap(), path);
    }

    /// Half of what was sent would be tested.
    #[test]
    fn a_mail_with_several_patches_attached_is_refused() {
        let attached = |first: &str, second: &str| {
            let part = |text: &str| format!("--b\nContent-Type: text/x-patch\n\n{text}\n");
            format!(
                "Subject: [PATCH] x\nMessage-ID: <a@b>\nContent-Type: multipart/mixed; boundary=b\n\n\
                 --b\nContent-Type: text/plain\n\nSee below.\n{}{}--b--\n",
                part(first),
                part(second)
            )
        };
        let other = DIFF.replace("+c", "+d");
        for read in [
            read("x", attached(DIFF, &other).as_bytes()),
            read_series("x", attached(DIFF, &other).as_bytes(), "a@b"),
        ] {
            let error = read.unwrap_err().to_string();
            assert!(error.contains("several patches"), "{error}");
        }
        // The same one again is as a mail program shows and attaches it.
        let again = format!("From: me\n\n{DIFF}-- \n2.47\n");
        let posted = read("x", attached(DIFF, &again).as_bytes()).unwrap();
        assert_eq!(posted.patches.len(), 1);
    }

    #[test]
    fn a_version_may_stand_right_behind_its_word() {
        for (subject, version) in [
            ("[PATCHv3 1/2] x", 3),
            ("[RFC PATCHv2] x", 2),
            ("[PATCH v4 net] x", 4),
            ("[PATCH 1/2] fs: v9fs", 1),
            ("[PATCH rev2] x", 1),
        ] {
            assert_eq!(Subject::parse(subject).version, version, "{subject}");
        }
    }
}
