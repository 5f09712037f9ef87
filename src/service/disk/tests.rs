//! The real programs, on real images: those that are on every Debian host.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;

use super::*;

async fn namespace() -> Namespace {
    Namespace::create(Ipv4Addr::new(10, 99, 0, 1))
        .await
        .unwrap()
}

fn spec(text: &str) -> DiskSpec {
    serde_yaml::from_str(text).unwrap()
}

#[tokio::test]
async fn a_new_disk_is_clean_and_one_that_was_written_over_is_not() {
    let (context, namespace) = (Context::default(), namespace().await);
    let spec = spec("{ size: 64MiB, fs: ext4 }");
    let disk = Disk::start(&context, &spec, &namespace).await.unwrap();
    let kept = tempfile::tempdir().unwrap();
    let keep = kept.path().join("disk.img");
    for name in ["good", "bad"] {
        assert_eq!(disk.images(name).unwrap().len(), 1);
    }
    // The group descriptors; a shell script that pretends to be an image would
    // do as well.
    let image = File::options().write(true).open(disk.image("bad")).unwrap();
    image.write_all_at(&[0x5a; 4096], 4096).unwrap();
    let good = disk.check(&context, &namespace, "good", &keep).await;
    assert_eq!(good.state, DiskState::Clean, "{}", good.said);
    assert_eq!(good.command, "e2fsck -f -n /disk");
    assert!(!keep.exists());
    let bad = disk.check(&context, &namespace, "bad", &keep).await;
    assert_eq!(bad.state, DiskState::Damaged, "{}", bad.said);
    assert!(!bad.said.is_empty() && bad.said.len() <= WORDS);
    assert_eq!(std::fs::metadata(&keep).unwrap().len(), 64 << 20);
    // Nothing of it is an ext4 any more, or of any kind.
    for rubbish in [vec![0xff; 1 << 20], b"#!/bin/sh\nrm -rf /\n".repeat(9000)] {
        image.write_all_at(&rubbish, 0).unwrap();
        let bad = disk.check(&context, &namespace, "bad", &keep).await;
        assert_ne!(bad.state, DiskState::Clean, "{}", bad.said);
    }
    disk.clear("bad");
    let gone = disk.check(&context, &namespace, "bad", &keep).await;
    assert!(matches!(gone.state, DiskState::Unknown { .. }), "{gone:?}");
    namespace.close().await;
}

#[tokio::test]
async fn a_spare_disk_is_empty_and_both_are_removed() {
    let (context, namespace) = (Context::default(), namespace().await);
    let spec = spec("{ size: 64MiB, fs: ext4, spare: true, mkfs: [-b, '1024'] }");
    let disk = Disk::start(&context, &spec, &namespace).await.unwrap();
    let images = disk.images("t").unwrap();
    let [first, spare] = &images[..] else {
        panic!("{images:?}");
    };
    // The super block's block size: 1024 << 0.
    let mut size = [0xff; 4];
    let image = File::open(first).unwrap();
    image.read_exact_at(&mut size, 1024 + 24).unwrap();
    assert_eq!(size, [0; 4]);
    assert!(std::fs::read(spare).unwrap().iter().all(|byte| *byte == 0));
    disk.clear("t");
    assert!(!first.exists() && !spare.exists());
    namespace.close().await;
}

#[tokio::test]
async fn a_file_system_that_cannot_be_made_is_told_with_mkfs_s_words() {
    let (context, namespace) = (Context::default(), namespace().await);
    let spec = spec("{ size: 64MiB, fs: ext4, mkfs: [-O, no_such_feature] }");
    let error = Disk::start(&context, &spec, &namespace).await.unwrap_err();
    let error = crate::error::Error::from(error);
    assert_eq!(error.exit(), Exit::Usage);
    let text = error.one_line();
    assert!(
        text.contains("cannot make ext4 on a disk of 64 MiB"),
        "{text}"
    );
    assert!(text.contains("no_such_feature"), "{text}");
    namespace.close().await;
}

#[tokio::test]
async fn a_disk_that_does_not_fit_is_refused_before_it_is_made() {
    let (context, namespace) = (Context::default(), namespace().await);
    let mut spec = spec("{ size: 64MiB, fs: ext4 }");
    spec.size = 1 << 50;
    let error = Disk::start(&context, &spec, &namespace).await.unwrap_err();
    assert!(matches!(error, DiskError::Room { .. }), "{error}");
    namespace.close().await;
}

#[test]
fn what_failed_before_the_checker_says_nothing_of_a_disk() {
    for (fs, code, said) in [
        (
            FileSystem::Xfs,
            1,
            "unshare: unshare failed: No space left on device",
        ),
        (FileSystem::Btrfs, 1, "mkdir: cannot create directory"),
        (FileSystem::Ext4, 4, "nsenter: no such process"),
        (FileSystem::F2fs, 0, ""),
    ] {
        let (state, _) = state_of(fs, &finished(code, said, ""));
        assert!(
            matches!(&state, DiskState::Unknown { why } if why.contains(said)),
            "{state:?}"
        );
        let locale = "sh: warning: setlocale: LC_ALL: cannot change locale";
        let begun = format!("{locale}\n{BEGUN}\n{said}");
        let (state, words) = state_of(FileSystem::Xfs, &finished(1, &begun, ""));
        assert_eq!((state, words.as_str()), (DiskState::Damaged, said));
    }
}

#[test]
fn a_checker_is_heard_to_its_end_whatever_is_kept_of_it() {
    let long = "[FSCK] a word of no meaning\n".repeat(WORDS / 10);
    let said = |end: &str| {
        let stdout = format!("{long}{end}\n");
        state_of(
            FileSystem::F2fs,
            &finished(0, &format!("{BEGUN}\n"), &stdout),
        )
    };
    let (state, words) = said("[FSCK] SIT valid block bitmap checking [Fail]");
    assert_eq!(state, DiskState::Damaged);
    assert!(words.len() <= WORDS && long.starts_with(&words));
    assert_eq!(said("[FSCK] SIT [Ok..]").0, DiskState::Clean);
    // What was not kept at all may have been anything.
    let cut = Finished {
        is_cut: true,
        ..finished(0, &format!("{BEGUN}\n"), &long)
    };
    assert!(matches!(
        state_of(FileSystem::F2fs, &cut).0,
        DiskState::Unknown { .. }
    ));
}

fn finished(code: i32, stderr: &str, stdout: &str) -> Finished {
    Finished {
        status: std::os::unix::process::ExitStatusExt::from_raw(code << 8),
        stdout: stdout.into(),
        stderr: stderr.into(),
        is_cut: false,
    }
}
