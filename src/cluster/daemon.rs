//! One Ceph daemon: its socket, its log, and a hold on the process that stays
//! right even when its number is given to another.
//!
//! Inside a namespace the child that kvet started is `nsenter`, and the daemon
//! is *its* child; `vstart.sh` leaves daemons that are nobody's children. So
//! the daemon itself is found through its admin socket, whose peer the kernel
//! names in this process's own numbers, and is then held by a pidfd.

use std::cell::OnceCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, pidfd_send_signal,
    waitid,
};
use serde_json::{Value, json};
use tokio::io::unix::AsyncFd;

use super::admin::{self, Answer};
use super::{ClusterError, log_tail};
use crate::process::Process;
use crate::process::family::{self, Below};

/// How long a daemon may take over a question of kvet's own.
pub(super) const PROBE: Duration = Duration::from_secs(2);

/// How long `nsenter` may take to follow the daemon it waits for.
const FOLLOW: Duration = Duration::from_secs(1);

/// How long it usually takes, with room.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The four kinds, by Ceph's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mon,
    Mgr,
    Osd,
    Mds,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Mgr => "mgr",
            Self::Osd => "osd",
            Self::Mds => "mds",
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Mon => "ceph-mon",
            Self::Mgr => "ceph-mgr",
            Self::Osd => "ceph-osd",
            Self::Mds => "ceph-mds",
        }
    }

    /// The kind a name such as `osd.0` begins with.
    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Mon, Self::Mgr, Self::Osd, Self::Mds]
            .into_iter()
            .find(|kind| {
                name.strip_prefix(kind.name())
                    .is_some_and(|rest| rest.starts_with('.'))
            })
    }
}

/// A daemon that was started.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) kind: Kind,
    /// Such as `mds.a`.
    pub(super) name: String,
    pub(super) socket: PathBuf,
    pub(super) log: PathBuf,
    /// The child of kvet's that it runs under, if it is not vstart's.
    process: Option<Process>,
    pid: OnceCell<Pid>,
    held: OnceCell<AsyncFd<OwnedFd>>,
}

impl Daemon {
    pub(super) fn new(
        kind: Kind,
        name: String,
        socket: PathBuf,
        log: PathBuf,
        process: Option<Process>,
    ) -> Self {
        Self {
            kind,
            name,
            socket,
            log,
            process,
            pid: OnceCell::new(),
            held: OnceCell::new(),
        }
    }

    /// Asks its admin socket, and takes hold of the process at the first
    /// answer.
    pub(super) async fn probe(&self, prefix: &str) -> io::Result<Answer> {
        let answer = admin::ask(&self.socket, &json!({"prefix": prefix}), PROBE).await?;
        if self.held.get().is_none() {
            self.hold(answer.pid)?;
        }
        Ok(answer)
    }

    fn hold(&self, pid: Option<i32>) -> io::Result<()> {
        let pid = pid.and_then(Pid::from_raw).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "its process cannot be seen from here",
            )
        })?;
        // The first to take hold wins; both hold the same process.
        let _ = self
            .held
            .set(family::watch(pid.as_raw_pid().unsigned_abs())?);
        let _ = self.pid.set(pid);
        Ok(())
    }

    /// Sends it any command and makes sense of the answer.
    pub(super) async fn ask(
        &self,
        command: &Value,
        within: Duration,
    ) -> Result<Value, ClusterError> {
        let prefix = command["prefix"].as_str().unwrap_or_default().to_owned();
        let daemon = self.name.clone();
        match admin::ask(&self.socket, command, within).await {
            Ok(answer) => answer.json().map_err(|said| ClusterError::Refused {
                daemon,
                command: prefix,
                said,
            }),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(ClusterError::Silent {
                daemon,
                command: prefix,
                after: within,
            }),
            Err(source) => Err(ClusterError::Admin { daemon, source }),
        }
    }

    /// Signals the daemon itself. One that has ended needs none.
    fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let sent = match self.held.get() {
            Some(held) => pidfd_send_signal(held.get_ref(), signal),
            None => Ok(()),
        };
        match sent {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => {
                return Err(ClusterError::Admin {
                    daemon: self.name.clone(),
                    source: errno.into(),
                });
            }
        }
        Ok(())
    }

    /// Stops it in its tracks.
    pub(super) fn pause(&self) -> Result<(), ClusterError> {
        // nsenter would see its child stop, stop too, and when woken wake the
        // child, at a time of its own. So it has to be stopped first.
        if let Some(pid) = self.parent() {
            let _ = kill_process(pid, Signal::STOP);
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let _ = waitid(WaitId::Pid(pid), stopped);
        }
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(super) fn resume(&self) -> Result<(), ClusterError> {
        self.signal(Signal::CONT)?;
        if let Some(pid) = self.parent() {
            let _ = kill_process(pid, Signal::CONT);
        }
        Ok(())
    }

    /// The nsenter that it runs under.
    fn parent(&self) -> Option<Pid> {
        let id = self.process.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// Returns when it has ended. Safe to race and to call again.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        if let Some(held) = self.held.get() {
            // A pidfd that reads as ready stays so.
            drop(held.readable().await);
        }
        let Some(process) = &mut self.process else {
            if self.held.get().is_none() {
                // Nothing is known of it yet, so nothing can be said.
                std::future::pending::<()>().await;
            }
            return None;
        };
        if self.held.get().is_none() {
            return process.wait().await.ok();
        }
        process.signal(Signal::CONT);
        match tokio::time::timeout(FOLLOW, process.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => process.stop(Duration::ZERO).await,
        }
    }

    /// Returns when the process that answered for it has ended; how, if `nsenter`
    /// has said so.
    pub(super) async fn lost(&self) -> Option<ExitStatus> {
        match self.held.get() {
            // A pidfd that reads as ready stays so.
            Some(held) => drop(held.readable().await),
            None => std::future::pending().await,
        }
        self.told_by_parent()
    }

    /// How `nsenter` ended, which is how the daemon did; its end is left for others
    /// to take note of. Callers look once, so the moment that it takes to follow is
    /// waited for without giving way.
    fn told_by_parent(&self) -> Option<ExitStatus> {
        let pid = self.parent()?;
        let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        family::wait(&held, Instant::now() + AT_ONCE);
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(pid), look).ok()??;
        let code = status.exit_status().map(|code| code << 8);
        let signal = status.terminating_signal();
        Some(ExitStatus::from_raw(code.or(signal)?))
    }

    /// Asks it to end in order.
    pub(super) fn terminate(&self) -> Result<(), ClusterError> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once. Its state is thrown away with it, so there is nothing
    /// that a gentler end would save.
    pub(super) fn kill(&self) -> Below {
        if let Some(held) = self.held.get() {
            // The only failure left is that it has ended.
            let _ = pidfd_send_signal(held.get_ref(), Signal::KILL);
        }
        self.process.as_ref().map(family::kill).unwrap_or_default()
    }

    /// What its log has to say about its state.
    pub(super) fn tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Waits until it is gone, with all that `kill` found below what it runs
    /// under, or `limit` has come.
    pub(super) fn gone(&mut self, below: &Below, limit: Instant) {
        if let Some(held) = self.held.get() {
            family::wait(held.get_ref(), limit);
        }
        if let Some(process) = &mut self.process {
            family::gone(process, below, limit);
        }
    }

    /// Its process id, as this process sees it.
    pub(super) fn pid(&self) -> Option<u32> {
        u32::try_from(self.pid.get()?.as_raw_pid()).ok()
    }

    /// Its log file.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_kind() {
        assert_eq!(Kind::of("osd.12"), Some(Kind::Osd));
        assert_eq!(Kind::of("mds.a"), Some(Kind::Mds));
        assert_eq!(Kind::of("mdsx.a"), None);
        assert_eq!(Kind::of("client.admin"), None);
    }
}
