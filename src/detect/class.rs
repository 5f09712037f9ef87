//! The classes a finding can have, by the names that records and jobs use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! classes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal {
        ends: $ends:literal, symbol: $symbol:expr, parameters: $parameters:expr $(,)?
    })*) => {
        /// What kind of trouble a finding is.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
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

            /// Whether a kernel that said this cannot go on with a workload.
            /// One that warned can, and waiting on may still show more.
            #[must_use]
            pub fn ends_trial(self) -> bool {
                match self {
                    $(Self::$variant => $ends,)*
                }
            }

            /// The Kconfig symbol without which it is never said, if there is
            /// one.
            #[must_use]
            pub fn symbol(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => $symbol,)*
                }
            }

            /// The kernel parameters that turn its detector off when they are
            /// 0. Each is there since at least Linux 4.x.
            #[must_use]
            pub fn parameters(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => $parameters,)*
                }
            }
        }
    };
}

const HUNG_TASK: &[&str] = &["kernel.hung_task_timeout_secs", "kernel.hung_task_warnings"];
const WATCHDOG: &[&str] = &["kernel.watchdog", "kernel.watchdog_thresh"];

classes! {
    /// A task blocked for too long.
    HungTask = "hung_task" { ends: true, symbol: Some("DETECT_HUNG_TASK"), parameters: HUNG_TASK }
    /// `VFS_BUG_ON` of `CONFIG_DEBUG_VFS`.
    VfsBug = "vfs_bug" { ends: true, symbol: Some("DEBUG_VFS"), parameters: &[] }
    /// `VFS_WARN_ON` of `CONFIG_DEBUG_VFS`.
    VfsWarn = "vfs_warn" { ends: false, symbol: Some("DEBUG_VFS"), parameters: &[] }
    /// `BUG()`.
    KernelBug = "kernel_bug" { ends: true, symbol: Some("BUG"), parameters: &[] }
    /// `WARN()`.
    Warning = "warning" { ends: false, symbol: Some("BUG"), parameters: &[] }
    /// General protection, divide error, double fault and other exceptions.
    Gpf = "gpf" { ends: true, symbol: None, parameters: &[] }
    /// A bad memory access.
    PagingNull = "paging_null" { ends: true, symbol: None, parameters: &[] }
    /// A panic that nothing else explains.
    Panic = "panic" { ends: true, symbol: None, parameters: &[] }
    /// An RCU grace period that does not end.
    RcuStall = "rcu_stall" { ends: true, symbol: None, parameters: &[] }
    /// A CPU that does not schedule.
    SoftLockup = "soft_lockup" { ends: true, symbol: Some("SOFTLOCKUP_DETECTOR"), parameters: WATCHDOG }
    /// A CPU that takes no interrupts.
    HardLockup = "hard_lockup" { ends: true, symbol: Some("HARDLOCKUP_DETECTOR"), parameters: WATCHDOG }
    /// Lock dependency checking, and RCU's.
    Lockdep = "lockdep" { ends: false, symbol: Some("PROVE_LOCKING"), parameters: &[] }
    /// Sleeping or scheduling where that is not allowed.
    AtomicSleep = "atomic_sleep" { ends: false, symbol: Some("DEBUG_ATOMIC_SLEEP"), parameters: &[] }
    /// Address sanitizer.
    Kasan = "kasan" { ends: true, symbol: Some("KASAN"), parameters: &[] }
    /// Data race sanitizer.
    Kcsan = "kcsan" { ends: false, symbol: Some("KCSAN"), parameters: &[] }
    /// Sampling memory error detector.
    Kfence = "kfence" { ends: true, symbol: Some("KFENCE"), parameters: &[] }
    /// Uninitialised memory sanitizer.
    Kmsan = "kmsan" { ends: false, symbol: Some("KMSAN"), parameters: &[] }
    /// Undefined behaviour sanitizer.
    Ubsan = "ubsan" { ends: false, symbol: Some("UBSAN"), parameters: &[] }
    /// A memory leak.
    Leak = "leak" { ends: false, symbol: Some("DEBUG_KMEMLEAK"), parameters: &[] }
    /// A corrupt or misused spinlock.
    SpinlockDebug = "spinlock_debug" { ends: true, symbol: Some("DEBUG_SPINLOCK"), parameters: &[] }
    /// A worker pool that makes no progress.
    WorkqueueLockup = "workqueue_lockup" { ends: true, symbol: Some("WQ_WATCHDOG"), parameters: &[] }
    /// Out of memory.
    Oom = "oom" { ends: false, symbol: None, parameters: &[] }
    /// Inodes in use after their file system is gone.
    BusyInodes = "busy_inodes" { ends: false, symbol: None, parameters: &[] }
    /// A file system that its kernel, or the checker after a trial, found damaged.
    FileSystem = "file_system" { ends: false, symbol: None, parameters: &[] }
    /// A test of a suite that failed, by its name.
    TestFailure = "test_failure" { ends: false, symbol: None, parameters: &[] }
    /// A step of the workload that failed: a system call, a program, data that came
    /// back wrong. A finding only where the target is of this class.
    StepFailure = "step_failure" { ends: false, symbol: None, parameters: &[] }
    /// The machine started over without a word.
    TripleFault = "triple_fault" { ends: true, symbol: None, parameters: &[] }
    /// A boot that never came up.
    BootFailure = "boot_failure" { ends: true, symbol: None, parameters: &[] }
    /// Another message that begins with `BUG`.
    BugOther = "bug_other" { ends: true, symbol: None, parameters: &[] }
    /// Anything else worth a finding.
    Other = "other" { ends: false, symbol: None, parameters: &[] }
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
