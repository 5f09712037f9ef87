//! `kvet scan`: findings in any kernel log.
//!
//! Reads files or standard input in chunks and prints each finding as soon as
//! its report is complete, and of a log that is still being written its title as
//! soon as it can be told; a file that cannot be read is reported and the others
//! are scanned all the same.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::detect::{self, Finding, Pattern, Place, Scanner, Sighting, Symbols};
use crate::error::{Error, Exit, Fault};
use crate::report::printable;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// Bytes of a file that decide whether it is text.
const SAMPLE: usize = 4096;
/// Frames of a stack that are shown to people.
const SHOWN_FRAMES: usize = 16;

/// Arguments of `kvet scan`.
#[derive(Debug, Clone, Args)]
pub struct ScanArgs {
    /// Kernel logs: console captures, dmesg, journals; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "corpus")]
    pub files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Scan the cases (`id`, `log`) of a JSON-lines file and print a line each
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "files")]
    pub corpus: Option<PathBuf>,
    /// The kernel's uncompressed image with symbols: frames get file and line
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    pub vmlinux: Option<PathBuf>,
    /// The tree the image was built from: frames are shown with their source
    #[arg(long, value_name = "DIR", requires = "vmlinux")]
    pub tree: Option<PathBuf>,
    /// Pass over findings with such a title: `*` is anything, `/.../` a regular
    /// expression (may be repeated)
    #[arg(long, value_name = "TITLE-PATTERN", value_parser = pattern, conflicts_with = "corpus")]
    pub mute: Vec<Pattern>,
}

fn pattern(text: &str) -> Result<Pattern, detect::BadPattern> {
    Pattern::try_from(text.to_owned())
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A few lines per finding.
    Human,
    /// One JSON object per line.
    Json,
}

/// Why a log could not be scanned.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ScanError {
    /// It could not be opened or read.
    #[error("cannot read {path}: {source}")]
    #[diagnostic(help("check that the file exists and may be read; the other files were scanned"))]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory.
    #[error("{path} is a directory, not a log")]
    #[diagnostic(help("name the files in it: kvet scan {path}/*"))]
    Directory {
        /// The directory.
        path: String,
    },
    /// It holds no text.
    #[error("{path} is not a log: it holds binary data")]
    #[diagnostic(help("compressed logs can be piped in: zcat {path} | kvet scan -"))]
    Binary {
        /// The file.
        path: String,
    },
    /// It became shorter while it was read.
    #[error("{path} shrank while it was read: {read} of {size} bytes came")]
    #[diagnostic(help("scan a copy, or pipe the log in while it is written"))]
    Shrank {
        /// The file.
        path: String,
        /// Bytes read.
        read: u64,
        /// Its size when it was opened.
        size: u64,
    },
    /// A line of the corpus is no case.
    #[error("{path}:{line}: not a case: {source}")]
    #[diagnostic(help("each line is a JSON object with `id` and `log`"))]
    Case {
        /// The corpus.
        path: String,
        /// The line.
        line: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Some lines of the corpus are no cases; each was reported.
    #[error("{path}: {failed} of {total} lines are not cases")]
    #[diagnostic(help("the other lines' answers are printed above"))]
    Cases {
        /// The corpus.
        path: String,
        /// How many.
        failed: u64,
        /// Of how many.
        total: u64,
    },
    /// Some files could not be scanned; each was reported.
    #[error("{failed} of {total} files could not be scanned")]
    #[diagnostic(help("what was found in the others is printed above"))]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
    },
    /// Standard output is gone.
    #[error("cannot write the findings: {0}")]
    #[diagnostic(help("the reader of the output may have closed it"))]
    Write(#[source] io::Error),
}

impl Fault for ScanError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What there is to say besides findings.
#[derive(Debug)]
pub enum Remark<'a> {
    /// A file could not be scanned.
    Failure(&'a Error),
    /// Nothing is wrong with the scan.
    Note(String),
}

/// Scans what the arguments name; findings go to `out`, everything else to
/// `tell`. Good means no findings, bad some.
pub fn scan(
    args: &ScanArgs,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(Remark<'_>),
) -> Result<Exit, Error> {
    if let Some(corpus) = &args.corpus {
        return scan_corpus(corpus, out, tell).map_err(Error::from);
    }
    let symbols = args
        .vmlinux
        .as_deref()
        .map(|image| Symbols::open(image, args.tree.as_deref()))
        .transpose()?;
    let mut found = false;
    let mut failed = Vec::new();
    for path in &args.files {
        let live = path == Path::new("-");
        let result = scan_file(path, &mut |sighting| {
            let mut finding = match sighting {
                Sighting::Complete(finding) => *finding,
                Sighting::Begun { title, line, .. } => {
                    if live && !args.mute.iter().any(|mute| mute.matches(&title)) {
                        tell(Remark::Note(format!("line {line}: {title} ...")));
                    }
                    return Ok(());
                }
            };
            if is_muted(&finding, &args.mute) {
                return Ok(());
            }
            found = true;
            if let Some(symbols) = &symbols {
                symbols.annotate(&mut finding);
            }
            print(path, &finding, symbols.as_ref(), args.format, out)
        });
        match result {
            Ok(0) => {
                // Clean, for want of anything else, but hardly what was meant.
                let path = path.display();
                tell(Remark::Note(format!(
                    "{path} is empty: nothing was scanned"
                )));
            }
            Ok(_) => {}
            Err(error @ ScanError::Write(_)) => return Err(error.into()),
            Err(error) => failed.push(error),
        }
    }
    let total = args.files.len();
    match failed.len() {
        0 => Ok(if found { Exit::Bad } else { Exit::Good }),
        1 if total == 1 => Err(failed.remove(0).into()),
        count => {
            for error in failed {
                tell(Remark::Failure(&error.into()));
            }
            Err(ScanError::Some {
                failed: count,
                total,
            }
            .into())
        }
    }
}

fn is_muted(finding: &Finding, mutes: &[Pattern]) -> bool {
    mutes.iter().any(|mute| {
        let mut names = std::iter::once(&finding.title).chain(&finding.alternatives);
        names.any(|name| mute.matches(name))
    })
}

/// Scans one file to its end; how many bytes that were.
fn scan_file(
    path: &Path,
    seen: &mut dyn FnMut(Sighting) -> Result<(), ScanError>,
) -> Result<u64, ScanError> {
    let name = path.display().to_string();
    let read = |source| ScanError::Read {
        path: name.clone(),
        source,
    };
    if path == Path::new("-") {
        return scan_stream(&mut io::stdin().lock(), &name, seen);
    }
    let mut file = File::open(path).map_err(read)?;
    let before = file.metadata().map_err(read)?;
    if before.is_dir() {
        return Err(ScanError::Directory { path: name });
    }
    let count = scan_stream(&mut file, &name, seen)?;
    if before.is_file() && count < before.len() {
        return Err(ScanError::Shrank {
            path: name,
            read: count,
            size: before.len(),
        });
    }
    Ok(count)
}

/// Reads a log to its end; how many bytes that were.
fn scan_stream(
    stream: &mut dyn Read,
    name: &str,
    seen: &mut dyn FnMut(Sighting) -> Result<(), ScanError>,
) -> Result<u64, ScanError> {
    let mut scanner = Scanner::new();
    let mut chunk = vec![0; CHUNK];
    let mut count = 0_u64;
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(source) => {
                scanner.end().into_iter().try_for_each(&mut *seen)?;
                return Err(ScanError::Read {
                    path: name.to_owned(),
                    source,
                });
            }
        };
        if length == 0 {
            scanner.end().into_iter().try_for_each(&mut *seen)?;
            return Ok(count);
        }
        if count == 0 && is_binary(&chunk[..length]) {
            return Err(ScanError::Binary {
                path: name.to_owned(),
            });
        }
        count += length as u64;
        scanner
            .push(&chunk[..length])
            .into_iter()
            .try_for_each(&mut *seen)?;
    }
}

/// Whether the beginning of a file is no text. Consoles do print a few bytes
/// of garbage, so it takes many; of what is compressed they are a tenth.
fn is_binary(beginning: &[u8]) -> bool {
    let sample = &beginning[..beginning.len().min(SAMPLE)];
    let strange = sample
        .iter()
        .filter(|byte| {
            **byte < b' ' && !matches!(**byte, b'\n' | b'\r' | b'\t' | 0x1b | 0x08 | 0x07)
        })
        .count();
    strange * 20 > sample.len()
}

/// A finding in a file, as it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

fn print(
    path: &Path,
    finding: &Finding,
    symbols: Option<&Symbols>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), ScanError> {
    let file = path.display().to_string();
    match format {
        Format::Json => print_json(
            &Printed {
                file: &file,
                finding,
            },
            out,
        ),
        Format::Human => {
            let mut text = Vec::new();
            human(&file, finding, symbols, &mut text)
                .and_then(|()| {
                    let text = String::from_utf8_lossy(&text);
                    let mut lines = text.lines();
                    // Whoever wrote the log gets no escapes to a terminal.
                    lines.try_for_each(|line| writeln!(out, "{}", printable(line)))
                })
                .and_then(|()| out.flush())
                .map_err(ScanError::Write)
        }
    }
}

fn print_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), ScanError> {
    serde_json::to_writer(&mut *out, value).map_err(|error| ScanError::Write(error.into()))?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .map_err(ScanError::Write)
}

fn human(
    file: &str,
    finding: &Finding,
    symbols: Option<&Symbols>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let lines = if finding.first_line == finding.last_line {
        finding.first_line.to_string()
    } else {
        format!("{}-{}", finding.first_line, finding.last_line)
    };
    let damaged = if finding.damaged {
        " (damaged report)"
    } else {
        ""
    };
    writeln!(out, "{file}:{lines}: {}{damaged}", finding.title)?;
    let mut facts = vec![finding.class.to_string()];
    if let Some(time) = finding.time {
        facts.push(format!("at {time:.3} s"));
    }
    if let Some(task) = &finding.task {
        match finding.pid {
            Some(pid) => facts.push(format!("task {task}:{pid}")),
            None => facts.push(format!("task {task}")),
        }
    }
    if let Some(cpu) = finding.cpu {
        facts.push(format!("CPU {cpu}"));
    }
    if let Some(workqueue) = &finding.workqueue {
        facts.push(format!("workqueue {workqueue}"));
    }
    writeln!(out, "    {}", facts.join(", "))?;
    if let Some(symbols) = symbols {
        places(finding, symbols, out)?;
    } else {
        let frames: Vec<&str> = finding
            .frames
            .iter()
            .filter(|frame| frame.reliable)
            .take(SHOWN_FRAMES)
            .map(|frame| frame.function.as_str())
            .collect();
        if !frames.is_empty() {
            writeln!(out, "    {}", frames.join(" <- "))?;
        }
    }
    if !finding.waits_for.is_empty() {
        writeln!(out, "    waits for {}", finding.waits_for.join(", "))?;
    }
    Ok(())
}

/// The stack, a line a function, those inlined in between and the source below
/// each where it is there.
fn places(finding: &Finding, symbols: &Symbols, out: &mut dyn Write) -> io::Result<()> {
    let shown = finding.frames.iter().enumerate();
    let shown = shown.filter(|(_, frame)| frame.reliable);
    for (index, frame) in shown.take(SHOWN_FRAMES) {
        let places = symbols.places(frame, index > 0);
        if places.is_empty() {
            writeln!(out, "    {}", frame.function)?;
        }
        let outermost = places.len().saturating_sub(1);
        for (depth, place) in places.iter().enumerate() {
            let Place {
                function,
                file,
                line,
                source,
            } = place;
            let inlined = if depth < outermost { " (inlined)" } else { "" };
            write!(out, "    {function}{inlined}")?;
            if let (Some(file), Some(line)) = (file, line) {
                write!(out, " at {file}:{line}")?;
            }
            writeln!(out)?;
            if let Some(source) = source {
                writeln!(out, "        {}", source.trim().replace('\t', " "))?;
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Case {
    id: String,
    log: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    detect: bool,
    cls: &'a str,
    title: &'a str,
    corrupted: bool,
}

/// Answers each case of a corpus with its first finding. A line that is not a
/// case is told, and does not keep the others from their answers.
fn scan_corpus(
    path: &Path,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(Remark<'_>),
) -> Result<Exit, ScanError> {
    let name = path.display().to_string();
    let read = |source| ScanError::Read {
        path: name.clone(),
        source,
    };
    let file = File::open(path).map_err(read)?;
    if file.metadata().map_err(read)?.is_dir() {
        return Err(ScanError::Directory { path: name });
    }
    let mut any = false;
    let (mut failed, mut total) = (0, 0);
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(read)?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        total += 1;
        let case: Case = match serde_json::from_slice(&line) {
            Ok(case) => case,
            Err(source) => {
                failed += 1;
                let error = ScanError::Case {
                    path: name.clone(),
                    line: index as u64 + 1,
                    source,
                };
                tell(Remark::Failure(&error.into()));
                continue;
            }
        };
        let findings = detect::scan(case.log.as_bytes());
        let first = findings.iter().min_by_key(|finding| finding.first_line);
        any |= first.is_some();
        print_json(
            &Answer {
                id: &case.id,
                detect: first.is_some(),
                cls: first.map_or("none", |finding| finding.class.name()),
                title: first.map_or("", |finding| &finding.title),
                corrupted: first.is_some_and(|finding| finding.damaged),
            },
            out,
        )?;
    }
    if failed > 0 {
        return Err(ScanError::Cases {
            path: name,
            failed,
            total,
        });
    }
    Ok(if any { Exit::Bad } else { Exit::Good })
}
