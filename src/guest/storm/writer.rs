//! The process that performs one writer's operations. It is told what to do
//! in one JSON line on standard input and tells what became of it in JSON
//! lines on standard output.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};
use serde::{Deserialize, Serialize};

use super::content::{Place, SIZE};
use super::ledger::{Comparison, WriterLedger, file_name, snapshot_name};
use super::plan::{FileState, Operation, Plan};
use crate::guest::calls::truncate;
use crate::guest::file_system::SNAPSHOTS;
use crate::guest::helper;
use crate::guest::protocol::StepFailure;
use crate::step::{BLOCK, Storm, errno};

/// Operations between two progress messages.
const PROGRESS_EVERY: u64 = 25;

/// What a writer is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    /// The storm it is part of.
    pub(super) storm: Storm,
    /// The seed of its operations.
    pub(super) seed: u64,
    /// The trial's directory on the mount it writes through.
    pub(super) own: PathBuf,
    /// The same on the other mount.
    pub(super) other: PathBuf,
    /// Its directory below these.
    pub(super) directory: PathBuf,
}

/// What a writer tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// So many operations are done.
    Progress {
        /// Of them all.
        operations: u64,
    },
    /// All are done and flushed.
    Done {
        /// What must be there.
        ledger: WriterLedger,
        /// What was done.
        counters: BTreeMap<String, u64>,
    },
    /// One failed.
    Failed(StepFailure),
}

/// `kvet-helper writer`.
pub(crate) fn writer_process() -> Result<(), String> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let assignment: Assignment = serde_json::from_str(&line).map_err(|error| error.to_string())?;
    let message = match Writer::new(assignment).perform() {
        Ok(message) => message,
        Err(failure) => Message::Failed(failure),
    };
    tell(&message).map_err(|error| error.to_string())
}

/// `kvet-helper truncate`: says that it is up and waits for a byte, so that what
/// is timed from there is the call and not the start of a process.
pub(crate) fn truncate_process(path: &str, length: &str) -> Result<(), String> {
    let length = length.parse().map_err(|error| format!("{error}"))?;
    let start = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(b".")?;
        out.flush()?;
        io::stdin().read_exact(&mut [0])
    };
    start().map_err(|error| error.to_string())?;
    truncate(Path::new(path), length).map_err(|error| error.to_string())
}

fn tell(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

struct Writer {
    storm: Storm,
    seed: u64,
    /// Its own directory, through its own mount and through the other.
    own: PathBuf,
    other: PathBuf,
    directory: PathBuf,
    plan: Plan,
    counters: BTreeMap<String, u64>,
    /// Files made so far, as the plan counts them.
    made: u32,
}

impl Writer {
    fn new(assignment: Assignment) -> Self {
        let Assignment {
            storm,
            seed,
            own,
            other,
            directory,
        } = assignment;
        Self {
            plan: Plan::new(&storm, seed),
            own: own.join(&directory),
            other: other.join(&directory),
            directory,
            storm,
            seed,
            counters: BTreeMap::new(),
            made: 0,
        }
    }

    fn perform(mut self) -> Result<Message, StepFailure> {
        std::fs::create_dir_all(&self.own)
            .map_err(|error| StepFailure::syscall(format!("make {}", self.own.display()), error))?;
        let mut operations = 0;
        while let Some(operation) = self.plan.next() {
            let result = self.operation(&operation)?;
            self.settle(&operation, result)?;
            *self
                .counters
                .entry(operation.kind().to_owned())
                .or_default() += 1;
            operations += 1;
            if operations % PROGRESS_EVERY == 0 {
                // Nobody listens: the agent is gone, and so is the machine.
                drop(tell(&Message::Progress { operations }));
            }
        }
        for slot in 0..self.plan.files.slots.len() {
            let flush = Operation::Fsync { file: slot };
            if self.plan.files.slots[slot].is_some() {
                let result = self.operation(&flush)?;
                self.settle(&flush, result)?;
            }
        }
        if !self.storm.tolerate.is_empty() {
            self.plan.expect_flushed_alone();
        }
        self.counters.insert("operations".to_owned(), operations);
        Ok(Message::Done {
            ledger: WriterLedger {
                owner: self.seed,
                directory: self.directory,
                tolerant: !self.storm.tolerate.is_empty(),
                files: self.plan.files,
                snapshots: self.plan.snapshots,
            },
            counters: self.counters,
        })
    }

    /// Takes note of what came of an operation. A failure that the storm tolerates
    /// leaves the files in question damaged; any other ends the writer.
    fn settle(&mut self, operation: &Operation, result: io::Result<()>) -> Result<(), StepFailure> {
        let Err(error) = result else {
            if let Operation::Fsync { file } = *operation {
                self.plan.flushed(file);
            }
            return Ok(());
        };
        let tolerated = error
            .raw_os_error()
            .is_some_and(|code| self.storm.tolerate.contains(&errno::name(code)))
            // What an earlier failure did not make is not there.
            || (!self.storm.tolerate.is_empty() && error.kind() == io::ErrorKind::NotFound);
        if !tolerated {
            let what = format!("{operation:?} in {}", self.own.display());
            return Err(StepFailure::syscall(what, error));
        }
        *self.counters.entry("tolerated".to_owned()).or_default() += 1;
        let slots = match *operation {
            Operation::Overwrite { file, .. }
            | Operation::Store { file, .. }
            | Operation::Truncate { file, .. }
            | Operation::Kill { file, .. }
            | Operation::Fsync { file }
            | Operation::Unlink { file, .. }
            | Operation::Read { file } => vec![file],
            Operation::Rename { from, to } => vec![from, to],
            Operation::Snapshot { make, .. } => {
                self.plan
                    .snapshots
                    .retain(|snapshot| snapshot.number != make);
                vec![]
            }
        };
        for slot in slots {
            self.plan.damaged(slot);
        }
        Ok(())
    }

    /// Performs an operation. The outer error is one that is never tolerated.
    fn operation(&mut self, operation: &Operation) -> Result<io::Result<()>, StepFailure> {
        let own = |slot: usize| self.own.join(file_name(slot));
        let other = |slot: usize| self.other.join(file_name(slot));
        Ok(match *operation {
            Operation::Overwrite {
                file,
                from,
                count,
                direct,
            } => self.overwrite(file, from, count, direct),
            Operation::Store { file, block, sync } => match &self.plan.files.slots[file] {
                // After a write that failed, the block may not be there, and
                // a store beyond the end is a fault and not an error.
                Some(state) if !state.damaged => store(
                    &own(file),
                    self.place(state, block),
                    self.plan.version(),
                    sync,
                ),
                _ => Ok(()),
            },
            Operation::Truncate { file, blocks } => {
                truncate(&other(file), u64::from(blocks) * BLOCK)
            }
            Operation::Kill {
                file,
                blocks,
                after,
            } => {
                let path = other(file);
                self.kill(&path, u64::from(blocks) * BLOCK, after)
            }
            Operation::Unlink { file, other: true } => std::fs::remove_file(other(file)),
            Operation::Unlink { file, other: false } => std::fs::remove_file(own(file)),
            Operation::Rename { from, to } => std::fs::rename(own(from), own(to)),
            Operation::Snapshot { make, remove } => {
                let snapshots = self.own.join(SNAPSHOTS);
                let removed = match remove {
                    Some(number) => std::fs::remove_dir(snapshots.join(snapshot_name(number))),
                    None => Ok(()),
                };
                removed.and_then(|()| std::fs::create_dir(snapshots.join(snapshot_name(make))))
            }
            Operation::Fsync { file } => File::options()
                .write(true)
                .open(own(file))
                .and_then(|file| file.sync_all()),
            Operation::Read { file } => return self.compare(file, &other(file)),
        })
    }

    fn place(&self, state: &FileState, index: u32) -> Place {
        Place {
            owner: self.seed,
            serial: state.serial,
            index,
        }
    }

    fn overwrite(&mut self, slot: usize, from: u32, count: u32, direct: bool) -> io::Result<()> {
        let Some(state) = self.plan.files.slots[slot].clone() else {
            return Ok(());
        };
        let mut options = File::options();
        options.write(true);
        if state.serial > self.made {
            self.made = state.serial;
            if self.storm.tolerate.is_empty() {
                options.create_new(true);
            } else {
                // An unlink may have failed before.
                options.create(true).truncate(true);
            }
        }
        if direct {
            options.custom_flags(i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default());
        }
        let file = options.open(self.own.join(file_name(slot)))?;
        let mut aligned = Aligned::new(count as usize * SIZE);
        let bytes = aligned.bytes();
        for (index, block) in (from..from + count).zip(bytes.chunks_exact_mut(SIZE)) {
            self.place(&state, index).fill(self.plan.version(), block);
        }
        file.write_all_at(bytes, u64::from(from) * BLOCK)?;
        *self.counters.entry("bytes_written".to_owned()).or_default() += bytes.len() as u64;
        Ok(())
    }

    /// Has a child truncate and kills it, wherever it is by then.
    fn kill(&mut self, path: &Path, length: u64, after: u32) -> io::Result<()> {
        let mut child = helper::command()
            .arg("truncate")
            .arg(path)
            .arg(length.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) {
            stdout.read_exact(&mut [0])?;
            stdin.write_all(b"!")?;
        }
        std::thread::sleep(Duration::from_micros(u64::from(after)));
        child.kill()?;
        if child.wait()?.signal().is_some() {
            *self.counters.entry("killed".to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn compare(&mut self, slot: usize, path: &Path) -> Result<io::Result<()>, StepFailure> {
        let Some(state) = &self.plan.files.slots[slot] else {
            return Ok(Ok(()));
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        // A loose file may become shorter while it is read.
        if state.loose || state.damaged {
            let result = file.read_at(&mut vec![0; SIZE], 0);
            return Ok(result.map(drop));
        }
        let mut comparison = Comparison::default();
        if let Err(error) = comparison.file(self.seed, &file, path, state) {
            return Ok(Err(error));
        }
        comparison.report().map(|_| Ok(()))
    }
}

/// Bytes at an address that `O_DIRECT` takes.
struct Aligned {
    memory: Vec<u8>,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        Self {
            memory: vec![0; length + SIZE],
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        let skip = self.memory.as_ptr().align_offset(SIZE).min(SIZE);
        &mut self.memory[skip..skip + self.length]
    }
}

/// Writes one block through a shared mapping.
#[expect(unsafe_code, reason = "mappings of files have no safe form")]
fn store(path: &Path, place: Place, version: u32, sync: bool) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut block = vec![0; SIZE];
    place.fill(version, &mut block);
    // SAFETY: a new mapping at an address of the kernel's choice, whose only
    // use is below. Only this process changes the file's length, and it is
    // busy here; should it shrink all the same, the fault ends this process
    // and nothing else.
    unsafe {
        let address = rustix::mm::mmap(
            std::ptr::null_mut(),
            SIZE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            &file,
            u64::from(place.index) * BLOCK,
        )?;
        std::ptr::copy_nonoverlapping(block.as_ptr(), address.cast::<u8>(), SIZE);
        let flushed = if sync {
            rustix::mm::msync(address.cast::<c_void>(), SIZE, MsyncFlags::SYNC)
        } else {
            Ok(())
        };
        rustix::mm::munmap(address, SIZE)?;
        flushed?;
    }
    Ok(())
}
