//! What people give kvet by mistake: patches that were damaged, do not apply or
//! leave the tree, mailboxes of several threads, another architecture's .config,
//! ids of mails that are not there. Each is refused before anything is built, by
//! a message that says what to do, and nothing of the user's tree is touched.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use tempfile::TempDir;

const JOB: &str = "\
name: j
kernel: { source: { dir: /nowhere }, config: [] }
cluster: none
workload: writeback-storm
target: { class: hung_task }
arms: { stock: { control: true } }
";

const MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";

/// A file long enough for two hunks.
fn source() -> String {
    (1..=40)
        .flat_map(|line| [format!("line {line}"), "\n".to_owned()])
        .collect()
}

struct User {
    home: TempDir,
}

/// What kvet said, and how it ended.
struct Said {
    text: String,
    code: Option<i32>,
}

impl User {
    /// Somebody with a kernel repository that has work in progress in it, and
    /// what a build left.
    fn new() -> Self {
        let user = Self {
            home: tempfile::tempdir().unwrap(),
        };
        let tree = user.tree();
        fs::create_dir_all(tree.join("fs")).unwrap();
        for (name, text) in [
            ("Makefile", MAKEFILE),
            (".gitignore", "*.o\n.config\n"),
            ("fs/inode.c", &source()),
            ("fs/super.c", "super\n"),
        ] {
            fs::write(tree.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink("..", tree.join("fs/link")).unwrap();
        user.git(&["init", "--quiet", "--initial-branch=main"]);
        user.git(&["add", "."]);
        user.git(&["commit", "--quiet", "-m", "base"]);
        fs::write(tree.join("fs/super.c"), "staged\n").unwrap();
        user.git(&["add", "fs/super.c"]);
        fs::write(tree.join("fs/super.c"), "not staged\n").unwrap();
        fs::write(tree.join("fs/inode.o"), "built\n").unwrap();
        fs::write(tree.join(".config"), "CONFIG_X=y\n").unwrap();
        fs::write(user.home.path().join("j.yaml"), JOB).unwrap();
        user
    }

    fn tree(&self) -> PathBuf {
        self.home.path().join("linux")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let said = Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
            .args(arguments)
            .current_dir(self.tree())
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file beside the tree.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the job in the tree, with these arguments.
    fn run(&self, arguments: &[&str]) -> Said {
        let before = state(&self.tree());
        let said = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(["run", "../j.yaml", "--trials", "1", "--out", "../run"])
            .args(arguments)
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("PATH", path_without_b4())
            .current_dir(self.tree())
            .output()
            .unwrap();
        assert_eq!(state(&self.tree()), before, "the user's tree was touched");
        drop(fs::remove_dir_all(self.home.path().join("run")));
        Said {
            text: String::from_utf8(said.stderr).unwrap(),
            code: said.status.code(),
        }
    }

    /// Runs it with a patch on the tree as it is.
    fn patch(&self, content: &str) -> Said {
        let path = self.file("fix.patch", content);
        self.run(&["--kernel", ".", "--patch", &path.display().to_string()])
    }
}

/// Every file below, of the repository's, too: its time and content.
fn state(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(state(&path));
        } else if entry.file_type().unwrap().is_file() {
            let time = entry.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (time, fs::read(&path).unwrap()));
        }
    }
    found
}

fn path_without_b4() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap();
    let directories = std::env::split_paths(&path).filter(|path| !path.join("b4").exists());
    std::env::join_paths(directories).unwrap()
}

/// A hunk of `fs/inode.c` that replaces a line.
fn hunk(line: usize) -> String {
    let context = |from: usize, to: usize| -> String {
        (from..=to)
            .flat_map(|line| [format!(" line {line}"), "\n".to_owned()])
            .collect()
    };
    format!(
        "@@ -{0},7 +{0},7 @@\n{1}-line {line}\n+changed {line}\n{2}",
        line - 3,
        context(line - 3, line - 1),
        context(line + 1, line + 3)
    )
}

fn patch(hunks: &[usize]) -> String {
    let hunks: String = hunks.iter().map(|&line| hunk(line)).collect();
    format!(
        "From: A U Thor <a@example.org>\nSubject: [PATCH] x\n\n---\n\
         diff --git a/fs/inode.c b/fs/inode.c\n--- a/fs/inode.c\n+++ b/fs/inode.c\n{hunks}"
    )
}

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

fn diff(hunks: &[usize]) -> String {
    let patch = patch(hunks);
    patch[patch.find("diff --git").unwrap()..].to_owned()
}

#[track_caller]
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{}", said.text);
    for word in words {
        assert!(said.text.contains(word), "no `{word}` in:\n{}", said.text);
    }
    assert!(
        said.text.contains("help: "),
        "what to do is not said:\n{}",
        said.text
    );
}

#[test]
fn damaged_patches() {
    let user = User::new();
    let good = patch(&[20]);
    let wrapped = good.replace(" line 19\n", " line\n19\n");
    let binary = "diff --git a/fs/x b/fs/x\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZ\n";
    let cut = &good[..good.len() - 20];
    refused(
        &user.patch(&good.replace('\n', "\r\n")),
        128,
        &["CR LF", "dos2unix"],
    );
    refused(
        &user.patch(&wrapped),
        128,
        &["wrapped on its way", "archive"],
    );
    refused(
        &user.patch(binary),
        128,
        &["changes a binary file", "leave binary files out"],
    );
    refused(
        &user.patch(cut),
        128,
        &["ends within a hunk", "get it anew"],
    );
    refused(
        &user.patch("hello\n"),
        128,
        &["holds no patch", "unified diff"],
    );
}

#[test]
fn a_patch_without_end() {
    let user = User::new();
    let path = user.file("fix.patch", patch(&[20]));
    // It takes no room on the disk.
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let path = path.display().to_string();
    let said = user.run(&["--kernel", ".", "--patch", &path]);
    refused(&said, 128, &["64 MiB"]);
    // One that says it has no bytes, and never ends.
    let series = user.home.path().join("series");
    fs::create_dir(&series).unwrap();
    std::os::unix::fs::symlink("/dev/zero", series.join("0001-x.patch")).unwrap();
    let said = user.run(&["--kernel", ".", "--series", &series.display().to_string()]);
    refused(&said, 128, &["64 MiB"]);
}

#[test]
fn patches_that_leave_the_tree() {
    let user = User::new();
    let outside = user.file("outside", "line\n");
    for name in [
        "../outside",
        "fs/../../outside",
        "/etc/hostname",
        ".git/config",
    ] {
        let text = format!("--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-line\n+changed\n");
        refused(&user.patch(&text), 128, &["outside the kernel tree"]);
    }
    // Through a link that is there, and through one that the patch makes.
    let through = "--- /dev/null\n+++ b/fs/link/kvet\n@@ -0,0 +1 @@\n+x\n";
    refused(
        &user.patch(through),
        125,
        &["fs/link/kvet", "beyond a symbolic link"],
    );
    let make = "diff --git a/fs/away b/fs/away\nnew file mode 120000\n--- /dev/null\n\
                +++ b/fs/away\n@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n\
                diff --git a/fs/away/kvet b/fs/away/kvet\nnew file mode 100644\n--- /dev/null\n\
                +++ b/fs/away/kvet\n@@ -0,0 +1 @@\n+x\n";
    refused(
        &user.patch(make),
        125,
        &["fs/away/kvet", "beyond a symbolic link"],
    );
    assert!(!Path::new("/etc/kvet").exists());
    assert_eq!(fs::read_to_string(outside).unwrap(), "line\n");
}

#[test]
fn patches_that_are_there_already_or_in_part_or_reversed() {
    let user = User::new();
    let both = patch(&[10, 30]);
    let done = |lines: &[usize]| {
        let text = lines.iter().fold(source(), |text, line| {
            text.replace(&format!("line {line}\n"), &format!("changed {line}\n"))
        });
        fs::write(user.tree().join("fs/inode.c"), text).unwrap();
    };
    done(&[10, 30]);
    refused(
        &user.patch(&both),
        125,
        &["holds the change already", "drop the patch"],
    );
    done(&[10]);
    refused(
        &user.patch(&both),
        125,
        &[
            "fs/inode.c, hunk 1:",
            "from line 7: a part of the patch is in already",
        ],
    );
    done(&[]);
    let swap = |line: &str| match line.split_at_checked(1) {
        Some(("-", rest)) => format!("+{rest}\n"),
        Some(("+", rest)) => format!("-{rest}\n"),
        _ => format!("{line}\n"),
    };
    let reversed: String = diff(&[20])
        .lines()
        .map(|line| {
            if line.starts_with("---") || line.starts_with("+++") {
                format!("{line}\n")
            } else {
                swap(line)
            }
        })
        .collect();
    refused(
        &user.patch(&reversed),
        125,
        &["holds the change already", "reversed"],
    );
}

#[test]
fn patches_for_another_tree() {
    let user = User::new();
    let other = patch(&[20]).replace(" line 19\n", " line nineteen\n");
    refused(
        &user.patch(&other),
        125,
        &[
            "fs/inode.c, hunk 1:",
            "the nearest place is line 17, where 6 of 7 lines are the same; line 19 is",
            "    line 19\n",
            "    line nineteen\n",
            "nothing was changed",
        ],
    );
    let missing = patch(&[20]).replace("inode.c", "gone.c");
    refused(
        &user.patch(&missing),
        125,
        &["fs/gone.c", "does not exist in index"],
    );
    // It says for which commit it was made: one that is here, one that is not.
    let base = user.git(&["rev-parse", "HEAD"]);
    let text = format!("{other}--\n2.47\n\nbase-commit: {base}\n");
    let known = format!("`--kernel git:{}@{base}` tests", user.tree().display());
    refused(&user.patch(&text), 125, &["it was made for commit", &known]);
    let text = text.replace(&base, &"5".repeat(40));
    refused(&user.patch(&text), 125, &["fetch that into a repository"]);
}

#[test]
fn a_base_commit_is_tested_on_where_nothing_else_is_asked_for() {
    let user = User::new();
    let base = user.git(&["rev-parse", "HEAD"]);
    let text = format!("{}--\n2.47\n\nbase-commit: {base}\n", patch(&[20]));
    let path = user.file("fix.patch", text).display().to_string();
    let said = user.run(&["--dry-run", "--patch", &path]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let note = format!("the kernel is the commit that the patches were made for, {base}");
    assert!(said.text.contains(&note), "{}", said.text);
    // Commits are tested on what they begin after.
    user.git(&["commit", "--quiet", "-m", "staged"]);
    let said = user.run(&["--dry-run", "--series", "HEAD~1..HEAD"]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(said.text.contains(&note), "{}", said.text);
    let said = user.run(&["--dry-run", "--series", "nothing..HEAD"]);
    refused(&said, 128, &["cannot get the commits `nothing..HEAD`"]);
    // A repository alone: the same.
    let said = user.run(&["--dry-run", "--patch", &path, "--kernel", "git:."]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    let text = format!(
        "{}--\n2.47\n\nbase-commit: {}\n",
        patch(&[20]),
        "5".repeat(40)
    );
    let path = user.file("fix.patch", text).display().to_string();
    let said = user.run(&["--dry-run", "--patch", &path]);
    assert!(
        said.text.contains("is not in a repository here"),
        "{}",
        said.text
    );
}

#[test]
fn mailboxes_of_several_threads_and_ids_that_are_not_there() {
    let user = User::new();
    let thread = [
        mail("c@x", "", "[PATCH 0/1] all", "text\n"),
        mail("p@x", "c@x", "[PATCH 1/1] one", &diff(&[20])),
        mail(
            "r@x",
            "p@x",
            "Re: [PATCH 1/1] one",
            &format!("rather:\n\n{}", diff(&[30])),
        ),
    ]
    .concat();
    let other = mail("o@x", "", "[PATCH] other", &diff(&[10]));
    let all = user
        .file("all.mbox", thread.clone() + &other)
        .display()
        .to_string();
    let said = user.run(&["--kernel", ".", "--patch", &all]);
    refused(&said, 128, &["holds several series", "other", "one thread"]);
    let one = user.file("one.mbox", thread).display().to_string();
    let said = user.run(&["--dry-run", "--kernel", ".", "--patch", &one]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    assert!(
        said.text.contains("one patch; 1 more mails with patches"),
        "{}",
        said.text
    );
    // By id the right one is found among others.
    let said = user.run(&[
        "--dry-run",
        "--kernel",
        ".",
        "--message-id",
        "<r@x>",
        "--from",
        &all,
    ]);
    assert_eq!(said.code, Some(0), "{}", said.text);
    for (id, words) in [
        ("absent@x", &["has no mail <absent@x>", "check the id"][..]),
        ("no id", &["`no id` is not a message id"]),
    ] {
        let said = user.run(&["--kernel", ".", "--message-id", id, "--from", &all]);
        refused(&said, 128, words);
    }
    let said = user.run(&["--kernel", ".", "--message-id", "a@x", "--from", "no-such"]);
    refused(&said, 128, &["is not a mail archive", "public-inbox"]);
    let said = user.run(&["--kernel", ".", "--message-id", "a@x"]);
    refused(&said, 128, &["b4", "is not installed", "pip install b4"]);
}

#[test]
fn another_architecture_s_config_and_what_is_none() {
    let user = User::new();
    let arm = "# Linux/arm64 6.12.1 Kernel Configuration\nCONFIG_64BIT=y\nCONFIG_ARM64=y\n";
    for (text, words) in [
        (arm, &["is a .config for arm64", "x86-64"][..]),
        (
            "CONFIG_CEPH_FS=y\n",
            &["is not a whole .config", "fragment"],
        ),
        ("int main(void)\n", &["line 1 is not a setting"]),
    ] {
        let path = user.file("config", text).display().to_string();
        refused(&user.run(&["--kernel", ".", "--config", &path]), 128, words);
    }
    let said = user.run(&["--kernel", ".", "--config", "no-such"]);
    refused(&said, 128, &["cannot read the .config no-such"]);
}

/// What kvet says of files given to it, apart from any tree.
fn said(arguments: &[&str], home: &Path) -> Said {
    let said = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(arguments)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    Said {
        text: String::from_utf8(said.stderr).unwrap(),
        code: said.status.code(),
    }
}

#[test]
fn files_without_end_beside_logs() {
    let home = tempfile::tempdir().unwrap();
    refused(
        &said(
            &["scan", "--vmlinux", "/dev/zero", "/dev/null"],
            home.path(),
        ),
        128,
        &["/dev/zero", "it is not an ELF file"],
    );
    let corpus = home.path().join("corpus.jsonl");
    let case = "{\"id\": \"a\", \"log\": \"quiet\"}\n";
    fs::write(&corpus, case).unwrap();
    // A line of 65 MiB that takes no room on the disk.
    let file = fs::File::options().append(true).open(&corpus).unwrap();
    file.set_len(65 << 20).unwrap();
    let corpus = corpus.to_str().unwrap();
    refused(
        &said(&["scan", "--corpus", corpus], home.path()),
        128,
        &["corpus.jsonl:2: a case of more than 64 MiB"],
    );
}

/// What a file's author chose fills no terminal.
#[test]
fn lines_that_nobody_reads() {
    let home = tempfile::tempdir().unwrap();
    let job = home.path().join("j.yaml");
    let path = job.to_str().unwrap();
    for (text, place) in [
        (format!("name: {}\n", "[".repeat(200_000)), "j.yaml:1:"),
        (format!("{}: 1\n", "x".repeat(900_000)), "j.yaml:1:1: "),
        (format!("name: {}\n", "x".repeat(900_000)), "j.yaml:1:"),
        (
            format!("name: j\n{}: 1\n{JOB}", "y".repeat(2000)),
            "j.yaml:2:",
        ),
    ] {
        fs::write(&job, text).unwrap();
        let said = said(&["run", "--dry-run", path], home.path());
        assert_eq!(said.code, Some(128), "{}", said.text);
        assert!(said.text.contains(place), "{}", said.text);
        assert!(said.text.len() < 4096, "{} bytes", said.text.len());
    }
}

#[test]
fn control_characters_in_a_job() {
    let home = tempfile::tempdir().unwrap();
    let job = home.path().join("j.yaml");
    fs::write(
        &job,
        JOB.replace("name: j\n", "name: j\nabout: \"é\u{1b}[31m\"\n"),
    )
    .unwrap();
    let said = said(&["run", "--dry-run", job.to_str().unwrap()], home.path());
    assert_eq!(said.code, Some(128), "{}", said.text);
    let place = "j.yaml:2:10: a control character, \\u{1b}";
    assert!(said.text.contains(place), "{}", said.text);
    assert!(!said.text.contains('\u{1b}'), "{}", said.text);
}
