//! How much is kept of caches and run directories without anybody asking: what
//! `limits.yaml` in the user's configuration says, or the environment.

use std::path::PathBuf;

use miette::Diagnostic;
use serde::Deserialize;
use thiserror::Error;

use crate::duration;
use crate::error::{Exit, Fault};
use crate::job::{JobError, What, read_yaml};
use crate::library::user_directory;
use crate::store::{Limit, parse_size};

/// What is kept; everything, unless something is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of caches.
    #[serde(default)]
    pub cache: Limit,
    /// Of run directories in kvet's own place.
    #[serde(default)]
    pub runs: Limit,
}

/// A limit is not one.
#[derive(Debug, Error, Diagnostic)]
pub enum LimitsError {
    /// The file cannot be read, or has a mistake.
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] JobError),
    /// A variable of the environment has one.
    #[error("{name}: {problem}")]
    #[diagnostic(help("unset it, or set it to a time such as 14d, or a size such as 40GiB"))]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Fault for LimitsError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Limits {
    /// The user's limits.
    pub fn of_the_user() -> Result<Self, LimitsError> {
        let file = user_directory().map(|directory| directory.join("limits.yaml"));
        Self::of(file, |name| std::env::var(name).ok())
    }

    fn of(
        file: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, LimitsError> {
        let mut limits: Self = match file {
            // A link to nothing is somebody's mistake and told.
            Some(file) if file.symlink_metadata().is_ok() => read_yaml(&What::LIMITS, &file)?,
            _ => Self::default(),
        };
        let set = |name: &'static str| variable(name).filter(|text| !text.is_empty());
        let wrong = |name| move |problem| LimitsError::Variable { name, problem };
        for (limit, keep, max_size) in [
            (&mut limits.cache, "KVET_CACHE_KEEP", "KVET_CACHE_MAX_SIZE"),
            (&mut limits.runs, "KVET_RUNS_KEEP", "KVET_RUNS_MAX_SIZE"),
        ] {
            if let Some(text) = set(keep) {
                limit.keep = Some(duration::parse(&text).map_err(wrong(keep))?);
            }
            if let Some(text) = set(max_size) {
                limit.max_size = Some(parse_size(&text).map_err(wrong(max_size))?);
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_environment_comes_before_the_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("limits.yaml");
        let none = |_: &str| None;
        assert_eq!(
            Limits::of(Some(file.clone()), none).unwrap(),
            Limits::default()
        );
        std::fs::write(&file, "cache: { keep: 14d, max_size: 1GiB }\n").unwrap();
        let set = |name: &str| (name == "KVET_CACHE_MAX_SIZE").then(|| "2GiB".to_owned());
        let limits = Limits::of(Some(file.clone()), set).unwrap();
        assert_eq!(limits.cache.max_size, Some(2 << 30));
        assert_eq!(limits.cache.keep, Some(Duration::from_secs(14 * 86400)));
        assert!(limits.runs.is_none());
        let set = |name: &str| (name == "KVET_RUNS_KEEP").then(|| "soon".to_owned());
        let said = Limits::of(None, set).unwrap_err().to_string();
        assert!(said.starts_with("KVET_RUNS_KEEP: \"soon\""), "{said}");
        std::fs::write(&file, "caches: {}\n").unwrap();
        let said = Limits::of(Some(file), none).unwrap_err().to_string();
        assert!(
            said.contains("limits.yaml:1:1: unknown field `caches`"),
            "{said}"
        );
    }
}
