//! What was told last, so that only a change is told: a file for each job and
//! stream of kernels below the user's state directory.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::error::Exit;
use crate::outcome::VerdictKind;
use crate::store::{Key, StoreError, io_error, state_directory, write_json};

/// The most bytes of a file of these.
const LARGEST: u64 = 64 << 10;

/// The last verdict of one series of them.
#[derive(Debug)]
pub struct Told {
    file: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    verdict: VerdictKind,
    at: Timestamp,
}

impl Told {
    /// That of this job and series.
    pub fn of(job: &str, series: &Key) -> Result<Self, StoreError> {
        let directory = state_directory()?.join("told");
        std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
        let short = &series.as_str()[..16];
        Ok(Self {
            file: directory.join(format!("{job}-{short}.json")),
        })
    }

    /// The verdict that was told last; `None` if none was, or what was kept of
    /// it is damaged.
    #[must_use]
    pub fn last(&self) -> Option<VerdictKind> {
        let text = bounded::read_own(&self.file, LARGEST).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        Some(kept.verdict)
    }

    /// Keeps that this verdict was told, or did not need to be.
    pub fn keep(&self, verdict: VerdictKind) -> Result<(), StoreError> {
        let at = Timestamp::now();
        write_json(&self.file, &Kept { verdict, at })
    }
}

/// Whether this verdict is to be told. The first one is only if it is bad:
/// nobody waits for the news that all is well.
#[must_use]
pub(super) fn is_news(before: Option<VerdictKind>, now: VerdictKind) -> bool {
    match before {
        Some(before) => before != now,
        None => now.exit() != Exit::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_news() {
        use VerdictKind::{Fixed, Inconclusive, NotFixed};
        for (before, now, news) in [
            (None, Fixed, false),
            (None, NotFixed, true),
            (None, Inconclusive, true),
            (Some(Fixed), Fixed, false),
            (Some(Fixed), NotFixed, true),
            (Some(NotFixed), Fixed, true),
            (Some(NotFixed), NotFixed, false),
        ] {
            assert_eq!(is_news(before, now), news, "{before:?} {now:?}");
        }
    }
}
