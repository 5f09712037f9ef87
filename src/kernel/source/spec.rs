//! A kernel's source as a job says it, in YAML or elsewhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{debian, git};
use crate::kernel::version::KernelVersion;

/// Where a kernel comes from, as a job says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "RawSource", into = "RawSource")]
pub enum SourceSpec {
    /// A `linux-source-X.Y` package of Debian's archive.
    Debian {
        /// The package.
        package: String,
        /// Its version, Debian's (`6.12.117-1`) or the kernel's (`6.12.117`);
        /// the newest found if absent.
        version: Option<String>,
        /// The suite to take it from; the usual ones in turn if absent.
        suite: Option<String>,
    },
    /// A release on kernel.org.
    Release {
        /// Its version.
        version: KernelVersion,
    },
    /// An archive anywhere.
    Archive {
        /// Its address, `http` or `https`.
        url: String,
        /// The SHA-256 of its content, 64 hexadecimal digits.
        sha256: String,
    },
    /// A commit of a git repository.
    Git {
        /// Address or path of the repository.
        repo: String,
        /// A branch, a tag or a full commit id.
        reference: String,
    },
    /// The newest release of a kind on kernel.org.
    Newest {
        /// Which kind.
        channel: Channel,
    },
    /// Whatever was pushed last to a branch of a git repository.
    Watched {
        /// Address or path of the repository.
        repo: String,
        /// The branch.
        branch: String,
    },
    /// A tree on this machine.
    Directory {
        /// Its path.
        path: PathBuf,
    },
}

/// The keys of a source in YAML; which of them are there decides the kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(transform = crate::schema::one_source))]
#[serde(deny_unknown_fields)]
struct RawSource {
    /// A `linux-source-X.Y` package of Debian's archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    debian: Option<String>,
    /// With `debian` the package's version, Debian's or the kernel's; alone a release
    /// of kernel.org, also `latest-stable`, `latest-mainline`, `longterm` or `6.12.y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The suite to take the package from; the usual ones in turn if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suite: Option<String>,
    /// The address of an archive, `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// The SHA-256 of its content, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// A commit of a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git: Option<RawGit>,
    /// Whatever was pushed last to a branch of a git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<RawWatch>,
    /// A tree on this machine, relative to where kvet runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawGit {
    /// Address or path of the repository.
    repo: String,
    /// A branch, a tag or a full commit id.
    #[serde(rename = "ref")]
    reference: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RawWatch {
    /// Address or path of the repository.
    repo: String,
    /// The branch.
    branch: String,
}

/// What there is, for those who wrote something else.
const KINDS: &str = "a kernel source is one of: `debian` (with `version` and `suite` if wanted), \
    `version` alone, `url` with `sha256`, `git: {repo, ref}`, `watch: {repo, branch}`, or `dir`";

impl TryFrom<RawSource> for SourceSpec {
    type Error = String;

    fn try_from(mut raw: RawSource) -> Result<Self, String> {
        if let Some(RawWatch { repo, branch }) = raw.watch.take() {
            if raw != RawSource::default() {
                return Err(KINDS.to_owned());
            }
            git::check_words(&repo, &branch)?;
            return Ok(Self::Watched { repo, branch });
        }
        match raw {
            RawSource {
                debian: Some(package),
                version,
                suite,
                url: None,
                sha256: None,
                git: None,
                dir: None,
                watch: _,
            } => {
                debian::check_words(&package, version.as_deref(), suite.as_deref())?;
                Ok(Self::Debian {
                    package,
                    version,
                    suite,
                })
            }
            RawSource {
                debian: None,
                version: Some(version),
                suite: None,
                url: None,
                sha256: None,
                git: None,
                dir: None,
                watch: _,
            } => match version.parse() {
                Ok(channel) => Ok(Self::Newest { channel }),
                Err(_) => Ok(Self::Release {
                    version: version.parse().map_err(|error| format!("{error}"))?,
                }),
            },
            RawSource {
                debian: None,
                version: None,
                suite: None,
                url: Some(url),
                sha256: Some(sha256),
                git: None,
                dir: None,
                watch: _,
            } => {
                let sha256 = sha256.to_ascii_lowercase();
                if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err("`sha256` is 64 hexadecimal digits".to_owned());
                }
                Ok(Self::Archive { url, sha256 })
            }
            RawSource {
                debian: None,
                version: None,
                suite: None,
                url: None,
                sha256: None,
                git: Some(RawGit { repo, reference }),
                dir: None,
                watch: _,
            } => {
                git::check_words(&repo, &reference)?;
                Ok(Self::Git { repo, reference })
            }
            RawSource {
                debian: None,
                version: None,
                suite: None,
                url: None,
                sha256: None,
                git: None,
                dir: Some(path),
                watch: _,
            } => Ok(Self::Directory { path }),
            RawSource {
                url: Some(_),
                sha256: None,
                ..
            } => Err("`url` needs `sha256`, the digest of what is to arrive".to_owned()),
            _ => Err(KINDS.to_owned()),
        }
    }
}

impl From<SourceSpec> for RawSource {
    fn from(spec: SourceSpec) -> Self {
        let raw = Self::default();
        match spec {
            SourceSpec::Debian {
                package,
                version,
                suite,
            } => Self {
                debian: Some(package),
                version,
                suite,
                ..raw
            },
            SourceSpec::Release { version } => Self {
                version: Some(version.to_string()),
                ..raw
            },
            SourceSpec::Archive { url, sha256 } => Self {
                url: Some(url),
                sha256: Some(sha256),
                ..raw
            },
            SourceSpec::Git { repo, reference } => Self {
                git: Some(RawGit { repo, reference }),
                ..raw
            },
            SourceSpec::Newest { channel } => Self {
                version: Some(channel.to_string()),
                ..raw
            },
            SourceSpec::Watched { repo, branch } => Self {
                watch: Some(RawWatch { repo, branch }),
                ..raw
            },
            SourceSpec::Directory { path } => Self {
                dir: Some(path),
                ..raw
            },
        }
    }
}

impl SourceSpec {
    /// What the source is called in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Debian {
                package,
                version: Some(version),
                ..
            } => format!("{package} {version}"),
            Self::Debian { package, .. } => package.clone(),
            Self::Release { version } => format!("linux-{version}"),
            Self::Archive { url, .. } => url.clone(),
            Self::Git { repo, reference } => format!("{repo} {reference}"),
            Self::Newest { channel } => format!("linux {channel}"),
            Self::Watched { repo, branch } => format!("{repo} {branch}"),
            Self::Directory { path } => path.display().to_string(),
        }
    }

    /// The word of the command line that names it, as [`Self::from_word`] reads.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Debian {
                package,
                version,
                suite,
            } => {
                let part = |sign: char, part: &Option<String>| {
                    part.as_ref()
                        .map_or_else(String::new, |part| format!("{sign}{part}"))
                };
                format!("debian:{package}{}{}", part('=', version), part('/', suite))
            }
            Self::Release { version } => format!("kernel.org:{version}"),
            Self::Archive { url, sha256 } => match url.strip_prefix("file://") {
                Some(path) => path.to_owned(),
                None => format!("{url}#sha256={sha256}"),
            },
            Self::Git { repo, reference } => format!("git:{repo}@{reference}"),
            Self::Newest { channel } => format!("kernel.org:{channel}"),
            Self::Watched { repo, branch } => format!("git:{repo}@{branch}"),
            Self::Directory { path } => path.display().to_string(),
        }
    }

    /// What its versions have in common: verdicts on one stream of kernels follow
    /// each other.
    #[must_use]
    pub fn stream(&self) -> String {
        match self {
            Self::Debian { package, .. } => package.clone(),
            Self::Release { version } => {
                let (major, minor, _) = version.numbers();
                format!("linux {major}.{minor}.y")
            }
            Self::Git { repo, reference } if reference.len() >= 40 => repo.clone(),
            Self::Archive { .. } => "an archive".to_owned(),
            other => other.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<SourceSpec, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_is_read_and_written_back() {
        let digest = "ab".repeat(32);
        for yaml in [
            "{ debian: linux-source-7.3 }".to_owned(),
            "{ debian: linux-source-7.3, version: 7.3.4-1~bpo13+1, suite: trixie-backports }"
                .to_owned(),
            "{ version: \"6.17.3\" }".to_owned(),
            format!("{{ url: \"https://x.example/l.tar.xz\", sha256: {digest} }}"),
            "{ git: { repo: /linux, ref: v7.3 } }".to_owned(),
            "{ version: latest-stable }".to_owned(),
            "{ version: 6.12.y }".to_owned(),
            "{ watch: { repo: \"https://x.example/linux\", branch: for-next } }".to_owned(),
            "{ dir: /linux }".to_owned(),
        ] {
            let spec = read(&yaml).unwrap();
            let again = serde_yaml::to_string(&spec).unwrap();
            assert_eq!(read(&again).unwrap(), spec, "{yaml}");
        }
    }

    #[test]
    fn what_is_no_source_says_what_is_wrong() {
        for (yaml, expected) in [
            ("{}", "a kernel source is one of"),
            (
                "{ dir: /a, debian: linux-source-7.3 }",
                "a kernel source is one of",
            ),
            ("{ dir: /a, version: \"7.3\" }", "a kernel source is one of"),
            ("{ url: \"https://x.example/l\" }", "`url` needs `sha256`"),
            (
                "{ url: \"https://x.example/l\", sha256: 12ab }",
                "64 hexadecimal digits",
            ),
            ("{ version: latest }", "is not a kernel version"),
            ("{ watch: { repo: /a, branch: b }, dir: /a }", "is one of"),
            ("{ watch: { repo: /a, branch: \"a b\" } }", "not a branch"),
            ("{ watch: { repo: /a, ref: b } }", "unknown field `ref`"),
            ("{ debain: linux-source-7.3 }", "unknown field `debain`"),
            (
                "{ git: { repo: \"--upload-pack=x\", ref: v7.3 } }",
                "not the address",
            ),
            ("{ git: { repo: /linux, ref: \"a b\" } }", "not a branch"),
            ("{ git: { repo: /linux, reff: x } }", "unknown field `reff`"),
            (
                "{ debian: linux-source-7.3, suite: \"sid main\" }",
                "is not a suite",
            ),
        ] {
            let error = read(yaml).unwrap_err();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }
}
