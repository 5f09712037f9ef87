//! Carries out steps: each by the file of its family. Everything behind this
//! runs in a step's own thread and may block for ever.

use super::report::Progress;
use super::state::Guest;
use super::{counters, faults, handles, kernel, mounts, paths, programs, series, storms};
use crate::guest::protocol::{StepFailure, StepReport};
use crate::step::GuestStep;

/// Does what a step says.
pub(super) fn carry_out(
    guest: &Guest,
    step: &GuestStep,
    progress: Progress<'_>,
) -> Result<StepReport, StepFailure> {
    let nothing_to_report = |()| StepReport::default();
    match step {
        GuestStep::Mount(step) => mounts::carry_out(guest, step, progress),
        GuestStep::Handle(step) => handles::carry_out(guest, step).map(nothing_to_report),
        GuestStep::Path(step) => paths::carry_out(guest, step).map(nothing_to_report),
        GuestStep::Series(step) => series::carry_out(guest, step).map(nothing_to_report),
        GuestStep::Kernel(step) => kernel::carry_out(step).map(nothing_to_report),
        GuestStep::Storm(step) => storms::carry_out(guest, step, progress),
        GuestStep::Fault(step) => faults::carry_out(step),
        GuestStep::Counter(step) => counters::carry_out(step),
        GuestStep::Program(step) => programs::carry_out(guest, step, progress),
    }
}
