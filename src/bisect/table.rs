//! What is built and booted, and the rows of the final table: the culprit beside
//! what is next to it.

use super::begun::Begun;
use super::search::Point;

/// What is built and booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// What stands before all candidates: of several merge bases, this one.
    Base(usize),
    /// A candidate.
    Candidate(usize),
    /// The newer end without this candidate.
    Reverted(usize),
}

impl Subject {
    /// What the search calls it.
    pub(super) fn point(self) -> Option<Point> {
        match self {
            Self::Base(_) => Some(Point::Base),
            Self::Candidate(number) => Some(Point::Candidate(number)),
            Self::Reverted(_) => None,
        }
    }

    /// The number of its candidate.
    pub(super) fn number(self) -> Option<usize> {
        match self {
            Self::Candidate(number) => Some(number),
            _ => None,
        }
    }

    /// The number of its merge base.
    pub(super) fn base(self) -> usize {
        match self {
            Self::Base(number) => number,
            _ => 0,
        }
    }
}

/// The table's rows, by the names they have in the log and the report.
pub(super) const OLDER: &str = "older end";
pub(super) const PARENT: &str = "parent";
pub(super) const CULPRIT: &str = "culprit";
pub(super) const TIP: &str = "tip";
pub(super) const REVERTED: &str = "tip with the revert";

/// The rows for a culprit, and what each boots; `top` contains all candidates. The
/// first commit of a branch that is older than the older end is compared with that
/// end, too: what it builds on may be like the culprit.
pub(super) fn rows(
    begun: &Begun,
    top: Option<usize>,
    culprit: usize,
) -> Vec<(&'static str, Subject)> {
    let parent = match begun.candidates.list[culprit].parents.first() {
        Some(&parent) => Subject::Candidate(parent),
        None => Subject::Base(begun.below(culprit)),
    };
    let mut rows = Vec::new();
    if parent.base() >= begun.ends() {
        rows.push((OLDER, Subject::Base(0)));
    }
    rows.extend([(PARENT, parent), (CULPRIT, Subject::Candidate(culprit))]);
    if let Some(top) = top.filter(|&top| top != culprit) {
        rows.push((TIP, Subject::Candidate(top)));
        rows.push((REVERTED, Subject::Reverted(culprit)));
    }
    rows
}
