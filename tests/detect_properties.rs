//! Properties of the detector that no single log shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use kvet::detect::{Finding, Scanner, Sighting, scan};
use proptest::prelude::*;

fn fixtures() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect");
    let mut logs: Vec<Vec<u8>> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    logs.sort();
    logs
}

fn in_chunks(log: &[u8], cuts: &[usize]) -> Vec<Finding> {
    let mut scanner = Scanner::new();
    let mut sightings = Vec::new();
    let mut from = 0;
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (log.len() + 1)).collect();
    cuts.sort_unstable();
    for cut in cuts {
        sightings.extend(scanner.push(&log[from..cut]));
        from = cut;
    }
    sightings.extend(scanner.push(&log[from..]));
    sightings.extend(scanner.end());
    sightings
        .into_iter()
        .filter_map(|sighting| match sighting {
            Sighting::Complete(finding) => Some(*finding),
            Sighting::Begun { .. } => None,
        })
        .collect()
}

/// A report of a task of its own, every line with its caller.
fn report(pid: u32, function: &str) -> Vec<String> {
    [
        "------------[ cut here ]------------".to_owned(),
        format!("WARNING: CPU: 0 PID: {pid} at fs/kvet/{function}.c:73 {function}+0x2d/0x80"),
        format!("CPU: 0 PID: {pid} Comm: task{pid} Not tainted 6.12.117 #1"),
        format!("RIP: 0010:{function}+0x2d/0x80"),
        "Call Trace:".to_owned(),
        " <TASK>".to_owned(),
        format!(" {function}_read+0x10/0x20"),
        " vfs_read+0x10/0x20".to_owned(),
        " do_syscall_64+0x10/0x20".to_owned(),
        " entry_SYSCALL_64_after_hwframe+0x76/0x7e".to_owned(),
        " </TASK>".to_owned(),
        "---[ end trace 0000000000000000 ]---".to_owned(),
    ]
    .into_iter()
    .map(|line| format!("[{pid}][ T{pid}] {line}"))
    .collect()
}

/// Interleaves the reports as `turns` says and stamps the lines.
fn interleaved(one: &[String], two: &[String], turns: &[bool]) -> String {
    let (mut one, mut two) = (one.iter(), two.iter());
    let mut turns = turns.iter().cycle();
    let mut log = String::new();
    let mut clock = 0;
    loop {
        let next = if *turns.next().unwrap() {
            one.next().or_else(|| two.next())
        } else {
            two.next().or_else(|| one.next())
        };
        let Some(line) = next else { return log };
        let (_, rest) = line.split_once(']').unwrap();
        clock += 1;
        writeln!(log, "[  100.{clock:06}]{rest}").unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = scan(&bytes);
    }

    #[test]
    fn no_shuffle_of_real_lines_makes_it_panic(
        which in any::<prop::sample::Index>(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..200), 0..200),
    ) {
        let logs = fixtures();
        let log = &logs[which.index(logs.len())];
        let lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
        let mut text = Vec::new();
        for (pick, length) in picks {
            let line = lines[pick.index(lines.len())];
            text.extend_from_slice(&line[..line.len().min(length)]);
            text.push(b'\n');
        }
        let _ = scan(&text);
    }

    #[test]
    fn chunks_cut_anywhere_give_the_same_findings(
        which in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
    ) {
        let logs = fixtures();
        let log = &logs[which.index(logs.len())];
        prop_assert_eq!(in_chunks(log, &cuts), scan(log));
    }

    #[test]
    fn interleaved_reports_are_both_whole(turns in proptest::collection::vec(any::<bool>(), 1..24)) {
        let log = interleaved(&report(501, "kvet_one"), &report(502, "kvet_two"), &turns);
        let mut found: Vec<(String, bool)> = scan(log.as_bytes())
            .into_iter()
            .map(|finding| (finding.title, finding.damaged))
            .collect();
        found.sort();
        prop_assert_eq!(found, vec![
            ("WARNING in kvet_one".to_owned(), false),
            ("WARNING in kvet_two".to_owned(), false),
        ]);
    }
}

#[test]
fn a_finding_is_told_of_at_its_first_line() {
    let log = &report(501, "kvet_one").join("\n");
    let first: String = log
        .lines()
        .take(2)
        .fold(String::new(), |text, line| text + line + "\n");
    let mut scanner = Scanner::new();
    let sightings = scanner.push(first.as_bytes());
    assert!(
        matches!(&sightings[..], [Sighting::Begun { title, .. }] if title == "WARNING in kvet_one"),
        "{sightings:?}"
    );
    assert!(scanner.is_open());
    assert_eq!(scanner.settle().len(), 1);
    assert!(!scanner.is_open());
}

/// Whoever writes to a console writes between the characters of a message, too.
#[test]
fn what_a_terminal_obeys_hides_no_message_wherever_it_stands() {
    let message = "kernel BUG at fs/inode.c:1234!";
    for hidden in [
        "\0",
        "\u{1}",
        "\u{7}",
        "\u{8}",
        "\u{b}",
        "\r",
        "\u{7f}",
        "\u{1b}[31m",
        "\u{1b}[8m",
    ] {
        for at in 0..message.len() {
            let (before, after) = message.split_at(at);
            let log =
                format!("[    1.0] quiet\n[    2.000000] {before}{hidden}{after}\n[    2.1] x\n");
            let found = scan(log.as_bytes());
            assert_eq!(found.len(), 1, "{log:?}");
            assert_eq!(found[0].class.name(), "kernel_bug", "{log:?}");
            assert_eq!(found[0].first_line, 2, "{log:?}");
        }
    }
}

#[test]
fn byte_by_byte_is_the_same_as_at_once() {
    for log in fixtures() {
        let short = &log[..log.len().min(8192)];
        let cuts: Vec<usize> = (0..short.len()).collect();
        assert_eq!(in_chunks(short, &cuts), scan(short));
    }
}

#[test]
fn a_job_may_add_a_message_of_its_own() {
    let rule = serde_yaml::from_str("{message: 'kvet: * went wrong', title: my trouble}").unwrap();
    let log = b"[    1.000000] kvet: all is well\n[    2.000000] kvet: disk 7 went wrong\n";
    assert!(scan(log).is_empty());
    let mut scanner = Scanner::with_rules(vec![rule]);
    let mut found = scanner.push(log);
    found.extend(scanner.end());
    let titles: Vec<&str> = found
        .iter()
        .filter_map(|sighting| match sighting {
            Sighting::Complete(finding) => Some(finding.title.as_str()),
            Sighting::Begun { .. } => None,
        })
        .collect();
    assert_eq!(titles, ["my trouble"]);
}

#[test]
fn each_check_for_hung_tasks_is_told_when_the_next_one_comes() {
    let check = |second: u32| {
        format!(
            "[ {second:4}.000001] INFO: task a:1 blocked for more than 5 seconds.\n\
             [ {second:4}.000002] Call Trace:\n\
             [ {second:4}.000003]  schedule+0x1/0x2\n\
             [ {second:4}.000004]  kvet_wait_here+0x1/0x2\n\
             [ {second:4}.000005]  do_syscall_64+0x1/0x2\n"
        )
    };
    let complete = |sightings: &[Sighting]| {
        let whole = |sighting: &&Sighting| matches!(sighting, Sighting::Complete(_));
        sightings.iter().filter(whole).count()
    };
    let mut scanner = Scanner::new();
    assert_eq!(complete(&scanner.push(check(10).as_bytes())), 0);
    assert_eq!(complete(&scanner.push(check(15).as_bytes())), 1);
    assert_eq!(complete(&scanner.end()), 1);
}

/// A banner in the middle of a line is none, wherever the log is cut.
#[test]
fn a_mention_of_a_banner_is_read_alike_however_the_log_is_cut() {
    let log = "they quoted: Linux version 6.12.0 (a@b)\n\
               [   12.000000] systemd[1]: hello\n\
               [    0.000000] Linux version 6.12.0 (a@b) #1 SMP\n\
               [    1.000000] Run /init as init process\n";
    let whole = kvet::detect::scan(log.as_bytes());
    for cut in 0..log.len() {
        let mut scanner = kvet::detect::Scanner::new();
        let mut titles: Vec<String> = Vec::new();
        let mut sightings = scanner.push(&log.as_bytes()[..cut]);
        sightings.extend(scanner.push(&log.as_bytes()[cut..]));
        sightings.extend(scanner.end());
        for sighting in sightings {
            if let kvet::detect::Sighting::Complete(finding) = sighting {
                titles.push(finding.title.clone());
            }
        }
        let wanted: Vec<String> = whole.iter().map(|found| found.title.clone()).collect();
        assert_eq!(titles, wanted, "cut at {cut}");
    }
}
