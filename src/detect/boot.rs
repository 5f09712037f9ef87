//! What a log tells of the machine's starts, before and between banners.

use super::report::Report;
use crate::console;

/// Lines at the log's beginning that are looked at for a system that ran before
/// its first banner.
const LOOKED: u32 = 512;

/// What is known of the machine's starts.
#[derive(Debug, Default)]
pub(super) struct Boot {
    pub(super) banner: bool,
    /// Something announced or explained a restart.
    pub(super) explained: bool,
    /// Something ran before the first banner.
    pub(super) ran: bool,
    /// Lines that were looked at for that.
    looked: u32,
    /// The last word of a boot loader, while nothing follows it.
    pub(super) handed: Option<Report>,
}

impl Boot {
    /// Sees whether what stands before the first mention of a banner, in the
    /// log's first lines, shows a running system. Line by line, so that it does
    /// not matter where chunks end.
    pub(super) fn look_before(&mut self, run: &[u8]) {
        for raw in run.split_inclusive(|byte| *byte == b'\n') {
            if self.looked >= LOOKED {
                return;
            }
            self.looked += 1;
            if memchr::memmem::find(raw, b"Linux version ").is_some() {
                self.looked = LOOKED;
            } else if shows_running(raw) {
                self.ran = true;
                self.looked = LOOKED;
            }
        }
    }
}

/// Whether a line is of a running system: the kernel's stamp, or a system call
/// of a fuzzer's trace.
fn shows_running(raw: &[u8]) -> bool {
    let line = console::parse(&raw[..raw.len().min(console::LONGEST_LINE)]);
    let traced = line.body.split_once('(').is_some_and(|(name, rest)| {
        !name.is_empty()
            && name.bytes().all(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || matches!(b, b'_' | b'$' | b'=' | b' ')
            })
            && rest.contains("0x")
            && rest.ends_with(')')
    });
    line.time.is_some_and(|time| time > 0.0) || traced
}
