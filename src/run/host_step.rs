//! What a workload has done to the cluster while the guest runs.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::Cluster;
use crate::context::Context;
use crate::workload::HostStep;

/// How long a cluster may take to recover from what was done to it.
const RECOVERY: Duration = Duration::from_secs(60);

/// Carries out one step. `clients` are the client numbers by mount that the
/// guest reported; they count only if the cluster knows them as sessions of
/// this very guest, so a guest cannot have another one's session evicted.
pub(super) async fn perform(
    context: &Context,
    cluster: &Cluster,
    step: &HostStep,
    hostname: &str,
    clients: &HashMap<String, u64>,
) -> Result<(), String> {
    let result = match step {
        HostStep::EvictClient { mount } => {
            let client = clients
                .get(mount)
                .ok_or_else(|| format!("the mount {mount} told no client number"))?;
            let sessions = cluster
                .sessions()
                .await
                .map_err(|error| error.to_string())?;
            let own = |id: u64| {
                sessions
                    .iter()
                    .any(|session| session.id == id && session.hostname == hostname)
            };
            if !own(*client) {
                return Err(format!(
                    "client {client} is no session of this guest: the MDS has {}",
                    sessions
                        .iter()
                        .map(|session| format!("{} of {:?}", session.id, session.hostname))
                        .collect::<Vec<_>>()
                        .join(", ")
                ));
            }
            cluster.evict(*client).await
        }
        HostStep::MdsCacheDrop { timeout } => {
            let command = json!({"prefix": "cache drop", "timeout": timeout.as_secs()});
            cluster.admin("mds.a", command).await.map(drop)
        }
        HostStep::MdsFail { rank } => cluster.fail_mds(*rank).await,
        HostStep::StopDaemon { daemon } => cluster.pause(daemon),
        HostStep::ContinueDaemon { daemon } => cluster.resume(daemon),
        HostStep::SetOption {
            daemon,
            option,
            value,
        } => {
            let command = json!({"prefix": "config set", "var": option, "val": [value]});
            cluster.admin(daemon, command).await.map(drop)
        }
        HostStep::AdminCommand {
            daemon,
            command,
            arguments,
        } => {
            let mut whole: Map<String, Value> = arguments.clone().into_iter().collect();
            whole.insert("prefix".to_owned(), json!(command));
            cluster.admin(daemon, Value::Object(whole)).await.map(drop)
        }
        HostStep::Pause(time) => {
            tokio::time::sleep(*time).await;
            Ok(())
        }
        HostStep::WaitHealthy => cluster.healthy(context, RECOVERY).await,
    };
    result.map_err(|error| crate::Error::from(error).one_line())
}
