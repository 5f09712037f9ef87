//! What a kernel's .config tells whoever reads a report: the compiler, and which
//! checks were on.

use crate::kernel::values;

/// Options that find bugs or change how they show, without `CONFIG_`. Those of
/// these that are on are told.
const TOLD: &[&str] = &[
    "DEBUG_ATOMIC_SLEEP",
    "DEBUG_INFO",
    "DEBUG_LIST",
    "DEBUG_PAGEALLOC",
    "DEBUG_VFS",
    "DEBUG_VM",
    "DETECT_HUNG_TASK",
    "FAULT_INJECTION",
    "GCOV_KERNEL",
    "HARDLOCKUP_DETECTOR",
    "KASAN",
    "KCSAN",
    "KFENCE",
    "KMSAN",
    "LOCKDEP",
    "PREEMPT",
    "PREEMPT_DYNAMIC",
    "PREEMPT_RT",
    "PREEMPT_VOLUNTARY",
    "PROVE_LOCKING",
    "PROVE_RCU",
    "REFCOUNT_FULL",
    "SLUB_DEBUG_ON",
    "SMP",
    "SOFTLOCKUP_DETECTOR",
    "UBSAN",
    "WQ_WATCHDOG",
];

/// The compiler: `gcc (Debian 12.2.0-14) 12.2.0`.
#[must_use]
pub fn compiler(config: &str) -> Option<String> {
    let config = values(config);
    let value = config.get("CC_VERSION_TEXT")?.trim_matches('"');
    (!value.is_empty()).then(|| value.to_owned())
}

/// The checks that are on.
#[must_use]
pub fn detectors(config: &str) -> Vec<String> {
    let config = values(config);
    let on = TOLD
        .iter()
        .filter(|name| config.get(**name).is_some_and(|value| value == "y"));
    on.map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_is_told_by_its_whole_name() {
        let config = "CONFIG_CC_VERSION_TEXT=\"gcc 12\"\nCONFIG_KASAN_SHADOW_OFFSET=0x1\n\
            # CONFIG_KASAN is not set\nCONFIG_PREEMPT_DYNAMIC=y\nCONFIG_SMP=y\n";
        assert_eq!(compiler(config).as_deref(), Some("gcc 12"));
        assert_eq!(detectors(config), ["PREEMPT_DYNAMIC", "SMP"]);
        assert_eq!(compiler("CONFIG_CC_VERSION_TEXT=\"\"\n"), None);
    }
}
