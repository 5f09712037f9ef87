//! Writes the heartbeat to the kernel's log, see `guest::heartbeat`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::guest::heartbeat::{self, Beat};
use crate::guest::protocol::GuestMessage;

/// Ticks that come faster than this would be most of what the console says.
const SHORTEST: Duration = Duration::from_secs(1);

/// The heartbeat of the agent: none until it is started.
#[derive(Debug, Default)]
pub(super) struct Heart {
    period: OnceLock<Duration>,
}

impl Heart {
    /// Starts it, once.
    pub(super) fn start(&self, period: Duration, outbox: &Sender<GuestMessage>) {
        if self.period.set(period.max(SHORTEST)).is_err() {
            return;
        }
        let period = period.max(SHORTEST);
        let messages = outbox.clone();
        let started = std::thread::Builder::new()
            .name("kvet-heartbeat".to_owned())
            .spawn(move || tick(period, &messages));
        if let Err(error) = started {
            note(
                outbox,
                format!("cannot start a thread for the heartbeat: {error}"),
            );
        }
    }

    /// A step ended. Called before the host is told, so that a step the host
    /// knows to be done has its line in the log.
    pub(super) fn step_ended(&self, step: u32, outbox: &Sender<GuestMessage>) {
        if self.period.get().is_some() {
            write(Beat::Step(step), outbox);
        }
    }
}

/// The `SysRq` letters were pulled: what they made the kernel print ends here.
pub(super) fn dump_ended(letters: &str) -> io::Result<()> {
    append(&heartbeat::dump_end(letters))
}

fn tick(period: Duration, outbox: &Sender<GuestMessage>) {
    for tick in 1.. {
        std::thread::sleep(period);
        if write(Beat::Tick(tick), outbox) {
            drop(outbox.send(GuestMessage::Beat { tick }));
        }
    }
}

/// Writes a beat; false if that failed, which the host is then told.
fn write(beat: Beat, outbox: &Sender<GuestMessage>) -> bool {
    let written = append(&beat.record());
    if let Err(error) = &written {
        note(outbox, format!("cannot write to the kernel's log: {error}"));
    }
    written.is_ok()
}

/// The kernel takes ten records in five seconds from one open file and drops
/// the rest without a word (`printk_devkmsg`); so each has a file of its own.
fn append(record: &str) -> io::Result<()> {
    let mut log = File::options().write(true).open("/dev/kmsg")?;
    log.write_all(record.as_bytes())
}

fn note(outbox: &Sender<GuestMessage>, text: String) {
    drop(outbox.send(GuestMessage::Note { text }));
}
