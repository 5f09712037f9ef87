//! What every failure of kvet carries: what happened, what to do, and the exit
//! code it ends with.
//!
//! Modules define their own error enums (`thiserror` + `miette::Diagnostic`)
//! and implement [`Fault`] to choose the exit code; `?` turns them into
//! [`Error`] where stages meet.

use std::fmt;

use miette::Diagnostic;

/// The exit codes of every subcommand, fit for `git bisect run` as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: every arm behaved as expected.
    Good,
    /// 1: the kernel misbehaved.
    Bad,
    /// 125: nothing can be said: a control showed nothing, a harness failed, a
    /// kernel would not build.
    Undecided,
    /// 128: usage, job or host error.
    Usage,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number the process ends with. Never 2: git would read it as bad.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::Undecided => 125,
            Self::Usage => 128,
            Self::Interrupted => 130,
        }
    }
}

/// An error of one module that knows which exit code it deserves.
pub trait Fault: Diagnostic + Send + Sync + 'static {
    /// The exit code kvet ends with if this error ends it.
    fn exit(&self) -> Exit;
}

/// Any failure, on its way to the user.
pub struct Error {
    exit: Exit,
    report: Box<dyn Diagnostic + Send + Sync>,
}

impl Error {
    /// The exit code this failure asks for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The diagnostic behind it: message, causes, help and source spans.
    #[must_use]
    pub fn diagnostic(&self) -> &(dyn Diagnostic + Send + Sync) {
        &*self.report
    }

    /// The module's own error, if it is of this kind.
    #[must_use]
    pub fn downcast_ref<F: Fault>(&self) -> Option<&F> {
        let report: &(dyn std::error::Error + 'static) = &*self.report;
        report.downcast_ref()
    }

    /// What to do about it, where that is known; of its causes, too.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(self.report.help()?.to_string())
    }

    /// The message and its causes in one line, for records and events.
    #[must_use]
    pub fn one_line(&self) -> String {
        on_one_line(&with_causes(&*self.report))
    }
}

/// What the causes of an error say, the nearest first. Wrappers often repeat their
/// cause: what was said before is left out.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !said.contains(&text) {
            said.push('\n');
            said.push_str(&text);
            causes.push(text);
        }
        cause = next.source();
    }
    causes
}

/// An error's message, followed by what its causes say.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    parts.extend(causes(error));
    parts.join(": ")
}

/// Some messages are lists, with a line for each entry.
fn on_one_line(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if joined.ends_with(':') {
            joined.push(' ');
        } else if !joined.is_empty() {
            joined.push_str("; ");
        }
        joined.push_str(line);
    }
    joined
}

impl<F: Fault> From<F> for Error {
    fn from(fault: F) -> Self {
        Self {
            exit: fault.exit(),
            report: Box::new(fault),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("exit", &self.exit)
            .field("message", &self.one_line())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.one_line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Told {
        said: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn a_cause_that_was_said_before_is_not_said_again() {
        let told = |said, source: Option<Told>| Told {
            said,
            source: source.map(Box::new),
        };
        let last = told("refused", Some(told("no route", None)));
        let error = told("cannot read x: closed", Some(told("closed", Some(last))));
        assert_eq!(causes(&error), ["refused", "no route"]);
        assert_eq!(
            with_causes(&error),
            "cannot read x: closed: refused: no route"
        );
        assert_eq!(with_causes(&told("alone", None)), "alone");
    }

    #[test]
    fn a_list_becomes_one_line() {
        let text = "cannot be configured as asked:\n  A=y came out as n\n  B=y is unknown\n";
        assert_eq!(
            on_one_line(text),
            "cannot be configured as asked: A=y came out as n; B=y is unknown"
        );
        assert_eq!(on_one_line("one"), "one");
    }
}
