//! Console bytes to lines: who said it, when, and what.
//!
//! Input is whatever a kernel log went through on its way here: a serial
//! console, `dmesg` in one of its formats, syslog or the journal, a test lab's
//! capture. Output is a [`Line`]: the kernel's own message with everything in
//! front of it taken off, and what that told (time, caller, level). Nothing
//! here knows what a message means; `detect` does.
#![forbid(clippy::disallowed_methods)]

mod control;
mod decoder;
mod prefix;
mod record;
mod splitter;
mod template;
mod text;

pub use control::{ESCAPE, is_control, visible};
pub use decoder::Decoder;
pub use prefix::{Caller, Line, after_stamp, parse};
pub use splitter::{LONGEST_LINE, Splitter};
pub use template::Template;

/// Whether nothing stands in front of a line's message, and no program wrote it.
#[must_use]
pub fn is_bare(raw: &[u8]) -> bool {
    let line = parse(raw);
    line.body.len() == raw.len() && !line.user
}

/// Whether a line has the kernel's stamp, or that of what passed it on.
#[must_use]
pub fn is_stamped(raw: &[u8]) -> bool {
    let line = parse(raw);
    line.time.is_some() || line.relayed
}

/// Whether a line looks like one that a kernel printed: by its stamp or by who
/// is said to have logged it, or by what kernels say when they start.
#[must_use]
pub fn is_of_a_kernel(raw: &[u8]) -> bool {
    const SAID: &[&str] = &[
        "Linux version ",
        "Command line: ",
        "Kernel command line: ",
        "BIOS-e820: ",
        "Booting Linux on physical CPU",
        "ACPI: ",
        "PCI: ",
        "Call Trace:",
        "Call trace:",
    ];
    let line = parse(&raw[..raw.len().min(LONGEST_LINE)]);
    let from_kernel = line.time.is_some() || line.level.is_some() || line.relayed;
    !line.user && (from_kernel || SAID.iter().any(|start| line.body.starts_with(start)))
}
