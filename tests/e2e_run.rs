//! Whole runs on real kernels and a real cluster: the verdicts a user can get,
//! and that nothing is left behind, however a run ends.
#![cfg(feature = "e2e")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and shows what the run said"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A run in a temporary directory of its own, marked so that every process it
/// starts can be recognised.
struct Sandbox {
    directory: TempDir,
    mark: String,
}

impl Sandbox {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tmp")).unwrap();
        let mark = format!("KVET_TEST_MARK={}", directory.path().display());
        Self { directory, mark }
    }

    fn kvet(&self, arguments: &[&str]) -> Command {
        let (key, value) = self.mark.split_once('=').unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvet"));
        command
            .args(arguments)
            .env(key, value)
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("XDG_STATE_HOME", self.directory.path().join("state"))
            .env("NO_COLOR", "1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.kvet(arguments).output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn out(&self) -> String {
        self.directory.path().join("run").display().to_string()
    }

    /// The processes that carry the mark.
    fn processes(&self) -> Vec<String> {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                environment
                    .split(|&byte| byte == 0)
                    .any(|variable| variable == self.mark.as_bytes())
            })
            .map(|entry| fs::read_to_string(entry.path().join("comm")).unwrap_or_default())
            .collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        let left: Vec<_> = fs::read_dir(self.directory.path().join("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a job and judges its record again: both must say the same.
fn verdict(job: &str, exit: i32, says: &str) {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", job, "--out", &sandbox.out()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.starts_with(says), "{said}");
    sandbox.assert_nothing_left();
    let again = sandbox.run(&["judge", &sandbox.out()]);
    assert_eq!(again.status.code(), Some(exit));
    assert_eq!(text(&again.stdout), said);
}

/// Runs a job without a control, which decides nothing: what it says of its arm.
fn undecided(job: &str, says: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", job, "--out", &sandbox.out()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains(says), "{said}");
    sandbox.assert_nothing_left();
    (sandbox, said)
}

#[test]
fn a_fix_that_fixes_nothing_is_not_fixed() {
    verdict("tests/jobs/not-fixed.yaml", 1, "verdict: not fixed");
}

#[test]
fn a_control_that_stays_clean_proves_nothing() {
    verdict("tests/jobs/inconclusive.yaml", 125, "verdict: inconclusive");
}

#[test]
fn a_kernel_that_panics_at_boot_is_recognised_at_once() {
    undecided("tests/jobs/no-init.yaml", "1/1 other (kernel panic");
}

#[test]
fn a_workload_runs_programs_of_the_host_in_the_guest() {
    undecided("tests/jobs/exec.yaml", "1/1 clean");
}

#[test]
fn a_kernel_without_a_console_is_unarmed_not_clean() {
    let says = "1/1 unarmed (not armed: the console";
    undecided("tests/jobs/no-console.yaml", says);
}

#[test]
fn a_console_that_a_workload_silences_is_unarmed_not_clean() {
    let says = "1/1 unarmed (not armed: the console (not heard from step";
    undecided("tests/jobs/silenced.yaml", says);
}

#[test]
fn a_job_without_a_cluster_runs_on_tmpfs() {
    let (sandbox, _) = undecided("tests/jobs/local.yaml", "1/1 clean");
    assert!(!Path::new(&sandbox.out()).join("cluster").exists());
}

/// What trials came to, by arm: outcomes and reasons, without what differs from
/// run to run.
fn outcomes(sandbox: &Sandbox, out: &str) -> Vec<String> {
    let output = sandbox.run(&["report", out, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let arms = report["arms"].as_array().unwrap();
    let trials = arms.iter().flat_map(|arm| {
        let trials = arm["trials"].as_array().unwrap();
        trials.iter().map(move |trial| {
            let word = |key: &str| trial[key].to_string();
            format!("{} {} {}", arm["name"], word("outcome"), word("reason"))
        })
    });
    trials.collect()
}

#[test]
fn trials_in_processes_of_their_own_come_to_the_same() {
    let sandbox = Sandbox::new();
    let job = "tests/jobs/not-fixed.yaml";
    let mut came_to = Vec::new();
    for executor in ["here", "processes"] {
        let out = sandbox.directory.path().join(executor);
        let out = out.display().to_string();
        let output = sandbox.run(&["run", job, "--out", &out, "--executor", executor]);
        assert_eq!(output.status.code(), Some(1));
        sandbox.assert_nothing_left();
        came_to.push(outcomes(&sandbox, &out));
    }
    assert_eq!(came_to[0], came_to[1]);
    assert_eq!(came_to[0].len(), 2);
}

/// The recorded result of the self-test of the arm `stock`.
fn self_test(sandbox: &Sandbox) -> serde_json::Value {
    let result = Path::new(&sandbox.out()).join("arms/stock/self-test/result.json");
    serde_json::from_str(&fs::read_to_string(result).unwrap()).unwrap()
}

#[test]
fn a_kernel_that_reports_what_is_provoked_is_armed() {
    let (sandbox, _) = undecided("tests/jobs/self-test.yaml", "1/1 clean");
    let result = self_test(&sandbox);
    assert_eq!(result["unseen"], serde_json::json!([]), "{result}");
    assert_eq!(result["boots"], 1, "{result}");
    // With another console the record says otherwise: it is what is judged.
    let console = Path::new(&sandbox.out()).join("arms/stock/self-test/1/console.log");
    let kept = fs::read_to_string(&console).unwrap();
    fs::write(&console, kept.replace("lkdtm_BUG", "other")).unwrap();
    let again = sandbox.run(&["judge", &sandbox.out()]);
    let said = text(&again.stdout);
    assert!(said.contains("not armed: kernel_bug"), "{said}");
}

#[test]
fn a_detector_that_says_nothing_of_what_is_provoked_is_unarmed() {
    let reason = "1/1 unarmed (not armed: hung_task (its self-test was not seen))";
    let (sandbox, said) = undecided("tests/jobs/self-test-unseen.yaml", reason);
    assert_eq!(
        self_test(&sandbox)["unseen"],
        serde_json::json!(["hung_task"])
    );
    let again = sandbox.run(&["judge", &sandbox.out()]);
    assert_eq!(text(&again.stdout), said);
}

#[test]
fn a_cluster_that_stays_sick_is_told_with_what_ails_it() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", "tests/jobs/unhealthy.yaml", "--out", &sandbox.out()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("placement groups are not active+clean"),
        "{said}"
    );
    sandbox.assert_nothing_left();
    // What there is of a record can be judged.
    let again = sandbox.run(&["judge", &sandbox.out()]);
    assert_eq!(again.status.code(), Some(125));
}

#[test]
fn a_host_without_room_for_sockets_or_namespaces_is_told_what_to_do() {
    let sandbox = Sandbox::new();
    let deep = sandbox.directory.path().join("x".repeat(100));
    fs::create_dir(&deep).unwrap();
    let arguments = ["run", "tests/jobs/no-init.yaml", "--out", &sandbox.out()];
    let output = sandbox
        .kvet(&arguments)
        .env("TMPDIR", &deep)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(128), "{said}");
    assert!(said.contains("TMPDIR"), "{said}");
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);

    let limits = "echo 0 > /proc/sys/user/max_user_namespaces; \
                  echo 0 > /proc/sys/user/max_net_namespaces; exec \"$0\" \"$@\"";
    let second = sandbox
        .directory
        .path()
        .join("second")
        .display()
        .to_string();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", limits])
        .args([env!("CARGO_BIN_EXE_kvet"), "run", "tests/jobs/no-init.yaml"])
        .args(["--out", &second])
        .env("XDG_STATE_HOME", sandbox.directory.path().join("state"))
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(128), "{said}");
    assert!(said.contains("max_user_namespaces"), "{said}");
    assert!(!Path::new(&second).exists());
    sandbox.assert_nothing_left();
}

/// Starts a run and waits until its first trial has begun.
fn started(sandbox: &Sandbox) -> Child {
    let mut child = sandbox
        .kvet(&["run", "tests/jobs/not-fixed.yaml", "--jobs", "1"])
        .args(["--out", &sandbox.out()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let console =
        Path::new(&sandbox.out()).join("arms/stock/trials/evict-truncate/1/1/console.log");
    let stderr = BufReader::new(child.stderr.take().unwrap());
    // The cluster is up when it is told; the trial follows at once.
    for line in stderr.lines() {
        if line.unwrap().starts_with("cluster") {
            break;
        }
    }
    while fs::metadata(&console).map_or(0, |data| data.len()) == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "no guest said a word");
        std::thread::yield_now();
    }
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox);
    assert!(!sandbox.processes().is_empty());
    kill_process(pid(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    sandbox.assert_nothing_left();
    // Half a record is one, and says that it is half.
    let again = sandbox.run(&["judge", &sandbox.out()]);
    assert_eq!(again.status.code(), Some(125));
    assert!(text(&again.stdout).contains("no trial ran"));
}

#[test]
fn a_second_interrupt_does_not_wait_and_leaves_nothing_either() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox);
    kill_process(pid(&child), Signal::INT).unwrap();
    kill_process(pid(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // An orderly end would have judged what there was.
    assert!(!Path::new(&sandbox.out()).join("report.json").exists());
    // The kernel ends the namespace; that takes a moment.
    while !sandbox.processes().is_empty() {
        std::thread::yield_now();
    }
    sandbox.assert_nothing_left();
}

#[test]
fn a_killed_run_leaves_no_process_and_the_next_reclaims_its_files() {
    let sandbox = Sandbox::new();
    let mut child = started(&sandbox);
    kill_process(pid(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    // The kernel ends the namespace; that takes a moment.
    while !sandbox.processes().is_empty() {
        std::thread::yield_now();
    }
    let again = sandbox.directory.path().join("again");
    let again = again.display().to_string();
    let arguments = [
        "run",
        "tests/jobs/not-fixed.yaml",
        "--arm",
        "stock",
        "--out",
    ];
    let output = sandbox.run(&[&arguments[..], &[&again]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    sandbox.assert_nothing_left();
}

/// QEMU opens its channels before it looks at the kernel; its own words must be
/// told, not that a connection was closed.
#[tokio::test(flavor = "current_thread")]
async fn qemu_s_words_about_a_file_that_is_no_kernel_are_told() {
    use kvet::vm::{Accelerator, Boot, Hardware, Machine, Memory, VmError};
    let namespace = kvet::process::Namespace::create([10, 99, 0, 1].into());
    let namespace = namespace.await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kernel = directory.path().join("bzImage");
    fs::write(&kernel, vec![0x55; 100_000]).unwrap();
    let boot = Boot {
        hardware: &Hardware::default(),
        accelerator: Accelerator::Tcg,
        kernel: &kernel,
        initramfs: Some(&kernel),
        disks: &[],
        command_line: "",
        memory: Memory::Own,
        directory: directory.path().to_owned(),
        debugging: kvet::vm::Debugging::default(),
    };
    let error = Machine::start(boot, &namespace).await.unwrap_err();
    assert!(
        matches!(&error, VmError::NotStarted { said, .. } if said.contains("linux kernel too old")),
        "{error}"
    );
    namespace.close().await;
}
