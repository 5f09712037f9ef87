//! Runs whose trials are on other hosts: a real Slurm of three nodes, and real
//! sshds, on loopback. Hosts die, hang, fill up and come back; drivers are killed;
//! every trial is in the record exactly once, the report is the same as without
//! all that, and nothing is left on any host.
//!
//! This program is the hosts' stub as well (`batch ...`): a trial takes
//! milliseconds, so 200 of them take seconds. With `KVET_FLEET_FULL` set all tests
//! run, some with guests that boot, and what cannot be had is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[path = "fleet/kernel.rs"]
mod kernel;
#[path = "fleet/nodes.rs"]
mod nodes;
#[path = "fleet/stub.rs"]
mod stub;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

use nodes::{Hosts, Slurm, until};

/// A test and what it needs of the machine.
type Test = (&'static str, &'static [&'static str], fn());

const SLURM: &[&str] = &["slurmctld", "slurmd", "munged", "sbatch", "unshare"];
const SSH: &[&str] = &["sshd", "ssh", "ssh-keygen", "unshare"];

/// What is in the standard check: hosts that die, hang and are full, drivers that are
/// killed, and nothing lost of it; kernels that hosts make.
const STANDARD: &[Test] = &[
    ("ssh_hosts_may_die", SSH, ssh_hosts_may_die),
    ("a_driver_dies_sending", SSH, a_driver_dies_sending),
    ("hosts_make_kernels", SSH, hosts_make_kernels),
    ("slurm_nodes_may_die", SLURM, slurm_nodes_may_die),
];

/// What else there is: in the full check.
const MORE: &[Test] = &[
    (
        "ssh_hosts_give_the_same_report",
        SSH,
        ssh_hosts_give_the_same_report,
    ),
    ("hosts_that_differ", SSH, hosts_that_differ),
    ("no_host_is_left", SSH, no_host_is_left),
    ("a_host_without_qemu", SSH, a_host_without_qemu),
    ("a_bisection_on_hosts", SSH, a_bisection_on_hosts),
    ("no_slurm_is_there", &["unshare"], no_slurm_is_there),
    ("slurm_refuses", SLURM, slurm_refuses),
    ("slurm_is_interrupted", SLURM, slurm_is_interrupted),
    ("slurm_shares_nothing", SLURM, slurm_shares_nothing),
    ("a_full_shared_directory", SLURM, a_full_shared_directory),
];

/// Tests that boot guests: in the full check, too.
const GUESTS: &[Test] = &[
    ("real_guests_over_ssh", SSH, real_guests_over_ssh),
    ("real_guests_on_slurm", SLURM, real_guests_on_slurm),
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
    // A name is enough to run what boots no guests.
    let more = if full || !filters.is_empty() {
        MORE
    } else {
        println!(
            "{} more tests of many hosts are in the full check",
            MORE.len() + GUESTS.len()
        );
        &[]
    };
    let tests = STANDARD.iter().chain(more);
    let tests = tests.chain(if full { GUESTS } else { &[] });
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
    /// The job that it carries out.
    job: PathBuf,
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
        envs.insert("XDG_STATE_HOME", base.join("state").display().to_string());
        Self {
            job: kernel::job(base, 100),
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
    fn command(&self, on: &str, more: &[&str]) -> Command {
        let mut command = self.kvet(&["run", &self.job.display().to_string(), "--on", on]);
        self.with_stub(&mut command).args(more);
        command
    }

    fn with_stub<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .args(["--silence", "15s", "--host-program"])
            .arg(std::env::current_exe().unwrap())
            .arg("--out")
            .arg(&self.out)
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
                "origin",
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

/// Waits until a node that was suspended has ended what it did.
fn nothing_is_left(node: &nodes::Node) {
    let mut left = Vec::new();
    let mut waited = || {
        until("nothing left", || {
            left = node.left();
            left.is_empty()
        });
    };
    let gone = catch_unwind(AssertUnwindSafe(&mut waited)).is_ok();
    assert!(gone, "left on {}: {left:?}", node.name);
}

/// The same where Slurm kills without a word what srun started: a scratch directory
/// stays until kvet starts there again, and nothing else.
fn nothing_runs(node: &nodes::Node) {
    until(&format!("nothing runs on {}", node.name), || {
        let left = node.left();
        left.iter().all(|what| what.contains("/local/tmp/kvet-"))
    });
}

/// The facts of all attempts that ended.
fn trials(run: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let mut places = vec![run.join("arms")];
    while let Some(place) = places.pop() {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_name() == "trial.json" {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.push(serde_json::from_str(&text).unwrap());
            } else if entry.path().is_dir() {
                places.push(entry.path());
            }
        }
    }
    found
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

/// The report of a run that nothing happens to, made once.
fn undisturbed() -> &'static Value {
    static REPORT: OnceLock<Value> = OnceLock::new();
    REPORT.get_or_init(on_one_host)
}

fn on_one_host() -> Value {
    let hosts = Hosts::start(&[("solo", "600m")], true);
    let run = Run::of_ssh(&hosts, "run");
    let status = run.start(run.command("ssh:solo", &[])).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    assert_eq!(hosts.nodes[0].left(), [""; 0]);
    run.report()
}

fn ssh_hosts_give_the_same_report() {
    let hosts = Hosts::start(&[("h1", "600m"), ("h2", "600m"), ("h3", "600m")], false);
    let run = Run::of_ssh(&hosts, "run");
    let status = run.start(run.command("ssh:h1,h2,h3", &[])).wait().unwrap();
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
    let command = run.command("ssh:h1,h2,h3,full", &["--jobs", "1"]);
    lose_two_nodes_and_the_driver(&mut hosts.nodes, &run, command);
    let out = run.out.display().to_string();
    let resumed = run.kvet(&["run", "--resume", &out]);
    let status = run.start(resumed).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    assert_complete(&run);
    hosts.nodes[1].signal_all(Signal::CONT);
    for host in &hosts.nodes[1..] {
        nothing_is_left(host);
    }
    let log = run.log();
    for name in ["h1", "full"] {
        let told = format!("{name} gets no more trials");
        assert!(log.contains(&told), "{told}: {log}");
    }
    assert_eq!(&run.report(), undisturbed());
}

/// The driver is killed in the middle of an input: nothing of that input stays on the
/// host, with rsync and without.
fn a_driver_dies_sending() {
    for rsync in [true, false] {
        let hosts = Hosts::start(&[("slow", "600m")], rsync);
        let host = &hosts.nodes[0];
        let run = Run::of_ssh(&hosts, "run");
        let mut driver = run.start(run.command("ssh:slow", &[]));
        until("an input under way", || !host.unfinished().is_empty());
        host.signal_all(Signal::STOP);
        assert!(!host.unfinished().is_empty(), "it was stopped too late");
        driver.kill().unwrap();
        driver.wait().unwrap();
        host.signal_all(Signal::CONT);
        nothing_is_left(host);
    }
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
    let status = run.start(run.command(on, &["--jobs", "1"])).wait().unwrap();
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

/// kvet itself on a host where nothing of what guests need is found.
fn a_host_without_qemu() {
    let hosts = Hosts::start(&[("bare", "900m")], false);
    let run = Run::of_ssh(&hosts, "run");
    let job = kernel::job_of_its_own(hosts.base(), 100)
        .display()
        .to_string();
    let mut command = run.kvet(&["run", &job, "--on", "ssh:bare", "--out"]);
    command.arg(&run.out);
    let status = run.start(command).wait().unwrap();
    let log = run.log();
    assert_eq!(status.code(), Some(128), "{log}");
    for words in [
        "bare makes no more kernels: building a kernel needs make, gcc",
        "bare gets no more trials: it lacks unshare",
        "qemu-system-x86_64 (package qemu-system-x86)",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert_eq!(hosts.nodes[0].left(), [""; 0]);
}

/// Kernels that a host's store has, without locks.
fn built_on(node: &nodes::Node) -> usize {
    node.entries("builds").len()
}

/// Arms go to different hosts; those that have a line's objects come first the next
/// time, and a host that cannot make kernels is named and runs trials.
fn hosts_make_kernels() {
    let sizes = [("a", "2g"), ("b", "2g"), ("c", "600m")];
    let hosts = Hosts::start(&sizes, true);
    let mut run = Run::of_ssh(&hosts, "first");
    run.job = kernel::job_of_its_own(hosts.base(), 100);
    let few = ["--trials", "5", "--jobs", "1"];
    let status = run.start(run.command("ssh:a,b", &few)).wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", run.log());
    let built: Vec<usize> = hosts.nodes.iter().map(built_on).collect();
    assert_eq!(built, [1, 1, 0], "{}", run.log());
    // Another patch of the same tree: `c` is named first, and `a` and `b` are warm.
    let mut again = Run::of_ssh(&hosts, "again");
    again.job = kernel::job_of_its_own(hosts.base(), 100);
    let base = hosts.base().display();
    let extra = format!(
        "--- a/fs/inode.c\n+++ b/fs/inode.c\n@@ -1,3 +1,3 @@\n {base}\n-two\n+TWO\n three\n"
    );
    fs::write(hosts.base().join("extra.patch"), extra).unwrap();
    let text = fs::read_to_string(&again.job).unwrap();
    let more = format!("0001.patch, {base}/extra.patch");
    fs::write(&again.job, text.replace("0001.patch", &more)).unwrap();
    let status = again
        .start(again.command("ssh:c,a,b", &few))
        .wait()
        .unwrap();
    assert_eq!(status.code(), Some(0), "{}", again.log());
    let built: Vec<usize> = hosts.nodes.iter().map(built_on).collect();
    assert_eq!(built, [2, 1, 0], "{}", again.log());
    // What was made there is what would have been made here.
    let kernel = |run: &Run, arm: &str| {
        let text = fs::read_to_string(run.out.join("arms").join(arm).join("kernel.json"));
        serde_json::from_str::<Value>(&text.unwrap()).unwrap()
    };
    assert_eq!(kernel(&run, "stock")["key"], kernel(&again, "stock")["key"]);
    assert_eq!(kernel(&again, "fixed")["release"], "7.3.4-tiny");
    for host in &hosts.nodes {
        assert_eq!(host.left(), [""; 0], "{}", host.name);
    }
}

/// Which of eight patches brings the bug, with kernels and boots on hosts.
fn a_bisection_on_hosts() {
    let sizes = [("a", "2g"), ("b", "2g"), ("c", "2g")];
    let hosts = Hosts::start(&sizes, true);
    let run = Run::of_ssh(&hosts, "bisection");
    let job = kernel::series(hosts.base()).display().to_string();
    let on = ["bisect", &job, "--patches", "--on", "ssh:a,b,c"];
    let mut command = run.kvet(&on);
    run.with_stub(&mut command);
    let status = run.start(command).wait().unwrap();
    let log = run.log();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains(&format!("{:04}.patch", kernel::CULPRIT)),
        "{log}"
    );
    // None was made here. They are made in no time, so the first host, which has the
    // objects, is free again whenever the next one is wanted.
    let built: usize = hosts.nodes.iter().map(built_on).sum();
    assert!(built >= 4, "{built} {log}");
    assert!(!log.contains("makes no more kernels"), "{log}");
    let hosts_of_trials: BTreeSet<String> = trials(&run.out)
        .iter()
        .filter_map(|trial| Some(trial["host"].as_str()?.to_owned()))
        .collect();
    // Boots take no time either: a host that is ready first may have most of them.
    assert!(hosts_of_trials.len() >= 2, "{hosts_of_trials:?} {log}");
    for host in &hosts.nodes {
        assert_eq!(host.left(), [""; 0], "{}", host.name);
    }
}

fn no_host_is_left() {
    let hosts = Hosts::start(&[("h1", "1m"), ("h2", "1m")], true);
    let run = Run::of_ssh(&hosts, "run");
    let status = run
        .start(run.command("ssh:h1,h2,nowhere", &[]))
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
    let command = run.command("slurm:all", &[]);
    lose_two_nodes_and_the_driver(&mut slurm.nodes, run, command);
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
        nothing_is_left(node);
    }
    let log = run.log();
    assert!(log.contains("full gets no more trials"), "{log}");
    assert_eq!(&run.report(), undisturbed());
}

/// Starts a run; when some trials are there, one node dies and one is suspended, and
/// when there are more, the driver is killed.
fn lose_two_nodes_and_the_driver(nodes: &mut [nodes::Node], run: &Run, command: Command) {
    let mut driver = run.start(command);
    until("the first trials", || run.recorded() >= 20);
    nodes[0].kill();
    nodes[1].signal_all(Signal::STOP);
    until("more trials", || run.recorded() >= 60);
    driver.kill().unwrap();
    driver.wait().unwrap();
    assert!(run.recorded() < 200, "the driver was killed too late");
}

/// Nothing is shared: all goes through srun. One node dies, one is suspended, one is
/// full, and the driver is killed.
fn slurm_shares_nothing() {
    let sizes = [
        ("n1", "600m"),
        ("n2", "600m"),
        ("n3", "600m"),
        ("full", "1m"),
    ];
    let mut slurm = Slurm::start(&sizes);
    let run = Run::of_slurm(&slurm, "run");
    let result = catch_unwind(AssertUnwindSafe(|| {
        let command = run.command("slurm:all", &["--spool", "none"]);
        lose_two_nodes_and_the_driver(&mut slurm.nodes, &run, command);
        nothing_runs(&slurm.nodes[2]);
        let out = run.out.display().to_string();
        let status = run.start(run.kvet(&["run", "--resume", &out])).wait();
        assert_eq!(status.unwrap().code(), Some(0), "{}", run.log());
        assert_complete(&run);
        assert!(!run.out.join("fleet").exists());
        slurm.nodes[1].signal_all(Signal::CONT);
        nothing_runs(&slurm.nodes[1]);
        for node in &slurm.nodes[2..] {
            nothing_is_left(node);
        }
        let log = run.log();
        assert!(log.contains("full gets no more trials"), "{log}");
        assert_eq!(&run.report(), undisturbed());
    }));
    if result.is_err() {
        eprintln!("{}\n{}", run.log(), slurm.logs());
        panic!("see above");
    }
}

/// Fills a file system up.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let block = vec![0; 1 << 16];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

/// The directory that all see fills up: the run stops and says so, and goes on when
/// there is room.
fn a_full_shared_directory() {
    let slurm = Slurm::with_shared(&[("n1", "600m"), ("n2", "600m")], "300m");
    let shared = slurm.shared();
    let run = Run::of_slurm(&slurm, "run");
    let spool = shared.display().to_string();
    let mut driver = run.start(run.command("slurm:all", &["--spool", &spool]));
    until("the first trials", || run.recorded() >= 5);
    let ballast = shared.join("ballast");
    fill(&ballast);
    let status = driver.wait().unwrap();
    let log = run.log();
    assert_eq!(status.code(), Some(128), "{log}");
    assert!(
        log.contains("the hosts cannot hand over their results"),
        "{log}"
    );
    assert!(run.recorded() < 200);
    fs::remove_file(&ballast).unwrap();
    let out = run.out.display().to_string();
    let status = run.start(run.kvet(&["run", "--resume", &out])).wait();
    assert_eq!(status.unwrap().code(), Some(0), "{}", run.log());
    assert_complete(&run);
    assert_eq!(&run.report(), undisturbed());
    let left: Vec<_> = fs::read_dir(&shared).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// There is no Slurm on this host.
fn no_slurm_is_there() {
    let base = tempfile::tempdir().unwrap();
    let bin = base.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for place in ["/bin", "/usr/bin", "/sbin", "/usr/sbin"] {
        for program in fs::read_dir(place).unwrap().flatten() {
            let name = program.file_name().into_string().unwrap();
            let of_slurm = ["sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun"];
            if !of_slurm.contains(&&*name) {
                // One of two places may be a link to the other.
                let _ = std::os::unix::fs::symlink(program.path(), bin.join(name));
            }
        }
    }
    let mut run = Run::new(base.path(), "run");
    run.envs.insert("PATH", bin.display().to_string());
    let status = run.start(run.command("slurm", &[])).wait().unwrap();
    let log = run.log();
    assert_eq!(status.code(), Some(128), "{log}");
    assert!(
        log.contains("is not on this host, so there is no Slurm"),
        "{log}"
    );
}

/// What a user may have got wrong, or the site.
fn slurm_refuses() {
    let slurm = Slurm::start(&[("n1", "600m"), ("n2", "600m")]);
    let run = Run::of_slurm(&slurm, "elsewhere");
    let status = run.start(run.command("slurm:nowhere", &[])).wait();
    let log = run.log();
    assert_eq!(status.unwrap().code(), Some(128), "{log}");
    assert!(log.contains("Slurm did not accept the trials"), "{log}");
    assert!(log.contains("nvalid partition"), "{log}");
    // Nodes have something else in that place.
    let run = Run::of_slurm(&slurm, "private");
    let spool = slurm.base().join("local/spool").display().to_string();
    let status = run
        .start(run.command("slurm:all", &["--spool", &spool]))
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
    let mut driver = run.start(run.command("slurm", &[]));
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
    let here = Run::of_ssh(&hosts, "here");
    let there = Run::of_ssh(&hosts, "there");
    the_same(&here, &there, &["--on", "ssh:h1,h2", "--jobs", "1"]);
    for host in &hosts.nodes {
        assert_eq!(host.left(), [""; 0], "{}", host.name);
    }
}

/// The same through Slurm, with and without a directory that the nodes share.
fn real_guests_on_slurm() {
    let slurm = Slurm::start(&[("n1", "900m"), ("n2", "900m")]);
    let here = Run::of_slurm(&slurm, "here");
    let there = Run::of_slurm(&slurm, "there");
    the_same(&here, &there, &["--on", "slurm"]);
    let apart = Run::of_slurm(&slurm, "apart");
    let on = ["--on", "slurm", "--spool", "none", "--jobs", "1"];
    the_same(&here, &apart, &on);
    for node in &slurm.nodes {
        assert_eq!(node.left(), [""; 0], "{}", node.name);
    }
}

/// Has a job carried out on this host, unless it was, and on others: the reports are
/// the same to the byte but for times and hosts.
fn the_same(here: &Run, there: &Run, on: &[&str]) {
    let job = "tests/jobs/local.yaml";
    for (run, more) in [(here, &[][..]), (there, on)] {
        if run.out.join("report.json").exists() {
            continue;
        }
        let mut command = run.kvet(&["run", job, "--trials", "4"]);
        command.args(more).arg("--out").arg(&run.out);
        let status = run.start(command).wait().unwrap();
        assert_eq!(status.code(), Some(125), "{}", run.log());
    }
    assert_eq!(hosts_of(there).len(), 2, "{}", there.log());
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
    let text = |report: &Value| serde_json::to_string_pretty(report).unwrap();
    assert_eq!(text(&reports[0]), text(&reports[1]));
}
