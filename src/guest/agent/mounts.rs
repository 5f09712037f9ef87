//! Steps that mount, unmount and flush whole file systems. The host says what
//! a trial's file system is; options may carry a secret and are never part of a
//! message. What mount(8) takes for options of the kernel's own, such as `ro`,
//! become flags here.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind};

use super::places::{mount_point, own_directory};
use super::report::Progress;
use super::state::{Guest, Mounted};
use crate::guest::file_system::client_number;
use crate::guest::protocol::{Mountable, StepFailure, StepReport};
use crate::step::MountStep;

/// What a guest mounts when the host gives it nothing to mount.
const LOCAL: &str = "tmpfs";

/// Where that is, for all mounts to show. No mount of a step's has such a name.
const SHARED: &str = "/mnt/.shared";

/// Does what a step says.
pub(super) fn carry_out(
    guest: &Guest,
    step: &MountStep,
    progress: Progress<'_>,
) -> Result<StepReport, StepFailure> {
    match step {
        MountStep::Mount {
            name,
            options,
            disk_options,
            local,
        } => {
            let options = Options {
                cluster: options,
                disk: disk_options,
            };
            mount(guest, name, &options, *local)
        }
        MountStep::Remount { name, options } => {
            remount(name, options)?;
            Ok(StepReport::default())
        }
        MountStep::Umount { name, force, lazy } => {
            let mut flags = UnmountFlags::empty();
            flags.set(UnmountFlags::FORCE, *force);
            flags.set(UnmountFlags::DETACH, *lazy);
            unmount(guest, name, flags)?;
            Ok(StepReport::default())
        }
        MountStep::UmountAll { except } => unmount_all(guest, except, progress),
        MountStep::Syncfs { mount } => {
            let syncfs = |directory: File| rustix::fs::syncfs(directory).map_err(Into::into);
            File::open(mount_point(mount))
                .and_then(syncfs)
                .map_err(|error| StepFailure::syscall(format!("syncfs {mount}"), error))?;
            Ok(StepReport::default())
        }
        MountStep::Sync => {
            rustix::fs::sync();
            Ok(StepReport::default())
        }
    }
}

/// What a step says of a mount, by what there may be to mount.
struct Options<'a> {
    cluster: &'a [String],
    disk: &'a [String],
}

/// Mounts the trial's file system, or a tmpfs if it is to be `local`, and makes
/// the trial's own directory in it.
fn mount(
    guest: &Guest,
    name: &str,
    options: &Options<'_>,
    local: bool,
) -> Result<StepReport, StepFailure> {
    let welcome = guest.greeting()?;
    let target = mount_point(name);
    make_directory(&target)?;
    let fstype = match &welcome.file_system {
        _ if local => {
            mount_tmpfs(&target)?;
            LOCAL
        }
        None => {
            mount_shared(name, &target)?;
            LOCAL
        }
        Some(access) if is_disk(access) => {
            mount_remote(access, name, &target, options.disk)?;
            &access.fstype
        }
        Some(access) => {
            mount_remote(access, name, &target, options.cluster)?;
            &access.fstype
        }
    };
    guest.mounted(Mounted {
        name: name.to_owned(),
        fstype: fstype.to_owned(),
    });
    let client = client_number(fstype, &target);
    let own = own_directory(name, &welcome.hostname);
    // A mount to read from need not be one to write to.
    if !own.is_dir() {
        make_directory(&own)?;
    }
    Ok(StepReport {
        client,
        ..StepReport::default()
    })
}

fn make_directory(path: &Path) -> Result<(), StepFailure> {
    std::fs::create_dir_all(path)
        .map_err(|error| StepFailure::syscall(format!("make {}", path.display()), error))
}

fn mount_tmpfs(target: &Path) -> Result<(), StepFailure> {
    rustix::mount::mount(LOCAL, target, LOCAL, MountFlags::empty(), None).map_err(|error| {
        StepFailure::syscall(format!("mount a tmpfs on {}", target.display()), error)
    })
}

/// Shows the one tmpfs of a guest without a cluster at `target`, too. What one
/// mount writes the others see, as with mounts of a cluster's file system.
fn mount_shared(name: &str, target: &Path) -> Result<(), StepFailure> {
    // Nothing is waited for under this lock: a tmpfs is only memory.
    static IS_THERE: Mutex<bool> = Mutex::new(false);
    let mut is_there = IS_THERE.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_there {
        let shared = Path::new(SHARED);
        make_directory(shared)?;
        mount_tmpfs(shared)?;
        *is_there = true;
    }
    drop(is_there);
    mount_bind(SHARED, target).map_err(|error| StepFailure::syscall(format!("mount {name}"), error))
}

fn mount_remote(
    access: &Mountable,
    name: &str,
    target: &Path,
    options: &[String],
) -> Result<(), StepFailure> {
    let all = access.options.iter().chain(options).map(String::as_str);
    let (flags, words) = split(all);
    // Not the text itself: it has the secret.
    let data = CString::new(mount_data(access.data.reveal(), &words))
        .map_err(|_| StepFailure::usage("a mount option has a zero byte"))?;
    let Mountable { fstype, source, .. } = access;
    rustix::mount::mount(source, target, fstype, flags, &*data)
        .map_err(|error| StepFailure::syscall(format!("mount {name} from {source}"), error))
}

/// The options of one mount as mount(2) takes them: separated by commas.
fn mount_data(secret: &str, words: &[&str]) -> String {
    std::iter::once(secret)
        .chain(words.iter().copied())
        .filter(|option| !option.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

/// Options that are the kernel's own, as flags, and those that are the file
/// system's. The last word on a flag counts.
fn split<'a>(options: impl Iterator<Item = &'a str>) -> (MountFlags, Vec<&'a str>) {
    let mut flags = MountFlags::empty();
    let mut words = Vec::new();
    for option in options {
        match FLAGS.iter().find(|(name, ..)| *name == option) {
            Some((_, flag, on)) => flags.set(*flag, *on),
            None => words.push(option),
        }
    }
    (flags, words)
}

/// What mount(8) makes a flag of, and whether it is set then.
const FLAGS: &[(&str, MountFlags, bool)] = &[
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("lazytime", MountFlags::LAZYTIME, true),
    ("noatime", MountFlags::NOATIME, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("relatime", MountFlags::RELATIME, true),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("nodev", MountFlags::NODEV, true),
    ("noexec", MountFlags::NOEXEC, true),
    ("nosuid", MountFlags::NOSUID, true),
];

fn remount(name: &str, options: &[String]) -> Result<(), StepFailure> {
    let (flags, words) = split(options.iter().map(String::as_str));
    let data = CString::new(mount_data("", &words))
        .map_err(|_| StepFailure::usage("a mount option has a zero byte"))?;
    rustix::mount::mount_remount(mount_point(name), flags, &*data)
        .map_err(|error| StepFailure::syscall(format!("remount {name}"), error))
}

/// Whether what guests mount is a disk of their own.
fn is_disk(access: &Mountable) -> bool {
    access.source.starts_with("/dev/")
}

/// Whether no mount, open file or kernel thread holds the disk any more; `None`
/// where there is none. Who opens it for itself alone finds out.
fn released(guest: &Guest) -> Option<bool> {
    let access = guest.greeting().ok()?.file_system.filter(is_disk)?;
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&access.source, flags, Mode::empty());
    // What the block device's own cache still has goes to the disk, too.
    opened
        .and_then(rustix::fs::fsync)
        .map(|()| true)
        .ok()
        .or(Some(false))
}

fn unmount(guest: &Guest, name: &str, flags: UnmountFlags) -> Result<(), StepFailure> {
    rustix::mount::unmount(mount_point(name), flags)
        .map_err(|error| StepFailure::syscall(format!("umount {name}"), error))?;
    guest.unmounted(name);
    Ok(())
}

/// Closes what is open and unmounts all but `except`. A mount that refuses does
/// not keep the others mounted; the failure names all that did. How long each
/// took goes to `progress`, so that one that never ends is known, too: it is
/// the next.
fn unmount_all(
    guest: &Guest,
    except: &[String],
    progress: Progress<'_>,
) -> Result<StepReport, StepFailure> {
    guest.close_all();
    let mut refused: Vec<(String, Errno)> = Vec::new();
    for Mounted { name, .. } in unmountable(guest.mounts(), except) {
        let begin = Instant::now();
        match rustix::mount::unmount(mount_point(&name), UnmountFlags::empty()) {
            Ok(()) => guest.unmounted(&name),
            Err(error) => refused.push((name.clone(), error)),
        }
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        progress(BTreeMap::from([(format!("umount {name}"), micros)]));
    }
    match refusal(&refused) {
        None => Ok(StepReport {
            released: released(guest),
            ..StepReport::default()
        }),
        Some(failure) => Err(failure),
    }
}

/// What is to be unmounted, the last mount first.
fn unmountable(mounts: Vec<Mounted>, except: &[String]) -> impl Iterator<Item = Mounted> {
    let goes = |mounted: &Mounted| !except.contains(&mounted.name);
    mounts.into_iter().filter(goes).rev()
}

/// The failure of the first mount that refused, and the names of the others.
fn refusal(refused: &[(String, Errno)]) -> Option<StepFailure> {
    let ((name, error), others) = refused.split_first()?;
    let mut failure = StepFailure::syscall(format!("umount {name}"), *error);
    for (name, error) in others {
        let other = StepFailure::syscall(format!("umount {name}"), *error);
        failure.message.push_str("; ");
        failure.message.push_str(&other.message);
    }
    Some(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::protocol::Secret;

    fn access(data: &str, options: &[&str]) -> Mountable {
        Mountable {
            fstype: "ceph".to_owned(),
            source: "10.99.0.1:6789:/".to_owned(),
            data: Secret::new(data),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            hidden: Vec::new(),
        }
    }

    #[test]
    fn options_are_the_host_s_then_the_step_s() {
        let data = mount_data("name=a,secret=b", &["ms_mode=crc", "noshare"]);
        assert_eq!(data, "name=a,secret=b,ms_mode=crc,noshare");
        assert_eq!(mount_data("", &["noshare"]), "noshare");
        assert_eq!(mount_data("", &[]), "");
    }

    #[test]
    fn the_kernel_s_own_options_are_flags_and_the_last_word_counts() {
        let (flags, words) = split(["ro", "data=journal", "noatime", "rw"].into_iter());
        assert_eq!(flags, MountFlags::NOATIME);
        assert_eq!(words, ["data=journal"]);
    }

    #[test]
    fn a_zero_byte_in_an_option_is_refused_without_the_secret() {
        let failure = mount_remote(
            &access("secret=hidden", &[]),
            "a",
            Path::new("/nowhere"),
            &["no\0share".to_owned()],
        )
        .unwrap_err();
        assert!(!format!("{failure:?}").contains("hidden"));
        assert!(failure.message.contains("zero byte"));
    }

    #[test]
    fn the_last_mount_goes_first_and_those_left_mounted_stay() {
        let mounted = |name: &&str| Mounted {
            name: (*name).to_owned(),
            fstype: LOCAL.to_owned(),
        };
        let mounts = ["a", "b", "c"].iter().map(mounted).collect();
        let names: Vec<String> = unmountable(mounts, &["b".to_owned()])
            .map(|mounted| mounted.name)
            .collect();
        assert_eq!(names, ["c", "a"]);
    }

    #[test]
    fn a_failure_to_unmount_names_every_mount_that_refused() {
        assert_eq!(refusal(&[]), None);
        let refused = ["b", "a"].map(|name| (name.to_owned(), Errno::BUSY));
        let failure = refusal(&refused).unwrap();
        assert_eq!(failure.errno.as_deref(), Some("EBUSY"));
        for name in ["umount b: ", "; umount a: "] {
            assert!(failure.message.contains(name), "{}", failure.message);
        }
    }
}
