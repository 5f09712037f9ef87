//! The agent: PID 1 of the guest. It sets the machine up, tells the host it is
//! ready, and carries out the steps it is sent.
//!
//! Each step runs in a thread of its own, so one that the kernel never lets go
//! of does not stop the agent: it still answers, pulls `SysRq` letters, starts
//! further steps, and powers off. What may be killed or run into memory limits
//! (storm writers, LKDTM) runs in helper processes of the same binary.
//!
//! PID 1 must not end: whatever goes wrong is reported and the machine turned
//! off. There is no async runtime in here.

mod counters;
mod encryption;
mod faults;
mod files;
mod handles;
mod heart;
mod kernel;
mod lines;
mod mounts;
mod network;
mod paths;
mod places;
mod programs;
mod renewal;
mod report;
mod series;
mod state;
mod steps;
mod storms;
mod system;

use std::fs::File;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::protocol::{
    FailureKind, GAVE_UP, GuestMessage, HostMessage, LINE_LIMIT, StepFailure, StepReport,
    StepResult,
};
use crate::guest::storm;
use crate::step::GuestStep;
use heart::Heart;
use state::Guest;

/// How long an orphan that has ended may stay, where none was there before.
const ORPHANED: Duration = Duration::from_millis(500);

/// The port, for the last words of an agent that cannot go on.
static PORT: OnceLock<File> = OnceLock::new();

/// Runs PID 1: its first thread looks after orphans, and the agent is the second.
pub(super) fn main() -> ! {
    let agent = std::thread::Builder::new()
        .name("kvet-agent".to_owned())
        .spawn(|| match catch_unwind(serve) {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => give_up(&error.to_string()),
            Err(_) => give_up("the agent panicked"),
        });
    match agent {
        Ok(_) => reap_orphans(),
        Err(error) => give_up(&error.to_string()),
    }
}

/// Tells why the agent cannot go on, and turns the machine off.
fn give_up(text: &str) -> ! {
    // The port may be what failed: then the console is what is left.
    if let Ok(mut console) = File::options().write(true).open("/dev/console") {
        drop(writeln!(console, "{GAVE_UP}{text}"));
    }
    if let Some(port) = PORT.get() {
        let text = text.to_owned();
        drop(write(port, &GuestMessage::Fatal { text }));
    }
    system::power_off()
}

/// Takes note of the ends of processes whose parents have ended: the kernel makes
/// them children of this thread, PID 1's first. Otherwise each would stay, and
/// who asks whether it is there (`kill -0`) would be told that it is. What other
/// threads start is theirs to wait for.
fn reap_orphans() -> ! {
    // Linux's __WNOTHREAD.
    let of_this_thread = WaitOptions::from_bits_retain(0x2000_0000);
    loop {
        if rustix::process::wait(of_this_thread).is_err() {
            // There is none.
            std::thread::sleep(ORPHANED);
        }
    }
}

/// Runs a helper process; its exit status.
pub(super) fn helper() -> i32 {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["write", path, text] => std::fs::write(path, text).map_err(|error| error.to_string()),
        ["list"] => handles::announced_list().map_err(|error| error.to_string()),
        ["writer"] => storm::writer_process(),
        ["truncate", path, length] => storm::truncate_process(path, length),
        _ => Err(format!("unknown helper {words:?}")),
    };
    match result {
        Ok(()) => 0,
        Err(text) => {
            drop(writeln!(std::io::stderr(), "{text}"));
            1
        }
    }
}

enum Never {}

fn serve() -> std::io::Result<Never> {
    let mut lacks = system::mount_all()?;
    if let Err(error) = network::configure() {
        lacks.push(format!("{}: {error}", network::INTERFACE));
    }
    let port = system::open_port()?;
    // Nobody has set it before.
    drop(PORT.set(port.try_clone()?));
    // A quiet boot is a fast one; from here on every word counts. What a hung
    // task's report says of its stack is of the lowest level that is shown.
    if let Err(error) = std::fs::write(system::sysctl_path("kernel.printk"), "7") {
        lacks.push(format!("kernel.printk: {error}"));
    }
    // Whatever is not needed for the first word comes after it: the host takes a
    // while for its answer.
    write(&port, &GuestMessage::Ready(system::ready(lacks)))?;
    let (outbox, messages) = channel();
    let writer = port.try_clone()?;
    std::thread::Builder::new()
        .name("kvet-outbox".to_owned())
        .spawn(move || send_all(&writer, &messages))?;
    let agent = Agent {
        outbox,
        guest: Arc::new(Guest::default()),
        heart: Arc::new(Heart::default()),
    };
    agent.listen(port)
}

/// Writes messages until the port fails. Only this thread waits for the host.
fn send_all(port: &File, messages: &Receiver<GuestMessage>) {
    for message in messages {
        if write(port, &message).is_err() {
            return;
        }
    }
}

fn write(mut port: impl Write, message: &GuestMessage) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    port.write_all(&line)
}

struct Agent {
    outbox: Sender<GuestMessage>,
    guest: Arc<Guest>,
    heart: Arc<Heart>,
}

impl Agent {
    fn send(&self, message: GuestMessage) {
        // Without its outbox the agent is mute, but still obeys.
        drop(self.outbox.send(message));
    }

    fn listen(&self, mut port: File) -> std::io::Result<Never> {
        let mut received = Vec::new();
        let mut block = vec![0; 64 << 10];
        loop {
            let length = match port.read(&mut block) {
                // The port reads as ended while nobody is connected on the
                // host's side, and there is nothing to wait on until then.
                Ok(0) => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            received.extend_from_slice(&block[..length]);
            while let Some(end) = memchr::memchr(b'\n', &received) {
                match serde_json::from_slice(&received[..end]) {
                    Ok(message) => self.obey(message),
                    // Not its content: it may hold the secret.
                    Err(error) => self.send(GuestMessage::Note {
                        text: format!(
                            "a line of {end} bytes from the host is not a message ({:?} at column {})",
                            error.classify(),
                            error.column()
                        ),
                    }),
                }
                received.drain(..=end);
            }
            if received.len() > LINE_LIMIT {
                received.clear();
                self.send(GuestMessage::Note {
                    text: "the host sent an endless line".to_owned(),
                });
            }
        }
    }

    fn obey(&self, message: HostMessage) {
        match message {
            HostMessage::Renew(renewal) => {
                for text in renewal::carry_out(&renewal) {
                    self.send(GuestMessage::Note { text });
                }
            }
            HostMessage::Hello(welcome) => {
                if let Err(error) = rustix::system::sethostname(welcome.hostname.as_bytes()) {
                    self.send(GuestMessage::Note {
                        text: format!("cannot set the host name: {error}"),
                    });
                }
                if let Some(period) = welcome.heartbeat {
                    self.heart.start(period, &self.outbox);
                }
                self.guest.welcome(welcome);
                self.send(GuestMessage::Greeted);
            }
            HostMessage::Start { step, action } => self.start(step, action),
            HostMessage::Sysrq { letters } => {
                // A thread of its own: the console is slow.
                let outbox = self.outbox.clone();
                let pulled = std::thread::Builder::new()
                    .name("kvet-sysrq".to_owned())
                    .spawn(move || {
                        if let Err(error) = kernel::sysrq(&letters) {
                            drop(outbox.send(GuestMessage::Note {
                                text: error.message,
                            }));
                        }
                        if let Err(error) = heart::dump_ended(&letters) {
                            drop(outbox.send(GuestMessage::Note {
                                text: format!("cannot write to the kernel's log: {error}"),
                            }));
                        }
                        drop(outbox.send(GuestMessage::SysrqDone { letters }));
                    });
                if let Err(error) = pulled {
                    self.send(GuestMessage::Note {
                        text: format!("cannot start a thread for SysRq: {error}"),
                    });
                }
            }
            HostMessage::PowerOff => system::power_off(),
        }
    }

    /// Starts a step's thread. Its name is what a hung task report calls it.
    fn start(&self, step: u32, action: GuestStep) {
        let outbox = self.outbox.clone();
        let guest = Arc::clone(&self.guest);
        let heart = Arc::clone(&self.heart);
        let name = format!("kvet-{step}-{}", action.kind());
        let started = std::thread::Builder::new().name(name).spawn(move || {
            drop(outbox.send(GuestMessage::Started { step }));
            let begin = Instant::now();
            let progress = |counters| {
                drop(outbox.send(GuestMessage::Progress { step, counters }));
            };
            let carried_out = catch_unwind(AssertUnwindSafe(|| {
                steps::carry_out(&guest, &action, &progress)
            }));
            let result = match carried_out {
                Ok(Ok(report)) => StepResult::Done(StepReport {
                    micros: u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
                    ..report
                }),
                Ok(Err(failure)) => StepResult::Failed(failure),
                Err(_) => StepResult::Failed(StepFailure::other(
                    FailureKind::Agent,
                    "the agent panicked; the console has its words",
                )),
            };
            heart.step_ended(step, &outbox);
            drop(outbox.send(GuestMessage::Finished { step, result }));
        });
        if let Err(error) = started {
            self.heart.step_ended(step, &self.outbox);
            self.send(GuestMessage::Finished {
                step,
                result: StepResult::Failed(StepFailure::syscall("start a thread", error)),
            });
        }
    }
}
