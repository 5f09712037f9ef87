//! The report as `JUnit` XML, valid by the strictest schema in use (the
//! junit-10.xsd of Jenkins' xUnit plugin). An arm is a test suite. What an arm
//! does in a workload is a test case, so that a case has the same name in every
//! run; its trials are runs of it, and those that differ from what the case
//! came to are told as flaky or repeated ones. A last suite has the verdict.
//!
//! A case tells whether the arm behaved as expected, so a control that shows
//! its target passes, and one that never does fails.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::known;
use super::model::{ArmReport, Report, TrialReport};
use super::safe::{cut, plain};
use super::shown::{deciding, heading, stack};
use super::standing::{Standing, standing, why};
use super::table::missing;
use crate::error::Exit;

/// Runs of a case that are told one by one; GitLab reads 30 MB of a file.
const RUNS: usize = 50;
/// Characters of a message.
const MESSAGE: usize = 1000;
/// Lines of a stack or of a case's output; GitLab shows 80.
const LINES: usize = 70;

/// The XML document as text.
#[must_use]
pub fn junit(report: &Report) -> String {
    let mut suites: Vec<Suite> = report.arms.iter().map(|arm| suite(report, arm)).collect();
    suites.push(verdict(report));
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 4);
    // Writing to memory does not fail.
    match document(&mut writer, report, &suites) {
        Ok(()) => String::from_utf8(writer.into_inner()).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

struct Suite {
    name: String,
    /// What is known and was passed over, and why.
    known: Vec<(String, String)>,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    class: String,
    seconds: f64,
    /// The run that decided a case that did not pass, first; then the runs that
    /// differ from what is expected.
    result: Option<Run>,
    runs: Vec<Run>,
    output: String,
}

/// One element below a case.
struct Run {
    element: &'static str,
    kind: String,
    message: String,
    body: String,
}

fn suite(report: &Report, arm: &ArmReport) -> Suite {
    let class = plain(&format!("{}.{}", report.job, arm.name));
    let mut workloads: Vec<&str> = Vec::new();
    for trial in &arm.trials {
        if !workloads.contains(&trial.workload.as_str()) {
            workloads.push(&trial.workload);
        }
    }
    let mut cases: Vec<Case> = workloads
        .iter()
        .map(|workload| case(report, arm, workload, &class))
        .collect();
    let extra = |name: &str, element, kind: &str, message: String| Case {
        name: name.to_owned(),
        class: class.clone(),
        seconds: 0.0,
        result: Some(Run {
            element,
            kind: kind.to_owned(),
            message,
            body: String::new(),
        }),
        runs: Vec::new(),
        output: String::new(),
    };
    let missing = missing(report, arm);
    if let Some(broken) = &arm.broken {
        let message = message(&broken.message);
        cases.push(extra("the kernel", "error", "broken", message));
    } else if missing > 0 {
        let message = format!("{missing} of {} trials did not run", arm.planned);
        cases.push(extra("trials not run", "skipped", "missing", message));
    }
    Suite {
        name: plain(&arm.name),
        known: passed_over(report, arm),
        cases,
    }
}

fn case(report: &Report, arm: &ArmReport, workload: &str, class: &str) -> Case {
    let trials = arm.trials.iter().filter(|trial| trial.workload == workload);
    let trials: Vec<&TrialReport> = trials.collect();
    let standing = |trial: &TrialReport| standing(report, arm, trial);
    let mut result = None;
    let mut runs = Vec::new();
    // What the kernel did outranks what says nothing of it.
    for (wanted, decided, repeated) in [
        (Standing::Failed, "failure", "rerunFailure"),
        (Standing::Untold, "error", "rerunError"),
    ] {
        for trial in trials.iter().filter(|trial| standing(trial) == wanted) {
            if result.is_none() {
                result = Some(run(decided, trial));
            } else {
                runs.push(run(repeated, trial));
            }
        }
    }
    for trial in trials.iter().filter(|t| standing(t) == Standing::Excused) {
        let tells = trial.judged.outcome.tells();
        // Only a case that passed is flaky.
        runs.push(run(
            match (result.is_none(), tells) {
                (true, true) => "flakyFailure",
                (true, false) => "flakyError",
                (false, true) => "rerunFailure",
                (false, false) => "rerunError",
            },
            trial,
        ));
    }
    runs.truncate(RUNS);
    Case {
        name: plain(workload),
        class: class.to_owned(),
        seconds: trials.iter().map(|trial| trial.seconds.max(0.0)).sum(),
        result,
        runs,
        output: output(&trials),
    }
}

fn run(element: &'static str, trial: &TrialReport) -> Run {
    let mut lines = Vec::new();
    if let Some(finding) = deciding(trial) {
        lines.push(heading(finding));
        lines.extend(stack(finding).into_iter().map(|line| format!(" {line}")));
        lines.truncate(LINES);
    }
    lines.push(format!("recorded in {}", plain(&trial.directory)));
    Run {
        element,
        kind: trial.judged.outcome.name().to_owned(),
        message: message(&format!("trial {}: {}", trial.number, why(trial))),
        body: lines.join("\n"),
    }
}

/// What each trial came to, a line each.
fn output(trials: &[&TrialReport]) -> String {
    let line = |trial: &&TrialReport| {
        let text = format!("trial {}: {}", trial.number, why(trial));
        cut(&plain(&text), 200)
    };
    let mut lines: Vec<String> = trials.iter().map(line).take(LINES).collect();
    if trials.len() > lines.len() {
        lines.push(format!("and {} more", trials.len() - lines.len()));
    }
    lines.join("\n")
}

fn message(text: &str) -> String {
    cut(&plain(text), MESSAGE)
}

fn verdict(report: &Report) -> Suite {
    let verdict = &report.verdict;
    let name = verdict.kind.name();
    let element = match verdict.kind.exit() {
        Exit::Good => None,
        Exit::Bad => Some("failure"),
        _ => Some("error"),
    };
    let why = verdict.reasons.join("; ");
    Suite {
        name: "verdict".to_owned(),
        known: known::sentences(report)
            .iter()
            .map(|sentence| ("known findings".to_owned(), message(sentence)))
            .collect(),
        cases: vec![Case {
            name: "verdict".to_owned(),
            class: plain(&report.job),
            seconds: 0.0,
            result: element.map(|element| Run {
                element,
                kind: name.to_owned(),
                message: message(&format!("{name}: {why}")),
                body: String::new(),
            }),
            runs: Vec::new(),
            output: message(&format!("{name}: {why}")),
        }],
    }
}

type Xml = Writer<Vec<u8>>;

fn document(xml: &mut Xml, report: &Report, suites: &[Suite]) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all = Counts::of(suites.iter().flat_map(|suite| &suite.cases));
    let mut tag = BytesStart::new("testsuites");
    tag.push_attribute(("name", plain(&report.job).as_str()));
    tag.push_attribute(("time", seconds(report.seconds).as_str()));
    // The schema knows no number of skipped ones here.
    all.tell(&mut tag);
    xml.write_event(Event::Start(tag))?;
    for suite in suites {
        let counts = Counts::of(&suite.cases);
        let time = suite.cases.iter().map(|case| case.seconds).sum();
        let mut tag = BytesStart::new("testsuite");
        tag.push_attribute(("name", suite.name.as_str()));
        tag.push_attribute(("time", seconds(time).as_str()));
        tag.push_attribute(("timestamp", plain(&report.started).as_str()));
        counts.tell(&mut tag);
        tag.push_attribute(("skipped", counts.skipped.to_string().as_str()));
        xml.write_event(Event::Start(tag))?;
        properties(xml, &suite.known)?;
        for case in &suite.cases {
            write_case(xml, case)?;
        }
        xml.write_event(Event::End(BytesEnd::new("testsuite")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("testsuites")))?;
    xml.get_mut().push(b'\n');
    Ok(())
}

fn properties(xml: &mut Xml, all: &[(String, String)]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    xml.write_event(Event::Start(BytesStart::new("properties")))?;
    for (name, value) in all.iter().take(RUNS) {
        let mut tag = BytesStart::new("property");
        tag.push_attribute(("name", name.as_str()));
        tag.push_attribute(("value", value.as_str()));
        xml.write_event(Event::Empty(tag))?;
    }
    xml.write_event(Event::End(BytesEnd::new("properties")))
}

/// The known findings that an arm showed: what is passed over fails nothing, and
/// is no test that was skipped either.
fn passed_over(report: &Report, arm: &ArmReport) -> Vec<(String, String)> {
    let mut properties = Vec::new();
    for known in report.known.iter().filter(|known| !known.expired) {
        for seen in known.seen.iter().filter(|seen| seen.arm == arm.name) {
            let (hits, trials) = (seen.hits, seen.trials);
            for title in &seen.titles {
                let value = format!("{title}: {} ({hits} of {trials} trials)", known.reason);
                properties.push(("known finding".to_owned(), message(&value)));
            }
        }
    }
    properties
}

fn write_case(xml: &mut Xml, case: &Case) -> io::Result<()> {
    let mut tag = BytesStart::new("testcase");
    tag.push_attribute(("classname", case.class.as_str()));
    tag.push_attribute(("name", case.name.as_str()));
    tag.push_attribute(("time", seconds(case.seconds).as_str()));
    xml.write_event(Event::Start(tag))?;
    for run in case.result.iter().chain(&case.runs) {
        let mut tag = BytesStart::new(run.element);
        tag.push_attribute(("type", run.kind.as_str()));
        tag.push_attribute(("message", run.message.as_str()));
        element(xml, tag, &run.body)?;
    }
    if !case.output.is_empty() {
        element(xml, BytesStart::new("system-out"), &case.output)?;
    }
    xml.write_event(Event::End(BytesEnd::new("testcase")))
}

fn element(xml: &mut Xml, tag: BytesStart<'_>, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return xml.write_event(Event::Empty(tag));
    }
    let end = tag.to_end().into_owned();
    xml.write_event(Event::Start(tag))?;
    xml.write_event(Event::Text(BytesText::new(text)))?;
    xml.write_event(Event::End(end))
}

#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.tests += 1;
            match case.result.as_ref().map(|run| run.element) {
                Some("failure") => counts.failures += 1,
                Some("error") => counts.errors += 1,
                Some(_) => counts.skipped += 1,
                None => {}
            }
        }
        counts
    }

    fn tell(&self, tag: &mut BytesStart<'_>) {
        tag.push_attribute(("tests", self.tests.to_string().as_str()));
        tag.push_attribute(("failures", self.failures.to_string().as_str()));
        tag.push_attribute(("errors", self.errors.to_string().as_str()));
    }
}

fn seconds(time: f64) -> String {
    // The sum of nothing is -0.0.
    format!("{:.3}", time.max(0.0).abs())
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::super::fixture;
    use super::*;
    use crate::outcome::Outcome;

    /// What junit-10.xsd allows: for each element its attributes (those that
    /// must be there first, then the others) and its children.
    fn rules(name: &str) -> (&[&str], &[&str], &[&str]) {
        let rerun: (&[&str], &[&str], &[&str]) = (
            &["type"],
            &["message"],
            &["stackTrace", "system-out", "system-err"],
        );
        match name {
            "testsuites" => (
                &[],
                &["name", "time", "tests", "failures", "errors"],
                &["testsuite"],
            ),
            "testsuite" => (
                &["name", "tests", "failures", "errors"],
                &[
                    "group",
                    "time",
                    "skipped",
                    "timestamp",
                    "hostname",
                    "id",
                    "package",
                    "file",
                    "log",
                    "url",
                ],
                &[
                    "testsuite",
                    "properties",
                    "testcase",
                    "system-out",
                    "system-err",
                ],
            ),
            "testcase" => (
                &["name"],
                &["time", "classname", "group"],
                &[
                    "skipped",
                    "error",
                    "failure",
                    "rerunFailure",
                    "rerunError",
                    "flakyFailure",
                    "flakyError",
                    "system-out",
                    "system-err",
                ],
            ),
            "properties" => (&[], &[], &["property"]),
            "property" => (&["name", "value"], &[], &[]),
            "failure" | "error" | "skipped" => (&[], &["type", "message"], &[]),
            "rerunFailure" | "rerunError" | "flakyFailure" | "flakyError" => rerun,
            "system-out" | "system-err" | "stackTrace" => (&[], &[], &[]),
            other => panic!("the schema has no element {other}"),
        }
    }

    fn check(node: Node<'_, '_>) {
        let name = node.tag_name().name();
        let (must, may, children) = rules(name);
        for attribute in must {
            assert!(node.has_attribute(*attribute), "{name} lacks {attribute}");
        }
        for attribute in node.attributes() {
            let attribute_name = attribute.name();
            assert!(
                must.contains(&attribute_name) || may.contains(&attribute_name),
                "{name} must not have {attribute_name}"
            );
            if attribute_name == "time" {
                let time = attribute.value();
                let plain = |c: char| c.is_ascii_digit() || c == '.';
                assert!(time.chars().all(plain), "{time}");
                assert!(time.matches('.').count() <= 1, "{time}");
            }
        }
        for child in node.children().filter(Node::is_element) {
            let child_name = child.tag_name().name();
            assert!(children.contains(&child_name), "{child_name} in {name}");
            check(child);
        }
    }

    fn cases(report: &Report) -> Vec<(String, Vec<String>)> {
        let text = junit(report);
        let document = Document::parse(&text).unwrap();
        check(document.root_element());
        let cases = document
            .descendants()
            .filter(|n| n.has_tag_name("testcase"));
        cases
            .map(|case| {
                let class = case.attribute("classname").unwrap();
                let name = format!("{class}/{}", case.attribute("name").unwrap());
                let children = case.children().filter(Node::is_element);
                let children = children.map(|child| child.tag_name().name().to_owned());
                (
                    name,
                    children.filter(|child| child != "system-out").collect(),
                )
            })
            .collect()
    }

    #[test]
    fn a_mixed_control_is_flaky_and_passes() {
        let expected = [
            ("example.stock/example", vec!["flakyFailure"]),
            ("example.fixed/example", vec![]),
            ("example/verdict", vec![]),
        ];
        let found = cases(&fixture::report());
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|(name, runs)| (name.as_str(), runs.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(found, expected);
    }

    /// What is known fails nothing and is no test that was skipped.
    #[test]
    fn what_is_known_is_a_property_of_its_arm() {
        let report = fixture::known();
        assert!(cases(&report).iter().all(|(_, runs)| runs.is_empty()));
        let text = junit(&report);
        let document = Document::parse(&text).unwrap();
        let properties = document
            .descendants()
            .filter(|n| n.has_tag_name("property"));
        let values: Vec<&str> = properties.map(|n| n.attribute("value").unwrap()).collect();
        assert_eq!(
            values,
            [
                "WARNING in f: it is old (1 of 3 trials)",
                "known, not counted: WARNING in f (in fixed, 1 of 3 trials): it is old, \
                 https://tracker.example.org/1",
                "known until 2026-01-01 only, and would count again: BUG in g (known.yaml:4): slow",
            ]
        );
    }

    #[test]
    fn what_decides_a_case_comes_first_and_the_rest_are_repeated_runs() {
        let hung = "INFO: task hung in evict";
        let trial = fixture::trial;
        let report = fixture::of(vec![
            fixture::arm("stock", true, vec![trial(1, Outcome::Target, hung)]),
            fixture::arm(
                "fixed",
                false,
                vec![
                    trial(1, Outcome::Harness, "the host is slow"),
                    trial(2, Outcome::Target, hung),
                    trial(3, Outcome::Target, hung),
                    trial(4, Outcome::Clean, ""),
                ],
            ),
        ]);
        let found = cases(&report);
        assert_eq!(found[1].1, ["failure", "rerunFailure", "rerunError"]);
        assert_eq!(found[2].1, ["failure"]);
    }

    #[test]
    fn trials_keep_their_numbers_where_one_is_missing() {
        let hung = "INFO: task hung in evict";
        let trials = vec![
            fixture::trial(1, Outcome::Clean, ""),
            fixture::trial(3, Outcome::Target, hung),
        ];
        let text = junit(&fixture::of(vec![fixture::arm("fixed", false, trials)]));
        let document = Document::parse(&text).unwrap();
        let found = |name: &str| document.descendants().find(|n| n.has_tag_name(name));
        let output = found("system-out").and_then(|output| output.text());
        let expected = format!("trial 1: clean\ntrial 3: target: {hung}");
        assert_eq!(output, Some(expected.as_str()));
        let message = found("failure").and_then(|failure| failure.attribute("message"));
        assert_eq!(message, Some(format!("trial 3: target: {hung}").as_str()));
    }

    #[test]
    fn a_hostile_report_is_valid_too_and_no_case_has_the_name_of_another() {
        let found = cases(&fixture::hostile());
        let mut names: Vec<&String> = found.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), found.len());
        let skipped = found.iter().filter(|(_, runs)| runs == &["skipped"]);
        assert_eq!(skipped.count(), 1, "{found:?}");
    }

    #[test]
    fn a_large_run_stays_within_gitlab_s_bounds() {
        let report = fixture::large();
        let text = junit(&report);
        assert!(text.len() < 30_000_000, "{}", text.len());
        let document = Document::parse(&text).unwrap();
        assert!(document.descendants().count() < 250_000);
        let output = document
            .descendants()
            .filter(|n| n.has_tag_name("system-out"));
        for output in output {
            assert!(output.text().unwrap().lines().count() <= 80);
        }
    }
}
