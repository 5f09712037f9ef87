//! The steps a workload asks of the guest. This is vocabulary: the agent
//! (`guest::agent`) carries them out, the link carries them over as JSON.
//!
//! Paths of steps are relative and begin with a mount's name: `a/victim` is
//! the file `victim` in this trial's own directory on the mount `a`. Absolute
//! paths name files of the guest itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::storm::Storm;
use super::values;

/// Something the agent does inside the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GuestStep {
    /// Sets kernel parameters: `vm.dirty_writeback_centisecs: 0`.
    Sysctl(#[serde(deserialize_with = "values::scalars")] BTreeMap<String, String>),
    /// Mounts the cluster's file system, and makes this trial's own directory.
    Mount {
        /// What steps call it: the first part of their paths.
        name: String,
        /// Options of the file system, such as `noshare`.
        #[serde(default)]
        options: Vec<String>,
        /// Mounts a tmpfs instead: a workload can be tried without a cluster.
        #[serde(default)]
        local: bool,
    },
    /// Unmounts.
    Umount {
        /// The mount.
        name: String,
        /// With `MNT_FORCE`.
        #[serde(default)]
        force: bool,
        /// With `MNT_DETACH`.
        #[serde(default)]
        lazy: bool,
    },
    /// Makes a directory and its parents.
    Mkdir {
        /// Where.
        path: String,
    },
    /// rename(2).
    Rename {
        /// The file.
        path: String,
        /// Its new path.
        to: String,
    },
    /// Makes symbolic links `PATH.0`, `PATH.1`, …
    Symlink {
        /// The links' common name.
        path: String,
        /// How many.
        files: u32,
    },
    /// Reads an open directory from where it stands to its end.
    List {
        /// The directory, as `open` named it.
        handle: String,
        /// Does it in a process that is killed after so long, wherever it is.
        #[serde(
            default,
            with = "values::optional_duration",
            skip_serializing_if = "Option::is_none"
        )]
        kill_after: Option<Duration>,
    },
    /// stat(2) of what the last `list` of a directory found, by name.
    StatListed {
        /// The directory, as `open` named it.
        handle: String,
    },
    /// chmod(2).
    Chmod {
        /// The file.
        path: String,
        /// The permissions: `0o600`.
        mode: u32,
    },
    /// Opens a file and keeps it open under a name.
    Open {
        /// What later steps call it.
        handle: String,
        /// The file.
        path: String,
        /// How.
        flags: Vec<OpenFlag>,
    },
    /// Writes a pattern at an offset of an open file.
    Write {
        /// The file, as `open` named it.
        handle: String,
        /// Where to.
        #[serde(default, with = "values::size")]
        offset: u64,
        /// How much.
        #[serde(with = "values::size")]
        length: u64,
        /// Which pattern; the same number gives the same bytes.
        #[serde(default)]
        seed: u64,
    },
    /// Reads part of an open file (as readahead or a check of its pattern).
    Read {
        /// The file, as `open` named it.
        handle: String,
        /// Where from.
        #[serde(default, with = "values::size")]
        offset: u64,
        /// How much.
        #[serde(with = "values::size")]
        length: u64,
        /// The pattern it must have; anything goes without.
        #[serde(default)]
        seed: Option<u64>,
    },
    /// Asks the kernel to read part of an open file ahead, and does not wait.
    Readahead {
        /// The file, as `open` named it.
        handle: String,
        /// Where from.
        #[serde(default, with = "values::size")]
        offset: u64,
        /// How much.
        #[serde(with = "values::size")]
        length: u64,
    },
    /// fsync(2) of an open file.
    Fsync {
        /// The file, as `open` named it.
        handle: String,
    },
    /// Closes a file.
    Close {
        /// The file, as `open` named it.
        handle: String,
    },
    /// Opens, writes, and closes a number of files `PATH.0`, `PATH.1`, …
    Populate {
        /// The files' common name.
        path: String,
        /// How many.
        files: u32,
        /// How long each is.
        #[serde(with = "values::size")]
        length: u64,
        /// Which patterns: file `k` has the pattern `seed + k`.
        #[serde(default)]
        seed: u64,
        /// Whether each is flushed with fsync(2) before it is closed.
        #[serde(default)]
        fsync: bool,
        /// Whether files that are there are written over and not emptied first.
        #[serde(default)]
        keep: bool,
    },
    /// Reads what `populate` wrote and compares.
    Compare {
        /// The files' common name.
        path: String,
        /// How many.
        files: u32,
        /// How long each is.
        #[serde(with = "values::size")]
        length: u64,
        /// Which patterns, as for `populate`.
        #[serde(default)]
        seed: u64,
    },
    /// Removes what `populate` made.
    Unlink {
        /// The files' common name.
        path: String,
        /// How many.
        files: u32,
    },
    /// stat(2) of what `populate` made.
    StatMany {
        /// The files' common name.
        path: String,
        /// How many.
        files: u32,
    },
    /// truncate(2) of what `populate` made.
    TruncateMany {
        /// The files' common name.
        path: String,
        /// How many.
        files: u32,
        /// The new length of each.
        #[serde(with = "values::size")]
        length: u64,
    },
    /// truncate(2) by path.
    Truncate {
        /// The file.
        path: String,
        /// The new length.
        #[serde(with = "values::size")]
        length: u64,
    },
    /// stat(2) of a file until it has the expected length; the file stays closed.
    WaitSize {
        /// The file.
        path: String,
        /// The expected length.
        #[serde(with = "values::size")]
        length: u64,
        /// How long it may take.
        #[serde(default = "ten_seconds", with = "values::duration")]
        within: Duration,
    },
    /// Makes a snapshot of the directory `path` called `name`.
    Snapshot {
        /// The directory.
        path: String,
        /// The snapshot's name.
        name: String,
        /// Removes the snapshot instead.
        #[serde(default)]
        remove: bool,
    },
    /// Has an empty directory encrypt what will be in it, names included, with
    /// a key that everybody may know.
    Encrypt {
        /// The directory.
        path: String,
    },
    /// Sets an extended attribute, such as `ceph.quota.max_bytes`.
    SetXattr {
        /// The file or directory.
        path: String,
        /// The attribute.
        name: String,
        /// Its value.
        #[serde(deserialize_with = "values::scalar")]
        value: String,
    },
    /// Drops clean caches, without a line in the kernel's log for each time.
    DropCaches {
        /// Which.
        #[serde(default)]
        what: Caches,
        /// How often in a row.
        #[serde(default = "once")]
        times: u32,
    },
    /// sync(2).
    Sync,
    /// syncfs(2).
    Syncfs {
        /// The mount.
        mount: String,
    },
    /// Writers on several mounts at once, see [`Storm`].
    Storm(Storm),
    /// Reads back what a storm's ledger says must be there.
    Verify {
        /// The storm, by name.
        storm: String,
        /// The mount to read through: one the writers did not write through,
        /// or a fresh one.
        mount: String,
    },
    /// Provokes a kernel failure through LKDTM, in a process of its own.
    Lkdtm {
        /// What, as `/sys/kernel/debug/provoke-crash/DIRECT` calls it.
        provoke: String,
    },
    /// Pulls SysRq letters.
    Sysrq {
        /// The letters, in order.
        letters: String,
    },
    /// Reads a file of the guest (such as a counter in debugfs) into the
    /// step's result. A `*` in a path component matches any one name.
    Collect {
        /// The absolute path.
        path: String,
    },
    /// Reads a table of counters. Its first line names the columns, and a step's
    /// counters are called `NAME/ROW/COLUMN`.
    Counters {
        /// What reports call the table.
        name: String,
        /// The absolute path; of the files that a `*` stands for, the first.
        path: String,
        /// How many columns together name a row.
        keys: u8,
    },
    /// Has the kernel's profiler count the calls of functions and their time,
    /// callees included.
    Profile {
        /// The functions; those that a kernel does not have are left out.
        functions: Vec<String>,
    },
    /// What the profiler counted: `profile/FUNCTION/calls` and `…/nanoseconds`.
    Profiled,
    /// Has slab allocations fail, in one function and what it calls.
    FailAllocations {
        /// The function.
        within: String,
        /// How many of the next ones; 0 ends it.
        times: u32,
    },
    /// Writes a text to a file of the guest.
    WriteFile {
        /// The absolute path.
        path: String,
        /// The text.
        #[serde(deserialize_with = "values::scalar")]
        text: String,
    },
    /// Runs a program of the root file system.
    Exec {
        /// Its name or path.
        program: String,
        /// Its arguments; `{a}` becomes the path of this trial's directory on
        /// mount `a`.
        #[serde(default)]
        args: Vec<String>,
    },
}

/// How `open` opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenFlag {
    /// For reading.
    Read,
    /// For writing.
    Write,
    /// Makes it if it is missing.
    Create,
    /// Empties it.
    Truncate,
    /// `O_DIRECT`.
    Direct,
    /// At its end.
    Append,
}

/// What `drop_caches` drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caches {
    /// Clean pages.
    Pages,
    /// Dentries and inodes.
    #[default]
    Inodes,
    /// Both.
    All,
}

impl GuestStep {
    /// The step's name as the YAML has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sysctl(_) => "sysctl",
            Self::Mount { .. } => "mount",
            Self::Umount { .. } => "umount",
            Self::Mkdir { .. } => "mkdir",
            Self::Rename { .. } => "rename",
            Self::Symlink { .. } => "symlink",
            Self::List { .. } => "list",
            Self::StatListed { .. } => "stat_listed",
            Self::Chmod { .. } => "chmod",
            Self::Open { .. } => "open",
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::Readahead { .. } => "readahead",
            Self::Fsync { .. } => "fsync",
            Self::Close { .. } => "close",
            Self::Populate { .. } => "populate",
            Self::Compare { .. } => "compare",
            Self::Unlink { .. } => "unlink",
            Self::StatMany { .. } => "stat_many",
            Self::TruncateMany { .. } => "truncate_many",
            Self::Truncate { .. } => "truncate",
            Self::WaitSize { .. } => "wait_size",
            Self::Snapshot { .. } => "snapshot",
            Self::Encrypt { .. } => "encrypt",
            Self::SetXattr { .. } => "set_xattr",
            Self::DropCaches { .. } => "drop_caches",
            Self::Sync => "sync",
            Self::Syncfs { .. } => "syncfs",
            Self::Storm(_) => "storm",
            Self::Verify { .. } => "verify",
            Self::Lkdtm { .. } => "lkdtm",
            Self::Sysrq { .. } => "sysrq",
            Self::Collect { .. } => "collect",
            Self::Counters { .. } => "counters",
            Self::Profile { .. } => "profile",
            Self::Profiled => "profiled",
            Self::FailAllocations { .. } => "fail_allocations",
            Self::WriteFile { .. } => "write_file",
            Self::Exec { .. } => "exec",
        }
    }

    /// What it is about, for labels: a path, a handle, a mount.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Mount { name, .. } | Self::Umount { name, .. } | Self::Counters { name, .. } => {
                Some(name)
            }
            Self::Open { path, .. }
            | Self::Mkdir { path }
            | Self::Chmod { path, .. }
            | Self::Rename { path, .. }
            | Self::Symlink { path, .. }
            | Self::Populate { path, .. }
            | Self::Compare { path, .. }
            | Self::Unlink { path, .. }
            | Self::StatMany { path, .. }
            | Self::TruncateMany { path, .. }
            | Self::Truncate { path, .. }
            | Self::WaitSize { path, .. }
            | Self::Snapshot { path, .. }
            | Self::Encrypt { path }
            | Self::SetXattr { path, .. }
            | Self::Collect { path }
            | Self::WriteFile { path, .. } => Some(path),
            Self::Write { handle, .. }
            | Self::Read { handle, .. }
            | Self::Readahead { handle, .. }
            | Self::Fsync { handle }
            | Self::List { handle, .. }
            | Self::StatListed { handle }
            | Self::Close { handle } => Some(handle),
            Self::Syncfs { mount } => Some(mount),
            Self::Storm(storm) => Some(&storm.name),
            Self::Verify { storm, .. } => Some(storm),
            Self::Lkdtm { provoke } => Some(provoke),
            Self::FailAllocations { within, .. } => Some(within),
            Self::Sysrq { letters } => Some(letters),
            Self::Exec { program, .. } => Some(program),
            Self::Profile { .. }
            | Self::Profiled
            | Self::Sysctl(_)
            | Self::DropCaches { .. }
            | Self::Sync => None,
        }
    }
}

fn once() -> u32 {
    1
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
