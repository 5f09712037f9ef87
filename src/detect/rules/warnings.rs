//! `WARN()` and messages of the same make.

use super::{Choice, ROW, Role, Rule};
use crate::detect::Class;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "cut-here",
        literal: "------------[ cut here ]",
        pattern: r"^-+\[ cut here \]",
        class: Class::Warning,
        title: "WARNING in {F}",
        function: Choice::Fault,
        role: Role::Prelude,
        examples: &["------------[ cut here ]------------"],
        ..ROW
    },
    Rule {
        name: "warning",
        literal: "WARNING: ",
        pattern: r"^WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at (?P<file>[^\s:]+)(?::\d+)?(?: (?P<function>[^\s+(]+))?",
        class: Class::Warning,
        title: "WARNING in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "WARNING: CPU: 0 PID: 4242 at fs/inode.c:73 evict+0x1d0/0x2f0",
            "WARNING: CPU: 1 PID: 4242 at /build/fs/inode.c:321 evict+0x77/0x90()",
        ],
        ..ROW
    },
    // Since 6.18.
    Rule {
        name: "warning-at",
        literal: "WARNING: ",
        pattern: r"^WARNING: (?:\[.*\] )?(?:(?P<file>[^\s:]+):\d+ )?at (?P<function>[^\s+/]+)[^,]*, CPU#(?P<cpu>\d+): (?P<task>.*)/(?P<pid>\d+)",
        class: Class::Warning,
        title: "WARNING in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "WARNING: fs/inode.c:73 at evict+0x1d0/0x2f0, CPU#0: a.out/4242",
            "WARNING: at evict+0x1d0/0x2f0, CPU#0: a.out/4242",
            // Since 7.0.
            "WARNING: [!list_empty(&a->b)] fs/inode.c:73 at evict+0x1d0/0x2f0, CPU#0: a.out/4242",
            "WARNING: fs/inode.c:73 at evict+0x1d0/0x2f0 fs/inode.c:73, CPU#0: a.out/4242",
        ],
        ..ROW
    },
    // Before 3.12.
    Rule {
        name: "warning-old",
        literal: "WARNING: ",
        pattern: r"^WARNING: at (?P<file>[^\s:]+):\d+ (?P<function>[^\s+(]+)",
        class: Class::Warning,
        title: "WARNING in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["WARNING: at fs/inode.c:73 evict+0x1d0/0x2f0()"],
        ..ROW
    },
    // Where it could not be told.
    Rule {
        name: "warning-place",
        literal: "WARNING: ",
        pattern: r"^WARNING: at (?P<file>[^\s:]+\.[chS]):\d+\s*$",
        class: Class::Warning,
        title: "WARNING in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["WARNING: at fs/inode.c:73"],
        ..ROW
    },
    Rule {
        name: "stack-regs-named",
        literal: "WARNING: ",
        pattern: r"^WARNING: kernel stack regs at [0-9a-f]+ in .* has bad ('\w+') value",
        class: Class::Warning,
        title: "WARNING: kernel stack regs has bad {1} value",
        function: Choice::None,
        stack: false,
        examples: &[
            "WARNING: kernel stack regs at ffffc90000123e58 in a.out:4242 has bad 'bp' value ffffc90000123f58",
        ],
        ..ROW
    },
    // With hashed addresses the kind of register tells nothing any more.
    Rule {
        name: "stack-regs",
        literal: "WARNING: ",
        pattern: r"^WARNING: kernel stack (?:regs|frame pointer) at .* has bad (?:'\w+' )?value",
        class: Class::Warning,
        title: "WARNING: kernel stack regs has bad value",
        function: Choice::None,
        stack: false,
        examples: &[
            "WARNING: kernel stack frame pointer at         (ptrval) in a.out:4242 has bad value         (ptrval)",
        ],
        ..ROW
    },
    Rule {
        name: "stack-registers",
        literal: "WARNING: ",
        pattern: r"^WARNING: can't (?:access|dereference) (?:iret )?registers at .* for ip (?P<function>[^\s+]+)",
        class: Class::Warning,
        title: "WARNING: can't access registers at {F}",
        function: Choice::Named,
        stack: false,
        examples: &[
            "WARNING: can't dereference iret registers at 0000000000001230 for ip error_entry+0x7d/0xd0",
        ],
        ..ROW
    },
    Rule {
        name: "vfs-bug",
        literal: "VFS_",
        pattern: r"^(VFS_BUG_ON(?:_INODE)?)\((.*)\)",
        class: Class::VfsBug,
        title: "{1} in {F}",
        alternative: "kernel BUG in {F}",
        function: Choice::Fault,
        examples: &[
            "VFS_BUG_ON_INODE(inode->i_sync_owner == current): inode:ffff888004a5c1a0 fs:ceph mode:100644 opflags:0x4 flags:0x0 state:0x80 count:1",
            "VFS_BUG_ON_INODE(inode->i_state & I_CLEAR) encountered for inode ffff888004a5c1a0",
            "VFS_BUG_ON(path->mnt == NULL)",
        ],
        ..ROW
    },
    Rule {
        name: "vfs-warn",
        literal: "VFS_",
        pattern: r"^(VFS_WARN_ON(?:_ONCE)?(?:_INODE)?)\((.*)\)",
        class: Class::VfsWarn,
        title: "{1} in {F}",
        alternative: "WARNING in {F}",
        function: Choice::Fault,
        examples: &[
            "VFS_WARN_ON_INODE(!list_empty(&inode->i_io_list)): inode:ffff888004a5c1a0 fs:ceph mode:100644 opflags:0x4 flags:0x0 state:0x0 count:0",
        ],
        ..ROW
    },
];
