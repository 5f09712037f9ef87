//! The plan: a job with every name looked up and every default filled in. It
//! is what the stages work from and what `run --dry-run` prints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::choice::{Choice, PATCHED};
use super::known::known;
use super::limits::{self, MOST_PLANNED};
use super::load::{JobError, Text};
use super::names::Names;
use super::parts::PartOf;
use super::spec::{CounterTable, Job, Measure, Trials};
use super::variation::Variation;
use crate::detect::{ExtraRule, Mute, Target};
use crate::kernel::{self, KernelVersion};
use crate::library::{Found, Kind};
use crate::names::did_you_mean;
use crate::notify::Notify;
use crate::rootfs::Recipe;
use crate::service::{DiskSpec, ServiceSpec};
use crate::step::Medium;
use crate::store::Key;
use crate::trial_id::TrialId;
use crate::verdict::Rules;
use crate::vm::{Acceleration, Hardware, Startup};
use crate::workload::Workload;

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

/// A workload with what the job says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedWorkload {
    /// Its steps.
    pub workload: Workload,
    /// The most a trial's steps may take together, before scaling; each step
    /// has a limit of its own besides.
    pub timeout: Option<Duration>,
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

/// The job's service with the options its workloads need. The job's own word
/// wins; two workloads that contradict each other cannot share a cluster.
fn service(text: &Text, job: &Job, workloads: &[PlannedWorkload]) -> Result<ServiceSpec, JobError> {
    let ServiceSpec::Ceph(spec) = &job.cluster else {
        return without_cluster(text, job.disk.as_ref(), workloads);
    };
    let mut wishes: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for Workload { name, cluster, .. } in workloads.iter().map(|planned| &planned.workload) {
        for (option, value) in cluster {
            let (other, earlier) = *wishes.entry(option).or_insert((name, value));
            if earlier != value && !spec.options.contains_key(option) {
                return Err(text.error(
                    &["workload"],
                    format!("{other} needs {option}={earlier} and {name} {option}={value}"),
                    Some("say in cluster.options which it is, or make two jobs of it".to_owned()),
                ));
            }
        }
    }
    let mut cluster = spec.clone();
    for (option, (_, value)) in wishes {
        let options = &mut cluster.options;
        options
            .entry(option.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    if let Err(error) = cluster.check() {
        return Err(text.error(&["cluster"], error.to_string(), None));
    }
    Ok(ServiceSpec::Ceph(cluster))
}

/// What guests mount, by its kind. A disk instead of a cluster is wanted by both
/// words.
fn medium(text: &Text, job: &Job) -> Result<Medium, JobError> {
    match (&job.cluster, &job.disk) {
        (ServiceSpec::Ceph(_), None) => Ok(Medium::Ceph),
        (ServiceSpec::Ceph(_), Some(_)) => {
            let message = "guests mount a cluster or a disk, not both".to_owned();
            let help = "a job with `disk:` says `cluster: none`".to_owned();
            Err(text.error(&["disk"], message, Some(help)))
        }
        (_, Some(_)) => Ok(Medium::Disk),
        (_, None) => Ok(Medium::Tmpfs),
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
mod tests {
    use miette::Diagnostic;

    use super::*;
    use crate::verdict::Confidence;

    /// Loads a job from a directory that has one fragment and one series.
    fn load(job: &str, choice: &Choice) -> Result<Plan, JobError> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("kconfigs")).unwrap();
        std::fs::create_dir_all(root.path().join("patches/cure")).unwrap();
        std::fs::write(root.path().join("kconfigs/base.config"), "").unwrap();
        let path = root.path().join("job.yaml");
        std::fs::write(&path, job).unwrap();
        Plan::load(&path, choice)
    }

    const JOB: &str = "\
name: j
kernel: { source: { debian: linux-source-7.3 }, config: [base] }
workload: { use: evict-truncate }
target: { class: hung_task }
trials: 2
arms:
  stock: { control: true }
  early: { control: true, target: { class: vfs_bug }, trials: 5 }
  fixed: { patches: [cure] }
";

    #[test]
    fn an_arm_of_an_older_record_is_read_and_written_with_the_same_keys() {
        let arm = r#"{"name":"fixed","control":false,"source":{"dir":"/linux"},
            "patches":["/p/cure"],"fragments":["/k/base.config"],"command_line":"",
            "target":null,"trials":3,"workloads":["w"]}"#;
        let before: serde_json::Value = serde_json::from_str(arm).unwrap();
        let arm: Arm = serde_json::from_str(arm).unwrap();
        assert_eq!(arm.recipe.series, [PathBuf::from("/p/cure")]);
        assert_eq!(arm.recipe.fragments, [PathBuf::from("/k/base.config")]);
        assert_eq!(serde_json::to_value(&arm).unwrap(), before);
    }

    #[test]
    fn what_is_compared_is_measured() {
        let compare = "compare:\n  - { name: n, workload: evict-truncate, counter: c }\n";
        let plan = load(&format!("{JOB}{compare}"), &Choice::default()).unwrap();
        assert!(plan.measures("evict-truncate") && !plan.measures("quota"));
        let all = "compare:\n  - { name: n, counter: c }\n";
        let plan = load(&format!("{JOB}{all}"), &Choice::default()).unwrap();
        assert!(plan.measures("evict-truncate"));
        let plan = load(JOB, &Choice::default()).unwrap();
        assert!(!plan.measures("evict-truncate"));
    }

    #[test]
    fn an_arm_s_own_words_win_over_the_job_s_and_the_command_line_over_both() {
        let plan = load(JOB, &Choice::default()).unwrap();
        let trials = |plan: &Plan| plan.arms.iter().map(|a| a.trials).collect::<Vec<_>>();
        assert_eq!(trials(&plan), [2, 5, 2]);
        assert_ne!(plan.arms[0].target, plan.arms[1].target);
        assert_eq!(plan.arms[0].target, plan.arms[2].target);
        assert!(plan.arms[2].recipe.series[0].ends_with("patches/cure"));
        let choice = Choice {
            arms: vec!["fixed".to_owned(), "early".to_owned()],
            trials: Some(1),
            ..Choice::default()
        };
        let plan = load(JOB, &choice).unwrap();
        let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, ["early", "fixed"]);
        assert_eq!(trials(&plan), [1, 1]);
    }

    #[test]
    fn a_patch_adds_an_arm_beside_the_plainest_control() {
        let choice = Choice {
            patched: vec![PathBuf::from("/mails/x")],
            ..Choice::default()
        };
        let shown = |job: &str, choice: &Choice| {
            let plan = load(job, choice).unwrap();
            let arms = plan.arms.into_iter();
            let shown = arms.map(|arm| (arm.name, arm.control, arm.recipe.series.len()));
            shown.collect::<Vec<_>>()
        };
        let arm = |name: &str, control, series| (name.to_owned(), control, series);
        let job = JOB.replace(
            "  stock:",
            "  first: { control: true, patches: [cure] }\n  stock:",
        );
        let both = [arm("stock", true, 0), arm("patched", false, 1)];
        assert_eq!(shown(&job, &choice), both);
        let three = Choice {
            arms: ["fixed", "patched", "first"].map(str::to_owned).to_vec(),
            ..choice.clone()
        };
        let three = shown(&job, &three);
        assert_eq!(
            three,
            [
                arm("first", true, 1),
                arm("patched", false, 1),
                arm("fixed", false, 1)
            ]
        );
        let taken = JOB.replace("  fixed:", "  patched:");
        let error = load(&taken, &choice).unwrap_err().to_string();
        assert!(error.contains("job.yaml:9:"), "{error}");
        let none = Choice {
            arms: vec!["patched".to_owned()],
            ..Choice::default()
        };
        assert!(load(JOB, &none).is_err());
    }

    #[test]
    fn a_workload_s_options_for_the_cluster_give_way_to_the_job_s() {
        let plan = load(JOB, &Choice::default()).unwrap();
        let option = "mds_session_blocklist_on_evict";
        assert_eq!(plan.service.cluster().unwrap().options[option], "false");
        let job = format!("{JOB}cluster: {{ options: {{ {option}: \"true\" }} }}\n");
        let plan = load(&job, &Choice::default()).unwrap();
        assert_eq!(plan.service.cluster().unwrap().options[option], "true");
    }

    /// The job with this for its workloads.
    fn with_workloads(workloads: &str) -> String {
        JOB.replace("{ use: evict-truncate }", workloads)
    }

    #[test]
    fn workloads_are_one_or_a_list_by_name_or_with_more_words() {
        for one in [
            "evict-truncate",
            "[evict-truncate]",
            "[use: evict-truncate]",
        ] {
            let plan = load(&with_workloads(one), &Choice::default()).unwrap();
            assert_eq!(plan.workloads.len(), 1, "{one}");
            assert_eq!(plan.arms[0].workloads, ["evict-truncate"]);
        }
        let list = "[evict-truncate, { use: flush-ack, timeout: 5m }]";
        let plan = load(&with_workloads(list), &Choice::default()).unwrap();
        let limits: Vec<_> = plan.workloads.iter().map(|w| w.timeout).collect();
        assert_eq!(limits, [None, Some(Duration::from_mins(5))]);
    }

    #[test]
    fn trials_of_an_arm_go_through_its_workloads_with_the_same_seeds() {
        let job = with_workloads("[evict-truncate, flush-ack]").replace(
            "fixed: { patches: [cure] }",
            "fixed: { patches: [cure], workloads: [flush-ack] }",
        );
        let plan = load(&job, &Choice::default()).unwrap();
        let course = |arm: &Arm| -> Vec<_> {
            let ids = arm.ids();
            ids.map(|id| (id.workload.clone(), id.seed())).collect()
        };
        let trial = |name: &str, seed| (name.to_owned(), seed);
        let (a, b) = ("evict-truncate", "flush-ack");
        let stock = [trial(a, 1), trial(a, 2), trial(b, 1), trial(b, 2)];
        assert_eq!(course(&plan.arms[0]), stock);
        assert_eq!(course(&plan.arms[2]), [trial(b, 1), trial(b, 2)]);
        let only = Choice {
            workloads: vec![a.to_owned()],
            ..Choice::default()
        };
        let plan = load(&job, &only).unwrap();
        assert_eq!(plan.arms[0].workloads, [a]);
        assert_eq!(plan.arms.len(), 2, "an arm with nothing to do is left out");
        let nothing = Choice {
            arms: vec!["fixed".to_owned()],
            ..only
        };
        assert!(matches!(load(&job, &nothing), Err(JobError::Choice(..))));
    }

    #[test]
    fn a_kernel_leaves_out_what_is_for_later_ones() {
        let job = with_workloads("[evict-truncate, encrypted-names]");
        let plan = load(&job, &Choice::default()).unwrap();
        assert!(
            plan.to_string()
                .contains("encrypted-names (9 steps, from 6.6)")
        );
        let workloads = |kernel: &str| {
            let left_out = plan.too_new(&plan.arms[0], &kernel.parse().unwrap());
            plan.arms[0].without(&left_out).workloads
        };
        assert_eq!(workloads("6.5.13"), ["evict-truncate"]);
        assert_eq!(workloads("6.6-rc1"), ["evict-truncate", "encrypted-names"]);
    }

    #[test]
    fn workloads_that_are_not_there_or_twice_are_shown_in_their_place() {
        for (workloads, place, message) in [
            (
                "[evict-truncate, flush-ak]",
                ":3:28:",
                "no workload `flush-ak`",
            ),
            ("{ use: flush-ak }", ":3:18:", "no workload `flush-ak`"),
            ("[flush-ack, flush-ack]", ":3:23:", "is there twice"),
            ("[]", ":3:11:", "at least one workload"),
        ] {
            let error = load(&with_workloads(workloads), &Choice::default()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(message) && error.contains(place), "{error}");
        }
        let job = JOB.replace("[cure]", "[cure], workloads: [flush-ack]");
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(error.contains("has no workload `flush-ack`"), "{error}");
    }

    #[test]
    fn workloads_that_contradict_each_other_need_the_job_s_word() {
        let root = tempfile::tempdir().unwrap();
        let text = "{ name: other, about: x, steps: [guest: sync], \
                    cluster: { mds_session_blocklist_on_evict: true } }";
        let path = root.path().join("other.yaml");
        std::fs::write(&path, text).unwrap();
        let job = with_workloads(&format!("[evict-truncate, {}]", path.display()));
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(
            error.contains("evict-truncate needs mds_session"),
            "{error}"
        );
        let job = format!("{job}cluster: {{ options: {{ mds_session_blocklist_on_evict: 1 }} }}\n");
        load(&job, &Choice::default()).unwrap();
    }

    #[test]
    fn the_root_file_system_has_what_workloads_run() {
        let root = tempfile::tempdir().unwrap();
        let text = "{ name: tool, about: x, steps: [ \
                    { guest: { exec: { program: /tmp/made-before } } }, \
                    { guest: { exec: { program: fio } } } ] }";
        let path = root.path().join("tool.yaml");
        std::fs::write(&path, text).unwrap();
        let job = with_workloads(&path.display().to_string());
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(error.contains("job.yaml:3:11: tool runs `fio`"), "{error}");
        let plan = load(&format!("{job}rootfs: fio\n"), &Choice::default()).unwrap();
        assert_eq!(plan.rootfs.name, "fio");
        let error = load(&format!("{job}rootfs: foi\n"), &Choice::default()).unwrap_err();
        assert!(
            error.to_string().contains("job.yaml:10:9: there is no"),
            "{error}"
        );
    }

    #[test]
    fn a_self_test_brings_the_fragment_it_needs() {
        let job = format!("{JOB}self_test: true\n");
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(error.contains("job.yaml:10:"), "{error}");
        assert!(error.contains("fragment `lkdtm`"), "{error}");
        let root = tempfile::tempdir().unwrap();
        let kconfigs = root.path().join("kconfigs");
        std::fs::create_dir_all(&kconfigs).unwrap();
        std::fs::create_dir_all(root.path().join("patches/cure")).unwrap();
        for name in ["base", "lkdtm"] {
            std::fs::write(kconfigs.join(format!("{name}.config")), "").unwrap();
        }
        let path = root.path().join("job.yaml");
        for (config, fragments) in [("[base]", 2), ("[base, lkdtm]", 2)] {
            std::fs::write(&path, job.replace("[base]", config)).unwrap();
            let plan = Plan::load(&path, &Choice::default()).unwrap();
            assert!(plan.self_test);
            for arm in &plan.arms {
                assert_eq!(arm.recipe.fragments.len(), fragments, "{config}");
                assert!(arm.recipe.fragments[1].ends_with("kconfigs/lkdtm.config"));
            }
        }
    }

    #[test]
    fn a_plan_survives_its_record() {
        let plan = load(JOB, &Choice::default()).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let again: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }

    #[test]
    fn an_arm_s_name_can_be_a_directory_s() {
        for name in ["../up", "a/b", "'..'", "'a b'", "''"] {
            let job = JOB.replace("fixed:", &format!("{name}:"));
            let error = load(&job, &Choice::default()).unwrap_err();
            assert!(error.to_string().contains("cannot be called"), "{error}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_be_is_told_before_anything_is_built() {
        let job = format!("{JOB}cluster: {{ osd: 0 }}\n");
        let error = load(&job, &Choice::default()).unwrap_err();
        assert!(error.to_string().contains("job.yaml:10:"), "{error}");
    }

    #[test]
    fn a_job_can_do_without_a_cluster_if_its_workloads_can() {
        let job = format!("{JOB}cluster: none\n");
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(
            error.contains("evict-truncate does things to a cluster"),
            "{error}"
        );
        let job = job.replace("evict-truncate", "writeback-storm");
        let plan = load(&job, &Choice::default()).unwrap();
        assert!(matches!(plan.service, ServiceSpec::None));
        let text = serde_json::to_string(&plan).unwrap();
        assert!(text.contains(r#""cluster":"none""#), "{text}");
    }

    #[test]
    fn a_job_can_have_a_disk_instead_of_a_cluster() {
        let job = JOB.replace("evict-truncate", "umount-storm");
        let with = |disk: &str| load(&format!("{job}{disk}\n"), &Choice::default());
        let disk = "cluster: none\ndisk: { size: 1GiB, fs: ext4 }";
        let plan = with(disk).unwrap();
        assert_eq!(plan.service.summary(), "none; a disk of 1 GiB with ext4");
        // What its kernel says of damage is a finding.
        let complaint = |rule: &ExtraRule| rule.message.matches("EXT4-fs error (device vda): x");
        assert!(plan.patterns.iter().any(complaint));
        // The same workload has other steps on a cluster.
        let steps = |plan: &Plan| plan.workloads[0].workload.steps.len();
        let on_ceph = load(&job, &Choice::default()).unwrap();
        assert!(steps(&plan) < steps(&on_ceph));
        let text = serde_json::to_string(&plan).unwrap();
        assert!(text.contains(r#""cluster":{"disk":{"size":1073741824,"fs":"ext4"}}"#));
        let again: Plan = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        for (disk, says) in [
            (
                "disk: { size: 1GiB, fs: ext4 }",
                "job.yaml:10:7: guests mount a cluster or a disk",
            ),
            ("cluster: none\ndisk: { size: 1TiB, fs: ext4 }", "1TiB"),
            (
                "cluster: none\ndisk: { size: 999GiB, fs: xfs }",
                "job.yaml:11:15: a disk with xfs cannot have 999 GiB",
            ),
            (
                "cluster: none\ndisk: { size: 1GiB, fs: ext5 }",
                "unknown variant `ext5`",
            ),
            ("cluster: none\ndisk: { size: 1GiB }", "missing field `fs`"),
        ] {
            let error = with(disk).unwrap_err().to_string();
            assert!(error.contains(says), "{disk}: {error}");
        }
    }

    #[test]
    fn trials_go_on_until_the_verdict_is_as_sure_as_was_asked_for() {
        let load = |trials: &str, choice: &Choice| {
            let job = JOB.replace("trials: 2", trials).replace(", trials: 5", "");
            load(&job, choice).map(|plan| (plan.rules, plan.arms[0].trials))
        };
        let sure = |text: &str| text.parse::<Confidence>().unwrap();
        let rules = |text, most| (Rules::until(sure(text), most), most.unwrap_or(200));
        let job = &Choice::default();
        assert_eq!(load("trials: until 99%", job).unwrap(), rules("99%", None));
        let map = "trials: { until: 99%, most: 30 }";
        assert_eq!(load(map, job).unwrap(), rules("99%", Some(30)));
        let (fixed, number) = load("trials: 2\nconfidence: 99%", job).unwrap();
        assert_eq!(
            (fixed.confidence, fixed.until, number),
            (sure("99%"), None, 2)
        );
        let choice = Choice {
            until: Some(sure("90%")),
            trials: Some(7),
            ..Choice::default()
        };
        assert_eq!(load("trials: 2", &choice).unwrap(), rules("90%", Some(7)));
        // A number on the command line is one.
        let choice = Choice {
            trials: Some(7),
            ..Choice::default()
        };
        let (fixed, number) = load(map, &choice).unwrap();
        assert_eq!(
            (fixed.confidence, fixed.until, number),
            (sure("99%"), None, 7)
        );
    }

    #[test]
    fn what_is_no_number_of_trials_is_told() {
        for (trials, says) in [
            ("trials: until 5%", "`5%` is not a confidence"),
            ("trials: until", "expected a number, `until 95%`"),
            ("trials: { until: 95%, least: 3 }", "unknown field `least`"),
            ("trials: { until: 95%, most: 0 }", "without trials"),
            ("trials: until 95%\nconfidence: 99%", "`until` says it"),
            ("confidence: sure", "`sure` is not a confidence"),
        ] {
            let job = JOB.replace("trials: 2", trials);
            let error = load(&job, &Choice::default()).unwrap_err();
            let help = error.help().map(|help| help.to_string());
            let text = format!("{error} {}", help.unwrap_or_default());
            assert!(text.contains(says), "{text}");
        }
        let job = JOB.replace("trials: 2", "trials: until 95%");
        let choice = Choice {
            arms: vec!["fixed".to_owned()],
            ..Choice::default()
        };
        let plan = load(&job, &choice).unwrap();
        let error = plan.can_settle().unwrap_err().to_string();
        assert!(error.contains("there is no control"), "{error}");
    }

    #[test]
    fn an_arm_needs_trials() {
        for (from, to) in [("trials: 2", "trials: 0"), ("trials: 5", "trials: 0")] {
            let error = load(&JOB.replace(from, to), &Choice::default()).unwrap_err();
            assert!(error.to_string().contains("without trials"), "{error}");
        }
    }

    #[test]
    fn a_job_s_name_can_be_a_directory_s() {
        let long = "x".repeat(65);
        for name in [
            "/tmp/x",
            "../..",
            "''",
            "'a b'",
            ".hidden",
            "'a\u{202e}b'",
            &long,
        ] {
            let job = JOB.replace("name: j", &format!("name: {name}"));
            let error = load(&job, &Choice::default()).unwrap_err().to_string();
            assert!(error.contains("job.yaml:1:7: a job cannot be"), "{error}");
            assert!(error.len() < 400, "{error}");
        }
    }

    /// So many more arms of a job.
    fn many_arms(count: u32) -> String {
        let arms = (0..count).map(|n| format!("  a{n}: {{}}\n"));
        arms.collect::<Vec<_>>().concat()
    }

    #[test]
    fn what_no_host_can_do_is_told_in_its_place() {
        let forever = "{ use: evict-truncate, timeout: 500000y }";
        for (from, to, said) in [
            (
                "trials: 2",
                "trials: 4000000000",
                "job.yaml:5:9: 4000000000 trials",
            ),
            ("trials: 5", "trials: 10001", "10001 trials"),
            ("{ use: evict-truncate }", forever, "at most a day"),
            (
                "{ use: evict-truncate }",
                "{ use: evict-truncate, timeout: 0s }",
                "more than nothing",
            ),
            (
                "name: j\n",
                "name: j\nmachine: { cpus: 0 }\n",
                "job.yaml:2:18: a machine cannot have `cpus: 0`",
            ),
            (
                "name: j\n",
                "name: j\nmachine: { memory: 4000000000 }\n",
                "`memory: 4000000000`",
            ),
            (
                "config: [base]",
                "config: [base], command_line: \"a\\nb\"",
                "one line",
            ),
        ] {
            let error = load(&JOB.replace(from, to), &Choice::default()).unwrap_err();
            assert!(error.to_string().contains(said), "{to}: {error}");
        }
        let arms = many_arms(300);
        let error = load(&format!("{JOB}{arms}"), &Choice::default()).unwrap_err();
        assert!(error.to_string().contains("256 arms"), "{error}");
        let many = Choice {
            trials: Some(10_000),
            ..Choice::default()
        };
        let arms = many_arms(30);
        let error = load(&format!("{JOB}{arms}"), &many).unwrap_err();
        assert!(
            error.to_string().contains("330000 trials in all"),
            "{error}"
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_shown() {
        let job = format!("{JOB}trials: 3\n");
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(
            error.contains("job.yaml:10:1: `trials` is there twice"),
            "{error}"
        );
        let job = JOB.replace("  fixed:", "  stock: {}\n  fixed:");
        let error = load(&job, &Choice::default()).unwrap_err().to_string();
        assert!(
            error.contains("job.yaml:9:3: `stock` is there twice"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_job_by_its_size_or_depth_is_refused() {
        let zero = Plan::load(Path::new("/dev/zero"), &Choice::default()).unwrap_err();
        assert!(matches!(zero, JobError::Read { .. }), "{zero}");
        let huge = format!("{JOB}#{}\n", "x".repeat(1 << 20));
        assert!(matches!(
            load(&huge, &Choice::default()),
            Err(JobError::Read { .. })
        ));
        let deep = format!("{JOB}about: {}\n", "[".repeat(200_000));
        let error = load(&deep, &Choice::default()).unwrap_err().to_string();
        assert!(error.contains("job.yaml:10:"), "{error}");
        let zero = with_workloads("/dev/zero");
        let error = load(&zero, &Choice::default()).unwrap_err();
        assert!(matches!(error, JobError::Workload(_)), "{error}");
        let error = load(&format!("{JOB}rootfs: /dev/zero\n"), &Choice::default()).unwrap_err();
        assert!(matches!(error, JobError::Rootfs(_)), "{error}");
    }
}
