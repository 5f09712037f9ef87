//! The stack's shape: finer than a title, the same over kernel versions.
//!
//! Inlining, `__` variants and compiler suffixes change what lies between two
//! functions from version to version; who blocks, on whose behalf, and where
//! the subsystem was entered do not. A signature is these landmarks:
//! `hung_task:inode_wait_for_writeback<evict<ceph_writepages_start`.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::Class;
use super::finding::Frame;
use super::frame::plain;
use super::rules::skip;

/// First words of names that belong to no subsystem in particular.
const GENERIC: &str = "
    find ilookup5 ilookup icreate iget sync_inodes
    do vfs generic wb writeback filemap folio sys ksys iput evict dput mm page pages
    truncate invalidate inode super sb file path kthread worker process wait set get put
    free alloc read write sync ret try shrink balance x64 ia32 arm64 se prune dispose
    deactivate kill cleanup task exit mmput new call iterate drop lookup open release fput
    filp close user kernel block bio submit blk dentry d lru mark handle unmap map lock
    unlock test run start rcu cgroup mem try_to super_cache clear remove add copy list
    prepare finish queue kblockd umount mount path_umount security current fs fsync
    fdatasync iterator umount_tree notify
";

/// Functions that mark what was going on wherever they appear.
const LANDMARKS: &[&str] = &[
    "evict",
    "generic_shutdown_super",
    "shrink_slab",
    "truncate_inode_pages_final",
];

/// A function's name as signatures spell it.
#[must_use]
pub fn canonical(function: &str) -> &str {
    plain(function).trim_start_matches('_')
}

/// The signature of a finding with these frames, innermost first; `title`
/// stands in for a stack that is missing.
pub(super) fn of(class: Class, frames: &[Frame], title: &str) -> String {
    let frames: Vec<&Frame> = frames.iter().filter(|frame| frame.is_real()).collect();
    let skipped = if class == Class::HungTask {
        &*skip::BLOCKING
    } else {
        &*skip::ALWAYS
    };
    let Some(start) = frames
        .iter()
        .position(|frame| !skipped.contains(&frame.function))
    else {
        return format!("{class}:{}", title.replace(' ', "_"));
    };
    let inside: Vec<&Frame> = frames[start..]
        .iter()
        .copied()
        .take_while(|frame| !skip::OUTSIDE.contains(&frame.function))
        .collect();
    let Some(blocking) = inside.first() else {
        return format!("{class}:{}", title.replace(' ', "_"));
    };
    let mut shape = vec![canonical(&blocking.function)];
    // The first subsystem that the stack is in more than in passing.
    let count = |own| {
        let of_own = inside.iter().filter(|frame| subsystem(frame) == Some(own));
        of_own.count()
    };
    let entry = inside
        .iter()
        .filter_map(|frame| subsystem(frame))
        .find(|own| count(own) > 1)
        .or_else(|| inside.iter().find_map(|frame| subsystem(frame)))
        .and_then(|own| {
            inside
                .iter()
                .rposition(|frame| subsystem(frame) == Some(own))
        });
    let entry = entry.unwrap_or_else(|| {
        // No subsystem of its own: the outermost function short of dispatch.
        inside
            .iter()
            .rposition(|frame| !skip::STALL.contains(&frame.function))
            .unwrap_or(0)
    });
    for frame in &inside[..entry.max(1)] {
        let name = canonical(&frame.function);
        if LANDMARKS.contains(&name) && !shape.contains(&name) {
            shape.push(name);
        }
    }
    let name = canonical(&inside[entry].function);
    if !shape.contains(&name) {
        shape.push(name);
    }
    format!("{class}:{}", shape.join("<"))
}

/// The subsystem a function is of: its module, or its name's first word.
fn subsystem(frame: &Frame) -> Option<&str> {
    let name = canonical(&frame.function);
    let word = name.split('_').next().unwrap_or(name);
    (name.len() > word.len() && word.len() > 1 && !is_generic(word)).then_some(word)
}

fn is_generic(word: &str) -> bool {
    static WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| GENERIC.split_whitespace().collect());
    WORDS.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(names: &[&str]) -> Vec<Frame> {
        names
            .iter()
            .map(|name| Frame {
                function: (*name).to_owned(),
                reliable: true,
                ..Frame::default()
            })
            .collect()
    }

    #[test]
    fn one_bug_has_one_signature_in_every_version() {
        let v73 = frames(&[
            "__schedule",
            "schedule",
            "inode_wait_for_writeback",
            "evict",
            "ceph_put_wrbuffer_cap_refs",
            "ceph_invalidate_folio",
            "folio_invalidate",
            "ceph_check_page_before_write",
            "ceph_process_folio_batch",
            "ceph_writepages_start",
            "do_writepages",
            "__writeback_single_inode",
            "writeback_sb_inodes",
            "wb_writeback",
            "wb_workfn",
            "process_one_work",
            "worker_thread",
        ]);
        let v61 = frames(&[
            "__schedule",
            "schedule",
            "bit_wait",
            "__wait_on_bit",
            "__inode_wait_for_writeback",
            "inode_wait_for_writeback",
            "evict",
            "iput",
            "ceph_put_wrbuffer_cap_refs.cold",
            "ceph_invalidate_folio",
            "ceph_writepages_start.isra.0",
            "do_writepages",
            "wb_workfn",
            "process_one_work",
        ]);
        let one = of(Class::HungTask, &v73, "");
        assert_eq!(
            one,
            "hung_task:inode_wait_for_writeback<evict<ceph_writepages_start"
        );
        assert_eq!(one, of(Class::HungTask, &v61, ""));
    }

    #[test]
    fn neighbours_differ() {
        let ext4 = frames(&[
            "__schedule",
            "schedule",
            "inode_wait_for_writeback",
            "evict",
            "ext4_put_ea",
            "ext4_writepages",
            "do_writepages",
            "wb_workfn",
            "kthread",
        ]);
        assert_eq!(
            of(Class::HungTask, &ext4, ""),
            "hung_task:inode_wait_for_writeback<evict<ext4_writepages"
        );
        let netfs = frames(&[
            "schedule",
            "netfs_wait_for_outstanding_io",
            "ceph_evict_inode",
            "evict",
            "ceph_con_workfn",
            "process_one_work",
        ]);
        assert!(of(Class::HungTask, &netfs, "").starts_with("hung_task:netfs_wait"));
        assert_eq!(
            of(Class::Panic, &[], "kernel panic: x"),
            "panic:kernel_panic:_x"
        );
    }
}
