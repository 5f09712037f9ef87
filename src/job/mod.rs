//! A job: the YAML a user writes ([`Job`]), loaded with errors that point into
//! the file, and resolved once into a [`Plan`] that the stages work from. No
//! stage reads YAML.

mod choice;
mod commented;
mod known;
mod limits;
mod load;
mod names;
mod part;
mod parts;
mod plan;
mod planned_workload;
mod rules;
#[cfg(test)]
pub(crate) mod schema;
mod spec;
mod variation;

pub use choice::Choice;
pub use commented::commented;
pub use limits::{MOST_TRIALS, is_name};
pub use load::JobError;
pub(crate) use load::{What, read_yaml};
pub use names::{find, name_of};
pub use part::{MOST_PARTS, Part};
pub use plan::{Arm, PartOf, Plan};
pub use planned_workload::PlannedWorkload;
pub use rules::{BadConfidence, Confidence, Rules};
pub use spec::{
    ArmSpec, CounterTable, Job, KernelSpec, MachineSpec, Measure, Trials, WorkloadSpec,
};
pub use variation::Variation;
