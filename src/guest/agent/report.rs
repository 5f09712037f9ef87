//! What a step tells the host: counters while it goes on, a text at its end.

use std::collections::BTreeMap;

use crate::guest::protocol::StepReport;

/// The most of a program's or a file's text that a report carries, in bytes.
pub(super) const LIMIT: usize = 64 << 10;

/// Takes the counters of a step that goes on.
pub(super) type Progress<'a> = &'a dyn Fn(BTreeMap<String, u64>);

/// A report with this text in it.
pub(super) fn of_text(text: String) -> StepReport {
    StepReport {
        output: Some(bounded(text)),
        ..StepReport::default()
    }
}

/// The beginning of a text, where it is longer than a result may be.
pub(super) fn bounded(mut text: String) -> String {
    if text.len() > LIMIT {
        let end = (0..=LIMIT).rfind(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
    text
}

/// The end of a text that comes in pieces, where it is longer than a report may
/// be.
#[derive(Debug, Default)]
pub(super) struct Tail(String);

impl Tail {
    /// Takes the next piece.
    pub(super) fn push(&mut self, text: &str) {
        self.0.push_str(text);
        if self.0.len() > 2 * LIMIT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let excess = self.0.len().saturating_sub(LIMIT);
        let begin = (excess..=self.0.len()).find(|at| self.0.is_char_boundary(*at));
        self.0.drain(..begin.unwrap_or_default());
    }

    /// The end of all of it.
    pub(super) fn text(mut self) -> String {
        self.cut();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("short".to_owned()), "short");
        let long = format!("{}é", "x".repeat(LIMIT - 1));
        assert_eq!(bounded(long).len(), LIMIT - 1);
    }

    #[test]
    fn of_a_text_in_pieces_the_end_is_kept() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(&format!("é{number}\n"));
        }
        let text = tail.text();
        assert!(text.len() <= LIMIT && text.ends_with("é99999\n"));
    }
}
