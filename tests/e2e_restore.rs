//! Guests that are restored: what no two may share is each one's own, and
//! whatever is wrong with a saved guest, trials go on without it.
//!
//! Needs `qemu-system-x86_64` and, in `KVET_TEST_KERNEL`, a bzImage with the
//! options of `kconfigs/base.config`. No cluster.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kvet::context::Context;
use kvet::event::{Event, EventSink, Stamped};
use kvet::guest::protocol::StepResult;
use kvet::record::Journal;
use kvet::rootfs::{self, Recipe, Rootfs};
use kvet::step::{CounterStep, GuestStep};
use kvet::store::{Scratch, Store};
use kvet::testbed::{Guest, Happening, Start, Testbed};
use kvet::vm::{Accelerator, Hardware};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedReceiver;

/// A guest that says nothing for so long is stuck: generous, since the host may
/// be busy with anything.
const PATIENCE: Duration = Duration::from_secs(120);

fn kernel() -> PathBuf {
    std::env::var_os("KVET_TEST_KERNEL")
        .map(PathBuf::from)
        .expect("KVET_TEST_KERNEL names a bzImage")
}

/// A store, an image in it, and what is told.
struct Hall {
    scratch: Scratch,
    store: Store,
    rootfs: Rootfs,
    context: Context,
    told: UnboundedReceiver<Stamped>,
}

impl Hall {
    async fn new() -> Self {
        let scratch = Scratch::new().unwrap();
        let store = Store::at(scratch.join("store")).unwrap();
        let recipe = Recipe::find("kvet", Path::new(".")).unwrap();
        let agent = Path::new(env!("CARGO_BIN_EXE_kvet-agent"));
        let (events, told) = EventSink::channel();
        let context = Context {
            events,
            ..Context::default()
        };
        let rootfs = rootfs::build_with(&context, &store, &recipe, agent);
        Self {
            rootfs: rootfs.await.unwrap(),
            scratch,
            store,
            context,
            told,
        }
    }

    /// A testbed that has looked at no saved guest yet.
    async fn testbed(&self) -> Testbed {
        let testbed = Testbed::bare(self.rootfs.path.clone(), Accelerator::Tcg);
        testbed.await.unwrap().saving_in(&self.context, &self.store)
    }

    /// Starts a guest; what it is depends on the testbed's saved ones.
    async fn guest<'a>(&self, testbed: &'a Testbed, words: &str, name: &str) -> Guest<'a> {
        let directory = self.scratch.join(name);
        std::fs::create_dir(&directory).unwrap();
        let hardware = Hardware::default();
        let start = Start::Restore {
            kernel: &kernel(),
            hardware: &hardware,
            words,
            name: "stock",
            make: true,
        };
        let welcome = testbed.welcome(&self.context, name, 1);
        let journal = Journal::create(&directory).unwrap();
        let started = testbed.start(start, welcome, journal, &[], None);
        started.await.unwrap()
    }

    fn journal(&self, name: &str) -> String {
        std::fs::read_to_string(self.scratch.join(name).join("journal.jsonl")).unwrap()
    }

    fn was_restored(&self, name: &str) -> bool {
        self.journal(name).contains("\"restored\"")
    }

    /// Notes and warnings since the last time.
    fn told(&mut self) -> String {
        let mut all = String::new();
        while let Ok(stamped) = self.told.try_recv() {
            if let Event::Note(text) | Event::Warning(text) = stamped.event {
                all.push_str(&text);
                all.push('\n');
            }
        }
        all
    }

    /// The directories of the saved guests.
    fn saved(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.store.root().join("guests")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.join("ram").exists()).collect()
    }
}

/// Waits until the guest takes steps.
async fn greeted(guest: &mut Guest<'_>) {
    loop {
        match next(guest).await {
            Happening::Greeted => return,
            Happening::Ready(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn next(guest: &mut Guest<'_>) -> Happening<()> {
    let deadline = guest.within(PATIENCE);
    guest.next(deadline, std::future::pending()).await.unwrap()
}

/// Reads files of the guest.
async fn collect(guest: &mut Guest<'_>, paths: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for (step, path) in (0..).zip(paths) {
        let path = (*path).to_owned();
        let action: GuestStep = CounterStep::Collect { path }.into();
        guest.start(step, &action).await;
        let output = loop {
            match next(guest).await {
                Happening::Finished {
                    step: of,
                    result: StepResult::Done(report),
                } if of == step => break report.output.unwrap(),
                Happening::Finished { result, .. } => panic!("{result:?}"),
                Happening::Finding(_) => {}
                other => panic!("{other:?}"),
            }
        };
        all.push(output.trim().to_owned());
    }
    all
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// What time a guest thinks it is, to a second: when it was booted, in its own
/// reckoning, and how long that is ago.
fn clock(stat: &str, uptime: &str) -> f64 {
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let since: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    booted.unwrap().parse::<f64>().unwrap() + since
}

#[tokio::test]
async fn restored_guests_share_nothing_that_no_two_guests_may_share() {
    const OWN: [&str; 6] = [
        "/proc/sys/kernel/random/boot_id",
        "/proc/sys/kernel/random/uuid",
        "/sys/class/net/eth0/address",
        "/proc/sys/kernel/hostname",
        "/proc/stat",
        "/proc/uptime",
    ];
    let mut hall = Hall::new().await;
    let testbed = hall.testbed().await;
    let mut seen = Vec::new();
    for name in ["one", "two", "three"] {
        let before = now();
        let mut guest = hall.guest(&testbed, "", name).await;
        greeted(&mut guest).await;
        let said = collect(&mut guest, &OWN).await;
        guest.kill().await;
        assert!(hall.was_restored(name), "{}", hall.told());
        let clock = clock(&said[4], &said[5]);
        assert!(clock + 1.0 >= before, "{clock} is before {before}");
        assert!(clock - 1.0 <= now(), "{clock} is to come");
        assert_eq!(said[3], name);
        // The saved boot's words are the beginning of each one's console.
        let console = std::fs::read(hall.scratch.join(name).join("console.log")).unwrap();
        let saved = std::fs::read(hall.saved()[0].join("console")).unwrap();
        assert!(!saved.is_empty() && console.starts_with(&saved));
        let notes = hall.journal(name);
        assert!(!notes.contains("cannot"), "{notes}");
        seen.push(said);
    }
    for (index, path) in OWN.iter().enumerate().take(4) {
        let values: HashSet<&String> = seen.iter().map(|said| &said[index]).collect();
        assert_eq!(values.len(), seen.len(), "{path}: {values:?}");
    }
    assert_eq!(hall.saved().len(), 1);
    testbed.close().await;
}

#[tokio::test]
async fn a_saved_guest_that_is_not_what_was_saved_is_made_anew() {
    let mut hall = Hall::new().await;
    let testbed = hall.testbed().await;
    let mut guest = hall.guest(&testbed, "", "first").await;
    greeted(&mut guest).await;
    guest.kill().await;
    drop(guest);
    testbed.close().await;
    let entry = hall.saved().remove(0);
    let cut = File::options().write(true).open(entry.join("ram")).unwrap();
    cut.set_len(100 << 20).unwrap();
    hall.told();
    let testbed = hall.testbed().await;
    let mut guest = hall.guest(&testbed, "", "second").await;
    greeted(&mut guest).await;
    guest.kill().await;
    assert!(hall.was_restored("second"));
    let told = hall.told();
    assert!(
        told.contains("is made again: ram is not what was saved"),
        "{told}"
    );
    drop(guest);
    // Another command line is another guest.
    let mut guest = hall.guest(&testbed, "quiet", "third").await;
    greeted(&mut guest).await;
    guest.kill().await;
    assert_eq!(hall.saved().len(), 2);
    drop(guest);
    testbed.close().await;
}

#[tokio::test]
async fn what_qemu_does_not_take_is_removed_and_the_guest_boots() {
    let mut hall = Hall::new().await;
    let testbed = hall.testbed().await;
    let mut guest = hall.guest(&testbed, "", "first").await;
    greeted(&mut guest).await;
    guest.kill().await;
    drop(guest);
    testbed.close().await;
    // A state with the right checksum that is of no machine.
    let entry = hall.saved().remove(0);
    let nonsense = b"QEVM and so on".repeat(100);
    std::fs::write(entry.join("state"), &nonsense).unwrap();
    let path = entry.join("saved.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["sums"]["state"] = hex::encode(Sha256::digest(&nonsense)).into();
    std::fs::write(&path, record.to_string()).unwrap();
    hall.told();
    let testbed = hall.testbed().await;
    for name in ["second", "third"] {
        let mut guest = hall.guest(&testbed, "", name).await;
        greeted(&mut guest).await;
        guest.kill().await;
        assert!(!hall.was_restored(name));
    }
    let told = hall.told();
    let said = "a saved guest cannot be restored and is removed";
    assert_eq!(told.matches(said).count(), 1, "{told}");
    assert!(hall.saved().is_empty());
    testbed.close().await;
}

#[tokio::test]
async fn a_kernel_that_does_not_come_up_is_not_saved_and_shows_it_as_before() {
    let mut hall = Hall::new().await;
    let testbed = hall.testbed().await;
    for name in ["first", "second"] {
        let mut guest = hall.guest(&testbed, "rdinit=/missing", name).await;
        loop {
            match next(&mut guest).await {
                Happening::Finding(_) => {}
                Happening::Ended(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(!hall.was_restored(name));
    }
    let told = hall.told();
    let said = "stock boots for each trial: it did not come up to be saved";
    assert_eq!(told.matches(said).count(), 1, "{told}");
    assert!(hall.saved().is_empty());
    testbed.close().await;
}
