//! Control groups, mounted for whoever needs them first: most trials need none, and the
//! mount alone takes an emulated machine some hundredths of its boot.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::protocol::StepFailure;

/// Where systems have them.
const PLACE: &str = "/sys/fs/cgroup";

/// Their root.
pub(super) fn root() -> Result<&'static Path, StepFailure> {
    match mount("cgroup2", PLACE, "cgroup2", MountFlags::empty(), None) {
        // They are there already.
        Ok(()) | Err(Errno::BUSY) => Ok(Path::new(PLACE)),
        Err(error) => Err(StepFailure::syscall(
            format!("mount cgroup2 on {PLACE}"),
            error,
        )),
    }
}
