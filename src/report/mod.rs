//! What a run tells: one versioned model ([`Report`]), and the reporters that
//! turn it and the events of a run into text, JSON and `JUnit`. Only this
//! module's writers and the command line print.

mod compare;
#[cfg(test)]
mod fixture;
mod html;
mod junit;
mod kcidb;
mod ktap;
mod mail;
mod markdown;
mod model;
mod patchwork;
mod progress;
mod safe;
mod shown;
mod standing;
mod table;
mod terminal;

pub use compare::{compare, coverage};
pub use html::{Stories, html, wanted};
pub use junit::junit;
pub use kcidb::kcidb;
pub use ktap::ktap;
pub use mail::{mail, measured};
pub use markdown::markdown;
pub use model::{ArmReport, Comparison, Coverage, Report, TrialReport, VERSION, WorkloadReport};
pub use patchwork::patchwork;
pub use progress::Progress;
pub use terminal::{Style, human, verdict_line};

pub use crate::printable::printable;
