//! A series as mails, taken by git: `git am` makes commits of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn kvet(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(arguments)
        .env("XDG_CACHE_HOME", home)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// A repository of one file, and a series of two patches for it.
fn lab(root: &Path) {
    let repository = root.join("repository");
    let topic = root.join("topic/1.0");
    fs::create_dir_all(&repository).unwrap();
    fs::create_dir_all(&topic).unwrap();
    git(&repository, &["init", "-q", "-b", "main"]);
    for (number, text) in ["one\n", "one\ntwo\n", "one\ntwo\nthree\n"]
        .iter()
        .enumerate()
    {
        fs::write(repository.join("file"), text).unwrap();
        git(&repository, &["add", "file"]);
        git(
            &repository,
            &["commit", "-q", "-m", &format!("file: line {number}")],
        );
    }
    let to = topic.display().to_string();
    git(&repository, &["format-patch", "-q", "-2", "-o", &to]);
    git(&repository, &["reset", "-q", "--hard", "HEAD~2"]);
    fs::write(
        root.join("topic/series.yaml"),
        "title: \"file: two lines\"\ncover: |\n  Because:\n\n    of this\nranges:\n  - from: \"1.0\"\n    \
         directory: \"1.0\"\n    patches: [0001-file-line-1.patch, 0002-file-line-2.patch]\n",
    )
    .unwrap();
}

#[test]
fn git_takes_what_is_exported_and_the_repository_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    lab(root);
    let repository = root.join("repository");
    let before = git(&repository, &["count-objects", "-v"]);
    let [topic, out] = ["topic", "out"].map(|name| root.join(name).display().to_string());
    let path = repository.display().to_string();
    let arguments = [
        "export",
        &topic,
        &out,
        "--from",
        "Zoë <z@example.org>",
        "--git",
        &path,
    ];
    let done = kvet(root, &arguments);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert_eq!(git(&repository, &["count-objects", "-v"]), before);
    assert_eq!(git(&repository, &["status", "--porcelain"]), "");

    let cover = fs::read_to_string(root.join("out/0000-cover-letter.patch")).unwrap();
    let head = git(&repository, &["rev-parse", "HEAD"]);
    assert!(
        cover.contains(&format!("base-commit: {head}-- ")),
        "{cover}"
    );
    assert!(cover.contains("\n\nBecause:\n\n  of this\n\n"), "{cover}");
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    let mails = ["0001-file-line-1.patch", "0002-file-line-2.patch"];
    let mails = mails.map(|name| format!("{out}/{name}"));
    git(&repository, &["am", "-q", &mails[0], &mails[1]]);
    let log = git(
        &repository,
        &["log", "-2", "--format=%an <%ae>|%s|%(trailers:unfold)"],
    );
    assert_eq!(
        log,
        "Zoë <z@example.org>|file: line 2|Signed-off-by: Zoë <z@example.org>\n\n\
         Zoë <z@example.org>|file: line 1|Signed-off-by: Zoë <z@example.org>\n\n"
    );

    // There now, the patches no longer apply; and nothing is overwritten.
    let again = kvet(root, &arguments);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(128));
    assert!(
        said.contains("0001-file-line-1.patch does not apply"),
        "{said}"
    );
    let again = kvet(root, &arguments[..5]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(128));
    assert!(said.contains("nothing is overwritten"), "{said}");
}

#[test]
fn a_series_on_top_of_another_names_the_other_s_patches_unless_the_base_has_them() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    lab(root);
    let repository = root.join("repository");
    let path = repository.display().to_string();
    let second = root.join("second/1.0");
    fs::create_dir_all(&second).unwrap();
    for (topic, file, more) in [
        ("topic", "0001-file-line-1.patch", ""),
        (
            "second",
            "0002-file-line-2.patch",
            "about: For users.\nafter: [topic]\n",
        ),
    ] {
        fs::write(
            root.join(topic).join("series.yaml"),
            format!(
                "title: a\n{more}ranges:\n  - {{ from: \"1.0\", directory: \"1.0\", patches: [{file}] }}\n"
            ),
        )
        .unwrap();
    }
    let [first, last] = ["topic/1.0/0001-file-line-1.patch", "0002-file-line-2.patch"];
    fs::rename(root.join("topic/1.0").join(last), second.join(last)).unwrap();
    let first = root.join(first).display().to_string();
    let exported = |out: &str| {
        let [topic, to] = ["second", out].map(|name| root.join(name).display().to_string());
        let from = "Z <z@example.org>";
        let done = kvet(
            root,
            &["export", &topic, &to, "--from", from, "--git", &path],
        );
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let mail = fs::read_to_string(root.join(out).join("0001-file-line-2.patch"));
        (mail.unwrap_or_default(), said)
    };

    let (mail, said) = exported("before");
    let head = git(&repository, &["rev-parse", "HEAD"]);
    let id = Command::new("git")
        .args(["patch-id", "--stable"])
        .stdin(fs::File::open(&first).unwrap())
        .output()
        .unwrap();
    let id = String::from_utf8(id.stdout).unwrap();
    let id = id.split(' ').next().unwrap();
    let trailers = format!("base-commit: {head}prerequisite-patch-id: {id}\n-- \n");
    assert!(mail.contains(&trailers), "{mail}{said}");
    // With the other series in the base there is nothing to ask for.
    git(&repository, &["am", "-q", &first]);
    let (mail, said) = exported("with");
    let head = git(&repository, &["rev-parse", "HEAD"]);
    assert!(mail.contains(&format!("base-commit: {head}-- ")), "{said}");
    // And a base that neither has it nor takes it is none.
    fs::write(repository.join("file"), "other\n").unwrap();
    git(&repository, &["commit", "-q", "-am", "file: other"]);
    let (_, said) = exported("other");
    assert!(
        said.contains("0001-file-line-1.patch does not apply"),
        "{said}"
    );
}

/// Whoever takes a patch as a mail has its statistics and its change behind a line
/// of `---`, and all before that for the changelog.
#[test]
fn the_changelog_of_each_shipped_patch_ends_before_its_change() {
    let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("patches");
    let inside = |directory: &Path| -> Vec<_> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let files: Vec<_> = inside(&patches)
        .iter()
        .filter(|series| series.is_dir())
        .flat_map(|series| inside(series))
        .filter(|range| range.is_dir())
        .flat_map(|range| inside(&range))
        .collect();
    assert!(files.len() > 80, "{} patches", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (changelog, _) = text.split_once("\ndiff --git ").unwrap();
        assert!(changelog.contains("\n---\n"), "{}", file.display());
    }
}
