//! Steps that write from many processes at once and check what is left.
//! `guest::agent::storms` carries them out; how a storm's operations follow
//! from its seed is in `guest::storm`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps that write from many processes at once and check what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum StormStep {
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
}

impl Family for StormStep {
    /// The storm.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Storm(storm) => Some(&storm.name),
            Self::Verify { storm, .. } => Some(storm),
        }
    }
}

/// Many writers at once over one or more mounts of one file system. Each
/// writer owns its files, so what they must contain at the end is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// What `verify` calls it, and its directory's name on the mounts.
    pub name: String,
    /// The mounts it goes over. Writer `w` writes through mount `w mod n` and
    /// truncates, renames and unlinks through the next one, too.
    pub mounts: Vec<String>,
    /// Writers per mount, each a process.
    #[serde(default = "two")]
    pub writers: u32,
    /// Files each writer owns at most.
    #[serde(default = "eight")]
    pub files: u32,
    /// Length of a file at most.
    #[serde(default = "quarter_mebibyte", with = "values::size")]
    pub length: u64,
    /// Operations per writer. The sequence depends on this storm's fields, the
    /// seed and the trial's seed, and on nothing else.
    pub operations: u32,
    /// The seed.
    #[serde(default)]
    pub seed: u64,
    /// What writers do, with weights.
    #[serde(default)]
    pub mix: Mix,
    /// How often `syncfs` is called on each mount meanwhile; never without.
    #[serde(
        default,
        with = "crate::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub syncfs_every: Option<Duration>,
    /// How often caches are dropped meanwhile; never without.
    #[serde(
        default,
        with = "crate::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub drop_caches_every: Option<Duration>,
    /// Memory of all writers together above which the kernel throttles and
    /// reclaims (`memory.high` of a cgroup); no limit without.
    #[serde(
        default,
        with = "values::optional_size",
        skip_serializing_if = "Option::is_none"
    )]
    pub memory: Option<u64>,
    /// Kinds of failure a writer survives, such as `EDQUOT` or `EIO`; what it
    /// wrote since the last good fsync is then not expected back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerate: Vec<String>,
}

/// Weights of a storm's operations; 0 leaves one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// pwrite(2) of some blocks.
    pub overwrite: u32,
    /// truncate(2), shorter or longer, through the other mount.
    pub truncate: u32,
    /// unlink(2); the next write makes a new file.
    pub unlink: u32,
    /// rename(2) to another name, replacing what is there.
    pub rename: u32,
    /// Stores into a shared mapping.
    pub mmap: u32,
    /// `O_DIRECT` writes.
    pub direct: u32,
    /// Snapshots of the writer's directory, made and removed. A storm makes
    /// none on a file system that has none.
    pub snapshot: u32,
    /// A child that truncates through the other mount and gets SIGKILL.
    pub kill: u32,
    /// fsync(2).
    pub fsync: u32,
    /// Reads through the other mount, compared.
    pub read: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            overwrite: 30,
            truncate: 12,
            unlink: 4,
            rename: 4,
            mmap: 8,
            direct: 6,
            snapshot: 1,
            kill: 4,
            fsync: 8,
            read: 8,
        }
    }
}

impl Mix {
    /// The weights in the order of [`Mix`]'s fields.
    #[must_use]
    pub fn weights(&self) -> [u32; 10] {
        [
            self.overwrite,
            self.truncate,
            self.unlink,
            self.rename,
            self.mmap,
            self.direct,
            self.snapshot,
            self.kill,
            self.fsync,
            self.read,
        ]
    }
}

fn two() -> u32 {
    2
}

fn eight() -> u32 {
    8
}

fn quarter_mebibyte() -> u64 {
    256 << 10
}

impl Storm {
    /// Whether it can be done at all; if not, why.
    pub(crate) fn check(&self) -> Result<(), String> {
        let limits = [
            (self.mounts.len() as u64, 8, "mounts"),
            (u64::from(self.writers), 64, "writers"),
            (u64::from(self.files), 256, "files"),
            (u64::from(self.operations), 1_000_000, "operations"),
            (
                self.length / BLOCK,
                16384,
                "blocks of 4096 bytes in `length`",
            ),
        ];
        for (value, most, what) in limits {
            if value == 0 || value > most {
                return Err(format!("a storm has 1 to {most} {what}, not {value}"));
            }
        }
        if !self.length.is_multiple_of(BLOCK) {
            return Err(format!("a storm's `length` is a multiple of {BLOCK}"));
        }
        if self.mix.weights().iter().all(|weight| *weight == 0) {
            return Err("a storm's `mix` needs a weight above 0".to_owned());
        }
        if self.mix.weights().iter().any(|weight| *weight > 1_000_000) {
            return Err("a storm's weights go up to 1000000".to_owned());
        }
        Ok(())
    }
}

/// The unit of a storm's files: what is written, recorded and compared.
pub const BLOCK: u64 = 4096;
