//! What a run tells: one versioned model ([`Report`]), and the reporters that
//! turn it and the events of a run into text, JSON and `JUnit`. Only this
//! module's writers and the command line print.

mod by_hand;
mod compare;
mod configured;
mod executed;
#[cfg(test)]
pub(crate) mod fixture;
mod github;
mod grid;
mod hosts;
pub(crate) mod html;
mod junit;
mod kcidb;
mod known;
mod ktap;
mod line;
mod mail;
mod markdown;
mod model;
mod moved;
mod patchwork;
mod progress;
mod safe;
mod shown;
mod standing;
mod table;
mod terminal;

pub use by_hand::by_hand;
pub use compare::{compare, coverage};
pub use configured::{compiler, detectors};
pub use github::annotations;
pub(crate) use grid::{aligned, listed};
pub use hosts::{deviation, differing, hosts, mark_alone};
pub use html::{Stories, html, wanted};
pub use junit::junit;
pub use kcidb::kcidb;
pub use known::known;
pub use ktap::ktap;
pub(crate) use line::tell_line;
pub use mail::{mail, mailed, measured};
pub use markdown::markdown;
pub use model::{
    ArmReport, ColumnCoverage, Comparison, Coverage, HostRate, HostReport, KnownIn, KnownReport,
    Report, TrialReport, VERSION, WorkloadReport,
};
pub use patchwork::patchwork;
pub use progress::{Progress, Told};
pub(crate) use safe::cut;
pub use shown::stack;
pub use terminal::{Style, WIDTH, human, human_within, is_dumb, verdict_line};

pub use crate::printable::printable;
