//! The host: what it is, and how busy. Every run's record has it.

mod facts;
mod load;
pub mod memory;

pub use facts::{HostFacts, facts};
pub use load::{Load, Moment, denied};
