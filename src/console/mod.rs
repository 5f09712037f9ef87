//! Console bytes to lines: who said it, when, and what.
//!
//! Input is whatever a kernel log went through on its way here: a serial
//! console, `dmesg` in one of its formats, syslog or the journal, a test lab's
//! capture. Output is a [`Line`]: the kernel's own message with everything in
//! front of it taken off, and what that told (time, caller, level). Nothing
//! here knows what a message means; `detect` does.

mod decoder;
mod prefix;
mod record;
mod splitter;
mod template;
mod text;

pub use decoder::Decoder;
pub use prefix::{Caller, Line, after_stamp, parse};
pub use splitter::{LONGEST_LINE, Splitter};
pub use template::Template;
