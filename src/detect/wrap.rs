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
    /// Whether the line is already a message, and whether that names a whole function.
    known: Option<(&'static str, bool)>,
    /// Whether it ends with a function, which may go on.
    cut: bool,
}

impl Wrapped {
    /// The line, if with more of it it could be another message.
    pub(super) fn of(line: &Line<'_>, number: u64, found: Option<&Hit>) -> Option<Self> {
        // A terminal breaks a line anywhere, in a name as well.
        let cut = found.is_some_and(|hit| hit.function.is_some()) && !line.body.contains("+0x");
        let whole = |hit: &Hit| hit.function.is_some() && !cut;
        let known = found.map(|hit| (hit.rule().name, whole(hit)));
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
            cut,
        })
    }

    /// The message that the line makes with the next one.
    pub(super) fn joined(&self, next: &Line<'_>, number: u64) -> Option<Hit> {
        let continues = number == self.number + 1 && next.time.is_none() && next.caller.is_none();
        if !continues || next.body.is_empty() {
            return None;
        }
        // A terminal leaves everything as it was, a mail program takes a blank away.
        let glued = goes_on(&next.body)
            .then(|| self.made(&format!("{}{}", self.body, next.body), next))
            .flatten();
        if self.cut {
            return glued;
        }
        glued.or_else(|| self.made(&format!("{} {}", self.body, next.body.trim_start()), next))
    }

    /// The message that this text of both lines is.
    fn made(&self, text: &str, next: &Line<'_>) -> Option<Hit> {
        let mut hit = TABLE.find(text)?;
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

/// Whether a line may be the rest of one that a terminal broke: a line that names a
/// register or begins a part of a report is one of its own.
fn goes_on(body: &str) -> bool {
    let Some((before, _)) = body.split_once("+0x") else {
        return true;
    };
    let rest = before.rsplit(' ').next().unwrap_or(before);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    rest.bytes().all(word) && !body.starts_with([' ', '\t'])
}

/// The rule of messages that begin with `BUG` and go on in any way.
const OTHER: &str = "bug-other";

/// Rules of messages that name a function, or none.
const WARNINGS: &[&str] = &["warning", "warning-place"];
