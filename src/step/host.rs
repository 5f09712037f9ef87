//! The steps a workload asks of the host: what is done to the cluster while
//! the guest runs. They only say what; the driver of a trial does it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::values;

/// How long a cluster may take to recover from what was done to it.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// Something done to the cluster from outside the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum HostStep {
    /// Evicts the MDS session of one of the guest's mounts.
    EvictClient {
        /// The mount, as its `mount` step named it.
        mount: String,
    },
    /// Has the MDS drop its cache, and with it recall the clients' caps.
    MdsCacheDrop {
        /// How long the MDS waits for clients to give caps back.
        #[serde(default = "ten_seconds", with = "crate::duration")]
        timeout: Duration,
    },
    /// Fails the active MDS, so that a standby (or itself, restarted) takes over.
    MdsFail {
        /// The rank.
        #[serde(default)]
        rank: u32,
    },
    /// Stops a daemon in its tracks (SIGSTOP).
    StopDaemon {
        /// Its name: `osd.0`, `mds.a`.
        daemon: String,
    },
    /// Lets a stopped daemon go on (SIGCONT).
    ContinueDaemon {
        /// Its name.
        daemon: String,
    },
    /// Sets an option of a running daemon.
    SetOption {
        /// Its name.
        daemon: String,
        /// The option.
        option: String,
        /// Its value.
        #[serde(deserialize_with = "values::scalar")]
        value: String,
    },
    /// Sends a command to a daemon's admin socket.
    AdminCommand {
        /// Its name.
        daemon: String,
        /// The `prefix` of the command, such as `session ls`.
        command: String,
        /// Further arguments.
        #[serde(default)]
        arguments: BTreeMap<String, serde_json::Value>,
    },
    /// Lets time pass, where time is what the step is about: a daemon that is
    /// to be away for longer than a timeout of the client's.
    Pause(#[serde(with = "crate::duration")] Duration),
    /// Waits until the cluster is healthy again.
    WaitHealthy,
}

impl HostStep {
    /// The step's name as the YAML has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// Whether guests of other trials feel it.
    #[must_use]
    pub fn disturbs_others(&self) -> bool {
        match self {
            Self::EvictClient { .. } | Self::Pause(_) | Self::WaitHealthy => false,
            Self::MdsCacheDrop { .. }
            | Self::MdsFail { .. }
            | Self::StopDaemon { .. }
            | Self::ContinueDaemon { .. }
            | Self::SetOption { .. }
            | Self::AdminCommand { .. } => true,
        }
    }

    /// How long it takes, or may take, by itself, whatever else it meets.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self {
            Self::Pause(time) => *time,
            Self::MdsCacheDrop { timeout } => *timeout,
            Self::WaitHealthy => RECOVERY,
            Self::EvictClient { .. }
            | Self::MdsFail { .. }
            | Self::StopDaemon { .. }
            | Self::ContinueDaemon { .. }
            | Self::SetOption { .. }
            | Self::AdminCommand { .. } => Duration::ZERO,
        }
    }

    /// What it is about, for labels: the mount or the daemon.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::EvictClient { mount } => Some(mount),
            Self::StopDaemon { daemon }
            | Self::ContinueDaemon { daemon }
            | Self::SetOption { daemon, .. }
            | Self::AdminCommand { daemon, .. } => Some(daemon),
            Self::MdsCacheDrop { .. }
            | Self::MdsFail { .. }
            | Self::Pause(_)
            | Self::WaitHealthy => None,
        }
    }
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
