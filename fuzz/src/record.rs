//! Run directories: one that was kept, with one file of it changed.

use std::fs;
use std::path::{Path, PathBuf};

use kvet::run::judge_again;

/// A run directory whose files are changed one at a time.
pub struct Kept {
    root: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Kept {
    /// Copies the run at `from` to `to`.
    ///
    /// # Panics
    ///
    /// If it cannot be read or written.
    #[must_use]
    pub fn copied(from: &Path, to: &Path) -> Self {
        let mut files = Vec::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            fs::create_dir_all(to.join(&directory)).expect("a directory");
            for entry in fs::read_dir(from.join(&directory)).expect("a run directory") {
                let entry = entry.expect("an entry");
                let name = directory.join(entry.file_name());
                if entry.file_type().expect("a type").is_dir() {
                    directories.push(name);
                } else {
                    let content = fs::read(entry.path()).expect("a file");
                    fs::write(to.join(&name), &content).expect("a file");
                    files.push((name, content));
                }
            }
        }
        files.sort();
        Self {
            root: to.to_owned(),
            files,
        }
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What the file of that number holds.
    #[must_use]
    pub fn content(&self, number: usize) -> &[u8] {
        &self.files[number % self.files.len()].1
    }

    /// Judges the run with other content in one file: a report or an error, no
    /// panic. Then the file is as it was.
    ///
    /// # Panics
    ///
    /// If a file cannot be written.
    pub fn check(&self, number: usize, content: &[u8]) {
        let (name, kept) = &self.files[number % self.files.len()];
        let path = self.root.join(name);
        fs::write(&path, content).expect("a file");
        let _ = judge_again(&self.root);
        fs::write(&path, kept).expect("a file");
    }
}

/// The run that the golden tests judge.
#[must_use]
pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cmd/judge.in/run")
}
