//! Characters that no message has: most do nothing on a terminal but hide what stands
//! around them from whoever searches.

use std::borrow::Cow;

use memchr::memchr;

/// Begins what a terminal obeys, and is taken off with it when a line is parsed.
pub const ESCAPE: u8 = 0x1b;

/// Ends a command to the terminal that has text in it.
const BELL: u8 = 0x07;

/// Whether a byte is a control character that no message has.
#[must_use]
pub fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t' && byte != b'\n') || byte == 0x7f
}

/// A line without what does nothing but hide.
#[must_use]
pub fn visible(raw: &[u8]) -> Cow<'_, [u8]> {
    // Without a branch for each byte: most lines have none.
    if !raw.iter().fold(false, |any, byte| any | is_control(*byte)) {
        return raw.into();
    }
    let escapes = memchr(ESCAPE, raw).is_some();
    let is_plain = |byte: &u8| match *byte {
        b'\r' | ESCAPE => true,
        // It may end what an escape begins.
        BELL => escapes,
        other => !is_control(other),
    };
    if raw.iter().all(is_plain) {
        return raw.into();
    }
    let plain: Vec<u8> = raw.iter().copied().filter(|byte| is_plain(byte)).collect();
    plain.into()
}
