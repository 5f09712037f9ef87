//! From a record to its report: what each trial's facts amount to, and the
//! verdict on them. Derived each time, so that a rule that changed tells on old
//! runs, too.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::tz::TimeZone;

use crate::coverage::executed::Counted;
use crate::coverage::{Counts, Executed, executed};
use crate::detect::{Class, ExtraRule, Finding, Scanner, Sighting, Target, complete};
use crate::error::Exit;
use crate::fleet::kind;
use crate::job::{Arm, Plan, PlannedWorkload};
use crate::outcome::{Outcome, VerdictKind};
use crate::record::{
    Beginning, Record, RecordError, Recorded, SelfTest, Trial, with_other_findings,
};
use crate::report::{
    self, ArmReport, Report, TrialReport, VERSION, WorkloadReport, by_hand, compare, compiler,
    coverage, detectors, differing, junit, known, mark_alone,
};
use crate::service::ServiceSpec;
use crate::store::io_error;
use crate::testbed::DUMP_LIMIT;
use crate::trial::{FINDINGS, keep_finding};
use crate::verdict::{
    ArmResult, Armed, Boot, Judged, Question, Verdict, decide, is_mute, judge, spent, target_key,
    to_blame, unarmed, unchecked, unheard,
};
use crate::workload::{Step, Workload};

use super::decode::with_places;

/// The report's file in the record.
const REPORT: &str = "report.json";

/// Where findings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Findings {
    /// As they were found at the time.
    AsFound,
    /// From the consoles, by today's rules.
    Again,
}

/// The report that a record amounts to; nothing is written.
pub(super) fn derive(
    record: &Record,
    beginning: &Beginning,
    seconds: f64,
    findings: Findings,
) -> Result<Report, RecordError> {
    let plan = &beginning.plan;
    let mut arms = Vec::new();
    let mut boots = Vec::new();
    for arm in &plan.arms {
        let judged = judge_arm(record, beginning, arm, findings)?;
        arms.push(judged.report);
        boots.push(judged.boots);
    }
    blame(&mut arms, &boots);
    let hosts = record.hosts()?;
    mark_alone(&mut arms, &hosts, &kind(&beginning.host, &plan.service));
    let results: Vec<ArmResult> = arms.iter().map(ArmReport::result).collect();
    let past = record.kept_past()?;
    let day = beginning.started.to_zoned(TimeZone::UTC).date();
    let past = past.as_ref();
    let mut verdict = judge(&results, &plan.rules);
    doubt(&mut verdict, &arms);
    of_a_part(&mut verdict, plan);
    Ok(Report {
        version: VERSION,
        job: plan.name.clone(),
        started: beginning.started.strftime("%FT%TZ").to_string(),
        seconds,
        verdict,
        comparison: compare(&plan.compare, &arms),
        coverage: coverage(&plan.counters, &arms),
        known: known(&plan.known, &plan.known_at, day, &arms, past, &plan.rules),
        workloads: plan
            .workloads
            .iter()
            .map(|planned| workload(planned, &plan.service))
            .collect(),
        host: beginning.host.clone(),
        deviations: differing(&arms),
        hosts: report::hosts(hosts, &arms),
        arms,
    })
}

/// Of a part alone nothing good can be said: the other arms are elsewhere.
fn of_a_part(verdict: &mut Verdict, plan: &Plan) {
    if let Some(part_of) = &plan.part_of
        && verdict.kind.exit() == Exit::Good
    {
        verdict.kind = VerdictKind::Inconclusive;
        verdict.reasons = vec![format!(
            "this is part {} of the run: `kvet join` has the verdict",
            part_of.part
        )];
    }
}

/// Has a `fixed` say so if it rests on patches of which no line was run.
fn doubt(verdict: &mut Verdict, arms: &[ArmReport]) {
    if verdict.kind != VerdictKind::Fixed {
        return;
    }
    let fixes = arms.iter().filter(|arm| !arm.control);
    let counted = fixes.filter_map(|arm| arm.executed.as_ref());
    let patched = counted.filter(|executed| !executed.patches.is_empty());
    verdict.reasons.extend(patched.filter_map(Executed::doubt));
}

fn workload(planned: &PlannedWorkload, service: &ServiceSpec) -> WorkloadReport {
    let workload = &planned.workload;
    WorkloadReport {
        name: workload.name.clone(),
        about: workload.about.clone(),
        steps: workload.steps.iter().map(Step::label).collect(),
        by_hand: by_hand(workload, service),
    }
}

/// The fragments of an arm's configuration: their directories say nothing to
/// readers elsewhere.
fn configuration(arm: &Arm) -> Vec<String> {
    let names = arm
        .recipe
        .fragments
        .iter()
        .filter_map(|path| path.file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// Keeps a report in the record, in the place of an earlier one.
pub(super) fn keep(record: &Record, report: &Report) -> Result<(), RecordError> {
    // One that cannot be written does not cost the other.
    let kept = record.derived_json(REPORT, report);
    kept.and(record.derived("junit.xml", junit(report).as_bytes()))
}

/// The report kept at the end of a run; of an earlier kvet's, whose report had
/// another shape, the one that its record amounts to.
pub fn kept_report(record: &Record, beginning: &Beginning) -> Result<Report, RecordError> {
    let kept: Option<serde_json::Value> = record.kept(REPORT)?;
    let kept = kept.ok_or_else(|| RecordError::Unfinished(record.path().to_owned()))?;
    if kept["version"] == VERSION {
        return record
            .kept(REPORT)?
            .ok_or_else(|| RecordError::Unfinished(record.path().to_owned()));
    }
    let seconds = kept["seconds"].as_f64().unwrap_or_default();
    derive(record, beginning, seconds, Findings::AsFound)
}

/// The report kept at the end of a run, or the one that a record amounts to whose
/// run did not come to its end; whether it did.
pub fn report_of(record: &Record, beginning: &Beginning) -> Result<(Report, bool), RecordError> {
    match kept_report(record, beginning) {
        Err(RecordError::Unfinished(_)) => {
            let report = derive(record, beginning, 0.0, Findings::AsFound)?;
            Ok((report, false))
        }
        kept => Ok((kept?, true)),
    }
}

/// What an attempt that has just ended amounts to by itself; what other boots of
/// the same kernel say of it comes later.
pub(super) fn judge_one(
    record: &Record,
    beginning: &Beginning,
    arm: &Arm,
    trial: &Trial,
) -> Result<Judged, RecordError> {
    let known = Known::of(record, beginning, arm, Findings::AsFound)?;
    let question = question(beginning, arm);
    let missing = missing(&beginning.plan, arm, trial, &question, &known);
    Ok(decide(trial, &question, &missing))
}

/// What is known of an arm's detectors besides what its trials showed.
struct Known {
    /// The text of its final .config.
    config: Option<String>,
    /// What is missing for each of its trials.
    missing: Vec<String>,
}

impl Known {
    fn of(
        record: &Record,
        beginning: &Beginning,
        arm: &Arm,
        findings: Findings,
    ) -> Result<Self, RecordError> {
        let config = record.config(&arm.name)?;
        let mut missing = untested(record, &beginning.plan, &arm.name, findings)?;
        let kernel = record.kernel_facts(&arm.name)?;
        // A kernel that kvet did not build may come without; an earlier record has
        // what was missing then.
        let is_another_s = kernel.is_some_and(|kernel| kernel.key.is_empty());
        if config.is_none() && !is_another_s && beginning.version > 1 {
            missing.push("its .config (it is not in the record)".to_owned());
        }
        Ok(Self { config, missing })
    }
}

/// What decides the outcomes of an arm's trials.
pub(super) fn question<'a>(beginning: &'a Beginning, arm: &'a Arm) -> Question<'a> {
    Question {
        target: arm.target.as_ref(),
        known: &beginning.plan.known,
        day: beginning.started.to_zoned(TimeZone::UTC).date(),
    }
}

struct JudgedArm {
    report: ArmReport,
    boots: Vec<Boot>,
}

fn judge_arm(
    record: &Record,
    beginning: &Beginning,
    arm: &Arm,
    findings: Findings,
) -> Result<JudgedArm, RecordError> {
    let plan = &beginning.plan;
    let kernel = record.kernel_facts(&arm.name)?;
    let left_out = kernel.iter().flat_map(|kernel| kernel.left_out.clone());
    let arm = arm.without(&left_out.collect::<Vec<_>>());
    let known = Known::of(record, beginning, &arm, findings)?;
    let armed = match &known.config {
        Some(config) if kernel.is_some() && is_armed(plan, &arm, config) => {
            if known.missing.is_empty() && record.self_test(&arm.name)?.is_some() {
                Armed::SelfTest
            } else {
                Armed::Config
            }
        }
        _ => Armed::Unknown,
    };
    let question = question(beginning, &arm);
    let changed = record.changed_lines(&arm.name)?;
    let mut counted = Vec::new();
    let decoding = record.decoding(&arm.name)?;
    let mut trials = Vec::new();
    let mut boots = Vec::new();
    for workload in &arm.workloads {
        for mut recorded in record.trials(&arm.name, workload)? {
            if findings == Findings::Again {
                look_again(&mut recorded, &plan.patterns, question.target)?;
            }
            let earlier = recorded.earlier.iter().map(|(trial, _)| trial);
            for trial in earlier.chain([&recorded.trial]) {
                boots.extend(boot(trial, &question));
            }
            let missing = missing(plan, &arm, &recorded.trial, &question, &known);
            let judged = decide(&recorded.trial, &question, &missing);
            if changed.is_some() {
                counted.push(Counted {
                    workload: workload.clone(),
                    counts: Counts::of(&recorded.directory)?,
                });
            }
            let directory = recorded.directory.strip_prefix(record.path());
            let directory = directory.unwrap_or(&recorded.directory);
            for finding in &mut recorded.trial.findings {
                with_places(finding, &decoding);
            }
            trials.push(TrialReport {
                workload: recorded.trial.id.workload,
                number: recorded.trial.id.number,
                attempts: recorded.trial.attempt,
                judged,
                findings: recorded.trial.findings,
                seconds: recorded.trial.seconds,
                counters: recorded.trial.counters,
                directory: directory.display().to_string(),
                host: recorded.trial.host,
                failed_on: recorded
                    .earlier
                    .into_iter()
                    .filter_map(|(trial, _)| trial.host)
                    .collect(),
                alone: false,
                memory: recorded.trial.memory,
            });
        }
    }
    let config = known.config.as_deref();
    Ok(JudgedArm {
        report: ArmReport {
            target: target_key(arm.target.as_ref()),
            planned: arm.planned(),
            armed,
            broken: record.why_broken(&arm.name)?,
            configuration: configuration(&arm),
            compiler: config.and_then(compiler),
            detectors: config.map(detectors).unwrap_or_default(),
            workloads: arm.workloads,
            executed: changed.map(|changed| executed(&arm.name, &changed, &counted)),
            name: arm.name,
            control: arm.control,
            kernel,
            trials,
        },
        boots,
    })
}

/// What a boot came to; `None` if the harness failed in another way, which says
/// nothing of the kernel.
fn boot(trial: &Trial, question: &Question<'_>) -> Option<Boot> {
    match decide(trial, question, &[]).boot {
        Some(reason) => Some(Boot::Failed(reason)),
        None => trial.ready.is_some().then_some(Boot::Up),
    }
}

/// Gives kernels that never come up, where others do, the blame for it.
fn blame(arms: &mut [ArmReport], boots: &[Vec<Boot>]) {
    for (arm, blamed) in arms.iter_mut().zip(to_blame(boots)) {
        let Some(reason) = blamed else { continue };
        for trial in &mut arm.trials {
            if trial.judged.boot.as_ref() == Some(&reason) {
                trial.judged.outcome = Outcome::Other;
                trial.judged.reason.clone_from(&reason);
            }
        }
    }
}

/// Whether a .config has what all of an arm's workloads and its target need.
fn is_armed(plan: &Plan, arm: &Arm, config: &str) -> bool {
    let class = arm.target.as_ref().and_then(|target| target.class);
    let planned = arm.workloads.iter().filter_map(|name| plan.workload(name));
    let mut needed = planned.map(|planned| with_symbols(plan, &planned.workload));
    let profiled = !plan.profile.is_empty();
    needed.all(|workload| unarmed(Some(config), &workload, profiled, class, None, false).is_empty())
}

/// The detectors that a trial needed and did not have.
fn missing(
    plan: &Plan,
    arm: &Arm,
    trial: &Trial,
    question: &Question<'_>,
    known: &Known,
) -> Vec<String> {
    let planned = plan.workload(&trial.id.workload);
    let class = arm.target.as_ref().and_then(|target| target.class);
    let armed_for = planned.map(|planned| with_symbols(plan, &planned.workload));
    let mut missing = match &armed_for {
        Some(workload) => unarmed(
            known.config.as_deref(),
            workload,
            !plan.profile.is_empty(),
            class,
            trial.ready.as_ref(),
            is_mute(trial),
        ),
        None => Vec::new(),
    };
    if known.config.is_none() || trial.ready.is_none() {
        // An earlier record that has lost its .config, or what the agent said, has
        // what was missing then.
        missing.extend(trial.unarmed_then.iter().cloned());
    }
    missing.extend(unheard(trial));
    missing.extend(unchecked(trial, question.target));
    missing.extend(spent(trial, question, &arm.command_line));
    missing.extend_from_slice(&known.missing);
    missing
}

/// A workload that also needs what its kernel mounts the service with.
fn with_symbols(plan: &Plan, workload: &Workload) -> Workload {
    let mut workload = workload.clone();
    if workload.mounts_service() {
        let symbols = plan.service.symbols().into_iter().map(str::to_owned);
        workload.kconfig.extend(symbols);
    }
    workload
}

/// What an arm's self-test did not show.
fn untested(
    record: &Record,
    plan: &Plan,
    arm: &str,
    findings: Findings,
) -> Result<Vec<String>, RecordError> {
    let Some((result, consoles)) = record.self_test(arm)? else {
        let nothing = "its self-test (nothing of it is recorded)".to_owned();
        return Ok(plan.self_test.then_some(nothing).into_iter().collect());
    };
    if findings == Findings::AsFound || result.not_done.is_some() {
        return Ok(not_shown(&result, &result.unseen));
    }
    let boots = usize::try_from(result.boots).unwrap_or(usize::MAX);
    if consoles.len() < boots || !consoles.iter().all(|console| console.exists()) {
        // Of what is gone nothing can be found again.
        return Ok(not_shown(&result, &result.unseen));
    }
    let mut all = Vec::new();
    for console in consoles {
        all.extend(read_findings(&console, u64::MAX, &[], None)?);
    }
    Ok(not_shown(&result, &crate::trial::unseen(&all)))
}

/// What a self-test leaves open, in words. One that was not done shows nothing of
/// the kernel: then it is itself what is missing.
fn not_shown(result: &SelfTest, unseen: &[Class]) -> Vec<String> {
    if let Some(why) = &result.not_done {
        return vec![format!("its self-test (it came to nothing: {why})")];
    }
    let unseen = unseen.iter();
    unseen
        .map(|class| format!("{class} (its self-test was not seen)"))
        .collect()
}

fn look_again(
    recorded: &mut Recorded,
    patterns: &[ExtraRule],
    target: Option<&Target>,
) -> Result<(), RecordError> {
    let console = recorded.console();
    let trial = &mut recorded.trial;
    look_again_at(trial, &console, patterns, target)?;
    *trial = with_other_findings(trial.clone(), target);
    for (trial, directory) in &mut recorded.earlier {
        look_again_at(trial, &directory.join("console.log"), patterns, target)?;
    }
    Ok(())
}

/// Finds again what a console says; where that is gone, what was found at the time
/// stands.
fn look_again_at(
    trial: &mut Trial,
    console: &Path,
    patterns: &[ExtraRule],
    target: Option<&Target>,
) -> Result<(), RecordError> {
    let Ok(metadata) = console.metadata() else {
        return Ok(());
    };
    let (length, expected) = (metadata.len(), trial.console_length);
    if metadata.is_file() && length < expected {
        return Err(RecordError::Damaged {
            path: console.to_owned(),
            problem: format!("it has {length} of {expected} bytes"),
        });
    }
    trial.findings = read_findings(console, expected, patterns, target)?;
    Ok(())
}

/// What the first `length` bytes of a console say, as far as a trial keeps it.
fn read_findings(
    console: &Path,
    length: u64,
    patterns: &[ExtraRule],
    target: Option<&Target>,
) -> Result<Vec<Finding>, RecordError> {
    if !console.is_file() {
        // What stands in its place says nothing, or never ends.
        return Err(RecordError::Damaged {
            path: console.to_owned(),
            problem: "it is not a regular file".to_owned(),
        });
    }
    let mut file = File::open(console)
        .map_err(io_error("open", console))?
        .take(length);
    let mut scanner = Scanner::with_rules(patterns.to_vec());
    let mut findings = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let is_target = |finding: &Finding| target.is_some_and(|target| target.matches(finding));
    // Behind the first ones the target alone is kept.
    while findings.len() < FINDINGS + usize::from(target.is_some()) {
        let count = file.read(&mut buffer).map_err(io_error("read", console))?;
        if count == 0 {
            break;
        }
        for sighting in scanner.push(&buffer[..count]) {
            if let Sighting::Complete(finding) = sighting {
                let is_target = is_target(&finding);
                keep_finding(&mut findings, *finding, is_target);
            }
        }
    }
    for finding in scanner.finish() {
        let is_target = is_target(&finding);
        keep_finding(&mut findings, finding, is_target);
    }
    // What follows was asked for: it completes what was found before.
    let mut dumped = Vec::new();
    let mut rest = file.into_inner().take(DUMP_LIMIT as u64);
    rest.read_to_end(&mut dumped)
        .map_err(io_error("read", console))?;
    complete(&mut findings, &dumped);
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_self_test_that_was_not_done_shows_nothing_of_the_kernel() {
        let result = |not_done: Option<&str>| SelfTest {
            boots: 2,
            first: 1,
            unseen: vec![Class::Warning],
            not_done: not_done.map(str::to_owned),
            seconds: 1,
        };
        let unseen = [Class::HungTask];
        let shown = not_shown(&result(None), &unseen);
        assert_eq!(shown, ["hung_task (its self-test was not seen)"]);
        let shown = not_shown(&result(Some("no QEMU")), &unseen);
        assert_eq!(shown, ["its self-test (it came to nothing: no QEMU)"]);
    }

    fn warning(function: &str) -> String {
        format!(
            "[    1.0] ------------[ cut here ]------------\n\
             [    1.0] WARNING: CPU: 0 PID: 1 at fs/x.c:1 {function}+0x5/0x10\n\
             [    1.0] ---[ end trace 0000000000000000 ]---\n"
        )
    }

    #[test]
    fn the_target_is_found_again_behind_any_number_of_other_findings() {
        let function = |number| warning(&format!("f{number}_x"));
        let mut said: String = (0..FINDINGS + 9).map(function).collect();
        said.push_str("[    2.0] kernel BUG at fs/y.c:1!\n");
        let home = tempfile::tempdir().unwrap();
        let console = home.path().join("console.log");
        std::fs::write(&console, said).unwrap();
        let target: Target = serde_yaml::from_str("{ class: kernel_bug }").unwrap();
        let read = |target| read_findings(&console, u64::MAX, &[], target).unwrap();
        assert_eq!(read(None).len(), FINDINGS);
        let found = read(Some(&target));
        assert_eq!(found.len(), FINDINGS + 1);
        assert!(target.matches(&found[FINDINGS]));
    }

    #[test]
    fn what_is_new_is_found_behind_any_number_of_what_is_not() {
        let said = warning("f").repeat(FINDINGS + 9) + &warning("g");
        let home = tempfile::tempdir().unwrap();
        let console = home.path().join("console.log");
        std::fs::write(&console, said).unwrap();
        let found = read_findings(&console, u64::MAX, &[], None).unwrap();
        let last = found.last().map(|finding| finding.title.as_str());
        assert_eq!(last, Some("WARNING in g"));
    }

    /// A copy of the run that the golden tests judge: three trials of a control
    /// that show the target, and three of a fix that are clean.
    struct Run(tempfile::TempDir);

    impl Run {
        fn new() -> Self {
            Self::of("run")
        }

        /// A copy of another one of the golden tests' runs.
        fn of(name: &str) -> Self {
            let home = tempfile::tempdir().unwrap();
            let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in");
            copy(&recorded.join(name), home.path());
            Self(home)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
            let path = self.path(name);
            let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            change(&mut value);
            std::fs::write(path, value.to_string()).unwrap();
        }

        /// Changes the facts of each of the fix's trials.
        fn change_fixes(&self, change: impl Fn(&mut Value)) {
            for trial in ["1/1", "2/2", "3/1"] {
                let name = format!("arms/fixed/trials/example/{trial}/trial.json");
                self.change(&name, &change);
            }
        }

        /// Keeps what the fix's kernel was made from, with this key.
        fn kernel(&self, key: &str) {
            let facts = json!({
                "release": "7.3.4", "origin": "x", "key": key, "cached": true, "patches": [],
            });
            std::fs::write(self.path("arms/fixed/kernel.json"), facts.to_string()).unwrap();
        }

        fn judged(&self, findings: Findings) -> Result<Report, RecordError> {
            let (record, beginning) = Record::open(self.0.path()).unwrap();
            derive(&record, &beginning, 0.0, findings)
        }

        fn again(&self) -> Report {
            self.judged(Findings::Again).unwrap()
        }
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    /// Outcomes and reasons of an arm's trials.
    fn came_to(report: &Report, arm: &str) -> Vec<(Outcome, String)> {
        let arm = report.arms.iter().find(|one| one.name == arm).unwrap();
        let judged = arm.trials.iter().map(|trial| &trial.judged);
        judged
            .map(|judged| (judged.outcome, judged.reason.clone()))
            .collect()
    }

    fn unarmed_for(what: &str) -> Vec<(Outcome, String)> {
        vec![(Outcome::Unarmed, format!("not armed: {what}")); 3]
    }

    #[test]
    fn a_console_that_is_gone_leaves_what_was_found_then() {
        let run = Run::new();
        for number in 1..=3 {
            let trial = format!("arms/stock/trials/example/{number}/1");
            let console = run.path(&format!("{trial}/console.log"));
            let found = json!(read_findings(&console, u64::MAX, &[], None).unwrap());
            run.change(&format!("{trial}/trial.json"), |trial| {
                trial["findings"] = found;
            });
            std::fs::remove_file(&console).unwrap();
        }
        let stock = came_to(&run.again(), "stock");
        assert!(
            stock.iter().all(|one| one.0 == Outcome::Target),
            "{stock:?}"
        );
    }

    #[test]
    fn a_console_that_was_cut_short_is_damaged() {
        let run = Run::new();
        let console = run.path("arms/fixed/trials/example/2/2/console.log");
        let said = std::fs::read(&console).unwrap();
        std::fs::write(&console, &said[..100]).unwrap();
        let Err(error) = run.judged(Findings::Again) else {
            panic!("it is judged");
        };
        let error = error.to_string();
        assert!(
            error.ends_with("console.log is damaged: it has 100 of 168 bytes"),
            "{error}"
        );
        // As found it needs no console.
        run.judged(Findings::AsFound).unwrap();
    }

    #[test]
    fn without_its_config_nobody_knows_what_was_armed() {
        let run = Run::new();
        run.kernel("k");
        std::fs::remove_file(run.path("arms/fixed/config")).unwrap();
        for findings in [Findings::Again, Findings::AsFound] {
            let report = run.judged(findings).unwrap();
            let expected = unarmed_for("its .config (it is not in the record)");
            assert_eq!(came_to(&report, "fixed"), expected);
        }
    }

    /// What was not armed was judged at the time by earlier kvets. Where a record has
    /// what that follows from, it is judged by today's rules.
    #[test]
    fn what_an_earlier_record_says_was_not_armed_holds_where_nothing_else_tells() {
        let run = Run::of("version1");
        let then = "CONFIG_OF_THEN";
        run.change("arms/fixed/1/trial.json", |trial| {
            trial["unarmed"] = json!([then]);
        });
        let came_to = || {
            let both = [Findings::Again, Findings::AsFound].map(|findings| {
                let report = run.judged(findings).unwrap();
                came_to(&report, "fixed").remove(0)
            });
            assert_eq!(both[0], both[1]);
            both[0].clone()
        };
        let unarmed = |what: &str| (Outcome::Unarmed, format!("not armed: {what}"));
        assert_eq!(came_to(), unarmed(then));
        // What the agent said alone does not tell what the kernel had.
        let ready = |sysctls: Value| {
            let said = json!({ "at": 0.9, "entry": { "guest": { "ready": {
                "protocol": 1, "release": "7.3.4", "version": "#1 SMP", "uptime": 0.9,
                "memory": 1 << 30, "processors": 2, "sysctls": sysctls, "lacks": [],
            } } } });
            let journal = format!("{{\"at\":0.1,\"entry\":{{\"qemu\":7}}}}\n{said}\n");
            std::fs::write(run.path("arms/fixed/1/steps.jsonl"), journal).unwrap();
        };
        let hung_tasks = json!({
            "kernel.hung_task_timeout_secs": "20", "kernel.hung_task_warnings": "10",
        });
        ready(hung_tasks.clone());
        assert_eq!(came_to(), unarmed(then));
        // Both tell all, whether it is better or worse than what was judged.
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_DETECT_HUNG_TASK=y\n").unwrap();
        assert_eq!(came_to(), (Outcome::Clean, String::new()));
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_CEPH_FS=y\n").unwrap();
        assert_eq!(came_to(), unarmed("CONFIG_DETECT_HUNG_TASK"));
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_DETECT_HUNG_TASK=y\n").unwrap();
        ready(json!({ "kernel.hung_task_timeout_secs": "0", "kernel.hung_task_warnings": "10" }));
        assert_eq!(
            came_to(),
            unarmed("kernel.hung_task_timeout_secs (it is 0)")
        );
        // And a .config alone does not tell what the agent would have said.
        std::fs::remove_file(run.path("arms/fixed/1/steps.jsonl")).unwrap();
        assert_eq!(came_to(), unarmed(then));
    }

    /// A kernel that kvet did not build may come without its .config; what its guest
    /// said, or did not say, is known all the same.
    #[test]
    fn a_kernel_of_unknown_config_that_is_not_heard_is_not_clean() {
        let run = Run::new();
        run.kernel("");
        std::fs::remove_file(run.path("arms/fixed/config")).unwrap();
        assert_eq!(run.again().verdict.kind, VerdictKind::Fixed);
        run.change_fixes(|trial| trial["ready"]["sysctls"] = json!({}));
        let expected = "kernel.hung_task_timeout_secs, kernel.hung_task_warnings";
        assert_eq!(came_to(&run.again(), "fixed"), unarmed_for(expected));
        run.change_fixes(|trial| trial["said"] = 0.into());
        let expected = format!("{expected}, the console (ttyS0 said nothing)");
        assert_eq!(came_to(&run.again(), "fixed"), unarmed_for(&expected));
    }

    #[test]
    fn a_self_test_that_left_nothing_shows_nothing() {
        let run = Run::new();
        run.change("run.json", |beginning| {
            beginning["plan"]["self_test"] = true.into();
        });
        let report = run.again();
        let expected = unarmed_for("its self-test (nothing of it is recorded)");
        assert_eq!(came_to(&report, "fixed"), expected);
        assert_eq!(report.verdict.kind, VerdictKind::Inconclusive);
    }

    #[test]
    fn what_an_arm_is_armed_by_is_what_it_showed() {
        let run = Run::new();
        run.kernel("k");
        let armed = || run.judged(Findings::AsFound).unwrap().arms[1].armed;
        assert_eq!(armed(), Armed::Config);
        std::fs::create_dir(run.path("arms/fixed/self-test")).unwrap();
        let self_test = |unseen: &[&str]| {
            let result = json!({ "boots": 1, "unseen": unseen, "seconds": 1 }).to_string();
            std::fs::write(run.path("arms/fixed/self-test/result.json"), result).unwrap();
        };
        self_test(&[]);
        assert_eq!(armed(), Armed::SelfTest);
        self_test(&["hung_task"]);
        assert_eq!(armed(), Armed::Config);
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_CEPH_FS=y\n").unwrap();
        assert_eq!(armed(), Armed::Unknown);
    }

    #[test]
    fn a_disk_that_nobody_could_check_is_not_clean_where_it_is_asked_about() {
        let run = Run::new();
        let disk = json!({
            "command": "e2fsck -f -n /disk", "state": { "unknown": { "why": "killed" } },
            "said": "", "line": 9,
        });
        run.change_fixes(|trial| trial["disk"] = disk.clone());
        assert_eq!(run.again().verdict.kind, VerdictKind::Fixed);
        run.change("run.json", |beginning| {
            let target = json!({ "class": "file_system", "title": "e2fsck found *" });
            for arm in 0..2 {
                beginning["plan"]["arms"][arm]["target"] = target.clone();
            }
        });
        let expected = unarmed_for("the check of its disk (killed)");
        assert_eq!(came_to(&run.again(), "fixed"), expected);
    }

    #[test]
    fn a_detector_that_speaks_once_is_spent_by_a_known_finding() {
        let run = Run::new();
        let ask = |class: &str| {
            run.change("run.json", |beginning| {
                beginning["plan"]["known"] = json!([{ "title": "*f", "reason": "old" }]);
                let target = json!({ "class": class, "frames": ["ceph_iput"] });
                for arm in 0..2 {
                    beginning["plan"]["arms"][arm]["target"] = target.clone();
                }
            });
        };
        let found = |title: &str, class: Class| {
            let mut finding = crate::report::fixture::finding(title);
            finding.class = class;
            run.change_fixes(|trial| trial["findings"] = json!([finding]));
        };
        let came_to = || came_to(&run.judged(Findings::AsFound).unwrap(), "fixed");
        ask("lockdep");
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_PROVE_LOCKING=y\n").unwrap();
        found("possible deadlock in f", Class::Lockdep);
        let expected = "lockdep (its one report of a boot was possible deadlock in f)";
        assert_eq!(came_to(), unarmed_for(expected));
        found("WARNING: suspicious RCU usage in f", Class::Lockdep);
        assert_eq!(came_to()[0].0, Outcome::Clean);
        ask("kasan");
        std::fs::write(run.path("arms/fixed/config"), "CONFIG_KASAN=y\n").unwrap();
        found("KASAN: slab-use-after-free Read in f", Class::Kasan);
        assert_eq!(came_to()[0].0, Outcome::Unarmed);
        run.change("run.json", |beginning| {
            beginning["plan"]["arms"][1]["command_line"] = "kasan_multi_shot".into();
        });
        assert_eq!(came_to()[0].0, Outcome::Clean);
    }
}
