//! The series under `patches/`, against every kernel they say they cover that
//! Debian's archive has: each applies exactly, and each patch is clean for the
//! tree's own checkpatch.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use kvet::Context;
use kvet::kernel::{SelectedSeries, Series, SeriesError, SourceSpec, Tree, fetch, patch, series};
use kvet::store::Store;

/// The versions the series are kept for.
const KERNELS: [&str; 4] = [
    "{ debian: linux-source-6.1, version: 6.1.192 }",
    "{ debian: linux-source-6.12, version: 6.12.117 }",
    "{ debian: linux-source-7.2, version: 7.2.13 }",
    "{ debian: linux-source-7.3, version: 7.3.4 }",
];

/// What is applied together, in this order, besides what the jobs of [`JOBS`] do.
/// A series that has nothing for a kernel is left out there.
const TOGETHER: [&[&str]; 11] = [
    &[
        "ceph-iput-async",
        "vfs-sync-owner",
        "ceph-msgr-iput",
        "ceph-dirty-folios",
    ],
    &[
        "ceph-dirty-folios",
        "ceph-msgr-iput",
        "vfs-sync-owner",
        "ceph-iput-async",
    ],
    &[
        "ceph-iput-async",
        "ceph-iput-async-stats",
        "ceph-dirty-folios",
        "vfs-sync-owner",
        "ceph-msgr-iput",
    ],
    &[
        "ceph-iput-async-taskwork",
        "vfs-sync-owner",
        "ceph-msgr-iput",
        "ceph-dirty-folios",
    ],
    &[
        "ceph-dirty-folios",
        "ceph-msgr-iput",
        "vfs-sync-owner",
        "ceph-iput-async-taskwork",
    ],
    &[
        "ceph-iput-async",
        "ceph-iput-delays",
        "ceph-dirty-folios",
        "vfs-sync-owner",
        "ceph-msgr-iput",
    ],
    &["ceph-iput-writeback", "ceph-iput-handlers"],
    &["ceph-iput-writeback", "vfs-sync-owner", "ceph-dirty-folios"],
    &["ceph-iput-async", "vfs-sync-owner-field", "ceph-msgr-iput"],
    &["ceph-cap-order", "ceph-iput-async", "ceph-msgr-iput"],
    &[
        "ceph-iput-async",
        "ceph-peer-reset",
        "ceph-snap-again",
        "ceph-snap-evicted",
        "ceph-snap-leak",
        "ceph-dirty-folios",
        "ceph-cap-order",
    ],
];

/// Jobs whose arms say what is applied together, too.
const JOBS: [&str; 12] = [
    "jobs/ceph-cap-order.yaml",
    "jobs/ceph-iput-alternatives.yaml",
    "jobs/ceph-iput-async.yaml",
    "jobs/ceph-iput-full.yaml",
    "jobs/ceph-msgr-iput.yaml",
    "jobs/ceph-peer-reset.yaml",
    "jobs/ceph-programs.yaml",
    "jobs/ceph-snap-again.yaml",
    "jobs/ceph-snap-evicted.yaml",
    "jobs/ceph-umount-killed.yaml",
    "jobs/ceph-writeback-storm.yaml",
    "tests/jobs/debug-heavy.yaml",
];

/// The arms of a job by name, and what each applies.
fn arms(job: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(project().join(job)).unwrap();
    let job: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let arms = job["arms"].as_mapping().unwrap().iter();
    arms.map(|(name, arm)| {
        let patches = arm.get("patches").cloned().unwrap_or_default();
        let patches: Option<Vec<String>> = serde_yaml::from_value(patches).unwrap();
        (
            name.as_str().unwrap().to_owned(),
            patches.unwrap_or_default(),
        )
    })
    .collect()
}

/// All that is applied together, each once.
fn stacks() -> BTreeSet<Vec<String>> {
    let named = TOGETHER
        .iter()
        .map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let of_jobs = JOBS
        .iter()
        .flat_map(|job| arms(job))
        .map(|(_, stack)| stack);
    named.chain(of_jobs).collect()
}

/// No one signs these off, a debug series that stops the kernel on purpose says
/// BUG, a new file of fs/ceph is one of a directory that MAINTAINERS lists as a
/// whole, and the tree has no history to look up what a `Fixes:` names.
const NOT_OURS: &str = "MISSING_SIGN_OFF,AVOID_BUG,FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn topics() -> PathBuf {
    project().join("patches")
}

fn select(tree: &Tree, names: &[String]) -> Vec<SelectedSeries> {
    let names: Vec<String> = names
        .iter()
        .filter(|name| {
            let topic = Series::load(&topics().join(name)).unwrap();
            !matches!(
                topic.select(&tree.version),
                Err(SeriesError::NoRange { .. })
            )
        })
        .cloned()
        .collect();
    series::select(&topics(), Path::new("."), &names, &tree.version).unwrap()
}

/// From within the tree: checkpatch takes commits that a changelog names for
/// mistakes if they aren't in the repository that it is started in.
fn checkpatch(tree: &Path, file: &Path) {
    let output = Command::new("perl")
        .current_dir(tree)
        .arg("scripts/checkpatch.pl")
        .args(["--strict", "--terse", "--no-summary", "--ignore", NOT_OURS])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[tokio::test]
async fn the_series_fit_the_kernels_they_are_for() {
    let (store, context) = (Store::open().unwrap(), Context::default());
    for yaml in KERNELS {
        let spec: SourceSpec = serde_yaml::from_str(yaml).unwrap();
        let tree = fetch(&context, &store, &spec).await.unwrap();
        let mut checked = HashSet::new();
        for names in stacks() {
            let series = select(&tree, &names);
            // Refused as a whole if any hunk does not apply as it is.
            let patched = patch(&context, &store, &tree, &series).await.unwrap();
            for file in series.iter().flat_map(|series| &series.patches) {
                if checked.insert(file.path.clone()) {
                    checkpatch(&patched.path, &file.path);
                }
            }
        }
    }
}

/// Jobs whose controls are mistakes in the fix.
const MISTAKEN: [&str; 2] = ["jobs/ceph-cache-fails.yaml", "jobs/ceph-iput-mutants.yaml"];

/// The mistakes of the jobs that look for them are there, and apply as its arms
/// say: a patch that no longer fits would be a mistake that is not looked for.
#[tokio::test]
async fn every_mutant_fits_the_fix() {
    let (store, context) = (Store::open().unwrap(), Context::default());
    let spec: SourceSpec = serde_yaml::from_str(KERNELS[3]).unwrap();
    let tree = fetch(&context, &store, &spec).await.unwrap();
    let mut used = HashSet::new();
    for (name, names) in MISTAKEN.iter().flat_map(|job| arms(job)) {
        let jobs = project().join("jobs");
        let series = series::select(&topics(), &jobs, &names, &tree.version).unwrap();
        let applied = patch(&context, &store, &tree, &series).await;
        assert!(applied.is_ok(), "{name}: {:?}", applied.err());
        used.extend(
            names
                .iter()
                .filter_map(|name| name.strip_prefix("../tests/mutants/"))
                .map(str::to_owned),
        );
    }
    let there = std::fs::read_dir(project().join("tests/mutants")).unwrap();
    for entry in there.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let patch = Path::new(&entry)
            .extension()
            .is_some_and(|it| it == "patch");
        assert!(!patch || used.contains(&entry), "no arm has {entry}");
    }
    // No arm has those that nothing shows.
    let missed = std::fs::read_dir(project().join("tests/mutants/missed")).unwrap();
    let mut count = 0;
    for mutant in missed.map(|entry| entry.unwrap().path()) {
        let says = std::fs::read_to_string(&mutant).unwrap();
        let says = says.split("---").next().unwrap();
        let mut names = vec!["ceph-iput-async".to_owned()];
        if says.contains("ceph-iput-delays") {
            names.push("ceph-iput-delays".to_owned());
        }
        names.push(mutant.display().to_string());
        let series = series::select(&topics(), project(), &names, &tree.version).unwrap();
        let applied = patch(&context, &store, &tree, &series).await;
        assert!(applied.is_ok(), "{names:?}: {:?}", applied.err());
        count += 1;
    }
    assert!(count > 0);
}
