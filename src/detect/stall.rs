//! What went on on a CPU that stalls: the timer or an NMI found it somewhere, and
//! the outer end of the stack tells in what operation.

use super::finding::Frame;
use super::frame::{plain, spellings};
use super::parts::{Parts, Section, Stack};
use super::rules::skip;

/// The outermost function that tells what was going on when a timer or an NMI
/// found the CPU stalled.
pub(super) fn outermost(parts: &Parts) -> Vec<String> {
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
pub(super) fn reaches_the_entry(parts: &Parts) -> bool {
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
pub(super) fn is_preempted(parts: &Parts) -> bool {
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
