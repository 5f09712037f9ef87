//! `kvet scan` on good and on bad input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kvet::cli::scan::{Format, Remark, ScanArgs, scan};
use kvet::detect::Pattern;
use kvet::{Error, Exit};
use object::{Object, ObjectSymbol};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/detect")
        .join(name)
}

struct Answer {
    result: Result<Exit, Error>,
    out: String,
    complaints: Vec<String>,
    notes: Vec<String>,
}

fn run(files: &[PathBuf], format: Format) -> Answer {
    let mut out = Vec::new();
    let mut complaints = Vec::new();
    let mut notes = Vec::new();
    let arguments = ScanArgs {
        files: files.to_vec(),
        format,
        corpus: None,
        vmlinux: None,
        tree: None,
        mute: Vec::new(),
    };
    let result = scan(&arguments, &mut out, &mut |remark| match remark {
        Remark::Failure(error) => complaints.push(error.one_line()),
        Remark::Note(text) => notes.push(text),
    });
    Answer {
        result,
        out: String::from_utf8(out).unwrap(),
        complaints,
        notes,
    }
}

#[test]
fn findings_exit_bad_and_clean_logs_good() {
    let answer = run(&[fixture("clean_boot_7.3.log")], Format::Json);
    assert_eq!((answer.result.unwrap(), &*answer.out), (Exit::Good, ""));
    let answer = run(&[fixture("busy_inodes.log")], Format::Json);
    assert_eq!(answer.result.unwrap(), Exit::Bad);
    let lines: Vec<serde_json::Value> = answer
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    for key in [
        "file",
        "class",
        "title",
        "signature",
        "damaged",
        "first_line",
        "last_line",
        "frames",
        "task",
        "cpu",
        "time",
    ] {
        assert!(
            lines[0].get(key).is_some(),
            "{key} is missing in {}",
            lines[0]
        );
    }
    assert_eq!(lines[0]["class"], "busy_inodes");
}

#[test]
fn what_a_log_does_not_tell_is_null() {
    let answer = run(&[fixture("ceph_umount_timed_out_7.3.log")], Format::Json);
    let line: serde_json::Value = serde_json::from_str(answer.out.trim()).unwrap();
    assert_eq!(line["time"], 9.883_015);
    for key in ["task", "cpu"] {
        assert_eq!(
            line.get(key),
            Some(&serde_json::Value::Null),
            "{key} in {line}"
        );
    }
    assert_eq!(line["frames"], serde_json::json!([]));
}

#[test]
fn people_get_title_task_and_stack() {
    let answer = run(&[fixture("lock_cycle_of_two_tasks.log")], Format::Human);
    assert!(
        answer.out.contains("INFO: task hung in lock_rename"),
        "{}",
        answer.out
    );
    assert!(answer.out.contains("task renamer:710"), "{}", answer.out);
    assert!(
        answer.out.contains("waits for unlinker:711"),
        "{}",
        answer.out
    );
}

#[test]
fn an_empty_file_is_a_log_without_findings_and_said_to_be_empty() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, b"").unwrap();
    let answer = run(&[empty], Format::Json);
    assert_eq!(answer.result.unwrap(), Exit::Good);
    assert!(answer.notes[0].ends_with("is empty: nothing was scanned"));
}

#[test]
fn what_cannot_be_scanned_is_named_and_the_rest_is_scanned() {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("binary");
    fs::write(&binary, [0_u8, 1, 2, 3, 4, 5].repeat(1000)).unwrap();
    // As even as what a compressor writes.
    let compressed = directory.path().join("compressed");
    let bytes: Vec<u8> = (0..40_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(&compressed, bytes).unwrap();
    let files = [
        directory.path().to_owned(),
        binary,
        compressed,
        directory.path().join("absent"),
        fixture("busy_inodes.log"),
    ];
    let answer = run(&files, Format::Json);
    let error = answer.result.unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert_eq!(error.one_line(), "4 of 5 files could not be scanned");
    assert!(answer.out.contains("Busy inodes"), "{}", answer.out);
    assert_eq!(answer.complaints.len(), 4);
    assert!(
        answer.complaints[0].ends_with("is a directory, not a log"),
        "{:?}",
        answer.complaints
    );
    assert!(
        answer.complaints[1].contains("binary data"),
        "{:?}",
        answer.complaints
    );
    assert!(
        answer.complaints[2].contains("binary data"),
        "{:?}",
        answer.complaints
    );
    assert!(
        answer.complaints[3].contains("cannot read"),
        "{:?}",
        answer.complaints
    );
}

/// A log may be a hostile guest's, and a terminal obeys U+009B as well.
#[test]
fn people_get_no_control_characters_out_of_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let line = "[    1.000000] Kernel panic - not syncing: a\u{7}b\u{9b}31mc\u{8}d\n";
    fs::write(&log, line).unwrap();
    let answer = run(&[log], Format::Human);
    assert!(answer.out.contains("kernel panic: a"), "{}", answer.out);
    let mut shown = answer.out.chars().filter(|c| *c != '\n');
    assert!(!shown.any(char::is_control), "{:?}", answer.out);
}

#[test]
fn one_bad_file_is_told_by_its_own_error() {
    let answer = run(&[PathBuf::from("/")], Format::Json);
    assert_eq!(
        answer.result.unwrap_err().one_line(),
        "/ is a directory, not a log"
    );
    assert!(answer.complaints.is_empty());
}

#[test]
fn a_corpus_is_answered_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = directory.path().join("corpus.jsonl");
    let log = fs::read_to_string(fixture("busy_inodes.log")).unwrap();
    let cases = [
        serde_json::json!({"id": "a", "log": log, "title": "ignored"}),
        serde_json::json!({"id": "b", "log": "nothing here"}),
    ];
    fs::write(&corpus, format!("{}\n{}\n", cases[0], cases[1])).unwrap();
    let mut out = Vec::new();
    let arguments = ScanArgs {
        files: Vec::new(),
        format: Format::Json,
        corpus: Some(corpus.clone()),
        vmlinux: None,
        tree: None,
        mute: Vec::new(),
    };
    let exit = scan(&arguments, &mut out, &mut |_| {}).unwrap();
    assert_eq!(exit, Exit::Bad);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"id\":\"a\",\"detect\":true,\"cls\":\"busy_inodes\",\"title\":\"VFS: Busy inodes after unmount (use-after-free)\",\"corrupted\":false}\n\
         {\"id\":\"b\",\"detect\":false,\"cls\":\"none\",\"title\":\"\",\"corrupted\":false}\n"
    );
    fs::write(&corpus, "{\"id\": \"a\"}\n").unwrap();
    let mut told = String::new();
    let error = scan(&arguments, &mut Vec::new(), &mut |remark| {
        if let Remark::Failure(error) = remark {
            told.push_str(&error.one_line());
        }
    });
    assert!(told.contains("corpus.jsonl:1: not a case"), "{told}");
    let error = error.unwrap_err().one_line();
    assert!(error.contains("1 of 1 lines are not cases"), "{error}");
}

#[test]
fn muted_titles_are_passed_over() {
    for (pattern, exit) in [
        ("*Busy inodes*", Exit::Good),
        ("/(?i)BUSY inodes/", Exit::Good),
        ("busy", Exit::Bad),
    ] {
        let mut out = Vec::new();
        let arguments = ScanArgs {
            files: vec![fixture("busy_inodes.log")],
            format: Format::Json,
            corpus: None,
            vmlinux: None,
            tree: None,
            mute: vec![Pattern::try_from(pattern.to_owned()).unwrap()],
        };
        let found = scan(&arguments, &mut out, &mut |_| {}).unwrap();
        assert_eq!(found, exit, "{pattern}");
        assert_eq!(out.is_empty(), exit == Exit::Good);
    }
}

#[test]
fn with_an_image_frames_are_shown_with_their_source() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let source = "volatile int sink;\n__attribute__((noinline)) int umbrella(int value)\n{\n\tsink = value;\n\treturn sink;\n}\nint main(void)\n{\n\treturn umbrella(3);\n}\n";
    fs::write(at("umbrella.c"), source).unwrap();
    let status = Command::new("gcc")
        .args(["-g", "-O1", "-no-pie", "-o", "vmlinux", "umbrella.c"])
        .current_dir(directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let image = fs::read(at("vmlinux")).unwrap();
    let image = object::File::parse(&*image).unwrap();
    let size = image
        .symbols()
        .find(|symbol| symbol.name() == Ok("umbrella"))
        .unwrap()
        .size();
    let log = format!(
        "[    5.000000] WARNING: CPU: 0 PID: 7 at umbrella.c:4 umbrella+0x0/{size:#x}\n[    5.000001] Call Trace:\n[    5.000002]  <TASK>\n[    5.000003]  umbrella+0x0/{size:#x}\n[    5.000004]  </TASK>\n"
    );
    fs::write(at("log"), log).unwrap();
    let run = |format| {
        let mut out = Vec::new();
        let arguments = ScanArgs {
            files: vec![at("log")],
            format,
            corpus: None,
            vmlinux: Some(at("vmlinux")),
            tree: Some(directory.path().to_owned()),
            mute: Vec::new(),
        };
        scan(&arguments, &mut out, &mut |_| {}).unwrap();
        String::from_utf8(out).unwrap()
    };
    let human = run(Format::Human);
    assert!(human.contains("umbrella at umbrella.c:"), "{human}");
    assert!(human.contains("        "), "{human}");
    let json: serde_json::Value = serde_json::from_str(&run(Format::Json)).unwrap();
    let place = json["frames"][0]["place"].as_str().unwrap();
    assert!(place.starts_with("umbrella.c:"), "{place}");
}

#[test]
fn an_image_that_cannot_be_read_ends_the_scan_before_it_begins() {
    let arguments = ScanArgs {
        files: vec![fixture("busy_inodes.log")],
        format: Format::Json,
        corpus: None,
        vmlinux: Some("/nowhere/vmlinux".into()),
        tree: None,
        mute: Vec::new(),
    };
    let mut out = Vec::new();
    let error = scan(&arguments, &mut out, &mut |_| {}).unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(out.is_empty());
}

fn scan_text(bytes: &[u8], format: Format) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, bytes).unwrap();
    run(&[path], format)
}

/// A stall as its prefix comes, `second` seconds after boot.
fn lockup(second: u32) -> String {
    format!(
        "[{second:5}.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [worker:321]\n\
         [{second:5}.000002] CPU: 1 PID: 321 Comm: worker Not tainted 6.12.0 #1\n\
         [{second:5}.000003] RIP: 0010:frob_spin+0x1/0x2\n\
         [{second:5}.000004] Call Trace:\n\
         [{second:5}.000005]  frob_loop+0x1/0x2\n\
         [{second:5}.000006]  kthread+0x1/0x2\n\
         [{second:5}.000007]  ret_from_fork+0x1/0x2\n\
         [{second:5}.000008] ---[ end trace 0000000000000000 ]---\n"
    )
}

#[test]
fn what_comes_again_is_told_once_with_a_count() {
    let log: String = (1..=4).map(|index| lockup(index * 100)).collect();
    let answer = scan_text(log.as_bytes(), Format::Human);
    let heads: Vec<&str> = answer
        .out
        .lines()
        .filter(|line| line.contains("BUG: soft lockup in frob_loop"))
        .collect();
    assert_eq!(heads.len(), 2, "{}", answer.out);
    assert!(heads[1].ends_with("3 times more, here last at 400.000 s"));
    assert!(heads[1].contains(":25: "), "{}", heads[1]);
    // Programs get each.
    let answer = scan_text(log.as_bytes(), Format::Json);
    assert_eq!(answer.out.lines().count(), 4);
}

#[test]
fn a_file_that_is_no_kernel_s_says_so() {
    let answer = scan_text(b"all tests passed\nnothing to report\n", Format::Human);
    assert_eq!(answer.result.unwrap(), Exit::Good);
    assert!(answer.notes[0].contains("no line that looks like a kernel's"));
    for log in [
        "[    1.000000] EXT4-fs (vda1): mounted filesystem\n",
        "noise\nNov 22 14:00:00 host kernel: EXT4-fs (vda1): mounted\n",
        "Linux version 6.12.0 (a@b) #1 SMP\n",
    ] {
        let answer = scan_text(log.as_bytes(), Format::Human);
        assert_eq!(answer.notes, [""; 0], "{log}");
    }
}

#[test]
fn containers_that_are_no_text_come_with_what_reads_them() {
    for (magic, reader) in [
        (&b"\x1f\x8b"[..], "zcat"),
        (b"LPKSHHRH", "journalctl"),
        (b"\x7fELF", "makedumpfile"),
    ] {
        let mut bytes = magic.to_vec();
        bytes.extend([0_u8; 4000]);
        let error = scan_text(&bytes, Format::Human).result.unwrap_err();
        let help = error.diagnostic().help().unwrap().to_string();
        assert!(help.contains(reader), "{help}");
    }
}

#[test]
fn a_console_s_first_bytes_may_be_garbage() {
    // What a pipe gives first may be no more than these.
    let answer = scan_text(b"\0\0\0", Format::Human);
    assert_eq!(answer.result.unwrap(), Exit::Good);
    // What is packed is known by its first bytes, however few there are.
    let packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\x03\0\0\0";
    let answer = scan_text(packed, Format::Human);
    assert!(
        answer
            .result
            .unwrap_err()
            .one_line()
            .contains("binary data")
    );
}

#[test]
fn people_get_words_and_the_log_s_clock() {
    let log = "Nov 22 14:00:00 host kernel: BUG: KASAN: use-after-free in kfree+0x1/0x2\n";
    let answer = scan_text(log.as_bytes(), Format::Human);
    assert!(!answer.out.contains("corrupted"), "{}", answer.out);
    assert!(answer.out.contains("at Nov 22 14:00:00"), "{}", answer.out);
    let answer = scan_text(log.as_bytes(), Format::Json);
    assert!(answer.out.contains("in corrupted"), "{}", answer.out);
    assert!(answer.out.contains(r#""clock":"Nov 22 14:00:00""#));
}

#[test]
fn a_hung_task_comes_with_its_locks() {
    let answer = run(&[fixture("lock_cycle_of_two_tasks.log")], Format::Human);
    let line = answer
        .out
        .lines()
        .find(|line| line.starts_with("    holds or waits for "));
    assert!(line.unwrap().contains(" at "), "{}", answer.out);
}
