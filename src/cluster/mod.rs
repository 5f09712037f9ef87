//! The Ceph cluster that a guest mounts: starting it, knowing when it is
//! healthy, looking into it, disturbing it, and ending it without a trace.
//!
//! A cluster lives in a [`Namespace`] of its own, with an address that only
//! exists there. Its state, keys and sockets are in a private scratch
//! directory that goes with it; its logs and its ceph.conf stay in the
//! directory that the caller names. The daemons come either from the installed
//! programs (`native`) or from Ceph's own `vstart.sh` (`vstart`); from then on
//! the two are the same: daemons with admin sockets. What the first way makes is
//! made once and copied from then on (`prepared`).

mod admin;
mod conf;
mod daemon;
mod error;
mod guests;
mod health;
mod key;
mod log;
mod monitor;
mod native;
mod prepared;
mod programs;
mod script;
mod session;
mod spec;
mod start;
mod vstart;

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use daemon::{Daemon, Kind};
use health::{Missing, Until};
use log::log_tail;
use monitor::Monitor;

pub use error::ClusterError;
pub use key::Secret;
pub use programs::{PROGRAMS, VSTART_PROGRAMS, required_programs};
pub use session::Session;
pub use spec::{ClusterSpec, ObjectStore, VstartSpec};

use crate::context::Context;
use crate::event::{Event, Stage};
use crate::patience;
use crate::process::{Namespace, Process, family};
use crate::store::{Scratch, Store, io_error};

/// How long a daemon may take over a command.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(3);

/// The user that the file system is mounted as by hand, and the beginning of
/// guests' names.
const USER: &str = "kvet";

/// What that user may do, everywhere in the file system. Whoever mounts by hand
/// gets its key; a trial's guest gets one of its own, see [`Cluster::admit`].
fn guest_caps(filesystem: &str) -> Vec<(&'static str, String)> {
    vec![
        ("mon", "allow r".to_owned()),
        ("osd", format!("allow rw tag cephfs data={filesystem}")),
        ("mds", "allow rwps".to_owned()),
    ]
}

/// Where and as what a cluster is started; what both launchers are given.
#[derive(Debug, Clone, Copy)]
struct Site<'a> {
    context: &'a Context,
    spec: &'a ClusterSpec,
    namespace: &'a Namespace,
    address: Ipv4Addr,
    /// State, keys and sockets; gone when the cluster is.
    state: &'a Path,
    /// Logs; kept.
    logs: &'a Path,
}

/// What a guest needs to mount the file system.
#[derive(Debug, Clone)]
pub struct Access {
    /// The monitors' v1 addresses, such as `10.99.0.1:6789`, by commas.
    pub monitors: String,
    /// The user's name, without `client.`.
    pub user: String,
    /// The user's key.
    pub secret: Secret,
    /// The cluster's id.
    pub fsid: String,
    /// The file system's name.
    pub filesystem: String,
    /// The directory of the file system to mount, such as `/trial-1`.
    pub root: String,
}

/// A daemon that is no longer there.
#[derive(Debug, Clone)]
pub struct DaemonEnded {
    /// Such as `osd.0`.
    pub name: String,
    /// How it ended, where that can be known.
    pub status: Option<ExitStatus>,
    /// Its log.
    pub log: PathBuf,
    /// The last lines of its log.
    pub tail: String,
}

impl DaemonEnded {
    fn of(daemon: &Daemon, status: Option<ExitStatus>) -> Self {
        Self {
            name: daemon.name.clone(),
            status,
            log: daemon.log().to_owned(),
            tail: daemon.tail(),
        }
    }
}

/// The first of the daemons to end, each of which has one that waits for it.
async fn first(waits: impl Iterator<Item = impl Future<Output = DaemonEnded>>) -> DaemonEnded {
    let mut waits: FuturesUnordered<_> = waits.collect();
    match waits.next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}

impl From<DaemonEnded> for ClusterError {
    fn from(ended: DaemonEnded) -> Self {
        let DaemonEnded {
            name,
            status,
            log,
            tail,
        } = ended;
        Self::Died {
            name,
            status,
            log,
            tail,
        }
    }
}

/// A running, healthy cluster. Dropping it kills it.
#[derive(Debug)]
pub struct Cluster {
    access: Access,
    monitor: Monitor,
    ranks: u32,
    conf: PathBuf,
    // In this order: the daemons write in the directory.
    daemons: Daemons,
    /// Guests that were dismissed and whose directories are still there.
    gone: RefCell<Vec<String>>,
    _state: Scratch,
}

impl Cluster {
    /// Starts a cluster in `namespace`, which has `address`, and returns when
    /// it is healthy. Logs go to `directory`.
    pub async fn start(
        context: &Context,
        store: &Store,
        spec: &ClusterSpec,
        namespace: &Namespace,
        address: Ipv4Addr,
        directory: &Path,
    ) -> Result<Self, ClusterError> {
        spec.check()?;
        programs::check(spec)?;
        let began = Instant::now();
        context.emit(Event::Started {
            stage: Stage::Service,
            subject: spec.summary(),
        });
        std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
        let logs = directory
            .canonicalize()
            .map_err(io_error("open", directory))?;
        let state = Scratch::new()?;
        let mut daemons = Daemons::new(logs.clone());
        let site = Site {
            context,
            spec,
            namespace,
            address,
            state: state.path(),
            logs: &logs,
        };
        let started = match &spec.vstart {
            None => start::start(&site, store, &mut daemons).await,
            Some(script) => vstart::start(&site, store, script, &mut daemons).await,
        };
        let (access, monitor) =
            started.map_err(|error| blame_full_disk(error, &[state.path(), &logs]))?;
        context.emit(Event::Finished {
            stage: Stage::Service,
            subject: spec.summary(),
            cached: false,
            elapsed: began.elapsed(),
        });
        Ok(Self {
            access,
            monitor,
            ranks: spec.max_mds,
            conf: state.join(if spec.vstart.is_some() {
                "v/ceph.conf"
            } else {
                "ceph.conf"
            }),
            daemons,
            gone: RefCell::default(),
            _state: state,
        })
    }

    /// How to mount its file system with rights to all of it, as by hand. For a
    /// guest there is [`Self::admit`].
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The daemons' names.
    pub fn daemons(&self) -> impl Iterator<Item = &str> {
        self.daemons.iter().map(|daemon| daemon.name.as_str())
    }

    /// A daemon's process id, as this process sees it.
    #[must_use]
    pub fn process(&self, daemon: &str) -> Option<u32> {
        self.daemon(daemon).ok()?.pid()
    }

    /// The ceph.conf that Ceph's own tools can be given, inside the namespace.
    /// It names a keyring with every right.
    #[must_use]
    pub fn conf(&self) -> &Path {
        &self.conf
    }

    /// Waits until the cluster is healthy again, as after a failover.
    pub async fn healthy(&self, context: &Context, within: Duration) -> Result<(), ClusterError> {
        let until = Until::within(within);
        let mut missing = Vec::new();
        loop {
            let look = health::look(&self.daemons, &self.monitor, self.ranks);
            match health::unless_in_vain(context, self.lost(), until, look).await? {
                Some(seen) if seen.is_empty() => return Ok(()),
                Some(seen) => missing = seen,
                None => return Err(self.daemons.unhealthy(within, &Missing::unseen(missing))),
            }
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(ClusterError::Interrupted),
                ended = self.lost() => return Err(ended.into()),
                () = until.reached() => return Err(self.daemons.unhealthy(within, &missing)),
                () = tokio::time::sleep(health::LONGEST) => {}
            }
        }
    }

    /// What keeps the cluster from being healthy, in words; empty if it is.
    pub async fn complaints(&self) -> Result<Vec<String>, ClusterError> {
        let missing = health::look(&self.daemons, &self.monitor, self.ranks).await?;
        Ok(missing.into_iter().map(|missing| missing.what).collect())
    }

    /// The sessions that clients have with the active metadata servers.
    pub async fn sessions(&self) -> Result<Vec<Session>, ClusterError> {
        let mut all = Vec::new();
        for server in self.active_servers().await? {
            let answer = server
                .ask(&json!({"prefix": "session ls"}), patience::of(PATIENCE))
                .await?;
            all.extend(session::parse(&server.name, &answer));
        }
        Ok(session::merge(all))
    }

    /// Ends a client's sessions with all active metadata servers, and returns
    /// when they have. Whether the client is also blocklisted is the option
    /// `mds_session_blocklist_on_evict`.
    pub async fn evict(&self, id: u64) -> Result<(), ClusterError> {
        let sessions = self.sessions().await?;
        let Some(session) = sessions.iter().find(|session| session.id == id) else {
            let known: Vec<String> = sessions.iter().map(|one| one.id.to_string()).collect();
            return Err(ClusterError::NoSession {
                id,
                known: listed(&known),
            });
        };
        for server in &session.servers {
            let command = json!({"prefix": "session evict", "filters": [format!("id={id}")]});
            self.admin(server, command).await?;
        }
        Ok(())
    }

    /// Sends a command, `{"prefix": …, …}`, to a daemon's admin socket.
    pub async fn admin(&self, daemon: &str, command: Value) -> Result<Value, ClusterError> {
        self.daemon(daemon)?
            .ask(&command, patience::of(PATIENCE))
            .await
    }

    /// Has the active metadata servers drop their caches, and with that recall the
    /// clients' capabilities, for which they wait so long.
    pub async fn drop_caches(&self, timeout: Duration) -> Result<(), ClusterError> {
        let active = self.active_servers().await?;
        if active.is_empty() {
            let known: Vec<String> = self.daemons().map(str::to_owned).collect();
            return Err(ClusterError::NoDaemon {
                name: "that is an active metadata server".to_owned(),
                known: listed(&known),
            });
        }
        drop_caches(&active, timeout).await
    }

    /// Sends a command, `{"prefix": …, …}`, to the monitors.
    pub async fn mon_command(&self, command: Value) -> Result<Value, ClusterError> {
        self.monitor.command(&command).await
    }

    /// Stops a daemon in its tracks (SIGSTOP).
    pub fn pause(&self, daemon: &str) -> Result<(), ClusterError> {
        self.daemon(daemon)?.pause()
    }

    /// Lets a paused daemon go on (SIGCONT).
    pub fn resume(&self, daemon: &str) -> Result<(), ClusterError> {
        self.daemon(daemon)?.resume()
    }

    /// Takes a rank away from its metadata server. A standby, or else the same
    /// server begun anew, takes it over; [`Self::healthy`] waits for that.
    pub async fn fail_mds(&self, rank: u32) -> Result<(), ClusterError> {
        let servers = health::servers(&self.mon_command(json!({"prefix": "fs dump"})).await?);
        // Ceph takes a rank that nobody holds for one that has failed already.
        if !servers
            .iter()
            .any(|held| held.rank == Some(u64::from(rank)))
        {
            let known: Vec<String> = servers
                .iter()
                .filter_map(|held| Some(format!("rank {} ({})", held.rank?, held.name)))
                .collect();
            return Err(ClusterError::NoDaemon {
                name: format!("rank {rank}"),
                known: listed(&known),
            });
        }
        let role = format!("{}:{rank}", self.access.filesystem);
        self.mon_command(json!({"prefix": "mds fail", "role_or_gid": role}))
            .await?;
        Ok(())
    }

    /// Returns when a daemon has ended, to be raced against. Safe to call again.
    pub async fn ended(&mut self) -> DaemonEnded {
        self.daemons.ended().await
    }

    /// As [`Self::ended`], for those who share the cluster.
    pub async fn lost(&self) -> DaemonEnded {
        tokio::select! {
            biased;
            ended = self.daemons.lost() => ended,
            ended = self.monitor.lost() => ended,
        }
    }

    /// Ends all daemons and removes all state. Dropping does the same; this
    /// says so, and lets the runtime take note of the children's ends.
    pub async fn stop(self) {
        drop(self);
        tokio::task::yield_now().await;
    }

    fn daemon(&self, name: &str) -> Result<&Daemon, ClusterError> {
        self.daemons
            .iter()
            .find(|daemon| daemon.name == name)
            .ok_or_else(|| {
                let known: Vec<String> = self.daemons().map(str::to_owned).collect();
                ClusterError::NoDaemon {
                    name: name.to_owned(),
                    known: listed(&known),
                }
            })
    }

    /// The metadata servers that hold a rank.
    async fn active_servers(&self) -> Result<Vec<&Daemon>, ClusterError> {
        active(self.daemons.iter()).await
    }
}

#[cfg(test)]
impl Cluster {
    /// A cluster of one daemon, which answers on this socket; its monitors are a
    /// process that answers as their helper does.
    pub(crate) fn scripted(daemon: &str, socket: PathBuf, helper: Process) -> Self {
        let mut daemons = Daemons::new(PathBuf::new());
        let log = PathBuf::from("/nowhere/log");
        daemons.push(Daemon::new(
            Kind::of(daemon).unwrap(),
            daemon.to_owned(),
            socket,
            log.clone(),
            None,
        ));
        let bindings = monitor::Bindings::default();
        Self {
            access: Access {
                monitors: String::new(),
                user: USER.to_owned(),
                secret: Secret::new(""),
                fsid: String::new(),
                filesystem: "cephfs".to_owned(),
                root: "/".to_owned(),
            },
            monitor: Monitor::of(helper, log, Path::new(""), &bindings).unwrap(),
            ranks: 1,
            conf: PathBuf::new(),
            daemons,
            gone: RefCell::default(),
            _state: Scratch::new().unwrap(),
        }
    }
}

/// Those of the daemons that are metadata servers and hold a rank.
async fn active<'a>(
    daemons: impl Iterator<Item = &'a Daemon>,
) -> Result<Vec<&'a Daemon>, ClusterError> {
    let mut active = Vec::new();
    for daemon in daemons.filter(|one| one.kind == Kind::Mds) {
        let status = daemon
            .ask(&json!({"prefix": "status"}), patience::of(PATIENCE))
            .await?;
        if status["state"] == "up:active" {
            active.push(daemon);
        }
    }
    Ok(active)
}

/// Has metadata servers drop their caches, all at once. Each answers when its
/// clients have, or when this time is over.
async fn drop_caches(servers: &[&Daemon], timeout: Duration) -> Result<(), ClusterError> {
    let command = json!({"prefix": "cache drop", "timeout": timeout.as_secs()});
    let within = timeout + patience::of(PATIENCE);
    let all = servers.iter().map(|server| server.ask(&command, within));
    futures_util::future::try_join_all(all).await.map(drop)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// All daemons of one cluster, whether it is complete or not.
#[derive(Debug)]
struct Daemons {
    list: Vec<Daemon>,
    /// The process that the rest of vstart's live and die with.
    holder: Option<Process>,
    logs: PathBuf,
}

impl Daemons {
    fn new(logs: PathBuf) -> Self {
        Self {
            list: Vec::new(),
            holder: None,
            logs,
        }
    }

    fn push(&mut self, daemon: Daemon) {
        self.list.push(daemon);
    }

    fn hold(&mut self, holder: Process) {
        self.holder = Some(holder);
    }

    fn iter(&self) -> impl Iterator<Item = &Daemon> {
        self.list.iter()
    }

    /// The first one to end.
    async fn ended(&mut self) -> DaemonEnded {
        first(self.list.iter_mut().map(|daemon| async {
            let status = daemon.ended().await;
            DaemonEnded::of(daemon, status)
        }))
        .await
    }

    /// The same for those that have answered once.
    async fn lost(&self) -> DaemonEnded {
        first(self.list.iter().map(|daemon| async {
            let status = daemon.lost().await;
            DaemonEnded::of(daemon, status)
        }))
        .await
    }

    /// The error for a cluster that did not become healthy.
    fn unhealthy(&self, after: Duration, missing: &[Missing]) -> ClusterError {
        let tail = missing
            .iter()
            .find_map(|missing| missing.daemon.as_deref())
            .and_then(|name| self.list.iter().find(|daemon| daemon.name == name))
            .map(|daemon| format!("{}:\n{}", daemon.log().display(), daemon.tail()))
            .unwrap_or_default();
        ClusterError::Unhealthy {
            after,
            missing: missing.iter().map(|one| one.what.clone()).collect(),
            logs: self.logs.clone(),
            tail,
        }
    }
}

impl Drop for Daemons {
    /// Kills what still runs, and waits for it: the scratch directory is
    /// removed next, and a daemon that still wrote to it would bring it back.
    fn drop(&mut self) {
        // All at once, and then one wait after the other.
        let killed: Vec<_> = self.list.iter().map(Daemon::kill).collect();
        let limit = Instant::now() + GONE;
        for (daemon, below) in self.list.iter_mut().zip(&killed) {
            daemon.gone(below, limit);
        }
        if let Some(holder) = &mut self.holder {
            family::end(holder, limit);
        }
    }
}

/// Bytes without which no daemon's store can grow: a log of theirs is made
/// with several megabytes at once.
const FULL: u64 = 32 << 20;

/// Daemons report a full disk in many words and far from the cause. An error
/// while a disk is full is taken for the disk's.
fn blame_full_disk(error: ClusterError, places: &[&Path]) -> ClusterError {
    let full = places.iter().find(|place| {
        rustix::fs::statvfs(**place).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < FULL)
    });
    match (full, error) {
        (_, ClusterError::Interrupted) => ClusterError::Interrupted,
        (Some(place), cause) => ClusterError::Full {
            path: (*place).to_owned(),
            cause: cause.to_string(),
        },
        (None, error) => error,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Answers what a metadata server is asked: its state at once, and that it has
    /// dropped its cache after so long. What it was asked.
    async fn serve(
        socket: UnixListener,
        state: &str,
        drops: Duration,
        questions: usize,
    ) -> Vec<String> {
        let mut asked = Vec::new();
        for _ in 0..questions {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut question = Vec::new();
            while question.last() != Some(&0) {
                question.push(stream.read_u8().await.unwrap());
            }
            question.pop();
            let question: Value = serde_json::from_slice(&question).unwrap();
            let prefix = question["prefix"].as_str().unwrap().to_owned();
            if prefix == "cache drop" {
                tokio::time::sleep(drops).await;
            }
            let answer = json!({"state": state}).to_string();
            let length = u32::try_from(answer.len()).unwrap();
            stream.write_u32(length).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(prefix);
        }
        asked
    }

    #[tokio::test(start_paused = true)]
    async fn active_servers_are_waited_for_as_long_as_they_wait_for_clients() {
        let home = tempfile::tempdir().unwrap();
        let daemon = |name: &str| {
            let socket = home.path().join(name);
            let listener = UnixListener::bind(&socket).unwrap();
            let daemon = Daemon::new(Kind::Mds, name.to_owned(), socket, "log".into(), None);
            (daemon, listener)
        };
        let (first, of_first) = daemon("mds.a");
        let (second, of_second) = daemon("mds.b");
        let time = PATIENCE * 2;
        let work = async {
            let active = active([&first, &second].into_iter()).await.unwrap();
            drop_caches(&active, time).await.unwrap();
        };
        // A failover has made the second one the active one.
        let ((), first, second) = tokio::join!(
            work,
            serve(of_first, "up:standby", time, 1),
            serve(of_second, "up:active", time, 2)
        );
        assert_eq!(first, ["status"]);
        assert_eq!(second, ["status", "cache drop"]);
    }
}
