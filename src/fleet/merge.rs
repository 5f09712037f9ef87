//! A result's way into the record: exactly once, and a driver that is killed in
//! the middle of it goes on where it stopped. The file that says how it ended
//! comes last.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::batch::{ItemKey, Of};
use super::error::FleetError;
use crate::record::{RecordError, read_self_test, read_trial};
use crate::store::{Below, StoreError, copy_whole, files_below, io_error, remove_tree};

/// The files whose presence means that an attempt, or a self-test, ended.
const LAST: [&str; 2] = ["trial.json", "result.json"];

/// The most bytes of such a file.
const LARGEST_END: u64 = 64 << 20;

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
    for file in files_below(directory, 2) {
        let Below { name, path } = file?;
        let data = std::fs::symlink_metadata(&path).map_err(io_error("look at", &path))?;
        let size = data.len();
        found.push(ResultFile { name, size });
    }
    found.sort_by_key(|file| (is_last(&file.name), file.name.clone()));
    Ok(found)
}

fn is_last(name: &Path) -> bool {
    LAST.iter().any(|last| name == Path::new(last))
}

/// Whether the record has the result.
pub(super) fn is_there(run: &Path, key: &ItemKey) -> bool {
    let directory = key.directory(run);
    LAST.iter().any(|name| directory.join(name).exists())
}

/// Moves a result into its place in the record, unless there is one. `false` if
/// there was; the late one is removed. So is what is no result, which is an error:
/// in the record it would be damage that nobody mends.
pub(super) fn merge(run: &Path, key: &ItemKey, result: &Path) -> Result<bool, FleetError> {
    let directory = key.directory(run);
    let fresh = !is_there(run, key);
    if fresh {
        let files = files(result)?;
        if let Some(problem) = problem(key, result, &files)? {
            remove_tree(result)?;
            return Err(FleetError::NoResult {
                key: key.to_string(),
                problem,
            });
        }
        for file in files {
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

/// Why these files are no whole result of this item, if they are none: how it ended is
/// said in a plain file, can be read, and is of this item. An error is this host's own.
fn problem(
    key: &ItemKey,
    result: &Path,
    files: &[ResultFile],
) -> Result<Option<String>, RecordError> {
    let Some(end) = files.last().filter(|file| is_last(&file.name)) else {
        return Ok(Some("how it ended is not there".to_owned()));
    };
    if end.size > LARGEST_END {
        return Ok(Some(format!("how it ended has {} bytes", end.size)));
    }
    let is_its_own = match key.of_what() {
        Some(Of::SelfTest) => read_self_test(result).map(|said| said.is_some()),
        Some(Of::Attempt { trial, attempt }) => read_trial(result).map(|said| {
            said.is_some_and(|said| {
                let is_time = Duration::try_from_secs_f64(said.seconds).is_ok();
                is_time && said.id.number == trial && said.attempt == attempt
            })
        }),
        None => Ok(false),
    };
    match is_its_own {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("it is of something else".to_owned())),
        Err(RecordError::Damaged { problem, .. }) => Ok(Some(problem)),
        Err(error) => Err(error),
    }
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

    /// How attempt 1 at trial 1 ended, on a kernel of this release.
    fn end(release: &str) -> String {
        format!(
            r#"{{ "arm": "a", "workload": "w", "number": 1, "attempt": 1, "release": "{release}",
                "ending": {{ "kind": "finished" }}, "findings": [], "ready": null,
                "console_length": 3, "said": 3, "seconds": 1.0 }}"#
        )
    }

    fn result(home: &Path, name: &str, says: &str) -> PathBuf {
        let result = home.join(name);
        std::fs::create_dir(&result).unwrap();
        std::fs::write(result.join("trial.json"), end(says)).unwrap();
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
        let kept = |file: &str| std::fs::read_to_string(place.join(file)).unwrap();
        assert_eq!(kept("trial.json"), end("one"));
        assert_eq!(kept("console.log"), "one");
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
    fn what_is_no_result_is_no_part_of_the_record() {
        let home = tempfile::tempdir().unwrap();
        let key = ItemKey::try_from("arms@a@trials@w@1@1".to_owned()).unwrap();
        let place = key.directory(home.path());
        std::fs::create_dir_all(&place).unwrap();
        let whole = end("one");
        let wrong = [
            String::new(),
            whole[..whole.len() / 2].to_owned(),
            "{}".to_owned(),
            whole.replace("\"number\": 1", "\"number\": 2"),
            whole.replace("\"attempt\": 1", "\"attempt\": 2"),
            whole.replace("\"seconds\": 1.0", "\"seconds\": 1e300"),
        ];
        for text in wrong {
            let result = result(home.path(), "result", "x");
            std::fs::write(result.join("trial.json"), &text).unwrap();
            let merged = merge(home.path(), &key, &result);
            assert!(
                matches!(merged, Err(FleetError::NoResult { .. })),
                "{text}: {merged:?}"
            );
            assert!(!result.exists());
            assert_eq!(place.read_dir().unwrap().count(), 0, "{text}");
        }
        let result = result(home.path(), "result", "x");
        std::fs::remove_file(result.join("trial.json")).unwrap();
        std::os::unix::fs::symlink("console.log", result.join("trial.json")).unwrap();
        merge(home.path(), &key, &result).unwrap_err();
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
