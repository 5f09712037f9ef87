//! A kernel's version as its top Makefile states it, and how versions order.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::bounded;

/// No top Makefile is larger, in bytes; those of today have 80 KiB.
const LARGEST: u64 = 4 << 20;

/// VERSION, PATCHLEVEL, SUBLEVEL and EXTRAVERSION of a kernel tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KernelVersion {
    major: u32,
    minor: u32,
    sublevel: u32,
    extra: String,
}

/// The versions from one to another, either of which may be open. Only the
/// numbers count; see [`KernelVersion::numbers`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The first version in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<KernelVersion>,
    /// The first version after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<KernelVersion>,
}

impl VersionRange {
    /// Whether the version is in it.
    #[must_use]
    pub fn holds(&self, version: &KernelVersion) -> bool {
        let at = version.numbers();
        self.from.as_ref().is_none_or(|from| from.numbers() <= at)
            && self
                .before
                .as_ref()
                .is_none_or(|before| at < before.numbers())
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.before) {
            (Some(from), Some(before)) => write!(f, "{from} to before {before}"),
            (Some(from), None) => write!(f, "{from} and later"),
            (None, Some(before)) => write!(f, "before {before}"),
            (None, None) => f.write_str("all versions"),
        }
    }
}

/// A text that is not a kernel version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kernel version such as 7.3, 6.12.117 or 7.4-rc2")]
pub struct NotAVersion(String);

impl KernelVersion {
    /// The numbers without the extra part. Ranges compare these, so a release
    /// candidate counts as the release it leads to: its code is closer to that
    /// than to the release before.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32, u32) {
        (self.major, self.minor, self.sublevel)
    }

    /// The major number, which names the directory on kernel.org.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Reads the version from the head of a tree's top Makefile.
    #[must_use]
    pub fn from_makefile(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines().take(20).find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        Some(Self {
            major: value("VERSION")?.parse().ok()?,
            minor: value("PATCHLEVEL")?.parse().ok()?,
            sublevel: value("SUBLEVEL")?.parse().ok()?,
            extra: value("EXTRAVERSION").map_or_else(String::new, |text| plain_extra(&text)),
        })
    }

    /// Reads the version of the tree at `path`; `None` if that is no kernel tree.
    #[must_use]
    pub fn of_tree(path: &Path) -> Option<Self> {
        let makefile = bounded::read_own_text(&path.join("Makefile"), LARGEST);
        Self::from_makefile(&makefile.ok()?)
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._+~".contains(c)
}

/// What a Makefile has as the extra part, in the form in which versions are read:
/// begun by a dash, so that it is no part of the numbers, and without what would
/// not be read again.
fn plain_extra(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let plain: String = text.chars().filter(|&c| is_plain(c)).collect();
    if plain.is_empty() || plain.starts_with('-') {
        return plain;
    }
    match plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()) {
        "" => String::new(),
        rest => format!("-{rest}"),
    }
}

impl FromStr for KernelVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let wrong = || NotAVersion(text.to_owned());
        let (numbers, extra) = match text.find('-') {
            Some(dash) => text.split_at(dash),
            None => (text, ""),
        };
        if !extra.chars().all(is_plain) {
            return Err(wrong());
        }
        let mut parts = numbers.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let mut next = || parts.next().map(|part| part.ok_or_else(wrong)).transpose();
        let (major, minor, sublevel) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self {
            major: major.ok_or_else(wrong)?,
            minor: minor.ok_or_else(wrong)?,
            sublevel: sublevel.unwrap_or(0),
            extra: extra.to_owned(),
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.sublevel != 0 {
            write!(f, ".{}", self.sublevel)?;
        }
        f.write_str(&self.extra)
    }
}

impl TryFrom<String> for KernelVersion {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<KernelVersion> for String {
    fn from(version: KernelVersion) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_makefile_s_head_is_read() {
        let text = "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\nNAME = x\n";
        let version = KernelVersion::from_makefile(text).unwrap();
        assert_eq!(version.to_string(), "7.3.4");
        assert_eq!(KernelVersion::from_makefile("all:\n\techo\n"), None);
    }

    #[test]
    fn a_range_has_its_first_version_and_not_the_one_after_it() {
        let version = |text: &str| text.parse::<KernelVersion>().unwrap();
        let range = VersionRange {
            from: Some(version("6.12")),
            before: Some(version("7.3")),
        };
        for (text, inside) in [
            ("6.11.9", false),
            ("6.12-rc1", true),
            ("7.2.9", true),
            // It has most of what 7.3 has.
            ("7.3-rc1", false),
        ] {
            assert_eq!(range.holds(&version(text)), inside, "{text}");
        }
        assert!(VersionRange::default().holds(&version("5.4")));
    }

    #[test]
    fn texts_are_read_and_nonsense_is_not() {
        for text in ["7.3", "6.12.117", "7.4-rc2"] {
            assert_eq!(text.parse::<KernelVersion>().unwrap().to_string(), text);
        }
        for text in ["7", "7.", "7.3.4.5", "v7.3", "7.3/../x", "7.3-a/b", "7.+3"] {
            assert!(text.parse::<KernelVersion>().is_err(), "{text}");
        }
    }

    /// A version that is written is read again, whatever somebody put behind it.
    #[test]
    fn an_odd_extra_part_is_read_back() {
        let makefile = |sublevel: u32, extra: &str| {
            let text = format!(
                "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = {sublevel}\nEXTRAVERSION = {extra}\n"
            );
            KernelVersion::from_makefile(&text).unwrap()
        };
        for (sublevel, extra, told) in [
            (3, "-rc2", "6.12.3-rc2"),
            (3, ".mine", "6.12.3-mine"),
            (0, ".5", "6.12-5"),
            (3, "_a b/c", "6.12.3-abc"),
            (3, "-rc1 # not yet", "6.12.3-rc1"),
            (3, "+", "6.12.3"),
            (3, "-", "6.12.3-"),
        ] {
            let version = makefile(sublevel, extra);
            assert_eq!(version.to_string(), told, "{extra}");
            assert_eq!(version.to_string().parse(), Ok(version), "{extra}");
        }
    }

    /// An archive's may be a link to anything.
    #[test]
    fn a_makefile_without_end_is_none() {
        let tree = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", tree.path().join("Makefile")).unwrap();
        assert_eq!(KernelVersion::of_tree(tree.path()), None);
    }
}
