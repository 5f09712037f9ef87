//! Steps that run programs of the root file system.
#![expect(
    clippy::disallowed_types,
    reason = "the agent starts what runs in its guest"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::places::own_directory;
use super::report::{self, Progress};
use super::state::Guest;
use crate::guest::control_groups;
use crate::guest::protocol::{FIRST_DISK, FailureKind, SECOND_DISK, StepFailure, StepReport};
use crate::guest::xfstests;
use crate::step::ProgramStep;

/// Does what a step says.
pub(super) fn carry_out(
    guest: &Guest,
    step: &ProgramStep,
    progress: Progress<'_>,
) -> Result<StepReport, StepFailure> {
    // Some want them; those that do say so where a kernel has none.
    drop(control_groups::root());
    match step {
        ProgramStep::Exec { program, args } => {
            let hostname = guest.greeting()?.hostname;
            let mounts = guest.names();
            let args = args.iter().map(|arg| with_paths(arg, &mounts, &hostname));
            run(Command::new(program).args(args))
        }
        ProgramStep::Xfstests {
            tree,
            args,
            exclude,
            settings,
        } => {
            let access = guest.greeting()?.file_system;
            let mut check = Command::new(Path::new(tree).join("check"));
            check.current_dir(tree).env("PATH", PATH);
            if let Some(access) = access.filter(|access| access.source == FIRST_DISK) {
                check.env("FSTYP", access.fstype);
            }
            for (device, setting, directory) in [
                (FIRST_DISK, ["TEST_DEV", "TEST_DIR"], "/mnt/test"),
                (SECOND_DISK, ["SCRATCH_DEV", "SCRATCH_MNT"], "/mnt/scratch"),
            ] {
                if Path::new(device).exists() {
                    std::fs::create_dir_all(directory).map_err(|error| {
                        StepFailure::syscall(format!("make {directory}"), error)
                    })?;
                    check.env(setting[0], device).env(setting[1], directory);
                }
            }
            if let Some(exclude) = exclude {
                check.arg("-E").arg(exclude);
            }
            run_check(check.args(args).envs(settings), progress)
        }
    }
}

/// Where a shell's programs are.
const PATH: &str = "/bin:/sbin:/usr/bin:/usr/sbin";

/// The longest line of `check` that is looked at as a whole, in bytes: a list of
/// all tests.
const LINE: u64 = 1 << 20;

/// Runs `check` and tells how far it is; which tests failed, if it came to its
/// end. Its exit status says no more than that. One that was killed may have listed
/// the tests of one section, and not have come to the next.
fn run_check(check: &mut Command, progress: Progress<'_>) -> Result<StepReport, StepFailure> {
    let name = check.get_program().to_string_lossy().into_owned();
    let failed = |error| StepFailure::syscall(format!("run {name}"), error);
    let (output, input) = std::io::pipe().map_err(failed)?;
    let errors = input.try_clone().map_err(failed)?;
    let mut child = check
        .stdin(Stdio::null())
        .stdout(input)
        .stderr(errors)
        .spawn()
        .map_err(failed)?;
    // The command holds the pipe's other end until then, and it would not end.
    check.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = xfstests::Reader::default();
    let mut tail = report::Tail::default();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    let mut begun = 0;
    loop {
        line.clear();
        let count = (&mut lines)
            .take(LINE)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if count == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        tail.push(&text);
        let before = reader.current().map(str::to_owned);
        reader.line(text.trim_end());
        if reader
            .current()
            .is_some_and(|current| before.as_deref() != Some(current))
        {
            begun += 1;
            let failing = reader.troubled() as u64;
            progress(BTreeMap::from([
                ("tests begun".to_owned(), begun),
                ("tests failed".to_owned(), failing),
            ]));
        }
    }
    let status = child.wait().map_err(failed)?;
    let said = tail.text();
    let Some(results) = reader.results().filter(|_| status.code().is_some()) else {
        return Err(StepFailure::other(
            FailureKind::Program,
            format!("{name} did not come to its end: {status}\n{said}"),
        ));
    };
    Ok(StepReport {
        counters: BTreeMap::from([
            ("tests_run".to_owned(), results.ran),
            ("tests_not_run".to_owned(), results.not_run),
            ("tests_failed".to_owned(), results.failed.len() as u64),
        ]),
        failed_tests: results.failed,
        ..report::of_text(said)
    })
}

/// An argument with `{a}` made the path of the trial's directory on mount `a`. What
/// else is in braces is the program's.
fn with_paths(arg: &str, mounts: &BTreeSet<String>, hostname: &str) -> String {
    let mut text = String::new();
    let mut rest = arg;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let named = after.split_once('}');
        if let Some((mount, behind)) = named.filter(|(mount, _)| mounts.contains(*mount)) {
            text.push_str(&own_directory(mount, hostname).to_string_lossy());
            rest = behind;
        } else {
            text.push('{');
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// Runs a program to its end: what it printed, or how it failed. What it leaves
/// running is not waited for.
pub(super) fn run(command: &mut Command) -> Result<StepReport, StepFailure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error| StepFailure::syscall(format!("run {name}"), error);
    let (output, input) = std::io::pipe().map_err(failed)?;
    let errors = input.try_clone().map_err(failed)?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(input)
        .stderr(errors)
        .spawn();
    // The command holds the pipe's other end until then, and it would not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(failed)?;
    let heard = Heard::of(output).map_err(failed);
    let status = child.wait().map_err(failed)?;
    let said = heard?.text();
    if status.success() {
        return Ok(report::of_text(said));
    }
    let said = report::bounded(said);
    Err(StepFailure::other(
        FailureKind::Program,
        format!("{name}: {status}\n{said}"),
    ))
}

/// What a program prints: its beginning, as much as is told. The rest is read and
/// forgotten, for as long as anybody writes.
struct Heard {
    beginning: Arc<Mutex<Vec<u8>>>,
    /// Hangs up at the end.
    end: Receiver<()>,
}

impl Heard {
    /// How long after a program's end its last words may take: none, but what it
    /// left running may hold the pipe for ever.
    const LAST_WORDS: Duration = Duration::from_millis(500);

    fn of(mut output: PipeReader) -> std::io::Result<Self> {
        let beginning = Arc::new(Mutex::new(Vec::new()));
        let (ending, end) = channel();
        let kept = Arc::clone(&beginning);
        thread::Builder::new()
            .name("kvet-output".to_owned())
            .spawn(move || {
                let _hangs_up = ending;
                let mut block = vec![0; 16 << 10];
                // A pipe is read to its end, or something is wrong with the guest.
                while let Ok(count @ 1..) = output.read(&mut block) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = report::LIMIT - kept.len();
                    kept.extend_from_slice(&block[..count.min(room)]);
                }
            })?;
        Ok(Self { beginning, end })
    }

    /// What there is of it, once the program has ended.
    fn text(self) -> String {
        // Nothing is ever sent.
        let _at_its_end = self.end.recv_timeout(Self::LAST_WORDS);
        let said = self.beginning.lock();
        let said = said.unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<StepReport, StepFailure> {
        run(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn of_what_a_program_prints_the_beginning_is_kept() {
        let report = shell("echo one; echo two >&2; yes | head -c 3000000").unwrap();
        let said = report.output.unwrap();
        assert!(said.starts_with("one\ntwo\ny\n"));
        assert_eq!(said.len(), report::LIMIT);
        let failure = shell("echo why; exit 3").unwrap_err();
        assert_eq!(failure.message, "sh: exit status: 3\nwhy\n");
    }

    #[test]
    fn a_check_that_is_killed_between_two_sections_has_no_results() {
        let check = |end: &str| {
            let script = format!("echo 'Ran: generic/001'; echo 'Passed all 1 tests'; {end}");
            run_check(Command::new("sh").args(["-c", &script]), &|_| {})
        };
        assert_eq!(check("exit 1").unwrap().counters["tests_run"], 1);
        let failure = check("kill -9 $$").unwrap_err();
        assert!(
            failure
                .message
                .contains("did not come to its end: signal: 9"),
            "{failure:?}"
        );
    }

    #[test]
    fn what_a_program_leaves_running_is_not_waited_for() {
        let report = shell("sleep 600 & echo $!").unwrap();
        let said = report.output.unwrap();
        // It is there still.
        shell(&format!("kill -9 {said}")).unwrap();
    }

    #[test]
    fn mounts_in_an_argument_become_paths() {
        let mounts = ["a", "b"].map(str::to_owned).into();
        let place = |arg| with_paths(arg, &mounts, "t1");
        assert_eq!(place("--file={a}/x"), "--file=/mnt/a/t1/x");
        assert_eq!(place("{a}:{b}"), "/mnt/a/t1:/mnt/b/t1");
        assert_eq!(place("no {a"), "no {a");
        assert_eq!(place("{{a}}"), "{/mnt/a/t1}");
        for kept in ["awk '{print $1}'", "${HOME} {1..3} {c}", "f() { a; }", "{"] {
            assert_eq!(place(kept), kept);
        }
    }
}
