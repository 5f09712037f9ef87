//! What must be installed for a cluster.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{ClusterError, ClusterSpec};
use crate::process::find_program;

/// The programs a cluster needs, and the Debian package of each.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("ceph-mon", "ceph-mon"),
    ("ceph-mgr", "ceph-mgr"),
    ("ceph-osd", "ceph-osd"),
    ("ceph-mds", "ceph-mds"),
    ("ceph", "ceph-common"),
    ("monmaptool", "ceph-base"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
];

/// What `vstart.sh` needs besides.
pub const VSTART_PROGRAMS: &[(&str, &str)] = &[
    ("bash", "bash"),
    ("ceph-authtool", "ceph-common"),
    ("crushtool", "ceph-base"),
    ("hostname", "hostname"),
    ("pgrep", "procps"),
    ("jq", "jq"),
    ("uuidgen", "uuid-runtime"),
];

/// The programs that a cluster of this description needs, with their packages.
#[must_use]
pub fn required_programs(spec: &ClusterSpec) -> Vec<(&'static str, &'static str)> {
    let built = spec
        .vstart
        .as_ref()
        .is_some_and(|vstart| vstart.build.is_some());
    let extra = if spec.vstart.is_some() {
        VSTART_PROGRAMS
    } else {
        &[]
    };
    PROGRAMS
        .iter()
        .chain(extra)
        // A build tree brings its own of Ceph's.
        .filter(|(_, package)| !(built && package.starts_with("ceph")))
        .copied()
        .collect()
}

/// Fails with all that is missing at once.
pub(super) fn check(spec: &ClusterSpec) -> Result<(), ClusterError> {
    let mut missing = required_programs(spec);
    missing.retain(|(program, _)| find_program(program).is_none());
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<String> = missing.iter().map(|(_, p)| (*p).to_owned()).collect();
    packages.sort();
    packages.dedup();
    Err(ClusterError::Missing {
        programs: missing.iter().map(|(p, _)| (*p).to_owned()).collect(),
        packages,
    })
}

/// The directory in `PATH` that has a program.
pub(super) fn directory_of(program: &str) -> Option<PathBuf> {
    Some(find_program(program)?.parent()?.to_owned())
}

/// The Python that a `ceph` command (the installed one if none is given) runs
/// under: the one that librados has bindings for, which need not be the first
/// in `PATH`.
pub(super) fn python_of(ceph: Option<&Path>) -> PathBuf {
    ceph.map(Path::to_owned)
        .or_else(|| find_program("ceph"))
        .and_then(|ceph| interpreter(&ceph))
        .unwrap_or_else(|| PathBuf::from("python3"))
}

fn interpreter(script: &Path) -> Option<PathBuf> {
    let file = std::fs::File::open(script).ok()?;
    let mut line = Vec::new();
    BufReader::new(file.take(256))
        .read_until(b'\n', &mut line)
        .ok()?;
    let line = String::from_utf8(line).ok()?;
    let mut words = line.strip_prefix("#!")?.split_whitespace();
    let first = PathBuf::from(words.next()?);
    if first.file_name()? == "env" {
        return Some(PathBuf::from(words.next()?));
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_tree_brings_its_own_binaries() {
        let spec: ClusterSpec = serde_yaml::from_str("vstart: {build: /b}").unwrap();
        let programs = required_programs(&spec);
        assert!(programs.contains(&("jq", "jq")));
        assert!(!programs.iter().any(|(program, _)| *program == "ceph-mon"));
    }

    #[test]
    fn the_interpreter_is_read_from_the_script() {
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("ceph");
        for (first, python) in [
            ("#! /usr/bin/python3\n", Some("/usr/bin/python3")),
            ("#!/usr/bin/env python3\n", Some("python3")),
            ("\u{7f}ELF", None),
        ] {
            std::fs::write(&script, first).unwrap();
            assert_eq!(interpreter(&script), python.map(PathBuf::from));
        }
    }
}
