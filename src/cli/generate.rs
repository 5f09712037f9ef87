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
    print(&script(arguments.shell))?;
    Ok(Exit::Good)
}

fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Whole::command(), "kvet", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes the manual pages.
pub(super) fn man(arguments: &ManArguments) -> Result<Exit, Error> {
    let directory = &arguments.directory;
    std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    clap_mangen::generate_to(Whole::command(), directory)
        .map_err(io_error("write the pages in", directory))?;
    Ok(Exit::Good)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// All files of the completions and the manual, by their place below `share`.
    fn made() -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for (shell, name) in [
            (Shell::Bash, "kvet.bash"),
            (Shell::Zsh, "_kvet"),
            (Shell::Fish, "kvet.fish"),
        ] {
            files.insert(format!("completions/{name}"), script(shell));
        }
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().to_owned();
        man(&ManArguments { directory }).unwrap();
        files.extend(read(home.path(), "man"));
        files
    }

    fn read(directory: &Path, name: &str) -> BTreeMap<String, String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                let file = entry.file_name().into_string().unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (format!("{name}/{file}"), text)
            })
            .collect()
    }

    /// With `KVET_SHARE=write` in the environment they are written anew.
    #[test]
    fn the_committed_completions_and_pages_are_those_of_this_program() {
        let share = Path::new(env!("CARGO_MANIFEST_DIR")).join("share");
        let made = made();
        if std::env::var_os("KVET_SHARE").is_some_and(|how| how == "write") {
            for name in ["completions", "man"] {
                drop(fs::remove_dir_all(share.join(name)));
                fs::create_dir(share.join(name)).unwrap();
            }
            for (name, text) in &made {
                fs::write(share.join(name), text).unwrap();
            }
        }
        let mut committed = read(&share.join("completions"), "completions");
        committed.extend(read(&share.join("man"), "man"));
        let how = "KVET_SHARE=write cargo test the_committed_completions makes them anew";
        assert!(committed.keys().eq(made.keys()), "{how}");
        for (name, text) in &made {
            assert!(
                committed[name] == *text,
                "share/{name} is another one: {how}"
            );
        }
    }
}
