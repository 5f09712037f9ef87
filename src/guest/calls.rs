//! System calls and kernel files that both steps and storms use.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Once;

use crate::step::Caches;

/// truncate(2): by path, so that no open file of the caller's holds the inode.
#[expect(unsafe_code, reason = "neither std nor rustix has truncate by path")]
pub(super) fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let length = i64::try_from(length).map_err(io::Error::other)?;
    // SAFETY: the path is a C string that outlives the call.
    if unsafe { libc::truncate(path.as_ptr(), length) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Adds bytes to the kernel's random numbers, counts them as random, and has the
/// generator take a new key.
#[expect(unsafe_code, reason = "neither std nor rustix has these two ioctls")]
pub(super) fn add_entropy(generator: &File, bytes: &[u8]) -> io::Result<()> {
    // linux/random.h
    const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    // struct rand_pool_info: bits, bytes, and the bytes.
    let length = i32::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut pool = Vec::with_capacity(8 + bytes.len());
    pool.extend((length * 8).to_ne_bytes());
    pool.extend(length.to_ne_bytes());
    pool.extend_from_slice(bytes);
    let descriptor = generator.as_raw_fd();
    // SAFETY: the kernel reads as many bytes after the two numbers as the second
    // one says, and that many are there.
    let added = unsafe { libc::ioctl(descriptor, RNDADDENTROPY as _, pool.as_ptr()) };
    if added != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes no argument.
    if unsafe { libc::ioctl(descriptor, RNDRESEEDCRNG as _, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Drops clean caches.
pub(super) fn drop_caches(what: Caches) -> io::Result<()> {
    const FILE: &str = "/proc/sys/vm/drop_caches";
    static QUIET: Once = Once::new();
    let number = match what {
        Caches::Pages => "1",
        Caches::Inodes => "2",
        Caches::All => "3",
    };
    // The kernel logs each use until it is told 4, which must stand alone.
    QUIET.call_once(|| drop(std::fs::write(FILE, "4")));
    std::fs::write(FILE, number)
}
