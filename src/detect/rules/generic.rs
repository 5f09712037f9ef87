//! Panics, restarts, memory, file systems, and whatever else begins with `BUG`.

use super::{Choice, ROW, Role, Rule};
use crate::detect::Class;

/// What a dying Go program prints before its stacks.
const GO_STACKS: &[&str] = &["goroutine ", "runtime stack:"];

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "panic",
        literal: "Kernel panic - not syncing",
        pattern: r"^Kernel panic - not syncing:? ?(.*?)\s*$",
        class: Class::Panic,
        title: "kernel panic: {1}",
        function: Choice::Stack,
        role: Role::Panics,
        examples: &["Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"],
        lookalikes: &["---[ end Kernel panic - not syncing: Fatal exception"],
        ..ROW
    },
    Rule {
        name: "banner",
        literal: "Linux version ",
        pattern: r"^Linux version \d+\.\d+",
        class: Class::Other,
        title: "unexpected kernel reboot",
        function: Choice::None,
        stack: false,
        role: Role::Banner,
        examples: &["Linux version 7.3.4 (root@host) (gcc 12.2.0) #1 SMP"],
        ..ROW
    },
    Rule {
        name: "restart",
        literal: "reboot: ",
        pattern: r"^reboot: (?:Restarting|machine restart|Power down|System halted)",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["reboot: Restarting system", "reboot: machine restart"],
        ..ROW
    },
    // Before 3.17.
    Rule {
        name: "restart-old",
        literal: "Restarting system",
        pattern: r"^Restarting system",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["Restarting system."],
        ..ROW
    },
    Rule {
        name: "restart-key",
        literal: "Resetting",
        pattern: r"^(?i:sysrq ?): Resetting",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["sysrq: Resetting", "SysRq : Resetting"],
        ..ROW
    },
    Rule {
        name: "restart-kexec",
        literal: "Starting new kernel",
        pattern: r"^(?:kexec(?:_core)?: )?Starting new kernel",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["kexec_core: Starting new kernel", "Starting new kernel"],
        ..ROW
    },
    // What others say of the machine's end: the journal's own mark, init's last
    // steps, the logger's.
    Rule {
        name: "restart-journal",
        literal: "-- Boot ",
        pattern: r"^-- Boot [0-9a-f]{32} --",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["-- Boot 0123456789abcdef0123456789abcdef --"],
        ..ROW
    },
    Rule {
        name: "restart-journal-old",
        literal: "-- Reboot --",
        pattern: r"^-- Reboot --",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["-- Reboot --"],
        ..ROW
    },
    Rule {
        name: "restart-init",
        literal: "Reached target ",
        pattern: r"^Reached target (?:\S+ - )?.*(?i:\breboot|power-?off|shutdown|halt\b|kexec)",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &[
            "Reached target reboot.target - System Reboot.",
            "Reached target Shutdown.",
        ],
        lookalikes: &["Reached target Multi-User System."],
        ..ROW
    },
    Rule {
        name: "restart-journal-stopped",
        literal: "Journal stopped",
        pattern: r"^Journal stopped",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &["Journal stopped"],
        ..ROW
    },
    Rule {
        name: "restart-logger",
        literal: "exiting on signal 15",
        pattern: r"^(?:\[?origin .*\] )?exiting on signal 15",
        function: Choice::None,
        stack: false,
        role: Role::Restarts,
        examples: &[
            "exiting on signal 15.",
            "[origin software=\"rsyslogd\" x-pid=\"7\"] exiting on signal 15.",
        ],
        ..ROW
    },
    Rule {
        name: "oom",
        literal: "invoked",
        pattern: r"^(?P<task>.{1,15}) invoked oom-killer: ",
        class: Class::Oom,
        title: "Out of memory",
        function: Choice::None,
        stack: false,
        role: Role::Tentative(&["Out of memory: Kill"]),
        examples: &[
            "fio invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0",
        ],
        ..ROW
    },
    Rule {
        name: "oom-kill",
        literal: "Out of memory",
        pattern: r"^Out of memory: Kill(?:ed)? process (?P<pid>\d+) \((?P<task>.+?)\)",
        class: Class::Oom,
        title: "Out of memory",
        function: Choice::None,
        stack: false,
        role: Role::Continues,
        examples: &["Out of memory: Killed process 123 (fio) total-vm:1234kB, anon-rss:12kB"],
        lookalikes: &["Memory cgroup out of memory: Killed process 123 (fio) total-vm:1234kB"],
        ..ROW
    },
    Rule {
        name: "busy-inodes",
        literal: "VFS: ",
        pattern: r"^VFS: Busy inodes after unmount of",
        class: Class::BusyInodes,
        title: "VFS: Busy inodes after unmount (use-after-free)",
        function: Choice::None,
        stack: false,
        examples: &[
            "VFS: Busy inodes after unmount of ceph (ceph)",
            "VFS: Busy inodes after unmount of sda1. Self-destruct in 5 seconds.  Have a nice day...",
        ],
        ..ROW
    },
    Rule {
        name: "file-count",
        literal: "VFS: ",
        pattern: r"^VFS: Close: file count is (?:0|zero)",
        class: Class::Other,
        title: "VFS: Close: file count is zero (use-after-free)",
        function: Choice::None,
        stack: false,
        examples: &["VFS: Close: file count is 0"],
        ..ROW
    },
    Rule {
        name: "busy-dentry",
        literal: "BUG: ",
        pattern: r"^BUG: Dentry .* still in use",
        class: Class::BugOther,
        title: "BUG: Dentry still in use",
        function: Choice::None,
        stack: false,
        examples: &[
            "BUG: Dentry ffff888004a5c1a0{i=1,n=a}  still in use (1) [unmount of ceph ceph]",
        ],
        ..ROW
    },
    // A dirty folio that is invalidated stays counted in mdsc->dirty_folios,
    // and umount waits for it to be written.
    Rule {
        name: "ceph-umount",
        literal: "umount timed out",
        pattern: r"^(?:lib)?ceph: (?:\[[^\]]*\]:? )?umount timed out, -?\d+",
        class: Class::Other,
        title: "ceph: umount timed out",
        function: Choice::None,
        stack: false,
        examples: &[
            "ceph: [bb1f6e1c-7e8a-4b21-8f9c-1d2e3f4a5b6c 4123]: umount timed out, 0",
            "ceph: umount timed out, 0",
        ],
        lookalikes: &["umount timed out"],
        ..ROW
    },
    Rule {
        name: "netdevice-reference",
        literal: "unregister_netdevice: ",
        pattern: r"^unregister_netdevice: waiting for \S+ to become free",
        class: Class::Other,
        title: "unregister_netdevice: waiting for DEV to become free",
        function: Choice::None,
        stack: false,
        examples: &["unregister_netdevice: waiting for lo to become free. Usage count = 2"],
        ..ROW
    },
    Rule {
        name: "trusty",
        literal: "trusty: panic",
        pattern: r"^trusty: panic.*?ASSERT FAILED at \([^)]*\): ?(.*?)\s*$",
        class: Class::Other,
        title: "trusty: ASSERT FAILED: {1}",
        function: Choice::None,
        stack: false,
        examples: &[
            "trusty: panic (caller 0xffffffffe0001230): DEBUG ASSERT FAILED at (lib/ipc.c:63): ready(&ref->node)",
        ],
        ..ROW
    },
    Rule {
        name: "trusty-panic",
        literal: "trusty: panic",
        pattern: r"^trusty: panic",
        class: Class::Other,
        title: "trusty: panic",
        function: Choice::None,
        examples: &["trusty: panic (caller 0xffffffffe0001230): halted"],
        ..ROW
    },
    Rule {
        name: "no-boot-device",
        literal: "No bootable device",
        pattern: r"^No bootable device",
        class: Class::BootFailure,
        title: "boot failure: no bootable device",
        function: Choice::None,
        stack: false,
        examples: &["No bootable device."],
        ..ROW
    },
    Rule {
        name: "system-halted",
        literal: " -- System halted",
        pattern: r"^(.*?)\s*-- System halted",
        class: Class::BootFailure,
        title: "boot failure: {1}",
        function: Choice::None,
        stack: false,
        examples: &["XZ-compressed data is corrupt -- System halted"],
        ..ROW
    },
    Rule {
        name: "initramfs-shell",
        literal: "Dropping to a shell!",
        pattern: r"^(?:ALERT! +)?.*Dropping to a shell!",
        class: Class::BootFailure,
        title: "boot failure: no root file system",
        function: Choice::None,
        stack: false,
        examples: &["ALERT!  /dev/vda1 does not exist.  Dropping to a shell!"],
        ..ROW
    },
    Rule {
        name: "emergency-shell",
        literal: "ntering emergency mode. Exit the shell",
        pattern: r"^Entering emergency mode\. Exit the shell",
        class: Class::BootFailure,
        title: "boot failure: no root file system",
        function: Choice::None,
        stack: false,
        examples: &["Entering emergency mode. Exit the shell to continue."],
        ..ROW
    },
    // The last words of firmware and boot loaders. A log that ends there is of
    // a machine whose kernel never spoke.
    Rule {
        name: "boot-loader",
        literal: "Booting from ",
        pattern: r"^Booting from (?:ROM|Hard Disk|DVD/CD|Floppy|\w{4}:)\.*\s*$",
        class: Class::BootFailure,
        title: "boot failure: no word after the boot loader",
        function: Choice::None,
        stack: false,
        role: Role::Hands,
        examples: &["Booting from ROM..", "Booting from Hard Disk..."],
        lookalikes: &["Booting from a snapshot"],
        ..ROW
    },
    Rule {
        name: "boot-loader-uboot",
        literal: "Starting kernel ...",
        pattern: r"^Starting kernel \.\.\.\s*$",
        class: Class::BootFailure,
        title: "boot failure: no word after the boot loader",
        function: Choice::None,
        stack: false,
        role: Role::Hands,
        examples: &["Starting kernel ..."],
        ..ROW
    },
    Rule {
        name: "boot-loader-initrd",
        literal: "Loading initial ramdisk ...",
        pattern: r"^Loading initial ramdisk \.\.\.\s*$",
        class: Class::BootFailure,
        title: "boot failure: no word after the boot loader",
        function: Choice::None,
        stack: false,
        role: Role::Hands,
        examples: &["Loading initial ramdisk ..."],
        ..ROW
    },
    // Harnesses and the daemons of containers are Go programs: what ends one ends
    // what it tested, too. A compiler's fatal errors are not followed by this.
    Rule {
        name: "go-fatal",
        literal: "fatal error: ",
        pattern: r"^fatal error: (\S.*?)\s*$",
        title: "end of a Go program: {1}",
        function: Choice::None,
        stack: false,
        role: Role::Tentative(GO_STACKS),
        examples: &["fatal error: all goroutines are asleep - deadlock!"],
        lookalikes: &["nmi.c:12:10: fatal error: asm/nmi.h: No such file or directory"],
        ..ROW
    },
    Rule {
        name: "go-panic",
        literal: "panic: ",
        pattern: r"^panic: (\S.*?)\s*$",
        title: "end of a Go program: {1}",
        function: Choice::None,
        stack: false,
        role: Role::Tentative(GO_STACKS),
        examples: &["panic: runtime error: index out of range [3] with length 3"],
        lookalikes: &["Kernel panic: not continuing"],
        ..ROW
    },
    Rule {
        name: "bug-other",
        literal: "BUG: ",
        pattern: r"^BUG: ([A-Za-z].{3,}?)(?: \])?\s*$",
        class: Class::BugOther,
        title: "BUG: {1}",
        function: Choice::None,
        stack: false,
        examples: &["BUG: arch topology borken"],
        lookalikes: &["[Firmware Bug]: BIOS", "DEBUG: x"],
        ..ROW
    },
];
