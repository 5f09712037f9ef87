//! Steps on a file or directory by its path.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{XattrFlags, setxattr};

use super::encryption;
use super::state::Guest;
use crate::guest::calls;
use crate::guest::file_system::{SNAPSHOTS, has_snapshots};
use crate::guest::protocol::{FailureKind, StepFailure};
use crate::step::PathStep;

/// Does what a step says.
pub(super) fn carry_out(guest: &Guest, step: &PathStep) -> Result<(), StepFailure> {
    match step {
        PathStep::Mkdir { path } => std::fs::create_dir_all(guest.path(path)?)
            .map_err(|error| StepFailure::syscall(format!("make {path}"), error)),
        PathStep::Rename { path, to } => std::fs::rename(guest.path(path)?, guest.path(to)?)
            .map_err(|error| StepFailure::syscall(format!("rename {path} to {to}"), error)),
        PathStep::Chmod { path, mode } => {
            let mode = PermissionsExt::from_mode(*mode);
            std::fs::set_permissions(guest.path(path)?, mode)
                .map_err(|error| StepFailure::syscall(format!("chmod {path}"), error))
        }
        PathStep::Truncate { path, length } => calls::truncate(&guest.path(path)?, *length)
            .map_err(|error| StepFailure::syscall(format!("truncate {path} to {length}"), error)),
        PathStep::WaitSize {
            path,
            length,
            within,
        } => wait_size(&guest.path(path)?, path, *length, *within),
        PathStep::Snapshot { path, name, remove } => snapshot(guest, path, name, *remove),
        PathStep::Encrypt { path } => encryption::encrypt(&guest.path(path)?, path),
        PathStep::SetXattr { path, name, value } => setxattr(
            guest.path(path)?,
            name.as_str(),
            value.as_bytes(),
            XattrFlags::empty(),
        )
        .map_err(|error| StepFailure::syscall(format!("set {name} of {path}"), error)),
        PathStep::WriteFile { path, text } => std::fs::write(guest.path(path)?, text)
            .map_err(|error| StepFailure::syscall(format!("write {path}"), error)),
    }
}

fn snapshot(guest: &Guest, path: &str, name: &str, remove: bool) -> Result<(), StepFailure> {
    let directory = guest.path(path)?;
    let mount = path.split('/').next().unwrap_or_default();
    let fstype = guest.fstype(mount)?;
    if !has_snapshots(&fstype) {
        let message = format!("cannot make a snapshot of {path}: {fstype} has none");
        return Err(StepFailure::usage(message));
    }
    let snapshot = directory.join(SNAPSHOTS).join(name);
    let done = if remove {
        std::fs::remove_dir(&snapshot)
    } else {
        std::fs::create_dir(&snapshot)
    };
    done.map_err(|error| StepFailure::syscall(format!("snapshot {name} of {path}"), error))
}

fn wait_size(path: &Path, name: &str, length: u64, within: Duration) -> Result<(), StepFailure> {
    // Another client's change arrives when the server sends it: there is
    // nothing local to wait on.
    const ASK_EVERY: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        let size = std::fs::metadata(path)
            .map_err(|error| StepFailure::syscall(format!("stat {name}"), error))?
            .len();
        if size == length {
            return Ok(());
        }
        if begin.elapsed() >= within {
            let message = format!("{name} still has {size} bytes, not {length}");
            return Err(StepFailure::other(FailureKind::Timeout, message));
        }
        std::thread::sleep(ASK_EVERY);
    }
}
