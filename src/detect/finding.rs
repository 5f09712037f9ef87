//! What the detector hands on: a finding and its parts.

use serde::{Deserialize, Serialize};

use super::Class;

/// One function of a stack.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Frame {
    /// The function's name, with compiler suffixes as printed.
    pub function: String,
    /// Bytes into the function.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    /// Bytes the function is long.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// The module it is in, if it is not built in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub module: Option<String>,
    /// `file:line`, where the log or the symbols tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// False for what the unwinder marked with `?`, where it did not mark
    /// everything.
    pub reliable: bool,
    /// Whether a symbolizer added it: inlined into the next one, which is the
    /// function that the kernel itself printed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub inlined: bool,
    /// Whether it ran in interrupt context above the task.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub interrupt: bool,
}

impl Frame {
    /// Whether the kernel itself put the function on the stack: what titles
    /// and signatures are made of.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.reliable && !self.inlined
    }
}

/// A lock that a task holds or waits for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HeldLock {
    /// The lock's class: `&type->s_umount_key#30`.
    pub lock: String,
    /// The lock's address as printed, which tells instances apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<String>,
    /// Where it was taken, or is being taken.
    pub at: String,
}

/// Something the kernel or the harness said.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// What kind of trouble.
    pub class: Class,
    /// The name developers know it by.
    pub title: String,
    /// Other names it may go by.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alternatives: Vec<String>,
    /// The stack's shape: finer than the title, stable over kernel versions.
    pub signature: String,
    /// Whether the report is cut, interleaved or has no usable stack.
    pub damaged: bool,
    /// The report's first line in the log, from 1.
    pub first_line: u64,
    /// The report's last line.
    pub last_line: u64,
    /// The stack, innermost first.
    pub frames: Vec<Frame>,
    /// The task's name.
    #[serde(default)]
    pub task: Option<String>,
    /// The task's id.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The CPU.
    #[serde(default)]
    pub cpu: Option<u32>,
    /// Seconds since boot at the first line.
    #[serde(default)]
    pub time: Option<f64>,
    /// When it was logged by a capture's or a journal's own clock, as that spells
    /// it, where the kernel's time is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock: Option<String>,
    /// The work queue and work function of a kworker.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workqueue: Option<String>,
    /// The taint flags as the kernel words them, or `Not tainted`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tainted: Option<String>,
    /// The kernel's release.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kernel: Option<String>,
    /// Where the instruction pointer was, as `function+0x1/0x2`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instruction: Option<String>,
    /// The locks its task holds, as far as the log tells.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub locks: Vec<HeldLock>,
    /// The tasks it waits for, as far as the log tells: `name:pid`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waits_for: Vec<String>,
    /// The panic it ended in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub panic: Option<String>,
}

impl Finding {
    /// The title for people: where the log does not tell the function, in words.
    /// Records and patterns have `in corrupted`.
    #[must_use]
    pub fn headline(&self) -> String {
        match self.title.strip_suffix(" in corrupted") {
            Some(what) => format!("{what} (the log does not tell in which function)"),
            None => self.title.clone(),
        }
    }
}

/// What a stream yields while it is being read.
#[derive(Clone, Debug, PartialEq)]
pub enum Sighting {
    /// A report has begun.
    Begun {
        /// Its class.
        class: Class,
        /// Its title as far as it can be told from the first line.
        title: String,
        /// The line.
        line: u64,
    },
    /// A report is complete.
    Complete(Box<Finding>),
}
