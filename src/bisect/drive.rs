//! The loop of a bisection: what the search asks for is built and booted, what
//! comes of it is logged, until there is an answer and the table that confirms
//! it. Where kernels come from and where they run is the laboratory's affair.

use miette::Diagnostic;
use thiserror::Error;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::amplify::Next;
use super::log::{Entry, Log, State};
use super::report::percent;
use super::search::{Answer, Counts, Point};
use super::table::{CULPRIT, REVERTED, Subject, rows};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;
use crate::job::Variation;

/// Boots in a row that tell nothing before a candidate is given up.
pub(super) const PATIENCE: u32 = 3;

/// Boots of a candidate in a row that what guests mount does not outlive, before
/// the candidate is given up. Several boots run at a time, and all are lost with it.
pub(super) const SERVICE_PATIENCE: u32 = 12;

/// Boots of the bad end without the target before the search is given up.
const SILENCE: u32 = 40;

/// Boots of the bad end without the target before the good end is asked whether
/// the ends are exchanged, and how often it is.
const DOUBT: u32 = 5;
const ASKED: u32 = 3;

/// Boots of each merge base, if they are not all alike: as many of which none, and
/// all, show the target tell two of them apart.
const BASE_BOOTS: u32 = 4;

/// Above this probability that the rate never changes it is not said that the ends
/// hold.
const ALIKE: f64 = 0.2;

/// Kernels are built ahead that will be wanted with this probability.
const LIKELY: f64 = 0.2;

/// With more candidates, what the rest will cost is said only once.
const FORETOLD: usize = 4096;

/// Decisions of searches that are played out for what is said of the rest: once,
/// and after each boot. One among thousands of candidates takes milliseconds.
const FORETELLING: u32 = 5000;
const TELLING: u32 = 300;

/// The fewest and the most rounds of the final table: enough for some four hits,
/// down to bugs that show in one boot of fifteen.
const ROUNDS: (u32, u32) = (5, 60);

/// What came of a build.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Build {
    /// There is a kernel.
    Made {
        /// Time it took, seconds.
        seconds: f64,
        /// What the image holds: equal for equal images.
        image: String,
    },
    /// There is none, and why.
    Impossible(String),
}

/// What came of a boot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boot {
    /// Whether the target shows; nothing if the boot does not tell.
    pub(super) hit: Option<bool>,
    /// Why, in a few words.
    pub(super) reason: String,
    /// Titles of what was seen besides, and not counted.
    pub(super) others: Vec<String>,
    /// Where the trial is kept.
    pub(super) trial: PathBuf,
    /// Time it took, seconds.
    pub(super) seconds: f64,
    /// What guests mount was lost meanwhile.
    pub(super) service_lost: bool,
}

/// Where kernels are built and booted.
pub(super) trait Laboratory {
    /// Builds a kernel, or finds it built.
    async fn build(&mut self, subject: Subject) -> Result<Build, Error>;
    /// Begins a build that goes on while kernels are booted. It is given up if
    /// something else is built next.
    async fn build_ahead(&mut self, subject: Subject) -> Result<(), Error>;
    /// Boots built kernels, one each, side by side; the trial is the job's own, or
    /// a variation of it. Tells of each as soon as it has ended, whatever becomes of
    /// the others.
    async fn boot(
        &mut self,
        subjects: &[Subject],
        variation: Option<&Variation>,
        told: Told<'_>,
    ) -> Result<(), Error>;
}

/// Who is told of a boot that has ended.
pub(super) type Told<'a> = &'a mut dyn FnMut(Subject, Boot) -> Result<(), Error>;

/// How far a bisection may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Boots at a time.
    pub(super) jobs: usize,
    /// Builds in all.
    pub(super) builds: u32,
    /// Boots in all.
    pub(super) boots: u32,
    /// Whether a kernel is built while others boot.
    pub(super) ahead: bool,
}

/// A bisection cannot go on.
#[derive(Debug, Error, Diagnostic)]
pub enum DriveError {
    /// An end has no kernel.
    #[error("the {end} end, {name}, cannot be built: {reason}")]
    #[diagnostic(help("both ends have to be tested: name another one, or fix its build"))]
    Unbuildable {
        /// `good` or `bad`.
        end: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// What was built once cannot be built again.
    #[error("{name} was built, and cannot be built any more: {reason}")]
    #[diagnostic(help("see that its source is as it was; then go on with `kvet bisect resume`"))]
    Gone {
        /// What the record calls it.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nothing differs between the ends.
    #[error("the good end, {good}, and the bad one, {bad}, make the same kernel")]
    #[diagnostic(help(
        "what lies between them is not built: see that the job's configuration builds what the bug is in"
    ))]
    SameImage {
        /// The good end.
        good: String,
        /// The bad end.
        bad: String,
    },
    /// An end's boots tell nothing.
    #[error("boots of the {end} end, {name}, tell nothing: {reason}")]
    #[diagnostic(help(
        "look at its trials in the directory of the bisection; then go on with `kvet bisect resume`"
    ))]
    Mute {
        /// `good` or `bad`.
        end: &'static str,
        /// Its name.
        name: String,
        /// Why the last one did not.
        reason: String,
    },
}

impl Fault for DriveError {
    fn exit(&self) -> Exit {
        Exit::Undecided
    }
}

/// Why the search ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// With this answer.
    Answered(Answer),
    /// Without one, and why.
    Open(String),
}

/// Searches, and confirms what is found, until what confirms it does.
pub(super) async fn to_the_end(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    limits: Limits,
) -> Result<End, Error> {
    loop {
        let end = search(context, log, state, laboratory, limits).await?;
        let Some(culprit) = only(&end) else {
            return Ok(end);
        };
        confirm(context, log, state, laboratory, limits, culprit).await?;
        let end = End::Answered(state.search.answer(state.begun.confidence));
        if only(&end) == Some(culprit) {
            return Ok(misplaced(state, culprit).map_or(end, End::Open));
        }
        if end == End::Answered(Answer::Open) && state.boots < limits.boots {
            let name = &state.begun.candidates.list[culprit].name;
            context.emit(Event::Note(format!(
                "boots of {} and what is next to it leave it open again: the search goes on",
                short(name)
            )));
        }
    }
}

/// Why a culprit is not one, if it is the first commit of a branch that is older than
/// the older end: what it builds on must be like that end.
pub(super) fn misplaced(state: &State, culprit: usize) -> Option<String> {
    let begun = &state.begun;
    if !begun.candidates.list[culprit].parents.is_empty() {
        return None;
    }
    let below = begun.below(culprit);
    let (counts, ends) = (state.bases[below], state.of_the_ends(None));
    if below < begun.ends() || !state.differ(counts, ends) {
        return None;
    }
    Some(format!(
        "{culprit} is likeliest, but what it builds on, {below}, is not like the {end} end: the target shows in {} of {} boots of it, and in {} of {} of that end; its branch is older than the end, and `--first-parent` leaves branches out",
        counts.hits,
        counts.boots,
        ends.hits,
        ends.boots,
        culprit = short(&begun.candidates.list[culprit].name),
        below = short(begun.bases()[below]),
        end = if begun.fixed { "bad" } else { "good" },
    ))
}

/// The culprit, if it is one.
pub(super) fn only(end: &End) -> Option<usize> {
    match end {
        End::Answered(Answer::Culprit { candidates, .. }) => match candidates[..] {
            [culprit] => Some(culprit),
            _ => None,
        },
        _ => None,
    }
}

/// Searches until there is an answer, or none to be had.
pub(super) async fn search(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    limits: Limits,
) -> Result<End, Error> {
    let mut foretold = false;
    loop {
        let answer = state.search.answer(state.begun.confidence);
        if answer != Answer::Open {
            return Ok(End::Answered(answer));
        }
        if let Some(reason) = spent(state, limits) {
            return Ok(End::Open(reason));
        }
        if amplify(context, log, state, laboratory).await? {
            continue;
        }
        let wanted = wanted(state, limits);
        if !state.search.is_possible() {
            return Ok(End::Open(
                "what is known for certain contradicts itself: take one of the words back that were said by hand (`kvet bisect forget`)"
                    .to_owned(),
            ));
        }
        if wanted.is_empty() {
            return Ok(End::Open(
                "no candidate that can be tested tells more".to_owned(),
            ));
        }
        if !foretold && !wanted.iter().any(|&subject| is_end(state, subject)) {
            foretold = true;
            foretell(context, state);
        }
        let mut subjects: Vec<Subject> = Vec::new();
        let mut useless: Vec<Subject> = Vec::new();
        let mut unbuilt = false;
        for subject in wanted {
            if state.builds >= limits.builds && !is_made(state, subject) {
                unbuilt = true;
                continue;
            }
            // One may be wanted several times.
            let made = subjects.contains(&subject)
                || !useless.contains(&subject)
                    && make(context, log, state, laboratory, subject).await?;
            if made {
                subjects.push(subject);
            } else {
                useless.push(subject);
            }
        }
        if subjects.is_empty() {
            if unbuilt && useless.is_empty() {
                return Ok(End::Open(format!(
                    "{} kernels were built, as many as allowed",
                    limits.builds
                )));
            }
            continue;
        }
        if limits.ahead && state.builds < limits.builds {
            build_ahead(state, laboratory).await?;
        }
        let way = way(state);
        laboratory
            .boot(&subjects, way.as_ref(), &mut |subject, boot| {
                take(log, state, subject, boot)
            })
            .await?;
        give_up(context, log, state, &subjects)?;
        tell(context, state);
    }
}

/// The variation in which trials are run, if it is not the job's own way.
fn way(state: &State) -> Option<Variation> {
    let number = state.way?.checked_sub(1)?;
    state.begun.variations.get(number).cloned()
}

/// What to boot next, side by side.
fn wanted(state: &State, limits: Limits) -> Vec<Subject> {
    if let Some(base) = untried_base(state) {
        return vec![Subject::Base(base)];
    }
    if let Some(good) = doubted_end(state) {
        return vec![good];
    }
    let mut boots = boots_of_ends(state);
    let left = limits.boots.saturating_sub(state.boots);
    let points = state.search.batch(limits.jobs.max(1).min(left as usize));
    points
        .into_iter()
        .map(|point| match point {
            Point::Candidate(number) => Subject::Candidate(number),
            // Several merge bases take turns.
            Point::Base => {
                let base = fewest(&boots);
                boots[base] += 1;
                Subject::Base(base)
            }
        })
        .collect()
}

/// The one that was booted least.
fn fewest(boots: &[u32]) -> usize {
    let base = (0..boots.len()).min_by_key(|&base| boots[base]);
    base.unwrap_or(0)
}

/// The boots of each merge base.
fn boots_of_ends(state: &State) -> Vec<u32> {
    let ends = state.bases.iter().take(state.begun.ends());
    ends.map(|counts| counts.boots).collect()
}

/// The merge base whose turn it is.
fn next_base(state: &State) -> usize {
    fewest(&boots_of_ends(state))
}

/// A merge base that was not booted yet, once one of them was, or not often enough if
/// they are not alike: the bug must be at none of them.
fn untried_base(state: &State) -> Option<usize> {
    let tried = |counts: &Counts| counts.boots > 0;
    let ends = &state.bases[..state.begun.ends()];
    if !ends.iter().any(tried) {
        return None;
    }
    if let Some(untried) = ends.iter().position(|counts| !tried(counts)) {
        return Some(untried);
    }
    let alike = |pair: &[Counts]| pair[0].hits * pair[1].boots == pair[1].hits * pair[0].boots;
    let next = next_base(state);
    let is_asked = !ends.windows(2).all(alike) && ends[next].boots < BASE_BOOTS;
    is_asked.then_some(next)
}

/// The good end, if the bad one does not show the target and the ends may be
/// exchanged.
fn doubted_end(state: &State) -> Option<Subject> {
    let (bad, good) = ends(state);
    let (seen, asked) = (state.search.counts(bad), state.search.counts(good));
    let doubted = seen.hits == 0 && seen.boots >= DOUBT && asked.boots < ASKED;
    doubted.then(|| match good {
        Point::Base => Subject::Base(next_base(state)),
        Point::Candidate(number) => Subject::Candidate(number),
    })
}

/// The bad end and the good one.
fn ends(state: &State) -> (Point, Point) {
    let top = state.search.top().map_or(Point::Base, Point::Candidate);
    if state.begun.fixed {
        (Point::Base, top)
    } else {
        (top, Point::Base)
    }
}

/// Boots the bad end once in one of the ways to run a trial, or chooses one;
/// whether there was something to do.
async fn amplify(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
) -> Result<bool, Error> {
    if state.way.is_some() {
        return Ok(false);
    }
    let named = |way: usize| match way.checked_sub(1) {
        None => "as the job has it".to_owned(),
        Some(number) => state.begun.variations[number].name.clone(),
    };
    match state.tries.next() {
        Next::Take(way) => {
            let (hits, boots) = state.tries.counts(way);
            context.emit(Event::Note(format!(
                "trials are run in the most telling way: {} (the target showed in {hits} of {boots})",
                named(way)
            )));
            log.add(state, Entry::Chosen { way })?;
        }
        Next::Try(way) => {
            let subject = match ends(state).0 {
                Point::Base => Subject::Base(0),
                Point::Candidate(number) => Subject::Candidate(number),
            };
            if !make(context, log, state, laboratory, subject).await? {
                return Ok(true);
            }
            let number = way.checked_sub(1);
            let variation = number.map(|number| state.begun.variations[number].clone());
            let mut told = |_, boot: Boot| {
                let tried = Entry::Tried {
                    way,
                    hit: boot.hit,
                    trial: boot.trial,
                    seconds: boot.seconds,
                };
                Ok(log.add(state, tried)?)
            };
            laboratory
                .boot(&[subject], variation.as_ref(), &mut told)
                .await?;
        }
    }
    Ok(true)
}

fn spent(state: &State, limits: Limits) -> Option<String> {
    if state.boots >= limits.boots {
        return Some(format!(
            "{} kernels were booted, as many as allowed",
            limits.boots
        ));
    }
    let (bad, good) = ends(state);
    let (counts, other) = (state.search.counts(bad), state.search.counts(good));
    if counts.hits > 0 {
        return None;
    }
    if counts.boots >= DOUBT && other.boots >= ASKED && other.hits >= 2 {
        let advice = if state.begun.fixed {
            "leave `--fixed` out"
        } else {
            "to find what cured it, exchange them and add `--fixed`"
        };
        return Some(format!(
            "the ends are exchanged: the target shows in {} of {} boots of the good end, and in none of {} of the bad end; {advice}",
            other.hits, other.boots, counts.boots
        ));
    }
    if state.begun.fixed
        && counts.boots >= BASE_BOOTS
        && let Some((odd, of_it)) = state.odd_base()
    {
        let others = state.of_the_ends(Some(odd));
        if others.hits > 0 && state.differ(of_it, others) {
            return Some(format!(
                "the target shows in none of {} boots of {}, where {} left the history of {}, and in {} of {} of the other merge bases: on that side nothing was cured; name a bad end that is part of the good end's history",
                of_it.boots,
                short(state.begun.bases()[odd]),
                short(state.begun.older()),
                short(state.begun.newer()),
                others.hits,
                others.boots
            ));
        }
    }
    if state.begun.every_boot && counts.boots >= DOUBT && other.boots >= ASKED {
        return Some(format!(
            "the target did not show in {} boots of the bad end, and is taken to show in each boot that has it; a new search with `--every-boot=false` learns how often it does",
            counts.boots
        ));
    }
    (counts.boots >= SILENCE).then(|| {
        format!(
            "the target did not show in {} boots of the bad end; it may not have the bug, or the bug is rarer than one boot in {}",
            counts.boots,
            counts.boots / 3
        )
    })
}

/// Whether there is a kernel of it.
fn is_made(state: &State, subject: Subject) -> bool {
    match subject {
        Subject::Base(base) => state.made_bases.contains(&base),
        Subject::Candidate(_) => state.made.contains(&subject.number()),
        Subject::Reverted(culprit) => state.reverted.contains(&culprit),
    }
}

fn is_end(state: &State, subject: Subject) -> bool {
    match subject {
        Subject::Base(_) => true,
        Subject::Candidate(number) => state.search.top() == Some(number),
        Subject::Reverted(_) => false,
    }
}

/// Which end a subject is, and what the user calls it.
fn end_of(state: &State, subject: Subject) -> Option<(&'static str, String)> {
    let begun = &state.begun;
    let (old, new) = if begun.fixed {
        ("bad", "good")
    } else {
        ("good", "bad")
    };
    match subject {
        Subject::Base(number) if number < begun.ends() => {
            let base = begun.bases().get(number).copied().unwrap_or_default();
            Some((old, base.to_owned()))
        }
        Subject::Candidate(number) if is_end(state, subject) => {
            Some((new, begun.candidates.list[number].name.clone()))
        }
        _ => None,
    }
}

/// Begins the build that will likely be wanted after the boots that come now.
async fn build_ahead(state: &State, laboratory: &mut impl Laboratory) -> Result<(), Error> {
    let next = state.search.builds_ahead(1);
    let next = next.first().filter(|(_, chance)| *chance >= LIKELY);
    if let Some(&(candidate, _)) = next {
        laboratory
            .build_ahead(Subject::Candidate(candidate))
            .await?;
    }
    Ok(())
}

/// Sees that there is a kernel; whether there is one to boot.
async fn make(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    subject: Subject,
) -> Result<bool, Error> {
    let candidate = subject.point().and_then(|point| state.name(point));
    let first = !is_made(state, subject);
    match laboratory.build(subject).await? {
        Build::Made { .. } if !first => Ok(true),
        Build::Made { seconds, image } => {
            if let Subject::Reverted(number) = subject {
                let culprit = state.begun.candidates.list[number].name.clone();
                log.add(state, Entry::Reverted { culprit, seconds })?;
                return Ok(true);
            }
            let twin = state.images.get(&image).copied();
            let is_top = |number: usize| state.search.top() == Some(number);
            // What the log says is built is not compared again when the search goes on:
            // first of all it says what the image is.
            let news = match (subject, twin) {
                (Subject::Base(base), Some(Some(twin))) if is_top(twin) => {
                    if base < state.begun.ends() {
                        return Err(same_ends(state));
                    }
                    None
                }
                (Subject::Candidate(number), Some(None)) if is_top(number) => {
                    return Err(same_ends(state));
                }
                (Subject::Candidate(number), Some(twin)) if twin != Some(number) => {
                    (!state.search.is_same(number)).then_some((number, twin))
                }
                _ => None,
            };
            if let Some((number, twin)) = news {
                same(context, log, state, number, twin)?;
            }
            log.add(
                state,
                Entry::Built {
                    candidate,
                    base: subject.base(),
                    seconds,
                    image,
                },
            )?;
            Ok(news.is_none())
        }
        Build::Impossible(reason) => {
            if let Some((end, name)) = end_of(state, subject) {
                return Err(DriveError::Unbuildable { end, name, reason }.into());
            }
            match subject {
                Subject::Reverted(_) => {
                    context.emit(Event::Note(format!("{REVERTED}: {reason}")));
                }
                Subject::Base(number) => {
                    let name = short(state.begun.bases()[number]).to_owned();
                    context.emit(Event::Note(format!("{name}: {reason}")));
                }
                Subject::Candidate(_) => {}
            }
            if let Some(candidate) = candidate {
                context.emit(Event::Note(format!("{}: {reason}", short(&candidate))));
                let mute = false;
                log.add(
                    state,
                    Entry::Skipped {
                        candidate,
                        reason,
                        mute,
                    },
                )?;
            }
            Ok(false)
        }
    }
}

/// An image that was booted tells for this candidate, too.
fn same(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    number: usize,
    twin: Option<usize>,
) -> Result<(), Error> {
    let name = |number: usize| state.begun.candidates.list[number].name.clone();
    let (candidate, other) = (name(number), twin.map(name));
    let shown = other.as_ref().unwrap_or(&state.begun.candidates.base);
    context.emit(Event::Note(format!(
        "{} has the same image as {}",
        short(&candidate),
        short(shown)
    )));
    Ok(log.add(state, Entry::Same { candidate, other })?)
}

fn same_ends(state: &State) -> Error {
    DriveError::SameImage {
        good: state.begun.good.clone(),
        bad: state.begun.bad.clone(),
    }
    .into()
}

/// Logs what a boot told.
fn take(log: &mut Log, state: &mut State, subject: Subject, boot: Boot) -> Result<(), Error> {
    note_others(log, state, subject, &boot)?;
    let candidate = subject.point().and_then(|point| state.name(point));
    let entry = match boot.hit {
        Some(hit) => Entry::Boot {
            candidate,
            base: subject.base(),
            hit,
            reason: boot.reason,
            trial: boot.trial,
            seconds: boot.seconds,
        },
        None => Entry::Lost {
            candidate,
            base: subject.base(),
            reason: boot.reason,
            trial: Some(boot.trial),
            service: boot.service_lost,
        },
    };
    Ok(log.add(state, entry)?)
}

/// Gives up what tells nothing again and again, of what was booted side by side.
fn give_up(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    subjects: &[Subject],
) -> Result<(), Error> {
    for &subject in subjects {
        let number = subject.number();
        let count = |lost: &BTreeMap<Option<usize>, u32>| lost.get(&number).copied().unwrap_or(0);
        let (lost, service) = (count(&state.lost), count(&state.service_lost));
        let boots = if lost >= PATIENCE {
            lost
        } else if service >= SERVICE_PATIENCE {
            service
        } else {
            continue;
        };
        let reason = state.lost_last.get(&number).cloned().unwrap_or_default();
        if let Some((end, name)) = end_of(state, subject) {
            return Err(DriveError::Mute { end, name, reason }.into());
        }
        let Some(candidate) = subject.point().and_then(|point| state.name(point)) else {
            continue;
        };
        // One may have been booted several times.
        if number.is_some_and(|number| state.skipped.contains_key(&number)) {
            continue;
        }
        let reason = format!("{boots} boots in a row told nothing, the last: {reason}");
        context.emit(Event::Note(format!("{}: {reason}", short(&candidate))));
        let mute = true;
        log.add(
            state,
            Entry::Skipped {
                candidate,
                reason,
                mute,
            },
        )?;
    }
    Ok(())
}

/// Logs what a boot showed besides; of the newer end without the culprit, and of what
/// is below an old branch, there is no place for it.
fn note_others(
    log: &mut Log,
    state: &mut State,
    subject: Subject,
    boot: &Boot,
) -> Result<(), Error> {
    let Some(point) = subject.point() else {
        return Ok(());
    };
    if subject.base() >= state.begun.ends() {
        return Ok(());
    }
    for title in &boot.others {
        let other = Entry::Other {
            candidate: state.name(point),
            title: title.clone(),
        };
        log.add(state, other)?;
    }
    Ok(())
}

/// What the search will cost, once the ends are proved.
fn foretell(context: &Context, state: &State) {
    let (hit, _) = state.search.rates();
    let ahead = state.search.forecast(state.begun.confidence, FORETELLING);
    let ends = if state.search.none() < ALIKE {
        "both ends hold".to_owned()
    } else {
        let alike = percent(state.search.none());
        format!("the ends may be alike ({alike})")
    };
    context.emit(Event::Note(format!(
        "{ends}; the target shows in about {} of boots; about {:.0} builds and {:.0} boots to go (nine in ten searches: at most {} boots)",
        percent(hit),
        ahead.builds,
        ahead.boots,
        ahead.boots_at_most
    )));
}

/// How far the search is, and what is still to come.
fn tell(context: &Context, state: &State) {
    let likeliest = state.likeliest().into_iter();
    let named = |(name, probability): (String, f64)| (short(&name).to_owned(), probability);
    // Before the bug was seen nothing is known of how long it will take.
    let (bad, good) = ends(state);
    let proved = state.search.counts(bad).hits > 0 && state.search.counts(good).boots > 0;
    let cheap = state.begun.candidates.list.len() <= FORETOLD;
    // What is printed after each boot must not take as long as one.
    let forecast = || state.search.forecast(state.begun.confidence, TELLING);
    let ahead = (proved && cheap).then(forecast);
    context.emit(Event::Bisection {
        left: state.search.left(state.begun.confidence),
        none: state.search.none(),
        likeliest: likeliest.map(named).collect(),
        builds: state.builds,
        boots: state.boots,
        to_go: ahead.map(|ahead| (ahead.builds, ahead.boots)),
    });
}

/// A commit's id as people write it; other names as they are.
#[must_use]
pub fn short(name: &str) -> &str {
    let is_id = name.len() >= 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &name[..12] } else { name }
}

/// Boots parent, culprit, tip and tip with the revert in turn, in both orders,
/// so that what changes with time changes for all of them. What they show counts:
/// it may be that the culprit is another one after that.
pub(super) async fn confirm(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    limits: Limits,
    culprit: usize,
) -> Result<(), Error> {
    let mut table = Vec::new();
    for (row, subject) in rows(&state.begun, state.search.top(), culprit) {
        if state.builds >= limits.builds && !is_made(state, subject) {
            context.emit(Event::Note(format!(
                "{row}: {} kernels were built, as many as allowed",
                limits.builds
            )));
        } else if make(context, log, state, laboratory, subject).await? {
            table.push((row, subject));
        }
    }
    let rounds = rounds(log, state, culprit)?;
    // Rows that nothing depends on are given up.
    let ends = state.begun.ends();
    let is_aside = |subject: Subject| subject.point().is_none() || subject.base() >= ends;
    let mut mute: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..rounds {
        let mut turn = table.clone();
        if round % 2 == 1 {
            turn.reverse();
        }
        turn.retain(|&(row, subject)| {
            let done = state.confirmed.get(&(culprit, row.to_owned()));
            let lost = mute.get(row).copied().unwrap_or(0);
            let is_mute = is_aside(subject) && lost >= PATIENCE;
            done.map_or(0, |done| done.counts.boots) <= round && !is_mute
        });
        for rows in turn.chunks(limits.jobs.max(1)) {
            let left = limits.boots.saturating_sub(state.boots);
            if left == 0 {
                return Ok(());
            }
            let rows = &rows[..rows.len().min(left as usize)];
            let subjects: Vec<Subject> = rows.iter().map(|&(_, subject)| subject).collect();
            let way = way(state);
            let mut told = |subject: Subject, boot: Boot| {
                let row = rows.iter().find(|(_, booted)| *booted == subject);
                let row = row.map_or(CULPRIT, |&(row, _)| row);
                *mute.entry(row).or_default() += u32::from(boot.hit.is_none());
                confirmed(log, state, culprit, row, subject, boot)
            };
            laboratory.boot(&subjects, way.as_ref(), &mut told).await?;
        }
    }
    Ok(())
}

/// How often each row of a candidate's table is booted, decided when it is begun: its
/// own boots must not make it longer.
fn rounds(log: &mut Log, state: &mut State, culprit: usize) -> Result<u32, Error> {
    if let Some(&rounds) = state.tables.get(&culprit) {
        return Ok(rounds);
    }
    let (hit, _) = state.search.rates();
    let rounds = ((4.0 / hit.max(0.05)).ceil() as u32).clamp(ROUNDS.0, ROUNDS.1);
    let begun = Entry::Table {
        culprit: state.begun.candidates.list[culprit].name.clone(),
        rounds,
    };
    log.add(state, begun)?;
    Ok(rounds)
}

/// Logs a boot of the final table.
fn confirmed(
    log: &mut Log,
    state: &mut State,
    culprit: usize,
    row: &str,
    subject: Subject,
    boot: Boot,
) -> Result<(), Error> {
    note_others(log, state, subject, &boot)?;
    let entry = match (boot.hit, subject.point()) {
        (Some(hit), _) => Entry::Confirmed {
            culprit: state.name(Point::Candidate(culprit)),
            row: row.to_owned(),
            hit,
            reason: boot.reason,
            trial: boot.trial,
            seconds: boot.seconds,
        },
        // Nor is one that is compared with the older end that end's.
        (None, Some(Point::Base)) if subject.base() >= state.begun.ends() => return Ok(()),
        (None, Some(point)) => Entry::Lost {
            candidate: state.name(point),
            base: subject.base(),
            reason: boot.reason,
            trial: Some(boot.trial),
            service: boot.service_lost,
        },
        // It is nobody's: the next rounds boot it again, a few times.
        (None, None) => return Ok(()),
    };
    Ok(log.add(state, entry)?)
}

#[cfg(test)]
mod tests;
