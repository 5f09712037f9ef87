//! What saved guests and a measured width gain: everything as a ratio of two
//! things done in turn in one run.
//!
//!     KVET_TEST_KERNEL=…/bzImage cargo bench --bench throughput
//!
//! The first figure needs the kernel alone. The others run the job
//! `ceph-iput-async`, whose kernels are built first if they are not in the cache;
//! `-- --quick` leaves them out, `-- --trials N` says of how many trials (40).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops when it cannot go on"
)]
#![allow(clippy::cast_precision_loss, reason = "counts are small")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kvet::context::Context;
use kvet::guest::protocol::StepResult;
use kvet::record::Journal;
use kvet::rootfs::{self, Recipe};
use kvet::step::{GuestStep, KernelStep};
use kvet::store::{Scratch, Store};
use kvet::testbed::{Happening, Start, Testbed};
use kvet::vm::{Accelerator, Debugging, Hardware};

/// Guests of each kind.
const ROUNDS: usize = 9;

/// Trials of each run, unless given.
const TRIALS: u32 = 40;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let words: Vec<String> = std::env::args().collect();
    match std::env::var_os("KVET_TEST_KERNEL").map(PathBuf::from) {
        Some(kernel) => runtime.block_on(first_step(&kernel)),
        None => println!("KVET_TEST_KERNEL names no bzImage: no single guests"),
    }
    if words.iter().any(|word| word == "--quick") {
        return;
    }
    let at = words.iter().position(|word| word == "--trials");
    let trials = at.map_or(TRIALS, |at| words[at + 1].parse().unwrap());
    throughput(trials);
}

/// From QEMU's start to the end of a first step.
async fn first_step(kernel: &Path) {
    let context = Context::default();
    let scratch = Scratch::new().unwrap();
    let store = Store::at(scratch.join("store")).unwrap();
    let recipe = Recipe::find("kvet", Path::new(".")).unwrap();
    let agent = Path::new(env!("CARGO_BIN_EXE_kvet-agent"));
    let rootfs = rootfs::build_with(&context, &store, &recipe, agent)
        .await
        .unwrap();
    let testbed = Testbed::bare(rootfs.path.clone(), Accelerator::Tcg);
    let testbed = testbed.await.unwrap().saving_in(&context, &store);
    let hardware = Hardware::default();
    let boot = Start::Boot {
        kernel,
        hardware: &hardware,
        words: "",
        disks: &[],
        debugging: Debugging::default(),
    };
    let restore = Start::Restore {
        kernel,
        hardware: &hardware,
        words: "",
        name: "bench",
        make: true,
    };
    // The first one makes it.
    guest(&testbed, &restore).await;
    let (mut booted, mut restored) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        booted.push(guest(&testbed, &boot).await);
        restored.push(guest(&testbed, &restore).await);
    }
    testbed.close().await;
    let time = |all: &[One]| median(all.iter().map(|one| one.time.as_secs_f64()).collect());
    let memory = median(restored.iter().map(|one| one.memory as f64).collect());
    let (boot, restore) = (time(&booted), time(&restored));
    println!(
        "to the first step's end: boot {boot:.2} s, restore {restore:.2} s: ratio {:.2} (at most 0.25)",
        restore / boot
    );
    println!("memory of a restored guest of 1 GiB: {memory:.0} MiB (at most 400)");
}

struct One {
    time: Duration,
    /// MiB, a page that several have counted in parts.
    memory: u64,
}

async fn guest(testbed: &Testbed, start: &Start<'_>) -> One {
    let context = Context::default();
    let welcome = testbed.welcome(&context, "bench", 0);
    let began = Instant::now();
    let started = testbed.start(*start, welcome, Journal::nowhere(), &[], None);
    let mut guest = started.await.unwrap();
    let deadline = guest.within(Duration::from_secs(60));
    let step: GuestStep = KernelStep::Sysctl([("vm.swappiness".into(), "10".into())].into()).into();
    loop {
        let next = guest.next(deadline, std::future::pending::<()>());
        match next.await.unwrap() {
            Happening::Greeted => guest.start(0, &step).await,
            Happening::Finished {
                result: StepResult::Done(_),
                ..
            } => break,
            Happening::Ready(_) | Happening::Finding(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let time = began.elapsed();
    let memory = memory_below(guest.process().unwrap());
    guest.kill().await;
    One { time, memory }
}

/// The memory of a process and its children, in MiB: QEMU runs below another.
fn memory_below(process: u32) -> u64 {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}"));
    let own = read("smaps_rollup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("Pss:"));
    let own = own.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    let children = read(&format!("task/{process}/children")).unwrap_or_default();
    let below = children
        .split_whitespace()
        .map(|child| child.parse().unwrap());
    own.unwrap_or(0) / 1024 + below.map(memory_below).sum::<u64>()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a run came to.
struct Run {
    /// Trials an hour, from the first one's begin to the last one's end.
    hourly: f64,
    /// Processor seconds of a trial, all that was started counted.
    processor: f64,
    /// From the command's start to its end, in seconds.
    whole: f64,
}

fn throughput(trials: u32) {
    let home = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("jobs/ceph-iput-async.yaml").unwrap();
    let restoring = home.path().join("restore.yaml");
    std::fs::write(&restoring, &text).unwrap();
    let booting = home.path().join("boot.yaml");
    std::fs::write(&booting, format!("{text}\nstart: boot\n")).unwrap();
    let few = trials.to_string();
    // Kernels, saved guests and the cluster are made.
    run(home.path(), &restoring, &[]);
    let main = run(home.path(), &restoring, &[]);
    println!(
        "main job, 4 arms of 3 trials: {:.1} s (at most 15)",
        main.whole
    );
    // Two trials for each processor: with fewer trials at a time than that, most of
    // their time is waiting, for a client to reconnect and for their turn in a
    // second, and costs the same either way.
    let wide = (2 * std::thread::available_parallelism().unwrap().get()).to_string();
    let same = ["--arm", "fixed", "--trials", &few, "--jobs", &wide];
    let boot = run(home.path(), &booting, &same);
    let restore = run(home.path(), &restoring, &same);
    println!(
        "fixed, {wide} at a time: boot {:.0} an hour ({:.2} CPU s each), restore {:.0} ({:.2}): ratio {:.2} (at least 1.7)",
        boot.hourly,
        boot.processor,
        restore.hourly,
        restore.processor,
        restore.hourly / boot.hourly
    );
    let measured = run(home.path(), &restoring, &same[..4]);
    println!(
        "fixed, as wide as measured: {:.0} an hour ({:.2} CPU s each; at least 5000)",
        measured.hourly, measured.processor
    );
    let stock = ["--arm", "stock", "--trials", &few];
    let stock = run(home.path(), &restoring, &stock);
    println!(
        "stock, as wide as measured: {:.0} an hour ({:.2} CPU s each; at least 3500)",
        stock.hourly, stock.processor
    );
}

fn run(home: &Path, job: &Path, words: &[&str]) -> Run {
    let out = home.join("out");
    drop(std::fs::remove_dir_all(&out));
    let before = processor_seconds();
    let began = Instant::now();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvet"));
    command.arg("run").arg(job).args(words);
    command.arg("--out").arg(&out);
    let output = command.output().unwrap();
    let whole = began.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    let told =
        std::fs::read_to_string(out.join("events.jsonl")).unwrap_or_else(|_| panic!("{said}"));
    let (mut first, mut last, mut count) = (None, None, 0);
    for line in told.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let at: jiff::Timestamp = event["at"].as_str().unwrap().parse().unwrap();
        if line.contains("\"trial_started\"") {
            first = first.or(Some(at));
        } else if line.contains("\"trial_finished\"") {
            last = Some(at);
            count += 1;
        }
    }
    let (Some(first), Some(last)) = (first, last) else {
        panic!("no trial ran: {said}");
    };
    let seconds = last.duration_since(first).as_secs_f64();
    Run {
        hourly: f64::from(count) / seconds * 3600.0,
        processor: (processor_seconds() - before) / f64::from(count),
        whole,
    }
}

/// Processor time of all that this process started and that has ended, in
/// seconds: fields 16 and 17 of /proc/self/stat, in hundredths.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, after) = text.rsplit_once(')').unwrap();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = fields[13..15]
        .iter()
        .map(|field| field.parse::<f64>().unwrap())
        .sum();
    ticks / 100.0
}
