//! What a bzImage says of itself, by the boot protocol of x86
//! (Documentation/arch/x86/boot.rst): enough to know a kernel from another file
//! and to name its release.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::BundleError;

/// Where a bzImage lies in a built tree.
const IN_TREE: &str = "arch/x86/boot/bzImage";

/// The signature of the setup header.
const SIGNATURE: (usize, &[u8]) = (0x202, b"HdrS");
/// Where the header says where the version's text is, less 0x200.
const VERSION_AT: usize = 0x20e;
/// The setup code, with that text in it, is far smaller.
const SETUP: u64 = 64 << 10;

/// The kernel that a path names, a bzImage or a built tree, and the .config that
/// lies beside it, if there is one.
pub fn kernel_at(path: &Path) -> Result<(PathBuf, Option<PathBuf>), BundleError> {
    let kernel = if path.is_dir() {
        path.join(IN_TREE)
    } else {
        path.to_owned()
    };
    // QEMU runs elsewhere.
    let kernel = std::fs::canonicalize(&kernel).map_err(|error| BundleError::NotAKernel {
        path: kernel.clone(),
        problem: error.to_string(),
    })?;
    let tree = IN_TREE
        .split('/')
        .rev()
        .try_fold(kernel.as_path(), |at, name| {
            (at.file_name()? == name).then(|| at.parent())?
        });
    let config = tree.map(|tree| tree.join(".config"));
    let beside = kernel.with_file_name("config");
    let config = config
        .into_iter()
        .chain([beside])
        .find(|path| path.is_file());
    Ok((kernel, config))
}

/// What `uname -r` will say of this bzImage.
pub fn release_of(path: &Path) -> Result<String, BundleError> {
    let wrong = |problem: &str| BundleError::NotAKernel {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let mut setup = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SETUP).read_to_end(&mut setup));
    read.map_err(|error| wrong(&error.to_string()))?;
    let (at, signature) = SIGNATURE;
    if setup.get(at..at + signature.len()) != Some(signature) {
        return Err(wrong("it is not a bzImage"));
    }
    let text = release(&setup).ok_or_else(|| wrong("its header names no version"))?;
    Ok(text)
}

fn release(setup: &[u8]) -> Option<String> {
    let pointer = setup.get(VERSION_AT..VERSION_AT + 2)?;
    let at = usize::from(u16::from_le_bytes([pointer[0], pointer[1]]));
    let text = setup.get(at.checked_add(0x200)?..)?;
    let text = text.split(|byte| *byte == 0 || *byte == b' ').next()?;
    let plain = |byte: &u8| byte.is_ascii_graphic();
    if at == 0 || text.is_empty() || text.len() > 64 || !text.iter().all(plain) {
        return None;
    }
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage(version: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x1000];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        bytes[0x500..0x500 + version.len()].copy_from_slice(version);
        bytes
    }

    #[test]
    fn the_header_names_the_release() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bzImage");
        std::fs::write(&path, bzimage(b"7.3.4-rc1 (me@here) #1 SMP\0")).unwrap();
        assert_eq!(release_of(&path).unwrap(), "7.3.4-rc1");
        for (content, problem) in [
            (b"\x7fELF".to_vec(), "not a bzImage"),
            (bzimage(b"\0"), "names no version"),
            (bzimage(b"\x1b[2J"), "names no version"),
            (bzimage(b"7.3")[..0x504].to_vec(), ""),
        ] {
            std::fs::write(&path, content).unwrap();
            match release_of(&path) {
                Err(error) => assert!(error.to_string().contains(problem), "{error}"),
                // Cut off behind the text: still a header.
                Ok(release) => assert_eq!(release, "7.3"),
            }
        }
    }

    #[test]
    fn a_tree_s_kernel_comes_with_its_configuration() {
        let home = tempfile::tempdir().unwrap();
        let tree = std::fs::canonicalize(home.path()).unwrap();
        let kernel = tree.join(IN_TREE);
        std::fs::create_dir_all(kernel.parent().unwrap()).unwrap();
        std::fs::write(&kernel, "x").unwrap();
        assert_eq!(kernel_at(&tree).unwrap(), (kernel.clone(), None));
        std::fs::write(tree.join(".config"), "x").unwrap();
        let both = (kernel.clone(), Some(tree.join(".config")));
        assert_eq!(kernel_at(&tree).unwrap(), both);
        assert_eq!(kernel_at(&kernel).unwrap(), both);
        let error = kernel_at(&tree.join("nothing")).unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
    }
}
