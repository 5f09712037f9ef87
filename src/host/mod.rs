//! The host: what it is, what it lacks, and how to mend that. Used by
//! `kvet doctor`, `run --setup` and every run's record.

mod doctor;
mod facts;
mod load;
pub mod memory;

pub use doctor::{
    Check, Lack, SetupError, checks, checks_for_building, checks_for_trials, install,
    missing_packages, space,
};
pub use facts::{HostFacts, facts};
pub use load::{Load, Moment, denied};
