//! Many runs at once on a host that also compiles: each gives the right verdict or
//! says that it cannot tell, and none leaves anything.
//!
//! `KVET_TEST_ROUNDS` says how many rounds of four and of eight runs.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test tells what it does, and fails by panicking"
)]

mod marked;

use std::fmt::Write;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use marked::Marked;

/// A compile that does not end by itself, two compilers at a time.
struct Compile {
    make: Child,
    _home: tempfile::TempDir,
}

impl Compile {
    fn begin() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for number in 0..2000 {
            writeln!(text, "int f{number}(int a) {{ int s = 0; for (int i = 0; i < a; i++) s += i * a ^ {number}; return s; }}").unwrap();
        }
        fs::write(home.path().join("f.c"), text).unwrap();
        let makefile = "all: $(shell seq 100000)\n%:\n\t@$(CC) -O2 -c f.c -o /dev/null\n";
        fs::write(home.path().join("Makefile"), makefile).unwrap();
        let make = Command::new("make")
            .args(["--silent", "-j2"])
            .current_dir(home.path())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        Self {
            make: make.unwrap(),
            _home: home,
        }
    }
}

impl Drop for Compile {
    fn drop(&mut self) {
        let ended = kill_process_group(Pid::from_child(&self.make), Signal::KILL);
        ended.unwrap();
        self.make.wait().unwrap();
    }
}

fn run(marked: &Marked) -> Output {
    let mut command = marked.kvet(&["run", "jobs/ceph-iput-async.yaml", "--out"]);
    command.arg(marked.home().join("run")).output().unwrap()
}

/// What a run said, if it was not the truth.
fn untrue(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_true = match output.status.code() {
        Some(0) => said.starts_with("verdict: fixed"),
        Some(125) => said.starts_with("verdict: inconclusive"),
        _ => false,
    };
    // That would be inconclusive, too.
    let told = String::from_utf8_lossy(&output.stderr);
    let is_true = is_true && !told.contains("has no kernel");
    let first = said.lines().next().unwrap_or_default();
    eprintln!("{:?} {first}", output.status.code());
    (!is_true).then(|| said + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_crowded_host_gives_no_verdict_but_the_right_one_or_none() {
    let rounds = std::env::var("KVET_TEST_ROUNDS").ok();
    let rounds: u32 = rounds.map_or(1, |rounds| rounds.parse().unwrap());
    assert!(Path::new("jobs/ceph-iput-async.yaml").exists());
    let _compile = Compile::begin();
    let mut wrong = Vec::new();
    for round in 1..=rounds {
        for width in [4, 8] {
            let places: Vec<Marked> = (0..width).map(|_| Marked::new()).collect();
            let outputs: Vec<Output> = std::thread::scope(|scope| {
                let runs: Vec<_> = places
                    .iter()
                    .map(|place| scope.spawn(|| run(place)))
                    .collect();
                runs.into_iter().map(|run| run.join().unwrap()).collect()
            });
            eprintln!("round {round}, {width} at once");
            wrong.extend(outputs.iter().filter_map(untrue));
            for place in &places {
                place.assert_nothing_left("a run in a crowd");
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
