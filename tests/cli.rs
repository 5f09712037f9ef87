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
