//! kvet in a place of its own, whose processes are known by a mark in their
//! environment, wherever they are.
#![allow(dead_code, reason = "no test uses all of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

/// The variable that is the mark.
const MARK: &str = "KVET_TEST_MARK";

pub(crate) struct Marked {
    home: tempfile::TempDir,
}

impl Marked {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("tmp")).unwrap();
        Self { home }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where temporary files go.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.home.path().join("tmp")
    }

    /// kvet with these arguments.
    pub(crate) fn kvet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvet"));
        command
            .args(arguments)
            .env(MARK, self.home())
            .env("XDG_STATE_HOME", self.home().join("state"))
            .env("TMPDIR", self.temporary())
            .env("NO_COLOR", "1");
        command
    }

    /// The processes of this program that are there; of any, if it has no name.
    pub(crate) fn processes(&self, program: &str) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.home().display());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let ours = entries.filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let environment = read("environ");
            let is_marked = environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == mark.as_bytes());
            let command = read("cmdline");
            let name = command.split(|&byte| byte == 0).next()?;
            let name = Path::new(std::str::from_utf8(name).ok()?).file_name()?;
            (is_marked && (program.is_empty() || name == program)).then_some(pid)
        });
        ours.collect()
    }

    /// Returns when no process is left. The kernel ends a namespace; that takes a
    /// moment.
    pub(crate) fn wait_for_the_end(&self) {
        while !self.processes("").is_empty() {
            std::thread::yield_now();
        }
    }

    /// Neither processes, mounts nor temporary files are there.
    pub(crate) fn assert_nothing_left(&self, what: &str) {
        self.wait_for_the_end();
        self.assert_no_mount(what);
        let left = fs::read_dir(self.temporary()).unwrap().flatten();
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }

    /// Nothing is mounted on what lies here.
    pub(crate) fn assert_no_mount(&self, what: &str) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let home = self.home().to_str().unwrap();
        let ours: Vec<_> = mounts.lines().filter(|line| line.contains(home)).collect();
        assert!(ours.is_empty(), "{what}: {ours:?}");
    }
}

/// Copies a directory with all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}
