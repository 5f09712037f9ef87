//! The only place that starts processes on the host.
//!
//! A [`Command`] says what to run; [`Command::run`] runs it to its end and
//! [`Command::spawn`] hands out a long-lived [`Process`]. Either way the child
//! leads a process group of its own, dies with kvet, is asked to end (TERM)
//! before it is made to (KILL), and is gone when this module says so.
//!
//! The parent-death signal follows the *thread* that started the child, so
//! processes are started from async code on the runtime's one thread, never
//! from `spawn_blocking`.

pub mod confined;
pub(crate) mod family;
mod namespace;
mod search;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use miette::Diagnostic;
use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

pub use namespace::{Namespace, NetworkError, private_network};
pub use search::find_program;

use crate::error::{Exit, Fault};

/// How long a process may take from TERM to its end before it gets KILL.
pub const GRACE: Duration = Duration::from_secs(3);

/// How long to go on reading the pipes of a process that has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// Captured output kept per stream; more is read and dropped, so a chatty
/// child can neither block nor fill memory.
const CAPTURE_LIMIT: usize = 16 << 20;

/// A process did not start, or did not end as it should.
#[derive(Debug, Error, Diagnostic)]
pub enum ProcessError {
    /// The program could not be started at all.
    #[error("cannot start {program}")]
    #[diagnostic(help("`kvet doctor` lists what is missing and how to install it"))]
    Start {
        /// The program's name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program ended with something other than success.
    #[error("{command} failed: {status}{}", tail_of(stderr))]
    Failed {
        /// The command, as one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error (or, if nothing, on standard output).
        stderr: String,
    },
    /// The program was still running at its deadline and was ended.
    #[error("{command} was still running after {}", humantime::format_duration(*after))]
    Deadline {
        /// The command, as one would type it.
        command: String,
        /// The deadline.
        after: Duration,
    },
    /// It printed more than is kept, where all of it counts.
    #[error("{command} printed more than {} MiB", CAPTURE_LIMIT >> 20)]
    TooMuch {
        /// The command, as one would type it.
        command: String,
    },
    /// kvet was asked to stop; the program was ended.
    #[error("interrupted")]
    Interrupted,
    /// Talking to the program failed.
    #[error("lost the connection to {program}")]
    Io {
        /// The program's name.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl Fault for ProcessError {
    fn exit(&self) -> Exit {
        match self {
            Self::Interrupted => Exit::Interrupted,
            Self::Start { .. }
            | Self::Failed { .. }
            | Self::Deadline { .. }
            | Self::TooMuch { .. }
            | Self::Io { .. } => Exit::Usage,
        }
    }
}

fn tail_of(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let tail = &lines[lines.len().saturating_sub(8)..];
    if tail.is_empty() {
        return String::new();
    }
    format!("\n{}", tail.join("\n"))
}

/// Where a stream of a child goes.
#[derive(Debug)]
enum Sink {
    Null,
    Pipe,
    File(File),
}

/// A program to run, with everything about how.
#[derive(Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    /// Variables with what they are set to; without that they are taken away.
    envs: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    input: Option<Vec<u8>>,
    stdout: Sink,
    stderr: Sink,
    deadline: Option<Duration>,
}

/// A finished program's status and captured output.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Captured standard output, at most 16 MiB of it.
    pub stdout: Vec<u8>,
    /// Captured standard error, at most 16 MiB of it.
    pub stderr: Vec<u8>,
    /// Whether there was more on standard output than that.
    pub is_cut: bool,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Command {
    /// A program by name or path, without arguments, its output captured.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            directory: None,
            input: None,
            stdout: Sink::Pipe,
            stderr: Sink::Pipe,
            deadline: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let value = Some(value.as_ref().to_owned());
        self.envs.push((key.as_ref().to_owned(), value));
        self
    }

    /// Whether it takes this environment variable away.
    #[cfg(test)]
    pub(crate) fn is_without(&self, key: &str) -> bool {
        let removed = |(name, value): &(OsString, _)| name == key && Option::is_none(value);
        self.envs.iter().any(removed)
    }

    /// Takes environment variables away that kvet itself was given.
    #[must_use]
    pub fn without(mut self, keys: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let away = keys.into_iter().map(|key| (key.as_ref().to_owned(), None));
        self.envs.extend(away);
        self
    }

    /// Runs in this directory.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// Feeds these bytes to standard input (otherwise it is `/dev/null`).
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Sends standard output to a file instead of capturing it.
    #[must_use]
    pub fn stdout_to(mut self, file: File) -> Self {
        self.stdout = Sink::File(file);
        self
    }

    /// Sends standard error to a file instead of capturing it.
    #[must_use]
    pub fn stderr_to(mut self, file: File) -> Self {
        self.stderr = Sink::File(file);
        self
    }

    /// Discards both output streams.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.stdout = Sink::Null;
        self.stderr = Sink::Null;
        self
    }

    /// Ends the program if it runs longer than this.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The same command inside a namespace.
    #[must_use]
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        let (program, mut args) = namespace.entry(self.directory.as_deref());
        args.push(std::mem::replace(&mut self.program, program));
        args.append(&mut self.args);
        self.args = args;
        self
    }

    /// The command as one would type it, for logs and records.
    #[must_use]
    pub fn display(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Runs to the end and captures the output; any exit status is `Ok`.
    pub async fn status(self, cancel: &CancellationToken) -> Result<Finished, ProcessError> {
        let (mut stdout, mut stderr) = (Captured::default(), Captured::default());
        let status = self
            .drive(cancel, &mut Collect::Bytes(&mut stdout, &mut stderr))
            .await?;
        Ok(Finished {
            status,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            is_cut: stdout.is_cut,
        })
    }

    /// Runs to the end, captures the output, and makes failure an error, as well as
    /// output that is not all there.
    pub async fn run(self, cancel: &CancellationToken) -> Result<Finished, ProcessError> {
        let command = self.display();
        let finished = self.status(cancel).await?;
        if finished.status.success() {
            return if finished.is_cut {
                Err(ProcessError::TooMuch { command })
            } else {
                Ok(finished)
            };
        }
        let said = if finished.stderr.is_empty() {
            &finished.stdout
        } else {
            &finished.stderr
        };
        Err(ProcessError::Failed {
            command,
            status: finished.status,
            stderr: String::from_utf8_lossy(said).into_owned(),
        })
    }

    /// Runs to the end, handing over each line as it comes (without its line
    /// end, invalid UTF-8 replaced); any exit status is `Ok`.
    pub async fn lines(
        self,
        cancel: &CancellationToken,
        mut each: impl FnMut(Stream, &str),
    ) -> Result<ExitStatus, ProcessError> {
        self.drive(cancel, &mut Collect::Lines(&mut each)).await
    }

    async fn drive(
        mut self,
        cancel: &CancellationToken,
        collect: &mut Collect<'_>,
    ) -> Result<ExitStatus, ProcessError> {
        let command = self.display();
        let program = self.program_name();
        let deadline = self.deadline;
        let input = self.input.take();
        let mut process = self.start(input.is_some())?;
        let stdin = process.child.stdin.take();
        let stdout = process.child.stdout.take();
        let stderr = process.child.stderr.take();
        let feed = async {
            if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
                // A child that does not read its input to the end is its own affair.
                drop(pipe.write_all(&bytes).await);
            }
        };
        let child = &mut process.child;
        let work = async {
            let mut reading =
                std::pin::pin!(async { tokio::join!(collect.read(stdout, stderr), feed).0 });
            tokio::select! {
                read = &mut reading => {
                    read?;
                    child.wait().await
                }
                status = child.wait() => {
                    // What the leader wrote is in the pipes already. A process it
                    // left behind may hold them open for ever: don't wait for that.
                    if let Ok(read) = tokio::time::timeout(DRAIN, reading).await {
                        read?;
                    }
                    status
                }
            }
        };
        let expired = async {
            match deadline {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            status = work => Some(status),
            () = expired => None,
            () = cancel.cancelled() => {
                process.stop(GRACE).await;
                return Err(ProcessError::Interrupted);
            }
        };
        match result {
            Some(Ok(status)) => {
                process.over(status);
                Ok(status)
            }
            Some(Err(source)) => {
                process.stop(GRACE).await;
                Err(ProcessError::Io { program, source })
            }
            None => {
                process.stop(GRACE).await;
                Err(ProcessError::Deadline {
                    command,
                    after: deadline.unwrap_or_default(),
                })
            }
        }
    }

    /// Starts a long-lived process. Its piped streams are taken from the handle;
    /// standard input is a pipe when `with_input` is set.
    pub fn spawn(self, with_input: bool) -> Result<Process, ProcessError> {
        self.start(with_input)
    }

    #[expect(clippy::disallowed_types, reason = "this is the place")]
    fn start(self, with_input: bool) -> Result<Process, ProcessError> {
        let program = self.program_name();
        let typed = self.display();
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(if with_input {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(self.stdout.into_stdio())
            .stderr(self.stderr.into_stdio())
            .process_group(0)
            .kill_on_drop(true);
        for (key, value) in self.envs {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        die_with_parent(&mut command);
        let child = command.spawn().map_err(|source| ProcessError::Start {
            program: program.clone(),
            source,
        })?;
        let number = child.id();
        tracing::info!(process = number, program, "started");
        tracing::debug!(process = number, command = typed.as_str(), "its command");
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Process {
            child,
            group,
            number,
            is_over: false,
            program,
            display: typed,
        })
    }
}

impl Sink {
    fn into_stdio(self) -> Stdio {
        match self {
            Self::Null => Stdio::null(),
            Self::Pipe => Stdio::piped(),
            Self::File(file) => Stdio::from(file),
        }
    }
}

/// Asks the kernel to kill the child when the thread that started it ends, so
/// that nothing outlives a kvet that was itself killed.
#[expect(unsafe_code, reason = "pre_exec has no safe form")]
#[expect(clippy::disallowed_types, reason = "this is the place")]
fn die_with_parent(command: &mut tokio::process::Command) {
    let parent = rustix::process::getpid();
    // SAFETY: the closure runs between fork and exec and makes only the
    // async-signal-safe calls prctl(2) and getppid(2); it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call above took effect.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// A long-lived child. Dropping it kills its whole group.
#[derive(Debug)]
pub struct Process {
    child: tokio::process::Child,
    group: Option<Pid>,
    /// Its process id, also when it is gone.
    number: Option<u32>,
    /// Whether its end was traced.
    is_over: bool,
    program: String,
    display: String,
}

impl Process {
    /// The process id, until it has been waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The program's name, for messages.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The command as one would type it, for records.
    #[must_use]
    pub fn display(&self) -> &str {
        &self.display
    }

    /// Takes the pipe to its standard input.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes the pipe from its standard output.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the pipe from its standard error.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits for its end. Safe to race and to call again.
    pub async fn wait(&mut self) -> Result<ExitStatus, ProcessError> {
        let waited = self.child.wait().await;
        let status = waited.map_err(|source| ProcessError::Io {
            program: self.program.clone(),
            source,
        })?;
        self.over(status);
        Ok(status)
    }

    /// Traces its end, once, and ends whatever it left in its group: from now on the
    /// group's number can become another's.
    fn over(&mut self, status: ExitStatus) {
        self.kill_group();
        if !std::mem::replace(&mut self.is_over, true) {
            let program = self.program.as_str();
            tracing::info!(process = self.number, program, %status, "ended");
        }
    }

    /// Whether it has ended, without waiting.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.over(status);
        Some(status)
    }

    /// Sends a signal to the whole group.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // ESRCH: already gone, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// TERM to the group, KILL after `grace`; returns when the leader is reaped.
    pub async fn stop(&mut self, grace: Duration) -> Option<ExitStatus> {
        if self.ended().is_none() {
            self.signal(Signal::TERM);
            if tokio::time::timeout(grace, self.child.wait())
                .await
                .is_err()
            {
                self.signal(Signal::KILL);
            }
        }
        let status = self.wait().await.ok();
        self.kill_group();
        status
    }

    fn kill_group(&mut self) {
        self.signal(Signal::KILL);
        self.group = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The beginning of what a child printed.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// What to do with a child's output.
enum Collect<'a> {
    Bytes(&'a mut Captured, &'a mut Captured),
    Lines(&'a mut dyn FnMut(Stream, &str)),
}

impl Collect<'_> {
    async fn read(
        &mut self,
        stdout: Option<ChildStdout>,
        stderr: Option<ChildStderr>,
    ) -> io::Result<()> {
        match self {
            Self::Bytes(out, err) => {
                tokio::try_join!(capture(stdout, out), capture(stderr, err))?;
            }
            Self::Lines(each) => read_lines(stdout, stderr, *each).await?,
        }
        Ok(())
    }
}

async fn capture(
    pipe: Option<impl tokio::io::AsyncRead + Unpin>,
    kept: &mut Captured,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = pipe.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        let room = CAPTURE_LIMIT.saturating_sub(kept.bytes.len()).min(count);
        kept.bytes.extend_from_slice(&chunk[..room]);
        kept.is_cut |= room < count;
    }
}

async fn read_lines(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    each: &mut dyn FnMut(Stream, &str),
) -> io::Result<()> {
    let mut out = stdout.map(BufReader::new);
    let mut err = stderr.map(BufReader::new);
    let mut out_line = Vec::new();
    let mut err_line = Vec::new();
    while out.is_some() || err.is_some() {
        let (stream, count) = tokio::select! {
            count = next_line(&mut out, &mut out_line) => (Stream::Out, count?),
            count = next_line(&mut err, &mut err_line) => (Stream::Err, count?),
        };
        let (reader_gone, line) = match stream {
            Stream::Out => (count == 0, &mut out_line),
            Stream::Err => (count == 0, &mut err_line),
        };
        if !line.is_empty() {
            each(
                stream,
                String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']),
            );
            line.clear();
        }
        if reader_gone {
            match stream {
                Stream::Out => out = None,
                Stream::Err => err = None,
            }
        }
    }
    Ok(())
}

/// Reads on to the next line end. What was read stays in `line` when the other
/// branch of the race wins, so nothing is lost.
async fn next_line<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut Option<BufReader<R>>,
    line: &mut Vec<u8>,
) -> io::Result<usize> {
    match reader {
        Some(reader) => reader.read_until(b'\n', line).await,
        None => std::future::pending().await,
    }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> CancellationToken {
        CancellationToken::new()
    }

    #[tokio::test]
    async fn output_and_status_come_back() {
        let finished = Command::new("sh")
            .args(["-c", "cat; echo problem >&2; exit 3"])
            .input("hello")
            .status(&token())
            .await
            .unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.stdout, b"hello");
        assert_eq!(finished.stderr, b"problem\n");
    }

    #[tokio::test]
    async fn that_a_process_began_and_ended_is_traced_for_whoever_asks_once() {
        let (traced, _guard) = crate::trace::capture(1);
        let mut process = Command::new("true").spawn(false).unwrap();
        process.wait().await.unwrap();
        process.stop(Duration::ZERO).await;
        Command::new("false").run(&token()).await.unwrap_err();
        let text = traced.text();
        for told in ["started", "ended"] {
            let times = |program: &str| {
                let program = format!("\"{program}\"");
                let lines = text.lines();
                let told = |line: &&str| line.contains(told) && line.contains(&program);
                lines.filter(told).count()
            };
            assert_eq!((times("true"), times("false")), (1, 1), "{text}");
        }
    }

    #[tokio::test]
    async fn failure_tells_what_the_program_said() {
        let error = Command::new("sh")
            .args(["-c", "echo no such thing >&2; exit 1"])
            .run(&token())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }

    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let error = Command::new("sh")
            .args(["-c", &script])
            .deadline(Duration::from_millis(300))
            .run(&token())
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(&pid_file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // It has the signal; the kernel may still be taking it apart.
        let ending = async {
            while !gone(pid) {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), ending).await;
        assert!(ended.is_ok(), "grandchild {pid} survived");
    }

    #[tokio::test]
    async fn what_a_leader_leaves_in_its_group_goes_when_it_is_reaped() {
        let mut process = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!"])
            .spawn(false)
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.take_stdout().unwrap())
            .read_line(&mut line)
            .await
            .unwrap();
        let left: i32 = line.trim().parse().unwrap();
        process.wait().await.unwrap();
        let ending = async {
            while !gone(left) {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), ending).await;
        assert!(ended.is_ok(), "{left} survived");
        // Nobody is signalled by a number that may be another's by now.
        assert_eq!(process.group, None);
    }

    #[tokio::test]
    async fn cancelling_ends_a_process_that_ignores_term() {
        let cancel = token();
        let stopper = cancel.clone();
        let command = Command::new("sh").args(["-c", "trap '' TERM; echo up; sleep 1000 & wait"]);
        let error = command
            .lines(&cancel, move |_, _| stopper.cancel())
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Interrupted));
    }

    #[tokio::test]
    async fn lines_keep_their_stream_and_survive_bad_utf8() {
        let mut seen = Vec::new();
        Command::new("sh")
            .args(["-c", r"printf 'a\nb\377c'; printf 'x\n' >&2"])
            .lines(&token(), |stream, line| {
                seen.push((stream, line.to_owned()));
            })
            .await
            .unwrap();
        seen.sort_by_key(|(stream, _)| *stream == Stream::Err);
        assert_eq!(
            seen,
            [
                (Stream::Out, "a".to_owned()),
                (Stream::Out, "b\u{fffd}c".to_owned()),
                (Stream::Err, "x".to_owned())
            ]
        );
    }

    /// Gone, or a zombie that init has yet to reap.
    fn gone(pid: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
            stat.rsplit(')')
                .next()
                .unwrap_or("")
                .trim()
                .starts_with('Z')
        })
    }
}
