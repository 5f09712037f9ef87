//! A kernel as a testbed boots it: its image, its command line and its machine.

use std::path::{Path, PathBuf};

use crate::vm::{Accelerator, Debugging, Hardware};

/// The kernel's command line. Boot chatter below `notice` would cost time under
/// emulation; the agent turns everything on before it says it is ready. An oops
/// is a panic and a panic ends the machine: both are told apart at once.
pub const COMMAND_LINE: &str = "console=ttyS0 loglevel=6 panic=-1 oops=panic";

/// What an emulated machine needs besides: its timer is checked at boot by
/// counting interrupts against loops of the processor, which a busy host makes
/// come too late.
const EMULATED: &str = "no_timer_check";

/// A kernel, and the machine that it runs on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub(super) image: &'a Path,
    pub(super) hardware: &'a Hardware,
    pub(super) words: &'a str,
    pub(super) disks: &'a [PathBuf],
    pub(super) name: &'a str,
    pub(super) debugging: Debugging<'a>,
}

/// The kernel's whole command line. The job's words come last: they win.
#[must_use]
pub fn command_line(accelerator: Accelerator, words: &str) -> String {
    let emulated = match accelerator {
        Accelerator::Kvm => "",
        Accelerator::Tcg => EMULATED,
    };
    [COMMAND_LINE, emulated, words]
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_machine_s_timer_is_not_checked_and_the_job_s_words_win() {
        let line = command_line(Accelerator::Tcg, " loglevel=3 ");
        assert_eq!(line, format!("{COMMAND_LINE} no_timer_check loglevel=3"));
        assert_eq!(command_line(Accelerator::Kvm, ""), COMMAND_LINE);
    }
}
