//! What trials and jobs amount to: pure functions of what was recorded, so
//! that `kvet judge` can say it again after a rule changed.

mod job;
mod outcome;
mod statistics;

pub use job::{ArmResult, Verdict, VerdictKind, judge};
pub use outcome::{Ending, Judged, Outcome, Trial, decide};
