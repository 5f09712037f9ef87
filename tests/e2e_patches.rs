//! The series under `patches/`, against every kernel they say they cover that
//! Debian's archive has: each applies exactly, and each patch is clean for the
//! tree's own checkpatch.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::HashSet;
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

/// What is applied together, in this order. A series that has nothing for a
/// kernel is left out there.
const TOGETHER: [&[&str]; 6] = [
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
    &["vfs-iput-defer-sync", "ceph-dirty-folios"],
];

/// No one signs these off, a debug series that stops the kernel on purpose says
/// BUG, and a new file of fs/ceph is one of a directory that MAINTAINERS lists
/// as a whole.
const NOT_OURS: &str = "MISSING_SIGN_OFF,AVOID_BUG,FILE_PATH_CHANGES";

fn topics() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("patches")
}

fn select(tree: &Tree, names: &[&str]) -> Vec<SelectedSeries> {
    let names: Vec<String> = names
        .iter()
        .filter(|name| {
            let topic = Series::load(&topics().join(name)).unwrap();
            !matches!(
                topic.select(&tree.version),
                Err(SeriesError::NoRange { .. })
            )
        })
        .map(|&name| name.to_owned())
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
        for names in TOGETHER {
            let series = select(&tree, names);
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
