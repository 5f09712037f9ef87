//! The run directory: everything a run leaves, written as it happens, so that
//! a result once obtained survives whatever comes later. It stands by itself:
//! `judge` and `report` need nothing else.
//!
//! ```text
//! RUN/run.json                       the plan, the host, when it began
//! RUN/report.json, junit.xml         the verdict, at the end
//! RUN/arms/ARM/kernel.json           what its kernel was made from
//! RUN/arms/ARM/config, build.log     the final .config, make's words
//! RUN/arms/ARM/broken.txt            why there is no kernel
//! RUN/arms/ARM/self-test/result.json what the kernel reported of what was provoked
//! RUN/arms/ARM/self-test/N/          one boot of it: its files as a trial's
//! RUN/arms/ARM/N/started             written before trial N
//! RUN/arms/ARM/N/command.txt         QEMU's command line
//! RUN/arms/ARM/N/console.log         what the kernel said, whole and raw
//! RUN/arms/ARM/N/steps.jsonl         what guest and host did, with times
//! RUN/arms/ARM/N/trial.json          how it ended; only if it did
//! ```

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use miette::Diagnostic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::self_test::SelfTest;
use crate::error::{Exit, Fault};
use crate::job::Plan;
use crate::kernel::KernelImage;
use crate::report::{ArmReport, HostFacts, KernelFacts, Measured, Report, compare, coverage};
use crate::store::{StoreError, io_error, write_atomic, write_json};
use crate::verdict::{ArmResult, Trial, decide, judge};

/// Version of the run directory's layout.
const VERSION: u32 = 1;

/// The run directory could not be written or read.
#[derive(Debug, Error, Diagnostic)]
pub enum RecordError {
    /// A file in it could not be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The directory for a new run has something in it.
    #[error("{} exists already and is not empty", .0.display())]
    #[diagnostic(help("choose another directory with --out"))]
    Occupied(PathBuf),
    /// The directory is no run's, or another version's.
    #[error("{} is not the record of a run: {problem}", path.display())]
    #[diagnostic(help("name the directory that `kvet run` printed"))]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The run was killed before it wrote its report.
    #[error("the run in {} did not come to its end, so it has no report", .0.display())]
    #[diagnostic(help("`kvet judge` gives the verdict on what it recorded"))]
    Unfinished(PathBuf),
    /// A file of the record is not what was written.
    #[error("{} is damaged: {problem}", path.display())]
    #[diagnostic(help(
        "put it back from a copy, or move it away and `kvet judge` without what it says"
    ))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Fault for RecordError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What is known when a run begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beginning {
    /// Version of the layout.
    pub version: u32,
    /// When, RFC 3339 in UTC.
    pub started: Timestamp,
    /// What is to be done.
    pub plan: Plan,
    /// Where.
    pub host: HostFacts,
}

/// A run directory.
#[derive(Debug, Clone)]
pub struct Record {
    path: PathBuf,
}

impl Record {
    /// Starts a run's directory; `path` must be empty or not exist.
    pub fn create(
        path: &Path,
        plan: &Plan,
        host: &HostFacts,
        started: Timestamp,
    ) -> Result<Self, RecordError> {
        std::fs::create_dir_all(path).map_err(io_error("create", path))?;
        let mut entries = std::fs::read_dir(path).map_err(io_error("read", path))?;
        if entries.next().is_some() {
            return Err(RecordError::Occupied(path.to_owned()));
        }
        let record = Self {
            path: path.to_owned(),
        };
        let beginning = Beginning {
            version: VERSION,
            started,
            plan: plan.clone(),
            host: host.clone(),
        };
        write_json(&record.beginning_file(), &beginning)?;
        Ok(record)
    }

    /// An existing run's directory.
    pub fn open(path: &Path) -> Result<(Self, Beginning), RecordError> {
        let record = Self {
            path: path.to_owned(),
        };
        let no_run = |problem: String| RecordError::NoRun {
            path: path.to_owned(),
            problem,
        };
        let file = record.beginning_file();
        if !file.exists() {
            return Err(no_run("it has no run.json".to_owned()));
        }
        // The version first: another one's plan may have another shape.
        let beginning: Value = read_json(&file)?;
        if beginning["version"] != VERSION {
            return Err(no_run(format!(
                "its layout is version {}, this kvet reads version {VERSION}",
                beginning["version"]
            )));
        }
        let beginning = serde_json::from_value(beginning).map_err(damaged(&file))?;
        Ok((record, beginning))
    }

    fn beginning_file(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Keeps which accelerator runs the guests, which is known only later.
    pub fn accelerator(&self, name: &str) -> Result<(), RecordError> {
        let (_, mut beginning) = Self::open(&self.path)?;
        name.clone_into(&mut beginning.host.accelerator);
        write_json(&self.beginning_file(), &beginning)?;
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn arm(&self, arm: &str) -> PathBuf {
        self.path.join("arms").join(file_name(arm))
    }

    /// A trial's directory.
    #[must_use]
    pub fn trial(&self, arm: &str, number: u32) -> PathBuf {
        self.arm(arm).join(number.to_string())
    }

    /// Keeps what an arm's kernel was made from, and which workloads it cannot
    /// run.
    pub fn kernel(
        &self,
        arm: &str,
        image: &KernelImage,
        left_out: &[String],
    ) -> Result<(), RecordError> {
        let directory = self.arm(arm);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        for file in [&image.config, &image.log] {
            if let Some(name) = file.file_name() {
                let to = directory.join(name.to_string_lossy().trim_start_matches('.'));
                std::fs::copy(file, &to).map_err(io_error("write", &to))?;
            }
        }
        let facts = KernelFacts {
            left_out: left_out.to_vec(),
            ..kernel_facts(image)
        };
        write_json(&directory.join("kernel.json"), &facts)?;
        Ok(())
    }

    /// Keeps why an arm has no kernel.
    pub fn broken(&self, arm: &str, why: &str) -> Result<(), RecordError> {
        let directory = self.arm(arm);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        write_atomic(&directory.join("broken.txt"), why.as_bytes())?;
        Ok(())
    }

    /// The directory of an arm's self-test.
    fn self_test_directory(&self, arm: &str) -> PathBuf {
        self.arm(arm).join("self-test")
    }

    /// Makes the directory of a self-test's boot.
    pub fn begin_self_test(&self, arm: &str, boot: u32) -> Result<PathBuf, RecordError> {
        let directory = self.self_test_directory(arm).join(boot.to_string());
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        Ok(directory)
    }

    /// Keeps how an arm's self-test ended.
    pub fn end_self_test(&self, arm: &str, result: &SelfTest) -> Result<(), RecordError> {
        let path = self.self_test_directory(arm).join("result.json");
        write_json(&path, result)?;
        Ok(())
    }

    /// The consoles of an arm's self-test, boot by boot; `None` if there was
    /// none that came to its end.
    pub fn self_test_consoles(&self, arm: &str) -> Result<Option<Vec<PathBuf>>, RecordError> {
        let directory = self.self_test_directory(arm);
        let path = directory.join("result.json");
        if !path.exists() {
            return Ok(None);
        }
        let result: SelfTest = read_json(&path)?;
        // Each boot left a directory; a damaged count must not be believed.
        let boots = (1..=result.boots).map(|boot| directory.join(boot.to_string()));
        let consoles = boots.take_while(|boot| boot.is_dir());
        Ok(Some(
            consoles.map(|boot| boot.join("console.log")).collect(),
        ))
    }

    /// Marks a trial as begun and returns its directory.
    pub fn begin_trial(&self, arm: &str, number: u32) -> Result<PathBuf, RecordError> {
        let directory = self.trial(arm, number);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        let now = Timestamp::now().to_string();
        write_atomic(&directory.join("started"), now.as_bytes())?;
        Ok(directory)
    }

    /// Keeps how a trial ended.
    pub fn end_trial(&self, trial: &Trial) -> Result<(), RecordError> {
        let directory = self.trial(&trial.arm, trial.number);
        write_json(&directory.join("trial.json"), trial)?;
        Ok(())
    }

    /// The arm's trials that ended, in order.
    pub fn trials(&self, arm: &str, planned: u32) -> Result<Vec<Trial>, RecordError> {
        let mut trials = Vec::new();
        for number in 1..=planned {
            let path = self.trial(arm, number).join("trial.json");
            if path.exists() {
                trials.push(read_json(&path)?);
            }
        }
        Ok(trials)
    }

    /// Judges what is recorded and keeps the report.
    pub fn report(&self, seconds: f64) -> Result<Report, RecordError> {
        let (_, beginning) = Self::open(&self.path)?;
        self.report_with(&beginning, seconds, Ok)
    }

    /// The same, each trial having passed through `review` first: `judge` reads
    /// the consoles again there.
    pub fn report_with(
        &self,
        beginning: &Beginning,
        seconds: f64,
        mut review: impl FnMut(Trial) -> Result<Trial, RecordError>,
    ) -> Result<Report, RecordError> {
        let plan = &beginning.plan;
        let day = beginning.started.to_zoned(TimeZone::UTC).date();
        let mut arms = Vec::new();
        for arm in &plan.arms {
            let directory = self.arm(&arm.name);
            let kernel = directory.join("kernel.json");
            let kernel: Option<KernelFacts> =
                kernel.exists().then(|| read_json(&kernel)).transpose()?;
            let left_out = kernel.iter().flat_map(|kernel| kernel.left_out.clone());
            let arm = arm.without(&left_out.collect::<Vec<_>>());
            let mut judged = Vec::new();
            let mut measured = Vec::new();
            for trial in self.trials(&arm.name, arm.planned())? {
                let trial = review(trial)?;
                judged.push(decide(&trial, arm.target.as_ref(), &plan.known, day));
                measured.push(Measured {
                    workload: trial.workload,
                    seconds: trial.seconds,
                    counters: trial.counters,
                });
            }
            arms.push(ArmReport {
                result: ArmResult {
                    name: arm.name.clone(),
                    control: arm.control,
                    planned: arm.planned(),
                    broken: std::fs::read_to_string(directory.join("broken.txt")).ok(),
                    trials: judged,
                },
                kernel,
                measured,
            });
        }
        let results: Vec<ArmResult> = arms.iter().map(|arm| arm.result.clone()).collect();
        let report = Report {
            version: 1,
            job: plan.name.clone(),
            started: beginning.started.strftime("%FT%TZ").to_string(),
            seconds,
            verdict: judge(&results),
            comparison: compare(&plan.compare, &arms),
            coverage: coverage(&plan.counters, &arms),
            arms,
            host: beginning.host.clone(),
        };
        write_json(&self.path.join("report.json"), &report)?;
        let xml = crate::report::junit(&report);
        write_atomic(&self.path.join("junit.xml"), xml.as_bytes())?;
        Ok(report)
    }

    /// The report kept at the end of the run.
    pub fn kept_report(&self) -> Result<Report, RecordError> {
        let path = self.path.join("report.json");
        if !path.exists() {
            return Err(RecordError::Unfinished(self.path.clone()));
        }
        read_json(&path)
    }
}

fn kernel_facts(image: &KernelImage) -> KernelFacts {
    KernelFacts {
        release: image.release.clone(),
        origin: image.record.source.clone(),
        key: image.key.as_str().to_owned(),
        cached: image.cached,
        patches: image
            .record
            .patches
            .iter()
            .map(|patch| (patch.name.clone(), patch.sha256.clone()))
            .collect(),
        left_out: Vec::new(),
    }
}

/// A name as one path component: arms and patches are named by users.
fn file_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let text: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if text.chars().all(|c| c == '.') {
        format!("_{text}")
    } else {
        text
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let text = std::fs::read(path).map_err(io_error("read", path))?;
    serde_json::from_slice(&text).map_err(damaged(path))
}

fn damaged(path: &Path) -> impl FnOnce(serde_json::Error) -> RecordError {
    let path = path.to_owned();
    move |error| RecordError::Damaged {
        path,
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn names_stay_inside_their_directory() {
        assert_eq!(file_name("../../etc"), ".._.._etc");
        assert_eq!(file_name(".."), "_..");
        assert_eq!(file_name("fixed-debug"), "fixed-debug");
    }
}
