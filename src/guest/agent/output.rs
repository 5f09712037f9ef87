//! Texts that a step's report carries.

use crate::guest::protocol::StepReport;

/// The most of a program's or a file's text that a report carries, in bytes.
const LIMIT: usize = 64 << 10;

/// A report with this text in it.
pub(super) fn report(text: String) -> StepReport {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("short".to_owned()), "short");
        let long = format!("{}é", "x".repeat(LIMIT - 1));
        assert_eq!(bounded(long).len(), LIMIT - 1);
    }
}
