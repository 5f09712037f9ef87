//! What `--on` says: where a run's trials go.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::FleetError;

/// Where trials run, if not on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum On {
    /// On the nodes of a Slurm cluster, of one partition if it is named.
    Slurm(Option<String>),
    /// On these hosts, over ssh.
    Ssh(Vec<String>),
}

impl On {
    /// How many hosts it names; `None` if somebody else knows.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Slurm(_) => None,
            Self::Ssh(hosts) => Some(hosts.len()),
        }
    }
}

impl FromStr for On {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let bad = || FleetError::On(text.to_owned());
        // Nothing that ssh or sbatch would take for an option, or a shell for
        // more than a word.
        let plain = |name: &&str| {
            !name.is_empty()
                && !name.starts_with('-')
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.@:%[]".contains(c))
        };
        if text == "slurm" {
            return Ok(Self::Slurm(None));
        }
        if let Some(partition) = text.strip_prefix("slurm:") {
            let partition = Some(partition).filter(plain).ok_or_else(bad)?;
            return Ok(Self::Slurm(Some(partition.to_owned())));
        }
        let mut hosts: Vec<String> = Vec::new();
        for host in text.strip_prefix("ssh:").ok_or_else(bad)?.split(',') {
            let host = Some(host).filter(plain).ok_or_else(bad)?;
            if !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
        }
        Ok(Self::Ssh(hosts))
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slurm(None) => f.write_str("slurm"),
            Self::Slurm(Some(partition)) => write!(f, "slurm:{partition}"),
            Self::Ssh(hosts) => write!(f, "ssh:{}", hosts.join(",")),
        }
    }
}

impl TryFrom<String> for On {
    type Error = FleetError;

    fn try_from(text: String) -> Result<Self, FleetError> {
        text.parse()
    }
}

impl From<On> for String {
    fn from(on: On) -> Self {
        on.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_read_and_written() {
        for text in [
            "slurm",
            "slurm:long",
            "ssh:a",
            "ssh:root@a,b.example",
            "ssh:h%1",
        ] {
            assert_eq!(text.parse::<On>().unwrap().to_string(), text);
        }
        // A host that is named twice has one place in the run.
        assert_eq!("ssh:a,b,a".parse::<On>().unwrap().to_string(), "ssh:a,b");
    }

    #[test]
    fn nothing_is_taken_for_an_option_or_a_command() {
        let bad = [
            "",
            "here",
            "ssh:",
            "ssh:a,,b",
            "ssh:-oProxyCommand=x",
            "ssh:a;b",
            "slurm:",
            "slurm:-x",
            "ssh:a b",
            "ssh:$(x)",
            "slurm:a,b c",
        ];
        for text in bad {
            assert!(text.parse::<On>().is_err(), "{text}");
        }
    }
}
