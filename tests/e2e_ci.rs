//! The steps of the GitHub workflow and of GitLab's pipeline, executed as they
//! stand, line by line, in clean directories: each job in one of its own, with
//! nothing from another but what artifacts carry. Needs kernels that are in the
//! cache; what the services themselves do (check out, caches, artifacts) is
//! played here.
#![cfg(feature = "e2e")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;

/// What the user of these services adds to the plan: less than the whole job.
const ARGUMENTS: &str = "--arm stock --arm fixed --parts 2";

/// Guests of two runs would take each other's time.
static ALONE: Mutex<()> = Mutex::new(());

/// A service's machines: a directory for each job, and what is kept in between.
struct Service {
    home: TempDir,
    /// What an installed kvet is, for all machines.
    bin: PathBuf,
}

/// The environment of a job, and what `${{ … }}` stands for in it.
type Words = BTreeMap<String, String>;

impl Service {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join("usr-local-bin");
        fs::create_dir(&bin).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_kvet"), bin.join("kvet")).unwrap();
        Self { home, bin }
    }

    /// A clean directory with a checkout of the user's repository: a job that
    /// the fixture's kernels are in the cache for, cut short.
    fn machine(&self, name: &str) -> PathBuf {
        let directory = self.home.path().join(name);
        fs::create_dir(&directory).unwrap();
        let job = fs::read_to_string("jobs/ceph-iput-async.yaml").unwrap();
        let job = job.replace("name: ceph-iput-async", "name: mine");
        fs::write(directory.join("mine.yaml"), job).unwrap();
        directory
    }

    /// Runs the lines of a step; fails if they do, with what they said.
    fn run(&self, directory: &Path, lines: &str, environment: &Words) {
        // Where it is installed is this test's own.
        let lines = lines.replace(
            "/usr/local/bin/kvet",
            &self.bin.join("kvet").display().to_string(),
        );
        // The cache is of whoever runs this test.
        let lines = lines.replace("kvet cache prune", "kvet cache prune --dry-run");
        let path = std::env::var("PATH").unwrap();
        let ran = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &lines])
            .current_dir(directory)
            .env("PATH", format!("{}:{path}", self.bin.display()))
            .env("XDG_STATE_HOME", self.home.path().join("state"))
            .envs(environment)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{lines}: {}\n{said}{out}", ran.status);
    }
}

/// The text with each `${{ … }}` replaced; one that is not known fails the test.
fn expressed(text: &str, words: &Words) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (word, after) = after.split_once("}}").unwrap();
        out.push_str(before);
        out.push_str(
            words
                .get(word.trim())
                .unwrap_or_else(|| panic!("{word} is not known")),
        );
        rest = after;
    }
    out + rest
}

fn environment(node: &Value, words: &Words) -> Words {
    let entries = node.as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| {
        let written = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        (key.clone(), expressed(&written, words))
    };
    entries.map(text).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// One job of the workflow on a machine of its own; what its steps put out.
fn github_job(service: &Service, name: &str, job: &Value, words: &Words) -> Words {
    let directory = service.machine(&name.replace(['/', ' ', ':'], "-"));
    let artifacts = service.home.path().join("artifacts");
    let mut outputs = Words::new();
    let mut environment_of_job = environment(&job["env"], words);
    environment_of_job.insert("JOB".to_owned(), "mine.yaml".to_owned());
    let (output, summary) = (directory.join(".output"), directory.join(".summary"));
    for file in [&output, &summary] {
        fs::write(file, "").unwrap();
    }
    for (key, file) in [
        ("GITHUB_OUTPUT", &output),
        ("GITHUB_STEP_SUMMARY", &summary),
    ] {
        environment_of_job.insert(key.to_owned(), file.display().to_string());
    }
    let mut ran = 0;
    for step in job["steps"].as_array().unwrap() {
        let with = environment(&step["with"], words);
        let uses = step["uses"].as_str().unwrap_or_default();
        if uses.starts_with("actions/upload-artifact@") {
            for path in with["path"].lines() {
                // Of several paths each keeps its name.
                let to = artifacts.join(&with["name"]);
                let several = with["path"].lines().count() > 1;
                let to = if several { to.join(path) } else { to };
                copy(&directory.join(path), &to);
            }
        } else if uses.starts_with("actions/download-artifact@") {
            let to = directory.join(&with["path"]);
            match (with.get("name"), with.get("pattern")) {
                (Some(name), _) => copy(&artifacts.join(name), &to),
                (None, Some(pattern)) => {
                    let start = pattern.strip_suffix('*').unwrap();
                    for entry in fs::read_dir(&artifacts).unwrap() {
                        let name = entry.unwrap().file_name().into_string().unwrap();
                        if name.starts_with(start) {
                            copy(&artifacts.join(&name), &to.join(&name));
                        }
                    }
                }
                _ => panic!("{step}"),
            }
        } else if let Some(lines) = step["run"].as_str() {
            let mut all = environment_of_job.clone();
            all.extend(environment(&step["env"], words));
            service.run(&directory, lines, &all);
            ran += 1;
        } else {
            assert!(
                uses.starts_with("actions/checkout@") || uses.starts_with("actions/cache"),
                "{step}"
            );
        }
    }
    assert!(ran > 0, "{name}");
    for line in fs::read_to_string(&output).unwrap().lines() {
        let (key, value) = line.split_once('=').unwrap();
        outputs.insert(key.to_owned(), value.to_owned());
    }
    outputs.insert("summary".to_owned(), fs::read_to_string(&summary).unwrap());
    outputs
}

/// What this test's service says, where an expression asks.
fn words() -> Words {
    let known = [
        (
            "github.event_name == 'schedule' && '--if-new' || ''",
            "--if-new",
        ),
        ("inputs.arguments", ARGUMENTS),
        ("env.KVET_REPOSITORY", "someone/kvet"),
        ("secrets.KVET_WEBHOOK", ""),
        ("github.server_url", "https://github.example"),
        ("github.repository", "someone/mine"),
        ("github.run_id", "7"),
        ("github.run_attempt", "1"),
        ("hashFiles('.kvet/Cargo.lock', '.kvet/src/**')", "0"),
    ];
    known
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn the_workflow_s_steps_lead_to_a_verdict() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let workflow = fs::read_to_string("share/ci/github.yml").unwrap();
    let workflow: Value = serde_yaml::from_str(&workflow).unwrap();
    let jobs = &workflow["jobs"];
    let service = Service::new();
    let mut words = words();
    let planned = github_job(&service, "plan", &jobs["plan"], &words);
    assert_eq!(planned["new"], "true");
    for (key, _) in jobs["plan"]["outputs"].as_object().unwrap() {
        words.insert(format!("needs.plan.outputs.{key}"), planned[key].clone());
    }
    let matrix: Value = serde_json::from_str(&planned["parts"]).unwrap();
    let parts = matrix["include"].as_array().unwrap();
    assert_eq!(parts.len(), 2);
    for part in parts {
        let mut words = words.clone();
        for (key, value) in part.as_object().unwrap() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            words.insert(format!("matrix.{key}"), text);
        }
        github_job(
            &service,
            part["name"].as_str().unwrap(),
            &jobs["part"],
            &words,
        );
    }
    let verdict = github_job(&service, "verdict", &jobs["verdict"], &words);
    assert!(
        verdict["summary"].contains("## mine: fixed"),
        "{}",
        verdict["summary"]
    );
    let annotations = service.home.path().join("artifacts/verdict/reports");
    let run = fs::read_dir(annotations)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let annotations = fs::read_to_string(run.join("annotations.txt")).unwrap();
    assert!(
        annotations.starts_with("::notice title=mine%3A fixed::"),
        "{annotations}"
    );

    // The next night there is nothing new, and nothing is run.
    fs::rename(
        service.home.path().join("plan"),
        service.home.path().join("first"),
    )
    .unwrap();
    let planned = github_job(&service, "plan", &jobs["plan"], &words);
    assert_eq!(planned["new"], "false");
    // Nor by a run that asks the same in one piece.
    let again = "kvet run mine.yaml --arm stock --arm fixed --if-new --out again > said\n\
        grep '^nothing new: .* fixed' said && [ ! -e again ]";
    let machine = service.machine("alone");
    service.run(&machine, again, &Words::new());
}

/// The lines of a GitLab job, with what it takes from those it extends.
fn gitlab_job(job: &Value, templates: &Value) -> (Vec<String>, Value) {
    let mut merged = match job["extends"].as_str() {
        Some(name) => gitlab_job(&templates[name], templates).1,
        None => Value::Object(serde_json::Map::new()),
    };
    for (key, value) in job.as_object().unwrap() {
        let variables = key == "variables" && merged[key].is_object();
        if variables {
            for (name, value) in value.as_object().unwrap() {
                merged[key][name] = value.clone();
            }
        } else {
            merged[key] = value.clone();
        }
    }
    let lines = ["before_script", "script", "after_script"]
        .iter()
        .flat_map(|part| merged[*part].as_array().cloned().unwrap_or_default())
        .map(|line| line.as_str().unwrap().to_owned())
        .collect();
    (lines, merged)
}

#[test]
fn the_pipeline_s_lines_lead_to_a_verdict() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let read = |text: &str| -> Value { serde_yaml::from_str(text).unwrap() };
    let parent = read(&fs::read_to_string("share/ci/gitlab.yml").unwrap());
    let templates = read(&fs::read_to_string("share/ci/kvet-child.yml").unwrap());
    let service = Service::new();
    let cache = std::env::var("XDG_CACHE_HOME")
        .unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap()));
    let state = service.home.path().join("state").display().to_string();
    let run = |name: &str, job: &Value, more: &Value| {
        let directory = service.machine(name);
        for artifact in ["bin", "parts"] {
            let kept = service.home.path().join(artifact);
            if kept.exists() {
                copy(&kept, &directory.join(artifact));
            }
        }
        let (lines, merged) = gitlab_job(job, &templates);
        let mut all = Words::new();
        for node in [more, &merged["variables"]] {
            for (key, value) in node.as_object().into_iter().flatten() {
                let value = value.as_str().or(value["value"].as_str()).unwrap();
                all.insert(key.clone(), value.to_owned());
            }
        }
        // The service's caches.
        all.insert("XDG_CACHE_HOME".to_owned(), cache.clone());
        all.insert("XDG_STATE_HOME".to_owned(), state.clone());
        all.insert("KVET_JOB".to_owned(), "mine.yaml".to_owned());
        all.insert("KVET_PLAN".to_owned(), ARGUMENTS.to_owned());
        for line in lines {
            service.run(&directory, &line, &all);
        }
        let artifacts = merged["artifacts"]["paths"].as_array().unwrap();
        for path in artifacts.iter().map(|path| path.as_str().unwrap()) {
            if directory.join(path).exists() && path != "child.yml" {
                copy(&directory.join(path), &service.home.path().join(path));
            }
        }
        directory
    };
    let planned = run("plan", &parent["plan"], &parent["variables"]);
    let child = read(&fs::read_to_string(planned.join("child.yml")).unwrap());
    let of = |what: &str| -> Vec<Value> {
        let jobs = child.as_object().unwrap().values();
        jobs.filter(|job| job["extends"] == what).cloned().collect()
    };
    let parts = of(".kvet-part");
    assert_eq!(parts.len(), 2);
    for (number, part) in parts.iter().enumerate() {
        run(&format!("part-{number}"), part, &child["variables"]);
    }
    let verdicts = of(".kvet-verdict");
    assert_eq!(verdicts.len(), 1);
    let verdict = run("verdict", &verdicts[0], &child["variables"]);
    let junit = templates[".kvet-verdict"]["artifacts"]["reports"]["junit"]
        .as_str()
        .unwrap();
    let junit = fs::read_to_string(verdict.join(junit)).unwrap();
    assert!(junit.contains("<testsuite"), "{junit}");
    let summary = fs::read_to_string(verdict.join("reports/summary.md")).unwrap();
    assert!(summary.starts_with("## mine: fixed"), "{summary}");
}
