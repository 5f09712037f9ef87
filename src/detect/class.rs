//! The classes a finding can have, by the names that records and jobs use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What kind of trouble a finding is.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Class {
            $($(#[$doc])* $variant,)*
        }

        impl Class {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in records and jobs.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

classes! {
    /// A task blocked for too long.
    HungTask = "hung_task",
    /// `VFS_BUG_ON` of `CONFIG_DEBUG_VFS`.
    VfsBug = "vfs_bug",
    /// `VFS_WARN_ON` of `CONFIG_DEBUG_VFS`.
    VfsWarn = "vfs_warn",
    /// `BUG()`.
    KernelBug = "kernel_bug",
    /// `WARN()`.
    Warning = "warning",
    /// General protection, divide error, double fault and other exceptions.
    Gpf = "gpf",
    /// A bad memory access.
    PagingNull = "paging_null",
    /// A panic that nothing else explains.
    Panic = "panic",
    /// An RCU grace period that does not end.
    RcuStall = "rcu_stall",
    /// A CPU that does not schedule.
    SoftLockup = "soft_lockup",
    /// A CPU that takes no interrupts.
    HardLockup = "hard_lockup",
    /// Lock dependency checking, and RCU's.
    Lockdep = "lockdep",
    /// Sleeping or scheduling where that is not allowed.
    AtomicSleep = "atomic_sleep",
    /// Address sanitizer.
    Kasan = "kasan",
    /// Data race sanitizer.
    Kcsan = "kcsan",
    /// Sampling memory error detector.
    Kfence = "kfence",
    /// Uninitialised memory sanitizer.
    Kmsan = "kmsan",
    /// Undefined behaviour sanitizer.
    Ubsan = "ubsan",
    /// A memory leak.
    Leak = "leak",
    /// A corrupt or misused spinlock.
    SpinlockDebug = "spinlock_debug",
    /// A worker pool that makes no progress.
    WorkqueueLockup = "workqueue_lockup",
    /// Out of memory.
    Oom = "oom",
    /// Inodes in use after their file system is gone.
    BusyInodes = "busy_inodes",
    /// The machine started over without a word.
    TripleFault = "triple_fault",
    /// A boot that never came up.
    BootFailure = "boot_failure",
    /// Another message that begins with `BUG`.
    BugOther = "bug_other",
    /// Anything else worth a finding.
    Other = "other",
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A class name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no class {0:?} of findings")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|class| class.name() == name)
            .ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialised_ones() {
        for class in Class::ALL {
            let json = serde_json::to_string(class).unwrap();
            assert_eq!(json, format!("\"{class}\""));
            assert_eq!(class.name().parse(), Ok(*class));
        }
        assert_eq!(
            "hang".parse::<Class>(),
            Err(UnknownClass("hang".to_owned()))
        );
    }
}
