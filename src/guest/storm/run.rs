//! Starts a storm's writers, keeps `syncfs` and `drop_caches` going around
//! them, and puts their ledgers together.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::plan::writer_seed;
use super::writer::{Assignment, Message};
use crate::guest::protocol::{FailureKind, StepFailure, StepReport};
use crate::guest::{calls, control_groups, helper};
use crate::step::{Caches, Storm};

/// What a writer said on standard error, at most.
const STDERR_LIMIT: u64 = 4096;

/// How often the host is told how far a storm is, at most: it takes so many
/// messages of a guest and no more.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs a storm over the trial's directories `mounts`, in the storm's order.
/// `trial` is the trial's seed; `progress` is told counters now and then.
pub(crate) fn run(
    storm: &Storm,
    trial: u64,
    mounts: &[PathBuf],
    progress: &dyn Fn(BTreeMap<String, u64>),
) -> Result<(Ledger, StepReport), StepFailure> {
    let begin = Instant::now();
    let group = storm
        .memory
        .map(|limit| MemoryGroup::create(&storm.name, limit))
        .transpose()?;
    let outcome = std::thread::scope(|scope| {
        // Dropping an end tells its loop to stop.
        let mut loops = Vec::new();
        if let Some(period) = storm.syncfs_every {
            for mount in mounts {
                let directory = File::open(mount).map_err(|error| {
                    StepFailure::syscall(format!("open {}", mount.display()), error)
                })?;
                let (stop, stopped) = channel();
                loops.push(stop);
                scope.spawn(move || {
                    every(period, &stopped, || {
                        // Its failures show in fsync as well, where they count.
                        let _seen_elsewhere = rustix::fs::syncfs(&directory);
                    });
                });
            }
        }
        if let Some(period) = storm.drop_caches_every {
            let (stop, stopped) = channel();
            loops.push(stop);
            scope.spawn(move || every(period, &stopped, || drop(calls::drop_caches(Caches::All))));
        }
        let (events, inbox) = channel();
        for writer in 0..storm.writers * u32::try_from(mounts.len()).unwrap_or_default() {
            let child = start(storm, trial, mounts, writer, group.as_ref())?;
            let events = events.clone();
            scope.spawn(move || listen(writer, child, &events));
        }
        drop(events);
        let outcome = gather(&inbox, progress);
        drop(loops);
        outcome
    });
    let (ledger, mut counters) = outcome?;
    let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    counters.insert("milliseconds".to_owned(), millis);
    let report = StepReport {
        counters,
        ..StepReport::default()
    };
    Ok((ledger, report))
}

/// Does something again and again until the other end of `stopped` is gone.
fn every(period: Duration, stopped: &Receiver<()>, mut work: impl FnMut()) {
    while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
        work();
    }
}

fn start(
    storm: &Storm,
    trial: u64,
    mounts: &[PathBuf],
    writer: u32,
    group: Option<&MemoryGroup>,
) -> Result<Child, StepFailure> {
    let own = writer as usize % mounts.len();
    let assignment = Assignment {
        storm: storm.clone(),
        seed: writer_seed(storm, trial, writer),
        own: mounts[own].clone(),
        other: mounts[(own + 1) % mounts.len()].clone(),
        directory: Path::new(&storm.name).join(format!("w{writer}")),
    };
    let failed = |error| StepFailure::syscall(format!("start writer {writer}"), error);
    let mut child = helper::command()
        .arg("writer")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(group) = group {
        // It waits for its assignment until it is a member.
        group.add(child.id())?;
    }
    let mut line =
        serde_json::to_vec(&assignment).map_err(|error| failed(std::io::Error::from(error)))?;
    line.push(b'\n');
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&line).map_err(failed)?;
    }
    Ok(child)
}

/// Passes on what a writer says, and makes a failure of its silent death.
fn listen(writer: u32, mut child: Child, events: &Sender<(u32, Message)>) {
    let mut last_words = false;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Ok(message) = serde_json::from_str::<Message>(&line) {
                last_words |= !matches!(message, Message::Progress { .. });
                drop(events.send((writer, message)));
            }
        }
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        drop(stderr.take(STDERR_LIMIT).read_to_string(&mut said));
    }
    let status = child
        .wait()
        .map_or_else(|error| error.to_string(), |status| status.to_string());
    if !last_words {
        let message = format!("writer {writer} ended early: {status}\n{said}");
        let failure = StepFailure::other(FailureKind::Program, message);
        drop(events.send((writer, Message::Failed(failure))));
    }
}

/// Waits for every writer's last words.
fn gather(
    inbox: &Receiver<(u32, Message)>,
    progress: &dyn Fn(BTreeMap<String, u64>),
) -> Result<(Ledger, BTreeMap<String, u64>), StepFailure> {
    let mut under_way: BTreeMap<u32, u64> = BTreeMap::new();
    let mut ledgers = BTreeMap::new();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let mut failure = None;
    let mut told: Option<Instant> = None;
    // Ends when every listener has: each has waited for its writer by then.
    for (writer, message) in inbox {
        match message {
            Message::Progress { operations } => {
                under_way.insert(writer, operations);
                if told.is_none_or(|told| told.elapsed() >= PROGRESS) {
                    told = Some(Instant::now());
                    let sum = under_way.values().sum();
                    progress([("operations".to_owned(), sum)].into());
                }
            }
            Message::Done { ledger, counters } => {
                for (name, count) in counters {
                    *totals.entry(name).or_default() += count;
                }
                ledgers.insert(writer, ledger);
            }
            Message::Failed(next) => {
                failure.get_or_insert(next);
            }
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok((
            Ledger {
                writers: ledgers.into_values().collect(),
            },
            totals,
        )),
    }
}

/// A cgroup that throttles its members when they use too much memory.
struct MemoryGroup {
    path: PathBuf,
}

impl MemoryGroup {
    fn create(name: &str, limit: u64) -> Result<Self, StepFailure> {
        let root = control_groups::root()?;
        let path = root.join(name);
        let set = |file: PathBuf, text: &str| {
            std::fs::write(&file, text)
                .map_err(|error| StepFailure::syscall(format!("write {}", file.display()), error))
        };
        set(root.join("cgroup.subtree_control"), "+memory")?;
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StepFailure::syscall(
                    format!("make {}", path.display()),
                    error,
                ));
            }
            _ => {}
        }
        // `high` and not `max`: pressure is wanted, and no killing.
        set(path.join("memory.high"), &limit.to_string())?;
        Ok(Self { path })
    }

    fn add(&self, process: u32) -> Result<(), StepFailure> {
        let file = self.path.join("cgroup.procs");
        std::fs::write(&file, process.to_string())
            .map_err(|error| StepFailure::syscall(format!("write {}", file.display()), error))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Busy while a writer is stuck in it; the guest ends soon anyway.
        drop(std::fs::remove_dir(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_fast_storm_does_not_tell_how_far_it_is_all_the_time() {
        let (events, inbox) = channel();
        for operations in 0..10_000 {
            events.send((0, Message::Progress { operations })).unwrap();
        }
        drop(events);
        let told = Cell::new(0);
        gather(&inbox, &|_| told.set(told.get() + 1)).unwrap();
        // A host that stands still for seconds in the middle of this is told more.
        assert!((1..100).contains(&told.get()), "{told:?}");
    }
}
