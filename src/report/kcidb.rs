//! The report as a KCIDB submission, schema 5.3, for the `KernelCI` project. An arm
//! is a checkout and a build, a trial is a test, each finding is an issue, and a
//! trial that showed it is an incident of it. There a test is of its kernel
//! alone: a control that shows the bug has failed.

use std::collections::HashSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::known;
use super::model::{ArmReport, Report, TrialReport};
use super::safe::{cut, identifier, plain};
use super::shown::{Shown, deciding, heading, name, shown, stack};
use super::standing::why;
use crate::outcome::Outcome;

/// Whose results they are: the schema wants `[a-z0-9_]+`, and every id to begin
/// with it.
const ORIGIN: &str = "kvet";
/// Characters of an excerpt, by the schema.
const EXCERPT: usize = 16_384;

/// The submission.
#[must_use]
pub fn kcidb(report: &Report) -> Value {
    let run = run(report);
    let mut checkouts = Vec::new();
    let mut builds = Vec::new();
    let mut tests = Vec::new();
    for arm in &report.arms {
        checkouts.push(checkout(report, arm, &run));
        builds.push(build(report, arm, &run));
        let trials = arm.trials.iter();
        tests.extend(trials.map(|trial| test(report, arm, trial, &run)));
    }
    let shown = shown(report);
    let submission = json!({
        "version": { "major": 5, "minor": 3 },
        "checkouts": checkouts,
        "builds": builds,
        "tests": tests,
        "issues": shown.iter().map(|shown| issue(report, shown)).collect::<Vec<_>>(),
        "incidents": incidents(report, &shown, &run),
    });
    without_nul(submission)
}

/// The same with U+FFFD for each NUL: databases of text take all characters but that
/// one, and would refuse the whole.
fn without_nul(value: Value) -> Value {
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(of) => Value::String(text(&of)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(entries) => {
            let entries = entries.into_iter();
            let safe = entries.map(|(key, value)| (text(&key), without_nul(value)));
            Value::Object(safe.collect())
        }
        other => other,
    }
}

/// What tells this run from all others.
fn run(report: &Report) -> String {
    let mut hash = Sha256::new();
    for part in [&report.job, &report.started, &report.host.kernel] {
        hash.update(part);
        hash.update([0]);
    }
    for kernel in report.arms.iter().filter_map(|arm| arm.kernel.as_ref()) {
        hash.update(&kernel.key);
        hash.update([0]);
    }
    format!("{}-{}", identifier(&report.job), short(hash))
}

/// Half a hash is enough for a name.
fn short(hash: Sha256) -> String {
    hex::encode(&hash.finalize()[..16])
}

fn of_arm(run: &str, arm: &ArmReport) -> String {
    format!("{ORIGIN}:{run}/{}", plain(&arm.name))
}

fn of_trial(run: &str, arm: &ArmReport, trial: &TrialReport) -> String {
    let workload = plain(&trial.workload);
    format!("{}/{workload}/{}", of_arm(run, arm), trial.number)
}

fn of_issue(shown: &Shown<'_>) -> String {
    let mut hash = Sha256::new();
    hash.update(&shown.finding.signature);
    hash.update([0]);
    hash.update(&shown.finding.title);
    format!("{ORIGIN}:{}", short(hash))
}

fn checkout(report: &Report, arm: &ArmReport, run: &str) -> Value {
    let mut value = json!({
        "id": of_arm(run, arm),
        "origin": ORIGIN,
        "misc": { "job": report.job, "arm": arm.name, "control": arm.control },
    });
    if is_time(&report.started) {
        value["start_time"] = json!(report.started);
    }
    if let Some(kernel) = &arm.kernel {
        value["valid"] = json!(true);
        value["comment"] = json!(plain(&kernel.origin));
        value["git_commit_name"] = json!(plain(&kernel.release));
        value["patchset_hash"] = json!(patchset_hash(&kernel.patches));
        value["misc"]["patches"] = json!(kernel.patches);
    }
    value
}

/// The SHA-256 over the patches' own, each with a line end; nothing without
/// patches.
fn patchset_hash(patches: &[(String, String)]) -> String {
    if patches.is_empty() {
        return String::new();
    }
    let lines = patches.iter().map(|(_, hash)| format!("{hash}\n"));
    hex::encode(Sha256::digest(lines.collect::<String>()))
}

fn build(report: &Report, arm: &ArmReport, run: &str) -> Value {
    let mut value = json!({
        "id": of_arm(run, arm),
        "origin": ORIGIN,
        "checkout_id": of_arm(run, arm),
        "architecture": "x86_64",
        "config_name": plain(&arm.configuration.join("+")),
    });
    if let Some(compiler) = &arm.compiler {
        value["compiler"] = json!(plain(compiler));
    }
    if is_time(&report.started) {
        value["start_time"] = json!(report.started);
    }
    if let Some(kernel) = &arm.kernel {
        value["status"] = json!("PASS");
        value["misc"] = json!({ "key": kernel.key, "cached": kernel.cached });
    }
    if let Some(broken) = &arm.broken {
        value["status"] = json!("FAIL");
        value["log_excerpt"] = json!(excerpt(&[plain(&broken.message)]));
    }
    value
}

fn test(report: &Report, arm: &ArmReport, trial: &TrialReport, run: &str) -> Value {
    let host = &report.host;
    let machine = format!("{}, {}, {}", host.qemu, host.accelerator, host.service);
    let mut value = json!({
        "id": of_trial(run, arm, trial),
        "origin": ORIGIN,
        "build_id": of_arm(run, arm),
        "path": format!("{ORIGIN}.{}", identifier(&trial.workload)),
        "status": status(trial.judged.outcome),
        "comment": cut(&plain(&why(trial)), 1000),
        "duration": trial.seconds.max(0.0),
        "environment": { "comment": plain(&machine) },
        "misc": {
            "arm": arm.name,
            "control": arm.control,
            "trial": trial.number,
            "attempts": trial.attempts,
            "outcome": trial.judged.outcome.name(),
            "counters": trial.counters,
        },
    });
    if let Some(finding) = deciding(trial) {
        let mut lines = vec![heading(finding)];
        lines.extend(stack(finding));
        value["log_excerpt"] = json!(excerpt(&lines));
    }
    value
}

/// What an outcome is in KCIDB's words: FAIL is the kernel's, ERROR the test's,
/// MISS the harness's, which could not run it.
fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "PASS",
        Outcome::Target | Outcome::Other => "FAIL",
        Outcome::Workload | Outcome::Timeout | Outcome::Unarmed => "ERROR",
        Outcome::Harness => "MISS",
    }
}

fn issue(report: &Report, shown: &Shown<'_>) -> Value {
    let finding = shown.finding;
    let mut issue = json!({
        "id": of_issue(shown),
        "version": 1,
        "origin": ORIGIN,
        "comment": cut(&plain(&finding.title), 1000),
        "report_subject": cut(&plain(&finding.title), 1000),
        "categories": [format!("{ORIGIN}.{}", finding.class)],
        "culprit": { "code": true, "tool": false, "harness": false },
        "misc": { "class": finding.class, "signature": finding.signature },
    });
    if let Some(known) = known::entry(report, &finding.title) {
        issue["misc"]["known"] = json!(plain(&known.reason));
        issue["comment"] = json!(cut(
            &plain(&format!("{}: {}", finding.title, known.reason)),
            1000
        ));
        if let Some(link) = &known.link {
            issue["report_url"] = json!(plain(link));
        }
    }
    issue
}

/// One for each trial and finding. A known one is an incident like others: that
/// is how the database tells which failures nobody needs to look at.
fn incidents(report: &Report, shown: &[Shown<'_>], run: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for arm in &report.arms {
        for trial in &arm.trials {
            let findings: HashSet<_> = trial.findings.iter().map(name).collect();
            for shown in shown {
                if findings.contains(&name(shown.finding)) {
                    let test = of_trial(run, arm, trial);
                    let issue = of_issue(shown);
                    all.push(json!({
                        "id": format!("{test}/{}", &issue[ORIGIN.len() + 1..]),
                        "origin": ORIGIN,
                        "issue_id": issue,
                        "issue_version": 1,
                        "test_id": test,
                        "present": true,
                    }));
                }
            }
        }
    }
    all
}

fn excerpt(lines: &[String]) -> String {
    cut(&lines.join("\n"), EXCERPT)
}

/// A damaged record's word for when it began is left out.
fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn ids_begin_with_their_origin_and_lead_to_each_other() {
        for report in [fixture::report(), fixture::hostile()] {
            let submission = kcidb(&report);
            let list = |name: &str| submission[name].as_array().unwrap().clone();
            let ids = |name: &str| -> Vec<Value> {
                list(name).iter().map(|one| one["id"].clone()).collect()
            };
            for name in ["checkouts", "builds", "tests", "issues", "incidents"] {
                let ids = ids(name);
                for (number, id) in ids.iter().enumerate() {
                    assert!(id.as_str().unwrap().starts_with("kvet:"), "{id}");
                    assert!(!ids[..number].contains(id), "{id} twice in {name}");
                }
            }
            for (from, key, to) in [
                ("builds", "checkout_id", "checkouts"),
                ("tests", "build_id", "builds"),
                ("incidents", "test_id", "tests"),
                ("incidents", "issue_id", "issues"),
            ] {
                let ids = ids(to);
                assert!(
                    list(from).iter().all(|one| ids.contains(&one[key])),
                    "{key}"
                );
            }
        }
    }

    #[test]
    fn a_known_finding_is_an_issue_with_its_link_and_an_incident_of_a_test_that_passed() {
        let submission = kcidb(&fixture::known());
        let issues = submission["issues"].as_array().unwrap();
        let known = issues
            .iter()
            .find(|issue| issue["misc"]["known"] == "it is old");
        let known = known.unwrap();
        assert_eq!(known["report_url"], "https://tracker.example.org/1");
        let incidents = submission["incidents"].as_array().unwrap();
        let of_known = incidents
            .iter()
            .filter(|one| one["issue_id"] == known["id"]);
        let tests: Vec<&str> = of_known
            .map(|one| one["test_id"].as_str().unwrap())
            .collect();
        assert_eq!(tests.len(), 1);
        let all = submission["tests"].as_array().unwrap();
        let test = all.iter().find(|test| test["id"] == tests[0]).unwrap();
        assert_eq!(test["status"], "PASS");
    }

    #[test]
    fn the_harness_s_failures_are_no_kernel_s() {
        let submission = kcidb(&fixture::hostile());
        let tests = submission["tests"].as_array().unwrap();
        let statuses: Vec<&str> = tests
            .iter()
            .map(|t| t["status"].as_str().unwrap())
            .collect();
        let expected = [
            "PASS", "MISS", "PASS", "FAIL", "FAIL", "ERROR", "ERROR", "ERROR", "FAIL", "FAIL",
        ];
        assert_eq!(statuses, expected);
    }

    #[test]
    fn an_excerpt_has_the_schema_s_length() {
        let submission = kcidb(&fixture::large());
        let excerpt = submission["tests"][0]["log_excerpt"].as_str().unwrap();
        assert!(excerpt.chars().count() <= 16_384);
        let no_patch = patchset_hash(&[]);
        assert_eq!(no_patch, "");
    }

    /// Databases of text take every character but this one.
    #[test]
    fn there_is_no_nul_anywhere() {
        let mut report = fixture::hostile();
        report.arms[1].trials[0]
            .counters
            .insert("a\0b".to_owned(), 1);
        report.arms[0].kernel.as_mut().unwrap().patches = vec![("a\0".to_owned(), "b".to_owned())];
        let text = kcidb(&report).to_string();
        assert!(!text.contains("\\u0000"), "{text}");
    }
}
