//! The counters that a trial's guest gave, object by object, in the attempt's
//! directory. A guest decides neither names nor sizes: the host asks for each
//! object by itself, piece by piece, and stops at its own limits.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::store::{StoreError, io_error, write_atomic, write_json};

/// The most of one object's counters, in bytes; the largest objects of the
/// kernel have a tenth.
pub const LARGEST: usize = 4 << 20;

/// The most of all objects of a trial.
const ALL: usize = 64 << 20;

/// Where they are, below an attempt's directory.
const DIRECTORY: &str = "coverage";

/// The list of them.
const LIST: &str = "taken.json";

/// What was had of each object.
#[derive(Debug, Default)]
pub struct Artifacts {
    taken: Vec<(Taken, Vec<u8>)>,
    size: usize,
}

/// An object whose counters were asked for: its file in the directory, or why
/// there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its path in the kernel's tree, without its extension.
    pub object: String,
    /// The file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The artifacts of an attempt, as kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Each object, and the path of its counters where there are any.
    pub taken: Vec<(Taken, Option<PathBuf>)>,
}

impl Artifacts {
    /// Takes what an object's counters are, or why they are not to be had.
    pub fn take(&mut self, object: &str, counters: Result<Vec<u8>, String>) {
        let number = self.taken.len();
        let counters = counters.and_then(|bytes| {
            if bytes.len() > LARGEST || self.size + bytes.len() > ALL {
                return Err("the guest has more counters than kvet takes".to_owned());
            }
            Ok(bytes)
        });
        let (file, problem, bytes) = match counters {
            Ok(bytes) => (Some(format!("{number}.gcda")), None, bytes),
            Err(problem) => (None, Some(problem), Vec::new()),
        };
        self.size += bytes.len();
        let object = object.to_owned();
        let taken = Taken {
            object,
            file,
            problem,
        };
        self.taken.push((taken, bytes));
    }

    /// Writes them below an attempt's directory; nothing if nothing was asked.
    pub fn keep(&self, attempt: &Path) -> Result<(), StoreError> {
        if self.taken.is_empty() {
            return Ok(());
        }
        let directory = attempt.join(DIRECTORY);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        for (taken, bytes) in &self.taken {
            if let Some(file) = &taken.file {
                write_atomic(&directory.join(file), bytes)?;
            }
        }
        let list: Vec<&Taken> = self.taken.iter().map(|(taken, _)| taken).collect();
        write_json(&directory.join(LIST), &list)
    }
}

impl Kept {
    /// What is kept of an attempt; nothing if its guest was not asked.
    pub fn of(attempt: &Path) -> Result<Self, StoreError> {
        let directory = attempt.join(DIRECTORY);
        let list = directory.join(LIST);
        if !list.exists() {
            return Ok(Self::default());
        }
        let text = bounded::read_own(&list, LARGEST as u64).map_err(io_error("read", &list))?;
        let taken: Vec<Taken> =
            serde_json::from_slice(&text).map_err(|error| io_error("read", &list)(error.into()))?;
        // A record can come from anywhere: only names of our own are followed.
        let path = |(number, taken): (usize, Taken)| {
            let own = format!("{number}.gcda");
            let path = (taken.file.as_deref() == Some(&own)).then(|| directory.join(own));
            (taken, path)
        };
        let taken = taken.into_iter().enumerate().map(path).collect();
        Ok(Self { taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_decides_neither_names_nor_sizes() {
        let home = tempfile::tempdir().unwrap();
        let mut artifacts = Artifacts::default();
        artifacts.take("fs/ceph/../../../etc/passwd", Ok(b"counters".to_vec()));
        artifacts.take("fs/ceph/addr", Ok(vec![0; LARGEST + 1]));
        artifacts.take("fs/ceph/caps", Err("ENOENT".to_owned()));
        artifacts.keep(home.path()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(home.path().join(DIRECTORY))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0.gcda", "taken.json"]);
        let kept = Kept::of(home.path()).unwrap().taken;
        let first = kept[0].1.as_ref().unwrap();
        assert_eq!(std::fs::read(first).unwrap(), b"counters");
        assert!(
            kept[1]
                .0
                .problem
                .as_ref()
                .unwrap()
                .contains("more counters")
        );
        assert_eq!(kept[2].0.problem.as_deref(), Some("ENOENT"));
        assert!(kept[1].1.is_none() && kept[2].1.is_none());
    }

    #[test]
    fn all_together_are_bounded() {
        let mut artifacts = Artifacts::default();
        for _ in 0..ALL / LARGEST + 3 {
            artifacts.take("fs/x", Ok(vec![0; LARGEST]));
        }
        let refused = artifacts
            .taken
            .iter()
            .filter(|(taken, _)| taken.file.is_none());
        assert_eq!(refused.count(), 3);
    }

    #[test]
    fn a_list_that_names_other_files_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join(DIRECTORY);
        std::fs::create_dir(&directory).unwrap();
        let list = r#"[{"object":"a","file":"../../etc/passwd"},{"object":"b","file":"0.gcda"}]"#;
        std::fs::write(directory.join(LIST), list).unwrap();
        let kept = Kept::of(home.path()).unwrap();
        assert!(kept.taken.iter().all(|(_, path)| path.is_none()));
    }
}
