//! A scratch disk as a service: each guest has a new one, a sparse file behind
//! virtio-blk with a file system that was made on the host, and after a trial
//! that ended well the file system's own checker looks at it.
//!
//! The file system is made once and copied for each guest, so all begin with the
//! same bytes. What a guest has written the host never mounts: the checker runs
//! confined ([`crate::process::confined`]).

mod file_system;
mod image;
mod spec;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use spec::{DiskSpec, FileSystem};

use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::guest::protocol::{FIRST_DISK, Mountable, Secret};
use crate::process::{Command, Finished, Namespace, ProcessError};
use crate::store::{Scratch, StoreError, free, gib};
use file_system::Found;

/// How long mkfs may take: it writes some megabytes.
const MADE_WITHIN: Duration = Duration::from_secs(120);

/// How long a checker may take. A hostile image may keep it busy for ever.
const CHECKED_WITHIN: Duration = Duration::from_secs(180);

/// Says that all is ready and becomes the program. What runs before it fails with
/// the same exit codes, and those say nothing of a disk.
const BEGIN: &str = "echo \"$0\" >&2 && exec \"$@\"";

/// The first line on a checker's standard error, before its own words.
const BEGUN: &str = "kvet: the checker begins";

/// So many bytes of a checker's words are kept.
const WORDS: usize = 16 << 10;

/// A damaged image of up to so many bytes is kept.
const KEPT: u64 = 1 << 30;

/// A disk could not be made.
#[derive(Debug, Error, Diagnostic)]
pub enum DiskError {
    /// There is no room for it.
    #[error("a trial's disks of {} do not fit in {}: {} GiB are free", spec::in_words(*wanted), place.display(), gib(*free))]
    #[diagnostic(help(
        "make the disk smaller, run fewer trials at a time, or let TMPDIR name another place"
    ))]
    Room {
        /// The directory.
        place: PathBuf,
        /// What is free, in bytes.
        free: u64,
        /// What is wanted, in bytes.
        wanted: u64,
    },
    /// mkfs did not make the file system.
    #[error("cannot make {fs} on a disk of {}", spec::in_words(*size))]
    #[diagnostic(help(
        "see `disk.size` and `disk.mkfs` of the job; `kvet doctor JOB` tells which programs are missing"
    ))]
    Made {
        /// The file system.
        fs: &'static str,
        /// The disk's size in bytes.
        size: u64,
        /// Why.
        source: ProcessError,
    },
    /// The image could not be written or copied.
    #[error("cannot write the disk image {}", path.display())]
    #[diagnostic(help("TMPDIR must be writable and have room"))]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no place for it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scratch(#[from] StoreError),
}

impl Fault for DiskError {
    fn exit(&self) -> Exit {
        match self {
            Self::Made {
                source: ProcessError::Interrupted,
                ..
            } => Exit::Interrupted,
            _ => Exit::Usage,
        }
    }
}

/// What a checker said of a disk after its trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCheck {
    /// The command, as one would type it: the disk is `/disk`.
    pub command: String,
    /// What it came to.
    pub state: DiskState,
    /// What the checker said, at most 16 KiB, the beginning.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// The console's lines until then, from 1: where a finding of it stands.
    #[serde(default)]
    pub line: u64,
}

impl DiskCheck {
    /// The one that did not take place.
    pub(crate) fn unknown(why: &str) -> Self {
        Self {
            command: String::new(),
            state: DiskState::Unknown {
                why: why.to_owned(),
            },
            said: String::new(),
            line: 0,
        }
    }
}

/// The state of a file system that was unmounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// As it should be.
    Clean,
    /// Damaged.
    Damaged,
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// The disks of a testbed's guests.
#[derive(Debug)]
pub struct Disk {
    spec: DiskSpec,
    /// Images, and the directory on which a confined program's root is made.
    scratch: Scratch,
}

/// A new disk's image, which every guest gets a copy of.
const PRISTINE: &str = "pristine.img";

/// Where confined programs have their root; nothing is ever written here.
const ROOT: &str = "root";

impl Disk {
    /// Makes the file system that every guest will get.
    pub(super) async fn start(
        context: &Context,
        spec: &DiskSpec,
        namespace: &Namespace,
    ) -> Result<Self, DiskError> {
        let scratch = Scratch::new()?;
        let disk = Self {
            spec: spec.clone(),
            scratch,
        };
        disk.has_room()?;
        let root = disk.scratch.join(ROOT);
        std::fs::create_dir(&root).map_err(failed(&root))?;
        let pristine = disk.scratch.join(PRISTINE);
        image::hole(&pristine, spec.size).map_err(failed(&pristine))?;
        let (program, words) = spec.fs.make(&spec.mkfs);
        let made = Command::new(program)
            .args(words)
            .deadline(MADE_WITHIN)
            .confined(namespace, &root, &pristine, true)
            .run(&context.cancel)
            .await;
        made.map_err(|source| DiskError::Made {
            fs: spec.fs.name(),
            size: spec.size,
            source,
        })?;
        Ok(disk)
    }

    /// Refuses what the guests that are there, and one more, could fill.
    fn has_room(&self) -> Result<(), DiskError> {
        let place = self.scratch.path();
        let images = std::fs::read_dir(place).into_iter().flatten().flatten();
        // What is written already is not free any more.
        let promised: u64 = images
            .filter_map(|entry| entry.metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|data| left_to_write(&data))
            .sum();
        let wanted = self.spec.bytes();
        let free = free(place).saturating_sub(promised);
        if free < wanted {
            let place = place.to_owned();
            return Err(DiskError::Room {
                place,
                free,
                wanted,
            });
        }
        Ok(())
    }

    /// The images of a new guest's disks, in order.
    pub(super) fn images(&self, hostname: &str) -> Result<Vec<PathBuf>, DiskError> {
        self.has_room()?;
        let first = self.image(hostname);
        image::copy(&self.scratch.join(PRISTINE), &first).map_err(failed(&first))?;
        let mut images = vec![first];
        if self.spec.spare {
            let spare = self.spare(hostname);
            image::hole(&spare, self.spec.size).map_err(failed(&spare))?;
            images.push(spare);
        }
        Ok(images)
    }

    fn image(&self, hostname: &str) -> PathBuf {
        self.scratch.join(format!("{hostname}.img"))
    }

    fn spare(&self, hostname: &str) -> PathBuf {
        self.scratch.join(format!("{hostname}.spare.img"))
    }

    /// How a guest mounts its disk.
    pub(super) fn access(&self) -> Mountable {
        Mountable {
            fstype: self.spec.fs.name().to_owned(),
            source: FIRST_DISK.to_owned(),
            data: Secret::new(""),
            options: self.spec.options.clone(),
            hidden: Vec::new(),
        }
    }

    /// Has the file system's checker look at the disk of a guest that is gone.
    /// A damaged image is kept as `keep`, if it is not too large.
    pub(super) async fn check(
        &self,
        context: &Context,
        namespace: &Namespace,
        hostname: &str,
        keep: &Path,
    ) -> DiskCheck {
        let image = self.image(hostname);
        let (program, words) = self.spec.fs.check();
        let display = Command::new(program).args(&words).display();
        let checked = Command::new("sh")
            .args(["-c", BEGIN, BEGUN, program])
            .args(words)
            .deadline(CHECKED_WITHIN)
            .confined(namespace, &self.scratch.join(ROOT), &image, false)
            .status(&context.cancel)
            .await;
        let (state, said) = match checked {
            Ok(finished) => state_of(self.spec.fs, &finished),
            Err(error) => {
                let why = error.to_string();
                (DiskState::Unknown { why }, String::new())
            }
        };
        if state == DiskState::Damaged
            && std::fs::metadata(&image).is_ok_and(|data| written(&data) <= KEPT)
        {
            // The checker's words stand whether or not there is room for it.
            drop(image::copy(&image, keep));
        }
        DiskCheck {
            command: display,
            state,
            said,
            line: 0,
        }
    }

    /// Removes the disks of a guest that is gone.
    pub(super) fn clear(&self, hostname: &str) {
        for image in [self.image(hostname), self.spare(hostname)] {
            // One that was never made is no trouble.
            drop(std::fs::remove_file(image));
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Image { path, source }
}

/// Bytes that a file takes up.
fn written(data: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(data).saturating_mul(512)
}

/// Bytes that an image can still come to take up.
fn left_to_write(data: &std::fs::Metadata) -> u64 {
    data.len().saturating_sub(written(data))
}

/// What a checker's end means, and the beginning of what it said.
fn state_of(fs: FileSystem, finished: &Finished) -> (DiskState, String) {
    let unknown = |why: String| DiskState::Unknown { why };
    // Nothing before that line is the checker's; a shell may complain of a locale there.
    let line = format!("{BEGUN}\n");
    let begun = memchr::memmem::find(&finished.stderr, line.as_bytes());
    let Some(stderr) = begun.map(|at| &finished.stderr[at + line.len()..]) else {
        let said = String::from_utf8_lossy(&finished.stderr);
        let why = format!("no checker was started ({}): {said}", finished.status);
        return (unknown(beginning(why.trim_end())), String::new());
    };
    let all = [stderr, &finished.stdout].concat();
    let all = String::from_utf8_lossy(&all);
    let state = match fs.found(finished.status, &all) {
        Found::Clean if finished.is_cut => unknown("its checker says too much".to_owned()),
        Found::Clean => DiskState::Clean,
        Found::Damage => DiskState::Damaged,
        Found::Nothing => unknown(finished.status.to_string()),
    };
    (state, beginning(&all))
}

/// The beginning of what a program said.
fn beginning(text: &str) -> String {
    let end = (0..=WORDS.min(text.len())).rfind(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests;
