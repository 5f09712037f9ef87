//! What a bisection was asked: the first line of its log.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::candidates::Candidates;
use crate::job::Variation;
use crate::kernel::SourceSpec;

/// What is asked, said once at the beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
pub struct Begun {
    /// The version of the log's shape.
    pub version: u32,
    /// The job, as given.
    pub job: PathBuf,
    /// The arm whose kernel is varied.
    pub arm: String,
    /// The workload that trials run.
    pub workload: String,
    /// The user's name for the good end.
    pub good: String,
    /// The user's name for the bad end.
    pub bad: String,
    /// The culprit cures the bug.
    #[serde(default)]
    pub fixed: bool,
    /// Any finding counts, not the target's alone.
    #[serde(default)]
    pub any: bool,
    /// The target is declared to show in every boot.
    #[serde(default)]
    pub every_boot: bool,
    /// Only the first parents of merges were followed.
    #[serde(default)]
    pub first_parent: bool,
    /// The confidence to stop at, in 0 to 1.
    pub confidence: f64,
    /// Where the candidates' kernels come from.
    pub source: Source,
    /// What is searched.
    pub candidates: Candidates,
    /// Of patches: what every kernel has applied besides, before and after them.
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub carried: Carried,
    /// Of commits: only those that change these were listed, and the newer end,
    /// which does not: it stands for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Where the older end left the newer one's history, if it is not part of it:
    /// these are booted in its place, each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge_bases: Vec<String>,
    /// Other ways to run a trial, of which the most telling is to be taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variations: Vec<Variation>,
}

impl Begun {
    /// What stands before all candidates: one commit, or all merge bases; then what
    /// branches left that are older than these.
    #[must_use]
    pub fn bases(&self) -> Vec<&str> {
        let mut bases: Vec<&str> = if self.merge_bases.is_empty() {
            vec![&self.candidates.base]
        } else {
            self.merge_bases.iter().map(String::as_str).collect()
        };
        let below = self.candidates.list.iter();
        for below in below.filter_map(|one| one.below.as_deref()) {
            if !bases.contains(&below) {
                bases.push(below);
            }
        }
        bases
    }

    /// How many of them stand for the older end.
    #[must_use]
    pub fn ends(&self) -> usize {
        self.merge_bases.len().max(1)
    }

    /// Which of them a candidate builds on that builds on no other one.
    #[must_use]
    pub fn below(&self, candidate: usize) -> usize {
        let below = self.candidates.list[candidate].below.as_deref();
        let at = |below| self.bases().iter().position(|base| *base == below);
        below.and_then(at).unwrap_or(0)
    }

    /// The user's name for the end before all candidates.
    #[must_use]
    pub fn older(&self) -> &str {
        if self.fixed { &self.bad } else { &self.good }
    }

    /// The user's name for the end with all candidates.
    #[must_use]
    pub fn newer(&self) -> &str {
        if self.fixed { &self.good } else { &self.bad }
    }
}

/// Patch files that are not searched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Applied before what is searched.
    pub before: Vec<PathBuf>,
    /// Applied after it.
    pub after: Vec<PathBuf>,
}

impl Carried {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// Where the candidates' kernels come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Commits of this repository.
    Git {
        /// Its path.
        repository: PathBuf,
    },
    /// Releases: these sources, the base's first.
    Versions(Vec<SourceSpec>),
    /// The arm's source with more and more of these patch files.
    Patches(Vec<PathBuf>),
    /// The arm's source with more and more of these options, which are lines of
    /// a configuration, put over a fragment or taken over into a whole .config.
    Config {
        /// The fragment with the options of the old configuration.
        old: PathBuf,
        /// It is a whole .config, which the job's fragments come on top of.
        #[serde(default)]
        whole: bool,
        /// The options that differ, in order.
        changes: Vec<String>,
    },
}
