//! What a complete report's lines hold: stacks, registers, task, locks.

use super::Class;
use super::finding::{Frame, HeldLock};
use super::frame::{self, Instruction, Mark, StackLine};
use super::report::Report;
use super::rules::{Choice, Role, skip};

/// What a stack in a report is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// The report's own.
    Main,
    /// Another CPU's, by NMI.
    OtherCpu,
    /// Where memory was allocated, freed, stored; where a lock was taken.
    History,
    /// That of the thread that should have ended the grace period.
    Waker,
    /// All tasks', which somebody asked for while the report was printed.
    Asked,
    /// What the panic printed after the report.
    Panic,
    /// After the end of the report.
    After,
}

/// One stack, innermost frame first.
#[derive(Debug, Clone)]
pub(super) struct Stack {
    pub(super) section: Section,
    pub(super) frames: Vec<Frame>,
    /// Whether frames came from a trace, not only from registers.
    pub(super) traced: bool,
    /// Whether it is taken as it is, since the unwinder marked every frame.
    pub(super) trusted: bool,
}

impl Stack {
    /// The innermost function that is none of these.
    pub(super) fn innermost(&self, names: &skip::Names) -> Option<String> {
        let mut frames = self.frames.iter();
        let found = frames.find(|frame| frame.is_real() && !names.contains(&frame.function))?;
        Some(frame::plain(&found.function).to_owned())
    }

    /// Unwinders that cannot tell mark every frame with `?`: then the marks
    /// mean nothing.
    fn trust_unmarked(&mut self) {
        let known = |frame: &Frame| {
            frame.is_real()
                && !skip::DUMPERS.contains(&frame.function)
                && !skip::OUTSIDE.contains(&frame.function)
        };
        if self.traced && self.frames.len() >= UNMARKED && !self.frames.iter().any(known) {
            self.trusted = true;
            for frame in &mut self.frames {
                frame.reliable = true;
            }
        }
    }
}

/// A task and the locks it holds, from the list at the end of hang reports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holder {
    pub(super) task: String,
    pub(super) pid: u32,
    pub(super) locks: Vec<HeldLock>,
}

/// What a report's lines hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub(super) stacks: Vec<Stack>,
    pub(super) instruction: Option<Frame>,
    /// The instruction pointer was at no function.
    pub(super) nowhere: bool,
    pub(super) task: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) cpu: Option<u32>,
    pub(super) workqueue: Option<String>,
    pub(super) tainted: Option<String>,
    pub(super) kernel: Option<String>,
    /// `Read` or `Write`.
    pub(super) access: Option<&'static str>,
    /// Where locks were taken: first the one the validator complained of, then
    /// those that are held.
    pub(super) lock_places: Vec<String>,
    /// Where the locks were taken that its task holds, by the list of them.
    pub(super) held_places: Vec<String>,
    pub(super) last_function: Option<String>,
    pub(super) holders: Vec<Holder>,
    /// `name:pid` of tasks that the kernel itself names as owners.
    pub(super) owners: Vec<String>,
    /// Which of the stacks is of where the page was allocated.
    pub(super) page_owner: Option<usize>,
    /// Something else broke into the report.
    pub(super) interleaved: bool,
    /// A trace was announced.
    pub(super) announced: bool,
}

impl Parts {
    /// The first stack of the report itself.
    pub(super) fn main(&self) -> Option<&Stack> {
        self.stacks
            .iter()
            .find(|stack| stack.section == Section::Main && !stack.frames.is_empty())
    }

    /// Whether the report's own stack came, and not its registers alone.
    fn is_traced(&self) -> bool {
        self.main().is_some_and(|stack| stack.traced)
    }

    pub(super) fn of(report: &Report) -> Self {
        let mut reader = Reader {
            parts: Self::default(),
            section: Section::Main,
            fresh: true,
            interrupt: false,
            expect_lock: 0,
            arm_caller: None,
            headers: 0,
            early_frames: 0,
            report,
        };
        for (number, body) in report.messages() {
            reader.line(number, body);
        }
        reader.flush_caller();
        reader.finish()
    }
}

struct Reader<'a> {
    parts: Parts,
    section: Section,
    /// The next frame begins a new stack.
    fresh: bool,
    interrupt: bool,
    /// Lines in which the place of a lock may still come.
    expect_lock: u32,
    /// arm32: the caller named last, which the next line names again.
    arm_caller: Option<Frame>,
    /// `CPU: … PID: …` lines of the main section.
    headers: u32,
    /// Frames of a trace before the report's own header.
    early_frames: u32,
    report: &'a Report,
}

impl Reader<'_> {
    fn line(&mut self, number: u64, body: &str) {
        // It names itself in each line.
        let body = body.strip_prefix("kmemleak: ").unwrap_or(body);
        let text = body.trim_start();
        if number == self.report.trigger_line {
            return;
        }
        if self.expect_lock > 0 && self.lock_line(text) {
            return;
        }
        if let Some(instruction) = frame::instruction(text) {
            self.instruction(instruction);
            return;
        }
        if let Some(line) = frame::parse(body) {
            self.stack_line(line);
            return;
        }
        self.flush_caller();
        if self.section(text) {
            return;
        }
        self.facts(text);
    }

    fn instruction(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Kernel(mut frame) => {
                let first = self.section == Section::Main && self.parts.instruction.is_none();
                if first && !frame.inlined {
                    self.parts.instruction = Some(frame.clone());
                }
                frame.interrupt = self.interrupt;
                // A dump after the end repeats it.
                if self.section != Section::After {
                    self.push(frame, false);
                }
            }
            Instruction::Nowhere => {
                if self.section == Section::Main && self.parts.instruction.is_none() {
                    self.parts.nowhere = true;
                }
            }
            Instruction::User => {}
        }
    }

    fn stack_line(&mut self, line: StackLine) {
        match line {
            StackLine::Mark(mark) => self.mark(mark),
            StackLine::Frame {
                mut frame,
                mark,
                caller,
            } => {
                if let Some(mark) = mark {
                    self.mark(mark);
                }
                frame.interrupt = self.interrupt;
                if let Some(known) = self.arm_caller.take() {
                    // The caller of the last line is this line's function.
                    if frame::plain(&known.function) == frame::plain(&frame.function) {
                        frame.offset = known.offset;
                        frame.size = known.size;
                    } else {
                        self.push(known, true);
                    }
                }
                if let Some(mut caller) = caller {
                    caller.interrupt = self.interrupt;
                    self.arm_caller = Some(*caller);
                }
                if self.section == Section::Main && self.headers == 0 {
                    self.early_frames += 1;
                }
                self.push(frame, true);
            }
        }
    }

    fn flush_caller(&mut self) {
        if let Some(frame) = self.arm_caller.take() {
            self.push(frame, true);
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.interrupt = mark == Mark::Enter;
    }

    fn push(&mut self, frame: Frame, traced: bool) {
        if self.fresh || self.parts.stacks.is_empty() {
            self.parts.stacks.push(Stack {
                section: self.section,
                frames: Vec::new(),
                traced: false,
                trusted: false,
            });
            self.fresh = false;
        }
        if let Some(stack) = self.parts.stacks.last_mut() {
            // Some architectures trace from where the registers already are.
            let known = stack.frames.last().is_some_and(|last| {
                !stack.traced && last.function == frame.function && last.offset == frame.offset
            });
            stack.traced |= traced;
            if known {
                return;
            }
            stack.frames.push(frame);
        }
    }

    /// Lines that begin another stack or another part.
    fn section(&mut self, text: &str) -> bool {
        if ANNOUNCED.iter().any(|start| text.starts_with(start)) {
            self.parts.announced = true;
            // What was told of the past is over, if the report's own stack is
            // still to come.
            if self.section == Section::History && !self.parts.is_traced() {
                self.resume();
            }
            // A trace after registers alone is still the same stack.
            let traced = self.parts.stacks.last().is_some_and(|stack| stack.traced);
            if traced {
                self.fresh = true;
            }
            self.interrupt = false;
            return true;
        }
        if self.section == Section::Panic || self.section == Section::After {
            return false;
        }
        if text.starts_with("---[ end trace") {
            self.section = Section::After;
            self.fresh = true;
            return true;
        }
        if text.starts_with("Kernel panic - not syncing") {
            let own = self.report.hit.rule().role == Role::Panics;
            // Old kernels panic inside the warning: the trace after it is the
            // warning's own.
            if self.parts.is_traced() && !own {
                self.section = Section::Panic;
                self.fresh = true;
            }
            return true;
        }
        let hangs = self.report.hit.rule().class == Class::HungTask;
        if announces_dump(text) && !hangs && !self.parts.is_traced() {
            self.section = Section::Asked;
            self.fresh = true;
            self.interrupt = false;
            return true;
        }
        if self.section == Section::History && text.starts_with("Stack: (0x") {
            self.resume();
            return true;
        }
        if self.section == Section::Asked && KERNEL_STACK.iter().any(|is| text.starts_with(is)) {
            self.resume();
            return true;
        }
        if ["NMI backtrace for cpu", "Sending NMI", "Task dump for CPU"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            self.section = Section::OtherCpu;
            self.fresh = true;
            self.interrupt = false;
            return true;
        }
        if text.starts_with("rcu") && text.contains("kthread starved")
            || text.starts_with("RCU grace-period kthread")
            || text.starts_with("Stack dump where RCU GP")
        {
            self.section = Section::Waker;
            self.fresh = true;
            return true;
        }
        if text.starts_with("page last allocated") {
            self.parts.page_owner = Some(self.parts.stacks.len());
        }
        let history = HISTORY.iter().any(|start| text.starts_with(start))
            || text.contains("allocated by task")
            || text.contains("freed by task")
            || text.contains("irq-context at:");
        if history && !text.starts_with("which ") || text.ends_with("state was registered at:") {
            self.section = Section::History;
            self.fresh = true;
            return text.starts_with("-> #") || !text.contains("locks held");
        }
        false
    }

    /// Goes on with the report's own stack, of which the registers may be known.
    fn resume(&mut self) {
        self.section = Section::Main;
        let stacks = &mut self.parts.stacks;
        let own = stacks
            .iter()
            .position(|stack| stack.section == Section::Main);
        self.fresh = own.is_none();
        if let Some(own) = own {
            let own = stacks.remove(own);
            stacks.push(own);
        }
    }

    fn facts(&mut self, text: &str) {
        let main = matches!(self.section, Section::Main | Section::History);
        if let Some(rest) = text.strip_prefix("CPU: ") {
            self.header(rest, main);
        } else if let Some(rest) = text.strip_prefix("Workqueue: ") {
            if self.parts.workqueue.is_none() && main {
                self.parts.workqueue = Some(rest.trim().to_owned());
            }
        } else if let Some(rest) = text.strip_prefix("last function: ") {
            self.parts
                .last_function
                .get_or_insert_with(|| rest.trim().to_owned());
        } else if text.starts_with("Read of size") || text.starts_with("Read at addr") {
            self.access(text, "Read");
        } else if text.starts_with("Write of size") || text.starts_with("Write at addr") {
            self.access(text, "Write");
        } else if OTHER_DUMPS.iter().any(|other| text.contains(other)) {
            // Another CPU prints a stack of its own into this one.
            self.parts.interleaved |= self.section == Section::Main;
        } else if text.contains("likely owned by task ") || text.contains("last held by task ") {
            if let Some((_, owner)) = text.rsplit_once(" task ") {
                let owner = owner.trim_end_matches('.');
                let owner = owner.split(" <").next().unwrap_or(owner);
                self.parts.owners.push(owner.to_owned());
            }
        } else if text.contains("Not tainted ") || text.contains("Tainted: ") {
            self.taint(text);
        } else {
            self.locks(text);
        }
    }

    fn access(&mut self, text: &str, access: &'static str) {
        if self.parts.access.is_some() {
            return;
        }
        self.parts.access = Some(access);
        // `Write of size 88 at addr ffff8801cd04fe98 by task loop0/26991`
        if let Some((_, task)) = text.rsplit_once(" by task ")
            && let Some((name, pid)) = task.trim().rsplit_once('/')
        {
            self.parts.task.get_or_insert_with(|| name.to_owned());
            self.parts.pid = self.parts.pid.or_else(|| pid.parse().ok());
        }
    }

    /// `1 PID: 4588 Comm: a.out Not tainted 4.17.0-rc7+ #81`
    fn header(&mut self, rest: &str, main: bool) {
        let Some((cpu, rest)) = rest.split_once(' ') else {
            return;
        };
        let Ok(cpu) = cpu.parse::<u32>() else { return };
        if !main {
            // A processor that takes no interrupts is told of by another one,
            // and tells of itself only when it gets an NMI.
            if self.headers == 0 && self.report.hit.cpu == Some(cpu) {
                self.running(cpu, rest);
            }
            return;
        }
        self.headers += 1;
        if self.section == Section::History && self.parts.main().is_none() {
            self.section = Section::Main;
            self.fresh = true;
        }
        let pid = number_after(rest, "PID: ");
        if self.headers == 1 {
            self.parts.interleaved |=
                self.early_frames > 0 && matches!(self.report.hit.rule().function, Choice::Fault);
        }
        let known = self.parts.pid.or(self.report.hit.pid);
        // Two tasks in one report, and no caller ids to tell them apart.
        if self.report.caller.is_none()
            && self.parts.main().is_none_or(|stack| !stack.traced)
            && let (Some(known), Some(pid)) = (known, pid)
            && known != pid
        {
            self.parts.interleaved = true;
        }
        self.running(cpu, rest);
    }

    /// What runs on a processor: `… PID: 1 Comm: init Not tainted 6.1.0 #1`.
    fn running(&mut self, cpu: u32, rest: &str) {
        if self.parts.cpu.is_none() {
            self.parts.cpu = Some(cpu);
            self.parts.pid = self.parts.pid.or_else(|| number_after(rest, "PID: "));
            if let Some((_, comm)) = rest.split_once("Comm: ") {
                let end = comm
                    .find(" Not tainted")
                    .or_else(|| comm.find(" Tainted:"))
                    .or_else(|| comm.find(" Kdump:"));
                let comm = &comm[..end.unwrap_or(comm.len())];
                self.parts.task.get_or_insert_with(|| comm.to_owned());
            }
        }
        self.taint(rest);
    }

    fn taint(&mut self, text: &str) {
        if self.parts.kernel.is_some() {
            return;
        }
        let rest = if let Some(at) = text.find("Not tainted") {
            self.parts.tainted = Some("Not tainted".to_owned());
            let before = text[..at].trim();
            // The validator prints `4.9.0-rc4+ #47 Not tainted`.
            if before.contains('#') && !before.contains("PID:") {
                self.parts.kernel = before.split(' ').next().map(str::to_owned);
                return;
            }
            &text[at + "Not tainted".len()..]
        } else if let Some(at) = text.find("Tainted: ") {
            let rest = &text[at + "Tainted: ".len()..];
            let end = rest
                .char_indices()
                .find(|(_, c)| !(c.is_ascii_uppercase() || *c == ' '))
                .map_or(rest.len(), |(at, _)| at);
            self.parts.tainted = Some(format!(
                "Tainted: {}",
                rest[..end].split_whitespace().collect::<Vec<_>>().join(" ")
            ));
            &rest[end..]
        } else {
            return;
        };
        let release = rest
            .trim_start()
            .split(' ')
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        self.parts.kernel = release.map(str::to_owned);
    }

    /// A line that may tell where a lock was taken, after one that says so. A
    /// symbolizer writes it once for each inlined function; a wrapped one comes
    /// in two.
    fn lock_line(&mut self, text: &str) -> bool {
        self.expect_lock -= 1;
        let place = lock_place(text);
        let found = place.is_some();
        self.parts.lock_places.extend(place);
        if found {
            self.expect_lock = 0;
        }
        found || text.contains("[inline]")
    }

    fn locks(&mut self, text: &str) {
        if let Some(holder) = holder(text) {
            self.parts.holders.push(holder);
            return;
        }
        if let Some(rest) = numbered(text) {
            if let (Some(lock), Some(holder)) = (held_lock(rest), self.parts.holders.last_mut()) {
                self.parts.held_places.push(lock.at.clone());
                holder.locks.push(lock);
            }
            return;
        }
        if text.contains("is trying to acquire")
            || text.contains("just changed the state of lock")
            || text.contains("is trying to lock")
            || text.contains("already holding")
            || text.contains("is trying to release lock")
            || text.contains("is trying to contend lock")
            || text.contains("with a lock still held there")
            || text.contains("takes:")
        {
            self.expect_lock = LOCK_LINES;
            if let Some((task, rest)) = text
                .split_once(' ')
                .map_or((text, ""), |s| s)
                .0
                .rsplit_once('/')
            {
                self.parts.task.get_or_insert_with(|| task.to_owned());
                self.parts.pid = self.parts.pid.or_else(|| rest.parse().ok());
            }
            // The lock may stand on the same line: `… release lock (L) at:`.
        }
    }

    fn finish(mut self) -> Parts {
        for stack in &mut self.parts.stacks {
            stack.trust_unmarked();
        }
        self.parts.interleaved |= self.report.broken;
        self.parts
    }
}

/// A fault's registers, of a kernel on its own stack: tasks' are of user space.
const KERNEL_STACK: &[&str] = &["RSP: 0018:", "RSP: 0010:"];

/// Frames of a stack without any mark that make it one.
const UNMARKED: usize = 6;

/// Lines after the mention of a lock that may hold its place.
const LOCK_LINES: u32 = 6;

/// How what is told of the past begins.
const HISTORY: &[&str] = &[
    "Allocated by",
    "Freed by",
    "Last potentially related",
    "Last call_rcu",
    "Second to last",
    "Uninit was",
    "Local variable",
    "the existing dependency",
    "-> #",
    "allocated by task",
    "freed by task",
    "which ",
    "the dependencies between ",
    "the shortest dependencies between ",
    "{",
    "... which became",
    "... acquired at",
    "last enabled",
    "Memory state",
    "page last",
    "page_owner",
    "value changed",
    "Reported by",
    "read to ",
    "write to ",
    "Previous ",
    "Showing all locks",
    "Bytes ",
    "Preemption disabled at",
    // Of what an object in a register was allocated for.
    "Register ",
];

/// How a trace is announced.
const ANNOUNCED: &[&str] = &[
    "Call Trace",
    "Call trace",
    "call trace",
    "Backtrace:",
    "stack backtrace",
    "backtrace:",
    "backtrace (crc",
];

/// Messages that come with a stack and are no findings.
const OTHER_DUMPS: &[&str] = &[
    "FAULT_INJECTION: forcing a failure",
    "allocation failure: ",
    "allocation failure, ",
    "page allocation stalls",
];

fn number_after(text: &str, word: &str) -> Option<u32> {
    let rest = &text[text.find(word)? + word.len()..];
    let end = rest
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// `2 locks held by worker/321:`, and from 7.3 on
/// `locks held by worker/321: 2, last CPU#1:`.
pub(super) fn holder(text: &str) -> Option<Holder> {
    let (_, rest) = text
        .split_once("locks held by ")
        .or_else(|| text.split_once(" lock held by "))?;
    let (task, rest) = rest.trim_end_matches(':').rsplit_once('/')?;
    let pid = rest.split(|c: char| !c.is_ascii_digit()).next();
    Some(Holder {
        task: task.to_owned(),
        pid: pid.and_then(|pid| pid.parse().ok()).unwrap_or(0),
        locks: Vec::new(),
    })
}

/// What comes after ` #0:` in such a list.
pub(super) fn numbered(text: &str) -> Option<&str> {
    let (index, rest) = text.strip_prefix('#')?.split_once(':')?;
    index.bytes().all(|b| b.is_ascii_digit()).then_some(rest)
}

/// ` ffff8880 (&mm->mmap_lock){++++}-{3:3}, at: do_exit+0x1/0x2`
pub(super) fn held_lock(text: &str) -> Option<HeldLock> {
    let text = text.trim();
    let open = text.find('(')?;
    let address = text[..open].trim();
    let close = text.find("){").or_else(|| text.rfind(')'))?;
    if close <= open {
        return None;
    }
    Some(HeldLock {
        lock: text[open + 1..close].to_owned(),
        address: (!address.is_empty()).then(|| address.to_owned()),
        at: lock_place(text).unwrap_or_default(),
    })
}

/// The function after `at: `, with or without an address.
fn lock_place(text: &str) -> Option<String> {
    let place = match text.split_once("at: ") {
        Some((_, place)) => place,
        None => text,
    };
    let plus = place.find("+0x")?;
    let start = place[..plus].rfind([' ', ']', '(']).map_or(0, |at| at + 1);
    Some(place[start..plus].to_owned())
}

/// Whether the message announces a dump of blocked tasks.
pub(super) fn announces_dump(body: &str) -> bool {
    let body = body.trim_start();
    let rest = body
        .strip_prefix("sysrq: ")
        .or_else(|| body.strip_prefix("SysRq : "));
    rest.is_some_and(|rest| rest.starts_with("Show "))
}
