//! A workload: the ordered steps that guest and host take in a trial, read
//! from YAML (`jobs/workloads/*.yaml`, or a file beside a job) and checked
//! before anything starts.
//!
//! The driver of a trial walks [`Workload::steps`]: guest steps go over the
//! link to the agent, host steps to the cluster. Nothing here does anything.

mod guest;
mod host;
mod storm;
pub mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use guest::{Caches, GuestStep, OpenFlag};
pub use host::HostStep;
pub use storm::{BLOCK, Mix, Storm};

use crate::error::{Exit, Fault};
use crate::kernel::KernelVersion;
use crate::names::{self, Missing, Named};

/// The workloads that come with kvet, by name.
const SHIPPED: &[(&str, &str)] = &[
    (
        "aborted-readdir",
        include_str!("../../jobs/workloads/aborted-readdir.yaml"),
    ),
    (
        "async-create",
        include_str!("../../jobs/workloads/async-create.yaml"),
    ),
    (
        "caps-recall",
        include_str!("../../jobs/workloads/caps-recall.yaml"),
    ),
    (
        "encrypted-names",
        include_str!("../../jobs/workloads/encrypted-names.yaml"),
    ),
    (
        "evict-truncate",
        include_str!("../../jobs/workloads/evict-truncate.yaml"),
    ),
    (
        "fill-inode-fails",
        include_str!("../../jobs/workloads/fill-inode-fails.yaml"),
    ),
    (
        "flush-ack",
        include_str!("../../jobs/workloads/flush-ack.yaml"),
    ),
    (
        "mds-failover",
        include_str!("../../jobs/workloads/mds-failover.yaml"),
    ),
    (
        "memcg-pressure",
        include_str!("../../jobs/workloads/memcg-pressure.yaml"),
    ),
    (
        "osd-stall",
        include_str!("../../jobs/workloads/osd-stall.yaml"),
    ),
    ("quota", include_str!("../../jobs/workloads/quota.yaml")),
    (
        "readahead-close",
        include_str!("../../jobs/workloads/readahead-close.yaml"),
    ),
    (
        "reused-inode",
        include_str!("../../jobs/workloads/reused-inode.yaml"),
    ),
    (
        "snap-again",
        include_str!("../../jobs/workloads/snap-again.yaml"),
    ),
    (
        "snap-split",
        include_str!("../../jobs/workloads/snap-split.yaml"),
    ),
    (
        "snap-truncate",
        include_str!("../../jobs/workloads/snap-truncate.yaml"),
    ),
    (
        "stale-parent",
        include_str!("../../jobs/workloads/stale-parent.yaml"),
    ),
    (
        "umount-dirty-folios",
        include_str!("../../jobs/workloads/umount-dirty-folios.yaml"),
    ),
    (
        "umount-storm",
        include_str!("../../jobs/workloads/umount-storm.yaml"),
    ),
    (
        "writeback-storm",
        include_str!("../../jobs/workloads/writeback-storm.yaml"),
    ),
];

/// A workload could not be read.
#[derive(Debug, Error, Diagnostic)]
pub enum WorkloadError {
    /// There is none of this name.
    #[error("there is no workload `{name}`")]
    #[diagnostic(help("{}", unknown_help(name)))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// Its file cannot be read.
    #[error("cannot read the workload {}", path.display())]
    #[diagnostic(help("the path is taken relative to the job's directory"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its text is not a workload.
    #[error("{message}")]
    Invalid {
        /// What is wrong.
        message: String,
        /// The text, named by its file.
        #[source_code]
        text: Arc<NamedSource<String>>,
        /// Where in the text.
        #[label("here")]
        place: Option<SourceSpan>,
        /// What to do.
        #[help]
        help: Option<String>,
    },
}

impl Fault for WorkloadError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

fn unknown_help(name: &str) -> String {
    let all = Workload::shipped();
    let known = format!(
        "kvet has {}; a path to a YAML file works, too",
        all.join(", ")
    );
    match names::did_you_mean(name, all) {
        Some(near) => format!("{near} {known}"),
        None => known,
    }
}

/// The ordered steps of a trial and what they need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// What it does, in a sentence or two.
    pub about: String,
    /// The functions or states of the kernel it is meant to reach.
    #[serde(default)]
    pub reaches: Vec<String>,
    /// The first kernel that can run it: arms of earlier ones leave it out.
    #[serde(default)]
    pub from: Option<KernelVersion>,
    /// Options the cluster needs, such as `mds_session_blocklist_on_evict`.
    #[serde(default, deserialize_with = "values::scalars")]
    pub cluster: BTreeMap<String, String>,
    /// Kernel parameters set before the first step.
    #[serde(default, deserialize_with = "values::scalars")]
    pub sysctls: BTreeMap<String, String>,
    /// Symbols that must be set in the kernel's final configuration.
    #[serde(default)]
    pub kconfig: Vec<String>,
    /// How long a step may take that does not say so itself, measured without
    /// emulation; drivers scale it by the accelerator.
    #[serde(default = "default_step_timeout", with = "values::duration")]
    pub step_timeout: Duration,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawStep", into = "RawStep")]
pub struct Step {
    /// What `wait` calls it; labels derive from the action without.
    pub name: Option<String>,
    /// How long it may take, if not as long as the workload's `step_timeout`.
    pub timeout: Option<Duration>,
    /// It is started and left running; a later `wait` step, or the end of the
    /// workload, waits for it.
    pub background: bool,
    /// Failures that are part of the plan, by name (`EIO`): the step then
    /// counts as done.
    pub allow: Vec<String>,
    /// What is done.
    pub action: Action,
}

/// Who does what.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The agent in the guest.
    Guest(GuestStep),
    /// The driver, to the cluster.
    Host(HostStep),
    /// Wait for a background step, by name.
    Wait(String),
}

/// A step as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(
        default,
        with = "values::optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    background: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guest: Option<GuestStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<HostStep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
}

impl TryFrom<RawStep> for Step {
    type Error = &'static str;

    fn try_from(raw: RawStep) -> Result<Self, Self::Error> {
        let action = match (raw.guest, raw.host, raw.wait) {
            (Some(step), None, None) => Action::Guest(step),
            (None, Some(step), None) => Action::Host(step),
            (None, None, Some(name)) => Action::Wait(name),
            _ => return Err("a step is exactly one of `guest`, `host` and `wait`"),
        };
        if raw.background && raw.name.is_none() {
            return Err("a background step needs a `name` that `wait` can use");
        }
        Ok(Self {
            name: raw.name,
            timeout: raw.timeout,
            background: raw.background,
            allow: raw.allow,
            action,
        })
    }
}

impl From<Step> for RawStep {
    fn from(step: Step) -> Self {
        let (mut guest, mut host, mut wait) = (None, None, None);
        match step.action {
            Action::Guest(step) => guest = Some(step),
            Action::Host(step) => host = Some(step),
            Action::Wait(name) => wait = Some(name),
        }
        Self {
            name: step.name,
            timeout: step.timeout,
            background: step.background,
            allow: step.allow,
            guest,
            host,
            wait,
        }
    }
}

impl Step {
    /// What to call it in messages: its name, or its action and subject.
    #[must_use]
    pub fn label(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let (kind, subject) = match &self.action {
            Action::Guest(step) => (step.kind(), step.subject()),
            Action::Host(step) => (step.kind(), step.subject()),
            Action::Wait(name) => ("wait", Some(name.as_str())),
        };
        match subject {
            Some(subject) => format!("{kind} {subject}"),
            None => kind.to_owned(),
        }
    }
}

impl Workload {
    /// Whether this kernel can run it.
    #[must_use]
    pub fn serves(&self, kernel: &KernelVersion) -> bool {
        let from = self.from.as_ref();
        from.is_none_or(|from| from.numbers() <= kernel.numbers())
    }

    /// The names of the workloads that come with kvet.
    #[must_use]
    pub fn shipped() -> Vec<&'static str> {
        SHIPPED.iter().map(|(name, _)| *name).collect()
    }

    /// Finds a workload: one that comes with kvet, by name, or a file relative
    /// to `base` if `name` looks like a path (has a `/` or ends in `.yaml`).
    pub fn find(name: &str, base: &Path) -> Result<Self, WorkloadError> {
        match names::find(SHIPPED, "jobs/workloads", name, base) {
            Ok(Named { file, text }) => Self::load(&file.display().to_string(), &text),
            Err(Missing::Unknown) => Err(WorkloadError::Unknown {
                name: name.to_owned(),
            }),
            Err(Missing::Unreadable(path, source)) => Err(WorkloadError::Read { path, source }),
        }
    }

    /// Reads a workload's text; `name` is what errors call the file.
    pub fn load(name: &str, text: &str) -> Result<Self, WorkloadError> {
        let parser = serde_yaml::Deserializer::from_str(text);
        let workload: Self = serde_yaml::with::singleton_map_recursive::deserialize(parser)
            .map_err(|error| syntax_error(name, text, &error))?;
        workload.check().map_err(|(message, word)| {
            let place = word.and_then(|word| text.find(&word).map(|at| (at, word.len()).into()));
            WorkloadError::Invalid {
                message,
                text: Arc::new(NamedSource::new(name, text.to_owned())),
                place,
                help: None,
            }
        })?;
        Ok(workload)
    }

    /// The step that sets the workload's kernel parameters, before all others;
    /// none if it has no wishes.
    #[must_use]
    pub fn preparation(&self) -> Option<GuestStep> {
        (!self.sysctls.is_empty()).then(|| GuestStep::Sysctl(self.sysctls.clone()))
    }

    /// Whether a step of the host's is felt by other guests of the cluster, so
    /// that no other trial may run beside.
    #[must_use]
    pub fn disturbs_others(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Host(step) => step.disturbs_others(),
            Action::Guest(_) | Action::Wait(_) => false,
        })
    }

    /// Whether it has steps of the host's that do something to a service.
    #[must_use]
    pub fn disturbs_service(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Host(HostStep::Pause(_) | HostStep::WaitHealthy)
            | Action::Guest(_)
            | Action::Wait(_) => false,
            Action::Host(_) => true,
        })
    }

    /// The programs of the root file system that its steps run, by name. Paths
    /// are left out: an earlier step may have made such a file.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Guest(GuestStep::Exec { program, .. }) if !program.contains('/') => {
                Some(program.as_str())
            }
            _ => None,
        })
    }

    /// What YAML's shape cannot say: names that are used exist.
    fn check(&self) -> Result<(), (String, Option<String>)> {
        let mut background = BTreeSet::new();
        let mut mounts = BTreeSet::new();
        let mut storms = BTreeSet::new();
        if self.steps.is_empty() {
            return Err(("a workload needs steps".to_owned(), None));
        }
        for step in &self.steps {
            match &step.action {
                Action::Wait(name) if !background.contains(name) => {
                    return Err((
                        format!("nothing called `{name}` runs in the background here"),
                        Some(format!("wait: {name}")),
                    ));
                }
                Action::Host(HostStep::EvictClient { mount }) if !mounts.contains(mount) => {
                    return Err((no_mount(mount), Some(mount.clone())));
                }
                Action::Guest(GuestStep::Mount { name, .. }) => {
                    if name.is_empty() || name.contains(['/', '.', '\0']) {
                        return Err((
                            format!("`{name}` does not do as a mount's name"),
                            Some(name.clone()),
                        ));
                    }
                    mounts.insert(name);
                }
                Action::Guest(GuestStep::Umount { name, .. }) if !mounts.contains(name) => {
                    return Err((no_mount(name), Some(name.clone())));
                }
                Action::Guest(GuestStep::Storm(storm)) => {
                    storms.insert(&storm.name);
                    for mount in &storm.mounts {
                        if !mounts.contains(mount) {
                            return Err((no_mount(mount), Some(mount.clone())));
                        }
                    }
                    if let Err(message) = storm.check() {
                        return Err((message, Some(storm.name.clone())));
                    }
                }
                Action::Guest(GuestStep::Verify { storm, .. }) if !storms.contains(storm) => {
                    return Err((
                        format!("there is no storm `{storm}` before this step"),
                        Some(storm.clone()),
                    ));
                }
                _ => {}
            }
            if let (true, Some(name)) = (step.background, &step.name) {
                background.insert(name);
            }
        }
        Ok(())
    }
}

fn no_mount(name: &str) -> String {
    format!("nothing called `{name}` is mounted before this step")
}

fn syntax_error(name: &str, text: &str, error: &serde_yaml::Error) -> WorkloadError {
    let place = error.location().map(|at| {
        let start = at.index().min(text.len());
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.find([':', '\n', ' ', ',', '}']).unwrap_or(rest.len());
        (start, length).into()
    });
    let message = error.to_string();
    WorkloadError::Invalid {
        help: names::did_you_mean_in(&message),
        message,
        text: Arc::new(NamedSource::new(name, text.to_owned())),
        place,
    }
}

fn default_step_timeout() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_workloads_are_workloads_of_their_name() {
        for name in Workload::shipped() {
            let workload = Workload::find(name, Path::new(".")).unwrap();
            assert_eq!(workload.name, name);
            assert!(!workload.reaches.is_empty(), "{name} does not say what for");
        }
    }

    #[test]
    fn steps_survive_the_way_to_the_guest_and_the_record() {
        for name in Workload::shipped() {
            let workload = Workload::find(name, Path::new(".")).unwrap();
            let text = serde_json::to_string(&workload).unwrap();
            assert_eq!(serde_json::from_str::<Workload>(&text).unwrap(), workload);
        }
    }

    fn refused(steps: &str) -> WorkloadError {
        let text = format!("name: w\nabout: x\nsteps:\n{steps}");
        Workload::load("w.yaml", &text).unwrap_err()
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place_and_the_nearest_one() {
        let error = refused("  - guest: { truncate: { pth: a/x, length: 0 } }\n");
        let WorkloadError::Invalid {
            message,
            help,
            place: Some(place),
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert!(message.contains("unknown field `pth`"), "{message}");
        assert!(message.contains("line 4"), "{message}");
        assert_eq!(help.as_deref(), Some("did you mean `path`?"));
        assert!(place.offset() > 20, "{place:?}");
    }

    #[test]
    fn an_unknown_step_suggests_one() {
        let error = refused("  - guest: { trunctae: { path: a/x, length: 0 } }\n");
        let WorkloadError::Invalid { help, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(help.as_deref(), Some("did you mean `truncate`?"));
    }

    #[test]
    fn names_must_exist_before_they_are_used() {
        for (steps, expected) in [
            (
                "  - host: { evict_client: { mount: b } }\n",
                "`b` is mounted",
            ),
            ("  - wait: storm\n", "`storm` runs"),
            (
                "  - guest: { verify: { storm: s, mount: a } }\n",
                "storm `s`",
            ),
            ("  - guest: sync\n    background: true\n", "needs a `name`"),
            ("  - { guest: sync, host: wait_healthy }\n", "exactly one"),
            ("  []\n", "needs steps"),
        ] {
            let error = refused(steps);
            assert!(error.to_string().contains(expected), "{steps}: {error}");
        }
    }

    #[test]
    fn an_unknown_workload_suggests_one() {
        let error = Workload::find("evict-trunkate", Path::new(".")).unwrap_err();
        let help = error.help().unwrap().to_string();
        assert!(help.contains("`evict-truncate`"), "{help}");
    }
}
