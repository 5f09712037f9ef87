//! Unpacking: tar archives compressed with xz, gzip or nothing, and the one
//! that a `linux-source` Debian package carries inside.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::SourceError;
use crate::event::Unit;
use crate::kernel::progress::Progress;

/// No kernel archive unpacks to more than this; one that does is not one.
const UNPACKED_LIMIT: u64 = 16 << 30;

/// How many bytes of the archive pass between two progress events.
const REPORT_EVERY: u64 = 4 << 20;

/// Unpacks a kernel archive (`.deb`, `.tar.xz`, `.tar.gz`, `.tar`) so that the
/// tree it holds becomes `destination`, which must not exist yet. Works on a
/// thread of its own; stops soon after `cancel`, or when dropped.
pub(super) async fn unpack(
    archive: &Path,
    destination: &Path,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<(), SourceError> {
    let stop = cancel.child_token();
    // A caller that goes away must not leave the thread writing.
    let _stop_on_drop = stop.clone().drop_guard();
    let job = {
        let (archive, destination) = (archive.to_owned(), destination.to_owned());
        let (progress, stop) = (progress.clone(), stop.clone());
        move || unpack_blocking(&archive, &destination, &progress, &stop)
    };
    let result = tokio::task::spawn_blocking(job)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    if cancel.is_cancelled() {
        return Err(SourceError::Interrupted);
    }
    result.map_err(|source| SourceError::Unpack {
        archive: archive.to_owned(),
        source,
    })
}

fn unpack_blocking(
    archive: &Path,
    destination: &Path,
    progress: &Progress,
    stop: &CancellationToken,
) -> io::Result<()> {
    let file = File::open(archive)?;
    let total = file.metadata()?.len();
    let counted = Counted {
        inner: file,
        done: 0,
        reported: 0,
        total,
        progress: progress.clone(),
        stop: stop.clone(),
    };
    let mut reader = BufReader::with_capacity(256 << 10, counted);
    let raw = destination.with_extension("raw");
    std::fs::create_dir(&raw)?;
    if peek(&mut reader)?.starts_with(b"!<arch>\n") {
        let data = data_member(reader)?;
        let mut package = tar::Archive::new(decompress(BufReader::new(data))?);
        let inner = inner_archive(&mut package)?;
        extract(
            decompress(BufReader::with_capacity(256 << 10, inner))?,
            &raw,
        )?;
    } else {
        extract(decompress(reader)?, &raw)?;
    }
    // What comes after the last file is not read. The tree is still to be put into
    // its repository, which takes a while and is no part of these bytes.
    progress.at(total, Some(total), Unit::Bytes);
    let top = only_directory(&raw)?;
    std::fs::rename(top, destination)?;
    std::fs::remove_dir_all(&raw)
}

/// The first bytes of a stream, left in it.
fn peek<R: Read>(reader: &mut BufReader<R>) -> io::Result<&[u8]> {
    io::BufRead::fill_buf(reader)
}

/// Chooses the decompressor by the stream's first bytes.
fn decompress<'a, R: Read + 'a>(mut reader: BufReader<R>) -> io::Result<Box<dyn Read + 'a>> {
    let head = peek(&mut reader)?;
    Ok(if head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(reader))
    } else if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(invalid(
            "it is compressed with zstd; offer it as .tar.xz or .tar.gz",
        ));
    } else {
        Box::new(reader)
    })
}

/// The `data.tar.*` member of a Debian package, which is an ar(5) archive.
fn data_member<R: Read>(mut reader: R) -> io::Result<io::Take<R>> {
    let mut magic = [0; 8];
    reader.read_exact(&mut magic)?;
    loop {
        let mut header = [0; 60];
        reader.read_exact(&mut header)?;
        let field = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(|text| text.trim_end().trim_end_matches('/'))
                .map_err(|_| invalid("an ar header is not text"))
        };
        let size: u64 = field(48..58)?
            .parse()
            .map_err(|_| invalid("an ar member has no size"))?;
        if field(0..16)?.starts_with("data.tar") {
            return Ok(reader.take(size));
        }
        // Members start at even offsets.
        io::copy(&mut (&mut reader).take(size + size % 2), &mut io::sink())?;
    }
}

/// The kernel's own archive inside a `linux-source` package.
fn inner_archive<R: Read>(package: &mut tar::Archive<R>) -> io::Result<tar::Entry<'_, R>> {
    for entry in package.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.components().any(|part| part.as_os_str() == "src")
            && name.starts_with("linux-source-")
            && name.contains(".tar")
        {
            drop(name);
            drop(path);
            return Ok(entry);
        }
    }
    Err(invalid(
        "the package holds no usr/src/linux-source-*.tar.xz",
    ))
}

fn extract(reader: impl Read, directory: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader.take(UNPACKED_LIMIT));
    archive.set_overwrite(false);
    let mut unpacked: u64 = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        // With the holes of its files, of which the archive has nothing.
        unpacked = unpacked.saturating_add(entry.size());
        if unpacked > UNPACKED_LIMIT {
            return Err(invalid(&format!(
                "it unpacks to more than {} GiB",
                UNPACKED_LIMIT >> 30
            )));
        }
        // False for a path that leads out of the directory.
        if !entry.unpack_in(directory)? {
            return Err(invalid("it holds a path that leads out of it"));
        }
    }
    Ok(())
}

/// Archives hold their tree in one top directory of any name. A symbolic link
/// is not one: what it leads to is not the archive's.
fn only_directory(parent: &Path) -> io::Result<PathBuf> {
    let mut found = None;
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            return Err(invalid("its top entry is a symbolic link"));
        }
        if kind.is_dir() && found.replace(entry.path()).is_some() {
            return Err(invalid("it holds more than one top directory"));
        }
    }
    found.ok_or_else(|| invalid("it holds no directory"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Counts what is read, reports it, and ends when told to stop.
struct Counted {
    inner: File,
    done: u64,
    reported: u64,
    total: u64,
    progress: Progress,
    stop: CancellationToken,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        if self.done >= self.reported + REPORT_EVERY {
            self.reported = self.done;
            self.progress.at(self.done, Some(self.total), Unit::Bytes);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::event::{Event, EventSink, Stage};

    #[test]
    fn a_link_at_the_top_is_not_the_archives_tree() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let raw = home.path().join("raw");
        std::fs::create_dir(&raw).unwrap();
        std::os::unix::fs::symlink(&outside, raw.join("linux")).unwrap();
        let error = only_directory(&raw).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        std::fs::remove_file(raw.join("linux")).unwrap();
        std::fs::create_dir(raw.join("linux")).unwrap();
        assert_eq!(only_directory(&raw).unwrap(), raw.join("linux"));
    }

    /// An archive may go on behind its last file, where nobody reads.
    #[test]
    fn all_of_an_archive_is_done_when_its_files_are() {
        let home = tempfile::tempdir().unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("linux/Makefile").unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(1 << 20, 0);
        let archive = home.path().join("linux.tar");
        std::fs::write(&archive, &bytes).unwrap();
        let (events, mut told) = EventSink::channel();
        let context = Context {
            events,
            ..Context::default()
        };
        let progress = Progress::start(&context, Stage::Source, "linux");
        let tree = home.path().join("tree");
        unpack_blocking(&archive, &tree, &progress, &CancellationToken::new()).unwrap();
        drop((context, progress));
        let mut far = None;
        while let Ok(event) = told.try_recv() {
            if let Event::Progress { done, total, .. } = event.event {
                far = Some((done, total));
            }
        }
        let all = bytes.len() as u64;
        assert_eq!(far, Some((all, Some(all))));
    }

    /// A few bytes can say that a file has any number of zeros.
    #[test]
    fn holes_count_as_what_is_unpacked() {
        let size = UNPACKED_LIMIT + (1 << 20);
        let octal =
            |number: u64| -> [u8; 12] { format!("{number:012o}").into_bytes().try_into().unwrap() };
        let mut header = tar::Header::new_gnu();
        header.set_path("linux/Makefile").unwrap();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_mode(0o644);
        header.set_size(512);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize = octal(size);
        gnu.sparse[0].offset = octal(size - 512);
        gnu.sparse[0].numbytes = octal(512);
        header.set_cksum();
        let mut archive = header.as_bytes().to_vec();
        archive.extend([b'x'; 512]);
        archive.extend([0; 1024]);
        let home = tempfile::tempdir().unwrap();
        let error = extract(archive.as_slice(), home.path()).unwrap_err();
        assert!(error.to_string().contains("GiB"), "{error}");
        assert!(!home.path().join("linux").exists());
    }
}
