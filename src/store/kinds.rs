//! What the caches hold, kind by kind: the one place that knows what lies in an
//! entry to tell it by, and which locks someone who works on it holds.

/// What entries of a kind are like. A kind that is not in the table, which another
/// kvet made, has entries without a record, made and used under their own lock
/// alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The directory below the store's root.
    pub(super) name: &'static str,
    /// The file in an entry that says what it is. Using an entry gives it a new
    /// time.
    pub(super) record: Option<&'static str>,
    /// Locks besides the entry's own `.NAME.lock`.
    pub(super) guards: &'static [Guard],
    /// Bytes that must be free before an entry is made, about: what it takes,
    /// and what is there only meanwhile.
    pub(super) room: u64,
}

/// A lock that someone who works on an entry may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guard {
    /// `.NAME.SUFFIX` in the directory of a kind.
    Named {
        /// The lock's kind.
        kind: &'static str,
        /// What follows the entry's name.
        suffix: &'static str,
    },
    /// Any lock in the directory of a kind: entries of this one serve to make
    /// entries of that one, whichever.
    All(&'static str),
    /// This lock in the directory of a kind, which is for all its entries.
    Lock(&'static str, &'static str),
}

/// Held while an arm of a source is patched and built.
const ARM: Guard = Guard::Named {
    kind: "worktrees",
    suffix: "arm.lock",
};

const MIB: u64 = 1 << 20;

/// The kinds that kvet makes. A kernel's unpacked tree has 1.8 GiB and its archive
/// 150 MiB; objects and images with debug information and sanitizers have up to
/// a GiB.
pub(super) const KINDS: &[Kind] = &[
    // Which tree an archive has. It is unpacked here first.
    Kind {
        name: "trees",
        record: Some("source.json"),
        guards: &[],
        room: 3072 * MIB,
    },
    // The repository of a line of trees; those that use it mark its directory.
    Kind {
        name: "git",
        record: Some("source.json"),
        guards: &[],
        room: 512 * MIB,
    },
    Kind {
        name: "worktrees",
        record: Some("source.json"),
        guards: &[ARM],
        room: 64 * MIB,
    },
    Kind {
        name: "objects",
        record: None,
        guards: &[],
        room: 0,
    },
    Kind {
        name: "builds",
        record: Some("build.json"),
        guards: &[],
        room: 1024 * MIB,
    },
    Kind {
        name: "rootfs",
        record: None,
        guards: &[],
        room: 64 * MIB,
    },
    Kind {
        name: "clusters",
        record: Some("cluster.json"),
        guards: &[],
        room: 64 * MIB,
    },
    Kind {
        name: "guests",
        record: Some("saved.json"),
        guards: &[],
        room: 512 * MIB,
    },
    Kind {
        name: "library",
        record: None,
        guards: &[],
        room: 4 * MIB,
    },
    Kind {
        name: "mails",
        record: None,
        guards: &[],
        room: 64 * MIB,
    },
    Kind {
        name: "downloads",
        record: None,
        guards: &[Guard::All("trees")],
        room: 0,
    },
    // Debian's package lists, each with a lock of its own, and what they said.
    Kind {
        name: "debian",
        record: None,
        guards: &[],
        room: 0,
    },
    // What a probe of this host's accelerator said.
    Kind {
        name: "accelerators",
        record: None,
        guards: &[],
        room: 0,
    },
    Kind {
        name: "vstart",
        record: None,
        guards: &[Guard::Lock("vstart", ".lock")],
        room: 0,
    },
    // Unpacked trees, which earlier kvets kept.
    Kind {
        name: "sources",
        record: Some("source.json"),
        guards: &[ARM],
        room: 0,
    },
];

/// Directories below the root that are not caches: a cluster that is up has its
/// socket and its logs there.
pub(super) const NOT_CACHES: &[&str] = &["run", "cluster-logs"];

/// Bytes that a kernel takes which kvet has not seen yet.
#[must_use]
pub fn room_for_a_kernel() -> u64 {
    KINDS.iter().map(|kind| kind.room).sum()
}

/// The kind of this name.
pub(super) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
