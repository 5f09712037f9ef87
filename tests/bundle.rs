//! What `kvet bundle` says where there is nothing to bundle, or no place for it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn kvet(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("XDG_CACHE_HOME", home)
        .current_dir(home)
        .output()
        .unwrap()
}

/// Runs `kvet bundle` on a directory; what it complains about.
fn complaint(home: &Path, arguments: &[&str]) -> String {
    let output = kvet(home, &[&["bundle"], arguments].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(128), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_run_that_cannot_be_bundled_is_told_why() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let run = home.join("run");
    copy(Path::new("tests/cmd/judge.in/run"), &run);
    let run = run.to_str().unwrap();
    let said = complaint(home, &["./nothing"]);
    assert!(
        said.contains("nothing is not the record of a run"),
        "{said}"
    );
    let said = complaint(home, &["nothing"]);
    assert!(said.contains("there is no run `nothing`"), "{said}");
    let said = complaint(home, &[run, "--trial", "stock/example/99"]);
    assert!(
        said.contains("the run has no trial stock/example/99"),
        "{said}"
    );
    assert!(said.contains("stock/example/1"), "{said}");
    // A record from before requests were kept.
    let said = complaint(home, &[run]);
    assert!(said.contains("has no request.json"), "{said}");
    for taken in ["file.tar.gz", "directory"] {
        let path = home.join(taken);
        if taken == "directory" {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("mine"), "x").unwrap();
        } else {
            fs::write(&path, "x").unwrap();
        }
        let said = complaint(home, &[run, "--out", taken]);
        assert!(said.contains(&format!("{taken} exists already")), "{said}");
    }
    fs::write(home.join("run/run.json"), "{ \"version\": 99 }").unwrap();
    assert!(complaint(home, &[run]).contains("its layout is version 99"));
}

#[test]
fn what_is_no_bundle_is_not_carried_out() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (content, problem) in [
        (None, "bundle.json"),
        (Some("{ \"version\": 1, \"plan"), "bundle.json"),
        (
            Some("{ \"version\": 7 }"),
            "its version is 7, and this kvet reads 1",
        ),
    ] {
        let bundle = home.join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        if let Some(content) = content {
            fs::write(bundle.join("bundle.json"), content).unwrap();
        }
        let output = kvet(home, &["replay", "bundle"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(128), "{said}");
        assert!(said.contains("is not a bundle of kvet's"), "{said}");
        assert!(said.contains(problem), "{said}");
    }
    assert!(!home.join("kvet").join("builds").exists());
}
