//! Whether the files of a saved guest are what was written. The memory's file is
//! mostly holes: what counts are its pages that are not zero, wherever the file
//! system has holes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CONSOLE, RAM, STATE};

const PAGE: usize = 4096;

const ZERO: [u8; PAGE] = [0; PAGE];

/// Bytes that are read at once.
const BLOCK: usize = 256 * PAGE;

/// The checksums of an entry's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// Bytes of memory.
    size: u64,
    ram: String,
    state: String,
    console: String,
}

impl Sums {
    /// Which file is not the same.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        let pairs = [
            (RAM, self.size == other.size && self.ram == other.ram),
            (STATE, self.state == other.state),
            (CONSOLE, self.console == other.console),
        ];
        pairs.iter().find(|(_, same)| !same).map(|(name, _)| *name)
    }
}

/// The checksums of what is there.
pub(super) async fn of(directory: &Path) -> io::Result<Sums> {
    let directory = directory.to_owned();
    let computed = tokio::task::spawn_blocking(move || {
        let ram = File::open(directory.join(RAM))?;
        Ok(Sums {
            size: ram.metadata()?.len(),
            ram: memory(&ram)?,
            state: whole(&directory.join(STATE))?,
            console: whole(&directory.join(CONSOLE))?,
        })
    });
    computed.await.map_err(io::Error::other)?
}

fn whole(path: &Path) -> io::Result<String> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(hex::encode(Sha256::digest(&content)))
}

/// The pages that are not zero, each with its place.
fn memory(file: &File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    loop {
        // To the next that is no hole; there is none beyond the last.
        at = match seek(file, SeekFrom::Data(at)) {
            Ok(found) => found / PAGE as u64 * PAGE as u64,
            Err(rustix::io::Errno::NXIO) => break,
            // A file system without holes.
            Err(rustix::io::Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        let count = fill(file, &mut block, at)?;
        if count == 0 {
            break;
        }
        for (index, page) in block[..count].chunks(PAGE).enumerate() {
            if page != &ZERO[..page.len()] {
                hash.update((at + (index * PAGE) as u64).to_le_bytes());
                hash.update(page);
            }
        }
        at += count as u64;
    }
    Ok(hex::encode(hash.finalize()))
}

/// Reads until the block is full or the file at its end.
fn fill(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < block.len() {
        match file.read_at(&mut block[count..], at + count as u64)? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory of 64 MiB with a few pages far apart.
    fn entry(change: impl FnOnce(&Path)) -> Sums {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(RAM);
        let ram = File::create(&path).unwrap();
        ram.set_len(64 << 20).unwrap();
        for at in [0, 5 * PAGE as u64, (64 << 20) - 1] {
            ram.write_all_at(b"x", at).unwrap();
        }
        std::fs::write(home.path().join(STATE), "state").unwrap();
        std::fs::write(home.path().join(CONSOLE), "console").unwrap();
        change(home.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(of(home.path())).unwrap()
    }

    #[test]
    fn every_change_of_a_file_is_seen_and_a_hole_that_was_filled_is_none() {
        let good = entry(|_| {});
        let changed = |change: &dyn Fn(&Path)| good.difference(&entry(|home| change(home)));
        let write = |home: &Path, at: u64, bytes: &[u8]| {
            let file = File::options().write(true).open(home.join(RAM)).unwrap();
            file.write_all_at(bytes, at).unwrap();
        };
        assert_eq!(changed(&|_| {}), None);
        assert_eq!(changed(&|home| write(home, 9 << 20, &[0; 8192])), None);
        assert_eq!(changed(&|home| write(home, 9 << 20, b"y")), Some(RAM));
        assert_eq!(changed(&|home| write(home, 0, b"\0")), Some(RAM));
        let cut = |home: &Path| {
            let file = File::options().write(true).open(home.join(RAM)).unwrap();
            file.set_len(32 << 20).unwrap();
        };
        assert_eq!(changed(&cut), Some(RAM));
        let state = |home: &Path| std::fs::write(home.join(STATE), "stat").unwrap();
        assert_eq!(changed(&state), Some(STATE));
        let console = |home: &Path| std::fs::write(home.join(CONSOLE), "").unwrap();
        assert_eq!(changed(&console), Some(CONSOLE));
    }
}
