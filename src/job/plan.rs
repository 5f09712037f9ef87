//! The plan: a job with every name looked up and every default filled in. It
//! is what the stages work from and what `run --dry-run` prints.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use super::load::{JobError, Text, nearest};
use crate::cluster::ClusterSpec;
use crate::detect::{ExtraRule, Mute, Target};
use crate::kernel::SourceSpec;
use crate::vm::{Acceleration, Hardware};
use crate::workload::{Workload, WorkloadError};

/// A job, resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The job's name.
    pub name: String,
    /// The job file.
    pub job: PathBuf,
    /// The arms, in the job's order, without those that were not chosen.
    pub arms: Vec<Arm>,
    /// The cluster, with the options the workload needs.
    pub cluster: ClusterSpec,
    /// The steps of a trial.
    pub workload: Workload,
    /// CPUs and memory of the machine.
    pub hardware: Hardware,
    /// What may run it.
    pub acceleration: Acceleration,
    /// The most a trial's steps may take together, before scaling; each step
    /// has a limit of its own besides.
    pub timeout: Option<Duration>,
    /// Findings that are shown and not counted.
    pub known: Vec<Mute>,
    /// Messages that are findings, besides those that kvet knows.
    #[serde(default)]
    pub patterns: Vec<ExtraRule>,
}

/// One kernel variant, resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Arm {
    /// Its name in the job.
    pub name: String,
    /// Whether it must show the target.
    pub control: bool,
    /// Where its kernel comes from.
    pub source: SourceSpec,
    /// Directories of series, or patch files, in order.
    pub patches: Vec<PathBuf>,
    /// Kconfig fragments, in order.
    pub fragments: Vec<PathBuf>,
    /// Words added to the command line.
    pub command_line: String,
    /// The finding that is the bug in this arm.
    pub target: Option<Target>,
    /// How many trials.
    pub trials: u32,
}

/// What the command line changes about a job.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these arms; all if empty.
    pub arms: Vec<String>,
    /// This many trials for every arm.
    pub trials: Option<u32>,
    /// This source instead of the job's.
    pub source: Option<SourceSpec>,
}

impl Plan {
    /// Reads the job at `path` and looks up all it names.
    pub fn load(path: &Path, choice: &Choice) -> Result<Self, JobError> {
        let text = Text::read(path)?;
        let job = text.parse()?;
        let names = Names::of(path, &text);
        if job.arms.is_empty() {
            return Err(text.error(&["arms"], "a job needs at least one arm".to_owned(), None));
        }
        if job.trials == 0 {
            return Err(no_trials(&text, &["trials"]));
        }
        for (name, arm) in &job.arms {
            if !is_plain(name) {
                return Err(text.error(
                    &["arms", name],
                    format!("an arm cannot be called `{name}`: it names a directory, too"),
                    Some("use letters, digits and - _ + .".to_owned()),
                ));
            }
            if arm.trials == Some(0) {
                return Err(no_trials(&text, &["arms", name, "trials"]));
            }
        }
        for wanted in &choice.arms {
            if !job.arms.contains_key(wanted) {
                let known = job.arms.keys().map(String::as_str);
                let help = nearest(wanted, known.clone()).unwrap_or_else(|| {
                    format!("its arms are {}", known.collect::<Vec<_>>().join(", "))
                });
                let message = format!("{} has no arm `{wanted}`", path.display());
                return Err(JobError::Choice(message, Some(help)));
            }
        }
        let workload = names.workload(&job.workload.name)?;
        let mut cluster = job.cluster.clone();
        for (option, value) in &workload.cluster {
            cluster
                .options
                .entry(option.clone())
                .or_insert_with(|| value.clone());
        }
        if let Err(error) = cluster.check() {
            return Err(text.error(&["cluster"], error.to_string(), None));
        }
        let mut arms = Vec::new();
        for (name, spec) in &job.arms {
            if !choice.arms.is_empty() && !choice.arms.contains(name) {
                continue;
            }
            let mut fragments = Vec::new();
            for (index, fragment) in job.kernel.config.iter().enumerate() {
                let place = ["kernel", "config", &index.to_string()];
                fragments.push(names.fragment(fragment, &place)?);
            }
            for (index, fragment) in spec.config.iter().enumerate() {
                let place = ["arms", name.as_str(), "config", &index.to_string()];
                fragments.push(names.fragment(fragment, &place)?);
            }
            let mut patches = Vec::new();
            for (index, patch) in spec.patches.iter().enumerate() {
                let place = ["arms", name.as_str(), "patches", &index.to_string()];
                patches.push(names.patches(patch, &place)?);
            }
            let source = choice.source.as_ref().or(spec.source.as_ref());
            arms.push(Arm {
                name: name.clone(),
                control: spec.control,
                source: source.unwrap_or(&job.kernel.source).clone(),
                patches,
                fragments,
                command_line: job.kernel.command_line.clone(),
                target: spec.target.clone().or_else(|| job.target.clone()),
                trials: choice.trials.or(spec.trials).unwrap_or(job.trials),
            });
        }
        Ok(Self {
            name: job.name,
            job: path.to_owned(),
            arms,
            cluster,
            hardware: job.machine.hardware(),
            acceleration: job.machine.accel,
            timeout: job.workload.timeout,
            workload,
            known: job.known,
            patterns: job.patterns,
        })
    }
}

fn no_trials(text: &Text, place: &[&str]) -> JobError {
    let help = "use 1 or more".to_owned();
    text.error(
        place,
        "an arm without trials shows nothing".to_owned(),
        Some(help),
    )
}

/// Whether a name can stand for a directory as it is, so that no two arms share
/// one.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// Where the names in a job lead: the directories around it.
struct Names<'a> {
    /// The directory that holds `kconfigs`, `patches` and `jobs`: the nearest
    /// above the job file.
    root: PathBuf,
    /// The job's own directory, for paths.
    here: PathBuf,
    text: &'a Text,
}

impl<'a> Names<'a> {
    fn of(job: &Path, text: &'a Text) -> Self {
        let absolute = std::path::absolute(job).unwrap_or_else(|_| job.to_owned());
        let here = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let root = here
            .ancestors()
            .find(|directory| directory.join("kconfigs").is_dir())
            .unwrap_or(&here)
            .to_owned();
        Self { root, here, text }
    }

    fn fragment(&self, name: &str, place: &[&str]) -> Result<PathBuf, JobError> {
        self.find("kconfigs", name, ".config", "Kconfig fragment", place)
    }

    fn patches(&self, name: &str, place: &[&str]) -> Result<PathBuf, JobError> {
        self.find("patches", name, "", "patch series", place)
    }

    fn workload(&self, name: &str) -> Result<Workload, JobError> {
        Workload::find(name, &self.here).map_err(|error| match error {
            // Its name is wrong: that is the job's mistake, at this place.
            WorkloadError::Unknown { .. } => {
                let help = error.help().map(|help| help.to_string());
                self.text
                    .error(&["workload", "use"], error.to_string(), help)
            }
            error => error.into(),
        })
    }

    /// A name with a slash is a path from the job file; any other is looked up
    /// in the kind's directory.
    fn find(
        &self,
        kind: &str,
        name: &str,
        suffix: &str,
        what: &str,
        place: &[&str],
    ) -> Result<PathBuf, JobError> {
        let directory = self.root.join(kind);
        let path = if name.contains('/') {
            self.here.join(name)
        } else {
            directory.join(format!("{name}{suffix}"))
        };
        if path.exists() {
            return Ok(path);
        }
        let known: Vec<String> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let file = entry.file_name().into_string().ok()?;
                Some(file.strip_suffix(suffix)?.to_owned())
            })
            .collect();
        let help = nearest(name, known.iter().map(String::as_str))
            .unwrap_or_else(|| format!("expected {}", path.display()));
        Err(self
            .text
            .error(place, format!("there is no {what} `{name}`"), Some(help)))
    }
}

impl fmt::Display for Plan {
    /// The plan for a person, as `run --dry-run` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job       {}", self.name)?;
        writeln!(f, "cluster   {}", self.cluster.summary())?;
        writeln!(
            f,
            "workload  {} ({} steps)",
            self.workload.name,
            self.workload.steps.len()
        )?;
        writeln!(
            f,
            "machine   {} CPUs, {} MiB",
            self.hardware.cpus, self.hardware.memory
        )?;
        for arm in &self.arms {
            let role = if arm.control { " (control)" } else { "" };
            writeln!(f, "\narm {}{role}, {} trials", arm.name, arm.trials)?;
            writeln!(f, "  source   {}", arm.source.name())?;
            writeln!(f, "  patches  {}", names(&arm.patches))?;
            writeln!(f, "  config   {}", names(&arm.fragments))?;
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
    use super::*;

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
    fn an_arm_s_own_words_win_over_the_job_s_and_the_command_line_over_both() {
        let plan = load(JOB, &Choice::default()).unwrap();
        let trials = |plan: &Plan| plan.arms.iter().map(|a| a.trials).collect::<Vec<_>>();
        assert_eq!(trials(&plan), [2, 5, 2]);
        assert_ne!(plan.arms[0].target, plan.arms[1].target);
        assert_eq!(plan.arms[0].target, plan.arms[2].target);
        assert!(plan.arms[2].patches[0].ends_with("patches/cure"));
        let choice = Choice {
            arms: vec!["fixed".to_owned(), "early".to_owned()],
            trials: Some(1),
            source: None,
        };
        let plan = load(JOB, &choice).unwrap();
        let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(names, ["early", "fixed"]);
        assert_eq!(trials(&plan), [1, 1]);
    }

    #[test]
    fn a_workload_s_options_for_the_cluster_give_way_to_the_job_s() {
        let plan = load(JOB, &Choice::default()).unwrap();
        let option = "mds_session_blocklist_on_evict";
        assert_eq!(plan.cluster.options[option], "false");
        let job = format!("{JOB}cluster: {{ options: {{ {option}: \"true\" }} }}\n");
        let plan = load(&job, &Choice::default()).unwrap();
        assert_eq!(plan.cluster.options[option], "true");
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
    fn an_arm_needs_trials() {
        for (from, to) in [("trials: 2", "trials: 0"), ("trials: 5", "trials: 0")] {
            let error = load(&JOB.replace(from, to), &Choice::default()).unwrap_err();
            assert!(error.to_string().contains("without trials"), "{error}");
        }
    }
}
