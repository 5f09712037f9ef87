//! What guests mount: a service that a testbed runs beside its machines. It is
//! started once, disturbed by the host's steps, and cleared of what each guest
//! left behind. A job without one runs its workloads on tmpfs, or on a disk.
//!
//! Everything that is particular to a service stands in its own file, or in
//! `cluster`, which is Ceph's. The drivers, the protocol, plans, records, verdicts,
//! events, reports and bundles know this module's types alone, and do not name Ceph
//! (`tests/modules.rs`). The words of workloads do: in `step`, `mds_fail` and
//! `only: [ceph]` are what authors of workloads say, and here is what comes of it.
//! What only a guest can find out about a file system is in `guest::file_system`.

mod by_hand;
mod ceph;
pub mod disk;
mod fault;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use by_hand::MountByHand;
pub use ceph::Ceph;
use disk::Disk;
pub use disk::{DiskCheck, DiskSpec, DiskState};
pub use fault::ServiceFault;

use crate::cluster::{ClusterSpec, required_programs};
use crate::context::Context;
use crate::detect::ExtraRule;
use crate::error::Error;
use crate::guest::heartbeat;
use crate::guest::protocol::Welcome;
use crate::process::Namespace;
use crate::step::{HostStep, Medium};
use crate::store::Store;

/// The address of a testbed's private network, at which guests reach a service.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Why a description cannot be had with a job's workloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The key of the job that it is about.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Which service a job wants, as `cluster:` says it: a cluster's description,
/// or `none`; and then as `disk:` does.
#[derive(Debug, Clone)]
pub enum ServiceSpec {
    /// A Ceph cluster.
    Ceph(ClusterSpec),
    /// A disk of each guest's own.
    Disk(DiskSpec),
    /// Nothing: mounts are of tmpfs.
    None,
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self::Ceph(ClusterSpec::default())
    }
}

impl ServiceSpec {
    /// What it is, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Ceph(spec) => spec.summary(),
            Self::Disk(spec) => format!("none; {}", spec.summary()),
            Self::None => "none".to_owned(),
        }
    }

    /// The same with the options that a job's workloads need, given by the workload's
    /// name. The description's own word wins; two workloads that
    /// contradict each other cannot share a service.
    pub fn with_options<'a>(
        &self,
        workloads: impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    ) -> Result<Self, Unfit> {
        match self {
            Self::Ceph(spec) => ceph::description::with_options(spec, workloads).map(Self::Ceph),
            Self::Disk(_) | Self::None => Ok(self.clone()),
        }
    }

    /// What a host needs for it besides QEMU, in words for a bundle's reader.
    #[must_use]
    pub fn needed(&self) -> Option<&'static str> {
        match self {
            Self::Ceph(spec) => Some(ceph::description::needed(spec)),
            Self::Disk(_) | Self::None => None,
        }
    }

    /// The file among its logs that says how it was set up; no secret is in it.
    #[must_use]
    pub fn configuration(&self) -> Option<&'static str> {
        match self {
            Self::Ceph(_) => Some(ceph::description::CONFIGURATION),
            Self::Disk(_) | Self::None => None,
        }
    }

    /// The programs whose calls show how it was started, in a run's log.
    #[must_use]
    pub fn started_by(&self) -> &'static [&'static str] {
        match self {
            Self::Ceph(_) => ceph::description::STARTED,
            Self::Disk(_) | Self::None => &[],
        }
    }

    /// What its programs are for, as `kvet doctor` says it.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::Ceph(_) => "the cluster",
            Self::Disk(_) => "the disk",
            Self::None => "nothing",
        }
    }

    /// The programs it runs, each with the package that has it.
    #[must_use]
    pub fn required_programs(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Ceph(spec) => required_programs(spec),
            Self::Disk(spec) => spec.required_programs(),
            Self::None => Vec::new(),
        }
    }

    /// The cluster that is wanted, if it is one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterSpec> {
        match self {
            Self::Ceph(spec) => Some(spec),
            Self::Disk(_) | Self::None => None,
        }
    }

    /// The kind of what guests mount, which some steps of a workload are for.
    #[must_use]
    pub fn kind(&self) -> Medium {
        match self {
            Self::Ceph(_) => Medium::Ceph,
            Self::Disk(_) => Medium::Disk,
            Self::None => Medium::Tmpfs,
        }
    }

    /// The Kconfig symbols that a kernel needs to mount it.
    #[must_use]
    pub fn symbols(&self) -> Vec<&'static str> {
        match self {
            Self::Ceph(_) => vec!["CEPH_FS"],
            Self::Disk(spec) => vec!["VIRTIO_BLK", spec.fs.symbol()],
            Self::None => Vec::new(),
        }
    }

    /// What its kernel side says of damage that it met, and that is a finding.
    #[must_use]
    pub fn complaints(&self) -> Vec<ExtraRule> {
        match self {
            Self::Disk(spec) => spec.complaints(),
            Self::Ceph(_) | Self::None => Vec::new(),
        }
    }
}

/// How a record says what guests mount: as the job's `cluster:` does, or with a
/// disk under a key of its own.
pub fn recorded<'de, D: Deserializer<'de>>(from: D) -> Result<ServiceSpec, D::Error> {
    use serde::de::Error as _;

    #[derive(Deserialize)]
    struct OnDisk {
        disk: DiskSpec,
    }
    let value = serde_json::Value::deserialize(from)?;
    let read = if value.get("disk").is_some() {
        serde_json::from_value(value).map(|OnDisk { disk }| ServiceSpec::Disk(disk))
    } else {
        serde_json::from_value(value)
    };
    read.map_err(D::Error::custom)
}

impl Serialize for ServiceSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ceph(spec) => spec.serialize(to),
            Self::Disk(spec) => to.collect_map([("disk", spec)]),
            Self::None => to.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for ServiceSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = ServiceSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cluster's description or `none`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "none" => Ok(ServiceSpec::None),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Self::Value, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Ok(ServiceSpec::Ceph(ClusterSpec::deserialize(map)?))
            }
        }

        from.deserialize_any(Either)
    }
}

/// A running service.
#[derive(Debug)]
pub enum Service {
    /// A Ceph cluster.
    Ceph(Box<Ceph>),
    /// A disk for each guest.
    Disk(Box<Disk>),
    /// None: guests mount tmpfs.
    None,
}

impl Service {
    /// Starts it inside `network`, with its logs in `logs`, and returns when
    /// guests can use it.
    pub async fn start(
        context: &Context,
        store: &Store,
        spec: &ServiceSpec,
        network: &Namespace,
        logs: &Path,
    ) -> Result<Self, Error> {
        Ok(match spec {
            ServiceSpec::Ceph(spec) => Self::Ceph(Box::new(
                Ceph::start(context, store, spec, network, logs).await?,
            )),
            ServiceSpec::Disk(spec) => {
                Self::Disk(Box::new(Disk::start(context, spec, network).await?))
            }
            ServiceSpec::None => Self::None,
        })
    }

    /// Who a guest is and how it gets at the service. What it can do there is
    /// its own matter alone.
    pub async fn welcome(
        &self,
        context: &Context,
        network: &Namespace,
        hostname: &str,
        seed: u64,
    ) -> Result<Welcome, ServiceFault> {
        let file_system = match self {
            Self::Ceph(ceph) => Some(ceph.access(context, network, hostname).await?),
            Self::Disk(disk) => Some(disk.access()),
            Self::None => None,
        };
        Ok(Welcome {
            hostname: hostname.to_owned(),
            seed,
            file_system,
            heartbeat: Some(heartbeat::PERIOD),
        })
    }

    /// The images of a new guest's disks, in the order in which the guest has
    /// them; of a service that has none, none.
    pub fn disks(&self, hostname: &str) -> Result<Vec<PathBuf>, Error> {
        match self {
            Self::Disk(disk) => Ok(disk.images(hostname)?),
            Self::Ceph(_) | Self::None => Ok(Vec::new()),
        }
    }

    /// What a guest that is gone, and had unmounted its disk, left on it; `None`
    /// if guests have no disks. A damaged image is kept as `keep`.
    pub async fn examine(
        &self,
        context: &Context,
        network: &Namespace,
        hostname: &str,
        keep: &Path,
    ) -> Option<DiskCheck> {
        match self {
            Self::Disk(disk) => Some(disk.check(context, network, hostname, keep).await),
            Self::Ceph(_) | Self::None => None,
        }
    }

    /// Carries out a step of the host's on behalf of the guest `hostname`, whose
    /// mounts have these client numbers, as it says.
    pub async fn perform(
        &self,
        context: &Context,
        step: &HostStep,
        hostname: &str,
        clients: &HashMap<String, u64>,
    ) -> Result<(), ServiceFault> {
        match (step, self) {
            (HostStep::Pause(time), _) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            (_, Self::Ceph(ceph)) => ceph.perform(context, step, hostname, clients).await,
            (HostStep::WaitHealthy, Self::Disk(_) | Self::None) => Ok(()),
            (_, Self::Disk(_) | Self::None) => Err(ServiceFault::Absent { step: step.kind() }),
        }
    }

    /// Removes what a guest left behind: others would wait for it. What could
    /// not be removed is told, for a warning.
    pub async fn clear(&self, hostname: &str) -> Result<(), ServiceFault> {
        match self {
            Self::Ceph(ceph) => ceph.clear(hostname).await,
            Self::Disk(disk) => {
                disk.clear(hostname);
                Ok(())
            }
            Self::None => Ok(()),
        }
    }

    /// Returns with the reason when the service is lost. Safe to race and to
    /// call again.
    pub async fn lost(&self) -> String {
        match self {
            Self::Ceph(ceph) => ceph.lost().await,
            Self::Disk(_) | Self::None => std::future::pending().await,
        }
    }

    /// Whether every part of it answers: what guests showed while one did not
    /// is not the kernel's doing.
    pub async fn answers(&self) -> Result<(), ServiceFault> {
        match self {
            Self::Ceph(ceph) => ceph.answers().await,
            Self::Disk(_) | Self::None => Ok(()),
        }
    }

    /// Makes room where guests that are gone have left much. Why no further guest is to
    /// use it, if there is none all the same.
    pub async fn filled(&self, context: &Context, network: &Namespace) -> Option<String> {
        match self {
            Self::Ceph(ceph) => ceph.filled(context, network).await,
            Self::Disk(_) | Self::None => None,
        }
    }

    /// Ends it and removes its state.
    pub async fn stop(self) {
        match self {
            Self::Ceph(ceph) => ceph.stop().await,
            Self::Disk(_) | Self::None => {}
        }
    }
}
