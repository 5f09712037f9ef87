//! What trials and jobs amount to: pure functions of what was recorded, so
//! that `kvet judge` can say it again after a rule changed.
//!
//! A trial's facts become an outcome by [`decide`]; the outcomes of all arms
//! become a [`Verdict`] by [`judge`], and [`next`] says which trial would tell
//! most until there is one. `statistics` and `sequential` have the tests,
//! `evidence` applies them to a target and `regression` to other findings;
//! docs/verdict.md explains them.
#![forbid(clippy::disallowed_methods)]

mod arm;
mod armed;
mod boots;
mod evidence;
mod hosts;
mod job;
mod next;
mod outcome;
mod regression;
mod sequential;
mod statistics;

pub use arm::{ArmResult, Armed, Tried, target_key};
pub use armed::{is_mute, spent, unarmed, unchecked, unheard};
pub use boots::{Boot, to_blame};
pub use evidence::Evidence;
pub use hosts::{Deviation, HostTrial, Rate, deviations};
pub use job::{Verdict, judge};
pub use next::{Next, next};
pub use outcome::{Judged, Question, Seen, decide, is_of_time};
pub use regression::Other;
pub use statistics::{appeared, difference, holm, interval, vanished};
