//! What host and guest say to each other: one JSON object per line, in both
//! directions, over a virtio-serial port.
//!
//! The host trusts nothing that comes from a guest: [`link`](super::link)
//! bounds what it reads. The guest trusts its host. Secrets travel in
//! [`HostMessage::Hello`] and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::step::GuestStep;

/// The name of the virtio-serial port that the agent looks for.
pub const PORT: &str = "kvet.agent";

/// The version of this protocol. Both ends are of one build, unless a
/// cached image outlived a change: then the difference shows here.
pub const VERSION: u32 = 3;

/// What stands on the console before the reason, where the agent cannot go on.
pub const GAVE_UP: &str = "kvet: the agent cannot go on: ";

/// The first virtio-blk disk in the guest: the one with the file system.
pub const FIRST_DISK: &str = "/dev/vda";

/// The second one, the spare.
pub const SECOND_DISK: &str = "/dev/vdb";

/// The longest line either side accepts, in bytes.
pub const LINE_LIMIT: usize = 1 << 20;

/// From the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostMessage {
    /// What no two guests may share, before [`Self::Hello`].
    Renew(Renewal),
    /// Who the guest is in this trial and how it gets at the file system.
    Hello(Welcome),
    /// Carry out a step.
    Start {
        /// The step's number; answers carry it.
        step: u32,
        /// What to do.
        action: GuestStep,
    },
    /// Pull SysRq letters, whatever else is stuck.
    Sysrq {
        /// The letters, in order.
        letters: String,
    },
    /// Power off at once, without syncing.
    PowerOff,
}

/// From the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestMessage {
    /// The agent runs and can be talked to. The first message.
    Ready(Ready),
    /// [`HostMessage::Hello`] took effect.
    Greeted,
    /// A step began.
    Started {
        /// Its number.
        step: u32,
    },
    /// A step is going on; how far it is.
    Progress {
        /// Its number.
        step: u32,
        /// Counters so far.
        counters: BTreeMap<String, u64>,
    },
    /// A step ended.
    Finished {
        /// Its number.
        step: u32,
        /// How.
        result: StepResult,
    },
    /// SysRq letters were pulled.
    SysrqDone {
        /// The letters.
        letters: String,
    },
    /// The agent wrote a tick of its heartbeat to the console, see
    /// [`heartbeat`](super::heartbeat).
    Beat {
        /// Which, counted from 1.
        tick: u32,
    },
    /// Something for the record.
    Note {
        /// What.
        text: String,
    },
    /// The agent cannot go on and powers off.
    Fatal {
        /// Why.
        text: String,
    },
}

/// What the guest is, as it sees itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The agent's [`VERSION`].
    pub protocol: u32,
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// Seconds since the kernel started.
    pub uptime: f64,
    /// Memory in bytes.
    pub memory: u64,
    /// Processors online.
    pub processors: u32,
    /// Kernel parameters that say which detectors are armed and how, by their
    /// sysctl names; one the kernel does not have is missing.
    pub sysctls: BTreeMap<String, String>,
    /// What failed while setting up and is not needed by every workload, such
    /// as a file system the kernel does not have.
    pub lacks: Vec<String>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// As asked.
    Done(StepReport),
    /// Otherwise.
    Failed(StepFailure),
}

/// What a step that went well has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepReport {
    /// Time it took, in microseconds of the guest's clock.
    pub micros: u64,
    /// Of a `mount` step: the client's number, as in `client evict id=N`.
    pub client: Option<u64>,
    /// Of an `umount_all` step where there is a disk: whether its file system is
    /// gone, and all of it written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<bool>,
    /// Of a test suite's run: what did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<FailedTest>,
    /// Counters, such as a storm's operations.
    pub counters: BTreeMap<String, u64>,
    /// What it printed or read, at most 64 KiB.
    pub output: Option<String>,
}

/// A test of a suite that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTest {
    /// Its name: `generic/001`.
    pub name: String,
    /// How it failed, in a line.
    pub how: String,
}

impl FailedTest {
    /// The longest name, in bytes.
    pub const NAME: usize = 64;

    /// The longest word on how it failed, in bytes.
    pub const HOW: usize = 160;

    /// One whose texts are no longer than they may be.
    #[must_use]
    pub fn new(name: &str, how: &str) -> Self {
        let cut = |text: &str, most: usize| {
            let end = (0..=most.min(text.len())).rfind(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or_default()].to_owned()
        };
        Self {
            name: cut(name, Self::NAME),
            how: cut(how, Self::HOW),
        }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// Of a system call's: the error by name, such as `EIO`.
    pub errno: Option<String>,
    /// What happened, with the path or the place.
    pub message: String,
}

/// The kinds of a step's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A system call failed.
    Syscall,
    /// Data is not what was written.
    Data,
    /// It did not come about in time.
    Timeout,
    /// A program failed or was killed.
    Program,
    /// The step makes no sense here: a handle that is not open, say.
    Usage,
    /// The agent itself failed.
    Agent,
}

/// What makes a guest another one than those that were restored from the same
/// saved state. A guest that was booted is given it as well: the two differ in
/// nothing that a workload could notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// What time it is: since 1970, in UTC.
    pub clock: Duration,
    /// Random bytes from the host, in hexadecimal, for the kernel's generator.
    pub entropy: Secret,
    /// The address of its network interface.
    pub address: [u8; 6],
}

/// Who the guest is in this trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its host name: what the MDS knows its sessions by, and the name of
    /// this trial's own directory on the file system.
    pub hostname: String,
    /// Mixed into the seeds of storms; the same seed replays the same trial.
    pub seed: u64,
    /// What steps mount. Without, the guest has a tmpfs that all its mounts
    /// show.
    #[serde(default)]
    pub file_system: Option<Mountable>,
    /// How long the agent waits between two ticks of its heartbeat on the
    /// console, such as [`PERIOD`](super::heartbeat::PERIOD); it has none
    /// without.
    #[serde(
        default,
        with = "crate::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub heartbeat: Option<Duration>,
}

/// A file system that the guest can mount: what mount(2) takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mountable {
    /// Its type: `ceph`, `nfs4`.
    pub fstype: String,
    /// Where it is: `10.99.0.1:6789:/`.
    pub source: String,
    /// Options for every mount that nobody may see, separated by commas:
    /// `name=admin,secret=…`.
    pub data: Secret,
    /// Further options for every mount, such as `ms_mode=crc`.
    #[serde(default)]
    pub options: Vec<String>,
    /// What of this the guest must not show: the host takes it out of all that
    /// the guest says. Not sent.
    #[serde(skip)]
    pub hidden: Vec<Secret>,
}

/// A text that never shows in logs or messages. It is written out in full by
/// `Serialize`, which only [`HostMessage`] uses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        let hello = HostMessage::Hello(Welcome {
            hostname: "t".into(),
            seed: 1,
            file_system: Some(Mountable {
                fstype: "ceph".into(),
                source: "10.99.0.1:6789:/".into(),
                data: Secret::new("name=admin,secret=c2VjcmV0"),
                options: vec![],
                hidden: vec![],
            }),
            heartbeat: Some(Duration::from_secs(10)),
        });
        assert!(!format!("{hello:?}").contains("c2VjcmV0"));
        let text = serde_json::to_string(&hello).unwrap();
        assert!(text.contains("c2VjcmV0"));
        assert_eq!(serde_json::from_str::<HostMessage>(&text).unwrap(), hello);
    }
}
