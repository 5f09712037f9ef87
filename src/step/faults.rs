//! Steps that provoke failures in the kernel.
//! `guest::agent::faults` carries them out.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::family::Family;

/// Steps that provoke failures in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum FaultStep {
    /// Provokes a kernel failure through LKDTM, in a process of its own.
    Lkdtm {
        /// What, as `/sys/kernel/debug/provoke-crash/DIRECT` calls it.
        provoke: String,
    },
    /// Has slab allocations fail, in one function and what it calls.
    FailAllocations {
        /// The function.
        within: String,
        /// How many of the next ones; 0 ends it.
        times: u32,
    },
}

impl Family for FaultStep {
    /// What is provoked, or where.
    fn subject(&self) -> Option<&str> {
        match self {
            Self::Lkdtm { provoke } => Some(provoke),
            Self::FailAllocations { within, .. } => Some(within),
        }
    }
}
