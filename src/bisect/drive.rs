//! The loop of a bisection: what the search asks for is built and booted, what
//! comes of it is logged, until there is an answer and the table that confirms
//! it. Where kernels come from and where they run is the laboratory's affair.

use miette::Diagnostic;
use thiserror::Error;

use std::path::PathBuf;

use super::log::{Entry, Log, State};
use super::report::percent;
use super::search::{Answer, Change, Point};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::event::Event;

/// Boots in a row that tell nothing before a candidate is given up.
const PATIENCE: u32 = 3;

/// Boots of the bad end without the target before the search is given up.
const SILENCE: u32 = 40;

/// The fewest and the most rounds of the final table.
const ROUNDS: (u32, u32) = (5, 20);

/// Rows of the final table.
pub(super) const ROWS: [&str; 4] = ["parent", "culprit", "tip", "tip with the revert"];

/// What is built and booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A candidate or the base.
    Point(Point),
    /// The bad end without the culprit.
    Reverted(usize),
}

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
    /// Another finding's title.
    pub(super) other: Option<String>,
    /// Where the trial is kept.
    pub(super) trial: PathBuf,
    /// Time it took, seconds.
    pub(super) seconds: f64,
}

/// Where kernels are built and booted.
pub(super) trait Laboratory {
    /// Builds a kernel, or finds it built.
    async fn build(&mut self, subject: Subject) -> Result<Build, Error>;
    /// Boots built kernels, one each, side by side.
    async fn boot(&mut self, subjects: &[Subject]) -> Result<Vec<Boot>, Error>;
}

/// How far a bisection may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Boots at a time.
    pub(super) jobs: usize,
    /// Builds in all.
    pub(super) builds: u32,
    /// Boots in all.
    pub(super) boots: u32,
}

/// A bisection cannot go on.
#[derive(Debug, Error, Diagnostic)]
pub enum DriveError {
    /// An end has no kernel.
    #[error("the {end} end, {name}, cannot be built: {reason}")]
    #[diagnostic(help("both ends have to be tested: name another one, or mend its build"))]
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
        let points = state.search.batch(limits.jobs.max(1));
        if points.is_empty() {
            return Ok(End::Open(
                "no candidate that can be tested tells more".to_owned(),
            ));
        }
        if !foretold && !points.iter().any(|&point| is_end(state, point)) {
            foretold = true;
            foretell(context, state);
        }
        let mut subjects = Vec::new();
        for point in points {
            if make(context, log, state, laboratory, point).await? {
                subjects.push(Subject::Point(point));
            }
        }
        let boots = laboratory.boot(&subjects).await?;
        for (subject, boot) in subjects.into_iter().zip(boots) {
            if let Subject::Point(point) = subject {
                take(context, log, state, point, boot)?;
            }
        }
        tell(context, state);
    }
}

fn spent(state: &State, limits: Limits) -> Option<String> {
    if state.builds >= limits.builds {
        return Some(format!(
            "{} kernels were built, as many as allowed",
            limits.builds
        ));
    }
    if state.boots >= limits.boots {
        return Some(format!(
            "{} kernels were booted, as many as allowed",
            limits.boots
        ));
    }
    let bad = bad_end(state);
    let counts = state.search.counts(bad);
    (counts.hits == 0 && counts.boots >= SILENCE).then(|| {
        format!(
            "the target did not show in {} boots of the bad end; the ends may be exchanged, or the bug is rarer than one boot in {}",
            counts.boots,
            counts.boots / 3
        )
    })
}

fn bad_end(state: &State) -> Point {
    let top = state.search.top().map_or(Point::Base, Point::Candidate);
    if state.begun.fixed { Point::Base } else { top }
}

fn is_end(state: &State, point: Point) -> bool {
    point == Point::Base || state.search.top().map(Point::Candidate) == Some(point)
}

/// Which end a point is, and what the user calls it.
fn end_of(state: &State, point: Point) -> Option<(&'static str, String)> {
    let begun = &state.begun;
    let (old, new) = if begun.fixed {
        ("bad", "good")
    } else {
        ("good", "bad")
    };
    if point == Point::Base {
        Some((old, begun.candidates.base.clone()))
    } else if is_end(state, point) {
        Some((new, state.name(point).unwrap_or_default()))
    } else {
        None
    }
}

/// Sees that there is a kernel; whether there is one to boot.
async fn make(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    point: Point,
) -> Result<bool, Error> {
    let candidate = state.name(point);
    let first = !state.made.contains(&number(point));
    match laboratory.build(Subject::Point(point)).await? {
        Build::Made { seconds, image } => {
            if !first {
                return Ok(true);
            }
            let twin = state.images.get(&image).copied().flatten();
            log.add(
                state,
                Entry::Built {
                    candidate: candidate.clone(),
                    seconds,
                    image,
                },
            )?;
            // An image that was booted tells for this candidate, too.
            match (candidate, twin) {
                (Some(candidate), Some(twin)) if Point::Candidate(twin) != point => {
                    let other = state.begun.candidates.list[twin].name.clone();
                    context.emit(Event::Note(format!(
                        "{} has the same image as {}",
                        short(&candidate),
                        short(&other)
                    )));
                    log.add(state, Entry::Same { candidate, other })?;
                    Ok(false)
                }
                _ => Ok(true),
            }
        }
        Build::Impossible(reason) => {
            if let Some((end, name)) = end_of(state, point) {
                return Err(DriveError::Unbuildable { end, name, reason }.into());
            }
            if let Some(candidate) = candidate {
                context.emit(Event::Note(format!("{}: {reason}", short(&candidate))));
                log.add(state, Entry::Skipped { candidate, reason })?;
            }
            Ok(false)
        }
    }
}

fn number(point: Point) -> Option<usize> {
    match point {
        Point::Base => None,
        Point::Candidate(number) => Some(number),
    }
}

/// Logs what a boot told, and gives up what tells nothing again and again.
fn take(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    point: Point,
    boot: Boot,
) -> Result<(), Error> {
    let candidate = state.name(point);
    if let Some(title) = boot.other {
        log.add(
            state,
            Entry::Other {
                candidate: candidate.clone(),
                title,
            },
        )?;
    }
    if let Some(hit) = boot.hit {
        log.add(
            state,
            Entry::Boot {
                candidate,
                hit,
                reason: boot.reason,
                trial: boot.trial,
                seconds: boot.seconds,
            },
        )?;
        return Ok(());
    }
    let reason = boot.reason.clone();
    log.add(
        state,
        Entry::Lost {
            candidate: candidate.clone(),
            reason: boot.reason,
            trial: Some(boot.trial),
        },
    )?;
    if state.lost.get(&number(point)).copied().unwrap_or(0) < PATIENCE {
        return Ok(());
    }
    if let Some((end, name)) = end_of(state, point) {
        return Err(DriveError::Mute { end, name, reason }.into());
    }
    if let Some(candidate) = candidate {
        let reason = format!("{PATIENCE} boots in a row told nothing, the last: {reason}");
        context.emit(Event::Note(format!("{}: {reason}", short(&candidate))));
        log.add(state, Entry::Skipped { candidate, reason })?;
    }
    Ok(())
}

/// What the search will cost, once the ends are proved.
fn foretell(context: &Context, state: &State) {
    let (hit, _) = state.search.rates();
    let ahead = state.search.forecast(state.begun.confidence);
    context.emit(Event::Note(format!(
        "both ends hold; the target shows in about {} of boots; about {:.0} builds and {:.0} boots to go (nine in ten searches: at most {} boots)",
        percent(hit),
        ahead.builds,
        ahead.boots,
        ahead.boots_at_most
    )));
}

/// How far the search is.
fn tell(context: &Context, state: &State) {
    let likeliest = state
        .search
        .likeliest(5)
        .into_iter()
        .map(|(number, probability)| {
            let name = &state.begun.candidates.list[number].name;
            (short(name).to_owned(), probability)
        })
        .collect();
    context.emit(Event::Bisection {
        left: state.search.left(state.begun.confidence),
        none: state.search.none(),
        likeliest,
        builds: state.builds,
        boots: state.boots,
    });
}

/// A commit's id as people write it; other names as they are.
pub(super) fn short(name: &str) -> &str {
    let is_id = name.len() >= 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &name[..12] } else { name }
}

/// Boots parent, culprit, tip and tip with the revert in turn, in both orders,
/// so that what changes with time changes for all of them.
pub(super) async fn confirm(
    context: &Context,
    log: &mut Log,
    state: &mut State,
    laboratory: &mut impl Laboratory,
    culprit: usize,
) -> Result<(), Error> {
    let mut rows = Vec::new();
    for (row, subject) in subjects(state, culprit) {
        match laboratory.build(subject).await? {
            Build::Made { .. } => rows.push((row, subject)),
            Build::Impossible(reason) => {
                context.emit(Event::Note(format!("{row}: {reason}")));
            }
        }
    }
    let (hit, _) = state.search.rates();
    let rounds = ((4.0 / hit.max(0.05)).ceil() as u32).clamp(ROUNDS.0, ROUNDS.1);
    for round in 0..rounds {
        if round % 2 == 1 {
            rows.reverse();
        }
        for &(row, subject) in &rows {
            let done = state.confirmed.get(row).map_or(0, |counts| counts.1);
            if done > round {
                continue;
            }
            for boot in laboratory.boot(&[subject]).await? {
                let Some(hit) = boot.hit else { continue };
                let trial = boot.trial;
                let row = row.to_owned();
                log.add(state, Entry::Confirmed { row, hit, trial })?;
            }
        }
        if round % 2 == 1 {
            rows.reverse();
        }
    }
    Ok(())
}

/// What the rows of the final table boot.
pub(super) fn subjects(state: &State, culprit: usize) -> Vec<(&'static str, Subject)> {
    let parent = state.begun.candidates.list[culprit]
        .parents
        .first()
        .map_or(Point::Base, |&parent| Point::Candidate(parent));
    let mut rows = vec![
        (ROWS[0], Subject::Point(parent)),
        (ROWS[1], Subject::Point(Point::Candidate(culprit))),
    ];
    if let Some(top) = state.search.top().filter(|&top| top != culprit) {
        rows.push((ROWS[2], Subject::Point(Point::Candidate(top))));
        rows.push((ROWS[3], Subject::Reverted(culprit)));
    }
    rows
}

/// Which way the target's rate changes.
pub(super) fn change(fixed: bool) -> Change {
    if fixed {
        Change::Disappears
    } else {
        Change::Appears
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::candidates::{Candidates, Kind};
    use super::super::log::{Begun, VERSION};
    use super::*;

    /// Kernels that are numbers: from `culprit` on the bug is there.
    struct Simulated {
        culprit: usize,
        broken: Vec<usize>,
        mute: Vec<usize>,
        /// Candidates with the image of the one before.
        same: Vec<usize>,
        /// Boots left before everything is killed.
        left: u32,
        builds: BTreeMap<String, u32>,
        boots: u32,
    }

    impl Simulated {
        fn new(culprit: usize) -> Self {
            Self {
                culprit,
                broken: Vec::new(),
                mute: Vec::new(),
                same: Vec::new(),
                left: u32::MAX,
                builds: BTreeMap::new(),
                boots: 0,
            }
        }

        fn number(subject: Subject) -> isize {
            match subject {
                Subject::Point(Point::Base) => -1,
                Subject::Point(Point::Candidate(number)) => number.cast_signed(),
                Subject::Reverted(_) => -2,
            }
        }
    }

    impl Laboratory for Simulated {
        async fn build(&mut self, subject: Subject) -> Result<Build, Error> {
            let number = Self::number(subject);
            *self.builds.entry(number.to_string()).or_default() += 1;
            if self
                .broken
                .iter()
                .any(|&broken| broken.cast_signed() == number)
            {
                return Ok(Build::Impossible("does not build".to_owned()));
            }
            let mut image = number;
            while self.same.iter().any(|&same| same.cast_signed() == image) {
                image -= 1;
            }
            Ok(Build::Made {
                seconds: 60.0,
                image: image.to_string(),
            })
        }

        async fn boot(&mut self, subjects: &[Subject]) -> Result<Vec<Boot>, Error> {
            let mut boots = Vec::new();
            for &subject in subjects {
                if self.left == 0 {
                    return Err(crate::process::ProcessError::Interrupted.into());
                }
                self.left -= 1;
                self.boots += 1;
                let number = Self::number(subject);
                let mute = self.mute.iter().any(|&mute| mute.cast_signed() == number);
                boots.push(Boot {
                    hit: (!mute).then_some(number >= self.culprit.cast_signed()),
                    reason: "the harness failed".to_owned(),
                    other: (number == 3).then(|| "WARNING in x".to_owned()),
                    trial: "trial".into(),
                    seconds: 10.0,
                });
            }
            Ok(boots)
        }
    }

    const LIMITS: Limits = Limits {
        jobs: 1,
        builds: 100,
        boots: 1000,
    };

    fn begun(count: usize) -> Begun {
        let names = (0..count).map(|number| format!("{number:040}"));
        Begun {
            version: VERSION,
            job: "job.yaml".into(),
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            good: "v1".to_owned(),
            bad: "v2".to_owned(),
            fixed: false,
            any: false,
            every_boot: false,
            confidence: 0.95,
            source: super::super::log::Source::Git {
                repository: "/linux".into(),
            },
            candidates: Candidates::linear(Kind::Git, "f".repeat(40), names),
            merge_bases: Vec::new(),
        }
    }

    struct Bisection {
        directory: tempfile::TempDir,
    }

    impl Bisection {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
            }
        }

        fn open(&self, begun: &Begun) -> (Log, State) {
            let path = self.directory.path().join("log.jsonl");
            if path.exists() {
                Log::open(&path).unwrap()
            } else {
                Log::create(&path, begun.clone()).unwrap()
            }
        }

        async fn go_on(
            &self,
            begun: &Begun,
            laboratory: &mut Simulated,
        ) -> Result<(End, State), Error> {
            let (mut log, mut state) = self.open(begun);
            let context = Context::default();
            let end = search(&context, &mut log, &mut state, laboratory, LIMITS).await?;
            if let End::Answered(Answer::Culprit { candidates, .. }) = &end {
                confirm(&context, &mut log, &mut state, laboratory, candidates[0]).await?;
            }
            Ok((end, state))
        }
    }

    fn culprits(end: &End) -> Vec<usize> {
        match end {
            End::Answered(Answer::Culprit { candidates, .. }) => candidates.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_culprit_is_found_and_confirmed() {
        let mut laboratory = Simulated::new(20);
        let (end, state) = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap();
        assert_eq!(culprits(&end), [20]);
        assert!(state.builds <= 9, "{}", state.builds);
        let row = |row: &str| state.confirmed[row];
        assert_eq!(row("parent").0, 0);
        let (hits, boots) = row("culprit");
        assert!(hits == boots && boots >= 5);
        assert_eq!(row("tip with the revert").0, 0);
        assert_eq!(row("tip").0, row("tip").1);
    }

    #[tokio::test]
    async fn killed_after_every_boot_it_goes_on_and_repeats_nothing() {
        let mut whole = Simulated::new(20);
        let (_, state) = Bisection::new()
            .go_on(&begun(64), &mut whole)
            .await
            .unwrap();
        let bisection = Bisection::new();
        let (mut boots, mut rounds) = (0, 0);
        let (end, again) = loop {
            let mut laboratory = Simulated::new(20);
            laboratory.left = 1;
            let result = bisection.go_on(&begun(64), &mut laboratory).await;
            boots += laboratory.boots;
            rounds += 1;
            assert!(rounds < 1000);
            match result {
                Ok(done) => break done,
                Err(error) => assert_eq!(error.exit(), Exit::Interrupted),
            }
        };
        assert_eq!(culprits(&end), [20]);
        assert_eq!(boots, whole.boots, "a boot was repeated");
        assert_eq!(again.builds, state.builds, "a build was logged twice");
    }

    #[tokio::test]
    async fn what_cannot_be_tested_is_skipped_with_its_reason() {
        let mut laboratory = Simulated::new(20);
        laboratory.broken = vec![19];
        laboratory.mute = vec![31, 32, 33];
        let (end, state) = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap();
        assert_eq!(culprits(&end), [19, 20]);
        assert_eq!(state.skipped[&19], "does not build");
        for reason in state.skipped.values() {
            assert!(reason.contains("does not build") || reason.contains("told nothing"));
        }
    }

    #[tokio::test]
    async fn equal_images_cost_no_boots() {
        let mut laboratory = Simulated::new(20);
        laboratory.same = (1..64).filter(|one| *one != 20).collect();
        let (end, state) = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap();
        assert_eq!(culprits(&end), [20]);
        assert!(state.boots <= 16, "{}", state.boots);
    }

    #[tokio::test]
    async fn ends_that_cannot_be_tested_say_so() {
        let mut laboratory = Simulated::new(20);
        laboratory.broken = vec![63];
        let error = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap_err();
        assert!(error.one_line().contains("the bad end"), "{error}");
        assert_eq!(error.exit(), Exit::Undecided);
        let mut laboratory = Simulated::new(20);
        laboratory.mute = vec![63];
        let error = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap_err();
        assert!(error.one_line().contains("tell nothing"), "{error}");
        let mut laboratory = Simulated::new(1000);
        let (end, _) = Bisection::new()
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap();
        assert!(matches!(end, End::Open(reason) if reason.contains("did not show in 40 boots")));
    }

    #[tokio::test]
    async fn other_findings_are_kept_by_candidate() {
        let mut laboratory = Simulated::new(3);
        let (_, state) = Bisection::new()
            .go_on(&begun(8), &mut laboratory)
            .await
            .unwrap();
        assert_eq!(state.others["WARNING in x"], [Some(3)]);
    }
}
