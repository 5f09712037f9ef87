//! Runs whose trials are on other hosts: a real Slurm of three nodes, and real
//! sshds, on loopback. Hosts die, hang, fill up and come back; drivers are killed;
//! every trial is in the record exactly once, the report is the same as without
//! all that, and nothing is left on any host.
//!
//! This program is the hosts' stub as well (`batch ...`): a trial takes
//! milliseconds, so 200 of them take seconds. With `KVET_FLEET_FULL` set, some boot
//! real guests, and what cannot be had is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[path = "fleet/nodes.rs"]
mod nodes;
#[path = "fleet/stub.rs"]
mod stub;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use nodes::{Hosts, Slurm, until};

/// A test and what it needs of the machine.
type Test = (&'static str, &'static [&'static str], fn());

const SLURM: &[&str] = &["slurmctld", "slurmd", "munged", "sbatch", "unshare"];
const SSH: &[&str] = &["sshd", "ssh", "ssh-keygen", "unshare"];

const TESTS: &[Test] = &[
    (
        "ssh_hosts_give_the_same_report",
        SSH,
        ssh_hosts_give_the_same_report,
    ),
    ("ssh_hosts_may_die", SSH, ssh_hosts_may_die),
    ("hosts_that_differ", SSH, hosts_that_differ),
    ("no_host_is_left", SSH, no_host_is_left),
    ("slurm_nodes_may_die", SLURM, slurm_nodes_may_die),
    ("slurm_refuses", SLURM, slurm_refuses),
    ("slurm_is_interrupted", SLURM, slurm_is_interrupted),
];

/// Tests that boot guests: in the full check.
const FULL: &[Test] = &[
    ("real_guests_over_ssh", SSH, real_guests_over_ssh),
    (
        "a_run_on_this_host_goes_on",
        &[],
        a_run_on_this_host_goes_on,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("batch", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return stub::main(rest);
    }
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let full = std::env::var_os("KVET_FLEET_FULL").is_some();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(*f));
    let tests = TESTS.iter().chain(if full { FULL } else { &[] });
    let mut failed = Vec::new();
    for (name, needs, test) in tests.filter(|test| wanted(test.0)) {
        if let Some(lack) = lack(needs) {
            println!("SKIPPED {name}: {lack}");
            if full {
                failed.push(*name);
            }
            continue;
        }
        let began = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({:.1} s)",
            began.elapsed().as_secs_f64()
        );
        if !passed {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// What this machine lacks for a test.
fn lack(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("nodes of one's own take root".to_owned());
    }
    let found = |program: &&&str| {
        [
            "/usr/local/sbin",
            "/usr/local/bin",
            "/usr/sbin",
            "/usr/bin",
            "/sbin",
            "/bin",
        ]
        .iter()
        .any(|place| Path::new(place).join(program).exists())
    };
    let missing = programs.iter().find(|program| !found(program))?;
    Some(format!("there is no {missing}"))
}

/// A run directory and how kvet is called for it.
struct Run {
    out: PathBuf,
    envs: BTreeMap<&'static str, String>,
}

impl Run {
    fn new(base: &Path, name: &str) -> Self {
        let mut envs = BTreeMap::from([("NO_COLOR", "1".to_owned())]);
        // Nodes mount a file system of their own there.
        let local = base.join("local");
        fs::create_dir_all(local.join("tmp")).unwrap();
        envs.insert("TMPDIR", local.join("tmp").display().to_string());
        Self {
            out: base.join(name),
            envs,
        }
    }

    fn of_slurm(slurm: &Slurm, name: &str) -> Self {
        let mut run = Self::new(slurm.base(), name);
        run.envs
            .insert("SLURM_CONF", slurm.conf().display().to_string());
        run
    }

    fn of_ssh(hosts: &Hosts, name: &str) -> Self {
        let mut run = Self::new(hosts.base(), name);
        run.envs.insert("KVET_SSH", hosts.ssh());
        run
    }

    fn kvet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvet"));
        command.args(arguments).envs(&self.envs);
        command
    }

    /// `kvet run`, whose hosts run the stub.
    fn command(&self, job: &str, on: &str, more: &[&str]) -> Command {
        let mut command = self.kvet(&["run", job, "--on", on]);
        command
            .args(["--silence", "15s", "--host-program"])
            .arg(std::env::current_exe().unwrap())
            .arg("--out")
            .arg(&self.out)
            .args(more);
        command
    }

    fn start(&self, mut command: Command) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.out.with_extension("log"))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.out.with_extension("log")).unwrap_or_default()
    }

    /// How many trials are in the record.
    fn recorded(&self) -> usize {
        attempts(&self.out).values().sum()
    }

    /// What `report.json` says but for times and hosts.
    fn report(&self) -> Value {
        let text = fs::read_to_string(self.out.join("report.json"));
        let mut report: Value = serde_json::from_str(&text.unwrap()).unwrap();
        without_times_and_hosts(&mut report);
        report
    }
}

fn without_times_and_hosts(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for name in [
                "started",
                "seconds",
                "host",
                "hosts",
                "failed_on",
                "deviations",
                "cached",
            ] {
                map.remove(name);
            }
            map.values_mut().for_each(without_times_and_hosts);
        }
        Value::Array(list) => list.iter_mut().for_each(without_times_and_hosts),
        _ => {}
    }
}

/// The attempts that ended, by trial.
fn attempts(run: &Path) -> BTreeMap<PathBuf, usize> {
    let mut all = BTreeMap::new();
    let below = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for arm in below(&run.join("arms")) {
        for trial in below(&arm.join("trials"))
            .iter()
            .flat_map(|workload| below(workload))
        {
            let ended = below(&trial);
            let ended = ended
                .iter()
                .filter(|attempt| attempt.join("trial.json").exists());
            let count = ended.count();
            if count > 0 {
                all.insert(trial, count);
            }
        }
    }
    all
}

/// Each of the 200 trials ended once, in its first attempt.
fn assert_complete(run: &Run) {
    let all = attempts(&run.out);
    assert_eq!(all.len(), 200, "{}", run.log());
    assert!(all.values().all(|count| *count == 1), "{all:?}");
    assert!(!run.out.join("fleet").exists(), "the spool is left");
}

/// The hosts of trials, with how many each had.
fn hosts_of(run: &Run) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(run.out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let mut hosts = BTreeMap::new();
    for arm in report["arms"].as_array().unwrap() {
        for trial in arm["trials"].as_array().unwrap() {
            let host = trial["host"].as_str().unwrap_or_default().to_owned();
            *hosts.entry(host).or_default() += 1;
        }
    }
    hosts
}

const JOB: &str = "tests/jobs/fleet.yaml";

/// The report of a run that nothing happens to, made once.
fn undisturbed() -> &'static Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    REPORT.get_or_init(on_one_host)
}

fn on_one_host() -> Value {
    let hosts = Hosts::start(&[("solo", "600m")], true);
    let run = Run::of_ssh(&hosts, "run");
    let status = run.start(run.command(JOB, "ssh:solo", &[])).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    assert_eq!(hosts.nodes[0].left(), [""; 0]);
    run.report()
}

fn ssh_hosts_give_the_same_report() {
    let hosts = Hosts::start(&[("h1", "600m"), ("h2", "600m"), ("h3", "600m")], false);
    let run = Run::of_ssh(&hosts, "run");
    let status = run
        .start(run.command(JOB, "ssh:h1,h2,h3", &[]))
        .wait()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    assert_eq!(hosts_of(&run).len(), 3);
    for host in &hosts.nodes {
        assert_eq!(host.left(), [""; 0], "{}", host.name);
    }
    assert_eq!(&run.report(), undisturbed());
}

fn ssh_hosts_may_die() {
    let sizes = [
        ("h1", "600m"),
        ("h2", "600m"),
        ("h3", "600m"),
        ("full", "1m"),
    ];
    let mut hosts = Hosts::start(&sizes, true);
    let run = Run::of_ssh(&hosts, "run");
    let mut driver = run.start(run.command(JOB, "ssh:h1,h2,h3,full", &["--jobs", "1"]));
    until("the first trials", || run.recorded() >= 20);
    hosts.nodes[0].kill();
    hosts.nodes[1].signal_all(Signal::STOP);
    until("more trials", || run.recorded() >= 60);
    driver.kill().unwrap();
    driver.wait().unwrap();
    assert!(run.recorded() < 200, "the driver was killed too late");
    let out = run.out.display().to_string();
    let resumed = run.kvet(&["run", "--resume", &out]);
    let status = run.start(resumed).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    hosts.nodes[1].signal_all(Signal::CONT);
    for host in &hosts.nodes[1..] {
        until(&format!("nothing left on {}", host.name), || {
            host.left().is_empty()
        });
    }
    let log = run.log();
    for name in ["h1", "full"] {
        let told = format!("{name} gets no more trials");
        assert!(log.contains(&told), "{told}: {log}");
    }
    assert_eq!(&run.report(), undisturbed());
}

/// One lacks something, one has another QEMU, one shows something else.
fn hosts_that_differ() {
    let sizes = [
        ("a", "600m"),
        ("b", "600m"),
        ("odd", "600m"),
        ("newer", "600m"),
        ("bare", "600m"),
    ];
    let variables = [
        ("odd", "KVET_STUB_ODD", "1"),
        ("bare", "KVET_STUB_LACKS", "it lacks qemu-system-x86_64"),
    ];
    let hosts = Hosts::with(&sizes, true, &variables);
    hosts.qemu("newer", "QEMU emulator version 99.1");
    let run = Run::of_ssh(&hosts, "run");
    let on = "ssh:a,b,odd,newer,bare";
    let status = run
        .start(run.command(JOB, on, &["--jobs", "1"]))
        .wait()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    let text = fs::read_to_string(run.out.join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    // What is compared ran on one kind.
    let mut newer: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for arm in report["arms"].as_array().unwrap() {
        let numbers = newer.entry(arm["name"].to_string()).or_default();
        for trial in arm["trials"].as_array().unwrap() {
            if trial["host"] == "newer" {
                numbers.insert(trial["number"].as_u64().unwrap());
            }
        }
    }
    let arms: Vec<_> = newer.values().collect();
    assert!(!arms[0].is_empty(), "{newer:?}");
    assert_eq!(arms[0], arms[1]);
    // The odd one is named, and only that one.
    let named = report["deviations"].as_array().unwrap().iter();
    let named: Vec<&str> = named.map(|one| one["host"].as_str().unwrap()).collect();
    assert_eq!(named, ["odd"], "{}", report["deviations"]);
    let shown = run
        .kvet(&[
            "report",
            &run.out.display().to_string(),
            "--format",
            "human",
        ])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    for words in [
        "odd is odd: of stock, ",
        "on bare: no trial; left out: it lacks qemu-system-x86_64",
        "kind of newer: ",
        "QEMU emulator version 99.1",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

fn no_host_is_left() {
    let hosts = Hosts::start(&[("h1", "1m"), ("h2", "1m")], true);
    let run = Run::of_ssh(&hosts, "run");
    let status = run
        .start(run.command(JOB, "ssh:h1,h2,nowhere", &[]))
        .wait()
        .unwrap();
    let log = run.log();
    assert_eq!(status.code(), Some(128), "{log}");
    assert!(log.contains("no host is left that runs trials"), "{log}");
    for name in ["h1:", "h2:", "nowhere:"] {
        assert!(log.contains(name), "{name} {log}");
    }
}

fn slurm_nodes_may_die() {
    let sizes = [
        ("n1", "600m"),
        ("n2", "600m"),
        ("n3", "600m"),
        ("full", "1m"),
    ];
    let mut slurm = Slurm::start(&sizes);
    let run = Run::of_slurm(&slurm, "run");
    let result = catch_unwind(AssertUnwindSafe(|| die(&mut slurm, &run)));
    if result.is_err() {
        eprintln!("{}\n{}", run.log(), slurm.logs());
        panic!("see above");
    }
}

fn die(slurm: &mut Slurm, run: &Run) {
    let mut driver = run.start(run.command(JOB, "slurm:all", &[]));
    until("the first trials", || run.recorded() >= 20);
    slurm.nodes[0].kill();
    slurm.nodes[1].signal_all(Signal::STOP);
    until("more trials", || run.recorded() >= 60);
    driver.kill().unwrap();
    driver.wait().unwrap();
    assert!(run.recorded() < 200, "the driver was killed too late");
    // The controller goes and comes back under the next driver.
    slurm.stop_controller();
    let out = run.out.display().to_string();
    let mut driver = run.start(run.kvet(&["run", "--resume", &out]));
    until("a word on it", || {
        run.log().contains("controller does not answer")
    });
    slurm.start_controller();
    let status = driver.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(run);
    slurm.nodes[1].signal_all(Signal::CONT);
    for node in &slurm.nodes[1..] {
        until(&format!("nothing left on {}", node.name), || {
            node.left().is_empty()
        });
    }
    let log = run.log();
    assert!(log.contains("full gets no more trials"), "{log}");
    assert_eq!(&run.report(), undisturbed());
}

/// What a user may have got wrong, or the site.
fn slurm_refuses() {
    let slurm = Slurm::start(&[("n1", "600m"), ("n2", "600m")]);
    let run = Run::of_slurm(&slurm, "elsewhere");
    let status = run.start(run.command(JOB, "slurm:nowhere", &[])).wait();
    let log = run.log();
    assert_eq!(status.unwrap().code(), Some(128), "{log}");
    assert!(log.contains("Slurm does not take the trials"), "{log}");
    assert!(log.contains("nvalid partition"), "{log}");
    // Nodes have something else in that place.
    let run = Run::of_slurm(&slurm, "private");
    let spool = slurm.base().join("local/spool").display().to_string();
    let status = run
        .start(run.command(JOB, "slurm:all", &["--spool", &spool]))
        .wait();
    let log = run.log();
    assert_eq!(status.unwrap().code(), Some(128), "{log}");
    for words in [
        "no host is left",
        "n1: a task ended",
        "on a file system that it shares",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(run.recorded(), 0);
}

fn slurm_is_interrupted() {
    let slurm = Slurm::start(&[("n1", "600m"), ("n2", "600m")]);
    let run = Run::of_slurm(&slurm, "run");
    let mut driver = run.start(run.command(JOB, "slurm", &[]));
    until("the first trials", || run.recorded() >= 20);
    let pid = rustix::process::Pid::from_child(&driver);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let status = driver.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{}", run.log());
    assert_eq!(slurm.command("squeue", &["--noheader"]), "");
    assert!(!run.out.join("fleet").exists(), "the spool is left");
    for node in &slurm.nodes {
        assert_eq!(node.left(), [""; 0], "{}", node.name);
    }
    // What was obtained is judged, and the rest can still be done.
    assert!(run.recorded() < 200);
    let out = run.out.display().to_string();
    let status = run.start(run.kvet(&["run", "--resume", &out])).wait();
    assert_eq!(status.unwrap().code(), Some(0), "{}", run.log());
    assert_complete(&run);
}

fn outcome(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run without other hosts that is killed and resumed.
fn a_run_on_this_host_goes_on() {
    let base = tempfile::tempdir().unwrap();
    let run = Run::new(base.path(), "run");
    let out = run.out.display().to_string();
    let job = "tests/jobs/local.yaml";
    let more = ["run", job, "--trials", "3", "--jobs", "1", "--out", &out];
    let mut driver = run.start(run.kvet(&more));
    until("the first trial", || run.recorded() >= 1);
    driver.kill().unwrap();
    driver.wait().unwrap();
    let before = attempts(&run.out);
    let status = run.start(run.kvet(&["run", "--resume", &out])).wait();
    assert_eq!(status.unwrap().code(), Some(125), "{}", run.log());
    let after = attempts(&run.out);
    assert_eq!(after.len(), 3, "{after:?}");
    // What had ended was not done again.
    assert!(after.values().all(|count| *count == 1), "{after:?}");
    assert!(before.len() < 3, "{before:?}");
    let left: Vec<_> = fs::read_dir(base.path().join("local/tmp"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The same job here and on two hosts, with guests that boot.
fn real_guests_over_ssh() {
    let hosts = Hosts::start(&[("h1", "900m"), ("h2", "900m")], true);
    let job = "tests/jobs/local.yaml";
    let here = Run::of_ssh(&hosts, "here");
    let out = here.out.display().to_string();
    let output = here
        .kvet(&["run", job, "--trials", "3", "--out", &out])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", outcome(&output));
    let there = Run::of_ssh(&hosts, "there");
    let out = there.out.display().to_string();
    let more = [
        "run",
        job,
        "--trials",
        "3",
        "--on",
        "ssh:h1,h2",
        "--jobs",
        "1",
    ];
    let mut command = there.kvet(&more);
    command.args(["--out", &out]);
    let status = there.start(command).wait().unwrap();
    assert_eq!(status.code(), Some(125), "{}", there.log());
    assert_eq!(hosts_of(&there).len(), 2);
    for host in &hosts.nodes {
        assert_eq!(host.left(), [""; 0], "{}", host.name);
    }
    let mut reports = [here.report(), there.report()];
    // What a storm counts depends on time.
    for report in &mut reports {
        for arm in report["arms"].as_array_mut().unwrap() {
            for trial in arm["trials"].as_array_mut().unwrap() {
                trial.as_object_mut().unwrap().remove("counters");
            }
        }
        report.as_object_mut().unwrap().remove("coverage");
    }
    assert_eq!(reports[0], reports[1]);
}
