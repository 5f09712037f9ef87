//! The command line as a user sees it: output and exit codes, recorded in
//! `tests/cmd` (`TRYCMD=overwrite cargo test --test cli` records them anew).

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn recorded_sessions() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}

/// A guest that has died says no more; who watches its console must hear of it
/// all the same.
#[test]
fn what_begins_in_a_log_that_is_still_written_is_told_at_once() {
    let mut scan = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["scan", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = scan.stdin.take().unwrap();
    let mut told = BufReader::new(scan.stderr.take().unwrap());
    log.write_all(b"[   12.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:1]\n")
        .unwrap();
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "note     line 1: BUG: soft lockup ...\n");
    drop(log);
    assert_eq!(scan.wait().unwrap().code(), Some(1));
}

/// A job, a log and their names can hold what a terminal obeys.
#[test]
fn nothing_that_a_terminal_obeys_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let kvet = |arguments: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(arguments)
            .env("XDG_CACHE_HOME", home.path())
            .current_dir(home.path())
            .output()
            .unwrap();
        let mut shown = String::from_utf8(ended.stdout).unwrap();
        shown.push_str(&String::from_utf8(ended.stderr).unwrap());
        let obeyed = ['\u{1b}', '\u{202e}', '\u{9b}', '\r'];
        assert!(!shown.contains(obeyed), "{arguments:?}: {shown:?}");
        shown
    };
    let shared = "name: j\nworkload: evict-truncate\n";
    let source = "kernel: { source: { dir: \"/x\\e[31m\\u202e\" }, config: [] }\n";
    let jobs = [
        ("plan", format!("{shared}{source}arms: {{ stock: {{}} }}\n")),
        (
            "raw",
            format!("{shared}{source}about: \u{202e}\narms: {{ \"a\\e[2J\\r\": {{}} }}\n"),
        ),
        (
            "key",
            format!("{shared}{source}\"x\\e\\u202e\": 1\narms: {{ stock: {{}} }}\n"),
        ),
        (
            "patch",
            format!("{shared}{source}arms: {{ stock: {{ patches: [\"\\e[1m\\x9b\"] }} }}\n"),
        ),
        ("\u{1b}[1m\u{202e}", "\"".to_owned()),
    ];
    for (name, text) in jobs {
        let name = format!("{name}.yaml");
        std::fs::write(home.path().join(&name), text).unwrap();
        let shown = kvet(&["run", "--dry-run", &name]);
        assert!(shown.contains('\u{fffd}') || shown.contains('?'), "{shown}");
    }
    for arguments in [
        ["scan", "\u{1b}[2J\u{202e}"].as_slice(),
        &["judge", "\u{1b}[2J\u{202e}"],
        &["report", "\u{1b}[2J", "--format", "human"],
        &["run", "\u{1b}[2J\u{202e}"],
        &["run", "--\u{1b}[2J\u{202e}"],
        &["run", "x", "--trials", "\u{1b}[2J\u{202e}"],
    ] {
        assert!(kvet(arguments).contains('\u{fffd}'), "{arguments:?}");
    }
}

#[test]
fn a_line_of_a_corpus_that_is_not_a_case_does_not_stop_the_others() {
    let home = tempfile::tempdir().unwrap();
    let corpus = home.path().join("cases.jsonl");
    std::fs::write(
        &corpus,
        "{\"id\": \"1\", \"log\": \"\"}\nnot json\n{\"id\": \"2\"}\n{\"id\": \"3\", \"log\": \"\"}\n",
    )
    .unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["scan", "--corpus"])
        .arg(&corpus)
        .output()
        .unwrap();
    let answers = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(answers.lines().count(), 2, "{answers}");
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("cases.jsonl:2: not a case"), "{told}");
    assert!(told.contains("cases.jsonl:3: not a case"), "{told}");
    assert!(told.contains("2 of 4 lines are not cases"), "{told}");
    assert_eq!(ended.status.code(), Some(128));
}

/// An unpack that was killed leaves most of a gigabyte.
#[test]
fn what_a_killed_process_left_half_made_is_listed_and_reclaimed() {
    let home = tempfile::tempdir().unwrap();
    let half = home.path().join("kvet/sources/.0123abc.partial");
    let kvet = |arguments: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(arguments)
            .env("XDG_CACHE_HOME", home.path())
            .env_remove("XDG_RUNTIME_DIR")
            .output()
            .unwrap();
        String::from_utf8(ended.stdout).unwrap()
    };
    for (arguments, stays) in [
        (["cache", "list"].as_slice(), true),
        (&["cache", "prune", "--dry-run"], true),
        (&["cache", "prune"], false),
        (&["cluster", "status"], false),
    ] {
        std::fs::create_dir_all(&half).unwrap();
        let shown = kvet(arguments);
        let listed = shown.contains("0123abc") && shown.contains("unfinished");
        assert!(listed || arguments[0] != "cache", "{arguments:?}: {shown}");
        assert_eq!(half.exists(), stays, "{arguments:?}");
    }
}
