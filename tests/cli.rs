//! The command line as a user sees it: output and exit codes, recorded in
//! `tests/cmd` (`TRYCMD=overwrite cargo test --test cli` records them anew).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

#[test]
fn recorded_sessions() {
    let home = tempfile::tempdir().unwrap();
    let below = |name: &str| home.path().join(name).display().to_string();
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("XDG_CACHE_HOME", below("cache"))
        .env("XDG_CONFIG_HOME", below("config"))
        .env("XDG_STATE_HOME", below("state"))
        .case("tests/cmd/*.trycmd");
}

/// A guest that has died says no more; who watches its console must hear of it
/// all the same.
#[test]
fn what_begins_in_a_log_that_is_still_written_is_told_at_once() {
    let mut scan = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["scan", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = scan.stdin.take().unwrap();
    let mut told = BufReader::new(scan.stderr.take().unwrap());
    log.write_all(b"[   12.000001] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [a:1]\n")
        .unwrap();
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "note     line 1: BUG: soft lockup ...\n");
    drop(log);
    assert_eq!(scan.wait().unwrap().code(), Some(1));
}

/// A job, a log and their names can hold what a terminal obeys.
#[test]
fn nothing_that_a_terminal_obeys_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let kvet = |arguments: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(arguments)
            .env("XDG_CACHE_HOME", home.path())
            .env("XDG_STATE_HOME", home.path())
            .current_dir(home.path())
            .output()
            .unwrap();
        let mut shown = String::from_utf8(ended.stdout).unwrap();
        shown.push_str(&String::from_utf8(ended.stderr).unwrap());
        let obeyed = ['\u{1b}', '\u{202e}', '\u{9b}', '\r'];
        assert!(!shown.contains(obeyed), "{arguments:?}: {shown:?}");
        shown
    };
    let shared = "name: j\nworkload: evict-truncate\n";
    let source = "kernel: { source: { dir: \"/x\\e[31m\\u202e\" }, config: [] }\n";
    let jobs = [
        ("plan", format!("{shared}{source}arms: {{ stock: {{}} }}\n")),
        (
            "raw",
            format!("{shared}{source}about: \u{202e}\narms: {{ \"a\\e[2J\\r\": {{}} }}\n"),
        ),
        (
            "key",
            format!("{shared}{source}\"x\\e\\u202e\": 1\narms: {{ stock: {{}} }}\n"),
        ),
        (
            "patch",
            format!("{shared}{source}arms: {{ stock: {{ patches: [\"\\e[1m\\x9b\"] }} }}\n"),
        ),
        ("\u{1b}[1m\u{202e}", "\"".to_owned()),
    ];
    for (name, text) in jobs {
        let name = format!("{name}.yaml");
        std::fs::write(home.path().join(&name), text).unwrap();
        let shown = kvet(&["run", "--dry-run", &name]);
        assert!(shown.contains('\u{fffd}') || shown.contains('?'), "{shown}");
    }
    for arguments in [
        ["scan", "\u{1b}[2J\u{202e}"].as_slice(),
        &["judge", "\u{1b}[2J\u{202e}"],
        &["report", "\u{1b}[2J", "--format", "human"],
        &["run", "\u{1b}[2J\u{202e}"],
        &["run", "--\u{1b}[2J\u{202e}"],
        &["run", "x", "--trials", "\u{1b}[2J\u{202e}"],
    ] {
        assert!(kvet(arguments).contains('\u{fffd}'), "{arguments:?}");
    }
}

/// kvet, as someone uses it who has no checkout of it.
struct Elsewhere(tempfile::TempDir);

impl Elsewhere {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What it prints, results and complaints, and how it ends.
    fn kvet(&self, arguments: &[&str], input: &str) -> (String, Option<i32>) {
        let mut kvet = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", self.0.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.0.path().join("config"))
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .current_dir(self.0.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that does not read its input has ended before.
        drop(kvet.stdin.take().unwrap().write_all(input.as_bytes()));
        let ended = kvet.wait_with_output().unwrap();
        let mut said = String::from_utf8(ended.stdout).unwrap();
        said.push_str(&String::from_utf8(ended.stderr).unwrap());
        (said, ended.status.code())
    }
}

#[test]
fn a_job_of_the_library_s_is_planned_from_anywhere() {
    let here = Elsewhere::new();
    let (said, code) = here.kvet(&["run", "ceph-iput-async", "--dry-run"], "");
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "  workload evict-truncate: comes with kvet\n",
        "  config   debug-vfs: comes with kvet\n",
        "  patches  ceph-iput-async: comes with kvet\n",
        "  rootfs   kvet: comes with kvet\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    here.write("config/kvet/kconfigs/debug-vfs.config", "# Mine.\n");
    let (said, _) = here.kvet(&["run", "ceph-iput-async", "--dry-run"], "");
    let mine = "/config/kvet/kconfigs/debug-vfs.config\n";
    assert!(said.contains(mine), "{said}");
    let (said, _) = here.kvet(&["list", "fragments"], "");
    assert!(said.contains("debug-vfs\n    Mine.\n    in /"), "{said}");
    let (said, code) = here.kvet(&["run", "ceph-iput-asinc"], "");
    assert!(said.contains("did you mean `ceph-iput-async`?"), "{said}");
    assert_eq!(code, Some(128));
}

#[test]
fn a_new_job_runs_as_it_is_and_is_never_overwritten() {
    let here = Elsewhere::new();
    let (said, code) = here.kvet(&["new", "mine"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("kvet run mine/job.yaml"), "{said}");
    let (said, code) = here.kvet(&["run", "mine", "--dry-run"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("job       mine\n"), "{said}");
    // Its own things go with a job.
    here.write("mine/kconfigs/extra.config", "# More.\n");
    let job = std::fs::read_to_string(here.0.path().join("mine/job.yaml")).unwrap();
    here.write(
        "mine/job.yaml",
        &job.replace("debug-vfs]", "debug-vfs, extra]"),
    );
    let (said, code) = here.kvet(&["new", "--from", "mine", "other"], "");
    assert_eq!(code, Some(0), "{said}");
    let (said, _) = here.kvet(&["run", "other", "--dry-run"], "");
    assert!(said.contains("/other/kconfigs/extra.config"), "{said}");
    let (said, code) = here.kvet(&["new", "mine"], "");
    assert_eq!(code, Some(128));
    assert!(said.contains("nothing is overwritten"), "{said}");
    assert_eq!(
        here.kvet(&["new", "--from", "nothing", "third"], "").1,
        Some(128)
    );
    assert!(!here.0.path().join("third").exists());
}

#[test]
fn a_patch_is_planned_beside_the_control_without_it() {
    let here = Elsewhere::new();
    let diff = "--- a/fs/f.c\n+++ b/fs/f.c\n@@ -1 +1 @@\n-a\n+b\n";
    let plan = |more: &[&str], input: &str| {
        let arguments = [&["run", "ceph-iput-async", "--dry-run"], more].concat();
        here.kvet(&arguments, input)
    };
    here.write("fix.patch", diff);
    for (more, input) in [(["--patch", "fix.patch"], ""), (["--patch", "-"], diff)] {
        let (said, code) = plan(&more, input);
        assert_eq!(code, Some(0), "{said}");
        let arms: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("arm "))
            .collect();
        assert_eq!(
            arms,
            ["arm stock (control), 3 trials", "arm patched, 3 trials"]
        );
    }
    here.write(
        "set/0000-cover-letter.patch",
        "Subject: [PATCH 0/2] x\n\nWhy.\n",
    );
    for number in [1, 2] {
        let patch = format!("Subject: [PATCH {number}/2] x\n\n{diff}");
        here.write(&format!("set/{number:04}-x.patch"), &patch);
    }
    let (said, code) = plan(&["--series", "set"], "");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("set: 2 patches"), "{said}");
    for (more, input, wrong) in [
        (
            ["--patch", "no.patch"],
            "",
            "cannot read the patch no.patch",
        ),
        (["--patch", "-"], "hello", "standard input holds no patch"),
        (["--patch", "-"], &diff.replace('\n', "\r\n"), "CR LF"),
        (
            ["--series", "set,set"],
            "",
            "neither a directory nor a range",
        ),
        (["--kernel", "latest"], "", "names no kernel"),
        (["--kernel", "set"], "", "holds no kernel tree"),
    ] {
        let (said, code) = plan(&more, input);
        assert_eq!(code, Some(128), "{said}");
        assert!(said.contains(wrong), "{said}");
    }
}

#[test]
fn a_line_of_a_corpus_that_is_not_a_case_does_not_stop_the_others() {
    let home = tempfile::tempdir().unwrap();
    let corpus = home.path().join("cases.jsonl");
    std::fs::write(
        &corpus,
        "{\"id\": \"1\", \"log\": \"\"}\nnot json\n{\"id\": \"2\"}\n{\"id\": \"3\", \"log\": \"\"}\n",
    )
    .unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["scan", "--corpus"])
        .arg(&corpus)
        .output()
        .unwrap();
    let answers = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(answers.lines().count(), 2, "{answers}");
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("cases.jsonl:2: not a case"), "{told}");
    assert!(told.contains("cases.jsonl:3: not a case"), "{told}");
    assert!(told.contains("2 of 4 lines are not cases"), "{told}");
    assert_eq!(ended.status.code(), Some(128));
}

/// An unpack that was killed leaves most of a gigabyte.
#[test]
fn what_a_killed_process_left_half_made_is_listed_and_reclaimed() {
    let home = tempfile::tempdir().unwrap();
    let half = home.path().join("kvet/sources/.0123abc.partial");
    let kvet = |arguments: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(arguments)
            .env("XDG_CACHE_HOME", home.path())
            .env("XDG_STATE_HOME", home.path())
            .env_remove("XDG_RUNTIME_DIR")
            .output()
            .unwrap();
        String::from_utf8(ended.stdout).unwrap()
    };
    for (arguments, stays) in [
        (["cache", "list"].as_slice(), true),
        (&["cache", "prune", "--dry-run"], true),
        (&["cache", "prune"], false),
        (&["cluster", "status"], false),
    ] {
        std::fs::create_dir_all(&half).unwrap();
        let shown = kvet(arguments);
        let listed = shown.contains("0123abc") && shown.contains("unfinished");
        assert!(listed || arguments[0] != "cache", "{arguments:?}: {shown}");
        assert_eq!(half.exists(), stays, "{arguments:?}");
    }
}

#[test]
fn a_bisection_is_not_gone_on_with_as_a_run() {
    let elsewhere = Elsewhere::new();
    let of = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let log = std::fs::read_to_string(of.join("fixtures/bisection/log.jsonl")).unwrap();
    let run = std::fs::read_to_string(of.join("cmd/judge.in/run/run.json")).unwrap();
    elsewhere.write("bisection/log.jsonl", &log);
    elsewhere.write("bisection/run.json", &run);
    let (said, code) = elsewhere.kvet(&["run", "--resume", "bisection"], "");
    assert_eq!(code, Some(128), "{said}");
    assert!(
        said.contains("is a bisection") && said.contains("kvet bisect resume"),
        "{said}"
    );
}

/// What it does is in no file of its driver's.
#[test]
fn a_trial_in_a_process_of_its_own_has_its_log_with_its_files() {
    let home = tempfile::tempdir().unwrap();
    let attempt = home.path().join("attempt");
    std::fs::create_dir(&attempt).unwrap();
    let steps = "{ name: w, about: x, steps: [guest: sync] }";
    // There is no such cluster: nothing is booted.
    let service = kvet::cluster::ClusterSpec {
        mon: 0,
        ..Default::default()
    };
    let request = kvet::trial::Request {
        id: kvet::trial_id::TrialId {
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            number: 1,
        },
        attempt: 1,
        host: None,
        hostname: "trial-1-1".to_owned(),
        kernel: "/k".into(),
        release: "7.3.4".to_owned(),
        words: String::new(),
        hardware: kvet::vm::Hardware::default(),
        image: "/i".into(),
        acceleration: kvet::vm::Acceleration::Tcg,
        start: kvet::vm::Startup::Boot,
        save: false,
        service: kvet::service::ServiceSpec::Ceph(service),
        workload: kvet::workload::Workload::load("w", steps).unwrap(),
        timeout: None,
        target: None,
        known: Vec::new(),
        patterns: Vec::new(),
        profile: Vec::new(),
        counters: Vec::new(),
        counted: Vec::new(),
        dump: false,
        day: jiff::civil::date(2026, 1, 2),
    };
    kvet::record::keep_request(&attempt, &request).unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .arg("trial")
        .arg(attempt.join("request.json"))
        .arg(&attempt)
        .env("XDG_CACHE_HOME", home.path())
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(128), "{said}");
    let log = std::fs::read_to_string(attempt.join("kvet.log")).unwrap();
    assert!(log.contains("program=\"unshare\""), "{log}\n{said}");
}
