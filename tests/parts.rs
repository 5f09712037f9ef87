//! A run that was shared: parts with a record each, joined to one that is judged
//! as if a single machine had done it, remembered, and told of.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use server::{Reply, Server, response};
use tempfile::TempDir;

/// A run of two arms, cut into two parts.
struct Shared {
    home: TempDir,
    parts: [PathBuf; 2],
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

const RUN: &str = "tests/cmd/judge.in/run";

impl Shared {
    /// With this in the plan of the whole run.
    fn with(more: &Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        let text = fs::read(Path::new(RUN).join("run.json")).unwrap();
        let beginning: Value = serde_json::from_slice(&text).unwrap();
        let mut whole = beginning["plan"].clone();
        for (key, value) in more.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let parts = [(1, "stock"), (2, "fixed")].map(|(number, arm)| {
            let part = home.path().join(format!("part-{number}"));
            let place = Path::new("arms").join(arm);
            copy(&Path::new(RUN).join(&place), &part.join(&place));
            let mut beginning = beginning.clone();
            let arms = whole["arms"].as_array().unwrap().iter();
            let arms: Vec<&Value> = arms.filter(|one| one["name"] == arm).collect();
            beginning["plan"] = whole.clone();
            beginning["plan"]["arms"] = json!(arms);
            beginning["plan"]["part_of"] = json!({ "part": format!("{number}/2"), "whole": whole });
            fs::write(part.join("run.json"), beginning.to_string()).unwrap();
            let report = json!({ "seconds": 10.0 * f64::from(number) });
            fs::write(part.join("report.json"), report.to_string()).unwrap();
            fs::create_dir(part.join("cluster")).unwrap();
            fs::write(part.join("cluster/osd.0.log"), "words").unwrap();
            part
        });
        Self { home, parts }
    }

    fn new() -> Self {
        Self::with(&json!({}))
    }

    /// Changes a part's beginning.
    fn change(&self, part: usize, change: impl FnOnce(&mut Value)) {
        let file = self.parts[part].join("run.json");
        let mut beginning = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut beginning);
        fs::write(file, beginning.to_string()).unwrap();
    }

    fn kvet(&self) -> Command {
        let mut kvet = Command::new(env!("CARGO_BIN_EXE_kvet"));
        kvet.env("XDG_STATE_HOME", self.home.path().join("state"))
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("NO_COLOR", "1");
        kvet
    }

    fn join(&self, parts: &[&PathBuf]) -> Output {
        let mut kvet = self.kvet();
        kvet.arg("join").args(parts).arg("--out").arg(self.whole());
        kvet.output().unwrap()
    }

    fn join_all(&self) -> Output {
        self.join(&self.parts.each_ref())
    }

    fn whole(&self) -> PathBuf {
        self.home.path().join("whole")
    }
}

fn told(output: &Output) -> String {
    let text = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn parts_make_the_verdict_that_one_machine_would_have_given() {
    let shared = Shared::new();
    // In whatever order they are named.
    let [one, two] = &shared.parts;
    let joined = shared.join(&[two, one]);
    assert_eq!(joined.status.code(), Some(0), "{joined:?}");
    let alone = shared.home.path().join("alone");
    copy(Path::new(RUN), &alone);
    let judged = shared.kvet().arg("judge").arg(&alone).output().unwrap();
    assert_eq!(judged.status.code(), Some(0));
    let [joined, alone] = [shared.whole(), alone].map(|run| {
        let text = fs::read(run.join("report.json")).unwrap();
        let mut report: Value = serde_json::from_slice(&text).unwrap();
        report.as_object_mut().unwrap().remove("seconds").unwrap();
        report
    });
    assert_eq!(joined, alone);
    let report = shared.whole().join("report.json");
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["seconds"], 20.0, "as long as the longest part");
    for number in [1, 2] {
        let log = shared
            .whole()
            .join(format!("parts/{number}/cluster/osd.0.log"));
        assert!(log.exists(), "{}", log.display());
    }
    // A part alone says nothing good, whatever it has.
    let part = shared.kvet().arg("judge").arg(one).output().unwrap();
    assert_eq!(part.status.code(), Some(125), "{part:?}");
    assert!(
        told(&part).contains("this is part 1/2 of the run"),
        "{part:?}"
    );
    // And the whole is a record like any other.
    let again = shared
        .kvet()
        .arg("judge")
        .arg(shared.whole())
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(0), "{again:?}");
}

#[test]
fn an_arm_s_other_files_are_joined_and_may_lie_elsewhere_on_each_machine() {
    let shared = Shared::new();
    for (part, machine) in [(0, "/home/one"), (1, "/builds/two")] {
        shared.change(part, |run| {
            let whole = &mut run["plan"]["part_of"]["whole"];
            whole["known_at"] = json!([format!("{machine}/known.yaml")]);
            for arm in whole["arms"].as_array_mut().unwrap() {
                arm["whole_config"] = json!(format!("{machine}/my.config"));
            }
        });
    }
    let arm = Path::new("arms/stock");
    let decoded = json!({ "inode_wait_for_writeback+0x80/0xc0": [] }).to_string();
    for (name, text) in [("decoded.json", decoded.as_str()), ("vmlinux", "ELF")] {
        fs::write(shared.parts[0].join(arm).join(name), text).unwrap();
    }
    let joined = shared.join_all();
    assert_eq!(joined.status.code(), Some(0), "{joined:?}");
    for name in ["decoded.json", "vmlinux"] {
        let file = shared.whole().join(arm).join(name);
        assert!(file.is_file(), "{}", file.display());
    }
}

#[test]
fn a_part_that_is_missing_is_told_and_never_makes_a_good_verdict() {
    for (part, said) in [(0, "fixed is not through"), (1, "control stock")] {
        let shared = Shared::new();
        let joined = shared.join(&[&shared.parts[part]]);
        assert_eq!(joined.status.code(), Some(125), "{joined:?}");
        let told = told(&joined);
        let missing = format!("part {} is missing", 2 - part);
        assert!(told.contains(&missing), "{told}");
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let different = |change: &dyn Fn(&Shared)| {
        let shared = Shared::new();
        change(&shared);
        let joined = shared.join_all();
        assert_eq!(joined.status.code(), Some(128), "{joined:?}");
        assert!(!shared.whole().exists(), "nothing is half joined");
        told(&joined)
    };
    let said = different(&|shared| {
        shared.change(1, |run| {
            run["plan"]["part_of"]["whole"]["name"] = json!("other");
        });
    });
    assert!(said.contains("they differ in `name`"), "{said}");
    let said = different(&|shared| {
        shared.change(1, |run| {
            run["plan"]["part_of"]["whole"]["question"] = json!("0".repeat(32));
        });
    });
    assert!(said.contains("differ in the kernels, patches"), "{said}");
    let said = different(&|shared| {
        shared.change(1, |run| run["plan"]["part_of"]["part"] = json!("2/3"));
    });
    assert!(said.contains("how many parts"), "{said}");
    let said = different(&|shared| {
        shared.change(1, |run| run["plan"]["part_of"]["part"] = json!("1/2"));
    });
    assert!(said.contains("are both part 1/2"), "{said}");
    let said = different(&|shared| {
        shared.change(1, |run| {
            run["plan"]
                .as_object_mut()
                .unwrap()
                .remove("part_of")
                .unwrap();
        });
    });
    assert!(said.contains("the record of a whole run"), "{said}");
    let said = different(&|shared| {
        shared.change(1, |run| run["plan"]["part_of"]["part"] = json!("7"));
    });
    assert!(said.contains("not a part such as 2/6"), "{said}");
    let said = different(&|shared| {
        // Trials that are the other part's.
        shared.change(1, |run| {
            let whole = run["plan"]["part_of"]["whole"]["arms"].clone();
            run["plan"]["arms"] = whole;
        });
    });
    assert!(said.contains("how the run was cut"), "{said}");
    let said = different(&|shared| fs::write(shared.parts[0].join("run.json"), "{").unwrap());
    assert!(said.contains("damaged"), "{said}");
}

#[test]
fn the_same_arm_must_have_the_same_kernel_in_each_part() {
    let shared = Shared::new();
    // One arm and two workloads: each part has one of these.
    for (part, name) in [(0, "example"), (1, "other")] {
        shared.change(part, |run| {
            let whole = &mut run["plan"]["part_of"]["whole"];
            whole["arms"].as_array_mut().unwrap().truncate(1);
            whole["arms"][0]["workloads"] = json!(["example", "other"]);
            let mut other = whole["workloads"][0].clone();
            other["workload"]["name"] = json!("other");
            whole["workloads"].as_array_mut().unwrap().push(other);
            let mut arms = whole["arms"].clone();
            arms[0]["workloads"] = json!([name]);
            run["plan"]["arms"] = arms;
        });
    }
    for (part, key) in [(0, "a"), (1, "b")] {
        let facts = json!({ "release": "7.3.4", "origin": "x", "key": key.repeat(32),
            "cached": false, "patches": [] });
        let arm = shared.parts[part].join("arms/stock");
        fs::create_dir_all(&arm).unwrap();
        fs::write(arm.join("kernel.json"), facts.to_string()).unwrap();
    }
    let joined = shared.join_all();
    assert_eq!(joined.status.code(), Some(128), "{joined:?}");
    assert!(told(&joined).contains("the kernel of stock"), "{joined:?}");
}

#[test]
fn a_link_in_a_part_is_not_followed() {
    let shared = Shared::new();
    let secret = shared.home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let trial = shared.parts[0].join("arms/stock/trials/example/1/1");
    std::os::unix::fs::symlink(&secret, trial.join("link")).unwrap();
    std::os::unix::fs::symlink(shared.home.path(), trial.join("loop")).unwrap();
    assert_eq!(shared.join_all().status.code(), Some(0));
    let joined = shared.whole().join("arms/stock/trials/example/1/1");
    assert!(joined.join("console.log").exists());
    for name in ["link", "loop"] {
        assert!(joined.join(name).symlink_metadata().is_err(), "{name}");
    }
}

/// Everything below a directory, as one text.
fn everything(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&everything(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
    all
}

#[tokio::test]
async fn a_webhook_is_told_of_a_change_and_of_nothing_else() {
    let server = Server::start(|_, _| Reply::Send(response("200 OK", "", b""))).await;
    let address = format!("{}/SECRET", server.address);
    let notify = json!({ "notify": { "webhook": { "env": "HOOK" },
        "body": { "text": "{{job}} {{verdict}} {{before}} {{link}}" } } });
    let shared = Shared::with(&notify);
    let mut said = String::new();
    let both = shared.parts.each_ref();
    let [one, _] = both;
    // Good at first: nobody is woken. Then a change, no change, a change.
    for (parts, code, calls) in [
        (&both[..], 0, 0),
        (&[one][..], 125, 1),
        (&[one][..], 125, 1),
        (&both[..], 0, 2),
    ] {
        drop(fs::remove_dir_all(shared.whole()));
        let mut kvet = shared.kvet();
        kvet.args(["-vv", "join"])
            .args(parts)
            .arg("--out")
            .arg(shared.whole());
        kvet.env("HOOK", &address)
            .env("KVET_LINK", "https://ci.example/7");
        let output = tokio::task::spawn_blocking(move || kvet.output().unwrap());
        let output = output.await.unwrap();
        said.push_str(&told(&output));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(server.requests().len(), calls, "{output:?}");
    }
    let bodies: Vec<String> = server.requests().into_iter().map(|one| one.body).collect();
    let text = |text: &str| json!({ "text": text }).to_string();
    assert_eq!(
        bodies,
        [
            text("example inconclusive fixed https://ci.example/7"),
            text("example fixed inconclusive https://ci.example/7")
        ]
    );
    said.push_str(&everything(shared.home.path()));
    assert!(said.contains("the webhook was told: inconclusive (before: fixed)"));
    assert!(!said.contains("SECRET"), "the address is told");
}

#[tokio::test]
async fn a_webhook_that_fails_costs_a_warning_and_is_told_the_next_time() {
    let notify = json!({ "notify": { "webhook": { "env": "HOOK" } } });
    let shared = Shared::with(&notify);
    let server = Server::start(|number, _| {
        let status = if number == 0 {
            "404 Not Found"
        } else {
            "200 OK"
        };
        Reply::Send(response(status, "", b""))
    })
    .await;
    let address = format!("{}/SECRET", server.address);
    for (hook, said) in [
        ("", "HOOK is not set in the environment"),
        ("SECRET", "what HOOK holds is not an address"),
        (&address, "the webhook was not told: it answered 404"),
        (
            &address,
            "the webhook was told: inconclusive (before: nothing)",
        ),
    ] {
        drop(fs::remove_dir_all(shared.whole()));
        let mut kvet = shared.kvet();
        kvet.arg("join")
            .arg(&shared.parts[0])
            .arg("--out")
            .arg(shared.whole());
        kvet.env("HOOK", hook);
        let output = tokio::task::spawn_blocking(move || kvet.output().unwrap());
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let told = told(&output);
        assert!(told.contains(said) && !told.contains("SECRET"), "{told}");
    }
}

const JOB: &str = "\
name: nightly
kernel: { source: { version: latest-stable }, config: [base] }
workload: { use: evict-truncate }
cluster: { mon: 1, mgr: 1, osd: 1, mds: 1 }
target: { class: hung_task }
trials: 2
arms:
  stock: { control: true }
  fixed: { patches: [ceph-iput-async] }
";

#[tokio::test]
async fn a_scheduled_job_runs_for_something_new_alone() {
    let newest = std::sync::Arc::new(std::sync::Mutex::new("7.3.4"));
    let listed = std::sync::Arc::clone(&newest);
    let server = Server::start(move |_, _| {
        let version = *listed.lock().unwrap();
        let list = json!({ "latest_stable": { "version": version },
            "releases": [{ "moniker": "stable", "version": version }] });
        Reply::Send(response("200 OK", "", list.to_string().as_bytes()))
    })
    .await;
    let shared = Shared::new();
    let job = shared.home.path().join("nightly.yaml");
    fs::write(&job, JOB).unwrap();
    let releases = format!("{}/releases.json", server.address);
    let kvet = |arguments: &[&str]| {
        let mut kvet = shared.kvet();
        kvet.args(arguments)
            .arg("--if-new")
            .current_dir(shared.home.path());
        kvet.env("KVET_KERNEL_RELEASES", &releases);
        tokio::task::spawn_blocking(move || kvet.output().unwrap())
    };
    let planned = kvet(&["plan", "nightly.yaml", "--format", "json"])
        .await
        .unwrap();
    let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
    let run = &plan["runs"][0];
    assert_eq!(run["sources"], json!(["linux-7.3.4"]));
    let arguments: Vec<&Value> = run["parts"].as_array().unwrap().iter().collect();
    assert_eq!(
        arguments[1]["arguments"],
        "--kernel kernel.org:7.3.4 --part 2/2"
    );

    // What a run of it would have left.
    let answered = |verdict: &str| {
        let answer = json!({ "question": run["question"], "sources": run["sources"],
            "at": "2026-01-02T03:04:05Z", "verdict": verdict, "run": "/runs/1" });
        let file = shared.home.path().join("state/kvet/tested/nightly.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let kept = json!({ "version": 1, "answers": [answer] });
        fs::write(file, kept.to_string()).unwrap();
    };
    answered("fixed");
    let nothing = "nothing new: linux-7.3.4 was tested on 2026-01-02: fixed (/runs/1)\n";
    for command in [["run", "nightly.yaml"], ["plan", "nightly.yaml"]] {
        let ended = kvet(&command).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stdout), nothing);
    }
    assert!(
        !shared.home.path().join("state/kvet/runs").exists(),
        "no trial"
    );
    let github = kvet(&["plan", "nightly.yaml", "--format", "github"])
        .await
        .unwrap();
    let github = String::from_utf8(github.stdout).unwrap();
    assert_eq!(github, "new=false\nparts={\"include\":[]}\nruns=\n");
    let is_new = |text: Output| {
        String::from_utf8(text.stdout)
            .unwrap()
            .contains("--part 2/2")
    };
    assert!(is_new(
        kvet(&["plan", "nightly.yaml", "--force"]).await.unwrap()
    ));

    // An undecided answer is asked for again, another kernel or job is new.
    answered("inconclusive");
    assert!(is_new(kvet(&["plan", "nightly.yaml"]).await.unwrap()));
    answered("not_fixed");
    assert!(!is_new(kvet(&["plan", "nightly.yaml"]).await.unwrap()));
    *newest.lock().unwrap() = "7.3.5";
    assert!(is_new(kvet(&["plan", "nightly.yaml"]).await.unwrap()));
    *newest.lock().unwrap() = "7.3.4";
    assert!(!is_new(kvet(&["plan", "nightly.yaml"]).await.unwrap()));
    fs::write(&job, JOB.replace("trials: 2", "trials: 3")).unwrap();
    assert!(is_new(kvet(&["plan", "nightly.yaml"]).await.unwrap()));
    fs::write(&job, JOB).unwrap();

    // What is kept of it may be damaged.
    let file = shared.home.path().join("state/kvet/tested/nightly.json");
    fs::write(&file, "{ \"version\": 1, \"answ").unwrap();
    let ended = kvet(&["plan", "nightly.yaml"]).await.unwrap();
    assert!(
        String::from_utf8_lossy(&ended.stderr).contains("is damaged"),
        "{ended:?}"
    );
    assert!(is_new(ended));
    assert!(file.with_extension("json.damaged").exists());
}

#[test]
fn a_joined_run_is_remembered_by_its_question() {
    let question = "ab".repeat(16);
    let shared = Shared::with(&json!({ "question": question }));
    assert_eq!(shared.join_all().status.code(), Some(0));
    let kept = fs::read(shared.home.path().join("state/kvet/tested/example.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    let answer = &kept["answers"][0];
    assert_eq!(answer["question"], json!(question));
    assert_eq!(answer["verdict"], "fixed");
    assert_eq!(answer["sources"], json!(["linux-source-7.3"]));
    // Where that cannot be kept, the verdict stands.
    let unwritable = Shared::with(&json!({ "question": question }));
    fs::write(unwritable.home.path().join("state"), "not a directory").unwrap();
    let joined = unwritable.join_all();
    assert_eq!(joined.status.code(), Some(0), "{joined:?}");
    assert!(
        told(&joined).contains("the answer is not remembered"),
        "{joined:?}"
    );
}

#[test]
fn a_plan_that_cannot_be_handed_on_is_refused() {
    let shared = Shared::new();
    let job = JOB.replace("version: latest-stable", "version: 7.3.4");
    fs::write(shared.home.path().join("nightly.yaml"), &job).unwrap();
    fs::write(shared.home.path().join("a b.yaml"), &job).unwrap();
    fs::write(
        shared.home.path().join("until.yaml"),
        job.replace("trials: 2", "trials: until 95%"),
    )
    .unwrap();
    let kvet = |arguments: &[&str]| {
        let mut kvet = shared.kvet();
        kvet.args(arguments)
            .current_dir(shared.home.path())
            .output()
            .unwrap()
    };
    let refused = kvet(&["plan", "a b.yaml"]);
    assert_eq!(refused.status.code(), Some(128));
    assert!(
        told(&refused).contains("cannot be handed on"),
        "{refused:?}"
    );
    let one = kvet(&["plan", "until.yaml", "--parts", "4"]);
    assert!(told(&one).contains("1 parts, 400 trials") || told(&one).contains("--part 1/1"));
    assert!(
        told(&one).contains("one part: trials go on until"),
        "{one:?}"
    );
    for (arguments, said) in [
        (
            ["run", "nightly.yaml", "--part", "3/3"],
            "the run can be split into at most 2",
        ),
        (["run", "nightly.yaml", "--part", "5/4"], "is not a part"),
        (["run", "until.yaml", "--part", "1/2"], "trials go on until"),
    ] {
        let refused = kvet(&[&arguments[..], &["--dry-run"]].concat());
        assert_eq!(refused.status.code(), Some(128), "{refused:?}");
        assert!(told(&refused).contains(said), "{refused:?}");
    }
    let part = kvet(&["run", "nightly.yaml", "--part", "2/2", "--dry-run"]);
    let part = told(&part);
    assert!(
        part.contains("arm fixed, 2 trials") && !part.contains("arm stock"),
        "{part}"
    );
}

#[test]
fn a_wrong_body_or_source_is_shown_in_its_place() {
    let shared = Shared::new();
    let hook = "notify: { webhook: { env: HOOK } }\n";
    for (job, said) in [
        (
            format!(
                "{JOB}notify:\n  webhook: {{ env: HOOK }}\n  body: {{ text: \"{{{{jub}}}}\" }}\n"
            ),
            "job.yaml:12:9: there is no `{{jub}}`",
        ),
        (
            format!("{JOB}notify: {{ webhook: \"https://x.example/SECRET\" }}\n"),
            "is a secret and has no place in a job",
        ),
        (
            format!("{JOB}{hook}").replace("latest-stable", "latest-stabel"),
            "`latest-stabel` is not a kernel version",
        ),
        (
            format!("{JOB}{hook}").replace("version: latest-stable", "watch: { repo: /x }"),
            "missing field `branch`",
        ),
    ] {
        fs::write(shared.home.path().join("job.yaml"), job).unwrap();
        let mut kvet = shared.kvet();
        kvet.args(["run", "job.yaml", "--dry-run"]);
        let refused = kvet.current_dir(shared.home.path()).output().unwrap();
        assert_eq!(refused.status.code(), Some(128), "{refused:?}");
        assert!(told(&refused).contains(said), "{}", told(&refused));
    }
}
