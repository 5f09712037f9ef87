//! Exceptions the kernel took in its own code, and `BUG()`.

use super::{Choice, ROW, Role, Rule};
use crate::detect::Class;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "kernel-bug",
        literal: "BUG ",
        pattern: r"^[Kk]ernel BUG at (?:(?P<file>[^\s:]+):\d+|[^!]*)!?",
        class: Class::KernelBug,
        title: "kernel BUG in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "kernel BUG at fs/inode.c:77!",
            // Without the names of files.
            "Kernel BUG at evict+0x1d0/0x2f0 [verbose debug info unavailable]",
        ],
        ..ROW
    },
    // Where no instruction is there for it.
    Rule {
        name: "kernel-bug-failure",
        literal: "BUG: ",
        pattern: r"^BUG: failure at (?P<file>[^\s:]+):\d+/(?P<function>\w+)\(\)!",
        class: Class::KernelBug,
        title: "kernel BUG in {F}",
        function: Choice::Fault,
        examples: &["BUG: failure at fs/inode.c:77/evict()!"],
        ..ROW
    },
    Rule {
        name: "kernel-bug-loongarch",
        literal: "Oops",
        pattern: r"^Oops - BUG\[#\d+\]",
        class: Class::KernelBug,
        title: "kernel BUG in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Oops - BUG[#1]:"],
        ..ROW
    },
    Rule {
        name: "kernel-bug-detected",
        literal: "detected",
        pattern: r"^Kernel bug detected\[#\d+\]",
        class: Class::KernelBug,
        title: "kernel BUG in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Kernel bug detected[#1]:"],
        ..ROW
    },
    Rule {
        name: "general-protection",
        literal: "general protection fault",
        pattern: r"^general protection fault(?:: |, |\s*$)",
        class: Class::Gpf,
        title: "general protection fault in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &[
            "general protection fault: 0000 [#1] SMP KASAN",
            "Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] SMP",
        ],
        lookalikes: &["traps: a.out[12] general protection fault ip:55d0c0de1234 sp:7ffd00001230"],
        ..ROW
    },
    Rule {
        name: "divide-error",
        literal: "divide",
        pattern: r"^divide[ _]error: \d{4} ",
        class: Class::Gpf,
        title: "divide error in {F}",
        function: Choice::Fault,
        examples: &[
            "divide_error: 0000 [#1] PREEMPT SMP",
            "Oops: divide error: 0000 [#1] SMP",
        ],
        ..ROW
    },
    Rule {
        name: "exception",
        literal: ": 0000 [#",
        pattern: r"^(invalid opcode|invalid_opcode|int3|alignment check|double fault|bounds|overflow|control protection|simd exception|fpu exception|coprocessor segment overrun|unexpected #NM exception|VE fault|stack guard page|[iI]nvalid or fatal FRED event)(?: fault)?: 0000 \[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "invalid opcode: 0000 [#1] SMP",
            "Oops: invalid opcode: 0000 [#1] SMP",
        ],
        ..ROW
    },
    // With the selector that is wrong.
    Rule {
        name: "exception-segment",
        literal: "segment",
        pattern: r"^(segment not present): [0-9a-f]{4} \[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["segment not present: 0018 [#1] SMP"],
        ..ROW
    },
    Rule {
        name: "exception-stack-segment",
        literal: "segment",
        pattern: r"^(stack segment): [0-9a-f]{4} \[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["stack segment: 0000 [#1] SMP"],
        ..ROW
    },
    Rule {
        name: "exception-tss",
        literal: "invalid TSS: ",
        pattern: r"^(invalid TSS): [0-9a-f]{4} \[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["invalid TSS: 0018 [#1] SMP"],
        ..ROW
    },
    // Entries of a page table that are none, and the error code of the access.
    Rule {
        name: "bad-pagetable",
        literal: "Bad pagetable: ",
        pattern: r"^Bad pagetable: [0-9a-f]{4} \[#\d+\]",
        class: Class::PagingNull,
        title: "Bad pagetable in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Oops: Bad pagetable: 000d [#1] SMP"],
        ..ROW
    },
    // s390 with the length of the instruction.
    Rule {
        name: "exception-s390",
        literal: " ilc:",
        pattern: r"^([A-Za-z][A-Za-z -]+): [0-9a-f]{4} ilc:\d+ \[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "addressing exception: 0005 ilc:3 [#1] SMP",
            "monitor event: 0040 ilc:2 [#1] SMP",
        ],
        ..ROW
    },
    // powerpc with the signal that it would be for a program.
    Rule {
        name: "access-powerpc",
        literal: "sig: ",
        pattern: r"^Kernel access of bad area, sig: \d+ \[#\d+\]",
        class: Class::PagingNull,
        title: "Oops in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Oops: Kernel access of bad area, sig: 11 [#1]"],
        ..ROW
    },
    Rule {
        name: "exception-powerpc",
        literal: "sig: ",
        pattern: r"^[A-Z][A-Za-z /()]+, sig: \d+ \[#\d+\]",
        class: Class::Gpf,
        title: "Oops in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "Oops: Machine check, sig: 7 [#1]",
            "Oops: Exception in kernel mode, sig: 5 [#1]",
        ],
        ..ROW
    },
    Rule {
        name: "exception-riscv",
        literal: "Oops",
        pattern: r"^Oops - [a-z][A-Za-z ()-]*\[#\d+\]",
        class: Class::Gpf,
        title: "Oops in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "Oops - illegal instruction [#1]",
            "Oops - store (or AMO) access fault [#1]",
        ],
        ..ROW
    },
    // MIPS and LoongArch.
    Rule {
        name: "exception-mips",
        literal: "de[#",
        pattern: r"^([A-Z][A-Za-z ]*) in kernel code\[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Reserved instruction in kernel code[#1]:"],
        ..ROW
    },
    Rule {
        name: "exception-mips-context",
        literal: "invoked",
        pattern: r"^(do_\w+ invoked) from kernel context!\[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["do_cpu invoked from kernel context![#1]:"],
        ..ROW
    },
    Rule {
        name: "exception-alignment",
        literal: "ss[#",
        pattern: r"^(Kernel (?:unaligned instruction|ale|ade) access)\[#\d+\]",
        class: Class::Gpf,
        title: "{1} in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &["Kernel ale access[#1]:"],
        ..ROW
    },
    Rule {
        name: "double-fault",
        literal: "PANIC: ",
        pattern: r"^PANIC: (double fault)",
        class: Class::Gpf,
        title: "PANIC: double fault in {F}",
        function: Choice::Fault,
        examples: &[
            "PANIC: double fault, error_code: 0x0",
            "traps: PANIC: double fault, error_code: 0x0",
        ],
        ..ROW
    },
    Rule {
        name: "stack-guard",
        literal: "BUG: ",
        pattern: r"^BUG: (?:[A-Z0-9_#]+ )?stack guard page was hit",
        class: Class::BugOther,
        title: "BUG: stack guard page was hit in {F}",
        alternative: "stack-overflow in {F}",
        function: Choice::Outermost,
        examples: &[
            "BUG: stack guard page was hit at ffffc90000123fe8 (stack is ffffc90000278000..ffffc9000027ffff)",
            "BUG: TASK stack guard page was hit at 000000009d5c1a8d (stack is 00000000a..0000b)",
            "BUG: #VC2 stack guard page was hit at 000000009d5c1a8d (stack is 00000000a..0000b)",
        ],
        ..ROW
    },
    Rule {
        name: "null-dereference",
        literal: "NULL pointer dereference",
        pattern: r"^(?:BUG: |CPU \d+ )?(?:[Uu]nable to handle )?[Kk]ernel NULL pointer dereference",
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel NULL pointer dereference in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &[
            "BUG: unable to handle kernel NULL pointer dereference at 0000000000000010",
            "BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
            "BUG: Kernel NULL pointer dereference on read at 0x00000000",
        ],
        ..ROW
    },
    Rule {
        name: "user-access",
        literal: "nable to handle",
        pattern: r"^(?:BUG: )?[Uu]nable to handle kernel access to user memory",
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel access to user memory in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &[
            "Unable to handle kernel access to user memory without uaccess routines at virtual address 0000000000001230",
            "Unable to handle kernel access to user memory outside uaccess routines at virtual address 0000000000000008",
        ],
        ..ROW
    },
    Rule {
        name: "paging-request",
        literal: "nable to handle",
        pattern: r"^(?:BUG: |CPU \d+ )?[Uu]nable to handle (?:kernel|page fault|unknown)",
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel paging request in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &[
            "BUG: unable to handle kernel paging request at ffff888012345600",
            "BUG: unable to handle page fault for address: ffff888012345678",
            "Unable to handle kernel paging request at virtual address f0001230",
            "CPU 0 Unable to handle kernel paging request at virtual address 00000004, epc == 80123456",
            "BUG: Unable to handle kernel data access on read at 0xc00c000000000000",
        ],
        lookalikes: &["nfs: unable to handle request"],
        ..ROW
    },
    Rule {
        name: "internal-error",
        literal: "Internal error: ",
        pattern: r"^Internal error: (?P<kind>.+?)(?:: [0-9a-fx]+)? \[#\d+\]",
        class: Class::Gpf,
        title: "Internal error in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "Internal error: Oops: 96000004 [#1] PREEMPT SMP",
            "Internal error: synchronous external abort: 0000000096000210 [#1] SMP",
            "Internal error: Oops - BUG: 00000000f2001000 [#1] SMP",
        ],
        ..ROW
    },
    // Control flow integrity: an indirect call of a function of another type.
    Rule {
        name: "control-flow",
        literal: "CFI failure",
        pattern: r"^CFI failure (?:at (?P<function>[^\s+]+)\+0x|\(target: )",
        class: Class::Gpf,
        title: "CFI failure in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &[
            "CFI failure at evict+0x24/0x30 (target: a_function+0x0/0x10; expected type: 0x12345678)",
            "CFI failure (target: a_function+0x0/0x10):",
        ],
        ..ROW
    },
    Rule {
        name: "unhandled-fault",
        literal: "Unhandled ",
        pattern: r"^Unhandled (?:fault: .* at 0x|prefetch abort: .* at 0x|kernel unaligned access)",
        class: Class::Other,
        title: "Unhandled fault in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        examples: &["Unhandled fault: external abort on non-linefetch (0x1008) at 0xf0b2e000"],
        ..ROW
    },
    Rule {
        name: "bad-mode",
        literal: "Bad mode in ",
        pattern: r"^Bad mode in (?:Error|Synchronous Abort|IRQ|FIQ) handler",
        class: Class::Gpf,
        title: "Bad mode in {F}",
        function: Choice::Fault,
        examples: &["Bad mode in Error handler detected on CPU0, code 0xbf000002 -- SError"],
        ..ROW
    },
    Rule {
        name: "oops",
        literal: "Oops",
        pattern: r"^Oops(?:: [0-9a-f]{4,16})?(?: \[#\d+\]|\[#\d+\]:)",
        class: Class::PagingNull,
        title: "Oops in {F}",
        alternative: "bad-access in {F}",
        function: Choice::Fault,
        role: Role::Continues,
        examples: &[
            "Oops: 0002 [#1] SMP",
            "Oops [#1]",
            "Oops[#1]:",
            "Oops: Oops: 0000 [#1] SMP",
        ],
        lookalikes: &["Oops, cannot mount"],
        ..ROW
    },
];
