//! Which functions a title passes over: unions of the families, one for each
//! way to choose the function.

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
        let name = plain(function);
        // arm64's own copies that run wherever they are put.
        let name = name.strip_prefix("__pi_").unwrap_or(name);
        if self.outer.ends(name) || self.whole.ends(name) || self.outer.begins(name) {
            return true;
        }
        let mut inner = name;
        loop {
            if inner.is_empty() || self.whole.begins(inner) {
                return true;
            }
            match inner.strip_prefix('_') {
                Some(rest) => inner = rest,
                None => return false,
            }
        }
    }
}

/// A set of names, beginnings and ends of names. It is asked about every frame of
/// every report, several times.
struct List {
    /// Names and beginnings in order; none begins with a beginning that is another.
    starts: Vec<Start>,
    /// The first bytes of each, by which most comparisons are decided.
    keys: Vec<u64>,
    ends: Vec<&'static str>,
}

/// A name, or what may go on.
struct Start {
    text: &'static str,
    goes_on: bool,
}

impl List {
    fn new(families: &[&'static str]) -> Self {
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        for name in families.iter().flat_map(|family| family.split_whitespace()) {
            if let Some(end) = name.strip_prefix('*') {
                ends.push(end);
                continue;
            }
            let text = name.strip_suffix('*');
            starts.push(Start {
                text: text.unwrap_or(name),
                goes_on: text.is_some(),
            });
        }
        // A beginning comes before the name that is the same.
        starts.sort_unstable_by_key(|start| (start.text, !start.goes_on));
        starts.dedup_by(|next, kept| {
            next.text == kept.text || kept.goes_on && next.text.starts_with(kept.text)
        });
        Self {
            keys: starts.iter().map(|start| key(start.text)).collect(),
            starts,
            ends,
        }
    }

    /// Whether this is one of the names, or begins as one of the beginnings.
    fn begins(&self, name: &str) -> bool {
        // What begins a name, or is it, is the last one in order that is not after it.
        let wanted = key(name);
        let mut after = self.keys.partition_point(|key| *key <= wanted);
        while after > 0 && self.keys[after - 1] == wanted && self.starts[after - 1].text > name {
            after -= 1;
        }
        after.checked_sub(1).is_some_and(|last| {
            let Start { text, goes_on } = self.starts[last];
            text == name || goes_on && name.starts_with(text)
        })
    }

    /// Whether the name ends as one of the ends.
    fn ends(&self, name: &str) -> bool {
        self.ends.iter().any(|end| name.ends_with(end))
    }
}

/// The first eight bytes, of which the order is that of the texts. No name has a zero
/// byte, so what is shorter comes first.
fn key(text: &str) -> u64 {
    let mut first = [0; 8];
    let length = text.len().min(first.len());
    first[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(first)
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
        assert!(ALWAYS.contains("__pi_strcmp"));
        assert!(ALWAYS.contains(""));
    }
}
