//! The values that travel between a run's driver and its hosts: what a host is
//! to do, who it is, and how it ended.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::HostFacts;
use crate::record::Part;
use crate::service::ServiceSpec;
use crate::store::{StoreError, io_error};
use crate::trial::{Request, SelfTestRequest};
use crate::vm::Acceleration;

/// A file's SHA-256 in hexadecimal: what it is called on every host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Of a file.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let mut file = std::fs::File::open(path).map_err(io_error("open", path))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count =
                std::io::Read::read(&mut file, &mut buffer).map_err(io_error("read", path))?;
            if count == 0 {
                return Ok(Self(hex::encode(hash.finalize())));
            }
            hash.update(&buffer[..count]);
        }
    }

    /// Its 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not a SHA-256"))
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// One directory of a run's record that is made elsewhere: an attempt's, or a
/// self-test's. Named by its place below the run, with `@` for `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemKey(String);

impl ItemKey {
    /// Of a directory below a run's. `None` if it is not one.
    #[must_use]
    pub fn of(run: &Path, directory: &Path) -> Option<Self> {
        let below = directory.strip_prefix(run).ok()?;
        let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
        Self::try_from(parts?.join("@")).ok()
    }

    /// The directory, below the run's.
    #[must_use]
    pub fn directory(&self, run: &Path) -> std::path::PathBuf {
        self.0
            .split('@')
            .fold(run.to_owned(), |path, part| path.join(part))
    }

    /// What its result is of; `None` for a directory of the record to which no result
    /// goes.
    pub(super) fn of_what(&self) -> Option<Of> {
        let number = |part: &str| part.parse::<u32>().ok();
        match *self.0.split('@').collect::<Vec<_>>() {
            ["arms", _, "self-test"] => Some(Of::SelfTest),
            ["arms", _, "trials", _, trial, attempt] => Some(Of::Attempt {
                trial: number(trial)?,
                attempt: number(attempt)?,
            }),
            _ => None,
        }
    }

    /// As a file's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a result is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// An attempt at the trial of this number.
    Attempt { trial: u32, attempt: u32 },
    /// A self-test.
    SelfTest,
}

impl TryFrom<String> for ItemKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        let part = |part: &str| {
            !part.is_empty() && part.chars().all(plain) && !part.chars().all(|c| c == '.')
        };
        if text.len() < 250 && text.split('@').all(part) {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not the name of an attempt"))
        }
    }
}

impl From<ItemKey> for String {
    fn from(key: ItemKey) -> Self {
        key.0
    }
}

impl std::fmt::Display for ItemKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be done for an item. The paths in it are the driver's own; a host
/// puts its own in their place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// An attempt at a trial.
    Trial(Box<Request>),
    /// The self-test of an arm's kernel.
    SelfTest(SelfTestRequest),
}

/// One thing that a host is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Item {
    /// Where its result belongs.
    pub key: ItemKey,
    /// What.
    pub work: Work,
    /// The bzImage.
    pub kernel: Digest,
}

/// What a host needs before its first item: what its testbed is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Opening {
    /// What the driver calls the host; otherwise it says itself.
    pub name: Option<String>,
    /// Trials at a time; as many as fit on its processors if none.
    pub at_a_time: Option<usize>,
    /// What guests mount.
    #[serde(deserialize_with = "crate::service::recorded")]
    pub service: ServiceSpec,
    /// The initramfs.
    pub image: Digest,
    /// What may run guests.
    pub acceleration: Acceleration,
    /// A kernel to find that out with.
    pub kernel: Digest,
    /// The kind that the host must be of, if the items before these ran on one.
    #[serde(default)]
    pub kind: Option<String>,
}

/// A batch: what one task of a job array does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Batch {
    /// First of all.
    pub opening: Opening,
    /// The items, in order.
    pub items: Vec<Item>,
}

/// Who a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCard {
    /// Its name, as records show it.
    pub name: String,
    /// What it is.
    pub facts: HostFacts,
    /// Trials at a time.
    pub at_a_time: usize,
    /// What trials that are compared must have in common; see [`kind`].
    pub kind: String,
}

/// What this host is called, where its driver has no name for it. Several of Slurm's
/// nodes may share a machine.
pub(super) fn own_name() -> String {
    let own = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| own())
}

/// What of a host can change what a trial shows: its processor, what runs
/// guests, QEMU, and, with a service, that one's version.
#[must_use]
pub fn kind(facts: &HostFacts, service: &ServiceSpec) -> String {
    let machine = facts.kernel.split_whitespace().last().unwrap_or_default();
    let mut parts = vec![machine, &facts.processor, &facts.accelerator, &facts.qemu];
    if service.cluster().is_some() {
        parts.push(&facts.service);
    }
    parts.join("; ")
}

/// How a host's part ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HostEnd {
    /// All items are done.
    Done,
    /// It was asked to stop.
    Stopped,
    /// It cannot run trials, or not any more: what is wrong.
    Unfit(String),
    /// The service it ran is lost: another start may go well.
    ServiceLost(String),
    /// It is of another kind than the items need.
    OtherKind,
}

/// What the harness did to an attempt, as far as its host may be to blame.
#[must_use]
pub fn is_host_s(part: Part) -> bool {
    match part {
        Part::Host | Part::Machine | Part::Service => true,
        // An agent that talks nonsense runs in the kernel under test.
        Part::Link => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_back_to_its_directory() {
        let run = Path::new("/runs/one");
        let directory = run.join("arms/stock/trials/w/3/1");
        let key = ItemKey::of(run, &directory).unwrap();
        assert_eq!(key.as_str(), "arms@stock@trials@w@3@1");
        assert_eq!(key.directory(run), directory);
        assert_eq!(ItemKey::of(run, Path::new("/elsewhere")), None);
    }

    #[test]
    fn a_key_never_leads_elsewhere() {
        for text in ["..", "arms@..@x", "/etc", "a@@b", "", "a/b", "a\nb", "."] {
            assert!(ItemKey::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_result_goes_to_an_attempt_or_a_self_test_and_nowhere_else() {
        let of = |text: &str| ItemKey::try_from(text.to_owned()).unwrap().of_what();
        let attempt = Of::Attempt {
            trial: 3,
            attempt: 1,
        };
        assert_eq!(of("arms@stock@trials@w@3@1"), Some(attempt));
        assert_eq!(of("arms@stock@self-test"), Some(Of::SelfTest));
        for other in [
            "hosts",
            "cluster",
            "arms@stock",
            "arms@stock@trials@w",
            "arms@stock@trials@w@3",
            "arms@stock@self-test@1",
            "arms@stock@trials@w@3@1@x",
            "arms@stock@trials@w@3@x",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn hosts_differ_in_kind_by_what_trials_run_on() {
        let facts = HostFacts {
            kernel: "Linux 6.1.0 x86_64".to_owned(),
            processor: "A".to_owned(),
            qemu: "7.2".to_owned(),
            service: "ceph 16".to_owned(),
            ..HostFacts::default()
        };
        let newer = HostFacts {
            kernel: "Linux 6.12.0 x86_64".to_owned(),
            service: "ceph 18".to_owned(),
            ..facts.clone()
        };
        let ceph = ServiceSpec::default();
        assert_eq!(
            kind(&facts, &ServiceSpec::None),
            kind(&newer, &ServiceSpec::None)
        );
        assert_ne!(kind(&facts, &ceph), kind(&newer, &ceph));
    }
}
