//! What a bisection has seen, one JSON object a line, in the order it was seen.
//!
//! The log is the whole state: a search is what comes out when its log is
//! replayed. So a bisection that was killed goes on with nothing repeated but
//! what was under way, and a result that turns out wrong is corrected by one
//! more line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::amplify::Tries;
pub use super::begun::{Begun, Carried, Source};
use super::candidates::Kind;
use super::report::{Step, p_value};
use super::search::{Answer, Change, Counts, OrderError, Point, Rates, Search, Settings};
use super::table::{Subject, rows};
use crate::error::{Exit, Fault};
use crate::store::LockedFile;

/// The version of the log's shape.
pub const VERSION: u32 = 1;

/// No line is longer: the first one holds every candidate.
const LINE_LIMIT: usize = 64 << 20;

/// Merge bases of one rate differ as much as theirs less often than this.
const UNLIKE: f64 = 0.05;

/// One thing that was seen or said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The beginning.
    Begun(Box<Begun>),
    /// A candidate's kernel was built.
    Built {
        /// The candidate; the base is `null`.
        candidate: Option<String>,
        /// Of several merge bases, which one: its place in their list.
        #[serde(default, skip_serializing_if = "is_first")]
        base: usize,
        /// The time that the build took, seconds.
        seconds: f64,
        /// What the image holds: equal for equal images.
        image: String,
    },
    /// A boot told whether the target shows.
    Boot {
        /// The candidate; the base is `null`.
        candidate: Option<String>,
        /// Of several merge bases, which one.
        #[serde(default, skip_serializing_if = "is_first")]
        base: usize,
        /// Whether it does.
        hit: bool,
        /// Why, in a few words: of a hit, the finding's title.
        reason: String,
        /// Where the trial is kept, below the run directory.
        trial: PathBuf,
        /// The time it took, seconds.
        seconds: f64,
    },
    /// A boot told nothing; the next one may.
    Lost {
        /// The candidate; the base is `null`.
        candidate: Option<String>,
        /// Of several merge bases, which one.
        #[serde(default, skip_serializing_if = "is_first")]
        base: usize,
        /// Why.
        reason: String,
        /// Where the trial is kept, if there was one.
        trial: Option<PathBuf>,
        /// What guests mount was lost meanwhile: whatever the trial says, it is
        /// not about the kernel.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        service: bool,
    },
    /// Something else the kernel said, which counts for nothing here.
    Other {
        /// The candidate; the base is `null`.
        candidate: Option<String>,
        /// The finding's title.
        title: String,
    },
    /// A candidate cannot be tested.
    Skipped {
        /// The candidate.
        candidate: String,
        /// Why.
        reason: String,
        /// Its boots told nothing again and again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mute: bool,
    },
    /// A candidate's image is that of another one.
    Same {
        /// The candidate.
        candidate: String,
        /// The other; the base is `null`.
        other: Option<String>,
    },
    /// Somebody says what a candidate is.
    Word {
        /// The candidate.
        candidate: String,
        /// Whether it has the bug.
        bad: bool,
    },
    /// Nothing that was seen of a candidate counts any more.
    Forgotten {
        /// The candidate; the base is `null`.
        candidate: Option<String>,
    },
    /// A boot of the bad end in one of several ways to run the trial. It chooses
    /// among them, and counts for nothing else: the best of several looks better
    /// than it is.
    Tried {
        /// The way: 0 is the job's own, others are variations in their order.
        way: usize,
        /// Whether the target shows; nothing if the boot does not tell.
        hit: Option<bool>,
        /// Where the trial is kept.
        trial: PathBuf,
        /// The time it took, seconds.
        seconds: f64,
    },
    /// All later boots are run in this way.
    Chosen {
        /// The way, as of `tried`.
        way: usize,
    },
    /// The final table of a candidate was begun.
    Table {
        /// The candidate.
        culprit: String,
        /// How often each row is booted.
        rounds: u32,
    },
    /// The kernel of the newer end without a candidate was built.
    Reverted {
        /// The candidate that it is without.
        culprit: String,
        /// The time that the build took, seconds.
        seconds: f64,
    },
    /// A boot for the final table. What it boots is a candidate as in the search,
    /// or the base, so it counts like any other boot of that one.
    Confirmed {
        /// The candidate whose table it is; in early logs the one that was named.
        #[serde(default)]
        culprit: Option<String>,
        /// The row of the table.
        row: String,
        /// Whether the target shows.
        hit: bool,
        /// Why, in a few words: of a hit, the finding's title.
        #[serde(default)]
        reason: String,
        /// Where the trial is kept.
        trial: PathBuf,
        /// The time it took, seconds.
        #[serde(default)]
        seconds: f64,
    },
}

/// Whether a number is zero, which the log leaves out.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_first(base: &usize) -> bool {
    *base == 0
}

/// A log cannot be used.
#[derive(Debug, Error, Diagnostic)]
pub enum LogError {
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help(
        "check that the directory of the bisection is complete, writable and not full; what is in the log is not lost"
    ))]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is not an entry.
    #[error("{}:{line}: {reason}", path.display())]
    #[diagnostic(help(
        "remove the line, or everything from it on: the search goes on from what is left"
    ))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// No beginning.
    #[error("{} does not begin with what is searched", .0.display())]
    #[diagnostic(help("name the directory of a bisection that `kvet bisect` began"))]
    NoBeginning(PathBuf),
    /// A candidate that is none.
    #[error("`{name}` is not one of the {count} candidates")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// The name.
        name: String,
        /// How many there are.
        count: usize,
        /// What would do.
        help: String,
    },
    /// Another kvet has the log.
    #[error("another kvet is at work on this bisection ({} is locked)", .0.display())]
    #[diagnostic(help(
        "wait for it, or stop it: what it has seen is kept, and `kvet bisect resume` goes on"
    ))]
    Busy(PathBuf),
    /// The candidates are in no order.
    #[error("the candidates cannot be ordered: {0}")]
    #[diagnostic(help("begin a new bisection"))]
    Order(#[from] OrderError),
}

impl Fault for LogError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// A log on disk, open for more. Nobody else can add to it meanwhile.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: LockedFile,
    /// Its last line was not written to its end, and could not be cut off.
    torn: bool,
}

impl Log {
    /// Begins a log; there must be none yet.
    pub fn create(path: &Path, begun: Begun) -> Result<(Self, State), LogError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(failed("create", path))?;
        let mut log = Self {
            path: path.to_owned(),
            file: lock(path, file)?,
            torn: false,
        };
        let mut state = State::new(begun.clone())?;
        log.add(&mut state, Entry::Begun(Box::new(begun)))?;
        Ok((log, state))
    }

    /// Opens a log and replays it. A last line that was not written to its end is
    /// cut off.
    pub fn open(path: &Path) -> Result<(Self, State), LogError> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(path)
            .map_err(failed("open", path))?;
        let mut file = lock(path, file)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed("read", path))?;
        let whole = whole(&text);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed("mend", path))?;
            file.seek(SeekFrom::End(0)).map_err(failed("mend", path))?;
        }
        let state = replay(path, parse(path, &text[..whole])?)?;
        let log = Self {
            path: path.to_owned(),
            file,
            torn: false,
        };
        Ok((log, state))
    }

    /// Writes an entry to disk, then lets the state take it in.
    pub fn add(&mut self, state: &mut State, entry: Entry) -> Result<(), LogError> {
        let mut line = serde_json::to_vec(&entry)
            .map_err(|error| failed("write to", &self.path)(error.into()))?;
        line.push(b'\n');
        if self.torn {
            let error = io::Error::other("its last line is torn");
            return Err(failed("write to", &self.path)(error));
        }
        let before = self.file.metadata().map(|is| is.len());
        let written = self.file.write_all(&line);
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // The next one, of a boot that ends later, must not follow half a line.
            let cut = before.and_then(|length| self.file.set_len(length));
            self.torn = cut.is_err();
            return Err(failed("write to", &self.path)(error));
        }
        state.take(entry)
    }
}

/// Keeps others from adding to a log.
fn lock(path: &Path, file: File) -> Result<LockedFile, LogError> {
    let locked = LockedFile::take(file).map_err(failed("lock", path))?;
    locked.ok_or_else(|| LogError::Busy(path.to_owned()))
}

/// Says so if another kvet is at work on a bisection.
pub(super) fn free(path: &Path) -> Result<(), LogError> {
    let opened = OpenOptions::new().append(true).open(path);
    lock(path, opened.map_err(failed("open", path))?).map(drop)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io {
        action,
        path,
        source,
    }
}

/// The entries of a log, in order, without a last line that was not written to
/// its end.
pub(super) fn entries(path: &Path) -> Result<Vec<Entry>, LogError> {
    let text = std::fs::read(path).map_err(failed("read", path))?;
    parse(path, &text[..whole(&text)])
}

/// How much of a log was written to the end of a line.
fn whole(text: &[u8]) -> usize {
    let last = text.iter().rposition(|&byte| byte == b'\n');
    last.map_or(0, |at| at + 1)
}

fn parse(path: &Path, text: &[u8]) -> Result<Vec<Entry>, LogError> {
    let wrong = |line: usize, reason: String| LogError::Line {
        path: path.to_owned(),
        line,
        reason,
    };
    let mut entries = Vec::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        if line.len() > LINE_LIMIT {
            return Err(wrong(number + 1, "the line is too long".to_owned()));
        }
        let entry: Entry =
            serde_json::from_slice(line).map_err(|error| wrong(number + 1, error.to_string()))?;
        if let Entry::Begun(begun) = &entry
            && begun.version > VERSION
        {
            let reason = format!(
                "the log is of version {}, this kvet reads up to {VERSION}",
                begun.version
            );
            return Err(wrong(number + 1, reason));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The bisection that these entries make.
pub(super) fn replay(path: &Path, entries: Vec<Entry>) -> Result<State, LogError> {
    replay_with(path, entries, |_, _| {})
}

/// The same, shown each state with the entry that led to it.
pub(super) fn replay_with(
    path: &Path,
    entries: Vec<Entry>,
    mut each: impl FnMut(&State, &Entry),
) -> Result<State, LogError> {
    let mut entries = entries.into_iter();
    let Some(Entry::Begun(begun)) = entries.next() else {
        return Err(LogError::NoBeginning(path.to_owned()));
    };
    let mut state = State::new(*begun)?;
    for entry in entries {
        state.take(entry.clone())?;
        each(&state, &entry);
    }
    Ok(state)
}

/// Boots of one row of the final table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Those that showed the target, and all that told something.
    pub counts: Counts,
    /// Titles of what was seen as the target, with how often.
    pub titles: BTreeMap<String, u32>,
}

/// A bisection as its log has it.
#[derive(Debug, Clone)]
pub struct State {
    /// What is asked.
    pub begun: Begun,
    /// The search.
    pub search: Search,
    /// Why candidates are skipped, by number.
    pub skipped: BTreeMap<usize, String>,
    /// Boots in a row that told nothing, by point.
    pub lost: BTreeMap<Option<usize>, u32>,
    /// Why the last of these told nothing.
    pub lost_last: BTreeMap<Option<usize>, String>,
    /// Boots in a row in which what guests mount was lost, by point.
    pub service_lost: BTreeMap<Option<usize>, u32>,
    /// The title of the target as it was first seen.
    target: Option<String>,
    /// All titles of it, with how often they were seen.
    titles: BTreeMap<String, u32>,
    /// What has a kernel.
    pub made: BTreeSet<Option<usize>>,
    /// Images, by what they hold, and the first candidate that has them.
    pub images: BTreeMap<String, Option<usize>>,
    /// Other findings' titles, with the candidates that had them.
    pub others: BTreeMap<String, Vec<Option<usize>>>,
    /// Boots of the final table, by the candidate that it is of and by its rows.
    pub confirmed: BTreeMap<(usize, String), Confirmed>,
    /// How often each row of a candidate's table is booted.
    pub tables: BTreeMap<usize, u32>,
    /// Candidates without which the newer end has a kernel.
    pub reverted: BTreeSet<usize>,
    /// All builds, seconds.
    pub build_seconds: f64,
    /// Builds made.
    pub builds: u32,
    /// All boots, seconds.
    pub boot_seconds: f64,
    /// Boots that told something.
    pub boots: u32,
    /// Where each point's trials are kept.
    pub trials: BTreeMap<Option<usize>, Vec<PathBuf>>,
    /// The boots of each merge base; of the base alone if there are none.
    pub bases: Vec<Counts>,
    /// Which merge bases have a kernel.
    pub made_bases: BTreeSet<usize>,
    /// Boots of the bad end by the way the trial was run.
    pub tries: Tries,
    /// The way in which trials are run, once it is chosen.
    pub way: Option<usize>,
    /// What the search believed after each test.
    pub steps: Vec<Step>,
    /// What somebody says candidates are.
    words: BTreeMap<usize, bool>,
    /// The candidate that boots of the table are of where the log does not say, once
    /// there was one: what the first of them show must not make it another one.
    unsaid: Option<usize>,
}

impl State {
    fn new(begun: Begun) -> Result<Self, LogError> {
        let order = Arc::new(begun.candidates.order()?);
        let settings = Settings {
            rates: if begun.every_boot {
                Rates::Known {
                    hit: 1.0,
                    false_alarm: 0.0,
                }
            } else {
                Rates::Learned
            },
            change: change(begun.fixed),
            ..Settings::default()
        };
        Ok(Self {
            search: Search::new(order, settings),
            bases: vec![Counts::default(); begun.bases().len()],
            made_bases: BTreeSet::new(),
            tries: Tries::new(begun.variations.len() + 1),
            way: begun.variations.is_empty().then_some(0),
            steps: Vec::new(),
            begun,
            skipped: BTreeMap::new(),
            lost: BTreeMap::new(),
            service_lost: BTreeMap::new(),
            lost_last: BTreeMap::new(),
            target: None,
            titles: BTreeMap::new(),
            made: BTreeSet::new(),
            images: BTreeMap::new(),
            others: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            tables: BTreeMap::new(),
            reverted: BTreeSet::new(),
            build_seconds: 0.0,
            builds: 0,
            boot_seconds: 0.0,
            boots: 0,
            trials: BTreeMap::new(),
            words: BTreeMap::new(),
            unsaid: None,
        })
    }

    /// The title of the target as it was seen most often; of several, the first.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        let first = self.target.as_deref();
        let often = |title: &str| (self.titles.get(title).copied(), Some(title) == first);
        let titles = self.titles.keys().map(String::as_str);
        titles.max_by_key(|title| often(title))
    }

    /// The name of a point in the log; the base has none.
    #[must_use]
    pub fn name(&self, point: Point) -> Option<String> {
        match point {
            Point::Base => None,
            Point::Candidate(number) => Some(self.begun.candidates.list[number].name.clone()),
        }
    }

    /// The number of a candidate.
    pub fn number(&self, name: &str) -> Result<usize, LogError> {
        let candidates = &self.begun.candidates;
        candidates.find(name).ok_or_else(|| LogError::Unknown {
            name: name.to_owned(),
            count: candidates.list.len(),
            help: match candidates.kind {
                Kind::Git => "give the commit's id, at least seven digits of it".to_owned(),
                _ => format!(
                    "candidates are called as in the list, from `{}` to `{}`",
                    candidates.list.first().map_or("", |one| &one.name),
                    candidates.list.last().map_or("", |one| &one.name),
                ),
            },
        })
    }

    /// The point that a user's word means: a candidate, or one of the names of the
    /// end before all of them.
    pub fn meant(&self, name: &str) -> Result<Point, LogError> {
        let begun = &self.begun;
        let base = &begun.candidates.base;
        let begins = begun.candidates.kind == Kind::Git && name.len() >= 7;
        let is_base = |base: &str| name == base || begins && base.starts_with(name);
        if name == begun.older()
            || is_base(base)
            || begun.merge_bases.iter().any(|one| is_base(one))
        {
            return Ok(Point::Base);
        }
        if name == begun.newer()
            && let Some(top) = self.search.top()
        {
            return Ok(Point::Candidate(top));
        }
        self.number(name).map(Point::Candidate)
    }

    fn point(&self, name: Option<&String>) -> Result<Option<usize>, LogError> {
        name.map(|name| self.number(name)).transpose()
    }

    /// Takes an entry in, as it stands in the log.
    pub(super) fn take(&mut self, entry: Entry) -> Result<(), LogError> {
        let step = self.step_of(&entry);
        self.take_in(entry)?;
        if let Some(mut step) = step {
            step.left = self.search.left(self.begun.confidence);
            step.none = self.search.none();
            step.likeliest = self.likeliest();
            self.steps.push(step);
        }
        Ok(())
    }

    /// The five likeliest candidates by name, with their probabilities.
    #[must_use]
    pub fn likeliest(&self) -> Vec<(String, f64)> {
        let named = |(number, probability): (usize, f64)| {
            let name = self.begun.candidates.list[number].name.clone();
            (name, probability)
        };
        self.search.likeliest(5).into_iter().map(named).collect()
    }

    /// What an entry tells the search, if it does.
    fn step_of(&self, entry: &Entry) -> Option<Step> {
        let base = || self.begun.candidates.base.clone();
        let named = |base: usize| self.begun.bases().get(base).map(|&name| name.to_owned());
        let (candidate, saw) = match entry {
            Entry::Boot {
                candidate,
                base,
                hit,
                ..
            } => {
                let name = candidate.clone().or_else(|| named(*base));
                (name, if *hit { "hit" } else { "clean" })
            }
            Entry::Confirmed {
                culprit, row, hit, ..
            } => {
                let culprit = self.table_of(culprit.as_ref()).ok().flatten()?;
                let subject = self.booted(culprit, row)?;
                let name = self.name(subject.point()?);
                let name = name.or_else(|| named(subject.base()));
                (name, if *hit { "hit" } else { "clean" })
            }
            Entry::Skipped { candidate, .. } => (Some(candidate.clone()), "skipped"),
            Entry::Same { candidate, .. } => (Some(candidate.clone()), "same image"),
            Entry::Word { candidate, bad } => {
                let word = if *bad { "said bad" } else { "said good" };
                (Some(candidate.clone()), word)
            }
            Entry::Forgotten { candidate } => (candidate.clone(), "forgotten"),
            _ => return None,
        };
        Some(Step {
            candidate: candidate.unwrap_or_else(base),
            saw: saw.to_owned(),
            left: 0,
            none: 0.0,
            likeliest: Vec::new(),
        })
    }

    fn take_in(&mut self, entry: Entry) -> Result<(), LogError> {
        match entry {
            Entry::Built {
                candidate,
                base,
                seconds,
                image,
            } => {
                let point = self.point(candidate.as_ref())?;
                self.builds += 1;
                self.build_seconds += seconds;
                self.made.insert(point);
                if base < self.begun.ends() {
                    self.images.entry(image).or_insert(point);
                }
                if let Some(number) = point {
                    self.search.mark_built(number);
                } else {
                    self.made_bases.insert(base);
                }
            }
            Entry::Boot {
                candidate,
                base,
                hit,
                reason,
                trial,
                seconds,
            } => {
                if hit {
                    self.target.get_or_insert_with(|| reason.clone());
                    *self.titles.entry(reason).or_default() += 1;
                }
                self.boots += 1;
                self.boot_seconds += seconds;
                let subject = match self.point(candidate.as_ref())? {
                    Some(number) => Subject::Candidate(number),
                    None => Subject::Base(base),
                };
                self.take_boot(subject, hit, trial);
            }
            Entry::Lost {
                candidate,
                reason,
                trial,
                service,
                ..
            } => {
                let point = self.point(candidate.as_ref())?;
                self.lost_last.insert(point, reason);
                // One that the service did not outlive is not the candidate's.
                let lost = if service {
                    &mut self.service_lost
                } else {
                    &mut self.lost
                };
                *lost.entry(point).or_default() += 1;
                self.trials.entry(point).or_default().extend(trial);
            }
            Entry::Other { candidate, title } => {
                let point = self.point(candidate.as_ref())?;
                let at = self.others.entry(title).or_default();
                if !at.contains(&point) {
                    at.push(point);
                }
            }
            Entry::Tried {
                way, hit, seconds, ..
            } => {
                self.boot_seconds += seconds;
                self.boots += u32::from(hit.is_some());
                self.tries.add(way, hit, seconds);
            }
            Entry::Chosen { way } => self.way = Some(way),
            Entry::Table { culprit, rounds } => {
                let culprit = self.number(&culprit)?;
                self.tables.insert(culprit, rounds);
            }
            Entry::Reverted { culprit, seconds } => {
                let culprit = self.number(&culprit)?;
                self.reverted.insert(culprit);
                self.builds += 1;
                self.build_seconds += seconds;
            }
            Entry::Confirmed { .. } => self.take_confirmed(entry)?,
            entry => return self.take_word(entry),
        }
        Ok(())
    }

    /// Takes in a boot of the final table.
    fn take_confirmed(&mut self, entry: Entry) -> Result<(), LogError> {
        let Entry::Confirmed {
            culprit,
            row,
            hit,
            reason,
            trial,
            seconds,
        } = entry
        else {
            return Ok(());
        };
        let unsaid = culprit.is_none();
        let culprit = self.table_of(culprit.as_ref())?;
        if unsaid {
            self.unsaid = culprit;
        }
        let Some(culprit) = culprit else {
            return Ok(());
        };
        self.boots += 1;
        self.boot_seconds += seconds;
        if let Some(subject) = self.booted(culprit, &row) {
            self.take_boot(subject, hit, trial);
        }
        let confirmed = self.confirmed.entry((culprit, row)).or_default();
        confirmed.counts.hits += u32::from(hit);
        confirmed.counts.boots += 1;
        if hit && !reason.is_empty() {
            *self.titles.entry(reason.clone()).or_default() += 1;
            *confirmed.titles.entry(reason).or_default() += 1;
        }
        Ok(())
    }

    /// Takes in what is known of a candidate without a boot of its own.
    fn take_word(&mut self, entry: Entry) -> Result<(), LogError> {
        self.unsaid = None;
        match entry {
            Entry::Skipped {
                candidate, reason, ..
            } => {
                let number = self.number(&candidate)?;
                self.search.skip(number);
                self.skipped.insert(number, reason);
            }
            Entry::Same { candidate, other } => {
                let number = self.number(&candidate)?;
                let other = self.point(other.as_ref())?;
                let other = other.map_or(Point::Base, Point::Candidate);
                self.search.same(number, other);
            }
            Entry::Word { candidate, bad } => {
                let number = self.number(&candidate)?;
                self.search.assert(number, bad);
                self.words.insert(number, bad);
            }
            Entry::Forgotten { candidate } => {
                let point = self.point(candidate.as_ref())?;
                self.forget(point);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes in what a boot told, if it is of a candidate or of what is before all.
    fn take_boot(&mut self, subject: Subject, hit: bool, trial: PathBuf) {
        let Some(point) = subject.point() else {
            return;
        };
        let number = subject.number();
        if number.is_none()
            && let Some(counts) = self.bases.get_mut(subject.base())
        {
            counts.hits += u32::from(hit);
            counts.boots += 1;
        }
        self.lost.remove(&number);
        self.service_lost.remove(&number);
        self.trials.entry(number).or_default().push(trial);
        match point {
            Point::Base => self.search.set_base(self.of_all_bases()),
            Point::Candidate(_) => self.search.record(point, hit),
        }
    }

    /// The boots of all merge bases together; if one of them is not like the others,
    /// its boots alone: the bug must be at none of them, and a cure's at each.
    fn of_all_bases(&self) -> Counts {
        let all = self.of_the_ends(None);
        let Some((odd, counts)) = self.odd_base() else {
            return all;
        };
        if self.differ(counts, self.of_the_ends(Some(odd))) {
            counts
        } else {
            all
        }
    }

    /// The boots of what stands for the older end, together, but for one of them.
    #[must_use]
    pub fn of_the_ends(&self, but: Option<usize>) -> Counts {
        let ends = self.bases.iter().enumerate().take(self.begun.ends());
        ends.filter(|(number, _)| Some(*number) != but)
            .fold(Counts::default(), |sum, (_, &counts)| sum.plus(counts))
    }

    /// Whether these boots are hardly of one rate.
    #[must_use]
    pub fn differ(&self, one: Counts, other: Counts) -> bool {
        if self.begun.every_boot && !self.search.is_contradicted() {
            return one.hits * other.boots != other.hits * one.boots;
        }
        p_value((one.hits, one.boots), (other.hits, other.boots)) < UNLIKE
    }

    /// The merge base whose boots speak most for a bug that is older than all
    /// candidates, or for a cure that is.
    #[must_use]
    pub fn odd_base(&self) -> Option<(usize, Counts)> {
        let shows = |counts: Counts| {
            let share = f64::from(counts.hits) / f64::from(counts.boots);
            if self.begun.fixed { 1.0 - share } else { share }
        };
        let ends = self.bases.iter().copied().enumerate();
        ends.take(self.begun.ends())
            .filter(|(_, counts)| counts.boots > 0)
            .max_by(|(_, a), (_, b)| shows(*a).total_cmp(&shows(*b)))
    }

    /// The candidate whose table is meant: where the log does not say, the one that
    /// is named by what came before.
    fn table_of(&self, culprit: Option<&String>) -> Result<Option<usize>, LogError> {
        if culprit.is_some() {
            return self.point(culprit);
        }
        if self.unsaid.is_some() {
            return Ok(self.unsaid);
        }
        Ok(match self.search.answer(self.begun.confidence) {
            Answer::Culprit { candidates, .. } => candidates.first().copied(),
            _ => None,
        })
    }

    /// What a boot of the final table tells the search of, if it does.
    pub(super) fn confirmed(&self, culprit: Option<&String>, row: &str) -> Option<Point> {
        let culprit = self.table_of(culprit).ok().flatten()?;
        self.booted(culprit, row)?.point()
    }

    /// What a row of a candidate's table boots.
    fn booted(&self, culprit: usize, row: &str) -> Option<Subject> {
        let rows = rows(&self.begun, self.search.top(), culprit);
        let (_, subject) = rows.into_iter().find(|(what, _)| *what == row)?;
        Some(subject)
    }

    /// Forgets what was seen of a candidate, or of what is in the place of the
    /// good end.
    fn forget(&mut self, point: Option<usize>) {
        self.lost.remove(&point);
        self.service_lost.remove(&point);
        let mut confirmed = std::mem::take(&mut self.confirmed);
        confirmed.retain(|(culprit, row), _| {
            let subject = self.booted(*culprit, row);
            let is_it = |subject: Subject| subject.point().is_some() && subject.number() == point;
            !subject.is_some_and(is_it)
        });
        self.confirmed = confirmed;
        if let Some(number) = point {
            self.skipped.remove(&number);
            self.words.remove(&number);
        } else {
            self.bases.fill(Counts::default());
        }
        self.search
            .forget(point.map_or(Point::Base, Point::Candidate));
    }

    /// The log in git's own format, which `git bisect replay` takes.
    ///
    /// git knows no probabilities: a candidate is in it as good or bad if that is
    /// as sure as the whole search is asked to be, and as skipped if it cannot be
    /// tested. What is still open is a comment.
    #[must_use]
    pub fn git_log(&self, subject: impl Fn(&str) -> String) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let line = |text: &mut String, word: &str, id: &str| {
            let _ = writeln!(text, "# {word}: [{id}] {}", subject(id));
        };
        let begun = &self.begun;
        let (newer, older) = (begun.newer(), begun.older());
        // git's own words cannot change their sides: what cures a bug has others.
        let (has, lacks, terms) = if begun.fixed {
            ("fixed", "broken", " '--term-new=fixed' '--term-old=broken'")
        } else {
            ("bad", "good", "")
        };
        line(&mut text, has, newer);
        line(&mut text, lacks, older);
        let parents = if begun.first_parent {
            " '--first-parent'"
        } else {
            ""
        };
        let _ = writeln!(text, "git bisect start{terms}{parents} '{newer}' '{older}'");
        // git goes by the last one that has the bug: that must be the oldest.
        let mut having = Vec::new();
        for (number, candidate) in begun.candidates.list.iter().enumerate() {
            let id = &candidate.name;
            let counts = self.search.counts(Point::Candidate(number));
            if id == newer || id == older {
                continue;
            }
            let word = if let Some(&said) = self.words.get(&number) {
                if said == begun.fixed { lacks } else { has }
            } else if self.skipped.contains_key(&number) {
                "skip"
            } else if counts.boots == 0 {
                continue;
            } else {
                let after = self.search.after_culprit(number);
                if after >= begun.confidence {
                    has
                } else if 1.0 - after - self.search.none() >= begun.confidence {
                    lacks
                } else {
                    let _ = writeln!(
                        text,
                        "# open: [{id}] {} ({} of {} boots show the target)",
                        subject(id),
                        counts.hits,
                        counts.boots
                    );
                    continue;
                }
            };
            if word == has {
                having.push(id);
                continue;
            }
            line(&mut text, word, id);
            let _ = writeln!(text, "git bisect {word} {id}");
        }
        for id in having.into_iter().rev() {
            line(&mut text, has, id);
            let _ = writeln!(text, "git bisect {has} {id}");
        }
        text
    }
}

/// Which way the target's rate changes.
fn change(fixed: bool) -> Change {
    if fixed {
        Change::Disappears
    } else {
        Change::Appears
    }
}

#[cfg(test)]
mod tests;
