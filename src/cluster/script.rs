//! Where `vstart.sh` comes from: a file, a build tree's sources, or the
//! distribution's ceph source package, read through private package lists so
//! that the host's own apt set-up stays as it is.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{ClusterError, VstartSpec};
use crate::apt::{self, Private};
use crate::context::Context;
use crate::event::{Event, Stage};
use crate::process::ProcessError;
use crate::store::{Store, io_error};

/// The suite whose source package is known to be complete, tried after the
/// host's own.
const KNOWN: &str = "trixie";

/// No version of the script comes near this.
const LONGEST: u64 = 1 << 20;

/// The script that the job asks for.
pub(super) async fn locate(
    context: &Context,
    store: &Store,
    spec: &VstartSpec,
) -> Result<PathBuf, ClusterError> {
    if let Some(script) = &spec.script {
        return existing(script.clone(), "`script` under `vstart`");
    }
    if let Some(build) = &spec.build {
        let script = source_of(build)?.join("src/vstart.sh");
        return existing(script, "the source tree of `build` under `vstart`");
    }
    let suites = match &spec.suite {
        Some(suite) => vec![suite.clone()],
        None => default_suites(),
    };
    let mut last = None;
    for suite in suites {
        check_suite(&suite)?;
        match from_suite(context, store, &suite).await {
            Ok(script) => return Ok(script),
            Err(ClusterError::Interrupted) => return Err(ClusterError::Interrupted),
            Err(error @ ClusterError::Store(_)) => return Err(error),
            // An old source may have left the mirror; the next suite's serves.
            Err(error) => last = Some(error),
        }
    }
    let tail = last.map(|error| error.to_string()).unwrap_or_default();
    Err(ClusterError::Vstart {
        problem: "the distribution's ceph source package does not have it".to_owned(),
        tail,
        help: "name another `suite:`, a `script:` or a Ceph `build:` tree under `vstart:`, or \
               leave `vstart` out: kvet starts the same daemons by itself"
            .to_owned(),
    })
}

/// The source tree that a build tree was configured from.
pub(super) fn source_of(build: &Path) -> Result<PathBuf, ClusterError> {
    let cache = build.join("CMakeCache.txt");
    let text = std::fs::read_to_string(&cache).map_err(io_error("read", &cache))?;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find_map(|(name, value)| name.starts_with("ceph_SOURCE_DIR:").then(|| value.into()))
        .ok_or_else(|| ClusterError::Vstart {
            problem: format!("{} is not of a Ceph build", cache.display()),
            tail: String::new(),
            help: "`build` is the directory where Ceph was built, with bin/ceph-mon in it"
                .to_owned(),
        })
}

fn existing(script: PathBuf, origin: &str) -> Result<PathBuf, ClusterError> {
    if script.is_file() {
        return Ok(script);
    }
    Err(ClusterError::Vstart {
        problem: format!("there is no {} (from {origin})", script.display()),
        tail: String::new(),
        help: format!("correct {origin}"),
    })
}

fn default_suites() -> Vec<String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let own = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned());
    let mut suites: Vec<String> = own.into_iter().collect();
    suites.retain(|suite| suite != KNOWN && check_suite(suite).is_ok());
    suites.push(KNOWN.to_owned());
    suites
}

/// A suite becomes part of a file name and of apt's configuration.
fn check_suite(suite: &str) -> Result<(), ClusterError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if suite.starts_with(|c: char| c.is_ascii_alphabetic()) && suite.chars().all(plain) {
        return Ok(());
    }
    Err(ClusterError::Spec {
        problem: format!("{suite:?} under `vstart` is not the name of a Debian suite"),
    })
}

async fn from_suite(
    context: &Context,
    store: &Store,
    suite: &str,
) -> Result<PathBuf, ClusterError> {
    let began = Instant::now();
    let subject = format!("vstart.sh from Debian {suite}");
    let entry = store
        .fill("sources", &format!("ceph-vstart-{suite}"), async |to| {
            context.emit(Event::Started {
                stage: Stage::Source,
                subject: subject.clone(),
            });
            let work = to.join("apt");
            download(context, suite, &work).await?;
            let script = to.join("vstart.sh");
            let archive = work.join("download");
            tokio::task::spawn_blocking(move || extract(&archive, &script))
                .await
                .map_err(|error| vstart(format!("unpacking ended early: {error}")))??;
            crate::store::remove_tree(&work)?;
            context.emit(Event::Finished {
                stage: Stage::Source,
                subject: subject.clone(),
                cached: false,
                elapsed: began.elapsed(),
            });
            Ok::<(), ClusterError>(())
        })
        .await?;
    Ok(entry.path.join("vstart.sh"))
}

fn vstart(problem: String) -> ClusterError {
    ClusterError::Vstart {
        problem,
        tail: String::new(),
        help: "name a `script:` under `vstart:`".to_owned(),
    }
}

async fn download(context: &Context, suite: &str, work: &Path) -> Result<(), ClusterError> {
    let directory = work.join("download");
    std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
    let mirrors = match apt::mirrors(&context.cancel).await {
        Err(ProcessError::Interrupted) => return Err(ClusterError::Interrupted),
        mirrors => mirrors.unwrap_or_default(),
    };
    let mirror = mirrors
        .main
        .ok_or_else(|| vstart("the host's apt sources name no mirror of Debian".to_owned()))?;
    let lists = Private::new(work, &[apt::source("deb-src", &mirror, suite)])?;
    let apt = || {
        apt::command("apt-get", Some(&lists))
            .arg("-q")
            .directory(&directory)
            // What apt leaves behind when it is interrupted goes with the rest.
            .env("TMPDIR", work)
    };
    apt().arg("update").run(&context.cancel).await?;
    // Without the .dsc, which some mirrors lack: the list signs the archive too.
    apt()
        .args(["source", "--download-only", "--tar-only", "ceph"])
        .run(&context.cancel)
        .await?;
    Ok(())
}

/// Takes the one file out of the source archive in `directory`.
fn extract(directory: &Path, to: &Path) -> Result<(), ClusterError> {
    let missing = || vstart("the source archive does not have it".to_owned());
    let archive = std::fs::read_dir(directory)
        .map_err(io_error("read", directory))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".orig.tar.xz"))
        .ok_or_else(missing)?;
    let file = std::fs::File::open(&archive).map_err(io_error("open", &archive))?;
    let text = find_script(liblzma::read::XzDecoder::new(file))
        .map_err(io_error("unpack", &archive))?
        .ok_or_else(missing)?;
    std::fs::write(to, text).map_err(io_error("write", to))?;
    Ok(())
}

fn find_script(tar: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(tar).entries()? {
        let entry = entry?;
        let path = entry.path()?;
        // The first directory is the release's.
        let below: PathBuf = path.components().skip(1).collect();
        if below == Path::new("src/vstart.sh") && entry.header().entry_type().is_file() {
            let mut text = Vec::new();
            entry.take(LONGEST).read_to_end(&mut text)?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_found_among_others() {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in [
            ("ceph-1/vstart.sh", "wrong"),
            ("ceph-1/src/vstart.sh", "right"),
            ("ceph-1/src/deep/src/vstart.sh", "wrong"),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        let tar = builder.into_inner().unwrap();
        assert_eq!(find_script(tar.as_slice()).unwrap().unwrap(), b"right");
        assert_eq!(find_script([0_u8; 1024].as_slice()).unwrap(), None);
    }

    #[test]
    fn a_suite_is_a_plain_name() {
        for bad in ["", "../x", "a b", "sid\ndeb x", "-o"] {
            assert!(check_suite(bad).is_err(), "{bad:?}");
        }
        check_suite("bookworm-backports").unwrap();
        assert!(default_suites().iter().any(|suite| suite == KNOWN));
    }

    #[test]
    fn a_build_tree_names_its_sources() {
        let build = tempfile::tempdir().unwrap();
        let cache = build.path().join("CMakeCache.txt");
        assert!(source_of(build.path()).is_err());
        std::fs::write(&cache, "A:BOOL=ON\nceph_SOURCE_DIR:STATIC=/src/ceph\n").unwrap();
        assert_eq!(source_of(build.path()).unwrap(), Path::new("/src/ceph"));
        std::fs::write(&cache, "other_SOURCE_DIR:STATIC=/src\n").unwrap();
        assert!(source_of(build.path()).is_err());
    }
}
