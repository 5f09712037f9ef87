//! The driver's side of a session with a host, over whatever reaches it: items go
//! out, results come back and go to files at once. Hosts are served side by side
//! until the run is over or none is left.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::io::{AsyncWrite, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::Fleet;
use super::batch::{Digest, HostCard, HostEnd, ItemKey};
use super::connection::{Connection, Refusal, listen_to};
use super::error::FleetError;
use super::ledger::Task;
use super::reach::Reach;
use super::wire::{BEAT, FromHost, ToHost, beating, hear, receive_result, say, send_file};
use crate::Error;
use crate::process::GRACE;
use crate::store::{io_error, remove_tree};

/// How long a host may take from the session's begin to being ready: its cluster
/// starts meanwhile. It shows that it lives in between.
const READY: Duration = Duration::from_secs(900);

/// How long a large result may take to arrive, and an input to be sent.
const RECEIVING: Duration = Duration::from_secs(600);

/// How long a host may take to end what it does.
const ENDING: Duration = Duration::from_secs(20);

/// Sessions in a row that ended without a result, and the host is left out.
const MOST_IN_VAIN: u32 = 2;

/// How long to wait before a host that was lost is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Drives all hosts until the run is over, or none is left.
pub(super) async fn drive(fleet: &Fleet, hosts: Vec<Reach>) -> Result<(), FleetError> {
    for host in &hosts {
        fleet.state.borrow_mut().ledger.know(host.name());
    }
    let count = hosts.len() as Task;
    let each = hosts.into_iter().zip(0..).map(|(reach, index)| {
        let host = Host {
            fleet,
            reach,
            sent: RefCell::default(),
            index,
            count,
        };
        async move { host.serve().await }
    });
    let served = try_join_all(each).await;
    fleet.tidied(remove_tree(&fleet.spool.join("incoming")));
    // Only kvet's own directory: one that the user named may hold other things.
    let _ = std::fs::remove_dir(&fleet.spool);
    served?;
    if fleet.stopped.is_cancelled() {
        return Ok(());
    }
    Err(fleet.no_host())
}

/// What a session came to.
#[derive(Debug)]
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

impl From<Refusal> for Session {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(why) => Self::Failed(why, false),
            Refusal::Unfit(why) => Self::Unfit(why),
        }
    }
}

struct Host<'a> {
    fleet: &'a Fleet,
    reach: Reach,
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
                    Ok(Session::Failed(..) | Session::Unfit(_)) => Some(self.reach.name()),
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
                self.fleet.leave_out(self.reach.name(), &why)?;
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

    /// Sees that the host has these inputs, if it was not seen before.
    async fn provide(&self, digests: &[&Digest]) -> Result<(), Refusal> {
        let paths = |digest: &&Digest| self.fleet.state.borrow().paths[*digest].clone();
        let missing = |digest: &&&Digest| !self.sent.borrow().contains(**digest);
        let missing: Vec<&Digest> = digests.iter().filter(missing).copied().collect();
        let paths: Vec<PathBuf> = missing.iter().map(paths).collect();
        let inputs = missing
            .iter()
            .copied()
            .zip(paths.iter().map(PathBuf::as_path));
        let inputs: Vec<_> = inputs.collect();
        if inputs.is_empty() {
            return Ok(());
        }
        self.reach.provide(&inputs).await?;
        self.sent.borrow_mut().extend(missing.into_iter().cloned());
        Ok(())
    }

    async fn session(&self, task: Task) -> Result<Session, FleetError> {
        let mut changed = self.fleet.changed.subscribe();
        let opening = &self.fleet.opening;
        let connected = async {
            self.provide(&[&opening.image, &opening.kernel]).await?;
            let (program, digest) = &self.fleet.program;
            self.reach.start((digest, program)).await
        };
        let Connection {
            mut process,
            mut input,
            output,
            errors,
        } = match connected.await {
            Ok(connection) => connection,
            Err(refusal) => return Ok(refusal.into()),
        };
        let mut opening = opening.clone();
        opening.name = Some(self.reach.name().to_owned());
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
        let ended = tokio::select! {
            // What has arrived is heard before anything is called silent.
            biased;
            read = &mut reading => match read {
                Ok(()) => {
                    let said = complaints.borrow();
                    let said = said.trim().lines().last().unwrap_or("it was cut");
                    Session::Failed(format!("the session ended: {said}"), false)
                }
                // The driver's own disk.
                Err(FleetError::Store(error)) => return Err(error.into()),
                Err(error) => Session::Failed(Error::from(error).one_line(), false),
            },
            session = conversation.hold(&mut told, &mut changed) => session?,
        };
        let session = conversation.conclude(ended, &mut told)?;
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
        mut output: BufReader<ChildStdout>,
        tell: UnboundedSender<Heard>,
    ) -> Result<(), FleetError> {
        let name = self.reach.name();
        while let Some(said) = hear::<FromHost>(&mut output, name).await? {
            let heard = match said {
                FromHost::Beat => Heard::Beat,
                FromHost::Hello(card) => Heard::Hello(card),
                FromHost::Wants(digest) => Heard::Wants(digest),
                FromHost::End(end) => Heard::End(end),
                FromHost::Has { .. } | FromHost::Built { .. } | FromHost::NotBuilt { .. } => {
                    return Err(FleetError::Nonsense {
                        host: name.to_owned(),
                        said: "something of a kernel that it was to make".to_owned(),
                    });
                }
                FromHost::Result { key, files } => {
                    let _ = tell.send(Heard::Arriving);
                    let incoming = self.fleet.spool.join("incoming");
                    let directory = incoming.join(format!("{}-{}", self.index, key.as_str()));
                    remove_tree(&directory)?;
                    std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
                    let arriving = || drop(tell.send(Heard::Arriving));
                    receive_result(&mut output, &files, &directory, name, arriving).await?;
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
    Wants(Digest),
    Result(ItemKey, PathBuf),
    End(HostEnd),
}

/// A session's conversation.
struct Talk<'a, W> {
    host: &'a Host<'a>,
    task: Task,
    input: &'a mut W,
    card: Option<HostCard>,
    finishing: bool,
    results: u32,
    /// When the host has said nothing for too long.
    until: Instant,
}

impl<W: AsyncWrite + Unpin> Talk<'_, W> {
    /// Gives the host items and takes what it says until one of them ends it.
    async fn hold(
        &mut self,
        told: &mut UnboundedReceiver<Heard>,
        changed: &mut tokio::sync::watch::Receiver<u64>,
    ) -> Result<Session, FleetError> {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            if let Some(session) = self.give().await? {
                return Ok(session);
            }
            let stopped = &self.host.fleet.stopped;
            tokio::select! {
                biased;
                heard = told.recv() => match heard {
                    Some(Heard::Wants(digest)) => {
                        if let Some(session) = self.send(&digest).await? {
                            return Ok(session);
                        }
                    }
                    Some(heard) => {
                        if let Some(session) = self.take(heard)? {
                            return Ok(session);
                        }
                    }
                    // Who reads says why.
                    None => return std::future::pending().await,
                },
                _ = changed.changed() => {}
                _ = beats.tick() => {
                    let said = tokio::time::timeout(RECEIVING, say(self.input, &ToHost::Beat));
                    // Who reads says why nobody takes it.
                    let _ = said.await;
                }
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

    /// What the session came to that ended so: what had been said by then counts,
    /// whatever ended it.
    fn conclude(
        &mut self,
        ended: Session,
        told: &mut UnboundedReceiver<Heard>,
    ) -> Result<Session, FleetError> {
        let said = self.rest(told)?;
        Ok(match ended {
            Session::Failed(why, _) => said.unwrap_or(Session::Failed(why, self.results > 0)),
            ended => ended,
        })
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
            Heard::Beat | Heard::Arriving | Heard::Wants(_) => {}
            Heard::Hello(card) => {
                let card = HostCard {
                    name: self.host.reach.name().to_owned(),
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

    /// Sends an input that the host asked for.
    async fn send(&mut self, digest: &Digest) -> Result<Option<Session>, FleetError> {
        let path = self.host.fleet.state.borrow().paths.get(digest).cloned();
        let Some(path) = path else {
            let why = "it asks for something that does not belong to this run".to_owned();
            return Ok(Some(Session::Unfit(why)));
        };
        let data = std::fs::metadata(&path).map_err(io_error("look at", &path))?;
        let line = ToHost::Input {
            digest: digest.clone(),
            size: data.len(),
        };
        let sending = send_file(self.input, &line, &path, data.len());
        let sent = tokio::time::timeout(RECEIVING, sending).await;
        self.until = Instant::now() + READY;
        match sent {
            Ok(Ok(())) => Ok(None),
            Ok(Err(FleetError::Store(error))) => Err(error.into()),
            Ok(Err(_)) | Err(_) => {
                let why = "what it needs cannot be sent".to_owned();
                Ok(Some(Session::Failed(why, self.results > 0)))
            }
        }
    }

    /// Gives the host as many items as keep it busy.
    async fn give(&mut self) -> Result<Option<Session>, FleetError> {
        let Some(card) = &self.card else {
            return Ok(None);
        };
        let (fleet, name) = (self.host.fleet, self.host.reach.name());
        let has = fleet.state.borrow().ledger.of_task(self.task);
        // One more than it works at: the next one is there when one ends.
        let room = card.at_a_time.saturating_mul(2).saturating_sub(has);
        for item in fleet.give_out(self.task, name, room) {
            // It listens meanwhile, and does what it has.
            let kernel = [&item.kernel];
            let provided = beating(self.input, self.host.provide(&kernel)).await;
            if let Err(refusal) = provided {
                return Ok(Some(refusal.into()));
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

#[cfg(test)]
mod tests {
    use super::super::tests::{fleet, item, result};
    use super::*;
    use tokio_util::sync::CancellationToken;

    /// What had arrived when a session ends counts, however it ends.
    #[test]
    fn a_result_that_arrived_before_the_end_counts() {
        for ended in [
            Session::Over,
            Session::Failed("it takes no more items".to_owned(), false),
            Session::Unfit("it has said nothing for 1m".to_owned()),
        ] {
            let home = tempfile::tempdir().unwrap();
            let (fleet, _) = fleet(home.path());
            let (key, mut over) = item(&fleet, "stock", None);
            let host = Host {
                fleet: &fleet,
                reach: Reach::Ssh(super::super::ssh::Remote {
                    name: "one".to_owned(),
                    token: CancellationToken::new(),
                }),
                sent: RefCell::default(),
                index: 0,
                count: 1,
            };
            let mut talk = Talk {
                host: &host,
                task: 0,
                input: &mut Vec::new(),
                card: None,
                finishing: false,
                results: 0,
                until: Instant::now(),
            };
            let (tell, mut told) = unbounded_channel();
            tell.send(Heard::Result(key, result(home.path()))).unwrap();
            let session = talk.conclude(ended, &mut told).unwrap();
            over.try_recv().unwrap().unwrap();
            assert!(!matches!(session, Session::Failed(_, false)));
        }
    }
}
