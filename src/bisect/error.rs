//! Why a bisection cannot begin.

use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::error::{Exit, Fault};

/// A bisection that cannot begin.
#[derive(Debug, Error, Diagnostic)]
pub enum AskedError {
    /// No target.
    #[error("arm `{0}` has no target, so nothing tells good from bad")]
    #[diagnostic(help("add `target:` to the job, or count every finding with `--any`"))]
    NoTarget(String),
    /// The arm has no such workload.
    #[error("arm `{arm}` has no workload `{workload}`; it has {there}")]
    #[diagnostic(help("name one of them by `--workload`"))]
    NoWorkload {
        /// The arm.
        arm: String,
        /// The workload.
        workload: String,
        /// Those it has.
        there: String,
    },
    /// The arm has no such series.
    #[error("arm `{arm}` has no series `{series}`; it has {there}")]
    #[diagnostic(help("name one of them by `--patches=SERIES`, or search all by `--patches`"))]
    NoSeries {
        /// The arm.
        arm: String,
        /// The series.
        series: String,
        /// Those it has.
        there: String,
    },
    /// Nothing to amplify with.
    #[error("the job allows no other way to run its trial")]
    #[diagnostic(help(
        "say in the job what may differ: `amplify: [{{ name: impatient, sysctls: {{ kernel.hung_task_timeout_secs: 2 }} }}]`"
    ))]
    NothingToAmplify,
    /// A word of hand about what stands before all candidates.
    #[error("`{0}` is an end of the search: whether it is good or bad was given at the start")]
    #[diagnostic(help("begin a new search with other ends; `kvet bisect forget` drops its boots"))]
    AnEnd(String),
    /// A word of hand that leaves no candidate.
    #[error("`{0}` cannot be that: with what was said of others it would leave no culprit")]
    #[diagnostic(help(
        "take back first what is wrong: `kvet bisect log` lists it, `kvet bisect forget` drops it"
    ))]
    Contradiction(String),
    /// Two candidates of one name.
    #[error("`{0}` is listed twice: boots of one would be taken for boots of the other")]
    #[diagnostic(help("name each once; patches are called by their file and its directory"))]
    Twice(String),
    /// A job without arms.
    #[error("the job has no arm")]
    #[diagnostic(help("name a job with at least one arm"))]
    NoArm,
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check the path"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No bisection to go on with.
    #[error("{} is not the directory of a bisection", .0.display())]
    #[diagnostic(help("name the directory that `kvet bisect` printed, by `--in DIR`"))]
    NoBisection(PathBuf),
}

impl Fault for AskedError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
