//! What a saved guest is bound to besides its own files: the QEMU that wrote its
//! state, and the processor whose features and clock its kernel has seen.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::process::find_program;
use crate::store::{StoreError, io_error};
use crate::vm::QEMU;

/// Lines of /proc/cpuinfo that change from moment to moment or from one
/// processor to the next.
const CHANGING: &[&str] = &[
    "processor",
    "cpu MHz",
    "physical id",
    "core id",
    "apicid",
    "initial apicid",
];

/// QEMU and the processor of this host, in words.
pub(super) fn here() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!("{}\n{}", qemu(), processor(&cpus))
}

/// The program itself and the package's version of it: its file is another one
/// after each upgrade. Starting it to ask would cost each run.
fn qemu() -> String {
    let Some(path) = find_program(QEMU) else {
        return String::new();
    };
    let Ok(data) = path.metadata() else {
        return path.display().to_string();
    };
    let time = data
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let (length, time) = (data.len(), time.as_nanos());
    format!("{}, {length} bytes of {time}", path.display())
}

/// The first processor's description.
fn processor(cpus: &str) -> String {
    let first = cpus.lines().take_while(|line| !line.trim().is_empty());
    let lasting = first.filter(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        !CHANGING.contains(&name)
    });
    lasting.collect::<Vec<_>>().join("\n")
}

/// The SHA-256 of a file.
pub(in crate::testbed) fn digest(path: &Path) -> Result<String, StoreError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut block).map_err(io_error("read", path))?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&block[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_model_or_clock_is_another_processor_and_a_moment_is_not() {
        let cpu = |model: &str, now: &str, clock: &str| {
            processor(&format!(
                "processor\t: 0\nmodel name\t: {model}\ncpu MHz\t\t: {now}\nbogomips\t: {clock}\n\n\
                 processor\t: 1\nmodel name\t: other\n"
            ))
        };
        let one = cpu("A", "2000.1", "4000");
        assert_eq!(one, cpu("A", "3100.7", "4000"));
        assert_ne!(one, cpu("B", "2000.1", "4000"));
        assert_ne!(one, cpu("A", "2000.1", "5000"));
    }
}
