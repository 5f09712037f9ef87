//! The lines that patches add or change, as they stand once all are applied.
//!
//! What git says between one patch's tree and the next is read, so lines are
//! where the patched tree has them, whatever the patches say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// So many lines are kept: a patch may be anything.
const MOST_LINES: usize = 50_000;

/// So much of a line's text is kept, in characters.
const TEXT: usize = 160;

/// What a series changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The patches' names, in order.
    pub patches: Vec<String>,
    /// The files of the source with lines that are new, by name.
    pub files: Vec<ChangedFile>,
}

/// A file with changed lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Its path in the tree.
    pub file: String,
    /// The lines, in order.
    pub lines: Vec<ChangedLine>,
}

/// A line that is there because of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLine {
    /// Its number in the patched file, from 1.
    pub line: u32,
    /// Which of the patches it is of, from 0.
    pub patch: usize,
    /// Its text.
    pub text: String,
}

/// Lines of files while patch follows patch.
#[derive(Debug, Default)]
pub struct Tracker {
    patches: Vec<String>,
    files: BTreeMap<String, BTreeMap<u32, (usize, String)>>,
}

/// One hunk of a diff without context.
#[derive(Debug)]
struct Hunk {
    old_start: u32,
    old_count: u32,
    new_start: u32,
    added: Vec<String>,
}

/// What a diff does to a file.
#[derive(Debug, Default)]
struct Diff {
    old: Option<String>,
    new: Option<String>,
    hunks: Vec<Hunk>,
}

impl Tracker {
    /// Takes the next patch: what `git diff -U0` says between the tree before
    /// and the tree after it.
    pub fn patch(&mut self, name: &str, diff: &[u8]) {
        let patch = self.patches.len();
        self.patches.push(name.to_owned());
        let diffs = read(&String::from_utf8_lossy(diff));
        let mut moved = Vec::new();
        for diff in diffs {
            let before = diff.old.as_ref().and_then(|old| self.files.remove(old));
            if let Some(new) = diff.new {
                moved.push((new, after(before.unwrap_or_default(), &diff.hunks, patch)));
            }
        }
        self.files.extend(moved);
    }

    /// What is changed now.
    #[must_use]
    pub fn changed(self) -> Changed {
        let mut left = MOST_LINES;
        let mut files = Vec::new();
        for (file, lines) in self.files {
            let lines: Vec<ChangedLine> = lines
                .into_iter()
                .take(left)
                .map(|(line, (patch, text))| ChangedLine { line, patch, text })
                .collect();
            left -= lines.len();
            if !lines.is_empty() {
                files.push(ChangedFile { file, lines });
            }
        }
        Changed {
            patches: self.patches,
            files,
        }
    }
}

/// The changed lines of a file after these hunks of a patch.
fn after(
    before: BTreeMap<u32, (usize, String)>,
    hunks: &[Hunk],
    patch: usize,
) -> BTreeMap<u32, (usize, String)> {
    let mut lines = BTreeMap::new();
    for (line, known) in before {
        // A hunk that only adds says after which line.
        let gone = |hunk: &Hunk| (hunk.old_start..hunk.old_start + hunk.old_count).contains(&line);
        if hunks.iter().any(gone) {
            continue;
        }
        let above = hunks.iter().filter(|hunk| match hunk.old_count {
            0 => hunk.old_start < line,
            count => hunk.old_start + count <= line,
        });
        let shift: i64 = above
            .map(|hunk| i64::try_from(hunk.added.len()).unwrap_or(0) - i64::from(hunk.old_count))
            .sum();
        if let Ok(line) = u32::try_from(i64::from(line) + shift) {
            lines.insert(line, known);
        }
    }
    for hunk in hunks {
        for (line, text) in (hunk.new_start..).zip(&hunk.added) {
            let text: String = text.chars().take(TEXT).collect();
            lines.insert(line, (patch, text));
        }
    }
    lines
}

/// Reads a diff without context, as git writes it.
fn read(text: &str) -> Vec<Diff> {
    let mut diffs: Vec<Diff> = Vec::new();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        if line.starts_with("diff --git ") {
            diffs.push(Diff::default());
            continue;
        }
        let Some(diff) = diffs.last_mut() else {
            continue;
        };
        if let Some(name) = line.strip_prefix("rename from ") {
            diff.old = Some(name.to_owned());
        } else if let Some(name) = line.strip_prefix("rename to ") {
            diff.new = Some(name.to_owned());
        } else if let Some(name) = line.strip_prefix("--- ") {
            diff.old = name.strip_prefix("a/").map(str::to_owned);
        } else if let Some(name) = line.strip_prefix("+++ ") {
            diff.new = name.strip_prefix("b/").map(str::to_owned);
        } else if let Some((mut hunk, removed, added)) = heading(line) {
            for line in lines.by_ref().take(removed + added) {
                if let Some(text) = line.strip_prefix('+') {
                    hunk.added.push(text.to_owned());
                }
            }
            diff.hunks.push(hunk);
        }
    }
    diffs
}

/// `@@ -START[,COUNT] +START[,COUNT] @@`, with both counts.
fn heading(line: &str) -> Option<(Hunk, usize, usize)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let pair = |word: &str| -> Option<(u32, u32)> {
        match word.split_once(',') {
            Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
            None => Some((word.parse().ok()?, 1)),
        }
    };
    let (old_start, old_count) = pair(words.next()?.strip_prefix('-')?)?;
    let (new_start, new_count) = pair(words.next()?.strip_prefix('+')?)?;
    let hunk = Hunk {
        old_start,
        old_count,
        new_start,
        added: Vec::new(),
    };
    Some((hunk, old_count as usize, new_count as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(names: (&str, &str), hunks: &str) -> String {
        let (old, new) = names;
        format!("diff --git a/{old} b/{new}\nindex 1..2 100644\n--- a/{old}\n+++ b/{new}\n{hunks}")
    }

    fn told(changed: &Changed) -> Vec<String> {
        let files = changed.files.iter();
        files
            .flat_map(|file| {
                let line = |line: &ChangedLine| {
                    format!("{}:{} {} {}", file.file, line.line, line.patch, line.text)
                };
                file.lines.iter().map(line)
            })
            .collect()
    }

    #[test]
    fn lines_move_with_what_later_patches_do_above_them() {
        let mut tracker = Tracker::default();
        let one = diff(
            ("f.c", "f.c"),
            "@@ -10 +10,2 @@ f(void)\n-old\n+new\n+more\n",
        );
        tracker.patch("one", one.as_bytes());
        // Three lines at the top, one of the first patch's replaced, and a line
        // that looks like the start of a file.
        let two = "@@ -0,0 +1,3 @@\n+a\n+b\n+++ c\n@@ -11 +14 @@\n-more\n+less\n";
        tracker.patch("two", diff(("f.c", "f.c"), two).as_bytes());
        let changed = tracker.changed();
        assert_eq!(changed.patches, ["one", "two"]);
        assert_eq!(
            told(&changed),
            [
                "f.c:1 1 a",
                "f.c:2 1 b",
                "f.c:3 1 ++ c",
                "f.c:13 0 new",
                "f.c:14 1 less"
            ]
        );
    }

    #[test]
    fn a_line_added_right_below_does_not_move_the_one_above() {
        let mut tracker = Tracker::default();
        let one = diff(("f.c", "f.c"), "@@ -4,0 +5 @@\n+five\n");
        tracker.patch("one", one.as_bytes());
        let two = diff(
            ("f.c", "f.c"),
            "@@ -5,0 +6 @@\n+six\n@@ -9,2 +9,0 @@\n-x\n-y\n",
        );
        tracker.patch("two", two.as_bytes());
        let told = told(&tracker.changed());
        assert_eq!(told, ["f.c:5 0 five", "f.c:6 1 six"]);
    }

    #[test]
    fn files_come_move_and_go() {
        let mut tracker = Tracker::default();
        let new = "diff --git a/n.c b/n.c\nnew file mode 100644\n--- /dev/null\n+++ b/n.c\n\
                   @@ -0,0 +1,2 @@\n+one\n+two\n";
        tracker.patch("one", new.as_bytes());
        let moved = "diff --git a/n.c b/m.c\nsimilarity index 90%\nrename from n.c\nrename to m.c\n\
                     --- a/n.c\n+++ b/m.c\n@@ -1 +0,0 @@\n-one\n";
        tracker.patch("two", moved.as_bytes());
        let mut gone = Tracker {
            patches: tracker.patches.clone(),
            files: tracker.files.clone(),
        };
        assert_eq!(told(&tracker.changed()), ["m.c:1 0 two"]);
        let delete = "diff --git a/m.c b/m.c\ndeleted file mode 100644\n--- a/m.c\n+++ /dev/null\n\
                      @@ -1 +0,0 @@\n-two\n";
        gone.patch("three", delete.as_bytes());
        assert!(gone.changed().files.is_empty());
    }
}
