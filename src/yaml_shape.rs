//! Looks at a YAML text before it is made sense of: whether it nests deeper than
//! any job does, and whether a key stands twice in a mapping. Parsers take long
//! over the first and tell the wrong place of the second.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser};

/// Levels of lists and mappings in each other. Jobs have some five.
const DEEPEST: usize = 64;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misshapen {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// What is wrong.
    pub(crate) message: String,
}

/// A list or a mapping that is still open.
struct Level {
    /// A mapping's keys so far.
    keys: Option<HashSet<String>>,
    /// The next node is a key.
    key_next: bool,
}

impl Level {
    fn list() -> Self {
        Self {
            keys: None,
            key_next: false,
        }
    }

    fn mapping() -> Self {
        Self {
            keys: Some(HashSet::new()),
            key_next: true,
        }
    }

    /// A node ended in it; `scalar` is its text if it has one. Returns the key
    /// that stands twice.
    fn take(&mut self, scalar: Option<&str>) -> Option<String> {
        let keys = self.keys.as_mut()?;
        let is_key = self.key_next;
        self.key_next = !is_key;
        let key = scalar.filter(|_| is_key)?;
        (!keys.insert(key.to_owned())).then(|| key.to_owned())
    }
}

/// Checks the shape. What is not YAML at all passes: whoever reads it says so.
pub(crate) fn check(text: &str) -> Result<(), Misshapen> {
    if let Some(control) = control_character(text) {
        return Err(control);
    }
    let mut open: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            // The scanner is some tokens ahead: what it stumbles over may be
            // the depth.
            Err(error) if brackets(text) > DEEPEST => return Err(too_deep(*error.marker())),
            Err(_) => return Ok(()),
        };
        let level = match event {
            Event::SequenceStart(..) => Level::list(),
            Event::MappingStart(..) => Level::mapping(),
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                close_node(&mut open, None, span.start)?;
                continue;
            }
            Event::Scalar(text, ..) => {
                close_node(&mut open, Some(&text), span.start)?;
                continue;
            }
            Event::Alias(_) => {
                close_node(&mut open, None, span.start)?;
                continue;
            }
            _ => continue,
        };
        if open.len() == DEEPEST {
            return Err(too_deep(span.start));
        }
        open.push(level);
    }
    Ok(())
}

/// The first character that YAML has none of, which its readers tell without a
/// place.
fn control_character(text: &str) -> Option<Misshapen> {
    let is_one = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let at = text.find(is_one)?;
    let before = &text[..at];
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    Some(Misshapen {
        line: before.matches('\n').count() + 1,
        column: before[line..].chars().count() + 1,
        message: format!(
            "a control character, {}",
            text[at..].chars().next()?.escape_unicode()
        ),
    })
}

fn close_node(open: &mut [Level], scalar: Option<&str>, at: Marker) -> Result<(), Misshapen> {
    match open.last_mut().and_then(|level| level.take(scalar)) {
        Some(key) => Err(misshapen(at, format!("`{key}` appears twice"))),
        None => Ok(()),
    }
}

/// How deep brackets stand in each other, whatever they stand for: for a text
/// whose end cannot be reached otherwise.
fn brackets(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

fn too_deep(at: Marker) -> Misshapen {
    let message = format!("more than {DEEPEST} lists and mappings in each other");
    misshapen(at, message)
}

fn misshapen(at: Marker, message: String) -> Misshapen {
    Misshapen {
        line: at.line(),
        column: at.col() + 1,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<(usize, usize, String)> {
        let Misshapen {
            line,
            column,
            message,
        } = check(text).err()?;
        Some((line, column, message))
    }

    #[test]
    fn a_key_that_is_there_twice_is_shown_where_it_is_the_second_time() {
        let twice = |line, column| Some((line, column, "`a` appears twice".to_owned()));
        assert_eq!(said("a: 1\nb: 2\na: 3\n"), twice(3, 1));
        assert_eq!(said("x:\n  a: 1\n  'a': 3\n"), twice(3, 3));
        assert_eq!(said("x: [{a: 1, b: [a], a: 2}]\n"), twice(1, 20));
        assert_eq!(said("x: {a: a}\ny: {a: a}\nz: [a, a]\n"), None);
        assert_eq!(said("? [a]\n: 1\n? {a: b}\n: 2\na: 3\n"), None);
        assert_eq!(said("x: &a {a: 1}\ny: *a\nz: *a\n"), None);
    }

    #[test]
    fn what_nests_deeper_than_any_job_is_refused() {
        for open in ["[", "{ a: ", "- ", "? ", "[{", "@ ["] {
            let deep = open.repeat(200_000);
            let (line, _, message) = said(&deep).unwrap();
            assert_eq!(line, 1, "{open}");
            assert!(message.starts_with("more than 64"), "{open}: {message}");
        }
        assert_eq!(said(&format!("{}{}", "[".repeat(64), "]".repeat(64))), None);
    }

    #[test]
    fn what_is_not_yaml_is_for_others_to_tell() {
        for text in ["a: [", "\"", "a: b: c", "\t", "%", "*x", ""] {
            assert_eq!(said(text), None, "{text:?}");
        }
    }
}
