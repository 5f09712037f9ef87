//! The command line.

pub mod cluster;

use std::process::ExitCode;

pub mod scan;

/// Parses the arguments and runs the subcommand they name.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
