//! What is around a guest is frozen or killed at each stage of a trial: the run
//! ends in time, says whose fault it was, and leaves nothing. A row of the table
//! is one fault: what is broken, how, when, and what must be said.
#![cfg(feature = "e2e")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};

/// When a thing breaks, by what kvet says at that moment under `-vv`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// The last of the daemons was started, none is known to be well.
    ClusterStarts,
    /// QEMU was started; the kernel boots.
    Boots,
    /// The agent said what it is, and has yet to be told what to mount.
    Greets,
    /// The guest mounts.
    Mounts,
    /// The storm runs.
    Storms,
    /// The step is late, and the kernel is asked who waits for what.
    Asks,
}

impl When {
    const ALL: [Self; 6] = [
        Self::ClusterStarts,
        Self::Boots,
        Self::Greets,
        Self::Mounts,
        Self::Storms,
        Self::Asks,
    ];

    fn is_now(self, line: &str) -> bool {
        let agent_said = |what: &str| line.contains("from the agent") && line.contains(what);
        let told_agent = |what: &str| line.contains("to the agent") && line.contains(what);
        match self {
            Self::ClusterStarts => {
                line.contains("started")
                    && line.contains("ceph-osd --conf")
                    && line.contains("nsenter")
            }
            Self::Boots => line.contains("started") && line.contains("-nodefaults"),
            Self::Greets => agent_said("Ready"),
            Self::Mounts => told_agent("Start { step: 0"),
            Self::Storms => agent_said("Started { step: 1 }"),
            Self::Asks => told_agent("Sysrq"),
        }
    }
}

const VICTIMS: &[&str] = &[
    "qemu-system-x86_64",
    "ceph-mon",
    "ceph-osd",
    "ceph-mds",
    "ceph-mgr",
    "sh",
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

/// Runs a trial of a workload that lasts, breaks a thing each time that the
/// moment comes, and returns what was said and the exit code.
fn broken(program: &str, signal: Signal, when: When) -> (String, Option<i32>) {
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
        .env("XDG_STATE_HOME", directory.path().join("state"))
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
        if when.is_now(&line) {
            // What is said to be started is there a moment later.
            let mut there = processes(program, &mark);
            while there.is_empty() && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
                there = processes(program, &mark);
            }
            for pid in there {
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
    assert!(left.is_empty(), "{program} {signal:?} {when:?}: {left:?}");
    (said, output.status.code())
}

#[test]
fn explore() {
    let mut rows = Vec::new();
    for when in When::ALL {
        for victim in VICTIMS {
            for signal in [Signal::STOP, Signal::KILL] {
                rows.push((when, *victim, signal));
            }
        }
    }
    let rows = Mutex::new(rows.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((when, victim, signal)) = rows.lock().unwrap().next() else {
                        break;
                    };
                    let began = std::time::Instant::now();
                    let (said, code) = broken(victim, signal, when);
                    let lines: Vec<&str> = said
                        .lines()
                        .filter(|l| {
                            !l.trim().is_empty()
                                && !l.starts_with("source")
                                && !l.starts_with("build")
                                && !l.starts_with("rootfs")
                                && !l.contains("emulating")
                                && !l.contains("recorded in")
                        })
                        .collect();
                    println!(
                        "== {when:?} {victim} {signal:?} {code:?} {:?}\n{}",
                        began.elapsed(),
                        lines.join("\n")
                    );
                }
            });
        }
    });
}
