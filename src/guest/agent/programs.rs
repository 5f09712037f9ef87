//! Steps that run programs of the root file system.

use std::process::{Command, Stdio};

use super::places::own_directory;
use super::report;
use super::state::Guest;
use crate::guest::protocol::{FailureKind, StepFailure, StepReport};
use crate::step::ProgramStep;

/// Does what a step says.
#[expect(
    clippy::disallowed_methods,
    reason = "the agent starts what runs in its guest"
)]
pub(super) fn carry_out(guest: &Guest, step: &ProgramStep) -> Result<StepReport, StepFailure> {
    match step {
        ProgramStep::Exec { program, args } => {
            let hostname = guest.greeting()?.hostname;
            let args = args.iter().map(|arg| with_paths(arg, &hostname));
            run(Command::new(program).args(args))
        }
    }
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
