//! The run directory: everything a run leaves, written as it happens, so that
//! a result once obtained survives whatever comes later. It stands by itself:
//! `judge` and `report` need nothing else. Nothing of an attempt that ended is
//! written again, and no attempt takes another's place. What is written again are
//! the report, which is derived, `run.json` once the accelerator is known, and what a
//! resumed run learns anew of its kernels and hosts; why there was no kernel, and that
//! a self-test could not be done, are forgotten when that is mended.
//!
//! ```text
//! RUN/run.json                         the plan, the host, when it began
//! RUN/history.json                     what the runs before had shown
//! RUN/events.jsonl, kvet.log           what was told, and what kvet did, when
//! RUN/report.json, junit.xml           the verdict, at the end
//! RUN/.lock                            locked by the kvet that works on it
//! RUN/cluster/                         the service's logs
//! RUN/hosts/NAME.json                  a host that trials ran on, if not this one
//! RUN/arms/ARM/kernel.json             what its kernel was made from
//! RUN/arms/ARM/config, build.log       the final .config, make's words
//! RUN/arms/ARM/decoded.json            files and lines for its stacks
//! RUN/arms/ARM/vmlinux                 where the job keeps dumps: its symbols
//! RUN/arms/ARM/broken.json             why there is no kernel, until there is one
//! RUN/arms/ARM/changed.json            which lines its patches change, if lines are counted
//! RUN/arms/ARM/self-test/result.json   what the kernel reported of what was provoked
//! RUN/arms/ARM/self-test/N/            one boot of it: its files as an attempt's;
//!                                      those that the result does not count are of
//!                                      a self-test that was interrupted
//! RUN/arms/ARM/trials/WORKLOAD/N/A/    attempt A at trial N of this workload:
//!     started                          written before it
//!     request.json                     all that it is to do
//!     command.txt                      QEMU's command line
//!     kvet.log                         what kvet did, if a process of its own made it
//!     console.log                      what the kernel said, whole and raw
//!     journal.jsonl                    what happened when
//!     vmcore                           the guest's memory, where the job keeps dumps
//!     trial.json                       how it ended; only if it did
//!     disk.img                         its disk, sparse; only if it was found damaged
//!     cluster/                         the ends of its service's logs, if that was
//!                                      lost on another host
//!     coverage/, coverage.json         the guest's line counters, and what they come to
//! ```
//!
//! `format` has the shapes of most of these files; `trial` has `request.json`'s,
//! `event` that of `events.jsonl`, `report` that of `report.json`, `coverage` those of
//! `changed.json` and `coverage.json`. `told` keeps what is told, and what kvet did;
//! `version1` reads the directories of earlier kvets. A bisection's directory has the
//! same files and its own log (`bisect::log`).

pub mod format;
mod join;
mod journal;
mod other;
mod story;
mod told;
mod version1;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use miette::Diagnostic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

pub use format::{
    Beginning, Broken, DecodedFrame, Decoding, Ending, Entry, HostRecord, KernelFacts, Line, Part,
    Past, SelfTest, Side, StepEnd, Stream, TestFailure, Trial, VERSION,
};
pub(crate) use join::paths;
pub use join::{JoinError, Joined, join};
pub use journal::{Journal, keep_events};
pub use other::with_other_findings;
pub use story::{ConsoleLine, Excerpt, Story};
pub use told::TRACE;

use crate::bounded;
use crate::coverage::Changed;
use crate::detect::Finding;
use crate::error::{Exit, Fault};
use crate::host::HostFacts;
use crate::job::Plan;
use crate::store::{StoreError, io_error, link_or_copy, write_atomic, write_json};
use crate::trial_id::TrialId;
use crate::vm::Acceleration;

/// The console's file of an attempt.
const CONSOLE: &str = "console.log";
/// The journal's file of an attempt.
const JOURNAL: &str = "journal.jsonl";
/// The file with QEMU's command line.
const COMMAND: &str = "command.txt";
/// The image of a disk that its checker found damaged.
pub(crate) const DISK: &str = "disk.img";
/// The file with what the runs before had shown.
const PAST: &str = "history.json";
/// The file with the guest's memory, of an attempt that had it dumped.
pub const MEMORY: &str = "vmcore";
/// The kernel with its symbols, of an arm whose memory is dumped.
pub const VMLINUX: &str = "vmlinux";
/// The file with files and lines for an arm's stacks.
const DECODED: &str = "decoded.json";
/// The file with an attempt's facts.
const TRIAL: &str = "trial.json";
/// The file with why an arm has no kernel.
const BROKEN: &str = "broken.json";
/// The file with how a self-test ended.
const SELF_TEST: &str = "result.json";
/// The file with the lines that an arm's patches change.
const CHANGED: &str = "changed.json";

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
    /// The directory is not a run's, or another version's.
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
    /// A run would go on with another accelerator than its trials had.
    #[error(
        "the trials in {} ran with {then}, and this host runs guests with {now} now",
        path.display()
    )]
    #[diagnostic(help("have guests run with {then} again (`kvet doctor`), or begin another run"))]
    AnotherAccelerator {
        /// The run's directory.
        path: PathBuf,
        /// What its trials ran with.
        then: String,
        /// What further ones would run with.
        now: String,
    },
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

/// A run directory.
#[derive(Debug, Clone)]
pub struct Record {
    path: PathBuf,
    version: u32,
}

/// A trial as it was recorded: the last attempt that ended, and those before.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The last attempt.
    pub trial: Trial,
    /// Its directory.
    pub directory: PathBuf,
    /// The attempts before it, in order, each with its directory.
    pub earlier: Vec<(Trial, PathBuf)>,
}

impl Recorded {
    /// Its console.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.directory.join(CONSOLE)
    }
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
            version: VERSION,
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
        let no_run = |problem: String| RecordError::NoRun {
            path: path.to_owned(),
            problem,
        };
        let mut record = Self {
            path: path.to_owned(),
            version: VERSION,
        };
        let file = record.beginning_file();
        if !file.exists() {
            return Err(no_run("it has no run.json".to_owned()));
        }
        // The version first: another one's plan may have another shape.
        let beginning: Value = read_json(&file)?;
        match beginning["version"].as_u64() {
            Some(1) => record.version = 1,
            Some(version) if version == u64::from(VERSION) => {}
            _ => {
                return Err(no_run(format!(
                    "its layout is version {}, this kvet reads versions 1 to {VERSION}",
                    beginning["version"]
                )));
            }
        }
        let beginning = serde_json::from_value(beginning).map_err(damaged(&file))?;
        Ok((record, beginning))
    }

    fn beginning_file(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Keeps which accelerator runs the guests, which is known only later. Trials that
    /// the run has already must have had the same: they are compared.
    pub fn accelerator(&self, name: &str) -> Result<(), RecordError> {
        let (_, mut beginning) = Self::open(&self.path)?;
        let then = &beginning.host.accelerator;
        if !then.is_empty() && then != name && self.has_trials(&beginning.plan)? {
            return Err(RecordError::AnotherAccelerator {
                path: self.path.clone(),
                then: then.clone(),
                now: name.to_owned(),
            });
        }
        name.clone_into(&mut beginning.host.accelerator);
        write_json(&self.beginning_file(), &beginning)?;
        Ok(())
    }

    /// What guests are to run with: where the host chooses, what the run's trials had
    /// that there are.
    pub fn acceleration(&self, plan: &Plan) -> Result<Acceleration, RecordError> {
        let (_, beginning) = Self::open(&self.path)?;
        if plan.acceleration != Acceleration::Auto || !self.has_trials(plan)? {
            return Ok(plan.acceleration);
        }
        Ok(match beginning.host.accelerator.as_str() {
            "kvm" => Acceleration::Kvm,
            "tcg" => Acceleration::Tcg,
            _ => Acceleration::Auto,
        })
    }

    /// Whether the guest of any trial that ended came up.
    fn has_trials(&self, plan: &Plan) -> Result<bool, RecordError> {
        for arm in &plan.arms {
            for workload in &arm.workloads {
                let trials = self.trials(&arm.name, workload)?;
                if trials.iter().any(|one| one.trial.ready.is_some()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Keeps what the runs before had shown.
    pub fn past(&self, past: &Past) -> Result<(), RecordError> {
        Ok(write_json(&self.path.join(PAST), past)?)
    }

    /// What the runs before had shown; `None` if nobody asked them.
    pub fn kept_past(&self) -> Result<Option<Past>, RecordError> {
        read_json_if_there(&self.path.join(PAST))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the service's logs go.
    #[must_use]
    pub fn service_logs(&self) -> PathBuf {
        self.path.join("cluster")
    }

    /// Where what was told is kept.
    #[must_use]
    pub fn events_file(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    fn arm(&self, arm: &str) -> PathBuf {
        self.path.join("arms").join(file_name(arm))
    }

    fn made_arm(&self, arm: &str) -> Result<PathBuf, RecordError> {
        let directory = self.arm(arm);
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        Ok(directory)
    }

    /// Keeps what an arm's kernel was made from, with its final .config and what
    /// make printed.
    pub fn kernel(
        &self,
        arm: &str,
        facts: &KernelFacts,
        config: &Path,
        log: &Path,
    ) -> Result<(), RecordError> {
        let directory = self.made_arm(arm)?;
        for (file, name) in [(config, "config"), (log, "build.log")] {
            let to = directory.join(name);
            std::fs::copy(file, &to).map_err(io_error("write", &to))?;
        }
        write_json(&directory.join("kernel.json"), facts)?;
        Ok(())
    }

    /// Keeps which lines an arm's patches change.
    pub fn changed(&self, arm: &str, changed: &Changed) -> Result<(), RecordError> {
        write_json(&self.made_arm(arm)?.join(CHANGED), changed)?;
        Ok(())
    }

    /// Which lines an arm's patches change; `None` if no lines were counted.
    pub fn changed_lines(&self, arm: &str) -> Result<Option<Changed>, RecordError> {
        read_json_if_there(&self.arm(arm).join(CHANGED))
    }

    /// The same of a kernel that kvet did not build; its .config may be unknown.
    pub fn release(
        &self,
        arm: &str,
        facts: &KernelFacts,
        config: Option<&Path>,
    ) -> Result<(), RecordError> {
        let directory = self.made_arm(arm)?;
        if let Some(config) = config {
            let to = directory.join("config");
            std::fs::copy(config, &to).map_err(io_error("write", &to))?;
        }
        Ok(write_json(&directory.join("kernel.json"), facts)?)
    }

    /// What an arm's kernel was made from; `None` if there is none.
    pub fn kernel_facts(&self, arm: &str) -> Result<Option<KernelFacts>, RecordError> {
        read_json_if_there(&self.arm(arm).join("kernel.json"))
    }

    /// The text of an arm's final .config; `None` if there is none.
    pub fn config(&self, arm: &str) -> Result<Option<String>, RecordError> {
        let path = self.arm(arm).join("config");
        if !is_there(&path)? {
            return Ok(None);
        }
        let text = bounded::read_own(&path, LARGEST).map_err(io_error("read", &path))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Keeps the kernel with its symbols, for those who look into its dumps: by a
    /// link, so that it costs nothing while the cache has it, too. A resumed run
    /// may have it already.
    pub fn vmlinux(&self, arm: &str, vmlinux: &Path) -> Result<(), RecordError> {
        let to = self.made_arm(arm)?.join(VMLINUX);
        Ok(link_or_copy(vmlinux, &to)?)
    }

    /// How many memory dumps an arm has.
    #[must_use]
    pub fn memory_dumps(&self, arm: &str) -> usize {
        let below = |path: &Path| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let workloads = below(&self.arm(arm).join("trials"));
        let trials = workloads.iter().flat_map(|path| below(path));
        let attempts = trials.flat_map(|path| below(&path));
        attempts.filter(|path| path.join(MEMORY).exists()).count()
    }

    /// Every finding of an arm's trials, those of earlier attempts, too.
    pub fn findings(&self, arm: &str) -> Result<Vec<Finding>, RecordError> {
        let mut all = Vec::new();
        let workloads = self.arm(arm).join("trials");
        let entries = std::fs::read_dir(&workloads)
            .into_iter()
            .flatten()
            .flatten();
        for workload in entries.map(|entry| entry.path()) {
            for (_, trial) in numbered(&workload)? {
                for (_, attempt) in numbered(&trial)? {
                    let facts: Option<Trial> = read_json_if_there(&attempt.join(TRIAL))?;
                    all.extend(facts.into_iter().flat_map(|facts| facts.findings));
                }
            }
        }
        Ok(all)
    }

    /// Keeps the files and lines of what an arm's stacks name.
    pub fn decoded(&self, arm: &str, decoding: &Decoding) -> Result<(), RecordError> {
        Ok(write_json(&self.made_arm(arm)?.join(DECODED), decoding)?)
    }

    /// The files and lines of what an arm's stacks name; empty if they are not
    /// known.
    pub fn decoding(&self, arm: &str) -> Result<Decoding, RecordError> {
        let kept = read_json_if_there(&self.arm(arm).join(DECODED))?;
        Ok(kept.unwrap_or_default())
    }

    /// Keeps why an arm has no kernel.
    pub fn broken(&self, arm: &str, why: &Broken) -> Result<(), RecordError> {
        write_json(&self.made_arm(arm)?.join(BROKEN), why)?;
        Ok(())
    }

    /// Forgets why an arm had no kernel, since it has one now: it could not be made
    /// before the run was resumed. The events tell of it still.
    pub fn mended(&self, arm: &str) -> Result<(), RecordError> {
        let path = self.arm(arm).join(BROKEN);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Why an arm has no kernel; `None` if it has one, or the run did not come
    /// to it.
    pub fn why_broken(&self, arm: &str) -> Result<Option<Broken>, RecordError> {
        if self.version == 1 {
            return Ok(version1::broken(&self.arm(arm)));
        }
        read_json_if_there(&self.arm(arm).join(BROKEN))
    }

    /// Where an arm's self-test is kept.
    #[must_use]
    pub fn self_test_directory(&self, arm: &str) -> PathBuf {
        self.arm(arm).join("self-test")
    }

    /// How an arm's self-test ended, and its consoles, boot by boot; `None` if
    /// there was none that came to its end.
    pub fn self_test(&self, arm: &str) -> Result<Option<(SelfTest, Vec<PathBuf>)>, RecordError> {
        let directory = self.self_test_directory(arm);
        let result = read_self_test(&directory)?;
        Ok(result.map(|result| {
            // Each boot left a directory; a damaged count must not be believed.
            let boots = (0..result.boots).map(|boot| result.first.saturating_add(boot));
            let boots = boots.map(|boot| directory.join(boot.to_string()));
            let consoles = boots.take_while(|boot| boot.is_dir());
            let consoles = consoles.map(|boot| boot.join(CONSOLE)).collect();
            (result, consoles)
        }))
    }

    fn trial(&self, id: &TrialId) -> PathBuf {
        self.arm(&id.arm)
            .join("trials")
            .join(file_name(&id.workload))
            .join(id.number.to_string())
    }

    /// Marks the next attempt at a trial as begun, and returns its number and
    /// its directory. No earlier attempt is touched.
    pub fn begin_attempt(&self, id: &TrialId) -> Result<(u32, PathBuf), RecordError> {
        let trial = self.trial(id);
        std::fs::create_dir_all(&trial).map_err(io_error("create", &trial))?;
        let (attempt, directory) = next_numbered(&trial)?;
        let now = Timestamp::now().to_string();
        write_atomic(&directory.join("started"), now.as_bytes())?;
        Ok((attempt, directory))
    }

    /// The attempt at a trial with which a driver goes on: the last one there is,
    /// whether a host still works on it or its result has come in meanwhile; else
    /// the first.
    pub fn open_attempt(&self, id: &TrialId) -> Result<(u32, PathBuf), RecordError> {
        match numbered(&self.trial(id))?.pop() {
            Some(last) => Ok(last),
            None => self.begin_attempt(id),
        }
    }

    /// How many attempts at a trial ended: one that was killed with its run did not.
    pub fn ended_attempts(&self, id: &TrialId) -> Result<u32, RecordError> {
        let mut ended = 0;
        for (_, attempt) in numbered(&self.trial(id))? {
            ended += u32::from(is_there(&attempt.join(TRIAL))?);
        }
        Ok(ended)
    }

    /// Keeps what a host is.
    pub fn keep_host(&self, host: &HostRecord) -> Result<(), RecordError> {
        let directory = self.path.join("hosts");
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        let name = format!("{}.json", file_name(&host.name));
        Ok(write_json(&directory.join(name), host)?)
    }

    /// The hosts that trials ran on, by name; none if they ran on the driver's own.
    pub fn hosts(&self) -> Result<Vec<HostRecord>, RecordError> {
        let directory = self.path.join("hosts");
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(&directory).map_err(io_error("read", &directory))?;
        let mut hosts = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                hosts.push(read_json::<HostRecord>(&path)?);
            }
        }
        hosts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(hosts)
    }

    /// The arm's trials that ended, of this workload, by number.
    pub fn trials(&self, arm: &str, workload: &str) -> Result<Vec<Recorded>, RecordError> {
        if self.version == 1 {
            let (_, beginning) = Self::open(&self.path)?;
            let planned = beginning.plan.arms.iter().find(|one| one.name == arm);
            let planned = planned.map_or(0, |arm| arm.trials);
            return version1::trials(&self.arm(arm), workload, planned);
        }
        let directory = self.arm(arm).join("trials").join(file_name(workload));
        let mut trials = Vec::new();
        for (_, trial) in numbered(&directory)? {
            let mut ended = Vec::new();
            for (_, directory) in numbered(&trial)? {
                // One that did not end was killed with its run.
                if let Some(facts) = read_json_if_there::<Trial>(&directory.join(TRIAL))? {
                    ended.push((facts, directory));
                }
            }
            if let Some((trial, directory)) = ended.pop() {
                trials.push(Recorded {
                    trial,
                    directory,
                    earlier: ended,
                });
            }
        }
        Ok(trials)
    }

    /// The longest of the trials' parts of a joined run, in seconds.
    #[must_use]
    pub fn longest_part(&self) -> f64 {
        join::longest(&self.path)
    }

    /// Keeps a derived file at the top, in the place of an earlier one.
    pub fn derived(&self, name: &str, content: &[u8]) -> Result<(), RecordError> {
        Ok(write_atomic(&self.path.join(name), content)?)
    }

    /// Keeps a derived value at the top as JSON.
    pub fn derived_json(&self, name: &str, value: &impl Serialize) -> Result<(), RecordError> {
        Ok(write_json(&self.path.join(name), value)?)
    }

    /// A derived value kept before; `None` if it was not.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RecordError> {
        read_json_if_there(&self.path.join(name))
    }
}

/// Keeps all that an attempt is to do, in its directory.
pub fn keep_request(directory: &Path, request: &impl Serialize) -> Result<(), RecordError> {
    Ok(write_json(&directory.join("request.json"), request)?)
}

/// Keeps how an attempt ended, in its directory.
pub fn keep_trial(directory: &Path, trial: &Trial) -> Result<(), RecordError> {
    Ok(write_json(&directory.join(TRIAL), trial)?)
}

/// Makes the directory of a self-test's next boot, below the self-test's, and
/// returns its number, too. What an interrupted self-test left is not touched.
pub fn begin_self_test(directory: &Path) -> Result<(u32, PathBuf), RecordError> {
    std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    next_numbered(directory)
}

/// Keeps how a self-test ended, in its directory.
pub fn end_self_test(directory: &Path, result: &SelfTest) -> Result<(), RecordError> {
    Ok(write_json(&directory.join(SELF_TEST), result)?)
}

/// Forgets how a self-test ended that came to nothing, before it is done again. What
/// one that came to its end showed stays.
pub fn forget_self_test(directory: &Path) -> Result<(), RecordError> {
    if read_self_test(directory)?.is_some_and(|result| result.not_done.is_some()) {
        let path = directory.join(SELF_TEST);
        std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// How a self-test ended, from its directory; `None` if it did not.
pub fn read_self_test(directory: &Path) -> Result<Option<SelfTest>, RecordError> {
    read_json_if_there(&directory.join(SELF_TEST))
}

/// At most the first `limit` bytes of an attempt's console.
pub fn read_console(directory: &Path, limit: u64) -> Result<Vec<u8>, RecordError> {
    let path = directory.join(CONSOLE);
    let file = File::open(&path).map_err(io_error("open", &path))?;
    let mut console = Vec::new();
    let read = file.take(limit).read_to_end(&mut console);
    read.map_err(io_error("read", &path))?;
    Ok(console)
}

/// How an attempt ended, from its directory; `None` if it did not.
pub fn read_trial(directory: &Path) -> Result<Option<Trial>, RecordError> {
    read_json_if_there(&directory.join(TRIAL))
}

/// The entries of a directory that are called by a number, in order.
fn numbered(directory: &Path) -> Result<Vec<(u32, PathBuf)>, RecordError> {
    if !is_there(directory)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io_error("read", directory))? {
        let entry = entry.map_err(io_error("read", directory))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Makes the directory that follows the last one that is called by a number, and
/// returns its number, too.
fn next_numbered(parent: &Path) -> Result<(u32, PathBuf), RecordError> {
    let mut number = numbered(parent)?.last().map_or(1, |(last, _)| last + 1);
    loop {
        let directory = parent.join(number.to_string());
        match std::fs::create_dir(&directory) {
            Ok(()) => return Ok((number, directory)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(io_error("create", &directory)(error).into()),
        }
    }
}

/// A name as one path component: arms and workloads are named by users.
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

/// The most bytes of a file that is read whole. A record can come from anywhere.
const LARGEST: u64 = 256 << 20;

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let text = bounded::read_own(path, LARGEST).map_err(io_error("read", path))?;
    serde_json::from_slice(&text).map_err(damaged(path))
}

fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    is_there(path)?.then(|| read_json(path)).transpose()
}

/// Whether something is there; an error, if nobody can tell.
fn is_there(path: &Path) -> Result<bool, RecordError> {
    Ok(path.try_exists().map_err(io_error("look for", path))?)
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
    use super::*;

    fn record(home: &tempfile::TempDir) -> Record {
        Record {
            path: home.path().to_owned(),
            version: VERSION,
        }
    }

    #[test]
    fn names_stay_inside_their_directory() {
        assert_eq!(file_name("../../etc"), ".._.._etc");
        assert_eq!(file_name(".."), "_..");
        assert_eq!(file_name("fixed-debug"), "fixed-debug");
    }

    #[test]
    fn a_run_goes_on_with_the_accelerator_that_its_trials_had() {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
        let home = tempfile::tempdir().unwrap();
        let text = std::fs::read(recorded.join("run.json")).unwrap();
        std::fs::write(home.path().join("run.json"), text).unwrap();
        let (record, beginning) = Record::open(home.path()).unwrap();
        let wanted = || record.acceleration(&beginning.plan).unwrap();
        let now = || Record::open(home.path()).unwrap().1.host.accelerator;
        // Nothing was tried yet.
        record.accelerator("kvm").unwrap();
        assert_eq!((now().as_str(), wanted()), ("kvm", Acceleration::Auto));
        let id = TrialId {
            arm: "stock".to_owned(),
            workload: "example".to_owned(),
            number: 1,
        };
        let (_, attempt) = record.begin_attempt(&id).unwrap();
        let trial = recorded.join("arms/stock/trials/example/1/1").join(TRIAL);
        std::fs::copy(trial, attempt.join(TRIAL)).unwrap();
        record.accelerator("kvm").unwrap();
        assert_eq!(wanted(), Acceleration::Kvm);
        let error = record.accelerator("tcg").unwrap_err().to_string();
        assert!(
            error.contains("ran with kvm, and this host runs guests with tcg"),
            "{error}"
        );
        assert_eq!(now(), "kvm");
    }

    #[test]
    fn a_file_that_cannot_be_looked_at_is_not_one_that_is_not_there() {
        let home = tempfile::tempdir().unwrap();
        let record = record(&home);
        let arm = record.made_arm("stock").unwrap();
        let to_itself = |path: &Path| std::os::unix::fs::symlink(path, path).unwrap();
        assert_eq!(record.config("stock").unwrap(), None);
        assert!(record.trials("stock", "w").unwrap().is_empty());
        to_itself(&arm.join("config"));
        to_itself(&arm.join("kernel.json"));
        std::fs::create_dir(arm.join("trials")).unwrap();
        to_itself(&arm.join("trials/w"));
        assert!(record.config("stock").is_err());
        assert!(record.kernel_facts("stock").is_err());
        assert!(record.trials("stock", "w").is_err());
    }

    #[test]
    fn a_resumed_run_leaves_the_kernel_with_symbols_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let record = record(&home);
        let cached = home.path().join("cached");
        std::fs::write(&cached, "symbols").unwrap();
        for _ in 0..2 {
            record.vmlinux("stock", &cached).unwrap();
            let kept = record.arm("stock").join(VMLINUX);
            assert_eq!(std::fs::read_to_string(kept).unwrap(), "symbols");
            assert_eq!(std::fs::read_to_string(&cached).unwrap(), "symbols");
        }
    }

    #[test]
    fn an_interrupted_self_test_is_done_again_beside_what_it_left() {
        let home = tempfile::tempdir().unwrap();
        let record = record(&home);
        let directory = record.self_test_directory("stock");
        let boot = |says: &str| {
            let (number, boot) = begin_self_test(&directory).unwrap();
            let mut journal = Journal::create(&boot).unwrap();
            journal.console(says.as_bytes()).unwrap();
            number
        };
        let end = |first, boots| {
            let result = SelfTest {
                boots,
                first,
                unseen: Vec::new(),
                not_done: None,
                seconds: 1,
            };
            end_self_test(&directory, &result).unwrap();
        };
        let consoles = || {
            let (_, consoles) = record.self_test("stock").unwrap().unwrap();
            let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
            consoles.iter().map(read).collect::<Vec<_>>()
        };
        assert_eq!((boot("cut"), boot("short")), (1, 2));
        assert!(record.self_test("stock").unwrap().is_none());
        assert_eq!((boot("whole"), boot("too")), (3, 4));
        end(3, 2);
        assert_eq!(consoles(), ["whole", "too"]);
        // A damaged count is not believed.
        end(4, u32::MAX);
        assert_eq!(consoles(), ["too"]);
        // As they were written before a self-test could be done again.
        let earlier = r#"{ "boots": 2, "unseen": [], "seconds": 1 }"#;
        std::fs::write(directory.join(SELF_TEST), earlier).unwrap();
        assert_eq!(consoles(), ["cut", "short"]);
    }

    #[test]
    fn only_a_self_test_that_came_to_nothing_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let result = |not_done: Option<&str>| SelfTest {
            boots: 0,
            first: 1,
            unseen: Vec::new(),
            not_done: not_done.map(str::to_owned),
            seconds: 0,
        };
        forget_self_test(home.path()).unwrap();
        for (not_done, stays) in [(Some("no host is left"), false), (None, true)] {
            end_self_test(home.path(), &result(not_done)).unwrap();
            forget_self_test(home.path()).unwrap();
            assert_eq!(read_self_test(home.path()).unwrap().is_some(), stays);
        }
    }

    #[test]
    fn an_attempt_never_takes_the_place_of_another() {
        let home = tempfile::tempdir().unwrap();
        let record = record(&home);
        let id = TrialId {
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            number: 1,
        };
        for expected in 1..=3 {
            let (attempt, directory) = record.begin_attempt(&id).unwrap();
            assert_eq!(attempt, expected);
            assert!(directory.ends_with(format!("arms/stock/trials/w/1/{expected}")));
            let mut journal = Journal::create(&directory).unwrap();
            journal
                .console(format!("attempt {attempt}\n").as_bytes())
                .unwrap();
            assert!(
                Journal::create(&directory).is_err(),
                "it would be truncated"
            );
        }
        // Numbers count, not the order of their digits.
        std::fs::create_dir(record.trial(&id).join("10")).unwrap();
        assert_eq!(record.begin_attempt(&id).unwrap().0, 11);
        let first = record.trial(&id).join("1").join(CONSOLE);
        assert_eq!(std::fs::read_to_string(first).unwrap(), "attempt 1\n");
        // None ended.
        assert!(record.trials("stock", "w").unwrap().is_empty());
        assert_eq!(record.ended_attempts(&id).unwrap(), 0);
        // A resumed driver goes on with the last, also if it ends at that moment.
        let (attempt, directory) = record.open_attempt(&id).unwrap();
        assert_eq!(attempt, 11);
        std::fs::write(directory.join(TRIAL), "{}").unwrap();
        assert_eq!(record.open_attempt(&id).unwrap().0, 11);
        assert_eq!(record.ended_attempts(&id).unwrap(), 1);
        let other = TrialId { number: 2, ..id };
        assert_eq!(record.open_attempt(&other).unwrap().0, 1);
    }
}
