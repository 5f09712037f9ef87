//! A series as mails: what `git send-email` takes and `git am` applies. The
//! author and the sign-off are the sender's; the patches' own trailers stay.
//! Pure: from patch files to mail files.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::base::Base;
use super::series::PatchFile;

/// Columns of a mail's text.
const WIDTH: usize = 72;

/// Whose mails these are and what is said besides the patches.
#[derive(Debug, Clone, Default)]
pub struct Posting {
    /// The sender, `Name <address>`.
    pub sender: String,
    /// Which time the series is sent, from 1.
    pub version: u32,
    /// The cover letter's subject.
    pub title: String,
    /// Its text, in lines as they are sent.
    pub cover: String,
    /// What was measured: lines that are not wrapped.
    pub measured: String,
    /// The commit that the series applies to.
    pub base: Option<Base>,
}

/// A mail, as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Such as `0001-ceph-add-ceph_iput_async.patch`.
    pub file: String,
    /// The whole of it.
    pub text: String,
}

/// A patch taken apart.
struct Patch {
    subject: String,
    /// The changelog with its trailers.
    message: String,
    /// From the statistics on.
    change: String,
}

impl Patch {
    fn read(file: &PatchFile) -> Self {
        let text = String::from_utf8_lossy(&file.content);
        let (head, body) = text.split_once("\n\n").unwrap_or(("", &text));
        let head = head.replace("\n ", " ");
        let subject = head
            .lines()
            .find_map(|line| line.strip_prefix("Subject:"))
            .map_or_else(|| file.name.clone(), |subject| bare(subject).to_owned());
        // The changelog may be empty.
        let body = &format!("\n{body}");
        let (message, change) = match body.split_once("\n---\n") {
            Some((message, change)) => (message, change),
            None => body.split_at(body.find("diff --git ").unwrap_or(body.len())),
        };
        Self {
            subject,
            message: message.trim().to_owned(),
            change: change.to_owned(),
        }
    }

    /// The changelog with this trailer at its end, once.
    fn signed(&self, trailer: &str) -> String {
        if self.message.lines().any(|line| line == trailer) {
            return self.message.clone();
        }
        let last = self.message.lines().next_back().unwrap_or_default();
        let trailers = last
            .split_once(": ")
            .is_some_and(|(key, _)| !key.contains(' ') && key.contains('-'))
            || last.starts_with("Fixes: ")
            || last.starts_with("Cc: ")
            || last.starts_with("Link: ")
            || last.starts_with("Closes: ");
        let between = match trailers {
            _ if self.message.is_empty() => "",
            true => "\n",
            false => "\n\n",
        };
        format!("{}{between}{trailer}", self.message)
    }
}

/// A subject without what stands in brackets before it.
fn bare(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some(after) = rest
        .strip_prefix('[')
        .and_then(|tail| tail.split_once(']'))
        .map(|(_, after)| after.trim_start())
    {
        rest = after;
    }
    rest
}

/// The mails of a series: a cover letter, then the patches in order. One patch
/// has no cover letter: what it would say stands below its `---`.
#[must_use]
pub fn mails(patches: &[PatchFile], posting: &Posting) -> Vec<Mail> {
    let patches: Vec<Patch> = patches.iter().map(Patch::read).collect();
    let count = patches.len();
    let width = count.to_string().len();
    let tag = |number: usize| {
        let version = match posting.version {
            0 | 1 => String::new(),
            version => format!(" v{version}"),
        };
        if count == 1 {
            format!("[PATCH{version}]")
        } else {
            format!("[PATCH{version} {number:0width$}/{count}]")
        }
    };
    let trailer = format!("Signed-off-by: {}", posting.sender);
    let mut mails = Vec::new();
    if count > 1 {
        let mut text = head(posting, &format!("{} {}", tag(0), posting.title));
        text.push_str(&cover(&patches, posting));
        mails.push(Mail {
            file: "0000-cover-letter.patch".to_owned(),
            text: finished(text, posting.base.as_ref()),
        });
    }
    for (index, patch) in patches.iter().enumerate() {
        let mut text = head(posting, &format!("{} {}", tag(index + 1), patch.subject));
        let _ = write!(text, "{}\n---\n", patch.signed(&trailer));
        if count == 1 && !posting.measured.is_empty() {
            let _ = write!(text, "\n{}\n", posting.measured.trim_end());
        }
        text.push_str(patch.change.trim_end_matches('\n'));
        text.push('\n');
        let base = posting.base.as_ref().filter(|_| count == 1);
        mails.push(Mail {
            file: format!("{:04}-{}.patch", index + 1, slug(&patch.subject)),
            text: finished(text, base),
        });
    }
    mails
}

/// The header, with an mbox's first line before it.
fn head(posting: &Posting, subject: &str) -> String {
    let mut head =
        String::from("From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n");
    let _ = writeln!(head, "From: {}", encoded_sender(&posting.sender));
    // What a title has on another line would be a header.
    let subject: Vec<&str> = subject.split_whitespace().collect();
    let _ = writeln!(head, "Subject: {}", encoded(&subject.join(" ")));
    head.push_str("MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n");
    head.push_str("Content-Transfer-Encoding: 8bit\n\n");
    head
}

fn cover(patches: &[Patch], posting: &Posting) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}\n\n", posting.cover.trim_end());
    if !posting.measured.is_empty() {
        let _ = write!(text, "{}\n\n", posting.measured.trim_end());
    }
    let name = posting.sender.split(" <").next().unwrap_or_default();
    let _ = writeln!(text, "{name} ({}):", patches.len());
    for patch in patches {
        let _ = writeln!(text, "  {}", patch.subject);
    }
    text.push('\n');
    text.push_str(&statistics(patches));
    text
}

/// Which files the patches change together, and by how many lines.
fn statistics(patches: &[Patch]) -> String {
    let mut files: indexmap::IndexMap<&str, (usize, usize)> = indexmap::IndexMap::new();
    for patch in patches {
        let mut current = None;
        for line in patch.change.lines() {
            if let Some(path) = line.strip_prefix("+++ b/") {
                current = Some(path);
                files.entry(path).or_default();
            } else if line.starts_with("--- ") {
                current = None;
            } else if let Some(counts) = current.and_then(|path| files.get_mut(path)) {
                counts.0 += usize::from(line.starts_with('+'));
                counts.1 += usize::from(line.starts_with('-') && line != "-- ");
            }
        }
    }
    files.sort_keys();
    let longest = files
        .keys()
        .map(|path| path.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for (path, (added, removed)) in &files {
        let _ = writeln!(text, " {path:longest$} | +{added} -{removed}");
    }
    let total = files
        .values()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let _ = writeln!(
        text,
        " {} changed, {} (+), {} (-)",
        counted(files.len(), "file"),
        counted(total.0, "insertion"),
        counted(total.1, "deletion")
    );
    text
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The trailers are git's, as `git format-patch --base` writes them.
fn finished(mut text: String, base: Option<&Base>) -> String {
    if let Some(Base { commit, before }) = base {
        let _ = write!(text, "\nbase-commit: {commit}\n");
        for id in before {
            let _ = writeln!(text, "prerequisite-patch-id: {id}");
        }
    }
    text.push_str("-- \nkvet ");
    text.push_str(env!("CARGO_PKG_VERSION"));
    text.push('\n');
    text
}

/// A text's paragraphs in lines of a mail's width.
#[must_use]
pub fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.trim().split("\n\n") {
        wrap(&mut lines, paragraph);
        lines.push('\n');
    }
    lines
}

fn wrap(out: &mut String, paragraph: &str) {
    let mut column = 0;
    for word in paragraph.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

/// A header's text: as it is, or as an encoded word (RFC 2047).
fn encoded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    // An encoded word has at most 75 characters.
    let mut words = Vec::new();
    let mut piece = String::new();
    for c in text.chars() {
        if piece.len() + c.len_utf8() > 45 {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(word)))
        .collect();
    words.join("\n ")
}

fn encoded_sender(sender: &str) -> String {
    match sender.rsplit_once(" <") {
        Some((name, address)) => format!("{} <{address}", encoded(name)),
        None => sender.to_owned(),
    }
}

/// A subject as part of a file's name, as git makes it.
fn slug(subject: &str) -> String {
    let mut slug = String::new();
    for c in subject.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => slug.push(c),
            _ if !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.truncate(52);
    slug.trim_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(subject: &str, message: &str) -> PatchFile {
        let content = format!(
            "From: kvet <kvet@localhost>\nSubject: [PATCH 2/9] {subject}\n\n{message}\n---\n \
             fs/x.c | 2 +-\n\ndiff --git a/fs/x.c b/fs/x.c\n--- a/fs/x.c\n+++ b/fs/x.c\n\
             @@ -1,2 +1,2 @@\n one\n-two\n+three\n"
        );
        PatchFile {
            name: "topic/x.patch".to_owned(),
            path: "x.patch".into(),
            content: content.into_bytes(),
        }
    }

    fn posting() -> Posting {
        Posting {
            sender: "Zoë Ü <z@example.org>".to_owned(),
            version: 2,
            title: "fs: do two things".to_owned(),
            cover: "Why:\n\n  f()\n   g()\n".to_owned(),
            measured: "arm    trials\nstock  3".to_owned(),
            base: Some(Base {
                commit: "0123".to_owned(),
                before: vec!["4567".to_owned(), "89ab".to_owned()],
            }),
        }
    }

    #[test]
    fn a_series_has_a_cover_letter_and_is_signed_by_its_sender() {
        let patches = [
            file("fs: one", "Because.\n\nFixes: 0123456789ab (\"x\")"),
            file("fs: two", "Because: of this."),
        ];
        let mails = mails(&patches, &posting());
        let files: Vec<&str> = mails.iter().map(|mail| mail.file.as_str()).collect();
        assert_eq!(
            files,
            [
                "0000-cover-letter.patch",
                "0001-fs-one.patch",
                "0002-fs-two.patch"
            ]
        );
        let cover = &mails[0].text;
        assert!(
            cover.contains("Subject: [PATCH v2 0/2] fs: do two things\n"),
            "{cover}"
        );
        assert!(
            cover.contains("stock  3\n\nZoë Ü (2):\n  fs: one\n  fs: two\n"),
            "{cover}"
        );
        assert!(
            cover.contains(" fs/x.c | +2 -2\n 1 file changed, 2 insertions (+)"),
            "{cover}"
        );
        // Its text is not wrapped again.
        assert!(
            cover.contains("\n\nWhy:\n\n  f()\n   g()\n\narm "),
            "{cover}"
        );
        let trailers = "\nbase-commit: 0123\nprerequisite-patch-id: 4567\n\
                        prerequisite-patch-id: 89ab\n-- \n";
        assert!(cover.contains(trailers), "{cover}");
        assert!(
            mails[1]
                .text
                .contains("From: =?UTF-8?B?Wm/DqyDDnA==?= <z@example.org>\n")
        );
        assert!(
            mails[1]
                .text
                .contains("(\"x\")\nSigned-off-by: Zoë Ü <z@example.org>\n---\n")
        );
        assert!(
            mails[2].text.contains("of this.\n\nSigned-off-by:"),
            "{}",
            mails[2].text
        );
        assert!(!mails[2].text.contains("base-commit"));
    }

    #[test]
    fn a_single_patch_carries_what_was_measured_below_its_changelog() {
        let mails = mails(&[file("fs: one", "Because.")], &posting());
        assert_eq!(mails.len(), 1);
        let text = &mails[0].text;
        assert!(text.contains("Subject: [PATCH v2] fs: one\n"), "{text}");
        assert!(
            text.contains("---\n\narm    trials\nstock  3\n fs/x.c"),
            "{text}"
        );
        assert!(text.contains("base-commit: 0123"), "{text}");
    }

    #[test]
    fn long_subjects_are_encoded_in_pieces() {
        let words = encoded(&"é".repeat(60));
        assert!(words.lines().count() > 1 && words.lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn a_title_is_one_header_whatever_it_holds() {
        let posting = Posting {
            title: "fs: one\nBcc: someone@example.org\r\n\r\nand text".to_owned(),
            ..posting()
        };
        let mails = mails(&[file("fs: one", ""), file("fs: two", "")], &posting);
        let cover = &mails[0].text;
        let subject = "Subject: [PATCH v2 0/2] fs: one Bcc: someone@example.org and text\nMIME";
        assert!(cover.contains(subject), "{cover}");
    }
}
