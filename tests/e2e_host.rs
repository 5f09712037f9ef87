//! A run on a host that does what hosts do: its clock is set, memory and disks are
//! short, and others use it, too. The verdict is the right one, or there is none.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod marked;
mod skipped;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use marked::Marked;
use skipped::skipped;

/// The main job.
fn main_job(marked: &Marked) -> Command {
    let mut command = marked.kvet(&["run", "jobs/ceph-iput-async.yaml", "--out"]);
    command.arg(out(marked));
    command
}

/// A run that is watched as it goes.
struct Watched {
    child: Child,
    progress: BufReader<ChildStderr>,
    said: String,
}

impl Watched {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            progress: BufReader::new(child.stderr.take().unwrap()),
            child,
            said: String::new(),
        }
    }

    /// Returns when it has told something about a thing of this kind so many times.
    fn until_told(&mut self, kind: &str, times: usize) {
        let mut told = 0;
        while told < times {
            let line = self.next_line();
            assert!(!line.is_empty(), "it ended too early: {}", self.said);
            told += usize::from(line.starts_with(kind));
        }
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.progress.read_line(&mut line).unwrap();
        self.said.push_str(&line);
        line
    }

    /// Its end, with all that it said.
    fn end(mut self) -> Output {
        while !self.next_line().is_empty() {}
        let mut output = self.child.wait_with_output().unwrap();
        output.stderr = self.said.into_bytes();
        output
    }
}

fn out(marked: &Marked) -> PathBuf {
    marked.home().join("run")
}

/// What the run told so far.
fn events(marked: &Marked) -> String {
    fs::read_to_string(out(marked).join("events.jsonl")).unwrap_or_default()
}

fn assert_fixed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{all}");
    assert!(said.starts_with("verdict: fixed"), "{all}");
}

/// The library that shows programs another time.
fn faketime() -> Option<PathBuf> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut places = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    places.find(|place| place.exists())
}

/// kvet, the cluster and QEMU see the clock set, all of them at once, in the middle
/// of trials.
#[test]
fn the_clock_is_set_by_an_hour() {
    let Some(library) = faketime() else {
        skipped("clocks that are set: libfaketime is not here");
        return;
    };
    for step in ["+3600", "-3600"] {
        let marked = Marked::new();
        let offset = marked.home().join("offset");
        fs::write(&offset, "+0\n").unwrap();
        let mut command = main_job(&marked);
        command
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut run = Watched::start(command);
        run.until_told("trial", 3);
        fs::write(&offset, format!("{step}\n")).unwrap();
        assert_fixed(&run.end());
        assert_stepped(&marked, step);
        marked.assert_nothing_left(step);
    }
}

/// The run saw the step, and took no time for an hour, or for less than none.
fn assert_stepped(marked: &Marked, step: &str) {
    let hour = |line: &str| {
        let at = line.split_once("\"at\":\"").unwrap().1;
        at[..13].to_owned()
    };
    let events = events(marked);
    let hours: BTreeSet<String> = events.lines().map(hour).collect();
    assert!(hours.len() > 1, "{step}: {hours:?}");
    let report = fs::read_to_string(out(marked).join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let took = report["seconds"].as_f64().unwrap();
    assert!((1.0..1800.0).contains(&took), "{step}: {took} s");
}

/// A control group of the memory controller, or none where none can be made.
struct Group(PathBuf);

impl Group {
    fn new(limit: u64) -> Option<Self> {
        let name = format!("kvet-test-{}-{limit}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let (root, file) = if first.exists() {
            (first, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let group = Self(root.join(name));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(file), limit.to_string()).ok()?;
        Some(group)
    }

    /// The same command, run in the group.
    fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.0.join("cgroup.procs"));
        followed_by(inside, command)
    }
}

/// A command with another one as its last arguments, in that one's environment.
fn followed_by(mut outer: Command, command: &Command) -> Command {
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap());
    }
    outer
}

impl Drop for Group {
    fn drop(&mut self) {
        // Those that were in it have ended; the kernel may take a moment.
        while fs::remove_dir(&self.0).is_err_and(|error| error.raw_os_error() == Some(16)) {
            std::thread::yield_now();
        }
    }
}

/// With little memory guests run one after the other. With too little the kernel
/// kills some of it all, which says nothing about the patch.
#[test]
fn memory_is_short() {
    const MIB: u64 = 1 << 20;
    for (limit, enough) in [(640 * MIB, true), (150 * MIB, false), (110 * MIB, false)] {
        let Some(group) = Group::new(limit) else {
            skipped("little memory: no control group can be made");
            return;
        };
        let marked = Marked::new();
        let run = group.run(&main_job(&marked)).output().unwrap();
        if enough {
            assert_fixed(&run);
            assert_one_at_a_time(&marked);
        } else {
            let said = String::from_utf8_lossy(&run.stdout);
            let all = format!("{said}\n{}", String::from_utf8_lossy(&run.stderr));
            // Not even kvet is spared, perhaps.
            let code = run.status.code();
            assert!(matches!(code, Some(0 | 125 | 128) | None), "{code:?} {all}");
            if code == Some(0) {
                assert_fixed(&run);
            }
            assert!(!said.contains("regressed"), "{all}");
            assert!(!said.contains("not fixed"), "{all}");
        }
        if run.status.code().is_some() {
            marked.assert_nothing_left("short of memory");
        }
    }
}

/// No trial began before the one before it had ended: a guest may take more than
/// the group leaves.
fn assert_one_at_a_time(marked: &Marked) {
    let mut running = 0;
    let mut begun = 0;
    for line in events(marked).lines() {
        let begins = line.contains("\"trial_started\"");
        begun += u32::from(begins);
        running += i32::from(begins);
        running -= i32::from(line.contains("\"trial_finished\""));
        assert!((0..=1).contains(&running), "{line}");
    }
    assert!(begun > 1, "{begun} trials began");
}

/// A file system of 200 GiB on which so many bytes are left, in a mount namespace of
/// its own, with a command's temporary files on it.
const LARGE_DISK: &str = "set -e
truncate -s 200G \"$0.img\"
mkfs.ext4 -q -m 0 -O ^has_journal -E lazy_itable_init=1 \"$0.img\"
mount -o loop \"$0.img\" \"$0\"
rm \"$0.img\"
left=$(df -B1 --output=avail \"$0\" | tail -n 1)
fallocate -l $((left - $1)) \"$0/ballast\"
shift
TMPDIR=$0 exec \"$@\"";

/// One in a hundred of a large disk is gigabytes: only a disk that is full is one.
#[test]
fn a_disk_has_little_left() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        skipped("a large disk: takes root and loop devices");
        return;
    }
    for (left, enough) in [(1_u64 << 30, true), (4 << 20, false)] {
        let marked = Marked::new();
        let disk = marked.home().join("disk");
        fs::create_dir(&disk).unwrap();
        let mut outer = Command::new("unshare");
        outer
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .args([LARGE_DISK, disk.to_str().unwrap(), &left.to_string()]);
        let run = followed_by(outer, &main_job(&marked)).output().unwrap();
        if enough {
            assert_fixed(&run);
        } else {
            let said = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.status.code(), Some(128), "{said}");
            assert!(said.contains("no space left in"), "{said}");
        }
        marked.assert_nothing_left("little left");
    }
}

/// While a run goes on, another user reads none of its keys and reaches none of its
/// sockets; and no key is in a command line or in the record.
#[test]
fn another_user_looks() {
    if !rustix::process::geteuid().is_root() {
        skipped("another user: takes root");
        return;
    }
    let marked = Marked::new();
    let open = fs::Permissions::from_mode(0o755);
    for place in [marked.home().to_owned(), marked.temporary()] {
        fs::set_permissions(place, open.clone()).unwrap();
    }
    let mut run = Watched::start(main_job(&marked));
    let (mut keys, mut looked) = (BTreeSet::new(), 0);
    run.until_told("cluster", 1);
    // At each thing that it tells, of the cluster and of trials.
    while !run.next_line().is_empty() {
        collect_keys(&marked.temporary(), &mut keys);
        let seen = seen_by_another(&marked.temporary());
        assert!(seen.is_empty(), "{seen}");
        for line in command_lines() {
            let known = keys.iter().find(|key| line.contains(key.as_str()));
            assert!(known.is_none(), "a key is in {line}");
        }
        looked += 1;
    }
    assert_fixed(&run.end());
    assert!(looked > 2 && keys.len() > 4, "{looked} {}", keys.len());
    for key in &keys {
        let found = Command::new("grep")
            .args([
                "--recursive",
                "--files-with-matches",
                "--fixed-strings",
                key,
            ])
            .arg(out(&marked))
            .output()
            .unwrap();
        assert!(found.stdout.is_empty(), "{found:?}");
    }
}

/// The keys in the keyrings below a directory.
fn collect_keys(directory: &Path, keys: &mut BTreeSet<String>) {
    // A scratch directory may go meanwhile.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_keys(&path, keys);
        } else if path.file_name().is_some_and(|name| name == "keyring") {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("key = "));
            keys.extend(found.map(str::to_owned));
        }
    }
}

/// The files that the user `nobody` can read below a directory, and the sockets it
/// can talk to.
fn seen_by_another(directory: &Path) -> String {
    let found = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "find"])
        .arg(directory)
        .args("( -type f -readable -o -type s -writable )".split(' '))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap()
}

/// The command lines of all processes.
fn command_lines() -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}
