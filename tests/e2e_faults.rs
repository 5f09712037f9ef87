//! What is around a guest is frozen or killed in the middle of a trial: the run
//! ends in time, says whose fault it was, and leaves nothing. A row of the table
//! is one fault: what is broken, how, and what must be said.
#![cfg(feature = "e2e")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What is broken while the guest runs its workload, and what must be said of
/// the trial.
const FAULTS: &[(&str, Signal, &str)] = &[
    ("qemu-system-x86_64", Signal::STOP, "QEMU does not answer"),
    ("qemu-system-x86_64", Signal::KILL, "QEMU ended: signal: 9"),
    ("ceph-mds", Signal::STOP, "mds.a did not answer"),
    ("ceph-mds", Signal::KILL, "mds.a"),
    ("ceph-osd", Signal::STOP, "osd.0 did not answer"),
    ("ceph-osd", Signal::KILL, "osd.0"),
    ("ceph-mon", Signal::STOP, "mon.a did not answer"),
    ("ceph-mon", Signal::KILL, "mon.a"),
    ("ceph-mgr", Signal::KILL, "mgr.a"),
];

/// The processes with this program that carry a mark in their environment.
fn processes(program: &str, mark: &str) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ours = entries.filter_map(|entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let environment = read("environ");
        let marked = environment
            .split(|&byte| byte == 0)
            .any(|variable| variable == mark.as_bytes());
        let command = read("cmdline");
        let name = command.split(|&byte| byte == 0).next()?;
        let name = Path::new(std::str::from_utf8(name).ok()?).file_name()?;
        (marked && (program.is_empty() || name == program)).then_some(pid)
    });
    ours.collect()
}

/// Runs a trial of a workload that lasts, breaks a thing once its storm has
/// begun, every time that a trial begins it, and returns what was said and the
/// exit code.
fn broken(program: &str, signal: Signal) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().unwrap();
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mark = format!("KVET_TEST_MARK={}", directory.path().display());
    let (key, value) = mark.split_once('=').unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["run", "tests/jobs/lasting.yaml", "--out"])
        .arg(directory.path().join("run"))
        .env(key, value)
        .env("TMPDIR", &temporary)
        .env("NO_COLOR", "1")
        .args(["-vv"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    for line in stderr.lines() {
        let line = line.unwrap();
        // The agent says so when the storm runs.
        if line.contains("from the agent") && line.contains("Started { step: 1 }") {
            for pid in processes(program, &mark) {
                // One that has ended meanwhile is as broken as it gets.
                let _ = kill_process(pid, signal);
            }
        }
        if !line.contains("DEBUG") {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let output = child.wait_with_output().unwrap();
    said.push_str(&String::from_utf8_lossy(&output.stdout));
    // The kernel ends the namespace; that takes a moment.
    while !processes("", &mark).is_empty() {
        std::thread::yield_now();
    }
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().flatten().collect();
    assert!(left.is_empty(), "{program} {signal:?}: {left:?}");
    (said, output.status.code())
}

#[test]
fn what_breaks_around_a_guest_is_never_its_kernel_s_doing() {
    for (program, signal, reason) in FAULTS {
        let (said, code) = broken(program, *signal);
        assert_eq!(code, Some(125), "{program} {signal:?}");
        let trial = said.lines().find(|line| line.contains("1/1 "));
        let trial = trial.unwrap_or_else(|| panic!("{program} {signal:?}: {said}"));
        assert!(
            trial.contains("1/1 harness") && trial.contains(reason),
            "{program} {signal:?}: {trial}"
        );
    }
}
