//! Candidates from a patch series: its prefixes.
//!
//! The base is the kernel without the series; candidate *n* has the first *n*+1
//! patches.

use std::path::Path;

use miette::Diagnostic;
use thiserror::Error;

use super::{Candidates, Kind};
use crate::bounded;
use crate::error::{Exit, Fault};
use crate::kernel::PatchFile;

/// The most bytes of a patch that are read for its message.
const LARGEST: u64 = 64 << 20;

/// A series cannot be searched.
#[derive(Debug, Error, Diagnostic)]
pub enum PatchesError {
    /// There are no patches.
    #[error("arm `{arm}` has no patches to search")]
    #[diagnostic(help("name an arm with `patches:` by `--arm NAME`"))]
    None {
        /// The arm.
        arm: String,
    },
}

impl Fault for PatchesError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The prefixes of the patches of an arm.
pub fn candidates(arm: &str, patches: &[PatchFile]) -> Result<Candidates, PatchesError> {
    if patches.is_empty() {
        return Err(PatchesError::None {
            arm: arm.to_owned(),
        });
    }
    let names = patches.iter().map(|patch| patch.name.clone());
    Ok(Candidates::linear(
        Kind::Patches,
        "the kernel without the series".to_owned(),
        names,
    ))
}

/// What a patch's message says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name and address; empty if there is none.
    pub author: String,
    /// The first line of the message without the prefix in brackets; empty if there
    /// is none.
    pub subject: String,
}

/// Reads what a patch says of itself.
pub fn describe(path: &Path) -> std::io::Result<Description> {
    let text = bounded::read(path, LARGEST)?;
    Ok(described(&String::from_utf8_lossy(&text)))
}

fn described(text: &str) -> Description {
    let head: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("diff ") && !line.starts_with("---"))
        .collect();
    // A long line goes on in lines that begin with a space.
    let field = |name: &str| -> Option<String> {
        let at = head.iter().position(|line| line.starts_with(name))?;
        let mut value = head[at][name.len()..].trim().to_owned();
        for more in head[at + 1..]
            .iter()
            .take_while(|line| line.starts_with([' ', '\t']))
        {
            value.push(' ');
            value.push_str(more.trim());
        }
        Some(value)
    };
    let subject = field("Subject:").unwrap_or_default();
    let bare = subject
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    Description {
        author: field("From:").unwrap_or_default(),
        subject: bare
            .map_or(subject.as_str(), |(_, rest)| rest.trim())
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(name: &str, content: &str) -> PatchFile {
        PatchFile {
            name: name.to_owned(),
            path: name.into(),
            content: content.as_bytes().to_vec(),
        }
    }

    #[test]
    fn prefixes_are_in_the_series_order() {
        let patches = [patch("t/0001", ""), patch("t/0002", "")];
        let found = candidates("fixed", &patches).unwrap();
        assert_eq!(found.list[1].name, "t/0002");
        assert_eq!(found.list[1].parents, [0]);
        let error = candidates("stock", &[]).unwrap_err();
        assert!(error.to_string().contains("`stock` has no patches"));
    }

    #[test]
    fn a_patch_says_who_and_what() {
        let long = "From 12 Mon\nFrom: A Person <a@example.org>\nSubject: [PATCH 1/2] ceph: do a thing\n that is long\n\nBody\n---\n";
        let said = described(long);
        assert_eq!(said.subject, "ceph: do a thing that is long");
        assert_eq!(said.author, "A Person <a@example.org>");
        assert_eq!(described("diff --git a b\nSubject: no\n").subject, "");
    }
}
