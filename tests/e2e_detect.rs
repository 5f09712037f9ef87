//! Kernels that misbehave on request, and what the detector makes of them.
//!
//! Boots kernels of three branches with `kconfigs/lkdtm.config`, and one with
//! every detector on, provokes each failure in a guest of its own and scans the
//! console; a guest that nothing is provoked in must give no finding. The kernels are prepared in the user's
//! cache (from cold: minutes each).
//!
//! `KVET_RECORD=1` also writes the consoles, trimmed and redacted, to
//! `tests/fixtures/detect`, where the golden test covers them:
//! `INSTA_UPDATE=always cargo test --test detect_golden` takes them in.
//!
//! All of it is x86-64: an arm64 kernel needs a cross compiler and another
//! machine, so arm64's reports are covered by `fixtures/shapes/` alone.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod guest;

use std::path::{Path, PathBuf};

use guest::{Guest, PATIENCE, image};

use kvet::Context;
use kvet::detect::{Class, Finding, scan};
use kvet::guest::protocol::StepResult;
use kvet::kernel::{Fragment, SourceSpec, fetch, prepare};
use kvet::rootfs::Rootfs;
use kvet::step::{FaultStep, GuestStep, KernelStep, MountStep, PathStep};
use kvet::store::Store;

/// The configuration, as the jobs' objects are kept by it.
const FRAGMENTS: &[&str] = &["base", "ceph", "debug-vfs", "lkdtm"];

/// With all that kvet's kernels can be made to watch.
const HEAVY: &[&str] = &[
    "base",
    "ceph",
    "debug-vfs",
    "debug-heavy",
    "detectors",
    "lkdtm",
];

/// One failure, and the finding it must give.
struct Provocation {
    /// As `/sys/kernel/debug/provoke-crash/DIRECT` calls it.
    name: &'static str,
    /// What the recording is called, and what is set before.
    variant: Option<(&'static str, &'static [(&'static str, &'static str)])>,
    class: Class,
    /// How the title begins.
    title: &'static str,
}

const PROVOCATIONS: &[Provocation] = &[
    Provocation {
        name: "PANIC",
        variant: None,
        class: Class::Panic,
        title: "kernel panic: dumptest",
    },
    Provocation {
        name: "BUG",
        variant: None,
        class: Class::KernelBug,
        title: "kernel BUG in lkdtm_BUG",
    },
    Provocation {
        name: "WARNING",
        variant: None,
        class: Class::Warning,
        title: "WARNING in lkdtm_WARNING",
    },
    Provocation {
        name: "WARNING_MESSAGE",
        variant: None,
        class: Class::Warning,
        title: "WARNING in lkdtm_WARNING_MESSAGE",
    },
    Provocation {
        name: "EXCEPTION",
        variant: None,
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel NULL pointer dereference in lkdtm_EXCEPTION",
    },
    Provocation {
        name: "ACCESS_NULL",
        variant: None,
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel NULL pointer dereference in lkdtm_ACCESS_NULL",
    },
    Provocation {
        name: "WRITE_RO",
        variant: None,
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel paging request in lkdtm_WRITE_RO",
    },
    Provocation {
        name: "EXEC_NULL",
        variant: None,
        class: Class::PagingNull,
        title: "BUG: unable to handle kernel NULL pointer dereference in ",
    },
    Provocation {
        name: "REFCOUNT_INC_OVERFLOW",
        variant: None,
        class: Class::Warning,
        title: "WARNING: refcount bug in lkdtm_REFCOUNT_INC_OVERFLOW",
    },
    Provocation {
        name: "HUNG_TASK",
        variant: None,
        class: Class::HungTask,
        title: "INFO: task hung in lkdtm_HUNG_TASK",
    },
    Provocation {
        // Stalls go by the outermost function: the innermost is chance.
        name: "SOFTLOCKUP",
        variant: None,
        class: Class::SoftLockup,
        title: "BUG: soft lockup in direct_entry",
    },
    Provocation {
        // A processor that does not schedule ends no grace period either.
        name: "SOFTLOCKUP",
        variant: Some(("rcu_stall", IMPATIENT_RCU)),
        class: Class::RcuStall,
        title: "INFO: rcu detected stall in ",
    },
];

/// What only a kernel with more detectors than most tells.
const WATCHED: &[Provocation] = &[
    Provocation {
        name: "SLAB_LINEAR_OVERFLOW",
        variant: None,
        class: Class::Kasan,
        title: "KASAN: slab-out-of-bounds Write in lkdtm_SLAB_LINEAR_OVERFLOW",
    },
    Provocation {
        name: "READ_AFTER_FREE",
        variant: None,
        class: Class::Kasan,
        title: "KASAN: slab-use-after-free Read in lkdtm_READ_AFTER_FREE",
    },
    Provocation {
        name: "SLAB_FREE_DOUBLE",
        variant: None,
        class: Class::Kasan,
        title: "KASAN: double-free in lkdtm_SLAB_FREE_DOUBLE",
    },
    Provocation {
        name: "ARRAY_BOUNDS",
        variant: None,
        class: Class::Ubsan,
        title: "UBSAN: array-index-out-of-bounds in lkdtm_ARRAY_BOUNDS",
    },
    Provocation {
        name: "CORRUPT_LIST_ADD",
        variant: None,
        class: Class::Warning,
        title: "WARNING in lkdtm_CORRUPT_LIST_ADD",
    },
    Provocation {
        name: "HARDLOCKUP",
        variant: None,
        class: Class::HardLockup,
        title: "BUG: hard lockup in direct_entry",
    },
];

/// Files that have RCU complain first, and of one stall once.
const IMPATIENT_RCU: &[(&str, &str)] = &[
    ("/proc/sys/kernel/soft_watchdog", "0"),
    ("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3"),
    ("/sys/module/workqueue/parameters/watchdog_thresh", "10"),
];

/// Detectors that need not wait as long as they do by default.
const HASTE: &[(&str, &str)] = &[
    ("kernel.hung_task_timeout_secs", "2"),
    ("kernel.hung_task_check_interval_secs", "1"),
    ("kernel.watchdog_thresh", "2"),
];

/// Prepares the kernel of Debian's source of this version.
async fn kernel(version: &str, fragments: &[&str]) -> PathBuf {
    let (context, store) = (Context::default(), Store::open().unwrap());
    let branch: Vec<&str> = version.split('.').take(2).collect();
    let spec = SourceSpec::Debian {
        package: format!("linux-source-{}", branch.join(".")),
        version: Some(version.to_owned()),
        suite: None,
    };
    let tree = fetch(&context, &store, &spec).await.unwrap();
    let kconfigs = Path::new(env!("CARGO_MANIFEST_DIR")).join("kconfigs");
    let fragments: Vec<Fragment> = fragments
        .iter()
        .map(|name| Fragment::find(&kconfigs, Path::new("."), name).unwrap())
        .collect();
    let image = prepare(&context, &store, &tree, &[], &fragments.into(), 0).await;
    image.unwrap().bzimage
}

/// Boots and greets: oopses are fatal, as in trials. The kernel says more of its
/// boot than it does in trials: none of that may be a finding.
async fn boot(kernel: &Path, rootfs: &Rootfs) -> Guest {
    let mut guest = Guest::boot(kernel, rootfs, "loglevel=7").await;
    guest.greet().await;
    guest
}

impl Guest {
    /// Carries out a step.
    async fn does(&mut self, step: &GuestStep) {
        let number = self.start(step).await;
        let result = self.finished(number).await;
        assert!(matches!(result, StepResult::Done(_)), "{result:?}");
    }

    /// Waits until the console shows the end of the report, or the guest is
    /// gone; what the console then holds.
    async fn trouble(&mut self, end: Option<&str>) -> Vec<u8> {
        let is_complete = |console: &Vec<u8>| {
            end.is_some_and(|end| String::from_utf8_lossy(console).contains(end))
        };
        // An error is that the console was closed.
        let complete = self.heard.wait_for(is_complete);
        drop(tokio::time::timeout(PATIENCE, complete).await);
        self.console()
    }
}

/// The last line of a report after which the guest lives on; `None` where the
/// kernel panics.
fn end_of_report(class: Class) -> Option<&'static str> {
    match class {
        Class::Warning | Class::Ubsan => Some("---[ end trace "),
        // What it says of itself after the report.
        Class::Kasan => Some("Disabling lock debugging"),
        Class::HungTask
        | Class::SoftLockup
        | Class::HardLockup
        | Class::RcuStall
        | Class::Lockdep => Some("</TASK>\r\n"),
        _ => None,
    }
}

/// What a recording keeps: the boot's banner, then from shortly before the
/// first finding on; the builder's name and the addresses go.
fn trimmed(console: &[u8], first_line: Option<u64>) -> String {
    let text = String::from_utf8_lossy(console).replace('\r', "");
    let builder = regex::Regex::new(r"(Linux version \S+) \([^)]*\)").unwrap();
    let pointer = regex::Regex::new(r"\b(?:ffff|0000)[0-9a-f]{12}\b").unwrap();
    let keep_from = first_line.map_or(0, |line| line.saturating_sub(6));
    let mut kept = String::new();
    for (index, line) in text.lines().enumerate() {
        let banner = line.contains("Linux version ");
        if banner || first_line.is_none() || index as u64 >= keep_from {
            let line = builder.replace(line, "$1 (builder@host)");
            kept.push_str(&pointer.replace_all(&line, "ffff000000000000"));
            kept.push('\n');
        }
    }
    kept
}

fn record(name: &str, release: &str, console: &[u8], first_line: Option<u64>) {
    if std::env::var_os("KVET_RECORD").is_none() {
        return;
    }
    let series: Vec<&str> = release.split('.').take(2).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/detect")
        .join(format!("{name}_{}.log", series.join(".")));
    std::fs::write(path, trimmed(console, first_line)).unwrap();
}

#[tokio::test]
async fn linux_6_1_s_failures_are_named_and_nothing_else() {
    every_failure_is_named("6.1.192", FRAGMENTS, PROVOCATIONS).await;
}

#[tokio::test]
async fn linux_6_12_s_failures_are_named_and_nothing_else() {
    every_failure_is_named("6.12.117", FRAGMENTS, PROVOCATIONS).await;
}

#[tokio::test]
async fn linux_7_3_s_failures_are_named_and_nothing_else() {
    every_failure_is_named("7.3.4", FRAGMENTS, PROVOCATIONS).await;
}

#[tokio::test]
async fn what_linux_7_3_watches_for_on_request_is_named() {
    every_failure_is_named("7.3.4", HEAVY, WATCHED).await;
}

/// Boots, works a little and powers off: nothing of it is a finding.
async fn a_clean_boot_is_clean(kernel: &Path, rootfs: &Rootfs, name: &str) {
    let mut guest = boot(kernel, rootfs).await;
    guest.does(&MountStep::Sync.into()).await;
    let release = guest.ready.release.clone();
    let console = guest.power_off().await;
    assert_eq!(scan(&console), []);
    record(name, &release, &console, None);
}

/// Provokes a failure in a guest of its own: its release, and what the console
/// then holds.
async fn provoke(kernel: &Path, rootfs: &Rootfs, provocation: &Provocation) -> (String, Vec<u8>) {
    let mut guest = boot(kernel, rootfs).await;
    assert_eq!(scan(&guest.console()), [], "the boot is clean");
    let haste = HASTE
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    guest
        .does(&KernelStep::Sysctl(haste.collect()).into())
        .await;
    for (path, text) in provocation.variant.map_or(&[][..], |(_, files)| files) {
        let (path, text) = ((*path).to_owned(), (*text).to_owned());
        guest.does(&PathStep::WriteFile { path, text }.into()).await;
    }
    let step = GuestStep::from(FaultStep::Lkdtm {
        provoke: provocation.name.into(),
    });
    guest.start(&step).await;
    let console = guest.trouble(end_of_report(provocation.class)).await;
    (guest.ready.release.clone(), console)
}

async fn every_failure_is_named(version: &str, fragments: &[&str], provocations: &[Provocation]) {
    let kernel = kernel(version, fragments).await;
    let (rootfs, _home) = image("kvet").await;
    let name = match fragments {
        HEAVY => "clean_boot_watched",
        _ => "clean_boot",
    };
    a_clean_boot_is_clean(&kernel, &rootfs, name).await;
    let mut wrong = Vec::new();
    for provocation in provocations {
        let mut attempts = 1;
        let (release, console, findings) = loop {
            let (release, console) = provoke(&kernel, &rootfs, provocation).await;
            let findings: Vec<Finding> = scan(&console);
            // No grace period begins, and so none stalls, while RCU's own
            // thread waits for the stuck processor, one time in ten: then only
            // the work that waits there, too, is told of.
            let no_grace_period = provocation.class == Class::RcuStall
                && !findings.is_empty()
                && findings
                    .iter()
                    .all(|found| found.class == Class::WorkqueueLockup);
            if attempts == 5 || !no_grace_period {
                break (release, console, findings);
            }
            attempts += 1;
        };
        let named_so = |found: &Finding| found.title.starts_with(provocation.title);
        let first = findings.iter().find(|found| named_so(found));
        let as_expected = first.is_some()
            && match provocation.class {
                // A processor that waits for the stuck one is stuck as well.
                Class::SoftLockup | Class::HardLockup => findings
                    .iter()
                    .all(|found| found.class == provocation.class),
                // And by the time that RCU complains, work that waits there.
                Class::RcuStall => findings
                    .iter()
                    .all(|found| [Class::RcuStall, Class::WorkqueueLockup].contains(&found.class)),
                // A task that hangs is told of at every check.
                _ => findings
                    .iter()
                    .all(|found| found.class == provocation.class && named_so(found)),
            };
        let name = provocation
            .variant
            .map_or(provocation.name, |(name, _)| name);
        if as_expected {
            let name = format!("lkdtm_{}", name.to_lowercase());
            let line = first.map(|found| found.first_line);
            record(&name, &release, &console, line);
        } else {
            let titles: Vec<_> = findings
                .iter()
                .map(|found| (found.class, found.title.clone()))
                .collect();
            let tail = String::from_utf8_lossy(&console);
            let lines: Vec<&str> = tail.lines().rev().take(40).collect();
            let tail: Vec<&str> = lines.into_iter().rev().collect();
            wrong.push(format!("{name}: {titles:?}\n{}", tail.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
