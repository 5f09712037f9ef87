//! A node of a Slurm cluster that shares no directory with the driver: `srun` starts
//! a task there, and all that it needs and makes goes through the pipe. Slurm's own
//! queue is waited for without a limit. Every task carries the run's name, by which
//! it is found and called off.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::AsyncBufReadExt;
use tokio_util::sync::CancellationToken;

use super::batch::Digest;
use super::connection::{Connection, Refusal, listen_to};
use super::error::FleetError;
use super::slurm::{self, environment, is_away};
use super::wire::send_raw;
use crate::context::Context;
use crate::process::{Command, GRACE, find_program};

/// How long sending the program may take.
const SENDING: Duration = Duration::from_secs(1800);

/// How long one of Slurm's programs may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest line that a node says before kvet runs there.
const LONGEST: u64 = 4096;

/// A node, and how to ask for it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) node: String,
    pub(super) partition: Option<String>,
    /// What the task is called.
    pub(super) job: String,
    /// Processors it gets.
    pub(super) cpus: usize,
    /// Nobody waits for the node any more.
    pub(super) token: CancellationToken,
}

/// The nodes that can have tasks, with their processors. No node at all, a Slurm
/// that is not there and one that refuses are errors.
pub(super) async fn nodes(
    context: &Context,
    partition: Option<&str>,
) -> Result<Vec<(String, usize)>, FleetError> {
    for program in ["srun", "scancel", "sinfo"] {
        if find_program(program).is_none() {
            return Err(FleetError::NoSlurm(program));
        }
    }
    let mut command = Command::new("sinfo").args(["--noheader", "--Node", "--format=%N|%T|%c"]);
    if let Some(partition) = partition {
        command = command.arg(format!("--partition={partition}"));
    }
    let answer = command.deadline(PATIENCE).run(&context.cancel).await?;
    let nodes = slurm::parse_nodes(&String::from_utf8_lossy(&answer.stdout));
    if nodes.is_empty() {
        let of = partition.map_or_else(String::new, |name| format!(" of the partition {name}"));
        let said = format!("no node{of} is up");
        return Err(FleetError::Refused { said });
    }
    Ok(nodes)
}

/// Cancels whatever is left under this name, queued or running.
pub(super) async fn call_off(job: &str) {
    let cancelled = Command::new("scancel")
        .args(["--me", "--quiet"])
        .arg(format!("--name={job}"))
        .deadline(PATIENCE)
        .run(&CancellationToken::new())
        .await;
    // A controller that is away has tasks that end by themselves: their pipe has.
    drop(cancelled);
}

impl Remote {
    /// Starts the program there. The shell that runs first says whether it has it,
    /// and takes it from its standard input if not. A controller that is away is
    /// waited for.
    pub(super) async fn start(&self, program: (&Digest, &Path)) -> Result<Connection, Refusal> {
        let began = Instant::now();
        loop {
            match self.started(program).await {
                Err(Refusal::Failed(said)) if is_away(&said) && began.elapsed() < slurm::AWAY => {}
                started => return started,
            }
            tokio::select! {
                () = tokio::time::sleep(slurm::ASK) => {}
                () = self.token.cancelled() => {
                    return Err(Refusal::Failed("interrupted".to_owned()));
                }
            }
        }
    }

    async fn started(&self, (digest, path): (&Digest, &Path)) -> Result<Connection, Refusal> {
        let size = std::fs::metadata(path)
            .map_err(|error| Refusal::Failed(format!("cannot read {}: {error}", path.display())))?;
        let mut command = Command::new("env")
            .arg("-i")
            .args(environment())
            .arg("srun")
            .args(["--nodes=1", "--ntasks=1", "--quiet", "--chdir=/"])
            .arg("--export=ALL")
            .arg(format!("--nodelist={}", self.node))
            .arg(format!("--cpus-per-task={}", self.cpus))
            .arg(format!("--job-name={}", self.job));
        if let Some(partition) = &self.partition {
            command = command.arg(format!("--partition={partition}"));
        }
        let boot = boot(digest, size.len());
        let spawned = command.args(["sh", "-c", &boot]).spawn(true);
        let spawned = spawned.map_err(|error| Refusal::Failed(error.to_string()))?;
        let mut connection = Connection::of(spawned)?;
        let Err(why) = self.greet(&mut connection, path).await else {
            return Ok(connection);
        };
        let Connection {
            mut process,
            input,
            errors,
            ..
        } = connection;
        // A shell that receives the program sees the end of it and takes away what
        // it has; ended together with srun, it could not.
        drop(input);
        let complaints = std::cell::RefCell::new(String::new());
        let hearing = listen_to(errors, &complaints);
        drop(tokio::time::timeout(GRACE, hearing).await);
        process.stop(GRACE).await;
        let said = complaints.into_inner();
        let said = said.trim().lines().next().unwrap_or(&why).to_owned();
        Err(Refusal::Failed(said))
    }

    /// Waits for the node's first word and sends it the program if it lacks it.
    async fn greet(&self, connection: &mut Connection, program: &Path) -> Result<(), String> {
        let mut word = String::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut connection.output, LONGEST);
        let heard = tokio::select! {
            heard = limited.read_line(&mut word) => heard,
            () = self.token.cancelled() => return Err("interrupted".to_owned()),
        };
        heard.map_err(|error| error.to_string())?;
        match word.trim() {
            "have" => Ok(()),
            "need" => {
                let sending = send_raw(&mut connection.input, program);
                match tokio::time::timeout(SENDING, sending).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(format!("what it needs cannot be sent: {error}")),
                    Err(_) => Err("what it needs cannot be sent in half an hour".to_owned()),
                }
            }
            "" => Err("the task ended at once".to_owned()),
            other => Err(format!("it said {other:?}")),
        }
    }
}

/// The first thing that runs on the node: it sees to the program and becomes it.
/// Slurm may kill it without a word, so it removes what an earlier one on this node
/// left half received.
fn boot(digest: &Digest, size: u64) -> String {
    let digest = digest.as_str();
    format!(
        "set -eu; umask 077\n\
         d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}/kvet/inputs\"; mkdir -p \"$d\"; cd \"$d\"\n\
         if test -f {digest}/content; then echo have; else\n\
         h=\".kvet-$(uname -n)-\"\n\
         for o in \"$h\"*-{digest}; do q=\"${{o#\"$h\"}}\"\n\
         if test -d \"$o\" && ! kill -0 \"${{q%%-*}}\" 2>/dev/null; then rm -rf \"$o\"; fi; done\n\
         p=\"$h$$-{digest}\"; trap 'rm -rf \"$p\"' EXIT; trap 'exit 1' HUP INT TERM PIPE\n\
         mkdir \"$p\"; echo need\n\
         head -c {size} > \"$p/content\"\n\
         if ! echo \"{digest}  $p/content\" | sha256sum --check --status; then\n\
         echo 'the program arrived damaged' >&2; exit 1; fi\n\
         chmod 700 \"$p/content\"; mv -T \"$p\" {digest} 2>/dev/null || rm -rf \"$p\"\n\
         trap - EXIT; test -f {digest}/content; fi\n\
         cd /; exec \"$d/{digest}/content\" batch -\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that arrives, on a node where another was half received.
    #[test]
    fn what_a_killed_start_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("program");
        std::fs::write(&program, "#!/bin/sh\necho \"ran $1\"\n").unwrap();
        let digest = Digest::of(&program).unwrap();
        let inputs = home.path().join("kvet/inputs");
        let node = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let half = |process: u32| {
            inputs.join(format!(
                ".kvet-{}-{process}-{}",
                node.trim(),
                digest.as_str()
            ))
        };
        // Of a process that is alive, this one, and of one that cannot be.
        let (alive, dead) = (half(std::process::id()), half(u32::MAX >> 1));
        for directory in [&alive, &dead] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let size = std::fs::metadata(&program).unwrap().len();
        #[expect(clippy::disallowed_types, reason = "the script runs on another host")]
        let output = std::process::Command::new("sh")
            .args(["-c", &boot(&digest, size)])
            .env("XDG_CACHE_HOME", home.path())
            .stdin(std::fs::File::open(&program).unwrap())
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "need\nran batch\n",
            "{output:?}"
        );
        assert!(alive.exists() && !dead.exists());
        assert!(inputs.join(digest.as_str()).join("content").exists());
    }
}
