//! Steps that mount and unmount. Mount options carry the secret: they are
//! never part of a message.

use std::ffi::CString;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use super::paths::{mount_point, own_directory};
use super::steps::usage;
use crate::guest::protocol::{StepFailure, StepReport, Welcome};

/// Mounts the cluster's file system, or a tmpfs if it is to be `local`, and
/// makes the trial's own directory in it.
pub(super) fn mount(
    welcome: &Welcome,
    name: &str,
    options: &[String],
    local: bool,
) -> Result<StepReport, StepFailure> {
    let target = mount_point(name);
    std::fs::create_dir_all(&target)
        .map_err(|error| StepFailure::syscall(format!("make {}", target.display()), error))?;
    let mut report = StepReport::default();
    if local {
        rustix::mount::mount("tmpfs", &target, "tmpfs", MountFlags::empty(), None)
            .map_err(|error| StepFailure::syscall(format!("mount {name}"), error))?;
    } else {
        mount_ceph(welcome, name, &target, options)?;
        report.client = client_of(&target);
    }
    let own = own_directory(name, &welcome.hostname);
    std::fs::create_dir_all(&own)
        .map_err(|error| StepFailure::syscall(format!("make {}", own.display()), error))?;
    Ok(report)
}

/// Unmounts.
pub(super) fn unmount(name: &str, force: bool, lazy: bool) -> Result<StepReport, StepFailure> {
    let mut flags = UnmountFlags::empty();
    flags.set(UnmountFlags::FORCE, force);
    flags.set(UnmountFlags::DETACH, lazy);
    rustix::mount::unmount(mount_point(name), flags)
        .map_err(|error| StepFailure::syscall(format!("umount {name}"), error))?;
    Ok(StepReport::default())
}

fn mount_ceph(
    welcome: &Welcome,
    name: &str,
    target: &Path,
    options: &[String],
) -> Result<(), StepFailure> {
    let access = welcome
        .file_system
        .as_ref()
        .ok_or_else(|| usage("this trial has no cluster to mount from"))?;
    let mut data = format!("name={},secret={}", access.user, access.secret.reveal());
    if let Some(file_system) = &access.name {
        data.push_str(",fs=");
        data.push_str(file_system);
    }
    for option in access.options.iter().chain(options) {
        data.push(',');
        data.push_str(option);
    }
    // Not the text itself: it has the secret.
    let data = CString::new(data).map_err(|_| usage("a mount option has a zero byte"))?;
    let source = format!("{}:/", access.monitors);
    rustix::mount::mount(&source, target, "ceph", MountFlags::empty(), &*data)
        .map_err(|error| StepFailure::syscall(format!("mount {name} from {source}"), error))
}

/// The client's number. The file system tells it as an attribute of every
/// directory, whether or not mounts share a client.
fn client_of(target: &Path) -> Option<u64> {
    let mut buffer = [0u8; 64];
    let length = rustix::fs::getxattr(target, "ceph.client_id", &mut buffer[..]).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    text.trim_end_matches('\0')
        .strip_prefix("client")?
        .parse()
        .ok()
}
