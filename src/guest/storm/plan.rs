//! From a seed to a writer's operations, and to what its files contain once
//! they all took effect. Pure: the same storm, seed and writer give the same
//! sequence, however it goes when it is performed.

use serde::{Deserialize, Serialize};

use crate::guest::pattern::{self, Sequence};
use crate::step::{BLOCK, Storm};

/// Snapshots of a writer's directory that exist at once.
const SNAPSHOTS: usize = 2;

/// Blocks that one operation writes at most.
const RUN: u64 = 8;

/// When a truncating child is killed at the latest, in microseconds after it
/// began: about what a truncation takes that has to ask the server.
const KILL_WITHIN: u64 = 20_000;

/// One thing a writer does. Files are named by their slot: `f0`, `f1`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// pwrite(2) of `count` blocks from block `from` on; makes the file if
    /// the slot is empty.
    Overwrite {
        /// The slot.
        file: usize,
        /// The first block.
        from: u32,
        /// How many.
        count: u32,
        /// With `O_DIRECT`.
        direct: bool,
    },
    /// Stores into a shared mapping of one block that exists.
    Store {
        /// The slot.
        file: usize,
        /// The block.
        block: u32,
        /// With msync(2) after it.
        sync: bool,
    },
    /// truncate(2) through the other mount.
    Truncate {
        /// The slot.
        file: usize,
        /// The new length in blocks.
        blocks: u32,
    },
    /// As `Truncate`, by a child that is killed.
    Kill {
        /// The slot.
        file: usize,
        /// The new length in blocks, if it comes to that.
        blocks: u32,
        /// How long after its start the child is killed, in microseconds.
        after: u32,
    },
    /// unlink(2).
    Unlink {
        /// The slot.
        file: usize,
        /// Through the other mount.
        other: bool,
    },
    /// rename(2), replacing what is there.
    Rename {
        /// The slot that gets empty.
        from: usize,
        /// The slot that is filled.
        to: usize,
    },
    /// Makes a snapshot of the writer's directory, and removes an older one.
    Snapshot {
        /// The new one's number.
        make: u32,
        /// The number of the one that goes.
        remove: Option<u32>,
    },
    /// fsync(2).
    Fsync {
        /// The slot.
        file: usize,
    },
    /// Reads the file through the other mount and compares.
    Read {
        /// The slot.
        file: usize,
    },
}

impl Operation {
    /// What counters call it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Overwrite { direct: false, .. } => "overwrite",
            Self::Overwrite { direct: true, .. } => "direct",
            Self::Store { .. } => "mmap",
            Self::Truncate { .. } => "truncate",
            Self::Kill { .. } => "kill",
            Self::Unlink { .. } => "unlink",
            Self::Rename { .. } => "rename",
            Self::Snapshot { .. } => "snapshot",
            Self::Fsync { .. } => "fsync",
            Self::Read { .. } => "read",
        }
    }
}

/// A file as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Which of the writer's files it is; a new file in an old slot is another.
    pub serial: u32,
    /// The version each block must have; 0 is zeros.
    pub blocks: Vec<u32>,
    /// Something was written to it that no fsync(2) has flushed since.
    pub unflushed: bool,
    /// A killed child may or may not have truncated it, even later on, or it is a
    /// snapshot's and was truncated before it was flushed: every block is one that
    /// was written to this file, or zeros.
    pub loose: bool,
    /// An operation on it failed in a way the storm tolerates: every block is
    /// one of this writer's, or zeros, and the file may be missing.
    pub damaged: bool,
}

/// The state of a writer's directory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Files {
    /// What is in each slot.
    pub slots: Vec<Option<FileState>>,
}

/// A snapshot and what it must contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotState {
    /// Its number.
    pub number: u32,
    /// The files as they were.
    pub files: Files,
}

/// A writer's operations, one after the other, and what they lead to.
#[derive(Debug, Clone)]
pub struct Plan {
    sequence: Sequence,
    weights: [u32; 10],
    most: u64,
    left: u32,
    version: u32,
    serial: u32,
    snapshot: u32,
    /// What must be there after the operations so far.
    pub files: Files,
    /// The snapshots that exist.
    pub snapshots: Vec<SnapshotState>,
}

/// The seed of one writer of one storm in one trial: also its blocks' owner.
#[must_use]
pub(super) fn writer_seed(storm: &Storm, trial: u64, writer: u32) -> u64 {
    pattern::mix(pattern::mix(storm.seed, trial), u64::from(writer))
}

impl Plan {
    /// The plan of a writer by its seed, see `writer_seed`.
    #[must_use]
    pub fn new(storm: &Storm, seed: u64) -> Self {
        Self {
            sequence: Sequence::new(seed),
            weights: storm.mix.weights(),
            most: (storm.length / BLOCK).max(1),
            left: storm.operations,
            version: 0,
            serial: 0,
            snapshot: 0,
            files: Files {
                slots: vec![None; storm.files as usize],
            },
            snapshots: Vec::new(),
        }
    }

    /// The version that the operation given out last wrote.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    fn below(&mut self, limit: u64) -> u32 {
        // Limits are far below 2^32.
        u32::try_from(self.sequence.below(limit)).unwrap_or_default()
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.sequence.below(one_in) == 0
    }

    fn choose(&mut self) -> usize {
        let total = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut at = self.sequence.below(total);
        for (index, weight) in self.weights.iter().enumerate() {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        0
    }

    fn overwrite(&mut self, file: usize, direct: bool) -> Operation {
        let from = self.below(self.most);
        let count = 1 + self.below(RUN.min(self.most - u64::from(from)));
        Operation::Overwrite {
            file,
            from,
            count,
            direct,
        }
    }

    /// An operation of a kind (in the order of the mix) that fits what is in
    /// the slot; a write where there is nothing to do it to.
    fn operation(&mut self, kind: usize, file: usize) -> Operation {
        let blocks = match &self.files.slots[file] {
            None => return self.overwrite(file, kind == 5),
            Some(state) if state.loose && self.sequence.below(4) == 0 => {
                return Operation::Unlink { file, other: false };
            }
            Some(state) if state.loose => 0,
            Some(state) => state.blocks.len() as u64,
        };
        match kind {
            1 => Operation::Truncate {
                file,
                blocks: self.below(self.most + 1),
            },
            2 => Operation::Unlink {
                file,
                other: self.chance(2),
            },
            3 => {
                let to = self.below(self.files.slots.len() as u64) as usize;
                if to == file {
                    return self.overwrite(file, false);
                }
                Operation::Rename { from: file, to }
            }
            4 if blocks > 0 => Operation::Store {
                file,
                block: self.below(blocks),
                sync: self.chance(4),
            },
            5 => self.overwrite(file, true),
            6 => {
                self.snapshot += 1;
                Operation::Snapshot {
                    make: self.snapshot,
                    remove: (self.snapshots.len() >= SNAPSHOTS).then(|| self.snapshots[0].number),
                }
            }
            7 => Operation::Kill {
                file,
                blocks: self.below(self.most),
                after: self.below(KILL_WITHIN),
            },
            8 => Operation::Fsync { file },
            9 => Operation::Read { file },
            _ => self.overwrite(file, false),
        }
    }

    /// What follows from the operation, if it does what it says.
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Overwrite {
                file,
                from,
                count,
                direct,
            } => {
                let end = (from + count) as usize;
                let version = self.next_version();
                let serial = &mut self.serial;
                let state = self.files.slots[file].get_or_insert_with(|| {
                    *serial += 1;
                    FileState {
                        serial: *serial,
                        blocks: Vec::new(),
                        unflushed: false,
                        loose: false,
                        damaged: false,
                    }
                });
                if state.blocks.len() < end {
                    state.blocks.resize(end, 0);
                }
                state.blocks[from as usize..end].fill(version);
                state.unflushed |= !direct;
            }
            Operation::Store { file, block, .. } => {
                let version = self.next_version();
                if let Some(state) = &mut self.files.slots[file] {
                    state.blocks[block as usize] = version;
                    state.unflushed = true;
                }
            }
            Operation::Truncate { file, blocks } => {
                self.loosen_snapshots_of(file);
                if let Some(state) = &mut self.files.slots[file] {
                    state.blocks.resize(blocks as usize, 0);
                }
            }
            Operation::Kill { file, .. } => {
                self.loosen_snapshots_of(file);
                if let Some(state) = &mut self.files.slots[file] {
                    state.loose = true;
                }
            }
            Operation::Unlink { file, .. } => self.files.slots[file] = None,
            Operation::Rename { from, to } => {
                self.files.slots[to] = self.files.slots[from].take();
            }
            Operation::Snapshot { make, remove } => {
                self.snapshots.retain(|old| Some(old.number) != remove);
                self.snapshots.push(SnapshotState {
                    number: make,
                    files: self.files.clone(),
                });
            }
            // What is flushed shows when it was, see `flushed`.
            Operation::Fsync { .. } | Operation::Read { .. } => {}
        }
    }

    /// fsync(2) of the slot's file has succeeded.
    pub(super) fn flushed(&mut self, file: usize) {
        if let Some(state) = &mut self.files.slots[file] {
            state.unflushed = false;
        }
        for state in self.in_snapshots(file) {
            state.unflushed = false;
        }
    }

    /// An operation on the slot's file has failed in a way the storm tolerates: what
    /// was not flushed before may be lost to its snapshots, too.
    pub(super) fn damaged(&mut self, file: usize) {
        for state in self.in_snapshots(file) {
            state.damaged |= state.unflushed;
        }
        if let Some(state) = &mut self.files.slots[file] {
            state.damaged = true;
        }
    }

    /// The end of a storm that tolerates failures: of what a snapshot has of a file
    /// that was removed since, nobody was told whether it could be written.
    pub(super) fn expect_flushed_alone(&mut self) {
        let snapshots = self.snapshots.iter_mut();
        let states = snapshots.flat_map(|snapshot| snapshot.files.slots.iter_mut().flatten());
        for state in states {
            state.damaged |= state.unflushed;
        }
    }

    /// The file of a slot as the snapshots have it.
    fn in_snapshots(&mut self, file: usize) -> impl Iterator<Item = &mut FileState> {
        let serial = self.files.slots[file].as_ref().map(|state| state.serial);
        self.snapshots
            .iter_mut()
            .flat_map(|snapshot| snapshot.files.slots.iter_mut().flatten())
            .filter(move |state| Some(state.serial) == serial)
    }

    /// The other mount truncates a file: what snapshots have of it and is not
    /// flushed yet may be lost to them. The MDS lets a client keep Fb while
    /// another one truncates (XLOCK of the file lock), and truncates the objects
    /// in the newest snapshot's context, so that the OSD takes what is there by
    /// then for the snapshots; what is flushed later goes to the head.
    fn loosen_snapshots_of(&mut self, file: usize) {
        for state in self.in_snapshots(file) {
            state.loose |= state.unflushed;
        }
    }

    fn next_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }
}

impl Iterator for Plan {
    type Item = Operation;

    /// The next operation; `files` and `snapshots` are as they must be after it.
    fn next(&mut self) -> Option<Operation> {
        self.left = self.left.checked_sub(1)?;
        let kind = self.choose();
        let file = self.below(self.files.slots.len() as u64) as usize;
        let operation = self.operation(kind, file);
        self.apply(&operation);
        Some(operation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn storm(operations: u32) -> Storm {
        serde_json::from_value(serde_json::json!({
            "name": "s", "mounts": ["a", "b"], "operations": operations,
        }))
        .unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        let storm = storm(2000);
        let operations = |trial, writer| {
            Plan::new(&storm, writer_seed(&storm, trial, writer)).collect::<Vec<_>>()
        };
        assert_eq!(operations(1, 0), operations(1, 0));
        assert_ne!(operations(1, 0), operations(1, 1));
        assert_ne!(operations(1, 0), operations(2, 0));
    }

    #[test]
    fn the_seed_s_meaning_does_not_change_unnoticed() {
        // Somebody who kept a seed wants the operations it stood for.
        let storm = storm(4);
        let operations: Vec<_> = Plan::new(&storm, writer_seed(&storm, 1, 0)).collect();
        insta::assert_debug_snapshot!(operations);
    }

    /// Whether the snapshot's file is loose after these operations on it.
    fn loose_in_snapshot(operations: &[Operation]) -> bool {
        let mut plan = Plan::new(&storm(0), 1);
        for operation in operations {
            plan.apply(operation);
            if let Operation::Fsync { file } = *operation {
                plan.flushed(file);
            }
        }
        let [snapshot] = &plan.snapshots[..] else {
            panic!("{:?}", plan.snapshots)
        };
        let state = snapshot.files.slots[0].as_ref().unwrap();
        assert_eq!(state.blocks, [1, 1]);
        state.loose
    }

    #[test]
    fn a_snapshot_may_lack_what_was_not_flushed_before_the_other_truncates() {
        let overwrite = |direct| Operation::Overwrite {
            file: 0,
            from: 0,
            count: 2,
            direct,
        };
        let snapshot = Operation::Snapshot {
            make: 1,
            remove: None,
        };
        let fsync = Operation::Fsync { file: 0 };
        let rename = Operation::Rename { from: 0, to: 1 };
        let cut = |file| Operation::Truncate { file, blocks: 1 };
        let kill = Operation::Kill {
            file: 0,
            blocks: 1,
            after: 1,
        };
        let write = || overwrite(false);
        let snap = || snapshot.clone();
        let flush = || fsync.clone();
        for lost in [
            vec![write(), snap(), cut(0)],
            vec![write(), snap(), kill],
            vec![write(), snap(), rename, cut(1)],
        ] {
            assert!(loose_in_snapshot(&lost), "{lost:?}");
        }
        for kept in [
            vec![write(), snap()],
            vec![write(), snap(), cut(1)],
            vec![write(), flush(), snap(), cut(0)],
            vec![write(), snap(), flush(), cut(0)],
            vec![overwrite(true), snap(), cut(0)],
        ] {
            assert!(!loose_in_snapshot(&kept), "{kept:?}");
        }
    }

    /// Whether a snapshot's file counts as damaged after a write, the snapshot and
    /// what follows.
    fn damaged_in_snapshot(follows: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = Plan::new(&storm(0), 1);
        plan.apply(&Operation::Overwrite {
            file: 0,
            from: 0,
            count: 2,
            direct: false,
        });
        plan.apply(&Operation::Snapshot {
            make: 1,
            remove: None,
        });
        follows(&mut plan);
        plan.snapshots[0].files.slots[0].as_ref().unwrap().damaged
    }

    #[test]
    fn what_a_failed_fsync_loses_is_lost_to_the_snapshots_too() {
        let fsync = Operation::Fsync { file: 0 };
        assert!(damaged_in_snapshot(|plan| {
            plan.apply(&fsync);
            plan.damaged(0);
            // The kernel tells of a failure once.
            plan.apply(&fsync);
            plan.flushed(0);
        }));
        assert!(!damaged_in_snapshot(|plan| {
            plan.apply(&fsync);
            plan.flushed(0);
            plan.damaged(0);
            plan.expect_flushed_alone();
        }));
        assert!(damaged_in_snapshot(|plan| {
            plan.apply(&Operation::Unlink {
                file: 0,
                other: false,
            });
            plan.expect_flushed_alone();
        }));
    }

    #[test]
    fn a_longer_storm_begins_as_a_shorter_one() {
        let short: Vec<_> = Plan::new(&storm(50), 9).collect();
        let long: Vec<_> = Plan::new(&storm(500), 9).collect();
        assert_eq!(short, long[..50]);
    }

    #[test]
    fn every_kind_of_operation_comes_up_and_fits_what_is_there() {
        let storm = storm(5000);
        let most = u32::try_from(storm.length / BLOCK).unwrap();
        let mut plan = Plan::new(&storm, 3);
        let mut kinds = BTreeSet::new();
        let mut before = plan.files.clone();
        while let Some(operation) = plan.next() {
            kinds.insert(operation.kind());
            match operation {
                Operation::Overwrite { from, count, .. } => assert!(from + count <= most),
                Operation::Store { file, block, .. } => {
                    let state = before.slots[file].as_ref().unwrap();
                    assert!(!state.loose && (block as usize) < state.blocks.len());
                }
                Operation::Read { file }
                | Operation::Fsync { file }
                | Operation::Truncate { file, .. }
                | Operation::Kill { file, .. }
                | Operation::Unlink { file, .. } => assert!(before.slots[file].is_some()),
                Operation::Rename { from, to } => {
                    assert!(from != to && before.slots[from].is_some());
                }
                Operation::Snapshot { .. } => assert!(plan.snapshots.len() <= SNAPSHOTS),
            }
            before = plan.files.clone();
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }

    #[test]
    fn a_weight_of_zero_leaves_an_operation_out() {
        let mut storm = storm(3000);
        storm.mix.snapshot = 0;
        storm.mix.kill = 0;
        storm.mix.truncate = 0;
        assert!(!Plan::new(&storm, 5).any(|operation| matches!(
            operation,
            Operation::Snapshot { .. } | Operation::Kill { .. } | Operation::Truncate { .. }
        )));
    }
}
