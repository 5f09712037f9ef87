//! What trials run on: a private network with the service that guests mount,
//! an image for their root file system, an accelerator, and a way to a guest.
//!
//! `start` says how a guest comes to be, of a `kernel` and its command line; `saved`
//! keeps those that need not boot, `guest` is what it is from then on, and
//! `accelerator` which one to trust. Everything that boots a machine (trials,
//! self-tests, `kvet shell`, tests, benchmarks) does it through here.

mod accelerator;
mod guest;
mod kernel;
mod line_counters;
mod pace;
mod saved;
#[cfg(test)]
pub(crate) mod scripted;
mod start;

use std::path::{Path, PathBuf};

pub use guest::{BOOT_DEADLINE, DUMP_LIMIT, FINDINGS, Guest, Happening, Tap};
pub use kernel::{COMMAND_LINE, command_line};
pub use pace::Pace;
pub use start::Start;

use crate::context::Context;
use crate::error::Error;
use crate::guest::protocol::Welcome;
use crate::process::{Namespace, private_network};
use crate::service::{ADDRESS, DiskCheck, Service, ServiceSpec};
use crate::store::Store;
use crate::vm::{Acceleration, Accelerator};
use saved::SavedGuests;

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
    context: Context,
    network: Namespace,
    service: Service,
    image: PathBuf,
    accelerator: Accelerator,
    /// Without a store nothing is saved.
    saved: Option<SavedGuests>,
    pace: Pace,
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
                context: context.clone(),
                network,
                service,
                image: setup.image,
                accelerator,
                saved: Some(SavedGuests::new(store)),
                pace: Pace::default(),
            }),
            Err(error) => {
                network.close().await;
                Err(error)
            }
        }
    }

    /// One without a service, for an image and an accelerator that are known.
    /// Guests are booted on it.
    pub async fn bare(image: PathBuf, accelerator: Accelerator) -> Result<Self, Error> {
        Ok(Self {
            context: Context::default(),
            network: private_network(ADDRESS).await?,
            service: Service::None,
            image,
            accelerator,
            saved: None,
            pace: Pace::default(),
        })
    }

    /// The same, with a store in which guests are saved.
    #[must_use]
    pub fn saving_in(mut self, context: &Context, store: &Store) -> Self {
        self.context = context.clone();
        self.saved = Some(SavedGuests::new(store));
        self
    }

    /// What guests mount.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Makes room on the service where guests have left much; why no further guest is to
    /// use it, if there is none all the same.
    pub async fn filled(&self) -> Option<String> {
        self.service.filled(&self.context, &self.network).await
    }

    /// How long steps take here.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
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

    /// Returns with the reason when the service is lost, or the network with all in it.
    pub async fn lost(&self) -> String {
        tokio::select! {
            biased;
            why = self.service.lost() => why,
            () = self.network.lost() => {
                "the private network is gone: its first process was ended".to_owned()
            }
        }
    }

    /// Ends the service and everything else inside the network.
    pub async fn close(self) {
        self.service.stop().await;
        self.network.close().await;
    }
}
