//! Sanitizers and the allocators' own checks.

use super::{Choice, ROW, Role, Rule};
use crate::detect::Class;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "kasan",
        literal: "BUG: ",
        pattern: r"^BUG: KASAN: ([a-z][a-z \-]*?) (?:in|on) (?:(?P<function>[^\s+]+)\+0x)?",
        class: Class::Kasan,
        title: "KASAN: {1} {A} in {F}",
        alternative: "bad-access in {F}",
        examples: &[
            "BUG: KASAN: slab-use-after-free in evict+0x1c8/0x730",
            "BUG: KASAN: double-free or invalid-free in kfree+0x1/0x2",
            "BUG: KASAN: null-ptr-deref on address 0000000000000008",
        ],
        lookalikes: &["KASAN: null-ptr-deref in range [0x0-0x7]"],
        ..ROW
    },
    // Tags that the processor checks later.
    Rule {
        name: "kasan-later",
        literal: "BUG: ",
        pattern: r"^BUG: KASAN: (invalid-access)\s*$",
        class: Class::Kasan,
        title: "KASAN: {1} in {F}",
        alternative: "bad-access in {F}",
        examples: &["BUG: KASAN: invalid-access"],
        ..ROW
    },
    Rule {
        name: "kcsan",
        literal: "BUG: ",
        pattern: r"^BUG: KCSAN: (data-race|assert: race) in ([^\s+]+(?: / [^\s+]+)?)",
        class: Class::Kcsan,
        title: "KCSAN: {1} in {2}",
        function: Choice::None,
        stack: false,
        examples: &[
            "BUG: KCSAN: data-race in touch_atime / generic_update_time",
            "BUG: KCSAN: data-race in evict",
            "BUG: KCSAN: assert: race in evict+0x1/0x2",
        ],
        ..ROW
    },
    Rule {
        name: "kmsan",
        literal: "BUG: ",
        pattern: r"^BUG: KMSAN: ([a-z\-]+) in (?P<function>[^\s+]+)",
        class: Class::Kmsan,
        title: "KMSAN: {1} in {F}",
        alternative: "bad-access in {F}",
        examples: &["BUG: KMSAN: uninit-value in evict+0x4f0/0x920"],
        ..ROW
    },
    Rule {
        name: "kfence",
        literal: "BUG: ",
        pattern: r"^BUG: KFENCE: ([a-z\-]+(?: [a-z\-]+)?) in (?P<function>[^\s+]+)",
        class: Class::Kfence,
        title: "KFENCE: {1} in {F}",
        alternative: "bad-access in {F}",
        examples: &[
            "BUG: KFENCE: use-after-free read in evict+0xb0/0x140",
            "BUG: KFENCE: memory corruption in kfree+0x6c/0xe0",
        ],
        ..ROW
    },
    Rule {
        name: "ubsan",
        literal: "UBSAN: ",
        pattern: r"^UBSAN: ([A-Za-z][A-Za-z \-]+?) (?:in|at) (?:(?P<file>[^\s:]+):|(?P<function>[^\s+]+)\+0x)",
        class: Class::Ubsan,
        title: "UBSAN: {1} in {F}",
        examples: &[
            "UBSAN: Undefined behaviour in fs/inode.c:77:12",
            "UBSAN: array-index-out-of-bounds in fs/inode.c:12:3",
            // Where it traps.
            "UBSAN: array index out of bounds in evict+0x1c8/0x730",
            "UBSAN: array index out of bounds at evict+0x1c8/0x730",
        ],
        lookalikes: &["UBSAN: enabled"],
        ..ROW
    },
    Rule {
        name: "memory-leak",
        literal: "BUG: ",
        pattern: r"^BUG: memory leak\s*$",
        class: Class::Leak,
        title: "memory leak in {F}",
        function: Choice::Allocating,
        examples: &["BUG: memory leak"],
        ..ROW
    },
    // From the list of leaks, or while it is made.
    Rule {
        name: "leaked-object",
        literal: "unreferenced object",
        pattern: r"^(?:kmemleak: )?unreferenced object(?: \(\w+\))? 0x[0-9a-f]+ \(size \d+\):",
        class: Class::Leak,
        title: "memory leak in {F}",
        function: Choice::Allocating,
        role: Role::Continues,
        examples: &[
            "unreferenced object 0xffff888004a5c1a0 (size 64):",
            "kmemleak: unreferenced object (percpu) 0x607f00001230 (size 8):",
        ],
        ..ROW
    },
    Rule {
        name: "kmemleak",
        literal: "kmemleak: ",
        pattern: r"^kmemleak: \d+ new suspected memory leaks",
        class: Class::Leak,
        title: "memory leak",
        function: Choice::None,
        stack: false,
        role: Role::Continues,
        examples: &["kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"],
        lookalikes: &["kmemleak: Kernel memory leak detector initialized"],
        ..ROW
    },
    Rule {
        name: "bad-page",
        literal: "BUG: ",
        pattern: r"^BUG: (Bad page (?:map|state|cache)) in\b",
        class: Class::BugOther,
        title: "BUG: {1} in {F}",
        function: Choice::PageOwner,
        examples: &[
            "BUG: Bad page map in process a.out  pte:8000000012345067 pmd:12345067",
            "BUG: Bad page state in process a.out  pfn:12345",
        ],
        lookalikes: &["BUG: Bad page state: 31 messages suppressed"],
        ..ROW
    },
    // What is found wrong when a process ends: a line and no more.
    Rule {
        name: "bad-counter",
        literal: "BUG: ",
        pattern: r"^BUG: (Bad rss-counter state|non-zero (?:pgtables_bytes|nr_ptes|nr_pmds) on freeing mm|Bad swap (?:file|offset) entry)",
        class: Class::BugOther,
        title: "BUG: {1}",
        function: Choice::None,
        stack: false,
        examples: &[
            "BUG: Bad rss-counter state mm:0000000000000000 idx:0 val:1",
            "BUG: non-zero pgtables_bytes on freeing mm: 4096",
        ],
        ..ROW
    },
    // Of what was told before, there was more.
    Rule {
        name: "bad-page-suppressed",
        literal: "BUG: ",
        pattern: r"^BUG: Bad page (?:map|state): \d+ messages suppressed",
        function: Choice::None,
        stack: false,
        role: Role::Told,
        examples: &["BUG: Bad page state: 31 messages suppressed"],
        ..ROW
    },
    // The caller warns of the same in newer kernels, which is the finding then.
    Rule {
        name: "slab-remaining",
        literal: "BUG ",
        pattern: r"^BUG [^\s:]+ \([^)]*\): (Objects remaining.*?)\s*$",
        class: Class::BugOther,
        title: "BUG: {1}",
        function: Choice::None,
        examples: &[
            "BUG ceph_inode_info (Not tainted): Objects remaining in ceph_inode_info on __kmem_cache_shutdown()",
            "BUG ceph_inode_info (Not tainted): Objects remaining on __kmem_cache_shutdown()",
        ],
        ..ROW
    },
    Rule {
        name: "slab-object",
        literal: "BUG ",
        pattern: r"^BUG [^\s:]+ \([^)]*\): ((?:[A-Za-jl-z]|kmalloc).*?)(?:\.? 0x.*|[\s.]*)$",
        class: Class::BugOther,
        title: "BUG: {1}",
        function: Choice::None,
        examples: &[
            "BUG kmalloc-64 (Tainted: G        W         ): Object already free",
            "BUG ceph_inode_info (Not tainted): Poison overwritten",
            "BUG ceph_inode_info (Not tainted): kmalloc Redzone overwritten",
            // Since 5.14 with the place.
            "BUG ceph_inode_info (Not tainted): Padding overwritten. 0x0000000012345678-0x000000001234567f @offset=3536",
        ],
        lookalikes: &["BUG ceph_inode_info (Not tainted): kasan: bad access detected"],
        ..ROW
    },
    // Before 3.3.
    Rule {
        name: "slab-object-old",
        literal: "BUG ",
        pattern: r"^BUG [^\s:]+: ((?:Object|Poison|Redzone|Left|Right|Freepointer|Free|Wrong|Padding|Freechain|Alignment|Page|Allocated|Invalid|Slab)\b.*?)(?:\.? 0x.*|[\s.]*)$",
        class: Class::BugOther,
        title: "BUG: {1}",
        function: Choice::None,
        examples: &["BUG kmalloc-32: Poison overwritten"],
        ..ROW
    },
];
