//! A workload: the ordered steps that guest and host take in a trial, read
//! from YAML (`jobs/workloads/*.yaml`, or a file beside a job) and checked
//! before anything starts.
//!
//! The driver of a trial walks [`Workload::steps`]: guest steps go over the
//! link to the agent, host steps to the cluster. Nothing here does anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use miette::{Diagnostic, NamedSource, SourceSpan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::step::{GuestStep, HostStep};

use crate::error::{Exit, Fault};
use crate::library;
use crate::names::{self, Missing, Named};
use crate::printable::{printable, printable_in_place};
use crate::step::{KernelStep, Medium, MountStep, ProgramStep, StormStep, errno, values};
use crate::version::KernelVersion;

/// Where the workloads that come with kvet lie in its sources.
const DIRECTORY: &str = "jobs/workloads";

/// The workloads that come with kvet, by name.
static SHIPPED: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| library::texts(DIRECTORY, ".yaml"));

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
    /// Without the steps for other file systems it makes no sense.
    #[error("{name} on {medium}: {message}")]
    #[diagnostic(help("its steps for other file systems (`only`) are left out there"))]
    Elsewhere {
        /// The workload.
        name: String,
        /// What guests mount.
        medium: &'static str,
        /// What is wrong.
        message: String,
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
    #[serde(default = "default_step_timeout", with = "crate::duration")]
    pub step_timeout: Duration,
    /// Mounts that are still there at the end on purpose; all others are
    /// unmounted then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves_mounted: Vec<String>,
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
    /// It is left out of trials in which guests mount something else; of none
    /// if this is empty.
    pub only: Vec<Medium>,
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
        with = "crate::duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    background: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<Medium>,
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
            only: raw.only,
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
            only: step.only,
            guest,
            host,
            wait,
        }
    }
}

impl Step {
    /// How long it takes, or may take, by itself, whatever else it meets.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match &self.action {
            Action::Guest(step) => step.lasts(),
            Action::Host(step) => step.lasts(),
            Action::Wait(_) => Duration::ZERO,
        }
    }

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
        match names::find(&SHIPPED, DIRECTORY, name, base) {
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
                text: Arc::new(NamedSource::new(printable(name), printable_in_place(text))),
                place,
                help: None,
            }
        })?;
        Ok(workload)
    }

    /// The workload as it is where guests mount this: without the steps for
    /// others. What is left must make sense by itself.
    pub fn on(mut self, medium: Medium) -> Result<Self, WorkloadError> {
        let all = self.steps.len();
        self.steps
            .retain(|step| step.only.is_empty() || step.only.contains(&medium));
        if self.steps.len() == all {
            return Ok(self);
        }
        let left = self.check();
        left.map_err(|(message, _)| WorkloadError::Elsewhere {
            name: self.name.clone(),
            medium: medium.into(),
            message,
        })?;
        Ok(self)
    }

    /// The step that sets the workload's kernel parameters, before all others;
    /// none if it has no wishes.
    #[must_use]
    pub fn preparation(&self) -> Option<GuestStep> {
        (!self.sysctls.is_empty()).then(|| KernelStep::Sysctl(self.sysctls.clone()).into())
    }

    /// The step that unmounts what the workload's steps mounted, after all
    /// others.
    #[must_use]
    pub fn conclusion(&self) -> GuestStep {
        let except = self.leaves_mounted.clone();
        MountStep::UmountAll { except }.into()
    }

    /// The steps in the background that no `wait` names.
    pub fn unawaited(&self) -> impl Iterator<Item = &str> {
        let is_awaited = |name: &str| {
            let mut actions = self.steps.iter().map(|step| &step.action);
            actions.any(|action| matches!(action, Action::Wait(awaited) if awaited == name))
        };
        self.steps
            .iter()
            .filter(|step| step.background)
            .filter_map(|step| step.name.as_deref())
            .filter(move |name| !is_awaited(name))
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

    /// Whether it mounts what the job says that guests mount.
    #[must_use]
    pub fn mounts_service(&self) -> bool {
        self.steps.iter().any(|step| {
            let Action::Guest(GuestStep::Mount(MountStep::Mount { local, .. })) = &step.action
            else {
                return false;
            };
            !local
        })
    }

    /// The programs of the root file system that its steps run, by name. Paths
    /// are left out: an earlier step may have made such a file.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Guest(GuestStep::Program(ProgramStep::Exec { program, .. }))
                if !program.contains('/') =>
            {
                Some(program.as_str())
            }
            Action::Guest(GuestStep::Program(ProgramStep::Xfstests { .. })) => Some("bash"),
            _ => None,
        })
    }

    /// What YAML's shape cannot say: names that are used exist.
    fn check(&self) -> Result<(), Complaint> {
        if self.steps.is_empty() {
            return Err(("a workload needs steps".to_owned(), None));
        }
        if self.steps.len() > MOST_STEPS {
            return Err((format!("a workload has at most {MOST_STEPS} steps"), None));
        }
        limited(self.step_timeout)?;
        let mut known = Names::default();
        for step in &self.steps {
            check_times(step)?;
            check_errors(step)?;
            known.check(step)?;
        }
        known.are_mounted(&self.leaves_mounted)
    }
}

/// What is wrong, and the word in the text that it is about.
type Complaint = (String, Option<String>);

/// The names that a workload's steps have given so far.
#[derive(Default)]
struct Names<'a> {
    /// With where each of its steps is done.
    background: BTreeMap<&'a str, Vec<&'a [Medium]>>,
    mounts: BTreeSet<&'a str>,
    storms: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    /// Checks the names that a step uses and keeps those that it gives.
    fn check(&mut self, step: &'a Step) -> Result<(), Complaint> {
        match &step.action {
            Action::Wait(name) if !self.background.contains_key(name.as_str()) => {
                return Err((
                    format!("nothing called `{name}` runs in the background here"),
                    Some(format!("wait: {name}")),
                ));
            }
            Action::Host(HostStep::EvictClient { mount }) => self.is_mounted(mount)?,
            Action::Guest(GuestStep::Mount(step)) => self.mount(step)?,
            Action::Guest(GuestStep::Storm(step)) => self.storm(step)?,
            Action::Wait(_) | Action::Host(_) | Action::Guest(_) => {}
        }
        if step.background && !matches!(step.action, Action::Guest(_)) {
            let name = step.name.clone().unwrap_or_default();
            return Err((
                format!(
                    "`{name}` cannot run in the background: only a step of the guest's can, \
                     those of the host are done one after the other"
                ),
                Some(name),
            ));
        }
        if let (true, Some(name)) = (step.background, &step.name) {
            let others = self.background.entry(name).or_default();
            if others.iter().any(|other| meet(other, &step.only)) {
                return Err((
                    format!("two steps in the background are called `{name}`"),
                    Some(name.clone()),
                ));
            }
            others.push(&step.only);
        }
        Ok(())
    }

    fn mount(&mut self, step: &'a MountStep) -> Result<(), Complaint> {
        match step {
            MountStep::Mount { name, .. } => {
                if name.is_empty() || name.contains(['/', '.', '\0']) {
                    return Err((
                        format!("`{name}` cannot name a mount: no `/`, no `.`, and not empty"),
                        Some(name.clone()),
                    ));
                }
                self.mounts.insert(name);
                Ok(())
            }
            MountStep::Remount { name, .. } | MountStep::Umount { name, .. } => {
                self.is_mounted(name)
            }
            MountStep::UmountAll { except } => self.are_mounted(except),
            MountStep::Syncfs { mount } => self.is_mounted(mount),
            MountStep::Sync => Ok(()),
        }
    }

    fn storm(&mut self, step: &'a StormStep) -> Result<(), Complaint> {
        match step {
            StormStep::Storm(storm) => {
                self.storms.insert(&storm.name);
                self.are_mounted(&storm.mounts)?;
                storm
                    .check()
                    .map_err(|message| (message, Some(storm.name.clone())))
            }
            StormStep::Verify { storm, .. } if !self.storms.contains(storm.as_str()) => Err((
                format!("there is no storm `{storm}` before this step"),
                Some(storm.clone()),
            )),
            StormStep::Verify { mount, .. } => self.is_mounted(mount),
        }
    }

    fn are_mounted(&self, names: &[String]) -> Result<(), Complaint> {
        names.iter().try_for_each(|name| self.is_mounted(name))
    }

    fn is_mounted(&self, name: &str) -> Result<(), Complaint> {
        if self.mounts.contains(name) {
            Ok(())
        } else {
            Err((no_mount(name), Some(name.to_owned())))
        }
    }
}

/// Whether there are trials that have both of two steps, by their `only`.
fn meet(one: &[Medium], other: &[Medium]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|medium| other.contains(medium))
}

/// The longest that anything in a workload may take; emulation multiplies it.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Steps of a workload. Those that come with kvet have some twenty.
const MOST_STEPS: usize = 10_000;

/// Holds the times of a step to what a deadline can be made of.
fn check_times(step: &Step) -> Result<(), Complaint> {
    if let Some(timeout) = step.timeout {
        limited(timeout)?;
    }
    limited(step.lasts())
}

/// Sees that the failures that a step may have can be told.
fn check_errors(step: &Step) -> Result<(), Complaint> {
    let tolerated = match &step.action {
        Action::Guest(GuestStep::Storm(StormStep::Storm(storm))) => &storm.tolerate[..],
        _ => &[],
    };
    let mut names = step.allow.iter().chain(tolerated);
    names.try_for_each(|name| errno::check(name).map_err(|message| (message, Some(name.clone()))))
}

fn limited(time: Duration) -> Result<(), Complaint> {
    if time <= LONGEST {
        return Ok(());
    }
    Err(("a step's time is at most a day".to_owned(), None))
}

fn no_mount(name: &str) -> String {
    format!("nothing called `{name}` has been mounted by here")
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
        text: Arc::new(NamedSource::new(printable(name), printable_in_place(text))),
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
    fn every_file_of_the_directory_is_shipped() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(DIRECTORY);
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let shipped: BTreeSet<String> = Workload::shipped()
            .iter()
            .map(|name| format!("{name}.yaml"))
            .collect();
        assert_eq!(shipped, files);
    }

    #[test]
    fn what_a_workload_leaves_mounted_is_not_unmounted_at_its_end() {
        let mount = "name: w\nabout: x\nsteps:\n  - guest: { mount: { name: a } }\n";
        let conclusion = |text: &str| Workload::load("w.yaml", text).unwrap().conclusion();
        let all = |except| GuestStep::from(MountStep::UmountAll { except });
        assert_eq!(conclusion(mount), all(vec![]));
        let left = conclusion(&format!("{mount}leaves_mounted: [a]\n"));
        assert_eq!(left, all(vec!["a".to_owned()]));
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
    fn times_that_no_deadline_can_hold_are_refused() {
        for step in [
            "  - { timeout: 500000y, guest: sync }\n",
            "  - host: { pause: 500000y }\n",
            "  - host: { mds_cache_drop: { timeout: 25h } }\n",
            "  - guest: { wait_size: { path: a/x, length: 0, within: 25h } }\n",
            "  - guest: sync\nstep_timeout: 25h\n",
        ] {
            let error = refused(step).to_string();
            assert!(error.contains("at most a day"), "{step}: {error}");
        }
        let many = "  - guest: sync\n".repeat(MOST_STEPS + 1);
        assert!(refused(&many).to_string().contains("at most 10000 steps"));
    }

    #[test]
    fn only_a_step_of_the_guest_s_runs_in_the_background() {
        for step in ["host: { pause: 1s }", "wait: a"] {
            let error = refused(&format!(
                "  - {{ name: a, background: true, guest: sync }}\n  \
                 - {{ name: rest, background: true, {step} }}\n"
            ));
            let WorkloadError::Invalid { message, place, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(message.contains("`rest` cannot run in the background"));
            assert!(place.is_some());
        }
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
                "`b` has been mounted",
            ),
            (
                "  - guest: { syncfs: { mount: b } }\n",
                "`b` has been mounted",
            ),
            (
                "  - guest: { umount_all: { except: [b] } }\n",
                "`b` has been mounted",
            ),
            (
                "  - guest: { mount: { name: a/b } }\n",
                "`a/b` cannot name a mount",
            ),
            (
                "  - guest: sync\nleaves_mounted: [b]\n",
                "`b` has been mounted",
            ),
            ("  - wait: storm\n", "`storm` runs"),
            (
                "  - { allow: [ENOSPACE], guest: sync }\n",
                "no error `ENOSPACE`: did you mean `ENOSPC`?",
            ),
            (
                "  - guest: { mount: { name: a } }\n  \
                 - guest: { storm: { name: s, mounts: [a], operations: 1, tolerate: [IO] } }\n",
                "no error `IO`",
            ),
            (
                "  - guest: { verify: { storm: s, mount: a } }\n",
                "storm `s`",
            ),
            ("  - guest: sync\n    background: true\n", "needs a `name`"),
            (
                "  - { name: a, background: true, guest: sync }\n  - wait: a\n  \
                 - { name: a, background: true, guest: sync }\n  - wait: a\n",
                "two steps in the background are called `a`",
            ),
            ("  - { guest: sync, host: wait_healthy }\n", "exactly one"),
            ("  []\n", "needs steps"),
        ] {
            let error = refused(steps);
            assert!(error.to_string().contains(expected), "{steps}: {error}");
        }
    }

    #[test]
    fn steps_for_other_file_systems_are_left_out() {
        let steps = "name: w\nabout: x\nsteps:\n  - guest: { mount: { name: a } }\n";
        let text =
            format!("{steps}  - {{ only: [ceph], host: {{ evict_client: {{ mount: a }} }} }}\n");
        let workload = Workload::load("w.yaml", &text).unwrap();
        let left = |medium| workload.clone().on(medium).unwrap();
        assert_eq!(left(Medium::Ceph).steps.len(), 2);
        assert_eq!(left(Medium::Disk).steps.len(), 1);
        assert!(!left(Medium::Disk).disturbs_service());
        let text = format!(
            "{steps}  - {{ only: [disk], name: b, background: true, guest: sync }}\n  - wait: b\n"
        );
        let workload = Workload::load("w.yaml", &text).unwrap();
        workload.clone().on(Medium::Disk).unwrap();
        let error = workload.on(Medium::Ceph).unwrap_err().to_string();
        let both = "name: a, background: true, guest: sync";
        let text = format!(
            "{steps}  - {{ only: [ceph], {both} }}\n  - {{ only: [disk], {both} }}\n  - wait: a\n"
        );
        let either = Workload::load("w.yaml", &text).unwrap();
        assert_eq!(either.on(Medium::Ceph).unwrap().steps.len(), 3);
        assert!(error.contains("w on ceph: nothing called `b`"), "{error}");
    }

    #[test]
    fn an_unknown_workload_suggests_one() {
        let error = Workload::find("evict-trunkate", Path::new(".")).unwrap_err();
        let help = error.help().unwrap().to_string();
        assert!(help.contains("`evict-truncate`"), "{help}");
    }
}
