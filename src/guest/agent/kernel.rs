//! Steps that set the kernel's parameters, drop its caches or pull SysRq.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use super::system;
use crate::guest::calls;
use crate::guest::protocol::StepFailure;
use crate::step::KernelStep;

/// Does what a step says.
pub(super) fn carry_out(step: &KernelStep) -> Result<(), StepFailure> {
    match step {
        KernelStep::Sysctl(parameters) => sysctl(parameters),
        KernelStep::DropCaches { what, times } => (0..*times).try_for_each(|_| {
            calls::drop_caches(*what).map_err(|error| StepFailure::syscall("drop caches", error))
        }),
        KernelStep::Sysrq { letters } => sysrq(letters),
    }
}

fn sysctl(parameters: &BTreeMap<String, String>) -> Result<(), StepFailure> {
    for (name, value) in parameters {
        std::fs::write(system::sysctl_path(name), value)
            .map_err(|error| StepFailure::syscall(format!("set {name} to {value}"), error))?;
    }
    Ok(())
}

/// Pulls SysRq letters, one write each: the kernel takes the first of a write.
pub(super) fn sysrq(letters: &str) -> Result<(), StepFailure> {
    let mut trigger = File::options()
        .write(true)
        .open("/proc/sysrq-trigger")
        .map_err(|error| StepFailure::syscall("open /proc/sysrq-trigger", error))?;
    for letter in letters.chars().filter(char::is_ascii_alphanumeric) {
        trigger
            .write_all(letter.to_string().as_bytes())
            .map_err(|error| StepFailure::syscall(format!("SysRq {letter}"), error))?;
    }
    Ok(())
}
