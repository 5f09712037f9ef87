//! Complete reports to findings.

use super::finding::{Finding, Frame, HeldLock};
use super::parts::{Holder, Parts, Section};
use super::report::Report;
use super::rules::Choice;
use super::target::ExtraRule;
use super::{Class, signature, title};
use crate::console::Line;

/// Makes findings of reports that belong together: the tasks that one check
/// found hung share the list of held locks at the end.
pub(super) fn findings(reports: &[Report]) -> Vec<Finding> {
    let parts: Vec<Parts> = reports.iter().map(Parts::of).collect();
    let holders: Vec<&Holder> = parts.iter().flat_map(|part| &part.holders).collect();
    reports
        .iter()
        .zip(&parts)
        .map(|(report, parts)| finding(report, parts, &holders))
        .collect()
}

fn finding(report: &Report, parts: &Parts, holders: &[&Holder]) -> Finding {
    let mut title = title::of(report, parts);
    if report.reset {
        title.class = Class::TripleFault;
    }
    let frames = frames(report, parts);
    let task = report.hit.task.clone().or_else(|| parts.task.clone());
    let pid = report.hit.pid.or(parts.pid);
    let locks = held_by(holders, pid);
    let waits_for = waits_for(parts, holders, pid, &locks);
    Finding {
        class: title.class,
        signature: signature::of(title.class, &frames, &title.text),
        title: title.text,
        alternatives: title.alternatives,
        damaged: title.damaged,
        first_line: report.first_line,
        last_line: report.last_line,
        frames,
        task,
        pid,
        cpu: report.hit.cpu.or(parts.cpu),
        time: report.time,
        workqueue: parts.workqueue.clone(),
        tainted: parts.tainted.clone(),
        kernel: parts.kernel.clone(),
        instruction: parts.instruction.as_ref().map(spelled),
        locks,
        waits_for,
        panic: report.panic.clone(),
    }
}

/// The finding that one line is, by a job's own rule.
pub(super) fn single(rule: &ExtraRule, line: &Line<'_>, number: u64) -> Finding {
    let class = rule.class.unwrap_or(Class::Other);
    let title = rule
        .title
        .clone()
        .unwrap_or_else(|| title::scrub(&line.body));
    Finding {
        class,
        signature: signature::of(class, &[], &title),
        title,
        alternatives: Vec::new(),
        damaged: false,
        first_line: number,
        last_line: number,
        frames: Vec::new(),
        task: None,
        pid: None,
        cpu: None,
        time: line.time,
        workqueue: None,
        tainted: None,
        kernel: None,
        instruction: None,
        locks: Vec::new(),
        waits_for: Vec::new(),
        panic: None,
    }
}

fn spelled(frame: &Frame) -> String {
    match (frame.offset, frame.size) {
        (Some(offset), Some(size)) => format!("{}+{offset:#x}/{size:#x}", frame.function),
        (Some(offset), None) => format!("{}+{offset:#x}", frame.function),
        _ => frame.function.clone(),
    }
}

/// The stack of the finding itself; a stall's may be another CPU's.
fn frames(report: &Report, parts: &Parts) -> Vec<Frame> {
    if let Some(stack) = parts.main() {
        return stack.frames.clone();
    }
    if report.hit.rule().function == Choice::Outermost
        && let Some(stack) = parts
            .stacks
            .iter()
            .find(|stack| stack.section == Section::OtherCpu)
    {
        return stack.frames.clone();
    }
    Vec::new()
}

fn held_by(holders: &[&Holder], pid: Option<u32>) -> Vec<HeldLock> {
    holders
        .iter()
        .find(|holder| Some(holder.pid) == pid)
        .map(|holder| holder.locks.clone())
        .unwrap_or_default()
}

/// Who keeps a task waiting: owners that the kernel names, and tasks that hold
/// the very lock which is last in this task's list (that is the one it waits
/// for, if someone else has it too).
fn waits_for(
    parts: &Parts,
    holders: &[&Holder],
    pid: Option<u32>,
    locks: &[HeldLock],
) -> Vec<String> {
    let mut found = parts.owners.clone();
    if let Some(wanted) = locks.last().filter(|lock| lock.address.is_some()) {
        for holder in holders {
            let has = holder
                .locks
                .iter()
                .any(|lock| lock.address == wanted.address);
            // Waiting last in its own list as well, it may be a waiter too.
            let only_waits = holder
                .locks
                .last()
                .is_some_and(|lock| lock.address == wanted.address && lock.at == wanted.at);
            if has && !only_waits && Some(holder.pid) != pid {
                found.push(format!("{}:{}", holder.task, holder.pid));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}
