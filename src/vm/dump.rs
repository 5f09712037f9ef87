//! Makes what QEMU wrote as a kdump readable for drgn and crash.
//!
//! QEMU writes it in makedumpfile's flattened form, as for a pipe: a header and
//! then pieces, each with the place where it belongs. drgn wants it put together.
//! It also leaves the header's `utsname` empty but for the machine, without which
//! drgn's reader does not learn the architecture; the guest has told the rest.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The flattened form's signature, in a header of its own.
const SIGNATURE: &[u8] = b"makedumpfile\0\0\0\0";
/// Bytes of that header.
const HEADER: usize = 4096;
/// The place after the last piece.
const END: i64 = -1;
/// A piece is at most some pages; a larger one is no piece.
const LARGEST: u64 = 1 << 30;

/// The signature of a kdump-compressed file.
const KDUMP: &[u8] = b"KDUMP   ";
/// Where its header has `struct new_utsname`, and the length of each field.
const UTSNAME: u64 = 12;
const FIELD: usize = 65;

/// What `uname` says in the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uname {
    /// Its release.
    pub release: String,
    /// Its version.
    pub version: String,
    /// Its host name.
    pub nodename: String,
}

/// Puts a flattened file together in another one, readable for its owner alone,
/// and fills in what the guest is. Returns its size; an error leaves no file
/// behind but one that was there before.
pub(super) fn assemble(flattened: &Path, to: &Path, uname: &Uname) -> io::Result<u64> {
    let mut from = BufReader::with_capacity(1 << 20, File::open(flattened)?);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    fill(&mut from, &file, uname).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn fill(from: &mut impl Read, mut file: &File, uname: &Uname) -> io::Result<u64> {
    let mut header = vec![0; HEADER];
    from.read_exact(&mut header)?;
    if header.starts_with(SIGNATURE) {
        pieces(from, file)?;
    } else {
        // A later QEMU that writes it as it is to be.
        let mut whole = BufWriter::new(&mut file);
        whole.write_all(&header)?;
        io::copy(from, &mut whole)?;
        whole.flush()?;
    }
    name(file, uname)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// Writes every piece to its place.
fn pieces(from: &mut impl Read, mut to: &File) -> io::Result<()> {
    loop {
        let (place, size) = (number(from)?, number(from)?);
        if place == END {
            return Ok(());
        }
        let (Ok(place), Ok(size)) = (u64::try_from(place), u64::try_from(size)) else {
            return Err(io::Error::other("a piece of the dump is nowhere"));
        };
        if size > LARGEST {
            return Err(io::Error::other("a piece of the dump is too large"));
        }
        to.seek(SeekFrom::Start(place))?;
        if io::copy(&mut from.by_ref().take(size), &mut to)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn number(from: &mut impl Read) -> io::Result<i64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(i64::from_be_bytes(bytes))
}

/// Fills in the header's `utsname`, where it is empty.
fn name(mut file: &File, uname: &Uname) -> io::Result<()> {
    let mut signature = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut signature)?;
    if signature != KDUMP {
        return Err(io::Error::other(
            "QEMU's dump is not in the form that was asked for",
        ));
    }
    let fields = [
        "Linux",
        &uname.nodename,
        &uname.release,
        &uname.version,
        "x86_64",
    ];
    for (place, text) in (UTSNAME..).step_by(FIELD).zip(fields) {
        // What a guest says goes no further than its field, with a NUL behind.
        let mut field = [0; FIELD];
        let length = text.len().min(FIELD - 1);
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
        file.seek(SeekFrom::Start(place))?;
        file.write_all(&field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn flattened(pieces: &[(i64, &[u8])]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.resize(HEADER, 0);
        for (place, content) in pieces {
            bytes.extend(place.to_be_bytes());
            bytes.extend(i64::try_from(content.len()).unwrap().to_be_bytes());
            bytes.extend(*content);
        }
        bytes
    }

    fn assembled(content: &[u8]) -> io::Result<Vec<u8>> {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::write(&from, content).unwrap();
        let uname = Uname {
            release: "7.3.4".to_owned(),
            version: "#1".repeat(100),
            nodename: "trial-1-1".to_owned(),
        };
        let size = assemble(&from, &to, &uname)?;
        assert_eq!(to.metadata()?.permissions().mode() & 0o777, 0o600);
        let whole = std::fs::read(&to)?;
        assert_eq!(size, whole.len() as u64);
        Ok(whole)
    }

    #[test]
    fn pieces_come_to_their_places_and_the_guest_is_named() {
        let head: Vec<u8> = [KDUMP, &[0; 600]].concat();
        let end: &[u8] = &END.to_be_bytes();
        let mut content = flattened(&[(4096, b"last"), (0, &head), (608, b"middle")]);
        content.extend([end, end].concat());
        let whole = assembled(&content).unwrap();
        assert_eq!(whole.len(), 4100);
        assert_eq!(&whole[..8], KDUMP);
        assert_eq!(&whole[608..614], b"middle");
        assert_eq!(&whole[4096..], b"last");
        assert_eq!(&whole[12..18], b"Linux\0");
        assert_eq!(&whole[12 + 2 * 65..12 + 2 * 65 + 6], b"7.3.4\0");
        // As long as its field, with a NUL at the end.
        assert_eq!(&whole[12 + 4 * 65 - 2..12 + 4 * 65], b"1\0");
        assert_eq!(&whole[12 + 4 * 65..12 + 4 * 65 + 7], b"x86_64\0");
    }

    #[test]
    fn a_failure_leaves_what_was_there_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::write(&from, "no dump").unwrap();
        assemble(&from, &to, &Uname::default()).unwrap_err();
        assert!(!to.exists());
        std::fs::write(&to, "a dump").unwrap();
        assemble(&from, &to, &Uname::default()).unwrap_err();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "a dump");
    }

    #[test]
    fn what_is_cut_off_or_no_dump_is_told() {
        let head: Vec<u8> = [KDUMP, &[0; 600]].concat();
        let whole = flattened(&[(0, &head)]);
        for (content, problem) in [
            (whole[..whole.len() - 1].to_vec(), "end of file"),
            (flattened(&[(0, b"ELF")]), "fill whole buffer"),
            (flattened(&[(-7, b"x")]), "nowhere"),
            (vec![0; 100], "fill whole buffer"),
            (vec![0; 5000], "not in the form"),
        ] {
            let error = assembled(&content).unwrap_err().to_string();
            assert!(error.contains(problem), "{problem}: {error}");
        }
    }
}
