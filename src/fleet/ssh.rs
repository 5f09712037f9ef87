//! Hosts over ssh, without an engine: one session each, through which items go
//! out and results come back. Inputs are sent before, once, with rsync where both
//! sides have it. A session's end is the end of what it started: nothing stays on
//! a host but the inputs in its cache.
//!
//! ssh is the user's own, with their configuration and keys; `KVET_SSH` names
//! another command (`ssh -F file`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::Fleet;
use super::batch::{Digest, HostCard, HostEnd, Item, ItemKey};
use super::error::FleetError;
use super::ledger::Task;
use super::wire::{FromHost, ToHost, hear, receive_result, say};
use crate::Error;
use crate::process::{Command, GRACE, ProcessError, find_program};
use crate::store::{io_error, remove_tree};

/// How long a command that looks at a host may take.
const GLANCE: Duration = Duration::from_secs(60);

/// How long sending an input may take.
const SENDING: Duration = Duration::from_secs(1800);

/// How long a host may take from the session's begin to being ready: its cluster
/// starts meanwhile. It shows that it lives in between.
const READY: Duration = Duration::from_secs(900);

/// How long a large result may take to arrive.
const RECEIVING: Duration = Duration::from_secs(600);

/// How long a host may take to end what it does.
const ENDING: Duration = Duration::from_secs(20);

/// Sessions in a row that ended without a result, and the host is left out.
const MOST_IN_VAIN: u32 = 2;

/// How long to wait before a host that was lost is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Drives all hosts until the run is over, or none is left.
pub(super) async fn drive(fleet: &Fleet, hosts: &[String]) -> Result<(), FleetError> {
    for host in hosts {
        fleet.state.borrow_mut().ledger.know(host);
    }
    let each = hosts.iter().enumerate().map(|(index, host)| {
        let host = Host {
            fleet,
            name: host,
            sent: RefCell::default(),
            index: index as Task,
            count: hosts.len() as Task,
        };
        async move { host.serve().await }
    });
    let served = try_join_all(each).await;
    let incoming = fleet.spool.join("incoming");
    remove_tree(&incoming)?;
    // Only kvet's own directory: one that the user named may hold other things.
    let _ = std::fs::remove_dir(&fleet.spool);
    served?;
    if fleet.stopped.is_cancelled() {
        return Ok(());
    }
    Err(fleet.no_host())
}

/// What a session came to.
enum Session {
    /// The run is over.
    Over,
    /// It can be begun again at once.
    Again,
    /// The host failed: why, and whether a result had come.
    Failed(String, bool),
    /// The host cannot run trials.
    Unfit(String),
}

struct Host<'a> {
    fleet: &'a Fleet,
    name: &'a str,
    /// Inputs that it has.
    sent: RefCell<BTreeSet<Digest>>,
    index: Task,
    count: Task,
}

impl Host<'_> {
    /// Holds sessions with the host until the run is over or the host is left
    /// out. An error is the driver's own.
    async fn serve(&self) -> Result<(), FleetError> {
        let mut in_vain = 0;
        for number in 0.. {
            let task = number * self.count + self.index;
            let session = tokio::select! {
                session = self.session(task) => session,
                () = self.called_off() => Ok(Session::Over),
            };
            self.fleet.over(
                task,
                match &session {
                    Ok(Session::Failed(..) | Session::Unfit(_)) => Some(self.name),
                    _ => None,
                },
            );
            let why = match session {
                Ok(Session::Over) => return Ok(()),
                Ok(Session::Again) => continue,
                Ok(Session::Unfit(why)) => Some(why),
                Ok(Session::Failed(why, got)) => {
                    in_vain = if got { 1 } else { in_vain + 1 };
                    (in_vain >= MOST_IN_VAIN).then_some(why)
                }
                Err(FleetError::Store(error)) => return Err(error.into()),
                Err(error) => Some(Error::from(error).one_line()),
            };
            if let Some(why) = why {
                self.fleet.leave_out(self.name, &why)?;
                self.fleet.strand();
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.fleet.stopped.cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Returns when a session has had the time to end after the run's end.
    async fn called_off(&self) {
        self.fleet.stopped.cancelled().await;
        tokio::time::sleep(super::FAREWELL / 2).await;
    }

    /// `ssh HOST COMMAND`, without a question to anybody.
    fn ssh(&self, command: &str) -> Command {
        let words = ssh_words();
        let (program, own) = words
            .split_first()
            .map_or(("ssh", &[][..]), |(first, rest)| (first.as_str(), rest));
        Command::new(program)
            .args(own)
            .args(OPTIONS)
            .arg("--")
            .arg(self.name)
            .arg(command)
    }

    /// Runs a shell script on the host, which reads it from its standard input.
    async fn script(&self, script: String) -> Result<String, ProcessError> {
        let finished = self
            .ssh("sh -s")
            .input(script)
            .deadline(GLANCE)
            .run(&self.fleet.token)
            .await?;
        Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    /// Sees that the host has these inputs; where they are.
    async fn provide(&self, digests: &[&Digest]) -> Result<String, Session> {
        let said = self.script(asking(digests)).await;
        let said = said.map_err(|error| {
            Session::Failed(
                format!("it cannot be reached: {}", what_failed(error)),
                false,
            )
        })?;
        let mut lines = said.lines();
        let place = lines.next().unwrap_or_default().to_owned();
        if !place.starts_with('/') || !place.chars().all(is_plain) {
            return Err(Session::Unfit(format!(
                "its directory for inputs, {place:?}, cannot be used"
            )));
        }
        let has_rsync = lines.next() == Some("rsync");
        let missing: Vec<&str> = lines.collect();
        for digest in digests {
            if missing.contains(&digest.as_str()) {
                self.send(digest, &place, has_rsync).await?;
            }
            self.sent.borrow_mut().insert((*digest).clone());
        }
        Ok(place)
    }

    /// Sends an input. It appears whole, once its digest was found right; if that
    /// fails nothing of it stays.
    async fn send(&self, digest: &Digest, place: &str, has_rsync: bool) -> Result<(), Session> {
        let partial = format!("{place}/.kvet-{}-{}", self.fleet.name, digest.as_str());
        let sent = self.copy(digest, &partial, has_rsync).await;
        let done = match sent {
            Ok(()) => self
                .script(placing(&partial, place, digest))
                .await
                .map(|_| ()),
            Err(error) => Err(error),
        };
        let Err(error) = done else {
            return Ok(());
        };
        // It may be the disk that is full, or the host that is gone.
        drop(self.script(format!("rm -rf '{partial}'\n")).await);
        let why = format!("what it needs cannot be sent: {}", what_failed(error));
        Err(Session::Failed(why, false))
    }

    async fn copy(
        &self,
        digest: &Digest,
        partial: &str,
        has_rsync: bool,
    ) -> Result<(), ProcessError> {
        let path = self.fleet.state.borrow().paths[digest].clone();
        let command = if has_rsync && find_program("rsync").is_some() {
            let words = [ssh_words(), OPTIONS.map(str::to_owned).to_vec()].concat();
            self.script(format!("umask 077; mkdir -p '{partial}'\n"))
                .await?;
            Command::new("rsync")
                .args(["--compress", "--times", "--copy-links"])
                .arg(format!("--rsh={}", words.join(" ")))
                .arg("--")
                .arg(&path)
                .arg(format!("{}:{partial}/content", self.name))
        } else {
            let content = std::fs::read(&path).map_err(|source| ProcessError::Io {
                program: path.display().to_string(),
                source,
            })?;
            let command = format!("umask 077; mkdir -p '{partial}' && cat > '{partial}/content'");
            self.ssh(&command).input(content)
        };
        let copied = command.deadline(SENDING).run(&self.fleet.token).await;
        copied.map(|_| ())
    }

    async fn session(&self, task: Task) -> Result<Session, FleetError> {
        // No host is bothered before there is something to do.
        let mut changed = self.fleet.changed.subscribe();
        let opening = &self.fleet.opening;
        let first = [&self.fleet.program.1, &opening.image, &opening.kernel];
        let place = match self.provide(&first).await {
            Ok(place) => place,
            Err(session) => return Ok(session),
        };
        let program = self.fleet.program.1.as_str();
        let spawned = self
            .ssh(&format!("exec '{place}/{program}/content' batch -"))
            .spawn(true);
        let mut process = spawned?;
        let (Some(mut input), Some(output), Some(errors)) = (
            process.take_stdin(),
            process.take_stdout(),
            process.take_stderr(),
        ) else {
            return Ok(Session::Failed("ssh has no pipes".to_owned(), false));
        };
        let mut opening = opening.clone();
        opening.name = Some(self.name.to_owned());
        let open = ToHost::Open(Box::new(opening));
        if let Err(error) = say(&mut input, &open).await {
            return Ok(Session::Failed(error.to_string(), false));
        }
        let (tell, mut told) = unbounded_channel();
        let complaints = RefCell::new(String::new());
        let mut reading =
            pin!(async { tokio::join!(self.read(output, tell), listen_to(errors, &complaints)).0 });
        let mut conversation = Talk {
            host: self,
            task,
            input: &mut input,
            card: None,
            finishing: false,
            results: 0,
            until: Instant::now() + READY,
        };
        let session = tokio::select! {
            // What has arrived is heard before anything is called silent.
            biased;
            read = &mut reading => match read {
                // What was said before its end counts.
                Ok(()) => conversation.rest(&mut told)?.unwrap_or_else(|| {
                    let said = complaints.borrow();
                    let said = said.trim().lines().last().unwrap_or("it was cut").to_owned();
                    Session::Failed(format!("the session ended: {said}"), conversation.results > 0)
                }),
                // The driver's own disk.
                Err(FleetError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    Session::Failed(Error::from(error).one_line(), conversation.results > 0)
                }
            },
            session = conversation.hold(&mut told, &mut changed) => session?,
        };
        drop(input);
        if matches!(session, Session::Over | Session::Again) {
            // The host ends what it does when its standard input ends.
            drop(tokio::time::timeout(ENDING, process.wait()).await);
        }
        process.stop(GRACE).await;
        Ok(session)
    }

    /// Reads what the host says; results go to files at once.
    async fn read(
        &self,
        output: ChildStdout,
        tell: UnboundedSender<Heard>,
    ) -> Result<(), FleetError> {
        let mut output = BufReader::new(output);
        while let Some(said) = hear::<FromHost>(&mut output, self.name).await? {
            let heard = match said {
                FromHost::Beat => Heard::Beat,
                FromHost::Hello(card) => Heard::Hello(card),
                FromHost::End(end) => Heard::End(end),
                FromHost::Result { key, files } => {
                    let _ = tell.send(Heard::Arriving);
                    let incoming = self.fleet.spool.join("incoming");
                    let directory = incoming.join(format!("{}-{}", self.index, key.as_str()));
                    remove_tree(&directory)?;
                    std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
                    receive_result(&mut output, &files, &directory, self.name).await?;
                    Heard::Result(key, directory)
                }
            };
            if tell.send(heard).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What came from a host.
enum Heard {
    Beat,
    Hello(Box<HostCard>),
    Arriving,
    Result(ItemKey, std::path::PathBuf),
    End(HostEnd),
}

/// A session's conversation.
struct Talk<'a> {
    host: &'a Host<'a>,
    task: Task,
    input: &'a mut ChildStdin,
    card: Option<HostCard>,
    finishing: bool,
    results: u32,
    /// When the host has said nothing for too long.
    until: Instant,
}

impl Talk<'_> {
    /// Gives the host items and takes what it says until one of them ends it.
    async fn hold(
        &mut self,
        told: &mut UnboundedReceiver<Heard>,
        changed: &mut tokio::sync::watch::Receiver<u64>,
    ) -> Result<Session, FleetError> {
        loop {
            if let Some(session) = self.give().await? {
                return Ok(session);
            }
            let stopped = &self.host.fleet.stopped;
            tokio::select! {
                biased;
                heard = told.recv() => match heard {
                    Some(heard) => {
                        if let Some(session) = self.take(heard)? {
                            return Ok(session);
                        }
                    }
                    // Who reads says why.
                    None => return std::future::pending().await,
                },
                _ = changed.changed() => {}
                () = stopped.cancelled(), if !self.finishing => {
                    self.finishing = true;
                    // Its standard input's end calls off what it does.
                    return Ok(Session::Over);
                }
                () = tokio::time::sleep_until(self.until) => {
                    let silence = self.host.fleet.options.silence;
                    let silence = humantime::format_duration(silence);
                    let why = format!("it has said nothing for {silence}");
                    return Ok(Session::Unfit(why));
                }
            }
        }
    }

    /// What was said before the reader's end.
    fn rest(&mut self, told: &mut UnboundedReceiver<Heard>) -> Result<Option<Session>, FleetError> {
        while let Ok(heard) = told.try_recv() {
            if let Some(session) = self.take(heard)? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    fn take(&mut self, heard: Heard) -> Result<Option<Session>, FleetError> {
        let fleet = self.host.fleet;
        let silence = fleet.options.silence;
        let patience = match &heard {
            Heard::Arriving => RECEIVING,
            Heard::Beat if self.card.is_none() => silence.max(Duration::from_secs(10)),
            _ => silence,
        };
        self.until = Instant::now() + patience;
        match heard {
            Heard::Beat | Heard::Arriving => {}
            Heard::Hello(card) => {
                let card = HostCard {
                    name: self.host.name.to_owned(),
                    ..*card
                };
                fleet.greet(None, &card)?;
                self.card = Some(card);
            }
            Heard::Result(key, directory) => {
                self.results += 1;
                fleet.merge(&key, &directory)?;
            }
            Heard::End(end) => {
                let got = self.results > 0;
                return Ok(Some(match end {
                    HostEnd::Done | HostEnd::OtherKind => Session::Again,
                    HostEnd::Stopped if fleet.stopped.is_cancelled() => Session::Over,
                    HostEnd::Stopped => Session::Failed("it was asked to stop".to_owned(), got),
                    HostEnd::Unfit(why) => Session::Unfit(why),
                    HostEnd::ServiceLost(why) => Session::Failed(why, got),
                }));
            }
        }
        Ok(None)
    }

    /// Gives the host as many items as keep it busy.
    async fn give(&mut self) -> Result<Option<Session>, FleetError> {
        let Some(card) = &self.card else {
            return Ok(None);
        };
        let (fleet, name) = (self.host.fleet, self.host.name);
        let items: Vec<Item> = {
            let mut state = fleet.state.borrow_mut();
            // One more than it works at: the next one is there when one ends.
            let room = (2 * card.at_a_time).saturating_sub(state.ledger.of_task(self.task));
            let keys = state.ledger.take(self.task, name, room);
            keys.iter().map(|key| state.items[key].clone()).collect()
        };
        for item in items {
            if !self.host.sent.borrow().contains(&item.kernel)
                && let Err(session) = self.host.provide(&[&item.kernel]).await
            {
                return Ok(Some(session));
            }
            let item = ToHost::Item(Box::new(item));
            let said = tokio::time::timeout(RECEIVING, say(self.input, &item)).await;
            if !matches!(said, Ok(Ok(()))) {
                let why = "it takes no more items".to_owned();
                return Ok(Some(Session::Failed(why, self.results > 0)));
            }
        }
        Ok(None)
    }
}

/// What a program complained about, without how it was called.
fn what_failed(error: ProcessError) -> String {
    let ProcessError::Failed { stderr, status, .. } = error else {
        return Error::from(error).one_line();
    };
    // rsync says first what went wrong, and then what follows from it.
    let first = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    first.map_or_else(|| status.to_string(), str::to_owned)
}

/// Keeps the end of what ssh complains about.
async fn listen_to(errors: ChildStderr, complaints: &RefCell<String>) {
    let mut errors = BufReader::new(errors);
    let mut chunk = [0; 4096];
    while let Ok(count) = errors.read(&mut chunk).await {
        if count == 0 {
            return;
        }
        let mut kept = complaints.borrow_mut();
        kept.push_str(&String::from_utf8_lossy(&chunk[..count]));
        let from = kept.len().saturating_sub(2000);
        let from = (from..kept.len()).find(|at| kept.is_char_boundary(*at));
        kept.drain(..from.unwrap_or_default());
    }
}

/// Options for ssh: nobody answers a question, and a host that is gone is noticed.
const OPTIONS: [&str; 8] = [
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=15",
    "-o",
    "ServerAliveInterval=10",
    "-o",
    "ServerAliveCountMax=3",
];

/// The user's ssh.
fn ssh_words() -> Vec<String> {
    let words = std::env::var("KVET_SSH").unwrap_or_else(|_| "ssh".to_owned());
    words.split_whitespace().map(str::to_owned).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-_.+@".contains(c)
}

/// Asks for the directory of inputs, for rsync, and which of these are missing.
fn asking(digests: &[&Digest]) -> String {
    let names: Vec<&str> = digests.iter().map(|digest| digest.as_str()).collect();
    format!(
        "set -eu\numask 077\n\
         d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}/kvet/inputs\"\n\
         mkdir -p \"$d\"\ncd \"$d\"\npwd -P\n\
         if command -v rsync >/dev/null; then echo rsync; else echo none; fi\n\
         for i in {}; do test -f \"$i/content\" || echo \"$i\"; done\n",
        names.join(" ")
    )
}

/// Puts what was sent into its place if it is what it should be.
fn placing(partial: &str, place: &str, digest: &Digest) -> String {
    let digest = digest.as_str();
    format!(
        "set -eu\n\
         if ! echo '{digest}  {partial}/content' | sha256sum --check --status; then\n\
         rm -rf '{partial}'; echo 'an input arrived damaged' >&2; exit 1; fi\n\
         chmod 700 '{partial}/content'\n\
         mv -T '{partial}' '{place}/{digest}' 2>/dev/null || rm -rf '{partial}'\n\
         test -f '{place}/{digest}/content'\n"
    )
}
