//! A cluster by hand, with the tools that come with Ceph.

use crate::printable::shell_word;
use crate::service::MountByHand;
use crate::step::HostStep;

pub(in crate::service) fn mount(options: &[String]) -> MountByHand {
    MountByHand {
        fstype: Some("ceph"),
        source: "MONITOR:/",
        options: [&["name=admin".to_owned()], options].concat(),
    }
}

pub(in crate::service) fn command(step: &HostStep) -> Option<String> {
    Some(match step {
        HostStep::EvictClient { mount } => format!(
            "ceph tell mds.0 client evict id=ID  # that of the client of {}, see client ls",
            shell_word(mount)
        ),
        HostStep::MdsCacheDrop { timeout } => format!(
            "ceph tell mds.0 cache drop {}  # and so with each other rank that is active",
            timeout.as_secs()
        ),
        HostStep::MdsFail { rank } => format!("ceph mds fail {rank}"),
        HostStep::StopDaemon { daemon } => format!("kill -STOP PID  # of {}", shell_word(daemon)),
        HostStep::ContinueDaemon { daemon } => {
            format!("kill -CONT PID  # of {}", shell_word(daemon))
        }
        HostStep::SetOption {
            daemon,
            option,
            value,
        } => format!(
            "ceph tell {} config set {} {}",
            shell_word(daemon),
            shell_word(option),
            shell_word(value)
        ),
        HostStep::WaitHealthy => {
            "until ceph health | grep -q HEALTH_OK; do sleep 1; done".to_owned()
        }
        HostStep::AdminCommand { .. } | HostStep::Pause(_) => return None,
    })
}
