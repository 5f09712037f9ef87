//! Whether a cluster is fit to use: every monitor in the quorum, every OSD up,
//! every placement group active+clean, every rank's metadata server up:active.
//!
//! The daemons themselves are asked, on their admin sockets: they answer in
//! milliseconds, where the monitors' summary lags by a manager's report
//! interval, or is missing without a manager.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::daemon::{Daemon, Kind, PROBE};
use super::monitor::Monitor;
use super::{ClusterError, DaemonEnded, Daemons};
use crate::context::Context;

/// Pauses between two looks: short at first, because a start takes a second.
const SHORTEST: Duration = Duration::from_millis(10);
pub(super) const LONGEST: Duration = Duration::from_millis(200);

/// Where a group's state machine comes to rest. It does so too when there are
/// not enough OSDs for all copies, so this alone does not mean active+clean.
const SETTLED: &str = "Started/Primary/Active/Clean";

/// What a healthy group's state begins with; it may also be `+scrubbing`.
const CLEAN: &str = "active+clean";

/// One thing that stands between a cluster and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// The daemon to look at, if it is one daemon's affair.
    pub(super) daemon: Option<String>,
    pub(super) what: String,
}

impl Missing {
    /// What was missing last, where the cluster could not be looked at again.
    pub(super) fn unseen(mut last: Vec<Self>) -> Vec<Self> {
        last.push(Self {
            daemon: None,
            what: "the monitors, or a daemon, did not answer in time when asked last".to_owned(),
        });
        last
    }
}

/// A wait that has a deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    at: Instant,
    after: Duration,
}

impl Until {
    pub(super) fn within(after: Duration) -> Self {
        Self {
            at: Instant::now() + after,
            after,
        }
    }

    /// Returns at the deadline.
    pub(super) async fn reached(self) {
        tokio::time::sleep_until(self.at).await;
    }
}

/// Waits for the monitors to form a quorum.
pub(super) async fn quorum(
    context: &Context,
    daemons: &mut Daemons,
    until: Until,
) -> Result<(), ClusterError> {
    let mut pause = SHORTEST;
    loop {
        let answers = ask_all(daemons).await;
        let missing = missing_quorum(&answers);
        if missing.is_empty() {
            return Ok(());
        }
        rest(context, daemons, until, &missing, &mut pause).await?;
    }
}

/// Waits for every OSD to be up in the cluster's map.
pub(super) async fn osds(
    context: &Context,
    daemons: &mut Daemons,
    monitor: &Monitor,
    until: Until,
) -> Result<(), ClusterError> {
    let mut pause = SHORTEST;
    let mut missing = Vec::new();
    loop {
        let command = json!({"prefix": "osd dump"});
        let asked = monitor.command(&command);
        let Some(map) = unless_in_vain(context, daemons.lost(), until, asked).await? else {
            return Err(daemons.unhealthy(until.after, &Missing::unseen(missing)));
        };
        missing = missing_osds(&map);
        if missing.is_empty() {
            return Ok(());
        }
        rest(context, daemons, until, &missing, &mut pause).await?;
    }
}

/// Waits for all of the cluster.
pub(super) async fn healthy(
    context: &Context,
    daemons: &mut Daemons,
    monitor: &Monitor,
    ranks: u32,
    until: Until,
) -> Result<(), ClusterError> {
    let mut pause = SHORTEST;
    let mut missing = Vec::new();
    loop {
        let looked = look(daemons, monitor, ranks);
        let Some(seen) = unless_in_vain(context, daemons.lost(), until, looked).await? else {
            return Err(daemons.unhealthy(until.after, &Missing::unseen(missing)));
        };
        missing = seen;
        if missing.is_empty() {
            return Ok(());
        }
        rest(context, daemons, until, &missing, &mut pause).await?;
    }
}

/// What is missing now.
pub(super) async fn look(
    daemons: &Daemons,
    monitor: &Monitor,
    ranks: u32,
) -> Result<Vec<Missing>, ClusterError> {
    let answers = ask_all(daemons).await;
    let mut missing = missing_quorum(&answers);
    if missing.is_empty() {
        // Without a quorum this would wait for one.
        let osd_map = monitor.command(&json!({"prefix": "osd dump"})).await?;
        let fs_map = monitor.command(&json!({"prefix": "fs dump"})).await?;
        let groups = settled_states(daemons, groups(&answers)).await;
        missing.extend(missing_osds(&osd_map));
        missing.extend(missing_groups(&osd_map, &groups));
        missing.extend(missing_ranks(ranks, &servers(&fs_map)));
    }
    missing.extend(answers.iter().filter_map(unanswered));
    Ok(missing)
}

/// What a look at the cluster shows, unless the wait is in vain before it is done:
/// monitors can take a minute over a command. `None` well behind the deadline.
pub(super) async fn unless_in_vain<T>(
    context: &Context,
    lost: impl Future<Output = DaemonEnded>,
    until: Until,
    look: impl Future<Output = Result<T, ClusterError>>,
) -> Result<Option<T>, ClusterError> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(ClusterError::Interrupted),
        ended = lost => Err(ended.into()),
        seen = look => seen.map(Some),
        // What a look takes that was begun in time.
        () = tokio::time::sleep_until(until.at + PROBE) => Ok(None),
    }
}

/// Lets some time pass; ends early if the wait is in vain.
async fn rest(
    context: &Context,
    daemons: &mut Daemons,
    until: Until,
    missing: &[Missing],
    pause: &mut Duration,
) -> Result<(), ClusterError> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(ClusterError::Interrupted),
        ended = daemons.ended() => return Err(ended.into()),
        () = tokio::time::sleep_until(until.at), if until.at < Instant::now() + *pause => {}
        () = tokio::time::sleep(*pause) => {
            *pause = (*pause * 2).min(LONGEST);
            return Ok(());
        }
    }
    Err(daemons.unhealthy(until.after, missing))
}

/// A daemon's answer to the question that its kind is asked.
struct Answered {
    kind: Kind,
    name: String,
    said: Result<Value, String>,
}

fn question(kind: Kind) -> &'static str {
    match kind {
        Kind::Mon => "mon_status",
        Kind::Osd => "dump_pgstate_history",
        // A metadata server would log each question for its status.
        Kind::Mgr | Kind::Mds => "version",
    }
}

async fn ask_all(daemons: &Daemons) -> Vec<Answered> {
    join_all(daemons.iter().map(ask_one)).await
}

async fn ask_one(daemon: &Daemon) -> Answered {
    let said = match daemon.probe(question(daemon.kind)).await {
        Ok(answer) => answer.json(),
        Err(error) => Err(error.to_string()),
    };
    Answered {
        kind: daemon.kind,
        name: daemon.name.clone(),
        said,
    }
}

fn unanswered(answered: &Answered) -> Option<Missing> {
    let said = answered.said.as_ref().err()?;
    Some(Missing {
        daemon: Some(answered.name.clone()),
        what: format!(
            "{} does not answer on its admin socket ({said})",
            answered.name
        ),
    })
}

fn missing_quorum(answers: &[Answered]) -> Vec<Missing> {
    answers
        .iter()
        .filter(|answered| answered.kind == Kind::Mon)
        .filter_map(|answered| {
            let Ok(status) = &answered.said else {
                return unanswered(answered);
            };
            let state = status["state"].as_str().unwrap_or("in an unknown state");
            (!matches!(state, "leader" | "peon")).then(|| Missing {
                daemon: Some(answered.name.clone()),
                what: format!("{} is {state}, not in the quorum", answered.name),
            })
        })
        .collect()
}

/// A placement group, as its primary OSD sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    id: String,
    osd: String,
    state: String,
}

/// The groups of which some OSD is the primary, with their state machines'
/// states.
fn groups(answers: &[Answered]) -> Vec<Group> {
    let mut groups = Vec::new();
    for answered in answers.iter().filter(|one| one.kind == Kind::Osd) {
        let Ok(history) = &answered.said else {
            continue;
        };
        for group in each(&history["pgs"]) {
            let state = group["currently"].as_str().unwrap_or_default();
            if state.starts_with("Started/Primary") {
                groups.push(Group {
                    id: group["pg"].as_str().unwrap_or_default().to_owned(),
                    osd: answered.name.clone(),
                    state: state.to_owned(),
                });
            }
        }
    }
    groups
}

/// Replaces the states of those that have settled by what Ceph shows to users.
async fn settled_states(daemons: &Daemons, mut groups: Vec<Group>) -> Vec<Group> {
    for group in groups.iter_mut().filter(|group| group.state == SETTLED) {
        let Some(osd) = daemons.iter().find(|daemon| daemon.name == group.osd) else {
            continue;
        };
        let query = json!({"prefix": "query", "pgid": group.id});
        // One that does not answer stays what it is, which is not clean.
        if let Ok(answer) = osd.ask(&query, PROBE).await {
            answer["state"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut group.state);
        }
    }
    groups
}

fn missing_osds(map: &Value) -> Vec<Missing> {
    each(&map["osds"])
        .filter(|osd| osd["up"] != 1)
        .map(|osd| {
            let name = format!("osd.{}", osd["osd"]);
            Missing {
                what: format!("{name} is not up in the cluster's map"),
                daemon: Some(name),
            }
        })
        .collect()
}

/// The groups that the pools have, less those that are clean.
fn missing_groups(map: &Value, groups: &[Group]) -> Option<Missing> {
    let total = each(&map["pools"])
        .filter_map(|pool| pool["pg_num"].as_u64())
        .sum::<u64>();
    let (clean, others): (Vec<&Group>, Vec<&Group>) = groups
        .iter()
        .partition(|group| group.state.starts_with(CLEAN));
    let clean = clean.len() as u64;
    if clean >= total && total > 0 {
        return None;
    }
    let examples: Vec<String> = others
        .iter()
        .take(3)
        .map(|group| format!("{} on {} is {}", group.id, group.osd, group.state))
        .collect();
    let examples = if examples.is_empty() {
        String::new()
    } else {
        format!(": {}", examples.join(", "))
    };
    Some(Missing {
        daemon: others.first().map(|group| group.osd.clone()),
        what: format!(
            "{} of {total} placement groups are not {CLEAN}{examples}",
            total.saturating_sub(clean)
        ),
    })
}

/// A metadata server in the file system map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// The daemon, such as `mds.a`.
    pub(super) name: String,
    /// The rank it holds, if it is no standby.
    pub(super) rank: Option<u64>,
    state: String,
}

/// The metadata servers in the answer to `fs dump`.
pub(super) fn servers(map: &Value) -> Vec<Server> {
    each(&map["filesystems"])
        .filter_map(|filesystem| filesystem["mdsmap"]["info"].as_object())
        .flat_map(|info| info.values())
        .chain(each(&map["standbys"]))
        .map(|server| Server {
            name: format!("mds.{}", server["name"].as_str().unwrap_or_default()),
            rank: server["rank"].as_u64(),
            state: server["state"].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

fn missing_ranks(wanted: u32, servers: &[Server]) -> Vec<Missing> {
    let (active, others): (Vec<&Server>, Vec<&Server>) = servers
        .iter()
        .partition(|server| server.state == "up:active");
    let wanted = wanted as usize;
    if active.len() >= wanted {
        return Vec::new();
    }
    let states: Vec<String> = others
        .iter()
        .map(|other| format!("{} is {}", other.name, other.state))
        .collect();
    let states = if states.is_empty() {
        String::new()
    } else {
        format!(": {}", states.join(", "))
    };
    vec![Missing {
        daemon: others.first().map(|other| other.name.clone()),
        what: format!(
            "{} of {wanted} ranks have no metadata server that is up:active{states}",
            wanted - active.len()
        ),
    }]
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(name: &str, said: Result<Value, String>) -> Answered {
        Answered {
            kind: Kind::of(name).unwrap(),
            name: name.to_owned(),
            said,
        }
    }

    fn history(groups: &[(&str, &str)]) -> Value {
        let groups: Vec<Value> = groups
            .iter()
            .map(|(id, state)| json!({"pg": id, "history": [], "currently": state}))
            .collect();
        json!({"pgs": groups})
    }

    fn group(id: &str, osd: &str, state: &str) -> Group {
        Group {
            id: id.to_owned(),
            osd: osd.to_owned(),
            state: state.to_owned(),
        }
    }

    #[test]
    fn only_primaries_count() {
        let answers = [
            answered("osd.0", Ok(history(&[("1.0", SETTLED)]))),
            answered(
                "osd.1",
                Ok(history(&[
                    ("1.0", "Started/ReplicaActive/RepNotRecovering"),
                    ("2.0", "Started/Primary/Peering/GetInfo"),
                ])),
            ),
        ];
        assert_eq!(
            groups(&answers),
            [
                group("1.0", "osd.0", SETTLED),
                group("2.0", "osd.1", "Started/Primary/Peering/GetInfo")
            ]
        );
    }

    #[test]
    fn all_groups_of_all_pools_must_be_clean() {
        let map = json!({"pools": [{"pg_num": 2}, {"pg_num": 1}]});
        let mut groups = vec![
            group("1.0", "osd.0", "active+clean"),
            group("1.1", "osd.0", "active+clean+scrubbing"),
            group("2.0", "osd.1", "active+undersized"),
        ];
        let missing = missing_groups(&map, &groups).unwrap();
        assert_eq!(missing.daemon.as_deref(), Some("osd.1"));
        assert_eq!(
            missing.what,
            "1 of 3 placement groups are not active+clean: 2.0 on osd.1 is active+undersized"
        );
        groups[2].state = "active+clean".to_owned();
        assert_eq!(missing_groups(&map, &groups), None);
        groups.pop();
        assert!(missing_groups(&map, &groups).is_some());
    }

    #[test]
    fn a_cluster_without_pools_or_with_an_osd_down_is_not_healthy() {
        let map = json!({"pools": [], "osds": [{"osd": 3, "up": 0}, {"osd": 4, "up": 1}]});
        let osds = missing_osds(&map);
        assert_eq!(osds.len(), 1);
        assert_eq!(osds[0].what, "osd.3 is not up in the cluster's map");
        assert!(missing_groups(&map, &[]).is_some());
    }

    #[test]
    fn every_rank_needs_an_active_server() {
        let map = json!({
            "standbys": [{"name": "b", "rank": -1, "state": "up:standby"}],
            "filesystems": [{"mdsmap": {"info": {
                "gid_4097": {"name": "a", "rank": 0, "state": "up:active"},
            }}}],
        });
        let servers = servers(&map);
        assert_eq!(servers[0].rank, Some(0));
        assert_eq!(servers[1].rank, None);
        assert_eq!(missing_ranks(1, &servers), []);
        let missing = missing_ranks(2, &servers);
        assert_eq!(missing[0].daemon.as_deref(), Some("mds.b"));
        assert!(missing[0].what.contains("mds.b is up:standby"));
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_missing() {
        let answered = answered("mds.c", Err("Connection refused".to_owned()));
        let missing = unanswered(&answered).unwrap();
        assert_eq!(missing.daemon.as_deref(), Some("mds.c"));
        assert!(missing.what.contains("Connection refused"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_monitor_that_takes_its_time_is_not_waited_for_in_vain() {
        let context = Context::default();
        // Neither daemons that end nor an answer.
        let silent = std::future::pending::<Result<(), ClusterError>>;
        let lost = std::future::pending::<DaemonEnded>;
        let until = Until::within(Duration::from_secs(5));
        let seen = unless_in_vain(&context, lost(), until, silent()).await;
        assert!(matches!(seen, Ok(None)), "{seen:?}");
        let ended = DaemonEnded {
            name: "mon.a".to_owned(),
            status: None,
            log: "log".into(),
            tail: String::new(),
        };
        let seen = unless_in_vain(&context, async { ended }, until, silent()).await;
        assert!(matches!(seen, Err(ClusterError::Died { .. })), "{seen:?}");
        context.cancel.cancel();
        let seen = unless_in_vain(&context, lost(), until, silent()).await;
        assert!(matches!(seen, Err(ClusterError::Interrupted)), "{seen:?}");
    }

    #[test]
    fn a_monitor_that_probes_is_not_in_the_quorum() {
        let answers = [
            answered("mon.a", Ok(json!({"state": "leader"}))),
            answered("mon.b", Ok(json!({"state": "probing"}))),
        ];
        let missing = missing_quorum(&answers);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].what, "mon.b is probing, not in the quorum");
    }
}
