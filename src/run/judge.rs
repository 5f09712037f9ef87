//! The verdict again, from what a run recorded, with today's rules and without
//! a machine.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::FINDINGS;
use super::record::{Record, RecordError};
use crate::detect::{ExtraRule, Finding, Scanner, Sighting};
use crate::report::Report;
use crate::store::io_error;

/// Reads every trial's console again, judges, and keeps the new report.
pub fn judge_again(path: &Path) -> Result<Report, RecordError> {
    let (record, beginning) = Record::open(path)?;
    // A run that was killed did not tell how long it took.
    let seconds = record.kept_report().map_or(0.0, |report| report.seconds);
    let patterns = &beginning.plan.patterns;
    record.report_with(&beginning, seconds, |mut trial| {
        let console = record.trial(&trial.arm, trial.number).join("console.log");
        trial.findings = findings(&console, trial.console_length, patterns)?;
        Ok(trial)
    })
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
    Ok(findings)
}
