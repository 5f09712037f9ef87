//! Steps that write from many processes at once and check what is left.

use std::path::PathBuf;

use super::places::own_directory;
use super::report::Progress;
use super::state::Guest;
use crate::guest::file_system::has_snapshots;
use crate::guest::protocol::{StepFailure, StepReport};
use crate::guest::storm;
use crate::step::{Storm, StormStep};

/// Does what a step says.
pub(super) fn carry_out(
    guest: &Guest,
    step: &StormStep,
    progress: Progress<'_>,
) -> Result<StepReport, StepFailure> {
    match step {
        StormStep::Storm(storm) => {
            let greeting = guest.greeting()?;
            let mounts: Vec<PathBuf> = storm
                .mounts
                .iter()
                .map(|mount| own_directory(mount, &greeting.hostname))
                .collect();
            let storm = possible(guest, storm)?;
            let (ledger, report) = storm::run(&storm, greeting.seed, &mounts, progress)?;
            guest.keep_ledger(&storm.name, ledger);
            Ok(report)
        }
        StormStep::Verify { storm, mount } => {
            let hostname = guest.greeting()?.hostname;
            guest
                .ledger(storm)?
                .verify(&own_directory(mount, &hostname))
        }
    }
}

/// The storm without snapshots, if its mounts have none.
fn possible(guest: &Guest, storm: &Storm) -> Result<Storm, StepFailure> {
    let mut storm = storm.clone();
    for mount in &storm.mounts {
        if !has_snapshots(&guest.fstype(mount)?) {
            storm.mix.snapshot = 0;
        }
    }
    storm.check().map_err(StepFailure::usage)?;
    Ok(storm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::agent::state::Mounted;

    #[test]
    fn a_storm_makes_no_snapshots_where_there_are_none() {
        let guest = Guest::default();
        for (name, fstype) in [("a", "ceph"), ("b", "tmpfs")] {
            guest.mounted(Mounted {
                name: name.to_owned(),
                fstype: fstype.to_owned(),
            });
        }
        let storm = |text: &str| serde_json::from_str::<Storm>(text).unwrap();
        let both = storm(r#"{"name":"s","mounts":["a","b"],"operations":1}"#);
        assert_eq!(possible(&guest, &both).unwrap().mix.snapshot, 0);
        let one = storm(r#"{"name":"s","mounts":["a"],"operations":1}"#);
        assert_eq!(possible(&guest, &one).unwrap(), one);
        let elsewhere = storm(r#"{"name":"s","mounts":["c"],"operations":1}"#);
        assert!(possible(&guest, &elsewhere).is_err());
    }
}
