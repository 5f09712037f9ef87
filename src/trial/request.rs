//! All that one attempt at a trial is to do, as a value: it can be carried out
//! in this process, in another, or on another host, with the same result.

use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::detect::{ExtraRule, Mute, Target};
use crate::job::CounterTable;
use crate::service::ServiceSpec;
use crate::trial_id::TrialId;
use crate::vm::{Acceleration, Hardware, Startup};
use crate::workload::Workload;

/// One attempt at a trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Which trial.
    pub id: TrialId,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// The host that carries it out, where that is not the driver's own.
    #[serde(default)]
    pub host: Option<String>,
    /// The guest's name: what the service knows it by.
    pub hostname: String,
    /// The bzImage.
    pub kernel: PathBuf,
    /// What its `uname -r` says.
    pub release: String,
    /// Words added to the kernel's command line.
    pub words: String,
    /// CPUs and memory.
    pub hardware: Hardware,
    /// The initramfs.
    pub image: PathBuf,
    /// What may run the guest.
    pub acceleration: Acceleration,
    /// How the guest comes up.
    #[serde(default)]
    pub start: Startup,
    /// Whether a guest is saved that nobody has saved yet: more trials of its
    /// kernel are to come.
    #[serde(default)]
    pub save: bool,
    /// What it mounts.
    #[serde(deserialize_with = "crate::service::recorded")]
    pub service: ServiceSpec,
    /// What it does.
    pub workload: Workload,
    /// The most its steps may take together, before scaling.
    pub timeout: Option<Duration>,
    /// The finding that is the bug.
    pub target: Option<Target>,
    /// Findings that do not end the trial.
    pub known: Vec<Mute>,
    /// Messages that are findings, besides those that kvet knows.
    pub patterns: Vec<ExtraRule>,
    /// Functions of the kernel whose calls and time are counted.
    pub profile: Vec<String>,
    /// Tables of counters that are read at the end.
    pub counters: Vec<CounterTable>,
    /// Objects of the kernel whose line counters are read at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<String>,
    /// Whether the guest's memory is kept if it shows something.
    #[serde(default)]
    pub dump: bool,
    /// When the run began, for findings that are known until some day.
    pub day: Date,
}

#[cfg(test)]
impl Request {
    /// A request of tests: the first attempt at the first trial of `stock`, whose
    /// workload has these steps, in YAML, with nothing to mount and nothing asked.
    pub(crate) fn of_steps(steps: &str) -> Self {
        let workload = format!("{{ name: w, about: x, steps: {steps} }}");
        Self {
            id: TrialId {
                arm: "stock".to_owned(),
                workload: "w".to_owned(),
                number: 1,
            },
            attempt: 1,
            host: None,
            hostname: "trial-1-1".to_owned(),
            kernel: "/k".into(),
            release: "7.3.4".to_owned(),
            words: String::new(),
            hardware: Hardware::default(),
            image: "/i".into(),
            acceleration: Acceleration::Tcg,
            start: Startup::Boot,
            save: false,
            service: ServiceSpec::None,
            workload: Workload::load("w", &workload).unwrap(),
            timeout: None,
            target: None,
            known: Vec::new(),
            patterns: Vec::new(),
            profile: Vec::new(),
            counters: Vec::new(),
            counted: Vec::new(),
            dump: false,
            day: jiff::civil::date(2026, 1, 2),
        }
    }
}
