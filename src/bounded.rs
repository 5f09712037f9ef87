//! Reads files that others wrote, and never more of one than it may have: a job
//! can be `/dev/zero`, a record's file gigabytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file's content. `FileTooLarge` if it has more than `limit` bytes, however
/// large it says it is.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    if read as u64 > limit {
        let most = if limit >= 1 << 20 {
            format!("{} MiB", limit >> 20)
        } else {
            format!("{limit} bytes")
        };
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {most}"),
        ));
    }
    Ok(content)
}

/// The same for text in UTF-8; `InvalidData` if it is something else.
pub(crate) fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// The same for a file of kvet's own, which is a plain one: a FIFO in its place
/// would keep kvet waiting.
pub(crate) fn read_own(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    read(path, limit)
}

/// The same for text in UTF-8.
pub(crate) fn read_own_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read_own(path, limit)?)
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_end_is_too_large() {
        let error = read(Path::new("/dev/zero"), 4 << 20).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it has more than 4 MiB");
    }

    #[test]
    fn a_file_of_the_limit_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("text");
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        assert!(read_text(&path, 3).is_err());
        std::fs::write(&path, b"\xff").unwrap();
        let error = read_text(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(read_own(Path::new("/dev/null"), 4).is_err());
    }
}
