//! The guest's side of a trial and the line to it.
//!
//! The agent is PID 1 of the guest: the program `kvet-agent`, or kvet itself.
//! [`protocol`] is what it and the host say to each other, [`link`] the host's end
//! of the line; [`agent`] is what runs inside, and [`storm`] the many-writers
//! workload that it starts as processes of its own. [`heartbeat`] is how both know
//! that the console can be heard.

pub mod agent;
mod calls;
mod control_groups;
mod failure;
mod file_system;
pub mod heartbeat;
mod helper;
pub mod link;
pub mod pattern;
pub mod protocol;
pub mod storm;
mod xfstests;

/// The file that tells a guest's root from a container's: kvet can be PID 1
/// of the latter, and must not take it over.
pub const MARKER: &str = "/.kvet-guest";

/// What both programs say of the source that they were made of.
pub const BUILD: &str = concat!("kvet-agent of the source ", env!("KVET_SOURCE"));

/// Whether this process is the guest's PID 1 or one of its helpers.
#[must_use]
pub fn is_guest() -> bool {
    is_init() || is_helper()
}

/// Whether this process is PID 1 of a guest that kvet made.
#[must_use]
pub fn is_init() -> bool {
    rustix::process::getpid().is_init() && std::path::Path::new(MARKER).exists()
}

fn is_helper() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name == helper::NAME)
        && std::path::Path::new(MARKER).exists()
}

/// Runs the agent, or the helper that this process was started as.
pub fn main() -> ! {
    if is_init() {
        agent::main()
    }
    std::process::exit(agent::helper())
}
