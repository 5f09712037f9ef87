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

use super::daemon::{Daemon, Kind};
use super::monitor::Monitor;
use super::{ClusterError, Daemons};
use crate::context::Context;

/// Pauses between two looks: short at first, because a start takes a second.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// A placement group's state machine says so when the group is active+clean.
const CLEAN: &str = "Started/Primary/Active/Clean";

/// One thing that stands between a cluster and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// The daemon to look at, if it is one daemon's affair.
    pub(super) daemon: Option<String>,
    pub(super) what: String,
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

/// Waits for all of the cluster.
pub(super) async fn healthy(
    context: &Context,
    daemons: &mut Daemons,
    monitor: &Monitor,
    ranks: u32,
    until: Until,
) -> Result<(), ClusterError> {
    let mut pause = SHORTEST;
    loop {
        let missing = look(daemons, monitor, ranks).await?;
        if missing.is_empty() {
            return Ok(());
        }
        rest(context, daemons, until, &missing, &mut pause).await?;
    }
}

/// What is missing now.
pub(super) async fn look(
    daemons: &mut Daemons,
    monitor: &Monitor,
    ranks: u32,
) -> Result<Vec<Missing>, ClusterError> {
    let answers = ask_all(daemons).await;
    let mut missing = missing_quorum(&answers);
    if missing.is_empty() {
        // Without a quorum this would wait for one.
        let pools = monitor.command(&json!({"prefix": "osd dump"})).await?;
        missing.extend(missing_groups(&pools, &answers));
        missing.extend(missing_ranks(ranks, &answers));
    }
    missing.extend(answers.iter().filter_map(unanswered));
    Ok(missing)
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
        Kind::Mgr => "version",
        Kind::Osd => "dump_pgstate_history",
        Kind::Mds => "status",
    }
}

async fn ask_all(daemons: &mut Daemons) -> Vec<Answered> {
    join_all(daemons.iter_mut().map(ask_one)).await
}

async fn ask_one(daemon: &mut Daemon) -> Answered {
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

/// The groups that the pools have, less those that their primaries call clean.
fn missing_groups(map: &Value, answers: &[Answered]) -> Vec<Missing> {
    let mut missing: Vec<Missing> = each(&map["osds"])
        .filter(|osd| osd["up"] != 1)
        .map(|osd| {
            let name = format!("osd.{}", osd["osd"]);
            Missing {
                what: format!("{name} is not up in the cluster's map"),
                daemon: Some(name),
            }
        })
        .collect();
    let total: u64 = each(&map["pools"])
        .filter_map(|pool| pool["pg_num"].as_u64())
        .sum();
    let mut clean = 0;
    let mut examples = Vec::new();
    let mut culprit = None;
    for answered in answers.iter().filter(|one| one.kind == Kind::Osd) {
        let Ok(history) = &answered.said else {
            continue;
        };
        for group in each(&history["pgs"]) {
            let state = group["currently"].as_str().unwrap_or("unknown");
            if state == CLEAN {
                clean += 1;
            } else if state.starts_with("Started/Primary") && examples.len() < 3 {
                examples.push(format!(
                    "{} on {} in {state}",
                    group["pg"].as_str().unwrap_or("one"),
                    answered.name
                ));
                culprit.get_or_insert_with(|| answered.name.clone());
            }
        }
    }
    if clean < total || total == 0 {
        let examples = if examples.is_empty() {
            String::new()
        } else {
            format!(": {}", examples.join(", "))
        };
        missing.push(Missing {
            daemon: culprit,
            what: format!(
                "{} of {total} placement groups are not active+clean{examples}",
                total.saturating_sub(clean)
            ),
        });
    }
    missing
}

fn missing_ranks(wanted: u32, answers: &[Answered]) -> Vec<Missing> {
    let mut active = 0;
    let mut others = Vec::new();
    for answered in answers.iter().filter(|one| one.kind == Kind::Mds) {
        let Ok(status) = &answered.said else {
            continue;
        };
        match status["state"].as_str() {
            Some("up:active") => active += 1,
            state => others.push((answered.name.clone(), state.unwrap_or("unknown").to_owned())),
        }
    }
    if active >= wanted {
        return Vec::new();
    }
    let states: Vec<String> = others
        .iter()
        .map(|(name, state)| format!("{name} is {state}"))
        .collect();
    let states = if states.is_empty() {
        String::new()
    } else {
        format!(": {}", states.join(", "))
    };
    vec![Missing {
        daemon: others.first().map(|(name, _)| name.clone()),
        what: format!(
            "{} of {wanted} ranks have no metadata server that is up:active{states}",
            wanted - active
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

    fn group(name: &str, state: &str) -> Value {
        json!({"pg": name, "history": [], "currently": state})
    }

    #[test]
    fn groups_are_counted_over_all_osds() {
        let map = json!({"pools": [{"pg_num": 2}, {"pg_num": 1}], "osds": [{"osd": 0, "up": 1}]});
        let mut answers = vec![
            answered(
                "osd.0",
                Ok(json!({"pgs": [group("1.0", CLEAN), group("1.1", CLEAN)]})),
            ),
            answered(
                "osd.1",
                Ok(json!({"pgs": [
                    group("1.0", "Started/ReplicaActive/RepNotRecovering"),
                    group("2.0", "Started/Primary/Peering/GetInfo"),
                ]})),
            ),
        ];
        let missing = missing_groups(&map, &answers);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].daemon.as_deref(), Some("osd.1"));
        assert_eq!(
            missing[0].what,
            "1 of 3 placement groups are not active+clean: 2.0 on osd.1 in \
             Started/Primary/Peering/GetInfo"
        );
        answers[1].said = Ok(json!({"pgs": [group("2.0", CLEAN)]}));
        assert_eq!(missing_groups(&map, &answers), []);
    }

    #[test]
    fn a_cluster_without_pools_or_with_an_osd_down_is_not_healthy() {
        let map = json!({"pools": [], "osds": [{"osd": 3, "up": 0}]});
        let what: Vec<String> = missing_groups(&map, &[])
            .into_iter()
            .map(|missing| missing.what)
            .collect();
        assert_eq!(
            what,
            [
                "osd.3 is not up in the cluster's map",
                "0 of 0 placement groups are not active+clean"
            ]
        );
    }

    #[test]
    fn every_rank_needs_an_active_server() {
        let answers = [
            answered("mds.a", Ok(json!({"state": "up:active", "whoami": 0}))),
            answered("mds.b", Ok(json!({"state": "up:standby", "whoami": -1}))),
            answered("mds.c", Err("Connection refused".to_owned())),
        ];
        assert_eq!(missing_ranks(1, &answers), []);
        let missing = missing_ranks(2, &answers);
        assert_eq!(missing[0].daemon.as_deref(), Some("mds.b"));
        assert!(missing[0].what.contains("mds.b is up:standby"));
        assert!(
            unanswered(&answers[2])
                .unwrap()
                .what
                .contains("Connection refused")
        );
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
