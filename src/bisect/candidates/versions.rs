//! Candidates from releases: a list of versions, or a range of what a source
//! offers. They share no history, only an order.
//!
//! A list reads `6.1.192,6.12.117,7.3.4` (kernel.org's) or
//! `debian:6.1.192,6.12.117` (Debian's `linux-source` packages); a range reads
//! `debian:6.1..7.3`. The first version is the good end.

use miette::Diagnostic;
use thiserror::Error;

use super::{Candidates, Kind};
use crate::error::{Exit, Fault};
use crate::kernel::{KernelVersion, SourceSpec};

/// Whose releases are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// kernel.org.
    KernelOrg,
    /// Debian's `linux-source` packages.
    Debian,
}

/// Which releases are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// These, oldest first.
    List(Publisher, Vec<KernelVersion>),
    /// What the publisher offers from the first to the second.
    Range(Publisher, KernelVersion, KernelVersion),
}

/// A list of versions that cannot be searched.
#[derive(Debug, Error, Diagnostic)]
pub enum VersionsError {
    /// A word that is not a version.
    #[error("`{word}` is not a kernel version")]
    #[diagnostic(help("write `--versions 6.1.192,6.12.117` or `--versions debian:6.1..7.3`"))]
    NotAVersion {
        /// The word.
        word: String,
    },
    /// Not in order.
    #[error("{later} comes after {earlier} in the list, but is not later")]
    #[diagnostic(help(
        "list the versions oldest first and each once; to find what cured a bug, add `--fixed`"
    ))]
    Order {
        /// The one before.
        earlier: String,
        /// The one after.
        later: String,
    },
    /// Nothing between the ends.
    #[error("there are fewer than two versions to compare: {found}")]
    #[diagnostic(help(
        "the first version is the good end and the last the bad one; name at least two"
    ))]
    TooFew {
        /// Those there are.
        found: String,
    },
    /// The publisher has no list that can be asked for.
    #[error("only Debian's versions can be searched by range")]
    #[diagnostic(help("list the versions, or write `debian:` before the range"))]
    NoRange,
}

impl Fault for VersionsError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Reads what `--versions` says.
pub fn parse(text: &str) -> Result<Wanted, VersionsError> {
    let (publisher, rest) = match text.split_once(':') {
        Some(("debian", rest)) => (Publisher::Debian, rest),
        Some((word, _)) => {
            return Err(VersionsError::NotAVersion {
                word: word.to_owned(),
            });
        }
        None => (Publisher::KernelOrg, text),
    };
    if let Some((from, to)) = rest.split_once("..") {
        let (from, to) = (version(from)?, version(to)?);
        if publisher != Publisher::Debian {
            return Err(VersionsError::NoRange);
        }
        check_order(&[from.clone(), to.clone()])?;
        return Ok(Wanted::Range(publisher, from, to));
    }
    let list = rest
        .split(',')
        .map(version)
        .collect::<Result<Vec<_>, _>>()?;
    check_order(&list)?;
    Ok(Wanted::List(publisher, list))
}

fn version(word: &str) -> Result<KernelVersion, VersionsError> {
    word.trim().parse().map_err(|_| VersionsError::NotAVersion {
        word: word.trim().to_owned(),
    })
}

fn check_order(list: &[KernelVersion]) -> Result<(), VersionsError> {
    if list.len() < 2 {
        return Err(VersionsError::TooFew {
            found: list
                .first()
                .map_or_else(|| "none".to_owned(), ToString::to_string),
        });
    }
    for pair in list.windows(2) {
        // Release candidates compare by their numbers alone; their order is the
        // user's own.
        if pair[1].numbers() < pair[0].numbers() || pair[0] == pair[1] {
            return Err(VersionsError::Order {
                earlier: pair[0].to_string(),
                later: pair[1].to_string(),
            });
        }
    }
    Ok(())
}

/// Of what is offered, the versions from `from` to `to`, oldest first. An end
/// such as 7.3 takes in all of 7.3.
#[must_use]
pub fn between(
    offered: impl IntoIterator<Item = KernelVersion>,
    from: &KernelVersion,
    to: &KernelVersion,
) -> Vec<KernelVersion> {
    let (major, minor, sublevel) = to.numbers();
    let end = if sublevel == 0 {
        (major, minor, u32::MAX)
    } else {
        to.numbers()
    };
    let mut list: Vec<KernelVersion> = offered
        .into_iter()
        .filter(|version| from.numbers() <= version.numbers() && version.numbers() <= end)
        .collect();
    list.sort_by_key(KernelVersion::numbers);
    list.dedup_by_key(|version| version.numbers());
    list
}

/// The candidates: all versions but the first, which is the good end.
pub fn candidates(list: &[KernelVersion]) -> Result<Candidates, VersionsError> {
    check_order(list)?;
    let names = list[1..].iter().map(ToString::to_string);
    Ok(Candidates::linear(
        Kind::Versions,
        list[0].to_string(),
        names,
    ))
}

/// Where a version's source is.
#[must_use]
pub fn source(publisher: Publisher, version: &KernelVersion) -> SourceSpec {
    match publisher {
        Publisher::KernelOrg => SourceSpec::Release {
            version: version.clone(),
        },
        Publisher::Debian => {
            let (major, minor, _) = version.numbers();
            SourceSpec::Debian {
                package: format!("linux-source-{major}.{minor}"),
                version: Some(version.to_string()),
                suite: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(words: &[&str]) -> Vec<KernelVersion> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!(
            parse("6.1.192, 6.12.117").unwrap(),
            Wanted::List(Publisher::KernelOrg, versions(&["6.1.192", "6.12.117"]))
        );
        let [from, to] = versions(&["6.1", "7.3"]).try_into().unwrap();
        assert_eq!(
            parse("debian:6.1..7.3").unwrap(),
            Wanted::Range(Publisher::Debian, from, to)
        );
    }

    #[test]
    fn lists_that_make_no_sense_say_so() {
        for (text, wanted) in [
            ("6.1", "fewer than two"),
            ("6.12,6.1", "is not later"),
            ("6.1,6.1", "is not later"),
            ("6.1,latest", "`latest` is not a kernel version"),
            ("6.1..7.3", "only Debian's"),
            ("ubuntu:6.1..7.3", "`ubuntu` is not"),
            ("debian:7.3..6.1", "is not later"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_takes_in_the_whole_of_its_last_version() {
        let offered = versions(&["7.3.4", "6.12.117", "5.10.1", "6.1.192", "7.4", "7.3.4"]);
        let [from, to] = versions(&["6.1", "7.3"]).try_into().unwrap();
        let found = between(offered, &from, &to);
        assert_eq!(found, versions(&["6.1.192", "6.12.117", "7.3.4"]));
        let candidates = candidates(&found).unwrap();
        assert_eq!(candidates.base, "6.1.192");
        assert_eq!(candidates.list.len(), 2);
    }

    #[test]
    fn debian_has_a_package_for_each_series() {
        let [version] = versions(&["6.12.117"]).try_into().unwrap();
        let spec = source(Publisher::Debian, &version);
        assert_eq!(spec.name(), "linux-source-6.12 6.12.117");
    }
}
