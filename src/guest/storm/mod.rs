//! placeholder
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use super::protocol::*;
use crate::workload::Storm;
#[derive(Debug)]
pub struct Ledger;
impl Ledger { pub fn verify(&self, _p: &Path) -> Result<StepReport, StepFailure> { Err(StepFailure::other(FailureKind::Usage, "")) } }
pub(crate) fn run(_s: &Storm, _seed: u64, _m: Vec<PathBuf>, _p: &dyn Fn(BTreeMap<String,u64>)) -> Result<(Ledger, StepReport), StepFailure> { Err(StepFailure::other(FailureKind::Usage, "")) }
pub(crate) fn writer_process() -> Result<(), String> { Ok(()) }
pub(crate) fn truncate_process(_p: &str, _l: &str) -> Result<(), String> { Ok(()) }
