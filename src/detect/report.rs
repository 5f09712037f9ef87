//! The lines of one report, kept while it is open. What they hold, `parts`
//! reads out of them once it is complete.

use std::sync::LazyLock;

use super::Class;
use super::frame::{self, StackLine};
use super::rules::{Hit, Role};
use crate::console::{Caller, Line};

/// Bytes of text kept of one report; a longer one loses its end.
const LARGEST_REPORT: usize = 1 << 20;

/// Lines kept of one report, for those that hold nothing.
const MOST_LINES: usize = 1 << 16;

/// How symbolizers mark a function that was inlined.
const INLINED: &str = "[inline]";

/// One line of a report.
#[derive(Debug, Clone, Copy)]
struct Kept {
    start: usize,
    end: usize,
    number: u64,
}

/// A report whose lines are being gathered.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the report"
)]
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// What its first line matched.
    pub(super) hit: Hit,
    /// The context that prints it.
    pub(super) caller: Option<Caller>,
    /// Its first line in the log.
    pub(super) first_line: u64,
    /// The line that its rule matched.
    pub(super) trigger_line: u64,
    /// Its last line so far.
    pub(super) last_line: u64,
    /// The last line that keeps it open.
    pub(super) last_heard: u64,
    /// The time of its first line that has one.
    pub(super) time: Option<f64>,
    /// The same by the capture's clock.
    pub(super) clock: Option<Box<str>>,
    /// The time of its last line.
    pub(super) last_time: Option<f64>,
    /// Whether the kernel said that the report is over.
    pub(super) ended: bool,
    /// Whether another report broke in before this one's stack was complete.
    pub(super) broken: bool,
    /// Whether a tentative report was confirmed.
    pub(super) confirmed: bool,
    /// The message of the panic it ended in.
    pub(super) panic: Option<String>,
    /// For a banner: whether the boot before it was seen as well.
    pub(super) reset: bool,
    /// Lines since the last one that belongs to a report.
    pub(super) strangers: u32,
    /// Whether the line that its rule matched names an inlined function.
    inlined: bool,
    /// Whether all its lines are the same one.
    uniform: bool,
    /// Whether the last line was a stack's.
    in_stack: bool,
    /// The last line of a stack.
    last_stack_line: String,
    /// Stack lines so far.
    pub(super) stack_lines: u32,
    text: String,
    lines: Vec<Kept>,
}

impl Report {
    pub(super) fn new(hit: Hit, line: &Line<'_>, number: u64) -> Self {
        Self {
            hit,
            caller: line.caller,
            first_line: number,
            trigger_line: number,
            last_line: number,
            last_heard: number,
            time: line.time,
            clock: line.clock.clone(),
            last_time: line.time,
            ended: false,
            broken: false,
            confirmed: false,
            panic: None,
            reset: false,
            strangers: 0,
            inlined: line.body.contains(INLINED),
            uniform: true,
            in_stack: false,
            last_stack_line: String::new(),
            stack_lines: 0,
            text: String::new(),
            lines: Vec::new(),
        }
    }

    /// Whether it is a report by what is known of it so far.
    pub(super) fn is_certain(&self) -> bool {
        let tentative = matches!(self.hit.rule().role, Role::Tentative(_));
        !(tentative || self.hit.doubtful)
    }

    /// Whether such a line is this report's first line again: a symbolizer
    /// writes it once for each function that was inlined, the kernel's own last, and
    /// what gathers logs from several places has each line twice.
    pub(super) fn is_repeated(&self, hit: &Hit, line: &Line<'_>, number: u64) -> bool {
        let is_next = self.hit.index == hit.index && self.last_line + 1 == number;
        let same = || self.uniform && self.is_first(&line.body);
        is_next && (self.inlined || same())
    }

    /// Whether the text is that of its first line, if that was kept.
    fn is_first(&self, body: &str) -> bool {
        self.messages()
            .next()
            .is_none_or(|(_, first)| first == body)
    }

    /// Takes its first line once more.
    pub(super) fn repeat(&mut self, hit: Hit, line: &Line<'_>, number: u64) {
        self.hit = hit;
        self.trigger_line = number;
        self.last_line = number;
        self.inlined = line.body.contains(INLINED);
        self.add(line, number);
    }

    /// Adds a line; whether it looks like a part of a report.
    pub(super) fn add(&mut self, line: &Line<'_>, number: u64) -> bool {
        let body = &*line.body;
        let kind = match belongs(body) {
            // The message itself may name a function with its offset.
            Belongs::Stack if number == self.trigger_line => Belongs::Yes,
            kind => kind,
        };
        if self.text.len() + body.len() <= LARGEST_REPORT && self.lines.len() < MOST_LINES {
            self.uniform = self.uniform && self.is_first(body);
            let start = self.text.len();
            self.text.push_str(body);
            self.lines.push(Kept {
                start,
                end: self.text.len(),
                number,
            });
        }
        match kind {
            Belongs::Stack => {
                self.stack_lines += 1;
                self.strangers = 0;
                self.last_line = number;
                self.last_heard = number;
            }
            Belongs::Yes => {
                self.strangers = 0;
                self.last_line = number;
                self.last_heard = number;
            }
            Belongs::No => self.strangers += 1,
        }
        if line.time.is_some() {
            self.last_time = line.time;
            self.time = self.time.or(line.time);
        }
        if self.clock.is_none() {
            self.clock.clone_from(&line.clock);
        }
        if body.starts_with("---[ end trace") {
            self.ended = true;
        }
        // The sanitizers frame their reports.
        if is_sanitizer(self.hit.rule().class)
            && body.len() > 40
            && body.bytes().all(|byte| byte == b'=')
        {
            self.ended = true;
        }
        if kind == Belongs::Stack {
            self.last_stack_line.clear();
            self.last_stack_line.push_str(body);
        }
        self.in_stack = kind == Belongs::Stack;
        kind != Belongs::No
    }

    /// Something that belongs to it goes on without being a part of it.
    pub(super) fn stays(&mut self, line: &Line<'_>, number: u64) {
        self.last_heard = number;
        if line.time.is_some() {
            self.last_time = line.time;
        }
    }

    /// Moves the beginning up to a line that announced the report.
    pub(super) fn start_at(&mut self, line: u64) {
        self.first_line = line;
    }

    /// Whether the report waits for the part that a following message may be.
    pub(super) fn is_waiting(&self) -> bool {
        !self.ended && self.stack_lines == 0
    }

    /// Whether a report that begins now breaks into this one: before its
    /// stack, or in the middle of it.
    pub(super) fn is_cut(&self) -> bool {
        if self.ended || !self.hit.rule().stack {
            return false;
        }
        if self.stack_lines == 0 || is_framed(self.hit.rule().class) {
            return true;
        }
        let outside = match frame::parse(&self.last_stack_line) {
            Some(StackLine::Frame { frame, caller, .. }) => {
                let outer = caller.map_or(frame, |caller| *caller);
                super::rules::skip::OUTSIDE.contains(&outer.function)
            }
            // Registers and the like come after the stack.
            _ => true,
        };
        self.in_stack && !outside
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = (u64, &str)> {
        self.lines
            .iter()
            .map(|line| (line.number, &self.text[line.start..line.end]))
    }
}

/// Whether a sanitizer makes reports of the class, between two lines of `=`.
fn is_sanitizer(class: Class) -> bool {
    matches!(
        class,
        Class::Kasan | Class::Kcsan | Class::Kfence | Class::Kmsan
    )
}

/// Whether reports of the class end with a line of their own.
fn is_framed(class: Class) -> bool {
    matches!(class, Class::Kasan | Class::Kmsan)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belongs {
    Stack,
    Yes,
    No,
}

/// How lines begin that name functions and are no stack lines.
const REGISTERS: &[&str] = &[
    "RIP",
    "IP:",
    "EIP",
    "PC",
    "LR",
    "pc ",
    "lr ",
    "NIP",
    "epc",
    "ra ",
    "Krnl",
    "last function",
];

/// How other lines of reports begin.
const STARTS: &str = "Call |call |CPU: |CPU |PID: |Comm: |Hardware name|Workqueue: |\
    Modules linked|Code: |RIP|RSP|RAX|RBX|RDX|RBP|RDI|RSI|R08|R09|R10|R11|\
    R12|R13|R14|R15|ORIG_RAX|FS:|GS:|CS:|CR2|CR0|CR3|DR0|DR3|DR6|PKRU|\
    EAX|ESI|EDI|ESP|EIP|<|pc :|lr :|sp :|x0|x1|x2|x3|x5|x6|x8|x9|x4|\
    x7|pstate|Internal error|Oops|Dumping ftrace|(ftrace|---[|=====|-----|#|\
    stack backtrace|backtrace:|Backtrace:|Stack:|The buggy|Allocated by|Freed by|\
    Memory state|page:|flags:|raw:|page dumped|Write of|Read of|Write at|\
    Read at|which |other info|Possible unsafe|Showing all locks|INFO: lockdep|\
    irq event|hardirqs last|softirqs last|task:|Not tainted|Tainted:|\"echo 0 >|\
    Exception stack|->|the existing|Sending NMI|NMI backtrace|Tasks blocked|\
    All QSes|(detected by|(t=|rcu|Kernel panic|Kernel Offset|Rebooting|PGD|IP:|\
    Mem abort|ESR =|EC =|FnV|SET =|user pgtable|swapper pgtable|[0|Uninit was|\
    *** DEADLOCK|lock(|Chain exists|May be due|1 lock|no locks|and this task|\
    but task is|but new lock|but there are|is trying|stack dump|comm \"|\
    unreferenced|hex dump|KASAN:|general protection|invalid opcode|SMP|PREEMPT|\
    INFO: task|Register|kworker|last function|status:|gp :|ra :|t0 :|a0 :|epc|\
    s1 :|>|Mem-Info|Node |DMA|Normal|Tasks state|oom-kill|Out of memory|Swap |\
    Total swap|Free swap|Bytes |object |Object |RSVD";

/// The same by their first byte.
static BEGINNINGS: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
    let mut all = vec![Vec::new(); 256];
    for start in STARTS.split('|') {
        all[usize::from(start.as_bytes()[0])].push(start);
    }
    all
});

/// Whether a message looks like a part of a report. Cheap: it decides only how
/// long a report stays open.
fn belongs(body: &str) -> Belongs {
    let text = body.trim_start();
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else {
        return Belongs::No;
    };
    if REGISTERS.iter().any(|start| text.starts_with(start)) {
        return Belongs::Yes;
    }
    if let Some(plus) = memchr::memmem::find(bytes, b"+0x") {
        // Where a lock was taken.
        let lock = memchr::memmem::find(&bytes[..plus], b", at: ").is_some();
        return if lock { Belongs::Yes } else { Belongs::Stack };
    }
    if *first == b'[' && text.contains("] (") {
        return Belongs::Stack;
    }
    let known = BEGINNINGS[usize::from(*first)]
        .iter()
        .any(|start| text.starts_with(start))
        || text.contains(" held by ")
        || text.contains(" is trying to ")
        || text.contains("depends on");
    if known { Belongs::Yes } else { Belongs::No }
}
