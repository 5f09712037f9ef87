//! Steps on files that stay open under a name, from one step to the next.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{Advice, AtFlags, Dir, fadvise, statat};

use super::files;
use super::state::Guest;
use crate::guest::helper;
use crate::guest::protocol::StepFailure;
use crate::step::HandleStep;

/// Does what a step says.
pub(super) fn carry_out(guest: &Guest, step: &HandleStep) -> Result<(), StepFailure> {
    match step {
        HandleStep::Open {
            handle,
            path,
            flags,
        } => {
            let file = files::open(&guest.path(path)?, flags)?;
            guest.open(handle, file);
            Ok(())
        }
        HandleStep::Write {
            handle,
            offset,
            length,
            seed,
        } => files::write(&*guest.handle(handle)?, *seed, *offset, *length)
            .map_err(|error| StepFailure::syscall(format!("write {handle}"), error)),
        HandleStep::Read {
            handle,
            offset,
            length,
            seed,
        } => files::read(&*guest.handle(handle)?, handle, *seed, *offset, *length),
        HandleStep::Readahead {
            handle,
            offset,
            length,
        } => fadvise(
            &*guest.handle(handle)?,
            *offset,
            NonZeroU64::new(*length),
            Advice::WillNeed,
        )
        .map_err(|error| StepFailure::syscall(format!("read {handle} ahead"), error)),
        HandleStep::Fsync { handle } => guest
            .handle(handle)?
            .sync_all()
            .map_err(|error| StepFailure::syscall(format!("fsync {handle}"), error)),
        HandleStep::List { handle, kill_after } => {
            let directory = guest.handle(handle)?;
            let listed = match kill_after {
                None => list(&*directory),
                Some(after) => list_and_die(&*directory, *after).map(|()| Vec::new()),
            };
            let names =
                listed.map_err(|error| StepFailure::syscall(format!("list {handle}"), error))?;
            guest.keep_listing(handle, names);
            Ok(())
        }
        HandleStep::StatListed { handle } => {
            stat_all(handle, &*guest.handle(handle)?, &guest.listing(handle)?)
        }
        HandleStep::Close { handle } => guest.close(handle),
    }
}

fn stat_all(handle: &str, directory: &File, names: &[CString]) -> Result<(), StepFailure> {
    for name in names {
        statat(directory, name, AtFlags::empty()).map_err(|error| {
            let name = name.to_string_lossy();
            StepFailure::syscall(format!("stat {name} in {handle}"), error)
        })?;
    }
    Ok(())
}

/// Reads the directory that is this process's standard input, having said with
/// a byte that it begins.
pub(super) fn announced_list() -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(b".")?;
    stdout.flush()?;
    list(&io::stdin()).map(drop)
}

/// Reads an open directory to its end: the names in it.
fn list(directory: &impl AsFd) -> io::Result<Vec<CString>> {
    let mut entries = Dir::new(directory.as_fd().try_clone_to_owned()?)?;
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
fn list_and_die(directory: &impl AsFd, kill_after: Duration) -> io::Result<()> {
    let mut child = helper::command()
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
