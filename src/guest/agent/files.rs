//! Files with patterns in them, as steps open, write and read them.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::guest::pattern;
use crate::guest::protocol::{FailureKind, StepFailure};
use crate::step::OpenFlag;

/// The most that is held in memory of a file at once.
const CHUNK: u64 = 1 << 20;

/// Opens a file as a step asks.
pub(super) fn open(path: &Path, flags: &[OpenFlag]) -> Result<File, StepFailure> {
    let mut options = File::options();
    for flag in flags {
        match flag {
            OpenFlag::Read => options.read(true),
            OpenFlag::Write => options.write(true),
            OpenFlag::Create => options.create(true),
            OpenFlag::Truncate => options.truncate(true),
            OpenFlag::Append => options.append(true),
            OpenFlag::Direct => {
                options.custom_flags(i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default())
            }
        };
    }
    options
        .open(path)
        .map_err(|error| StepFailure::syscall(format!("open {}", path.display()), error))
}

/// Writes a pattern.
pub(super) fn write(file: &File, seed: u64, offset: u64, length: u64) -> io::Result<()> {
    for (at, size) in chunks(offset, length) {
        let mut bytes = vec![0; size];
        pattern::fill(seed, at, &mut bytes);
        file.write_all_at(&bytes, at)?;
    }
    Ok(())
}

/// Reads, and compares with a pattern if there is one to compare with.
pub(super) fn read(
    file: &File,
    name: &str,
    seed: Option<u64>,
    offset: u64,
    length: u64,
) -> Result<(), StepFailure> {
    for (at, size) in chunks(offset, length) {
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, at).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                let what = format!("{name} ends before byte {}", at + size as u64);
                StepFailure::other(FailureKind::Data, what)
            } else {
                StepFailure::syscall(format!("read {name} at {at}"), error)
            }
        })?;
        if let Some(at) = seed.and_then(|seed| pattern::first_difference(seed, at, &bytes)) {
            return Err(StepFailure::other(
                FailureKind::Data,
                format!("{name} differs from what was written, from byte {at} on"),
            ));
        }
    }
    Ok(())
}

fn chunks(offset: u64, length: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..length.div_ceil(CHUNK)).map(move |index| {
        let begin = index * CHUNK;
        let size = CHUNK.min(length - begin);
        // At most CHUNK.
        (offset + begin, usize::try_from(size).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_what_was_not_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let flags = [OpenFlag::Read, OpenFlag::Write, OpenFlag::Create];
        let file = open(&path, &flags).unwrap();
        let length = CHUNK + 5;
        write(&file, 3, 7, length).unwrap();
        assert_eq!(file.metadata().unwrap().len(), length + 7);
        read(&file, "f", Some(3), 7, length).unwrap();
        let shifted = read(&file, "f", Some(3), 6, 8).unwrap_err();
        assert!(shifted.message.contains("from byte 6"), "{shifted:?}");
        let beyond = read(&file, "f", None, 0, length + 8).unwrap_err();
        assert_eq!(beyond.kind, FailureKind::Data);
        file.write_all_at(b"x", CHUNK + 9).unwrap();
        let changed = read(&file, "f", Some(3), 7, length).unwrap_err();
        assert!(
            changed.message.contains(&format!("byte {}", CHUNK + 9)),
            "{changed:?}"
        );
    }
}
