//! Splits a stream of chunks into whole lines, in constant memory.

use memchr::{memchr, memrchr};

/// Bytes of a line that are kept; what is longer is cut. Kernel records end at
/// about 1 KiB, so only garbage is longer.
pub const LONGEST_LINE: usize = 64 << 10;

/// Joins chunks so that lines cut at any byte come out whole.
///
/// Complete lines are handed on in runs, straight from the caller's chunk, so
/// that nothing is copied but the lines that straddle two chunks.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
}

impl Splitter {
    /// Hands `run` every run of complete lines (each ending in `\n`) of what
    /// was carried over and `chunk`.
    pub fn push(&mut self, chunk: &[u8], mut run: impl FnMut(&[u8])) {
        let mut rest = chunk;
        if !self.carry.is_empty() {
            let Some(end) = memchr(b'\n', rest) else {
                self.keep(rest);
                return;
            };
            let room = LONGEST_LINE.saturating_sub(self.carry.len()).min(end);
            self.carry.extend_from_slice(&rest[..room]);
            self.carry.push(b'\n');
            run(&self.carry);
            self.carry.clear();
            rest = &rest[end + 1..];
        }
        if let Some(end) = memrchr(b'\n', rest) {
            run(&rest[..=end]);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The last line, if it had no end; the splitter is empty afterwards.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    fn keep(&mut self, rest: &[u8]) {
        let room = LONGEST_LINE
            .saturating_sub(self.carry.len())
            .min(rest.len());
        self.carry.extend_from_slice(&rest[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut out = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |run| {
                out.extend(
                    run.split_inclusive(|b| *b == b'\n')
                        .map(|line| line[..line.len() - 1].to_vec()),
                );
            });
        }
        let last = splitter.finish();
        if !last.is_empty() {
            out.push(last);
        }
        out
    }

    #[test]
    fn any_cut_gives_the_same_lines() {
        let text = b"one\n\ntwo three\nlast";
        let whole = lines(&[text]);
        assert_eq!(whole.len(), 4);
        for cut in 0..=text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_cut_not_hoarded() {
        let mut splitter = Splitter::default();
        for _ in 0..100 {
            splitter.push(&[b'x'; 4096], |_| {});
        }
        assert_eq!(splitter.carry.len(), LONGEST_LINE);
        let mut seen = 0;
        splitter.push(b"\nnext\n", |run| seen += run.len());
        assert_eq!(seen, LONGEST_LINE + 1 + 5);
    }
}
