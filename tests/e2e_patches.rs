//! The series under `patches/`, against every kernel they say they cover that
//! Debian's archive has: each applies exactly, and each patch is clean for the
//! tree's own checkpatch.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use kvet::Context;
use kvet::kernel::{SelectedSeries, SourceSpec, Tree, fetch, patch, series};
use kvet::store::Store;

/// The versions the series are kept for.
const KERNELS: [&str; 4] = [
    "{ debian: linux-source-6.1, version: 6.1.192 }",
    "{ debian: linux-source-6.12, version: 6.12.117 }",
    "{ debian: linux-source-7.2, version: 7.2.13 }",
    "{ debian: linux-source-7.3, version: 7.3.4 }",
];

/// What is applied together, in this order.
const TOGETHER: [&[&str]; 4] = [
    &["ceph-iput-async", "vfs-sync-owner"],
    &["vfs-sync-owner", "ceph-iput-async"],
    &["ceph-iput-async", "ceph-iput-async-stats"],
    &["vfs-iput-defer-sync"],
];

/// No one signs these off, and a debug series that stops the kernel on purpose
/// says BUG.
const NOT_OURS: &str = "MISSING_SIGN_OFF,AVOID_BUG";

fn topics() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("patches")
}

fn select(tree: &Tree, names: &[&str]) -> Vec<SelectedSeries> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    series::select(&topics(), Path::new("."), &names, &tree.version).unwrap()
}

fn checkpatch(tree: &Tree, file: &Path) {
    let output = Command::new("perl")
        .arg(tree.path.join("scripts/checkpatch.pl"))
        .args(["--strict", "--terse", "--no-summary", "--ignore", NOT_OURS])
        .arg("--root")
        .arg(&tree.path)
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
        for names in TOGETHER {
            let series = select(&tree, names);
            for file in series.iter().flat_map(|series| &series.patches) {
                checkpatch(&tree, &file.path);
            }
            // Refused as a whole if any hunk does not apply as it is.
            patch(&context, &store, &tree, &series).await.unwrap();
        }
    }
}
