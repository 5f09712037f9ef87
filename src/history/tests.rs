use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::*;
use crate::run::judge_again;

/// Copies a recorded run of the golden tests, as one that began at this second
/// of 2026-01-02 03:04; judged, so that it has a report.
fn recorded(to: &Path, second: u32) -> PathBuf {
    let of = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
    copy(&of, to);
    let file = to.join("run.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut beginning: serde_json::Value = serde_json::from_str(&text).unwrap();
    beginning["started"] = format!("2026-01-02T03:04:{second:02}Z").into();
    fs::write(&file, beginning.to_string()).unwrap();
    judge_again(to).unwrap();
    to.to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A home with so many runs in it.
fn home(runs: u32) -> (tempfile::TempDir, History) {
    let home = tempfile::tempdir().unwrap();
    let history = History::at(home.path().join("kvet"));
    for second in 0..runs {
        let started = format!("2026-01-02T03:04:{second:02}Z");
        recorded(
            &history.new_run("example", started.parse().unwrap()),
            second,
        );
    }
    (home, history)
}

fn listed(history: &History) -> usize {
    let (runs, remarks) = history.list().unwrap();
    assert_eq!(remarks, [""; 0]);
    runs.len()
}

#[test]
fn runs_are_found_where_they_lie_and_counted_together() {
    let (home, history) = home(3);
    assert_eq!(listed(&history), 3);
    let elsewhere = recorded(&home.path().join("elsewhere"), 30);
    assert_eq!(history.keep(&elsewhere).unwrap(), [""; 0]);
    let (job, _) = history.job("example").unwrap();
    let job = job.unwrap();
    assert_eq!(job.runs.len(), 4);
    assert_eq!(job.verdicts["fixed"], 4);
    let rates: Vec<(&str, u32, u32)> = job
        .arms
        .iter()
        .map(|arm| (arm.arm.as_str(), arm.target.hits, arm.target.trials))
        .collect();
    assert_eq!(rates, [("stock", 12, 12), ("fixed", 0, 12)]);
    let finding = &job.findings[0];
    assert_eq!(finding.title, "INFO: task hung in evict");
    assert_eq!(
        (finding.rates[0].rate.hits, finding.rates[0].rate.trials),
        (12, 12)
    );
    assert_eq!(finding.trend, Trend::Steady);
    assert!(history.job("another").unwrap().0.is_none());
    let shown = history.shown("example", "stock", "example").unwrap();
    assert_eq!((shown.hits, shown.trials), (12, 12));
    let shown = history.shown("example", "fixed", "another").unwrap();
    assert_eq!((shown.hits, shown.trials), (0, 0));
}

/// Has trials of a recorded run be those of two hosts.
fn on_hosts(run: &Path) {
    for (arm, number, host) in [
        ("stock", 1, "n1"),
        ("stock", 2, "n2"),
        ("stock", 3, "n1"),
        ("fixed", 1, "n1"),
        ("fixed", 2, "n2"),
    ] {
        let trial = run.join(format!("arms/{arm}/trials/example/{number}"));
        for attempt in children(&trial).unwrap() {
            let file = attempt.join("trial.json");
            let text = fs::read_to_string(&file).unwrap();
            let mut trial: serde_json::Value = serde_json::from_str(&text).unwrap();
            trial["host"] = host.into();
            fs::write(&file, trial.to_string()).unwrap();
        }
    }
    judge_again(run).unwrap();
}

#[test]
fn what_hosts_showed_is_known_over_runs() {
    let (_home, history) = home(2);
    let (job, _) = history.job("example").unwrap();
    assert_eq!(job.unwrap().hosts, []);
    for run in children(&history.runs()).unwrap() {
        on_hosts(&run);
        history.keep(&run).unwrap();
    }
    let (job, _) = history.job("example").unwrap();
    let hosts: Vec<_> = job
        .unwrap()
        .hosts
        .iter()
        .map(|one| {
            let (target, nothing) = (one.target, one.nothing);
            let counts = (target.hits, target.trials, nothing.hits, nothing.trials);
            (one.host.clone(), one.arm.clone(), one.runs, counts)
        })
        .collect();
    let expect = |host: &str, arm: &str, counts| (host.to_owned(), arm.to_owned(), 2, counts);
    // The harness failed the first attempt at the fix's second trial.
    assert_eq!(
        hosts,
        [
            expect("n1", "fixed", (0, 2, 0, 2)),
            expect("n1", "stock", (4, 4, 0, 4)),
            expect("n2", "fixed", (0, 2, 2, 4)),
            expect("n2", "stock", (2, 2, 0, 2)),
        ]
    );
}

#[test]
fn what_is_known_of_a_run_outlives_its_directory_and_the_index() {
    let (home, history) = home(1);
    let elsewhere = recorded(&home.path().join("elsewhere"), 30);
    history.keep(&elsewhere).unwrap();
    assert_eq!(listed(&history), 2);
    fs::remove_dir_all(&elsewhere).unwrap();
    let (count, remarks) = history.rebuild().unwrap();
    assert_eq!((count, remarks.len()), (2, 0));
    let (runs, _) = history.list().unwrap();
    let gone: Vec<bool> = runs.iter().map(|run| run.gone).collect();
    assert_eq!(gone, [false, true]);
    assert_eq!(
        history.job("example").unwrap().0.unwrap().arms[0]
            .target
            .hits,
        6
    );
    let id = Path::new(&runs[1].id).to_owned();
    assert!(matches!(history.find(&id), Err(HistoryError::Gone { .. })));
}

#[test]
fn a_damaged_index_is_made_anew_and_said() {
    let (_home, history) = home(2);
    assert_eq!(listed(&history), 2);
    let index = history.index_file();
    let whole = fs::read(&index).unwrap();
    let other = |damage: &dyn Fn()| {
        drop(fs::remove_file(index.with_extension("sqlite-wal")));
        damage();
        let (runs, remarks) = history.list().unwrap();
        assert_eq!(runs.len(), 2, "{remarks:?}");
        assert!(remarks[0].contains("is damaged"), "{remarks:?}");
        assert_eq!(listed(&history), 2);
    };
    other(&|| {
        fs::write(
            &index,
            "no database at all, and long enough to be read as one",
        )
        .unwrap();
    });
    other(&|| {
        // Right at its beginning and nowhere else.
        let mut bytes = whole.clone();
        bytes[200..].fill(0x5a);
        fs::write(&index, bytes).unwrap();
    });
    other(&|| {
        // Somebody else's tables under kvet's version.
        fs::remove_file(&index).unwrap();
        let connection = Connection::open(&index).unwrap();
        connection
            .execute_batch("CREATE TABLE runs (id); PRAGMA user_version = 3;")
            .unwrap();
    });
}

#[test]
fn a_locked_index_is_left_alone_and_history_answers_without() {
    let (home, mut history) = home(2);
    assert_eq!(listed(&history), 2);
    history.patience = std::time::Duration::from_millis(20);
    let holder = Connection::open(history.index_file()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let elsewhere = recorded(&home.path().join("elsewhere"), 30);
    let remarks = history.keep(&elsewhere).unwrap();
    assert!(
        remarks[0].contains("another process has it locked"),
        "{remarks:?}"
    );
    let (runs, remarks) = history.list().unwrap();
    assert_eq!(runs.len(), 3);
    assert!(remarks[0].contains("is left alone"), "{remarks:?}");
    holder.execute_batch("COMMIT").unwrap();
    drop(holder);
    assert_eq!(listed(&history), 3);
}

#[test]
fn an_index_that_cannot_be_written_costs_no_answer() {
    let (home, history) = home(2);
    fs::create_dir_all(history.index_file()).unwrap();
    let (runs, remarks) = history.list().unwrap();
    assert_eq!((runs.len(), remarks.len()), (2, 1), "{remarks:?}");
    // A file where the home should be.
    fs::write(home.path().join("file"), "").unwrap();
    let nowhere = History::at(home.path().join("file/kvet"));
    let (runs, remarks) = nowhere.list().unwrap();
    assert_eq!((runs.len(), remarks.len()), (0, 0), "{remarks:?}");
    let run = recorded(&home.path().join("run"), 1);
    assert!(nowhere.keep(&run).is_err());
}

#[test]
fn a_run_that_cannot_be_read_is_told_of_and_costs_no_other() {
    let (_home, history) = home(1);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in");
    for name in ["version1", "interrupted", "damaged", "tomorrow"] {
        copy(&golden.join(name), &history.runs().join(name));
    }
    let file = history.runs().join("interrupted/run.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut beginning: serde_json::Value = serde_json::from_str(&text).unwrap();
    beginning["started"] = "2026-01-03T00:00:00Z".into();
    fs::write(&file, beginning.to_string()).unwrap();
    let cut = recorded(&history.runs().join("cut"), 20);
    fs::write(cut.join("report.json"), "{\"version\":2,").unwrap();
    let huge = recorded(&history.runs().join("huge"), 21);
    let file = fs::File::create(huge.join("report.json")).unwrap();
    file.set_len(300 << 20).unwrap();
    fs::create_dir_all(history.runs().join("empty")).unwrap();
    fs::create_dir_all(history.summaries()).unwrap();
    fs::write(history.summaries().join("x.json"), "{").unwrap();
    let held = hold(&history.runs().join("interrupted"));
    let (runs, remarks) = history.list().unwrap();
    drop(held);
    let mut left_out: Vec<&str> = remarks
        .iter()
        .map(|remark| remark.split(" is left out").next().unwrap())
        .map(|path| path.rsplit('/').next().unwrap())
        .collect();
    left_out.sort_unstable();
    assert_eq!(
        left_out,
        ["cut", "damaged", "huge", "tomorrow", "x.json"],
        "{remarks:?}"
    );
    let verdicts: Vec<Option<&str>> = runs.iter().map(|run| run.verdict.as_deref()).collect();
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert!(verdicts.contains(&None), "{verdicts:?}");
    let running: Vec<bool> = runs.iter().map(|run| run.running).collect();
    assert_eq!(running, [false, false, true]);
}

#[test]
fn a_run_that_is_judged_again_is_read_again() {
    let (home, history) = home(0);
    let run = recorded(&home.path().join("run"), 1);
    history.keep(&run).unwrap();
    let verdict = || history.list().unwrap().0[0].verdict.clone().unwrap();
    assert_eq!(verdict(), "fixed");
    // A console that is lost tells on the verdict.
    let trial = run.join("arms/fixed/trials");
    fs::remove_dir_all(&trial).unwrap();
    judge_again(&run).unwrap();
    assert_eq!(verdict(), "inconclusive");
}

#[test]
fn runs_are_named_in_several_ways() {
    let (home, history) = home(3);
    let (runs, _) = history.list().unwrap();
    let find = |name: &str| history.find(Path::new(name));
    let last = runs[2].id.as_str();
    assert_eq!(find("latest").unwrap(), history.runs().join(last));
    assert_eq!(find(last).unwrap(), history.runs().join(last));
    let digits = last.rsplit('-').next().unwrap();
    assert_eq!(find(digits).unwrap(), history.runs().join(last));
    assert_eq!(
        find("example-20260102T030402").unwrap(),
        history.runs().join(last)
    );
    assert!(matches!(
        find("example"),
        Err(HistoryError::Ambiguous { count: 3, .. })
    ));
    assert!(matches!(find("nothing"), Err(HistoryError::NoRun(_))));
    let path = home.path().join("some/where");
    assert_eq!(history.find(&path).unwrap(), path);
}

#[test]
fn a_prune_removes_directories_and_forgets_no_run() {
    let (home, history) = home(3);
    let elsewhere = recorded(&home.path().join("elsewhere"), 30);
    history.keep(&elsewhere).unwrap();
    let (runs, _) = history.list().unwrap();
    let busy = PathBuf::from(&runs[0].path);
    let held = hold(&busy);
    let all = Limit {
        keep: Some(std::time::Duration::ZERO),
        max_size: None,
    };
    let pruned = history.prune(None, &all, true).unwrap();
    assert_eq!((pruned.removed.len(), pruned.in_use.len()), (2, 1));
    assert!(Path::new(&runs[1].path).exists());
    let pruned = history.prune(None, &all, false).unwrap();
    assert_eq!(
        (pruned.removed.len(), pruned.in_use),
        (2, vec![busy.clone()])
    );
    assert!(!Path::new(&runs[1].path).exists() && busy.exists() && elsewhere.exists());
    drop(held);
    let least = Limit {
        keep: None,
        max_size: Some(0),
    };
    assert_eq!(history.prune(None, &least, false).unwrap().left, 0);
    let (runs, remarks) = history.list().unwrap();
    assert_eq!((runs.len(), remarks.len()), (4, 0), "{remarks:?}");
    let gone: Vec<bool> = runs.iter().map(|run| run.gone).collect();
    assert_eq!(gone, [true, true, true, false]);
}

#[test]
fn in_a_place_of_the_user_s_a_prune_removes_records_alone() {
    let (home, history) = home(0);
    let place = home.path().join("nightly");
    let old = recorded(&place.join("job-20200101T000000Z"), 5);
    let young = recorded(&place.join("job-20260102T000000Z"), 6);
    // Not a run: whatever it is, it is somebody's.
    let notes = place.join("notes");
    fs::create_dir_all(&notes).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for directory in [&old, &notes] {
        let directory = fs::File::open(directory).unwrap();
        directory.set_modified(long_ago).unwrap();
    }
    let limit = Limit {
        keep: Some(Duration::from_secs(30 * 86400)),
        max_size: None,
    };
    let pruned = history.prune(Some(&place), &limit, false).unwrap();
    assert_eq!(pruned.removed.len(), 1);
    assert!(!old.exists() && young.exists() && notes.exists());
    // What the old one came to is still known.
    let (runs, _) = history.list().unwrap();
    let known: Vec<(&str, bool)> = runs
        .iter()
        .map(|run| (run.verdict.as_deref().unwrap_or_default(), run.gone))
        .collect();
    assert_eq!(known, [("fixed", true)]);
}

#[test]
fn a_bisection_has_an_answer_and_counts_as_no_run() {
    let (home, history) = home(2);
    let bisection = home.path().join("bisection");
    let of = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bisection");
    copy(&of, &bisection);
    let beginning = home.path().join("elsewhere");
    let beginning = recorded(&beginning, 30).join("run.json");
    fs::copy(beginning, bisection.join("run.json")).unwrap();
    history.keep(&bisection).unwrap();
    let job = history.job("example").unwrap().0.unwrap();
    assert_eq!((job.runs.len(), job.verdicts["fixed"]), (3, 2));
    let last = &job.runs[2];
    assert!(last.bisection && last.verdict.is_none());
    assert_eq!(last.trials, 10);
    let answer = last.answer.as_deref().unwrap();
    assert!(answer.contains("0003-ceph-don-t-evict"), "{answer}");
    assert!(
        answer.ends_with("cured INFO: task hung in evict (97 %)"),
        "{answer}"
    );
    assert_eq!(history.find(Path::new("latest")).unwrap(), bisection);
    // Before its end there is no answer; when it comes, it is seen.
    fs::rename(bisection.join("bisection.json"), home.path().join("answer")).unwrap();
    let job = history.job("example").unwrap().0.unwrap();
    assert_eq!((job.runs[2].bisection, &job.runs[2].answer), (true, &None));
    fs::rename(home.path().join("answer"), bisection.join("bisection.json")).unwrap();
    let job = history.job("example").unwrap().0.unwrap();
    assert!(job.runs[2].answer.is_some());
}

#[test]
fn a_run_is_told_what_the_runs_before_had_shown() {
    let (_home, history) = home(2);
    let (runs, _) = history.list().unwrap();
    let (_, beginning) = Record::open(Path::new(&runs[0].path)).unwrap();
    let mut plan = beginning.plan;
    plan.known =
        serde_yaml::from_str("[{ title: '*hung in evict', reason: r }, { title: x, reason: r }]")
            .unwrap();
    let (past, remarks) = history.past(&plan).unwrap();
    assert_eq!(remarks, [""; 0]);
    assert_eq!(past.known.len(), 2);
    let stream = &past.known[0][0];
    // Twice 3 of 3, and the 3 of the fix after them.
    assert_eq!((stream.hits, stream.trials + stream.since), (6, 12));
    assert!(past.known[1].is_empty());
    assert!(
        past.expected.trials.contains_key("stock/example"),
        "{:?}",
        past.expected
    );
    plan.name = "another".to_owned();
    let (past, _) = history.past(&plan).unwrap();
    assert_eq!(past.expected, Expected::default());
    assert_eq!(past.known, [Vec::new(), Vec::new()]);
}

/// As many processes would: each has a connection of its own.
#[test]
fn several_writers_at_once_lose_nothing() {
    let (home, history) = home(0);
    let run = recorded(&home.path().join("run"), 1);
    let summary = read(&run).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (history, summary) = (history.clone(), summary.clone());
            scope.spawn(move || {
                for number in 0..10 {
                    let mut summary = summary.clone();
                    summary.id = format!("example-{writer}-{number}");
                    let mut remarks = Vec::new();
                    history.keep_summary(&summary).unwrap();
                    let put = history.with_index(&mut remarks, |index| index.put(&summary));
                    assert!(put.is_some() && remarks.is_empty(), "{remarks:?}");
                }
            });
        }
    });
    let (runs, remarks) = history.list().unwrap();
    assert_eq!((runs.len(), remarks.len()), (40, 0));
    let (job, _) = history.job("example").unwrap();
    assert_eq!(job.unwrap().arms[0].target.trials, 120);
}

/// A place for `--out` that serves for one run after the other.
#[test]
fn a_run_whose_directory_is_another_s_by_now_is_gone() {
    let (home, history) = home(0);
    let place = home.path().join("out");
    history.keep(&recorded(&place, 1)).unwrap();
    fs::remove_dir_all(&place).unwrap();
    history.keep(&recorded(&place, 2)).unwrap();
    let (runs, _) = history.list().unwrap();
    let job = history.job("example").unwrap().0.unwrap();
    for runs in [&runs, &job.runs] {
        let gone: Vec<bool> = runs.iter().map(|run| run.gone).collect();
        assert_eq!(gone, [true, false]);
    }
    let find = |run: &Run| history.find(Path::new(&run.id));
    assert_eq!(find(&runs[1]).unwrap(), place);
    let found = find(&runs[0]);
    assert!(matches!(found, Err(HistoryError::Gone { .. })), "{found:?}");
    // What is no record any more is for whoever reads it to complain of.
    fs::write(place.join("run.json"), "{").unwrap();
    assert_eq!(find(&runs[1]).unwrap(), place);
}

#[test]
fn a_run_that_goes_on_after_it_was_listed_is_read_again() {
    let (home, history) = home(1);
    let run = children(&history.runs()).unwrap().remove(0);
    fs::remove_file(run.join("report.json")).unwrap();
    let (trials, later) = (run.join("arms/fixed/trials"), home.path().join("later"));
    fs::rename(&trials, &later).unwrap();
    let listed = || history.list().unwrap().0[0].trials;
    assert_eq!(listed(), 3);
    // Then it was killed: no report says that it is over.
    fs::rename(&later, &trials).unwrap();
    fs::write(run.join("events.jsonl"), "{\"trial_finished\":{}}\n").unwrap();
    assert_eq!(listed(), 6);
}

/// It is several files, and who has it open would go on with some of the old ones.
#[test]
fn an_index_that_is_open_is_not_removed() {
    let (_home, mut history) = home(1);
    assert_eq!(listed(&history), 1);
    history.patience = Duration::ZERO;
    let number = || fs::metadata(history.index_file()).unwrap().ino();
    let before = number();
    let open = history.use_index().unwrap().unwrap();
    let (count, remarks) = history.rebuild().unwrap();
    assert!(remarks[0].contains("stays as it is"), "{remarks:?}");
    assert_eq!((count, remarks.len(), number()), (1, 1, before));
    drop(open);
    // A name in between, or the number could be the same again.
    fs::hard_link(
        history.index_file(),
        history.index_file().with_extension("old"),
    )
    .unwrap();
    assert_eq!(history.rebuild().unwrap().1.len(), 0);
    assert_ne!(number(), before);
}

#[test]
fn a_record_whose_summary_cannot_be_kept_is_not_removed() {
    let (home, history) = home(1);
    let own = children(&history.runs()).unwrap().remove(0);
    let place = home.path().join("nightly");
    let there = recorded(&place.join("job"), 5);
    fs::write(history.summaries(), "something in its place").unwrap();
    let all = Limit {
        keep: Some(Duration::ZERO),
        max_size: None,
    };
    for (place, run) in [(None, &own), (Some(&*place), &there)] {
        let pruned = history.prune(place, &all, false).unwrap();
        assert!(run.exists() && pruned.removed.is_empty());
        assert_eq!(pruned.left_alone[0].0, *run);
    }
    fs::remove_file(history.summaries()).unwrap();
    // One that cannot be read has none to be kept.
    fs::write(own.join("run.json"), "{").unwrap();
    for place in [None, Some(&*place)] {
        let pruned = history.prune(place, &all, false).unwrap();
        assert_eq!((pruned.removed.len(), pruned.left_alone.len()), (1, 0));
    }
    assert_eq!(history.rebuild().unwrap().0, 1);
}

#[test]
fn a_run_that_was_interrupted_does_not_tell_how_long_a_run_takes() {
    let (_home, history) = home(3);
    let took = |run: &Path, seconds: f64| {
        let file = run.join("report.json");
        let text = fs::read_to_string(&file).unwrap();
        let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
        report["seconds"] = seconds.into();
        fs::write(&file, report.to_string()).unwrap();
    };
    let runs = children(&history.runs()).unwrap();
    took(&runs[0], 600.0);
    // What these had obtained when somebody ended them was judged.
    for run in &runs[1..] {
        fs::remove_dir_all(run.join("arms/fixed/trials/example/3")).unwrap();
        judge_again(run).unwrap();
        took(run, 5.0);
    }
    let (_, beginning) = Record::open(&runs[0]).unwrap();
    let (past, _) = history.past(&beginning.plan).unwrap();
    assert_eq!(past.expected.run, Some(600.0));
}

/// A record that somebody killed a prune in the middle of says less than it did.
#[test]
fn what_a_killed_prune_left_is_no_run_and_goes_the_next_time() {
    let (home, history) = home(1);
    assert_eq!(listed(&history), 1);
    let place = home.path().join("nightly");
    let run = children(&history.runs()).unwrap().remove(0);
    let left = [&history.runs(), &place].map(|place| place.join(".kvet-removed-run"));
    for left in &left {
        copy(&run, left);
        fs::remove_dir_all(left.join("arms/fixed")).unwrap();
        fs::remove_file(left.join("report.json")).unwrap();
    }
    let verdict = || history.list().unwrap().0[0].verdict.clone();
    assert_eq!((listed(&history), verdict().as_deref()), (1, Some("fixed")));
    let none = Limit {
        keep: None,
        max_size: None,
    };
    for (place, left) in [None, Some(&*place)].into_iter().zip(&left) {
        history.prune(place, &none, true).unwrap();
        assert!(left.exists());
        history.prune(place, &none, false).unwrap();
        assert!(!left.exists() && run.exists());
    }
    assert_eq!((listed(&history), verdict().as_deref()), (1, Some("fixed")));
}
