//! The verdict again, from what a run recorded, with today's rules and without
//! a machine.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::FINDINGS;
use super::record::{Record, RecordError};
use super::self_test::unseen;
use super::trial::DUMP_LIMIT;
use crate::detect::{Class, ExtraRule, Finding, Scanner, Sighting, complete};
use crate::report::Report;
use crate::store::io_error;

/// Reads every trial's console again, judges, and keeps the new report.
pub fn judge_again(path: &Path) -> Result<Report, RecordError> {
    let (record, beginning) = Record::open(path)?;
    // A run that was killed did not tell how long it took.
    let seconds = record.kept_report().map_or(0.0, |report| report.seconds);
    let patterns = &beginning.plan.patterns;
    let mut self_tests = HashMap::new();
    record.report_with(&beginning, seconds, |mut trial| {
        let console = record.trial(&trial.arm, trial.number).join("console.log");
        trial.findings = findings(&console, trial.console_length, patterns)?;
        if !self_tests.contains_key(&trial.arm) {
            let unseen = self_test(&record, &trial.arm)?;
            self_tests.insert(trial.arm.clone(), unseen);
        }
        if let Some(Some(unseen)) = self_tests.get(&trial.arm) {
            trial.unseen.clone_from(unseen);
        }
        Ok(trial)
    })
}

/// What an arm's self-test did not show; `None` without one.
fn self_test(record: &Record, arm: &str) -> Result<Option<Vec<Class>>, RecordError> {
    let Some(consoles) = record.self_test_consoles(arm)? else {
        return Ok(None);
    };
    let mut all = Vec::new();
    for console in consoles {
        all.extend(findings(&console, u64::MAX, &[])?);
    }
    Ok(Some(unseen(&all)))
}

/// What the first `length` bytes of a console say.
fn findings(
    console: &Path,
    length: u64,
    patterns: &[ExtraRule],
) -> Result<Vec<Finding>, RecordError> {
    if !console.exists() {
        return Ok(Vec::new());
    }
    let mut file = File::open(console)
        .map_err(io_error("open", console))?
        .take(length);
    let mut scanner = Scanner::with_rules(patterns.to_vec());
    let mut findings = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while findings.len() < FINDINGS {
        let count = file.read(&mut buffer).map_err(io_error("read", console))?;
        if count == 0 {
            break;
        }
        for sighting in scanner.push(&buffer[..count]) {
            if let Sighting::Complete(finding) = sighting {
                findings.push(*finding);
            }
        }
    }
    findings.extend(scanner.finish());
    findings.truncate(FINDINGS);
    // What follows was asked for: it completes what was found before.
    let mut dumped = Vec::new();
    let mut rest = file.into_inner().take(DUMP_LIMIT as u64);
    rest.read_to_end(&mut dumped)
        .map_err(io_error("read", console))?;
    complete(&mut findings, &dumped);
    Ok(findings)
}
