//! `kvet watch` on a tree of two files and a patch that does not fit: the job is
//! tried, again after each save, and not after what is no change; Ctrl-C ends it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{ChildStderr, Command, Stdio};

const JOB: &str = "\
name: j
kernel: { source: { dir: /nowhere }, config: [] }
cluster: none
workload: writeback-storm
target: { class: hung_task }
arms: { stock: { control: true } }
";

/// Reads what kvet says up to a line with these words; returns all of it.
#[track_caller]
fn until(told: &mut BufReader<ChildStderr>, words: &str) -> String {
    let mut all = String::new();
    while !all.contains(words) {
        let read = told.read_line(&mut all).unwrap();
        assert_ne!(read, 0, "no `{words}` in:\n{all}");
    }
    all
}

#[test]
fn a_save_is_a_new_round_and_ctrl_c_the_end() {
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("linux");
    fs::create_dir_all(tree.join("fs")).unwrap();
    let makefile = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";
    fs::write(tree.join("Makefile"), makefile).unwrap();
    fs::write(tree.join("fs/f.c"), "common\nfirst\n").unwrap();
    fs::write(tree.join(".gitignore"), "*.o\n").unwrap();
    let git = Command::new("git")
        .args(["init", "--quiet"])
        .current_dir(&tree)
        .status();
    assert!(git.unwrap().success());
    fs::write(home.path().join("j.yaml"), JOB).unwrap();
    let patch = "--- a/fs/f.c\n+++ b/fs/f.c\n@@ -1,2 +1,2 @@\n common\n-wanted\n+new\n";
    fs::write(home.path().join("fix.patch"), patch).unwrap();

    let mut watch = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args([
            "watch",
            "../j.yaml",
            "--kernel",
            ".",
            "--patch",
            "../fix.patch",
        ])
        .env("XDG_CACHE_HOME", home.path().join("cache"))
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_STATE_HOME", home.path().join("state"))
        .current_dir(&tree)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(watch.stderr.take().unwrap());
    let first = until(&mut told, "waiting for a change of");
    assert!(first.contains("does not apply"), "{first}");

    // What a build leaves is no change; a file that is saved as it was is none.
    fs::write(tree.join("fs/f.o"), "built\n").unwrap();
    fs::write(tree.join("fs/f.c"), "common\nfirst\n").unwrap();
    let same = until(&mut told, "waiting for a change of");
    assert!(
        same.contains("fs/f.c was saved") && !same.contains("does not apply"),
        "{same}"
    );

    fs::write(tree.join("fs/f.c"), "common\nsecond\n").unwrap();
    let second = until(&mut told, "waiting for a change of");
    assert!(
        second.contains("does not apply") && second.contains("second"),
        "{second}"
    );

    // A save that ends a round and leaves the tree as it was: its answer is still
    // to come. The round is one that waits for its patch.
    let patch = home.path().join("fix.patch");
    let aside = home.path().join("aside.patch");
    fs::rename(&patch, &aside).unwrap();
    let fifo = Command::new("mkfifo").arg(&patch).status();
    assert!(fifo.unwrap().success());
    fs::write(tree.join("fs/f.c"), "common\nthird\n").unwrap();
    let waiting = fs::File::options().write(true).open(&patch).unwrap();
    fs::rename(&aside, &patch).unwrap();
    fs::File::options()
        .append(true)
        .open(tree.join("fs/f.c"))
        .and_then(|file| file.set_len("common\nthird\n".len() as u64))
        .unwrap();
    let third = until(&mut told, "waiting for a change of");
    assert!(
        third.contains("the tree was changed: again") && third.contains("third"),
        "{third}"
    );
    drop(waiting);

    let signal = Command::new("kill")
        .args(["-INT", &watch.id().to_string()])
        .status();
    assert!(signal.unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(130));
    // The tree has nothing that was not put there here.
    let mut there: Vec<_> = fs::read_dir(&tree)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    there.sort();
    assert_eq!(there, [".git", ".gitignore", "Makefile", "fs"]);
}
