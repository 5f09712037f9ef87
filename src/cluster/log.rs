//! The end of a daemon's log, for error messages.

use std::path::Path;

/// What a log says last, in at most ten lines: a crash from its first line on,
/// because daemons append thousands of remembered lines to it.
pub(super) fn log_tail(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    const MOST: u64 = 1 << 20;
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    last_words(&read().unwrap_or_default())
}

fn last_words(text: &str) -> String {
    const LINES: usize = 10;
    let is_crash =
        |line: &&str| line.contains("*** Caught signal") || line.contains("FAILED ceph_assert");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let start = lines
        .iter()
        .position(is_crash)
        .unwrap_or(lines.len().saturating_sub(LINES));
    lines[start..]
        .iter()
        .take(LINES)
        // A line of a log can be a whole map.
        .map(|line| line.chars().take(300).collect::<String>())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_shown_from_its_first_line() {
        let mut text = "start\n*** Caught signal (Aborted) **\n 1: abort()\n".to_owned();
        text.push_str(&"  -1> remembered\n".repeat(1000));
        let words = last_words(&text);
        assert!(words.starts_with("*** Caught signal"), "{words}");
        assert_eq!(words.lines().count(), 10);
    }

    #[test]
    fn otherwise_the_last_lines_are_shown() {
        let text: String = (0..50).fold(String::new(), |text, line| {
            text + &format!("line {line}\n\n")
        });
        let words = last_words(&text);
        assert!(words.starts_with("line 40\n"), "{words}");
        assert!(words.ends_with("line 49"), "{words}");
    }
}
