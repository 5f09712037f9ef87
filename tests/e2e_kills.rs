//! kvet is killed at random moments: of a run of the main job, of a build, of the
//! unpacking of an archive, of a prune, and of a bisection. Nothing is left but
//! files, the next start takes those away, and the next run works.
//!
//! `KVET_TEST_KILLS` says how often each is killed; `KVET_TEST_SEED` repeats the
//! moments of an earlier run.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test tells what it does, and fails by panicking"
)]

mod marked;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use marked::Marked;

/// A kernel's Makefile as far as kvet asks one for something. It takes its time.
const MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n\
.DELETE_ON_ERROR:\n\
allnoconfig:\n\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config\n\
olddefconfig:\n\t@true\n\
OBJECTS := $(patsubst fs/%.c,$(O)/%.o,$(wildcard fs/*.c))\n\
bzImage: $(OBJECTS)\n\
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config\n\
\t@echo tiny > $(O)/arch/x86/boot/bzImage\n\
\t@cat $^ > $(O)/vmlinux\n\
\t@cp $(O)/arch/x86/boot/bzImage $(O)/System.map\n\
\t@echo 7.3.4-tiny > $(O)/include/config/kernel.release\n\
$(O)/%.o: fs/%.c\n\
\t@echo '  CC      $*.o'\n\
\t@cp $< $@; sleep 0.02; printf 'savedcmd\\n' > $(O)/.$*.o.cmd\n";

/// The arms are built; what was built is no kernel, so no trial tells anything.
const JOB: &str = "\
name: tiny
kernel: { source: { dir: linux }, config: [] }
cluster: none
workload: writeback-storm
target: { class: warning }
trials: 1
arms:
  stock: { control: true }
  other: { config: [base] }
";

/// Random numbers, the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("KVET_TEST_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(std::process::id()),
            |seed| seed.parse().unwrap(),
        );
        eprintln!("KVET_TEST_SEED={seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn kills() -> u32 {
    let kills = std::env::var("KVET_TEST_KILLS").ok();
    kills.map_or(3, |kills| kills.parse().unwrap())
}

/// A command that is killed, again and again.
struct Victim<'a> {
    marked: &'a Marked,
    /// The command, to be carried out for the time of this number.
    command: &'a dyn Fn(u32) -> Command,
    /// What it must end with, when nobody kills it.
    codes: &'a [i32],
    /// The cache, if it is its own.
    cache: Option<PathBuf>,
}

impl Victim<'_> {
    /// Runs it to its end and returns how long that took.
    fn run(&self, number: u32) -> Duration {
        let began = Instant::now();
        let output = (self.command)(number).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(
            code.is_some_and(|code| self.codes.contains(&code)),
            "{code:?}: {said}"
        );
        // A kernel that does not build ends it with the same code as one that does not boot.
        assert!(!said.contains("has no kernel"), "{said}");
        assert!(!said.contains("cannot be built"), "{said}");
        began.elapsed()
    }

    /// Kills it at random moments of the time that it takes. All is as it was
    /// after each tenth time, and after the last.
    fn kill(&self, what: &str) {
        let mut random = Random::new();
        let whole = self.run(0);
        self.assert_clean(what);
        let moments = u64::try_from(whole.as_micros()).unwrap();
        for number in 1..=kills() {
            let mut child = (self.command)(number)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The moment is what is random, nothing is waited for.
            std::thread::sleep(Duration::from_micros(random.below(moments)));
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            child.wait().unwrap();
            self.marked.wait_for_the_end();
            self.marked.assert_no_mount(what);
            if number % 10 == 0 || number == kills() {
                self.run(number);
                self.assert_clean(what);
            }
        }
        eprintln!(
            "{what}: killed {} times within {:.1} s",
            kills(),
            whole.as_secs_f64()
        );
    }

    /// Nothing is left, not in the cache either.
    fn assert_clean(&self, what: &str) {
        self.marked.assert_nothing_left(what);
        let mut halves = Vec::new();
        for root in self.cache.iter().chain([&self.marked.home().join("state")]) {
            unfinished(root, 4, &mut halves);
        }
        assert!(halves.is_empty(), "{what}: {halves:?}");
    }
}

/// What was half made, so many levels below.
fn unfinished(directory: &Path, levels: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".partial") || name.starts_with(".kvet-") || name.starts_with("tmp_pack")
        {
            found.push(entry.path());
        }
        if levels > 0 && entry.file_type().unwrap().is_dir() {
            unfinished(&entry.path(), levels - 1, found);
        }
    }
}

/// Makes a tree that is quickly built, with this many files, below a directory.
fn tree(home: &Path, files: u32) -> PathBuf {
    let tree = home.join("linux");
    fs::create_dir_all(tree.join("fs")).unwrap();
    fs::write(tree.join("Makefile"), MAKEFILE).unwrap();
    fs::write(tree.join("Kconfig"), "config X\n\tbool \"X\"\n").unwrap();
    for number in 0..files {
        let mut text = String::new();
        for line in 0..200 {
            writeln!(text, "int f{number}_{line};").unwrap();
        }
        fs::write(tree.join(format!("fs/f{number}.c")), text).unwrap();
    }
    fs::write(home.join("job.yaml"), JOB).unwrap();
    tree
}

/// kvet in its place, with a cache of its own.
fn alone(marked: &Marked, words: &[&str]) -> Command {
    let mut command = marked.kvet(words);
    command
        .current_dir(marked.home())
        .env("XDG_CACHE_HOME", marked.home().join("cache"))
        .env("KVET_PATIENCE", "10");
    command
}

/// Where the command of this number writes; what an earlier one wrote there is gone.
fn fresh_out(marked: &Marked, number: u32) -> PathBuf {
    let out = marked.home().join(format!("out-{number}"));
    drop(fs::remove_dir_all(&out));
    out
}

fn git(directory: &Path, words: &[&str]) {
    let status = Command::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.org", "-C"])
        .arg(directory)
        .args(words)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_run_of_the_main_job() {
    let marked = Marked::new();
    let command = |number: u32| {
        let out = fresh_out(&marked, number);
        let mut command = marked.kvet(&["run", "jobs/ceph-iput-async.yaml", "--out"]);
        command.arg(out);
        command
    };
    let victim = Victim {
        marked: &marked,
        command: &command,
        codes: &[0],
        cache: None,
    };
    victim.kill("the main job");
}

#[test]
fn a_build() {
    let marked = Marked::new();
    let tree = tree(marked.home(), 40);
    let command = |number: u32| {
        let out = fresh_out(&marked, number);
        // Another kernel each time.
        fs::write(tree.join("fs/f0.c"), format!("int f0 = {number};\n")).unwrap();
        let mut command = alone(&marked, &["run", "job.yaml", "--out"]);
        command.arg(out);
        command
    };
    let victim = Victim {
        marked: &marked,
        command: &command,
        codes: &[125],
        cache: Some(marked.home().join("cache/kvet")),
    };
    victim.kill("a build");
}

#[test]
fn the_unpacking_of_an_archive() {
    let marked = Marked::new();
    let large = tree(marked.home(), 5).join("Documentation");
    fs::create_dir(&large).unwrap();
    for number in 0..3000 {
        fs::write(large.join(format!("{number}")), format!("{number}\n")).unwrap();
    }
    let command = |number: u32| {
        let out = fresh_out(&marked, number);
        fs::write(
            marked.home().join("linux/fs/f0.c"),
            format!("int f0 = {number};\n"),
        )
        .unwrap();
        let archive = marked.home().join("linux.tar.xz");
        let packed = Command::new("tar")
            .arg("-C")
            .args([marked.home(), Path::new("-cf")])
            .args([archive.to_str().unwrap(), "linux"])
            .status();
        assert!(packed.unwrap().success());
        let mut command = alone(&marked, &["run", "job.yaml", "--kernel"]);
        command.arg(archive).arg("--out").arg(out);
        command
    };
    let victim = Victim {
        marked: &marked,
        command: &command,
        codes: &[125],
        cache: Some(marked.home().join("cache/kvet")),
    };
    victim.kill("the unpacking of an archive");
}

#[test]
fn a_prune() {
    let marked = Marked::new();
    let cache = marked.home().join("cache/kvet");
    let command = |_: u32| {
        for number in 0..20 {
            let entry = cache.join(format!("builds/{number:032x}"));
            fs::create_dir_all(&entry).unwrap();
            for file in 0..100 {
                fs::write(entry.join(format!("{file}")), "x").unwrap();
            }
        }
        alone(&marked, &["cache", "prune", "--all"])
    };
    let victim = Victim {
        marked: &marked,
        command: &command,
        codes: &[0],
        cache: Some(cache.clone()),
    };
    victim.kill("a prune");
    let left = fs::read_dir(cache.join("builds")).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_str().unwrap().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_bisection() {
    let marked = Marked::new();
    let tree = tree(marked.home(), 20);
    git(&tree, &["init", "--quiet", "--initial-branch=main"]);
    for number in 0..8 {
        fs::write(tree.join("fs/f0.c"), format!("int f0 = {number};\n")).unwrap();
        git(&tree, &["add", "."]);
        git(
            &tree,
            &["commit", "--quiet", "-m", &format!("Change {number}")],
        );
    }
    let job = JOB.replace("{ dir: linux }", "{ git: { repo: linux, ref: main } }");
    let job = job.replace("  other: { config: [base] }\n", "");
    fs::write(marked.home().join("job.yaml"), job).unwrap();
    let command = |number: u32| {
        let out = fresh_out(&marked, number);
        let words = [
            "bisect", "job.yaml", "--git", "linux", "--good", "main~7", "--bad", "main", "--out",
        ];
        let mut command = alone(&marked, &words);
        command.arg(out);
        command
    };
    let victim = Victim {
        marked: &marked,
        command: &command,
        codes: &[125],
        cache: Some(marked.home().join("cache/kvet")),
    };
    victim.kill("a bisection");
}
