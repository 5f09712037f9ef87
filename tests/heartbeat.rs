//! The agent's own lines on the console change nothing of what the detector
//! finds there, wherever they come.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use kvet::console;
use kvet::detect::{Finding, Scanner, Sighting, scan};
use kvet::guest::heartbeat::Beat;

/// Logs of guests, as a console shows them: what mails and journals made of
/// others' has no place for a line of ours.
fn logs() -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect");
    let mut logs: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    logs.sort();
    logs
}

/// What a finding says, whatever line it is on.
fn said(findings: &[Finding]) -> Vec<String> {
    let said = |found: &Finding| {
        let frames: Vec<_> = found.frames.iter().map(|frame| &*frame.function).collect();
        format!(
            "{}: {} {:?} {} {:?} {:?} {:?} {} {frames:?}",
            found.class,
            found.title,
            found.alternatives,
            found.signature,
            found.task,
            found.panic,
            found.waits_for,
            found.damaged,
        )
    };
    findings.iter().map(said).collect()
}

/// The beat as the console shows it after a line of the log.
fn shown_after(raw: &[u8]) -> Option<Vec<u8>> {
    let line = console::parse(raw);
    let time = line.time?;
    let caller = line.caller.map_or("", |_| "[    T1]");
    let record = Beat::Step(7).record();
    let message = record.trim_start_matches("<3>");
    Some(format!("[{time:12.6}]{caller} {message}").into_bytes())
}

#[test]
fn a_beat_after_any_line_changes_no_finding() {
    let mut tried = 0;
    for (name, log) in logs() {
        let plain = said(&scan(&log));
        let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        // A few hundred places in each log, the same in every run.
        let every = lines.len().div_ceil(200).max(1);
        for at in (0..lines.len()).step_by(every) {
            let Some(beat) = shown_after(lines[at]) else {
                continue;
            };
            let with: Vec<u8> = [lines[..=at].concat(), beat, lines[at + 1..].concat()].concat();
            let found = said(&scan(&with));
            assert_eq!(found, plain, "{} after line {}", name.display(), at + 1);
            tried += 1;
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn a_job_s_own_pattern_does_not_match_a_beat() {
    let rule = |text| serde_yaml::from_str(text).unwrap();
    let mut scanner = Scanner::with_rules(vec![
        rule("{message: '*step*', title: a step}"),
        rule("{message: '*tick*', title: a tick}"),
    ]);
    let mut sightings = Vec::new();
    for beat in [Beat::Step(1), Beat::Tick(2)] {
        let record = beat.record();
        let message = record.trim_start_matches("<3>");
        sightings.extend(scanner.push(format!("[    1.000000][    T1] {message}").as_bytes()));
    }
    let complete = |sighting: &&Sighting| matches!(sighting, Sighting::Complete(_));
    assert_eq!(sightings.iter().filter(complete).count(), 0);
    // A kernel that says such words is another matter.
    for word in ["step", "tick"] {
        sightings.extend(scanner.push(format!("[    2.000000][    T1] a {word}\n").as_bytes()));
    }
    sightings.extend(scanner.end());
    assert_eq!(sightings.iter().filter(complete).count(), 2);
}
