//! How a guest comes to be. Booting is one way, restoring one that was saved is
//! another; one whose recording is played again would be a third.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Testbed;
use super::guest::{Guest, Manner, Tap};
use super::kernel::{Kernel, command_line};
use super::saved::Saved;
use crate::detect::ExtraRule;
use crate::error::Error;
use crate::guest::protocol::Welcome;
use crate::record::{Entry, Journal};
use crate::store::{Scratch, io_error};
use crate::vm::{Boot, Channels, Debugging, Hardware, Machine, Memory, VmError};

/// How a guest is to come to be.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// From QEMU's reset on.
    Boot {
        /// The bzImage.
        kernel: &'a Path,
        /// CPUs and memory.
        hardware: &'a Hardware,
        /// Words after [`COMMAND_LINE`](super::COMMAND_LINE).
        words: &'a str,
        /// Images of its disks, in order.
        disks: &'a [PathBuf],
        /// What it has for those who look into it.
        debugging: Debugging<'a>,
    },
    /// From where another one of the same kernel stood when its agent was up and
    /// knew nothing yet. It boots if there is none, for a reason that is told.
    Restore {
        /// The bzImage.
        kernel: &'a Path,
        /// CPUs and memory.
        hardware: &'a Hardware,
        /// Words after [`COMMAND_LINE`](super::COMMAND_LINE).
        words: &'a str,
        /// What the kernel is called, if something has to be told of it.
        name: &'a str,
        /// Whether one is made that is missing. It costs a boot.
        make: bool,
    },
}

/// A machine that runs, or stands where it was saved.
struct Started {
    machine: Machine,
    channels: Channels,
    /// Its sockets.
    scratch: Scratch,
    /// Where it came from.
    saved: Option<Rc<Saved>>,
}

impl<'a> Start<'a> {
    fn kernel(&self) -> Kernel<'a> {
        let (image, hardware, words, disks, name, debugging) = match *self {
            Self::Boot {
                kernel,
                hardware,
                words,
                disks,
                debugging,
            } => (kernel, hardware, words, disks, "", debugging),
            Self::Restore {
                kernel,
                hardware,
                words,
                name,
                ..
            } => {
                let debugging = Debugging::default();
                (kernel, hardware, words, &[][..], name, debugging)
            }
        };
        Kernel {
            image,
            hardware,
            words,
            disks,
            name,
            debugging,
        }
    }
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
        let memory = u64::from(start.kernel().hardware.memory) << 20;
        let (started, welcome) = tokio::try_join!(self.started(&start, patterns), welcome)?;
        let Started {
            mut machine,
            channels,
            scratch,
            saved,
        } = started;
        journal.command(&machine.command)?;
        journal.entry(Entry::Machine {
            process: machine.pid().unwrap_or_default(),
        })?;
        if let Some(saved) = &saved {
            journal.entry(Entry::Restored {
                guest: saved.key.as_str().to_owned(),
            })?;
            machine.go_on().await?;
        }
        let manner = Manner {
            welcome: Some(welcome),
            journal,
            patterns: patterns.to_vec(),
            slowdown: self.accelerator.slowdown(),
            memory,
            lost: Box::pin(self.lost()),
            tap,
            scratch: Some(scratch),
        };
        let mut guest = Guest::new(machine, channels, manner);
        if let Some(saved) = saved {
            guest.remember(&saved.console, saved.ready.clone())?;
        }
        Ok(guest)
    }

    async fn started(&self, start: &Start<'_>, patterns: &[ExtraRule]) -> Result<Started, Error> {
        let kernel = start.kernel();
        if let Start::Restore { make, .. } = *start
            && let Some(guests) = &self.saved
            && let Some(saved) = guests.get(self, &kernel, patterns, make).await
        {
            match self.restored(&kernel, &saved).await {
                Ok((machine, channels, scratch)) => {
                    return Ok(Started {
                        machine,
                        channels,
                        scratch,
                        saved: Some(saved),
                    });
                }
                Err(error) => guests.give_up(self, &saved, error).await,
            }
        }
        let scratch = Scratch::new()?;
        let booted = self.machine(&kernel, Memory::Own, scratch.path());
        let (machine, channels) = booted.await?;
        Ok(Started {
            machine,
            channels,
            scratch,
            saved: None,
        })
    }

    async fn restored(
        &self,
        kernel: &Kernel<'_>,
        saved: &Saved,
    ) -> Result<(Machine, Channels, Scratch), VmError> {
        let failed = |error: Error| VmError::Snapshot {
            action: "restore",
            said: error.one_line(),
        };
        let scratch = Scratch::new().map_err(|error| failed(error.into()))?;
        let path = saved.state();
        let opened = File::open(&path).map_err(io_error("open", &path));
        let state = opened.map_err(|error| failed(error.into()))?;
        let ram = saved.ram();
        let started = self.machine(kernel, Memory::Of(&ram), scratch.path());
        let (mut machine, channels) = started.await?;
        machine.restore(&state).await?;
        Ok((machine, channels, scratch))
    }

    /// Starts QEMU, with its sockets in `directory`.
    pub(super) async fn machine(
        &self,
        kernel: &Kernel<'_>,
        memory: Memory<'_>,
        directory: &Path,
    ) -> Result<(Machine, Channels), VmError> {
        let command_line = command_line(self.accelerator, kernel.words);
        let boot = Boot {
            hardware: kernel.hardware,
            accelerator: self.accelerator,
            kernel: kernel.image,
            initramfs: Some(&self.image),
            disks: kernel.disks,
            command_line: &command_line,
            memory,
            directory: directory.to_owned(),
            debugging: kernel.debugging,
        };
        Machine::start(boot, &self.network).await
    }
}
