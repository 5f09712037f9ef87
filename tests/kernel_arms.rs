//! From a source to a built kernel on a tree of a few files, whose Makefile
//! answers the targets that kvet asks of the kernel's: what is rebuilt, what is
//! refused, and what an interruption leaves.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod lab;

use std::time::Duration;

use kvet::event::{Event, EventSink, Stage};
use kvet::kernel::{Configuration, Fragment, PatchError, SourceSpec, WholeConfig, fetch, patch};
use kvet::process::Command;
use kvet::{Context, Error, Exit};
use lab::{CONFIG, INODE, KCONFIG, Lab, SUPER, text};

#[tokio::test]
async fn each_arm_compiles_what_differs_and_nothing_the_second_time() {
    let lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    lab.patch("b.patch", "fs/super.c", SUPER, "alpha", "ALPHA");
    let stock = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(stock.record.objects_compiled, 2);
    assert_eq!(stock.release, "7.3.4-tiny");
    assert_eq!(text(&stock.config), CONFIG);

    let first = lab.build(&["a.patch"], CONFIG).await.unwrap();
    assert_eq!(text(&first.bzimage), "one\nTWO\nthree\nalpha\nbeta\n");
    assert_eq!(first.record.objects_compiled, 1);

    // The first arm's file goes back, the second's comes.
    let second = lab.build(&["b.patch"], CONFIG).await.unwrap();
    assert_eq!(text(&second.bzimage), "one\ntwo\nthree\nALPHA\nbeta\n");
    assert_eq!(second.record.objects_compiled, 2);

    for (arm, before) in [(&[][..], &stock), (&["a.patch"], &first)] {
        let again = lab.build(arm, CONFIG).await.unwrap();
        assert!(again.cached);
        assert_eq!(again.bzimage, before.bzimage);
    }
    // Which cost nothing: the working tree is still the last arm's.
    assert_eq!(lab.working("fs/super.c"), "ALPHA\nbeta\n");
    let source = text(&lab.home.path().join("linux/fs/super.c"));
    assert_eq!(
        source, "alpha\nbeta\n",
        "a working tree wrote to its source"
    );
}

#[tokio::test]
async fn patches_build_on_each_other() {
    let lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    lab.patch(
        "b.patch",
        "fs/inode.c",
        &["one", "TWO", "three"],
        "TWO",
        "Two",
    );
    let image = lab.build(&["a.patch", "b.patch"], CONFIG).await.unwrap();
    assert_eq!(text(&image.bzimage), "one\nTwo\nthree\nalpha\nbeta\n");
    let names: Vec<_> = image.record.patches.iter().map(|one| &one.name).collect();
    assert_eq!(names, ["a.patch", "b.patch"]);
}

#[tokio::test]
async fn new_deleted_and_renamed_files_come_and_go() {
    let lab = Lab::new().await;
    let patch_text = "diff --git a/fs/new.c b/fs/new.c\nnew file mode 100755\n--- /dev/null\n+++ b/fs/new.c\n\
        @@ -0,0 +1 @@\n+new\n\
        diff --git a/Kconfig b/doc/Kconfig\nsimilarity index 100%\nrename from Kconfig\nrename to doc/Kconfig\n";
    std::fs::write(lab.home.path().join("patches/n.patch"), patch_text).unwrap();
    let series = lab.series(&["n.patch"]);
    patch(&lab.context, &lab.store, &lab.tree, &[])
        .await
        .unwrap();
    let patched = patch(&lab.context, &lab.store, &lab.tree, &series)
        .await
        .unwrap();
    assert_eq!(patched.rewritten, 3);
    assert_eq!(text(&patched.path.join("fs/new.c")), "new\n");
    assert_eq!(text(&patched.path.join("doc/Kconfig")), KCONFIG);
    assert!(!patched.path.join("Kconfig").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &patched
            .path
            .join("fs/new.c")
            .metadata()
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o111, 0o111);
    drop(patched);
    let stock = patch(&lab.context, &lab.store, &lab.tree, &[])
        .await
        .unwrap();
    assert!(stock.path.join("Kconfig").exists());
    assert!(!stock.path.join("fs/new.c").exists());
}

#[tokio::test]
async fn a_patch_that_does_not_fit_is_refused_with_its_place_and_changes_nothing() {
    let lab = Lab::new().await;
    lab.patch("good.patch", "fs/super.c", SUPER, "alpha", "ALPHA");
    std::fs::write(
        lab.home.path().join("patches/bad.patch"),
        "--- a/fs/inode.c\n+++ b/fs/inode.c\n@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n@@ -3,1 +3,1 @@\n-tree\n+TREE\n",
    )
    .unwrap();
    lab.build(&[], CONFIG).await.unwrap();
    let error = lab
        .build(&["good.patch", "bad.patch"], CONFIG)
        .await
        .unwrap_err();
    let said = error.one_line();
    assert!(
        said.contains("patch bad.patch does not apply to kernel 7.3.4"),
        "{said}"
    );
    assert!(said.contains("fs/inode.c, hunk 2"), "{said}");
    assert!(said.ends_with(": tree"), "{said}");
    assert_eq!(error.exit(), Exit::Undecided);
    assert_eq!(lab.working("fs/super.c"), "alpha\nbeta\n");
    assert_eq!(lab.entries("builds").len(), 1);
}

#[tokio::test]
async fn context_is_never_guessed() {
    let lab = Lab::new().await;
    // One line of context is wrong; patch(1) would take it with fuzz.
    std::fs::write(
        lab.home.path().join("patches/fuzzy.patch"),
        "--- a/fs/inode.c\n+++ b/fs/inode.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n other\n",
    )
    .unwrap();
    assert!(lab.build(&["fuzzy.patch"], CONFIG).await.is_err());
}

#[tokio::test]
async fn a_change_that_is_there_already_is_recognised() {
    let lab = Lab::new().await;
    lab.patch(
        "a.patch",
        "fs/inode.c",
        &["one", "zwei", "three"],
        "zwei",
        "two",
    );
    let error = lab.build(&["a.patch"], CONFIG).await.unwrap_err();
    let help = error.diagnostic().help().unwrap().to_string();
    assert!(help.contains("holds the change already"), "{help}");
}

#[tokio::test]
async fn a_lost_symbol_stops_the_arm_with_its_dependencies() {
    let lab = Lab::new().await;
    let error = lab
        .build(&[], "CONFIG_CEPH=y\nCONFIG_LOST=y\n")
        .await
        .unwrap_err();
    let said = error.one_line();
    assert!(
        said.contains("CONFIG_LOST=y (fragment tiny, line 2) came out as n: it needs MISSING"),
        "{said}"
    );
    assert_eq!(lab.entries("builds").len(), 0);
}

/// Which symbols the kernel has is not known then, neither for what asks only where
/// they are known, nor for why one was lost.
#[tokio::test]
async fn a_kconfig_file_that_cannot_be_read_stops_the_arm_and_is_named() {
    let lab = Lab::new().await;
    let lines: Vec<&str> = KCONFIG.lines().collect();
    lab.patch("k.patch", "Kconfig", &lines, "", "source \"fs/Kconfig\"");
    for config in [
        "CONFIG_CEPH=y\n# kvet: where known\nCONFIG_AFTER=y\n",
        "CONFIG_CEPH=y\nCONFIG_LOST=y\n",
    ] {
        let error = lab.build(&["k.patch"], config).await.unwrap_err();
        let said = error.one_line();
        assert!(
            said.starts_with("cannot read the Kconfig files of kernel 7.3.4: fs/Kconfig: "),
            "{said}"
        );
        let help = error.help().unwrap();
        assert!(help.contains("which symbols this kernel has"), "{help}");
        assert_eq!(error.exit(), Exit::Undecided);
        assert_eq!(lab.entries("builds").len(), 0);
    }
}

#[tokio::test]
async fn the_first_compiler_error_is_shown_with_its_place() {
    let lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "WRONG");
    let error = lab.build(&["a.patch"], CONFIG).await.unwrap_err();
    let said = error.one_line();
    assert!(
        said.contains("fs/inode.c:1:5: error: WRONG is wrong"),
        "{said}"
    );
    assert!(!said.contains("worktrees"), "{said}");
    assert_eq!(error.exit(), Exit::Undecided);
    assert_eq!(lab.entries("builds").len(), 0);
    // The next arm is none the worse.
    lab.build(&[], CONFIG).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_build_leaves_no_kernel_and_is_gone_on_with() {
    let mut lab = Lab::new().await;
    lab.patch("slow.patch", "fs/super.c", SUPER, "alpha", "SLOW");
    let (events, mut receiver) = EventSink::channel();
    lab.context.events = events;
    let cancel = lab.context.cancel.clone();
    let result = {
        let mut build = std::pin::pin!(lab.build(&["slow.patch"], CONFIG));
        loop {
            tokio::select! {
                result = &mut build => break result,
                Some(event) = receiver.recv() => {
                    // The second object's announcement: the first is done, this one sleeps.
                    if let Event::Progress { stage: Stage::Build, done: 2, .. } = event.event {
                        cancel.cancel();
                    }
                }
            }
        }
    };
    assert_eq!(result.unwrap_err().exit(), Exit::Interrupted);
    assert_eq!(lab.entries("builds").len(), 0);
    lab.context = Context::default();
    let image = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(image.record.objects_compiled, 1, "{}", text(&image.log));
}

#[tokio::test]
async fn a_commit_of_a_repository_is_a_source_too() {
    let lab = Lab::new().await;
    let source = lab.home.path().join("linux");
    let git = async |args: &[&str]| {
        Command::new("git")
            .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
            .args(args)
            .directory(&source)
            .run(&lab.context.cancel)
            .await
            .unwrap()
    };
    git(&["init", "--quiet"]).await;
    git(&["add", "."]).await;
    git(&["commit", "--quiet", "-m", "one"]).await;
    git(&["tag", "v1"]).await;
    std::fs::write(source.join("fs/inode.c"), "newer\n").unwrap();
    git(&["commit", "--quiet", "-a", "-m", "two"]).await;
    std::fs::write(source.join("fs/inode.c"), "not committed\n").unwrap();
    let id = git(&["rev-parse", "HEAD"]).await.stdout;
    let id = String::from_utf8(id).unwrap().trim().to_owned();
    for (reference, expected) in [("v1", "one\ntwo\nthree\n"), (id.as_str(), "newer\n")] {
        let spec = SourceSpec::Git {
            repo: source.display().to_string(),
            reference: reference.to_owned(),
        };
        let tree = fetch(&lab.context, &lab.store, &spec).await.unwrap();
        let inode = tree.file(&lab.context, "fs/inode.c").await.unwrap();
        assert_eq!(String::from_utf8(inode).unwrap(), expected);
        assert_eq!(tree.version.to_string(), "7.3.4");
    }
    let spec = SourceSpec::Git {
        repo: source.display().to_string(),
        reference: "v9".to_owned(),
    };
    let error = Error::from(fetch(&lab.context, &lab.store, &spec).await.unwrap_err());
    assert!(error.one_line().contains("cannot get `v9`"), "{error}");
}

/// Has the test `name` run again where `$TMPDIR` is a disk of 1 MiB, in a
/// process of its own; true there.
async fn on_a_small_disk(name: &str) -> bool {
    const INSIDE: &str = "KVET_TEST_ON_A_SMALL_DISK";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$TMPDIR\" && exec \"$0\" --exact \"$1\"";
    let finished = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env("TMPDIR", disk.path())
        .env(INSIDE, "1")
        .deadline(Duration::from_secs(60))
        .status(&Context::default().cancel)
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&finished.stdout);
    assert!(finished.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_no_kernel() {
    if !on_a_small_disk("a_full_disk_is_named_and_leaves_no_kernel").await {
        return;
    }
    let lab = Lab::new().await;
    lab.patch("huge.patch", "fs/super.c", SUPER, "alpha", "HUGE");
    let error = lab.build(&["huge.patch"], CONFIG).await.unwrap_err();
    let said = error.one_line();
    assert!(said.contains("the disk was full"), "{said}");
    assert_eq!(error.exit(), Exit::Usage);
    assert_eq!(lab.entries("builds").len(), 0);
    // What make wrote in vain is gone, and with room again it goes on.
    let image = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(text(&image.bzimage), "one\ntwo\nthree\nalpha\nbeta\n");
}

#[tokio::test]
async fn a_read_only_cache_still_serves_what_it_has() {
    if !on_a_small_disk("a_read_only_cache_still_serves_what_it_has").await {
        return;
    }
    let lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    lab.build(&[], CONFIG).await.unwrap();
    Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(std::env::temp_dir())
        .run(&lab.context.cancel)
        .await
        .unwrap();
    assert!(lab.build(&[], CONFIG).await.unwrap().cached);
    let error = lab.build(&["a.patch"], CONFIG).await.unwrap_err();
    let help = error.diagnostic().help().unwrap().to_string();
    assert!(help.contains("XDG_CACHE_HOME"), "{error}: {help}");
    assert_eq!(error.exit(), Exit::Usage);
    // Or the temporary directory's removal would fail.
    Command::new("mount")
        .args(["-o", "remount,rw"])
        .arg(std::env::temp_dir())
        .run(&lab.context.cancel)
        .await
        .unwrap();
}

const WHOLE: &str = "# Linux/x86 7.3.4 Kernel Configuration\nCONFIG_X86_64=y\nCONFIG_CEPH=m\n\
                     CONFIG_HZ_250=y\nCONFIG_LOST=y\nCONFIG_CMDLINE_OVERRIDE=y\n";

#[tokio::test]
async fn a_whole_config_is_kept_but_for_what_is_asked_and_cannot_be() {
    let lab = Lab::new().await;
    let path = lab.home.path().join("config");
    std::fs::write(&path, WHOLE).unwrap();
    let text = "CONFIG_CEPH=y\n# kvet: unless given\nCONFIG_HZ_100=y\n";
    let configuration = |fragment: &str| Configuration {
        base: Some(WholeConfig::read(&path).unwrap()),
        fragments: vec![Fragment::parse("tiny", fragment).unwrap()],
        ..Configuration::default()
    };
    let image = lab.build_as(&[], &configuration(text)).await.unwrap();
    let config = std::fs::read_to_string(&image.config).unwrap();
    assert_eq!(
        config,
        "# Linux/x86 7.3.4 Kernel Configuration\nCONFIG_X86_64=y\nCONFIG_HZ_250=y\n\
         CONFIG_LOST=y\nCONFIG_CEPH=y\n# CONFIG_CMDLINE_OVERRIDE is not set\n"
    );
    assert_eq!(image.record.fragments, ["config", "tiny"]);
    // Another .config is another kernel.
    std::fs::write(&path, WHOLE.replace("HZ_250", "HZ_1000")).unwrap();
    let other = lab.build_as(&[], &configuration(text)).await.unwrap();
    assert!(!other.cached && other.key != image.key);
    assert!(
        lab.build_as(&[], &configuration(text))
            .await
            .unwrap()
            .cached
    );
}

#[tokio::test]
async fn lines_are_counted_in_the_arm_s_tree_and_nowhere_else() {
    let mut lab = Lab::new().await;
    // A Makefile without an end of line, as some are.
    lab.edit("fs/Makefile", "obj-y += inode.o super.o");
    let path = lab.source();
    lab.fetch(&SourceSpec::Directory { path }).await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    let above = "--- a/fs/inode.c\n+++ b/fs/inode.c\n@@ -1,2 +1,3 @@\n-one\n+zero\n+one\n TWO\n";
    std::fs::write(lab.home.path().join("patches/b.patch"), above).unwrap();
    let series = lab.series(&["a.patch"]);
    let instrumented = kvet::kernel::sources_of(&series);
    let configuration = Configuration {
        instrumented: instrumented.clone(),
        ..vec![Fragment::parse("tiny", CONFIG).unwrap()].into()
    };
    let image = lab
        .build_as(&["a.patch", "b.patch"], &configuration)
        .await
        .unwrap();
    let counters = image.counters.as_ref().unwrap();
    let lines = &counters.changed.files[0].lines;
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.line, line.patch, line.text.as_str()))
        .collect();
    assert_eq!(told, [(1, 1, "zero"), (3, 0, "TWO")]);
    let makefile = lab.working("fs/Makefile");
    assert_eq!(
        makefile,
        "obj-y += inode.o super.o\nGCOV_PROFILE_inode.o := y\n"
    );
    assert_eq!(lab.working("fs/inode.c"), "zero\none\nTWO\nthree\n");
    let users = std::fs::read_to_string(lab.source().join("fs/Makefile")).unwrap();
    assert_eq!(users, "obj-y += inode.o super.o");
    // It is another kernel than without counters; found again, it has the same.
    let plain = lab.build(&["a.patch", "b.patch"], CONFIG).await.unwrap();
    assert!(!plain.cached && plain.counters.is_none());
    assert_eq!(lab.working("fs/Makefile"), "obj-y += inode.o super.o");
    let again = lab
        .build_as(&["a.patch", "b.patch"], &configuration)
        .await
        .unwrap();
    assert!(again.cached);
    assert_eq!(again.counters.unwrap().changed, counters.changed);
}

#[tokio::test]
async fn that_patches_apply_is_known_without_touching_the_working_tree() {
    let lab = Lab::new().await;
    lab.build(&[], CONFIG).await.unwrap();
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    lab.patch(
        "wrong.patch",
        "fs/inode.c",
        &["one", "2", "three"],
        "2",
        "3",
    );
    let check = async |names: &[&str]| {
        kvet::kernel::applies(&lab.context, &lab.tree, &lab.series(names)).await
    };
    // Nobody is waited for: another kvet may be building here.
    let held = patch(&lab.context, &lab.store, &lab.tree, &[])
        .await
        .unwrap();
    check(&["a.patch"]).await.unwrap();
    let error = check(&["a.patch", "wrong.patch"]).await.unwrap_err();
    assert!(matches!(error, PatchError::Refused { .. }), "{error}");
    drop(held);
    assert_eq!(lab.working("fs/inode.c"), "one\ntwo\nthree\n");
}

/// What somebody else called the same things is not what this run asked for.
#[tokio::test]
async fn a_kernel_of_the_cache_is_told_by_the_names_of_those_who_ask() {
    let mut lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    lab.build(&["a.patch"], CONFIG).await.unwrap();
    let patches = lab.home.path().join("patches");
    std::fs::rename(patches.join("a.patch"), patches.join("b.patch")).unwrap();
    let path = lab.home.path().join("other");
    std::fs::rename(lab.source(), &path).unwrap();
    let origin = path.display().to_string();
    lab.fetch(&SourceSpec::Directory { path }).await;
    let fragment = Fragment::parse("another", CONFIG).unwrap();
    let again = lab.build_as(&["b.patch"], &vec![fragment].into()).await;
    let again = again.unwrap();
    assert!(again.cached);
    assert_eq!(again.record.patches[0].name, "b.patch");
    assert_eq!(again.record.fragments, ["another"]);
    assert_eq!(again.record.source, origin);
}

#[tokio::test]
async fn lines_of_a_kernel_of_the_cache_are_of_the_patches_of_those_who_ask() {
    let lab = Lab::new().await;
    lab.patch("a.patch", "fs/inode.c", INODE, "two", "TWO");
    let fragment = Fragment::parse("tiny", CONFIG).unwrap();
    let counting = Configuration {
        instrumented: ["fs/inode.c".into()].into(),
        ..vec![fragment].into()
    };
    lab.build_as(&["a.patch"], &counting).await.unwrap();
    let patches = lab.home.path().join("patches");
    std::fs::rename(patches.join("a.patch"), patches.join("b.patch")).unwrap();
    let again = lab.build_as(&["b.patch"], &counting).await.unwrap();
    assert!(again.cached);
    assert_eq!(again.counters.unwrap().changed.patches, ["b.patch"]);
}
