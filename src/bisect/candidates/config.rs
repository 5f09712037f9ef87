//! Candidates from two configurations: the options in which they differ.
//!
//! A candidate is the old configuration with all differences up to and including
//! its own taken over. The differences come in the order of the new file, which
//! is Kconfig's: an option mostly comes after what it depends on, so few
//! candidates ask for an option before it can be had. `make olddefconfig` then
//! drops what still cannot be, and the driver skips a candidate whose own option
//! did not come out as asked.

use std::collections::HashMap;

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

/// The differences between two configurations, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    old: Vec<Setting>,
    changes: Vec<Setting>,
}

impl Differences {
    /// Compares two configurations, given with their names for messages.
    pub fn between(
        (old_name, old_text): (&str, &str),
        (new_name, new_text): (&str, &str),
    ) -> Result<Self, ConfigError> {
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
        Ok(Self { old, changes })
    }

    /// The options that differ, with their new values.
    #[must_use]
    pub fn changes(&self) -> &[Setting] {
        &self.changes
    }

    /// The candidates, named after their options.
    #[must_use]
    pub fn candidates(&self, base: String) -> Candidates {
        let names = self.changes.iter().map(Setting::line);
        Candidates::linear(Kind::Config, base, names)
    }

    /// The configuration with the first `taken` differences taken over.
    #[must_use]
    pub fn text(&self, taken: usize) -> String {
        let changed: HashMap<&str, &Setting> = self.changes[..taken]
            .iter()
            .map(|setting| (setting.symbol.as_str(), setting))
            .collect();
        let kept = self
            .old
            .iter()
            .filter(|setting| !changed.contains_key(setting.symbol.as_str()));
        let mut text = String::new();
        for setting in kept.chain(&self.changes[..taken]) {
            text.push_str(&setting.line());
            text.push('\n');
        }
        text
    }
}

fn parse(text: &str) -> Vec<Setting> {
    text.lines()
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
        .collect()
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
    let gone = old
        .iter()
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

    fn differences() -> Differences {
        Differences::between(("old", OLD), ("new", NEW)).unwrap()
    }

    #[test]
    fn only_options_that_come_out_otherwise_are_candidates() {
        let candidates = differences().candidates("old".to_owned());
        let names: Vec<&str> = candidates
            .list
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "# CONFIG_GONE is not set",
                "CONFIG_B=y",
                "CONFIG_C=y",
                "CONFIG_NAME=\"c\""
            ]
        );
    }

    #[test]
    fn each_candidate_has_those_before_it() {
        let differences = differences();
        assert!(differences.text(0).contains("CONFIG_GONE=y\n"));
        let second = differences.text(2);
        assert!(second.contains("# CONFIG_GONE is not set\n"));
        assert!(second.contains("CONFIG_B=y\n") && second.contains("CONFIG_NAME=\"a=b\"\n"));
        assert!(!second.contains("CONFIG_B=m"));
        let last = differences.text(4);
        assert!(parse(NEW).iter().all(|setting| {
            setting.value.is_none() || last.contains(&format!("{}\n", setting.line()))
        }));
    }

    #[test]
    fn files_that_cannot_be_compared_are_refused() {
        let same = Differences::between(("a", OLD), ("b", OLD)).unwrap_err();
        assert!(same.to_string().contains("the same options"));
        let empty = Differences::between(("a", "text\n"), ("b", OLD)).unwrap_err();
        assert!(empty.to_string().contains("a sets no option"));
    }
}
