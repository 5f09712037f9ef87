//! What a person types to do by hand what kvet does with a service.

use super::{ServiceSpec, ceph};
use crate::step::HostStep;

/// What mount(8) is told of a service's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountByHand {
    /// Its type, where mount(8) does not see it by itself.
    pub fstype: Option<&'static str>,
    /// What is mounted: what only the reader knows is in capitals.
    pub source: &'static str,
    /// With which options.
    pub options: Vec<String>,
}

impl ServiceSpec {
    /// How to mount it, of a step that has these options for a cluster's file
    /// system, and those for a disk's.
    #[must_use]
    pub fn mount_by_hand(&self, options: &[String], disk_options: &[String]) -> MountByHand {
        match self {
            Self::Ceph(_) => ceph::by_hand::mount(options),
            Self::Disk(_) => MountByHand {
                fstype: None,
                source: "DISK",
                options: disk_options.to_vec(),
            },
            Self::None => MountByHand {
                fstype: Some("tmpfs"),
                source: "tmpfs",
                options: Vec::new(),
            },
        }
    }

    /// The line for bash that does what a step of the host's does, if there is one.
    #[must_use]
    pub fn by_hand(&self, step: &HostStep) -> Option<String> {
        match (step, self) {
            (HostStep::Pause(time), _) => Some(format!("sleep {}", time.as_secs_f64())),
            (_, Self::Ceph(_)) => ceph::by_hand::command(step),
            (_, Self::Disk(_) | Self::None) => None,
        }
    }
}
