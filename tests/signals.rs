//! Interruptions of what only reads and prints: INT, TERM, HUP and QUIT end it at once
//! with 130, whatever it waits for. Neither a kernel nor a cluster is needed.
//!
//! Each command is kept at a place where it waits for the test for ever: a
//! FIFO that nobody writes to, a pipe that nobody reads from.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat, open};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

const SIGNALS: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

fn kvet(arguments: &[&str], home: &Path) -> Command {
    let mut command = Command::new("env");
    command
        // Whoever runs the tests with nohup has HUP ignored.
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_kvet")])
        .args(arguments)
        .env("XDG_CACHE_HOME", home)
        .env("XDG_STATE_HOME", home)
        .env("TMPDIR", home)
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Signals a command and sees it end with 130.
fn interrupt(mut child: Child, signal: Signal, what: &str) {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{what}: {status}");
}

/// Opens a FIFO when the command has.
fn writer_of(fifo: &Path, child: &mut Child, what: &str) -> OwnedFd {
    loop {
        match open(fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
            // Nobody reads it yet.
            Err(Errno::NXIO) => {}
            opened => return opened.unwrap(),
        }
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "{what}: it did not open {}", fifo.display());
        std::thread::yield_now();
    }
}

/// Interrupts a command that has opened a FIFO and waits for what comes.
fn waits_for(fifo: &Path, arguments: &[&str], home: &Path) {
    for signal in SIGNALS {
        let what = format!("{arguments:?}, {signal:?}");
        let mut child = kvet(arguments, home).spawn().unwrap();
        let _writer = writer_of(fifo, &mut child, &what);
        interrupt(child, signal, &what);
    }
}

#[test]
fn scan_of_standard_input() {
    let home = tempfile::tempdir().unwrap();
    for signal in SIGNALS {
        let mut child = kvet(&["scan", "-"], home.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = child.stdin.take().unwrap();
        log.write_all(b"[   12.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:1]\n")
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("soft lockup"), "{line}");
        interrupt(child, signal, &format!("scan -, {signal:?}"));
        drop(log);
    }
}

#[test]
fn files_that_never_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fifo.yaml");
    fifo(&path);
    let file = path.to_str().unwrap();
    for arguments in [
        ["scan", file].as_slice(),
        &["scan", "--corpus", file],
        &["scan", "--vmlinux", file, "/dev/null"],
        &["run", file],
        &["run", "--dry-run", file],
        &["shell", file],
        &["doctor", file],
        &["cluster", "up", file],
    ] {
        waits_for(&path, arguments, home.path());
    }
}

#[test]
fn workloads_and_recipes_that_never_end() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("fifo.yaml");
    fifo(&path);
    let job = home.path().join("job.yaml");
    let shared = "name: j\nkernel: { source: { debian: linux-source-7.3 }, config: [] }\n\
                  arms: { stock: {} }\n";
    for named in [
        "workload: ./fifo.yaml\n",
        "workload: evict-truncate\nrootfs: ./fifo.yaml\n",
    ] {
        std::fs::write(&job, format!("{shared}{named}")).unwrap();
        waits_for(
            &path,
            &["run", "--dry-run", job.to_str().unwrap()],
            home.path(),
        );
    }
}

/// A run's record in a place where it may be changed.
fn record(home: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
    let to = home.join("record");
    let copied = Command::new("cp").arg("-r").args([&from, &to]).status();
    assert!(copied.unwrap().success());
    to
}

/// Nobody but kvet writes a record's files, so one that is no plain file is not
/// waited for at all.
#[test]
fn records_that_never_end() {
    let home = tempfile::tempdir().unwrap();
    let run = record(home.path());
    let trial = run.join("arms/fixed/trials/example/1/1");
    for path in [
        trial.join("console.log"),
        trial.join("trial.json"),
        run.join("run.json"),
    ] {
        for endless in ["fifo", "/dev/zero"] {
            std::fs::remove_file(&path).unwrap();
            if endless == "fifo" {
                fifo(&path);
            } else {
                std::os::unix::fs::symlink(endless, &path).unwrap();
            }
            let mut judge = kvet(&["judge", run.to_str().unwrap()], home.path());
            let status = judge.status().unwrap();
            assert_eq!(status.code(), Some(128), "{endless} for {}", path.display());
        }
    }
}

/// A pipe's ends, the writing one full: the next byte waits for a reader.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    while rustix::io::write(&writer, b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Returns when the process has taken the signals into its own hands.
fn ready(child: &mut Child, what: &str) {
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let wanted = SIGNALS.map(|signal| 1_u64 << (signal.as_raw() - 1));
    let wanted = wanted.into_iter().fold(0, |all, one| all | one);
    loop {
        let text = std::fs::read_to_string(&status).unwrap();
        let caught = text
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        if caught & wanted == wanted {
            return;
        }
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "{what}: it waits for nothing");
        std::thread::yield_now();
    }
}

#[test]
fn output_that_nobody_reads() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    std::fs::write(
        &log,
        "[   12.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:1]\n",
    )
    .unwrap();
    let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/ceph-iput-async.yaml");
    let run = record(home.path());
    let run = run.to_str().unwrap();
    let judged = kvet(&["judge", run], home.path()).status().unwrap();
    assert!(matches!(judged.code(), Some(0..128)), "{judged}");
    for arguments in [
        ["judge", run].as_slice(),
        &["report", run, "--format", "human"],
        &["report", run, "--format", "json"],
        &["cache", "list"],
        &["cache", "prune", "--all"],
        &["scan", log.to_str().unwrap()],
        &["run", "--dry-run", job.to_str().unwrap()],
    ] {
        for signal in SIGNALS {
            let (_reader, writer) = full_pipe();
            let what = format!("{arguments:?}, {signal:?}");
            let mut child = kvet(arguments, home.path())
                .stdout(writer.as_fd().try_clone_to_owned().unwrap())
                .spawn()
                .unwrap();
            ready(&mut child, &what);
            interrupt(child, signal, &what);
        }
    }
}

/// Sends the program that it is loaded into a signal as soon as the program has a
/// handler for it, and before it knows that it has.
const AT_ONCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>

int sigaction(int number, const struct sigaction *new, struct sigaction *old)
{
	int (*next)(int, const struct sigaction *, struct sigaction *);
	const char *wanted = getenv("WANTED");
	int result;

	next = dlsym(RTLD_NEXT, "sigaction");
	result = next(number, new, old);
	if (wanted && atoi(wanted) == number && new && (new->sa_flags & SA_SIGINFO))
		raise(number);
	return result;
}
"#;

#[test]
fn a_signal_while_the_handlers_are_installed() {
    let home = tempfile::tempdir().unwrap();
    let (source, library) = (
        home.path().join("at_once.c"),
        home.path().join("at_once.so"),
    );
    std::fs::write(&source, AT_ONCE).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library);
    assert!(
        compiler
            .arg(&source)
            .arg("-ldl")
            .status()
            .unwrap()
            .success()
    );
    for signal in SIGNALS {
        let (_reader, writer) = full_pipe();
        let status = kvet(&["cache", "list"], home.path())
            .env("LD_PRELOAD", &library)
            .env("WANTED", signal.as_raw().to_string())
            .stdout(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(130), "{signal:?}: {status}");
    }
}
