//! Has gcc count, file by file, which lines are executed: kbuild reads in a
//! directory's Makefile which objects get its counters. The lines are put into
//! the tree as it is built, never into the user's.
//!
//! A header is counted in the objects that include it: of one that lies beside
//! sources, all objects of its directory are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::diff;
use super::patch_error::PatchError;
use super::series::SelectedSeries;
use super::worktree::Staging;
use crate::context::Context;
use crate::process::{Command, ProcessError};

/// No more directories are looked at than that for a file's Makefile.
const DEPTH: usize = 12;

/// The sources among the files that these series touch: those in which lines
/// can be counted.
#[must_use]
pub fn sources_of(series: &[SelectedSeries]) -> BTreeSet<PathBuf> {
    let patches = series.iter().flat_map(|one| &one.patches);
    let changes = patches.filter_map(|patch| diff::changes(&patch.content).ok());
    let files = changes.flatten().filter_map(|change| change.new);
    files
        .filter(|file| is_source(file) || is_local_header(file))
        .collect()
}

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "c")
}

/// A header beside the sources that include it.
pub(super) fn is_local_header(file: &Path) -> bool {
    let of_all = file.components().any(|part| part.as_os_str() == "include");
    file.extension().is_some_and(|end| end == "h") && !of_all
}

/// Adds what kbuild has to be told to the Makefiles of the staged tree.
pub(super) async fn instrument(
    context: &Context,
    staging: &Staging,
    files: &BTreeSet<PathBuf>,
) -> Result<(), PatchError> {
    let staged = Staged { context, staging };
    let mut asked: BTreeSet<PathBuf> = files.clone();
    asked.extend(files.iter().flat_map(|file| makefiles(file)));
    let present = staged.present(&asked).await?;
    for (makefile, lines) in lines(files, &present) {
        let mut text = staged.read(&makefile).await?;
        text.extend_from_slice(lines.as_bytes());
        staged.write(&makefile, text).await?;
    }
    Ok(())
}

/// Where the objects of a file may be named, the likeliest first.
fn makefiles(file: &Path) -> impl Iterator<Item = PathBuf> {
    let directories = file.ancestors().skip(1).take(DEPTH);
    let directories = directories.filter(|directory| !directory.as_os_str().is_empty());
    directories.flat_map(|directory| ["Kbuild", "Makefile"].map(|name| directory.join(name)))
}

/// What each Makefile has to say, of the files that are there.
fn lines(files: &BTreeSet<PathBuf>, present: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, String> {
    let mut lines: BTreeMap<PathBuf, String> = BTreeMap::new();
    for file in files.iter().filter(|file| present.contains(*file)) {
        let Some(makefile) = makefiles(file).find(|makefile| present.contains(makefile)) else {
            continue;
        };
        let directory = makefile.parent().unwrap_or(Path::new(""));
        let Ok(within) = file.strip_prefix(directory) else {
            continue;
        };
        let object = within.with_extension("o");
        // The Makefile may not end in a newline.
        let text = lines
            .entry(makefile.clone())
            .or_insert_with(|| "\n".to_owned());
        let _ = if is_source(file) {
            writeln!(text, "GCOV_PROFILE_{} := y", object.display())
        } else {
            writeln!(text, "GCOV_PROFILE := y")
        };
    }
    lines
}

/// The index in which an arm's tree is put together.
struct Staged<'a> {
    context: &'a Context,
    staging: &'a Staging,
}

impl Staged<'_> {
    fn git(&self) -> Command {
        self.staging.git().arg("--literal-pathspecs")
    }

    async fn run(&self, command: Command) -> Result<Vec<u8>, ProcessError> {
        Ok(command.run(&self.context.cancel).await?.stdout)
    }

    /// Which of these files are there.
    async fn present(&self, files: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, PatchError> {
        let listing = self.git().args(["ls-files", "-z", "--"]).args(files);
        let listing = self.run(listing).await?;
        let names = listing.split(|&byte| byte == 0);
        let names = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).as_ref()));
        Ok(names.filter(|name| files.contains(name)).collect())
    }

    async fn read(&self, file: &Path) -> Result<Vec<u8>, PatchError> {
        let name = format!(":{}", file.display());
        Ok(self
            .run(self.git().args(["cat-file", "blob", &name]))
            .await?)
    }

    async fn write(&self, file: &Path, content: Vec<u8>) -> Result<(), PatchError> {
        let hash = self.git().args(["hash-object", "-w", "--stdin"]);
        let id = self.run(hash.input(content)).await?;
        let id = String::from_utf8_lossy(&id).trim().to_owned();
        let entry = format!("100644,{id},{}", file.display());
        let enter = self.git().args(["update-index", "--cacheinfo", &entry]);
        self.run(enter).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn objects_are_named_where_kbuild_looks() {
        let files = paths(&[
            "fs/ceph/addr.c",
            "fs/ceph/gone.c",
            "fs/ceph/super.h",
            "fs/xfs/libxfs/xfs_bmap.c",
        ]);
        let present = paths(&[
            "fs/ceph/addr.c",
            "fs/ceph/super.h",
            "fs/ceph/Makefile",
            "fs/xfs/libxfs/xfs_bmap.c",
            "fs/xfs/Makefile",
            "fs/xfs/Kbuild",
            "fs/Makefile",
        ]);
        let lines = lines(&files, &present);
        let told: Vec<_> = lines
            .iter()
            .map(|(makefile, text)| (makefile.display().to_string(), text.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "fs/ceph/Makefile".to_owned(),
                    "\nGCOV_PROFILE_addr.o := y\nGCOV_PROFILE := y\n"
                ),
                (
                    "fs/xfs/Kbuild".to_owned(),
                    "\nGCOV_PROFILE_libxfs/xfs_bmap.o := y\n"
                ),
            ]
        );
    }

    #[test]
    fn headers_of_all_are_no_reason_to_count_everywhere() {
        assert!(is_local_header(Path::new("fs/ceph/super.h")));
        assert!(!is_local_header(Path::new("include/linux/fs.h")));
        assert!(!is_local_header(Path::new("arch/x86/include/asm/page.h")));
        assert!(!is_local_header(Path::new("fs/ceph/super.c")));
    }
}
