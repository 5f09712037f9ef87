//! The loop with kernels that are numbers, in no time and without a machine.

use super::super::candidates::{Candidates, Kind};
use super::super::log::{Begun, Carried, VERSION};
use super::super::report::Finding;
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
    /// Merge bases that show the target.
    bad_bases: Vec<usize>,
    /// The target shows where it should not, and the other way round.
    exchanged: bool,
    /// Builds that were begun ahead.
    ahead: Vec<isize>,
    /// Boots by variation.
    ways: BTreeMap<String, u32>,
    /// Boots of each kernel so far.
    booted: BTreeMap<isize, u32>,
    /// Kernels that show the contrary in so many boots first.
    late: BTreeMap<isize, u32>,
    /// Times that the service is lost with all that is booted.
    lost_services: u32,
    /// A kernel with the bug shows it in one boot of so many.
    every: u32,
    /// Candidates with the bug, if these are not all from `culprit` on.
    bugged: Vec<usize>,
    /// What is before all candidates and tells nothing.
    mute_bases: Vec<usize>,
}

impl Simulated {
    fn shows(&self, number: isize) -> bool {
        let bad_base = self
            .bad_bases
            .iter()
            .any(|&base| -1 - base.cast_signed() == number);
        if !self.bugged.is_empty() {
            let has = |one: &usize| one.cast_signed() == number;
            return bad_base || self.bugged.iter().any(has);
        }
        (bad_base || number >= self.culprit.cast_signed()) != self.exchanged
    }

    fn new(culprit: usize) -> Self {
        Self {
            culprit,
            broken: Vec::new(),
            mute: Vec::new(),
            same: Vec::new(),
            left: u32::MAX,
            builds: BTreeMap::new(),
            boots: 0,
            bad_bases: Vec::new(),
            exchanged: false,
            ahead: Vec::new(),
            ways: BTreeMap::new(),
            booted: BTreeMap::new(),
            late: BTreeMap::new(),
            lost_services: 0,
            every: 1,
            bugged: Vec::new(),
            mute_bases: Vec::new(),
        }
    }

    fn number(subject: Subject) -> isize {
        match subject {
            Subject::Base(base) => -1 - base.cast_signed(),
            Subject::Candidate(number) => number.cast_signed(),
            Subject::Reverted(_) => -100,
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
        image = image.max(-1);
        Ok(Build::Made {
            seconds: 60.0,
            image: image.to_string(),
        })
    }

    async fn build_ahead(&mut self, subject: Subject) -> Result<(), Error> {
        self.ahead.push(Self::number(subject));
        Ok(())
    }

    async fn boot(
        &mut self,
        subjects: &[Subject],
        variation: Option<&Variation>,
        told: Told<'_>,
    ) -> Result<(), Error> {
        let mut failed = None;
        let way = variation.map(|variation| variation.name.clone());
        *self.ways.entry(way.unwrap_or_default()).or_default() += 1;
        for &subject in subjects {
            if self.left == 0 {
                return Err(crate::process::ProcessError::Interrupted.into());
            }
            let booted = self.booted.entry(Self::number(subject)).or_default();
            *booted += 1;
            let booted = *booted;
            let late = self.late.get(&Self::number(subject)).copied();
            let is_late = late.is_some_and(|late| booted <= late);
            self.left -= 1;
            self.boots += 1;
            let number = Self::number(subject);
            let mute = self.mute.iter().any(|&mute| mute.cast_signed() == number)
                || matches!(subject, Subject::Base(base) if self.mute_bases.contains(&base));
            let lost = self.lost_services > 0;
            let hit = self.shows(number) != is_late && booted.is_multiple_of(self.every);
            let boot = Boot {
                hit: (!mute && !lost).then_some(hit),
                reason: "the harness failed".to_owned(),
                others: if number == 3 {
                    vec!["WARNING in x".to_owned()]
                } else {
                    Vec::new()
                },
                trial: "trial".into(),
                seconds: 10.0,
                service_lost: lost,
            };
            failed = failed.or(told(subject, boot).err());
        }
        self.lost_services = self.lost_services.saturating_sub(1);
        failed.map_or(Ok(()), Err)
    }
}

const LIMITS: Limits = Limits {
    jobs: 1,
    builds: 100,
    boots: 1000,
    ahead: false,
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
        carried: Carried::default(),
        paths: Vec::new(),
        merge_bases: Vec::new(),
        first_parent: false,
        variations: Vec::new(),
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

    async fn within(
        &self,
        begun: &Begun,
        laboratory: &mut Simulated,
        limits: Limits,
    ) -> Result<(End, State), Error> {
        let (mut log, mut state) = self.open(begun);
        let context = Context::default();
        let end = to_the_end(&context, &mut log, &mut state, laboratory, limits).await?;
        Ok((end, state))
    }

    async fn go_on(
        &self,
        begun: &Begun,
        laboratory: &mut Simulated,
    ) -> Result<(End, State), Error> {
        self.within(begun, laboratory, LIMITS).await
    }
}

/// Boots before the final table.
fn searching(state: &State) -> u32 {
    let table = state.confirmed.values().map(|row| row.counts.boots);
    state.boots - table.sum::<u32>()
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
    let row = |row: &str| state.confirmed[&(20, row.to_owned())].clone();
    assert_eq!(row("parent").counts.hits, 0);
    let Counts { hits, boots } = row("culprit").counts;
    assert!(hits == boots && boots >= 5);
    assert_eq!(row("culprit").titles["the harness failed"], hits);
    assert_eq!(row("tip with the revert").counts.hits, 0);
    assert_eq!(row("tip").counts.hits, row("tip").counts.boots);
    // They cost what they cost, and say what they say.
    assert_eq!(state.boots, laboratory.boots);
    assert_eq!(state.search.counts(Point::Candidate(20)).hits, {
        laboratory.booted[&20]
    });
    assert!(state.reverted.contains(&20));
}

#[tokio::test]
async fn a_culprit_that_its_table_speaks_against_is_not_it() {
    // Of what is before the one that is named first, one shows the bug late.
    let mut laboratory = Simulated::new(20);
    for late in 20..32 {
        laboratory.late.insert(late, 3);
    }
    let bisection = Bisection::new();
    let (end, state) = bisection.go_on(&begun(64), &mut laboratory).await.unwrap();
    assert_eq!(culprits(&end), [20]);
    let tables: std::collections::BTreeSet<usize> = state
        .confirmed
        .keys()
        .map(|(culprit, _)| *culprit)
        .collect();
    assert!(tables.len() > 1 && tables.contains(&20), "{tables:?}");
    let (_, again) = bisection.open(&begun(64));
    assert_eq!(again.confirmed, state.confirmed);
    assert_eq!(again.search.answer(0.95), state.search.answer(0.95));
}

#[tokio::test]
async fn a_rate_that_is_not_what_was_said_comes_to_an_end_all_the_same() {
    let mut begun = begun(64);
    begun.every_boot = true;
    let mut laboratory = Simulated::new(20);
    for late in 20..32 {
        laboratory.late.insert(late, 3);
    }
    let (end, _) = Bisection::new()
        .go_on(&begun, &mut laboratory)
        .await
        .unwrap();
    // A kernel that has shown the bug has it, however often it did not.
    assert_eq!(culprits(&end), [20]);
}

#[tokio::test]
async fn a_correction_takes_its_table_with_it() {
    let bisection = Bisection::new();
    let mut laboratory = Simulated::new(20);
    let (_, state) = bisection.go_on(&begun(64), &mut laboratory).await.unwrap();
    assert!(!state.confirmed.is_empty());
    let (mut log, mut state) = bisection.open(&begun(64));
    let name = state.name(Point::Candidate(20));
    let forgotten = Entry::Forgotten {
        candidate: name.clone(),
    };
    log.add(&mut state, forgotten).unwrap();
    assert!(!state.confirmed.contains_key(&(20, CULPRIT.to_owned())));
    assert!(state.confirmed.keys().all(|(culprit, _)| *culprit == 20));
    let good = Entry::Word {
        candidate: name.unwrap(),
        bad: false,
    };
    log.add(&mut state, good).unwrap();
    drop(log);
    // The next one is named, and its table is its own.
    let (end, state) = bisection.go_on(&begun(64), &mut laboratory).await.unwrap();
    assert_eq!(culprits(&end), [21]);
    let row = |row: &str| state.confirmed[&(21, row.to_owned())].counts;
    assert_eq!(row("culprit").hits, row("culprit").boots);
    assert!(row("tip with the revert").boots >= 5);
}

#[tokio::test]
async fn what_is_lost_with_the_service_is_nobody_s_fault() {
    let mut laboratory = Simulated::new(20);
    laboratory.lost_services = 2;
    let four = Limits { jobs: 4, ..LIMITS };
    let bisection = Bisection::new();
    let (end, state) = bisection
        .within(&begun(64), &mut laboratory, four)
        .await
        .unwrap();
    assert_eq!(culprits(&end), [20]);
    assert!(state.skipped.is_empty(), "{:?}", state.skipped);
    // Not for ever: a kernel may be what ends it.
    let mut laboratory = Simulated::new(20);
    laboratory.lost_services = u32::MAX;
    let error = Bisection::new()
        .go_on(&begun(64), &mut laboratory)
        .await
        .unwrap_err();
    assert!(error.one_line().contains("tell nothing"), "{error}");
    assert_eq!(laboratory.boots, SERVICE_PATIENCE);
}

#[tokio::test]
async fn a_kernel_that_is_wanted_several_times_is_built_once() {
    let mut laboratory = Simulated::new(20);
    let four = Limits { jobs: 4, ..LIMITS };
    laboratory.broken = vec![40];
    let (end, state) = Bisection::new()
        .within(&begun(64), &mut laboratory, four)
        .await
        .unwrap();
    assert_eq!(culprits(&end), [20]);
    let skips = state.steps.iter().filter(|step| step.saw == "skipped");
    assert_eq!(skips.count(), state.skipped.len());
}

#[tokio::test]
async fn no_more_is_built_than_allowed_and_what_is_built_is_booted() {
    let mut laboratory = Simulated::new(20);
    for jobs in [1, 4] {
        let few = Limits {
            builds: 4,
            jobs,
            ..LIMITS
        };
        let (end, state) = Bisection::new()
            .within(&begun(64), &mut laboratory, few)
            .await
            .unwrap();
        assert!(
            matches!(&end, End::Open(reason) if reason.contains("4 kernels were built")),
            "{end:?}"
        );
        assert_eq!(state.builds, 4);
    }
}

#[tokio::test]
async fn a_finished_bisection_that_is_resumed_boots_nothing() {
    let bisection = Bisection::new();
    let mut laboratory = Simulated::new(9);
    // Seldom enough for the table to have more than the fewest rounds.
    laboratory.every = 3;
    let (end, state) = bisection.go_on(&begun(16), &mut laboratory).await.unwrap();
    assert!(
        state.tables.values().all(|&rounds| rounds > ROUNDS.0),
        "{:?}",
        state.tables
    );
    let boots = laboratory.boots;
    let (again, _) = bisection.go_on(&begun(16), &mut laboratory).await.unwrap();
    assert_eq!(again, end);
    assert_eq!(laboratory.boots, boots);
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
    assert!(searching(&state) <= 16, "{}", searching(&state));
}

#[tokio::test]
async fn images_as_before_all_candidates_cost_no_boots_either() {
    let mut laboratory = Simulated::new(40);
    laboratory.same = (0..40).collect();
    let (end, state) = Bisection::new()
        .go_on(&begun(64), &mut laboratory)
        .await
        .unwrap();
    assert_eq!(culprits(&end), [40]);
    assert!(state.search.counts(Point::Candidate(31)).boots == 0);
    let mut laboratory = Simulated::new(40);
    laboratory.same = (0..64).collect();
    let error = Bisection::new()
        .go_on(&begun(64), &mut laboratory)
        .await
        .unwrap_err();
    assert!(error.one_line().contains("make the same kernel"), "{error}");
}

#[tokio::test]
async fn ends_that_are_exchanged_are_told() {
    let mut laboratory = Simulated::new(20);
    laboratory.exchanged = true;
    let (end, state) = Bisection::new()
        .go_on(&begun(64), &mut laboratory)
        .await
        .unwrap();
    assert!(
        matches!(&end, End::Open(reason) if reason.contains("the ends are exchanged")),
        "{end:?}"
    );
    assert!(state.boots <= DOUBT + ASKED, "{}", state.boots);
}

#[tokio::test]
async fn ends_are_proved_however_sure_the_rate_is() {
    let mut begun = begun(64);
    begun.every_boot = true;
    let mut laboratory = Simulated::new(20);
    laboratory.exchanged = true;
    let (end, _) = Bisection::new()
        .go_on(&begun, &mut laboratory)
        .await
        .unwrap();
    assert!(
        matches!(&end, End::Open(reason) if reason.contains("the ends are exchanged")),
        "{end:?}"
    );
    let mut laboratory = Simulated::new(1000);
    let (end, state) = Bisection::new()
        .go_on(&begun, &mut laboratory)
        .await
        .unwrap();
    let said = "is taken to show in each boot";
    assert!(
        matches!(&end, End::Open(reason) if reason.contains(said)),
        "{end:?}"
    );
    assert_eq!(state.boots, DOUBT + ASKED);
}

#[tokio::test]
async fn a_bug_at_both_ends_is_none_of_the_candidates() {
    // Every candidate has it, and so does what is before them.
    let mut laboratory = Simulated::new(0);
    laboratory.bad_bases = vec![0];
    let (end, _) = Bisection::new()
        .go_on(&begun(64), &mut laboratory)
        .await
        .unwrap();
    assert!(matches!(end, End::Answered(Answer::None { .. })), "{end:?}");
}

#[tokio::test]
async fn every_merge_base_is_booted() {
    let mut begun = begun(64);
    begun.merge_bases = vec!["a".repeat(40), "b".repeat(40), "c".repeat(40)];
    let mut laboratory = Simulated::new(20);
    let bisection = Bisection::new();
    let (end, state) = bisection.go_on(&begun, &mut laboratory).await.unwrap();
    assert_eq!(culprits(&end), [20]);
    assert!(state.bases.iter().all(|counts| counts.boots > 0));
    for base in ["-1", "-2", "-3"] {
        assert!(laboratory.builds.contains_key(base), "{base}");
    }
    let (_, again) = bisection.open(&begun);
    assert_eq!(again.bases, state.bases);
    // One that has the bug: it is older than all candidates.
    let mut laboratory = Simulated::new(0);
    laboratory.bad_bases = vec![0, 1, 2];
    let (end, state) = Bisection::new()
        .go_on(&begun, &mut laboratory)
        .await
        .unwrap();
    assert!(matches!(end, End::Answered(Answer::None { .. })), "{end:?}");
    assert!(state.bases.iter().all(|counts| counts.hits > 0));
}

#[tokio::test]
async fn what_is_built_ahead_is_what_is_wanted_next() {
    let mut laboratory = Simulated::new(20);
    let bisection = Bisection::new();
    let (mut log, mut state) = bisection.open(&begun(64));
    let limits = Limits {
        ahead: true,
        ..LIMITS
    };
    let end = search(
        &Context::default(),
        &mut log,
        &mut state,
        &mut laboratory,
        limits,
    )
    .await
    .unwrap();
    assert_eq!(culprits(&end), [20]);
    let used = |number: &isize| laboratory.builds.contains_key(&number.to_string());
    assert!(laboratory.ahead.iter().any(used), "{:?}", laboratory.ahead);
}

#[tokio::test]
async fn the_most_telling_way_is_chosen_and_kept() {
    let mut begun = begun(64);
    begun.variations = vec![Variation {
        name: "impatient".to_owned(),
        ..Variation::default()
    }];
    let mut whole = Simulated::new(20);
    let bisection = Bisection::new();
    let (end, state) = bisection.go_on(&begun, &mut whole).await.unwrap();
    assert_eq!(culprits(&end), [20]);
    // Both ways show it each time and take as long: the job's own stays.
    assert_eq!((state.way, whole.ways["impatient"]), (Some(0), 4));
    let mut boots = 0;
    let bisection = Bisection::new();
    let end = loop {
        let mut laboratory = Simulated::new(20);
        laboratory.left = 3;
        let result = bisection.go_on(&begun, &mut laboratory).await;
        boots += laboratory.boots;
        assert!(boots < 1000);
        if let Ok((end, _)) = result {
            break end;
        }
    };
    assert_eq!(culprits(&end), [20]);
    assert_eq!(boots, whole.boots, "a boot was repeated");
}

#[tokio::test]
async fn a_candidate_that_always_shows_takes_one_test_a_halving() {
    let mut begun = begun(64);
    begun.every_boot = true;
    for culprit in [0, 1, 31, 32, 62, 63] {
        let mut laboratory = Simulated::new(culprit);
        let (end, state) = Bisection::new()
            .go_on(&begun, &mut laboratory)
            .await
            .unwrap();
        assert_eq!(culprits(&end), [culprit]);
        let boots = searching(&state);
        assert!(boots <= 2 + 6, "{culprit}: {boots}");
    }
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

/// Two merge bases, each with a side of its own that is merged:
///
/// ```text
/// a - 0 - … - 5  --- 12 - … - 20
/// b - 6 - … - 11 -/
/// ```
fn two_sides() -> Begun {
    let mut begun = begun(21);
    begun.merge_bases = vec!["a".repeat(40), "b".repeat(40)];
    begun.candidates.list[6].parents.clear();
    begun.candidates.list[12].parents = vec![5, 11];
    begun.candidates.list[0].below = Some("a".repeat(40));
    begun.candidates.list[6].below = Some("b".repeat(40));
    begun
}

#[tokio::test]
async fn a_bug_at_one_merge_base_is_older_than_all_candidates() {
    for every_boot in [true, false] {
        let mut begun = two_sides();
        begun.every_boot = every_boot;
        let mut laboratory = Simulated::new(0);
        laboratory.bad_bases = vec![1];
        laboratory.bugged = (6..21).collect();
        let (end, state) = Bisection::new()
            .go_on(&begun, &mut laboratory)
            .await
            .unwrap();
        assert!(matches!(end, End::Answered(Answer::None { .. })), "{end:?}");
        let none = Finding::None { probability: 0.99 };
        let notes = crate::bisect::notes(&state, &none, None).join("\n");
        let wanted = format!("--bad {} ", "b".repeat(12));
        assert!(notes.contains(&wanted), "{notes}");
    }
}

#[tokio::test]
async fn a_cure_is_not_what_one_merge_base_never_had() {
    let mut begun = two_sides();
    begun.fixed = true;
    let mut laboratory = Simulated::new(0);
    // One side never had the bug, and what is merged has none either.
    laboratory.bad_bases = vec![0];
    laboratory.bugged = (0..6).collect();
    let (end, state) = Bisection::new()
        .go_on(&begun, &mut laboratory)
        .await
        .unwrap();
    let said = "on that side nothing was cured";
    assert!(
        matches!(&end, End::Open(reason) if reason.contains(said)),
        "{end:?}"
    );
    assert!(state.boots < 30, "{}", state.boots);
}

/// A branch that is older than the older end:
///
/// ```text
/// e - f - 0 - … - 3 ---- 15 - … - 20
///  \- 4 - … - 14 ------/
/// ```
fn old_branch() -> Begun {
    let mut begun = begun(21);
    begun.candidates.list[0].below = Some("f".repeat(40));
    begun.candidates.list[4].parents.clear();
    begun.candidates.list[4].below = Some("e".repeat(40));
    begun.candidates.list[15].parents = vec![3, 14];
    begun
}

#[tokio::test]
async fn a_branch_from_before_the_bug_or_its_cure_is_no_culprit() {
    for (fixed, every_boot) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut begun = old_branch();
        (begun.fixed, begun.every_boot) = (fixed, every_boot);
        let mut laboratory = Simulated::new(0);
        if fixed {
            // The bug came with `f`, and 18 cures it.
            laboratory.bad_bases = vec![0];
            laboratory.bugged = (0..4).chain(15..18).collect();
        } else {
            // `f` cured one that the branch has, and 18 brings it again.
            laboratory.bad_bases = vec![1];
            laboratory.bugged = (4..15).chain(18..21).collect();
        }
        let bisection = Bisection::new();
        let (end, state) = bisection.go_on(&begun, &mut laboratory).await.unwrap();
        let said = "is not like the";
        let misplaced = matches!(&end, End::Open(reason) if reason.contains(said));
        assert!(misplaced, "{fixed} {every_boot}: {end:?}");
        let row = |row: &str| state.confirmed[&(4, row.to_owned())].counts;
        assert_ne!(row("older end").hits > 0, row("parent").hits > 0);
        let boots = laboratory.boots;
        let (again, _) = bisection.go_on(&begun, &mut laboratory).await.unwrap();
        assert_eq!((again, laboratory.boots), (end, boots));
    }
}

#[tokio::test]
async fn the_first_commit_of_an_old_branch_can_be_the_culprit() {
    let mut laboratory = Simulated::new(0);
    laboratory.bugged = (4..21).collect();
    let (end, state) = Bisection::new()
        .go_on(&old_branch(), &mut laboratory)
        .await
        .unwrap();
    assert_eq!(culprits(&end), [4]);
    let row = |row: &str| state.confirmed[&(4, row.to_owned())].counts;
    assert_eq!((row("older end").hits, row("parent").hits), (0, 0));
    assert!(row("parent").boots >= 5);
    let parent = state
        .steps
        .iter()
        .any(|step| step.candidate == "e".repeat(40));
    assert!(parent, "{:?}", state.steps);
}

#[tokio::test]
async fn ends_of_one_image_are_no_more_different_when_it_is_resumed() {
    let bisection = Bisection::new();
    for _ in 0..2 {
        let mut laboratory = Simulated::new(0);
        laboratory.same = (0..64).collect();
        laboratory.every = 3;
        laboratory.bad_bases = vec![0];
        let error = bisection
            .go_on(&begun(64), &mut laboratory)
            .await
            .unwrap_err();
        assert!(error.one_line().contains("make the same kernel"), "{error}");
    }
}

#[tokio::test]
async fn killed_after_any_line_of_its_log_it_goes_on_as_it_was() {
    let simulated = || {
        let mut laboratory = Simulated::new(20);
        laboratory.same = (0..64).filter(|one| one % 3 != 2 && *one != 63).collect();
        laboratory.broken = vec![17];
        laboratory
    };
    let whole = Bisection::new();
    let (end, state) = whole.go_on(&begun(64), &mut simulated()).await.unwrap();
    let text = std::fs::read_to_string(whole.directory.path().join("log.jsonl")).unwrap();
    assert!(text.contains("\"entry\":\"same\""), "{text}");
    let lines = text.matches('\n').count();
    for kept in 1..lines {
        let bisection = Bisection::new();
        let left: String = text.split_inclusive('\n').take(kept).collect();
        std::fs::write(bisection.directory.path().join("log.jsonl"), left).unwrap();
        let (again, after) = bisection.go_on(&begun(64), &mut simulated()).await.unwrap();
        assert_eq!(again, end, "after {kept} lines");
        assert_eq!(after.boots, state.boots, "after {kept} lines");
    }
}

#[tokio::test]
async fn no_more_is_booted_than_allowed_however_many_run_at_a_time() {
    for boots in [1, 5, 14, 19] {
        let few = Limits {
            boots,
            jobs: 4,
            ..LIMITS
        };
        let mut laboratory = Simulated::new(20);
        let (_, state) = Bisection::new()
            .within(&begun(64), &mut laboratory, few)
            .await
            .unwrap();
        assert!(state.boots <= boots, "{} of {boots}", state.boots);
    }
}

#[tokio::test]
async fn a_rate_that_was_said_wrongly_is_learned() {
    let mut begun = begun(64);
    begun.every_boot = true;
    for (culprit, every) in [(20, 2), (20, 3), (1, 3), (63, 2), (40, 4)] {
        let mut laboratory = Simulated::new(culprit);
        laboratory.every = every;
        let (end, state) = Bisection::new()
            .go_on(&begun, &mut laboratory)
            .await
            .unwrap();
        if let End::Answered(answer) = &end {
            assert_eq!(culprits(&end), [culprit], "{every}: {answer:?}");
            let notes = crate::bisect::notes(&state, &Finding::None { probability: 0.0 }, None);
            let said = "did not show in every boot";
            assert!(notes.iter().any(|note| note.contains(said)), "{notes:?}");
        }
    }
}

#[tokio::test]
async fn what_it_came_to_without_a_correction_is_not_told_any_more() {
    use crate::bisect::{Correction, correct};

    let bisection = Bisection::new();
    let mut laboratory = Simulated::new(9);
    bisection.go_on(&begun(16), &mut laboratory).await.unwrap();
    let directory = bisection.directory.path();
    let report = directory.join("bisection.json");
    std::fs::write(&report, "{}").unwrap();
    let context = Context::default();
    let name = format!("{:040}", 9);
    // What is refused changes nothing.
    let refused = correct(&context, directory, "nothing", Correction::Good).await;
    assert!(refused.is_err() && report.is_file());
    for _ in 0..2 {
        correct(&context, directory, &name, Correction::Good)
            .await
            .unwrap();
        assert!(!report.exists());
    }
}

#[tokio::test]
async fn what_an_old_branch_left_is_given_up_if_it_tells_nothing() {
    let mut laboratory = Simulated::new(0);
    laboratory.bugged = (4..21).collect();
    laboratory.mute_bases = vec![1];
    let (end, state) = Bisection::new()
        .go_on(&old_branch(), &mut laboratory)
        .await
        .unwrap();
    assert_eq!(culprits(&end), [4]);
    assert!(!state.confirmed.contains_key(&(4, "parent".to_owned())));
    assert_eq!(laboratory.booted[&-2], PATIENCE);
}
