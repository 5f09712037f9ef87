//! Messages that a mail program broke in two.

use super::rules::{Hit, TABLE};
use crate::console::{Caller, Line};

/// A line that may go on in the next one.
#[derive(Debug)]
pub(super) struct Wrapped {
    body: String,
    pub(super) number: u64,
    pub(super) time: Option<f64>,
    pub(super) caller: Option<Caller>,
    /// Whether the line is already a message, and whether that names a function.
    known: Option<(&'static str, bool)>,
}

impl Wrapped {
    /// The line, if with more of it it could be another message.
    pub(super) fn of(line: &Line<'_>, number: u64, found: Option<&Hit>) -> Option<Self> {
        let known = found.map(|hit| (hit.rule().name, hit.function.is_some()));
        let may_grow = match known {
            None => true,
            Some((name, function)) => name == OTHER || !function && WARNINGS.contains(&name),
        };
        may_grow.then(|| Self {
            body: line.body.clone().into_owned(),
            number,
            time: line.time,
            caller: line.caller,
            known,
        })
    }

    /// The message that the line makes with the next one.
    pub(super) fn joined(&self, next: &Line<'_>, number: u64) -> Option<Hit> {
        let continues = number == self.number + 1 && next.time.is_none() && next.caller.is_none();
        if !continues || next.body.is_empty() {
            return None;
        }
        let mut hit = TABLE.find(&format!("{} {}", self.body, next.body.trim_start()))?;
        // It is of both lines.
        hit.prefix = 0;
        let more = match self.known {
            None => true,
            Some((OTHER, _)) => hit.rule().name != OTHER,
            Some((name, _)) => {
                hit.rule().name == name && hit.function.is_some() && next.body.contains("+0x")
            }
        };
        (more && !hit.doubtful).then_some(hit)
    }
}

/// The rule of messages that begin with `BUG` and go on in any way.
const OTHER: &str = "bug-other";

/// Rules of messages that name a function, or none.
const WARNINGS: &[&str] = &["warning", "warning-place"];
