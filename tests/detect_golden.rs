//! What is found in each log of tests/fixtures/detect, as a golden file.
//!
//! `INSTA_UPDATE=always cargo test --test detect_golden` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kvet::detect::{Finding, Target, scan};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap()
}

fn summary(findings: &[Finding]) -> String {
    let mut text = String::new();
    for found in findings {
        let damaged = if found.damaged { " (damaged)" } else { "" };
        writeln!(
            text,
            "{}-{} {}: {}{damaged}\n  also {:?}\n  signature {}\n  task {:?} pid {:?} cpu {:?} workqueue {:?}\n  kernel {:?} {:?} at {:?}\n  panic {:?} waits for {:?}",
            found.first_line,
            found.last_line,
            found.class,
            found.title,
            found.alternatives,
            found.signature,
            found.task,
            found.pid,
            found.cpu,
            found.workqueue,
            found.kernel,
            found.tainted,
            found.instruction,
            found.panic,
            found.waits_for,
        )
        .unwrap();
        for lock in &found.locks {
            writeln!(text, "  holds {} at {}", lock.lock, lock.at).unwrap();
        }
        let stack: Vec<&str> = found
            .frames
            .iter()
            .filter(|frame| frame.reliable)
            .map(|frame| frame.function.as_str())
            .collect();
        writeln!(text, "  stack {}", stack.join(" ")).unwrap();
    }
    text
}

#[test]
fn every_fixture_gives_its_golden_findings() {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "log"))
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let findings = scan(&read(&name));
        insta::assert_snapshot!(name.trim_end_matches(".log"), summary(&findings));
    }
}

#[test]
fn the_target_of_the_main_job_is_the_deadlock_and_only_it() {
    let target: Target = serde_yaml::from_str(
        "{class: hung_task, frames: [inode_wait_for_writeback, ceph_writepages_start]}",
    )
    .unwrap();
    let deadlock = scan(&read("ceph_writeback_deadlock_7.3.log"));
    let hits = deadlock
        .iter()
        .filter(|found| target.matches(found))
        .count();
    assert!(hits >= 1);
    // Those that wait behind it are other findings.
    assert!(hits < deadlock.len());
    for other in ["lock_cycle_of_two_tasks.log", "vfs_bug_sync_owner_7.3.log"] {
        assert!(!scan(&read(other)).iter().any(|found| target.matches(found)));
    }
}

#[test]
fn ordinary_logs_have_no_findings() {
    for name in [
        "clean_boot_7.3.log",
        "lookalikes.log",
        "announced_restart.log",
        "cgroup_oom.log",
    ] {
        assert_eq!(summary(&scan(&read(name))), "", "{name}");
    }
}
