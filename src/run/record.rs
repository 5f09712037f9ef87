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
use thiserror::Error;

use crate::error::{Exit, Fault};
use crate::job::Plan;
use crate::kernel::KernelImage;
use crate::report::{ArmReport, HostFacts, KernelFacts, Report};
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
    /// A file that must be there is missing or not what it should be.
    #[error("{} is not the record of a run: {problem}", path.display())]
    #[diagnostic(help("name the directory that `kvet run` printed"))]
    Unreadable {
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
    pub fn create(path: &Path, plan: &Plan, host: &HostFacts) -> Result<Self, RecordError> {
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
            started: Timestamp::now(),
            plan: plan.clone(),
            host: host.clone(),
        };
        write_json(&record.path.join("run.json"), &beginning)?;
        Ok(record)
    }

    /// An existing run's directory.
    pub fn open(path: &Path) -> Result<(Self, Beginning), RecordError> {
        let record = Self {
            path: path.to_owned(),
        };
        let beginning: Beginning = read_json(&path.join("run.json"))?;
        if beginning.version != VERSION {
            return Err(RecordError::Unreadable {
                path: path.join("run.json"),
                problem: format!(
                    "its layout is version {}, this kvet reads version {VERSION}",
                    beginning.version
                ),
            });
        }
        Ok((record, beginning))
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

    /// Keeps what an arm's kernel was made from.
    pub fn kernel(&self, arm: &str, image: &KernelImage) -> Result<(), RecordError> {
        let directory = self.arm(arm);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        for file in [&image.config, &image.log] {
            if let Some(name) = file.file_name() {
                let to = directory.join(name.to_string_lossy().trim_start_matches('.'));
                std::fs::copy(file, &to).map_err(io_error("write", &to))?;
            }
        }
        write_json(&directory.join("kernel.json"), &kernel_facts(image))?;
        Ok(())
    }

    /// Keeps why an arm has no kernel.
    pub fn broken(&self, arm: &str, why: &str) -> Result<(), RecordError> {
        let directory = self.arm(arm);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        write_atomic(&directory.join("broken.txt"), why.as_bytes())?;
        Ok(())
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
    pub fn report(&self, beginning: &Beginning, seconds: f64) -> Result<Report, RecordError> {
        self.report_with(beginning, seconds, Ok)
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
            let mut judged = Vec::new();
            let mut times = Vec::new();
            for trial in self.trials(&arm.name, arm.trials)? {
                let trial = review(trial)?;
                times.push(trial.seconds);
                judged.push(decide(&trial, arm.target.as_ref(), &plan.known, day));
            }
            let directory = self.arm(&arm.name);
            let kernel = directory.join("kernel.json");
            let kernel: Option<KernelFacts> =
                kernel.exists().then(|| read_json(&kernel)).transpose()?;
            arms.push(ArmReport {
                result: ArmResult {
                    name: arm.name.clone(),
                    control: arm.control,
                    planned: arm.trials,
                    broken: std::fs::read_to_string(directory.join("broken.txt")).ok(),
                    trials: judged,
                },
                kernel,
                seconds: times,
            });
        }
        let results: Vec<ArmResult> = arms.iter().map(|arm| arm.result.clone()).collect();
        let report = Report {
            version: 1,
            job: plan.name.clone(),
            started: beginning.started.strftime("%FT%TZ").to_string(),
            seconds,
            verdict: judge(&results),
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
        read_json(&self.path.join("report.json"))
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
    let unreadable = |problem: String| RecordError::Unreadable {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))
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
