//! Sources from a directory on this machine: a snapshot of it, so that edits
//! during a run, or what a build left there, cannot get into a kernel.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::{KIND, SourceError, TREE, Tree, finished, seal, stored};
use crate::context::Context;
use crate::kernel::version::KernelVersion;
use crate::process::Command;
use crate::store::{Key, Store};

/// What builds leave in a source tree; make would take it for its own.
const BUILT: &[&str] = &["o", "a", "cmd", "ko", "mod", "order"];
const BUILT_PATHS: &[&str] = &[
    ".config",
    ".git",
    "include/config",
    "include/generated",
    "arch/x86/include/generated",
    "vmlinux",
];

/// Gets a snapshot; the flag says whether the same was in the store.
pub(super) async fn fetch(
    context: &Context,
    store: &Store,
    path: &Path,
) -> Result<(Tree, bool), SourceError> {
    let origin = path.display().to_string();
    if KernelVersion::of_tree(path).is_none() {
        return Err(SourceError::NoKernel { origin });
    }
    let unreadable = |source: io::Error| SourceError::Directory {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(unreadable)?;
    let files = files(context, &path).await?;
    let key = fingerprint(&path, &files).map_err(unreadable)?;
    if let Some(tree) = stored(store, &key) {
        return Ok((tree, true));
    }
    let entry = store
        .fill(KIND, key.as_str(), async |place: PathBuf| {
            copy(&path, &files, &place.join(TREE), &context.cancel).await?;
            seal(&place, &origin)
        })
        .await?;
    Ok((finished(store, &key, &origin)?, entry.cached))
}

/// The files that belong to the source: those git knows or would add, or all
/// but what builds leave.
async fn files(context: &Context, path: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files: Vec<PathBuf> = if path.join(".git").exists() {
        let finished = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .directory(path)
            .run(&context.cancel)
            .await?;
        finished
            .stdout
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())))
            // Deleted, but not yet in the index.
            .filter(|name| path.join(name).symlink_metadata().is_ok())
            .collect()
    } else {
        let mut found = Vec::new();
        walk(path, Path::new(""), &mut found).map_err(|source| SourceError::Directory {
            path: path.to_owned(),
            source,
        })?;
        found
    };
    files.sort();
    files.dedup();
    Ok(files)
}

fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let built = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| BUILT.contains(&extension));
        if built || BUILT_PATHS.iter().any(|built| path == Path::new(built)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(root, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Names, sizes, times and modes: reading every byte would take longer than
/// most builds, and an edit changes the time.
fn fingerprint(root: &Path, files: &[PathBuf]) -> io::Result<Key> {
    let mut parts: Vec<Vec<u8>> = vec![b"dir".to_vec(), root.as_os_str().as_bytes().to_vec()];
    for file in files {
        let data = root.join(file).symlink_metadata()?;
        parts.push(file.as_os_str().as_bytes().to_vec());
        let facts = [data.len(), u64::from(data.mode())];
        let times = [data.mtime(), data.mtime_nsec()];
        parts.push(facts.iter().flat_map(|fact| fact.to_le_bytes()).collect());
        parts.push(times.iter().flat_map(|time| time.to_le_bytes()).collect());
    }
    Ok(Key::of(parts))
}

async fn copy(
    from: &Path,
    files: &[PathBuf],
    to: &Path,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    let stop = cancel.child_token();
    let _stop_on_drop = stop.clone().drop_guard();
    let (source, target, files) = (from.to_owned(), to.to_owned(), files.to_vec());
    let result = tokio::task::spawn_blocking(move || {
        for file in files {
            if stop.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            copy_one(&source.join(&file), &target.join(&file))?;
        }
        Ok(())
    })
    .await
    .unwrap_or_else(|error| Err(io::Error::other(error)));
    if cancel.is_cancelled() {
        return Err(SourceError::Interrupted);
    }
    result.map_err(|source| SourceError::Directory {
        path: from.to_owned(),
        source,
    })
}

fn copy_one(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let kind = from.symlink_metadata()?;
    if kind.is_symlink() {
        std::os::unix::fs::symlink(std::fs::read_link(from)?, to)
    } else if kind.is_file() {
        std::fs::copy(from, to).map(drop)
    } else {
        // A submodule, a socket: no part of a kernel.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION = -x\n";

    async fn snapshot(store: &Store, path: &Path) -> (Tree, bool) {
        fetch(&Context::default(), store, path).await.unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_leaves_builds_behind_and_follows_edits() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("cache")).unwrap();
        let source = home.path().join("linux");
        std::fs::create_dir_all(source.join("include/config")).unwrap();
        for (name, text) in [
            ("Makefile", MAKEFILE),
            ("fs.c", "one"),
            ("fs.o", "built"),
            (".config", "built"),
            ("include/config/auto.conf", "built"),
        ] {
            std::fs::write(source.join(name), text).unwrap();
        }
        let (first, cached) = snapshot(&store, &source).await;
        assert!(!cached);
        assert_eq!(first.version.to_string(), "7.3.4-x");
        assert!(first.path.join("fs.c").exists());
        for built in ["fs.o", ".config", "include/config"] {
            assert!(!first.path.join(built).exists(), "{built}");
        }
        assert!(snapshot(&store, &source).await.1);
        std::fs::write(source.join("fs.c"), "three").unwrap();
        let (second, cached) = snapshot(&store, &source).await;
        assert!(!cached);
        assert_eq!(std::fs::read(first.path.join("fs.c")).unwrap(), b"one");
        assert_eq!(std::fs::read(second.path.join("fs.c")).unwrap(), b"three");
    }
}
