//! Which functions a title passes over: unions of the families, one for each
//! way to choose the function.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::super::frame::plain;
use super::families::{
    ALLOCATION, CONSTRUCTION, DISPATCH, ENTRY, EXCEPTIONS, FLUSHING, HELPERS, LOCKS, MULTIPLEXED,
    NAMED_WAITS, PAGE_CACHE, REPORTING, TEARDOWN, TIMER, WAITING,
};

/// Functions by their names.
pub(in crate::detect) struct Names {
    /// With their inner halves: `__name` does the work of `name`, once that has
    /// looked at its arguments or taken a lock.
    whole: List,
    /// Without them: what locks an object, looks it up or takes it away for
    /// others fails on what they did, its inner half on the object.
    outer: List,
}

impl Names {
    fn new(whole: &[&'static str], outer: &[&'static str]) -> Self {
        Self {
            whole: List::new(whole),
            outer: List::new(outer),
        }
    }

    /// Whether the function is one of them.
    pub(in crate::detect) fn contains(&self, function: &str) -> bool {
        let mut name = plain(function);
        if self.outer.has(name) {
            return true;
        }
        loop {
            if name.is_empty() || self.whole.has(name) {
                return true;
            }
            match name.strip_prefix('_') {
                Some(rest) => name = rest,
                None => return false,
            }
        }
    }
}

/// A set of names, beginnings and ends of names.
struct List {
    exact: HashSet<&'static str>,
    /// Beginnings in order, none of which begins another one.
    beginnings: Vec<&'static str>,
    ends: Vec<&'static str>,
}

impl List {
    fn new(families: &[&'static str]) -> Self {
        let mut names = Self {
            exact: HashSet::new(),
            beginnings: Vec::new(),
            ends: Vec::new(),
        };
        for name in families.iter().flat_map(|family| family.split_whitespace()) {
            if let Some(end) = name.strip_prefix('*') {
                names.ends.push(end);
            } else if let Some(start) = name.strip_suffix('*') {
                names.beginnings.push(start);
            } else {
                names.exact.insert(name);
            }
        }
        names.beginnings.sort_unstable();
        names
            .beginnings
            .dedup_by(|next, kept| next.starts_with(*kept));
        names
    }

    fn has(&self, name: &str) -> bool {
        // What begins a name is the last one in order that is not after it.
        let after = self.beginnings.partition_point(|start| *start <= name);
        let begins = after > 0 && name.starts_with(self.beginnings[after - 1]);
        begins || self.exact.contains(name) || self.ends.iter().any(|end| name.ends_with(end))
    }
}

/// A set of these families.
macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident = $($family:ident)+ $(, outer $($outer:ident)+)?;)*) => {
        $($(#[$doc])*
        pub(in crate::detect) static $name: LazyLock<Names> =
            LazyLock::new(|| Names::new(&[$($family),+], &[$($($outer),+)?]));)*
    };
}

sets! {
    /// Not in the title of a report on a bad access or a bad state.
    ALWAYS = REPORTING EXCEPTIONS FLUSHING HELPERS ALLOCATION ENTRY, outer LOCKS PAGE_CACHE TEARDOWN;
    /// Not in the title of what is complained of where it is called: there an
    /// exception may be the caller.
    CALLED = REPORTING FLUSHING HELPERS ALLOCATION ENTRY, outer LOCKS PAGE_CACHE TEARDOWN;
    /// Not in the title of a hang.
    HANG = REPORTING EXCEPTIONS FLUSHING HELPERS ALLOCATION ENTRY WAITING NAMED_WAITS, outer LOCKS PAGE_CACHE;
    /// Not in the title of a stall, seen from outside.
    STALL = REPORTING EXCEPTIONS HELPERS ENTRY TIMER DISPATCH, outer LOCKS;
    /// The timer and what it runs, on top of what it interrupted.
    INTERRUPT = TIMER REPORTING EXCEPTIONS;
    /// Below these lies the kernel's entry, not a subsystem.
    OUTSIDE = ENTRY;
    /// Waiting and locking: on top of the frame that blocks.
    BLOCKING = REPORTING EXCEPTIONS WAITING FLUSHING HELPERS, outer LOCKS;
    /// In these a task waits for a lock.
    TAKING = LOCKS;
    /// Not in the title of a leak.
    LEAK = REPORTING HELPERS ALLOCATION ENTRY CONSTRUCTION, outer LOCKS PAGE_CACHE;
    /// The entry, the timer and the idle loop: no work at all.
    IDLE = REPORTING EXCEPTIONS ENTRY TIMER;
    /// What prints reports: a stack of nothing else is no stack.
    DUMPERS = REPORTING EXCEPTIONS;
    /// Where exceptions are taken.
    EXCEPTION = EXCEPTIONS;
    /// Not in the title of a complaint about a lock's state.
    LOCK_STATE = REPORTING FLUSHING HELPERS ENTRY, outer LOCKS;
    /// Where no lock is taken for oneself.
    NO_PLACE = REPORTING FLUSHING ENTRY, outer LOCKS;
    /// Not in the title of a complaint about locks.
    LOCKING = REPORTING FLUSHING HELPERS ALLOCATION ENTRY, outer LOCKS;
}

/// Whether a system call's name tells nothing about the operation.
pub(in crate::detect) fn is_multiplexed(call: &str) -> bool {
    MULTIPLEXED.split_whitespace().any(|known| known == call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_beginnings() {
        assert!(HANG.contains("schedule_timeout"));
        assert!(HANG.contains("mutex_lock_nested.isra.0"));
        assert!(HANG.contains("inode_wait_for_writeback"));
        assert!(!BLOCKING.contains("inode_wait_for_writeback"));
        assert!(!ALWAYS.contains("evict"));
        assert!(STALL.contains("____fput"));
        assert!(!ALWAYS.contains("__evict"));
        assert!(ALWAYS.contains("kernfs_remove"));
        assert!(!HANG.contains("__writeback_inodes_sb_nr"));
        assert!(!ALWAYS.contains("__kernfs_remove"));
        assert!(!ALWAYS.contains("__rt_mutex_slowlock_locked"));
        assert!(ALWAYS.contains(""));
    }
}
