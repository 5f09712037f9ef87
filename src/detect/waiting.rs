//! Who waits for whom: from the locks that tasks hold, from what they are found
//! waiting in, and from the dump of tasks that somebody asked for (`SysRq` w, t
//! and d) after tasks were found hung. A dump's stacks are no findings.

use std::collections::HashMap;

use super::Class;
use super::finding::{Finding, HeldLock};
use super::frame::{self, StackLine};
use super::parts::{Holder, announces_dump, held_lock, holder, numbered};
use super::rules::skip;
use super::signature::canonical;
use crate::console;

/// Tasks of a dump that are kept, and frames of each.
const TASKS: usize = 4096;
const FRAMES: usize = 64;

/// Bytes of a line; what is longer is of no dump.
const LONGEST: usize = 512;

/// Lines that are of no dump before it is taken to be over.
const STRANGERS: u32 = 32;

/// What a task that waits in a function waits for: a task on whose stack one of
/// these is. Names are as signatures spell them.
const WAITS: &[(&str, &[&str])] = &[
    (
        "inode_wait_for_writeback",
        &["writeback_single_inode", "writeback_sb_inodes"],
    ),
    (
        "inode_sleep_on_writeback",
        &["writeback_single_inode", "writeback_sb_inodes"],
    ),
    ("wb_wait_for_completion", &["wb_workfn"]),
];

/// What is known of tasks besides the findings about them.
#[derive(Debug, Default)]
pub(super) struct Dump {
    tasks: Vec<Task>,
    holders: Vec<Holder>,
    strangers: u32,
}

/// A task and where it is.
#[derive(Debug)]
struct Task {
    name: String,
    pid: u32,
    /// Innermost first.
    functions: Vec<String>,
}

impl Dump {
    /// Reads a line; false once the dump is over.
    pub(super) fn line(&mut self, body: &str) -> bool {
        let text = body.trim_start();
        if text.len() > LONGEST {
            self.strangers += 1;
            return self.strangers <= STRANGERS;
        }
        if let Some((name, pid)) = task(text) {
            if self.tasks.len() < TASKS {
                self.tasks.push(Task {
                    name,
                    pid,
                    functions: Vec::new(),
                });
            }
        } else if let Some(holder) = holder(text) {
            self.add_holders([holder]);
        } else if let Some(rest) = numbered(text) {
            if let (Some(lock), Some(holder)) = (held_lock(rest), self.holders.last_mut())
                && holder.locks.len() < FRAMES
            {
                holder.locks.push(lock);
            }
        } else if let Some(StackLine::Frame { frame, caller, .. }) = frame::parse(body) {
            if let Some(task) = self.tasks.last_mut()
                && task.functions.len() < FRAMES
                && frame.reliable
            {
                task.functions.push(frame.function);
                task.functions.extend(caller.map(|caller| caller.function));
            }
        } else if text.starts_with("Call ") || text.starts_with('<') || announces_dump(text) {
            // Of the dump, and nothing to keep.
        } else {
            self.strangers += 1;
            return self.strangers <= STRANGERS;
        }
        self.strangers = 0;
        true
    }

    /// Adds what the reports themselves say of held locks.
    pub(super) fn add_holders(&mut self, holders: impl IntoIterator<Item = Holder>) {
        let room = TASKS.saturating_sub(self.holders.len());
        self.holders.extend(holders.into_iter().take(room));
    }

    /// Says of each task what it holds and whom it waits for.
    pub(super) fn complete(&self, findings: &mut [Finding]) {
        let reported: Vec<Task> = findings.iter().filter_map(Task::of).collect();
        let known: Vec<(&Task, Vec<bool>)> = reported
            .iter()
            .chain(&self.tasks)
            .map(|task| (task, task.ends()))
            .collect();
        let blocked: HashMap<u32, bool> = known
            .iter()
            .filter_map(|(task, _)| Some((task.pid, task.waits_for_a_lock()?)))
            .collect();
        for finding in findings {
            if finding.locks.is_empty()
                && let Some(held) = self.held_by(finding.pid)
            {
                finding.locks = held;
            }
            let mut waits = std::mem::take(&mut finding.waits_for);
            waits.extend(self.by_locks(finding.pid, &finding.locks, &blocked));
            if finding.class == Class::HungTask
                && let Some(task) = Task::of(finding)
            {
                waits.extend(task.waits_among(&known));
            }
            waits.sort();
            waits.dedup();
            finding.waits_for = waits;
        }
    }

    fn held_by(&self, pid: Option<u32>) -> Option<Vec<HeldLock>> {
        let held = |holder: &&Holder| Some(holder.pid) == pid && !holder.locks.is_empty();
        Some(self.holders.iter().find(held)?.locks.clone())
    }

    /// Tasks that hold the very lock which is last in this task's list: that is
    /// the one it waits for, if someone else has it too. `blocked` tells of
    /// tasks whose stacks are known whether they are waiting for a lock.
    fn by_locks(
        &self,
        pid: Option<u32>,
        locks: &[HeldLock],
        blocked: &HashMap<u32, bool>,
    ) -> Vec<String> {
        let own = pid.and_then(|pid| blocked.get(&pid));
        let Some(wanted) = locks.last().filter(|lock| lock.address.is_some()) else {
            return Vec::new();
        };
        if own == Some(&false) {
            // It waits for something else, and holds all that is in its list.
            return Vec::new();
        }
        let same = |lock: &HeldLock| lock.address == wanted.address;
        let holds = |holder: &&Holder| {
            let has = holder.locks.iter().any(same);
            // Waiting last in its own list as well, it may be a waiter too: its
            // stack tells, or failing that the place.
            let last = holder.locks.last().filter(|lock| same(lock));
            let waits = match blocked.get(&holder.pid) {
                Some(blocked) => last.is_some() && *blocked,
                None => last.is_some_and(|lock| lock.at == wanted.at),
            };
            has && !waits && Some(holder.pid) != pid
        };
        let holders = self.holders.iter().filter(holds);
        holders
            .map(|holder| format!("{}:{}", holder.task, holder.pid))
            .collect()
    }
}

impl Task {
    fn of(finding: &Finding) -> Option<Self> {
        let reliable = finding.frames.iter().filter(|frame| frame.reliable);
        Some(Self {
            name: finding.task.clone()?,
            pid: finding.pid?,
            functions: reliable.map(|frame| frame.function.clone()).collect(),
        })
    }

    /// Whether it is in a lock's own function; `None` without a stack.
    fn waits_for_a_lock(&self) -> Option<bool> {
        let mut functions = self.functions.iter();
        functions.clone().next()?;
        let waiting = functions
            .by_ref()
            .take_while(|function| skip::BLOCKING.contains(function));
        Some(
            waiting
                .into_iter()
                .any(|function| skip::TAKING.contains(function)),
        )
    }

    fn label(&self) -> String {
        format!("{}:{}", self.name, self.pid)
    }

    /// For each kind of wait whether this task is one that ends it.
    fn ends(&self) -> Vec<bool> {
        let is_in = |awaited: &[&str]| {
            let mut own = self.functions.iter().map(|function| canonical(function));
            own.any(|function| awaited.contains(&function))
        };
        WAITS.iter().map(|(_, awaited)| is_in(awaited)).collect()
    }

    /// The kind of its wait, if it is one that is known.
    fn waits_in(&self) -> Option<usize> {
        self.functions.iter().find_map(|function| {
            let function = canonical(function);
            WAITS.iter().position(|(name, _)| *name == function)
        })
    }

    /// The one task of these, or itself, that ends what this one waits in. With
    /// several to choose from the log does not tell.
    fn waits_among(&self, tasks: &[(&Self, Vec<bool>)]) -> Option<String> {
        let kind = self.waits_in()?;
        if self.ends()[kind] {
            return Some(self.label());
        }
        let mut found = tasks
            .iter()
            .filter(|(task, ends)| ends[kind] && task.pid != self.pid)
            .map(|(task, _)| task);
        let first = found.next()?;
        found
            .all(|other| other.pid == first.pid)
            .then(|| first.label())
    }
}

/// `task:worker state:D stack:0 pid:321 …`, or `worker D 0 321 300 0x0` before
/// 5.10.
fn task(text: &str) -> Option<(String, u32)> {
    if let Some(rest) = text.strip_prefix("task:") {
        let (name, rest) = rest.split_once(" state:")?;
        let (_, rest) = rest.split_once(" pid:")?;
        let pid = rest.trim_start().split(' ').next()?.parse().ok()?;
        return Some((name.trim_end().to_owned(), pid));
    }
    let words: Vec<&str> = text.split_whitespace().take(12).collect();
    let [name, state, .., pid, parent, flags] = words.as_slice() else {
        return None;
    };
    let is_state = state.starts_with(['R', 'S', 'D', 'T', 't', 'X', 'Z', 'I'])
        && state[1..].bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    if !is_state || !is_number(parent) || !flags.starts_with("0x") {
        return None;
    }
    Some(((*name).to_owned(), pid.parse().ok()?))
}

/// Completes findings by a dump that came after them: the locks of hung tasks
/// and whom they wait for.
pub fn complete(findings: &mut [Finding], said: &[u8]) {
    let mut dump = Dump::default();
    for raw in said.split(|byte| *byte == b'\n') {
        let raw = &raw[..raw.len().min(console::LONGEST_LINE)];
        // Whatever comes in between: all of it was asked for.
        dump.line(&console::parse(raw).body);
    }
    dump.complete(findings);
}

/// The blocked tasks of a dump that wait for each other in a circle, or the one
/// that waits for itself; none if the dump shows no such. It is beyond doubt only
/// if no other task could end what one of them waits in.
#[must_use]
pub fn circle(said: &[u8]) -> Vec<String> {
    let mut dump = Dump::default();
    for raw in said.split(|byte| *byte == b'\n') {
        let raw = &raw[..raw.len().min(console::LONGEST_LINE)];
        dump.line(&console::parse(raw).body);
    }
    let known: Vec<(&Task, Vec<bool>)> =
        dump.tasks.iter().map(|task| (task, task.ends())).collect();
    let alone = |kind: usize| known.iter().filter(|(_, ends)| ends[kind]).count() == 1;
    let waits: HashMap<String, String> = known
        .iter()
        .filter(|(task, _)| task.waits_in().is_some_and(alone))
        .filter_map(|(task, _)| Some((task.label(), task.waits_among(&known)?)))
        .collect();
    for first in waits.keys() {
        let mut path = vec![first];
        while let Some(next) = path.last().and_then(|last| waits.get(*last)) {
            if let Some(at) = path.iter().position(|label| *label == next) {
                let mut circle: Vec<String> = path[at..].iter().map(ToString::to_string).collect();
                circle.sort();
                return circle;
            }
            path.push(next);
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::scan;

    const HUNG: &str = "\
INFO: task sync:77 blocked for more than 20 seconds.
      Not tainted 7.3.4 #1
task:sync state:D stack:0 pid:77 tgid:77 ppid:1 flags:0x00004000
Call Trace:
 <TASK>
 __schedule+0x4d7/0x11a0
 schedule+0x27/0xf0
 wb_wait_for_completion+0x3c/0x120
 __writeback_inodes_sb_nr+0x3c/0x120
 sync_filesystem+0x3c/0x120
 do_syscall_64+0x84/0x2c0
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
 </TASK>
";

    const BLOCKED: &str = "\
sysrq: Show Blocked State
task:kworker/u9:2 state:D stack:0 pid:41 tgid:41 ppid:2 flags:0x00004000
Workqueue: writeback wb_workfn (flush-ceph-1)
Call Trace:
 <TASK>
 __schedule+0x4d7/0x11a0
 schedule+0x27/0xf0
 inode_wait_for_writeback+0x3c/0x120
 evict+0x3c/0x120
 __writeback_single_inode+0x3c/0x120
 writeback_sb_inodes+0x3c/0x120
 wb_workfn+0x3c/0x120
 process_one_work+0x21c/0x3f0
 </TASK>
";

    #[test]
    fn a_dump_tells_whom_a_hung_task_waits_for_and_is_no_finding() {
        let findings = scan(format!("{HUNG}{BLOCKED}").as_bytes());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].waits_for, ["kworker/u9:2:41"]);
        assert_eq!(
            findings[0].title,
            "INFO: task hung in __writeback_inodes_sb_nr"
        );
        assert!(!findings[0].frames.iter().any(|f| f.function == "evict"));
        // What comes later says the same.
        let mut findings = scan(HUNG.as_bytes());
        assert_eq!(findings[0].waits_for, [""; 0]);
        complete(&mut findings, BLOCKED.as_bytes());
        assert_eq!(findings[0].waits_for, ["kworker/u9:2:41"]);
        assert_eq!(scan(BLOCKED.as_bytes()), []);
    }

    #[test]
    fn a_task_can_wait_for_itself() {
        let hung = BLOCKED.replace(
            "sysrq: Show Blocked State",
            "INFO: task kworker/u9:2:41 blocked for more than 20 seconds.",
        );
        let findings = scan(format!("{hung}{HUNG}").as_bytes());
        assert_eq!(findings[0].waits_for, ["kworker/u9:2:41"]);
        assert_eq!(findings[1].waits_for, ["kworker/u9:2:41"]);
    }

    #[test]
    fn a_circle_is_one_only_if_nobody_else_could_end_the_wait() {
        let other = BLOCKED
            .replace("kworker/u9:2", "kworker/u9:3")
            .replace("41", "42");
        let sync = HUNG.split_once("Not tainted 7.3.4 #1\n").unwrap().1;
        // Whoever waits for it is none of the circle.
        let own = format!("{BLOCKED}{sync}");
        assert_eq!(circle(own.as_bytes()), ["kworker/u9:2:41"]);
        assert_eq!(circle(format!("{BLOCKED}{other}").as_bytes()), [""; 0]);
        assert_eq!(circle(sync.as_bytes()), [""; 0]);
        let slow = BLOCKED.replace("inode_wait_for_writeback", "folio_wait_bit");
        assert_eq!(circle(slow.as_bytes()), [""; 0]);
    }

    #[test]
    fn two_that_may_be_it_are_none() {
        let other = BLOCKED
            .replace("kworker/u9:2", "kworker/u9:3")
            .replace("41", "42");
        let findings = scan(format!("{HUNG}{BLOCKED}{other}").as_bytes());
        assert_eq!(findings[0].waits_for, [""; 0]);
    }

    #[test]
    fn locks_of_a_dump_count_as_a_report_s_own() {
        let locks = "sysrq: Show Locks Held\n\nShowing all locks held in the system:\n\
            1 lock held by holder/9:\n\
            \x20#0: ffff888012345678 (&frob->lock){+.+.}-{4:4}, at: frob_take+0x1/0x2\n\
            1 lock held by sync/77:\n\
            \x20#0: ffff888012345678 (&frob->lock){+.+.}-{4:4}, at: frob_sync+0x1/0x2\n";
        // As 7.3 says it.
        let newer = locks
            .replace(
                "1 lock held by holder/9:",
                "locks held by holder/9: 1, last CPU#1:",
            )
            .replace(
                "1 lock held by sync/77:",
                "locks held by sync/77: 1, on CPU#0:",
            );
        let hung = HUNG.replace("wb_wait_for_completion", "__mutex_lock");
        for locks in [locks, &newer] {
            let findings = scan(format!("{hung}{locks}").as_bytes());
            assert_eq!(findings[0].locks.len(), 1, "{locks}");
            assert_eq!(findings[0].waits_for, ["holder:9"], "{locks}");
        }
    }

    /// Both took it in the same place; one of them got it and waits for
    /// something else.
    #[test]
    fn who_waits_for_no_lock_holds_all_that_it_has() {
        let task = |name: &str, pid: u32, wait: &str| {
            format!(
                "INFO: task {name}:{pid} blocked for more than 122 seconds.\nCall Trace:\n \
                 __schedule+0x1/0x2\n {wait}+0x1/0x2\n frob_sync+0x1/0x2\n"
            )
        };
        let list = |name: &str| {
            format!(
                "1 lock held by {name}:\n #0: ffff888012345678 (&frob->lock){{+.+.}}-{{4:4}}, \
                 at: frob_sync+0x1/0x2\n"
            )
        };
        let log = [
            task("writer", 41, "io_schedule"),
            task("reader", 42, "__mutex_lock"),
            "Showing all locks held in the system:\n".to_owned(),
            list("writer/41"),
            list("reader/42"),
        ]
        .concat();
        let findings = scan(log.as_bytes());
        let waits: Vec<&[String]> = findings.iter().map(|f| &*f.waits_for).collect();
        assert_eq!(waits, [&[][..], &["writer:41".to_owned()]]);
    }

    #[test]
    fn tasks_are_told_in_the_old_way_as_well() {
        let known = Some(("worker".to_owned(), 321));
        assert_eq!(
            task("worker          D28816   321    300 0x00000004"),
            known
        );
        assert_eq!(
            task("worker          D    0   321    300 0x00000004"),
            known
        );
        assert_eq!(
            task("task:worker          state:D stack:    0 pid:  321 ppid:   300 flags:0x9"),
            known
        );
        assert_eq!(task("RAX: 0000000000000000 RBX: 0 RCX: 0x1"), None);
    }
}
