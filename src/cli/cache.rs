//! `kvet cache`: what the caches hold, and how to get the space back.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use crate::duration;
use crate::error::{Error, Exit};
use crate::printable::printable;
use crate::store::{Held, Limit, Pruned, Store, parse_size};

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
    /// Remove what was not used for a while, or is too much, and is not in use now.
    ///
    /// What was used longest ago goes first. `run` does the same before and after
    /// it works where limits are set: in limits.yaml, or in the environment
    /// (docs/history.md).
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PruneArgs {
    #[command(flatten)]
    kept: Kept,
    /// Remove everything that is not in use.
    #[arg(long, conflicts_with_all = ["keep", "max_size"])]
    all: bool,
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

/// What a prune keeps; also of run directories.
#[derive(Debug, Args)]
pub(super) struct Kept {
    /// Remove what was last used longer ago than this, such as 14d [default: 30d,
    /// without --max-size].
    #[arg(long, alias = "older-than", value_name = "TIME", value_parser = duration::parse)]
    keep: Option<Duration>,
    /// Then remove what was used longest ago until this is not exceeded, such as
    /// 40GiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
}

/// How long things are kept unless something else is said.
const KEEP: Duration = Duration::from_secs(30 * 86400);

impl Kept {
    pub(super) fn limit(&self, all: bool) -> Limit {
        let default = self.max_size.is_none().then_some(KEEP);
        Limit {
            keep: if all {
                Some(Duration::ZERO)
            } else {
                self.keep.or(default)
            },
            max_size: self.max_size,
        }
    }
}

/// Runs the subcommand on the user's cache.
pub fn run(args: &CacheArgs) -> Result<Exit, Error> {
    let store = Store::open()?;
    run_on(&store, args, &mut std::io::stdout().lock())
}

fn run_on(store: &Store, args: &CacheArgs, out: &mut dyn Write) -> Result<Exit, Error> {
    let text = match &args.command {
        CacheCommand::List => list(store, &store.contents()?),
        CacheCommand::Prune(prune) => {
            let pruned = store.prune(&prune.kept.limit(prune.all), prune.dry_run)?;
            told(&pruned, prune.dry_run)
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

/// A number of bytes, for people.
pub(super) fn format_size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn told(pruned: &Pruned, dry_run: bool) -> String {
    let mut text = String::new();
    for (how, all) in [
        ("removed: ", &pruned.removed),
        ("in use:  ", &pruned.in_use),
    ] {
        for one in all {
            text.extend([how, &line(one), "\n"]);
        }
    }
    let verb = if dry_run { "would free" } else { "freed" };
    let (freed, left) = (format_size(pruned.freed), format_size(pruned.left));
    text.extend([verb, " ", &freed, ", ", &left, " left\n"]);
    text
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

    fn prune(store: &Store, keep: Duration, dry_run: bool) -> String {
        let limit = Limit {
            keep: Some(keep),
            max_size: None,
        };
        told(&store.prune(&limit, dry_run).unwrap(), dry_run)
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
    fn a_size_alone_makes_nothing_too_old() {
        let kept = |keep, max_size| Kept { keep, max_size };
        let day = Duration::from_secs(86400);
        assert_eq!(kept(None, None).limit(false).keep, Some(KEEP));
        assert_eq!(kept(None, Some(1)).limit(false).keep, None);
        assert_eq!(kept(Some(day), Some(1)).limit(false).keep, Some(day));
        assert_eq!(kept(None, None).limit(true).keep, Some(Duration::ZERO));
    }
}
