//! From a file to a [`Job`], with every error pointing at its place: file,
//! line, column, the line itself, and the nearest word that would have fitted.

use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceSpan};
use saphyr::{LoadableYamlNode, MarkedYaml, YamlData};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::spec::Job;
use crate::bounded;
use crate::error::{Exit, Fault};
use crate::names::{LARGEST, did_you_mean_in};
use crate::printable::{printable, printable_in_place};
use crate::yaml_shape;

/// A job could not be read or does not make sense.
#[derive(Debug, Error, Diagnostic)]
pub enum JobError {
    /// The file could not be read.
    #[error("cannot read the {what} {}", path.display())]
    #[diagnostic(help("{help}"))]
    Read {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What such files are.
        help: &'static str,
    },
    /// The file is not YAML, or not a job, at the marked place.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(Box<Invalid>),
    /// The workload is not right.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Workload(#[from] crate::workload::WorkloadError),
    /// The recipe of the guests' root file system is not right.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rootfs(#[from] crate::rootfs::RootfsError),
    /// Something asked for on the command line is not in the job.
    #[error("{0}")]
    Choice(String, #[help] Option<String>),
}

/// A mistake in a job file and its place.
#[derive(Debug, Error, Diagnostic)]
#[error("{}:{line}:{column}: {message}", path.display())]
pub struct Invalid {
    path: PathBuf,
    /// From 1.
    line: usize,
    /// From 1.
    column: usize,
    message: String,
    /// The file's text, to show the line, unless nobody could read it.
    #[source_code]
    text: Option<NamedSource<String>>,
    #[label("here")]
    span: SourceSpan,
    /// What would fit.
    #[help]
    help: Option<String>,
}

impl Fault for JobError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Bytes of a line that people have in a file, and look at.
const LINE: usize = 1000;

/// Characters of a message, some of which the file may have chosen.
const MESSAGE: usize = 1000;

/// A kind of YAML file, for messages.
#[derive(Debug)]
pub(crate) struct What {
    name: &'static str,
    help: &'static str,
}

impl What {
    pub(super) const JOB: Self = Self {
        name: "job",
        help: "a job is a YAML file; jobs/ has the ones kvet comes with",
    };
    pub(super) const KNOWN: Self = Self {
        name: "list of known findings",
        help: "docs/history.md says what such a list is",
    };
    pub(crate) const LIMITS: Self = Self {
        name: "file of limits",
        help: "docs/history.md says what limits there are",
    };
}

/// A YAML file of this kind, read and checked; an error points into it.
pub(crate) fn read_yaml<T: DeserializeOwned>(what: &What, path: &Path) -> Result<T, JobError> {
    Text::read_as(what, path)?.parse_as()
}

/// A job file's text, kept so that later errors can point into it.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    content: String,
}

impl Text {
    pub(super) fn read(path: &Path) -> Result<Self, JobError> {
        Self::read_as(&What::JOB, path)
    }

    pub(super) fn read_as(what: &What, path: &Path) -> Result<Self, JobError> {
        let content = bounded::read_text(path, LARGEST).map_err(|source| JobError::Read {
            what: what.name,
            path: path.to_owned(),
            source,
            help: what.help,
        })?;
        Ok(Self {
            path: path.to_owned(),
            content,
        })
    }

    pub(super) fn parse(&self) -> Result<Job, JobError> {
        self.parse_as()
    }

    /// Whether nothing stands in it but comments.
    pub(super) fn is_blank(&self) -> bool {
        let mut lines = self.content.lines().map(str::trim);
        lines.all(|line| line.is_empty() || line.starts_with('#'))
    }

    /// `FILE:LINE` of each of the first `count` entries of the list that `path` leads
    /// to. The text is read once for all: there may be many.
    pub(super) fn places(&self, path: &[&str], count: usize) -> Vec<String> {
        let lines = lines_of(&self.content, path).unwrap_or_default();
        let lines = lines.into_iter().chain(std::iter::repeat(1)).take(count);
        lines
            .map(|line| format!("{}:{line}", self.path.display()))
            .collect()
    }

    pub(super) fn parse_as<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        yaml_shape::check(&self.content)
            .map_err(|wrong| self.at(wrong.line, wrong.column, wrong.message, None))?;
        serde_yaml::from_str(&self.content).map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((1, 1), |place| (place.line(), place.column()));
            let message = message_of(&error.to_string());
            let help = did_you_mean_in(&message);
            self.at(line, column, message, help)
        })
    }

    /// An error at the node that `path` leads to: mapping keys, and list
    /// positions as numbers.
    pub(super) fn error(&self, path: &[&str], message: String, help: Option<String>) -> JobError {
        let (line, column) = locate(&self.content, path).unwrap_or((1, 1));
        self.at(line, column, message, help)
    }

    /// An error at the first of the nodes that is there.
    pub(super) fn error_at_first(
        &self,
        paths: &[&[&str]],
        message: String,
        help: Option<String>,
    ) -> JobError {
        let there = |path: &&&[&str]| locate(&self.content, path).is_some();
        let path = paths.iter().find(there).copied().unwrap_or(&[]);
        self.error(path, message, help)
    }

    /// Whether a line and those beside it are short enough to be looked at.
    fn is_shown(&self, line: usize) -> bool {
        let mut beside = self.content.lines().skip(line.saturating_sub(2)).take(3);
        beside.all(|text| text.len() <= LINE)
    }

    fn at(&self, line: usize, column: usize, message: String, help: Option<String>) -> JobError {
        let start: usize = self
            .content
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let text = self
            .content
            .lines()
            .nth(line.saturating_sub(1))
            .unwrap_or("");
        let offset: usize = text
            .chars()
            .take(column.saturating_sub(1))
            .map(char::len_utf8)
            .sum();
        let word = text[offset..]
            .find(|c: char| c.is_whitespace() || ":,]}".contains(c))
            .unwrap_or(text.len() - offset);
        JobError::Invalid(Box::new(Invalid {
            path: self.path.clone(),
            line,
            column,
            message: shortened(message, MESSAGE),
            text: self.is_shown(line).then(|| {
                NamedSource::new(
                    printable(&self.path.display().to_string()),
                    printable_in_place(&self.content),
                )
            }),
            span: SourceSpan::new((start + offset).into(), word.max(1)),
            help,
        }))
    }
}

/// A text of so many characters at most.
fn shortened(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The error without the place at its end, which is shown in front.
fn message_of(text: &str) -> String {
    text.rfind(" at line ")
        .map_or(text, |at| &text[..at])
        .to_owned()
}

/// Line and column, from 1, of the node at `path`.
fn locate(content: &str, path: &[&str]) -> Option<(usize, usize)> {
    let documents = MarkedYaml::load_from_str(content).ok()?;
    let node = follow(documents.first()?, path)?;
    Some((node.span.start.line(), node.span.start.col() + 1))
}

/// The lines, from 1, of the entries of the list at `path`.
fn lines_of(content: &str, path: &[&str]) -> Option<Vec<usize>> {
    let documents = MarkedYaml::load_from_str(content).ok()?;
    match &follow(documents.first()?, path)?.data {
        YamlData::Sequence(items) => {
            Some(items.iter().map(|item| item.span.start.line()).collect())
        }
        _ => None,
    }
}

/// The node to which `path` leads from this one.
fn follow<'a, 'text>(
    mut node: &'a MarkedYaml<'text>,
    path: &[&str],
) -> Option<&'a MarkedYaml<'text>> {
    for step in path {
        node = match &node.data {
            YamlData::Mapping(entries) => {
                entries
                    .iter()
                    .find(|(key, _)| key.data.as_str() == Some(step))?
                    .1
            }
            YamlData::Sequence(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_by_keys_and_positions() {
        let text = "a:\n  b: [x, {c: y}]\n";
        assert_eq!(locate(text, &["a", "b", "1", "c"]), Some((2, 14)));
        assert_eq!(locate(text, &["a", "z"]), None);
    }
}
