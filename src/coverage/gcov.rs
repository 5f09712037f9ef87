//! From an object's counters to how often each line was executed, by gcc's own
//! `gcov`, which knows the format of its compiler.
//!
//! The counters are a guest's and may be anything: `gcov` reads them in a
//! namespace, with bounded memory and time, and can write no file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::artifacts::Kept;
use super::changed::Changed;
use crate::bounded;
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::process::{Command, Namespace, ProcessError};
use crate::store::{Scratch, StoreError, io_error, write_json};

/// The file in an attempt's directory.
const FILE: &str = "coverage.json";

/// The most bytes of it.
const LARGEST: u64 = 64 << 20;

/// gcov takes a second for the largest objects.
const DEADLINE: Duration = Duration::from_secs(60);

/// What gcov may use, for prlimit(1): address space, processor seconds, bytes
/// of any file that it writes.
const LIMITS: [&str; 3] = ["--as=2147483648", "--cpu=30", "--fsize=0"];

/// How often lines of the changed files were executed in one attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// For each file of the source that has code: its lines that have some, and
    /// how often each was executed.
    pub files: BTreeMap<String, BTreeMap<u32, u64>>,
    /// Objects of which nothing is known, and why.
    pub problems: Vec<String>,
}

/// Counts could not be made or kept.
#[derive(Debug, Error, Diagnostic)]
pub enum CoverageError {
    /// A place of kvet's own failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// gcov could not be run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

impl Fault for CoverageError {
    fn exit(&self) -> Exit {
        match self {
            Self::Store(error) => error.exit(),
            Self::Process(error) => error.exit(),
        }
    }
}

/// What gcov says of an object.
#[derive(Deserialize)]
struct Said {
    files: Vec<SaidFile>,
}

#[derive(Deserialize)]
struct SaidFile {
    file: String,
    lines: Vec<SaidLine>,
}

#[derive(Deserialize)]
struct SaidLine {
    line_number: u32,
    count: f64,
}

impl Counts {
    /// What an attempt recorded; `None` if its guest was not asked.
    pub fn of(attempt: &Path) -> Result<Option<Self>, StoreError> {
        let path = attempt.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = bounded::read_own(&path, LARGEST).map_err(io_error("read", &path))?;
        let counts = serde_json::from_slice(&text);
        counts.map_err(|error| io_error("read", &path)(error.into()))
    }

    /// Takes what gcov says of one object, of these files alone.
    fn add(&mut self, said: &[u8], files: &[String]) -> Result<(), serde_json::Error> {
        for one in serde_json::Deserializer::from_slice(said).into_iter::<Said>() {
            for SaidFile { file, lines } in one?.files {
                let Some(name) = files.iter().find(|name| is_file(&file, name)) else {
                    continue;
                };
                let counts = self.files.entry(name.clone()).or_default();
                for SaidLine { line_number, count } in lines {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "such a cast saturates"
                    )]
                    let count = count as u64;
                    // An inline function's line has a count for each caller.
                    let sum = counts.entry(line_number).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
        Ok(())
    }
}

/// Whether a file as the compiler was told of it is this one of the tree.
fn is_file(told: &str, name: &str) -> bool {
    let rest = told.strip_suffix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// Makes an attempt's line counts from the counters that its guest gave, and
/// keeps them in its directory. `objects` is where the compiler's notes on the
/// kernel's objects are. `None` if the guest was not asked.
pub async fn count(
    context: &Context,
    objects: &Path,
    changed: &Changed,
    attempt: &Path,
) -> Result<Option<Counts>, CoverageError> {
    let kept = Kept::of(attempt)?;
    if kept.taken.is_empty() {
        return Ok(None);
    }
    let files: Vec<String> = changed.files.iter().map(|file| file.file.clone()).collect();
    let scratch = Scratch::new()?;
    let namespace = Namespace::create(Ipv4Addr::new(10, 99, 0, 1)).await.ok();
    let mut counts = Counts::default();
    for (taken, counters) in kept.taken {
        let problem = match (counters, taken.problem) {
            (Some(counters), _) => {
                let notes = objects.join(format!("{}.gcno", taken.object));
                let said = ask(context, &scratch, namespace.as_ref(), &notes, &counters).await?;
                said.and_then(|said| {
                    let added = counts.add(&said, &files);
                    added.map_err(|error| format!("gcov does not say it in JSON: {error}"))
                })
                .err()
            }
            (None, problem) => Some(problem.unwrap_or_else(|| "no counters".to_owned())),
        };
        if let Some(problem) = problem {
            counts.problems.push(format!("{}: {problem}", taken.object));
        }
    }
    if let Some(namespace) = namespace {
        namespace.close().await;
    }
    write_json(&attempt.join(FILE), &counts)?;
    Ok(Some(counts))
}

/// What gcov says of one object's counters, or why it says nothing.
async fn ask(
    context: &Context,
    scratch: &Scratch,
    namespace: Option<&Namespace>,
    notes: &Path,
    counters: &Path,
) -> Result<Result<Vec<u8>, String>, CoverageError> {
    let directory = scratch.path();
    for (from, name) in [(notes, "object.gcno"), (counters, "object.gcda")] {
        let to: PathBuf = directory.join(name);
        if std::fs::copy(from, &to).is_err() {
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            return Ok(Err(format!("{name} is not there")));
        }
    }
    let command = Command::new("prlimit")
        .args(LIMITS)
        .args(["--", "gcov", "--json-format", "--stdout", "object.gcda"])
        .env("LC_ALL", "C")
        .directory(directory)
        .deadline(DEADLINE);
    let command = match namespace {
        Some(namespace) => command.inside(namespace),
        None => command,
    };
    match command.status(&context.cancel).await {
        Ok(finished) => {
            let said = String::from_utf8_lossy(&finished.stderr);
            // What it cannot read it takes for zeros, and says so.
            let complaint = said.lines().find(|line| line.starts_with("object.gc"));
            let well = finished.status.success() && !finished.stdout.is_empty();
            Ok(match complaint {
                None if well => Ok(finished.stdout),
                _ => {
                    let first = complaint.or_else(|| said.lines().next());
                    Err(first.unwrap_or("gcov says nothing").to_owned())
                }
            })
        }
        Err(ProcessError::Deadline { .. }) => Ok(Err("gcov does not end".to_owned())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::artifacts::Artifacts;
    use crate::coverage::changed::ChangedFile;

    #[test]
    fn the_compiler_s_name_of_a_file_may_be_a_path() {
        assert!(is_file("/cache/tree/fs/ceph/addr.c", "fs/ceph/addr.c"));
        assert!(is_file("fs/ceph/addr.c", "fs/ceph/addr.c"));
        assert!(!is_file(
            "/cache/tree/otherfs/ceph/addr.c",
            "fs/ceph/addr.c"
        ));
    }

    #[test]
    fn counts_of_a_line_in_several_functions_are_one() {
        let said = br#"{"files":[{"file":"/t/f.h","lines":[{"line_number":3,"count":0},
            {"line_number":3,"count":2},{"line_number":4,"count":0}]},
            {"file":"/t/other.c","lines":[{"line_number":1,"count":1}]}]}
            {"files":[{"file":"f.h","lines":[{"line_number":3,"count":1e300},
            {"line_number":5,"count":-7}]}]}"#;
        let mut counts = Counts::default();
        counts.add(said, &["f.h".to_owned()]).unwrap();
        assert_eq!(counts.files.len(), 1);
        let lines = &counts.files["f.h"];
        assert_eq!(lines[&3], u64::MAX);
        assert_eq!((lines[&4], lines[&5]), (0, 0));
        assert!(counts.add(b"<html>", &[]).is_err());
    }

    /// A program with gcc's counters, run once: what gcov makes of them, and of
    /// what is none.
    #[tokio::test]
    async fn counters_of_a_program_become_counts_and_garbage_a_problem() {
        let home = tempfile::tempdir().unwrap();
        let context = Context::default();
        let objects = home.path().join("objects");
        std::fs::create_dir_all(&objects).unwrap();
        let source = "int main(int argc, char **argv)\n{\n\tif (argc > 1)\n\t\treturn 7;\n\
                      \treturn 0;\n}\n";
        std::fs::write(objects.join("f.c"), source).unwrap();
        let gcc = [
            "-fprofile-arcs",
            "-ftest-coverage",
            "-o",
            "f.o",
            "-c",
            "f.c",
        ];
        let here = |command: Command| command.directory(&objects);
        let cancel = &context.cancel;
        here(Command::new("gcc"))
            .args(gcc)
            .run(cancel)
            .await
            .unwrap();
        let link = here(Command::new("gcc")).args(["--coverage", "-o", "f", "f.o"]);
        link.run(cancel).await.unwrap();
        here(Command::new("./f")).run(cancel).await.unwrap();

        let attempt = home.path().join("attempt");
        let mut artifacts = Artifacts::default();
        let counters = std::fs::read(objects.join("f.gcda")).unwrap();
        artifacts.take("f", Ok(counters.clone()));
        artifacts.take("f", Ok(b"no counters at all".to_vec()));
        artifacts.take("g", Err("ENOENT".to_owned()));
        artifacts.take("h", Ok(counters));
        artifacts.keep(&attempt).unwrap();
        let changed = Changed {
            patches: Vec::new(),
            files: vec![ChangedFile {
                file: "f.c".to_owned(),
                lines: Vec::new(),
            }],
        };
        let counts = count(&context, &objects, &changed, &attempt).await;
        let counts = counts.unwrap().unwrap();
        let lines = &counts.files["f.c"];
        assert_eq!((lines[&3], lines[&4], lines[&5]), (1, 0, 1), "{counts:?}");
        assert!(!lines.contains_key(&2));
        let problems = &counts.problems;
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("f: object.gcda:"), "{problems:?}");
        assert_eq!(problems[1..], ["g: ENOENT", "h: h.gcno is not there"]);
        assert_eq!(Counts::of(&attempt).unwrap(), Some(counts));
    }
}
