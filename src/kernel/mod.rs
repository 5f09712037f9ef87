//! From a kernel's source to a built kernel: fetch, patch, configure, build.
//! Each stage takes the previous one's value: `Tree`, `PatchedTree`,
//! `Configured`, `KernelImage`. [`make`] is the whole way for a [`Recipe`].

pub mod archive;
mod base;
pub mod build;
mod build_log;
mod configuration;
pub mod configure;
mod counters;
mod diff;
pub mod elsewhere;
pub mod fragment;
mod instrument;
mod kconfig;
mod kept;
mod key;
mod line;
pub mod mail;
mod nearest;
mod object_directory;
pub mod patch;
mod patch_error;
pub mod posting;
mod prepare;
mod progress;
mod range;
mod recipe;
mod repository;
pub mod series;
pub mod source;
pub mod toolchain;
mod turn;
mod whole_config;
mod worktree;

pub use crate::version::{self, KernelVersion, VersionRange};
pub use base::{Base, BaseError, base};
pub use build::{
    BuildError, BuildRecord, KernelImage, PatchRecord, accept, build, built, vmlinux_of,
};
pub use configuration::Configuration;
pub use configure::{ConfigError, Configured, configure};
pub use counters::Counters;
pub use fragment::{Fragment, FragmentError};
pub use instrument::sources_of;
pub(crate) use kconfig::values;
pub use kept::Kept;
pub use line::Line;
pub use patch::{PatchedTree, applies, patch};
pub use patch_error::PatchError;
pub use prepare::{prepare, stored};
pub use range::{Range, RangeError, blob, range, repository_with};
pub use recipe::{Recipe, Sources, make, make_from};
pub use series::{PatchFile, SelectedSeries, Series, SeriesError, leave_to_first, select};
pub use source::{Snapshots, SourceError, SourceSpec, Tree, fetch, offered};
pub use toolchain::{HEADERS, Missing, PROGRAMS, ToolchainError, missing};
pub use whole_config::{WholeConfig, WholeConfigError};
pub use worktree::WorktreeError;

use crate::names::did_you_mean;

/// Gives an entry's record the present time, for `kvet cache prune`. A cache
/// that cannot be written serves as well without.
fn used(record: &std::path::Path) {
    let touched = std::fs::File::open(record)
        .and_then(|file| file.set_modified(std::time::SystemTime::now()));
    drop(touched);
}

/// Lines below a message, each indented.
fn indented(lines: &[impl AsRef<str>]) -> String {
    lines
        .iter()
        .flat_map(|line| ["\n  ", line.as_ref()])
        .collect()
}

/// Suggests what was probably meant: the nearest of `known`, or all of them.
/// `None` if there are none.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let all = (!known.is_empty()).then(|| format!("there is: {}", known.join(", ")));
    did_you_mean(name, known.iter().map(String::as_str)).or(all)
}
