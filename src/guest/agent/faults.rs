//! Steps that provoke failures in the kernel. Allocations fail by its fault
//! injection in the slab allocator, confined to one function and what it calls.

use std::path::Path;

use rustix::io::Errno;

use super::programs;
use crate::guest::helper;
use crate::guest::protocol::{StepFailure, StepReport};
use crate::step::FaultStep;

/// Where LKDTM takes what is to be provoked.
const PROVOKE: &str = "/sys/kernel/debug/provoke-crash/DIRECT";

const FAILSLAB: &str = "/sys/kernel/debug/failslab";

/// Does what a step says.
pub(super) fn carry_out(step: &FaultStep) -> Result<StepReport, StepFailure> {
    match step {
        FaultStep::Lkdtm { provoke } => {
            programs::run(helper::command().args(["write", PROVOKE, provoke]))
        }
        FaultStep::FailAllocations { within, times } => {
            fail_allocations(within, *times).map(|()| StepReport::default())
        }
    }
}

/// Has the next `times` slab allocations fail that `function` is on the stack
/// of; 0 ends it.
fn fail_allocations(function: &str, times: u32) -> Result<(), StepFailure> {
    let set = |file: &str, text: &str| {
        let path = Path::new(FAILSLAB).join(file);
        std::fs::write(&path, text)
            .map_err(|error| StepFailure::syscall(format!("write {}", path.display()), error))
    };
    set("probability", "0")?;
    if times == 0 {
        return Ok(());
    }
    let symbols = std::fs::read_to_string("/proc/kallsyms")
        .map_err(|error| StepFailure::syscall("read /proc/kallsyms", error))?;
    let Some((start, end)) = extent(&symbols, function) else {
        return Err(StepFailure::syscall(
            format!("find {function} in /proc/kallsyms"),
            Errno::NOENT,
        ));
    };
    for (file, text) in [
        ("require-start", format!("{start:#x}").as_str()),
        ("require-end", format!("{end:#x}").as_str()),
        ("stacktrace-depth", "32"),
        ("ignore-gfp-wait", "N"),
        ("task-filter", "N"),
        ("interval", "1"),
        ("space", "0"),
        // Not a word in the log: what follows from the failures is of interest.
        ("verbose", "0"),
        ("times", &times.to_string()),
        ("probability", "100"),
    ] {
        set(file, text)?;
    }
    Ok(())
}

/// Where a function's code begins and the next symbol's does.
fn extent(symbols: &str, function: &str) -> Option<(u64, u64)> {
    let all = symbols.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?))
    });
    let start = all.clone().find(|(_, name)| *name == function)?.0;
    // Addresses are hidden from those who may not see them.
    let end = all
        .map(|(address, _)| address)
        .filter(|address| *address > start)
        .min()?;
    (start > 0).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::extent;

    #[test]
    fn a_function_reaches_to_the_next_symbol() {
        let symbols = "ffffffff81000100 T b\nffffffff81000000 t a\nffffffff81000000 t alias\n\
                       ffffffff81000180 T c\n";
        assert_eq!(
            extent(symbols, "a"),
            Some((0xffff_ffff_8100_0000, 0xffff_ffff_8100_0100))
        );
        assert_eq!(extent(symbols, "c"), None);
        assert_eq!(extent(symbols, "z"), None);
        assert_eq!(
            extent("0000000000000000 T a\n0000000000000000 T b\n", "a"),
            None
        );
    }
}
