//! The function that a report is named after: what a frame is decides whether it
//! can be that one (see `rules::skip`). Stalls are another matter: `stall`.

use super::Class;
use super::frame::{plain, spellings};
use super::parts::Parts;
use super::report::Report;
use super::rules::{Choice, skip};
use super::stall::outermost;

/// The candidates for `{F}`, the best first.
///
/// A function that complains on behalf of its callers is `complaining`: the
/// title is about them.
pub(super) fn function(
    choice: Choice,
    report: &Report,
    parts: &Parts,
    named: Option<&str>,
    complaining: &str,
) -> Vec<String> {
    if let Some(name) = named {
        return vec![plain(name).to_owned()];
    }
    let first_line = report.hit.function.as_deref().map(plain);
    let passed = match report.hit.rule().class {
        Class::AtomicSleep | Class::Lockdep => &*skip::CALLED,
        _ => &*skip::ALWAYS,
    };
    let found = match choice {
        Choice::None => None,
        Choice::Named => first_line.map(str::to_owned),
        Choice::LastFunction => parts.last_function.as_deref().map(|f| plain(f).to_owned()),
        Choice::Stack => innermost(parts, passed).or_else(|| {
            first_line
                .filter(|f| !passed.contains(f))
                .map(str::to_owned)
        }),
        Choice::Waiting => {
            if let Some(stack) = parts.main()
                && let Some(frame) = stack.frames.iter().find(|frame| {
                    frame.is_real() && !skip::BLOCKING.contains(&frame.function)
                        || is_grace_period(&frame.function)
                })
                && is_grace_period(&frame.function)
            {
                return vec![GRACE_PERIOD.to_owned(), plain(&frame.function).to_owned()];
            }
            // What it waits in is finer than what titles are made of.
            let mut found = innermost(parts, &skip::HANG).map(|name| spellings(&name));
            if let (Some(names), Some(wait)) = (&mut found, innermost(parts, &skip::BLOCKING))
                && !names.contains(&wait)
            {
                names.push(wait);
            }
            return found.unwrap_or_default();
        }
        Choice::PageOwner => page_owner(parts),
        Choice::Allocating => innermost(parts, &skip::LEAK),
        Choice::Fault => fault(first_line, parts, complaining),
        Choice::Lock => lock(parts),
        Choice::LockStack => innermost(parts, &skip::LOCK_STATE).or_else(|| lock(parts)),
        Choice::Held => held(parts).or_else(|| lock(parts)),
        Choice::Outermost => return outermost(parts),
    };
    found.map(|name| spellings(&name)).unwrap_or_default()
}

fn innermost(parts: &Parts, names: &skip::Names) -> Option<String> {
    parts.main()?.innermost(names)
}

/// Who allocated a page, past the page cache.
pub(super) fn page_owner(parts: &Parts) -> Option<String> {
    let stack = parts.stacks.get(parts.page_owner?)?;
    stack.innermost(&skip::LEAK)
}

fn fault(first_line: Option<&str>, parts: &Parts, complaining: &str) -> Option<String> {
    let stack = parts.main().map_or(&[][..], |stack| &stack.frames);
    let frames = stack.iter().filter(|frame| frame.is_real());
    let instruction = parts
        .instruction
        .iter()
        .map(|frame| frame.function.as_str());
    first_line
        .into_iter()
        .chain(instruction)
        .chain(frames.map(|frame| frame.function.as_str()))
        .map(plain)
        .find(|name| {
            !skip::ALWAYS.contains(name)
                && (complaining.is_empty() || !name.starts_with(complaining))
        })
        .map(str::to_owned)
}

/// Waits for readers of any kind of RCU are named alike.
const GRACE_PERIOD: &str = "synchronize_rcu";

/// Whether the function waits for readers of any kind of RCU.
fn is_grace_period(function: &str) -> bool {
    let name = function.trim_start_matches('_');
    name.starts_with("synchronize_rcu") || name.starts_with("synchronize_srcu")
}

/// For a stack of nothing but helpers that is whole all the same: its innermost
/// function that does not belong to the report.
pub(super) fn last_resort(parts: &Parts) -> Vec<String> {
    let Some(stack) = parts.main() else {
        return Vec::new();
    };
    let mut reliable = stack.frames.iter().filter(|frame| frame.is_real());
    // A fault on the way into an exception's own handler.
    if reliable
        .clone()
        .all(|frame| skip::DUMPERS.contains(&frame.function))
        && let Some(last) = reliable.clone().next_back()
        && skip::EXCEPTION.contains(&last.function)
    {
        return vec![plain(&last.function).to_owned()];
    }
    let whole = reliable
        .clone()
        .next_back()
        .is_some_and(|last| skip::OUTSIDE.contains(&last.function));
    if !(whole && stack.traced) {
        return Vec::new();
    }
    let first = reliable.clone().find(|frame| {
        !skip::BLOCKING.contains(&frame.function) && !skip::OUTSIDE.contains(&frame.function)
    });
    first
        .or_else(|| reliable.find(|frame| !skip::BLOCKING.contains(&frame.function)))
        .map(|frame| spellings(plain(&frame.function)))
        .unwrap_or_default()
}

/// Where the lock was taken that the validator complains of; if that is on a
/// caller's behalf, where the ones were that are held.
fn lock(parts: &Parts) -> Option<String> {
    let mut places = parts.lock_places.iter();
    if let Some(place) = places.find(|place| !skip::LOCKING.contains(place)) {
        return Some(plain(place).to_owned());
    }
    // An allocation that reclaims is still a place, a worker is not: then it is
    // about whoever waits for it.
    let first = parts.lock_places.first();
    first
        .filter(|place| !skip::NO_PLACE.contains(place))
        .map(|place| plain(place).to_owned())
        .or_else(|| innermost(parts, &skip::LOCKING))
        .or_else(|| {
            let mut stacks = parts.stacks.iter();
            stacks.find_map(|stack| stack.innermost(&skip::LOCKING))
        })
}

/// Where the first lock was taken that is held.
fn held(parts: &Parts) -> Option<String> {
    let mut places = parts.held_places.iter();
    let place = places.find(|place| !skip::NO_PLACE.contains(place))?;
    Some(plain(place).to_owned())
}
