//! Encrypted directories: the kernel's fscrypt, through its two ioctls
//! (Documentation/filesystems/fscrypt.rst, include/uapi/linux/fscrypt.h).

use std::fs::File;
use std::path::Path;

use rustix::ioctl::{Updater, ioctl, opcode};

use crate::guest::protocol::StepFailure;

/// A key that hides nothing from anybody. Any bytes will do, so long as there
/// are as many as AES-256-XTS takes.
const KEY: [u8; 64] = *b"This key is public. What it encrypts are the files of a test run";

const KEY_SPEC_TYPE_IDENTIFIER: u32 = 2;
const POLICY_V2: u8 = 2;
const MODE_AES_256_XTS: u8 = 1;
const MODE_AES_256_CTS: u8 = 4;
const POLICY_FLAGS_PAD_32: u8 = 3;

/// `struct fscrypt_add_key_arg`, and the key that follows it.
#[repr(C)]
struct AddKey {
    specifier_type: u32,
    reserved: u32,
    /// The kernel computes it from the key.
    identifier: [u8; 16],
    rest_of_specifier: [u8; 16],
    raw_size: u32,
    key_id: u32,
    reserved_too: [u32; 8],
    raw: [u8; KEY.len()],
}

/// `struct fscrypt_policy_v2`.
#[repr(C)]
struct Policy {
    version: u8,
    contents_mode: u8,
    names_mode: u8,
    flags: u8,
    reserved: [u8; 4],
    identifier: [u8; 16],
}

/// The request's number has the size of the structure without the key.
const ADD_KEY: rustix::ioctl::Opcode = opcode::read_write::<[u8; 80]>(b'f', 23);
/// The request's number has the size of the first version of a policy.
const SET_POLICY: rustix::ioctl::Opcode = opcode::read::<[u8; 12]>(b'f', 19);

/// Has the empty directory at `path` encrypt what will be in it.
#[expect(unsafe_code, reason = "ioctls that rustix does not know")]
pub(super) fn encrypt(path: &Path, name: &str) -> Result<(), StepFailure> {
    let failure = |what: &str, error| StepFailure::syscall(format!("{what} {name}"), error);
    let directory =
        File::open(path).map_err(|error| StepFailure::syscall(format!("open {name}"), error))?;
    let mut key = AddKey {
        specifier_type: KEY_SPEC_TYPE_IDENTIFIER,
        reserved: 0,
        identifier: [0; 16],
        rest_of_specifier: [0; 16],
        raw_size: u32::try_from(KEY.len()).unwrap_or_default(),
        key_id: 0,
        reserved_too: [0; 8],
        raw: KEY,
    };
    // SAFETY: the kernel reads the structure and the `raw_size` bytes behind
    // it, which are its last field, and writes inside of the structure.
    unsafe { ioctl(&directory, Updater::<ADD_KEY, AddKey>::new(&mut key)) }
        .map_err(|error| failure("add a key for", error))?;
    let mut policy = Policy {
        version: POLICY_V2,
        contents_mode: MODE_AES_256_XTS,
        names_mode: MODE_AES_256_CTS,
        flags: POLICY_FLAGS_PAD_32,
        reserved: [0; 4],
        identifier: key.identifier,
    };
    // SAFETY: the kernel reads as many bytes as the version says, which are
    // those of the structure.
    unsafe { ioctl(&directory, Updater::<SET_POLICY, Policy>::new(&mut policy)) }
        .map_err(|error| failure("encrypt", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_structures_are_the_kernels() {
        assert_eq!(size_of::<AddKey>(), 80 + KEY.len());
        assert_eq!(size_of::<Policy>(), 24);
        assert_eq!(ADD_KEY, 0xc050_6617);
        assert_eq!(SET_POLICY, 0x800c_6613);
    }
}
