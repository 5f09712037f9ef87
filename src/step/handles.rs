//! Steps on files that stay open under a name, from one step to the next.
//! `guest::agent::handles` carries them out.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps on files that stay open under a name, from one step to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum HandleStep {
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
    /// Reads an open directory from where it stands to its end.
    List {
        /// The directory, as `open` named it.
        handle: String,
        /// Does it in a process that is killed after so long, wherever it is.
        #[serde(
            default,
            with = "crate::duration::optional",
            skip_serializing_if = "Option::is_none"
        )]
        kill_after: Option<Duration>,
    },
    /// stat(2) of what the last `list` of a directory found, by name.
    StatListed {
        /// The directory, as `open` named it.
        handle: String,
    },
    /// Closes a file.
    Close {
        /// The file, as `open` named it.
        handle: String,
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

impl Family for HandleStep {
    /// The path that is opened, else the handle.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Open { path, .. } => Some(path),
            Self::Write { handle, .. }
            | Self::Read { handle, .. }
            | Self::Readahead { handle, .. }
            | Self::Fsync { handle }
            | Self::List { handle, .. }
            | Self::StatListed { handle }
            | Self::Close { handle } => Some(handle),
        }
    }
}
