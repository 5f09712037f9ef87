//! What trials run on: a private network with the service that guests mount,
//! an image for their root file system, an accelerator, and a way to a guest.
//!
//! `start` says how a guest comes to be, `guest` what it is from then on, and
//! `accelerator` which one to trust. Everything that boots a machine (trials,
//! self-tests, `kvet shell`, tests, benchmarks) does it through here.

mod accelerator;
mod guest;
mod line_counters;
#[cfg(test)]
pub(crate) mod scripted;
mod start;

use std::path::{Path, PathBuf};

pub use guest::{BOOT_DEADLINE, DUMP_LIMIT, Guest, Happening, Tap};
pub use start::{COMMAND_LINE, Start};

use crate::cluster::private_network;
use crate::context::Context;
use crate::error::Error;
use crate::guest::protocol::Welcome;
use crate::process::Namespace;
use crate::service::{ADDRESS, DiskCheck, Service, ServiceSpec};
use crate::store::Store;
use crate::vm::{Acceleration, Accelerator};

/// What a testbed is made from.
#[derive(Debug, Clone)]
pub struct Setup<'a> {
    /// What guests mount.
    pub service: &'a ServiceSpec,
    /// Where the service's logs go.
    pub logs: &'a Path,
    /// The initramfs.
    pub image: PathBuf,
    /// What may run guests.
    pub acceleration: Acceleration,
    /// A kernel to find that out with.
    pub kernel: &'a Path,
}

/// A place where guests can run.
#[derive(Debug)]
pub struct Testbed {
    network: Namespace,
    service: Service,
    image: PathBuf,
    accelerator: Accelerator,
}

impl Testbed {
    /// Makes the network, starts the service in it, and chooses the accelerator.
    pub async fn open(context: &Context, store: &Store, setup: Setup<'_>) -> Result<Self, Error> {
        let network = private_network(ADDRESS).await?;
        let ready = tokio::try_join!(
            Service::start(context, store, setup.service, &network, setup.logs),
            async {
                let Setup {
                    acceleration,
                    kernel,
                    ..
                } = setup;
                let chosen = accelerator::choose(context, store, acceleration, kernel, &network);
                chosen.await.map_err(Error::from)
            }
        );
        match ready {
            Ok((service, accelerator)) => Ok(Self {
                network,
                service,
                image: setup.image,
                accelerator,
            }),
            Err(error) => {
                network.close().await;
                Err(error)
            }
        }
    }

    /// One without a service, for an image and an accelerator that are known.
    pub async fn bare(image: PathBuf, accelerator: Accelerator) -> Result<Self, Error> {
        Ok(Self {
            network: private_network(ADDRESS).await?,
            service: Service::None,
            image,
            accelerator,
        })
    }

    /// What guests mount.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What runs guests.
    #[must_use]
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Who a guest of this name is: makes what it needs of the service.
    pub async fn welcome(
        &self,
        context: &Context,
        hostname: &str,
        seed: u64,
    ) -> Result<Welcome, Error> {
        let made = self.service.welcome(context, &self.network, hostname, seed);
        Ok(made.await?)
    }

    /// What a guest that is gone, and had unmounted its disk, left on it.
    pub async fn examine(
        &self,
        context: &Context,
        hostname: &str,
        keep: &Path,
    ) -> Option<DiskCheck> {
        let network = &self.network;
        self.service.examine(context, network, hostname, keep).await
    }

    /// Returns with the reason when the service is lost.
    pub async fn lost(&self) -> String {
        self.service.lost().await
    }

    /// Ends the service and everything else inside the network.
    pub async fn close(self) {
        self.service.stop().await;
        self.network.close().await;
    }
}
