//! What a change costs in a kernel tree, from the command to the verdict: a patch,
//! `kvet run ceph-iput-async --kernel . --patch fix.patch --trials 1`, and an edit
//! of a line, the same with `--arm fixed` in place of the patch. Each against raw
//! make of the changed files and the same run with nothing to build, which is one
//! warm trial for each arm.
//!
//!     KVET_TEST_LINUX=…/linux cargo bench --bench patched
//!     KVET_TEST_EDITED=…/linux-copy cargo bench --bench patched
//!
//! The first tree is a git repository of a kernel that the job serves, such as
//! 7.3.4; it is only read. The second is such a tree without git, and gets a line in
//! a file. Their kernels are built in the user's cache if they are not there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops when it cannot go on"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kvet::Context;
use kvet::process::Command;

/// What the patches change.
const FILE: &str = "fs/ceph/caps.c";

const ROUNDS: u32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let tree = |name| std::env::var_os(name).map(PathBuf::from);
    let (linux, edited) = (tree("KVET_TEST_LINUX"), tree("KVET_TEST_EDITED"));
    if linux.is_none() && edited.is_none() {
        println!("KVET_TEST_LINUX and KVET_TEST_EDITED name no kernel tree: nothing to measure");
    }
    if let Some(linux) = linux {
        let home = tempfile::tempdir().unwrap();
        let patch = home.path().join("fix.patch");
        let name = patch.display().to_string();
        run(&linux, &home.path().join("first"), &["--arm", "stock"]).await;
        rounds(&linux, "patched", &["--patch", &name], || {
            std::fs::write(&patch, patch_of(&linux)).unwrap();
        })
        .await;
    }
    if let Some(tree) = edited {
        let home = tempfile::tempdir().unwrap();
        let arguments = ["--arm", "fixed"];
        run(&tree, &home.path().join("first"), &arguments).await;
        let edited = Edited::new(tree.join(FILE));
        rounds(&tree, "fixed", &arguments, || {
            let text = &edited.before;
            std::fs::write(
                &edited.file,
                format!("{text}int kvet_bench = {};\n", unique()),
            )
            .unwrap();
        })
        .await;
    }
}

/// A file that is what it was when this is dropped.
struct Edited {
    file: PathBuf,
    before: String,
}

impl Edited {
    fn new(file: PathBuf) -> Self {
        let before = std::fs::read_to_string(&file).unwrap();
        Self { file, before }
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        std::fs::write(&self.file, &self.before).unwrap();
    }
}

/// Changes the tree and has it tested, several times; tells what that took.
async fn rounds(tree: &Path, arm: &str, arguments: &[&str], mut change: impl FnMut()) {
    let home = tempfile::tempdir().unwrap();
    let mut worst: f64 = 0.0;
    for round in 1..=ROUNDS {
        change();
        let out = home.path().join(format!("{round}-cold"));
        let whole = run(tree, &out, arguments).await;
        let again = home.path().join(format!("{round}-warm"));
        let warm = run(tree, &again, arguments).await;
        let raw = raw(&out.join("arms").join(arm).join("build.log")).await;
        let ratio = whole.as_secs_f64() / (raw + warm).as_secs_f64();
        worst = worst.max(ratio);
        println!(
            "{arm}, round {round}: {whole:.2?} from the change to the verdict, raw make \
             {raw:.2?}, a warm trial of each arm {warm:.2?}: ratio {ratio:.2}"
        );
    }
    println!("{arm}, the worst of {ROUNDS} rounds: ratio {worst:.2} (at most 1.25 is wanted)");
}

async fn run(linux: &Path, out: &Path, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let command = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args([
            "run",
            "ceph-iput-async",
            "--kernel",
            ".",
            "--trials",
            "1",
            "--out",
        ])
        .arg(out)
        .args(arguments)
        .directory(linux);
    let finished = command.status(&Context::default().cancel).await.unwrap();
    // One trial of each is no proof; anything else is a failure.
    let code = finished.status.code();
    let said = String::from_utf8_lossy(&finished.stderr);
    assert!(matches!(code, Some(0 | 1 | 125)), "{said}");
    began.elapsed()
}

/// A patch that nobody had before: it adds a variable to a file.
fn patch_of(linux: &Path) -> String {
    let text = std::fs::read_to_string(linux.join(FILE)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("#include"))
        .unwrap();
    format!(
        "--- a/{FILE}\n+++ b/{FILE}\n@@ -{0},3 +{0},4 @@\n {1}\n+int kvet_bench = {4};\n {2}\n {3}\n",
        at + 1,
        lines[at],
        lines[at + 1],
        lines[at + 2],
        unique()
    )
}

/// A number that nobody had before.
fn unique() -> u128 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_nanos() & 0x7fff_ffff
}

/// make once more as kvet called it, after the patched file was written again.
async fn raw(log: &Path) -> Duration {
    let text = std::fs::read_to_string(log).unwrap();
    let line = text.lines().next().unwrap().strip_prefix("$ ").unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let tree = words.iter().position(|word| *word == "-C").unwrap();
    let file = Path::new(words[tree + 1]).join(FILE);
    let touched = std::fs::File::options().write(true).open(file).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    let began = Instant::now();
    Command::new("sh")
        .args(["-c", line])
        .env("LC_ALL", "C")
        .env("GIT_DIR", "/dev/null")
        .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
        .env("KBUILD_BUILD_VERSION", "1")
        .env("KBUILD_BUILD_USER", "kvet")
        .env("KBUILD_BUILD_HOST", "kvet")
        .run(&Context::default().cancel)
        .await
        .unwrap();
    began.elapsed()
}
