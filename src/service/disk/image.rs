//! Sparse copies of disk images: only what is not a hole is read and written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{SeekFrom as Place, seek};
use rustix::io::Errno;

/// Makes an image of nothing but a hole.
pub(super) fn hole(path: &Path, size: u64) -> io::Result<()> {
    File::options()
        .write(true)
        .create_new(true)
        .open(path)?
        .set_len(size)
}

/// Copies an image to a new file and returns how many bytes it had to copy. A copy
/// that is not whole is removed: it has the length of one that is.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let source = File::open(from)?;
    let target = File::options().write(true).create_new(true).open(to)?;
    copy_data(source, target).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn copy_data(mut source: File, mut target: File) -> io::Result<u64> {
    target.set_len(source.metadata()?.len())?;
    let mut copied = 0;
    let mut at = 0;
    while let Some((begin, end)) = next_data(&source, at)? {
        source.seek(SeekFrom::Start(begin))?;
        target.seek(SeekFrom::Start(begin))?;
        copied += write_data(&mut (&mut source).take(end - begin), &mut target)?;
        at = end;
    }
    Ok(copied)
}

/// Writes what is not all zeroes; a file system without holes is copied into one
/// with them all the same.
fn write_data(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(written);
        }
        let block = &buffer[..count];
        if block.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(count).unwrap_or_default()))?;
        } else {
            to.write_all(block)?;
            written += count as u64;
        }
    }
}

/// The next part from `at` on that is not a hole.
fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let begin = match seek(file, Place::Data(at)) {
        Ok(begin) => begin,
        // Nothing but a hole is left.
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((begin, seek(file, Place::Hole(begin))?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_data_and_the_holes() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        hole(&path("a"), 64 << 20).unwrap();
        let file = File::options().write(true).open(path("a")).unwrap();
        for (at, text) in [(0, "first"), (20 << 20, "second"), ((64 << 20) - 4, "last")] {
            file.write_all_at(text.as_bytes(), at).unwrap();
        }
        let length = file.metadata().unwrap().len();
        copy(&path("a"), &path("b")).unwrap();
        let copied = std::fs::read(path("b")).unwrap();
        assert_eq!(copied.len() as u64, length);
        assert!(copied == std::fs::read(path("a")).unwrap());
        let blocks = path("b").metadata().unwrap().blocks() * 512;
        assert!(blocks < 1 << 20, "{blocks}");
        assert!(
            copy(&path("a"), &path("b")).is_err(),
            "nothing is written over"
        );
        assert!(path("b").exists());
        // A directory can be opened and not be read.
        std::fs::create_dir(path("d")).unwrap();
        assert!(copy(&path("d"), &path("c")).is_err());
        assert!(!path("c").exists());
    }
}
