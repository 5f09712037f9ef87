//! Candidates from two configurations: the options in which they differ.
//!
//! A candidate is the old configuration with all differences up to and including
//! its own taken over. The differences come in the order of the new file, which
//! is Kconfig's: an option mostly comes after what it depends on, so few
//! candidates ask for an option before it can be had. Of a whole .config `make
//! olddefconfig` drops what still cannot be, and such a candidate makes the same
//! image as the one before; of a fragment it is refused, and the candidate skipped.

use std::collections::{HashMap, HashSet};

use miette::Diagnostic;
use thiserror::Error;

use super::{Candidates, Kind};
use crate::error::{Exit, Fault};

/// An option and its value, as a `.config` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The symbol, with `CONFIG_`.
    pub symbol: String,
    /// Its value; `None` if it is not set.
    pub value: Option<String>,
}

impl Setting {
    /// Its line in a `.config`.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.value {
            Some(value) => format!("{}={value}", self.symbol),
            None => format!("# {} is not set", self.symbol),
        }
    }
}

/// Two configurations cannot be compared.
#[derive(Debug, Error, Diagnostic)]
pub enum ConfigError {
    /// No option differs.
    #[error("{old} and {new} set the same options to the same values")]
    #[diagnostic(help("name two configurations that behave differently"))]
    Same {
        /// The old file.
        old: String,
        /// The new file.
        new: String,
    },
    /// A file that is not a configuration.
    #[error("{file} sets no option: it is not a kernel configuration")]
    #[diagnostic(help("name a complete `.config`, such as /boot/config-…"))]
    Empty {
        /// The file.
        file: String,
    },
}

impl Fault for ConfigError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The options in which two configurations differ, in order, with their new
/// values. The texts are given with their names for messages.
pub fn differences(
    (old_name, old_text): (&str, &str),
    (new_name, new_text): (&str, &str),
) -> Result<Vec<Setting>, ConfigError> {
    let (old, new) = (parse(old_text), parse(new_text));
    for (file, settings) in [(old_name, &old), (new_name, &new)] {
        if settings.is_empty() {
            return Err(ConfigError::Empty {
                file: file.to_owned(),
            });
        }
    }
    let changes = changes(&old, &new);
    if changes.is_empty() {
        return Err(ConfigError::Same {
            old: old_name.to_owned(),
            new: new_name.to_owned(),
        });
    }
    Ok(changes)
}

/// The candidates, named after their options.
#[must_use]
pub fn candidates(base: String, changes: &[Setting]) -> Candidates {
    let names = changes.iter().map(Setting::line);
    Candidates::linear(Kind::Config, base, names)
}

/// A whole configuration with these lines of another one taken over.
#[must_use]
pub fn taken_over(old: &str, lines: &[String]) -> String {
    let changed: Vec<Setting> = lines.iter().flat_map(|line| parse(line)).collect();
    let is_kept = |setting: &&Setting| changed.iter().all(|one| one.symbol != setting.symbol);
    let old = parse(old);
    let settings = old.iter().filter(is_kept).chain(&changed);
    settings
        .flat_map(|setting| [setting.line(), "\n".to_owned()])
        .collect()
}

/// Whether a symbol states what the compiler and the architecture are: it follows
/// from them, whatever a .config says.
fn is_stated(symbol: &str) -> bool {
    let starts = [
        "CC_HAS_",
        "CC_CAN_",
        "CC_IS_",
        "AS_HAS_",
        "AS_IS_",
        "LD_CAN_",
        "LD_IS_",
        "RUSTC_HAS_",
        "TOOLS_SUPPORT_",
        "HAVE_",
    ];
    let whole = [
        "CC_VERSION_TEXT",
        "GCC_VERSION",
        "CLANG_VERSION",
        "AS_VERSION",
        "LD_VERSION",
        "LLD_VERSION",
        "RUSTC_VERSION",
        "RUSTC_LLVM_VERSION",
        "PAHOLE_VERSION",
    ];
    whole.contains(&symbol) || starts.iter().any(|start| symbol.starts_with(start))
}

/// What a configuration sets, in order. Of an option that stands there more than
/// once, Kconfig takes the last.
fn parse(text: &str) -> Vec<Setting> {
    let mut symbols = HashSet::new();
    let mut settings: Vec<Setting> = text
        .lines()
        .rev()
        .filter_map(|line| {
            let line = line.trim();
            let unset = line
                .strip_prefix("# ")
                .and_then(|rest| rest.strip_suffix(" is not set"));
            let (symbol, value) = if let Some(symbol) = unset {
                (symbol, None)
            } else {
                let (symbol, value) = line.split_once('=')?;
                // An option that is off is written as a comment or as `=n`.
                (symbol, (value != "n").then(|| value.to_owned()))
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (symbol.starts_with("CONFIG_") && symbol.chars().all(plain)).then(|| Setting {
                symbol: symbol.to_owned(),
                value,
            })
        })
        .filter(|setting| symbols.insert(setting.symbol.clone()))
        .collect();
    settings.reverse();
    settings
}

/// What the new configuration sets otherwise. What it does not mention is off
/// there; those come first, as nothing that is new can depend on them.
fn changes(old: &[Setting], new: &[Setting]) -> Vec<Setting> {
    let values = |settings: &[Setting]| -> HashMap<String, Option<String>> {
        settings
            .iter()
            .map(|setting| (setting.symbol.clone(), setting.value.clone()))
            .collect()
    };
    let (before, after) = (values(old), values(new));
    // What follows from the compiler and the architecture is nobody's choice.
    let is_chosen = |setting: &&Setting| {
        let symbol = setting.symbol.strip_prefix("CONFIG_");
        !symbol.is_some_and(is_stated)
    };
    let gone = old
        .iter()
        .filter(is_chosen)
        .filter(|setting| setting.value.is_some() && !after.contains_key(&setting.symbol))
        // Kconfig's order has dependents after what they need: take away the
        // dependents first.
        .rev()
        .map(|setting| Setting {
            symbol: setting.symbol.clone(),
            value: None,
        });
    let changed = new
        .iter()
        .filter(is_chosen)
        .filter(|setting| before.get(&setting.symbol).cloned().flatten() != setting.value)
        .cloned();
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# Automatically generated\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_GONE=y\nCONFIG_NAME=\"a=b\"\n";
    const NEW: &str =
        "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n# CONFIG_NEVER is not set\nCONFIG_NAME=\"c\"\n";

    fn lines() -> Vec<String> {
        let changes = differences(("old", OLD), ("new", NEW)).unwrap();
        changes.iter().map(Setting::line).collect()
    }

    #[test]
    fn only_options_that_come_out_otherwise_are_candidates() {
        assert_eq!(
            lines(),
            [
                "# CONFIG_GONE is not set",
                "CONFIG_B=y",
                "CONFIG_C=y",
                "CONFIG_NAME=\"c\""
            ]
        );
    }

    #[test]
    fn of_an_option_that_stands_twice_the_last_counts() {
        let new = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_A=y\n";
        let old = "CONFIG_GONE=y\n# CONFIG_A is not set\nCONFIG_GONE=y\nCONFIG_B=n\n";
        let changes = differences(("old", old), ("new", new)).unwrap();
        let lines: Vec<String> = changes.iter().map(Setting::line).collect();
        assert_eq!(
            lines,
            ["# CONFIG_GONE is not set", "CONFIG_B=y", "CONFIG_A=y"]
        );
    }

    #[test]
    fn what_nobody_chooses_is_no_candidate() {
        let other = OLD.replace("CONFIG_B=m", "CONFIG_B=y");
        let old = format!("{OLD}CONFIG_GCC_VERSION=120200\nCONFIG_CC_HAS_X=y\n");
        let new = format!("{other}CONFIG_GCC_VERSION=140100\nCONFIG_HAVE_Y=y\n");
        let changes = differences(("old", &old), ("new", &new)).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].line(), "CONFIG_B=y");
    }

    #[test]
    fn each_candidate_has_those_before_it() {
        let lines = lines();
        assert!(taken_over(OLD, &lines[..0]).contains("CONFIG_GONE=y\n"));
        let second = taken_over(OLD, &lines[..2]);
        assert!(second.contains("# CONFIG_GONE is not set\n"));
        assert!(second.contains("CONFIG_B=y\n") && second.contains("CONFIG_NAME=\"a=b\"\n"));
        assert!(!second.contains("CONFIG_B=m"));
        let last = taken_over(OLD, &lines);
        assert!(parse(NEW).iter().all(|setting| {
            setting.value.is_none() || last.contains(&format!("{}\n", setting.line()))
        }));
    }

    #[test]
    fn files_that_cannot_be_compared_are_refused() {
        let same = differences(("a", OLD), ("b", OLD)).unwrap_err();
        assert!(same.to_string().contains("the same options"));
        let empty = differences(("a", "text\n"), ("b", OLD)).unwrap_err();
        assert!(empty.to_string().contains("a sets no option"));
    }
}
