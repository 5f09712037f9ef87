//! The verdict again, from what a run recorded, with today's rules and without
//! a machine.

use std::path::Path;

use super::report::{Findings, derive, keep, kept_report};
use crate::record::{Beginning, Record, RecordError};
use crate::report::Report;

/// Reads every trial's console again and judges. The report comes with what
/// kept it from being kept, if anything did.
pub fn judge_again(path: &Path) -> Result<(Report, Option<RecordError>), RecordError> {
    let (record, beginning) = Record::open(path)?;
    // A run that was killed did not tell how long it took.
    let seconds = kept_report(&record, &beginning).map_or(0.0, |report| report.seconds);
    let report = derive(&record, &beginning, seconds, Findings::Again)?;
    let kept = keep(&record, &report);
    Ok((report, kept.err()))
}

/// Judges a record that was joined of parts, all by the same rules: each console is
/// read again. The parts went on side by side: it took as long as the longest.
pub fn judge_joined(
    record: &Record,
    beginning: &Beginning,
) -> Result<(Report, Option<RecordError>), RecordError> {
    let mut report = derive(record, beginning, 0.0, Findings::Again)?;
    report.seconds = record.longest_part();
    let kept = keep(record, &report);
    Ok((report, kept.err()))
}
