//! Carries out steps. Every function here runs in a step's own thread and may
//! block for ever, so none holds a lock of the agent's across a system call.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::AtFlags;

use super::paths::{expand, mount_point, own_directory, resolve};
use super::{counters, encryption, faults, files, mounts, system};
use crate::guest::HELPER;
use crate::guest::protocol::{FailureKind, StepFailure, StepReport, Welcome};
use crate::guest::storm;
use crate::workload::{Caches, GuestStep};

/// The most of a program's or a file's text that a result carries.
const OUTPUT_LIMIT: usize = 64 << 10;

/// What steps leave behind for later ones.
#[derive(Default)]
pub(super) struct Guest {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    welcome: Option<Welcome>,
    handles: HashMap<String, Arc<File>>,
    /// What was found in open directories, by handle.
    listed: HashMap<String, Vec<CString>>,
    ledgers: HashMap<String, Arc<storm::Ledger>>,
}

impl Guest {
    pub(super) fn welcome(&self, welcome: Welcome) {
        self.state().welcome = Some(welcome);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A step that panicked did so outside of this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn greeting(&self) -> Result<Welcome, StepFailure> {
        self.state()
            .welcome
            .clone()
            .ok_or_else(|| usage("the host has not said hello yet"))
    }

    fn path(&self, path: &str) -> Result<PathBuf, StepFailure> {
        resolve(path, &self.greeting()?.hostname)
    }

    fn handle(&self, name: &str) -> Result<Arc<File>, StepFailure> {
        self.state()
            .handles
            .get(name)
            .cloned()
            .ok_or_else(|| usage(format!("`{name}` is not open")))
    }
}

pub(super) fn usage(message: impl Into<String>) -> StepFailure {
    StepFailure::other(FailureKind::Usage, message)
}

/// Does what a step says; `progress` is told counters of long ones.
pub(super) fn carry_out(
    guest: &Guest,
    step: &GuestStep,
    progress: &dyn Fn(BTreeMap<String, u64>),
) -> Result<StepReport, StepFailure> {
    match step {
        GuestStep::Sysctl(parameters) => sysctl(parameters).map(|()| StepReport::default()),
        GuestStep::Mount {
            name,
            options,
            local,
        } => mounts::mount(&guest.greeting()?, name, options, *local),
        GuestStep::Umount { name, force, lazy } => mounts::unmount(name, *force, *lazy),
        GuestStep::Open { .. }
        | GuestStep::Write { .. }
        | GuestStep::Read { .. }
        | GuestStep::Readahead { .. }
        | GuestStep::Fsync { .. }
        | GuestStep::List { .. }
        | GuestStep::StatListed { .. }
        | GuestStep::Close { .. } => by_handle(guest, step).map(|()| StepReport::default()),
        GuestStep::Mkdir { .. }
        | GuestStep::Chmod { .. }
        | GuestStep::Rename { .. }
        | GuestStep::Truncate { .. }
        | GuestStep::WaitSize { .. }
        | GuestStep::Snapshot { .. }
        | GuestStep::Encrypt { .. }
        | GuestStep::SetXattr { .. } => by_path(guest, step).map(|()| StepReport::default()),
        GuestStep::Populate { .. }
        | GuestStep::Compare { .. }
        | GuestStep::Unlink { .. }
        | GuestStep::Symlink { .. }
        | GuestStep::TruncateMany { .. }
        | GuestStep::StatMany { .. } => many(guest, step).map(|()| StepReport::default()),
        GuestStep::DropCaches { what, times } => {
            for _ in 0..*times {
                drop_caches(*what).map_err(|error| StepFailure::syscall("drop caches", error))?;
            }
            Ok(StepReport::default())
        }
        GuestStep::Sync => {
            rustix::fs::sync();
            Ok(StepReport::default())
        }
        GuestStep::Syncfs { mount } => {
            let directory = open_directory(&mount_point(mount))?;
            rustix::fs::syncfs(&directory)
                .map_err(|error| StepFailure::syscall(format!("syncfs {mount}"), error))?;
            Ok(StepReport::default())
        }
        GuestStep::Storm(storm) => {
            let greeting = guest.greeting()?;
            let mounts: Vec<PathBuf> = storm
                .mounts
                .iter()
                .map(|mount| own_directory(mount, &greeting.hostname))
                .collect();
            let (ledger, report) = storm::run(storm, greeting.seed, &mounts, progress)?;
            guest
                .state()
                .ledgers
                .insert(storm.name.clone(), Arc::new(ledger));
            Ok(report)
        }
        GuestStep::Verify { storm, mount } => {
            let hostname = guest.greeting()?.hostname;
            let ledger = guest.state().ledgers.get(storm).cloned();
            let ledger = ledger.ok_or_else(|| usage(format!("there was no storm `{storm}`")))?;
            ledger.verify(&own_directory(mount, &hostname))
        }
        GuestStep::Lkdtm { provoke } => {
            let mut helper = helper();
            helper.args(["write", "/sys/kernel/debug/provoke-crash/DIRECT", provoke]);
            program(&mut helper)
        }
        GuestStep::Sysrq { letters } => sysrq(letters).map(|()| StepReport::default()),
        GuestStep::Collect { path } => collect(path),
        GuestStep::FailAllocations { within, times } => {
            faults::fail_allocations(within, *times).map(|()| StepReport::default())
        }
        GuestStep::Counters { name, path, keys } => counters::read(name, path, (*keys).into()),
        GuestStep::Profile { functions } => counters::profile(functions),
        GuestStep::Profiled => counters::profiled(),
        GuestStep::WriteFile { path, text } => {
            std::fs::write(guest.path(path)?, text)
                .map_err(|error| StepFailure::syscall(format!("write {path}"), error))?;
            Ok(StepReport::default())
        }
        GuestStep::Exec {
            program: name,
            args,
        } => {
            let mut command = Command::new(name);
            for arg in args {
                command.arg(with_paths(arg, guest)?);
            }
            program(&mut command)
        }
    }
}

fn by_handle(guest: &Guest, step: &GuestStep) -> Result<(), StepFailure> {
    match step {
        GuestStep::Open {
            handle,
            path,
            flags,
        } => {
            let file = files::open(&guest.path(path)?, flags)?;
            let replaced = guest.state().handles.insert(handle.clone(), Arc::new(file));
            drop(replaced);
            Ok(())
        }
        GuestStep::Write {
            handle,
            offset,
            length,
            seed,
        } => files::write(&*guest.handle(handle)?, *seed, *offset, *length)
            .map_err(|error| StepFailure::syscall(format!("write {handle}"), error)),
        GuestStep::Read {
            handle,
            offset,
            length,
            seed,
        } => files::read(&*guest.handle(handle)?, handle, *seed, *offset, *length),
        GuestStep::Readahead {
            handle,
            offset,
            length,
        } => rustix::fs::fadvise(
            &*guest.handle(handle)?,
            *offset,
            NonZeroU64::new(*length),
            rustix::fs::Advice::WillNeed,
        )
        .map_err(|error| StepFailure::syscall(format!("read {handle} ahead"), error)),
        GuestStep::Fsync { handle } => guest
            .handle(handle)?
            .sync_all()
            .map_err(|error| StepFailure::syscall(format!("fsync {handle}"), error)),
        GuestStep::List { handle, kill_after } => {
            let directory = guest.handle(handle)?;
            let listed = match kill_after {
                None => list(&*directory),
                Some(after) => list_and_die(&*directory, *after).map(|()| Vec::new()),
            };
            let names =
                listed.map_err(|error| StepFailure::syscall(format!("list {handle}"), error))?;
            guest.state().listed.insert(handle.clone(), names);
            Ok(())
        }
        GuestStep::StatListed { handle } => {
            let directory = guest.handle(handle)?;
            let names = guest.state().listed.get(handle).cloned();
            let names = names.ok_or_else(|| usage(format!("`{handle}` was not listed")))?;
            for name in names {
                rustix::fs::statat(&*directory, &name, AtFlags::empty()).map_err(|error| {
                    let name = name.to_string_lossy();
                    StepFailure::syscall(format!("stat {name} in {handle}"), error)
                })?;
            }
            Ok(())
        }
        GuestStep::Close { handle } => {
            // Closed by being dropped, here and not under the lock.
            let closed = guest.state().handles.remove(handle);
            closed
                .map(drop)
                .ok_or_else(|| usage(format!("`{handle}` is not open")))
        }
        _ => Err(usage("not a step about a handle")),
    }
}

/// This program as a process of its own.
fn helper() -> Command {
    let mut helper = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut helper, HELPER);
    helper
}

fn sysctl(parameters: &BTreeMap<String, String>) -> Result<(), StepFailure> {
    for (name, value) in parameters {
        std::fs::write(system::sysctl_path(name), value)
            .map_err(|error| StepFailure::syscall(format!("set {name} to {value}"), error))?;
    }
    Ok(())
}

fn by_path(guest: &Guest, step: &GuestStep) -> Result<(), StepFailure> {
    match step {
        GuestStep::Mkdir { path } => std::fs::create_dir_all(guest.path(path)?)
            .map_err(|error| StepFailure::syscall(format!("make {path}"), error)),
        GuestStep::Rename { path, to } => std::fs::rename(guest.path(path)?, guest.path(to)?)
            .map_err(|error| StepFailure::syscall(format!("rename {path} to {to}"), error)),
        GuestStep::Chmod { path, mode } => {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(*mode);
            std::fs::set_permissions(guest.path(path)?, mode)
                .map_err(|error| StepFailure::syscall(format!("chmod {path}"), error))
        }
        GuestStep::Truncate { path, length } => truncate(&guest.path(path)?, *length)
            .map_err(|error| StepFailure::syscall(format!("truncate {path} to {length}"), error)),
        GuestStep::WaitSize {
            path,
            length,
            within,
        } => wait_size(&guest.path(path)?, path, *length, *within),
        GuestStep::Snapshot { path, name, remove } => {
            let snapshot = guest.path(path)?.join(".snap").join(name);
            let done = if *remove {
                std::fs::remove_dir(&snapshot)
            } else {
                std::fs::create_dir(&snapshot)
            };
            done.map_err(|error| StepFailure::syscall(format!("snapshot {name} of {path}"), error))
        }
        GuestStep::Encrypt { path } => encryption::encrypt(&guest.path(path)?, path),
        GuestStep::SetXattr { path, name, value } => rustix::fs::setxattr(
            guest.path(path)?,
            name.as_str(),
            value.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .map_err(|error| StepFailure::syscall(format!("set {name} of {path}"), error)),
        _ => Err(usage("not a step about a path")),
    }
}

fn many(guest: &Guest, step: &GuestStep) -> Result<(), StepFailure> {
    match step {
        GuestStep::Populate {
            path,
            files,
            length,
            seed,
            fsync,
            keep,
        } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                File::options()
                    .write(true)
                    .create(true)
                    .truncate(!keep)
                    .open(&name)
                    .and_then(|file| {
                        files::write(&file, seed + u64::from(index), 0, *length)?;
                        if *fsync { file.sync_all() } else { Ok(()) }
                    })
                    .map_err(|error| {
                        StepFailure::syscall(format!("write {}", name.display()), error)
                    })?;
            }
        }
        GuestStep::Compare {
            path,
            files,
            length,
            seed,
        } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                let file = files::open(&name, &[crate::workload::OpenFlag::Read])?;
                let shown = name.display().to_string();
                files::read(&file, &shown, Some(seed + u64::from(index)), 0, *length)?;
                let size = file
                    .metadata()
                    .map_err(|error| StepFailure::syscall(format!("stat {shown}"), error))?
                    .len();
                if size != *length {
                    let message = format!("{shown} has {size} bytes instead of {length}");
                    return Err(StepFailure::other(FailureKind::Data, message));
                }
            }
        }
        GuestStep::Unlink { path, files } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                std::fs::remove_file(&name).map_err(|error| {
                    StepFailure::syscall(format!("unlink {}", name.display()), error)
                })?;
            }
        }
        GuestStep::Symlink { path, files } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                std::os::unix::fs::symlink("nowhere", &name).map_err(|error| {
                    StepFailure::syscall(format!("symlink {}", name.display()), error)
                })?;
            }
        }
        GuestStep::TruncateMany {
            path,
            files,
            length,
        } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                truncate(&name, *length).map_err(|error| {
                    StepFailure::syscall(format!("truncate {}", name.display()), error)
                })?;
            }
        }
        GuestStep::StatMany { path, files } => {
            let base = guest.path(path)?;
            for index in 0..*files {
                let name = files::numbered(&base, index);
                std::fs::metadata(&name).map_err(|error| {
                    StepFailure::syscall(format!("stat {}", name.display()), error)
                })?;
            }
        }
        _ => return Err(usage("not a step about many files")),
    }
    Ok(())
}

fn open_directory(path: &Path) -> Result<File, StepFailure> {
    File::open(path)
        .map_err(|error| StepFailure::syscall(format!("open {}", path.display()), error))
}

/// truncate(2): by path, so that no open file of the caller's holds the inode.
#[expect(unsafe_code, reason = "neither std nor rustix has truncate by path")]
pub(crate) fn truncate(path: &Path, length: u64) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let length = i64::try_from(length).map_err(std::io::Error::other)?;
    // SAFETY: the path is a C string that outlives the call.
    if unsafe { libc::truncate(path.as_ptr(), length) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

fn wait_size(path: &Path, name: &str, length: u64, within: Duration) -> Result<(), StepFailure> {
    // Another client's change arrives when the server sends it: there is
    // nothing local to wait on.
    const ASK_EVERY: Duration = Duration::from_millis(5);
    let begin = Instant::now();
    loop {
        let size = std::fs::metadata(path)
            .map_err(|error| StepFailure::syscall(format!("stat {name}"), error))?
            .len();
        if size == length {
            return Ok(());
        }
        if begin.elapsed() >= within {
            let message = format!("{name} still has {size} bytes and not {length}");
            return Err(StepFailure::other(FailureKind::Timeout, message));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Reads the directory that is this process's standard input, having said with
/// a byte that it begins.
pub(super) fn announced_list() -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(b".")?;
    stdout.flush()?;
    list(&std::io::stdin()).map(drop)
}

/// Reads an open directory to its end: the names in it.
fn list(directory: &impl AsFd) -> std::io::Result<Vec<CString>> {
    let mut entries = rustix::fs::Dir::new(directory.as_fd().try_clone_to_owned()?)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read() {
        let name = entry?.file_name().to_owned();
        if ![c".", c".."].contains(&&*name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Has another process read an open directory, and kills it after some time.
fn list_and_die(directory: &impl AsFd, kill_after: Duration) -> std::io::Result<()> {
    let mut child = helper()
        .arg("list")
        .stdin(directory.as_fd().try_clone_to_owned()?)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_exact(&mut [0])?;
    }
    // What the step is about: where a process is after so long.
    std::thread::sleep(kill_after);
    child.kill()?;
    child.wait().map(drop)
}

/// Drops clean caches.
pub(crate) fn drop_caches(what: Caches) -> std::io::Result<()> {
    const FILE: &str = "/proc/sys/vm/drop_caches";
    static QUIET: Once = Once::new();
    let number = match what {
        Caches::Pages => "1",
        Caches::Inodes => "2",
        Caches::All => "3",
    };
    // The kernel logs each use until it is told 4, which must stand alone.
    QUIET.call_once(|| drop(std::fs::write(FILE, "4")));
    std::fs::write(FILE, number)
}

/// Pulls SysRq letters, one write each: the kernel takes the first of a write.
pub(super) fn sysrq(letters: &str) -> Result<(), StepFailure> {
    let mut trigger = File::options()
        .write(true)
        .open("/proc/sysrq-trigger")
        .map_err(|error| StepFailure::syscall("open /proc/sysrq-trigger", error))?;
    for letter in letters.chars().filter(char::is_ascii_alphanumeric) {
        trigger
            .write_all(letter.to_string().as_bytes())
            .map_err(|error| StepFailure::syscall(format!("SysRq {letter}"), error))?;
    }
    Ok(())
}

fn collect(path: &str) -> Result<StepReport, StepFailure> {
    let found = expand(path);
    if found.is_empty() {
        return Err(StepFailure::syscall(
            format!("read {path}"),
            rustix::io::Errno::NOENT,
        ));
    }
    let mut output = String::new();
    for file in found {
        let bytes = std::fs::read(&file)
            .map_err(|error| StepFailure::syscall(format!("read {}", file.display()), error))?;
        if path.contains('*') {
            output.extend(["== ", &file.to_string_lossy(), "\n"]);
        }
        output.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(StepReport {
        output: Some(bounded(output)),
        ..StepReport::default()
    })
}

fn with_paths(arg: &str, guest: &Guest) -> Result<String, StepFailure> {
    let hostname = guest.greeting()?.hostname;
    let mut text = String::new();
    let mut rest = arg;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((mount, after)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        text.push_str(&own_directory(mount, &hostname).to_string_lossy());
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn program(command: &mut Command) -> Result<StepReport, StepFailure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let finished = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| StepFailure::syscall(format!("run {name}"), error))?;
    let mut output = String::from_utf8_lossy(&finished.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&finished.stderr));
    let output = bounded(output);
    if finished.status.success() {
        return Ok(StepReport {
            output: Some(output),
            ..StepReport::default()
        });
    }
    Err(StepFailure::other(
        FailureKind::Program,
        format!("{name}: {}\n{output}", finished.status),
    ))
}

fn bounded(mut text: String) -> String {
    if text.len() > OUTPUT_LIMIT {
        let end = (0..=OUTPUT_LIMIT).rfind(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
    }
    text
}
