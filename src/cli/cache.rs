//! `kvet cache`: what the caches hold, and how to get the space back.

use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use crate::error::{Error, Exit};
use crate::printable::printable;
use crate::store::{Held, Store, StoreError};

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

/// Runs the subcommand on the user's cache.
pub fn run(args: &CacheArgs) -> Result<Exit, Error> {
    let store = Store::open()?;
    run_on(&store, args, &mut std::io::stdout().lock())
}

fn run_on(store: &Store, args: &CacheArgs, out: &mut dyn Write) -> Result<Exit, Error> {
    let held = store.contents()?;
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
    let about = if one.unfinished {
        "unfinished"
    } else {
        &one.about
    };
    let line = format!(
        "{:>10}  {:<10} {:<36} {:>4}d  {about}",
        format_size(one.size),
        one.kind,
        one.name,
        age,
    );
    printable(line.trim_end())
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
        // What a killed process left half made is of no use to anyone.
        if recent && !one.unfinished {
            continue;
        }
        if !store.evict(one, dry_run)? {
            text.extend(["in use:  ", &line(one), "\n"]);
            continue;
        }
        freed += one.size;
        text.extend(["removed: ", &line(one), "\n"]);
    }
    let verb = if dry_run { "would free" } else { "freed" };
    text.extend([verb, " ", &format_size(freed), "\n"]);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Lock;

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
        remove(store, &store.contents().unwrap(), limit, dry_run).unwrap()
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
}
