//! `kvet shell` and signals: each ends it or lets it go on, the terminal is what it
//! was before, and nothing of the guest and its cluster stays.
#![cfg(feature = "e2e")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod marked;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use marked::Marked;

/// A terminal: the end that a user has. It ends when the program does.
struct Terminal {
    user: File,
}

impl Terminal {
    /// One, and the end that a program is given.
    fn new() -> (Self, OwnedFd) {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap();
        let program = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        (Self { user: user.into() }, program)
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.user).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
    }

    /// Reads until the guest says this, and returns all that it said.
    fn until(&mut self, word: &str) -> String {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&seen);
            if text.contains(word) {
                return text.into_owned();
            }
            let count = self.user.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
    }

    fn say(&mut self, text: &str) {
        self.user.write_all(text.as_bytes()).unwrap();
    }
}

fn shell(marked: &Marked, input: Stdio, output: Stdio) -> Child {
    marked
        .kvet(&["shell", "tests/jobs/lasting.yaml"])
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A shell in a terminal, at its prompt.
fn at_the_prompt(marked: &Marked) -> (Child, Terminal) {
    let (mut terminal, program) = Terminal::new();
    let output = program.try_clone().unwrap();
    let child = shell(marked, program.into(), output.into());
    terminal.until("bash-");
    assert!(terminal.is_raw());
    (child, terminal)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Ends the shell as a user does.
fn exit(mut child: Child, terminal: &mut Terminal) -> ExitStatus {
    terminal.say("exit\n");
    child.wait().unwrap()
}

/// What lies in a place's directory for temporary files.
fn temporary(marked: &Marked) -> Vec<PathBuf> {
    let left = std::fs::read_dir(marked.temporary()).unwrap().flatten();
    left.map(|entry| entry.path()).collect()
}

#[test]
fn requests_to_end_end_it_and_give_the_terminal_back() {
    // Whoever runs this with nohup has HUP ignored, and kvet with it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    let signals = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
    let heard = |signal: &Signal| ignored >> (signal.as_raw() - 1) & 1 == 0;
    for signal in signals.into_iter().filter(heard) {
        let marked = Marked::new();
        let (mut child, terminal) = at_the_prompt(&marked);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        assert!(!terminal.is_raw(), "{signal:?}");
        marked.assert_nothing_left(&format!("{signal:?}"));
    }
}

#[test]
fn what_stops_it_or_says_nothing_to_it_lets_it_go_on() {
    let marked = Marked::new();
    let (child, mut terminal) = at_the_prompt(&marked);
    for signal in [Signal::PIPE, Signal::WINCH, Signal::URG, Signal::CHILD] {
        send(&child, signal);
    }
    send(&child, Signal::STOP);
    terminal.say("echo re''ady\n");
    send(&child, Signal::CONT);
    terminal.until("ready");
    assert_eq!(exit(child, &mut terminal).code(), Some(0));
    assert!(!terminal.is_raw());
    marked.assert_nothing_left("the end");
}

#[test]
fn the_guest_s_kernel_has_the_words_of_the_job() {
    let marked = Marked::new();
    let (child, mut terminal) = at_the_prompt(&marked);
    // What is typed is echoed: only what bash makes of it is the end.
    terminal.say("cat /proc/cmdline; echo re''ady\n");
    let said = terminal.until("ready");
    assert!(said.contains("kvet.word=of-the-job"), "{said}");
    assert_eq!(exit(child, &mut terminal).code(), Some(0));
}

/// Nobody hears of these but the kernel, which ends all that belongs to it; files
/// go at the next start.
#[test]
fn what_kills_it_leaves_no_process_and_the_next_start_takes_its_files_away() {
    let marked = Marked::new();
    for signal in [Signal::KILL, Signal::ABORT, Signal::USR1, Signal::ALARM] {
        let (mut child, _terminal) = at_the_prompt(&marked);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), None, "{signal:?}");
        marked.wait_for_the_end();
        marked.assert_no_mount(&format!("{signal:?}"));
        assert!(!temporary(&marked).is_empty(), "{signal:?}");
    }
    let (child, mut terminal) = at_the_prompt(&marked);
    assert_eq!(exit(child, &mut terminal).code(), Some(0));
    marked.assert_nothing_left("the next start");
}

/// The guest talks into a pipe that is full and that nobody reads.
#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it_from_ending() {
    for signal in [Signal::INT, Signal::TERM] {
        let marked = Marked::new();
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        while rustix::io::write(&writer, b"x").is_ok() {}
        fcntl_setfl(&writer, flags).unwrap();
        let output = writer.as_fd().try_clone_to_owned().unwrap();
        let mut child = shell(&marked, Stdio::null(), output.into());
        // A thread of its own waits in the write: the guest has said something.
        let tasks = format!("/proc/{}/task", child.id());
        let is_writing = || {
            let tasks = std::fs::read_dir(&tasks).unwrap();
            tasks.flatten().any(|task| {
                // write(1, ...
                let call = std::fs::read_to_string(task.path().join("syscall"));
                call.is_ok_and(|call| call.starts_with("1 0x1 "))
            })
        };
        while !is_writing() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        marked.assert_nothing_left(&format!("{signal:?}"));
    }
}
