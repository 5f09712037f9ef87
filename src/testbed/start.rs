//! How a guest comes to be. Booting is one way; a guest that was saved, or one
//! whose recording is played again, would be others.

use std::path::{Path, PathBuf};

use super::Testbed;
use super::guest::{Guest, Manner, Tap};
use crate::detect::ExtraRule;
use crate::error::Error;
use crate::guest::protocol::Welcome;
use crate::record::{Entry, Journal};
use crate::store::Scratch;
use crate::vm::{Accelerator, Boot, Hardware, Machine};

/// The kernel's command line. Boot chatter below `notice` would cost time under
/// emulation; the agent turns everything on before it says it is ready. An oops
/// is a panic and a panic ends the machine: both are told apart at once.
pub const COMMAND_LINE: &str = "console=ttyS0 loglevel=6 panic=-1 oops=panic";

/// What an emulated machine needs besides: its timer is checked at boot by
/// counting interrupts against loops of the processor, which a busy host makes
/// come too late.
const EMULATED: &str = "no_timer_check";

/// How a guest is to come to be.
#[derive(Debug)]
pub enum Start<'a> {
    /// From QEMU's reset on.
    Boot {
        /// The bzImage.
        kernel: &'a Path,
        /// CPUs and memory.
        hardware: &'a Hardware,
        /// Words after [`COMMAND_LINE`].
        words: &'a str,
        /// Images of its disks, in order.
        disks: &'a [PathBuf],
    },
}

impl Testbed {
    /// Starts a guest: its machine runs when this returns, and the rest is told
    /// by [`Guest::next`]. What it is welcomed with may be made while it boots.
    /// `patterns` are findings besides those that kvet
    /// knows; `tap` sees the console as it comes.
    pub async fn start(
        &self,
        start: Start<'_>,
        welcome: impl Future<Output = Result<Welcome, Error>>,
        mut journal: Journal,
        patterns: &[ExtraRule],
        tap: Option<Tap>,
    ) -> Result<Guest<'_>, Error> {
        let scratch = Scratch::new()?;
        let Start::Boot {
            kernel,
            hardware,
            words,
            disks,
        } = start;
        let command_line = command_line(self.accelerator, words);
        let boot = Boot {
            hardware,
            accelerator: self.accelerator,
            kernel,
            initramfs: Some(&self.image),
            disks,
            command_line: &command_line,
            directory: scratch.path().to_owned(),
        };
        let machine = async { Ok(Machine::start(boot, &self.network).await?) };
        let ((machine, channels), welcome) = tokio::try_join!(machine, welcome)?;
        journal.command(&machine.command)?;
        journal.entry(Entry::Machine {
            process: machine.pid().unwrap_or_default(),
        })?;
        let manner = Manner {
            welcome,
            journal,
            patterns: patterns.to_vec(),
            slowdown: self.accelerator.slowdown(),
            lost: Box::pin(self.lost()),
            tap,
            scratch: Some(scratch),
        };
        Ok(Guest::new(machine, channels, manner))
    }
}

/// The whole command line. The job's words come last: they win.
fn command_line(accelerator: Accelerator, words: &str) -> String {
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
