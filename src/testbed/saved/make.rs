//! Boots a guest until its agent is up and saves it there.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{CONSOLE, CONSOLE_LIMIT, FORMAT, NotSaved, RAM, RECORD, Record, STATE, checksum};
use crate::detect::Finding;
use crate::error::Error;
use crate::guest::protocol::Ready;
use crate::patience;
use crate::record::Journal;
use crate::store::{Scratch, io_error, write_json};
use crate::testbed::Testbed;
use crate::testbed::guest::{BOOT_DEADLINE, Guest, Happening, Manner, Tap};
use crate::testbed::kernel::Kernel;
use crate::vm::Memory;

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
    let (machine, channels) = testbed.machine(kernel, memory, scratch.path()).await?;
    let heard = Heard::default();
    let manner = Manner {
        welcome: None,
        journal: Journal::nowhere(),
        patterns: Vec::new(),
        slowdown: testbed.accelerator.slowdown(),
        memory: u64::from(kernel.hardware.memory) << 20,
        // It mounts nothing.
        lost: Box::pin(std::future::pending()),
        tap: Some(heard.tap()),
        scratch: Some(scratch),
    };
    let mut guest = Guest::new(machine, channels, manner);
    let ready = up(&mut guest, &heard).await?;
    let path = directory.join(STATE);
    let state = File::create(&path).map_err(io_error("create", &path))?;
    guest.save(&state).await?;
    guest.kill().await;
    hear_out(&mut guest).await?;
    let path = directory.join(CONSOLE);
    std::fs::write(&path, heard.words()).map_err(io_error("write", &path))?;
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

fn said(finding: &Finding) -> NotSaved {
    let title = finding.title.clone();
    NotSaved::Said { title }
}

fn failed(error: &Error) -> NotSaved {
    not_up(&error.one_line())
}

/// What a guest's console said.
#[derive(Clone, Default)]
struct Heard {
    words: Rc<RefCell<Vec<u8>>>,
    /// Told when it is more than a saved guest's console may have said.
    too_much: Rc<Notify>,
}

impl Heard {
    /// Keeps what comes, as long as it is not too much.
    fn tap(&self) -> Tap {
        let heard = self.clone();
        Box::new(move |bytes| {
            let mut words = heard.words.borrow_mut();
            if words.len() as u64 > CONSOLE_LIMIT / 2 {
                heard.too_much.notify_one();
            } else {
                words.extend_from_slice(bytes);
            }
        })
    }

    fn words(&self) -> Vec<u8> {
        self.words.borrow().clone()
    }
}

/// Waits for the agent's first word. A boot that is worth a finding is not saved.
async fn up(guest: &mut Guest<'_>, heard: &Heard) -> Result<Ready, NotSaved> {
    let deadline = guest.within(patience::of(BOOT_DEADLINE));
    let mut found: Option<Box<Finding>> = None;
    loop {
        let happening = guest.next(deadline, heard.too_much.notified()).await;
        return match happening.map_err(|error| failed(&error))? {
            Happening::Ready(ready) => found.map_or(Ok(*ready), |finding| Err(said(&finding))),
            Happening::Broken(error) => Err(failed(&error.into())),
            Happening::Ended(_) | Happening::Held => Err(not_up("its machine ended")),
            Happening::Aside(()) => Err(not_up("it does not stop talking")),
            Happening::Deadline => Err(not_up("it took too long")),
            Happening::Finding(finding) => {
                found.get_or_insert(finding);
                continue;
            }
            // Of a guest with a service, and of one that was greeted.
            Happening::ServiceLost(_)
            | Happening::Greeted
            | Happening::Blocked(_)
            | Happening::Finished { .. } => continue,
        };
    }
}

/// Hears what a guest that was killed has said last: it is in the socket still.
async fn hear_out(guest: &mut Guest<'_>) -> Result<(), NotSaved> {
    let deadline = Instant::now() + LAST_WORDS;
    loop {
        let happening = guest.next(deadline, std::future::pending::<()>()).await;
        match happening.map_err(|error| failed(&error))? {
            Happening::Finding(finding) => return Err(said(&finding)),
            Happening::Ended(_) | Happening::Deadline => break,
            _ => {}
        }
    }
    match guest.last_findings().first() {
        Some(finding) => Err(said(finding)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::protocol::{GuestMessage, VERSION};
    use crate::testbed::scripted::{self, Script, ready};

    async fn nobody() -> (Guest<'static>, Script, Heard) {
        let heard = Heard::default();
        let (guest, script) = scripted::nobody(heard.tap()).await;
        (guest, script, heard)
    }

    #[tokio::test]
    async fn a_guest_that_is_to_be_saved_is_heard_to_its_end_and_never_greeted() {
        let (mut guest, mut script, heard) = nobody().await;
        script.kernel("Linux version 7.3.4\n").await;
        script.say(&GuestMessage::Ready(ready(VERSION))).await;
        let ready = up(&mut guest, &heard).await.unwrap();
        assert_eq!(ready.release, "7.3.4");
        script.kernel("the last word\n").await;
        script.end_talking("host-qmp-quit").await;
        hear_out(&mut guest).await.unwrap();
        let said = "Linux version 7.3.4\nthe last word\n";
        assert_eq!(String::from_utf8(heard.words()).unwrap(), said);
        drop(guest);
        assert_eq!(script.told_until_the_end().await, "");
    }

    #[tokio::test]
    async fn a_boot_that_is_worth_a_finding_is_not_saved() {
        let oops = "[    1.0] Kernel panic - not syncing: dumptest\n";
        for (before, after) in [(oops, ""), ("", oops)] {
            let (mut guest, mut script, heard) = nobody().await;
            script.kernel(before).await;
            script.say(&GuestMessage::Ready(ready(VERSION))).await;
            up(&mut guest, &heard).await.unwrap();
            script.kernel(after).await;
            script.end("host-qmp-quit").await;
            let error = hear_out(&mut guest).await.unwrap_err();
            assert_eq!(error.to_string(), "its boot says: kernel panic: dumptest");
        }
    }

    #[tokio::test]
    async fn a_guest_that_does_not_come_up_is_not_saved_and_the_reason_is_told() {
        let (mut guest, mut script, heard) = nobody().await;
        script
            .kernel("[    1.0] Kernel panic - not syncing: no init\n")
            .await;
        script.end("guest-reset").await;
        let error = up(&mut guest, &heard).await.unwrap_err();
        assert!(
            error.to_string().ends_with(": its machine ended"),
            "{error}"
        );

        let (mut guest, mut script, heard) = nobody().await;
        script.say(&GuestMessage::Ready(ready(VERSION + 1))).await;
        let error = up(&mut guest, &heard).await.unwrap_err();
        assert!(error.to_string().contains("protocol"), "{error}");

        let (mut guest, mut script, heard) = nobody().await;
        let flood = "words of no meaning\n".repeat(200_000);
        let error = tokio::select! {
            ready = up(&mut guest, &heard) => ready.unwrap_err(),
            () = script.kernel(&flood) => panic!("all of it was taken"),
        };
        assert!(
            error.to_string().ends_with("does not stop talking"),
            "{error}"
        );
    }
}
