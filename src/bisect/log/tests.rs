//! Logs that are replayed, torn, damaged and corrected.

use super::*;
use crate::bisect::candidates::Candidates;

fn begun(count: usize) -> Begun {
    let names = (0..count).map(|number| format!("{number:040}"));
    Begun {
        version: VERSION,
        job: "job.yaml".into(),
        arm: "stock".to_owned(),
        workload: "w".to_owned(),
        good: "f".repeat(40),
        bad: format!("{:040}", count - 1),
        fixed: false,
        any: false,
        every_boot: false,
        first_parent: false,
        confidence: 0.95,
        source: Source::Git {
            repository: "/linux".into(),
        },
        candidates: Candidates::linear(Kind::Git, "f".repeat(40), names),
        carried: Carried::default(),
        paths: Vec::new(),
        merge_bases: Vec::new(),
        variations: Vec::new(),
    }
}

fn boot(candidate: Option<usize>, hit: bool) -> Entry {
    Entry::Boot {
        candidate: candidate.map(|number| format!("{number:040}")),
        base: 0,
        hit,
        reason: "INFO: task hung".to_owned(),
        trial: "trials/1".into(),
        seconds: 10.0,
    }
}

fn search_to_the_end(log: &mut Log, state: &mut State, culprit: usize) -> u32 {
    let mut boots = 0;
    while state.search.answer(0.95) == super::super::search::Answer::Open {
        let point = state.search.next().unwrap();
        let (number, hit) = match point {
            Point::Base => (None, false),
            Point::Candidate(number) => (Some(number), number >= culprit),
        };
        log.add(state, boot(number, hit)).unwrap();
        boots += 1;
    }
    boots
}

#[test]
fn what_was_killed_at_any_point_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(32)).unwrap();
    let boots = search_to_the_end(&mut log, &mut state, 20);
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    let lines: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] == b'\n').collect();
    for (done, &end) in lines.iter().enumerate() {
        // The line after the last whole one was being written.
        for torn in [0, 5] {
            std::fs::write(&path, &whole[..(end + 1 + torn).min(whole.len())]).unwrap();
            let (mut log, mut state) = Log::open(&path).unwrap();
            assert_eq!(usize::try_from(state.boots).unwrap(), done);
            search_to_the_end(&mut log, &mut state, 20);
            assert_eq!(state.boots, boots);
        }
    }
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_full_disk_loses_nothing_that_was_seen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(8)).unwrap();
    log.add(&mut state, boot(Some(7), true)).unwrap();
    let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
    drop(log);
    let mut full = Log {
        path: path.clone(),
        file: LockedFile::take(file).unwrap().unwrap(),
        torn: false,
    };
    let error = full.add(&mut state, boot(None, false)).unwrap_err();
    assert!(error.to_string().contains("cannot write to"), "{error}");
    assert!(error.help().unwrap().to_string().contains("not full"));
    assert_eq!(state.boots, 1, "what is not on disk was not seen");
    drop(full);
    let (_, again) = Log::open(&path).unwrap();
    assert_eq!(again.boots, 1);
}

#[test]
fn what_the_search_believed_is_kept_step_by_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(8)).unwrap();
    search_to_the_end(&mut log, &mut state, 5);
    let boots = usize::try_from(state.boots).unwrap();
    assert_eq!(state.steps.len(), boots);
    assert_eq!(state.steps[0].saw, "hit");
    let last = state.steps.last().unwrap();
    assert_eq!(last.likeliest[0].0, format!("{:040}", 5));
    assert!(last.likeliest[0].1 >= 0.95 && last.left == 1);
    drop(log);
    assert_eq!(Log::open(&path).unwrap().1.steps, state.steps);
}

#[test]
fn early_logs_do_not_say_whose_table_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(32)).unwrap();
    search_to_the_end(&mut log, &mut state, 20);
    drop(log);
    let mut text = std::fs::read_to_string(&path).unwrap();
    // The first of them speak against the culprit.
    for hit in [false, false, false, true, true] {
        let entry = serde_json::json!({
            "entry": "confirmed", "row": "culprit", "hit": hit, "trial": "t",
        });
        text.extend([entry.to_string(), "\n".to_owned()]);
    }
    std::fs::write(&path, text).unwrap();
    let (_, state) = Log::open(&path).unwrap();
    let row = &state.confirmed[&(20, "culprit".to_owned())];
    assert_eq!((row.counts.hits, row.counts.boots), (2, 5));
    assert!(row.titles.is_empty(), "{:?}", row.titles);
    assert_eq!(state.confirmed.len(), 1);
}

#[test]
fn corrections_change_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(16)).unwrap();
    let name = format!("{:040}", 7);
    let word = Entry::Word {
        candidate: name.clone(),
        bad: false,
    };
    log.add(&mut state, word).unwrap();
    assert!(state.search.probability(7) == 0.0 && state.search.probability(8) > 0.0);
    let skip = Entry::Skipped {
        candidate: format!("{:040}", 11),
        reason: "does not build".to_owned(),
        mute: false,
    };
    log.add(&mut state, skip).unwrap();
    let forgotten = Entry::Forgotten {
        candidate: Some(name),
    };
    log.add(&mut state, forgotten).unwrap();
    let error = Log::open(&path).unwrap_err();
    assert!(error.to_string().contains("another kvet"), "{error}");
    drop(log);
    let (_, state) = Log::open(&path).unwrap();
    assert!(state.search.probability(7) > 0.0);
    assert_eq!(state.skipped.len(), 1);
}

#[test]
fn damaged_logs_name_the_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (log, _) = Log::create(&path, begun(4)).unwrap();
    drop(log);
    let begin = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{begin}{{\"entry\":\"boot\"}}\n")).unwrap();
    let error = Log::open(&path).unwrap_err();
    assert!(error.to_string().contains("log.jsonl:2:"), "{error}");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(Log::open(&path), Err(LogError::NoBeginning(_))));
    let later = begin.replace("\"version\":1", "\"version\":2");
    std::fs::write(&path, later).unwrap();
    let error = Log::open(&path).unwrap_err();
    assert!(error.to_string().contains("of version 2"), "{error}");
}

#[test]
fn git_s_own_log_has_what_is_sure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(8)).unwrap();
    search_to_the_end(&mut log, &mut state, 5);
    let skip = Entry::Skipped {
        candidate: format!("{:040}", 1),
        reason: "does not build".to_owned(),
        mute: false,
    };
    log.add(&mut state, skip).unwrap();
    let text = state.git_log(|id| format!("subject of {}", &id[38..]));
    assert!(text.starts_with(&format!("# bad: [{:040}] subject of 07\n", 7)));
    assert!(text.contains(&format!(
        "git bisect start '{:040}' '{}'\n",
        7,
        "f".repeat(40)
    )));
    assert!(text.contains(&format!("git bisect bad {:040}\n", 5)));
    assert!(text.contains(&format!("git bisect good {:040}\n", 4)));
    assert!(text.contains(&format!("git bisect skip {:040}\n", 1)));
}

#[test]
fn nothing_is_written_after_a_line_that_was_not_written_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (log, mut state) = Log::create(&path, begun(8)).unwrap();
    drop(log);
    // A pipe that nobody reads takes the beginning of a long line.
    let (mut reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK)
        .map(|(reader, writer)| (File::from(reader), File::from(writer)))
        .unwrap();
    let mut log = Log {
        path,
        file: LockedFile::take(writer).unwrap().unwrap(),
        torn: false,
    };
    let big = Entry::Other {
        candidate: None,
        title: "x".repeat(1 << 20),
    };
    assert!(log.add(&mut state, big).is_err());
    let mut begun = vec![0; 1 << 20];
    assert!(reader.read(&mut begun).unwrap() > 0);
    let error = log.add(&mut state, boot(Some(7), true)).unwrap_err();
    assert!(error.to_string().contains("cannot write to"), "{error}");
    assert!(reader.read(&mut begun).is_err(), "nothing more is there");
    assert_eq!(state.boots, 0);
}

#[test]
fn what_shows_the_bug_is_not_good_in_git_s_log_where_all_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(8)).unwrap();
    for candidate in [Some(7), Some(3), None, None, None].repeat(3) {
        log.add(&mut state, boot(candidate, true)).unwrap();
    }
    assert!(matches!(state.search.answer(0.95), Answer::None { .. }));
    let text = state.git_log(|_| String::new());
    assert!(!text.contains("git bisect good"), "{text}");
    assert!(text.contains(&format!("# open: [{:040}]", 3)), "{text}");
}

#[test]
fn the_target_is_called_as_it_was_seen_most_often() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let (mut log, mut state) = Log::create(&path, begun(8)).unwrap();
    assert_eq!(state.target(), None);
    for (title, wanted) in [
        ("WARNING in a", "WARNING in a"),
        ("INFO: b", "WARNING in a"),
        ("INFO: b", "INFO: b"),
    ] {
        let mut hit = boot(Some(7), true);
        if let Entry::Boot { reason, .. } = &mut hit {
            title.clone_into(reason);
        }
        log.add(&mut state, hit).unwrap();
        assert_eq!(state.target(), Some(wanted));
    }
}
