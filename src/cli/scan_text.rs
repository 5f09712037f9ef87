//! Findings as a few lines of text for people: the first of a kind in full, the
//! others as a count.

use std::io::{self, Write};

use indexmap::IndexMap;

use crate::detect::{Class, Finding};
use crate::report::printable;
use crate::symbols::{Place, Symbols};

/// Frames of a stack that are shown.
const SHOWN_FRAMES: usize = 16;
/// Kinds of findings whose repetitions are counted; more only come from garbage.
const KINDS: usize = 4096;

/// The findings of one file, each kind printed once.
pub(super) struct Folded<'a> {
    file: &'a str,
    symbols: Option<&'a Symbols>,
    kinds: IndexMap<(Class, String), Repeated>,
}

/// How often a kind of finding came again, and where last.
#[derive(Debug, Default)]
struct Repeated {
    count: u64,
    line: u64,
    when: Option<String>,
}

impl<'a> Folded<'a> {
    /// Nothing found yet.
    pub(super) fn new(file: &'a str, symbols: Option<&'a Symbols>) -> Self {
        Self {
            file,
            symbols,
            kinds: IndexMap::new(),
        }
    }

    /// Prints a finding at once if it is the first of its kind.
    pub(super) fn add(&mut self, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let when = when(finding);
        let key = (finding.class, finding.title.clone());
        if let Some(repeated) = self.kinds.get_mut(&key) {
            repeated.count += 1;
            repeated.line = finding.first_line;
            repeated.when = when;
            return Ok(());
        }
        let mut text = Vec::new();
        write(self.file, finding, self.symbols, &mut text)?;
        if self.kinds.len() < KINDS {
            self.kinds.insert(key, Repeated::default());
        }
        print(&text, out)
    }

    /// Prints how often each kind came again.
    pub(super) fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        let mut text = Vec::new();
        for ((_, title), repeated) in &self.kinds {
            let times = match repeated.count {
                0 => continue,
                1 => "once more".to_owned(),
                count => format!("{count} times more"),
            };
            let last = repeated.when.as_deref().unwrap_or("");
            writeln!(
                text,
                "{}:{}: {title}: {times}, here last{last}",
                self.file, repeated.line
            )?;
        }
        print(&text, out)
    }
}

/// Whoever wrote the log gets no escapes to a terminal.
fn print(text: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    lines.try_for_each(|line| writeln!(out, "{}", printable(line)))?;
    out.flush()
}

/// ` at 12.345 s`, or by the clock of the log.
fn when(finding: &Finding) -> Option<String> {
    match (finding.time, &finding.clock) {
        (Some(time), _) => Some(format!(" at {time:.3} s")),
        (None, Some(clock)) => Some(format!(" at {clock}")),
        (None, None) => None,
    }
}

fn write(
    file: &str,
    finding: &Finding,
    symbols: Option<&Symbols>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let lines = if finding.first_line == finding.last_line {
        finding.first_line.to_string()
    } else {
        format!("{}-{}", finding.first_line, finding.last_line)
    };
    let damaged = if finding.damaged {
        " (damaged report)"
    } else {
        ""
    };
    writeln!(out, "{file}:{lines}: {}{damaged}", finding.headline())?;
    let mut facts = vec![finding.class.to_string()];
    if let Some(time) = finding.time {
        facts.push(format!("at {time:.3} s"));
    } else if let Some(clock) = &finding.clock {
        facts.push(format!("at {clock}"));
    }
    if let Some(task) = &finding.task {
        match finding.pid {
            Some(pid) => facts.push(format!("task {task}:{pid}")),
            None => facts.push(format!("task {task}")),
        }
    }
    if let Some(cpu) = finding.cpu {
        facts.push(format!("CPU {cpu}"));
    }
    if let Some(workqueue) = &finding.workqueue {
        facts.push(format!("workqueue {workqueue}"));
    }
    writeln!(out, "    {}", facts.join(", "))?;
    if let Some(symbols) = symbols {
        places(finding, symbols, out)?;
    } else {
        let frames: Vec<&str> = finding
            .frames
            .iter()
            .filter(|frame| frame.reliable)
            .take(SHOWN_FRAMES)
            .map(|frame| frame.function.as_str())
            .collect();
        if !frames.is_empty() {
            writeln!(out, "    {}", frames.join(" <- "))?;
        }
    }
    if finding.class == Class::HungTask && !finding.locks.is_empty() {
        let locks: Vec<String> = finding
            .locks
            .iter()
            .map(|lock| format!("{} at {}", lock.lock, lock.at))
            .collect();
        writeln!(out, "    holds or waits for {}", locks.join(", "))?;
    }
    if !finding.waits_for.is_empty() {
        writeln!(out, "    waits for {}", finding.waits_for.join(", "))?;
    }
    Ok(())
}

/// The stack, a line a function, those inlined in between and the source below
/// each where it is there.
fn places(finding: &Finding, symbols: &Symbols, out: &mut dyn Write) -> io::Result<()> {
    let shown = finding.frames.iter().enumerate();
    let shown = shown.filter(|(_, frame)| frame.reliable);
    for (index, frame) in shown.take(SHOWN_FRAMES) {
        let places = symbols.places(frame, index > 0);
        if places.is_empty() {
            writeln!(out, "    {}", frame.function)?;
        }
        let outermost = places.len().saturating_sub(1);
        for (depth, place) in places.iter().enumerate() {
            let Place {
                function,
                file,
                line,
                source,
            } = place;
            let inlined = if depth < outermost { " (inlined)" } else { "" };
            write!(out, "    {function}{inlined}")?;
            if let (Some(file), Some(line)) = (file, line) {
                write!(out, " at {file}:{line}")?;
            }
            writeln!(out)?;
            if let Some(source) = source {
                writeln!(out, "        {}", source.trim().replace('\t', " "))?;
            }
        }
    }
    Ok(())
}
