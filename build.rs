//! Tells cargo which directories are part of the program, and the program which
//! source it was made of.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    // `src/library.rs` includes these, and a file that is new in one of them is
    // to be in the program, too.
    for directory in ["jobs", "kconfigs", "patches", "rootfs"] {
        println!("cargo::rerun-if-changed={directory}");
    }
    for input in ["src", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={input}");
    }
    println!("cargo::rustc-env=KVET_SOURCE={:016x}", source()?);
    Ok(())
}

/// A number over the whole source: `kvet` and `kvet-agent` carry it, and so are
/// known to be of one build (see `rootfs::agent`).
fn source() -> io::Result<u64> {
    let mut files = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml")];
    list(Path::new("src"), &mut files)?;
    files.sort();
    let mut number = DefaultHasher::new();
    for file in &files {
        number.write(file.as_os_str().as_encoded_bytes());
        number.write(&fs::read(file)?);
    }
    Ok(number.finish())
}

/// Adds all files below a directory.
fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
