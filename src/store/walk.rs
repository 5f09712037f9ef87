//! The files below a directory.

use std::io;
use std::path::{Path, PathBuf};

use super::{StoreError, io_error};

/// A plain file below a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Below {
    /// Its path from the directory.
    pub name: PathBuf,
    /// Its path with the directory's.
    pub path: PathBuf,
}

/// All plain files in a directory and in those in it, down to `depth`, in no order.
/// Links are not followed. None in what is a file itself.
pub fn files_below(
    directory: &Path,
    depth: usize,
) -> impl Iterator<Item = Result<Below, StoreError>> {
    let walk = walkdir::WalkDir::new(directory).min_depth(1);
    let failed = |error: walkdir::Error| {
        let path = error.path().unwrap_or(directory).to_owned();
        let source = error.into_io_error();
        io_error("read", path)(source.unwrap_or_else(|| io::ErrorKind::Other.into()))
    };
    walk.max_depth(depth)
        .into_iter()
        .filter(|entry| !matches!(entry, Ok(entry) if !entry.file_type().is_file()))
        .map(move |entry| {
            let path = entry.map_err(failed)?.into_path();
            let name = path.strip_prefix(directory).unwrap_or(&path).to_owned();
            Ok(Below { name, path })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_as_deep_as_asked_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("a/b")).unwrap();
        for name in ["one", "a/two", "a/b/three"] {
            std::fs::write(home.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("a", home.path().join("link")).unwrap();
        std::os::unix::fs::symlink("one", home.path().join("other")).unwrap();
        let found = |depth| {
            let mut found: Vec<_> = files_below(home.path(), depth)
                .map(|file| file.unwrap().name)
                .collect();
            found.sort();
            found
        };
        assert_eq!(found(1), ["one"].map(PathBuf::from));
        assert_eq!(found(2), ["a/two", "one"].map(PathBuf::from));
        let all = ["a/b/three", "a/two", "one"].map(PathBuf::from);
        assert_eq!(found(usize::MAX), all);
    }

    #[test]
    fn what_cannot_be_read_is_named_and_the_reason_said_once() {
        let error = files_below(Path::new("/nowhere/at/all"), 9).next();
        let StoreError::Io { path, source, .. } = error.unwrap().unwrap_err() else {
            panic!("another error");
        };
        assert_eq!(path, Path::new("/nowhere/at/all"));
        assert_eq!(source.to_string(), "No such file or directory (os error 2)");
    }
}
