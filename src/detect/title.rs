//! A report's name: its rule's title with the function that `naming` chose, and
//! whether the report is whole.

use std::sync::LazyLock;

use regex::Regex;

use super::Class;
use super::frame::plain;
use super::naming::{function, last_resort, page_owner};
use super::parts::{Parts, Section, Stack};
use super::report::Report;
use super::rules::{Choice, refine, skip};
use super::stall::{is_preempted, reaches_the_entry};

/// What stands for a function that could not be told.
pub(super) const CORRUPTED: &str = "corrupted";

/// A report's name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Title {
    pub(super) text: String,
    pub(super) alternatives: Vec<String>,
    pub(super) class: Class,
    pub(super) damaged: bool,
}

/// Names a report.
pub(super) fn of(report: &Report, parts: &Parts) -> Title {
    let rule = report.hit.rule();
    let mut class = rule.class;
    let mut pattern = rule.title.to_owned();
    let mut choice = rule.function;
    let mut panicked_in = None;
    let mut complaining = "";
    if let Some(fine) = refinement(report) {
        fine.title.clone_into(&mut pattern);
        complaining = fine.function;
        if fine.lockdep {
            class = Class::Lockdep;
        }
    }
    if rule.class == Class::Panic {
        let message = report.hit.groups.first().map_or("", String::as_str);
        if refine::NEVER_UP
            .iter()
            .any(|known| message.starts_with(known))
        {
            class = Class::BootFailure;
        }
        let (title, function) = panic_title(message);
        pattern = title;
        choice = if pattern.contains("corrupted stack end") {
            Choice::Outermost
        } else {
            Choice::None
        };
        panicked_in = function;
    }
    if rule.name == "internal-error"
        && let Some(error) = report.hit.groups.first()
        && let Some((part, of, title)) = refine::INTERNAL_ERRORS
            .iter()
            .find(|(part, ..)| error.contains(part))
    {
        class = *of;
        let kind = error.split_once(part).map_or("", |(_, kind)| kind);
        pattern = title.replace("{kind}", &kind.trim().to_lowercase().replace(' ', "-"));
    }
    // Without that nothing tells whose page it was.
    if choice == Choice::PageOwner && page_owner(parts).is_none() {
        pattern = pattern.replace(" in {F}", "");
    }
    let wants = pattern.contains("{F}");
    let mut functions = if wants {
        function(choice, report, parts, panicked_in.as_deref(), complaining)
    } else {
        Vec::new()
    };
    if wants && functions.is_empty() && complaining.is_empty() {
        functions = last_resort(parts);
    }
    let mut damaged = parts.interleaved;
    if wants && functions.is_empty() {
        damaged = true;
        functions.push(CORRUPTED.to_owned());
    }
    if rule.stack && !has_stack(rule.function, parts) && !is_of_hardware(report) {
        damaged = true;
    }
    // What went on is told by the outer end of the stack: without that end it
    // may be anything.
    damaged |= choice == Choice::Outermost && !reaches_the_entry(parts);
    let text = fill(
        &pattern,
        report,
        parts,
        functions.first().map_or("", String::as_str),
    );
    // So does a task that was preempted: it stalls nobody.
    damaged |= rule.name == "rcu-stall" && is_preempted(parts);
    // A panic that something else led to, without that.
    damaged |=
        rule.class == Class::Panic && refine::AFTERMATH.iter().any(|known| text.contains(known));
    // A cut line leaves the name without its end.
    damaged |= text.ends_with(' ');
    let text = bounded(text.trim_end());
    let mut alternatives = Vec::new();
    for (index, name) in functions.iter().enumerate() {
        if index > 0 {
            alternatives.push(fill(&pattern, report, parts, name));
        }
    }
    let alternative = alternative(rule.alternative, &text);
    for name in &functions {
        if !alternative.is_empty() {
            alternatives.push(fill(alternative, report, parts, name));
        }
    }
    alternatives.retain(|other| *other != text);
    alternatives.dedup();
    Title {
        text,
        alternatives,
        class,
        damaged,
    }
}

/// A title before the stack is known.
pub(super) fn provisional(report: &Report) -> String {
    let rule = report.hit.rule();
    let pattern = refinement(report).map_or(rule.title, |fine| fine.title);
    let pattern = if rule.class == Class::Panic {
        panic_title(report.hit.groups.first().map_or("", String::as_str)).0
    } else {
        pattern.to_owned()
    };
    let function = report.hit.function.as_deref().map(plain);
    match function {
        Some(function) => fill(&pattern, report, &Parts::default(), function),
        None => fill(
            &pattern.replace(" in {F}", ""),
            report,
            &Parts::default(),
            "",
        ),
    }
}

fn alternative<'a>(wanted: &'a str, title: &str) -> &'a str {
    if title.contains("invalid-free") || title.contains("double-free") {
        "invalid-free in {F}"
    } else if title.contains("corrupted list") {
        "bad-access in {F}"
    } else if title.contains("corrupted stack end") {
        "stack-overflow in {F}"
    } else {
        wanted
    }
}

fn refinement(report: &Report) -> Option<&'static refine::Refinement> {
    let name = report.hit.rule().name;
    let file = report.hit.file.as_deref().unwrap_or("");
    let function = report.hit.function.as_deref().map_or("", plain);
    refine::REFINEMENTS.iter().find(|fine| {
        fine.rules.contains(&name)
            && (file.ends_with(fine.file) || fine.file.ends_with(file) && file.len() > 8)
            && (fine.function.is_empty() || function.starts_with(fine.function))
    })
}

static PANICS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    refine::PANICS
        .iter()
        .filter_map(|(pattern, title)| Some((Regex::new(pattern).ok()?, *title)))
        .collect()
});

fn panic_title(message: &str) -> (String, Option<String>) {
    for (regex, title) in PANICS.iter() {
        if let Some(found) = regex.captures(message) {
            let function = found.name("function").map(|f| f.as_str().to_owned());
            return (title.replace("{0}", &found[0]), function);
        }
    }
    // The first sentence is the name; advice may follow.
    let sentence = message.split(". ").next().unwrap_or(message);
    (format!("kernel panic: {}", scrub(sentence)), None)
}

/// Bytes of a title; functions' names have up to 512.
const LONGEST: usize = 640;

/// The text without addresses, and no longer than a title may be.
fn bounded(text: &str) -> String {
    static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"\b(?:0x[0-9a-fA-F]+|[0-9a-f]{12,16}|[a-f][0-9a-f]{7})\b").ok()
    });
    let text = match &*ADDRESS {
        Some(address) => address.replace_all(text, "ADDR"),
        None => text.into(),
    };
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Replaces what differs from report to report: addresses and numbers.
pub(super) fn scrub(message: &str) -> String {
    let mut words = Vec::new();
    for word in message.split_whitespace().take(16) {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = bare.len() >= 8 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let prefixed = bare.starts_with("0x");
        let number = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit());
        if hex || prefixed {
            words.push(word.replace(bare, "ADDR"));
        } else if number {
            words.push(word.replace(bare, "NUM"));
        } else {
            words.push(word.to_owned());
        }
    }
    let text = words.join(" ");
    text.trim_end_matches([' ', '.', ':', '-']).to_owned()
}

fn fill(pattern: &str, report: &Report, parts: &Parts, function: &str) -> String {
    let mut text = pattern.replace("{F}", function);
    match parts.access {
        Some(access) => text = text.replace("{A}", access),
        None => text = text.replace(" {A}", ""),
    }
    for (index, group) in report.hit.groups.iter().enumerate() {
        let key = format!("{{{}}}", index + 1);
        if text.contains(&key) {
            let value = match report.hit.rule().class {
                Class::Ubsan | Class::Kasan => group.trim().to_lowercase().replace(' ', "-"),
                Class::BugOther if report.hit.rule().name == "bug-other" => scrub(group),
                _ => group.trim().to_owned(),
            };
            let value = match value.as_str() {
                "double-free-or-invalid-free" => "invalid-free".to_owned(),
                _ => value,
            };
            text = text.replace(&key, &value);
        }
    }
    text
}

/// Whether the processor found the machine broken: then there is no stack.
fn is_of_hardware(report: &Report) -> bool {
    let message = report.hit.groups.first().map_or("", String::as_str);
    report.hit.rule().class == Class::Panic && message.contains("achine check")
}

/// Whether the report has the stack that its rule wants.
fn has_stack(choice: Choice, parts: &Parts) -> bool {
    let good = |stack: &Stack| {
        stack.traced
            // Without a heading a single line may be anything.
            && (parts.announced || stack.frames.len() > 2)
            && stack
                .frames
                .iter()
                .any(|frame| frame.is_real() && !skip::DUMPERS.contains(&frame.function))
    };
    match choice {
        Choice::Outermost => parts.stacks.iter().any(good),
        _ => parts
            .stacks
            .iter()
            .any(|stack| stack.section == Section::Main && good(stack)),
    }
}
