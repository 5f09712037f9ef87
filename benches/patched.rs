//! What a patch costs in a kernel tree, from the command to the verdict:
//! `kvet run ceph-iput-async --kernel . --patch fix.patch --trials 1` against
//! raw make of the patched files and the same run with nothing to build, which
//! is one warm trial for each arm.
//!
//!     KVET_TEST_LINUX=…/linux cargo bench --bench patched
//!
//! The tree is a git repository of a kernel that the job serves, such as 7.3.4;
//! it is only read. Its kernel is built in the user's cache if it is not there.
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
    let Some(linux) = std::env::var_os("KVET_TEST_LINUX").map(PathBuf::from) else {
        println!("KVET_TEST_LINUX names no kernel tree: nothing to measure");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let first = home.path().join("first");
    run(&linux, &first, &["--arm", "stock"]).await;
    let mut worst: f64 = 0.0;
    for round in 1..=ROUNDS {
        let patch = home.path().join("fix.patch");
        std::fs::write(&patch, patch_of(&linux)).unwrap();
        let patch = patch.display().to_string();
        let arguments = ["--patch", patch.as_str()];
        let out = home.path().join(format!("{round}-cold"));
        let whole = run(&linux, &out, &arguments).await;
        let warm = run(
            &linux,
            &home.path().join(format!("{round}-warm")),
            &arguments,
        )
        .await;
        let raw = raw(&out.join("arms/patched/build.log")).await;
        let ratio = whole.as_secs_f64() / (raw + warm).as_secs_f64();
        worst = worst.max(ratio);
        println!(
            "round {round}: {whole:.2?} from the patch to the verdict, raw make {raw:.2?}, \
             a warm trial of each arm {warm:.2?}: ratio {ratio:.2}"
        );
    }
    println!("the worst of {ROUNDS} rounds: ratio {worst:.2} (at most 1.25 is wanted)");
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
    let now = std::time::SystemTime::now();
    let unique = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        & 0xffff_ffff;
    format!(
        "--- a/{FILE}\n+++ b/{FILE}\n@@ -{0},3 +{0},4 @@\n {1}\n+int kvet_bench = {unique};\n {2}\n {3}\n",
        at + 1,
        lines[at],
        lines[at + 1],
        lines[at + 2]
    )
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
