//! What a kernel build needs from the host: programs, headers, and which
//! compiler it is.

use std::path::Path;

use miette::Diagnostic;
use thiserror::Error;

use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::{Command, ProcessError, find_program};

/// Programs that kernel builds run, and the Debian packages they are in.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("perl", "perl-base"),
    ("git", "git"),
    ("gzip", "gzip"),
];

/// Headers that the kernel's host programs include, and their packages.
pub const HEADERS: &[(&str, &str)] = &[
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/include/gelf.h", "libelf-dev"),
];

/// Something a build needs and the host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The program or header.
    pub what: String,
    /// The Debian package it is in.
    pub package: String,
}

/// The host cannot build kernels.
#[derive(Debug, Error, Diagnostic)]
pub enum ToolchainError {
    /// Programs or headers are missing.
    #[error("building a kernel needs {}, which this host lacks", what(missing))]
    #[diagnostic(help("apt-get install {}", packages(missing)))]
    Missing {
        /// All that is missing.
        missing: Vec<Missing>,
    },
    /// The compiler does not tell its version.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

impl Fault for ToolchainError {
    fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } => Exit::Usage,
            Self::Process(error) => error.exit(),
        }
    }
}

fn what(missing: &[Missing]) -> String {
    let names: Vec<&str> = missing.iter().map(|one| one.what.as_str()).collect();
    names.join(", ")
}

fn packages(missing: &[Missing]) -> String {
    let mut names: Vec<&str> = missing.iter().map(|one| one.package.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

/// What this host lacks of [`PROGRAMS`] and [`HEADERS`].
#[must_use]
pub fn missing() -> Vec<Missing> {
    missing_of(|program| find_program(program).is_some(), HEADERS)
}

fn missing_of(is_there: impl Fn(&str) -> bool, headers: &[(&str, &str)]) -> Vec<Missing> {
    let programs = PROGRAMS.iter().filter(|(program, _)| !is_there(program));
    let headers = headers
        .iter()
        .filter(|(header, _)| !Path::new(header).exists());
    programs
        .chain(headers)
        .map(|&(what, package)| Missing {
            what: what.to_owned(),
            package: package.to_owned(),
        })
        .collect()
}

/// Complains about everything that a build would miss, at once.
pub(super) fn require() -> Result<(), ToolchainError> {
    let missing = missing();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ToolchainError::Missing { missing })
    }
}

/// The compiler and linker of this host, as part of what decides a build.
pub(super) async fn compiler(context: &Context) -> Result<String, ToolchainError> {
    let mut text = Vec::new();
    for program in ["gcc", "ld"] {
        let finished = Command::new(program)
            .env("LC_ALL", "C")
            .arg("--version")
            .run(&context.cancel)
            .await
            .map_err(|error| match error {
                // Then more is likely to be missing: say it all.
                ProcessError::Start { .. } => require().err().unwrap_or(error.into()),
                error => error.into(),
            })?;
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        text.push(said.lines().next().unwrap_or_default().to_owned());
    }
    Ok(text.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use miette::Diagnostic;

    #[test]
    fn what_is_missing_is_said_at_once_with_its_packages() {
        let is_there = |program: &str| !["flex", "ld"].contains(&program);
        let missing = missing_of(is_there, &[("/nowhere/gelf.h", "libelf-dev")]);
        let error = ToolchainError::Missing { missing };
        assert_eq!(
            error.to_string(),
            "building a kernel needs ld, flex, /nowhere/gelf.h, which this host lacks"
        );
        let help = error.help().unwrap().to_string();
        assert_eq!(help, "apt-get install binutils flex libelf-dev");
    }
}
