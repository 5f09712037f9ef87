//! The function a report is named after, and the name.

use std::sync::LazyLock;

use regex::Regex;

use super::Class;
use super::finding::Frame;
use super::frame::plain;
use super::parts::{Parts, Section, Stack};
use super::report::Report;
use super::rules::{Choice, refine, skip};

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

/// The candidates for `{F}`, the best first.
///
/// A function that complains on behalf of its callers is `complaining`: the
/// title is about them.
fn function(
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
    let names = match report.hit.rule().class {
        Class::AtomicSleep | Class::Lockdep => &*skip::CALLED,
        _ => &*skip::ALWAYS,
    };
    let found = match choice {
        Choice::None => None,
        Choice::Named => first_line.map(str::to_owned),
        Choice::LastFunction => parts.last_function.as_deref().map(|f| plain(f).to_owned()),
        Choice::Stack => innermost(parts, names)
            .or_else(|| first_line.filter(|f| !names.contains(f)).map(str::to_owned)),
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
fn page_owner(parts: &Parts) -> Option<String> {
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

/// Whether the function waits for readers of any kind of RCU.
fn is_grace_period(function: &str) -> bool {
    let name = function.trim_start_matches('_');
    name.starts_with("synchronize_rcu") || name.starts_with("synchronize_srcu")
}

/// For a stack of nothing but helpers that is whole all the same: its innermost
/// function that does not belong to the report.
fn last_resort(parts: &Parts) -> Vec<String> {
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

/// The outermost function that tells what was going on when a timer or an NMI
/// found the CPU stalled.
fn outermost(parts: &Parts) -> Vec<String> {
    let found = |name: fn(&[Frame]) -> Vec<String>| {
        stalled(parts)
            .map(|stack| name(&stack.frames))
            .find(|found| !found.is_empty())
    };
    found(outermost_of)
        .or_else(|| found(anything_of))
        .unwrap_or_default()
}

/// Whether the function is where a fault of user space enters.
fn is_fault(name: &str) -> bool {
    matches!(
        name,
        "page_fault" | "asm_exc_page_fault" | "do_page_fault" | "async_page_fault"
    )
}

/// Whether the stack of a stall goes all the way out.
fn reaches_the_entry(parts: &Parts) -> bool {
    stalled(parts)
        .find(|stack| {
            !outermost_of(&stack.frames).is_empty() || !anything_of(&stack.frames).is_empty()
        })
        .and_then(|stack| stack.frames.iter().rfind(|frame| frame.is_real()))
        .is_some_and(|last| {
            let name = plain(&last.function);
            !last.interrupt
                && (skip::OUTSIDE.contains(name) || system_call(name).is_some() || is_fault(name))
        })
}

/// Whether the stack of a stall is of a task that the scheduler took off its
/// processor.
fn is_preempted(parts: &Parts) -> bool {
    let Some(stack) = stalled(parts).next() else {
        return false;
    };
    let mut real = stack.frames.iter().filter(|frame| frame.is_real());
    !stack.trusted
        && real
            .next()
            .is_some_and(|frame| plain(&frame.function) == "__schedule")
}

/// The stacks that may show a stall.
fn stalled(parts: &Parts) -> impl Iterator<Item = &Stack> {
    parts
        .stacks
        .iter()
        .filter(|stack| matches!(stack.section, Section::Main | Section::OtherCpu) && stack.traced)
}

/// Who hands received packets on.
const RECEIVERS: &[&str] = &[
    "__netif_receive_skb_core",
    "__netif_receive_skb_one",
    "__netif_receive_skb_list_core",
];

/// Who calls timers, from the soft interrupt or also from the tick.
const TIMERS: &[&str] = &["call_timer_fn", "__hrtimer_run_queues", "__run_hrtimer"];

/// Waits for all other processors: whatever for, it is named alike.
const OTHER_CPUS: &str = "smp_call_function";
const GRACE_PERIOD: &str = "synchronize_rcu";

fn outermost_of(frames: &[Frame]) -> Vec<String> {
    let reliable: Vec<&Frame> = frames.iter().filter(|frame| frame.is_real()).collect();
    // The processor that waits for others is not the one that stalls.
    let waiting = reliable
        .iter()
        .find(|frame| !skip::DUMPERS.contains(&frame.function))
        .is_some_and(|frame| frame.function.starts_with(OTHER_CPUS));
    if waiting {
        return vec![OTHER_CPUS.to_owned()];
    }
    // What the timer or the NMI put on top.
    let below = &reliable[interrupted(&reliable)..];
    // A packet that is received is an operation of its own, whoever's back it
    // is carried on.
    let called_by = |callers: &[&str], frame: &&Frame| {
        let name = plain(&frame.function);
        callers.iter().any(|caller| name.starts_with(caller))
    };
    if let Some(at) = below.iter().position(|frame| called_by(RECEIVERS, frame))
        && at > 0
    {
        return spellings(plain(&below[at - 1].function));
    }
    // So is a timer that has run out when the tick finds it, or when the task
    // is in no system call.
    let called = |frame: &&Frame| system_call(plain(&frame.function)).is_some();
    let callers = if below.len() < reliable.len() {
        TIMERS
    } else {
        &TIMERS[..1]
    };
    if let Some(at) = below.iter().rposition(|frame| called_by(callers, frame))
        && at > 0
        && below[at].interrupt
        && (below.len() < reliable.len() || !below.iter().any(called))
    {
        return spellings(plain(&below[at - 1].function));
    }
    // The task's own work first: what a tick does on top of it is short.
    let (interrupt, task): (Vec<&Frame>, Vec<&Frame>) =
        below.iter().copied().partition(|frame| frame.interrupt);
    // A fault of user space is short as well: then it is the interrupt.
    let faulted = task.iter().any(|frame| is_fault(plain(&frame.function)))
        && !task
            .iter()
            .any(|frame| system_call(plain(&frame.function)).is_some());
    let order = if faulted {
        [&interrupt, &task]
    } else {
        [&task, &interrupt]
    };
    for part in order {
        let found = operation(part);
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// What a processor does that is in no operation: what is not idling, or takes
/// interrupts.
fn anything_of(frames: &[Frame]) -> Vec<String> {
    let reliable: Vec<&Frame> = frames.iter().filter(|frame| frame.is_real()).collect();
    let mut below = reliable[interrupted(&reliable)..].iter();
    below
        .find(|frame| !skip::IDLE.contains(&frame.function))
        .or_else(|| {
            let mut all = reliable.iter();
            all.find(|frame| !skip::DUMPERS.contains(&frame.function))
        })
        .map(|frame| spellings(plain(&frame.function)))
        .unwrap_or_default()
}

/// The outermost function that is neither dispatch nor a system call that says
/// nothing; failing that, such a call.
fn operation(frames: &[&Frame]) -> Vec<String> {
    let (mut call, mut compat) = (None, None);
    for frame in frames.iter().rev() {
        let name = plain(&frame.function);
        if let Some(bare) = system_call(name) {
            if !skip::is_multiplexed(bare) {
                return spellings(name);
            }
            call = call.or(Some(name));
        } else if name.contains("_compat_") {
            compat = compat.or(Some(name));
        } else if !skip::STALL.contains(name) {
            return spellings(name);
        }
    }
    compat.or(call).map(spellings).unwrap_or_default()
}

/// Index of the first frame below the interrupt that found the stall.
fn interrupted(frames: &[&Frame]) -> usize {
    let entry = |name: &str| {
        matches!(
            name,
            "apic_timer_interrupt"
                | "smp_apic_timer_interrupt"
                | "asm_sysvec_apic_timer_interrupt"
                | "asm_exc_nmi"
                | "asm_sysvec_irq_work"
                | "asm_sysvec_call_function"
                | "asm_sysvec_call_function_single"
                | "asm_sysvec_reschedule_ipi"
                | "asm_common_interrupt"
                | "ret_from_intr"
                | "common_interrupt"
                | "reschedule_interrupt"
                | "call_function_interrupt"
                | "call_function_single_interrupt"
                | "end_repeat_nmi"
                | "nmi"
                | "__irq_svc"
                | "el1_irq"
                | "el1h_64_irq"
                | "el1h_64_fiq"
                | "decrementer_common"
                | "decrementer_common_virt"
                | "ret_from_exception"
        ) || name.contains("apic_timer_interrupt")
    };
    // The entry nearest to the top whose frames above are all the timer's.
    let mut last = 0;
    for (index, frame) in frames.iter().enumerate() {
        let name = plain(&frame.function);
        if entry(name) {
            last = index + 1;
        } else if !skip::INTERRUPT.contains(name) && !skip::OUTSIDE.contains(name) {
            break;
        }
    }
    last
}

/// The bare name of a system call's entry function.
fn system_call(name: &str) -> Option<&str> {
    for start in [
        "__x64_sys_",
        "__ia32_sys_",
        "__arm64_sys_",
        "__se_sys_",
        "__do_sys_",
        "__ia32_compat_sys_",
        "__s390x_sys_",
        "__s390_sys_",
        "__riscv_sys_",
        "__x64_compat_sys_",
        "__do_compat_sys_",
        "__se_compat_sys_",
        "__arm64_compat_sys_",
        "compat_sys_",
        "compat_SyS_",
        "ksys_",
        "SyS_",
        "SYSC_",
        "sys_",
        "__sys_",
    ] {
        if let Some(bare) = name.strip_prefix(start) {
            return Some(bare);
        }
    }
    None
}

/// A function as titles spell it, then as the stack did: architectures put
/// prefixes of their own before system calls.
fn spellings(name: &str) -> Vec<String> {
    for start in [
        "__x64_sys_",
        "__ia32_sys_",
        "__arm64_sys_",
        "__s390x_sys_",
        "__s390_sys_",
        "__riscv_sys_",
        "__ia32_compat_sys_",
        "__x64_compat_sys_",
        "__arm64_compat_sys_",
        "__se_sys_",
        "__do_sys_",
    ] {
        if let Some(bare) = name.strip_prefix(start) {
            return vec![format!("sys_{bare}"), name.to_owned()];
        }
    }
    for start in ["SyS_", "SYSC_", "ksys_", "compat_SyS_"] {
        if let Some(bare) = name.strip_prefix(start)
            && !bare.is_empty()
        {
            return vec![bare.to_owned(), name.to_owned()];
        }
    }
    vec![name.to_owned()]
}
