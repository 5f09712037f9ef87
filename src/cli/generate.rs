//! `kvet completions SHELL` and `kvet man DIR`: made from the arguments' own
//! descriptions, so that they cannot say anything else.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments as Whole;
use super::output::print;
use crate::error::{Error, Exit};
use crate::store::io_error;

#[derive(Debug, Args)]
pub(super) struct CompletionArguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// Where the pages go, kvet.1 and one for each subcommand
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints what a shell reads to complete kvet's arguments.
pub(super) fn completions(arguments: &CompletionArguments) -> Result<Exit, Error> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Whole::command(), "kvet", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Good)
}

/// Writes the manual pages.
pub(super) fn man(arguments: &ManArguments) -> Result<Exit, Error> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    clap_mangen::generate_to(Whole::command(), directory)
        .map_err(io_error("write the pages in", directory))?;
    Ok(Exit::Good)
}
