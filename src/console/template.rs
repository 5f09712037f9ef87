//! What stands before every line of a capture, learned from one of them: the
//! same text with other numbers.

/// The shape of such a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Any number.
    Digits,
    /// Spaces and tabs, as many as align the line.
    Blank(usize),
    /// The same text.
    Text(String),
}

/// Bytes of a prefix that are looked at.
const LONGEST: usize = 160;

impl Template {
    /// The shape of this prefix; `None` if it is none.
    #[must_use]
    pub fn of(prefix: &str) -> Option<Self> {
        if prefix.is_empty() || prefix.len() > LONGEST {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = prefix;
        while let Some(first) = rest.chars().next() {
            let kind = kind(first);
            let end = rest
                .find(|c: char| self::kind(c) != kind)
                .unwrap_or(rest.len());
            parts.push(match kind {
                Kind::Digit => Part::Digits,
                Kind::Blank => Part::Blank(end),
                Kind::Other => Part::Text(rest[..end].to_owned()),
            });
            rest = &rest[end..];
        }
        Some(Self { parts })
    }

    /// The line without the prefix, if it has it.
    #[must_use]
    pub fn strip<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut rest = line;
        for (index, part) in self.parts.iter().enumerate() {
            rest = match part {
                Part::Digits => {
                    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                    if after.len() == rest.len() {
                        return None;
                    }
                    after
                }
                // What comes after the last one is the message's own.
                Part::Blank(width) if index + 1 == self.parts.len() => {
                    let blanks = rest.bytes().take(*width).take_while(|b| is_blank(*b));
                    &rest[blanks.count()..]
                }
                Part::Blank(_) => rest.trim_start_matches([' ', '\t']),
                Part::Text(text) => rest.strip_prefix(text.as_str())?,
            };
        }
        Some(rest)
    }
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Digit,
    Blank,
    Other,
}

fn kind(c: char) -> Kind {
    match c {
        '0'..='9' => Kind::Digit,
        ' ' | '\t' => Kind::Blank,
        _ => Kind::Other,
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_differ_and_the_indentation_stays() {
        let template = Template::of("job-7 | 14:00:09  ").unwrap();
        assert_eq!(template.strip("job-12 | 14:00:10  a"), Some("a"));
        assert_eq!(
            template.strip("job-12 | 14:00:10   <TASK>"),
            Some(" <TASK>")
        );
        assert_eq!(template.strip("job-12 |  9:00:10  a"), Some("a"));
        assert_eq!(template.strip("job-12 | 14:00:10"), Some(""));
        assert_eq!(template.strip("task-12 | 14:00:10  a"), None);
        assert_eq!(
            Template::of("+").unwrap().strip("+ vfs_read"),
            Some(" vfs_read")
        );
        assert_eq!(Template::of(""), None);
    }
}
