//! Commands to the monitors, through one long-lived helper that speaks librados.
//!
//! The helper runs in the namespace, where the monitors are; it reads its key
//! from the keyring file that ceph.conf names.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{ClusterError, DaemonEnded, GONE, Site, log_tail, programs};
use crate::patience;
use crate::process::family;
use crate::process::{Command, Process};
use crate::store::io_error;

const HELPER: &str = include_str!("monitor.py");

/// What messages call it.
const HELPER_NAME: &str = "the monitors' helper";

/// `EAGAIN`: the monitor has the request in hand already; asking again is safe.
const AGAIN: i32 = -11;

/// `ETIMEDOUT`: no monitor took the request.
const TIMED_OUT: i32 = -110;

/// How long the helper may take over a command: twice its own patience with the
/// monitors.
const ANSWER: Duration = Duration::from_secs(60);

/// Attempts at a command that the monitors put off.
const ATTEMPTS: u32 = 20;

/// Which librados to use.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings {
    /// The `ceph` command it belongs to, if not the installed one.
    pub(super) ceph: Option<PathBuf>,
    /// Variables that lead to it.
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Monitor {
    process: Process,
    /// Cancelled when a command has found the connection lost.
    broken: CancellationToken,
    talk: Mutex<Talk>,
    log: PathBuf,
    keyring: PathBuf,
    bindings: Bindings,
}

#[derive(Debug)]
struct Talk {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next: u64,
    /// What the helper has not taken yet. A command may be given up at any moment;
    /// half a line of it would spoil all that come after.
    unsent: Vec<u8>,
    /// The beginning of a line whose rest was not awaited.
    partial: Vec<u8>,
}

impl Talk {
    /// Sends a line, after what is left of an earlier one.
    async fn send(&mut self, line: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(line);
        while !self.unsent.is_empty() {
            let count = self.input.write(&self.unsent).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.unsent.drain(..count);
        }
        Ok(())
    }

    /// The next line, `None` at the end. Nothing is lost by dropping the future.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let read = self.output.read_until(b'\n', &mut self.partial).await?;
        Ok((read > 0).then(|| std::mem::take(&mut self.partial)))
    }
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    code: i32,
    output: String,
    said: String,
}

impl Monitor {
    /// Starts the helper; it connects by itself while others start.
    pub(super) fn start(
        site: &Site<'_>,
        conf: &Path,
        keyring: &Path,
        bindings: &Bindings,
    ) -> Result<Self, ClusterError> {
        let log = site.logs.join("mon-commands.log");
        let file = std::fs::File::create(&log).map_err(io_error("create", &log))?;
        let mut command = Command::new(programs::python_of(bindings.ceph.as_deref()))
            .args(["-c", HELPER])
            .arg(conf)
            .arg((patience::of(ANSWER) / 2).as_secs().to_string())
            // What the user's shell has set is for another cluster.
            .env("CEPH_ARGS", "")
            .env("CEPH_KEYRING", keyring)
            .stderr_to(file);
        for (name, value) in &bindings.environment {
            command = command.env(name, value);
        }
        let process = command.inside(site.namespace).spawn(true)?;
        Self::of(process, log, keyring, bindings)
    }

    /// One whose helper is this process.
    pub(super) fn of(
        mut process: Process,
        log: PathBuf,
        keyring: &Path,
        bindings: &Bindings,
    ) -> Result<Self, ClusterError> {
        let lost = || ClusterError::Monitors {
            said: String::new(),
        };
        let (Some(input), Some(output)) = (process.take_stdin(), process.take_stdout()) else {
            return Err(lost());
        };
        Ok(Self {
            process,
            broken: CancellationToken::new(),
            talk: Mutex::new(Talk {
                input,
                output: BufReader::new(output),
                next: 0,
                unsent: Vec::new(),
                partial: Vec::new(),
            }),
            log,
            keyring: keyring.to_owned(),
            bindings: bindings.clone(),
        })
    }

    /// Returns when the connection is lost, as a command has found: none will reach
    /// the monitors any more. Safe to race and to call again.
    pub(super) async fn lost(&self) -> DaemonEnded {
        self.broken.cancelled().await;
        DaemonEnded {
            name: HELPER_NAME.to_owned(),
            status: None,
            log: self.log.clone(),
            tail: log_tail(&self.log),
        }
    }

    /// Which of Ceph's libraries the cluster's own commands use.
    pub(super) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// The keyring with the administrator's key.
    pub(super) fn keyring(&self) -> &Path {
        &self.keyring
    }

    /// Runs one command, `{"prefix": …}`, and returns its output as JSON.
    pub(super) async fn command(&self, command: &Value) -> Result<Value, ClusterError> {
        let mut command = command.clone();
        if let Value::Object(fields) = &mut command {
            fields.entry("format").or_insert_with(|| "json".into());
        }
        let mut attempt = 0;
        loop {
            let reply = self.exchange_within(patience::of(ANSWER), &command).await?;
            attempt += 1;
            if reply.code == AGAIN && attempt < ATTEMPTS {
                continue;
            }
            if reply.code == TIMED_OUT {
                return Err(ClusterError::Silent {
                    daemon: "mon".to_owned(),
                    command: command["prefix"].as_str().unwrap_or_default().to_owned(),
                    after: patience::of(ANSWER) / 2,
                });
            }
            if reply.code < 0 {
                return Err(ClusterError::Refused {
                    daemon: "mon".to_owned(),
                    command: command["prefix"].as_str().unwrap_or_default().to_owned(),
                    said: format!(
                        "{} ({})",
                        reply.said,
                        std::io::Error::from_raw_os_error(-reply.code)
                    ),
                });
            }
            let output = reply.output.trim();
            if output.is_empty() {
                return Ok(Value::Null);
            }
            return Ok(serde_json::from_str(output).unwrap_or_else(|_| Value::from(output)));
        }
    }

    /// The helper gives a monitor some time; one that is stopped itself, or
    /// busy with someone else's command, is not waited for much longer.
    async fn exchange_within(
        &self,
        after: Duration,
        command: &Value,
    ) -> Result<Reply, ClusterError> {
        match tokio::time::timeout(after, self.exchange(command)).await {
            Ok(reply) => reply,
            Err(_) => Err(ClusterError::Silent {
                daemon: HELPER_NAME.to_owned(),
                command: command["prefix"].as_str().unwrap_or_default().to_owned(),
                after,
            }),
        }
    }

    async fn exchange(&self, command: &Value) -> Result<Reply, ClusterError> {
        let mut talk = self.talk.lock().await;
        let id = talk.next;
        talk.next += 1;
        let mut line = json!({"id": id, "command": command}).to_string();
        line.push('\n');
        let lost = || {
            self.broken.cancel();
            ClusterError::Monitors {
                said: log_tail(&self.log),
            }
        };
        talk.send(line.as_bytes()).await.map_err(|_| lost())?;
        loop {
            let Ok(Some(line)) = talk.line().await else {
                return Err(lost());
            };
            let reply: Reply = serde_json::from_slice(&line).map_err(|_| lost())?;
            // An older answer belongs to someone who no longer waited for it.
            if reply.id == id {
                return Ok(reply);
            }
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        family::end(&mut self.process, Instant::now() + GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A helper that does what a script says.
    fn monitor(script: &str) -> Monitor {
        let process = Command::new("sh").args(["-c", script]).spawn(true).unwrap();
        let bindings = Bindings::default();
        Monitor::of(process, "/nowhere/log".into(), Path::new(""), &bindings).unwrap()
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_does_not_spoil_the_next() {
        let home = tempfile::tempdir().unwrap();
        let seen = home.path().join("seen");
        // Half of the first answer comes at once, the rest with the second command.
        let script = format!(
            r#"read first; printf '{{"id": 0, "co'; : > {}; read second
            printf 'de": 0, "output": "first", "said": ""}}\n'
            printf '{{"id": 1, "code": 0, "output": "second", "said": ""}}\n'; cat"#,
            seen.display()
        );
        let monitor = monitor(&script);
        let command = json!({"prefix": "fsid"});
        {
            let given_up = monitor.command(&command);
            tokio::pin!(given_up);
            while !(seen.exists() && monitor.talk.try_lock().is_err()) {
                assert!(futures_util::poll!(&mut given_up).is_pending());
                tokio::task::yield_now().await;
            }
            // The half is there, and is read.
            assert!(futures_util::poll!(&mut given_up).is_pending());
            tokio::task::yield_now().await;
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        let answer = monitor.command(&command).await.unwrap();
        assert_eq!(answer, "second");
    }

    #[tokio::test]
    async fn a_helper_that_is_gone_is_noticed() {
        let monitor = monitor("read first; exit 1");
        assert!(futures_util::poll!(std::pin::pin!(monitor.lost())).is_pending());
        let error = monitor.command(&json!({"prefix": "fsid"})).await;
        assert!(matches!(error, Err(ClusterError::Monitors { .. })));
        for _ in 0..2 {
            assert_eq!(monitor.lost().await.name, HELPER_NAME);
        }
    }
}
