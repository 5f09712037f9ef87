//! A private corner of the host: network, process ids and mounts of its own.
//!
//! Everything that belongs to a cluster and its guests runs in one. Its network
//! has a loopback and nothing else, so neither a daemon nor a guest can reach
//! the host's network. Its first process holds it open; when that ends (told
//! to, or because kvet died) the kernel ends every process inside and takes
//! the mounts and addresses back.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdin;

use crate::error::{Exit, Fault};
use crate::patience;

use super::{Command, GRACE, Process, ProcessError, family};

/// A namespace is made in a fraction of a second on an idle host.
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// The private network could not be made.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot make a private network")]
#[diagnostic(help(
    "the host must let this user make user namespaces: as root, look at `sysctl \
     user.max_user_namespaces` (not 0), `kernel.unprivileged_userns_clone` (1) and \
     `kernel.apparmor_restrict_unprivileged_userns` (0), whichever exist; a container must \
     not filter unshare(2). Or run kvet as root"
))]
pub struct NetworkError {
    /// What was tried and how it failed.
    source: ProcessError,
}

impl Fault for NetworkError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Makes the private network of a testbed or a cluster, which has this address.
pub async fn private_network(address: Ipv4Addr) -> Result<Namespace, NetworkError> {
    let made = Namespace::create(address).await;
    made.map_err(|source| NetworkError { source })
}

/// A running namespace. Dropping it ends everything inside.
#[derive(Debug)]
pub struct Namespace {
    holder: Process,
    /// Held open: its end of file tells the holder that kvet is gone.
    lifeline: ChildStdin,
    first: u32,
    /// The first process, whatever becomes of its number.
    held: AsyncFd<OwnedFd>,
    user: bool,
}

impl Namespace {
    /// Makes a namespace whose loopback also carries `address`. Uses a user
    /// namespace where the host allows one, so that no root is needed.
    pub async fn create(address: Ipv4Addr) -> Result<Self, ProcessError> {
        // Only a host without user namespaces needs root for this.
        match Self::enter(address, true).await {
            Err(ProcessError::Failed { .. }) if rustix::process::geteuid().is_root() => {
                Self::enter(address, false).await
            }
            result => result,
        }
    }

    /// Makes one, within a deadline: what makes it may be stopped or stuck.
    async fn enter(address: Ipv4Addr, user: bool) -> Result<Self, ProcessError> {
        let made = tokio::time::timeout(patience::of(MADE_WITHIN), Self::make(address, user));
        made.await.unwrap_or_else(|_| {
            Err(ProcessError::Deadline {
                command: "unshare (a private network namespace)".to_owned(),
                after: patience::of(MADE_WITHIN),
            })
        })
    }

    async fn make(address: Ipv4Addr, user: bool) -> Result<Self, ProcessError> {
        let script = format!(
            "ip link set lo up && ip addr add {address}/32 dev lo && echo ready && exec cat"
        );
        let mut command = Command::new("unshare");
        if user {
            command = command.args(["--user", "--map-root-user"]);
        }
        let mut holder = command
            .args(["--net", "--pid", "--mount", "--fork"])
            .args(["--kill-child=KILL", "--mount-proc", "--", "sh", "-c"])
            .arg(script)
            .spawn(true)?;
        let failed = |said: String| ProcessError::Failed {
            command: "unshare".to_owned(),
            status: std::process::ExitStatus::default(),
            stderr: said,
        };
        let (Some(lifeline), Some(stdout), Some(pid)) =
            (holder.take_stdin(), holder.take_stdout(), holder.id())
        else {
            return Err(failed("it ended at once".to_owned()));
        };
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line).await;
        if read.is_err() || line.trim() != "ready" {
            let status = holder.wait().await?;
            let mut said = Vec::new();
            if let Some(mut stderr) = holder.take_stderr() {
                drop(tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut said).await);
            }
            return Err(ProcessError::Failed {
                command: "unshare (a private network namespace)".to_owned(),
                status,
                stderr: String::from_utf8_lossy(&said).into_owned(),
            });
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
            .map_err(|source| ProcessError::Io {
                program: "unshare".to_owned(),
                source,
            })?;
        let first = children
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| failed("its first process is not to be found".to_owned()))?;
        let held = family::watch(first)
            .map_err(|error| failed(format!("its first process cannot be held: {error}")))?;
        Ok(Self {
            holder,
            lifeline,
            first,
            held,
            user,
        })
    }

    /// The program and leading arguments that run a command inside.
    /// nsenter forgets the working directory, so that is its business, too.
    pub(super) fn entry(&self, directory: Option<&Path>) -> (OsString, Vec<OsString>) {
        let mut args = vec![OsString::from(format!("--target={}", self.first))];
        if let Some(directory) = directory {
            let mut word = OsString::from("--wdns=");
            word.push(directory);
            args.push(word);
        }
        if self.user {
            args.push("--user".into());
            args.push("--preserve-credentials".into());
        }
        args.extend(["--net", "--pid", "--mount", "--"].map(OsString::from));
        ("nsenter".into(), args)
    }

    /// Returns when its first process has ended, and with it all that ran inside.
    /// Safe to race and to call again.
    pub async fn lost(&self) {
        // A pidfd that reads as ready stays so.
        drop(self.held.readable().await);
    }

    /// Ends everything inside and waits until it is gone.
    pub async fn close(self) {
        let Self {
            mut holder,
            lifeline,
            ..
        } = self;
        // The first process reads to its end of file; a TERM it would not see.
        drop(lifeline);
        drop(tokio::time::timeout(GRACE, holder.wait()).await);
        holder.stop(Duration::ZERO).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio_util::sync::CancellationToken;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

    #[tokio::test]
    async fn only_its_own_address_is_there() {
        let namespace = Namespace::create(ADDRESS).await.unwrap();
        let finished = Command::new("ip")
            .args(["-brief", "address"])
            .inside(&namespace)
            .run(&CancellationToken::new())
            .await
            .unwrap();
        let text = String::from_utf8(finished.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("10.99.0.1/32"), "{text}");
        namespace.close().await;
    }

    #[tokio::test]
    async fn a_command_inside_keeps_its_directory() {
        let namespace = Namespace::create(ADDRESS).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let finished = Command::new("pwd")
            .directory(directory.path())
            .inside(&namespace)
            .run(&CancellationToken::new())
            .await
            .unwrap();
        let said = String::from_utf8(finished.stdout).unwrap();
        assert_eq!(said.trim(), directory.path().to_str().unwrap());
        namespace.close().await;
    }

    #[tokio::test]
    async fn that_it_is_gone_shows() {
        let namespace = Namespace::create(ADDRESS).await.unwrap();
        assert!(futures_util::poll!(std::pin::pin!(namespace.lost())).is_pending());
        let first = i32::try_from(namespace.first).unwrap();
        let first = rustix::process::Pid::from_raw(first).unwrap();
        rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
        for _ in 0..2 {
            namespace.lost().await;
        }
        namespace.close().await;
    }

    #[tokio::test]
    async fn closing_ends_what_detached_itself() {
        let namespace = Namespace::create(ADDRESS).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let alive = directory.path().join("alive");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &alive,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let mut reader = tokio::net::unix::pipe::OpenOptions::new()
            .open_receiver(&alive)
            .unwrap();
        // A daemon in a session of its own that holds the pipe's write end.
        Command::new("setsid")
            .args(["--fork", "sh", "-c"])
            .arg(format!("exec > {}; echo up; sleep 1000", alive.display()))
            .inside(&namespace)
            .run(&CancellationToken::new())
            .await
            .unwrap();
        let mut said = [0; 3];
        reader.read_exact(&mut said).await.unwrap();
        namespace.close().await;
        // End of file comes only when the last writer is gone.
        assert_eq!(reader.read(&mut said).await.unwrap(), 0);
    }
}
