//! Lines on a standard error that may be the same file as standard output.

use std::io::{self, Write};

/// Tells a line on standard error. If that is gone, nobody is left to tell.
pub(crate) fn tell_line(text: &str) {
    drop(write_line(&mut io::stderr().lock(), text));
}

/// Writes a line in one go, so that nothing that is written to the same pipe from
/// elsewhere comes between its text and its end: a log in which the verdict stands
/// behind something else in its line is searched in vain.
fn write_line(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut line = String::with_capacity(text.len() + 1);
    line.push_str(text);
    line.push('\n');
    out.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what each call wrote.
    #[derive(Default)]
    struct Calls(Vec<Vec<u8>>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_and_its_end_are_written_in_one_call() {
        let mut calls = Calls::default();
        write_line(&mut calls, "note     here").unwrap();
        assert_eq!(calls.0, [b"note     here\n".to_vec()]);
    }
}
