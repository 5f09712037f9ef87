//! From one tree of a line to the next, on a tree of a few files: only what
//! differs is written and compiled, nothing of the user's is touched, and what
//! was interrupted or damaged is not built upon.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod lab;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kvet::event::{Event, EventSink};
use kvet::kernel::{SourceSpec, Sources};
use kvet::process::Command;
use kvet::store::Lock;
use kvet::{Context, Exit};
use lab::{CONFIG, Lab, text};

fn time(path: &Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

fn set_time(path: &Path, time: SystemTime) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Every file below with its content and times.
fn state(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(state(&path));
        } else {
            found.insert(path.clone(), (time(&path), std::fs::read(&path).unwrap()));
        }
    }
    found
}

async fn git(lab: &Lab, arguments: &[&str]) -> String {
    let finished = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
        .args(arguments)
        .directory(lab.source())
        .run(&Context::default().cancel)
        .await
        .unwrap();
    String::from_utf8(finished.stdout).unwrap()
}

#[tokio::test]
async fn an_edit_writes_and_compiles_what_was_edited() {
    let mut lab = Lab::new().await;
    let first = lab.build_directory().await;
    assert_eq!(first.record.objects_compiled, 2);
    let worktree = lab.entries("worktrees").remove(0).join("tree");
    let before = time(&worktree.join("fs/super.c"));

    lab.edit("fs/inode.c", "edited\n");
    let second = lab.build_directory().await;
    assert_eq!(second.record.objects_compiled, 1);
    assert_eq!(text(&second.bzimage), "edited\nalpha\nbeta\n");
    assert_eq!(time(&worktree.join("fs/super.c")), before);

    // A file is back at a content that it had, but its object is of another.
    lab.edit("fs/inode.c", "one\ntwo\nthree\n");
    lab.edit("fs/super.c", "new\n");
    let third = lab.build_directory().await;
    assert_eq!(third.record.objects_compiled, 2);
    assert_eq!(text(&third.bzimage), "one\ntwo\nthree\nnew\n");

    for (kind, count) in [("worktrees", 1), ("objects", 1), ("git", 1), ("builds", 3)] {
        assert_eq!(lab.entries(kind).len(), count, "{kind}");
    }
    assert_eq!(lab.entries("trees").len(), 0);
    assert_eq!(lab.entries("sources").len(), 0);
}

#[tokio::test]
async fn a_directory_that_is_the_same_again_is_the_same_kernel() {
    let mut lab = Lab::new().await;
    lab.build_directory().await;
    lab.edit("fs/inode.c", "edited\n");
    lab.build_directory().await;
    lab.edit("fs/inode.c", "one\ntwo\nthree\n");
    assert!(lab.build_directory().await.cached);
}

#[tokio::test]
async fn an_edit_between_two_arms_of_a_run_gets_into_neither() {
    let mut lab = Lab::new().await;
    let mut sources = Sources::default();
    let source = SourceSpec::Directory { path: lab.source() };
    for file in ["fs/inode.c", "fs/super.c"] {
        let tree = sources.tree(&lab.context, &lab.store, &source).await;
        lab.tree = tree.unwrap();
        lab.patch("a.patch", "fs/super.c", &["alpha", "beta"], "beta", file);
        let image = lab.build(&["a.patch"], CONFIG).await.unwrap();
        let expected = format!("one\ntwo\nthree\nalpha\n{file}\n");
        assert_eq!(text(&image.bzimage), expected);
        lab.edit(file, "edited meanwhile\n");
    }
}

#[tokio::test]
async fn files_links_and_modes_come_and_go_with_commits() {
    let mut lab = Lab::new().await;
    let source = lab.source();
    git(&lab, &["init", "--quiet"]).await;
    git(&lab, &["add", "."]).await;
    git(&lab, &["commit", "--quiet", "-m", "one"]).await;
    git(&lab, &["tag", "one"]).await;
    std::fs::create_dir(source.join("new")).unwrap();
    lab.edit("new/file.c", "new\n");
    std::os::unix::fs::symlink("inode.c", source.join("fs/link.c")).unwrap();
    std::fs::remove_file(source.join("Kconfig")).unwrap();
    lab.edit("fs/super.c", "commit two\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(source.join("fs/inode.c"), mode).unwrap();
    git(&lab, &["add", "--all"]).await;
    git(&lab, &["commit", "--quiet", "-m", "two"]).await;
    git(&lab, &["tag", "two"]).await;
    // Work in progress, some of it in the index.
    lab.edit("fs/super.c", "staged\n");
    git(&lab, &["add", "fs/super.c"]).await;
    lab.edit("fs/super.c", "not staged\n");

    let users = state(&source);
    let commit = |reference: &str| SourceSpec::Git {
        repo: source.display().to_string(),
        reference: reference.to_owned(),
    };
    lab.fetch(&commit("one")).await;
    let one = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(text(&one.bzimage), "one\ntwo\nthree\nalpha\nbeta\n");
    lab.fetch(&commit("two")).await;
    let two = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(text(&two.bzimage), "one\ntwo\nthree\ncommit two\n");
    let worktree = lab.entries("worktrees").remove(0).join("tree");
    assert_eq!(text(&worktree.join("new/file.c")), "new\n");
    let link = std::fs::read_link(worktree.join("fs/link.c")).unwrap();
    assert_eq!(link, Path::new("inode.c"));
    assert!(!worktree.join("Kconfig").exists());

    lab.fetch(&commit("one")).await;
    lab.patch("a.patch", "fs/super.c", &["alpha", "beta"], "beta", "BETA");
    let patched = lab.build(&["a.patch"], CONFIG).await.unwrap();
    assert_eq!(text(&patched.bzimage), "one\ntwo\nthree\nalpha\nBETA\n");
    assert!(!worktree.join("new").exists());
    assert!(worktree.join("fs/link.c").symlink_metadata().is_err());
    assert!(worktree.join("Kconfig").exists());

    assert_eq!(
        state(&source),
        users,
        "the user's repository was written to"
    );
    // Nothing of it was copied either: it is borrowed.
    for repository in lab.entries("git") {
        let objects = state(&repository.join("objects"));
        let content = objects.values().map(|(_, content)| content.len());
        assert!(content.sum::<usize>() < 2000, "{}", repository.display());
    }
}

#[tokio::test]
async fn what_a_git_user_ignores_is_not_in_a_snapshot_and_what_they_added_is() {
    let mut lab = Lab::new().await;
    lab.edit(".gitignore", "*.o\nfs/tracked.c\n");
    lab.edit("fs/tracked.c", "tracked\n");
    git(&lab, &["init", "--quiet"]).await;
    git(&lab, &["add", "."]).await;
    git(&lab, &["add", "--force", "fs/tracked.c"]).await;
    git(&lab, &["commit", "--quiet", "-m", "one"]).await;
    lab.edit("fs/inode.o", "left by a build\n");
    lab.edit("fs/new.c", "not added yet\n");
    let users = state(&lab.source().join(".git"));
    lab.build_directory().await;
    let worktree = lab.entries("worktrees").remove(0).join("tree");
    assert!(worktree.join("fs/tracked.c").exists());
    assert!(worktree.join("fs/new.c").exists());
    assert!(!worktree.join("fs/inode.o").exists());
    assert!(!worktree.join(".git").exists());
    // Not even their objects' times are other ones.
    assert!(state(&lab.source().join(".git")) == users);

    lab.edit("fs/super.c", "edited\n");
    std::fs::remove_file(lab.source().join("fs/new.c")).unwrap();
    let image = lab.build_directory().await;
    assert_eq!(text(&image.bzimage), "one\ntwo\nthree\nedited\n");
    assert_eq!(image.record.objects_compiled, 1);
    assert!(!worktree.join("fs/new.c").exists());
    assert!(state(&lab.source().join(".git")) == users);
}

#[tokio::test]
async fn a_change_that_was_killed_leaves_nothing_behind() {
    let mut lab = Lab::new().await;
    lab.build_directory().await;
    let root = lab.entries("worktrees").remove(0);
    // As git leaves it: some files of the next tree, the index of the last.
    for (file, content) in [
        ("changing", ""),
        ("index.lock", "half"),
        ("staged.lock", "half"),
        ("tree/fs/stray.h", "of the next tree\n"),
        ("tree/fs/super.c", "of the next tree\n"),
    ] {
        std::fs::write(root.join(file), content).unwrap();
    }
    lab.edit("fs/inode.c", "edited\n");
    let image = lab.build_directory().await;
    assert_eq!(text(&image.bzimage), "edited\nalpha\nbeta\n");
    assert!(!root.join("tree/fs/stray.h").exists());
    assert!(!root.join("changing").exists());
}

#[tokio::test]
async fn a_damaged_working_tree_is_written_anew_and_its_objects_are_too() {
    let mut lab = Lab::new().await;
    lab.build_directory().await;
    let root = lab.entries("worktrees").remove(0);
    std::fs::write(root.join("index"), "no index of git's").unwrap();
    lab.edit("fs/inode.c", "edited\n");
    let image = lab.build_directory().await;
    assert_eq!(text(&image.bzimage), "edited\nalpha\nbeta\n");
    assert_eq!(image.record.objects_compiled, 2);
}

#[tokio::test]
async fn objects_that_are_younger_than_the_clock_says_are_not_trusted() {
    let mut lab = Lab::new().await;
    lab.build_directory().await;
    let hour = Duration::from_secs(3600);
    let ahead = SystemTime::now() + hour;
    // All of it was built by a clock that was an hour ahead.
    set_time(&lab.entries("worktrees")[0].join("generation"), ahead);
    for object in ["inode.o", "super.o"] {
        set_time(&lab.entries("objects")[0].join(object), ahead);
    }
    lab.edit("fs/inode.c", "edited\n");
    let image = lab.build_directory().await;
    assert_eq!(text(&image.bzimage), "edited\nalpha\nbeta\n");
}

#[tokio::test]
async fn two_at_once_on_one_line_wait_for_each_other_and_say_so() {
    let mut lab = Lab::new().await;
    lab.patch("a.patch", "fs/super.c", &["alpha", "beta"], "beta", "BETA");
    lab.patch("b.patch", "fs/super.c", &["alpha", "beta"], "beta", "Beta");
    let (events, mut receiver) = EventSink::channel();
    lab.context.events = events;
    let (first, second) = tokio::join!(
        lab.build(&["a.patch"], CONFIG),
        lab.build(&["b.patch"], CONFIG)
    );
    assert!(text(&first.unwrap().bzimage).ends_with("BETA\n"));
    assert!(text(&second.unwrap().bzimage).ends_with("Beta\n"));
    lab.context.events = EventSink::default();
    let mut said = Vec::new();
    while let Some(event) = receiver.recv().await {
        if let Event::Note(note) = event.event {
            said.push(note);
        }
    }
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("waiting for another kvet"), "{said:?}");
}

#[tokio::test]
async fn a_damaged_kernel_is_named_and_built_again() {
    let mut lab = Lab::new().await;
    let image = lab.build_directory().await;
    let (events, mut receiver) = EventSink::channel();
    lab.context.events = events;
    for (file, problem) in [
        (&image.bzimage, "bzImage has 3 bytes and had 25"),
        (&image.config, "config: No such file"),
    ] {
        if file == &image.config {
            std::fs::remove_file(file).unwrap();
        } else {
            std::fs::write(file, "one").unwrap();
        }
        let again = lab.build(&[], CONFIG).await.unwrap();
        assert!(!again.cached);
        assert_eq!(again.record.objects_compiled, 0);
        assert_eq!(text(&again.bzimage), "one\ntwo\nthree\nalpha\nbeta\n");
        assert_eq!(text(&again.config), CONFIG);
        let mut said = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            if let Event::Warning(warning) = event.event {
                said.push(warning);
            }
        }
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(problem), "{said:?}");
    }
}

#[tokio::test]
async fn a_commit_and_the_work_on_top_of_it_share_objects() {
    let mut lab = Lab::new().await;
    let source = lab.source();
    git(&lab, &["init", "--quiet"]).await;
    git(&lab, &["add", "."]).await;
    git(&lab, &["commit", "--quiet", "-m", "one"]).await;
    let commit = SourceSpec::Git {
        repo: source.display().to_string(),
        reference: "HEAD".to_owned(),
    };
    lab.fetch(&commit).await;
    let first = lab.build(&[], CONFIG).await.unwrap();
    assert_eq!(first.record.objects_compiled, 2);
    lab.edit("fs/inode.c", "edited\n");
    let second = lab.build_directory().await;
    assert_eq!(second.record.objects_compiled, 1);
    assert_eq!(text(&second.bzimage), "edited\nalpha\nbeta\n");
    lab.fetch(&commit).await;
    lab.patch("a.patch", "fs/super.c", &["alpha", "beta"], "beta", "BETA");
    let third = lab.build(&["a.patch"], CONFIG).await.unwrap();
    assert_eq!(text(&third.bzimage), "one\ntwo\nthree\nalpha\nBETA\n");
    assert_eq!(third.record.objects_compiled, 2);
    assert_eq!(lab.entries("worktrees").len(), 1);
}

/// Two clones of a repository have trees of their own, and the same kernels.
#[tokio::test]
async fn waiting_for_another_kvet_s_kernel_can_be_ended() {
    let mut lab = Lab::new().await;
    let first = lab.build(&[], CONFIG).await.unwrap();
    let builds = lab.store.kind("builds").unwrap();
    let lock = builds.join(format!(".{}.lock", first.key.as_str()));
    std::fs::remove_dir_all(first.directory()).unwrap();
    let _held = Lock::try_acquire(&lock).unwrap();
    let (events, mut receiver) = EventSink::channel();
    lab.context.events = events;
    let mut build = std::pin::pin!(lab.build(&[], CONFIG));
    let error = loop {
        tokio::select! {
            result = &mut build => break result.unwrap_err(),
            Some(event) = receiver.recv() => {
                if let Event::Note(note) = event.event {
                    assert!(note.starts_with("waiting for another kvet"), "{note}");
                    lab.context.cancel.cancel();
                }
            }
        }
    };
    assert_eq!(error.exit(), Exit::Interrupted);
}

/// A commit whose tree is not all there would be taken for one that is, for ever.
#[tokio::test]
async fn what_is_fetched_comes_whole_or_not_at_all() {
    let mut lab = Lab::new().await;
    git(&lab, &["init", "--quiet"]).await;
    git(&lab, &["add", "."]).await;
    git(&lab, &["commit", "--quiet", "-m", "one"]).await;
    let spec = SourceSpec::Git {
        repo: format!("file://{}", lab.source().display()),
        reference: "HEAD".to_owned(),
    };
    lab.fetch(&spec).await;
    let fetched = lab.entries("git").into_iter();
    let packs: Vec<usize> = fetched
        .filter(|repository| repository.join("FETCH_HEAD").exists())
        .map(|repository| {
            let objects = std::fs::read_dir(repository.join("objects")).unwrap();
            let names = objects.map(|entry| entry.unwrap().file_name());
            let single = names.filter(|name| name.len() == 2).count();
            assert_eq!(single, 0, "objects lie there one by one");
            std::fs::read_dir(repository.join("objects/pack"))
                .unwrap()
                .count()
        })
        .collect();
    assert_eq!(packs.len(), 1);
    assert!(packs[0] >= 2);
    lab.build(&[], CONFIG).await.unwrap();
}
