//! `kvet scan`: findings in any kernel log.
//!
//! Reads files or standard input in chunks and prints each finding as soon as
//! its report is complete, and of a log that is still being written its title as
//! soon as it can be told; a file that cannot be read is reported and the others
//! are scanned all the same.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::console::{self, Decoder, Splitter};
use crate::detect::{self, Finding, Pattern, Scanner, Sighting};
use crate::error::{Error, Exit, Fault};
use crate::printable::printable_json;
use crate::symbols::Symbols;

pub use super::output::Format;
use super::scan_text::Folded;

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// Bytes of a corpus' line, at most.
const CASE: u64 = 64 << 20;
/// Bytes of a file that decide whether it is text.
const SAMPLE: usize = 4096;
/// Bytes of garbage that a console may print at once.
const GARBAGE: usize = 32;

/// Arguments of `kvet scan`.
#[derive(Debug, Clone, Args)]
pub struct ScanArgs {
    /// Kernel logs: console captures, dmesg, journals; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "corpus")]
    pub files: Vec<PathBuf>,
    /// How findings are printed: as text, or as one JSON object per line
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
    #[diagnostic(help("{help}"))]
    Binary {
        /// The file.
        path: String,
        /// What reads such a file.
        help: String,
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
    /// A line of the corpus does not end.
    #[error("{path}:{line}: a case of more than {} MiB", CASE >> 20)]
    #[diagnostic(help(
        "each line is a JSON object with `id` and `log`; the lines before were answered"
    ))]
    LongCase {
        /// The corpus.
        path: String,
        /// The line.
        line: u64,
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
        let file = path.display().to_string();
        let mut folded = Folded::new(&file, symbols.as_ref());
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
            match args.format {
                Format::Json => {
                    let file = &file;
                    let finding = &finding;
                    print_json(&Printed { file, finding }, out)
                }
                Format::Human => folded.add(&finding, out).map_err(ScanError::Write),
            }
        });
        let finished = folded.finish(out).map_err(ScanError::Write);
        let result = result.and_then(|seen| finished.map(|()| seen));
        match result {
            Ok(seen) => {
                // Silence is no clean bill from what is no kernel's log.
                let note = match seen {
                    Seen::Nothing => Some("is empty: nothing was scanned"),
                    Seen::Others if !found => Some(
                        "has no line that looks like a kernel's: that nothing was found in it \
                         says nothing about a kernel",
                    ),
                    _ => None,
                };
                if let Some(note) = note {
                    tell(Remark::Note(format!("{file} {note}")));
                }
            }
            // There is only something to be written if something was found.
            Err(ScanError::Write(error)) if is_gone(&error) => return Ok(Exit::Bad),
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

/// Whether whoever read the output has gone: they have what they wanted.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

fn is_muted(finding: &Finding, mutes: &[Pattern]) -> bool {
    mutes.iter().any(|mute| {
        let mut names = std::iter::once(&finding.title).chain(&finding.alternatives);
        names.any(|name| mute.matches(name))
    })
}

/// What a file was seen to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// No byte.
    Nothing,
    /// No line that looks like a kernel's.
    Others,
    /// Lines that do.
    Kernel,
}

/// Looks for a line of a kernel's, until there is one.
#[derive(Debug, Default)]
struct Watch {
    decoder: Decoder,
    splitter: Splitter,
    seen: bool,
}

impl Watch {
    fn push(&mut self, chunk: &[u8]) {
        if self.seen {
            return;
        }
        let chunk = self.decoder.push(chunk);
        let seen = &mut self.seen;
        self.splitter.push(&chunk, |run| {
            let mut lines = run.split(|byte| *byte == b'\n');
            *seen = *seen || lines.any(console::is_of_a_kernel);
        });
    }

    fn finish(mut self, count: u64) -> Seen {
        let last = self.splitter.finish();
        match (count, self.seen || console::is_of_a_kernel(&last)) {
            (0, _) => Seen::Nothing,
            (_, true) => Seen::Kernel,
            (_, false) => Seen::Others,
        }
    }
}

/// Scans one file to its end.
fn scan_file(
    path: &Path,
    seen: &mut dyn FnMut(Sighting) -> Result<(), ScanError>,
) -> Result<Seen, ScanError> {
    let name = path.display().to_string();
    let read = |source| ScanError::Read {
        path: name.clone(),
        source,
    };
    if path == Path::new("-") {
        return scan_stream(&mut io::stdin().lock(), &name, seen).map(|(_, kind)| kind);
    }
    let mut file = File::open(path).map_err(read)?;
    let before = file.metadata().map_err(read)?;
    if before.is_dir() {
        return Err(ScanError::Directory { path: name });
    }
    let (count, kind) = scan_stream(&mut file, &name, seen)?;
    if before.is_file() && count < before.len() {
        return Err(ScanError::Shrank {
            path: name,
            read: count,
            size: before.len(),
        });
    }
    Ok(kind)
}

/// Reads a log to its end; how many bytes that were, and of what.
fn scan_stream(
    stream: &mut dyn Read,
    name: &str,
    seen: &mut dyn FnMut(Sighting) -> Result<(), ScanError>,
) -> Result<(u64, Seen), ScanError> {
    let mut scanner = Scanner::new();
    let mut watch = Watch::default();
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
            return Ok((count, watch.finish(count)));
        }
        if count == 0 && is_binary(&chunk[..length]) {
            return Err(ScanError::Binary {
                path: name.to_owned(),
                help: reader_of(&chunk[..length], name),
            });
        }
        count += length as u64;
        watch.push(&chunk[..length]);
        scanner
            .push(&chunk[..length])
            .into_iter()
            .try_for_each(&mut *seen)?;
    }
}

/// What containers that are no text begin with, and what reads them.
const READERS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "zcat"),
    (b"\xfd7zXZ", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "zstdcat"),
    (b"BZh", "bzcat"),
    (b"LPKSHHRH", "journalctl -k -o short-monotonic --file"),
    (b"\x7fELF", "crash -s VMLINUX"),
];

/// Whether the beginning of a file is no text. Consoles do print a few bytes
/// of garbage, and of a pipe they may be all that comes first, so it takes many;
/// of what is compressed they are a tenth.
fn is_binary(beginning: &[u8]) -> bool {
    if matches!(beginning, [0xff, 0xfe, _, 0, ..] | [0xfe, 0xff, 0, ..]) {
        // UTF-16.
        return false;
    }
    if READERS
        .iter()
        .any(|(magic, _)| beginning.starts_with(magic))
    {
        return true;
    }
    let sample = &beginning[..beginning.len().min(SAMPLE)];
    let strange = sample
        .iter()
        .filter(|byte| {
            **byte < b' ' && !matches!(**byte, b'\n' | b'\r' | b'\t' | 0x1b | 0x08 | 0x07)
        })
        .count();
    strange > GARBAGE && strange * 20 > sample.len()
}

/// How to read a container that is no text, by its first bytes.
fn reader_of(beginning: &[u8], path: &str) -> String {
    let known = READERS
        .iter()
        .find(|(magic, _)| beginning.starts_with(magic));
    let reader = known.map_or("zcat", |(_, reader)| reader);
    if reader.starts_with("crash") {
        return format!("a memory dump: get its log with `makedumpfile --dump-dmesg {path} LOG`");
    }
    format!("what is packed can be piped in: {reader} {path} | kvet scan -")
}

/// A finding in a file, as it is printed.
#[derive(Serialize)]
struct Printed<'a> {
    file: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

fn print_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), ScanError> {
    let text = serde_json::to_string(value).map_err(|error| ScanError::Write(error.into()))?;
    writeln!(out, "{}", printable_json(&text))
        .and_then(|()| out.flush())
        .map_err(ScanError::Write)
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
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let room = &mut (&mut file).take(CASE);
        if room.read_until(b'\n', &mut line).map_err(read)? == 0 {
            break;
        }
        if line.len() as u64 == CASE && !line.ends_with(b"\n") {
            return Err(ScanError::LongCase {
                path: name,
                line: number,
            });
        }
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
                    line: number,
                    source,
                };
                tell(Remark::Failure(&error.into()));
                continue;
            }
        };
        let findings = detect::scan(case.log.as_bytes());
        let first = findings.iter().min_by_key(|finding| finding.first_line);
        any |= first.is_some();
        let answer = Answer {
            id: &case.id,
            detect: first.is_some(),
            cls: first.map_or("none", |finding| finding.class.name()),
            title: first.map_or("", |finding| &finding.title),
            corrupted: first.is_some_and(|finding| finding.damaged),
        };
        match print_json(&answer, out) {
            Err(ScanError::Write(error)) if is_gone(&error) => {
                return Ok(if any { Exit::Bad } else { Exit::Undecided });
            }
            printed => printed?,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe whose reader has gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_has_what_it_wanted() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        let text = "[    1.0] WARNING: CPU: 0 PID: 1 at fs/f.c:1 f+0x1/0x2\n[    2.0] next\n";
        std::fs::write(&log, text).unwrap();
        let corpus = home.path().join("corpus.jsonl");
        let case = serde_json::json!({ "id": "1", "log": text });
        std::fs::write(&corpus, case.to_string()).unwrap();
        for format in [Format::Human, Format::Json] {
            for corpus in [None, Some(corpus.clone())] {
                let args = ScanArgs {
                    files: vec![log.clone()],
                    format,
                    corpus,
                    vmlinux: None,
                    tree: None,
                    mute: Vec::new(),
                };
                let done = scan(&args, &mut Gone, &mut |_| {});
                assert_eq!(done.unwrap(), Exit::Bad);
            }
        }
    }
}
