//! Boots a guest until its agent is up and saves it there.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{CONSOLE, CONSOLE_LIMIT, FORMAT, NotSaved, RAM, RECORD, Record, STATE, checksum, said};
use crate::detect::Scanner;
use crate::error::Error;
use crate::guest::link::Link;
use crate::guest::protocol::Ready;
use crate::patience;
use crate::store::{Scratch, io_error, write_json};
use crate::testbed::Testbed;
use crate::testbed::guest::BOOT_DEADLINE;
use crate::testbed::start::Kernel;
use crate::vm::{Channels, Machine, Memory};

/// How long QEMU may take to close its console once it is killed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Makes the files of a saved guest in `directory`.
pub(super) async fn make(
    testbed: &Testbed,
    kernel: &Kernel<'_>,
    directory: &Path,
) -> Result<(), NotSaved> {
    let scratch = Scratch::new()?;
    let ram = directory.join(RAM);
    let memory = Memory::In(&ram);
    let (mut machine, channels) = testbed.machine(kernel, memory, scratch.path()).await?;
    let Channels { mut console, agent } = channels;
    let mut link = Link::open(agent);
    let mut heard = Vec::new();
    let within = patience::of(BOOT_DEADLINE) * testbed.accelerator.slowdown();
    let up = up(&mut machine, &mut console, &mut link, &mut heard);
    let ready = match tokio::time::timeout(within, up).await {
        Ok(ready) => ready?,
        Err(_) => return Err(not_up("it took too long")),
    };
    let path = directory.join(STATE);
    let state = File::create(&path).map_err(io_error("create", &path))?;
    machine.save(&state).await?;
    machine.kill().await;
    // What it said last is in the socket still.
    let mut rest = console.take(CONSOLE_LIMIT);
    drop(tokio::time::timeout(LAST_WORDS, rest.read_to_end(&mut heard)).await);
    if let Some(title) = said(Scanner::with_rules(Vec::new()), &heard) {
        return Err(NotSaved::Said { title });
    }
    let path = directory.join(CONSOLE);
    std::fs::write(&path, &heard).map_err(io_error("write", &path))?;
    let sums = checksum::of(directory);
    let sums = sums.await.map_err(io_error("read", directory))?;
    let record = Record {
        format: FORMAT,
        origin: super::origin(kernel, testbed.accelerator, &ready),
        ready,
        sums,
    };
    Ok(write_json(&directory.join(RECORD), &record)?)
}

fn not_up(how: &str) -> NotSaved {
    let how = how.to_owned();
    NotSaved::NotUp { how }
}

/// Waits for the agent's first word and keeps what the kernel says meanwhile.
async fn up(
    machine: &mut Machine,
    console: &mut tokio::net::unix::OwnedReadHalf,
    link: &mut Link,
    heard: &mut Vec<u8>,
) -> Result<Ready, NotSaved> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        tokio::select! {
            biased;
            read = console.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Err(not_up("its console was closed")),
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
            },
            ready = link.ready() => {
                return ready.map_err(|error| not_up(&Error::from(error).one_line()));
            }
            () = machine.ended() => return Err(not_up("its machine ended")),
        }
        if heard.len() as u64 > CONSOLE_LIMIT / 2 {
            return Err(not_up("it does not stop talking"));
        }
    }
}
