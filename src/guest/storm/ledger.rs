//! What must be found on the file system after a storm, and the comparison.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::content::{Found, Place, SIZE};
use super::plan::{FileState, Files, SnapshotState};
use crate::guest::protocol::{FailureKind, StepFailure, StepReport};
use crate::step::BLOCK;

/// How many differences a failure lists.
const LISTED: usize = 8;

/// What one writer leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterLedger {
    /// The seed of its operations, and its blocks' owner.
    pub owner: u64,
    /// Its directory, relative to the trial's own.
    pub directory: PathBuf,
    /// It went on after failures: names may be there or missing that it could
    /// not remove or make.
    pub tolerant: bool,
    /// The files in it.
    pub files: Files,
    /// The snapshots of it.
    pub snapshots: Vec<SnapshotState>,
}

/// What a storm leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One per writer.
    pub writers: Vec<WriterLedger>,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    differences: Vec<String>,
    more: u64,
    files: u64,
    loose: u64,
    blocks: u64,
    snapshots: u64,
}

impl Ledger {
    /// Compares what is below `own` (the trial's directory on a mount).
    pub fn verify(&self, own: &Path) -> Result<StepReport, StepFailure> {
        let mut comparison = Comparison::default();
        for writer in &self.writers {
            let directory = own.join(&writer.directory);
            comparison
                .directory(writer, &directory, &writer.files)
                .map_err(|error| failed(&directory, error))?;
            for snapshot in &writer.snapshots {
                let directory = directory.join(".snap").join(snapshot_name(snapshot.number));
                comparison.snapshots += 1;
                comparison
                    .directory(writer, &directory, &snapshot.files)
                    .map_err(|error| failed(&directory, error))?;
            }
        }
        comparison.report()
    }
}

fn failed(path: &Path, error: io::Error) -> StepFailure {
    StepFailure::syscall(format!("read below {}", path.display()), error)
}

/// What a writer calls its snapshots.
pub(super) fn snapshot_name(number: u32) -> String {
    format!("s{number}")
}

/// What a writer calls the file of a slot.
pub(super) fn file_name(slot: usize) -> String {
    format!("f{slot}")
}

impl Comparison {
    fn difference(&mut self, text: String) {
        if self.differences.len() < LISTED {
            self.differences.push(text);
        } else {
            self.more += 1;
        }
    }

    /// What has been found so far, as a step's result.
    pub(super) fn report(self) -> Result<StepReport, StepFailure> {
        if self.differences.is_empty() {
            let counters = [
                ("files", self.files),
                ("loose_files", self.loose),
                ("blocks", self.blocks),
                ("snapshots", self.snapshots),
            ];
            return Ok(StepReport {
                counters: counters
                    .map(|(name, count)| (name.to_owned(), count))
                    .into(),
                ..StepReport::default()
            });
        }
        let mut message = self.differences.join("\n");
        if self.more > 0 {
            message.extend(["\nand ", &self.more.to_string(), " more"]);
        }
        Err(StepFailure::other(FailureKind::Data, message))
    }

    /// Compares a writer's directory or a snapshot of it.
    fn directory(&mut self, writer: &WriterLedger, path: &Path, files: &Files) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in std::fs::read_dir(path)? {
            there.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        for (slot, state) in files.slots.iter().enumerate() {
            let name = file_name(slot);
            let listed = there.remove(&name);
            let Some(state) = state else {
                if listed && !writer.tolerant {
                    self.difference(format!("{} should not exist", path.join(name).display()));
                }
                continue;
            };
            match File::open(path.join(&name)) {
                Ok(file) => self.file(writer.owner, &file, &path.join(name), state)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !state.damaged {
                        self.difference(format!("{} is missing", path.join(name).display()));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        for name in there {
            self.difference(format!(
                "{} exists, but no writer made it",
                path.join(name).display()
            ));
        }
        Ok(())
    }

    /// Compares one file.
    pub(super) fn file(
        &mut self,
        owner: u64,
        file: &File,
        path: &Path,
        state: &FileState,
    ) -> io::Result<()> {
        let free = state.loose || state.damaged;
        let length = file.metadata()?.len();
        let expected = state.blocks.len() as u64 * BLOCK;
        self.files += 1;
        self.loose += u64::from(free);
        if !free && length != expected {
            let mut text = format!(
                "{} has {length} bytes instead of {expected}",
                path.display()
            );
            if self.differences.is_empty() {
                text.push_str(&what_became_of(file, expected)?);
            }
            self.difference(text);
        }
        let blocks = if free {
            u32::try_from(length.div_ceil(BLOCK)).unwrap_or(u32::MAX)
        } else {
            u32::try_from(length.min(expected) / BLOCK).unwrap_or(u32::MAX)
        };
        let mut block = vec![0; SIZE];
        for index in 0..blocks {
            let offset = u64::from(index) * BLOCK;
            file.read_exact_at(&mut block, offset)?;
            self.blocks += 1;
            let place = Place {
                owner,
                serial: state.serial,
                index,
            };
            let found = place.recognise(&block);
            let version = state.blocks.get(index as usize).copied().unwrap_or(0);
            let good = match found {
                Found::Zeros => free || version == 0,
                Found::Version(found) => free || found == version,
                Found::Elsewhere => state.damaged,
                Found::Torn => false,
            };
            if !good {
                let what = match found {
                    Found::Zeros => "zeros".to_owned(),
                    Found::Version(found) => format!("version {found}"),
                    Found::Elsewhere => "a block that belongs elsewhere".to_owned(),
                    Found::Torn => "parts of several blocks".to_owned(),
                };
                let wanted = if free {
                    "any version of this block".to_owned()
                } else {
                    format!("version {version}")
                };
                self.difference(format!(
                    "{}: the block at {offset} holds {what}, not {wanted}",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// What became of a wrong length: one that is right a moment later was an old
/// answer, one that stays is lost data.
fn what_became_of(file: &File, expected: u64) -> io::Result<String> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    for look in 1..=10 {
        std::thread::sleep(LOOK_AGAIN);
        if file.metadata()?.len() == expected {
            let after = (LOOK_AGAIN * look).as_millis();
            return Ok(format!("; right {after} ms later"));
        }
    }
    Ok("; 200 ms later, too".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger {
            writers: vec![WriterLedger {
                owner: 5,
                directory: "storm/w0".into(),
                tolerant: false,
                files: Files {
                    slots: vec![
                        Some(FileState {
                            serial: 1,
                            blocks: vec![3, 0, 7],
                            unflushed: false,
                            loose: false,
                            damaged: false,
                        }),
                        None,
                    ],
                },
                snapshots: vec![],
            }],
        }
    }

    /// Writes what the ledger says.
    fn written(home: &Path) -> PathBuf {
        let directory = home.join("storm/w0");
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("f0");
        let file = File::create(&path).unwrap();
        let mut block = vec![0; SIZE];
        for (index, version) in [(0, 3), (2, 7)] {
            let place = Place {
                owner: 5,
                serial: 1,
                index,
            };
            place.fill(version, &mut block);
            file.write_all_at(&block, u64::from(index) * BLOCK).unwrap();
        }
        path
    }

    #[test]
    fn what_was_written_is_as_it_must_be() {
        let home = tempfile::tempdir().unwrap();
        written(home.path());
        let report = ledger().verify(home.path()).unwrap();
        assert_eq!(
            (report.counters["files"], report.counters["blocks"]),
            (1, 3)
        );
    }

    #[test]
    fn every_kind_of_loss_is_told() {
        let home = tempfile::tempdir().unwrap();
        let told = |damage: &dyn Fn(&Path)| {
            let path = written(home.path());
            damage(&path);
            let failure = ledger().verify(home.path()).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Data);
            drop(std::fs::remove_file(path.with_file_name("f1")));
            failure.message
        };
        let open = |path: &Path| File::options().write(true).open(path).unwrap();
        let zeros = told(&|path| open(path).write_all_at(&[0; SIZE], 0).unwrap());
        assert!(
            zeros.contains("the block at 0 holds zeros, not version 3"),
            "{zeros}"
        );
        let torn = told(&|path| open(path).write_all_at(b"x", 8200).unwrap());
        assert!(
            torn.contains("the block at 8192 holds parts of several blocks"),
            "{torn}"
        );
        let short = told(&|path| open(path).set_len(8192).unwrap());
        assert!(
            short.contains("has 8192 bytes instead of 12288; 200 ms later, too"),
            "{short}"
        );
        let gone = told(&|path| std::fs::remove_file(path).unwrap());
        assert!(gone.contains("f0 is missing"), "{gone}");
        let extra = told(&|path| {
            std::fs::copy(path, path.with_file_name("f1")).unwrap();
        });
        assert!(extra.contains("f1 should not exist"), "{extra}");
    }

    #[test]
    fn a_loose_file_may_be_older_or_shorter_but_not_another_s() {
        let home = tempfile::tempdir().unwrap();
        let path = written(home.path());
        let mut ledger = ledger();
        if let Some(state) = &mut ledger.writers[0].files.slots[0] {
            state.loose = true;
            state.blocks = vec![9, 9];
        }
        ledger.verify(home.path()).unwrap();
        let mut block = vec![0; SIZE];
        let place = Place {
            owner: 5,
            serial: 2,
            index: 0,
        };
        place.fill(3, &mut block);
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&block, 0).unwrap();
        let failure = ledger.verify(home.path()).unwrap_err();
        assert!(
            failure.message.contains("a block that belongs elsewhere"),
            "{failure:?}"
        );
    }
}
