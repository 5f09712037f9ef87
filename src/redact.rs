//! Keeps secrets out of what a guest says. A guest knows its own key, so it can
//! print it: on its console, in a step's output, in an error. What it says is
//! shown and kept only after it has passed through here.
//!
//! This finds a secret as it is written, not one that a hostile guest has
//! encoded or cut up with other text: against that helps only that the key is
//! worth nothing outside its own trial.
#![forbid(clippy::disallowed_methods)]

use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};

/// Stands where a secret stood.
pub const REDACTED: &str = "(redacted)";

/// Replaces secrets in a stream of bytes that comes in pieces of any size. A
/// secret that is cut across pieces is found: as much of a piece's end as could
/// begin a secret is held back until the next one, and no more, so that whoever
/// watches a live console waits for nothing else.
#[derive(Clone)]
pub struct Redactor {
    /// Finds the leftmost, longest secret; `None` without secrets.
    finder: Option<AhoCorasick>,
    secrets: Vec<Vec<u8>>,
    /// The end of what came, which may be a secret's beginning.
    held: Vec<u8>,
}

impl Redactor {
    /// One for these secrets. Empty ones are passed over.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let secrets: Vec<Vec<u8>> = secrets
            .into_iter()
            .map(|secret| secret.as_ref().to_vec())
            .filter(|secret| !secret.is_empty())
            .collect();
        // Only tables of gigabytes could fail to be built.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&secrets)
            .ok()
            .filter(|_| !secrets.is_empty());
        Self {
            finder,
            secrets,
            held: Vec::new(),
        }
    }

    /// Takes the next piece and returns what may be shown by now.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let (shown, rest) = self.pass(&text, true);
        self.held = text.split_off(rest);
        shown
    }

    /// Ends the stream and returns what was held back.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let text = std::mem::take(&mut self.held);
        self.pass(&text, false).0
    }

    /// Redacts a text that is complete.
    #[must_use]
    pub fn whole(&self, text: &str) -> String {
        match &self.finder {
            None => text.to_owned(),
            Some(_) => String::from_utf8_lossy(&self.pass(text.as_bytes(), false).0).into_owned(),
        }
    }

    /// What of `text` may be shown, and where the rest begins that must wait for
    /// `more`.
    fn pass(&self, text: &[u8], more: bool) -> (Vec<u8>, usize) {
        let Some(finder) = &self.finder else {
            return (text.to_vec(), text.len());
        };
        let mut shown = Vec::with_capacity(text.len());
        let mut from = 0;
        loop {
            let wait = if more {
                self.beginning(text, from)
            } else {
                text.len()
            };
            // A secret that begins where another may be coming is left to it.
            let found = finder.find(&text[from..]).map(|found| {
                let (start, end) = (from + found.start(), from + found.end());
                (start, end)
            });
            match found {
                Some((start, end)) if start < wait => {
                    shown.extend_from_slice(&text[from..start]);
                    shown.extend_from_slice(REDACTED.as_bytes());
                    from = end;
                }
                _ => {
                    shown.extend_from_slice(&text[from..wait]);
                    return (shown, wait);
                }
            }
        }
    }

    /// The first place, not before `from`, from which the text is the beginning
    /// of a longer secret; its end if there is none.
    fn beginning(&self, text: &[u8], from: usize) -> usize {
        let longest = self.secrets.iter().map(Vec::len).max().unwrap_or(0);
        let first = text.len().saturating_sub(longest.saturating_sub(1));
        (first.max(from)..text.len())
            .find(|&at| {
                let tail = &text[at..];
                let begins =
                    |secret: &Vec<u8>| secret.len() > tail.len() && secret.starts_with(tail);
                self.secrets.iter().any(begins)
            })
            .unwrap_or(text.len())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "AQBx1iFqAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";

    fn in_pieces(secrets: &[&str], pieces: &[&[u8]]) -> String {
        let mut redactor = Redactor::new(secrets);
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(redactor.push(piece));
        }
        all.extend(redactor.finish());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn a_secret_cut_anywhere_is_found() {
        let text = format!("libceph: key {KEY} of trial-1\n");
        let whole = format!("libceph: key {REDACTED} of trial-1\n");
        for cut in 0..=text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            assert_eq!(in_pieces(&[KEY], &[one, two]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(in_pieces(&[KEY], &bytes), whole);
    }

    #[test]
    fn only_what_may_begin_a_secret_is_held_back() {
        let mut redactor = Redactor::new([KEY]);
        assert_eq!(redactor.push(b"login: "), b"login: ");
        assert_eq!(redactor.push(b"AQAQB"), b"AQ");
        assert_eq!(redactor.push(b"?"), b"AQB?");
        assert_eq!(redactor.push(b"AQBx"), b"");
        assert_eq!(redactor.finish(), b"AQBx");
        assert_eq!(redactor.finish(), b"");
    }

    #[test]
    fn a_secret_that_begins_a_longer_one_does_not_let_its_end_out() {
        assert_eq!(in_pieces(&["abc", "abcdef"], &[b"abc", b"def"]), REDACTED);
        let once_more = format!("{REDACTED}dx");
        assert_eq!(in_pieces(&["abc", "abcdef"], &[b"abc", b"dx"]), once_more);
        let two = format!("{REDACTED}{REDACTED}");
        assert_eq!(in_pieces(&["abab"], &[b"abababab"]), two);
    }

    #[test]
    fn without_secrets_all_passes() {
        assert_eq!(in_pieces(&[], &[b"a", b"b"]), "ab");
        assert_eq!(in_pieces(&[""], &[b"a", b"b"]), "ab");
        assert_eq!(Redactor::new([KEY]).whole("no key"), "no key");
        assert_eq!(Redactor::new([KEY]).whole(KEY), REDACTED);
        assert!(!format!("{:?}", Redactor::new([KEY])).contains(KEY));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[ab]{0,40}", cuts in prop::collection::vec(0..40usize, 0..6)) {
            let secrets = ["aab", "aabba", "bb"];
            let mut redactor = Redactor::new(secrets);
            let whole = redactor.whole(&text);
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut all = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().map(|cut| cut.min(text.len())) {
                all.extend(redactor.push(&text.as_bytes()[from..cut]));
                from = cut;
            }
            all.extend(redactor.push(&text.as_bytes()[from..]));
            all.extend(redactor.finish());
            prop_assert_eq!(String::from_utf8(all).unwrap(), whole);
        }
    }
}
