//! What trials and jobs amount to: pure functions of what was recorded, so
//! that `kvet judge` can say it again after a rule changed.

mod armed;
mod boots;
mod job;
mod outcome;
mod statistics;

pub use armed::{is_mute, unarmed};
pub use boots::{Boot, to_blame};
pub use job::{ArmResult, Verdict, VerdictKind, judge};
pub use outcome::{Judged, Question, decide};
