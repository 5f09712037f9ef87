//! Titles that are finer than their rule's, told by the source file or the
//! function that complained.

use crate::detect::Class;

/// One refinement: what the first line must name for the title to apply.
#[derive(Debug)]
pub(in crate::detect) struct Refinement {
    /// The rules it applies to.
    pub(in crate::detect) rules: &'static [&'static str],
    /// The end of the source file's path, or nothing.
    pub(in crate::detect) file: &'static str,
    /// The function, or nothing.
    pub(in crate::detect) function: &'static str,
    /// The title to use instead.
    pub(in crate::detect) title: &'static str,
    /// Another class, if it is one.
    pub(in crate::detect) lockdep: bool,
}

const WARNINGS: &[&str] = &["warning", "warning-at", "warning-old"];
const BUGS: &[&str] = &["kernel-bug"];

const fn warning(file: &'static str, function: &'static str, title: &'static str) -> Refinement {
    Refinement {
        rules: WARNINGS,
        file,
        function,
        title,
        lockdep: false,
    }
}

/// The refinements, the first that fits wins.
pub(in crate::detect) const REFINEMENTS: &[Refinement] = &[
    warning("lib/refcount.c", "", "WARNING: refcount bug in {F}"),
    warning(
        "include/linux/refcount.h",
        "",
        "WARNING: refcount bug in {F}",
    ),
    warning("lib/debugobjects.c", "", "WARNING: ODEBUG bug in {F}"),
    warning("lib/kobject.c", "", "WARNING: kobject bug in {F}"),
    warning(
        "fs/proc/generic.c",
        "proc_register",
        "WARNING: proc registration bug in {F}",
    ),
    warning(
        "mm/slab_common.c",
        "kmalloc_slab",
        "WARNING: kmalloc bug in {F}",
    ),
    warning(
        "mm/slab_common.c",
        "kmalloc_fix_flags",
        "WARNING: kmalloc bug in {F}",
    ),
    warning(
        "mm/vmalloc.c",
        "vmalloc_fix_flags",
        "WARNING: kmalloc bug in {F}",
    ),
    warning("mm/util.c", "kvmalloc_node", "WARNING: kmalloc bug in {F}"),
    warning(
        "mm/slub.c",
        "__kvmalloc_node",
        "WARNING: kmalloc bug in {F}",
    ),
    warning(
        "mm/vmalloc.c",
        "__vmalloc_node_range",
        "WARNING: zero-size vmalloc in {F}",
    ),
    warning(
        "drivers/usb/core/urb.c",
        "usb_submit_urb",
        "WARNING in {F}/usb_submit_urb",
    ),
    // Locks that are set up wrongly, not taken wrongly.
    warning("kernel/locking/lockdep.c", "lockdep_", "WARNING in {F}"),
    Refinement {
        rules: WARNINGS,
        file: "kernel/locking/lockdep.c",
        function: "",
        title: "WARNING: locking bug in {F}",
        lockdep: true,
    },
    Refinement {
        rules: BUGS,
        file: "lib/list_debug.c",
        function: "",
        title: "BUG: corrupted list in {F}",
        lockdep: false,
    },
    Refinement {
        rules: BUGS,
        file: "mm/usercopy.c",
        function: "",
        title: "BUG: bad usercopy in {F}",
        lockdep: false,
    },
];

/// What arm64 names by its internal error: a part of the error's name, the
/// class, the title. `{kind}` is what comes after that part.
pub(in crate::detect) const INTERNAL_ERRORS: &[(&str, Class, &str)] = &[
    ("UBSAN: ", Class::Ubsan, "UBSAN: {kind} in {F}"),
    ("Oops - CFI", Class::Gpf, "CFI failure in {F}"),
    ("BUG", Class::KernelBug, "kernel BUG in {F}"),
];

/// How panics are named whose message holds more than the name.
pub(in crate::detect) const PANICS: &[(&str, &str)] = &[
    (
        r"^corrupted stack end detected inside scheduler",
        "kernel panic: corrupted stack end in {F}",
    ),
    (
        r"^stack-protector: Kernel stack is corrupted in: (?P<function>[^\s+]+)",
        "kernel panic: stack is corrupted in {F}",
    ),
    (
        r"^Couldn't open N_TTY ldisc",
        "kernel panic: Couldn't open N_TTY ldisc",
    ),
    (
        r"^Attempted to kill (?:init|the idle task)!",
        "kernel panic: {0}",
    ),
];

/// Panics of a kernel that found nothing to run: it never came up.
pub(in crate::detect) const NEVER_UP: &[&str] = &[
    "VFS: Unable to mount root fs",
    "No working init found",
    "No init found",
    "Requested init ",
];

/// Panics that are the end of something else: what was reported before, or
/// elsewhere, is the finding.
pub(in crate::detect) const CONSEQUENCES: &[&str] = &[
    "panic_on_warn set",
    "Fatal exception",
    "Fatal machine check",
    "softlockup: hung tasks",
    "hung_task: blocked tasks",
    "RCU Stall",
    "Hard LOCKUP",
    "Machine halted",
    "scheduling while atomic",
    "KASAN: panic_on_warn",
    "UBSAN: panic_on_warn",
    "kmsan.panic set",
    "kcsan",
    "Oops",
    "Attempted to kill init!",
    "Attempted to kill the idle task!",
    "corrupted stack end detected inside scheduler",
    "Aiee, killing interrupt handler",
    "BUG!",
];

/// Panics that only end what was reported before.
pub(in crate::detect) const AFTERMATH: &[&str] = &["panic_on_warn set", "Fatal exception"];
