//! Whether the detectors a trial's answer rests on were armed: read from the
//! final config and from what the agent saw. `olddefconfig` drops an unknown
//! symbol without a word, and silence of a detector that is not there is no
//! good news.

use std::collections::BTreeSet;

use super::outcome::Question;
use crate::detect::{Class, Finding, Target, known_as};
use crate::guest::protocol::Ready;
use crate::record::{Ending, Trial, with_other_findings};
use crate::service::{DiskCheck, DiskState};
use crate::workload::Workload;

/// What is needed and not armed; empty is good. `config` is the text of the
/// final .config, if that is known, `class` what the target is one of, `ready` the agent's first
/// message, `profiled` whether functions are to be profiled, and `mute` whether
/// a guest that ran said nothing on its console.
#[must_use]
pub fn unarmed(
    config: Option<&str>,
    workload: &Workload,
    profiled: bool,
    class: Option<Class>,
    ready: Option<&Ready>,
    mute: bool,
) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    if let Some(config) = config {
        let set: BTreeSet<&str> = config
            .lines()
            .filter_map(|line| line.strip_suffix("=y").or_else(|| line.strip_suffix("=m")))
            .filter_map(|line| line.strip_prefix("CONFIG_"))
            .collect();
        let symbols = workload.kconfig.iter().map(String::as_str);
        let symbols = symbols
            .chain(class.and_then(Class::symbol))
            .chain(profiled.then_some("FUNCTION_PROFILER"));
        let unset = symbols.filter(|symbol| !set.contains(symbol));
        missing.extend(unset.map(|symbol| format!("CONFIG_{symbol}")));
    }
    if mute {
        missing.push("the console (ttyS0 said nothing)".to_owned());
    }
    if let (Some(class), Some(ready)) = (class, ready) {
        missing.extend(class.parameters().iter().filter_map(|name| {
            let set = workload.sysctls.get(*name);
            let value = set.filter(|_| ready.sysctls.contains_key(*name));
            match value
                .or_else(|| ready.sysctls.get(*name))
                .map(String::as_str)
            {
                None => Some((*name).to_owned()),
                Some("0") => Some(format!("{name} (it is 0)")),
                Some(_) => None,
            }
        }));
    }
    missing.sort();
    missing.dedup();
    missing
}

/// Whether a guest ran and its console said nothing at all: neither while it
/// booted, nor after the agent turned every level on, nor of a reset or of
/// powering off. Nothing of what its kernel had to say would have been seen.
#[must_use]
pub fn is_mute(trial: &Trial) -> bool {
    let ran = trial.ready.is_some() || matches!(trial.ending, Ending::GuestEnded { .. });
    ran && trial.said == 0
}

/// From where on a trial's kernel was not heard, if it was not: what is missing then
/// besides what [`unarmed`] says.
#[must_use]
pub fn unheard(trial: &Trial) -> Option<String> {
    let place = trial.silenced.as_ref()?;
    Some(format!("the console (not heard from {place} on)"))
}

/// That nobody knows whether a trial's disk is damaged, if the target is what its
/// checker would have found.
#[must_use]
pub fn unchecked(trial: &Trial, target: Option<&Target>) -> Option<String> {
    let disk = trial.disk.as_ref()?;
    let DiskState::Unknown { why } = &disk.state else {
        return None;
    };
    let damaged = Trial {
        findings: Vec::new(),
        disk: Some(DiskCheck {
            state: DiskState::Damaged,
            ..disk.clone()
        }),
        ..trial.clone()
    };
    let damaged = with_other_findings(damaged, None);
    let target = target?;
    let asked = damaged.findings.iter().any(|found| target.matches(found));
    asked.then(|| format!("the check of its disk ({why})"))
}

/// The target's detector, if it reports once in a boot and a known finding was that
/// once; `words` is what the kernel's command line has besides.
#[must_use]
pub fn spent(trial: &Trial, question: &Question<'_>, words: &str) -> Option<String> {
    let class = question.target?.class?;
    let speaks_once = match class {
        Class::Lockdep => true,
        Class::Kasan => !words
            .split_whitespace()
            .any(|word| word == "kasan_multi_shot"),
        _ => false,
    };
    let is_known = |finding: &&Finding| {
        let Question { target, known, day } = *question;
        known_as(finding, known, target, &trial.release, day).is_some()
    };
    // RCU's own check goes on.
    let counts = |finding: &&Finding| {
        finding.class == class && !finding.title.contains("suspicious RCU usage")
    };
    let mut findings = trial.findings.iter().filter(counts);
    let first = findings.find(is_known).filter(|_| speaks_once)?;
    let title = &first.title;
    Some(format!("{class} (its one report of a boot was {title})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "CONFIG_CEPH_FS=y\nCONFIG_DETECT_HUNG_TASK=y\n\
                          # CONFIG_DEBUG_VFS is not set\nCONFIG_DEBUG_FS=m\n";

    fn workload() -> Workload {
        let text = "{ name: w, about: x, kconfig: [CEPH_FS, DEBUG_FS], steps: [guest: sync] }";
        serde_yaml::from_str(text).unwrap()
    }

    fn missing(config: &str, class: Option<Class>, mute: bool) -> Vec<String> {
        unarmed(Some(config), &workload(), false, class, None, mute)
    }

    #[test]
    fn what_the_workload_and_the_target_need_must_be_in_the_config() {
        assert_eq!(missing(CONFIG, Some(Class::HungTask), false), [""; 0]);
        assert_eq!(
            missing(CONFIG, Some(Class::VfsBug), false),
            ["CONFIG_DEBUG_VFS"]
        );
        assert_eq!(
            missing("", None, false),
            ["CONFIG_CEPH_FS", "CONFIG_DEBUG_FS"]
        );
    }

    #[test]
    fn a_detector_turned_off_by_a_parameter_is_not_armed() {
        let ready = |parameters: &[(&str, &str)]| Ready {
            protocol: 1,
            release: String::new(),
            version: String::new(),
            uptime: 0.0,
            memory: 0,
            processors: 1,
            sysctls: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            lacks: Vec::new(),
        };
        let missing = |workload: &Workload, parameters: &[(&str, &str)]| {
            let ready = ready(parameters);
            let class = Some(Class::HungTask);
            unarmed(Some(CONFIG), workload, false, class, Some(&ready), false)
        };
        let (timeout, warnings) = ("kernel.hung_task_timeout_secs", "kernel.hung_task_warnings");
        let mut workload = workload();
        assert_eq!(
            missing(&workload, &[(timeout, "120"), (warnings, "10")]),
            [""; 0]
        );
        assert_eq!(
            missing(&workload, &[(timeout, "0")]),
            [format!("{timeout} (it is 0)"), warnings.to_owned()]
        );
        // What the workload sets first counts, where the kernel has it.
        let haste = [(timeout.to_owned(), "20".to_owned())];
        workload.sysctls.extend(haste);
        assert_eq!(
            missing(&workload, &[(timeout, "0"), (warnings, "-1")]),
            [""; 0]
        );
        assert_eq!(missing(&workload, &[(warnings, "10")]), [timeout]);
    }

    #[test]
    fn a_mute_console_sees_nothing() {
        assert_eq!(
            missing(CONFIG, None, true),
            ["the console (ttyS0 said nothing)"]
        );
    }
}
