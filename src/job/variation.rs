//! Other ways to run a job's trial, which may show the bug more often or
//! sooner: what `kvet bisect --amplify` chooses from. The job says which are
//! fair: each must show the same bug.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::step::{GuestStep, StormStep, values};
use crate::vm::Hardware;
use crate::workload::{Action, Workload};

/// One way: what differs from the job's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// What messages call it.
    pub name: String,
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Kernel parameters, over those of the workload.
    #[serde(default, deserialize_with = "values::scalars")]
    #[cfg_attr(test, schemars(schema_with = "crate::schema::scalars"))]
    pub sysctls: BTreeMap<String, String>,
    /// Each storm is so many times as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storms: Option<u32>,
    /// Added to the seed of each storm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Variation {
    /// The machine of trials in this way.
    #[must_use]
    pub fn hardware(&self, of_job: &Hardware) -> Hardware {
        Hardware {
            cpus: self.cpus.unwrap_or(of_job.cpus),
            memory: self.memory.unwrap_or(of_job.memory),
        }
    }

    /// The steps of trials in this way.
    #[must_use]
    pub fn workload(&self, of_job: &Workload) -> Workload {
        let mut workload = of_job.clone();
        workload.sysctls.extend(self.sysctls.clone());
        let times = self.storms.unwrap_or(1);
        for step in &mut workload.steps {
            let Action::Guest(GuestStep::Storm(StormStep::Storm(storm))) = &mut step.action else {
                continue;
            };
            storm.operations = storm.operations.saturating_mul(times);
            storm.seed = storm.seed.wrapping_add(self.seed.unwrap_or(0));
            let timeout = step.timeout.unwrap_or(workload.step_timeout);
            step.timeout = Some(timeout.saturating_mul(times));
        }
        workload
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn workload() -> Workload {
        let text = "name: w\nabout: x\nsysctls: { kernel.hung_task_timeout_secs: 10, a: 1 }\n\
                    step_timeout: 20s\nsteps:\n  - guest: { mount: { name: a } }\n  - guest:\n      \
                    storm: { name: s, mounts: [a], operations: 100, seed: 3 }\n";
        Workload::load("w", text).unwrap()
    }

    #[test]
    fn only_what_it_says_differs() {
        let same = Variation::default();
        assert_eq!(same.hardware(&Hardware::default()), Hardware::default());
        let (before, after) = (workload(), same.workload(&workload()));
        assert_eq!(before.sysctls, after.sysctls);
        let text = "{ name: v, cpus: 4, sysctls: { kernel.hung_task_timeout_secs: 2 }, storms: 3, seed: 7 }";
        let other: Variation = serde_yaml::from_str(text).unwrap();
        let hardware = other.hardware(&Hardware::default());
        assert_eq!((hardware.cpus, hardware.memory), (4, 1024));
        let workload = other.workload(&workload());
        assert_eq!(workload.sysctls["kernel.hung_task_timeout_secs"], "2");
        assert_eq!(workload.sysctls["a"], "1");
        assert_eq!(workload.steps[0], before.steps[0]);
        let storm = &workload.steps[1];
        assert_eq!(storm.timeout, Some(Duration::from_secs(60)));
        let Action::Guest(GuestStep::Storm(StormStep::Storm(storm))) = &storm.action else {
            panic!("{storm:?}");
        };
        assert_eq!((storm.operations, storm.seed), (300, 10));
    }
}
