//! What trees of a kernel have in common.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::store::{Key, StoreError, write_json};

/// What shares a repository, a working tree and objects: the commits of a
/// repository, the states of a directory, the versions of a package, the
/// releases of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What it is called in messages.
    pub name: String,
    /// Its name in the store.
    pub(super) key: Key,
}

/// The file in which an entry of the store says what it is.
const RECORD: &str = "source.json";

/// What an entry of the store says of itself; `kvet cache list` shows it.
#[derive(Debug, Serialize)]
struct Record<'a> {
    origin: &'a str,
}

impl Line {
    /// The line that these parts decide, in order.
    pub(super) fn of<P: AsRef<[u8]>>(
        parts: impl IntoIterator<Item = P>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            key: Key::of(parts),
        }
    }

    /// Whether an entry of the store says whose it is.
    pub(super) fn is_described(entry: &Path) -> bool {
        entry.join(RECORD).exists()
    }

    /// Says in an entry of the store that it is this line's, and that it is
    /// used now.
    pub(super) fn describe(&self, entry: &Path) -> Result<(), StoreError> {
        let record = entry.join(RECORD);
        if record.exists() {
            super::used(&record);
            return Ok(());
        }
        write_json(&record, &Record { origin: &self.name })
    }
}
