//! The only way text gets into the page. What is markup must be written in
//! kvet's own source; everything else is text, and shown as text.

use std::fmt::{Display, Write};

use crate::report::safe::visible;

/// A document that is being written.
#[derive(Debug, Default)]
pub(crate) struct Markup(String);

impl Markup {
    /// Markup of kvet's own.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, whoever said it: between tags, or in an attribute's double quotes.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for c in visible(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Anything that can be displayed, as text.
    pub(crate) fn show(&mut self, value: impl Display) -> &mut Self {
        self.text(&value.to_string())
    }

    /// A length or a place in a picture.
    pub(crate) fn at(&mut self, value: f64) -> &mut Self {
        let value = if value.is_finite() { value } else { 0.0 };
        let _ = write!(self.0, "{value:.1}");
        self
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut markup = Markup::default();
        markup
            .raw("<p title=\"")
            .text("\"><script>'&\x1b\u{202e}")
            .raw("\">");
        assert_eq!(
            markup.into_string(),
            "<p title=\"&quot;&gt;&lt;script&gt;&#39;&amp;␛⟨U+202E⟩\">"
        );
    }
}
