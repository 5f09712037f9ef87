//! Steps on a file or directory by its path.
//! `guest::agent::paths` carries them out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps on a file or directory by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum PathStep {
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
    /// chmod(2).
    Chmod {
        /// The file.
        path: String,
        /// The permissions: `0o600`.
        mode: u32,
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
        #[serde(default = "ten_seconds", with = "crate::duration")]
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
    /// Writes a text to a file of the guest.
    WriteFile {
        /// The absolute path.
        path: String,
        /// The text.
        #[serde(deserialize_with = "values::scalar")]
        text: String,
    },
}

impl Family for PathStep {
    /// The path.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Mkdir { path }
            | Self::Rename { path, .. }
            | Self::Chmod { path, .. }
            | Self::Truncate { path, .. }
            | Self::WaitSize { path, .. }
            | Self::Snapshot { path, .. }
            | Self::Encrypt { path }
            | Self::SetXattr { path, .. }
            | Self::WriteFile { path, .. } => Some(path),
        }
    }
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
