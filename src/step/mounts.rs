//! Steps that mount, unmount and flush whole file systems.
//! `guest::agent::mounts` carries them out.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;

/// Steps that mount, unmount and flush whole file systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum MountStep {
    /// Mounts the trial's file system and makes this trial's own directory in
    /// it. A trial without a cluster has a tmpfs that all its mounts show.
    Mount {
        /// What steps call it: the first part of their paths.
        name: String,
        /// Options of the cluster's file system, such as `noshare`; without a
        /// cluster they mean nothing.
        #[serde(default)]
        options: Vec<String>,
        /// Options of the disk's file system in this mount, such as `ro` or
        /// `data=journal`; elsewhere they mean nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        disk_options: Vec<String>,
        /// Mounts an empty tmpfs instead that no other mount shows.
        #[serde(default)]
        local: bool,
    },
    /// Changes the options of a mount and its file system (`MS_REMOUNT`).
    Remount {
        /// The mount.
        name: String,
        /// All its options from now on, such as `ro` or `discard`.
        #[serde(default)]
        options: Vec<String>,
    },
    /// Unmounts.
    Umount {
        /// The mount.
        name: String,
        /// With `MNT_FORCE`.
        #[serde(default)]
        force: bool,
        /// With `MNT_DETACH`.
        #[serde(default)]
        lazy: bool,
    },
    /// Closes what steps left open and unmounts what they left mounted, the
    /// last mount first and none by force.
    UmountAll {
        /// Mounts that stay.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        except: Vec<String>,
    },
    /// syncfs(2).
    Syncfs {
        /// The mount.
        mount: String,
    },
    /// sync(2).
    Sync,
}

impl Family for MountStep {
    /// The mount.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Mount { name, .. } | Self::Remount { name, .. } | Self::Umount { name, .. } => {
                Some(name)
            }
            Self::Syncfs { mount } => Some(mount),
            Self::UmountAll { .. } | Self::Sync => None,
        }
    }
}
