//! What does not go on: tasks, CPUs, grace periods, worker pools.

use super::{Choice, ROW, Rule};
use crate::detect::Class;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "hung-task",
        literal: "INFO: ",
        pattern: r"^INFO: task (?P<task>.+):(?P<pid>\d+)(?: <\S+>)? blocked(?: in I/O wait)? for\b",
        class: Class::HungTask,
        title: "INFO: task hung in {F}",
        alternative: "hang in {F}",
        function: Choice::Waiting,
        examples: &[
            // Cut by what passed it on.
            "INFO: task kworker/u8:2:123 blocked for",
            "INFO: task kworker/u8:2:123 blocked for more than 120 seconds.",
            "INFO: task kworker/u8:2:123 blocked in I/O wait for more than 120 seconds.",
        ],
        lookalikes: &[
            "INFO: task a:1 is blocked on a mutex likely owned by task b:2.",
            "INFO: task a:1 <writer> blocked on an rw-semaphore likely owned by task b:2 <reader>",
        ],
        ..ROW
    },
    // A task's name may hold line ends: what comes after them.
    Rule {
        name: "hung-task-cut",
        literal: "blocked for more than",
        pattern: r"^(?P<task>.{0,16}?):(?P<pid>\d+) blocked for more than \d+ seconds\.\s*$",
        class: Class::HungTask,
        title: "INFO: task hung in {F}",
        alternative: "hang in {F}",
        function: Choice::Waiting,
        examples: &[" \u{fffd}!:4242 blocked for more than 20 seconds."],
        lookalikes: &["the task was blocked for more than 120 seconds."],
        ..ROW
    },
    Rule {
        name: "undying-task",
        literal: "INFO: ",
        pattern: r"^INFO: task (?P<task>.+):(?P<pid>\d+) can't die for more than \d+ seconds",
        class: Class::HungTask,
        title: "INFO: task can't die in {F}",
        alternative: "hang in {F}",
        function: Choice::Waiting,
        examples: &["INFO: task a.out:4242 can't die for more than 20 seconds."],
        ..ROW
    },
    // Here the tasks are at fault, whether they run or not.
    Rule {
        name: "rcu-tasks-stall",
        literal: "INFO: ",
        pattern: r"^INFO: rcu_tasks\w* detected stalls on tasks",
        class: Class::RcuStall,
        title: "INFO: rcu detected stall in {F}",
        alternative: "stall in {F}",
        function: Choice::Outermost,
        examples: &["INFO: rcu_tasks detected stalls on tasks:"],
        ..ROW
    },
    Rule {
        name: "rcu-stall",
        literal: "INFO: ",
        pattern: r"^INFO: (?:rcu\w*|S?RCU\S*|\w+_rcu) ?(?:kthread )?(?:self-)?detected (?:expedited )?stalls? on (?:CPU|tasks)",
        class: Class::RcuStall,
        title: "INFO: rcu detected stall in {F}",
        alternative: "stall in {F}",
        function: Choice::Outermost,
        examples: &[
            "INFO: rcu_sched detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
        ],
        lookalikes: &["INFO: rcu_sched detected stall, but suppressed full report"],
        ..ROW
    },
    Rule {
        name: "soft-lockup",
        literal: "BUG: ",
        pattern: r"^BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for(?: \d+s!(?: \[(?P<task>.+):(?P<pid>\d+)\])?)?",
        class: Class::SoftLockup,
        title: "BUG: soft lockup in {F}",
        alternative: "stall in {F}",
        function: Choice::Outermost,
        examples: &[
            "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a.out:4242]",
            "NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a.out:4242]",
            "CPU#1: watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [a.out:4242]",
            "watchdog: BUG: soft lockup - CPU#1 stuck for 2",
        ],
        ..ROW
    },
    Rule {
        name: "hard-lockup",
        literal: "hard LOCKUP",
        pattern: r"^(?:CPU ?\d+:? )?(?:Watchdog )?(?:self-)?detected hard LOCKUP(?: on (?:cpu|other CPUs) ?(?P<cpu>\d+)?| @)",
        class: Class::HardLockup,
        title: "BUG: hard lockup in {F}",
        alternative: "stall in {F}",
        function: Choice::Outermost,
        examples: &[
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
            "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1",
            "watchdog: CPU 4 self-detected hard LOCKUP @ plpar_hcall_norets+0x1c/0x28",
        ],
        ..ROW
    },
    Rule {
        name: "workqueue-lockup",
        literal: "BUG: ",
        pattern: r"^BUG: workqueue lockup - pool",
        class: Class::WorkqueueLockup,
        title: "BUG: workqueue lockup",
        function: Choice::None,
        stack: false,
        examples: &["BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!"],
        ..ROW
    },
];
