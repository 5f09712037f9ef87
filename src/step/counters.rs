//! Steps that read what the kernel says and counts.
//! `guest::agent::counters` carries them out.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;

/// Steps that read what the kernel says and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum CounterStep {
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
    /// A piece of the line counters of an object that counts, in base64. Every
    /// trial of `--coverage` ends with these.
    LineCounters {
        /// Its path in the kernel's tree, without extension: `fs/ceph/addr`.
        object: String,
        /// From which byte; at 0 the counters are read anew.
        offset: u64,
    },
}

/// So many bytes of counters are in a piece, at most; the last one has fewer.
pub const PIECE: usize = 48 << 10;

impl Family for CounterStep {
    /// The file or the table.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Collect { path } => Some(path),
            Self::Counters { name, .. } => Some(name),
            Self::LineCounters { object, .. } => Some(object),
            Self::Profile { .. } | Self::Profiled => None,
        }
    }
}
