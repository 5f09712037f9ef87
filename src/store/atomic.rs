//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::{StoreError, io_error};

/// Writes a file beside its place, flushes it to disk, and renames it.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".kvet-")
        .tempfile_in(directory)
        .map_err(io_error("create a file in", directory))?;
    file.write_all(content).map_err(io_error("write", path))?;
    file.as_file().sync_all().map_err(io_error("write", path))?;
    // tempfile makes files private; results are for everyone to read.
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::fchmod(file.as_file(), mode)
        .map_err(|errno| io_error("write", path)(errno.into()))?;
    file.persist(path)
        .map_err(|error| io_error("write", path)(error.error))?;
    Ok(())
}

/// Writes a value as indented JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| io_error("write", path)(error.into()))?;
    text.push(b'\n');
    write_atomic(path, &text)
}
