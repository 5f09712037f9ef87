//! What a kernel that counts its executed lines leaves beside itself: the
//! compiler's notes on the objects that count, and which lines its patches
//! change. Without the notes its counters mean nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::instrument::is_local_header;
use super::object_directory::ObjectDirectory;
use crate::bounded;
use crate::coverage::Changed;
use crate::store::{StoreError, files_below, io_error, write_json};

/// Where it is in a build's entry.
const DIRECTORY: &str = "coverage";

/// The changed lines' file.
const CHANGED: &str = "changed.json";

/// The notes' directory, in which they lie as in make's.
const NOTES: &str = "notes";

/// No more bytes than this say which lines are changed.
const LARGEST: u64 = 64 << 20;

/// What lines a kernel counts.
#[derive(Debug, Clone)]
pub struct Counters {
    /// The directory with the compiler's notes.
    pub notes: PathBuf,
    /// The objects that count: their paths in the tree, without extension.
    pub objects: Vec<String>,
    /// The lines that its patches change.
    pub changed: Changed,
}

impl Counters {
    /// Those of a build's entry; `None` if it counts nothing.
    pub(super) fn of(entry: &Path) -> Result<Option<Self>, StoreError> {
        let directory = entry.join(DIRECTORY);
        let path = directory.join(CHANGED);
        if !path.exists() {
            return Ok(None);
        }
        let text = bounded::read_own(&path, LARGEST).map_err(io_error("read", &path))?;
        let changed =
            serde_json::from_slice(&text).map_err(|error| io_error("read", &path)(error.into()))?;
        let notes = directory.join(NOTES);
        let objects = if notes.is_dir() {
            noted(&notes)?
        } else {
            Vec::new()
        };
        Ok(Some(Self {
            notes,
            objects,
            changed,
        }))
    }
}

/// Keeps what is needed of a build: the notes on the objects of these files.
pub(super) fn keep(
    entry: &Path,
    made: &ObjectDirectory,
    instrumented: &BTreeSet<PathBuf>,
    changed: &Changed,
) -> Result<(), StoreError> {
    let directory = entry.join(DIRECTORY);
    let notes = directory.join(NOTES);
    std::fs::create_dir_all(&notes).map_err(io_error("create", &notes))?;
    let mut wanted = BTreeSet::new();
    for file in instrumented {
        if is_local_header(file) {
            wanted.extend(notes_beside(made.path(), file));
        } else {
            wanted.insert(file.with_extension("gcno"));
        }
    }
    for note in wanted {
        let from = made.path().join(&note);
        // A file that this configuration leaves out has none.
        if !from.is_file() {
            continue;
        }
        let to = notes.join(&note);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        std::fs::copy(&from, &to).map_err(io_error("copy", &from))?;
    }
    write_json(&directory.join(CHANGED), changed)
}

/// The notes in a header's directory.
fn notes_beside(made: &Path, header: &Path) -> Vec<PathBuf> {
    let directory = header.parent().unwrap_or(Path::new(""));
    let entries = std::fs::read_dir(made.join(directory))
        .into_iter()
        .flatten();
    let names = entries
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()));
    names
        .filter(|name| name.extension().is_some_and(|end| end == "gcno"))
        .map(|name| directory.join(name))
        .collect()
}

/// The objects that there are notes on.
fn noted(notes: &Path) -> Result<Vec<String>, StoreError> {
    let mut objects = Vec::new();
    for file in files_below(notes, usize::MAX) {
        let name = file?.name;
        if name.extension().is_some_and(|end| end == "gcno") {
            objects.push(name.with_extension("").display().to_string());
        }
    }
    objects.sort();
    Ok(objects)
}
