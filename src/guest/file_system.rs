//! What not every file system has, by the type that mount(2) knows it by. The
//! host says what to mount and how; this is what is left for the guest to know,
//! because it can only be asked for, or done, inside.

use std::path::Path;

/// The directory, found in every directory, in which snapshots of that
/// directory are made and removed by mkdir(2) and rmdir(2).
pub(super) const SNAPSHOTS: &str = ".snap";

/// Whether directories have a [`SNAPSHOTS`] directory.
pub(super) fn has_snapshots(fstype: &str) -> bool {
    fstype == "ceph"
}

/// The number by which the server knows the client behind a mount. Only the
/// guest can tell which of its mounts has which: mounts may share a client.
pub(super) fn client_number(fstype: &str, mount_point: &Path) -> Option<u64> {
    match fstype {
        "ceph" => ceph_client(&attribute(mount_point, "ceph.client_id")?),
        _ => None,
    }
}

fn attribute(path: &Path, name: &str) -> Option<String> {
    let mut buffer = [0u8; 64];
    let length = rustix::fs::getxattr(path, name, &mut buffer[..]).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    Some(text.to_owned())
}

/// `client4242`, which some kernels end with a zero byte.
fn ceph_client(attribute: &str) -> Option<u64> {
    attribute
        .trim_end_matches('\0')
        .strip_prefix("client")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_number_is_what_follows_the_word() {
        assert_eq!(ceph_client("client4242"), Some(4242));
        assert_eq!(ceph_client("client4242\0"), Some(4242));
        assert_eq!(ceph_client("4242"), None);
        assert_eq!(ceph_client("client-1"), None);
    }
}
