//! Bisection: from a failing job to the commit, release, patch or option that
//! did it.
//!
//! `search` decides, and knows nothing of kernels; `candidates` lists what is
//! searched; `log` is the state on disk, from which a search is replayed, and
//! `begun` its first line;
//! `drive` builds and boots what the search asks for, in a laboratory, and logs
//! what was seen, after `amplify` chose how trials are run; `judge` says what a
//! trial tells; `report` is what comes out. Here is what the command line calls.

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of boots are far below 2^52"
)]
mod amplify;
mod begun;
pub mod candidates;
pub mod course;
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of candidates and boots are far below 2^52, and shares of them not negative"
)]
mod drive;
mod error;
mod judge;
mod laboratory;
pub mod log;
pub mod page;
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of candidates and boots are far below 2^52, and shares of them not negative"
)]
pub mod report;
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of candidates and boots are far below 2^52, and shares of them not negative"
)]
pub mod search;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use drive::{DriveError, short};
pub use error::AskedError;

use candidates::{Candidates, Kind, git};
use drive::{End, Limits};
use judge::{Judge, planned};
use laboratory::Kernels;
use log::{Begun, Carried, Entry, Log, Source, State};
use report::{Cost, Finding, Report, Row, Suspect};
use search::{Answer, Counts, Point};
use table::{REVERTED, Subject, rows};

use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::fleet::{self, FleetOptions, Later};
use crate::host;
use crate::job::{Arm, Choice, Plan, Variation};
use crate::kernel::{SelectedSeries, WholeConfig};
use crate::library::Places;
use crate::process::{Command, ProcessError};
use crate::record::Record;
use crate::store::{Scratch, Store, io_error};

/// The log's file in the directory of a bisection.
const LOG: &str = "log.jsonl";

/// The report's file there.
const REPORT: &str = "bisection.json";

/// Boots at a time that are chosen without being asked for: more tell little.
const AT_ONCE: usize = 4;

/// Most files of a commit that maintainers are asked for.
const FILES: usize = 50;

/// What is asked of a new bisection.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The job.
    pub job: PathBuf,
    /// The arm whose kernel is varied; the first control if absent.
    pub arm: Option<String>,
    /// The workload; the arm's first if absent.
    pub workload: Option<String>,
    /// What is searched.
    pub over: Over,
    /// Which commit cured the bug.
    pub fixed: bool,
    /// Any finding counts.
    pub any: bool,
    /// Whether the target shows in every boot; what the job says if absent.
    pub every_boot: Option<bool>,
    /// The most telling of the ways to run a trial that the job allows is taken.
    pub amplify: bool,
    /// The confidence to stop at, in 0 to 1.
    pub confidence: f64,
}

/// A bisection that can begin: its job is read and its candidates are listed.
#[derive(Debug)]
pub struct Wanted {
    plan: Plan,
    begun: Begun,
}

impl Wanted {
    /// The job's name.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.plan.name
    }

    /// The arm whose kernel is varied.
    #[must_use]
    pub fn arm(&self) -> &str {
        &self.begun.arm
    }

    /// The workload of every trial.
    #[must_use]
    pub fn workload(&self) -> &str {
        &self.begun.workload
    }

    /// Whether the target is taken to show in every boot that has the bug.
    #[must_use]
    pub fn every_boot(&self) -> bool {
        self.begun.every_boot
    }

    /// Takes it that it does.
    pub fn shows_in_every_boot(&mut self) {
        self.begun.every_boot = true;
    }
}

/// What is searched.
#[derive(Debug, Clone)]
pub enum Over {
    /// Commits.
    Git(git::Range),
    /// Releases, as `--versions` has them.
    Versions(String),
    /// The patches of the arm, or of this series of it.
    Patches(Option<String>),
    /// The options in which two fragments differ.
    Config(PathBuf, PathBuf),
}

/// How far a bisection may go.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Boots at a time; as many as the host has processors for, if absent.
    pub jobs: Option<usize>,
    /// Builds in all.
    pub builds: u32,
    /// Boots in all.
    pub boots: u32,
    /// Whether the next kernel is built while others boot; nothing if that
    /// depends on whether the host has processors to spare.
    pub ahead: Option<bool>,
    /// Other hosts, which make kernels and boot them.
    pub hosts: Option<FleetOptions>,
}

/// Reads the job of a bisection and lists its candidates.
pub async fn ask(context: &Context, store: &Store, asked: &Asked) -> Result<Wanted, Error> {
    let places = Places::of_the_user(store).await?;
    let job = crate::job::find(&asked.job, &places)?;
    let choice = Choice {
        places,
        ..Choice::default()
    };
    let mut plan = Plan::load(&job, &choice)?;
    let arm = chosen_arm(&plan, asked.arm.as_deref(), choice)?;
    if arm.target.is_none() && !asked.any {
        return Err(AskedError::NoTarget(arm.name).into());
    }
    let workload = chosen_workload(&arm, asked.workload.as_deref())?;
    if asked.amplify && plan.amplify.is_empty() {
        return Err(AskedError::NothingToAmplify.into());
    }
    let mut begun = listed(context, store, asked, &arm, workload).await?;
    begun.every_boot = asked.every_boot.unwrap_or(plan.every_trial);
    if asked.amplify {
        begun.variations.clone_from(&plan.amplify);
    }
    plan.arms = vec![arm];
    Ok(Wanted { plan, begun })
}

/// Begins a bisection in this directory and carries it out.
pub async fn begin(
    context: &Context,
    store: &Store,
    wanted: Wanted,
    directory: &Path,
    started: Timestamp,
    bounds: Bounds,
) -> Result<Report, Error> {
    let Wanted { plan, begun } = wanted;
    let host = host::facts(context).await;
    let record = Record::create(directory, &plan, &host, started)?;
    let (log, state) = Log::create(&record.path().join(LOG), begun)?;
    let work = |context| go_on(context, store, &record, log, state, bounds);
    record.logged(context, work).await
}

/// Goes on with a bisection that was stopped, killed or corrected.
pub async fn resume(
    context: &Context,
    store: &Store,
    directory: &Path,
    bounds: Bounds,
) -> Result<Report, Error> {
    let (log, state) = open(directory)?;
    let (record, _) = Record::open(directory)?;
    let work = |context| go_on(context, store, &record, log, state, bounds);
    record.logged(context, work).await
}

/// What somebody says of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// It does not have the bug.
    Good,
    /// It has.
    Bad,
    /// It cannot be tested.
    Skip,
    /// Nothing that was seen of it counts.
    Forget,
}

/// Corrects a bisection by hand; it goes on from there when it is resumed. Says
/// which candidate was meant, as people write it.
pub async fn correct(
    context: &Context,
    directory: &Path,
    name: &str,
    correction: Correction,
) -> Result<String, Error> {
    let (mut log, mut state) = open(directory)?;
    let point = match (state.meant(name), &state.begun.source) {
        // A branch, a tag, or what else git calls a commit.
        (Err(unknown), Source::Git { repository }) => {
            match git::commit(context, repository, name).await {
                Ok(id) => state.meant(&id)?,
                Err(_) => return Err(unknown.into()),
            }
        }
        (point, _) => point?,
    };
    let meant = match point {
        Point::Base => state.begun.candidates.base.clone(),
        Point::Candidate(number) => state.begun.candidates.list[number].name.clone(),
    };
    let is_end = point == Point::Base || state.search.top().map(Point::Candidate) == Some(point);
    let entry = match (state.name(point), correction) {
        (candidate, Correction::Forget) => Entry::Forgotten { candidate },
        (_, _) if is_end => return Err(AskedError::AnEnd(name.to_owned()).into()),
        (None, _) => return Err(AskedError::AnEnd(name.to_owned()).into()),
        (Some(candidate), Correction::Good) => Entry::Word {
            candidate,
            bad: false,
        },
        (Some(candidate), Correction::Bad) => Entry::Word {
            candidate,
            bad: true,
        },
        (Some(candidate), Correction::Skip) => Entry::Skipped {
            candidate,
            reason: "skipped by hand".to_owned(),
            mute: false,
        },
    };
    if let (&Entry::Word { bad, .. }, Point::Candidate(number)) = (&entry, point) {
        let mut search = state.search.clone();
        search.assert(number, bad);
        if state.search.is_possible() && !search.is_possible() {
            return Err(AskedError::Contradiction(name.to_owned()).into());
        }
    }
    log.add(&mut state, entry)?;
    // What it came to was without that.
    let report = directory.join(REPORT);
    match std::fs::remove_file(&report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", &report)(error).into())
        }
        _ => Ok(short(&meant).to_owned()),
    }
}

/// The log of a bisection of commits in git's own format.
pub async fn git_log(context: &Context, directory: &Path) -> Result<String, Error> {
    // As far as it is, if a search is under way.
    let path = log_of(directory)?;
    let state = log::replay(&path, log::entries(&path)?)?;
    let mut subjects = HashMap::new();
    if let Source::Git { repository } = &state.begun.source {
        let named = state.trials.keys().copied().flatten();
        let ids = named.chain(state.skipped.keys().copied());
        let ids = ids.map(|number| state.begun.candidates.list[number].name.clone());
        let begun = [state.begun.good.clone(), state.begun.bad.clone()];
        for id in ids.chain(begun) {
            if let Ok(described) = git::describe(context, repository, &id).await {
                subjects.insert(id, described.subject);
            }
        }
    }
    Ok(state.git_log(|id| subjects.get(id).cloned().unwrap_or_default()))
}

fn open(directory: &Path) -> Result<(Log, State), Error> {
    Ok(Log::open(&log_of(directory)?)?)
}

/// Where the log of a bisection is.
fn log_of(directory: &Path) -> Result<PathBuf, AskedError> {
    let path = directory.join(LOG);
    if path.is_file() {
        Ok(path)
    } else {
        Err(AskedError::NoBisection(directory.to_owned()))
    }
}

fn chosen_arm(plan: &Plan, name: Option<&str>, choice: Choice) -> Result<Arm, Error> {
    let chosen = match name {
        Some(name) => {
            let choice = Choice {
                arms: vec![name.to_owned()],
                ..choice
            };
            // The job knows what to say about an arm that it does not have.
            return Plan::load(&plan.job, &choice)?
                .arms
                .into_iter()
                .next()
                .ok_or_else(|| AskedError::NoArm.into());
        }
        None => plan
            .arms
            .iter()
            .find(|arm| arm.control)
            .or(plan.arms.first()),
    };
    Ok(chosen.cloned().ok_or(AskedError::NoArm)?)
}

fn chosen_workload(arm: &Arm, name: Option<&str>) -> Result<String, Error> {
    let found = match name {
        Some(name) => arm.workloads.iter().find(|one| *one == name),
        None => arm.workloads.first(),
    };
    Ok(found.cloned().ok_or_else(|| AskedError::NoWorkload {
        arm: arm.name.clone(),
        workload: name.unwrap_or_default().to_owned(),
        there: arm.workloads.join(", "),
    })?)
}

/// Lists the candidates.
async fn listed(
    context: &Context,
    store: &Store,
    asked: &Asked,
    arm: &Arm,
    workload: String,
) -> Result<Begun, Error> {
    let (mut merge_bases, mut first_parent, mut paths) = (Vec::new(), false, Vec::new());
    let mut carried = Carried::default();
    let (source, candidates, good, bad) = match &asked.over {
        Over::Git(range) => {
            let repository = std::fs::canonicalize(&range.repository)
                .map_err(|_| git::GitError::NoRepository(range.repository.clone()))?;
            let commits = git::commits(context, range).await?;
            if commits.dirty {
                context.emit(Event::Note(format!(
                    "{} has changes that are in no commit; they are not tested",
                    repository.display()
                )));
            }
            (merge_bases, first_parent) = (commits.merge_bases, range.first_parent);
            if commits.stands_in {
                paths.clone_from(&range.paths);
            }
            let source = Source::Git { repository };
            (source, commits.candidates, commits.good, commits.bad)
        }
        Over::Versions(text) => {
            let (list, sources) = versions(context, store, text).await?;
            let candidates = candidates::versions::candidates(&list)?;
            let (good, bad) = (list[0].to_string(), list[list.len() - 1].to_string());
            (Source::Versions(sources), candidates, good, bad)
        }
        Over::Patches(only) => {
            let (found, source, candidates) = patches(context, store, arm, only.as_deref()).await?;
            carried = found;
            let last = candidates.list[candidates.list.len() - 1].name.clone();
            let base = candidates.base.clone();
            (source, candidates, base, last)
        }
        Over::Config(old, new) => {
            let (source, candidates) = options(old, new)?;
            let (old, new) = (old.display().to_string(), new.display().to_string());
            (source, candidates, old, new)
        }
    };
    if let Some(name) = candidates.twice() {
        return Err(AskedError::Twice(name.to_owned()).into());
    }
    // Of what is no commit, the first is the older one.
    let (good, bad) = match asked.over {
        Over::Git(_) => (good, bad),
        _ if asked.fixed => (bad, good),
        _ => (good, bad),
    };
    Ok(Begun {
        version: log::VERSION,
        job: asked.job.clone(),
        arm: arm.name.clone(),
        workload,
        good,
        bad,
        fixed: asked.fixed,
        any: asked.any,
        every_boot: false,
        first_parent,
        confidence: asked.confidence,
        source,
        candidates,
        carried,
        paths,
        merge_bases,
        variations: Vec::new(),
    })
}

/// The patches that are searched: all of the arm, or those of one series of it.
async fn patches(
    context: &Context,
    store: &Store,
    arm: &Arm,
    only: Option<&str>,
) -> Result<(Carried, Source, Candidates), Error> {
    let mut carried = Carried::default();
    let tree = crate::kernel::fetch(context, store, &arm.recipe.source).await?;
    let mut series = arm.recipe.select(&tree.version)?;
    if let Some(only) = only {
        let names: Vec<&str> = series.iter().map(|one| one.name.as_str()).collect();
        let at = names.iter().position(|name| *name == only);
        let at = at.ok_or_else(|| AskedError::NoSeries {
            arm: arm.name.clone(),
            series: only.to_owned(),
            there: names.join(", "),
        })?;
        // As they are for this kernel: what a later series shares with this one is
        // this one's.
        let paths = |series: &[SelectedSeries]| -> Vec<PathBuf> {
            let patches = series.iter().flat_map(|one| &one.patches);
            patches.map(|patch| patch.path.clone()).collect()
        };
        carried = Carried {
            before: paths(&series[..at]),
            after: paths(&series[at + 1..]),
        };
        series = vec![series.swap_remove(at)];
    }
    let patches: Vec<_> = series.into_iter().flat_map(|one| one.patches).collect();
    let candidates = candidates::patches::candidates(&arm.name, &patches)?;
    let paths = patches.into_iter().map(|patch| patch.path).collect();
    Ok((carried, Source::Patches(paths), candidates))
}

/// The options in which two configurations differ.
fn options(old: &Path, new: &Path) -> Result<(Source, Candidates), Error> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|source| AskedError::Unreadable {
            path: path.to_owned(),
            source,
        })
    };
    // Those of kernels that somebody runs, or a few options.
    let whole = WholeConfig::read(old).ok().zip(WholeConfig::read(new).ok());
    let (old_text, new_text) = match &whole {
        Some((old, new)) => (old.text.clone(), new.text.clone()),
        None => (read(old)?, read(new)?),
    };
    let (old_name, new_name) = (old.display().to_string(), new.display().to_string());
    let changes = candidates::config::differences((&old_name, &old_text), (&new_name, &new_text))?;
    let candidates = candidates::config::candidates(old_name.clone(), &changes);
    let source = Source::Config {
        old: std::path::absolute(old).unwrap_or_else(|_| old.to_owned()),
        whole: whole.is_some(),
        changes: changes
            .iter()
            .map(candidates::config::Setting::line)
            .collect(),
    };
    Ok((source, candidates))
}

/// The versions that are meant, with their sources.
async fn versions(
    context: &Context,
    store: &Store,
    text: &str,
) -> Result<
    (
        Vec<crate::kernel::KernelVersion>,
        Vec<crate::kernel::SourceSpec>,
    ),
    Error,
> {
    use candidates::versions::{Wanted, between, parse, source};
    let (publisher, list) = match parse(text)? {
        Wanted::List(publisher, list) => (publisher, list),
        Wanted::Range(publisher, from, to) => {
            let offered = crate::kernel::offered(context, store).await?;
            (publisher, between(offered, &from, &to))
        }
    };
    let sources = list
        .iter()
        .map(|version| source(publisher, version))
        .collect();
    Ok((list, sources))
}

/// Carries a bisection out to its end, from wherever it is.
async fn go_on(
    context: Context,
    store: &Store,
    record: &Record,
    mut log: Log,
    mut state: State,
    bounds: Bounds,
) -> Result<Report, Error> {
    context.emit(Event::Note(format!(
        "the bisection of {} {} is kept in {}",
        state.begun.candidates.list.len(),
        state.begun.candidates.kind.plural(),
        record.path().display()
    )));
    let (_, beginning) = Record::open(record.path())?;
    let plan = &beginning.plan;
    let arm = plan.arms.first().ok_or(AskedError::NoArm)?;
    let begun = state.begun.clone();
    let planned = planned(plan, arm, &begun.workload)?;
    let judge = Judge {
        plan,
        planned,
        arm,
        any: begun.any,
        day: beginning.started.to_zoned(TimeZone::UTC).date(),
    };
    let limits = limits(plan, &begun.variations, &bounds);
    let hosts = match bounds.hosts.or(fleet::resumed(record.path())?) {
        Some(options) => Some(Later::new(&options)?),
        None => None,
    };
    let mut kernels = Kernels::new(&context, store, record, &begun, judge, hosts.as_ref());
    let searched = drive::to_the_end(&context, &mut log, &mut state, &mut kernels, limits);
    let result = if let Some(hosts) = &hosts {
        hosts.beside(searched, &context.cancel).await
    } else {
        tokio::select! {
            result = searched => result,
            () = context.cancel.cancelled() => Err(ProcessError::Interrupted.into()),
        }
    };
    kernels.close().await;
    let end = match result {
        Ok(end) => end,
        Err(error) => {
            context.emit(Event::Note(format!(
                "what was seen is kept: `kvet bisect resume --in {}` goes on from there",
                record.path().display()
            )));
            return Err(error);
        }
    };
    let mut told = HashMap::new();
    let mut recipients = Vec::new();
    let chosen = chosen(&state, &end);
    if let Source::Patches(paths) = &begun.source {
        for &number in &chosen {
            let name = begun.candidates.list[number].name.clone();
            // The report stands without it.
            if let Ok(described) = candidates::patches::describe(&paths[number]) {
                told.insert(name, (described.subject, described.author));
            }
        }
    }
    if let Source::Git { repository } = &begun.source {
        for &number in &chosen {
            let name = begun.candidates.list[number].name.clone();
            let Ok(described) = git::describe(&context, repository, &name).await else {
                continue;
            };
            let is_it = chosen.len() == 1 && matches!(end, End::Answered(_));
            if is_it && !stands_in(&state, number) {
                recipients = maintainers(&context, store, &begun, arm, &described.files).await;
            }
            told.insert(name, (described.subject, described.author));
        }
    }
    let report = reported(&state, end, &told, recipients);
    record.derived_json(REPORT, &report)?;
    Ok(report)
}

/// Whether this is the directory of a bisection.
#[must_use]
pub fn is_bisection(directory: &Path) -> bool {
    directory.join(LOG).is_file()
}

/// The report again from what a bisection recorded, with every trial judged anew.
/// It comes with what kept it from being kept, if anything did.
pub fn judge_again(directory: &Path) -> Result<(Report, Option<Error>), Error> {
    let (record, beginning) = Record::open(directory)?;
    let state = judge::again(&record, &beginning, &directory.join(LOG))?;
    let earlier: Option<Report> = record.kept(REPORT).ok().flatten();
    let is_ended = earlier.is_some();
    let mut told = HashMap::new();
    let (mut recipients, mut why) = (Vec::new(), None);
    if let Some(earlier) = earlier {
        recipients = earlier.recipients;
        if let Finding::Culprit { suspects, .. } | Finding::Open { suspects, .. } = &earlier.finding
        {
            let one = |one: &Suspect| {
                let words = (one.subject.clone(), one.author.clone());
                (one.name.clone(), words)
            };
            told.extend(suspects.iter().map(one));
        }
        if let Finding::Open { reason, .. } = earlier.finding {
            why = Some(reason);
        }
    }
    let end = match state.search.answer(state.begun.confidence) {
        Answer::Open => {
            End::Open(why.unwrap_or_else(|| "the search did not come to its end".to_owned()))
        }
        answer => {
            let end = End::Answered(answer);
            let misplaced = drive::only(&end).and_then(|one| drive::misplaced(&state, one));
            misplaced.map_or(end, End::Open)
        }
    };
    // Whom to tell was asked for another culprit.
    let chosen = chosen(&state, &end);
    let is_told = |number: &usize| told.contains_key(&state.begun.candidates.list[*number].name);
    if !(matches!(end, End::Answered(_)) && chosen.len() == 1 && chosen.iter().all(is_told)) {
        recipients.clear();
    }
    let has_end = is_ended || matches!(end, End::Answered(_));
    let report = reported(&state, end, &told, recipients);
    // A search that is under way, or was killed, has no report yet: it writes its own.
    if let Err(busy) = log::free(&directory.join(LOG)) {
        return Ok((report, Some(busy.into())));
    }
    if !has_end {
        return Ok((report, None));
    }
    let kept = record.derived_json(REPORT, &report);
    Ok((report, kept.err().map(Error::from)))
}

/// How far it may go on this host.
fn limits(plan: &Plan, variations: &[Variation], bounds: &Bounds) -> Limits {
    // Whatever variation is chosen.
    let varied = variations
        .iter()
        .map(|one| one.hardware(&plan.hardware).cpus);
    let cpus = varied.chain([plan.hardware.cpus]).max().unwrap_or(1);
    let cpus = usize::try_from(cpus).unwrap_or(usize::MAX);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let free = (processors / cpus.max(1)).clamp(1, AT_ONCE);
    let elsewhere = bounds.hosts.as_ref();
    // Hosts that Slurm lends are not known yet.
    let most = elsewhere.map(|hosts| hosts.on.count().unwrap_or(AT_ONCE).clamp(1, AT_ONCE));
    let jobs = bounds.jobs.or(most).unwrap_or(free);
    Limits {
        jobs,
        builds: bounds.builds,
        boots: bounds.boots,
        ahead: bounds
            .ahead
            .unwrap_or(elsewhere.is_some() || processors > jobs.saturating_mul(cpus)),
    }
}

/// The candidates that a report names.
fn chosen(state: &State, end: &End) -> Vec<usize> {
    match end {
        End::Answered(Answer::Culprit { candidates, .. }) => candidates.clone(),
        End::Answered(_) => Vec::new(),
        End::Open(_) => {
            let likeliest = state.search.likeliest(5);
            likeliest.into_iter().map(|(number, _)| number).collect()
        }
    }
}

/// The report on where the bisection stands; `told` has subjects and authors by
/// the candidates' names.
fn reported(
    state: &State,
    end: End,
    told: &HashMap<String, (String, String)>,
    recipients: Vec<String>,
) -> Report {
    let begun = &state.begun;
    let chosen = chosen(state, &end);
    let is_stand_in = chosen.len() == 1 && stands_in(state, chosen[0]);
    let suspect = |&number: &usize| {
        let name = begun.candidates.list[number].name.clone();
        let (subject, author) = told.get(&name).cloned().unwrap_or_default();
        Suspect {
            probability: state.search.probability(number),
            name,
            subject,
            author,
        }
    };
    let suspects: Vec<Suspect> = chosen.iter().map(suspect).collect();
    let answered = matches!(end, End::Answered(_));
    let culprit = (chosen.len() == 1 && answered).then(|| chosen[0]);
    let finding = match end {
        End::Answered(Answer::Culprit { probability, .. }) => Finding::Culprit {
            suspects,
            probability,
        },
        End::Answered(Answer::None { probability }) => Finding::None { probability },
        End::Answered(Answer::Open) => Finding::Open {
            reason: "the search did not come to its end".to_owned(),
            suspects,
        },
        End::Open(reason) => Finding::Open { reason, suspects },
    };
    let named = |point: &Option<usize>| match point {
        None => short(&begun.candidates.base).to_owned(),
        Some(number) => short(&begun.candidates.list[*number].name).to_owned(),
    };
    Report {
        version: report::VERSION,
        searched: begun.candidates.kind,
        candidates: begun.candidates.list.len(),
        good: begun.good.clone(),
        bad: begun.bad.clone(),
        fixed: begun.fixed,
        confidence: begun.confidence,
        notes: notes(state, &finding, culprit),
        stands_in: is_stand_in,
        finding,
        target: state.target().unwrap_or_default().to_owned(),
        rates: state.search.rates(),
        table: culprit.map_or_else(Vec::new, |culprit| table(state, culprit)),
        skipped: state
            .skipped
            .iter()
            .map(|(number, reason)| (named(&Some(*number)), reason.clone()))
            .collect(),
        others: state
            .others
            .iter()
            .map(|(title, at)| (title.clone(), at.iter().map(named).collect()))
            .collect(),
        recipients,
        steps: state.steps.clone(),
        cost: Cost {
            builds: state.builds,
            build_seconds: state.build_seconds,
            boots: state.boots,
            boot_seconds: state.boot_seconds,
        },
    }
}

/// What whoever reads the report should know besides.
fn notes(state: &State, finding: &Finding, culprit: Option<usize>) -> Vec<String> {
    let begun = &state.begun;
    let mut notes = Vec::new();
    if let Some(culprit) = culprit {
        notes.extend(of_the_culprit(state, culprit));
    }
    if let Some(number) = state.way.and_then(|way| way.checked_sub(1))
        && let Some(variation) = begun.variations.get(number)
    {
        notes.push(format!(
            "trials were run as the job's variation `{}` has them",
            variation.name
        ));
    }
    if begun.every_boot && state.search.is_contradicted() {
        notes.push(
            "the target was taken to show in every boot that has the bug, and did not show in every boot: how often it does was learned instead"
                .to_owned(),
        );
    }
    if !matches!(finding, Finding::None { .. }) {
        return notes;
    }
    let shown = |Counts { hits, boots }| format!("{hits} of {boots} boots");
    let top = state.search.top().map(Point::Candidate);
    let newer = top.map_or_else(Counts::default, |top| state.search.counts(top));
    let older = state.search.counts(Point::Base);
    notes.push(format!(
        "the target shows in {} of {} and in {} of {}",
        shown(older),
        begun.older(),
        shown(newer),
        begun.newer()
    ));
    if !begun.merge_bases.is_empty() {
        for (name, &counts) in begun.merge_bases.iter().zip(&state.bases) {
            notes.push(format!(
                "{}, where {} left the history of {}, shows it in {}",
                short(name),
                begun.older(),
                begun.newer(),
                shown(counts)
            ));
        }
        let odd = state.odd_base().map_or(0, |(odd, _)| odd);
        if let Some(base) = begun.merge_bases.get(odd).filter(|_| !begun.fixed) {
            let (base, good) = (short(base), &begun.good);
            notes.push(format!(
                "if a commit between {base} and {good} cured it, `--fixed --bad {base} --good {good}` finds that one"
            ));
        }
    } else if older.hits > 0 && newer.hits > 0 && !begun.fixed {
        notes.push("the bug is older than the good end: name an older one".to_owned());
    }
    notes
}

/// Whether this is the newer end, listed in the place of all commits that do not
/// change the paths.
fn stands_in(state: &State, candidate: usize) -> bool {
    !state.begun.paths.is_empty() && state.search.top() == Some(candidate)
}

/// What whoever acts on this culprit should know besides.
fn of_the_culprit(state: &State, culprit: usize) -> Vec<String> {
    let begun = &state.begun;
    let mut notes = Vec::new();
    if stands_in(state, culprit) {
        notes.push(format!(
            "{} was listed as the newer end, and stands for all commits that do not change {}: search without these paths",
            short(&begun.candidates.list[culprit].name),
            begun.paths.join(" ")
        ));
    }
    let without = state.confirmed.get(&(culprit, REVERTED.to_owned()));
    if let Some(without) = without
        && without.counts.hits > 0
        && !begun.fixed
    {
        notes.push(format!(
            "the newer end without it still shows the target, in {} of {} boots: something else brings it, too, or taking it out is not enough",
            without.counts.hits, without.counts.boots
        ));
    }
    notes
}

fn table(state: &State, culprit: usize) -> Vec<Row> {
    let candidates = &state.begun.candidates;
    let name = |subject: Subject| match subject {
        Subject::Base(number) => short(state.begun.bases()[number]).to_owned(),
        Subject::Candidate(number) => short(&candidates.list[number].name).to_owned(),
        Subject::Reverted(_) => String::new(),
    };
    rows(&state.begun, state.search.top(), culprit)
        .into_iter()
        .filter_map(|(row, subject)| {
            let confirmed = state.confirmed.get(&(culprit, row.to_owned()))?;
            let most = confirmed.titles.iter().max_by_key(|(_, times)| **times);
            Some(Row {
                what: row.to_owned(),
                name: name(subject),
                hits: confirmed.counts.hits,
                boots: confirmed.counts.boots,
                showed: most.map(|(title, _)| title.clone()),
            })
        })
        .collect()
}

/// Whom the kernel's own script names for these files of the bad end.
async fn maintainers(
    context: &Context,
    store: &Store,
    begun: &Begun,
    arm: &Arm,
    files: &[String],
) -> Vec<String> {
    let (Source::Git { repository }, Some(last)) = (&begun.source, begun.candidates.list.last())
    else {
        return Vec::new();
    };
    let mut source = arm.recipe.source.clone();
    if begun.candidates.kind == Kind::Git {
        source = crate::kernel::SourceSpec::Git {
            repo: repository.display().to_string(),
            reference: last.name.clone(),
        };
    }
    let asked = async {
        let tree = crate::kernel::fetch(context, store, &source).await?;
        ask_for_maintainers(context, &tree, files).await
    };
    // The answer stands without it.
    asked.await.unwrap_or_default()
}

/// Runs the tree's `get_maintainer.pl` on names alone: it wants the files to be
/// there, and reads MAINTAINERS.
async fn ask_for_maintainers(
    context: &Context,
    tree: &crate::kernel::Tree,
    files: &[String],
) -> Result<Vec<String>, Error> {
    let scratch = Scratch::new()?;
    let script = "scripts/get_maintainer.pl";
    let write = |name: &str, content: &[u8]| {
        let path = scratch.path().join(name);
        let directory = path.parent().unwrap_or(scratch.path());
        std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
        std::fs::write(&path, content).map_err(io_error("write", &path))
    };
    for name in ["MAINTAINERS", script] {
        write(name, &tree.file(context, name).await?)?;
    }
    let inside = |file: &&String| {
        let mut parts = Path::new(file.as_str()).components();
        parts.all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    let files: Vec<&String> = files.iter().filter(inside).take(FILES).collect();
    for file in &files {
        write(file, b"")?;
    }
    let finished = Command::new("perl")
        .arg(script)
        .args([
            "--no-tree",
            "--no-git",
            "--no-git-fallback",
            "--no-rolestats",
            "-f",
            "--",
        ])
        .args(files)
        .directory(scratch.path())
        .deadline(std::time::Duration::from_secs(60))
        .run(&context.cancel)
        .await?;
    let text = String::from_utf8_lossy(&finished.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}
