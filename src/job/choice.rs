//! What the command line says of a job: which arms, which kernel, and the arm
//! that a patch adds.

use std::path::PathBuf;

use super::load::{JobError, Text};
use super::rules::Confidence;
use super::spec::Job;
use crate::kernel::SourceSpec;
use crate::library::Places;

/// What the command line changes about a job.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these arms; all if empty.
    pub arms: Vec<String>,
    /// This many trials for every arm; the most, with `until`.
    pub trials: Option<u32>,
    /// Trials go on until the verdict is this sure.
    pub until: Option<Confidence>,
    /// This source instead of the job's.
    pub source: Option<SourceSpec>,
    /// Only these workloads; all if empty.
    pub workloads: Vec<String>,
    /// Where names are looked for that lead to nothing beside the job.
    pub places: Places,
    /// A whole .config that the arms' fragments come on top of.
    pub whole_config: Option<PathBuf>,
    /// Count which lines of the patches trials execute.
    pub coverage: bool,
    /// The memory of guests that show something is kept, whatever the job says.
    pub dump: bool,
    /// What an arm `patched` has on top of the job's control; without it there
    /// is no such arm.
    pub patched: Vec<PathBuf>,
}

/// The arm that the command line adds.
pub(super) const PATCHED: &str = "patched";

impl Choice {
    /// With the arm that `patched` adds, which is for one arm of the job, and the
    /// job's other arms left out unless they were named.
    pub(super) fn with_patched(
        &self,
        text: &Text,
        job: &Job,
    ) -> Result<(Self, Option<String>), JobError> {
        if self.patched.is_empty() {
            return Ok((self.clone(), None));
        }
        if job.arms.contains_key(PATCHED) {
            let message = format!("the job has an arm `{PATCHED}` of its own");
            let help = "give it another name: --patch and --series add one of this name".to_owned();
            return Err(text.error(&["arms", PATCHED], message, Some(help)));
        }
        // The plainest control: the job's own patches are not what is asked of.
        let plainest = |control: bool| {
            let arms = job.arms.iter().filter(|(_, arm)| arm.control == control);
            arms.min_by_key(|(_, arm)| arm.patches.len())
        };
        let beside = plainest(true).or_else(|| plainest(false));
        let beside = beside.map(|(name, _)| name.clone());
        let mut choice = self.clone();
        if choice.arms.is_empty() {
            choice.arms = beside.iter().cloned().collect();
            choice.arms.push(PATCHED.to_owned());
        }
        Ok((choice, beside))
    }
}
