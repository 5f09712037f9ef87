//! `kvet watch --kernel . JOB`: runs a job on the tree again whenever a file of
//! it is saved. A save during a run ends that run: its answer would be about a
//! tree that is gone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use miette::Diagnostic;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::output::{complain, print, style, width};
use super::patched::Tested;
use super::run::{RunOptions, execute};
use super::{load_plan, on_a_thread, open_store};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::job::Plan;
use crate::kernel::{SourceSpec, fetch};
use crate::process::ProcessError;
use crate::report::human_within;
use crate::store::{Store, state_directory};

/// An editor, or `git checkout`, writes several files: the tree is taken when
/// nothing has been written for so long.
const QUIET: Duration = Duration::from_millis(300);

/// The longest that is waited for quiet: something may write all the time.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job: a file, or the name of one that comes with kvet (`kvet list jobs`)
    job: PathBuf,
    #[command(flatten)]
    tested: Tested,
    #[command(flatten)]
    options: RunOptions,
}

/// The tree cannot be watched.
#[derive(Debug, Error, Diagnostic)]
enum WatchError {
    #[error("`kvet watch` watches a directory, and {0} is not one")]
    #[diagnostic(help("--kernel . is the tree you are in; `kvet run` tests anything else, once"))]
    NoDirectory(String),
    #[error("cannot watch {}", path.display())]
    #[diagnostic(help(
        "each directory takes one of the host's watches: raise fs.inotify.max_user_watches"
    ))]
    Notify {
        path: PathBuf,
        source: notify::Error,
    },
}

impl Fault for WatchError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Changes of files, as they happen.
struct Changes {
    /// Watches as long as it lives.
    _watcher: RecommendedWatcher,
    heard: UnboundedReceiver<PathBuf>,
}

impl Changes {
    /// Those of the files of a kernel tree, but for what lies in these places.
    fn of(tree: &Path, own: Vec<PathBuf>) -> Result<Self, WatchError> {
        let (sender, heard) = unbounded_channel();
        let root = tree.to_owned();
        let told = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if let Some(path) = changed(&root, &own, event) {
                // Nobody listens any more: kvet is about to end.
                drop(sender.send(path));
            }
        };
        let failed = |source| WatchError::Notify {
            path: tree.to_owned(),
            source,
        };
        let mut watcher = notify::recommended_watcher(told).map_err(failed)?;
        watcher
            .watch(tree, RecursiveMode::Recursive)
            .map_err(failed)?;
        Ok(Self {
            _watcher: watcher,
            heard,
        })
    }

    /// Waits for a change.
    async fn next(&mut self) -> Option<PathBuf> {
        self.heard.recv().await
    }

    /// Waits until nothing has changed for a moment.
    async fn settle(&mut self) {
        let quiet = async { while let Ok(Some(_)) = timeout(QUIET, self.heard.recv()).await {} };
        drop(timeout(LONGEST, quiet).await);
    }
}

/// What an event says was changed: a file of the tree, or the tree, if there were
/// more changes than the kernel keeps.
fn changed(tree: &Path, own: &[PathBuf], event: notify::Event) -> Option<PathBuf> {
    if event.need_rescan() {
        return Some(tree.to_owned());
    }
    if matches!(event.kind, EventKind::Access(_)) {
        return None;
    }
    let is_own = |path: &PathBuf| own.iter().any(|own| path.starts_with(own));
    let mut paths = event.paths.into_iter();
    paths.find(|path| matters(tree, path) && !is_own(path))
}

/// Where kvet itself writes, as far as that is in the tree.
fn own_places(tree: &Path) -> Result<Vec<PathBuf>, Error> {
    let cache = Store::open()?.root().to_owned();
    let all = [
        Some(cache),
        state_directory().ok(),
        Some(std::env::temp_dir()),
    ];
    let within = |place: &PathBuf| place.starts_with(tree) && place != tree;
    Ok(all.into_iter().flatten().filter(within).collect())
}

/// Whether a change of this file may change the kernel: not git's own, kvet's,
/// an editor's, or what a build leaves.
fn matters(tree: &Path, path: &Path) -> bool {
    let Ok(within) = path.strip_prefix(tree) else {
        return false;
    };
    let first = within.components().next();
    if first.is_none_or(|first| first.as_os_str() == ".git" || first.as_os_str() == "kvet-runs") {
        return false;
    }
    let name = within.file_name().unwrap_or_default().to_string_lossy();
    let ends = [
        ".o", ".a", ".cmd", ".ko", ".mod", ".swp", ".swx", ".tmp", "~", ".d",
    ];
    let is_aside = name.starts_with(".#") || name.starts_with(".tmp_") || name == "4913";
    !is_aside && !ends.iter().any(|end| name.ends_with(end))
}

pub(super) async fn watch(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let Arguments {
        job,
        mut tested,
        options,
    } = arguments;
    let word = tested.kernel.get_or_insert_with(|| ".".to_owned()).clone();
    let named = {
        let word = word.clone();
        on_a_thread(context, move || Ok(SourceSpec::from_word(&word)?)).await?
    };
    let SourceSpec::Directory { path: tree } = named else {
        return Err(WatchError::NoDirectory(word).into());
    };
    let mut changes = Changes::of(&tree, own_places(&tree)?)?;
    // The state that was answered for.
    let mut last = None;
    loop {
        // A change from here on is of the next round.
        while changes.heard.try_recv().is_ok() {}
        let key = state(context, &tree).await;
        match key {
            Ok(key) if Some(&key) == last.as_ref() => {}
            Ok(key) => {
                last = None;
                if !round(context, &job, &tested, &options, &mut changes).await? {
                    // What ended it may have left the tree as it was.
                    changes.settle().await;
                    continue;
                }
                last = Some(key);
            }
            Err(error) if error.exit() == Exit::Interrupted => return Err(error),
            Err(error) => complain(&error),
        }
        context.emit(Event::Note(format!(
            "waiting for a change of {}",
            tree.display()
        )));
        tokio::select! {
            path = changes.next() => {
                if let Some(path) = path {
                    context.emit(Event::Note(format!("{} was saved", path.display())));
                }
            }
            () = context.cancel.cancelled() => return Err(ProcessError::Interrupted.into()),
        }
        changes.settle().await;
    }
}

/// What the tree holds, as a word that changes whenever it does.
async fn state(context: &Context, tree: &Path) -> Result<String, Error> {
    let store = open_store(context).await?;
    let path = tree.to_owned();
    let tree = fetch(context, &store, &SourceSpec::Directory { path }).await?;
    Ok(tree.key.as_str().to_owned())
}

/// One run, which a save ends: whether it came to its end. Its failure is told, and
/// the next save is waited for.
async fn round(
    context: &Context,
    job: &Path,
    tested: &Tested,
    options: &RunOptions,
    changes: &mut Changes,
) -> Result<bool, Error> {
    let inner = Context {
        cancel: context.cancel.child_token(),
        events: context.events.clone(),
    };
    let run = async {
        let choice = options.on(tested.clone().choice(&inner).await?);
        let plan: Plan = load_plan(&inner, job.to_owned(), choice).await?;

        execute(&inner, &plan, options, None).await
    };
    let saved = async {
        // What was saved since the state was taken may be missing in it.
        if changes.next().await.is_some() {
            inner.cancel.cancel();
        }
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = run => result,
        () = saved => Err(ProcessError::Interrupted.into()),
    };
    if context.cancel.is_cancelled() {
        return Err(ProcessError::Interrupted.into());
    }
    if result.is_err() {
        // What was under way is over, which nobody else says.
        context.emit(Event::RunFinished {
            verdict: "none".to_owned(),
            elapsed: Duration::ZERO,
        });
    }
    match result {
        Ok(report) => {
            let tell = move || Ok(print(&human_within(&report, style(), width()))?);
            on_a_thread(context, tell).await?;
            // What was saved while the run was at its end is not in it.
            Ok(!inner.cancel.is_cancelled())
        }
        Err(error) if error.exit() == Exit::Interrupted => {
            context.emit(Event::Note("the tree was changed: again".to_owned()));
            Ok(false)
        }
        Err(error) => {
            complain(&error);
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_editors_and_builds_write_is_no_change() {
        let tree = Path::new("/linux");
        for (path, expected) in [
            ("/linux/fs/ceph/addr.c", true),
            ("/linux/Makefile", true),
            ("/linux/.git/index", false),
            ("/linux/kvet-runs/j-1/run.json", false),
            ("/linux/fs/ceph/addr.o", false),
            ("/linux/fs/ceph/.addr.c.swp", false),
            ("/linux/fs/ceph/addr.c~", false),
            ("/linux/fs/ceph/4913", false),
            ("/linux/fs/ceph/.#addr.c", false),
            ("/elsewhere/addr.c", false),
            ("/linux", false),
        ] {
            assert_eq!(matters(tree, Path::new(path)), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_save_below_the_tree_is_heard_and_a_build_is_not() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().canonicalize().unwrap();
        std::fs::create_dir_all(tree.join("fs/ceph")).unwrap();
        let mut changes = Changes::of(&tree, Vec::new()).unwrap();
        std::fs::write(tree.join("fs/ceph/addr.o"), "built").unwrap();
        std::fs::write(tree.join("fs/ceph/addr.c"), "saved").unwrap();
        assert_eq!(changes.next().await, Some(tree.join("fs/ceph/addr.c")));
        changes.settle().await;
        assert!(changes.heard.try_recv().is_err());
        // As editors do it that are careful.
        std::fs::write(tree.join("fs/ceph/.tmp_new"), "new").unwrap();
        std::fs::rename(tree.join("fs/ceph/.tmp_new"), tree.join("fs/ceph/caps.c")).unwrap();
        assert_eq!(changes.next().await, Some(tree.join("fs/ceph/caps.c")));
    }

    #[test]
    fn what_was_too_much_to_be_told_is_a_change_and_what_kvet_writes_is_none() {
        let tree = Path::new("/linux");
        let own = [PathBuf::from("/linux/.cache/kvet")];
        let of = |event| changed(tree, &own, event);
        let modified = |path: &str| {
            let kind = EventKind::Modify(notify::event::ModifyKind::Any);
            notify::Event::new(kind).add_path(path.into())
        };
        assert_eq!(of(modified("/linux/f.c")), Some("/linux/f.c".into()));
        assert_eq!(of(modified("/linux/.cache/kvet/builds/x")), None);
        let overflow = notify::Event::new(EventKind::Other);
        assert_eq!(of(overflow.clone()), None);
        let overflow = overflow.set_flag(notify::event::Flag::Rescan);
        assert_eq!(of(overflow), Some("/linux".into()));
    }
}
