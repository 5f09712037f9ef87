//! `kvet cache`: what the caches hold, and how to get the space back.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use crate::error::{Error, Exit};
use crate::store::{Lock, Store, StoreError, io_error, remove_tree};

/// Arguments of `kvet cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show what the caches hold, largest first.
    List,
    /// Remove what was not used for a while and is not in use now.
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Remove what was last used longer ago than this.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = humantime::parse_duration)]
    older_than: Duration,
    /// Remove everything that is not in use.
    #[arg(long, conflicts_with = "older_than")]
    all: bool,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

/// One thing in a cache.
#[derive(Debug)]
struct Held {
    /// The kind: sources, builds, …
    kind: String,
    name: String,
    path: PathBuf,
    /// Bytes on disk that no entry listed before it holds as well.
    size: u64,
    used: SystemTime,
    about: String,
}

/// Runs the subcommand on the user's cache.
pub fn run(args: &CacheArgs) -> Result<Exit, Error> {
    let store = Store::open()?;
    run_on(&store, args, &mut std::io::stdout().lock())
}

fn run_on(store: &Store, args: &CacheArgs, out: &mut dyn Write) -> Result<Exit, Error> {
    let held = held(store)?;
    let text = match &args.command {
        CacheCommand::List => list(store, &held),
        CacheCommand::Prune(prune) => {
            let limit = if prune.all {
                Duration::ZERO
            } else {
                prune.older_than
            };
            remove(store, &held, limit, prune.dry_run)?
        }
    };
    // A reader that has gone away wants no more.
    drop(out.write_all(text.as_bytes()));
    Ok(Exit::Good)
}

/// Everything in the store. Files that several entries share (a working tree
/// and its source) are counted once.
fn held(store: &Store) -> Result<Vec<Held>, StoreError> {
    let mut seen = HashSet::new();
    let mut held = Vec::new();
    let mut kinds = children(store.root())?;
    kinds.retain(|kind| kind.is_dir());
    kinds.sort();
    for kind in kinds {
        for path in children(&kind)? {
            let name = file_name(&path);
            if name.starts_with('.') {
                continue;
            }
            let mut size = 0;
            // What cannot be read is not counted.
            drop(measure(&path, &mut seen, &mut size));
            held.push(Held {
                kind: file_name(&kind),
                used: last_used(&path),
                about: about(&path),
                name,
                path,
                size,
            });
        }
    }
    held.sort_by_key(|one| std::cmp::Reverse(one.size));
    Ok(held)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries =
        std::fs::read_dir(directory).map_err(io_error("read the directory", directory))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn measure(path: &Path, seen: &mut HashSet<(u64, u64)>, size: &mut u64) -> std::io::Result<()> {
    let data = path.symlink_metadata()?;
    if data.nlink() < 2 || data.is_dir() || seen.insert((data.dev(), data.ino())) {
        *size += data.blocks() * 512;
    }
    if data.is_dir() {
        for entry in std::fs::read_dir(path)? {
            measure(&entry?.path(), seen, size)?;
        }
    }
    Ok(())
}

/// The files that say what an entry is; using it gives them a new time.
const RECORDS: &[&str] = &["build.json", "source.json"];

fn last_used(path: &Path) -> SystemTime {
    let records = RECORDS.iter().map(|record| path.join(record));
    records
        .chain([path.to_owned()])
        .filter_map(|path| path.metadata().ok()?.modified().ok())
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What an entry's record says of it.
fn about(path: &Path) -> String {
    let Some(record) = RECORDS
        .iter()
        .find_map(|record| std::fs::read(path.join(record)).ok())
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
    else {
        return String::new();
    };
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    if let Some(patches) = record["patches"].as_array() {
        let names = patches.iter().filter_map(|patch| patch["name"].as_str());
        return std::iter::once(text("release").as_str())
            .chain(names)
            .collect::<Vec<_>>()
            .join(" + ");
    }
    text("origin")
}

fn list(store: &Store, held: &[Held]) -> String {
    let mut text: String = held
        .iter()
        .flat_map(|one| [line(one), "\n".to_owned()])
        .collect();
    let total: u64 = held.iter().map(|one| one.size).sum();
    text.push_str(&format_size(total));
    text.push_str(" in ");
    text.push_str(&store.root().display().to_string());
    text.push('\n');
    text
}

fn line(one: &Held) -> String {
    let age = SystemTime::now()
        .duration_since(one.used)
        .map_or(0, |age| age.as_secs() / 86400);
    let line = format!(
        "{:>10}  {:<10} {:<36} {:>4}d  {}",
        format_size(one.size),
        one.kind,
        one.name,
        age,
        one.about
    );
    line.trim_end().to_owned()
}

fn format_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in units {
        if bytes >= unit {
            return format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit);
        }
    }
    format!("{bytes} B")
}

/// Removes what was not used within `limit`; what someone uses is left.
fn remove(
    store: &Store,
    held: &[Held],
    limit: Duration,
    dry_run: bool,
) -> Result<String, StoreError> {
    let mut text = String::new();
    let mut freed = 0;
    for one in held {
        let recent = SystemTime::now()
            .duration_since(one.used)
            .is_ok_and(|age| age < limit);
        if recent {
            continue;
        }
        let Some(_locks) = locks(store, one)? else {
            text.extend(["in use:  ", &line(one), "\n"]);
            continue;
        };
        if !dry_run {
            // Out of the way in one step: a half removed entry must not be found.
            let partial = one.path.with_file_name(format!(".{}.partial", one.name));
            remove_any(&partial)?;
            std::fs::rename(&one.path, &partial).map_err(io_error("rename", &one.path))?;
            remove_any(&partial)?;
        }
        freed += one.size;
        text.extend(["removed: ", &line(one), "\n"]);
    }
    let verb = if dry_run { "would free" } else { "freed" };
    text.extend([verb, " ", &format_size(freed), "\n"]);
    Ok(text)
}

/// Takes the locks under which an entry is made or used; `None` if someone
/// holds one of them.
fn locks(store: &Store, one: &Held) -> Result<Option<Vec<Lock>>, StoreError> {
    let mut paths = vec![one.path.with_file_name(format!(".{}.lock", one.name))];
    if one.kind == "sources" || one.kind == "worktrees" {
        // Held while an arm of the source is patched and built.
        let arm = format!(".{}.arm.lock", one.name);
        paths.push(store.kind("worktrees")?.join(arm));
    }
    let mut locks = Vec::new();
    for path in paths {
        match Lock::try_acquire(&path)? {
            Some(lock) => locks.push(lock),
            None => return Ok(None),
        }
    }
    // A run holds on to its kernels and its initramfs.
    match Lock::of_unused(&one.path)? {
        Some(lock) => locks.push(lock),
        None => return Ok(None),
    }
    Ok(Some(locks))
}

fn remove_any(path: &Path) -> Result<(), StoreError> {
    if path.is_file() {
        std::fs::remove_file(path).map_err(io_error("remove", path))
    } else {
        remove_tree(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::InUse;

    fn store_with(names: &[&str]) -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        for name in names {
            let path = home.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(
                path.join("build.json"),
                r#"{"release":"7.3.4","patches":[{"name":"a"}]}"#,
            )
            .unwrap();
        }
        (home, store)
    }

    fn prune(store: &Store, limit: Duration, dry_run: bool) -> String {
        remove(store, &held(store).unwrap(), limit, dry_run).unwrap()
    }

    #[test]
    fn only_what_is_old_and_unused_goes() {
        let (home, store) = store_with(&["builds/old", "builds/new", "builds/busy"]);
        let long_ago = SystemTime::now() - Duration::from_secs(86400 * 60);
        for name in ["old", "busy"] {
            let path = home.path().join("builds").join(name);
            for file in [path.join("build.json"), path] {
                let file = std::fs::File::open(file).unwrap();
                file.set_modified(long_ago).unwrap();
            }
        }
        let busy = home.path().join("builds/.busy.lock");
        let _lock = Lock::try_acquire(&busy).unwrap().unwrap();
        let limit = Duration::from_secs(86400 * 30);
        let text = prune(&store, limit, true);
        assert!(text.contains("removed:") && home.path().join("builds/old").exists());
        let text = prune(&store, limit, false);
        assert!(text.contains("in use:"), "{text}");
        assert!(!home.path().join("builds/old").exists());
        assert!(home.path().join("builds/new").exists());
        assert!(home.path().join("builds/busy").exists());
    }

    #[test]
    fn a_kernel_that_a_run_boots_stays() {
        let (home, store) = store_with(&["builds/one"]);
        let path = home.path().join("builds/one");
        let kernel = InUse::of(&path);
        prune(&store, Duration::ZERO, false);
        assert!(path.exists());
        drop(kernel);
        prune(&store, Duration::ZERO, false);
        assert!(!path.exists());
    }

    #[test]
    fn a_source_whose_arm_is_being_built_stays() {
        let (home, store) = store_with(&["sources/one", "worktrees/one"]);
        let arm = home.path().join("worktrees/.one.arm.lock");
        let lock = Lock::try_acquire(&arm).unwrap().unwrap();
        prune(&store, Duration::ZERO, false);
        assert!(home.path().join("sources/one").exists());
        assert!(home.path().join("worktrees/one").exists());
        drop(lock);
        prune(&store, Duration::ZERO, false);
        assert!(!home.path().join("sources/one").exists());
        assert!(!home.path().join("worktrees/one").exists());
    }

    #[test]
    fn shared_files_count_once_and_entries_say_what_they_are() {
        let (home, store) = store_with(&["builds/one", "builds/two"]);
        let big = home.path().join("builds/one/big");
        std::fs::write(&big, vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(&big, home.path().join("builds/two/big")).unwrap();
        let held = held(&store).unwrap();
        let total: u64 = held.iter().map(|one| one.size).sum();
        assert!(total < 3 << 19, "{total}");
        assert!(list(&store, &held).contains("7.3.4 + a"));
    }
}
