//! How a run is carried out.

use std::path::PathBuf;

use jiff::Timestamp;

use super::executor::Executor;
use crate::fleet::FleetOptions;
use crate::record::Past;

/// How a run is carried out; what is carried out is the plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Trials at a time; as many as the host has room for, unless given.
    pub jobs: Option<usize>,
    /// The run directory.
    pub out: PathBuf,
    /// Where trials run on this host.
    pub executor: Executor,
    /// When it began, which is part of the run's id.
    pub started: Timestamp,
    /// What the runs before had shown; none if nobody was asked.
    pub past: Option<Past>,
    /// Other hosts that they run on instead.
    pub fleet: Option<FleetOptions>,
    /// The run was begun before: what it has is kept, the rest is done.
    pub resume: bool,
}
