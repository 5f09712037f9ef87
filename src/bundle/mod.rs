//! A trial in one directory or archive that others can carry out again: its
//! kernel, initramfs, configuration and patches, what it is to do, and what was
//! seen, with a script that needs QEMU and the service's programs and takes another
//! kernel, too.
//!
//! `make` collects it from a run directory and the cache, `readme` tells a
//! reader what it is, `bzimage` reads what a kernel says of itself. The driver
//! that carries one out is `run::replay`.
//!
//! ```text
//! BUNDLE/README.md, repro.sh      what it is, and how to see it again
//! BUNDLE/bundle.json              the trial as data: [`Manifest`]
//! BUNDLE/kernel/                  bzImage, System.map, config, patches, fragments
//! BUNDLE/initramfs.cpio           the guest's root file system
//! BUNDLE/host/                    kvet with its loader and libraries
//! BUNDLE/seen/                    the console, QEMU's command, ceph.conf, ...
//! ```
//!
//! It holds no secret: keys are made anew for each cluster. A memory dump, which
//! has the guest's key in it, is only added on request.

mod bzimage;
mod make;
mod readme;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use bzimage::{kernel_at, release_of};
pub use make::{Choice, Extra, Made, Run, make};

use crate::error::{Exit, Fault};
use crate::job::Plan;
use crate::outcome::Outcome;
use crate::record::KernelFacts;
use crate::trial::Request;
use crate::verdict::Seen;

/// The version of a bundle that is written.
pub const VERSION: u32 = 1;

/// The file that describes it.
const MANIFEST: &str = "bundle.json";
/// The bzImage.
const KERNEL: &str = "kernel/bzImage";
/// The final .config.
const CONFIG: &str = "kernel/config";
/// The initramfs.
const IMAGE: &str = "initramfs.cpio";

/// More than a description has.
const LARGEST: u64 = 32 << 20;

/// `bundle.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The version of the kvet that wrote it, which is also the one in it.
    pub kvet: String,
    /// When its run began, RFC 3339 in UTC.
    pub started: String,
    /// What the trial came to.
    pub outcome: Outcome,
    /// Why, in a few words.
    pub reason: String,
    /// The finding that decided it, if one did.
    pub finding: Option<Seen>,
    /// What the trial is to do. Its paths are names in the bundle.
    pub request: Request,
    /// Its job, with this arm and this workload alone.
    pub plan: Plan,
    /// What its kernel was made from.
    pub kernel: KernelFacts,
    /// Whether the initramfs is the very one of the trial; if not, the run was
    /// another kvet's, and the same recipe was followed again.
    pub same_image: bool,
    /// The SHA-256 of every other file, in hexadecimal, by path.
    pub files: BTreeMap<String, String>,
}

/// A bundle could not be made or opened.
#[derive(Debug, Error, Diagnostic)]
pub enum BundleError {
    /// The run has no such trial.
    #[error("the run has no trial {wanted}")]
    #[diagnostic(help("{help}"))]
    NoTrial {
        /// What was asked for.
        wanted: String,
        /// Which there are.
        help: String,
    },
    /// What the trial was to do is not recorded.
    #[error("the trial {trial} has no request.json: it cannot be carried out again")]
    #[diagnostic(help("records of earlier kvets have none; run the job again"))]
    NoRequest {
        /// The trial.
        trial: String,
    },
    /// The kernel is not in the cache any more, or damaged there.
    #[error("the kernel of {arm} ({key}) is not in the cache {}", store.display())]
    #[diagnostic(help("`kvet run {job} --arm {arm} --trials 1` builds it again"))]
    NoKernel {
        /// The arm.
        arm: String,
        /// Its build.
        key: String,
        /// The cache.
        store: PathBuf,
        /// The job.
        job: String,
    },
    /// The target is there.
    #[error("{} exists already", .0.display())]
    #[diagnostic(help("choose another name with --out"))]
    Occupied(PathBuf),
    /// The trial left no dump.
    #[error("the trial {trial} has no memory dump")]
    #[diagnostic(help("a job's `dump: true`, or `kvet run --dump`, keeps one of each hit"))]
    NoDump {
        /// The trial.
        trial: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help("is there room, and may you write there? --out chooses another place"))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory is not a bundle, or not whole.
    #[error("{} is not a bundle of kvet's: {problem}", path.display())]
    #[diagnostic(help("unpack the whole archive again"))]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What was given as a kernel is none that QEMU boots.
    #[error("{} is not a kernel that can be booted: {problem}", path.display())]
    #[diagnostic(help("name a built tree, or its arch/x86/boot/bzImage"))]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The host lacks programs.
    #[error("this host lacks {what}")]
    #[diagnostic(help("{help}"))]
    Lacks {
        /// What.
        what: String,
        /// What brings it.
        help: String,
    },
}

impl Fault for BundleError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What makes a [`BundleError::Io`] of an I/O error.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Io {
        action,
        path,
        source,
    }
}

/// An unpacked bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl Bundle {
    /// Reads a bundle's description; its files are looked at by [`Self::check`].
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let damaged = |problem: String| BundleError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let file = path.join(MANIFEST);
        let text = crate::bounded::read_own(&file, LARGEST)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        // The version first: another one may have another shape.
        if value["version"] != VERSION {
            let version = &value["version"];
            let problem = format!("its version is {version}, and this kvet reads {VERSION}");
            return Err(damaged(problem));
        }
        let manifest = serde_json::from_value(value)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        Ok(Self {
            path: path.to_owned(),
            manifest,
        })
    }

    /// Compares the initramfs, and the kernel and its .config if that is tried, with
    /// what they were: a download may have been cut off. Nothing is read that lies
    /// elsewhere, or is no file.
    pub fn check(&self, with_kernel: bool) -> Result<(), BundleError> {
        let kernel = [KERNEL, CONFIG];
        let names = kernel.iter().filter(|_| with_kernel).chain([&IMAGE]);
        for name in names {
            is_as_packed(&self.path, name, &self.manifest.files)?;
        }
        Ok(())
    }

    /// The bzImage.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.path.join(KERNEL)
    }

    /// The final .config of its kernel.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The initramfs.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.path.join(IMAGE)
    }
}

/// Refuses a file of a bundle that is not what was packed, or leads out of it.
fn is_as_packed(
    bundle: &Path,
    name: &str,
    files: &BTreeMap<String, String>,
) -> Result<(), BundleError> {
    let path = bundle.join(name);
    let own = |path: &Path| {
        let (inside, path) = (fs::canonicalize(bundle)?, fs::canonicalize(path)?);
        let is_own = path.starts_with(inside) && path.symlink_metadata()?.is_file();
        Ok(is_own.then_some(path))
    };
    let now = match own(&path).map_err(failed("read", &path))? {
        Some(own) => Some(digest(&own).map_err(failed("read", &path))?),
        None => None,
    };
    if now.is_some() && files.get(name) == now.as_ref() {
        return Ok(());
    }
    Err(BundleError::Damaged {
        path: bundle.to_owned(),
        problem: format!("{name} is not what was packed"),
    })
}

/// The SHA-256 of a file, in hexadecimal.
fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&block[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_packed_is_read() {
        let home = tempfile::tempdir().unwrap();
        let bundle = home.path().join("bundle");
        let path = bundle.join(CONFIG);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "as packed").unwrap();
        let packed = BTreeMap::from([(CONFIG.to_owned(), digest(&path).unwrap())]);
        is_as_packed(&bundle, CONFIG, &packed).unwrap();
        let refused = |files: &BTreeMap<String, String>| {
            let error = is_as_packed(&bundle, CONFIG, files)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("kernel/config is not what was packed"),
                "{error}"
            );
        };
        refused(&BTreeMap::new());
        // Edited.
        fs::write(&path, "edited").unwrap();
        refused(&packed);
        // Somebody's own file, even if its content were known.
        let own = home.path().join("own");
        fs::write(&own, "as packed").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&own, &path).unwrap();
        refused(&packed);
        // What is waited for without end.
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::RWXU;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        refused(&packed);
    }
}
