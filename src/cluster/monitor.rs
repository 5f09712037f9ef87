//! Commands to the monitors, through one long-lived helper that speaks librados.
//!
//! The helper runs in the namespace, where the monitors are; it reads its key
//! from the keyring file that ceph.conf names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;

use super::{ClusterError, GONE, Site, log_tail, programs};
use crate::patience;
use crate::process::family;
use crate::process::{Command, Process};
use crate::store::io_error;

const HELPER: &str = include_str!("monitor.py");

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
        let mut process = command.inside(site.namespace).spawn(true)?;
        let (Some(input), Some(output)) = (process.take_stdin(), process.take_stdout()) else {
            return Err(ClusterError::Monitors {
                said: String::new(),
            });
        };
        Ok(Self {
            process,
            talk: Mutex::new(Talk {
                input,
                output: BufReader::new(output),
                next: 0,
            }),
            log,
            keyring: keyring.to_owned(),
            bindings: bindings.clone(),
        })
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
                daemon: "the monitors' helper".to_owned(),
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
        let lost = || ClusterError::Monitors {
            said: log_tail(&self.log),
        };
        talk.input
            .write_all(line.as_bytes())
            .await
            .map_err(|_| lost())?;
        loop {
            let mut line = String::new();
            let count = talk.output.read_line(&mut line).await;
            if !matches!(count, Ok(1..)) {
                return Err(lost());
            }
            let reply: Reply = serde_json::from_str(&line).map_err(|_| lost())?;
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
