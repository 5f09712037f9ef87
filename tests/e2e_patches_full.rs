//! Every patch of every series, built on its own: with the tree's extra
//! warnings (`W=1`) and sparse (`C=1`), none may add a message to what the tree
//! as it came says; nor may a whole series, built with clang. Takes minutes for each kernel, so `ci/check --full` runs it.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kvet::Context;
use kvet::kernel::series::PatchFile;
use kvet::kernel::{SelectedSeries, SourceSpec, Tree, fetch, patch, series};
use kvet::store::Store;

/// Which series are built on top of each other, each patch in its turn. One that
/// has nothing for a kernel is left out there.
const STACKS: [&[&str]; 10] = [
    &[
        "ceph-iput-async",
        "ceph-iput-async-stats",
        "vfs-sync-owner",
        "ceph-dirty-folios",
    ],
    &["ceph-iput-async-taskwork", "ceph-msgr-iput"],
    &["ceph-msgr-iput", "vfs-sync-owner"],
    &["ceph-iput-async", "ceph-iput-delays"],
    &["ceph-dirty-folios"],
    &["ceph-cap-order"],
    &[
        "ceph-snap-again",
        "ceph-snap-evicted",
        "ceph-snap-leak",
        "ceph-peer-reset",
        "ceph-peer-reset-delay",
    ],
    &["vfs-sync-owner-field"],
    &["vfs-iput-async-sync"],
    &["vfs-iput-defer-sync"],
];

/// What the patches touch.
const OBJECTS: [&str; 4] = ["fs/inode.o", "fs/fs-writeback.o", "fs/ceph/", "net/ceph/"];

/// What configures these kernels: all that has code of the patches in it.
const FRAGMENTS: [&str; 4] = ["base", "ceph", "debug-vfs", "fs-encryption"];

/// One kernel at a time: each has all processors to itself.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Object files of one kernel, apart from those that kvet boots.
struct Objects {
    directory: tempfile::TempDir,
    /// What looks at the sources, as make's arguments.
    checks: Vec<String>,
}

impl Objects {
    /// Made by gcc, and looked at by sparse.
    fn new(fragments: &[&str]) -> Self {
        let output = Command::new(project().join("ci/sparse")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let sparse = String::from_utf8(output.stdout).unwrap();
        Self::made_with(
            vec!["C=1".to_owned(), format!("CHECK={}", sparse.trim())],
            fragments,
        )
    }

    fn made_with(checks: Vec<String>, fragments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let asked: String = fragments
            .iter()
            .map(|name| project().join("kconfigs").join(format!("{name}.config")))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        std::fs::write(directory.path().join("asked.config"), asked).unwrap();
        Self { directory, checks }
    }

    fn make(&self, source: &Path, targets: &[&str]) -> (bool, String) {
        let directory = self.directory.path();
        let processors = std::thread::available_parallelism().unwrap();
        let output = Command::new("make")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("KCONFIG_ALLCONFIG", directory.join("asked.config"))
            .arg("-C")
            .arg(source)
            .arg(format!("O={}", directory.display()))
            .args(["ARCH=x86_64", "W=1"])
            .args(&self.checks)
            .arg(format!("-j{processors}"))
            .args(targets)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    /// What the compiler and sparse, if it looks, say about the tree, without the lines' numbers.
    /// Only files that changed since the last call are looked at again.
    fn messages(&self, source: &Path, what: &str) -> BTreeSet<String> {
        // Once more for each patch, since one may bring an option.
        for targets in [&["allnoconfig"][..], &OBJECTS] {
            let (built, said) = self.make(source, targets);
            assert!(built, "{what} does not build:\n{said}");
            assert!(!said.contains("C=1 specified, but"), "{said}");
            if targets == OBJECTS {
                return said.lines().filter_map(message).collect();
            }
        }
        unreachable!("the objects are made last")
    }
}

/// A line of a compiler's or of sparse's, `FILE:LINE:COLUMN: warning: TEXT`,
/// without the two numbers.
fn message(line: &str) -> Option<String> {
    let (place, text) = [": warning: ", ": error: "]
        .iter()
        .find_map(|kind| line.split_once(kind))?;
    let file = place.split(':').next()?;
    // sparse has three ways to say that locks do not balance in a function;
    // which it is depends on where it gives up.
    let text = match text.split_once(" - ") {
        Some((imbalance, _)) if imbalance.starts_with("context imbalance") => imbalance,
        _ => text,
    };
    Some(format!("{file}: {text}"))
}

/// A patch with one fault that compilers tell and one that sparse tells.
async fn faulty(tree: &Tree) -> SelectedSeries {
    let file = "fs/ceph/strings.c";
    let source = tree.file(&Context::default(), file).await.unwrap();
    let source = String::from_utf8(source).unwrap();
    let lines: Vec<&str> = source.lines().collect();
    let (count, end) = (lines.len(), &lines[lines.len() - 3..]);
    let content = format!(
        "--- a/{file}\n+++ b/{file}\n@@ -{0},3 +{0},8 @@\n {1}\n {2}\n {3}\n\
         +static void unheard_of(void __user *from)\n+{{\n+\tvoid *to = from;\n+\t(void)to;\n+}}\n",
        count - 2,
        end[0],
        end[1],
        end[2],
    );
    SelectedSeries {
        name: "faulty".to_owned(),
        patches: vec![PatchFile {
            name: "faulty.patch".to_owned(),
            path: PathBuf::from("faulty.patch"),
            content: content.into_bytes(),
        }],
        base_commit: None,
        needs: Vec::new(),
    }
}

/// The first series, whole, and so on, up to `count` patches in all.
fn first(series: &[SelectedSeries], mut count: usize) -> Vec<SelectedSeries> {
    let mut taken = Vec::new();
    for one in series {
        let mut one = one.clone();
        one.patches.truncate(count);
        count -= one.patches.len();
        taken.push(one);
    }
    taken
}

/// The series of a stack that there are for this kernel.
fn select(tree: &Tree, names: &[&str]) -> Vec<SelectedSeries> {
    let topics = project().join("patches");
    let names: Vec<String> = names
        .iter()
        .filter(|name| {
            let topic = series::Series::load(&topics.join(name)).unwrap();
            !matches!(
                topic.select(&tree.version),
                Err(series::SeriesError::NoRange { .. })
            )
        })
        .map(|&name| name.to_owned())
        .collect();
    series::select(&topics, Path::new("."), &names, &tree.version).unwrap()
}

async fn each_patch_builds_in_silence(yaml: &str) {
    let _turn = TURN.lock().await;
    let (store, context) = (Store::open().unwrap(), Context::default());
    let spec: SourceSpec = serde_yaml::from_str(yaml).unwrap();
    let tree = fetch(&context, &store, &spec).await.unwrap();

    let objects = Objects::new(&FRAGMENTS);
    let base = {
        let patched = patch(&context, &store, &tree, &[]).await.unwrap();
        objects.messages(&patched.path, "the tree as it came")
    };
    {
        let faulty = [faulty(&tree).await];
        let patched = patch(&context, &store, &tree, &faulty).await.unwrap();
        let said = objects.messages(&patched.path, "a patch with two faults");
        let new: Vec<&String> = said.difference(&base).collect();
        let both = ["defined but not used", "different address spaces"]
            .iter()
            .all(|fault| new.iter().any(|text| text.contains(fault)));
        assert!(both, "a fault goes unseen; these are seen: {new:#?}");
    }
    for names in STACKS {
        let all = select(&tree, names);
        for count in 1..=all.iter().map(|one| one.patches.len()).sum() {
            let some = first(&all, count);
            let last = some.iter().flat_map(|one| &one.patches).next_back();
            let what = format!("{} up to {}", tree.version, last.unwrap().name);
            let patched = patch(&context, &store, &tree, &some).await.unwrap();
            let said = objects.messages(&patched.path, &what);
            let new: Vec<&String> = said.difference(&base).collect();
            assert!(new.is_empty(), "{what} adds:\n{new:#?}");
        }
    }

    // Without the option that they are for, the debug series add nothing either.
    let objects = Objects::new(&["base", "ceph"]);
    let debug = select(&tree, &["vfs-sync-owner", "ceph-msgr-iput"]);
    let patched = patch(&context, &store, &tree, &debug).await.unwrap();
    let said = objects.messages(&patched.path, "the debug series, off");
    let new: Vec<&String> = said.difference(&base).collect();
    assert!(new.is_empty(), "{} adds:\n{new:#?}", tree.version);
}

/// The compiler that many build kernels with, beside gcc.
const CLANG: &str = "clang-19";

async fn each_series_builds_in_silence_with_clang(yaml: &str) {
    let _turn = TURN.lock().await;
    let (store, context) = (Store::open().unwrap(), Context::default());
    let spec: SourceSpec = serde_yaml::from_str(yaml).unwrap();
    let tree = fetch(&context, &store, &spec).await.unwrap();

    let checks = || vec![format!("CC={CLANG}")];
    let objects = Objects::made_with(checks(), &FRAGMENTS);
    let base = {
        let patched = patch(&context, &store, &tree, &[]).await.unwrap();
        objects.messages(&patched.path, "the tree as it came")
    };
    {
        let faulty = [faulty(&tree).await];
        let patched = patch(&context, &store, &tree, &faulty).await.unwrap();
        let said = objects.messages(&patched.path, "a patch with a fault");
        let seen = said
            .difference(&base)
            .any(|text| text.contains("unused function"));
        assert!(seen, "a fault goes unseen: {said:#?}");
    }
    for names in STACKS {
        let all = select(&tree, names);
        let patched = patch(&context, &store, &tree, &all).await.unwrap();
        let what = format!("{} with {}", tree.version, names.join(", "));
        let said = objects.messages(&patched.path, &what);
        let new: Vec<&String> = said.difference(&base).collect();
        assert!(new.is_empty(), "{what} adds:\n{new:#?}");
    }

    let objects = Objects::made_with(checks(), &["base", "ceph"]);
    let debug = select(&tree, &["vfs-sync-owner", "ceph-msgr-iput"]);
    let patched = patch(&context, &store, &tree, &debug).await.unwrap();
    let said = objects.messages(&patched.path, "the debug series, off");
    let new: Vec<&String> = said.difference(&base).collect();
    assert!(new.is_empty(), "{} adds:\n{new:#?}", tree.version);
}

#[tokio::test]
async fn with_clang_on_6_1() {
    each_series_builds_in_silence_with_clang("{ debian: linux-source-6.1, version: 6.1.192 }")
        .await;
}

#[tokio::test]
async fn with_clang_on_6_12() {
    each_series_builds_in_silence_with_clang("{ debian: linux-source-6.12, version: 6.12.117 }")
        .await;
}

#[tokio::test]
async fn with_clang_on_7_2() {
    each_series_builds_in_silence_with_clang("{ debian: linux-source-7.2, version: 7.2.13 }").await;
}

#[tokio::test]
async fn with_clang_on_7_3() {
    each_series_builds_in_silence_with_clang("{ debian: linux-source-7.3, version: 7.3.4 }").await;
}

#[tokio::test]
async fn on_6_1() {
    each_patch_builds_in_silence("{ debian: linux-source-6.1, version: 6.1.192 }").await;
}

#[tokio::test]
async fn on_6_12() {
    each_patch_builds_in_silence("{ debian: linux-source-6.12, version: 6.12.117 }").await;
}

#[tokio::test]
async fn on_7_2() {
    each_patch_builds_in_silence("{ debian: linux-source-7.2, version: 7.2.13 }").await;
}

#[tokio::test]
async fn on_7_3() {
    each_patch_builds_in_silence("{ debian: linux-source-7.3, version: 7.3.4 }").await;
}
