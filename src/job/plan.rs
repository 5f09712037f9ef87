//! The plan: a job with every name looked up and every default filled in. It
//! is what the stages work from and what `run --dry-run` prints.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::choice::{Choice, PATCHED};
use super::known::known;
use super::limits::{self, MOST_PLANNED};
use super::load::{JobError, Text};
use super::names::Names;
use super::part::Part;
use super::planned_workload::PlannedWorkload;
use super::rules::Rules;
use super::spec::{CounterTable, Job, Measure, Trials};
use super::variation::Variation;
use crate::detect::{ExtraRule, Mute, Target};
use crate::kernel::{self, KernelVersion, Snapshots};
use crate::library::{Found, Kind};
use crate::names::did_you_mean;
use crate::notify::Notify;
use crate::rootfs::Recipe;
use crate::service::{DiskSpec, ServiceSpec, Unfit};
use crate::step::Medium;
use crate::store::Key;
use crate::trial_id::TrialId;
use crate::vm::{Acceleration, Hardware, Startup};

/// A job, resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of jobs of its own"
)]
pub struct Plan {
    /// The job's name.
    pub name: String,
    /// The job file.
    pub job: PathBuf,
    /// The arms, in the job's order, without those that were not chosen.
    pub arms: Vec<Arm>,
    /// What guests mount, with the options the workloads need.
    #[serde(rename = "cluster", deserialize_with = "crate::service::recorded")]
    pub service: ServiceSpec,
    /// By what rules it is judged, and whether trials go on until there is a
    /// verdict.
    #[serde(default)]
    pub rules: Rules,
    /// What trials do; each arm names which of these.
    pub workloads: Vec<PlannedWorkload>,
    /// What the guests' root file system holds. A record from before jobs could
    /// say so has the agent alone.
    #[serde(default)]
    pub rootfs: Recipe,
    /// CPUs and memory of the machine.
    pub hardware: Hardware,
    /// Whether a kernel with the bug is declared to show the target in every
    /// trial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every_trial: bool,
    /// Other ways to run the trial, for `kvet bisect --amplify`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amplify: Vec<Variation>,
    /// What may run it.
    pub acceleration: Acceleration,
    /// How its guests come up.
    #[serde(default)]
    pub start: Startup,
    /// Findings that are shown and not counted: the job's, then those of lists.
    pub known: Vec<Mute>,
    /// Where each of `known` is written, `FILE:LINE`; earlier records do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_at: Vec<String>,
    /// Messages that are findings, besides those that kvet knows.
    #[serde(default)]
    pub patterns: Vec<ExtraRule>,
    /// Whether each arm's kernel is tested first for what it reports.
    #[serde(default)]
    pub self_test: bool,
    /// Whether it is counted which lines of the patches trials execute.
    #[serde(default, skip_serializing_if = "is_false")]
    pub coverage: bool,
    /// Whether the memory of guests that show something is kept: of the first
    /// two of an arm.
    #[serde(default)]
    pub dump: bool,
    /// Tables of counters that every trial reads at its end.
    #[serde(default)]
    pub counters: Vec<CounterTable>,
    /// Functions of the kernel whose calls and time every trial counts.
    #[serde(default)]
    pub profile: Vec<String>,
    /// What a report shows side by side for all arms.
    #[serde(default)]
    pub compare: Vec<Measure>,
    /// Where the names in it led.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Found>,
    /// The streams of kernels it asks about, before anything was pinned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// What decides the answer, if the answer is remembered: see
    /// [`crate::tested`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Key>,
    /// The states of directories that the question is about: kernels are built of
    /// these.
    #[serde(default, skip_serializing_if = "Snapshots::is_empty")]
    pub snapshots: Snapshots,
    /// Whom to tell that the verdict changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// The run that this is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Box<PartOf>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a part's plan remembers of the run it is of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartOf {
    /// Which part.
    pub part: Part,
    /// The whole run.
    pub whole: Plan,
}

/// One kernel variant, resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Arm {
    /// Its name in the job.
    pub name: String,
    /// Whether it must show the target.
    pub control: bool,
    /// Whether the command line added it: if its patches do not apply, there is
    /// nothing to run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub added: bool,
    /// What its kernel is made of.
    #[serde(flatten)]
    pub recipe: kernel::Recipe,
    /// Words added to the command line.
    pub command_line: String,
    /// The finding that is the bug in this arm.
    pub target: Option<Target>,
    /// How many trials of each workload; at most, if they go on until there is a
    /// verdict.
    pub trials: u32,
    /// The workloads, by name, in the job's order.
    pub workloads: Vec<String>,
}

impl Arm {
    /// How many trials of all workloads.
    #[must_use]
    pub fn planned(&self) -> u32 {
        let workloads = u32::try_from(self.workloads.len()).unwrap_or(u32::MAX);
        self.trials.saturating_mul(workloads)
    }

    /// The arm `patched` beside this one: the same with these series on top.
    fn with(&self, series: &[PathBuf]) -> Self {
        let mut arm = self.clone();
        PATCHED.clone_into(&mut arm.name);
        arm.control = false;
        arm.added = true;
        arm.recipe.series.extend_from_slice(series);
        arm
    }

    /// The same arm without these workloads.
    #[must_use]
    pub fn without(&self, workloads: &[String]) -> Self {
        let mut arm = self.clone();
        arm.workloads.retain(|name| !workloads.contains(name));
        arm
    }

    /// Its trials, in order: all those of the first workload come first.
    pub fn ids(&self) -> impl Iterator<Item = TrialId> {
        self.workloads.iter().flat_map(|workload| {
            (1..=self.trials).map(|number| TrialId {
                arm: self.name.clone(),
                workload: workload.clone(),
                number,
            })
        })
    }
}

impl Plan {
    /// Reads the job at `path` and looks up all it names.
    pub fn load(path: &Path, choice: &Choice) -> Result<Self, JobError> {
        let text = Text::read(path)?;
        let job = text.parse()?;
        let names = Names::of(path, &text, &choice.places);
        limits::check(&text, &job)?;
        let listed = known(&text, &job.known, path, &choice.places)?;
        let (rules, trials) = rules(&text, &job, choice)?;
        let (choice, beside) = &choice.with_patched(&text, &job)?;
        let known: Vec<&str> = job
            .arms
            .keys()
            .map(String::as_str)
            .chain(beside.iter().map(|_| PATCHED))
            .collect();
        chosen_exist(path, "arm", &choice.arms, &known)?;
        let medium = medium(&text, &job)?;
        let workloads = names.workloads(&job.workload, medium)?;
        let known: Vec<&str> = workloads
            .iter()
            .map(|planned| planned.workload.name.as_str())
            .collect();
        chosen_exist(path, "workload", &choice.workloads, &known)?;
        let rootfs = names.rootfs(&job.rootfs, &workloads)?;
        let service = service(&text, &job, &workloads)?;
        let patterns = [job.patterns.clone(), service.complaints()].concat();
        let mut arms = Vec::new();
        for (name, spec) in &job.arms {
            let chosen = |name: &String| choice.arms.is_empty() || choice.arms.contains(name);
            let with_patched = beside.as_ref() == Some(name) && chosen(&PATCHED.to_owned());
            if !chosen(name) && !with_patched {
                continue;
            }
            let fragments = names.fragments(&job, name, spec, choice)?;
            let mut series = Vec::new();
            for (index, patch) in spec.patches.iter().enumerate() {
                let place = ["arms", name.as_str(), "patches", &index.to_string()];
                series.push(names.patches(patch, &place)?);
            }
            workloads_exist(&text, name, &spec.workloads, &known)?;
            let of_arm = among(&known, &spec.workloads, &choice.workloads);
            // Chosen on the command line are only workloads that it leaves out.
            if of_arm.is_empty() {
                continue;
            }
            let source = choice.source.as_ref().or(spec.source.as_ref());
            let arm = Arm {
                workloads: of_arm,
                name: name.clone(),
                control: spec.control,
                added: false,
                recipe: kernel::Recipe {
                    source: source.unwrap_or(&job.kernel.source).clone(),
                    series,
                    fragments,
                    whole_config: choice.whole_config.clone(),
                    instrumented: Vec::new(),
                },
                command_line: job.kernel.command_line.clone(),
                target: spec.target.clone().or_else(|| job.target.clone()),
                trials: choice.trials.or(spec.trials).unwrap_or(trials),
            };
            let patched = with_patched.then(|| arm.with(&choice.patched));
            arms.extend(chosen(name).then_some(arm));
            arms.extend(patched);
        }
        if arms.is_empty() {
            let message = "the chosen arms have none of the chosen workloads".to_owned();
            let help = "choose fewer things: `--dry-run` shows the whole plan".to_owned();
            return Err(JobError::Choice(message, Some(help)));
        }
        not_too_many(&text, &arms)?;
        Ok(Self {
            stream: stream(&arms),
            rules,
            name: job.name,
            job: path.to_owned(),
            arms,
            service,
            rootfs,
            hardware: job.machine.hardware(),
            every_trial: job.rate.is_some(),
            amplify: job.amplify,
            acceleration: job.machine.accel,
            start: job.start,
            workloads,
            known: listed.entries,
            known_at: listed.at,
            patterns,
            self_test: job.self_test,
            coverage: choice.coverage,
            dump: job.dump || choice.dump,
            counters: job.counters,
            profile: job.profile,
            compare: job.compare,
            found: names.found(),
            question: None,
            snapshots: Snapshots::new(),
            notify: job.notify,
            part_of: None,
        })
    }

    /// Refuses trials that go on until there is a verdict if there can be none.
    pub fn can_settle(&self) -> Result<(), JobError> {
        if self.rules.until.is_none() || self.arms.iter().any(|arm| arm.control) {
            return Ok(());
        }
        let message = "trials cannot go on until the verdict is settled: there is no control";
        let help = "say `control: true` of the arm that shows the bug, or give a number";
        Err(JobError::Choice(message.to_owned(), Some(help.to_owned())))
    }

    /// Whether trials of this workload are measured to compare arms.
    #[must_use]
    pub fn measures(&self, workload: &str) -> bool {
        self.compare
            .iter()
            .any(|measure| measure.workload.as_deref().is_none_or(|of| of == workload))
    }

    /// The arm's workloads that are for later kernels than this one.
    #[must_use]
    pub fn too_new(&self, arm: &Arm, kernel: &KernelVersion) -> Vec<String> {
        let too_new = |name: &&String| {
            let planned = self.workload(name);
            planned.is_some_and(|planned| !planned.workload.serves(kernel))
        };
        arm.workloads.iter().filter(too_new).cloned().collect()
    }

    /// The workload of this name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&PlannedWorkload> {
        let mut all = self.workloads.iter();
        all.find(|planned| planned.workload.name == name)
    }
}

/// Refuses a workload of an arm that the job does not have.
fn workloads_exist(
    text: &Text,
    arm: &str,
    wanted: &[String],
    known: &[&str],
) -> Result<(), JobError> {
    for (index, wanted) in wanted.iter().enumerate() {
        if !known.contains(&wanted.as_str()) {
            let place = ["arms", arm, "workloads", &index.to_string()];
            let help = did_you_mean(wanted, known.iter().copied());
            let message = format!("the job has no workload `{wanted}`");
            return Err(text.error(&place, message, help));
        }
    }
    Ok(())
}

/// Those workloads of a job that an arm has and that were chosen; an empty list
/// leaves none out.
fn among(known: &[&str], of_arm: &[String], chosen: &[String]) -> Vec<String> {
    let is_in = |list: &[String], name: &str| list.is_empty() || list.iter().any(|one| one == name);
    let names = known.iter();
    let names = names.filter(|name| is_in(of_arm, name) && is_in(chosen, name));
    names.map(|name| (*name).to_owned()).collect()
}

/// Refuses more trials than a run can have.
fn not_too_many(text: &Text, arms: &[Arm]) -> Result<(), JobError> {
    let planned = arms.iter().map(Arm::planned).fold(0, u32::saturating_add);
    if planned <= MOST_PLANNED {
        return Ok(());
    }
    let message = format!("{planned} trials in all are more than {MOST_PLANNED}");
    Err(text.error(&["trials"], message, None))
}

/// What the arms' sources have in common over time.
fn stream(arms: &[Arm]) -> String {
    let mut streams: Vec<String> = arms.iter().map(|arm| arm.recipe.source.stream()).collect();
    streams.sort();
    streams.dedup();
    streams.join(", ")
}

/// Refuses a name on the command line that the job does not have.
fn chosen_exist(
    path: &Path,
    what: &str,
    chosen: &[String],
    known: &[&str],
) -> Result<(), JobError> {
    let Some(wanted) = chosen.iter().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let help = did_you_mean(wanted, known.iter().copied())
        .unwrap_or_else(|| format!("its {what}s are {}", known.join(", ")));
    let message = format!("{} has no {what} `{wanted}`", path.display());
    Err(JobError::Choice(message, Some(help)))
}

/// The job's service with the options its workloads need.
fn service(text: &Text, job: &Job, workloads: &[PlannedWorkload]) -> Result<ServiceSpec, JobError> {
    if let ServiceSpec::None = job.cluster {
        return without_cluster(text, job.disk.as_ref(), workloads);
    }
    let workloads = workloads.iter().map(|planned| &planned.workload);
    let wishes = workloads.map(|workload| (workload.name.as_str(), &workload.cluster));
    let service = job.cluster.with_options(wishes);
    service.map_err(|Unfit { key, message, help }| text.error(&[key], message, help))
}

/// What guests mount, by its kind. A disk instead of a cluster is wanted by both
/// words.
fn medium(text: &Text, job: &Job) -> Result<Medium, JobError> {
    match (&job.cluster, &job.disk) {
        (service, None) => Ok(service.kind()),
        (ServiceSpec::None, Some(_)) => Ok(Medium::Disk),
        (_, Some(_)) => {
            let message = "guests mount a cluster or a disk, not both".to_owned();
            let help = "a job with `disk:` says `cluster: none`".to_owned();
            Err(text.error(&["disk"], message, Some(help)))
        }
    }
}

/// A job without a cluster: its workloads must not need one.
fn without_cluster(
    text: &Text,
    disk: Option<&DiskSpec>,
    workloads: &[PlannedWorkload],
) -> Result<ServiceSpec, JobError> {
    let needs = workloads
        .iter()
        .find(|planned| planned.workload.disturbs_service());
    if let Some(Err((key, message, help))) = disk.map(DiskSpec::check) {
        return Err(text.error(&["disk", key], message, Some(help)));
    }
    match needs {
        None => Ok(disk.cloned().map_or(ServiceSpec::None, ServiceSpec::Disk)),
        Some(planned) => Err(text.error(
            &["cluster"],
            format!(
                "{} does things to a cluster, and the job has none",
                planned.workload.name
            ),
            Some("leave `cluster: none` out".to_owned()),
        )),
    }
}

/// By what rules the job is judged, and how many trials of each arm and workload
/// that makes (at most): the command line's word before the job's.
fn rules(text: &Text, job: &Job, choice: &Choice) -> Result<(Rules, u32), JobError> {
    let (number, until, most) = match job.trials {
        Trials::Number(number) => (number, None, None),
        Trials::Until { confidence, most } => (1, Some(confidence), most),
    };
    if let (Some(until), Some(confidence)) = (until, job.confidence)
        && until != confidence
    {
        return Err(text.error(
            &["confidence"],
            format!("trials go on until {until}, and the confidence is {confidence}"),
            Some("leave `confidence` out: `until` says it".to_owned()),
        ));
    }
    let Some(confidence) = choice.until.or(until.filter(|_| choice.trials.is_none())) else {
        let confidence = until.or(job.confidence).unwrap_or_default();
        let until = None;
        return Ok((Rules { confidence, until }, number));
    };
    let rules = Rules::until(confidence, choice.trials.or(most));
    Ok((rules, rules.until.unwrap_or(number)))
}

impl fmt::Display for Plan {
    /// The plan for a person, as `run --dry-run` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job       {}", self.name)?;
        writeln!(f, "cluster   {}", self.service.summary())?;
        if self.rules != Rules::default() {
            writeln!(f, "verdict   at {} confidence", self.rules.confidence)?;
        }
        for PlannedWorkload { workload, .. } in &self.workloads {
            let steps = workload.steps.len();
            write!(f, "workload  {} ({steps} steps", workload.name)?;
            if let Some(from) = &workload.from {
                write!(f, ", from {from}")?;
            }
            writeln!(f, ")")?;
        }
        writeln!(
            f,
            "machine   {} CPUs, {} MiB",
            self.hardware.cpus, self.hardware.memory
        )?;
        writeln!(f, "rootfs    {}", self.rootfs.name)?;
        for arm in &self.arms {
            let role = if arm.control { " (control)" } else { "" };
            let most = match self.rules.until {
                Some(_) => "at most ",
                None => "",
            };
            let trials = arm.planned();
            writeln!(f, "\narm {}{role}, {most}{trials} trials", arm.name)?;
            writeln!(f, "  source   {}", arm.recipe.source.name())?;
            writeln!(f, "  patches  {}", names(&arm.recipe.series))?;
            write!(f, "  config   {}", names(&arm.recipe.fragments))?;
            match &arm.recipe.whole_config {
                Some(path) => writeln!(f, ", on top of {}", path.display())?,
                None => writeln!(f)?,
            }
            if arm.workloads.len() < self.workloads.len() {
                writeln!(f, "  only     {}", arm.workloads.join(", "))?;
            }
        }
        if !self.found.is_empty() {
            writeln!(f, "\nwhere the names lead")?;
        }
        for found in &self.found {
            let kind = match found.kind {
                Kind::Job => "job",
                Kind::Workload => "workload",
                Kind::Series => "patches",
                Kind::Fragment => "config",
                Kind::Rootfs => "rootfs",
            };
            writeln!(f, "  {kind:8} {}: {found}", found.name)?;
        }
        Ok(())
    }
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy()))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests;
