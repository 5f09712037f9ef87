//! Guests that were booted once, saved when their agent was up and nobody had
//! greeted it, and are restored for each trial. A saved guest is of one kernel,
//! root file system, machine, QEMU and processor: all of them are in its key, so
//! that it is never restored on another.
//!
//! It lies in the store: the memory in a file that restored machines map page by
//! page and write to copies of (`ram`), the state of all else (`state`), what the
//! console said (`console`), and what these must be to be used (`saved.json`).
//!
//! Whatever stands against a saved guest, trials boot instead, and the reason is
//! told. A boot that said anything worth a finding is not saved: how often a
//! kernel says it is for trials to find out.

mod checksum;
mod make;
mod place;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::OnceCell;

use checksum::Sums;
pub(super) use place::digest;

use super::Testbed;
use super::kernel::{Kernel, command_line};
use crate::bounded;
use crate::detect::{ExtraRule, Scanner, Sighting};
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::guest::protocol::{Ready, VERSION};
use crate::store::{Entry, InUse, Key, Store, StoreError};
use crate::vm::{Accelerator, Boot, Debugging, Memory, Sockets, VmError, arguments};

/// The store's kind.
const KIND: &str = "guests";

/// Changes whenever the files, or what is done before a guest is saved, do.
const FORMAT: u32 = 1;

/// So many saved guests are kept; those that were used longest ago go. Each
/// takes some 80 MiB.
const KEPT: usize = 64;

/// The files of an entry.
const RAM: &str = "ram";
const STATE: &str = "state";
const CONSOLE: &str = "console";
const RECORD: &str = "saved.json";

/// The most that a console says until the agent is up, and that a record has.
const CONSOLE_LIMIT: u64 = 4 << 20;
const RECORD_LIMIT: u64 = 1 << 20;

/// Why there is no saved guest.
#[derive(Debug, Error, Diagnostic)]
pub(super) enum NotSaved {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Machine(#[from] VmError),
    #[error("its boot says: {title}")]
    Said { title: String },
    #[error("it did not come up to be saved: {how}")]
    NotUp { how: String },
    #[error("{what} is not what was saved")]
    Damaged { what: String },
    #[error("the saved guest cannot be read")]
    Unreadable { source: std::io::Error },
}

impl Fault for NotSaved {
    fn exit(&self) -> Exit {
        Exit::Undecided
    }
}

/// A guest that can be restored any number of times.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) key: Key,
    directory: PathBuf,
    /// What its agent said when it was up.
    pub(super) ready: Ready,
    /// What its kernel said until then.
    pub(super) console: Vec<u8>,
    _in_use: Option<InUse>,
}

impl Saved {
    pub(super) fn ram(&self) -> PathBuf {
        self.directory.join(RAM)
    }

    pub(super) fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }
}

/// `saved.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: u32,
    /// What it is, for whoever looks into the cache.
    origin: String,
    ready: Ready,
    sums: Sums,
}

/// The saved guests that a testbed has looked at.
#[derive(Debug)]
pub(super) struct SavedGuests {
    store: Store,
    /// What QEMU and the processor are.
    place: String,
    digests: RefCell<HashMap<PathBuf, String>>,
    known: RefCell<HashMap<Key, Known>>,
}

type Known = Rc<OnceCell<Result<Rc<Saved>, String>>>;

impl SavedGuests {
    pub(super) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            place: place::here(),
            digests: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The guest of this kernel, made if it is missing and `make` says so. `None`
    /// if there is none, for a reason that was told.
    pub(super) async fn get(
        &self,
        testbed: &Testbed,
        kernel: &Kernel<'_>,
        patterns: &[ExtraRule],
        make: bool,
    ) -> Option<Rc<Saved>> {
        let key = match self.key(testbed, kernel) {
            Ok(key) => key,
            Err(error) => {
                tell(testbed, kernel, &Error::from(error).one_line());
                return None;
            }
        };
        let known = self.known.borrow().get(&key).map(Rc::clone);
        if known.is_none() && !make && self.store.get(KIND, key.as_str()).is_none() {
            return None;
        }
        let cell = Rc::clone(self.known.borrow_mut().entry(key.clone()).or_default());
        let got = cell.get_or_init(|| async {
            let got = self.load_or_make(testbed, kernel, patterns, &key).await;
            got.map(Rc::new).map_err(|error| {
                let reason = Error::from(error).one_line();
                tell(testbed, kernel, &reason);
                reason
            })
        });
        got.await.as_ref().ok().cloned()
    }

    /// Does without it from now on: restoring it failed.
    pub(super) async fn give_up(&self, testbed: &Testbed, saved: &Saved, error: VmError) {
        // A QEMU that was stopped or killed says nothing against what it was to read.
        let is_useless = matches!(error, VmError::Snapshot { .. });
        let reason = Error::from(error).one_line();
        let removed = if is_useless { " and is removed" } else { "" };
        testbed.context.emit(Event::Warning(format!(
            "a saved guest cannot be restored{removed}; its kernel boots for each trial: {reason}"
        )));
        let cell = Rc::new(OnceCell::new_with(Some(Err(reason))));
        self.known.borrow_mut().insert(saved.key.clone(), cell);
        if is_useless {
            // One that cannot be removed fails once more in the next run.
            drop(self.store.discard(KIND, saved.key.as_str()).await);
        }
    }

    async fn load_or_make(
        &self,
        testbed: &Testbed,
        kernel: &Kernel<'_>,
        patterns: &[ExtraRule],
        key: &Key,
    ) -> Result<Saved, NotSaved> {
        let name = key.as_str();
        for again in [true, false] {
            let made = self.store.fill(KIND, name, async |directory: PathBuf| {
                make::make(testbed, kernel, &directory).await
            });
            let entry = made.await?;
            if !entry.cached {
                self.store.keep_newest(KIND, KEPT)?;
            }
            match load(key, &entry).await {
                Ok(saved) => {
                    let rules = patterns.to_vec();
                    return match said(Scanner::with_rules(rules), &saved.console) {
                        Some(title) => Err(NotSaved::Said { title }),
                        None => Ok(saved),
                    };
                }
                Err(error) if again => {
                    let reason = Error::from(error).one_line();
                    testbed.context.emit(Event::Warning(format!(
                        "the saved guest {} is made again: {reason}",
                        entry.path.display()
                    )));
                    self.store.discard(KIND, name).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(NotSaved::Damaged {
            what: "it".to_owned(),
        })
    }

    /// The key of everything that a saved guest is bound to.
    fn key(&self, testbed: &Testbed, kernel: &Kernel<'_>) -> Result<Key, StoreError> {
        let command_line = command_line(testbed.accelerator, kernel.words);
        let boot = Boot {
            hardware: kernel.hardware,
            accelerator: testbed.accelerator,
            kernel: Path::new("kernel"),
            initramfs: Some(Path::new("image")),
            disks: kernel.disks,
            command_line: &command_line,
            memory: Memory::In(Path::new(RAM)),
            directory: PathBuf::new(),
            debugging: Debugging::default(),
        };
        let machine = arguments(&boot, &Sockets::under(Path::new("")));
        let machine = machine
            .iter()
            .map(|word| word.as_encoded_bytes().to_vec())
            .collect::<Vec<_>>();
        let digest = |path: &Path| -> Result<Vec<u8>, StoreError> {
            if let Some(known) = self.digests.borrow().get(path) {
                return Ok(known.clone().into_bytes());
            }
            let made = digest(path)?;
            let mut digests = self.digests.borrow_mut();
            digests.insert(path.to_owned(), made.clone());
            Ok(made.into_bytes())
        };
        let parts = [
            format!("saved guest {FORMAT}, protocol {VERSION}").into_bytes(),
            self.place.clone().into_bytes(),
            digest(kernel.image)?,
            digest(&testbed.image)?,
        ];
        Ok(Key::of(parts.into_iter().chain(machine)))
    }
}

fn tell(testbed: &Testbed, kernel: &Kernel<'_>, reason: &str) {
    testbed.context.emit(Event::Note(format!(
        "{} boots for each trial: {reason}",
        kernel.name
    )));
}

/// The first finding in what a boot said.
fn said(mut scanner: Scanner, console: &[u8]) -> Option<String> {
    let mut sightings = scanner.push(console);
    sightings.extend(scanner.end());
    sightings.into_iter().find_map(|sighting| match sighting {
        Sighting::Complete(finding) => Some(finding.title),
        Sighting::Begun { .. } => None,
    })
}

/// Reads an entry, and sees that it is what was saved.
async fn load(key: &Key, entry: &Entry) -> Result<Saved, NotSaved> {
    let directory = entry.path.as_path();
    let unreadable = |source| NotSaved::Unreadable { source };
    let read = |name: &str, limit| bounded::read_own(&directory.join(name), limit);
    let record = read(RECORD, RECORD_LIMIT).map_err(unreadable)?;
    let record: Record = serde_json::from_slice(&record).map_err(|_| NotSaved::Damaged {
        what: RECORD.to_owned(),
    })?;
    let console = read(CONSOLE, CONSOLE_LIMIT).map_err(unreadable)?;
    let there = checksum::of(directory).await.map_err(unreadable)?;
    if record.format != FORMAT {
        return Err(NotSaved::Damaged {
            what: RECORD.to_owned(),
        });
    }
    if let Some(what) = record.sums.difference(&there) {
        return Err(NotSaved::Damaged {
            what: what.to_owned(),
        });
    }
    // It was used just now.
    if let Ok(file) = std::fs::File::open(directory.join(RECORD)) {
        drop(file.set_modified(std::time::SystemTime::now()));
    }
    Ok(Saved {
        key: key.clone(),
        directory: directory.to_owned(),
        ready: record.ready,
        console,
        _in_use: entry.in_use.clone(),
    })
}

/// What a saved guest says that it is.
fn origin(kernel: &Kernel<'_>, accelerator: Accelerator, ready: &Ready) -> String {
    let Ready {
        release, version, ..
    } = ready;
    let hardware = kernel.hardware;
    format!(
        "{release} {version}, {} CPUs, {} MiB, {}",
        hardware.cpus,
        hardware.memory,
        accelerator.name()
    )
}
