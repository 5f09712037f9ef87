//! Complete reports to findings.

use super::finding::{Finding, Frame};
use super::parts::{Parts, Section};
use super::report::Report;
use super::rules::Choice;
use super::target::ExtraRule;
use super::waiting::Dump;
use super::{Class, signature, title};
use crate::console::Line;

/// Makes findings of reports that belong together: the tasks that one check
/// found hung share the list of held locks at the end, and what a dump that
/// somebody asked for tells of them.
pub(super) fn findings(reports: &[Report], mut dump: Dump) -> Vec<Finding> {
    let parts: Vec<Parts> = reports.iter().map(Parts::of).collect();
    dump.add_holders(parts.iter().flat_map(|part| part.holders.iter().cloned()));
    let mut findings: Vec<Finding> = reports
        .iter()
        .zip(&parts)
        .map(|(report, parts)| finding(report, parts))
        .collect();
    dump.complete(&mut findings);
    findings
}

fn finding(report: &Report, parts: &Parts) -> Finding {
    let mut title = title::of(report, parts);
    if report.reset {
        title.class = Class::TripleFault;
    }
    let frames = frames(report, parts);
    let task = report.hit.task.clone().or_else(|| parts.task.clone());
    let pid = report.hit.pid.or(parts.pid);
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
        clock: report.clock.as_deref().map(str::to_owned),
        workqueue: parts.workqueue.clone(),
        tainted: parts.tainted.clone(),
        kernel: parts.kernel.clone(),
        instruction: parts.instruction.as_ref().map(spelled),
        locks: Vec::new(),
        waits_for: parts.owners.clone(),
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
        clock: line.clock.as_deref().map(str::to_owned),
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
