//! How a job names a release of kernel.org's that moves.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of kernel.org's releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Channel {
    /// `latest-stable`: what kernel.org shows in large print.
    LatestStable,
    /// `latest-mainline`: release candidates, too.
    LatestMainline,
    /// `longterm`: the newest series that is kept for years.
    Longterm,
    /// `6.12.y`: the newest release of one series.
    Series {
        /// The 6 of 6.12.y.
        major: u32,
        /// The 12 of 6.12.y.
        minor: u32,
    },
}

impl FromStr for Channel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let series = || {
            let (major, minor) = text.strip_suffix(".y")?.split_once('.')?;
            let number = |part: &str| {
                let digits = part.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| part.parse().ok()).flatten()
            };
            Some(Self::Series {
                major: number(major)?,
                minor: number(minor)?,
            })
        };
        match text {
            "latest-stable" => Ok(Self::LatestStable),
            "latest-mainline" => Ok(Self::LatestMainline),
            "longterm" => Ok(Self::Longterm),
            _ => series().ok_or_else(|| {
                format!(
                    "`{text}` is not one of latest-stable, latest-mainline, longterm, or a \
                     series such as 6.12.y"
                )
            }),
        }
    }
}

impl TryFrom<String> for Channel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> Self {
        channel.to_string()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LatestStable => f.write_str("latest-stable"),
            Self::LatestMainline => f.write_str("latest-mainline"),
            Self::Longterm => f.write_str("longterm"),
            Self::Series { major, minor } => write!(f, "{major}.{minor}.y"),
        }
    }
}
