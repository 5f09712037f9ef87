//! Steps that set the kernel's parameters, drop its caches or pull SysRq.
//! `guest::agent::kernel` carries them out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;
use super::values;

/// Steps that set the kernel's parameters, drop its caches or pull SysRq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum KernelStep {
    /// Sets kernel parameters: `vm.dirty_writeback_centisecs: 0`.
    Sysctl(#[serde(deserialize_with = "values::scalars")] BTreeMap<String, String>),
    /// Drops clean caches, without a line in the kernel's log for each time.
    DropCaches {
        /// Which.
        #[serde(default)]
        what: Caches,
        /// How often in a row.
        #[serde(default = "once")]
        times: u32,
    },
    /// Pulls SysRq letters.
    Sysrq {
        /// The letters, in order.
        letters: String,
    },
}

/// What `drop_caches` drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caches {
    /// Clean pages.
    Pages,
    /// Dentries and inodes.
    #[default]
    Inodes,
    /// Both.
    All,
}

impl Family for KernelStep {
    /// The SysRq letters.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Sysrq { letters } => Some(letters),
            Self::Sysctl(_) | Self::DropCaches { .. } => None,
        }
    }
}

fn once() -> u32 {
    1
}
