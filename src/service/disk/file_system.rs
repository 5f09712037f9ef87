//! What kvet knows of each file system: how it is made and checked, what its
//! kernel needs, and what its kernel says of damage. A table; to add a file
//! system is to add a row.

use std::process::ExitStatus;

use super::spec::FileSystem;
use crate::process::confined::DISK;

/// The same file system each time: what depends on it (hashes, orders) shows
/// alike in each trial.
const UUID: &str = "00000000-0000-4000-8000-6b7665742d31";

/// One file system.
struct Row {
    fs: FileSystem,
    /// The least that its mkfs makes something useful of, in bytes.
    smallest: u64,
    /// The command that makes it, without its file.
    make: &'static [&'static str],
    /// The command that checks it and changes nothing, without its file.
    check: &'static [&'static str],
    /// The checker's exit codes that mean damage; 0 means none, and any other
    /// that it could not tell.
    damaged: fn(i32, &str) -> bool,
    package: &'static str,
    symbol: &'static str,
    /// What its kernel says of damage that it met, as patterns of messages.
    complaints: &'static [&'static str],
}

const TABLE: &[Row] = &[
    Row {
        fs: FileSystem::Ext4,
        smallest: 16 << 20,
        make: &[
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-U",
            UUID,
            "-E",
            "hash_seed=00000000-0000-4000-8000-6b7665742d31",
        ],
        check: &["e2fsck", "-f", "-n"],
        // e2fsck(8): 4, errors left; with 8 besides it gave up.
        damaged: |code, _| code & 4 != 0,
        package: "e2fsprogs",
        symbol: "EXT4_FS",
        complaints: &["EXT4-fs error (device *", "JBD2: *error*"],
    },
    Row {
        fs: FileSystem::Xfs,
        smallest: 300 << 20,
        make: &[
            "mkfs.xfs",
            "-q",
            "-f",
            "-m",
            "uuid=00000000-0000-4000-8000-6b7665742d31",
        ],
        check: &["xfs_repair", "-f", "-n"],
        // xfs_repair(8): 1, corruption; 2, a log that is to be replayed first.
        damaged: |code, _| code == 1,
        package: "xfsprogs",
        symbol: "XFS_FS",
        complaints: &[
            "XFS (*): Metadata corruption detected*",
            "XFS (*): Metadata CRC error detected*",
            "XFS (*): Corruption of *",
            "XFS (*): Internal error *",
            "XFS (*): *Shutting down filesystem*",
        ],
    },
    Row {
        fs: FileSystem::Btrfs,
        smallest: 128 << 20,
        make: &["mkfs.btrfs", "-q", "-f", "-U", UUID],
        check: &["btrfs", "check", "--readonly"],
        damaged: |code, said| code == 1 && !said.contains("cannot open"),
        package: "btrfs-progs",
        symbol: "BTRFS_FS",
        complaints: &["BTRFS error (device *", "BTRFS critical (device *"],
    },
    Row {
        fs: FileSystem::F2fs,
        smallest: 64 << 20,
        make: &["mkfs.f2fs", "-q", "-f", "-U", UUID],
        check: &["fsck.f2fs", "--dry-run"],
        // Its exit code says little: the words do.
        damaged: |_, said| said.contains("[Fail]") || said.contains("[ASSERT]"),
        package: "f2fs-tools",
        symbol: "F2FS_FS",
        complaints: &["F2FS-fs (*): inconsistent *", "F2FS-fs (*): *orrupted *"],
    },
];

/// What a checker found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Clean,
    Damage,
    /// It could not tell.
    Nothing,
}

impl FileSystem {
    fn row(self) -> &'static Row {
        // One row for each: a test looks.
        let row = TABLE.iter().find(|row| row.fs == self);
        row.unwrap_or(&TABLE[0])
    }

    /// Its name, as mount(2) knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The least size of a disk for it, in bytes.
    #[must_use]
    pub fn smallest(self) -> u64 {
        self.row().smallest
    }

    /// The program and the arguments that make it, with the job's own words.
    pub(super) fn make(self, more: &[String]) -> (&'static str, Vec<String>) {
        command(self.row().make, more)
    }

    /// The program and the arguments that check it and change nothing.
    pub(super) fn check(self) -> (&'static str, Vec<String>) {
        command(self.row().check, &[])
    }

    /// What the checker's end means.
    pub(super) fn found(self, status: ExitStatus, said: &str) -> Found {
        match status.code() {
            Some(code) if (self.row().damaged)(code, said) => Found::Damage,
            Some(0) => Found::Clean,
            _ => Found::Nothing,
        }
    }

    /// The programs that it takes on the host, each with its package.
    pub(super) fn programs(self) -> [(&'static str, &'static str); 2] {
        let Row {
            make,
            check,
            package,
            ..
        } = self.row();
        [(make[0], package), (check[0], package)]
    }

    /// The Kconfig symbol without which a kernel cannot mount it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        self.row().symbol
    }

    /// What its kernel says of damage that it met, as patterns of messages.
    #[must_use]
    pub fn complaints(self) -> &'static [&'static str] {
        self.row().complaints
    }
}

fn command(words: &'static [&'static str], more: &[String]) -> (&'static str, Vec<String>) {
    let arguments = words[1..].iter().map(|word| (*word).to_owned());
    let arguments = arguments.chain(more.iter().cloned());
    (words[0], arguments.chain([DISK.to_owned()]).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    const ALL: [FileSystem; 4] = [
        FileSystem::Ext4,
        FileSystem::Xfs,
        FileSystem::Btrfs,
        FileSystem::F2fs,
    ];

    #[test]
    fn each_file_system_has_a_row_of_its_own() {
        for fs in ALL {
            assert_eq!(fs.row().fs, fs);
            for complaint in fs.complaints() {
                crate::detect::Pattern::try_from((*complaint).to_owned()).unwrap();
            }
        }
    }

    #[test]
    fn the_disk_comes_last_and_the_job_s_words_before_it() {
        let (program, words) = FileSystem::Xfs.make(&["-b".to_owned(), "size=1k".to_owned()]);
        assert_eq!(program, "mkfs.xfs");
        assert_eq!(words[words.len() - 3..], ["-b", "size=1k", "/disk"]);
        assert_eq!(FileSystem::Ext4.check().1, ["-f", "-n", "/disk"]);
    }

    #[test]
    fn an_exit_code_means_what_the_checker_s_manual_says() {
        let found =
            |fs: FileSystem, code: i32, said: &str| fs.found(ExitStatus::from_raw(code << 8), said);
        for (fs, code, said, expected) in [
            (FileSystem::Ext4, 0, "", Found::Clean),
            (FileSystem::Ext4, 4, "", Found::Damage),
            (FileSystem::Ext4, 12, "", Found::Damage),
            (FileSystem::Ext4, 8, "", Found::Nothing),
            (FileSystem::Xfs, 0, "", Found::Clean),
            (FileSystem::Xfs, 1, "", Found::Damage),
            (FileSystem::Xfs, 2, "dirty log", Found::Nothing),
            (FileSystem::Btrfs, 1, "ERROR: errors found", Found::Damage),
            (FileSystem::F2fs, 0, "[FSCK] SIT [Ok..]", Found::Clean),
            (FileSystem::F2fs, 0, "[FSCK] SIT [Fail]", Found::Damage),
        ] {
            assert_eq!(found(fs, code, said), expected, "{fs:?} {code} {said}");
        }
        let killed = ExitStatus::from_raw(9);
        assert_eq!(FileSystem::Ext4.found(killed, ""), Found::Nothing);
    }
}
