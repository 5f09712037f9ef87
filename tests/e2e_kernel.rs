//! Real kernels from Debian's archive, patched, configured and built for real.
//!
//! Uses the user's cache, so that what it fetched and built once is there the
//! next time; the patched arm alone is always built anew.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
#![cfg(feature = "e2e")]

use std::path::{Path, PathBuf};

use kvet::Context;
use kvet::kernel::{Fragment, SourceSpec, Tree, configure, fetch, patch, prepare, series};
use kvet::store::Store;

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fragments(names: &[&str]) -> Vec<Fragment> {
    names
        .iter()
        .map(|name| Fragment::find(&project().join("kconfigs"), Path::new("."), name).unwrap())
        .collect()
}

async fn tree(store: &Store, yaml: &str) -> Tree {
    let spec: SourceSpec = serde_yaml::from_str(yaml).unwrap();
    fetch(&Context::default(), store, &spec).await.unwrap()
}

#[tokio::test]
async fn debian_s_newest_arrives_and_is_there_the_second_time() {
    let store = Store::open().unwrap();
    let first = tree(&store, "{ debian: linux-source-7.3 }").await;
    assert_eq!(first.version.numbers().1, 3);
    let second = tree(&store, "{ debian: linux-source-7.3 }").await;
    assert_eq!(first.key, second.key);
}

#[tokio::test]
async fn what_the_archive_lacks_is_said_with_what_it_has() {
    let store = Store::open().unwrap();
    for (yaml, expected) in [
        ("{ debian: linux-source-9.9 }", "another source"),
        (
            "{ debian: linux-source-7.3, version: 7.3.999-1 }",
            "there is: 7.3.",
        ),
    ] {
        let spec: SourceSpec = serde_yaml::from_str(yaml).unwrap();
        let error = fetch(&Context::default(), &store, &spec).await.unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains(expected), "{error}: {help}");
        assert!(error.to_string().contains("trixie-backports"), "{error}");
    }
}

#[tokio::test]
async fn the_fragments_serve_old_and_new_kernels() {
    let store = Store::open().unwrap();
    for package in ["6.1", "6.12", "7.2", "7.3"] {
        let tree = tree(&store, &format!("{{ debian: linux-source-{package} }}")).await;
        let rest = [
            "ceph-acl",
            "programs",
            "debug-vfs",
            "lkdtm",
            "lockdep",
            "kasan",
            "debug-heavy",
            "detectors",
            "debug-info",
            "profile",
            "fault-injection",
            "landlock",
        ];
        let all = [&["base", "ceph"], &rest[..]].concat();
        for names in [&["base"][..], &["base", "ceph", "debug-vfs"], &all] {
            let context = Context::default();
            let patched = patch(&context, &store, &tree, &[]).await.unwrap();
            if let Err(error) = configure(&context, &store, patched, &fragments(names)).await {
                panic!("{package} with {names:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn an_arm_compiles_only_what_its_patch_touches() {
    let store = Store::open().unwrap();
    let context = Context::default();
    let tree = tree(&store, "{ debian: linux-source-7.3 }").await;
    let fragments = fragments(&["base", "ceph", "debug-vfs"]);
    let stock = prepare(&context, &store, &tree, &[], &fragments, 0)
        .await
        .unwrap();
    let log = std::fs::read_to_string(&stock.log).unwrap();
    let compiled = log
        .lines()
        .filter(|line| line.starts_with("  CC ") || line.starts_with("  AS "));
    assert!(compiled.count() <= 1200);

    // A comment with a number of its own, so that no earlier run built it.
    let directory = tempfile::tempdir().unwrap();
    let source = tree.file(&context, "fs/ceph/strings.c").await.unwrap();
    let source = String::from_utf8(source).unwrap();
    let head: Vec<&str> = source.lines().take(3).collect();
    let arm = |number: u32| {
        let unique = format!("{}-{number}", std::process::id());
        let patch = format!(
            "--- a/fs/ceph/strings.c\n+++ b/fs/ceph/strings.c\n@@ -1,3 +1,4 @@\n {}\n+/* {unique} */\n {}\n {}\n",
            head[0], head[1], head[2]
        );
        let name = format!("{unique}.patch");
        std::fs::write(directory.path().join(&name), patch).unwrap();
        let topics = project().join("patches");
        series::select(&topics, directory.path(), &[name], &tree.version).unwrap()
    };
    // The first one also takes back what another arm left in the tree.
    let before = prepare(&context, &store, &tree, &arm(1), &fragments, 0)
        .await
        .unwrap();
    let selected = arm(2);
    let patched = prepare(&context, &store, &tree, &selected, &fragments, 0)
        .await
        .unwrap();
    assert!(!patched.cached);
    assert_eq!(patched.release, stock.release);
    let log = std::fs::read_to_string(&patched.log).unwrap();
    assert!(log.contains("fs/ceph/strings.o"), "{log}");
    // Besides it, only what kbuild makes anew at every link.
    assert!(patched.record.objects_compiled < 20, "{log}");

    let again = prepare(&context, &store, &tree, &selected, &fragments, 0)
        .await
        .unwrap();
    assert!(again.cached);
    for image in [before, patched] {
        std::fs::remove_dir_all(image.bzimage.parent().unwrap()).unwrap();
    }
}
