//! Ending a child together with everything below it, and knowing that it is
//! gone.
//!
//! What kvet starts in a namespace is `nsenter`; the program is its child, and
//! `vstart.sh` has daemons below that. A signal to the group ends them, but
//! only the child itself can be waited for. The others may take some
//! milliseconds more, in which they still write to a directory that is being
//! removed. So each is held by a pidfd first, and those are waited for. This
//! blocks, because it also has to work where there is no runtime: in `Drop`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::Process;

/// All below a child that was killed, until they are gone.
#[derive(Debug, Default)]
pub(crate) struct Below(Vec<OwnedFd>);

/// Kills a child and all below it. They are looked for before the child dies:
/// nobody can tell afterwards whose children they were.
pub(crate) fn kill(process: &Process) -> Below {
    // From here on none of the group can start another that is not seen: with
    // a signal pending the kernel does not fork.
    process.signal(Signal::STOP);
    let held = hold_below(process.id());
    process.signal(Signal::KILL);
    Below(held)
}

/// Waits until a child that was killed and all below it are gone, or `limit`
/// has come.
pub(crate) fn gone(process: &mut Process, below: &Below, limit: Instant) {
    for member in &below.0 {
        wait(member, limit);
    }
    while process.ended().is_none() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills a child and all below it, and waits until they are gone or `limit`
/// has come.
pub(crate) fn end(process: &mut Process, limit: Instant) {
    let below = kill(process);
    gone(process, &below, limit);
}

/// Waits for the end of a process. A pidfd becomes readable then.
pub(crate) fn wait(held: &OwnedFd, limit: Instant) {
    let left = limit.saturating_duration_since(Instant::now());
    let mut polled = [PollFd::new(held, PollFlags::IN)];
    // If this fails there is nothing better to wait for.
    let _ = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
}

/// Holds on a process by its number, such that the runtime is told of its end: this
/// reads as ready then, and stays so.
pub(crate) fn watch(number: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::NotFound)?;
    register(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

#[expect(unsafe_code, reason = "the safe constructor is deprecated as unsound")]
fn register(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open, and the same one, for as
    // long as the `AsyncFd` that owns it lives; nothing here takes it out.
    Ok(unsafe { AsyncFd::register(handle) }?)
}

/// Holds on all processes below one.
fn hold_below(root: Option<u32>) -> Vec<OwnedFd> {
    let mut held = Vec::new();
    let mut parents: Vec<u32> = root.into_iter().collect();
    while let Some(parent) = parents.pop() {
        let path = format!("/proc/{parent}/task/{parent}/children");
        // One that has ended has none.
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace().flat_map(str::parse::<u32>) {
            let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
            if let Some(Ok(handle)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                held.push(handle);
                parents.push(child);
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Command;
    use tokio::io::{AsyncBufReadExt, BufReader};

    /// A child whose own child sleeps, and the latter's place in /proc.
    async fn parent() -> (Process, String) {
        let mut process = Command::new("sh")
            .args(["-c", "sh -c 'sleep 1000 & echo $!; wait'; exit"])
            .spawn(false)
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.take_stdout().unwrap())
            .read_line(&mut line)
            .await
            .unwrap();
        let sleeper = format!("/proc/{}/stat", line.trim());
        assert!(std::path::Path::new(&sleeper).exists());
        (process, sleeper)
    }

    /// Gone, or not yet reaped by the host's first process.
    fn assert_gone(sleeper: &str) {
        let stat = std::fs::read_to_string(sleeper).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[tokio::test]
    async fn grandchildren_are_gone_too() {
        let (mut process, sleeper) = parent().await;
        end(&mut process, Instant::now() + Duration::from_secs(60));
        assert_gone(&sleeper);
        assert!(process.ended().is_some());
    }

    #[tokio::test]
    async fn grandchildren_of_a_child_that_is_gone_are_waited_for() {
        let (mut process, sleeper) = parent().await;
        let below = kill(&process);
        process.wait().await.unwrap();
        assert_eq!(below.0.len(), 2);
        gone(
            &mut process,
            &below,
            Instant::now() + Duration::from_secs(60),
        );
        assert_gone(&sleeper);
    }
}
