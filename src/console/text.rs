//! Bytes to text: escapes of terminals, spaces that browsers make, and what is
//! not UTF-8.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// The space that browsers and mail programs put where several follow each
/// other: U+00A0, in UTF-8.
const NO_BREAK_SPACE: &[u8] = &[0xc2, 0xa0];

/// A line's text.
pub(super) fn of(raw: &[u8]) -> Cow<'_, str> {
    let escapes = memchr(0x1b, raw).is_some();
    let spaces =
        memchr(NO_BREAK_SPACE[0], raw).is_some() && memmem::find(raw, NO_BREAK_SPACE).is_some();
    if !(escapes || spaces) {
        // Nearly every line is UTF-8, and it is sooner checked than repaired.
        return std::str::from_utf8(raw)
            .map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
    }
    let plain = without_escapes(raw);
    let text = String::from_utf8_lossy(&plain).into_owned();
    Cow::Owned(text.replace('\u{a0}', " "))
}

/// Removes CSI and other escape sequences.
fn without_escapes(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != 0x1b {
            out.push(raw[at]);
            at += 1;
            continue;
        }
        at += 1;
        match raw.get(at) {
            Some(b'[') => {
                at += 1;
                while at < raw.len() && !(0x40..=0x7e).contains(&raw[at]) {
                    at += 1;
                }
                at += 1;
            }
            // An operating system command ends at BEL or ESC \.
            Some(b']') => {
                while at < raw.len() && raw[at] != 0x07 && raw[at] != 0x1b {
                    at += 1;
                }
                if raw.get(at) == Some(&0x07) {
                    at += 1;
                }
            }
            Some(b'(' | b')') => at += 2,
            Some(_) => at += 1,
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_that_do_not_break_are_spaces() {
        assert_eq!(of("[\u{a0} 1.5] a\u{a0}b".as_bytes()), "[  1.5] a b");
        assert_eq!(of(b"\xc2\xa0\xff"), " \u{fffd}");
    }
}
