//! Reads unified diffs just far enough to know which files a patch touches and
//! where its hunks stand. Applying is git's business.

use std::path::{Component, Path, PathBuf};

use super::nearest::HunkLines;

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    /// The file before; `None` for a new one.
    pub(super) old: Option<PathBuf>,
    /// The file after; `None` for a deleted one.
    pub(super) new: Option<PathBuf>,
    /// The line, in the old file, at which each hunk starts.
    pub(super) hunks: Vec<u64>,
}

impl FileChange {
    /// The names this change reads or writes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.old.iter().chain(&self.new).map(PathBuf::as_path)
    }
}

/// The changes of a patch (or several, one after the other), in order. The
/// text around them is skipped, as git does.
pub(super) fn changes(patch: &[u8]) -> Result<Vec<FileChange>, String> {
    let mut changes: Vec<FileChange> = Vec::new();
    // Set while between a `diff --git` line and its first hunk.
    let mut header: Option<FileChange> = None;
    let mut lines = patch.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let text = String::from_utf8_lossy(line);
        if let Some(names) = text.strip_prefix("diff --git ") {
            changes.extend(header.take());
            header = Some(named_by_git(names)?);
        } else if let Some(old) = text.strip_prefix("--- ")
            && let Some(next) = lines.peek()
            && next.starts_with(b"+++ ")
        {
            let new = String::from_utf8_lossy(&next[4..]).into_owned();
            lines.next();
            let change = FileChange {
                old: file_name(old)?,
                new: file_name(&new)?,
                hunks: Vec::new(),
            };
            // Between `diff --git` and the first hunk it is the same file still.
            let same = header
                .as_ref()
                .is_some_and(|change| change.hunks.is_empty());
            if let Some(previous) = header.replace(change)
                && !same
            {
                changes.push(previous);
            }
        } else if let Some(change) = &mut header {
            read_extended(&text, change)?;
            if let Some(hunk) = Hunk::parse(&text) {
                change.hunks.push(hunk.old_start);
                skip_hunk(&mut lines, &hunk);
            }
        }
    }
    changes.extend(header);
    if changes.is_empty() {
        return Err("it holds no change to any file".to_owned());
    }
    Ok(changes)
}

/// `a/NAME b/NAME`; where the two differ, the lines that follow say it better.
fn named_by_git(names: &str) -> Result<FileChange, String> {
    let names = names.trim_end_matches('\r');
    if names.contains('"') {
        return Err(format!("it names a file that needs quoting: {names}"));
    }
    // Equal names: the second starts in the middle.
    let (old, new) = names
        .match_indices(" b/")
        .map(|(at, _)| (&names[..at], &names[at + 1..]))
        .find(|(old, new)| old.get(2..) == new.get(2..))
        .or_else(|| {
            names
                .split_once(" b/")
                .map(|(old, _)| (old, &names[old.len() + 1..]))
        })
        .ok_or_else(|| format!("its line `diff --git {names}` names no two files"))?;
    Ok(FileChange {
        old: file_name(old)?,
        new: file_name(new)?,
        hunks: Vec::new(),
    })
}

fn read_extended(line: &str, change: &mut FileChange) -> Result<(), String> {
    if line.starts_with("new file mode ") {
        change.old = None;
    } else if line.starts_with("deleted file mode ") {
        change.new = None;
    } else if let Some(name) = line
        .strip_prefix("rename from ")
        .or_else(|| line.strip_prefix("copy from "))
    {
        change.old = Some(plain(name)?);
    } else if let Some(name) = line
        .strip_prefix("rename to ")
        .or_else(|| line.strip_prefix("copy to "))
    {
        change.new = Some(plain(name)?);
    }
    Ok(())
}

/// The name in a `---` or `+++` line, without its first directory; `None` for
/// `/dev/null`.
fn file_name(text: &str) -> Result<Option<PathBuf>, String> {
    let name = text.split('\t').next().unwrap_or_default().trim_end();
    if name == "/dev/null" {
        return Ok(None);
    }
    let (_, rest) = name
        .split_once('/')
        .ok_or_else(|| format!("it names `{name}` where `a/{name}` is expected"))?;
    plain(rest).map(Some)
}

/// A path that stays within the tree.
fn plain(name: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(name.trim_end());
    let fit = path.components().next().is_some()
        && path
            .components()
            .all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    if fit {
        Ok(path)
    } else {
        Err(format!(
            "it names `{name}`, which is outside the kernel tree"
        ))
    }
}

/// What a patch is.
pub(super) const FORM: &str =
    "a patch is a unified diff whose paths start with a/ and b/, as `git diff` makes it";

/// Something that keeps a patch from being applied anywhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// What is wrong.
    pub(super) reason: String,
    /// What to do.
    pub(super) help: &'static str,
}

/// What to do about a patch that came out of a mail program changed.
pub(super) const WRAPPED: &str = "take the patch from the list's archive (`b4 am`, or the raw mail), \
     not from a mail program's window";

/// What to do about a patch that was changed by hand.
const RECOUNT: &str = "make it anew with `git diff`, or count its lines with `recountdiff` of \
     patchutils";

/// What a mail program or an editor has done to a patch, if it is beyond use.
pub(super) fn damage(patch: &[u8]) -> Option<Damage> {
    let whole = patch.strip_suffix(b"\n").unwrap_or(patch);
    let mut lines = whole.split(|&byte| byte == b'\n').enumerate();
    let damage = |reason, help| Some(Damage { reason, help });
    // Behind a file's names, and behind a hunk.
    let (mut named, mut ended) = (false, false);
    while let Some((index, line)) = lines.next() {
        let text = String::from_utf8_lossy(line);
        if text.ends_with('\r')
            && ["@@ -", "+++ ", "diff --git "]
                .iter()
                .any(|start| text.starts_with(start))
        {
            let reason = "its lines end in CR LF, those of the kernel in LF".to_owned();
            return damage(
                reason,
                "`dos2unix FILE` mends it; or take the raw mail from the list's archive",
            );
        }
        if text.starts_with("GIT binary patch")
            || (text.starts_with("Binary files ") && text.ends_with(" differ"))
        {
            let reason = format!("line {}: it changes a binary file", index + 1);
            return damage(reason, "leave binary files out: kvet applies text alone");
        }
        if text.starts_with("diff --cc ") || text.starts_with("diff --combined ") {
            let reason = format!("line {}: it is what a merge did to a file", index + 1);
            return damage(
                reason,
                "take the changes of single commits (`git format-patch`), or those between two \
                 (`git diff A B`)",
            );
        }
        let Some(hunk) = Hunk::parse(&text) else {
            // git takes such lines for text around the patch, and applies the rest.
            if (named || ended) && text.trim_start().starts_with("@@") {
                let reason = format!("line {} is not a valid hunk header", index + 1);
                return damage(reason, WRAPPED);
            }
            let is_change = text.starts_with('+') || text.starts_with('-');
            if ended && is_change && !text.starts_with("--") {
                let reason = format!("line {} is past the end of its hunk", index + 1);
                return damage(reason, RECOUNT);
            }
            named = text.starts_with("+++ ");
            ended = ended && text.starts_with('\\');
            continue;
        };
        (named, ended) = (false, true);
        let (mut old, mut new) = (hunk.old_count, hunk.new_count);
        while old > 0 || new > 0 {
            let Some((index, line)) = lines.next() else {
                return damage(
                    "it ends within a hunk".to_owned(),
                    "the patch is cut off: get it anew",
                );
            };
            match line.first() {
                Some(b'-') => old = old.saturating_sub(1),
                Some(b'+') => new = new.saturating_sub(1),
                Some(b'\\') => {}
                Some(b' ') | None => {
                    old = old.saturating_sub(1);
                    new = new.saturating_sub(1);
                }
                Some(_) => {
                    let line = index + 1;
                    let reason = format!(
                        "line {line} begins with none of space, + and -: it was wrapped on its way"
                    );
                    return damage(reason, WRAPPED);
                }
            }
        }
    }
    None
}

/// The lines of a file's hunk, which is counted from 0.
pub(super) fn hunk_lines(patch: &[u8], file: &Path, number: usize) -> Option<HunkLines> {
    let mut lines = patch.split(|&byte| byte == b'\n');
    let (mut here, mut seen) = (false, 0);
    while let Some(line) = lines.next() {
        let text = String::from_utf8_lossy(line);
        if let Some(name) = text
            .strip_prefix("+++ ")
            .or_else(|| text.strip_prefix("--- "))
        {
            let is_file = file_name(name).is_ok_and(|name| name.as_deref() == Some(file));
            here = is_file || (here && text.starts_with("+++ "));
        }
        let Some(hunk) = Hunk::parse(&text) else {
            continue;
        };
        let wanted = here && seen == number;
        seen += usize::from(here);
        let found = read_hunk(&mut lines, &hunk);
        if wanted {
            return Some(found);
        }
    }
    None
}

/// A hunk's lines before and after.
fn read_hunk<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, hunk: &Hunk) -> HunkLines {
    let mut found = HunkLines {
        start: usize::try_from(hunk.old_start).unwrap_or(usize::MAX),
        ..HunkLines::default()
    };
    while (found.old.len() as u64) < hunk.old_count || (found.new.len() as u64) < hunk.new_count {
        let Some(line) = lines.next() else { break };
        let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
        match line.first() {
            Some(b'-') => found.old.push(text),
            Some(b'+') => found.new.push(text),
            Some(b'\\') => {}
            _ => {
                found.old.push(text.clone());
                found.new.push(text);
            }
        }
    }
    found
}

struct Hunk {
    old_start: u64,
    old_count: u64,
    new_count: u64,
}

impl Hunk {
    /// `@@ -START[,COUNT] +START[,COUNT] @@`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("@@ ")?.split(' ');
        let old = words.next()?.strip_prefix('-')?;
        let new = words.next()?.strip_prefix('+')?;
        let pair = |text: &str| -> Option<(u64, u64)> {
            match text.split_once(',') {
                Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
                None => Some((text.parse().ok()?, 1)),
            }
        };
        let (old_start, old_count) = pair(old)?;
        let (_, new_count) = pair(new)?;
        Some(Self {
            old_start,
            old_count,
            new_count,
        })
    }
}

/// Passes over a hunk's lines: a removed `-- x` looks like the start of a file.
fn skip_hunk<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, hunk: &Hunk) {
    let (mut old, mut new) = (hunk.old_count, hunk.new_count);
    while old > 0 || new > 0 {
        let Some(line) = lines.next() else { return };
        match line.first() {
            Some(b'-') => old = old.saturating_sub(1),
            Some(b'+') => new = new.saturating_sub(1),
            Some(b'\\') => {}
            _ => {
                old = old.saturating_sub(1);
                new = new.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(old: Option<&str>, new: Option<&str>, hunks: &[u64]) -> FileChange {
        FileChange {
            old: old.map(PathBuf::from),
            new: new.map(PathBuf::from),
            hunks: hunks.to_vec(),
        }
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let patch = b"From: someone\nSubject: x\n---\n fs/inode.c | 2 +-\n\n\
            diff --git a/fs/inode.c b/fs/inode.c\nindex 1..2 100644\n--- a/fs/inode.c\n+++ b/fs/inode.c\n\
            @@ -10,2 +10,2 @@ int f(void)\n--- a/looks/like/a/file\n+++ b/looks/like/a/file\n same\n\
            @@ -90 +90,2 @@\n same\n+more\n\
            diff --git a/new.c b/new.c\nnew file mode 100644\n--- /dev/null\n+++ b/new.c\n@@ -0,0 +1 @@\n+x\n\
            diff --git a/old.c b/old.c\ndeleted file mode 100644\n--- a/old.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
            diff --git a/from.c b/to.c\nsimilarity index 100%\nrename from from.c\nrename to to.c\n\
            diff --git a/mode.sh b/mode.sh\nold mode 100644\nnew mode 100755\n-- \n2.47\n";
        assert_eq!(
            changes(patch).unwrap(),
            [
                change(Some("fs/inode.c"), Some("fs/inode.c"), &[10, 90]),
                change(None, Some("new.c"), &[0]),
                change(Some("old.c"), None, &[1]),
                change(Some("from.c"), Some("to.c"), &[]),
                change(Some("mode.sh"), Some("mode.sh"), &[]),
            ]
        );
    }

    #[test]
    fn plain_diffs_without_git_lines_are_read() {
        let patch =
            b"--- linux.orig/a.c\t2026-01-01\n+++ linux/a.c\t2026-01-02\n@@ -1 +1 @@\n-x\n+y\n\
                      --- linux.orig/b.c\n+++ linux/b.c\n@@ -3 +3 @@\n-x\n+y\n";
        assert_eq!(
            changes(patch).unwrap(),
            [
                change(Some("a.c"), Some("a.c"), &[1]),
                change(Some("b.c"), Some("b.c"), &[3]),
            ]
        );
    }

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        for name in ["../etc/passwd", "x/../../y", ".git/config"] {
            let patch = format!("--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-x\n+y\n");
            let error = changes(patch.as_bytes()).unwrap_err();
            assert!(error.contains("outside the kernel tree"), "{error}");
        }
        assert!(changes(b"--- a//etc/x\n+++ b//etc/x\n@@ -1 +1 @@\n-x\n+y\n").is_err());
        assert!(changes(b"no patch at all\n").is_err());
    }

    /// git takes what it does not understand for text around a patch, and applies
    /// the rest.
    #[test]
    fn what_git_would_silently_leave_out_is_damage() {
        let file = "--- a/f.c\n+++ b/f.c\n";
        let hunk = "@@ -1,2 +1,2 @@\n a\n-b\n+c\n";
        for (patch, said) in [
            (format!("{file}{hunk}+d\n"), "line 7 is past the end"),
            (format!("{file}{hunk}-d\n e\n"), "line 7 is past the end"),
            (
                format!("{file}{hunk} @@ -9 +9 @@\n-x\n+y\n"),
                "line 7 is not a valid hunk header",
            ),
            (
                format!("{file}@@-1,2 +1,2 @@\n a\n-b\n+c\n"),
                "line 3 is not a valid hunk header",
            ),
            (
                format!("diff --cc f.c\nindex 1,2..3\n{file}@@@ -1,1 -1,1 +1,2 @@@\n++x\n"),
                "a merge",
            ),
        ] {
            let damage = damage(patch.as_bytes()).unwrap();
            assert!(damage.reason.contains(said), "{}", damage.reason);
        }
        for end in [
            "",
            "\\ No newline at end of file\n",
            "-- \n2.47\n",
            "--\nsignature\n",
            "\n+1 from me\n",
            "@@ -9 +9 @@\n-x\n+y\n",
            "--- a/g.c\n+++ b/g.c\n@@ -1 +1 @@\n-x\n+y\n",
        ] {
            assert_eq!(
                damage(format!("{file}{hunk}{end}").as_bytes()),
                None,
                "{end}"
            );
        }
    }
}
