//! Patching: makes the working tree of a line hold exactly an arm's files.
//!
//! The patches are applied to an index of git's, beside the tree; only when all
//! of them went in does the working tree change, and there only files whose
//! content differs are replaced. So a patch that does not fit leaves the tree
//! as it was, and `make` rebuilds only what an arm changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::diff::{self, FileChange};
use super::instrument::instrument;
use super::nearest::{Nearest, nearest};
use super::patch_error::PatchError;
use super::progress::Progress;
use super::repository::write_tree;
use super::series::{PatchFile, SelectedSeries};
use super::source::Tree;
use super::worktree::{Staging, Worktree};
use crate::context::Context;
use crate::coverage::Changed;
use crate::coverage::changed::Tracker;
use crate::event::{Event, Stage, Unit};
use crate::process::Command;
use crate::store::{Scratch, Store};

/// A working tree that holds an arm's files, and is the caller's until dropped.
#[derive(Debug)]
pub struct PatchedTree {
    /// The source it was made from.
    pub tree: Tree,
    /// The patched tree.
    pub path: PathBuf,
    /// What was applied.
    pub series: Vec<SelectedSeries>,
    /// The files that the series touch, relative to the tree.
    pub touched: BTreeSet<PathBuf>,
    /// How many files were rewritten to get here from the arm before.
    pub rewritten: usize,
    /// Which lines the series change; only where lines are to be counted.
    pub changed: Option<Changed>,
    pub(super) worktree: Worktree,
}

/// Brings the line's working tree to the state that `series` asks for. Waits
/// while another arm of the same line is being built.
pub async fn patch(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
) -> Result<PatchedTree, PatchError> {
    patch_for(context, store, tree, series, &BTreeSet::new()).await
}

/// The same for a kernel in which the executed lines of these files are counted.
pub(super) async fn patch_for(
    context: &Context,
    store: &Store,
    tree: &Tree,
    series: &[SelectedSeries],
    instrumented: &BTreeSet<PathBuf>,
) -> Result<PatchedTree, PatchError> {
    let progress = Progress::start(context, Stage::Patch, subject(tree, series));
    let mut worktree = Worktree::open(context, store, tree).await?;
    let mut touched = BTreeSet::new();
    let patches: Vec<&PatchFile> = series.iter().flat_map(|one| &one.patches).collect();
    let mut id = tree.id.clone();
    let is_changed = !patches.is_empty() || !instrumented.is_empty();
    let staging = worktree.staging()?;
    if is_changed {
        staging.begin(context, &tree.id).await?;
    }
    let mut tracker = Tracker::default();
    for (done, patch) in patches.iter().enumerate() {
        progress.at(done as u64, Some(patches.len() as u64), Unit::Count);
        let changes = apply_next(context, &staging, tree, series, patch).await?;
        touched.extend(
            changes
                .iter()
                .flat_map(FileChange::paths)
                .map(Path::to_owned),
        );
        if !instrumented.is_empty() {
            let after = write_tree(context, staging.git()).await?;
            let diff = worktree.difference(context, &id, &after).await?;
            tracker.patch(&patch.name, &diff);
            id = after;
        }
    }
    if !instrumented.is_empty() {
        instrument(context, &staging, instrumented).await?;
    }
    if is_changed {
        id = write_tree(context, staging.git()).await?;
    }
    let rewritten = worktree.become_tree(context, &id).await?;
    progress.finish(false);
    Ok(PatchedTree {
        tree: tree.clone(),
        path: worktree.path(),
        series: series.to_vec(),
        touched,
        rewritten,
        changed: (!instrumented.is_empty()).then(|| tracker.changed()),
        worktree,
    })
}

/// Whether the patches of `series` apply to a tree, one after the other: nothing
/// but an index for the purpose is written, and nobody is waited for.
pub async fn applies(
    context: &Context,
    tree: &Tree,
    series: &[SelectedSeries],
) -> Result<(), PatchError> {
    let scratch = Scratch::new()?;
    let staging = Staging::beside(&tree.repository, &scratch)?;
    staging.begin(context, &tree.id).await?;
    for patch in series.iter().flat_map(|one| &one.patches) {
        apply_next(context, &staging, tree, series, patch).await?;
    }
    Ok(())
}

/// Applies the next patch of `series`; returns what it changes.
async fn apply_next(
    context: &Context,
    staging: &Staging,
    tree: &Tree,
    series: &[SelectedSeries],
    patch: &PatchFile,
) -> Result<Vec<FileChange>, PatchError> {
    let refused = |reason, help: &str| PatchError::Refused {
        patch: patch.name.clone(),
        version: tree.version.to_string(),
        file: None,
        hunk: None,
        reason,
        help: help.to_owned(),
    };
    if let Some(damage) = diff::damage(&patch.content) {
        return Err(refused(damage.reason, damage.help));
    }
    let changes = diff::changes(&patch.content).map_err(|reason| refused(reason, diff::FORM))?;
    let applied = apply(context, staging, tree, patch, &changes).await;
    let Err(PatchError::Refused {
        patch: name,
        version,
        file,
        hunk,
        reason,
        help,
    }) = applied
    else {
        return applied.map(|()| changes);
    };
    let of_patch = |one: &&SelectedSeries| one.patches.contains(patch);
    let base = series
        .iter()
        .find(of_patch)
        .and_then(|one| one.base_commit.as_deref());
    let help = match base {
        Some(base) => format!("{help}; {}", on_base(context, tree, base).await?),
        None => help,
    };
    Err(PatchError::Refused {
        patch: name,
        version,
        file,
        hunk,
        reason,
        help,
    })
}

/// Where a patch applies that says for which commit it was made.
async fn on_base(context: &Context, tree: &Tree, base: &str) -> Result<String, PatchError> {
    let short = base.get(..12).unwrap_or(base);
    let known = tree
        .repository
        .has(context, &format!("{base}^{{commit}}"))
        .await?;
    let name = &tree.line.name;
    Ok(if known {
        format!("it was made for commit {short}, which `--kernel git:{name}@{base}` tests")
    } else {
        format!(
            "it was made for commit {short}: fetch that into a repository DIR, and \
             `--kernel git:DIR@{base}` tests it there"
        )
    })
}

/// So many series have their names in a subject.
const FEW: usize = 3;

/// What an arm is called while it is made: the version and what is on top. Of
/// more than a few the last is named: a line has no room for them.
pub(super) fn subject(tree: &Tree, series: &[SelectedSeries]) -> String {
    let (counted, named) = match series.len() {
        0..=FEW => (0, series),
        all => (all - 1, &series[all - 1..]),
    };
    std::iter::once(tree.version.to_string())
        .chain((counted > 0).then(|| format!("{counted} before")))
        .chain(named.iter().map(|one| one.name.clone()))
        .collect::<Vec<_>>()
        .join(" + ")
}

/// Applies one patch to what is staged: every line of context must match.
async fn apply(
    context: &Context,
    staging: &Staging,
    tree: &Tree,
    patch: &PatchFile,
    changes: &[FileChange],
) -> Result<(), PatchError> {
    let finished = git_apply(staging, &["--verbose"])
        .input(patch.content.clone())
        .status(&context.cancel)
        .await?;
    let said = String::from_utf8_lossy(&finished.stderr);
    if finished.status.success() {
        if let Some(note) = displacement(&said) {
            context.emit(Event::Note(format!("{}: {note}", patch.name)));
        }
        return Ok(());
    }
    let (file, hunk, mut reason) = explain(&said, changes);
    let already = is_there(&context.cancel, staging, patch).await?;
    if !already
        && let Some((file, hunk)) = file.as_ref().zip(hunk)
        && let Some(nearest) = near(&context.cancel, staging, patch, file, hunk - 1).await?
    {
        reason = format!("{reason}\n{nearest}");
    }
    Err(PatchError::Refused {
        patch: patch.name.clone(),
        version: tree.version.to_string(),
        file,
        hunk,
        reason,
        help: if already {
            "this kernel holds the change already: drop the patch for it; or the patch is \
             reversed: `git diff` takes the older state first"
                .to_owned()
        } else if said.contains("corrupt patch") {
            diff::WRAPPED.to_owned()
        } else {
            format!(
                "rebase {} onto this kernel, or choose a kernel that the series serves; \
                 nothing was changed",
                patch.name
            )
        },
    })
}

fn git_apply(staging: &Staging, options: &[&str]) -> Command {
    staging
        .git()
        .args(["apply", "--cached", "--whitespace=nowarn", "-p1"])
        .args(options)
        .arg("-")
}

async fn is_there(
    cancel: &CancellationToken,
    staging: &Staging,
    patch: &PatchFile,
) -> Result<bool, PatchError> {
    let finished = git_apply(staging, &["--reverse", "--check"])
        .input(patch.content.clone())
        .status(cancel)
        .await?;
    Ok(finished.status.success())
}

/// Where in the file as staged a hunk, counted from 0, comes nearest to applying.
async fn near(
    cancel: &CancellationToken,
    staging: &Staging,
    patch: &PatchFile,
    file: &Path,
    hunk: usize,
) -> Result<Option<Nearest>, PatchError> {
    let Some(lines) = diff::hunk_lines(&patch.content, file, hunk) else {
        return Ok(None);
    };
    let show = staging
        .git()
        .arg("show")
        .arg(format!(":{}", file.display()));
    let finished = show.status(cancel).await?;
    if !finished.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&finished.stdout);
    Ok(nearest(&text, &lines))
}

/// How far from their places hunks applied; `None` if all are where they say.
fn displacement(said: &str) -> Option<String> {
    let offsets: Vec<u64> = said
        .lines()
        .filter_map(|line| line.split_once("(offset ")?.1.split_once(" line"))
        .filter_map(|(offset, _)| Some(offset.parse::<i64>().ok()?.unsigned_abs()))
        .collect();
    let most = offsets.iter().max()?;
    let hunks = match offsets.len() {
        1 => "1 hunk applies".to_owned(),
        count => format!("{count} hunks apply"),
    };
    Some(format!(
        "{hunks} away from where the patch says, by at most {most} line{}",
        if *most == 1 { "" } else { "s" }
    ))
}

/// Reads git's complaint: the file, the hunk's number, and the reason.
fn explain(said: &str, changes: &[FileChange]) -> (Option<PathBuf>, Option<usize>, String) {
    let errors: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("error: "))
        .collect();
    let failed = errors.iter().find_map(|error| {
        let (file, line) = error.strip_prefix("patch failed: ")?.rsplit_once(':')?;
        Some((PathBuf::from(file), line.parse::<u64>().ok()?))
    });
    if let Some((file, line)) = failed {
        let hunk = changes
            .iter()
            .filter(|change| change.paths().any(|path| path == file))
            .find_map(|change| change.hunks.iter().position(|&start| start == line))
            .map(|index| index + 1);
        let looked_for = looked_for(said);
        let reason = format!("the kernel does not have these lines near line {line}:{looked_for}");
        return (Some(file), hunk, reason);
    }
    let file = errors.iter().find_map(|error| {
        let (name, _) = error.split_once(": ")?;
        changes
            .iter()
            .flat_map(FileChange::paths)
            .find(|path| path.as_os_str() == name)
            .map(Path::to_owned)
    });
    let reason = match (errors.first(), &file) {
        (Some(error), Some(file)) => error
            .strip_prefix(&format!("{}: ", file.display()))
            .unwrap_or(error)
            .to_owned(),
        (Some(error), None) => (*error).to_owned(),
        (None, _) => said.trim().to_owned(),
    };
    (file, None, reason)
}

/// The lines git searched for, indented, at most a dozen.
fn looked_for(said: &str) -> String {
    const SHOWN: usize = 12;
    let block: Vec<&str> = said
        .lines()
        .skip_while(|line| !line.starts_with("error: while searching for:"))
        .skip(1)
        .take_while(|line| !line.starts_with("error: "))
        .collect();
    let shown = &block[..block.len().min(SHOWN)];
    let mut text: String = shown.iter().flat_map(|line| ["\n    ", line]).collect();
    if block.len() > SHOWN {
        text.push_str("\n    …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displaced_hunks_are_told_in_one_line() {
        let said = "Checking patch fs/ceph/caps.c...\n\
                    Hunk #1 succeeded at 1797 (offset -12 lines).\n\
                    Hunk #3 succeeded at 3474 (offset 16 lines).\n\
                    Applied patch fs/ceph/caps.c cleanly.\n";
        let told = displacement(said).unwrap();
        assert_eq!(
            told,
            "2 hunks apply away from where the patch says, by at most 16 lines"
        );
        let told = displacement("Hunk #1 succeeded at 2 (offset 1 line).\n").unwrap();
        assert_eq!(
            told,
            "1 hunk applies away from where the patch says, by at most 1 line"
        );
        assert_eq!(displacement("Applied patch a cleanly.\n"), None);
    }
}
