//! What a job asks of its disk: the `disk:` part of the YAML, and the checks
//! that need no host.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::detect::{Class, ExtraRule, Pattern};
use crate::process::confined;
use crate::step::values;

/// More than any workload that ends within a day fills, and less than hosts
/// have at hand.
const LARGEST: u64 = 256 << 30;

/// Words of mkfs and options of mount(2): nobody needs more.
const MOST_WORDS: usize = 32;

/// A scratch disk, as a job describes it: each trial has a new one of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DiskSpec {
    /// Its size: a number of bytes, or with a unit, as in `512MiB` or `4GiB`.
    #[serde(with = "values::size")]
    #[cfg_attr(test, schemars(with = "crate::schema::Size"))]
    pub size: u64,
    /// The file system on it.
    pub fs: FileSystem,
    /// Options of every mount of it, such as `noatime` or `data=journal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "crate::schema::words"))]
    pub options: Vec<String>,
    /// Words for mkfs after those of kvet, such as `[-b, "1024"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "crate::schema::words"))]
    pub mkfs: Vec<String>,
    /// Whether there is a second disk of the same size, `/dev/vdb`, with nothing
    /// on it: for programs that make file systems themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spare: bool,
}

/// The file systems that kvet can make and check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FileSystem {
    /// mke2fs and e2fsck.
    Ext4,
    /// mkfs.xfs and `xfs_repair`.
    Xfs,
    /// mkfs.btrfs and btrfs check.
    Btrfs,
    /// mkfs.f2fs and fsck.f2fs.
    F2fs,
}

impl DiskSpec {
    /// What it is, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self {
            size, fs, spare, ..
        } = self;
        let spare = if *spare { ", and a spare one" } else { "" };
        format!("a disk of {} with {}{spare}", in_words(*size), fs.name())
    }

    /// How many bytes all of a trial's disks may come to.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.size.saturating_mul(if self.spare { 2 } else { 1 })
    }

    /// The programs that it takes on the host, each with its package.
    #[must_use]
    pub fn required_programs(&self) -> Vec<(&'static str, &'static str)> {
        [&self.fs.programs()[..], confined::PROGRAMS].concat()
    }

    /// What its kernel side says of damage that it met, and that is a finding.
    #[must_use]
    pub fn complaints(&self) -> Vec<ExtraRule> {
        let rule = |text: &&str| {
            Some(ExtraRule {
                message: Pattern::try_from((*text).to_owned()).ok()?,
                class: Some(Class::FileSystem),
                title: None,
            })
        };
        self.fs.complaints().iter().filter_map(rule).collect()
    }

    /// What cannot be: the key that it is about, what is wrong, and what to do.
    pub fn check(&self) -> Result<(), (&'static str, String, String)> {
        let smallest = self.fs.smallest();
        if self.size < smallest || self.size > LARGEST {
            return Err((
                "size",
                format!(
                    "a disk with {} cannot have {}",
                    self.fs.name(),
                    in_words(self.size)
                ),
                format!("use {} to {}", in_words(smallest), in_words(LARGEST)),
            ));
        }
        if !self.size.is_multiple_of(1 << 20) {
            return Err((
                "size",
                format!("a disk of {} bytes is not a whole number of MiB", self.size),
                "write one with its unit, as in 512MiB or 4GiB".to_owned(),
            ));
        }
        for (key, words) in [("options", &self.options), ("mkfs", &self.mkfs)] {
            let strange = |word: &String| {
                word.is_empty() || word.len() > 256 || word.chars().any(char::is_control)
            };
            if words.len() > MOST_WORDS || words.iter().any(strange) {
                return Err((
                    key,
                    format!("`{key}` is a list of at most {MOST_WORDS} words of one line"),
                    "each has 1 to 256 bytes and no control characters".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// A size with the largest unit that gives a whole number.
pub(super) fn in_words(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DiskSpec {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_disk_is_a_size_and_a_file_system() {
        let disk = read("{ size: 1GiB, fs: ext4 }");
        assert_eq!((disk.size, disk.bytes()), (1 << 30, 1 << 30));
        assert_eq!(disk.summary(), "a disk of 1 GiB with ext4");
        disk.check().unwrap();
        let disk = read("{ size: 512MiB, fs: xfs, spare: true }");
        assert_eq!(disk.bytes(), 1 << 30);
        assert_eq!(
            disk.summary(),
            "a disk of 512 MiB with xfs, and a spare one"
        );
    }

    #[test]
    fn what_cannot_be_is_named_with_what_can() {
        for (text, key, help) in [
            ("{ size: 1MiB, fs: ext4 }", "size", "use 16 MiB to 256 GiB"),
            ("{ size: 64MiB, fs: xfs }", "size", "use 300 MiB to"),
            ("{ size: 0, fs: btrfs }", "size", "use 128 MiB to"),
            ("{ size: 257GiB, fs: f2fs }", "size", "to 256 GiB"),
            ("{ size: 1073741825, fs: ext4 }", "size", "with its unit"),
            (
                "{ size: 1GiB, fs: ext4, options: [''] }",
                "options",
                "1 to 256",
            ),
            (
                "{ size: 1GiB, fs: ext4, mkfs: [\"a\\nb\"] }",
                "mkfs",
                "1 to 256",
            ),
        ] {
            let (wrong, message, advice) = read(text).check().unwrap_err();
            assert_eq!(wrong, key, "{text}");
            assert!(advice.contains(help), "{text}: {message}; {advice}");
        }
        let error = serde_yaml::from_str::<DiskSpec>("{ size: 1GiB, fs: ext5 }").unwrap_err();
        assert!(
            error.to_string().contains("expected one of `ext4`"),
            "{error}"
        );
    }
}
