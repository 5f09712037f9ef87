//! Candidates from a patch series: its prefixes.
//!
//! The base is the kernel without the series; candidate *n* has the first *n*+1
//! patches.

use miette::Diagnostic;
use thiserror::Error;

use super::{Candidates, Kind};
use crate::error::{Exit, Fault};
use crate::kernel::PatchFile;

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

/// The subject of a patch: the first line of its message without the prefix in
/// brackets; its name if it has none.
#[must_use]
pub fn subject(patch: &PatchFile) -> String {
    let text = String::from_utf8_lossy(&patch.content);
    let mut lines = text
        .lines()
        .take_while(|line| !line.starts_with("diff ") && !line.starts_with("---"));
    let Some(first) = lines.find_map(|line| line.strip_prefix("Subject:")) else {
        return patch.name.clone();
    };
    let mut subject = first.trim().to_owned();
    // A long subject goes on in lines that begin with a space.
    for more in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        subject.push(' ');
        subject.push_str(more.trim());
    }
    match subject
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((_, rest)) => rest.trim().to_owned(),
        None => subject,
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
    fn a_subject_is_put_together() {
        let long = "From: A\nSubject: [PATCH 1/2] ceph: do a thing\n that is long\n\nBody\n---\n";
        assert_eq!(subject(&patch("p", long)), "ceph: do a thing that is long");
        assert_eq!(subject(&patch("p", "diff --git a b\nSubject: no\n")), "p");
    }
}
