//! Reads what make prints while a kernel is built: counts compiled objects and
//! picks out the first error.

use std::path::Path;

/// Lines kept after the first error: the compiler's excerpt of the source.
const EXCERPT: usize = 8;

/// Lines kept for an end that no rule explains.
const TAIL: usize = 12;

/// Whether a program says that there is no room, on the disk or in a quota.
pub(super) fn tells_of_a_full_disk(text: &str) -> bool {
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct BuildLog {
    /// The tree, as the compiler spells its paths.
    prefix: String,
    /// Objects compiled or assembled.
    pub(super) compiled: u64,
    /// Whether the disk was full.
    pub(super) no_space: bool,
    first: Option<Vec<String>>,
    tail: Vec<String>,
}

impl BuildLog {
    /// For a build of the tree at `source`.
    pub(super) fn new(source: &Path) -> Self {
        Self {
            prefix: format!("{}/", source.display()),
            ..Self::default()
        }
    }

    /// Takes one line. Tells whether it announced another object.
    pub(super) fn line(&mut self, line: &str) -> bool {
        if compiles(line) {
            self.compiled += 1;
            return true;
        }
        self.no_space |= tells_of_a_full_disk(line);
        let line = line.replace(&self.prefix, "");
        match &mut self.first {
            Some(kept) if kept.len() < EXCERPT && !line.starts_with("make") => {
                kept.push(line.clone());
            }
            None if is_error(&line) => self.first = Some(vec![line.clone()]),
            _ => {}
        }
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(line);
        false
    }

    /// The first error with what the compiler showed of it, or how it ended.
    pub(super) fn error(&self) -> String {
        self.first.as_ref().unwrap_or(&self.tail).join("\n")
    }
}

/// Whether kbuild says that it compiles or assembles an object for the kernel.
fn compiles(line: &str) -> bool {
    line.starts_with("  CC ") || line.starts_with("  AS ")
}

/// The shapes of the errors of compiler, assembler, linker and make.
fn is_error(line: &str) -> bool {
    let after_place = line
        .split_once(": error: ")
        .or_else(|| line.split_once(": fatal error: "));
    after_place.is_some_and(|(place, _)| place.contains(':') || place.ends_with("ld"))
        || line.contains("undefined reference to")
        || line.contains(": Error: ")
        || line.contains("ERROR: modpost:")
        || (line.starts_with("make") && line.contains("*** "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept_with_its_place_in_the_tree() {
        let mut log = BuildLog::new(Path::new("/cache/tree"));
        for line in [
            "  CC      fs/inode.o",
            "  AS      arch/x86/lib/x.o",
            "  HOSTCC  scripts/x",
            "/cache/tree/fs/inode.c: In function ‘iput’:",
            "/cache/tree/fs/inode.c:12:3: error: ‘x’ undeclared",
            "   12 |   x = 1;",
            "/cache/tree/fs/inode.c:99:3: error: second",
            "make[3]: *** [scripts/Makefile.build:280: fs/inode.o] Error 1",
        ] {
            log.line(line);
        }
        assert_eq!(log.compiled, 2);
        assert!(
            log.error()
                .starts_with("fs/inode.c:12:3: error: ‘x’ undeclared\n   12 |   x = 1;"),
            "{}",
            log.error()
        );
        assert!(!log.error().contains("make[3]"));
    }

    #[test]
    fn an_end_without_an_error_shows_the_last_lines() {
        let mut log = BuildLog::new(Path::new("/t"));
        for number in 0..40 {
            log.line(&format!("line {number}"));
        }
        assert!(log.error().starts_with("line 28\n"));
        assert!(log.error().ends_with("line 39"));
    }

    #[test]
    fn a_full_disk_is_recognised() {
        let mut log = BuildLog::new(Path::new("/t"));
        log.line("/usr/bin/ld: final link failed: No space left on device");
        assert!(log.no_space);
        let mut log = BuildLog::new(Path::new("/t"));
        log.line("fatal error: error writing to /t/x.s: Disk quota exceeded");
        assert!(log.no_space);
    }
}
