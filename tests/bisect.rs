//! `kvet bisect` from the command line, as far as it goes without a kernel: what
//! it says to what cannot be searched, and what is done by hand to a search.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A place with a repository, a job and a cache of its own.
struct Place {
    directory: TempDir,
}

const JOB: &str = "\
name: bug
kernel: { source: { git: { repo: repository, ref: main } }, config: [base] }
cluster: none
workload: idle
target: { class: warning }
arms:
  stock: { control: true }
";

impl Place {
    fn new() -> Self {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.path("repository")).unwrap();
        fs::create_dir(place.path("workloads")).unwrap();
        place.write(
            "workloads/idle.yaml",
            "{ name: idle, about: x, steps: [guest: sync] }",
        );
        place.write("job.yaml", JOB);
        place.git(&["init", "--quiet", "--initial-branch=main"]);
        for number in 0..9 {
            place.commit(number);
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn commit(&self, number: usize) {
        self.write("repository/file", &format!("{number}\n"));
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", &format!("Change {number}")]);
    }

    fn git(&self, words: &[&str]) -> String {
        let output = Command::new("git")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args([
                "-c",
                "user.name=A Person",
                "-c",
                "user.email=a@example.org",
                "-C",
            ])
            .arg(self.path("repository"))
            .args(words)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{words:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout).trim().to_owned()
    }

    fn kvet(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_kvet"))
            .current_dir(self.directory.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("NO_COLOR", "1")
            .args(words)
            .output()
            .unwrap()
    }

    /// What `kvet bisect` says to these words, and that it is a mistake of theirs.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.kvet(&[&["bisect"], words].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(128), "{words:?}: {said}");
        assert!(said.contains("help"), "nothing says what to do: {said}");
        // Lines are broken to the width of the terminal.
        said.split_whitespace()
            .filter(|word| *word != "│")
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_cannot_be_searched_is_refused_with_what_to_do() {
    let place = Place::new();
    let with = |good: &str, bad: &str| {
        place.refused(&[
            "job.yaml",
            "--git",
            "repository",
            "--good",
            good,
            "--bad",
            bad,
        ])
    };
    assert!(with("main", "main").contains("the same commit"));
    assert!(with("main", "main~3").contains("add `--fixed`"));
    assert!(with("nowhere", "main").contains("`nowhere` does not name one commit"));
    place.git(&["tag", "twice", "main~3"]);
    place.git(&["branch", "twice", "main~5"]);
    assert!(with("twice", "main").contains("`twice` is ambiguous"));
    let fixed = ["job.yaml", "--fixed", "--git", "repository"];
    let fixed = [&fixed[..], &["--good", "main~3", "--bad", "main"]].concat();
    assert!(place.refused(&fixed).contains("nothing was cured"));
    let elsewhere = ["job.yaml", "--git", "cache", "--good", "a", "--bad", "b"];
    fs::create_dir_all(place.path("cache")).unwrap();
    assert!(
        place
            .refused(&elsewhere)
            .contains("not in a git repository")
    );
    for (versions, said) in [
        ("6.12,6.1", "is not later"),
        ("6.1..7.3", "only Debian's versions"),
        ("new,old", "is not a kernel version"),
        ("6.1", "fewer than two"),
    ] {
        let refused = place.refused(&["job.yaml", "--versions", versions]);
        assert!(refused.contains(said), "{versions}: {refused}");
    }
    place.write("a.config", "CONFIG_A=y\n");
    place.write("text", "nothing\n");
    let same = place.refused(&["job.yaml", "--config", "a.config", "a.config"]);
    assert!(same.contains("same options"), "{same}");
    let none = place.refused(&["job.yaml", "--config", "a.config", "text"]);
    assert!(none.contains("not a kernel configuration"), "{none}");
    let missing = place.refused(&["job.yaml", "--config", "a.config", "missing"]);
    assert!(missing.contains("cannot read missing"), "{missing}");
    assert!(!place.path("state").exists(), "something was begun");
}

/// It lies where runs do, and is named as they are. This one comes to nothing: what
/// it searches has no kernel.
#[test]
fn a_bisection_is_found_by_its_id_and_as_the_last_one() {
    let place = Place::new();
    assert!(place.refused(&["log"]).contains("there is no bisection"));
    let range = ["--git", "repository", "--good", "main~8", "--bad", "main"];
    let begun = place.kvet(&[&["bisect", "job.yaml"], &range[..]].concat());
    assert!(!begun.status.success());
    let runs = fs::read_dir(place.path("state/kvet/runs")).unwrap();
    let ids: Vec<String> = runs
        .map(|run| run.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        matches!(&ids[..], [id] if id.starts_with("bug-")),
        "{ids:?}"
    );
    for words in [&["--in", "bug-"][..], &["--in", &ids[0]], &[]] {
        let log = place.kvet(&[&["bisect", "log"], words].concat());
        assert!(text(&log.stdout).contains("git bisect start"), "{log:?}");
    }
    let listed = text(&place.kvet(&["history"]).stdout);
    assert!(listed.contains("bisection"), "{listed}");
}

/// One that goes on goes on with its files.
#[test]
fn a_bisection_s_directory_has_what_was_told_and_what_was_done() {
    let place = Place::new();
    let read = |name: &str| fs::read_to_string(place.path("out").join(name)).unwrap();
    let range = ["--git", "repository", "--good", "main~8", "--bad", "main"];
    let begun = [&["bisect", "job.yaml", "--out", "out"], &range[..]].concat();
    let mut before = (String::new(), String::new());
    for words in [&begun[..], &["bisect", "resume", "--in", "out"]] {
        let ended = place.kvet(words);
        assert!(!ended.status.success());
        let now = (read("events.jsonl"), read("kvet.log"));
        let news = now.0.strip_prefix(&before.0).unwrap();
        assert!(news.contains("the bisection of 8 commits"), "{now:?}");
        let news = now.1.strip_prefix(&before.1).unwrap();
        assert!(news.contains("program=\"git\""), "{now:?}");
        before = now;
    }
}

#[test]
fn a_job_must_say_what_is_bad() {
    let place = Place::new();
    let range = ["--git", "repository", "--good", "main~8", "--bad", "main"];
    let refused = |job: &str, more: &[&str]| {
        place.write("other.yaml", job);
        place.refused(&[&["other.yaml"], &range[..], more].concat())
    };
    let without = JOB.replace("target: { class: warning }\n", "");
    assert!(refused(&without, &[]).contains("has no target"));
    assert!(refused(JOB, &["--amplify"]).contains("no other way to run its trial"));
    let half = format!("{JOB}rate: 0.5\n");
    assert!(refused(&half, &[]).contains("only `rate: 1`"));
    let cpus = format!("{JOB}amplify: [{{ name: many, cpus: 1000 }}]\n");
    assert!(refused(&cpus, &["--amplify"]).contains("cannot have `cpus: 1000`"));
    let twice = format!("{JOB}amplify: [{{ name: a }}, {{ name: a }}]\n");
    assert!(refused(&twice, &["--amplify"]).contains("two variations"));
    assert!(refused(JOB, &["--arm", "fixed"]).contains("no arm `fixed`"));
    assert!(refused(JOB, &["--workload", "busy"]).contains("no workload `busy`"));
}

/// A search as a kvet that was killed would have left it.
fn left(place: &Place) -> Vec<String> {
    let ids: Vec<String> = place
        .git(&["rev-list", "--reverse", "main~8..main"])
        .lines()
        .map(str::to_owned)
        .collect();
    let list: Vec<_> = (0..ids.len())
        .map(|number| {
            let parents: Vec<usize> = number.checked_sub(1).into_iter().collect();
            serde_json::json!({ "name": ids[number], "parents": parents })
        })
        .collect();
    let begun = serde_json::json!({
        "entry": "begun", "version": 1, "job": "job.yaml", "arm": "stock", "workload": "idle",
        "good": place.git(&["rev-parse", "main~8"]), "bad": ids[7], "confidence": 0.95,
        "source": { "git": { "repository": place.path("repository") } },
        "candidates": {
            "kind": "git", "base": place.git(&["rev-parse", "main~8"]), "list": list,
        },
    });
    fs::create_dir(place.path("left")).unwrap();
    // The last line was being written.
    place.write("left/log.jsonl", &format!("{begun}\n{{\"entry\":\"bo"));
    ids
}

#[test]
fn what_is_said_by_hand_is_in_the_log_that_git_replays() {
    let place = Place::new();
    let ids = left(&place);
    let hand = |words: &[&str]| {
        let output = place.kvet(&[&["bisect"], words, &["--in", "left"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    hand(&["good", &ids[1]]);
    hand(&["bad", &ids[5][..12]]);
    hand(&["bad", &ids[6]]);
    hand(&["skip", &ids[3]]);
    hand(&["good", &ids[2]]);
    hand(&["forget", &ids[2]]);
    let log = hand(&["log"]);
    assert!(
        !log.contains(&format!("git bisect good {}", ids[2])),
        "{log}"
    );
    place.write("git.log", &log);
    place.git(&["bisect", "replay", place.path("git.log").to_str().unwrap()]);
    let refs = place.git(&[
        "for-each-ref",
        "--format=%(refname) %(objectname)",
        "refs/bisect",
    ]);
    for (name, id) in [("good-", &ids[1]), ("bad ", &ids[5]), ("skip-", &ids[3])] {
        let line =
            |line: &&str| line.contains(&format!("refs/bisect/{name}")) && line.contains(&**id);
        assert!(refs.lines().any(|one| line(&one)), "{name} {id}: {refs}");
    }
    let said = place.refused(&["good", "0000000", "--in", "left"]);
    assert!(said.contains("is not one of the 8 candidates"), "{said}");
    let end = place.git(&["rev-parse", "main~8"]);
    let said = place.refused(&["bad", &end, "--in", "left"]);
    assert!(said.contains("is an end of the search"), "{said}");
    hand(&["forget", &end]);
    hand(&["forget", &end[..12]]);
    // The newer end is as little in doubt as the older one.
    let said = place.refused(&["skip", &ids[7], "--in", "left"]);
    assert!(said.contains("is an end of the search"), "{said}");
    // Whatever git calls it.
    hand(&["skip", "main~3"]);
    assert!(hand(&["log"]).contains(&format!("git bisect skip {}", ids[4])));
    let said = place.refused(&["log", "--in", "workloads"]);
    assert!(said.contains("not the directory of a bisection"), "{said}");
}
