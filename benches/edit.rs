//! What an edit costs, against raw make in an object directory of its own after
//! the same edit: objects compiled, and the ratio of the times. First one line
//! in fs/ceph/caps.c of a directory, then ten commits of a repository that
//! touch fs/ceph.
//!
//!     KVET_TEST_LINUX=…/linux-7.3.4 cargo bench --bench edit
//!
//! The tree is copied to a temporary directory, which takes 8 GiB, and is built
//! from nothing three times: half an hour on two processors. With
//! `KVET_TEST_CONFIG=tiny` the configuration is tinyconfig's with Ceph, and it
//! takes a few minutes. `KVET_TEST_WORK` names a directory in which the copies
//! and builds are kept for the next time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops when it cannot go on"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kvet::Context;
use kvet::kernel::{KernelImage, Recipe, SourceSpec, make};
use kvet::process::Command;
use kvet::store::Store;

const FILE: &str = "fs/ceph/caps.c";

/// Commits of the repository; each is built by both.
const COMMITS: usize = 10;

/// Files of fs/ceph that the commits touch in turn.
const TOUCHED: &[&str] = &["caps.c", "inode.c", "addr.c", "super.h", "mds_client.c"];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(linux) = std::env::var_os("KVET_TEST_LINUX").map(PathBuf::from) else {
        println!("KVET_TEST_LINUX names no kernel tree: nothing to measure");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let work = std::env::var_os("KVET_TEST_WORK").map(PathBuf::from);
    let work = work.unwrap_or_else(|| scratch.path().to_owned());
    let lab = Lab::new(&linux, &work).await;
    lab.directory().await;
    lab.commits().await;
}

struct Lab {
    context: Context,
    store: Store,
    /// The user's tree.
    tree: PathBuf,
    /// Where raw make builds it.
    objects: PathBuf,
    fragments: Vec<PathBuf>,
}

impl Lab {
    async fn new(linux: &Path, work: &Path) -> Self {
        let lab = Self {
            context: Context::default(),
            store: Store::at(work.join("cache")).unwrap(),
            tree: work.join("linux"),
            objects: work.join("objects"),
            fragments: fragments(work),
        };
        if !lab.tree.exists() {
            run(Command::new("cp").arg("-r").arg(linux).arg(&lab.tree)).await;
        }
        lab
    }

    async fn kvet(&self, source: SourceSpec) -> (KernelImage, Duration) {
        let recipe = Recipe {
            source,
            series: Vec::new(),
            fragments: self.fragments.clone(),
            whole_config: None,
            instrumented: Vec::new(),
        };
        let began = Instant::now();
        let (image, _) = make(&self.context, &self.store, &recipe).await.unwrap();
        (image, began.elapsed())
    }

    /// make as kernel developers call it; objects compiled, and the time.
    async fn raw(&self) -> (u64, Duration) {
        let jobs = std::thread::available_parallelism().unwrap();
        let began = Instant::now();
        let command = Command::new("make")
            .arg("-C")
            .arg(&self.tree)
            .arg(format!("O={}", self.objects.display()))
            .args(["ARCH=x86_64", &format!("-j{jobs}"), "bzImage"]);
        let said = run(command).await;
        (compiled(&said), began.elapsed())
    }

    /// Builds the tree as it is with both.
    async fn both(&self, source: SourceSpec, what: &str) -> f64 {
        let before = cpu();
        let (objects, raw) = self.raw().await;
        let raw_cpu = cpu() - before;
        let (image, ours) = self.kvet(source).await;
        let our_cpu = cpu() - before - raw_cpu;
        assert!(!image.cached, "{what} was built before");
        let ratio = ours.as_secs_f64() / raw.as_secs_f64();
        println!(
            "{what}: kvet {ours:.2?} ({} objects), raw make {raw:.2?} ({objects} objects): \
             ratio {ratio:.2}, of CPU time {our_cpu:.2}/{raw_cpu:.2} = {:.2}",
            image.record.objects_compiled,
            our_cpu / raw_cpu
        );
        ratio
    }

    /// The object directory of raw make, configured as kvet's is and built.
    async fn raw_from(&self, image: &KernelImage) {
        std::fs::create_dir_all(&self.objects).unwrap();
        let config = self.objects.join(".config");
        if !config.exists() {
            std::fs::copy(&image.config, config).unwrap();
        }
        self.raw().await;
    }

    fn edit(&self, file: &str) {
        let path = self.tree.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let now = std::time::SystemTime::now();
        let unique = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        let line = if path.extension().is_some_and(|end| end == "h") {
            format!("#define KVET_EDIT_{unique} 1\n")
        } else {
            // Several files have one, and they are linked together.
            let name = path.file_stem().unwrap().to_string_lossy();
            format!("int kvet_edit_{name} = {};\n", unique & 0x7fff_ffff)
        };
        let text: String = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("int kvet_edit") && !line.contains("KVET_EDIT"))
            .collect();
        let at = text.find("#include").unwrap();
        std::fs::write(&path, format!("{}{line}{}", &text[..at], &text[at..])).unwrap();
    }

    async fn directory(&self) {
        let source = || SourceSpec::Directory {
            path: self.tree.clone(),
        };
        let (image, cold) = self.kvet(source()).await;
        println!("from nothing: {cold:.2?}");
        self.raw_from(&image).await;
        for round in 1..=3 {
            self.edit(FILE);
            self.both(source(), &format!("edit {round} of {FILE}"))
                .await;
        }
    }

    async fn commits(&self) {
        let git = |arguments: &[&str]| {
            run(Command::new("git")
                .args(["-c", "user.name=kvet", "-c", "user.email=kvet@localhost"])
                .arg("-C")
                .arg(&self.tree)
                .args(arguments))
        };
        if !self.tree.join(".git").exists() {
            git(&["init", "--quiet"]).await;
            git(&["add", "--all", "--force", "."]).await;
            git(&["commit", "--quiet", "-m", "base"]).await;
        }
        let source = || SourceSpec::Git {
            repo: self.tree.display().to_string(),
            reference: "HEAD".to_owned(),
        };
        git(&["commit", "--quiet", "--all", "--allow-empty", "-m", "first"]).await;
        let (_, cold) = self.kvet(source()).await;
        println!("the first commit: {cold:.2?}");
        self.raw().await;
        let mut worst: f64 = 0.0;
        for commit in 1..=COMMITS {
            let file = format!("fs/ceph/{}", TOUCHED[commit % TOUCHED.len()]);
            self.edit(&file);
            git(&["commit", "--quiet", "--all", "-m", &file]).await;
            worst = worst.max(
                self.both(source(), &format!("commit {commit}, {file}"))
                    .await,
            );
        }
        println!("the worst of {COMMITS} commits: ratio {worst:.2}");
    }
}

/// The project's own, or tinyconfig's with what Ceph needs.
fn fragments(work: &Path) -> Vec<PathBuf> {
    if std::env::var_os("KVET_TEST_CONFIG").is_some_and(|config| config == "tiny") {
        let path = work.join("tiny.config");
        let text = "CONFIG_64BIT=y\nCONFIG_NET=y\nCONFIG_INET=y\nCONFIG_BLOCK=y\n\
                    CONFIG_NETWORK_FILESYSTEMS=y\nCONFIG_CEPH_LIB=y\nCONFIG_CEPH_FS=y\n";
        std::fs::write(&path, text).unwrap();
        return vec![path];
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("kconfigs");
    ["base", "ceph", "debug-vfs"]
        .map(|name| project.join(format!("{name}.config")))
        .to_vec()
}

async fn run(command: Command) -> String {
    let finished = command.run(&Context::default().cancel).await.unwrap();
    String::from_utf8_lossy(&finished.stdout).into_owned()
}

/// CPU time of this process and of all it waited for, in seconds: what a busy
/// machine does not change.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(4);
    // Always a hundred in a second, as far as user space is told.
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

fn compiled(log: &str) -> u64 {
    let lines = log.lines();
    let compiled = lines.filter(|line| line.starts_with("  CC ") || line.starts_with("  AS "));
    compiled.count() as u64
}
