//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::Serialize;

use super::{StoreError, io_error};

/// How the name of a file begins that was not renamed yet.
const PREFIX: &str = ".kvet-";

/// Whether a file of this name was to be renamed by [`write_atomic`].
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Removes the files of a directory that were never renamed, for whoever holds the
/// lock under which files are written there: their writers were killed.
pub fn remove_unfinished(directory: &Path) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(directory).map_err(io_error("read", directory))?;
    for entry in entries {
        let entry = entry.map_err(io_error("read", directory))?;
        if is_unfinished(&entry.file_name().to_string_lossy()) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

/// Writes a file, flushes it to disk, and gives it its name.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let failed = || io_error("write", path);
    let directory = path.parent().unwrap_or(Path::new("."));
    if let Some(mut file) = without_name(directory) {
        fill(&mut file, content).map_err(failed())?;
        // Not every file system can, and then the usual way tells what is wrong.
        if publish(&file, directory, path).is_ok() {
            return Ok(());
        }
    }
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempfile_in(directory)
        .map_err(io_error("create a file in", directory))?;
    fill(file.as_file_mut(), content).map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// Gives a file this name, too: by a link, which costs nothing, or where there can
/// be none by a copy that appears whole. Whatever has the name already is replaced,
/// never written to: it may be a link to somebody else's file.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    if is_same_file(from, to) {
        return Ok(());
    }
    let directory = to.parent().unwrap_or(Path::new("."));
    let beside = |name: &Path| std::fs::hard_link(from, name);
    let linked = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, beside);
    match linked {
        Ok(link) => link
            .persist(to)
            .map_err(|error| io_error("write", to)(error.error)),
        Err(_) => copy_whole(from, to),
    }
}

/// Copies a file, and flushes it to disk; the copy appears whole, in the place of what
/// had its name.
pub fn copy_whole(from: &Path, to: &Path) -> Result<(), StoreError> {
    let directory = to.parent().unwrap_or(Path::new("."));
    let partial = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempfile_in(directory)
        .map_err(io_error("create a file in", directory))?;
    std::fs::copy(from, partial.path()).map_err(io_error("write", to))?;
    // Without this it could have its name and be empty after a loss of power.
    let synced = partial.as_file().sync_all();
    synced.map_err(io_error("write", to))?;
    partial
        .persist(to)
        .map_err(|error| io_error("write", to)(error.error))?;
    Ok(())
}

/// Whether both names are of one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let data = path.metadata().ok()?;
        Some((data.dev(), data.ino()))
    };
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// A file of which nothing is left if this process is killed; `None` where the
/// file system has no such, or there is something else the matter.
fn without_name(directory: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR);
    file.ok().map(File::from)
}

fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    // Results are for everyone to read.
    rustix::fs::fchmod(&*file, Mode::from_raw_mode(0o644))?;
    file.sync_all()
}

/// Gives a file without a name that of `path`.
fn publish(file: &File, directory: &Path, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &Path| {
        rustix::fs::linkat(CWD, &*unnamed, CWD, name, AtFlags::SYMLINK_FOLLOW)
            .map_err(io::Error::from)
    };
    match link(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => return linked,
    }
    // Only a rename replaces what is there.
    let named = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, link)?;
    named.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a value as indented JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let mut text =
        serde_json::to_vec_pretty(value).map_err(|error| io_error("write", path)(error.into()))?;
    text.push(b'\n');
    write_atomic(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_and_replaced_and_nothing_lies_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        for text in ["long text", "short"] {
            write_atomic(&file, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
        // A name is taken over, not what it leads to.
        let (link, other) = (home.path().join("link"), home.path().join("other"));
        std::fs::write(&other, "other").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        write_atomic(&link, b"text").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "other");
        assert_eq!(home.path().read_dir().unwrap().count(), 3);
        assert!(write_atomic(&home.path().join("nowhere/file"), b"").is_err());
    }

    #[test]
    fn a_name_that_is_taken_is_replaced_and_never_written_to() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::write(path("cached"), "kernel").unwrap();
        for give in [link_or_copy, copy_whole] {
            std::fs::write(path("other"), "somebody else's").unwrap();
            std::fs::hard_link(path("other"), path("name")).unwrap();
            give(&path("cached"), &path("name")).unwrap();
            assert_eq!(std::fs::read(path("name")).unwrap(), b"kernel");
            assert_eq!(std::fs::read(path("other")).unwrap(), b"somebody else's");
            std::fs::remove_file(path("name")).unwrap();
        }
        // Once more it is the same, and still a link.
        for _ in 0..2 {
            link_or_copy(&path("cached"), &path("name")).unwrap();
            assert_eq!(std::fs::read(path("cached")).unwrap(), b"kernel");
            assert_eq!(path("cached").metadata().unwrap().nlink(), 2);
        }
        assert_eq!(home.path().read_dir().unwrap().count(), 3);
        assert!(link_or_copy(&path("nothing"), &path("name")).is_err());
        assert_eq!(std::fs::read(path("name")).unwrap(), b"kernel");
    }

    #[test]
    fn what_was_never_renamed_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dead = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(home.path());
        let dead = dead.unwrap().into_temp_path().keep().unwrap();
        let file = home.path().join("file");
        write_atomic(&file, b"text").unwrap();
        remove_unfinished(home.path()).unwrap();
        assert!(!dead.exists());
        assert_eq!(std::fs::read(&file).unwrap(), b"text");
    }
}
