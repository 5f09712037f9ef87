//! What the trials of a run share, and where they take place.

use std::path::Path;

use super::executor::Place;
use super::lanes::Lanes;
use super::options::Options;
use crate::context::Context;
use crate::error::Error;
use crate::job::Plan;
use crate::record::{Beginning, Record};
use crate::rootfs::Rootfs;
use crate::store::Store;
use crate::testbed::{Setup, Testbed};

/// What the trials of a run share.
pub(super) struct Bench<'a> {
    pub(super) context: &'a Context,
    pub(super) plan: &'a Plan,
    pub(super) record: &'a Record,
    /// The run's own words: what was known when it began.
    pub(super) beginning: Beginning,
    pub(super) place: Place,
    pub(super) rootfs: &'a Rootfs,
    pub(super) options: &'a Options,
    pub(super) store: &'a Store,
    /// One of the kernels.
    pub(super) kernel: &'a Path,
    pub(super) lanes: Lanes,
}

impl Bench<'_> {
    /// Opens the lane of this number: a testbed like the run's own.
    pub(super) async fn open_lane(&self, number: u32) -> Result<Testbed, Error> {
        let plan = self.plan;
        let logs = self.record.service_logs();
        // The run's own service is the first.
        let logs = logs.with_file_name(format!("cluster-{}", number + 1));
        let setup = Setup {
            service: &plan.service,
            logs: &logs,
            image: self.rootfs.path.clone(),
            acceleration: self.record.acceleration(plan)?,
            kernel: self.kernel,
        };
        Testbed::open(self.context, self.store, setup).await
    }
}
