//! The files that are kept of a build, and whether they are still what was
//! kept: a disk that was full, a crash or a hand may have changed them since.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::store::{StoreError, io_error};

/// The log in make's directory.
pub(super) const LOG: &str = "kvet-build.log";

/// Their names in the cache and in make's directory.
pub(super) const FILES: &[(&str, &str)] = &[
    ("bzImage", "arch/x86/boot/bzImage"),
    ("vmlinux", "vmlinux"),
    ("config", ".config"),
    ("System.map", "System.map"),
    ("build.log", LOG),
];

/// Files of which only the size is compared: a vmlinux with debugging
/// information has hundreds of megabytes, and what it names is only shown.
const BY_SIZE: &[&str] = &["vmlinux", "build.log"];

/// A kept file as it was when it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its content, in hexadecimal; not of the largest files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What the files in a new entry are.
pub(super) fn of(entry: &Path) -> Result<BTreeMap<String, Kept>, StoreError> {
    let mut files = BTreeMap::new();
    for (name, _) in FILES {
        let path = entry.join(name);
        let kept = describe(&path, name).map_err(io_error("read", &path))?;
        files.insert((*name).to_owned(), kept);
    }
    Ok(files)
}

/// Compares the files of an entry with what they were; tells what is wrong
/// with the first that differs.
pub(super) fn check(entry: &Path, files: &BTreeMap<String, Kept>) -> Result<(), String> {
    for (name, _) in FILES {
        let now = describe(&entry.join(name), name).map_err(|error| format!("{name}: {error}"))?;
        let Some(kept) = files.get(*name) else {
            // Of a build without such a record, the size says the most.
            if now.size == 0 {
                return Err(format!("{name} is empty"));
            }
            continue;
        };
        if now.size != kept.size {
            return Err(format!(
                "{name} has {} bytes and had {}",
                now.size, kept.size
            ));
        }
        if now != *kept {
            return Err(format!("{name} has another content than when it was built"));
        }
    }
    Ok(())
}

fn describe(path: &Path, name: &str) -> io::Result<Kept> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let sha256 = if BY_SIZE.contains(&name) {
        None
    } else {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
        Some(hex::encode(hash.finalize()))
    };
    Ok(Kept { size, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_since_is_named() {
        let entry = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(entry.path().join(name), text).unwrap();
        for (name, _) in FILES {
            write(name, "content");
        }
        let files = of(entry.path()).unwrap();
        assert_eq!(check(entry.path(), &files), Ok(()));
        assert_eq!(check(entry.path(), &BTreeMap::new()), Ok(()));
        for (name, text, said) in [
            ("bzImage", "con", "bzImage has 3 bytes and had 7"),
            ("bzImage", "CONTENT", "bzImage has another content"),
            ("vmlinux", "con", "vmlinux has 3 bytes and had 7"),
            ("config", "Content", "config has another content"),
        ] {
            write(name, text);
            let problem = check(entry.path(), &files).unwrap_err();
            assert!(problem.starts_with(said), "{problem}");
            write(name, "content");
        }
        std::fs::remove_file(entry.path().join("config")).unwrap();
        let problem = check(entry.path(), &files).unwrap_err();
        assert!(problem.starts_with("config: No such file"), "{problem}");
        write("config", "");
        assert_eq!(
            check(entry.path(), &BTreeMap::new()),
            Err("config is empty".to_owned())
        );
    }
}
