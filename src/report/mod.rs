//! What a run tells: one versioned model ([`Report`]), and the reporters that
//! turn it and the events of a run into text, JSON and `JUnit`. Only this
//! module's writers and the command line print.

mod compare;
mod junit;
mod model;
mod progress;
mod terminal;

pub use compare::{compare, coverage};
pub use junit::junit;
pub use model::{ArmReport, Comparison, Coverage, Report, TrialReport, VERSION};
pub use progress::Progress;
pub use terminal::{Style, human, verdict_line};

pub use crate::printable::printable;
