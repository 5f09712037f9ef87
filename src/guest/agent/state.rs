//! What steps leave behind for later ones: who the guest is, what is mounted
//! and open, what was listed, what storms wrote.
//!
//! Steps run in threads of their own and may block for ever, so nothing here
//! holds the lock across a system call.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::places::resolve;
use crate::guest::protocol::{StepFailure, Welcome};
use crate::guest::storm::Ledger;

/// The guest as its steps see it.
#[derive(Default)]
pub(super) struct Guest {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    welcome: Option<Welcome>,
    /// In the order in which they were mounted.
    mounts: Vec<Mounted>,
    /// The names of all mounts that ever were.
    names: BTreeSet<String>,
    handles: HashMap<String, Arc<File>>,
    /// What was found in open directories, by handle.
    listed: HashMap<String, Vec<CString>>,
    ledgers: HashMap<String, Arc<Ledger>>,
}

/// A file system that a step mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mounted {
    /// What steps call it.
    pub(super) name: String,
    /// Its type, as mount(2) knows it.
    pub(super) fstype: String,
}

impl Guest {
    fn state(&self) -> MutexGuard<'_, State> {
        // A step that panicked did so outside of this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the host said of this trial.
    pub(super) fn welcome(&self, welcome: Welcome) {
        self.state().welcome = Some(welcome);
    }

    /// What the host said of this trial.
    pub(super) fn greeting(&self) -> Result<Welcome, StepFailure> {
        self.state()
            .welcome
            .clone()
            .ok_or_else(|| StepFailure::usage("the host has not said hello yet"))
    }

    /// The file that a step's path names.
    pub(super) fn path(&self, path: &str) -> Result<PathBuf, StepFailure> {
        resolve(path, &self.greeting()?.hostname)
    }

    /// Something was mounted.
    pub(super) fn mounted(&self, mounted: Mounted) {
        let mut state = self.state();
        state.names.insert(mounted.name.clone());
        state.mounts.push(mounted);
    }

    /// The names that mounts were given, whether they are there still or not.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.state().names.clone()
    }

    /// Something was unmounted: the last mount of this name.
    pub(super) fn unmounted(&self, name: &str) {
        let mounts = &mut self.state().mounts;
        if let Some(at) = mounts.iter().rposition(|mounted| mounted.name == name) {
            mounts.remove(at);
        }
    }

    /// All that is mounted, in order.
    pub(super) fn mounts(&self) -> Vec<Mounted> {
        self.state().mounts.clone()
    }

    /// The type of the file system that a mount shows.
    pub(super) fn fstype(&self, name: &str) -> Result<String, StepFailure> {
        let state = self.state();
        let last = state.mounts.iter().rfind(|mounted| mounted.name == name);
        last.map(|mounted| mounted.fstype.clone())
            .ok_or_else(|| StepFailure::usage(format!("`{name}` is not mounted")))
    }

    /// Keeps a file open; one of the same name is closed.
    pub(super) fn open(&self, handle: &str, file: File) {
        let replaced = self
            .state()
            .handles
            .insert(handle.to_owned(), Arc::new(file));
        // Closed by being dropped, here and not under the lock.
        drop(replaced);
    }

    /// An open file.
    pub(super) fn handle(&self, name: &str) -> Result<Arc<File>, StepFailure> {
        self.state()
            .handles
            .get(name)
            .cloned()
            .ok_or_else(|| not_open(name))
    }

    /// Closes a file.
    pub(super) fn close(&self, name: &str) -> Result<(), StepFailure> {
        let closed = self.state().handles.remove(name);
        closed.map(drop).ok_or_else(|| not_open(name))
    }

    /// Closes every file.
    pub(super) fn close_all(&self) {
        let closed = std::mem::take(&mut self.state().handles);
        drop(closed);
    }

    /// Keeps what was found in an open directory.
    pub(super) fn keep_listing(&self, handle: &str, names: Vec<CString>) {
        self.state().listed.insert(handle.to_owned(), names);
    }

    /// What was last found in an open directory.
    pub(super) fn listing(&self, handle: &str) -> Result<Vec<CString>, StepFailure> {
        let names = self.state().listed.get(handle).cloned();
        names.ok_or_else(|| StepFailure::usage(format!("`{handle}` was not listed")))
    }

    /// Keeps what a storm wrote.
    pub(super) fn keep_ledger(&self, storm: &str, ledger: Ledger) {
        self.state()
            .ledgers
            .insert(storm.to_owned(), Arc::new(ledger));
    }

    /// What a storm wrote.
    pub(super) fn ledger(&self, storm: &str) -> Result<Arc<Ledger>, StepFailure> {
        let ledger = self.state().ledgers.get(storm).cloned();
        ledger.ok_or_else(|| StepFailure::usage(format!("there was no storm `{storm}`")))
    }
}

fn not_open(handle: &str) -> StepFailure {
    StepFailure::usage(format!("`{handle}` is not open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_of_a_name_counts_and_goes_first() {
        let guest = Guest::default();
        let mounted = |name: &str, fstype: &str| Mounted {
            name: name.to_owned(),
            fstype: fstype.to_owned(),
        };
        guest.mounted(mounted("a", "ceph"));
        guest.mounted(mounted("b", "ceph"));
        guest.mounted(mounted("a", "tmpfs"));
        assert_eq!(guest.fstype("a").unwrap(), "tmpfs");
        guest.unmounted("a");
        assert_eq!(guest.mounts(), [mounted("a", "ceph"), mounted("b", "ceph")]);
        assert_eq!(guest.fstype("a").unwrap(), "ceph");
        guest.unmounted("a");
        assert!(guest.fstype("a").is_err());
        assert_eq!(guest.names(), ["a", "b"].map(str::to_owned).into());
    }
}
