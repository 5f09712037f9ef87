//! A kernel of a few files, made in no time, and the jobs that try it. Its Makefile
//! answers what kvet asks of the kernel's; what a trial of it shows is the stub's
//! business, which goes by the arm's name and by what is in the image.
#![allow(
    clippy::format_push_string,
    reason = "a patch is put together line by line"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../lab/mod.rs"]
mod lab;

/// The patch that brings the bug, of [`PATCHES`].
#[allow(dead_code, reason = "a benchmark has none")]
pub(crate) const CULPRIT: usize = 5;

const PATCHES: usize = 8;

/// What the stub looks for in an image.
const BUG: &str = "BUG";

const TARGET: &str =
    "  class: hung_task\n  frames: [inode_wait_for_writeback, ceph_writepages_start]\n";

fn line(number: usize, patched: usize) -> String {
    match number {
        number if number > patched => format!("line {number}"),
        CULPRIT => format!("line {number} with a {BUG}"),
        number => format!("line {number} as it should be"),
    }
}

/// Writes tree, configuration and patches below `base`. `first`: the first line of a
/// file in it, another one for a kernel that no cache has.
fn write(base: &Path, first: &str) -> Vec<PathBuf> {
    let tree = base.join("linux");
    fs::create_dir_all(tree.join("fs")).unwrap();
    let super_c = |patched| -> String {
        (1..=PATCHES)
            .map(|number| line(number, patched) + "\n")
            .collect()
    };
    let inode_c = format!("{first}\ntwo\nthree\n");
    for (name, text) in [
        ("Makefile", lab::MAKEFILE.to_owned()),
        ("Kconfig", lab::KCONFIG.to_owned()),
        ("fs/inode.c", inode_c),
        ("fs/super.c", super_c(0)),
    ] {
        fs::write(tree.join(name), text).unwrap();
    }
    let config = "CONFIG_DETECT_HUNG_TASK=y\nCONFIG_MEMCG=y\n";
    fs::write(base.join("tiny.config"), config).unwrap();
    (1..=PATCHES)
        .map(|number| {
            let path = base.join(format!("{number:04}.patch"));
            let mut text = "--- a/fs/super.c\n+++ b/fs/super.c\n".to_owned();
            text.push_str(&format!("@@ -1,{PATCHES} +1,{PATCHES} @@\n"));
            for at in 1..=PATCHES {
                let (old, new) = (line(at, number - 1), line(at, number));
                if old == new {
                    text.push_str(&format!(" {old}\n"));
                } else {
                    text.push_str(&format!("-{old}\n+{new}\n"));
                }
            }
            fs::write(&path, text).unwrap();
            path
        })
        .collect()
}

/// A job of two arms with so many trials each.
pub(crate) fn job(base: &Path, trials: u32) -> PathBuf {
    two_arms(base, trials, &write(base, "one"))
}

/// The same with kernels that no cache has yet.
#[allow(dead_code, reason = "a benchmark has none")]
pub(crate) fn job_of_its_own(base: &Path, trials: u32) -> PathBuf {
    two_arms(base, trials, &write(base, &base.display().to_string()))
}

fn two_arms(base: &Path, trials: u32, patches: &[PathBuf]) -> PathBuf {
    let text = format!(
        "name: fleet\nkernel: {{ source: {{ dir: {0}/linux }}, config: [{0}/tiny.config] }}\n\
         cluster: none\nworkload: {{ use: writeback-storm }}\ntrials: {trials}\n\
         target:\n{TARGET}arms:\n  stock: {{ control: true }}\n  fixed: {{ patches: [{1}] }}\n",
        base.display(),
        patches[0].display(),
    );
    let path = base.join("fleet.yaml");
    fs::write(&path, text).unwrap();
    path
}

/// A job with one arm, of whose patches one brings the bug.
#[allow(dead_code, reason = "a benchmark has none")]
pub(crate) fn series(base: &Path) -> PathBuf {
    let patches: Vec<String> = write(base, &base.display().to_string())
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let text = format!(
        "name: series\nkernel: {{ source: {{ dir: {0}/linux }}, config: [{0}/tiny.config] }}\n\
         cluster: none\nworkload: {{ use: writeback-storm }}\ntrials: 3\n\
         target:\n{TARGET}arms:\n  patched: {{ control: true, patches: [{1}] }}\n",
        base.display(),
        patches.join(", "),
    );
    let path = base.join("series.yaml");
    fs::write(&path, text).unwrap();
    path
}
