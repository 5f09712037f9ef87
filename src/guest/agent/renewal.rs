//! Makes a guest that was saved and restored another one than its likes: its
//! clock, its random numbers, the address of its interface. Its boot id is made
//! when it is first read, from the random numbers; nothing here reads it, so that
//! it is made after this. The host name comes with the greeting.

use std::fs::File;
use std::io;

use rustix::time::{ClockId, Timespec, clock_settime};

use super::network;
use crate::guest::calls;
use crate::guest::protocol::Renewal;

/// Does what it says; what failed, in words.
pub(super) fn carry_out(renewal: &Renewal) -> Vec<String> {
    let done = [
        ("set the clock", set_clock(renewal)),
        ("stir the random numbers", stir(renewal)),
        (
            "set the interface's address",
            network::set_hardware_address(renewal.address),
        ),
    ];
    let failed = done
        .into_iter()
        .filter_map(|(what, done)| Some((what, done.err()?)));
    failed
        .map(|(what, error)| format!("cannot {what}: {error}"))
        .collect()
}

fn set_clock(renewal: &Renewal) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(renewal.clock.as_secs()).map_err(io::Error::other)?,
        tv_nsec: i64::from(renewal.clock.subsec_nanos()),
    };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

/// Gives the generator the host's bytes and has it take a new key from them at
/// once: every processor's follows with its next number.
fn stir(renewal: &Renewal) -> io::Result<()> {
    let bytes = hex::decode(renewal.entropy.reveal()).map_err(io::Error::other)?;
    let generator = File::options().write(true).open("/dev/urandom")?;
    calls::add_entropy(&generator, &bytes)
}
