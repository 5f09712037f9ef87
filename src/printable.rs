//! Text that others wrote, made safe for a terminal, or for a shell. Guests, logs,
//! jobs and records name things as they like; what they say goes through here
//! before a person reads it, or types it.
#![forbid(clippy::disallowed_methods)]

use std::fmt::Write;

/// Shown in place of what is left out.
const REPLACEMENT: char = '\u{fffd}';

/// The text without anything that moves the cursor, changes colours, reorders
/// what stands around it, or cannot be seen. A tab stays a blank; a line break
/// is replaced like the rest, so that one line stays one.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if is_unsafe(c) => REPLACEMENT,
            c => c,
        })
        .collect()
}

/// The same for a text of several lines, whose breaks stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            safe.push('\n');
        }
        safe.push_str(&printable(line));
    }
    safe
}

/// The same for a text that has marks at places counted in bytes: each
/// character gives way to one of its own length, and breaks and tabs stay.
#[must_use]
pub fn printable_in_place(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if !is_unsafe(c) => c,
            c => match c.len_utf8() {
                1 => '?',
                2 => '\u{bf}',
                3 => REPLACEMENT,
                // Of four bytes, a replacement that every font lacks alike.
                _ => '\u{1f7e8}',
            },
        })
        .collect()
}

/// A text of JSON with nothing that a terminal obeys: what JSON leaves as it is of
/// such characters stands in its strings alone, where it can be escaped.
#[must_use]
pub fn printable_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_unsafe(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

/// The text as one word of bash's, on one line.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains('\n') {
        // On one line: bash's own quotes.
        let text = text.replace('\\', "\\\\").replace('\'', "\\'");
        format!("$'{}'", text.replace('\n', "\\n"))
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Whether a terminal does something else than show it: control characters (of
/// ESC's kind), marks of direction, blanks of no width, breaks of lines and
/// paragraphs, tags, letters that are blank.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        let hostile =
            "a\u{1b}[2Jb\u{9b}31mc\u{202e}d\u{2066}e\u{200b}f\u{feff}g\u{e0041}h\r\u{7}\u{7f}";
        assert_eq!(
            printable(hostile),
            "a\u{fffd}[2Jb\u{fffd}31mc\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}h\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    #[test]
    fn what_people_write_passes() {
        let text = "Größe 4 µs, 内核, ядро, e\u{301}, \u{1f427}: “fixed”";
        assert_eq!(printable(text), text);
        assert_eq!(printable("a\tb\nc"), "a b\u{fffd}c");
        assert_eq!(printable_lines("a\tb\n\u{1b}c\n"), "a b\n\u{fffd}c\n");
    }

    #[test]
    fn marks_stay_where_they_were() {
        let text = "a\u{1b}b\u{9b}c\u{202e}d\u{e0041}e\tf\n";
        let safe = printable_in_place(text);
        assert_eq!(safe.len(), text.len());
        assert_eq!(safe.find('e'), text.find('e'));
        assert!(!safe.chars().any(|c| is_unsafe(c) && !"\t\n".contains(c)));
    }

    #[test]
    fn json_says_the_same_without_what_a_terminal_obeys() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{e0041}\u{7f}\tä\n";
        let value = serde_json::json!({ hostile: [hostile, 1] });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = printable_json(&text);
        assert!(!safe.chars().any(|c| is_unsafe(c) && c != '\n'), "{safe}");
        let again: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(again, value);
        assert!(safe.contains("ä"), "{safe}");
    }
}
