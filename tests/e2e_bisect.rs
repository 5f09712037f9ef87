//! Bisections of real kernels: commits with and without noise, patches, options
//! and releases. Each begins with a kernel built from nothing, so `ci/check
//! --full` runs these.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and shows what was said"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kvet::Context;
use kvet::kernel::{SourceSpec, fetch, patch};
use kvet::store::Store;
use serde_json::Value;

/// One at a time: each has all processors to itself.
static TURN: Mutex<()> = Mutex::new(());

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A repository of a real tree with 64 commits that touch fs/ceph, one of which
/// takes the fix out (`brings`) or puts it in (`cures`). Made once.
fn repository() -> PathBuf {
    let repository = project().join("target/tmp/bisect-history");
    if repository.join("complete").exists() {
        return repository;
    }
    drop(fs::remove_dir_all(&repository));
    let tree = tree();
    let made = Command::new(project().join("ci/bisect-history"))
        .arg(&tree)
        .arg(project().join("patches/ceph-iput-async/7.3"))
        .arg(&repository)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    fs::write(repository.join("complete"), "").unwrap();
    repository
}

/// Where the files of the kernel are whose bug is searched.
fn tree() -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let context = Context::default();
        let store = Store::open().unwrap();
        let spec: SourceSpec = serde_yaml::from_str("{ debian: linux-source-7.3 }").unwrap();
        let tree = fetch(&context, &store, &spec).await.unwrap();
        patch(&context, &store, &tree, &[]).await.unwrap().path
    })
}

/// A copy of the repository whose `good` and `bad` hold commits that no kernel was
/// built of yet: all of them include a header that nobody has seen. Always in the
/// same place, so that kvet keeps one tree for it.
fn unbuilt(repository: &Path) -> PathBuf {
    let tree = project().join("target/tmp/bisect-unbuilt");
    drop(fs::remove_dir_all(&tree));
    let shown = tree.display().to_string();
    let done = |words: &[&str]| {
        let identity = ["-c", "user.name=kvet", "-c", "user.email=kvet@localhost"];
        let output = git(&tree, &[&identity[..], words].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let clone = ["clone", "--quiet", "--shared", "--no-checkout", ".", &shown];
    assert!(git(repository, &clone).status.success());
    done(&["checkout", "--quiet", "--detach", "brings-good"]);
    let header = tree.join("fs/ceph/super.h");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let content = format!(
        "{}\n/* Made at {}. */\n",
        fs::read_to_string(&header).unwrap(),
        now.as_nanos()
    );
    fs::write(&header, content).unwrap();
    done(&[
        "commit",
        "--quiet",
        "--all",
        "--message",
        "ceph: touch a header",
    ]);
    done(&["tag", "--force", "good"]);
    done(&[
        "rebase",
        "--quiet",
        "--onto",
        "good",
        "brings-good",
        "origin/brings",
    ]);
    done(&["branch", "bad"]);
    tree
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

    fn out(&self) -> PathBuf {
        self.directory.path().join("bisection")
    }

    fn kvet(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvet"));
        command
            .current_dir(project())
            .env("NO_COLOR", "1")
            .env("XDG_STATE_HOME", self.directory.path())
            .arg("bisect")
            .args(words);
        command
    }

    /// Begins and kills it as soon as so many kernels were built.
    fn killed(&self, words: &[&str], builds: usize) {
        let mut command = self.kvet(words);
        command.arg("--out").arg(self.out()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut done = 0;
        for line in lines.map_while(Result::ok) {
            eprintln!("{line}");
            done += usize::from(line.starts_with("build") && line.contains(": done"));
            if done == builds {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(done, builds, "it ended by itself");
    }

    fn report(&self, words: &[&str]) -> Value {
        let output = self
            .kvet(words)
            .args(["--format", "json"])
            .output()
            .unwrap();
        eprintln!("{}", text(&output.stderr));
        assert!(output.status.success(), "{}", text(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn begun(&self, words: &[&str]) -> Value {
        let out = self.out().display().to_string();
        self.report(&[words, &["--out", &out]].concat())
    }

    fn resumed(&self) -> Value {
        let out = self.out().display().to_string();
        self.report(&["resume", "--in", &out])
    }

    /// The log's entries of one kind.
    fn entries(&self, kind: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.out().join("log.jsonl")).unwrap();
        let entries = log.lines().map(|line| serde_json::from_str(line).unwrap());
        entries
            .filter(|entry: &Value| entry["entry"] == kind)
            .collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn git(repository: &Path, words: &[&str]) -> Output {
    Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(words)
        .output()
        .unwrap()
}

fn culprit(report: &Value) -> &str {
    let suspects = report["finding"]["suspects"].as_array().unwrap();
    assert_eq!(report["finding"]["kind"], "culprit", "{report}");
    assert_eq!(suspects.len(), 1, "{report}");
    suspects[0]["subject"].as_str().unwrap()
}

/// The same kernels made by hand, one after the other in one directory: the
/// objects that were compiled for each and the time that make took.
fn raw(repository: &Path, commits: &[String], config: &str) -> Vec<(usize, Duration)> {
    let place = tempfile::tempdir().unwrap();
    let (tree, objects) = (place.path().join("tree"), place.path().join("objects"));
    fs::create_dir(&objects).unwrap();
    let shown = tree.display().to_string();
    let clone = ["clone", "--quiet", "--shared", "--no-checkout", ".", &shown];
    assert!(git(repository, &clone).status.success());
    let make = |commit: &String| {
        assert!(
            git(&tree, &["checkout", "--quiet", "--force", commit])
                .status
                .success()
        );
        fs::write(objects.join(".config"), config).unwrap();
        let began = Instant::now();
        let jobs = std::thread::available_parallelism().unwrap();
        let made = Command::new("sh")
            .args([
                "-c",
                "make -s O=$1 olddefconfig && make O=$1 -j$2 bzImage",
                "sh",
            ])
            .arg(&objects)
            .arg(jobs.to_string())
            .current_dir(&tree)
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("GIT_DIR", "/dev/null")
            .output()
            .unwrap();
        let time = began.elapsed();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let is_object = |line: &&str| line.trim_start().starts_with("CC ");
        (text(&made.stdout).lines().filter(is_object).count(), time)
    };
    commits.iter().map(make).collect()
}

/// Whether each kernel was built once, and no boot was made twice.
fn assert_nothing_repeated(bisection: &Bisection) {
    let mut built: Vec<String> = bisection
        .entries("built")
        .iter()
        .map(|entry| entry["candidate"].to_string())
        .collect();
    let count = built.len();
    assert!(count > 0);
    built.sort();
    built.dedup();
    assert_eq!(built.len(), count, "a kernel was built twice");
    let mut trials: Vec<String> = bisection
        .entries("boot")
        .iter()
        .map(|entry| entry["trial"].to_string())
        .collect();
    let count = trials.len();
    assert!(count > 0);
    trials.sort();
    trials.dedup();
    assert_eq!(trials.len(), count, "a trial counts twice");
}

#[test]
fn the_commit_that_takes_a_fix_out_is_found_though_killed_half_way() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let repository = &unbuilt(&repository());
    let shown = repository.display().to_string();
    let bisection = Bisection::new();
    let before = git(repository, &["for-each-ref"]).stdout;
    let words = ["jobs/ceph-iput-async.yaml", "--git", &shown];
    let words = [&words[..], &["--good", "good", "--bad", "bad"]].concat();
    bisection.killed(&words, 4);
    let report = bisection.resumed();
    assert!(culprit(&report).contains("(change 41)"), "{report}");
    // The tip without the culprit, for the table, is none of the search's.
    assert!(bisection.entries("built").len() <= 8, "{report}");
    assert_nothing_repeated(&bisection);
    // The table: parent, culprit, tip, tip with the revert.
    let hits: Vec<bool> = report["table"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["hits"].as_u64().unwrap() > 0)
        .collect();
    assert_eq!(hits, [false, true, true, false], "{report}");
    // Nothing of the user's was touched.
    assert_eq!(git(repository, &["for-each-ref"]).stdout, before);
    assert_eq!(git(repository, &["status", "--porcelain"]).stdout, b"");
    let log = bisection.directory.path().join("git.log");
    let out = bisection.out().display().to_string();
    let printed = bisection.kvet(&["log", "--in", &out]).output().unwrap();
    fs::write(&log, printed.stdout).unwrap();
    let replayed = git(repository, &["bisect", "replay", log.to_str().unwrap()]);
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    assert!(text(&replayed.stdout).contains("is the first bad commit"));
    git(repository, &["bisect", "reset"]);
    // Judged again, it says the same.
    let judged = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(["judge", &out, "--format", "json"])
        .output()
        .unwrap();
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(judged, report);

    let built = bisection.entries("built");
    let base = text(&git(repository, &["rev-parse", "good"]).stdout);
    let commits: Vec<String> = built
        .iter()
        .map(|entry| {
            entry["candidate"]
                .as_str()
                .unwrap_or(base.trim())
                .to_owned()
        })
        .collect();
    let config = fs::read_to_string(bisection.out().join("arms/base/config")).unwrap();
    // The first may begin with the objects of an earlier kernel, as make by itself
    // cannot.
    let raw = raw(repository, &commits, &config);
    for (entry, (compiled, time)) in built.iter().zip(&raw) {
        eprintln!(
            "built in {} s; by make alone in {:.1} s, {compiled} objects",
            entry["seconds"],
            time.as_secs_f64()
        );
    }
}

#[test]
fn the_commit_that_puts_a_fix_in_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = repository().display().to_string();
    let bisection = Bisection::new();
    let words = ["jobs/ceph-iput-async.yaml", "--fixed", "--git", &shown];
    let words = [&words[..], &["--good", "cures", "--bad", "cures-bad"]].concat();
    let report = bisection.begun(&words);
    assert!(culprit(&report).contains("(change 23)"), "{report}");
    assert!(bisection.entries("built").len() <= 8, "{report}");
}

#[test]
fn a_bug_that_shows_every_other_time_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = repository().display().to_string();
    let bisection = Bisection::new();
    let words = ["tests/jobs/bisect-perhaps.yaml", "--git", &shown];
    let words = [&words[..], &["--good", "brings-good", "--bad", "brings"]].concat();
    let report = bisection.begun(&words);
    assert!(culprit(&report).contains("(change 41)"), "{report}");
    let rate = report["rates"][0].as_f64().unwrap();
    assert!((0.2..0.85).contains(&rate), "{rate}");
}

#[test]
fn git_bisect_run_takes_kvet_run_as_it_stands() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let repository = repository();
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("linux");
    let shown = tree.display().to_string();
    let clone = ["clone", "--quiet", "--shared", ".", &shown];
    assert!(git(&repository, &clone).status.success());
    let job = fs::read_to_string(project().join("jobs/ceph-iput-async.yaml")).unwrap();
    // As a fix is vetted: bad is that the target shows.
    let job = job.replace(
        "{ debian: linux-source-7.3 }",
        &format!("{{ dir: {shown} }}"),
    );
    let arms = job.find("arms:").unwrap();
    let job = format!("{}arms:\n  tree: {{}}\n", &job[..arms]).replace("trials: 3", "trials: 1");
    let file = place.path().join("job.yaml");
    fs::write(&file, job).unwrap();
    let range = ["bisect", "start", "origin/brings~20", "origin/brings~24"];
    assert!(git(&tree, &range).status.success());
    let kvet = env!("CARGO_BIN_EXE_kvet");
    let run = Command::new("git")
        .arg("-C")
        .arg(&tree)
        .args(["bisect", "run", kvet, "run"])
        .arg(&file)
        .output()
        .unwrap();
    eprintln!("{}", text(&run.stderr));
    let said = text(&run.stdout);
    assert!(said.contains("is the first bad commit"), "{said}");
    assert!(said.contains("(change 41)"), "{said}");
}

#[test]
fn the_patch_that_cures_is_found_and_equal_images_are_not_booted() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bisection = Bisection::new();
    let words = [
        "jobs/ceph-iput-async.yaml",
        "--arm",
        "fixed",
        "--patches",
        "--fixed",
    ];
    let report = bisection.begun(&words);
    let suspects = &report["finding"]["suspects"];
    let name = suspects[0]["name"].as_str().unwrap();
    assert!(name.contains("0003-"), "{report}");
}

#[test]
fn the_option_that_warns_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bisection = Bisection::new();
    let (old, new) = (
        "tests/jobs/bisect/old.config",
        "tests/jobs/bisect/new.config",
    );
    let words = ["tests/jobs/bisect-config.yaml", "--config", old, new];
    let report = bisection.begun(&words);
    let suspects = &report["finding"]["suspects"];
    assert_eq!(suspects[0]["name"], "CONFIG_TEST_REF_TRACKER=y", "{report}");
    assert_eq!(report["candidates"], 20, "{report}");
}

#[test]
fn the_release_that_leaks_dirty_folios_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bisection = Bisection::new();
    let words = [
        "jobs/ceph-umount-dirty-folios.yaml",
        "--versions",
        "debian:6.1..7.3",
    ];
    let report = bisection.begun(&words);
    assert!(report["candidates"].as_u64().unwrap() >= 7, "{report}");
    let suspects = &report["finding"]["suspects"];
    let name = suspects[0]["name"].as_str().unwrap();
    // Which of them are offered changes from day to day; the bug came after 6.12.
    assert!(
        !name.starts_with("6.1.") && !name.starts_with("6.12."),
        "{report}"
    );
}
