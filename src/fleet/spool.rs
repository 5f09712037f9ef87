//! A directory on a file system that the driver and its hosts share. All that
//! appears in it appears whole, by rename. Nothing in it is for others to read.
//!
//! ```text
//! SPOOL/inputs/SHA256/content    what trials are made from
//! SPOOL/batches/ID.json          what task ID is to do
//! SPOOL/tasks/ID/card.json       the host that has it
//! SPOOL/tasks/ID/beat            its host, and a number that grows while it lives
//! SPOOL/tasks/ID/end.json        how it ended
//! SPOOL/results/KEY/             an attempt's files, to be moved into the record
//! SPOOL/logs/                    what tasks printed
//! ```
//!
//! Clocks are not compared: a task lives as long as its number changes.

use std::cell::Cell;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::batch::{Batch, HostCard, HostEnd, ItemKey, own_name};
use super::error::FleetError;
use super::inputs;
use crate::record::read_json;
use crate::store::{StoreError, copy_whole, io_error, remove_tree, write_atomic, write_json};

/// The spool, from either side.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    root: PathBuf,
}

impl Spool {
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Makes it, for its owner alone.
    pub(super) fn create(&self) -> Result<(), FleetError> {
        for name in [inputs::KIND, "batches", "tasks", "results", "logs"] {
            let path = self.root.join(name);
            std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        std::fs::set_permissions(&self.root, Permissions::from_mode(0o700))
            .map_err(io_error("make private", &self.root))?;
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn is_there(&self) -> bool {
        self.root.join("batches").is_dir()
    }

    /// Removes it.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        remove_tree(&self.root)
    }

    pub(super) fn inputs(&self) -> PathBuf {
        self.root.join(inputs::KIND)
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    fn batch_file(&self, task: u64) -> PathBuf {
        self.root.join("batches").join(format!("{task}.json"))
    }

    fn task(&self, task: u64) -> PathBuf {
        self.root.join("tasks").join(task.to_string())
    }

    fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// Where an item's result is.
    pub(super) fn result(&self, key: &ItemKey) -> PathBuf {
        self.results().join(key.as_str())
    }

    pub(super) fn put_batch(&self, task: u64, batch: &Batch) -> Result<(), FleetError> {
        let tasks = self.task(task);
        std::fs::create_dir_all(&tasks).map_err(io_error("create", &tasks))?;
        let path = self.batch_file(task);
        write_json(&path, batch)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(io_error("make private", &path))?;
        Ok(())
    }

    pub(super) fn batch(&self, task: u64) -> Result<Batch, FleetError> {
        Ok(read_json(&self.batch_file(task))?)
    }

    /// All tasks there ever were, in order.
    pub(super) fn all_tasks(&self) -> Result<Vec<u64>, FleetError> {
        let directory = self.root.join("batches");
        let entries = std::fs::read_dir(&directory).map_err(io_error("read", &directory))?;
        let number = |name: std::ffi::OsString| {
            let name = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
            Some(name)
        };
        let mut tasks: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| number(entry.file_name()))
            .collect();
        tasks.sort_unstable();
        Ok(tasks)
    }

    /// What a task has said: the host's card, its beat, its end.
    pub(super) fn said(&self, task: u64) -> Said {
        let directory = self.task(task);
        let beat = std::fs::read_to_string(directory.join("beat")).ok();
        let host = beat
            .as_deref()
            .and_then(|beat| beat.split_whitespace().next());
        Said {
            card: whole(&directory.join("card.json")),
            host: host.map(str::to_owned),
            beat,
            end: whole(&directory.join("end.json")),
        }
    }

    /// The results that are there.
    pub(super) fn arrived(&self) -> Result<Vec<ItemKey>, FleetError> {
        let directory = self.results();
        let entries = std::fs::read_dir(&directory).map_err(io_error("read", &directory))?;
        let mut keys: Vec<ItemKey> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                (!name.starts_with('.')).then(|| ItemKey::try_from(name).ok())?
            })
            .collect();
        keys.sort();
        Ok(keys)
    }
}

/// What a task has said so far.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) card: Option<HostCard>,
    /// The host, which is known before it has shown what it is.
    pub(super) host: Option<String>,
    pub(super) beat: Option<String>,
    pub(super) end: Option<HostEnd>,
}

/// A file that appears by rename; one that cannot be read counts as not there
/// yet.
fn whole<T: DeserializeOwned>(path: &Path) -> Option<T> {
    path.exists().then(|| read_json(path).ok())?
}

/// A task's side of it.
#[derive(Debug)]
pub(super) struct SpoolTask {
    spool: Spool,
    task: u64,
    beats: Cell<u64>,
}

impl SpoolTask {
    pub(super) fn new(spool: Spool, task: u64) -> Self {
        Self {
            spool,
            task,
            beats: Cell::new(0),
        }
    }

    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    pub(super) fn hello(&self, card: &HostCard) -> Result<(), FleetError> {
        let path = self.spool.task(self.task).join("card.json");
        Ok(write_json(&path, card)?)
    }

    /// `false` if nobody wants to hear it: the run is over.
    pub(super) fn beat(&self) -> Result<bool, FleetError> {
        if !self.spool.is_there() {
            return Ok(false);
        }
        self.beats.set(self.beats.get() + 1);
        let (host, pid) = (own_name(), std::process::id());
        let text = format!("{host} {pid} {}\n", self.beats.get());
        let path = self.spool.task(self.task).join("beat");
        write_atomic(&path, text.as_bytes())?;
        Ok(true)
    }

    pub(super) fn end(&self, end: &HostEnd) -> Result<(), FleetError> {
        let path = self.spool.task(self.task).join("end.json");
        Ok(write_json(&path, end)?)
    }

    /// Whether an item's result is there already: a task that Slurm began again
    /// does not do it twice.
    pub(super) fn has(&self, key: &ItemKey) -> bool {
        self.spool.result(key).exists()
    }

    /// Hands over an attempt's files. If somebody else was faster, theirs stay.
    pub(super) fn deliver(&self, key: &ItemKey, files: &Path) -> Result<(), FleetError> {
        let results = self.spool.results();
        let partial = tempfile::Builder::new()
            .prefix(".kvet-")
            .tempdir_in(&results)
            .map_err(io_error("create a directory in", &results))?;
        copy_tree(files, partial.path())?;
        let to = self.spool.result(key);
        if to.exists() {
            return Ok(());
        }
        let partial = partial.keep();
        match std::fs::rename(&partial, &to) {
            Ok(()) => Ok(()),
            Err(error) => {
                remove_tree(&partial)?;
                if to.exists() {
                    return Ok(());
                }
                Err(io_error("rename", &partial)(error).into())
            }
        }
    }
}

/// Copies the plain files of a directory and of those in it.
fn copy_tree(from: &Path, to: &Path) -> Result<(), FleetError> {
    for file in super::merge::files(from)? {
        let target = to.join(&file.name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        // On disk before it can be seen: a host may go down right after it was.
        copy_whole(&from.join(&file.name), &target)?;
    }
    Ok(())
}
