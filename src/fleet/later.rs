//! Hosts of a search whose first kernel is not there yet: they make kernels at once
//! and run trials as soon as there is one to try.

use std::cell::OnceCell;
use std::pin::pin;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Builders, Common, FAREWELL, Fleet, FleetOptions};
use crate::context::Context;
use crate::error::Error;
use crate::process::ProcessError;
use crate::record::Record;

/// The hosts.
#[derive(Debug)]
pub struct Later {
    options: FleetOptions,
    builders: Builders,
    fleet: OnceCell<Fleet>,
    opened: Notify,
}

impl Later {
    /// Those that `options` name.
    pub fn new(options: &FleetOptions) -> Result<Self, Error> {
        Ok(Self {
            options: options.clone(),
            builders: Builders::open(options)?,
            fleet: OnceCell::new(),
            opened: Notify::new(),
        })
    }

    /// Who makes kernels.
    pub fn builders(&self) -> &Builders {
        &self.builders
    }

    /// Has them run trials, which have this in common.
    pub fn open(
        &self,
        context: &Context,
        record: &Record,
        common: &Common<'_>,
    ) -> Result<(), Error> {
        if self.fleet.get().is_some() {
            return Ok(());
        }
        let fleet = Fleet::open(context, record, &self.options, common)?;
        self.fleet.get_or_init(|| fleet);
        self.opened.notify_one();
        Ok(())
    }

    /// Who runs trials, once that has begun.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.get()
    }

    /// Drives the hosts while `work` goes on, and calls off what is under way there
    /// when it has ended or is interrupted.
    pub async fn beside<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        cancel: &CancellationToken,
    ) -> Result<T, Error> {
        let driving = async {
            self.opened.notified().await;
            match self.fleet.get() {
                Some(fleet) => fleet.drive().await,
                None => Ok(()),
            }
        };
        let mut driving = pin!(driving);
        let result = tokio::select! {
            result = work => result,
            () = cancel.cancelled() => Err(ProcessError::Interrupted.into()),
            // It ends by itself only if no host can go on.
            driven = &mut driving => {
                self.builders.close().await;
                return Err(driven.err().unwrap_or_else(|| ProcessError::Interrupted.into()));
            }
        };
        if let Some(fleet) = self.fleet.get() {
            fleet.stop();
            drop(tokio::time::timeout(FAREWELL, driving).await);
        }
        self.builders.close().await;
        result
    }
}
