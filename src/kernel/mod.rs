//! From a kernel's source to a built kernel: fetch, patch, configure, build.
//! Each stage takes the previous one's value: `Tree`, `PatchedTree`,
//! `Configured`, `KernelImage`.

mod diff;
pub mod patch;
mod progress;
pub mod series;
pub mod source;
pub mod version;
mod worktree;

pub use patch::{PatchError, PatchedTree, patch};
pub use series::{SelectedSeries, Series, SeriesError};
pub use source::{SourceError, SourceSpec, Tree, fetch};
pub use version::KernelVersion;
pub use worktree::WorktreeError;

/// Suggests what was probably meant: the nearest of `known`, or all of them.
/// `None` if there are none.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3);
    match near {
        Some((_, candidate)) => Some(format!("did you mean `{candidate}`?")),
        None if known.is_empty() => None,
        None => Some(format!("there is: {}", known.join(", "))),
    }
}
