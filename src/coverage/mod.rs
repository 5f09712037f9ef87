//! Was my change run? Which lines patches change ([`changed`]), which of them
//! the trials of a kernel that counts them executed, and what that comes to.
//!
//! The kernel is compiled with gcc's counters in the files that the patches
//! touch. At a trial's end the agent sends them ([`artifacts`]); gcc's `gcov`
//! makes line counts of them ([`gcov`]), which are kept as facts of the attempt;
//! what a report says of them is derived ([`mod@executed`]).

pub mod artifacts;
pub mod changed;
pub mod executed;
pub mod gcov;

pub use artifacts::{Artifacts, Kept, Taken};
pub use changed::{Changed, ChangedFile, ChangedLine};
pub use executed::{Executed, ExecutedFile, executed};
pub use gcov::{Counts, CoverageError, count};
