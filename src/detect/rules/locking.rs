//! Lock validation, RCU's checks, sleeping in atomic context, spinlocks.

use super::{Choice, ROW, Rule};
use crate::detect::Class;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "possible-deadlock",
        literal: "detected",
        pattern: r"^(?:WARNING|INFO): possible (?:circular locking dependency|recursive locking|irq lock inversion dependency|irq lock inversion|deadlock) detected",
        class: Class::Lockdep,
        title: "possible deadlock in {F}",
        function: Choice::Lock,
        examples: &[
            "WARNING: possible circular locking dependency detected",
            "[ INFO: possible recursive locking detected ]",
            "WARNING: possible irq lock inversion dependency detected",
        ],
        ..ROW
    },
    Rule {
        name: "lock-order",
        literal: "detected",
        pattern: r"^(?:WARNING|INFO): [A-Z_-]+-safe -> [A-Z_-]+-unsafe lock order detected",
        class: Class::Lockdep,
        title: "possible deadlock in {F}",
        function: Choice::Lock,
        examples: &[
            "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected",
            "WARNING: HARDIRQ-READ-safe -> HARDIRQ-READ-unsafe lock order detected",
        ],
        ..ROW
    },
    Rule {
        name: "lock-state",
        literal: "inconsistent lock state",
        pattern: r"^(?:WARNING|INFO): inconsistent lock state|^inconsistent lock state",
        class: Class::Lockdep,
        title: "inconsistent lock state in {F}",
        function: Choice::LockStack,
        examples: &[
            "WARNING: inconsistent lock state",
            "[ INFO: inconsistent lock state ]",
        ],
        ..ROW
    },
    Rule {
        name: "rcu-usage",
        literal: "suspicious RCU",
        pattern: r"^(WARNING|INFO): suspicious RCU usage",
        class: Class::Lockdep,
        title: "{1}: suspicious RCU usage in {F}",
        examples: &[
            "WARNING: suspicious RCU usage",
            "[ INFO: suspicious RCU usage. ]",
        ],
        ..ROW
    },
    Rule {
        name: "unlock-balance",
        literal: "detected",
        pattern: r"^(WARNING|BUG): bad unlock balance detected!",
        class: Class::Lockdep,
        title: "{1}: bad unlock balance in {F}",
        function: Choice::Lock,
        examples: &[
            "[ BUG: bad unlock balance detected! ]",
            "WARNING: bad unlock balance detected!",
        ],
        ..ROW
    },
    Rule {
        name: "bad-contention",
        literal: "detected",
        pattern: r"^(WARNING|BUG): bad contention detected!",
        class: Class::Lockdep,
        title: "{1}: bad contention in {F}",
        function: Choice::Lock,
        examples: &[
            "WARNING: bad contention detected!",
            "[ BUG: bad contention detected! ]",
        ],
        ..ROW
    },
    Rule {
        name: "held-lock-freed",
        literal: "held lock freed",
        pattern: r"^(WARNING|BUG): held lock freed!",
        class: Class::Lockdep,
        title: "{1}: held lock freed in {F}",
        function: Choice::Lock,
        examples: &["WARNING: held lock freed!", "[ BUG: held lock freed! ]"],
        ..ROW
    },
    Rule {
        name: "locks-held",
        literal: "locks held!",
        pattern: r"^(WARNING|BUG): (?P<task>.+)/(?P<pid>\d+) still has locks held!",
        class: Class::Lockdep,
        title: "{1}: still has locks held in {F}",
        function: Choice::Held,
        examples: &["[ BUG: a.out/4242 still has locks held! ]"],
        ..ROW
    },
    Rule {
        name: "lock-to-user",
        literal: "returning to user space",
        pattern: r"^(WARNING|BUG): lock held when returning to user space!",
        class: Class::Lockdep,
        title: "{1}: lock held when returning to user space in {F}",
        function: Choice::Held,
        // The stack is gone by then: the lock's place is all there is.
        stack: false,
        examples: &["WARNING: lock held when returning to user space!"],
        ..ROW
    },
    Rule {
        name: "nested-lock",
        literal: "Nested lock",
        pattern: r"^(?:WARNING|BUG): Nested lock was not taken",
        class: Class::Lockdep,
        title: "WARNING: nested lock was not taken in {F}",
        function: Choice::Lock,
        examples: &["WARNING: Nested lock was not taken"],
        ..ROW
    },
    Rule {
        name: "wait-context",
        literal: "nvalid wait context",
        pattern: r"^(?:WARNING|BUG): [Ii]nvalid wait context",
        class: Class::Lockdep,
        title: "WARNING: locking bug in {F}",
        examples: &["[ BUG: Invalid wait context ]"],
        ..ROW
    },
    Rule {
        name: "static-key",
        literal: "INFO: ",
        pattern: r"^INFO: trying to register non-static key",
        class: Class::Lockdep,
        title: "INFO: trying to register non-static key in {F}",
        examples: &["INFO: trying to register non-static key."],
        ..ROW
    },
    Rule {
        name: "lockdep-limit",
        literal: "BUG: ",
        pattern: r"^BUG: (MAX_[A-Z_]+) too low!",
        class: Class::BugOther,
        title: "BUG: {1} too low!",
        function: Choice::None,
        examples: &["BUG: MAX_LOCKDEP_ENTRIES too low!"],
        ..ROW
    },
    Rule {
        name: "sleeping",
        literal: "BUG: ",
        pattern: r"^BUG: sleeping function called from invalid context",
        class: Class::AtomicSleep,
        title: "BUG: sleeping function called from invalid context in {F}",
        examples: &["BUG: sleeping function called from invalid context at mm/slab.h:77"],
        ..ROW
    },
    Rule {
        name: "scheduling",
        literal: "BUG: ",
        pattern: r"^BUG: (scheduling while atomic|scheduling in a non-blocking section): (?P<task>.+)/(?P<pid>\d+)/",
        class: Class::AtomicSleep,
        title: "BUG: {1} in {F}",
        function: Choice::Waiting,
        examples: &[
            "BUG: scheduling while atomic: a.out/4242/0x00000002",
            "BUG: scheduling in a non-blocking section: a.out/4242/1",
        ],
        ..ROW
    },
    Rule {
        name: "leaked-atomic",
        literal: "BUG: ",
        pattern: r"^BUG: workqueue (leaked (?:lock or atomic|atomic, lock or RCU)): (?P<task>.+?)[/\[]",
        class: Class::AtomicSleep,
        title: "BUG: workqueue {1} in {F}",
        function: Choice::LastFunction,
        stack: false,
        examples: &[
            "BUG: workqueue leaked lock or atomic: kworker/1:2/0x00000001/77",
            "BUG: workqueue leaked atomic, lock or RCU: kworker/1:2[77]",
        ],
        ..ROW
    },
    Rule {
        name: "preemptible",
        literal: "BUG: ",
        pattern: r"^BUG: using (\w+\(\)) in preemptible \[[0-9a-f]+\](?: code: (?P<task>.+)/(?P<pid>\d+))?",
        class: Class::AtomicSleep,
        title: "BUG: using {1} in preemptible code in {F}",
        examples: &["BUG: using smp_processor_id() in preemptible [00000000] code: a.out/123"],
        ..ROW
    },
    Rule {
        name: "assumed-context",
        literal: "BUG: ",
        pattern: r"^BUG: assuming (atomic|non migratable) context at",
        class: Class::AtomicSleep,
        title: "BUG: assuming {1} context in {F}",
        examples: &["BUG: assuming atomic context at fs/inode.c:12"],
        ..ROW
    },
    Rule {
        name: "spinlock",
        literal: "BUG: ",
        pattern: r"^BUG: ((?:spinlock|rwlock|rt_mutex|mutex|rwsem) (?:bad magic|recursion|cpu[ -]recursion|already unlocked|wrong owner|wrong CPU|lockup suspected|lockup|trylock failure on UP|uninitialized))",
        class: Class::SpinlockDebug,
        title: "BUG: {1} in {F}",
        examples: &[
            "BUG: spinlock bad magic on CPU#0, a.out/4242",
            "BUG: spinlock recursion on CPU#0, a.out/4242",
            "BUG: rwlock bad magic on CPU#1, a.out/1, 00000000abcdef01",
            "BUG: rwlock cpu-recursion on CPU#1, a.out/1, 00000000abcdef01",
        ],
        ..ROW
    },
];
