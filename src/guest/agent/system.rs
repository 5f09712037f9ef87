//! What PID 1 does to make a machine of a kernel: file systems, the port to
//! the host, facts about the kernel, and the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use rustix::system::RebootCommand;

use crate::guest::protocol::{PORT, Ready, VERSION};

/// A file system that the guest mounts at its start.
struct Mount {
    kind: &'static str,
    target: &'static str,
    /// Nothing works without it.
    needed: bool,
}

/// In this order; targets below a mounted file system are made first.
const MOUNTS: &[Mount] = &[
    Mount {
        kind: "proc",
        target: "/proc",
        needed: true,
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        needed: true,
    },
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        needed: true,
    },
    Mount {
        kind: "tmpfs",
        target: "/run",
        needed: false,
    },
    Mount {
        kind: "tmpfs",
        target: "/tmp",
        needed: false,
    },
    Mount {
        kind: "debugfs",
        target: "/sys/kernel/debug",
        needed: false,
    },
];

/// Kernel parameters the host wants to know: how detectors are set, and what
/// decides when dirty pages are written.
const FACTS: &[&str] = &[
    "kernel.hung_task_timeout_secs",
    "kernel.hung_task_check_interval_secs",
    "kernel.hung_task_warnings",
    "kernel.hung_task_panic",
    "kernel.hung_task_detect_count",
    "kernel.softlockup_panic",
    "kernel.watchdog",
    "kernel.watchdog_thresh",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.panic_on_warn",
    "kernel.tainted",
    "vm.dirty_writeback_centisecs",
    "vm.dirty_expire_centisecs",
];

/// Mounts the table; what is missing and not needed is returned.
pub(super) fn mount_all() -> io::Result<Vec<String>> {
    let mut lacks = Vec::new();
    for entry in MOUNTS {
        drop(std::fs::create_dir_all(entry.target));
        match mount(
            entry.kind,
            entry.target,
            entry.kind,
            MountFlags::empty(),
            None,
        ) {
            Ok(()) => {}
            Err(error) if entry.needed => {
                return Err(io::Error::other(format!(
                    "cannot mount {} on {}: {error}",
                    entry.kind, entry.target
                )));
            }
            Err(error) => lacks.push(format!("{}: {error}", entry.kind)),
        }
    }
    Ok(lacks)
}

/// Opens the virtio-serial port that leads to the host. Its name comes in a
/// message of the device's some time after the driver's start, and this
/// guest's kernel need not have a way to wait for that: so look until then.
pub(super) fn open_port() -> io::Result<File> {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    const GIVE_UP_AFTER: u32 = 15_000;
    for _ in 0..GIVE_UP_AFTER {
        if let Some(device) = find_port() {
            return File::options().read(true).write(true).open(device);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(io::Error::other(format!(
        "the machine has no virtio-serial port `{PORT}`"
    )))
}

fn find_port() -> Option<PathBuf> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports").ok()?.flatten() {
        let named = std::fs::read_to_string(entry.path().join("name"))
            .is_ok_and(|name| name.trim() == PORT);
        if named {
            let device = PathBuf::from("/dev").join(entry.file_name());
            return device.exists().then_some(device);
        }
    }
    None
}

/// What the host is told first.
pub(super) fn ready(lacks: Vec<String>) -> Ready {
    let name = rustix::system::uname();
    let info = rustix::system::sysinfo();
    let uptime = std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split(' ').next().and_then(|word| word.parse().ok()))
        .unwrap_or_default();
    Ready {
        protocol: VERSION,
        release: name.release().to_string_lossy().into_owned(),
        version: name.version().to_string_lossy().into_owned(),
        uptime,
        memory: info.totalram.saturating_mul(u64::from(info.mem_unit)),
        processors: std::thread::available_parallelism()
            .ok()
            .and_then(|count| u32::try_from(count.get()).ok())
            .unwrap_or(1),
        sysctls: facts(),
        lacks,
    }
}

fn facts() -> BTreeMap<String, String> {
    FACTS
        .iter()
        .filter_map(|name| {
            let text = std::fs::read_to_string(sysctl_path(name)).ok()?;
            Some(((*name).to_owned(), text.trim().to_owned()))
        })
        .collect()
}

/// Where a kernel parameter lives.
pub(super) fn sysctl_path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// Turns the machine off, without syncing: what is stuck stays stuck.
pub(super) fn power_off() -> ! {
    loop {
        let _refused = rustix::system::reboot(RebootCommand::PowerOff);
        // PID 1 must not end, or the kernel panics over it.
        std::thread::sleep(Duration::from_secs(1));
    }
}
