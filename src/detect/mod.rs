//! Kernel logs to findings: what is wrong in a log, by the names developers
//! know.
//!
//! Input is a log as bytes, whole ([`scan`]) or as it comes ([`Scanner`]);
//! output is [`Finding`]s. Pure: nothing here does I/O. What the kernel's
//! messages look like is in the tables of `rules`; `report` gathers a report's
//! lines, `parts` takes them apart, `naming` and `stall` choose the function that
//! `title` names it after, `signature` gives its shape, `waiting`
//! tells who waits for whom, `target` holds what jobs say about findings.
#![forbid(clippy::disallowed_methods)]

mod assemble;
mod boot;
mod class;
mod finding;
mod frame;
mod naming;
mod parts;
mod report;
mod rules;
mod scanner;
mod signature;
mod stall;
mod target;
mod title;
mod waiting;
mod wrap;

pub use class::{Class, UnknownClass};
pub use finding::{Finding, Frame, HeldLock, Sighting};
pub use frame::plain;
pub use scanner::Scanner;
pub use signature::canonical;
pub use target::{BadMute, BadPattern, ExtraRule, Mute, Muted, Pattern, Target, known_as};
pub use waiting::{circle, complete};

/// The texts by which lines are picked out before anything else looks at them:
/// what a search for the same lines would have to look for.
#[must_use]
pub fn prefilter_texts() -> Vec<&'static str> {
    rules::TABLE.texts()
}

/// The findings of a whole log.
#[must_use]
pub fn scan(bytes: &[u8]) -> Vec<Finding> {
    let mut scanner = Scanner::new();
    let early = scanner.push(bytes);
    let late = scanner.end();
    early
        .into_iter()
        .chain(late)
        .filter_map(|sighting| match sighting {
            Sighting::Complete(finding) => Some(*finding),
            Sighting::Begun { .. } => None,
        })
        .collect()
}
