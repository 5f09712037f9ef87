//! The self-test of an arm's kernel before its first trial: has it made where the
//! run's trials are, and tells what it did not show.

use super::bench::Bench;
use crate::error::Error;
use crate::event::Event;
use crate::job::Arm;
use crate::kernel::KernelImage;
use crate::record::{Record, RecordError, read_self_test};
use crate::trial::SelfTestRequest;

/// Whether an arm has trials that wait for its self-test, which came to nothing or was
/// ended before it came to anything.
pub(super) fn is_due(record: &Record, arm: &Arm) -> Result<bool, RecordError> {
    let kept = read_self_test(&record.self_test_directory(&arm.name))?;
    if kept.is_some_and(|kept| kept.not_done.is_none()) {
        return Ok(false);
    }
    for workload in &arm.workloads {
        if !record.trials(&arm.name, workload)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tests an arm's kernel, unless the run did before it was resumed.
pub(super) async fn self_test(
    bench: &Bench<'_>,
    arm: &Arm,
    image: &KernelImage,
) -> Result<(), Error> {
    let directory = bench.record.self_test_directory(&arm.name);
    let kept = read_self_test(&directory)?;
    if kept.is_some_and(|kept| kept.not_done.is_none()) {
        return Ok(());
    }
    let request = SelfTestRequest {
        arm: arm.name.clone(),
        kernel: image.bzimage.clone(),
        hardware: bench.plan.hardware.clone(),
        words: arm.command_line.clone(),
    };
    let place = &bench.place;
    let result = place.self_test(bench.context, &request, &directory).await?;
    bench.context.emit(if let Some(why) = &result.not_done {
        Event::Warning(format!(
            "the self-test of {} came to nothing: {why}",
            arm.name
        ))
    } else if result.unseen.is_empty() {
        Event::Note(format!("{} reports what its self-test provokes", arm.name))
    } else {
        let names: Vec<&str> = result.unseen.iter().map(|class| class.name()).collect();
        Event::Warning(format!(
            "{} did not report what its self-test provoked: {}",
            arm.name,
            names.join(", ")
        ))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::{SelfTest, end_self_test, keep_trial};
    use crate::trial_id::TrialId;

    #[test]
    fn trials_that_ended_wait_for_a_self_test_that_came_to_nothing() {
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd/judge.in/run");
        let home = tempfile::tempdir().unwrap();
        std::fs::copy(recorded.join("run.json"), home.path().join("run.json")).unwrap();
        let (record, beginning) = Record::open(home.path()).unwrap();
        let arm = &beginning.plan.arms[0];
        let tested = |not_done: Option<&str>| {
            let directory = record.self_test_directory(&arm.name);
            std::fs::create_dir_all(&directory).unwrap();
            let result = SelfTest {
                boots: 1,
                first: 1,
                unseen: Vec::new(),
                not_done: not_done.map(str::to_owned),
                seconds: 1,
            };
            end_self_test(&directory, &result).unwrap();
        };
        let is_due = || is_due(&record, arm).unwrap();
        assert!(!is_due());
        tested(Some("no QEMU"));
        // The next trial has it made.
        assert!(!is_due());
        let (earlier, _) = Record::open(&recorded).unwrap();
        let trial = earlier.trials("stock", "example").unwrap().remove(0).trial;
        let id = TrialId {
            number: 1,
            ..trial.id.clone()
        };
        let (_, directory) = record.begin_attempt(&id).unwrap();
        keep_trial(&directory, &trial).unwrap();
        assert!(is_due());
        // One that was begun anew and not ended.
        std::fs::remove_dir_all(record.self_test_directory(&arm.name)).unwrap();
        assert!(is_due());
        tested(None);
        assert!(!is_due());
    }
}
