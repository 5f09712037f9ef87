//! What trials and jobs amount to: pure functions of what was recorded.

mod outcome;

pub use outcome::Outcome;
