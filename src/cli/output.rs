//! Printing: data to standard output, complaints to standard error.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;
use thiserror::Error;

use super::scan::Remark;
use crate::error::{Error, Exit, Fault};
use crate::report::{Style, printable};

/// For people or for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
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
    print(&text)
}

/// Whether results may be coloured.
pub(super) fn style() -> Style {
    Style::detect(io::stdout().is_terminal())
}

/// Shows an error with its causes, its place and its help.
pub(super) fn complain(error: &Error) {
    let coloured = Style::detect(io::stderr().is_terminal()) == Style::Coloured;
    let theme = if coloured {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::none()
    };
    let mut text = String::new();
    // Terminals wrap lines themselves; a wrapped command could not be copied.
    let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
    if handler
        .render_report(&mut text, error.diagnostic())
        .is_err()
    {
        text = error.one_line();
    }
    // Nobody is left to complain to if this fails.
    drop(writeln!(io::stderr().lock(), "{}", text.trim_end()));
}

/// Says what a scan has to say besides its findings.
pub(super) fn remark(remark: Remark<'_>) {
    match remark {
        Remark::Failure(error) => complain(error),
        Remark::Note(text) => {
            drop(writeln!(
                io::stderr().lock(),
                "note     {}",
                printable(&text)
            ));
        }
    }
}
