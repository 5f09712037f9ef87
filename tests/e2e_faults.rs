//! What is around a guest is frozen or killed at each stage of a trial: the run
//! ends in time, says whose fault it was, and leaves nothing. A row of the table
//! is one fault: when a thing breaks, what it is, how, and what must be said.
//!
//! By hand, `KVET_TEST_FAULTS="Storms ceph-mds"` runs the rows that have these
//! words, and `KVET_TEST_WIDTH` says how many at a time.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test tells what it does, and fails by panicking"
)]

mod marked;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use rustix::process::{Signal, kill_process};

use When::{Asks, Boots, ClusterStarts, Greets, Mounts, Storms};
use marked::Marked;

/// When a thing breaks, by what kvet says at that moment under `-vv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// The last of the daemons was started, none is known to be well.
    ClusterStarts,
    /// QEMU was started: it restores a guest or boots one.
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
    fn is_now(self, line: &str) -> bool {
        let agent_said = |what: &str| line.contains("from the agent") && line.contains(what);
        let told_agent = |what: &str| line.contains("to the agent") && line.contains(what);
        let started = |what: &str| line.contains("its command") && line.contains(what);
        match self {
            ClusterStarts => started("ceph-osd --conf") && line.contains("nsenter"),
            Boots => started("-nodefaults"),
            Greets => agent_said("Ready") || told_agent("Hello"),
            Mounts => told_agent("Start { step: 0"),
            Storms => agent_said("Started { step: 1 }"),
            Asks => told_agent("Sysrq"),
        }
    }
}

/// When what breaks, how, and what must be said: any of these.
type Fault = (When, &'static str, Signal, &'static [&'static str]);

/// QEMU, each of the daemons, the first process of the namespace that all of them
/// are in, and what brought them into it. There is no QEMU while the cluster starts,
/// and a namespace whose first process is stopped goes on.
#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    (ClusterStarts, "ceph-mon", Signal::STOP, &["mon did not answer", "mon.a does not answer"]),
    (ClusterStarts, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (ClusterStarts, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (ClusterStarts, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (ClusterStarts, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (ClusterStarts, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (ClusterStarts, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (ClusterStarts, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (ClusterStarts, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Boots, "qemu-system-x86_64", Signal::STOP, &["QEMU does not answer", "QEMU did not start within"]),
    (Boots, "qemu-system-x86_64", Signal::KILL, &["QEMU ended", "QEMU does not answer"]),
    (Boots, "ceph-mon", Signal::STOP, &["mon.a did not answer", "mon.a does not answer"]),
    (Boots, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (Boots, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (Boots, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (Boots, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (Boots, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (Boots, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (Boots, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (Boots, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Greets, "qemu-system-x86_64", Signal::STOP, &["QEMU does not answer", "QEMU did not start within"]),
    (Greets, "qemu-system-x86_64", Signal::KILL, &["QEMU ended", "QEMU does not answer"]),
    (Greets, "ceph-mon", Signal::STOP, &["mon.a did not answer", "mon.a does not answer"]),
    (Greets, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (Greets, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (Greets, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (Greets, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (Greets, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (Greets, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (Greets, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (Greets, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Mounts, "qemu-system-x86_64", Signal::STOP, &["QEMU does not answer", "QEMU did not start within"]),
    (Mounts, "qemu-system-x86_64", Signal::KILL, &["QEMU ended", "QEMU does not answer"]),
    (Mounts, "ceph-mon", Signal::STOP, &["mon.a did not answer", "mon.a does not answer"]),
    (Mounts, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (Mounts, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (Mounts, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (Mounts, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (Mounts, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (Mounts, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (Mounts, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (Mounts, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Storms, "qemu-system-x86_64", Signal::STOP, &["QEMU does not answer", "QEMU did not start within"]),
    (Storms, "qemu-system-x86_64", Signal::KILL, &["QEMU ended", "QEMU does not answer"]),
    (Storms, "ceph-mon", Signal::STOP, &["mon.a did not answer", "mon.a does not answer"]),
    (Storms, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (Storms, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (Storms, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (Storms, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (Storms, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (Storms, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (Storms, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (Storms, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Asks, "qemu-system-x86_64", Signal::STOP, &["QEMU does not answer", "QEMU did not start within"]),
    (Asks, "qemu-system-x86_64", Signal::KILL, &["QEMU ended", "QEMU does not answer"]),
    (Asks, "ceph-mon", Signal::STOP, &["mon.a did not answer", "mon.a does not answer"]),
    (Asks, "ceph-mon", Signal::KILL, &["mon.a ended", "mon.a did not answer"]),
    (Asks, "ceph-osd", Signal::STOP, &["osd.0 did not answer", "osd.0 does not answer"]),
    (Asks, "ceph-osd", Signal::KILL, &["osd.0 ended", "osd.0 did not answer"]),
    (Asks, "ceph-mds", Signal::STOP, &["mds.a did not answer", "mds.a does not answer"]),
    (Asks, "ceph-mds", Signal::KILL, &["mds.a ended", "mds.a did not answer"]),
    (Asks, "ceph-mgr", Signal::STOP, &["mgr.a did not answer", "mgr.a does not answer"]),
    (Asks, "ceph-mgr", Signal::KILL, &["mgr.a ended", "mgr.a did not answer"]),
    (Asks, "cat", Signal::KILL, &["ended", "does not answer", "did not answer"]),
    (Boots, "nsenter", Signal::KILL, &["QEMU ended", "QEMU is gone"]),
    (Greets, "nsenter", Signal::KILL, &["QEMU ended", "QEMU is gone"]),
    (Mounts, "nsenter", Signal::KILL, &["QEMU ended", "QEMU is gone"]),
    (Storms, "nsenter", Signal::KILL, &["QEMU ended", "QEMU is gone"]),
];

/// A cache that has what the user's has, but clusters of its own: a run whose
/// cluster does not start takes the prepared one for bad.
fn cache(home: &Path) -> PathBuf {
    let theirs = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let theirs =
        theirs.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let (from, to) = (theirs.join("kvet"), home.join("cache/kvet"));
    fs::create_dir_all(to.join("clusters")).unwrap();
    for kind in fs::read_dir(&from).unwrap().flatten() {
        if kind.file_name() != "clusters" {
            std::os::unix::fs::symlink(kind.path(), to.join(kind.file_name())).unwrap();
        }
    }
    for cluster in fs::read_dir(from.join("clusters"))
        .into_iter()
        .flatten()
        .flatten()
    {
        marked::copy(
            &cluster.path(),
            &to.join("clusters").join(cluster.file_name()),
        );
    }
    home.join("cache")
}

/// Runs a trial of a workload that lasts, breaks a thing each time that the
/// moment comes, and returns what was said and the exit code, or why that tells
/// nothing.
fn broken(
    when: When,
    program: &str,
    signal: Signal,
) -> Result<(String, Option<i32>), &'static str> {
    let marked = Marked::new();
    let mut child = marked
        .kvet(&["run", "tests/jobs/lasting.yaml", "-vv", "--out"])
        .arg(marked.home().join("run"))
        .env("XDG_CACHE_HOME", cache(marked.home()))
        .env("KVET_PATIENCE", "20")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut moments = 0;
    let stderr = BufReader::new(child.stderr.take().unwrap());
    for line in stderr.lines() {
        let line = line.unwrap();
        if when.is_now(&line) {
            // What is said to be started is there a moment later.
            let mut there = marked.processes(program);
            while there.is_empty() && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
                there = marked.processes(program);
            }
            // Where it was read too late that the moment came, all is over.
            moments += usize::from(!there.is_empty());
            for pid in there {
                // One that has ended meanwhile is as broken as it gets.
                let _ = kill_process(pid, signal);
            }
        }
        // What kvet does itself is traced: that names what was killed, too.
        if !line.contains(" DEBUG ") && !line.contains(" INFO ") {
            said.push_str(&line);
            said.push('\n');
        }
    }
    let output = child.wait_with_output().unwrap();
    said.push_str(&String::from_utf8_lossy(&output.stdout));
    marked.assert_nothing_left(&format!("{when:?} {program} {signal:?}"));
    let busy = "the host was too busy";
    match moments {
        _ if said.contains(busy) => Err(busy),
        // A busy host may keep it from being seen in time.
        0 => Err("the moment never came"),
        _ => Ok((said, output.status.code())),
    }
}

/// Runs trials until there is a saved guest: those that are broken are to come up
/// quickly, however many there are at a time.
fn warm_up() {
    let marked = Marked::new();
    let out = marked.home().join("run");
    let output = marked
        .kvet(&["run", "tests/jobs/lasting.yaml", "--trials", "2", "--out"])
        .arg(out)
        .output();
    assert_eq!(output.unwrap().status.code(), Some(125));
}

/// What is wrong with what a row came to, if anything is.
fn wrong(&(when, program, signal, reasons): &Fault) -> Option<String> {
    let began = std::time::Instant::now();
    let mut tries = Err("never tried");
    for _ in 0..5 {
        tries = tries.or_else(|_: &str| broken(when, program, signal));
    }
    let (said, code) = match tries {
        Ok(outcome) => outcome,
        Err(why) => return Some(format!("{when:?} {program} {signal:?}: {why}")),
    };
    let told = reasons.iter().any(|reason| said.contains(reason));
    let blamed = said.contains("1/1 target") || said.contains("1/1 other");
    let row = format!("{when:?} {program} {signal:?}: {code:?}");
    let heard = reasons.iter().filter(|reason| said.contains(**reason));
    let heard: Vec<_> = heard.collect();
    eprintln!("{row}, {heard:?} ({:.1} s)", began.elapsed().as_secs_f64());
    if code == Some(125) && told && !blamed {
        return None;
    }
    Some(format!("{row}, not {reasons:?}\n{said}"))
}

#[test]
fn what_breaks_around_a_guest_is_never_its_kernel_s_doing() {
    assert!(FAULTS.len() >= 60);
    warm_up();
    let wanted = std::env::var("KVET_TEST_FAULTS").unwrap_or_default();
    let is_wanted = |(when, program, signal, _): &&Fault| {
        let row = format!("{when:?} {program} {signal:?}");
        wanted.split_whitespace().all(|word| row.contains(word))
    };
    let rows = Mutex::new(FAULTS.iter().filter(is_wanted));
    let width = std::env::var("KVET_TEST_WIDTH").ok();
    // Most of the time nothing happens: they wait for what is stopped.
    let width = width.map_or(6, |width| width.parse().unwrap());
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                loop {
                    let Some(row) = rows.lock().unwrap().next() else {
                        return;
                    };
                    let wrong = wrong(row);
                    all.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    assert!(all.is_empty(), "{} rows:\n{}", all.len(), all.join("\n"));
}
