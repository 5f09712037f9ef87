//! A Ceph cluster as a service: how guests mount it, what the host's steps do
//! to it, and what guests leave behind in it.

pub(super) mod by_hand;
pub(super) mod description;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{ADDRESS, ServiceFault};
use crate::cluster::{Cluster, ClusterError, ClusterSpec, Session};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::guest::protocol::{Mountable, Secret};
use crate::patience;
use crate::process::Namespace;
use crate::step::{HostStep, RECOVERY};
use crate::store::Store;

/// A daemon that does not answer for so long is stuck: they answer in
/// milliseconds, and OSDs serve in milliseconds, whatever clients do.
const ANSWER: Duration = Duration::from_secs(5);

/// When an OSD is fuller than this, what guests have left that are gone is removed.
const SWEPT: f64 = 0.5;

/// An OSD that is fuller than this takes no further guest's data. At 95% it has
/// clients wait, whose kernel then says that its tasks hang.
const FILLED: f64 = 0.8;

/// The metadata servers have OSDs remove what was in files that are gone, and OSDs say
/// every few seconds how full they are. It is waited for that no longer than this.
const PURGED: Duration = Duration::from_secs(60);

/// A running cluster.
#[derive(Debug)]
pub struct Ceph {
    cluster: Cluster,
    /// Daemons that a step stopped and none has continued: they are not asked.
    stopped: RefCell<HashSet<String>>,
    /// What options of daemons were before a step set them, by daemon and option.
    options: RefCell<HashMap<(String, String), String>>,
}

impl Ceph {
    pub(super) async fn start(
        context: &Context,
        store: &Store,
        spec: &ClusterSpec,
        network: &Namespace,
        logs: &Path,
    ) -> Result<Self, ClusterError> {
        let cluster = Cluster::start(context, store, spec, network, ADDRESS, logs).await?;
        Ok(Self {
            cluster,
            stopped: RefCell::default(),
            options: RefCell::default(),
        })
    }

    /// How the guest of this name mounts the file system: with a key of its own
    /// that writes in its own directory alone.
    pub(super) async fn access(
        &self,
        context: &Context,
        network: &Namespace,
        hostname: &str,
    ) -> Result<Mountable, ClusterError> {
        let access = self.cluster.admit(context, network, hostname).await?;
        let key = access.secret.expose();
        Ok(Mountable {
            fstype: "ceph".to_owned(),
            source: format!("{}:/", access.monitors),
            data: Secret::new(format!("name={},secret={key}", access.user)),
            options: Vec::new(),
            hidden: vec![Secret::new(key)],
        })
    }

    pub(super) async fn perform(
        &self,
        context: &Context,
        step: &HostStep,
        hostname: &str,
        clients: &HashMap<String, u64>,
    ) -> Result<(), ServiceFault> {
        let cluster = &self.cluster;
        match step {
            HostStep::EvictClient { mount } => {
                let client = clients.get(mount).ok_or_else(|| ServiceFault::NoClient {
                    mount: mount.clone(),
                })?;
                self.evict(*client, hostname).await?;
            }
            HostStep::MdsCacheDrop { timeout } => cluster.drop_caches(*timeout).await?,
            HostStep::MdsFail { rank } => cluster.fail_mds(*rank).await?,
            HostStep::StopDaemon { daemon } => {
                cluster.pause(daemon)?;
                self.stopped.borrow_mut().insert(daemon.clone());
            }
            HostStep::ContinueDaemon { daemon } => {
                cluster.resume(daemon)?;
                self.stopped.borrow_mut().remove(daemon);
            }
            HostStep::SetOption {
                daemon,
                option,
                value,
            } => {
                let place = (daemon.clone(), option.clone());
                let before = self.option(daemon, option).await?;
                if before.is_none() {
                    context.emit(Event::Warning(format!(
                        "{daemon} does not say what {option} is: it stays as the step sets it"
                    )));
                }
                let set = self.set_option(daemon, option, value);
                set_for_now(&self.options, place, before, set).await?;
            }
            HostStep::AdminCommand {
                daemon,
                command,
                arguments,
            } => {
                let mut whole: Map<String, Value> = arguments.clone().into_iter().collect();
                whole.insert("prefix".to_owned(), json!(command));
                cluster.admin(daemon, Value::Object(whole)).await?;
            }
            HostStep::Pause(time) => tokio::time::sleep(*time).await,
            HostStep::WaitHealthy => cluster.healthy(context, RECOVERY).await?,
        }
        Ok(())
    }

    /// Evicts a client. Its number is what the guest says: it counts only if
    /// the cluster knows it as a session of this very guest, so that a guest
    /// cannot have another one's session evicted.
    async fn evict(&self, client: u64, hostname: &str) -> Result<(), ServiceFault> {
        let sessions = self.cluster.sessions().await?;
        if !is_own(&sessions, client, hostname) {
            let known = sessions
                .iter()
                .map(|session| format!("{} of {:?}", session.id, session.hostname));
            return Err(ServiceFault::NotItsOwn {
                client,
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
        Ok(self.cluster.evict(client).await?)
    }

    /// What an option of a daemon is; `None` if the answer does not say. One that the
    /// daemon does not know is an error.
    pub async fn option(&self, daemon: &str, option: &str) -> Result<Option<String>, ClusterError> {
        let command = json!({"prefix": "config get", "var": option});
        let answer = self.cluster.admin(daemon, command).await?;
        Ok(answer[option].as_str().map(str::to_owned))
    }

    async fn set_option(
        &self,
        daemon: &str,
        option: &str,
        value: &str,
    ) -> Result<(), ClusterError> {
        let command = json!({"prefix": "config set", "var": option, "val": [value]});
        self.cluster.admin(daemon, command).await?;
        Ok(())
    }

    /// A guest that died leaves sessions behind, whose capabilities others
    /// would wait for until they time out, and one that was ended between two
    /// steps leaves daemons stopped and options set.
    pub(super) async fn clear(&self, hostname: &str) -> Result<(), ServiceFault> {
        // What fails keeps nothing else from being done, or the next guest would find
        // that, too. Of several failures the first is told.
        let resumed = self.resume_all();
        let options = self.set_options_back().await;
        let evicted = self.evict_all(hostname).await;
        let dismissed = self.cluster.dismiss(hostname).await;
        resumed?;
        options?;
        evicted?;
        Ok(dismissed?)
    }

    /// Lets stopped daemons go on. Each is forgotten when it does.
    fn resume_all(&self) -> Result<(), ClusterError> {
        let stopped = self.stopped.borrow().clone();
        let mut result = Ok(());
        for daemon in stopped {
            match self.cluster.resume(&daemon) {
                Ok(()) => {
                    self.stopped.borrow_mut().remove(&daemon);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Sets options to what they were. Each is forgotten when it is.
    async fn set_options_back(&self) -> Result<(), ClusterError> {
        let options = self.options.borrow().clone();
        let mut result = Ok(());
        for (place, value) in options {
            match self.set_option(&place.0, &place.1, &value).await {
                Ok(()) => {
                    self.options.borrow_mut().remove(&place);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Ends the sessions of a guest that is gone.
    async fn evict_all(&self, hostname: &str) -> Result<(), ClusterError> {
        let sessions = self.cluster.sessions().await?;
        let mut result = Ok(());
        for session in sessions.iter().filter(|one| one.hostname == hostname) {
            match self.cluster.evict(session.id).await {
                // One that went away meanwhile needs no eviction.
                Ok(()) | Err(ClusterError::NoSession { .. }) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Removes what guests that are gone have left, if it is much. Returns why no
    /// further guest is to write here, if that does not make room.
    pub(super) async fn filled(&self, context: &Context, network: &Namespace) -> Option<String> {
        let (_, used) = self.fullest().await?;
        if used > SWEPT
            && let Err(error) = self.cluster.sweep(context, network).await
        {
            let text = Error::from(error).one_line();
            let text = format!("cannot remove what guests have left on the cluster: {text}");
            context.emit(Event::Warning(text));
        }
        let purged = tokio::time::Instant::now() + patience::of(PURGED);
        loop {
            let why = full(self.fullest().await?)?;
            if tokio::time::Instant::now() >= purged {
                return Some(why);
            }
            tokio::select! {
                () = tokio::time::sleep(ANSWER / 5) => {}
                () = context.cancel.cancelled() => return None,
            }
        }
    }

    /// The OSD of which the greatest part is used, and which part that is.
    async fn fullest(&self) -> Option<(&str, f64)> {
        let mut fullest: Option<(&str, f64)> = None;
        for osd in self.cluster.daemons() {
            if !osd.starts_with("osd.") || self.stopped.borrow().contains(osd) {
                continue;
            }
            let command = json!({"prefix": "perf dump", "logger": "osd"});
            let asked = self.cluster.admin(osd, command);
            let answered = tokio::time::timeout(patience::of(ANSWER), asked).await;
            // One that does not answer is found elsewhere.
            let Ok(Ok(counters)) = answered else { continue };
            if let Some(used) = used(&counters)
                && fullest.is_none_or(|(_, most)| used > most)
            {
                fullest = Some((osd, used));
            }
        }
        fullest
    }

    pub(super) async fn lost(&self) -> String {
        let ended = self.cluster.lost().await;
        Error::from(ClusterError::from(ended)).one_line()
    }

    /// Whether all daemons answer kvet, and OSDs what is asked of them.
    pub(super) async fn answers(&self) -> Result<(), ServiceFault> {
        let stopped = self.stopped.borrow().clone();
        // While one is stopped the others wait for it.
        let serving = !stopped.iter().any(|name| name.starts_with("osd."));
        let ask = |daemon: String| async move {
            // Every kind of daemon knows this one.
            let version = self.cluster.admin(&daemon, json!({"prefix": "version"}));
            let answered = tokio::time::timeout(patience::of(ANSWER), version).await;
            let answers = matches!(answered, Ok(Ok(_)))
                && !(serving && daemon.starts_with("osd.") && self.holds_back(&daemon).await);
            (!answers).then_some(daemon)
        };
        let asked = self
            .cluster
            .daemons()
            .filter(|name| !stopped.contains(*name));
        let all: Vec<_> = asked.map(|name| ask(name.to_owned())).collect();
        let silent: Vec<String> = futures_util::future::join_all(all)
            .await
            .into_iter()
            .flatten()
            .collect();
        if silent.is_empty() {
            Ok(())
        } else {
            Err(ServiceFault::Silent(silent))
        }
    }

    /// Whether an OSD that answers here does not answer others. What has just
    /// been let go on may still be at what came before that, so it is asked twice.
    async fn holds_back(&self, daemon: &str) -> bool {
        let ask = || async {
            let asked = self
                .cluster
                .admin(daemon, json!({"prefix": "dump_ops_in_flight"}));
            let answered = tokio::time::timeout(patience::of(ANSWER), asked).await;
            let held = |requests: &Value| longest(requests) > ANSWER;
            matches!(answered, Ok(Ok(requests)) if held(&requests))
        };
        if !ask().await {
            return false;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask().await
    }

    pub(super) async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// Sets an option of a daemon's. What it was is kept first: a step is given up where
/// it stands when its guest ends, and then the daemon may have set it or not.
async fn set_for_now<T>(
    options: &RefCell<HashMap<(String, String), String>>,
    place: (String, String),
    before: Option<String>,
    set: impl Future<Output = T>,
) -> T {
    if let Some(before) = before {
        options.borrow_mut().entry(place).or_insert(before);
    }
    set.await
}

/// What is told of an OSD of which this part is used, if that is too much.
fn full((osd, used): (&str, f64)) -> Option<String> {
    let percent = used * 100.0;
    (used > FILLED).then(|| format!("{osd} is {percent:.0}% full of what guests have left on it"))
}

/// Which part of an OSD is used, as its counters say.
fn used(counters: &Value) -> Option<f64> {
    let bytes = |name: &str| counters["osd"][name].as_f64();
    let (used, all) = (bytes("stat_bytes_used")?, bytes("stat_bytes")?);
    (all > 0.0).then(|| used / all)
}

/// For how long an OSD has had the oldest of its requests. The age of one that has
/// only just come may be below zero to it, which it tells as 2^32 s less that.
fn longest(requests: &Value) -> Duration {
    let all = requests["ops"].as_array().into_iter().flatten();
    let ages = all
        .filter_map(|request| Duration::try_from_secs_f64(request["age"].as_f64()?).ok())
        .filter(|age| age.as_secs() < 1 << 31);
    ages.max().unwrap_or_default()
}

/// Whether the cluster knows a client as this guest.
fn is_own(sessions: &[Session], client: u64, hostname: &str) -> bool {
    let mut all = sessions.iter();
    all.any(|session| session.id == client && session.hostname == hostname)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;
    use crate::process::Command;

    /// A daemon that gives these answers to what it is asked.
    async fn answer(socket: &UnixListener, says: impl Fn(&str) -> Vec<u8>) {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut question = Vec::new();
            while question.last() != Some(&0) {
                question.push(stream.read_u8().await.unwrap());
            }
            let answer = says(&String::from_utf8(question).unwrap());
            let length = u32::try_from(answer.len()).unwrap();
            stream.write_u32(length).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_cannot_be_cleared_keeps_nothing_else_from_it() {
        let home = tempfile::tempdir().unwrap();
        let [socket, told] = ["mds.a.asok", "told"].map(|name| home.path().join(name));
        let listener = UnixListener::bind(&socket).unwrap();
        let script = format!(
            r#"head -n 1 > {}; echo '{{"id": 0, "code": 0, "output": "", "said": ""}}'; cat"#,
            told.display()
        );
        let helper = Command::new("sh").args(["-c", &script]);
        let ceph = Ceph {
            cluster: Cluster::scripted("mds.a", socket, helper.spawn(true).unwrap()),
            stopped: RefCell::default(),
            options: RefCell::new([(("mds.a".into(), "debug".into()), "1".into())].into()),
        };
        // It takes options and refuses all else.
        let refuses = |question: &str| {
            let is_option = question.contains("config set");
            let answer = if is_option { "{}" } else { "not now" };
            answer.into()
        };
        let error = tokio::select! {
            cleared = ceph.clear("trial-1-1") => cleared.unwrap_err(),
            () = answer(&listener, refuses) => unreachable!("it goes on"),
        };
        assert!(
            error.to_string().contains("mds.a refused \"status\""),
            "{error}"
        );
        assert!(ceph.options.borrow().is_empty());
        let told = std::fs::read_to_string(told).unwrap();
        assert!(
            told.contains("auth rm") && told.contains("trial-1-1"),
            "{told}"
        );
    }

    #[test]
    fn an_option_is_set_back_that_may_have_been_set() {
        let options = RefCell::default();
        let place = || ("mds.a".to_owned(), "debug".to_owned());
        let set = |before: Option<&str>| {
            let before = before.map(str::to_owned);
            // The daemon never answers, and the step is given up.
            let never = std::future::pending::<()>();
            let step = set_for_now(&options, place(), before, never);
            assert!(futures_util::FutureExt::now_or_never(step).is_none());
            options.borrow().get(&place()).cloned()
        };
        assert_eq!(set(None), None);
        assert_eq!(set(Some("old")).as_deref(), Some("old"));
        // Only what was before the first step counts.
        assert_eq!(set(Some("new")).as_deref(), Some("old"));
    }

    #[test]
    fn an_osd_tells_how_full_it_is() {
        let counters =
            |used: u64, all: u64| json!({"osd": {"stat_bytes": all, "stat_bytes_used": used}});
        assert_eq!(used(&counters(3 << 30, 4 << 30)), Some(0.75));
        // Nobody has counted yet.
        assert_eq!(used(&counters(0, 0)), None);
        assert_eq!(used(&json!({})), None);
    }

    #[tokio::test]
    async fn a_cluster_that_guests_have_filled_is_told_of() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("osd.0.asok");
        let listener = UnixListener::bind(&socket).unwrap();
        let helper = Command::new("cat").spawn(true).unwrap();
        let ceph = Ceph {
            cluster: Cluster::scripted("osd.0", socket, helper),
            stopped: RefCell::default(),
            options: RefCell::default(),
        };
        let counters = |used: u64| json!({"osd": {"stat_bytes": 100, "stat_bytes_used": used}});
        for (used, told) in [(80, None), (81, Some("osd.0 is 81% full"))] {
            let counters = counters(used).to_string();
            let fullest = tokio::select! {
                fullest = ceph.fullest() => fullest.unwrap(),
                () = answer(&listener, |_| counters.clone().into_bytes()) => unreachable!("it goes on"),
            };
            let why = full(fullest);
            match (why, told) {
                (None, None) => {}
                (Some(why), Some(told)) => assert!(why.starts_with(told), "{why}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_oldest_request_of_an_osd_is_found() {
        let new = 4_294_967_295.999_7;
        let some = json!({"ops": [{"age": 0.25}, {"age": 31.5}, {"age": new}, {}]});
        assert_eq!(longest(&some), Duration::from_millis(31_500));
        for none in [json!({"ops": [], "num_ops": 0}), Value::Null] {
            assert_eq!(longest(&none), Duration::ZERO);
        }
    }

    #[test]
    fn a_guest_has_its_own_sessions_evicted_and_nobody_else_s() {
        let session = |id, hostname: &str| Session {
            id,
            hostname: hostname.to_owned(),
            state: "open".to_owned(),
            kernel_version: String::new(),
            root: format!("/{hostname}"),
            caps: 1,
            servers: Vec::new(),
        };
        let sessions = [session(4104, "trial-1-1"), session(4105, "trial-2-1")];
        assert!(is_own(&sessions, 4105, "trial-2-1"));
        assert!(!is_own(&sessions, 4104, "trial-2-1"));
        assert!(!is_own(&sessions, 4106, "trial-2-1"));
        assert!(!is_own(&sessions, 4104, "trial-1"));
    }
}
