//! The self-test of an arm's kernel before its first trial: has it made where the
//! run's trials are, and tells what it did not show.

use super::bench::Bench;
use crate::error::Error;
use crate::event::Event;
use crate::job::Arm;
use crate::kernel::KernelImage;
use crate::record::read_self_test;
use crate::trial::SelfTestRequest;

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
