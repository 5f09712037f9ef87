//! Helper processes: what may be killed, or run into a limit of memory, is not
//! done by PID 1 itself but by its binary in another process.
#![expect(
    clippy::disallowed_types,
    reason = "the agent starts what runs in its guest"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

/// `argv[0]` of a helper process.
pub(super) const NAME: &str = "kvet-helper";

/// This program as a process of its own; the arguments say what it does.
pub(super) fn command() -> Command {
    let mut helper = Command::new("/proc/self/exe");
    helper.arg0(NAME);
    helper
}
