//! System calls and kernel files that both steps and storms use.

use std::ffi::CString;
use std::io;
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
