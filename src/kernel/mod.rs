//! From a kernel's source to a built kernel: fetch, patch, configure, build.
//! Each stage takes the previous one's value: `Tree`, `PatchedTree`,
//! `Configured`, `KernelImage`.

mod progress;
pub mod source;
pub mod version;

pub use source::{SourceError, SourceSpec, Tree, fetch};
pub use version::KernelVersion;
