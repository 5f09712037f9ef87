//! A running machine: QEMU's process, its console, the agent's channel and the
//! control connection, from start to end.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::dump::{Uname, assemble};
use super::qmp::Qmp;
use super::{Boot, QEMU, Sockets, VmError, arguments};
use crate::patience;
use crate::process::{Command, Namespace, Process};

/// QEMU opens its channels within a fraction of a second on an idle host.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long QEMU may take to end after it closed its channels.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a dump is written: the form that crash and drgn read, compressed by what
/// every build of QEMU has.
const DUMP_FORMAT: &str = "kdump-zlib";

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest reset itself: a panic (with `panic=-1`) or a triple fault.
    Reset,
    /// QEMU itself failed or was killed from outside.
    Failed {
        /// Its exit status and what it said.
        said: String,
    },
}

/// A machine whose channels are all open.
#[derive(Debug)]
pub struct Machine {
    process: Process,
    words: Words,
    qmp: Qmp,
    console_in: OwnedWriteHalf,
    /// Whether QEMU outlives the guest's machine, until it is released.
    holds: bool,
    /// Whether it has.
    held: bool,
    /// QEMU's command line, for the record.
    pub command: String,
}

/// What comes out of a machine, apart from the machine itself: each has its
/// own reader.
#[derive(Debug)]
pub struct Channels {
    /// What the kernel says on its first serial port.
    pub console: OwnedReadHalf,
    /// The line to the agent.
    pub agent: UnixStream,
}

impl Machine {
    /// Starts QEMU inside the namespace.
    pub async fn start(boot: Boot<'_>, namespace: &Namespace) -> Result<(Self, Channels), VmError> {
        let sockets = Sockets::under(&boot.directory);
        let console = listen(&sockets.console)?;
        let agent = listen(&sockets.agent)?;
        let control = listen(&sockets.qmp)?;
        let mut process = Command::new(QEMU)
            .args(arguments(&boot, &sockets))
            .inside(namespace)
            .spawn(false)?;
        let mut words = Words::of(&mut process);
        let command = process.display().to_owned();
        let connect = async {
            tokio::try_join!(
                accept(&console, &sockets.console),
                accept(&agent, &sockets.agent),
                async { Qmp::open(accept(&control, &sockets.qmp).await?).await },
            )
        };
        let opened = tokio::select! {
            opened = connect => opened,
            _ = process.wait() => Err(VmError::Qmp("QEMU is gone".to_owned())),
            () = tokio::time::sleep(patience::of(START_DEADLINE)) => {
                let after = patience::of(START_DEADLINE);
                process.stop(Duration::ZERO).await;
                let said = words.said().await;
                return Err(VmError::Silent { after, said });
            }
        };
        let (console, agent, qmp) = match opened {
            Ok(opened) => opened,
            // A QEMU that does not like what it is given opens its channels
            // first and closes them on its way out: its own words tell more.
            Err(error) => match tokio::time::timeout(LAST_WORDS, process.wait()).await {
                Ok(ended) => {
                    let mut said = words.said().await;
                    if let (true, Ok(status)) = (said.is_empty(), ended) {
                        said = status.to_string();
                    }
                    return Err(VmError::NotStarted { said, command });
                }
                Err(_) => return Err(error),
            },
        };
        let (console, console_in) = console.into_split();
        let machine = Self {
            process,
            words,
            qmp,
            console_in,
            holds: boot.debugging.keeps_memory,
            held: false,
            command,
        };
        Ok((machine, Channels { console, agent }))
    }

    /// Stops the guest where it stands and writes the state of everything but its
    /// memory to `state`. The memory is in the file that the machine was started
    /// with, once QEMU has ended.
    pub async fn save(&mut self, state: &File) -> Result<(), VmError> {
        self.qmp.execute("stop", json!({})).await?;
        self.set_capabilities().await?;
        self.qmp.hand_over("state", state).await?;
        let way = json!({"uri": "fd:state"});
        self.qmp.execute("migrate", way).await?;
        self.moved("save").await
    }

    /// Reads what [`Self::save`] wrote into a machine that awaits it. The guest
    /// stands where it stood, until [`Self::go_on`].
    pub async fn restore(&mut self, state: &File) -> Result<(), VmError> {
        self.set_capabilities().await?;
        self.qmp.hand_over("state", state).await?;
        let way = json!({"uri": "fd:state"});
        let moved = async {
            self.qmp.execute("migrate-incoming", way).await?;
            self.moved("restore").await
        };
        match moved.await {
            Ok(()) => Ok(()),
            // A QEMU that cannot read it ends, and says why on its way out. One that is
            // killed, for the host's want of memory, says nothing of what it read.
            Err(error) => match tokio::time::timeout(LAST_WORDS, self.process.wait()).await {
                Ok(Ok(status)) if status.signal() == Some(Signal::KILL.as_raw()) => Err(error),
                Ok(_) => Err(VmError::Snapshot {
                    action: "restore",
                    said: self.words.said().await,
                }),
                Err(_) => Err(error),
            },
        }
    }

    /// Lets a guest that stands go on.
    pub async fn go_on(&mut self) -> Result<(), VmError> {
        self.qmp.execute("cont", json!({})).await.map(drop)
    }

    /// The memory is in a file, and QEMU is to tell when it is through.
    async fn set_capabilities(&mut self) -> Result<(), VmError> {
        let on = |name: &str| json!({"capability": name, "state": true});
        let capabilities = json!({"capabilities": [on("x-ignore-shared"), on("events")]});
        self.qmp
            .execute("migrate-set-capabilities", capabilities)
            .await
            .map(drop)
    }

    async fn moved(&mut self, action: &'static str) -> Result<(), VmError> {
        match self.qmp.migrated().await?.as_str() {
            "completed" => Ok(()),
            other => Err(VmError::Snapshot {
                action,
                said: other.to_owned(),
            }),
        }
    }

    /// Sends a SysRq key through the serial line: works as long as the guest
    /// takes interrupts, whatever became of its user space.
    pub async fn sysrq(&mut self, key: char) -> Result<(), VmError> {
        self.qmp
            .execute("chardev-send-break", json!({"id": "console"}))
            .await?;
        let mut buffer = [0; 4];
        self.type_in(key.encode_utf8(&mut buffer).as_bytes()).await
    }

    /// Types on the serial line.
    pub async fn type_in(&mut self, bytes: &[u8]) -> Result<(), VmError> {
        self.console_in
            .write_all(bytes)
            .await
            .map_err(|error| VmError::Console(error.to_string()))
    }

    /// Waits until QEMU has ended, or holds what is left of the guest. Safe to
    /// race and to call again.
    pub async fn ended(&mut self) {
        tokio::select! {
            biased;
            // A failed wait leaves nothing to wait for either; `end` tells of it.
            ended = self.process.wait() => drop(ended),
            () = self.qmp.shut_down(), if self.holds => self.held = true,
        }
    }

    /// Whether the guest's machine has ended and its memory is still there.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Lets a QEMU that holds what is left of the guest end.
    pub async fn release(&mut self) -> Result<(), VmError> {
        self.holds = false;
        self.held = false;
        self.qmp.execute("quit", json!({})).await?;
        Ok(())
    }

    /// Writes the guest's memory to a file, which only its owner can read, as
    /// crash and drgn take it. The guest stands still meanwhile. Returns the
    /// file's size; an error leaves none, and a file that was there as it was.
    pub async fn dump_memory(
        &mut self,
        path: &Path,
        uname: Uname,
        deadline: Duration,
    ) -> Result<u64, VmError> {
        let flattened = path.with_extension("flattened");
        // It is as large as the memory, and goes with whoever gives this up, too.
        let _removed = Removed(flattened.clone());
        let written = self.write_memory(&flattened, deadline).await;
        match written {
            Ok(()) => {
                let (from, to) = (flattened.clone(), path.to_owned());
                let work = move || assemble(&from, &to, &uname);
                let done = tokio::task::spawn_blocking(work).await;
                let done = done.map_err(std::io::Error::other).and_then(|size| size);
                done.map_err(|error| VmError::Dump(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// Has QEMU write the guest's memory in its own form.
    async fn write_memory(&mut self, path: &Path, deadline: Duration) -> Result<(), VmError> {
        let arguments = json!({
            "paging": false,
            "protocol": format!("file:{}", path.display()),
            "detach": true,
            "format": DUMP_FORMAT,
        });
        self.qmp.execute("dump-guest-memory", arguments).await?;
        let done = self.qmp.event("DUMP_COMPLETED", deadline).await?;
        if done["result"]["status"] == "completed" {
            return Ok(());
        }
        let why = done["error"].as_str().unwrap_or("it was not completed");
        Err(VmError::Qmp(format!("dump-guest-memory: {why}")))
    }

    /// Waits until QEMU has ended and tells why.
    pub async fn end(&mut self) -> End {
        let status = self.process.wait().await;
        match self.qmp.shutdown_reason().await.as_deref() {
            Some("guest-shutdown") => End::PoweredOff,
            Some("guest-reset" | "guest-panic") => End::Reset,
            reason => {
                let mut text = match status {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                if let Some(reason) = reason {
                    text = format!("{text} ({reason})");
                }
                let said = self.words.said().await;
                if !said.is_empty() {
                    text = format!("{text}: {said}");
                }
                End::Failed { said: text }
            }
        }
    }

    /// QEMU's process, as this host knows it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the machine at once; its state is worth nothing any more.
    pub async fn kill(&mut self) {
        self.process.stop(Duration::ZERO).await;
    }
}

#[cfg(test)]
impl Machine {
    /// A machine whose QEMU is another program that a test drives.
    pub(crate) async fn scripted(
        mut process: Process,
        control: UnixStream,
        console: UnixStream,
        agent: UnixStream,
    ) -> Result<(Self, Channels), VmError> {
        let (console, console_in) = console.into_split();
        let machine = Self {
            words: Words::of(&mut process),
            command: process.display().to_owned(),
            process,
            qmp: Qmp::open(control).await?,
            console_in,
            holds: false,
            held: false,
        };
        Ok((machine, Channels { console, agent }))
    }

    /// Whether it outlives the guest's machine.
    pub(crate) fn hold(&mut self, holds: bool) {
        self.holds = holds;
    }
}

/// A file that goes when this does.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may never have been made.
        drop(std::fs::remove_file(&self.0));
    }
}

fn listen(path: &Path) -> Result<UnixListener, VmError> {
    UnixListener::bind(path).map_err(|source| VmError::Socket {
        path: path.to_owned(),
        source,
    })
}

async fn accept(listener: &UnixListener, path: &Path) -> Result<UnixStream, VmError> {
    let accepted = listener.accept().await;
    let (stream, _) = accepted.map_err(|source| VmError::Socket {
        path: path.to_owned(),
        source,
    })?;
    Ok(stream)
}

/// What QEMU writes to standard error. It is read as it comes: a QEMU that waits for a
/// reader stands still, with its guest.
#[derive(Debug)]
struct Words {
    /// The first of them.
    heard: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Words {
    /// Bytes that are kept; the rest is read and forgotten.
    const KEPT: usize = 64 << 10;

    fn of(process: &mut Process) -> Self {
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (stderr, kept) = (process.take_stderr(), Arc::clone(&heard));
        let reading = tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut chunk = [0; 4 << 10];
            while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = Self::KEPT.saturating_sub(kept.len()).min(length);
                kept.extend_from_slice(&chunk[..room]);
            }
        });
        Self { heard, reading }
    }

    /// All that it said before it ended, in one line. What it runs under may have been
    /// killed alone: then QEMU is still there, and its words have no end.
    async fn said(&mut self) -> String {
        if !self.reading.is_finished() {
            drop(tokio::time::timeout(LAST_WORDS, &mut self.reading).await);
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&heard);
        text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// The end of a restore in the middle of which QEMU does this.
    async fn restored(qemu: &str) -> VmError {
        let (control, theirs) = UnixStream::pair().unwrap();
        let (console, _console) = UnixStream::pair().unwrap();
        let (agent, _agent) = UnixStream::pair().unwrap();
        let process = Command::new("sh").args(["-c", qemu]).spawn(true).unwrap();
        let (reader, mut writer) = theirs.into_split();
        let mut commands = BufReader::new(reader).lines();
        let script = async move {
            let greeting = b"{\"QMP\": {}}\n";
            writer.write_all(greeting).await.unwrap();
            // The negotiation, the capabilities, the file; then it is gone.
            for _ in 0..3 {
                commands.next_line().await.unwrap().unwrap();
                writer.write_all(b"{\"return\": {}}\n").await.unwrap();
            }
            commands.next_line().await.unwrap().unwrap();
        };
        let work = async {
            let machine = Machine::scripted(process, control, console, agent);
            let (mut machine, _channels) = machine.await.unwrap();
            let state = File::open("/dev/null").unwrap();
            machine.restore(&state).await.unwrap_err()
        };
        tokio::join!(work, script).0
    }

    #[tokio::test]
    async fn a_dump_that_is_given_up_leaves_nothing_half_made() {
        let (control, theirs) = UnixStream::pair().unwrap();
        let (console, _console) = UnixStream::pair().unwrap();
        let (agent, _agent) = UnixStream::pair().unwrap();
        let process = Command::new("cat").spawn(true).unwrap();
        let home = tempfile::tempdir().unwrap();
        let half = home.path().join("memory.flattened");
        let (reader, mut writer) = theirs.into_split();
        let mut commands = BufReader::new(reader).lines();
        // QEMU begins to write, and whoever waits for it goes.
        let script = async {
            writer.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            commands.next_line().await.unwrap().unwrap();
            writer.write_all(b"{\"return\": {}}\n").await.unwrap();
            commands.next_line().await.unwrap().unwrap();
            std::fs::write(&half, "half").unwrap();
        };
        let work = async {
            let machine = Machine::scripted(process, control, console, agent);
            let (mut machine, _channels) = machine.await.unwrap();
            let path = home.path().join("memory");
            let dump = machine.dump_memory(&path, Uname::default(), Duration::MAX);
            tokio::pin!(dump);
            while !half.exists() {
                assert!(futures_util::poll!(&mut dump).is_pending());
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(work, script);
        assert!(!half.exists());
    }

    #[tokio::test]
    async fn a_qemu_that_is_killed_says_nothing_of_what_it_reads() {
        let killed = restored("kill -9 $$").await;
        assert!(matches!(killed, VmError::Qmp(_)), "{killed:?}");
        let refused = restored("echo no such device >&2; exit 1").await;
        let VmError::Snapshot { said, .. } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(said, "no such device");
        // More than a pipe holds, and than is kept.
        let talks = "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1";
        let talkative = restored(talks).await;
        let VmError::Snapshot { said, .. } = &talkative else {
            panic!("{talkative:?}");
        };
        assert_eq!(*said, "x".repeat(Words::KEPT));
    }
}
