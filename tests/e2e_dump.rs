//! A guest's memory in the hands of drgn: of a kernel that hangs and of one that
//! panics. Needs kernels with debug information, so the full check alone has it.
#![cfg(feature = "e2e")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the dump tells: the release, what init is called, every function on the
/// stack of the task that writes back, and a line of its source.
const SCRIPT: &str = r#"
import sys, drgn
from drgn.helpers.linux.pid import find_task
from drgn.helpers.linux.sched import task_state_to_char
prog = drgn.Program()
prog.set_core_dump(sys.argv[1])
prog.load_debug_info([sys.argv[2]])
print("release", prog["init_uts_ns"].name.release.string_().decode())
print("init", find_task(prog, 1).comm.string_().decode())
task = find_task(prog, int(sys.argv[3]))
print("state", task_state_to_char(task))
for frame in prog.stack_trace(task):
    try:
        place = "%s:%d" % frame.source()[:2]
    except LookupError:
        place = "?"
    print("frame", frame.name, place)
"#;

#[test]
fn drgn_sees_where_a_guest_hung_and_where_it_panicked() {
    let home = tempfile::tempdir().unwrap();
    let run = home.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["run", "tests/jobs/dump.yaml", "--out"])
        .arg(&run)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    eprintln!("{said}");
    assert!(output.status.success(), "{output:?}");
    for (arm, function) in [
        ("stock", "inode_wait_for_writeback"),
        ("early-panic", "ceph_put_wrbuffer_cap_refs"),
    ] {
        let attempt = run.join(format!("arms/{arm}/trials/evict-truncate/1/1"));
        let dump = attempt.join("vmcore");
        let mode = fs::metadata(&dump).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{arm}");
        let seen = look(&dump, &run.join("arms").join(arm).join("vmlinux"), &attempt);
        assert!(seen.contains("release 7.3"), "{seen}");
        assert!(
            seen.contains(&format!("frame {function} ")),
            "{arm}: {seen}"
        );
        assert!(seen.contains("fs/ceph/addr.c:"), "{arm}: {seen}");
        // The report has the lines, too.
        let report = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(["report", "--format", "mail"])
            .arg(&run)
            .output()
            .unwrap();
        let mail = String::from_utf8(report.stdout).unwrap();
        assert!(mail.contains("(fs/ceph/addr.c:"), "{mail}");
    }
}

/// Reads until a text was there.
fn until(screen: &mut impl Read, text: &str) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(text.as_bytes()) {
        screen.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

/// What drgn makes of a dump.
fn look(dump: &Path, vmlinux: &Path, attempt: &Path) -> String {
    let trial: serde_json::Value =
        serde_json::from_slice(&fs::read(attempt.join("trial.json")).unwrap()).unwrap();
    let deepest = trial["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| {
            let frames = finding["frames"].as_array().unwrap();
            frames
                .iter()
                .any(|frame| frame["function"] == "ceph_writepages_start")
        });
    let task = deepest.unwrap()["pid"].to_string();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/drgn/bin/python");
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(dump)
        .arg(vmlinux)
        .arg(task)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn gdb_looks_into_a_guest_with_a_shell() {
    let mut shell = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["shell", "tests/jobs/dump.yaml", "--arm", "stock", "--gdb"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(shell.stderr.take().unwrap()).lines();
    let told = told.map(Result::unwrap).inspect(|line| eprintln!("{line}"));
    let told = told.filter(|line| line.contains("in another terminal: gdb "));
    let command = told.into_iter().next().unwrap();
    let (_, command) = command.split_once("in another terminal: ").unwrap();
    let mut keyboard = shell.stdin.take().unwrap();
    let mut screen = shell.stdout.take().unwrap();
    // What is typed before there is a shell is lost.
    until(&mut screen, "bash-");
    writeln!(keyboard, "echo re''ady").unwrap();
    until(&mut screen, "ready");
    let socket = command.split('\'').nth(1).unwrap();
    let socket = Path::new(socket.strip_prefix("target remote ").unwrap());
    let mode = fs::metadata(socket.parent().unwrap())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "others can reach the guest");
    let looks =
        format!("{command} -batch -ex 'print init_task.comm' -ex 'info line iput' -ex detach");
    let output = Command::new("sh").args(["-c", &looks]).output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{seen}{}", String::from_utf8_lossy(&output.stderr));
    assert!(seen.contains("swapper/0"), "{seen}");
    assert!(seen.contains("fs/inode.c"), "{seen}");
    writeln!(keyboard, "exit").unwrap();
    assert!(shell.wait().unwrap().success());
    assert!(!socket.exists());
}
