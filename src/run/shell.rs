//! The same guest as a trial's, with a shell on its console: for looking
//! around by hand.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use miette::Diagnostic;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};

use super::{CLUSTER_ADDRESS, start_cluster};
use crate::cluster::Cluster;
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::guest::link::Link;
use crate::guest::protocol::{GuestMessage, StepResult};
use crate::job::Plan;
use crate::process::{Namespace, ProcessError};
use crate::rootfs::{self, Recipe};
use crate::store::{Scratch, Store};
use crate::vm::{self, Boot, Machine};
use crate::workload::GuestStep;

/// The guest did not get as far as a shell, or was lost.
#[derive(Debug, Error, Diagnostic)]
pub enum ShellError {
    /// A job with several arms, and none chosen.
    #[error("which arm? The job has {0}")]
    #[diagnostic(help("choose one with --arm"))]
    Which(String),
    /// The guest ended before the shell was there.
    #[error("the guest ended before its shell was there")]
    #[diagnostic(help("`kvet run` records and explains such an end"))]
    Ended,
    /// A step towards the shell failed.
    #[error("{0}")]
    Step(String),
}

impl Fault for ShellError {
    fn exit(&self) -> Exit {
        match self {
            Self::Which(_) => Exit::Usage,
            Self::Ended | Self::Step(_) => Exit::Undecided,
        }
    }
}

/// Boots the plan's only arm with the file system mounted on `/mnt/a` and a
/// shell on the console, which becomes the user's terminal until the shell ends.
pub async fn shell(context: &Context, store: &Store, plan: &Plan) -> Result<(), Error> {
    let [arm] = plan.arms.as_slice() else {
        let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        return Err(ShellError::Which(names.join(", ")).into());
    };
    let (image, _) = super::kernel(context, store, arm).await?;
    let recipe = Recipe::find("shell", Path::new("."))?.and(&plan.rootfs);
    let rootfs = rootfs::build(context, store, &recipe).await?;
    let namespace = crate::cluster::private_network(CLUSTER_ADDRESS).await?;
    let scratch = Scratch::new()?;
    let work = async {
        let cluster =
            start_cluster(context, store, plan, &namespace, &scratch.join("cluster")).await?;
        let accelerator = vm::choose(
            context,
            store,
            plan.acceleration,
            &image.bzimage,
            &namespace,
        )
        .await?;
        let boot = Boot {
            hardware: &plan.hardware,
            accelerator,
            kernel: &image.bzimage,
            initramfs: Some(&rootfs.path),
            command_line: "console=ttyS0 loglevel=6 panic=-1",
            directory: scratch.path().to_owned(),
        };
        let result = converse(boot, &namespace, &cluster).await;
        cluster.stop().await;
        result
    };
    let result = tokio::select! {
        result = work => result,
        () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
    };
    namespace.close().await;
    result
}

/// The steps that lead to a shell with a terminal of its own.
fn steps() -> [GuestStep; 2] {
    let script = "exec setsid --ctty --wait bash -i </dev/ttyS0 >/dev/ttyS0 2>&1";
    [
        GuestStep::Mount {
            name: "a".to_owned(),
            options: Vec::new(),
            local: false,
        },
        GuestStep::Exec {
            program: "bash".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
        },
    ]
}

async fn converse(boot: Boot<'_>, namespace: &Namespace, cluster: &Cluster) -> Result<(), Error> {
    let (mut machine, mut channels) = Machine::start(boot, namespace).await?;
    let mut link = Link::open(channels.agent);
    let mut steps = (0..).zip(steps());
    let mut in_shell = false;
    let terminal = Terminal::raw();
    let keyboard = keyboard();
    let mut bytes = vec![0; 4096];
    loop {
        let typed = async {
            match &keyboard {
                Some(keyboard) => keyboard
                    .async_io(Interest::READABLE, |fd| {
                        // The terminal is shared and stays in blocking mode, so
                        // ask before reading.
                        let mut polled = [PollFd::new(fd, PollFlags::IN)];
                        if poll(&mut polled, Some(&Timespec::default()))? == 0 {
                            return Err(std::io::ErrorKind::WouldBlock.into());
                        }
                        let mut typed = [0; 256];
                        let count = rustix::io::read(fd.as_fd(), &mut typed)?;
                        Ok(typed[..count].to_vec())
                    })
                    .await
                    .unwrap_or_default(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = channels.console.read(&mut bytes) => {
                let count = read.unwrap_or(0);
                if count == 0 {
                    break;
                }
                let mut out = std::io::stdout().lock();
                // A terminal that is gone ends the guest by its keyboard's end.
                drop(out.write_all(&bytes[..count]).and_then(|()| out.flush()));
            }
            typed = typed => {
                if typed.is_empty() {
                    break;
                }
                machine.type_in(&typed).await?;
            }
            message = link.next() => match message? {
                GuestMessage::Ready(_) => link.hello(&super::trial::welcome(cluster, "shell", 0)).await?,
                GuestMessage::Greeted
                | GuestMessage::Finished { result: StepResult::Done(_), .. } => {
                    let Some((number, step)) = steps.next() else {
                        break;
                    };
                    in_shell = matches!(step, GuestStep::Exec { .. });
                    link.start(number, &step).await?;
                }
                GuestMessage::Finished { result: StepResult::Failed(failure), .. } => {
                    if in_shell {
                        // The shell's own exit status is the user's affair.
                        break;
                    }
                    return Err(ShellError::Step(failure.message).into());
                }
                _ => {}
            },
            () = machine.ended() => return Err(ShellError::Ended.into()),
        }
    }
    drop(terminal);
    // The guest may have hung: ask, don't insist.
    if link.power_off().await.is_ok() {
        drop(tokio::time::timeout(Duration::from_secs(2), machine.ended()).await);
    }
    machine.kill().await;
    Ok(())
}

/// Standard input, if it can be waited for; a file cannot.
#[expect(unsafe_code, reason = "the safe constructor is deprecated as unsound")]
fn keyboard() -> Option<AsyncFd<StandardInput>> {
    // SAFETY: `StandardInput` always names descriptor 0, which kvet never closes.
    unsafe { AsyncFd::register_with_interest(StandardInput, Interest::READABLE) }.ok()
}

/// Standard input, without taking its descriptor away from anybody.
#[derive(Debug)]
struct StandardInput;

impl AsFd for StandardInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdin()
    }
}

impl std::os::fd::AsRawFd for StandardInput {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&rustix::stdio::stdin())
    }
}

/// The user's terminal in raw mode; back to what it was when dropped.
struct Terminal(Option<Termios>);

impl Terminal {
    fn raw() -> Self {
        let Ok(before) = tcgetattr(rustix::stdio::stdin()) else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        let set = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // Nothing can be done for a terminal that is gone.
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}
