//! The same guest as a trial's, with a shell on its console: for looking
//! around by hand.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use miette::Diagnostic;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::guest::protocol::StepResult;
use crate::job::{Arm, Plan};
use crate::kernel;
use crate::process::ProcessError;
use crate::record::Journal;
use crate::rootfs::{self, Recipe};
use crate::step::{GuestStep, MountStep, ProgramStep};
use crate::store::{Scratch, Store};
use crate::symbols::Symbols;
use crate::testbed::{Guest, Happening, Setup, Start, Tap, Testbed};
use crate::vm::Debugging;

/// A guest that nobody hurries.
const UNLIMITED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a terminal may take to show what the guest said last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// So many pieces of the console, of 64 KiB at most, wait for a terminal that takes
/// nothing.
const BACKLOG: usize = 256;

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
/// With `gdb`, QEMU listens for it, on a socket that is the user's alone.
pub async fn shell(context: &Context, store: &Store, plan: &Plan, gdb: bool) -> Result<(), Error> {
    let [arm] = plan.arms.as_slice() else {
        let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        return Err(ShellError::Which(names.join(", ")).into());
    };
    let (image, _) = kernel::make(context, store, &arm.recipe).await?;
    let recipe = Recipe::find("shell", Path::new("."))?.and(&plan.rootfs);
    let rootfs = rootfs::build(context, store, &recipe).await?;
    let scratch = Scratch::new()?;
    let setup = Setup {
        service: &plan.service,
        logs: &scratch.join("cluster"),
        image: rootfs.path.clone(),
        acceleration: plan.acceleration,
        kernel: &image.bzimage,
    };
    let testbed = tokio::select! {
        opened = Testbed::open(context, store, setup) => opened?,
        () = context.cancel.cancelled() => return Err(ProcessError::Interrupted.into()),
    };
    let socket = gdb.then(|| scratch.join("gdb"));
    if let Some(socket) = &socket {
        context.emit(Event::Note(debugger(&image.vmlinux, socket)));
    }
    let debugging = Debugging {
        keeps_memory: false,
        gdb: socket.as_deref(),
    };
    let work = async {
        let disks = testbed.service().disks("shell")?;
        let start = start(plan, arm, &image.bzimage, &disks, debugging);
        let welcome = testbed.welcome(context, "shell", 0);
        let journal = Journal::nowhere();
        let (tap, shown) = to_the_terminal();
        let guest = testbed.start(start, welcome, journal, &[], Some(tap));
        converse(guest.await?).await?;
        drop(tokio::time::timeout(LAST_WORDS, shown).await);
        Ok(())
    };
    let result = tokio::select! {
        result = work => result,
        () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
    };
    testbed.close().await;
    result
}

/// How the arm's guest comes to be: as in a trial, but for the restoring.
fn start<'a>(
    plan: &'a Plan,
    arm: &'a Arm,
    kernel: &'a Path,
    disks: &'a [PathBuf],
    debugging: Debugging<'a>,
) -> Start<'a> {
    Start::Boot {
        kernel,
        hardware: &plan.hardware,
        words: &arm.command_line,
        disks,
        debugging,
    }
}

/// How to debug the guest, in a command to copy.
fn debugger(vmlinux: &Path, socket: &Path) -> String {
    let mut text = format!(
        "in another terminal: gdb {} -ex 'target remote {}'",
        quoted(vmlinux),
        socket.display()
    );
    if !Symbols::open(vmlinux, None).is_ok_and(|symbols| symbols.has_lines()) {
        text.push_str(
            "\n(this kernel has names but no lines and types: the fragment `debug-info` in the \
             job's `config:` brings them)",
        );
    }
    text
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+:@".contains(c);
    if text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Shows the console as it is: it is the user's own guest. A terminal may take
/// nothing for as long as it likes (Ctrl-S, a pipe that nobody reads), so it is
/// written to by a thread of its own. The future's end is when all was shown.
fn to_the_terminal() -> (Tap, oneshot::Receiver<()>) {
    let (bytes, to_show) = mpsc::sync_channel::<Vec<u8>>(BACKLOG);
    let (done, shown) = oneshot::channel();
    std::thread::spawn(move || {
        for bytes in to_show {
            let mut out = std::io::stdout().lock();
            // A terminal that is gone ends the guest by its keyboard's end.
            drop(out.write_all(&bytes).and_then(|()| out.flush()));
        }
        let _ = done.send(());
    });
    let tap = Box::new(move |read: &[u8]| {
        // What nobody looks at is not kept for ever.
        drop(bytes.try_send(read.to_vec()));
    });
    (tap, shown)
}

/// The steps that lead to a shell with a terminal of its own.
fn steps() -> [GuestStep; 2] {
    let script = "exec setsid --ctty --wait bash -i </dev/ttyS0 >/dev/ttyS0 2>&1";
    [
        GuestStep::Mount(MountStep::Mount {
            name: "a".to_owned(),
            options: Vec::new(),
            disk_options: Vec::new(),
            local: false,
        }),
        GuestStep::Program(ProgramStep::Exec {
            program: "bash".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
        }),
    ]
}

async fn converse(mut guest: Guest<'_>) -> Result<(), Error> {
    let mut steps = (0..).zip(steps());
    let mut in_shell = false;
    let terminal = Terminal::raw();
    let keyboard = keyboard();
    let deadline = guest.within(UNLIMITED);
    loop {
        match guest.next(deadline, typed(keyboard.as_ref())).await? {
            Happening::Aside(typed) => {
                if typed.is_empty() {
                    break;
                }
                guest.type_in(&typed).await?;
            }
            Happening::Greeted
            | Happening::Finished {
                result: StepResult::Done(_),
                ..
            } => {
                let Some((number, step)) = steps.next() else {
                    break;
                };
                in_shell = matches!(step, GuestStep::Program(_));
                guest.start(number, &step).await;
            }
            // The shell's own exit status is the user's affair.
            Happening::Finished { .. } | Happening::Ended(_) if in_shell => break,
            Happening::Finished {
                result: StepResult::Failed(failure),
                ..
            } => return Err(ShellError::Step(failure.message).into()),
            Happening::Ended(_) => return Err(ShellError::Ended.into()),
            Happening::Broken(error) => return Err(error.into()),
            Happening::ServiceLost(what) => return Err(ShellError::Step(what).into()),
            Happening::Ready(_)
            | Happening::Finding(_)
            | Happening::Blocked(_)
            | Happening::Deadline
            | Happening::Held => {}
        }
    }
    drop(terminal);
    // The guest may have hung: ask, don't insist.
    guest.power_off().await?;
    guest.kill().await;
    Ok(())
}

/// What is typed; nothing more once the keyboard has ended.
async fn typed(keyboard: Option<&AsyncFd<StandardInput>>) -> Vec<u8> {
    let Some(keyboard) = keyboard else {
        return std::future::pending().await;
    };
    let read = keyboard.async_io(Interest::READABLE, |fd| {
        // The terminal is shared and stays in blocking mode, so ask before
        // reading.
        let mut polled = [PollFd::new(fd, PollFlags::IN)];
        if poll(&mut polled, Some(&Timespec::default()))? == 0 {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let mut typed = [0; 256];
        let count = rustix::io::read(fd.as_fd(), &mut typed)?;
        Ok(typed[..count].to_vec())
    });
    read.await.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Choice;

    const JOB: &str = "\
name: j
kernel:
  source: { dir: /linux }
  config: [base]
  command_line: slub_debug=FZ kvet.word=here
machine: { cpus: 3, memory: 1536 }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 1
arms:
  stock: { control: true }
";

    #[test]
    fn the_guest_is_the_one_of_the_arm_s_trials() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("kconfigs")).unwrap();
        std::fs::write(home.path().join("kconfigs/base.config"), "").unwrap();
        std::fs::write(home.path().join("job.yaml"), JOB).unwrap();
        let plan = Plan::load(&home.path().join("job.yaml"), &Choice::default()).unwrap();
        let disks = [PathBuf::from("/disk")];
        let debugging = Debugging {
            keeps_memory: false,
            gdb: Some(Path::new("/gdb")),
        };
        let start = start(
            &plan,
            &plan.arms[0],
            Path::new("/bzImage"),
            &disks,
            debugging,
        );
        let Start::Boot {
            kernel,
            hardware,
            words,
            disks,
            debugging,
        } = start
        else {
            panic!("nobody saves a guest with a shell");
        };
        assert_eq!(words, "slub_debug=FZ kvet.word=here");
        assert_eq!((hardware.cpus, hardware.memory), (3, 1536));
        assert_eq!(kernel, Path::new("/bzImage"));
        assert_eq!(disks, [PathBuf::from("/disk")]);
        assert_eq!(debugging.gdb, Some(Path::new("/gdb")));
    }
}
