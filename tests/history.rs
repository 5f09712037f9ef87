//! History as several processes write it at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Some processes make the index, some take runs in, some remove it: each
/// succeeds, and in the end every run is there.
#[test]
fn processes_that_write_at_once_lose_no_run() {
    let home = tempfile::tempdir().unwrap();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
    let run = |directory: &Path, second: u32| {
        copy(&recorded, directory);
        let file = directory.join("run.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut beginning: serde_json::Value = serde_json::from_str(&text).unwrap();
        beginning["started"] =
            format!("2026-01-02T03:{:02}:{:02}Z", second / 60, second % 60).into();
        std::fs::write(&file, beginning.to_string()).unwrap();
    };
    let kvet = |arguments: &[&str]| {
        let mut kvet = Command::new(env!("CARGO_BIN_EXE_kvet"));
        kvet.args(arguments)
            .env("XDG_STATE_HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        kvet
    };
    for second in 0..12 {
        run(&home.path().join(format!("kvet/runs/{second}")), second);
    }
    let mut writers = Vec::new();
    for writer in 0..6 {
        let elsewhere: Vec<String> = (0..4)
            .map(|number| {
                let directory = home.path().join(format!("elsewhere/{writer}-{number}"));
                run(&directory, 100 + writer * 4 + number);
                directory.display().to_string()
            })
            .collect();
        let mut add = vec!["history", "add"];
        add.extend(elsewhere.iter().map(String::as_str));
        writers.push(kvet(&add).spawn().unwrap());
        writers.push(kvet(&["history", "--json"]).spawn().unwrap());
        if writer % 3 == 2 {
            writers.push(kvet(&["history", "rebuild"]).spawn().unwrap());
        }
    }
    for writer in writers {
        let ended = writer.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
    }
    let ended = kvet(&["history", "--json", "-n", "100"]).output().unwrap();
    let runs: Vec<serde_json::Value> = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(runs.len(), 12 + 24);
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

/// A bisection is found by its id like a run; what only runs have is refused.
#[test]
fn a_bisection_is_listed_reported_and_not_compared() {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bisection = home.path().join("bisection");
    copy(&root.join("tests/fixtures/bisection"), &bisection);
    let beginning = root.join("tests/cmd/judge.in/run/run.json");
    std::fs::copy(beginning, bisection.join("run.json")).unwrap();
    let kvet = |arguments: &[&str]| {
        let mut kvet = Command::new(env!("CARGO_BIN_EXE_kvet"));
        kvet.args(arguments)
            .env("XDG_STATE_HOME", home.path())
            .env("COLUMNS", "300");
        let output = kvet.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, said)
    };
    let added = kvet(&["history", "add", &bisection.display().to_string()]);
    assert_eq!(added.0, Some(0), "{added:?}");
    for command in [&["history"][..], &["history", "example"]] {
        let (code, text, said) = kvet(command);
        assert_eq!((code, said.as_str()), (Some(0), ""));
        assert!(text.contains("bisection: ceph-iput-async/0003-"), "{text}");
        assert!(text.contains(" 10 "), "its boots: {text}");
    }
    let (_, text, _) = kvet(&["history", "example"]);
    assert!(text.starts_with("example: 0 runs, 1 bisection\n"), "{text}");
    let (code, mail, said) = kvet(&["report", "latest", "--format", "mail"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        mail.starts_with("Subject: [kvet] ceph-iput-async/0003-"),
        "{mail}"
    );
    assert!(
        mail.lines().all(|line| line.chars().count() < 100),
        "{mail}"
    );
    let (code, _, said) = kvet(&["compare", "latest", "latest"]);
    assert_eq!(code, Some(128));
    assert!(said.contains("is a bisection: it has no verdict"), "{said}");
}
