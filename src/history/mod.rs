//! What runs showed, over time. Runs have a home, `$XDG_STATE_HOME/kvet`:
//!
//! ```text
//! runs/ID/           run directories, unless `--out` says another place
//! history/ID.json    what is kept of each run, wherever its directory lies
//! index.sqlite       the same, for questions over many runs
//! ```
//!
//! A summary outlives its run directory. The index is made of the summaries, at
//! any time; one that is damaged is made anew, one that is locked or cannot be
//! written is done without. Nothing here costs a run: what goes wrong is told,
//! and history is poorer by it.

mod changes;
mod figures;
mod hosts;
mod index;
mod past;
mod rate;
mod summary;

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use miette::Diagnostic;
use thiserror::Error;

pub use changes::{ArmChange, Change, Changes, FindingChange, KernelChange, changes};
pub use figures::{Arm, Finding, JobHistory, KernelRate, Run, Sight, Trend};
pub use hosts::Host;
pub use rate::Rate;
pub use summary::{BisectionSummary, Summary, id};

use crate::bisect::course::{is_bisection, reported};
use crate::bounded;
use crate::error::{Error, Exit, Fault};
use crate::event::Expected;
use crate::job::{self, Plan};
use crate::record::{Past, Record, RecordError};
use crate::run::report_of;
use crate::store::{
    InUse, Limit, Lock, Over, StoreError, io_error, remove_over, remove_tree, state_directory,
    write_json,
};

use index::{Index, Trouble};

/// How long the index is waited for if another process has it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the name of a run directory begins that is being removed.
const REMOVED: &str = ".kvet-removed-";

/// The most bytes of a summary that are read.
const LARGEST: u64 = 64 << 20;

/// History could not be kept or asked.
#[derive(Debug, Error, Diagnostic)]
pub enum HistoryError {
    /// A file of it could not be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A run directory could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// Neither `XDG_STATE_HOME` nor `HOME` is set.
    #[error("there is no place for runs: neither XDG_STATE_HOME nor HOME is set")]
    #[diagnostic(help("set XDG_STATE_HOME, or choose a run directory with --out"))]
    NoHome,
    /// The index does not serve, and one in memory does not either.
    #[error("cannot read the history: {0}")]
    #[diagnostic(help("remove index.sqlite; kvet makes a new one"))]
    Index(String),
    /// No run has this name.
    #[error("there is no run `{0}`")]
    #[diagnostic(help(
        "a run is named by its directory, its id, the beginning or the end of that, or `latest`; \
         `kvet history` lists them"
    ))]
    NoRun(String),
    /// No bisection has begun.
    #[error("there is no bisection to go on with")]
    #[diagnostic(help("`kvet bisect JOB` begins one; --in names the directory of one"))]
    NoBisection,
    /// Several runs have this name.
    #[error("`{name}` may be any of {count} runs: {some}")]
    #[diagnostic(help("give more of the id"))]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
        /// The ids of some of them.
        some: String,
    },
    /// The run's directory is not there any more.
    #[error("the directory of {id}, {}, is gone", path.display())]
    #[diagnostic(help("`kvet history` still tells what it came to"))]
    Gone {
        /// The run.
        id: String,
        /// Where it was.
        path: PathBuf,
    },
}

impl Fault for HistoryError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Something that went wrong and cost no answer.
pub type Remark = String;

/// The home of runs and what is known of them.
#[derive(Debug, Clone)]
pub struct History {
    home: PathBuf,
    /// How long the index is waited for.
    patience: Duration,
}

/// What a prune of run directories came to.
#[derive(Debug, Default)]
pub struct PrunedRuns {
    /// What is gone, or would be: directories and their bytes.
    pub removed: Vec<(PathBuf, u64)>,
    /// What would have gone, but a run is writing it.
    pub in_use: Vec<PathBuf>,
    /// What would have gone, and why it could not.
    pub left_alone: Vec<(PathBuf, String)>,
    /// Bytes that are left.
    pub left: u64,
}

impl History {
    /// The user's: `$XDG_STATE_HOME/kvet` or `~/.local/state/kvet`.
    pub fn of_the_user() -> Result<Self, HistoryError> {
        let home = state_directory().map_err(|_| HistoryError::NoHome)?;
        Ok(Self::at(home))
    }

    /// One at a place of one's own choice.
    pub fn at(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            patience: PATIENCE,
        }
    }

    /// Where run directories lie.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.home.join("runs")
    }

    /// Where a run of this job that begins now is recorded.
    #[must_use]
    pub fn new_run(&self, job: &str, started: Timestamp) -> PathBuf {
        self.runs().join(id(job, started))
    }

    fn summaries(&self) -> PathBuf {
        self.home.join("history")
    }

    fn index_lock(&self) -> PathBuf {
        self.home.join(".index.lock")
    }

    fn index_file(&self) -> PathBuf {
        self.home.join("index.sqlite")
    }

    /// Keeps what a run directory tells, however far the run came. What could
    /// not be kept is said.
    pub fn keep(&self, run: &Path) -> Result<Vec<Remark>, HistoryError> {
        let summary = read(run)?;
        self.keep_summary(&summary)?;
        let mut remarks = Vec::new();
        // The summary is kept: the index takes it in the next time at the latest.
        let _kept = self.with_index(&mut remarks, |index| index.put(&summary));
        Ok(remarks)
    }

    fn keep_summary(&self, summary: &Summary) -> Result<(), HistoryError> {
        let directory = self.summaries();
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        Ok(write_json(
            &directory.join(format!("{}.json", summary.id)),
            summary,
        )?)
    }

    /// All runs, the first one first, and what went wrong on the way.
    pub fn list(&self) -> Result<(Vec<Run>, Vec<Remark>), HistoryError> {
        let mut remarks = Vec::new();
        let rows = self.asked(&mut remarks, |index| index.runs(None))?;
        Ok((figures::runs(&rows), remarks))
    }

    /// A job over time; `None` if no run of it is known.
    pub fn job(&self, job: &str) -> Result<(Option<JobHistory>, Vec<Remark>), HistoryError> {
        let mut remarks = Vec::new();
        let history = self.asked(&mut remarks, |index| {
            let runs = index.runs(Some(job))?;
            let (arms, findings) = (index.arms(job, &runs)?, index.findings(job, &runs)?);
            let of_hosts = index.hosts(job, hosts::RUNS)?;
            Ok((!runs.is_empty()).then(|| JobHistory {
                hosts: hosts::hosts(&of_hosts),
                deviations: hosts::differing(&of_hosts),
                ..figures::figures(job, &runs, &arms, &findings)
            }))
        })?;
        Ok((history, remarks))
    }

    /// How often an arm of a job showed its target with a workload so far.
    pub fn shown(&self, job: &str, arm: &str, workload: &str) -> Result<Rate, HistoryError> {
        let (hits, trials) =
            self.asked(&mut Vec::new(), |index| index.shown(job, arm, workload))?;
        Ok(Rate::of(hits, trials))
    }

    /// What a run of this plan is to know of the runs before.
    pub fn past(&self, plan: &Plan) -> Result<(Past, Vec<Remark>), HistoryError> {
        let mut remarks = Vec::new();
        let planned = summary::planned(plan.arms.iter().map(job::Arm::planned));
        let past = self.asked(&mut remarks, |index| {
            let job = &plan.name;
            let mut known = Vec::new();
            for mute in &plan.known {
                let rows = index.streams(job, |title, signature| mute.names(title, signature))?;
                known.push(past::streams(mute, &rows));
            }
            let open_end = plan.rules.until.is_some();
            Ok(Past {
                expected: Expected {
                    builds: past::usual(index.builds(job)?),
                    trials: past::usual(index.trial_times(job)?),
                    run: past::usual_one(index.run_times(job, planned)?).filter(|_| !open_end),
                    open_end,
                },
                known,
            })
        })?;
        Ok((past, remarks))
    }

    /// The directory of the bisection that began last.
    pub fn last_bisection(&self) -> Result<PathBuf, HistoryError> {
        let (runs, _) = self.list()?;
        let mut bisections = runs.into_iter().filter(|run| run.bisection && !run.gone);
        let last = bisections.next_back().ok_or(HistoryError::NoBisection)?;
        Ok(last.path.into())
    }

    /// The directory of a run that is given by its path, its id, the beginning
    /// or the end of that, or as `latest`.
    pub fn find(&self, name: &Path) -> Result<PathBuf, HistoryError> {
        let word = name.to_str().filter(|word| !word.contains('/'));
        let Some(word) = word.filter(|word| !word.is_empty() && !name.is_dir()) else {
            return Ok(name.to_owned());
        };
        let mut remarks = Vec::new();
        let mut found = self.asked(&mut remarks, |index| match word {
            "latest" => {
                let last = index.runs(None)?.pop();
                Ok(last.map(|run| (run.id, run.path)).into_iter().collect())
            }
            word => index.named(word),
        })?;
        match found.len() {
            0 => Err(HistoryError::NoRun(word.to_owned())),
            1 => {
                let (id, path) = found.remove(0);
                if path.is_dir() && !is_of_another(&path, &id) {
                    Ok(path)
                } else {
                    Err(HistoryError::Gone { id, path })
                }
            }
            count => {
                let some = found.iter().take(3).map(|(id, _)| id.as_str());
                let some: Vec<&str> = some.collect();
                Err(HistoryError::Ambiguous {
                    name: word.to_owned(),
                    count,
                    some: some.join(", "),
                })
            }
        }
    }

    /// Makes the index anew from the summaries and the run directories; how many
    /// runs it has.
    pub fn rebuild(&self) -> Result<(usize, Vec<Remark>), HistoryError> {
        let mut remarks = Vec::new();
        self.set_aside(&mut remarks);
        let runs = self.asked(&mut remarks, |index| index.runs(None))?;
        Ok((runs.len(), remarks))
    }

    /// Removes run directories that a limit does not keep: in kvet's own place, or
    /// in one that the user names, where only what is the record of a run may go.
    /// What is known of the runs stays.
    pub fn prune(
        &self,
        place: Option<&Path>,
        limit: &Limit,
        dry_run: bool,
    ) -> Result<PrunedRuns, HistoryError> {
        let mut pruned = PrunedRuns::default();
        let directory = place.map_or_else(|| self.runs(), Path::to_owned);
        if !directory.is_dir() {
            return Ok(pruned);
        }
        if !dry_run {
            // A summary is written before there is less room.
            let mut remarks = Vec::new();
            self.asked(&mut remarks, |index| index.runs(None).map(|_| ()))?;
        }
        let mut runs = Vec::new();
        for run in children(&directory)? {
            if is_removed(&run) {
                if !dry_run {
                    // One that cannot be removed keeps no other.
                    drop(remove_tree(&run));
                }
                continue;
            }
            let Ok(data) = run.symlink_metadata() else {
                continue;
            };
            if data.is_dir() && (place.is_none() || run.join("run.json").is_file()) {
                let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let size = measure(&run);
                runs.push((run, Over { used, size }));
            }
        }
        let sizes: Vec<Over> = runs.iter().map(|(_, over)| *over).collect();
        pruned.left = remove_over(&sizes, limit, SystemTime::now(), |number| {
            let (run, over) = &runs[number];
            let removed = match Lock::of_unused(run) {
                Ok(None) => {
                    pruned.in_use.push(run.clone());
                    return Ok(false);
                }
                Ok(Some(_lock)) if dry_run => Ok(()),
                Ok(Some(_lock)) => self.remove(run),
                Err(error) => Err(error.into()),
            };
            match removed {
                Ok(()) => pruned.removed.push((run.clone(), over.size)),
                // The others can go nevertheless.
                Err(error) => {
                    let why = Error::from(error).one_line();
                    pruned.left_alone.push((run.clone(), why));
                    return Ok(false);
                }
            }
            Ok::<_, HistoryError>(true)
        })?;
        Ok(pruned)
    }

    /// Removes a run directory, once what it came to is kept for good.
    fn remove(&self, run: &Path) -> Result<(), HistoryError> {
        // One that cannot be read has no summary to be kept.
        if let Ok(summary) = read(run) {
            let file = self.summaries().join(format!("{}.json", summary.id));
            let kept = bounded::read_own(&file, LARGEST).ok();
            let kept = kept.and_then(|text| serde_json::from_slice::<Summary>(&text).ok());
            if kept.is_none_or(|kept| kept.stamp != summary.stamp) {
                self.keep_summary(&summary)?;
            }
        }
        // Killed in the middle, it would be left as a run that showed less.
        let name = run.file_name().unwrap_or_default().to_string_lossy();
        let aside = run.with_file_name(format!("{REMOVED}{name}"));
        remove_tree(&aside)?;
        std::fs::rename(run, &aside).map_err(io_error("rename", run))?;
        Ok(remove_tree(&aside)?)
    }

    /// Asks the index, brought up to date; one in memory if the file does not
    /// serve.
    fn asked<T>(
        &self,
        remarks: &mut Vec<Remark>,
        ask: impl Fn(&Index) -> Result<T, Trouble>,
    ) -> Result<T, HistoryError> {
        let told = remarks.len();
        // Where there is none yet, asking makes none.
        let work = |index: &mut Index| {
            // A second try tells again what it finds.
            let mut found = Vec::new();
            self.take_in(index, &mut found)?;
            Ok((ask(index)?, found))
        };
        let answer = if self.home.is_dir() {
            self.with_index(remarks, work)
        } else {
            None
        };
        if let Some((answer, found)) = answer {
            remarks.extend(found);
            return Ok(answer);
        }
        let trouble = |trouble: Trouble| HistoryError::Index(words(&trouble));
        let mut index = Index::in_memory().map_err(trouble)?;
        if let Err(unread) = self.take_in(&mut index, remarks) {
            remarks.insert(told, words(&unread));
        }
        ask(&index).map_err(trouble)
    }

    /// Does something with the index; with another one if it is damaged. `None`,
    /// and a remark, if there is none that serves.
    fn with_index<T>(
        &self,
        remarks: &mut Vec<Remark>,
        mut work: impl FnMut(&mut Index) -> Result<T, Trouble>,
    ) -> Option<T> {
        let file = self.index_file();
        for again in [false, true] {
            let done = std::fs::create_dir_all(&self.home)
                .map_err(|error| Trouble::Unusable(error.to_string()))
                .and_then(|()| {
                    let _in_use = self.use_index()?;
                    let mut index = Index::open(&file, self.patience)?;
                    work(&mut index)
                });
            match done {
                Ok(done) => return Some(done),
                Err(Trouble::Damaged(problem)) if !again => {
                    let place = file.display();
                    remarks.push(format!(
                        "{place} is damaged ({problem}): it is made anew from the runs"
                    ));
                    self.set_aside(remarks);
                }
                Err(trouble) => {
                    let place = file.display();
                    remarks.push(format!("{place} is left alone: {}", words(&trouble)));
                    return None;
                }
            }
        }
        None
    }

    /// To be held while the index is open: it and what `SQLite` keeps beside it are
    /// several files, and nobody may remove them one by one meanwhile. Where there are
    /// no locks, nothing is held.
    fn use_index(&self) -> Result<Option<Lock>, Trouble> {
        match Lock::share_within(&self.index_lock(), self.patience) {
            Ok(None) => Err(Trouble::Locked),
            held => Ok(held.ok().flatten()),
        }
    }

    /// Removes the index, once nobody has it open.
    fn set_aside(&self, remarks: &mut Vec<Remark>) {
        let Ok(Some(_lock)) = Lock::acquire_within(&self.index_lock(), self.patience) else {
            let place = self.index_file();
            let place = place.display();
            remarks.push(format!(
                "{place} stays as it is: another process has it open"
            ));
            return;
        };
        for suffix in ["", "-wal", "-shm"] {
            let mut file = self.index_file().into_os_string();
            file.push(suffix);
            if let Err(error) = std::fs::remove_file(&file)
                && error.kind() != io::ErrorKind::NotFound
            {
                remarks.push(format!("cannot remove {}: {error}", file.display()));
            }
        }
    }

    /// Brings the index up to date with the summaries and the run directories. A
    /// run that cannot be read is told of and left out.
    fn take_in(&self, index: &mut Index, remarks: &mut Vec<Remark>) -> Result<(), Trouble> {
        let stamps = index.stamps()?;
        let known = |id: &str, stamp: &str| stamps.get(id).is_some_and(|known| known == stamp);
        let mut taken: Vec<String> = Vec::new();
        for run in children(&self.runs()).unwrap_or_default() {
            let Some(name) = run.file_name().and_then(OsStr::to_str) else {
                continue;
            };
            if is_removed(&run) {
                continue;
            }
            if !run.join("run.json").exists() || known(name, &stamp(&run)) {
                taken.push(name.to_owned());
                continue;
            }
            match read(&run) {
                Ok(summary) => {
                    // A history that cannot be written can be asked nevertheless.
                    drop(self.keep_summary(&summary));
                    index.put(&summary)?;
                    taken.push(summary.id);
                }
                Err(error) => {
                    let error = Error::from(error).one_line();
                    remarks.push(format!("{} is left out: {error}", run.display()));
                }
            }
        }
        for file in children(&self.summaries()).unwrap_or_default() {
            let id = file.file_stem().and_then(OsStr::to_str);
            let Some(id) = id.filter(|_| file.extension() == Some(OsStr::new("json"))) else {
                continue;
            };
            if id.starts_with('.')
                || taken.iter().any(|taken| taken == id) && stamps.contains_key(id)
            {
                continue;
            }
            match self.known(&file) {
                Ok(summary) => {
                    if !known(&summary.id, &summary.stamp) {
                        index.put(&summary)?;
                    }
                }
                Err(problem) => {
                    remarks.push(format!("{} is left out: {problem}", file.display()));
                }
            }
        }
        Ok(())
    }

    /// A summary from its file, or from its run directory if that has changed
    /// since: `judge` may have been there.
    fn known(&self, file: &Path) -> Result<Summary, String> {
        let text = bounded::read_own(file, LARGEST).map_err(|error| error.to_string())?;
        let summary: Summary =
            serde_json::from_slice(&text).map_err(|error| format!("it is damaged: {error}"))?;
        if Some(summary.id.as_str()) != file.file_stem().and_then(OsStr::to_str) {
            return Err("it is another run's".to_owned());
        }
        if summary.version != summary::VERSION {
            return Err(format!("its version is {}", summary.version));
        }
        if summary.path.join("run.json").is_file()
            && stamp(&summary.path) != summary.stamp
            && let Ok(anew) = read(&summary.path)
            && anew.id == summary.id
        {
            drop(self.keep_summary(&anew));
            return Ok(anew);
        }
        Ok(summary)
    }
}

/// Whether a directory is about to be removed.
fn is_removed(run: &Path) -> bool {
    let name = run.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with(REMOVED))
}

/// Whether a directory has the record of another run by now: one that is named with
/// `--out` may serve again. What cannot be read is for its reader to complain of.
fn is_of_another(path: &Path, id: &str) -> bool {
    Record::open(path)
        .is_ok_and(|(_, beginning)| summary::id(&beginning.plan.name, beginning.started) != id)
}

fn words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Locked => "another process has it locked".to_owned(),
        Trouble::Damaged(problem) | Trouble::Unusable(problem) => problem.clone(),
    }
}

/// Marks a run directory as being written, until dropped.
#[must_use]
pub fn hold(run: &Path) -> Option<InUse> {
    InUse::of(run)
}

/// What a run directory amounts to.
fn read(run: &Path) -> Result<Summary, HistoryError> {
    let run = std::path::absolute(run).map_err(io_error("find", run))?;
    let stamp = stamp(&run);
    let (record, beginning) = Record::open(&run)?;
    if is_bisection(&run) {
        let report = reported(&run)?;
        return Ok(Summary::of_bisection(
            &run,
            stamp,
            &beginning,
            report.as_ref(),
        ));
    }
    let (report, finished) = report_of(&record, &beginning)?;
    let mut summary = Summary::of(&run, stamp, &beginning, &report, finished);
    summary.builds = record.compiled();
    Ok(summary)
}

/// What changes when a run directory is written again.
fn stamp(run: &Path) -> String {
    let part = |name: &str| {
        let data = run.join(name).metadata().ok()?;
        Some(format!(
            "{}.{}/{}",
            data.mtime(),
            data.mtime_nsec(),
            data.len()
        ))
    };
    let parts = ["run.json", "report.json"].map(|name| part(name).unwrap_or_default());
    // Before its end what it tells is all that shows that it goes on.
    let further = match parts[1].as_str() {
        "" => part("bisection.json").or_else(|| part("events.jsonl")),
        _ => part("bisection.json"),
    };
    parts.join(" ") + &further.map_or_else(String::new, |part| format!(" {part}"))
}

fn children(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read the directory", directory))?,
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Bytes on disk below a directory, about.
fn measure(path: &Path) -> u64 {
    let Ok(data) = path.symlink_metadata() else {
        return 0;
    };
    let below = if data.is_dir() {
        children(path).unwrap_or_default()
    } else {
        Vec::new()
    };
    data.blocks() * 512 + below.iter().map(|path| measure(path)).sum::<u64>()
}

#[cfg(test)]
mod tests;
