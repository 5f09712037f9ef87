//! Steps on a series of files `PATH.0`, `PATH.1`, …
//! `guest::agent::series` carries them out.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps on a series of files `PATH.0`, `PATH.1`, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum SeriesStep {
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
    /// Makes symbolic links `PATH.0`, `PATH.1`, …
    Symlink {
        /// The links' common name.
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
}

impl Family for SeriesStep {
    /// The files' common name.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Populate { path, .. }
            | Self::Compare { path, .. }
            | Self::Unlink { path, .. }
            | Self::Symlink { path, .. }
            | Self::StatMany { path, .. }
            | Self::TruncateMany { path, .. } => Some(path),
        }
    }
}
