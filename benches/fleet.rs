//! What a driver can do: 10,000 trials that take no time, through a real Slurm of
//! three nodes and over ssh to three hosts, all on this machine. What is printed
//! is in docs/scale.md.
//!
//! `cargo bench --features e2e --bench fleet`; needs root, slurm-wlm and sshd.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a benchmark that cannot go on fails, and prints what it measured"
)]

#[path = "../tests/fleet/kernel.rs"]
mod kernel;
#[path = "../tests/fleet/nodes.rs"]
mod nodes;
#[path = "../tests/fleet/stub.rs"]
mod stub;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nodes::{Hosts, Slurm};

/// Of each of the two arms.
const TRIALS: u32 = 5000;

const NODES: [(&str, &str); 3] = [("n1", "2g"), ("n2", "2g"), ("n3", "2g")];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "batch") {
        return stub::main(&arguments[1..]);
    }
    let trials = arguments.iter().find_map(|text| text.parse().ok());
    let trials = trials.unwrap_or(TRIALS);
    let slurm = Slurm::start(&NODES);
    let conf = slurm.conf().display().to_string();
    measure(
        "slurm",
        trials,
        slurm.base(),
        "slurm:all",
        ("SLURM_CONF", conf),
    );
    drop(slurm);
    let hosts = Hosts::start(&NODES, true);
    let ssh = hosts.ssh();
    measure(
        "ssh",
        trials,
        hosts.base(),
        "ssh:n1,n2,n3",
        ("KVET_SSH", ssh),
    );
    ExitCode::SUCCESS
}

fn measure(name: &str, trials: u32, base: &Path, on: &str, env: (&str, String)) {
    let local = base.join("local");
    std::fs::create_dir_all(local.join("tmp")).unwrap();
    let out = base.join("run");
    let job = kernel::job(base, trials);
    let began = Instant::now();
    let before = usage();
    let status = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .arg("run")
        .arg(job)
        .args(["--on", on, "--jobs", "1"])
        .args(["--trials", &trials.to_string(), "--host-program"])
        .arg(std::env::current_exe().unwrap())
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", local.join("tmp"))
        .env("KVET_STUB_MILLIS", "0")
        .env(env.0, env.1)
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(base.join("run.log")).unwrap())
        .status()
        .unwrap();
    let seconds = began.elapsed().as_secs_f64();
    if status.code() != Some(0) {
        let log = std::fs::read_to_string(base.join("run.log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(20)..].join("\n"));
    }
    let after = usage();
    let all = f64::from(2 * trials);
    println!(
        "{name}: {all} trials in {seconds:.1} s, {:.0} a second; the driver and what it started \
         took {:.1} s of processor and {} MiB of memory at most; ended with {status}",
        all / seconds,
        after.0 - before.0,
        after.1 >> 10,
    );
    let size = Command::new("du")
        .args(["-sm", "--inodes"])
        .arg(&out)
        .output();
    let inodes = String::from_utf8_lossy(&size.unwrap().stdout).into_owned();
    let size = Command::new("du").arg("-sm").arg(&out).output();
    let size = String::from_utf8_lossy(&size.unwrap().stdout).into_owned();
    let first = |text: &str| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    println!(
        "  its record has {} files and {} MiB",
        first(&inodes),
        first(&size)
    );
}

/// Processor time of ended children in seconds, and the most memory that one of
/// them had, in KiB.
fn usage() -> (f64, i64) {
    // SAFETY: the structure is plain data, which the call fills.
    #[expect(unsafe_code, reason = "rustix has no getrusage")]
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a benchmark")]
        let (whole, part) = (time.tv_sec as f64, time.tv_usec as f64);
        whole + part / 1e6
    };
    (
        seconds(usage.ru_utime) + seconds(usage.ru_stime),
        usage.ru_maxrss,
    )
}
