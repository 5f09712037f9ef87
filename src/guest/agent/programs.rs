//! Steps that run programs of the root file system.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::places::own_directory;
use super::report::{self, Progress};
use super::state::Guest;
use crate::guest::control_groups;
use crate::guest::protocol::{FIRST_DISK, FailureKind, SECOND_DISK, StepFailure, StepReport};
use crate::guest::xfstests;
use crate::step::ProgramStep;

/// Does what a step says.
#[expect(
    clippy::disallowed_methods,
    reason = "the agent starts what runs in its guest"
)]
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
            let args = args.iter().map(|arg| with_paths(arg, &hostname));
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
/// end. Its exit status says no more than that.
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
    let Some(results) = reader.results() else {
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

/// An argument with `{a}` made the path of the trial's directory on mount `a`.
fn with_paths(arg: &str, hostname: &str) -> String {
    let mut text = String::new();
    let mut rest = arg;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((mount, after)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        text.push_str(&own_directory(mount, hostname).to_string_lossy());
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Runs a program to its end: what it printed, or how it failed.
pub(super) fn run(command: &mut Command) -> Result<StepReport, StepFailure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let finished = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| StepFailure::syscall(format!("run {name}"), error))?;
    let mut said = String::from_utf8_lossy(&finished.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&finished.stderr));
    if finished.status.success() {
        return Ok(report::of_text(said));
    }
    let said = report::bounded(said);
    Err(StepFailure::other(
        FailureKind::Program,
        format!("{name}: {}\n{said}", finished.status),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_in_an_argument_become_paths() {
        let place = |arg| with_paths(arg, "t1");
        assert_eq!(place("--file={a}/x"), "--file=/mnt/a/t1/x");
        assert_eq!(place("{a}:{b}"), "/mnt/a/t1:/mnt/b/t1");
        assert_eq!(place("no {mount"), "no {mount");
    }
}
