//! The directory in which make builds: one for each line, set of fragments and
//! compiler, shared by all trees of the line and all arms, so that the next one
//! compiles only what differs.
//!
//! make compares times. They mean something as long as the working tree is of
//! the same generation: with another one everything is built anew.
//!
//! While make runs a marker lies in it. If the marker is found later, make was
//! killed: an object may be half written and yet newer than its source.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::process::Command;
use crate::store::{
    Below, Key, Lock, Store, StoreError, files_below, io_error, remove_tree, remove_unfinished,
    write_atomic,
};

const KIND: &str = "objects";
const MARKER: &str = "kvet-building";
const COMPLETE: &str = "kvet-complete";
const TEMPORARY: &str = "kvet-tmp";
const GENERATION: &str = "kvet-generation";

/// Objects of a kernel with the project's own fragments, about.
const USUAL_COUNT: u64 = 1200;

/// A place to build in, the caller's until dropped.
#[derive(Debug)]
pub(super) struct ObjectDirectory {
    path: PathBuf,
    _lock: Lock,
}

/// Variables that have make, Kconfig or the compiler take other files than those
/// of the tree and the object directory, or do something else with them. An empty
/// one counts as set. The first are what kbuild hands to what it starts itself.
const ELSEWHERE: [&str; 18] = [
    "sub_make_done",
    "KBUILD_SRC",
    "KBUILD_ABS_SRCTREE",
    "KBUILD_CHECKSRC",
    "KBUILD_VERBOSE",
    "KCONFIG_NOSILENTUPDATE",
    "KCONFIG_CONFIG",
    "KCONFIG_AUTOCONFIG",
    "KCONFIG_AUTOHEADER",
    "KCONFIG_RUSTCCFG",
    "KCONFIG_DEFCONFIG_LIST",
    "KCONFIG_OVERWRITECONFIG",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "KBUILD_EXTRA_WARN",
    "CPATH",
    "C_INCLUDE_PATH",
    "LIBRARY_PATH",
];

impl ObjectDirectory {
    /// Opens the directory of this key, made if need be, and mends it if a
    /// build in it was killed; with nothing in it if the working tree, which
    /// the caller holds, is not of the generation it was last built from.
    pub(super) async fn open(
        store: &Store,
        key: &Key,
        generation: &str,
    ) -> Result<Self, StoreError> {
        let home = store.kind(KIND)?;
        // Held against `kvet cache prune`; nobody keeps it for long.
        let lock = Lock::acquire(&home.join(format!(".{}.lock", key.as_str()))).await?;
        let path = home.join(key.as_str());
        let recorded = path.join(GENERATION);
        if std::fs::read_to_string(&recorded).ok().as_deref() != Some(generation) {
            remove_tree(&path)?;
            std::fs::create_dir_all(&path).map_err(io_error("create", &path))?;
            write_atomic(&recorded, generation.as_bytes())?;
        }
        remove_unfinished(&path)?;
        let directory = Self { path, _lock: lock };
        directory.fresh_temporary()?;
        if directory.join(MARKER).exists() {
            mend(&directory.path)?;
            directory.unmark()?;
        }
        Ok(directory)
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Says that make is about to write here.
    pub(super) fn mark(&self) -> Result<(), StoreError> {
        write_atomic(&self.join(MARKER), b"")
    }

    /// Says that make ended by itself.
    pub(super) fn unmark(&self) -> Result<(), StoreError> {
        let marker = self.join(MARKER);
        std::fs::remove_file(&marker).map_err(io_error("remove", &marker))
    }

    /// Remembers that everything was built once.
    pub(super) fn complete(&self) -> Result<(), StoreError> {
        write_atomic(&self.join(COMPLETE), b"")
    }

    /// How many objects are there and how many there will be, before a build
    /// from nothing or of what an interrupted one left; `None` where everything
    /// was built once and only make knows what an arm changes.
    pub(super) fn estimate(&self) -> Option<(u64, u64)> {
        if self.join(COMPLETE).exists() {
            return None;
        }
        let present = count_objects(&self.path);
        Some((present, USUAL_COUNT.max(present)))
    }

    /// How many object files are there.
    pub(super) fn objects(&self) -> u64 {
        count_objects(&self.path)
    }

    fn fresh_temporary(&self) -> Result<(), StoreError> {
        let temporary = self.join(TEMPORARY);
        remove_tree(&temporary)?;
        std::fs::create_dir(&temporary).map_err(io_error("create", &temporary))
    }

    /// make for the tree at `source`, untouched by the user's environment and
    /// with everything fixed that would make two builds differ.
    pub(super) fn make(&self, source: &Path) -> Command {
        let cleared = [
            "MAKEFLAGS",
            "MFLAGS",
            "KBUILD_OUTPUT",
            "KBUILD_EXTMOD",
            "CROSS_COMPILE",
            "LLVM",
            "KCFLAGS",
            "KAFLAGS",
            "KCPPFLAGS",
            "HOSTCFLAGS",
            "HOSTLDFLAGS",
            "LOCALVERSION",
        ];
        cleared
            .into_iter()
            .fold(Command::new("make"), |command, name| command.env(name, ""))
            .without(ELSEWHERE)
            .without(options_in(std::env::vars_os().map(|(name, _)| name)))
            .env("LC_ALL", "C")
            .env("TMPDIR", self.join(TEMPORARY))
            // The release's name must not follow from a repository around it.
            .env("GIT_DIR", "/dev/null")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_USER", "kvet")
            .env("KBUILD_BUILD_HOST", "kvet")
            // Not the working directory: entering a namespace forgets that.
            .arg("-C")
            .arg(source)
            .arg("--no-print-directory")
            .arg(format!("O={}", self.path.display()))
            .arg("ARCH=x86_64")
    }
}

/// Those of these variables that kbuild would take for options that are set.
fn options_in(names: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let is_one = |name: &OsString| name.as_encoded_bytes().starts_with(b"CONFIG_");
    names.into_iter().filter(is_one)
}

fn count_objects(directory: &Path) -> u64 {
    // An estimate: what cannot be read is not counted.
    let files = files_below(directory, usize::MAX).flatten();
    let is_object = |file: &Below| file.name.extension().is_some_and(|end| end == "o");
    files.map(|file| u64::from(is_object(&file))).sum()
}

/// Removes what a killed make may have left half written. kbuild writes a
/// target's `.cmd` file after the target, so a target that is newer than its
/// `.cmd` file, or whose `.cmd` file has no end, was not finished.
fn mend(directory: &Path) -> Result<(), StoreError> {
    let mut doubtful = Vec::new();
    for file in files_below(directory, usize::MAX) {
        let path = file?.path;
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(target) = name
            .and_then(|name| name.strip_prefix('.'))
            .and_then(|name| name.strip_suffix(".cmd"))
            .map(|target| path.with_file_name(target))
        else {
            continue;
        };
        let newer = matches!((time(&target), time(&path)),
            (Some(target), Some(command)) if target > command);
        if newer || !ends_with_newline(&path).unwrap_or(false) {
            doubtful.push(path);
            doubtful.push(target);
        }
    }
    for path in doubtful {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn time(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn ends_with_newline(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn make_finds_no_other_config_than_that_of_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let directory = ObjectDirectory::open(&store, &Key::of(["x"]), "1")
            .await
            .unwrap();
        let make = directory.make(home.path());
        // Set to nothing it would be set: the kernel's Makefile asks with `?=`.
        assert!(make.is_without("KCONFIG_CONFIG"));
        assert!(make.is_without("MAKEFILES"));
        // Within a kernel's make it would build in the tree itself.
        assert!(make.is_without("sub_make_done"));
    }

    #[tokio::test]
    async fn only_what_was_not_finished_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Key::of(["x"]);
        let directory = ObjectDirectory::open(&store, &key, "1").await.unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let write = |name: &str, content: &str, age: u64| {
            let path = directory.join(name);
            std::fs::write(&path, content).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(old + Duration::from_secs(age)).unwrap();
        };
        write("done.o", "object", 1);
        write(".done.o.cmd", "savedcmd\n", 1);
        write("half.o", "obj", 5);
        write(".half.o.cmd", "savedcmd\n", 1);
        write("cut.o", "object", 1);
        write(".cut.o.cmd", "savedc", 2);
        directory.mark().unwrap();
        drop(directory);
        let directory = ObjectDirectory::open(&store, &key, "1").await.unwrap();
        assert!(directory.join("done.o").exists());
        assert!(!directory.join("half.o").exists());
        assert!(!directory.join(".half.o.cmd").exists());
        assert!(!directory.join("cut.o").exists());
        assert!(!directory.join(MARKER).exists());
        assert_eq!(directory.estimate(), Some((1, USUAL_COUNT)));
    }

    #[tokio::test]
    async fn objects_of_another_generation_are_not_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let key = Key::of(["x"]);
        for (generation, kept) in [("1", false), ("1", true), ("2", false)] {
            let directory = ObjectDirectory::open(&store, &key, generation)
                .await
                .unwrap();
            let object = directory.join("a.o");
            assert_eq!(object.exists(), kept, "{generation}");
            std::fs::write(object, "object").unwrap();
        }
    }

    #[test]
    fn options_of_the_environment_are_none_of_the_kernel_s() {
        let names = ["CONFIG_CEPH_FS", "CONFIG_", "XDG_CONFIG_HOME", "PATH"];
        let taken: Vec<_> = options_in(names.map(Into::into)).collect();
        assert_eq!(taken, ["CONFIG_CEPH_FS", "CONFIG_"]);
    }
}
