//! A result's way into the record: exactly once, and a driver that is killed in
//! the middle of it goes on where it stopped. The file that says how it ended
//! comes last.

use std::path::{Path, PathBuf};

use super::batch::ItemKey;
use super::error::FleetError;
use crate::store::{StoreError, copy_whole, io_error, remove_tree};

/// The files whose presence means that an attempt, or a self-test, ended.
const LAST: [&str; 2] = ["trial.json", "result.json"];

/// A plain file of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResultFile {
    /// Its path below the result's directory.
    pub(super) name: PathBuf,
    /// Bytes.
    pub(super) size: u64,
}

/// The plain files of an attempt's directory and of the directories in it, those
/// that mean its end last. Links are not followed.
pub(super) fn files(directory: &Path) -> Result<Vec<ResultFile>, StoreError> {
    let mut found = Vec::new();
    walk(directory, Path::new(""), 0, &mut found)?;
    found.sort_by_key(|file| (is_last(&file.name), file.name.clone()));
    Ok(found)
}

fn is_last(name: &Path) -> bool {
    LAST.iter().any(|last| name == Path::new(last))
}

fn walk(
    root: &Path,
    below: &Path,
    depth: u32,
    found: &mut Vec<ResultFile>,
) -> Result<(), StoreError> {
    let directory = root.join(below);
    let entries = std::fs::read_dir(&directory).map_err(io_error("read", &directory))?;
    for entry in entries {
        let entry = entry.map_err(io_error("read", &directory))?;
        let name = below.join(entry.file_name());
        let data = std::fs::symlink_metadata(entry.path());
        let data = data.map_err(io_error("look at", &entry.path()))?;
        if data.is_file() {
            found.push(ResultFile {
                name,
                size: data.len(),
            });
        } else if data.is_dir() && depth == 0 {
            walk(root, &name, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Whether the record has the result.
pub(super) fn is_there(run: &Path, key: &ItemKey) -> bool {
    let directory = key.directory(run);
    LAST.iter().any(|name| directory.join(name).exists())
}

/// Moves a result into its place in the record, unless there is one. `false` if
/// there was; the late one is removed.
pub(super) fn merge(run: &Path, key: &ItemKey, result: &Path) -> Result<bool, FleetError> {
    let directory = key.directory(run);
    let fresh = !is_there(run, key);
    if fresh {
        for file in files(result)? {
            let to = directory.join(&file.name);
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
            }
            move_file(&result.join(&file.name), &to)?;
        }
    }
    remove_tree(result)?;
    Ok(fresh && is_there(run, key))
}

/// By rename, or, from another file system, by a copy that appears whole.
fn move_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    match std::fs::rename(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => copy_whole(from, to),
        Err(error) => Err(io_error("rename", from)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(home: &Path, name: &str, says: &str) -> PathBuf {
        let result = home.join(name);
        std::fs::create_dir(&result).unwrap();
        std::fs::write(result.join("trial.json"), says).unwrap();
        std::fs::write(result.join("console.log"), says).unwrap();
        result
    }

    #[test]
    fn the_first_result_stays_and_a_late_one_goes() {
        let home = tempfile::tempdir().unwrap();
        let key = ItemKey::try_from("arms@a@trials@w@1@1".to_owned()).unwrap();
        let place = key.directory(home.path());
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("started"), "").unwrap();
        let first = result(home.path(), "first", "one");
        assert!(merge(home.path(), &key, &first).unwrap());
        let late = result(home.path(), "late", "two");
        assert!(!merge(home.path(), &key, &late).unwrap());
        for file in ["trial.json", "console.log"] {
            assert_eq!(std::fs::read_to_string(place.join(file)).unwrap(), "one");
        }
        assert!(!first.exists() && !late.exists());
        assert!(place.join("started").exists());
    }

    #[test]
    fn a_merge_that_was_cut_short_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let key = ItemKey::try_from("arms@a@trials@w@1@1".to_owned()).unwrap();
        let place = key.directory(home.path());
        std::fs::create_dir_all(&place).unwrap();
        let half = result(home.path(), "half", "one");
        // The end comes last, so it is what a killed driver leaves.
        assert_eq!(files(&half).unwrap()[1].name, Path::new("trial.json"));
        std::fs::rename(half.join("console.log"), place.join("console.log")).unwrap();
        assert!(!is_there(home.path(), &key));
        assert!(merge(home.path(), &key, &half).unwrap());
        assert!(place.join("console.log").exists());
    }

    #[test]
    fn links_are_not_followed_and_depth_is_bounded() {
        let home = tempfile::tempdir().unwrap();
        let result = result(home.path(), "r", "x");
        std::os::unix::fs::symlink("/etc/passwd", result.join("link")).unwrap();
        std::fs::create_dir_all(result.join("1/2")).unwrap();
        std::fs::write(result.join("1/console.log"), "").unwrap();
        std::fs::write(result.join("1/2/deep"), "").unwrap();
        let names: Vec<_> = files(&result)
            .unwrap()
            .into_iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(
            names,
            ["1/console.log", "console.log", "trial.json"].map(PathBuf::from)
        );
    }
}
