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
use kvet::kernel::{Fragment, Recipe, SourceSpec, Tree, configure, fetch, patch, prepare, series};
use kvet::process::Command;
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
            "ext4",
            "fscache",
        ];
        let all = [&["base", "ceph"], &rest[..]].concat();
        for names in [&["base"][..], &["base", "ceph", "debug-vfs"], &all] {
            let context = Context::default();
            let patched = patch(&context, &store, &tree, &[]).await.unwrap();
            if let Err(error) = configure(&context, &store, patched, &fragments(names).into()).await
            {
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
    let fragments = fragments(&["base", "ceph", "debug-vfs"]).into();
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

/// The objects that a log of make says were compiled.
fn compiled(log: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("  CC ") || line.starts_with("  AS "))
        .collect();
    lines.sort_unstable();
    lines
}

/// make as kernel developers call it, but for the build's number and time, which
/// two objects have in them: they are kvet's. Returns what it printed.
async fn make(source: &Path, objects: &Path) -> String {
    let jobs = std::thread::available_parallelism().unwrap();
    let finished = Command::new("make")
        .arg("-C")
        .arg(source)
        .arg(format!("O={}", objects.display()))
        .args(["ARCH=x86_64", &format!("-j{jobs}"), "bzImage"])
        .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
        .env("KBUILD_BUILD_VERSION", "1")
        .run(&Context::default().cancel)
        .await
        .unwrap();
    String::from_utf8(finished.stdout).unwrap()
}

#[tokio::test]
async fn an_edit_compiles_what_make_compiles_and_gives_the_kernel_of_a_build_from_nothing() {
    let home = tempfile::tempdir().unwrap();
    let context = Context::default();
    // A tree of the user's own, and the smallest kernel there is.
    let source = home.path().join("linux");
    {
        let store = Store::open().unwrap();
        let tree = tree(&store, "{ debian: linux-source-7.3 }").await;
        let patched = patch(&context, &store, &tree, &[]).await.unwrap();
        let copy = Command::new("cp").args(["-r", "--reflink=auto"]);
        let copy = copy.arg(&patched.path).arg(&source);
        copy.run(&context.cancel).await.unwrap();
    }
    let fragment = home.path().join("tiny.config");
    std::fs::write(&fragment, "CONFIG_64BIT=y\n").unwrap();
    let store = Store::at(home.path().join("cache")).unwrap();
    let recipe = Recipe {
        source: SourceSpec::Directory {
            path: source.clone(),
        },
        series: Vec::new(),
        fragments: vec![fragment],
        whole_config: None,
        instrumented: Vec::new(),
    };
    let build = async || {
        kvet::kernel::make(&context, &store, &recipe)
            .await
            .unwrap()
            .0
    };

    let stock = build().await;
    let objects = home.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    std::fs::copy(&stock.config, objects.join(".config")).unwrap();
    make(&source, &objects).await;

    let file = source.join("fs/inode.c");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\nint kvet_edit = 1;\n")).unwrap();
    let edited = build().await;
    let log = std::fs::read_to_string(&edited.log).unwrap();
    let raw = make(&source, &objects).await;
    assert_eq!(compiled(&log), compiled(&raw));
    assert!(
        compiled(&log)
            .iter()
            .any(|line| line.ends_with("fs/inode.o"))
    );

    // From nothing, in the same place.
    let [bzimage, map] =
        [&edited.bzimage, &edited.system_map].map(|path| std::fs::read(path).unwrap());
    for kind in ["builds", "objects"] {
        std::fs::remove_dir_all(home.path().join("cache").join(kind)).unwrap();
    }
    let anew = build().await;
    assert!(anew.record.objects_compiled > 100);
    assert!(std::fs::read(&anew.system_map).unwrap() == map);
    assert!(std::fs::read(&anew.bzimage).unwrap() == bzimage);
}
