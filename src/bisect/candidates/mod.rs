//! What is searched: commits, releases, patches or options, in their order.
//!
//! Every source of candidates answers with the same value, so the search, the
//! log and the report need not know which one it was.

pub mod config;
pub mod git;
pub mod patches;
pub mod versions;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::search::{Order, OrderError};

/// What the candidates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Commits of a repository.
    Git,
    /// Kernel versions.
    Versions,
    /// Patches of a series; each candidate has those before it, too.
    Patches,
    /// Options of a configuration; each candidate has those before it, too.
    Config,
}

impl Kind {
    /// What several candidates are called.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Git => "commits",
            Self::Versions => "versions",
            Self::Patches => "patches",
            Self::Config => "options",
        }
    }

    /// What one candidate is called.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Git => "commit",
            Self::Versions => "version",
            Self::Patches => "patch",
            Self::Config => "option",
        }
    }
}

/// One thing that may be the culprit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is called: a full commit id, a version, a patch, an option.
    pub name: String,
    /// The candidates it builds on, by number.
    pub parents: Vec<usize>,
    /// Of a commit that builds on no candidate: the commit that it builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
}

/// The candidates and what lies at their ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidates {
    /// What they are.
    pub kind: Kind,
    /// The end before all candidates.
    pub base: String,
    /// All of them; the last one contains all others.
    pub list: Vec<Candidate>,
}

impl Candidates {
    /// Candidates of which each builds on the one before.
    #[must_use]
    pub fn linear(kind: Kind, base: String, names: impl IntoIterator<Item = String>) -> Self {
        let list = names
            .into_iter()
            .enumerate()
            .map(|(number, name)| Candidate {
                name,
                parents: number.checked_sub(1).into_iter().collect(),
                below: None,
            })
            .collect();
        Self { kind, base, list }
    }

    /// Their order, for the search.
    pub fn order(&self) -> Result<Order, OrderError> {
        let parents: Vec<Vec<usize>> = self
            .list
            .iter()
            .map(|candidate| candidate.parents.clone())
            .collect();
        Order::from_parents(&parents)
    }

    /// A name that two of them have.
    #[must_use]
    pub fn twice(&self) -> Option<&str> {
        let names = self.list.iter().map(|one| one.name.as_str());
        let mut seen = HashSet::from([self.base.as_str()]);
        names.into_iter().find(|name| !seen.insert(name))
    }

    /// The number of the candidate that this name means: its own or, where that
    /// is unique, the beginning of it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        if let Some(number) = self.list.iter().position(|one| one.name == name) {
            return Some(number);
        }
        if self.kind != Kind::Git || name.len() < 7 {
            return None;
        }
        let mut matching = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, one)| one.name.starts_with(name));
        match (matching.next(), matching.next()) {
            (Some((number, _)), None) => Some(number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_are_noticed() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned());
            Candidates::linear(Kind::Versions, "6.1".to_owned(), names)
        };
        assert_eq!(
            of(&["7.3-rc1", "7.3-rc2", "7.3-rc1"]).twice(),
            Some("7.3-rc1")
        );
        assert_eq!(of(&["7.3-rc1", "7.3"]).twice(), None);
        assert_eq!(of(&["6.2", "6.1"]).twice(), Some("6.1"));
    }

    #[test]
    fn names_are_found_in_full_and_commits_by_their_beginning() {
        let ids = ["a".repeat(40), format!("b1{}", "0".repeat(38))];
        let mut candidates = Candidates::linear(Kind::Git, "base".to_owned(), ids.clone());
        assert_eq!(candidates.find(&ids[1]), Some(1));
        assert_eq!(candidates.find("b100000"), Some(1));
        assert_eq!(candidates.find("b1"), None);
        candidates.kind = Kind::Patches;
        assert_eq!(candidates.find("b100000"), None);
    }
}
