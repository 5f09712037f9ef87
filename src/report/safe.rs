//! Text of guests made fit to be shown: nothing in it moves a cursor, turns the
//! direction of writing, or hides.

use std::fmt::Write;

use crate::printable::{is_unsafe, printable};

/// Whether a character is not one to be seen, or one that XML cannot hold.
pub(super) fn is_mark(c: char) -> bool {
    is_unsafe(c) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The text on one line, with U+FFFD for each mark and a blank for a tab.
pub(super) fn plain(text: &str) -> String {
    printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// The text on one line, with each mark shown as what it is: `␛` for an escape,
/// `⟨U+202E⟩` for a mark without a picture. Tabs stay.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('\u{2421}'),
            c if is_mark(c) => {
                let _ = write!(shown, "\u{27e8}U+{:04X}\u{27e9}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// At most this many characters, with `…` for what is left out.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    if text.char_indices().nth(characters).is_none() {
        return text.to_owned();
    }
    let kept = text.chars().take(characters.saturating_sub(1));
    kept.chain(['\u{2026}']).collect()
}

/// Letters, digits, `-` and `_` as they are, anything else as `-`: for consumers
/// that take only identifiers.
pub(super) fn identifier(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let text: String = text
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_turns_or_hides() {
        let hostile = "a\t\x1b[2Jb\u{202e}c\u{200b}d\u{2028}e\u{e0041}f\u{ffff}\n";
        assert!(!plain(hostile).chars().any(is_mark));
        assert_eq!(
            plain(hostile),
            "a \u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}\u{fffd}"
        );
        assert!(!visible(hostile).chars().any(|c| c != '\t' && is_mark(c)));
        assert_eq!(visible("\x1b[1m\u{202e}\t\x7f"), "␛[1m⟨U+202E⟩\t␡");
    }

    #[test]
    fn a_cut_says_that_it_is_one() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüx", 3), "äö…");
        assert_eq!(identifier("a b/c.ü"), "a-b-c--");
        assert_eq!(identifier(""), "-");
    }
}
