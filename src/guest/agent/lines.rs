//! The counters of executed lines that gcc put into some of the kernel's
//! objects. Debugfs has a file of them for each, below the directory in which
//! the kernel was built.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::io::Errno;

use super::report;
use crate::guest::protocol::{StepFailure, StepReport};
use crate::step::PIECE;

/// Where the kernel shows them.
const ROOT: &str = "/sys/kernel/debug/gcov";

/// Directories deeper than this are not looked into.
const DEPTH: usize = 64;

/// The object whose counters were read last: all pieces are of one moment.
static LAST: Mutex<Option<(String, Vec<u8>)>> = Mutex::new(None);

/// A piece of an object's counters.
pub(super) fn piece(object: &str, offset: usize) -> Result<StepReport, StepFailure> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let known = last.as_ref().is_some_and(|(name, _)| name == object);
    if offset == 0 || !known {
        *last = Some((object.to_owned(), read(Path::new(ROOT), object)?));
    }
    let content = last.as_ref().map(|(_, content)| content.as_slice());
    let rest = content
        .unwrap_or_default()
        .get(offset..)
        .unwrap_or_default();
    let piece = &rest[..rest.len().min(PIECE)];
    Ok(report::of_text(STANDARD.encode(piece)))
}

fn read(root: &Path, object: &str) -> Result<Vec<u8>, StepFailure> {
    let name = format!("{object}.gcda");
    let path = find(root, Path::new(&name), DEPTH)
        .ok_or_else(|| StepFailure::syscall(format!("find {name} in {ROOT}"), Errno::NOENT))?;
    std::fs::read(&path)
        .map_err(|error| StepFailure::syscall(format!("read {}", path.display()), error))
}

/// The file whose path ends in `name`.
fn find(directory: &Path, name: &Path, depth: usize) -> Option<PathBuf> {
    let here = directory.join(name);
    if here.is_file() {
        return Some(here);
    }
    let depth = depth.checked_sub(1)?;
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    // Links lead to where the kernel was built, which is elsewhere.
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut directories: Vec<PathBuf> = directories.map(|entry| entry.path()).collect();
    directories.sort();
    directories
        .iter()
        .find_map(|directory| find(directory, name, depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_below_where_the_kernel_was_built() {
        let root = tempfile::tempdir().unwrap();
        let built = root.path().join("root/.cache/objects/1");
        for (name, text) in [("fs/inode", "vfs"), ("fs/ceph/inode", "ceph")] {
            let path = built.join(format!("{name}.gcda"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let text = |object: &str| read(root.path(), object).map(String::from_utf8);
        assert_eq!(text("fs/inode").unwrap().unwrap(), "vfs");
        assert_eq!(text("fs/ceph/inode").unwrap().unwrap(), "ceph");
        let failure = text("fs/ceph/addr").unwrap_err();
        assert_eq!(failure.errno.as_deref(), Some("ENOENT"));
    }
}
