//! Config fragments: what a kernel must have, symbol by symbol.
//!
//! A fragment is a list of `CONFIG_X=value` and `# CONFIG_X is not set` lines.
//! `kconfigs/README.md` describes it, with the `# kvet:` lines that limit the
//! symbols after them to some kernels.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::version::{KernelVersion, VersionRange};
use crate::bounded;
use crate::error::{Exit, Fault};

/// A condition that a whole .config does not meet.
const UNLESS_GIVEN: &str = "unless given";

/// No fragment is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// The end of a condition before the next blank line.
const ALWAYS: &str = "always";

/// A fragment, read and checked line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its name in messages: as the job says it.
    pub name: String,
    /// Its text.
    pub text: String,
    asks: Vec<ConditionalAsk>,
}

/// One symbol a fragment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// The symbol, without `CONFIG_`.
    pub(super) symbol: String,
    /// `y`, `m`, `n` or a value; strings with their quotes.
    pub(super) value: String,
    origin: Origin,
}

/// Who asks for a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A line of a fragment.
    Fragment { name: String, line: usize },
    /// A series that does nothing without it.
    Series { name: String },
    /// What the host lacks for a whole .config's own word.
    Host { name: String },
}

impl Ask {
    /// A symbol that a series needs, with or without `CONFIG_`.
    pub(super) fn needed(symbol: &str, series: &str) -> Self {
        Self {
            symbol: symbol.strip_prefix("CONFIG_").unwrap_or(symbol).to_owned(),
            value: "y".to_owned(),
            origin: Origin::Series {
                name: series.to_owned(),
            },
        }
    }

    /// A symbol of the whole .config `name` that this host needs otherwise.
    pub(super) fn of_host(symbol: &str, value: &str, name: &str) -> Self {
        Self {
            symbol: symbol.to_owned(),
            value: value.to_owned(),
            origin: Origin::Host {
                name: name.to_owned(),
            },
        }
    }

    /// Who asks, for messages.
    pub(super) fn origin(&self) -> String {
        match &self.origin {
            Origin::Fragment { name, line } => format!("fragment {name}, line {line}"),
            Origin::Series { name } => format!("needed by series {name}"),
            Origin::Host { name } => format!("in place of what {name} says"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ConditionalAsk {
    ask: Ask,
    condition: Condition,
}

/// Which kernels a symbol is asked of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Condition {
    versions: VersionRange,
    where_known: bool,
    /// Only where there is no whole .config, which has a word of its own on it.
    unless_given: bool,
}

/// A fragment is not to be had, or not one.
#[derive(Debug, Error, Diagnostic)]
pub enum FragmentError {
    /// There is no such fragment.
    #[error("there is no config fragment `{name}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// The name as the job says it.
        name: String,
        /// The nearest, or all there are.
        help: String,
    },
    /// It cannot be read.
    #[error("cannot read the config fragment {}: {reason}", path.display())]
    #[diagnostic(help("check the file"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A line is none of a fragment's.
    #[error("fragment {name}, line {line}: {reason}")]
    #[diagnostic(help(
        "a line is `CONFIG_X=value`, `# CONFIG_X is not set`, a comment, or \
         `# kvet: from 6.15, before 7.0, where known, unless given`"
    ))]
    Line {
        /// The fragment.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Fault for FragmentError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// The first line of a fragment that differs from candidate to candidate of a
/// bisection. Their kernels share their objects, as few options differ.
pub const CANDIDATE: &str = "# What a bisection tries.";

impl Fragment {
    /// Finds a fragment: `NAME.config` below `fragments`, or a file relative to
    /// `job` (the directory of the job's file).
    pub fn find(fragments: &Path, job: &Path, name: &str) -> Result<Self, FragmentError> {
        let known = fragments.join(format!("{name}.config"));
        let path = if known.is_file() {
            known
        } else {
            job.join(name)
        };
        if !path.is_file() {
            return Err(unknown(fragments, name));
        }
        Self::parse(name, &text_at(&path)?)
    }

    /// Reads the fragment in a file; its name is the file's.
    pub fn read(path: &Path) -> Result<Self, FragmentError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".config").unwrap_or(&name);
        Self::parse(name, &text_at(path)?)
    }

    /// Reads a fragment's text.
    pub fn parse(name: &str, text: &str) -> Result<Self, FragmentError> {
        let mut asks = Vec::new();
        let mut condition = Condition::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = |reason: String| FragmentError::Line {
                name: name.to_owned(),
                line: index + 1,
                reason,
            };
            let line = line.trim();
            if line.is_empty() {
                condition = Condition::default();
            } else if let Some(text) = line.strip_prefix("# kvet:") {
                condition = Condition::parse(text).map_err(wrong)?;
            } else if let Some((symbol, value)) = setting(line).map_err(wrong)? {
                asks.push(ConditionalAsk {
                    ask: Ask {
                        symbol: symbol.to_owned(),
                        value: value.to_owned(),
                        origin: Origin::Fragment {
                            name: name.to_owned(),
                            line: index + 1,
                        },
                    },
                    condition: condition.clone(),
                });
            }
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            asks,
        })
    }
}

impl Fragment {
    /// Its text as far as it decides a kernel that begins with nothing: without
    /// the lines that are about whole .configs alone. One that also ends a condition
    /// on the kernel stays.
    pub(super) fn identity(&self) -> String {
        let mut kept = String::new();
        // What the kept text says of the next symbol.
        let mut condition = Condition::default();
        for line in self.text.split_inclusive('\n') {
            let clauses = line.trim().strip_prefix("# kvet:").map(str::trim);
            let about_given = matches!(clauses, Some(UNLESS_GIVEN | ALWAYS));
            if about_given && condition.is_of_all_kernels() {
                continue;
            }
            let said = match clauses {
                Some(text) => Condition::parse(text).ok(),
                None => line.trim().is_empty().then(Condition::default),
            };
            condition = said.unwrap_or(condition);
            kept.push_str(line);
        }
        kept
    }
}

fn text_at(path: &Path) -> Result<String, FragmentError> {
    bounded::read_own_text(path, LARGEST).map_err(|error| FragmentError::Unreadable {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

impl Condition {
    /// Whether every kernel meets it that begins with nothing.
    fn is_of_all_kernels(&self) -> bool {
        self.versions == VersionRange::default() && !self.where_known
    }

    /// `from VERSION`, `before VERSION`, `where known`, `unless given`, `always`,
    /// separated by commas.
    fn parse(text: &str) -> Result<Self, String> {
        let mut condition = Self::default();
        for clause in text.split(',').map(str::trim) {
            let version = |text: &str| text.trim().parse().map_err(|error| format!("{error}"));
            if clause == "where known" {
                condition.where_known = true;
            } else if clause == UNLESS_GIVEN {
                condition.unless_given = true;
            } else if clause == ALWAYS {
                // What held up to here holds no more.
            } else if let Some(text) = clause.strip_prefix("from ") {
                condition.versions.from = Some(version(text)?);
            } else if let Some(text) = clause.strip_prefix("before ") {
                condition.versions.before = Some(version(text)?);
            } else {
                return Err(format!("`{clause}` is not a condition"));
            }
        }
        Ok(condition)
    }
}

/// The symbol and value of a line; `None` for a comment.
fn setting(line: &str) -> Result<Option<(&str, &str)>, String> {
    let symbol = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(comment) = line.strip_prefix('#') {
        let unset = comment
            .trim()
            .strip_prefix("CONFIG_")
            .and_then(|rest| rest.strip_suffix(" is not set"));
        return Ok(unset.filter(|name| symbol(name)).map(|name| (name, "n")));
    }
    line.strip_prefix("CONFIG_")
        .and_then(|rest| rest.split_once('='))
        .filter(|(name, value)| symbol(name) && !value.is_empty())
        .map(Some)
        .ok_or_else(|| format!("`{line}` does not set an option"))
}

/// What the fragments ask of a kernel of this version, the last word on each
/// symbol, in order. `given` says that they come on top of a whole .config;
/// `known` tells whether the kernel has a symbol at all.
pub(super) fn asks<E>(
    fragments: &[Fragment],
    version: &KernelVersion,
    given: bool,
    mut known: impl FnMut(&str) -> Result<bool, E>,
) -> Result<Vec<Ask>, E> {
    let mut wanted: Vec<Ask> = Vec::new();
    for ConditionalAsk { ask, condition } in fragments.iter().flat_map(|one| &one.asks) {
        if !condition.versions.holds(version)
            || (given && condition.unless_given)
            || (condition.where_known && !known(&ask.symbol)?)
        {
            continue;
        }
        wanted.retain(|earlier| earlier.symbol != ask.symbol);
        wanted.push(ask.clone());
    }
    Ok(wanted)
}

fn unknown(fragments: &Path, name: &str) -> FragmentError {
    let mut known: Vec<String> = std::fs::read_dir(fragments)
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name().into_string().ok()?;
                    name.strip_suffix(".config").map(str::to_owned)
                })
                .collect()
        })
        .unwrap_or_default();
    known.sort();
    FragmentError::Unknown {
        name: name.to_owned(),
        help: super::nearest(name, &known)
            .unwrap_or_else(|| format!("{} holds no fragment at all", fragments.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(text: &str, version: &str, known: &[&str]) -> Vec<String> {
        symbols_on(false, text, version, known)
    }

    /// The symbols asked for, on top of a whole .config if `given`.
    fn symbols_on(given: bool, text: &str, version: &str, known: &[&str]) -> Vec<String> {
        let fragment = Fragment::parse("f", text).unwrap();
        asks(&[fragment], &version.parse().unwrap(), given, |symbol| {
            Ok::<_, ()>(known.contains(&symbol))
        })
        .unwrap()
        .into_iter()
        .map(|ask| format!("{}={}", ask.symbol, ask.value))
        .collect()
    }

    #[test]
    fn what_is_no_file_is_no_fragment() {
        let home = tempfile::tempdir().unwrap();
        let fifo = home.path().join("x.config");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let error = Fragment::read(path).unwrap_err();
            assert!(matches!(error, FragmentError::Unreadable { .. }), "{error}");
        }
    }

    #[test]
    fn a_whole_config_has_its_own_word_on_what_is_asked_unless_given() {
        let text = "CONFIG_A=y\n# kvet: unless given\nCONFIG_HZ_100=y\n# kvet: always\n\
                    CONFIG_B=y\n# kvet: unless given, from 7.0\n# CONFIG_C is not set\n";
        assert_eq!(symbols_on(true, text, "7.3", &[]), ["A=y", "B=y"]);
        let without = ["A=y", "HZ_100=y", "B=y", "C=n"];
        assert_eq!(symbols_on(false, text, "7.3", &[]), without);
        assert_eq!(symbols_on(false, text, "6.1", &[]), without[..3]);
        // Such a line alone makes no other kernel.
        let identity = |text| Fragment::parse("f", text).unwrap().identity();
        let plain = "CONFIG_A=y\nCONFIG_B=y\n";
        assert_eq!(
            identity("CONFIG_A=y\n# kvet: unless given\nCONFIG_B=y\n"),
            plain
        );
        assert_ne!(
            identity("CONFIG_A=y\n# kvet: from 6.1\nCONFIG_B=y\n"),
            plain
        );
    }

    #[test]
    fn conditions_hold_up_to_the_next_blank_line() {
        let text = "CONFIG_A=y\n# kvet: from 6.15, before 7.3\nCONFIG_B=y\n# why\nCONFIG_C=m\n\n\
                    # CONFIG_D is not set\n# kvet: where known\nCONFIG_E=\"x\"\n";
        assert_eq!(symbols(text, "6.15.1", &[]), ["A=y", "B=y", "C=m", "D=n"]);
        assert_eq!(symbols(text, "7.3", &["E"]), ["A=y", "D=n", "E=\"x\""]);
        assert_eq!(symbols(text, "6.14.9", &[]), ["A=y", "D=n"]);
    }

    #[test]
    fn the_last_word_on_a_symbol_counts() {
        assert_eq!(symbols("CONFIG_A=y\nCONFIG_A=n\n", "7.3", &[]), ["A=n"]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, line) in [
            ("CONFIG_A=y\nA=y\n", 2),
            ("CONFIG_A\n", 1),
            ("CONFIG_A=\n", 1),
            ("\n# kvet: since 6.1\n", 2),
            ("# kvet: from six\n", 1),
        ] {
            let FragmentError::Line { line: found, .. } = Fragment::parse("f", text).unwrap_err()
            else {
                panic!("another error for {text}");
            };
            assert_eq!(found, line, "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("debug-vfs.config"), "").unwrap();
        let FragmentError::Unknown { help, .. } =
            Fragment::find(root.path(), root.path(), "debug-vsf").unwrap_err()
        else {
            panic!("another error");
        };
        assert_eq!(help, "did you mean `debug-vfs`?");
    }

    /// Two fragments that ask a kernel for different things are never one.
    #[test]
    fn a_word_on_whole_configs_that_ends_a_condition_makes_another_kernel() {
        let identity = |text: &str| Fragment::parse("f", text).unwrap().identity();
        let start = "# kvet: from 7.0\nCONFIG_A=y\n";
        let plain = format!("{start}CONFIG_B=y\n");
        for word in ["always", "unless given"] {
            let ended = format!("{start}# kvet: {word}\nCONFIG_B=y\n");
            assert_eq!(symbols(&plain, "6.12", &[]), [""; 0]);
            assert_eq!(symbols(&ended, "6.12", &[]), ["B=y"]);
            assert_ne!(identity(&ended), identity(&plain), "{word}");
        }
        // After a blank line there is no condition to end.
        let blank = format!("{start}\n# kvet: unless given\nCONFIG_B=y\n# kvet: always\n");
        assert_eq!(identity(&blank), format!("{start}\nCONFIG_B=y\n"));
    }
}
