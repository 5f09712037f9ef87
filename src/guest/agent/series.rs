//! Steps on a series of files `PATH.0`, `PATH.1`, …

use std::fs::File;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::files;
use super::state::Guest;
use crate::guest::calls;
use crate::guest::protocol::{FailureKind, StepFailure};
use crate::step::{OpenFlag, SeriesStep};

/// Does what a step says.
pub(super) fn carry_out(guest: &Guest, step: &SeriesStep) -> Result<(), StepFailure> {
    match step {
        SeriesStep::Populate {
            path,
            files,
            length,
            seed,
            fsync,
            keep,
        } => each("write", &guest.path(path)?, *files, |index, file| {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(!keep)
                .open(file)?;
            files::write(&file, seed + index, 0, *length)?;
            if *fsync { file.sync_all() } else { Ok(()) }
        }),
        SeriesStep::Compare {
            path,
            files,
            length,
            seed,
        } => numbered(&guest.path(path)?, *files)
            .try_for_each(|(index, file)| compare(&file, seed + index, *length)),
        SeriesStep::Unlink { path, files } => {
            each("unlink", &guest.path(path)?, *files, |_, file| {
                std::fs::remove_file(file)
            })
        }
        SeriesStep::Symlink { path, files } => {
            each("symlink", &guest.path(path)?, *files, |_, file| {
                symlink("nowhere", file)
            })
        }
        SeriesStep::StatMany { path, files } => {
            each("stat", &guest.path(path)?, *files, |_, file| {
                std::fs::metadata(file).map(drop)
            })
        }
        SeriesStep::TruncateMany {
            path,
            files,
            length,
        } => each("truncate", &guest.path(path)?, *files, |_, file| {
            calls::truncate(file, *length)
        }),
    }
}

/// Does something to every file until it fails; `what` is for the message.
fn each(
    what: &str,
    base: &Path,
    files: u32,
    action: impl Fn(u64, &Path) -> io::Result<()>,
) -> Result<(), StepFailure> {
    for (index, file) in numbered(base, files) {
        action(index, &file)
            .map_err(|error| StepFailure::syscall(format!("{what} {}", file.display()), error))?;
    }
    Ok(())
}

/// The files, with their numbers.
fn numbered(base: &Path, files: u32) -> impl Iterator<Item = (u64, PathBuf)> {
    (0..u64::from(files)).map(move |index| {
        let mut name = base.as_os_str().to_owned();
        name.push(format!(".{index}"));
        (index, name.into())
    })
}

fn compare(path: &Path, seed: u64, length: u64) -> Result<(), StepFailure> {
    let file = files::open(path, &[OpenFlag::Read])?;
    let shown = path.display().to_string();
    files::read(&file, &shown, Some(seed), 0, length)?;
    let size = file
        .metadata()
        .map_err(|error| StepFailure::syscall(format!("stat {shown}"), error))?
        .len();
    if size != length {
        let message = format!("{shown} has {size} bytes instead of {length}");
        return Err(StepFailure::other(FailureKind::Data, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::protocol::StepFailure;

    /// A guest's step on absolute paths needs no mount, but a host's hello.
    fn guest() -> Guest {
        let guest = Guest::default();
        guest.welcome(crate::guest::protocol::Welcome {
            hostname: "t1".to_owned(),
            seed: 1,
            file_system: None,
            heartbeat: None,
        });
        guest
    }

    #[test]
    fn what_was_populated_compares_until_it_is_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f").display().to_string();
        let does = |step: &SeriesStep| carry_out(&guest(), step);
        let compare = SeriesStep::Compare {
            path: path.clone(),
            files: 3,
            length: 5000,
            seed: 7,
        };
        does(&SeriesStep::Populate {
            path: path.clone(),
            files: 3,
            length: 5000,
            seed: 7,
            fsync: false,
            keep: false,
        })
        .unwrap();
        does(&compare).unwrap();
        // Longer than it should be.
        std::fs::File::options()
            .append(true)
            .open(format!("{path}.1"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
            .unwrap();
        let failure: StepFailure = does(&compare).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Data);
        assert!(
            failure.message.contains("f.1 has 5001 bytes"),
            "{failure:?}"
        );
        // Another one's bytes.
        std::fs::copy(format!("{path}.2"), format!("{path}.1")).unwrap();
        assert_eq!(does(&compare).unwrap_err().kind, FailureKind::Data);
        does(&SeriesStep::Unlink { path, files: 3 }).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
