//! Testbeds besides the run's own, for trials that others would feel: each has a
//! service to itself, so that several of them run side by side. One that is free
//! again serves the next.

use std::cell::{Cell, RefCell};

use super::Bench;
use crate::error::Error;
use crate::testbed::{Setup, Testbed};

/// The lanes of a run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    free: RefCell<Vec<Testbed>>,
    opened: Cell<u32>,
}

impl Lanes {
    /// A testbed that nobody else is on.
    pub(super) async fn lease(&self, bench: &Bench<'_>) -> Result<Testbed, Error> {
        let free = self.free.borrow_mut().pop();
        if let Some(free) = free {
            return Ok(free);
        }
        let number = self.opened.get() + 1;
        self.opened.set(number);
        let plan = bench.plan;
        let logs = bench.record.service_logs();
        // The run's own service is the first.
        let logs = logs.with_file_name(format!("cluster-{}", number + 1));
        let setup = Setup {
            service: &plan.service,
            logs: &logs,
            image: bench.rootfs.path.clone(),
            acceleration: plan.acceleration,
            kernel: bench.kernel,
        };
        Testbed::open(bench.context, bench.store, setup).await
    }

    /// Takes one back that is in order.
    pub(super) fn give_back(&self, testbed: Testbed) {
        self.free.borrow_mut().push(testbed);
    }

    /// Ends those that nobody is on.
    pub(super) async fn close(&self) {
        let free = self.free.take();
        for testbed in free {
            testbed.close().await;
        }
    }
}
