//! Printing: data to standard output, complaints to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, Severity, SourceCode,
};
use serde::Serialize;
use thiserror::Error;

use crate::error::{Error, Exit, Fault};
use crate::printable::{printable, printable_json, printable_lines};
use crate::report::{Style, WIDTH, tell_line};

/// For people or for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text.
    #[default]
    Human,
    /// JSON.
    Json,
}

/// The runtime could not be made.
#[derive(Debug, Error, Diagnostic)]
#[error("the host does not let kvet start")]
pub(super) struct RuntimeError {
    pub(super) source: io::Error,
}

impl Fault for RuntimeError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Standard output could not be written.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot write the result to standard output")]
pub(super) struct OutputError {
    source: io::Error,
}

impl Fault for OutputError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Prints text. A reader that went away has what it wanted.
pub(super) fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(OutputError { source }),
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| OutputError {
        source: error.into(),
    })?;
    text.push('\n');
    print(&printable_json(&text))
}

/// Whether results may be coloured.
pub(super) fn style() -> Style {
    Style::detect(io::stdout().is_terminal())
}

/// How many columns results may have: what COLUMNS says, or what the terminal
/// has. A file has no end, but its reader's window does.
pub(super) fn width() -> usize {
    let said = std::env::var("COLUMNS").ok();
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).ok();
    fit(said.as_deref(), terminal.map(|size| size.ws_col))
}

fn fit(said: Option<&str>, terminal: Option<u16>) -> usize {
    let said = said.and_then(|columns| columns.trim().parse::<usize>().ok());
    said.filter(|columns| *columns > 0)
        .or_else(|| terminal.map(usize::from).filter(|columns| *columns > 0))
        .map_or(WIDTH, |columns| columns.clamp(NARROWEST, WIDEST))
}

/// Columns below which no table can be told.
const NARROWEST: usize = 30;
/// Columns that no window has.
const WIDEST: usize = 10_000;

/// Shows an error with its causes, its place and its help.
pub(super) fn complain(error: &Error) {
    let coloured = Style::detect(io::stderr().is_terminal()) == Style::Coloured;
    let theme = if coloured {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::none()
    };
    let mut text = String::new();
    let shown = Shown::of(error.diagnostic());
    // Terminals wrap lines themselves; a wrapped command could not be copied.
    let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
    if handler.render_report(&mut text, &shown).is_err() {
        text = printable(&error.one_line());
    }
    tell_line(text.trim_end());
}

/// Shows what is wrong with the arguments, or the help that was asked for.
pub(super) fn usage(error: &clap::Error) {
    let plain = error.render().to_string();
    let safe = printable_lines(&plain);
    if safe == plain {
        drop(error.print());
    } else {
        // An argument that came from elsewhere; colours are not worth the risk.
        tell_line(safe.trim_end());
    }
}

/// A diagnostic with everything in it made safe to print: a message can name
/// what a guest, a log or a job said. Source text was made safe by whoever
/// keeps it, because its marks count bytes.
#[derive(Debug)]
struct Shown<'a> {
    shape: &'a dyn Diagnostic,
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    cause: Option<Box<Cause>>,
}

impl<'a> Shown<'a> {
    fn of(diagnostic: &'a (dyn Diagnostic + Send + Sync)) -> Self {
        let labels = diagnostic.labels().into_iter().flatten();
        Self {
            shape: diagnostic,
            message: printable_lines(&diagnostic.to_string()),
            help: diagnostic
                .help()
                .map(|help| printable_lines(&help.to_string())),
            labels: labels
                .map(|label| {
                    let text = label.label().map(printable);
                    LabeledSpan::new_with_span(text, *label.inner())
                })
                .collect(),
            cause: Cause::of(diagnostic.source()),
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<Severity> {
        self.shape.severity()
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.shape.source_code()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// A cause of an error, and its own.
#[derive(Debug)]
struct Cause {
    message: String,
    next: Option<Box<Self>>,
}

impl Cause {
    fn of(error: Option<&(dyn std::error::Error + 'static)>) -> Option<Box<Self>> {
        let error = error?;
        Some(Box::new(Self {
            message: printable_lines(&error.to_string()),
            next: Self::of(error.source()),
        }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let next = self.next.as_deref()?;
        Some(next)
    }
}

/// Says something that is no result, in a line.
pub(super) fn note(kind: &str, text: &str) {
    tell_line(&format!("{kind:8} {}", printable(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_one_that_tables_can_have() {
        assert_eq!(fit(None, None), WIDTH);
        assert_eq!(fit(Some("100"), Some(80)), 100);
        assert_eq!(fit(Some("0"), Some(80)), 80);
        assert_eq!(fit(Some("x"), Some(0)), WIDTH);
        assert_eq!(fit(Some("1"), None), NARROWEST);
        assert_eq!(fit(Some("18446744073709551615"), None), WIDEST);
    }
}
