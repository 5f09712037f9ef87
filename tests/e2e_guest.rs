//! Boots a real kernel in QEMU with kvet's own initramfs and drives the agent.
//!
//! Needs `qemu-system-x86_64` and, in `KVET_TEST_KERNEL`, a bzImage with the
//! options of `kconfigs/base.config`. No cluster: mounts are `local`.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod guest;

use std::path::PathBuf;

use guest::{Guest, PATIENCE, image};
use kvet::guest::protocol::{FailureKind, GuestMessage, StepFailure, StepReport, StepResult};
use kvet::step::{CounterStep, GuestStep, PathStep, StormStep};
use kvet::workload::{Action, Workload};

fn kernel() -> PathBuf {
    std::env::var_os("KVET_TEST_KERNEL")
        .map(PathBuf::from)
        .expect("KVET_TEST_KERNEL names a bzImage")
}

async fn boot(recipe: &str) -> Guest {
    let (rootfs, _home) = image(recipe).await;
    Guest::boot(&kernel(), &rootfs, "quiet").await
}

impl Guest {
    /// Carries out a workload's steps (all of them the guest's).
    async fn drive(&mut self, steps: &str) -> Result<Vec<StepReport>, (String, StepFailure)> {
        let text = format!("name: test\nabout: a test's\nsteps:\n{steps}");
        let workload = Workload::load("test", &text).unwrap();
        let mut reports = Vec::new();
        for step in workload.steps {
            let Action::Guest(action) = &step.action else {
                panic!("{step:?}");
            };
            let number = self.start(action).await;
            match self.finished(number).await {
                StepResult::Done(report) => reports.push(report),
                StepResult::Failed(failure) => return Err((step.label(), failure)),
            }
        }
        Ok(reports)
    }

    async fn power_off(mut self) {
        self.link.power_off().await.unwrap();
        let status = tokio::time::timeout(PATIENCE, self.qemu.wait()).await;
        assert!(status.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn a_guest_boots_tells_what_it_is_and_obeys() {
    let mut guest = boot("kvet").await;
    let ready = &guest.ready;
    assert!(!ready.release.is_empty());
    assert_eq!(ready.processors, 2);
    assert!(ready.memory > 900 << 20);
    assert!(ready.sysctls.contains_key("kernel.hung_task_timeout_secs"));
    assert_eq!(ready.lacks, Vec::<String>::new());

    // Nothing can be mounted before it knows who it is.
    let early = guest
        .drive("  - guest: { mount: { name: a, local: true } }\n")
        .await;
    assert_eq!(early.unwrap_err().1.kind, FailureKind::Usage);
    guest.greet().await;
    let reports = guest
        .drive(
            "  - guest: { sysctl: { vm.dirty_writeback_centisecs: 7 } }
  - guest: { collect: { path: /proc/sys/vm/dirty_writeback_centisecs } }
  - guest: { collect: { path: /proc/sys/kernel/hostname } }
  - guest: { mount: { name: a, local: true } }
  - guest: { open: { handle: f, path: a/file, flags: [create, read, write] } }
  - guest: { write: { handle: f, length: 8192, seed: 5 } }
  - guest: { fsync: { handle: f } }
  - guest: { read: { handle: f, offset: 4096, length: 4096, seed: 5 } }
  - guest: { close: { handle: f } }
  - guest: { truncate: { path: a/file, length: 100 } }
  - guest: { wait_size: { path: a/file, length: 100 } }
  - guest: { populate: { path: a/many, files: 3, length: 10000, seed: 9, fsync: true } }
  - guest: { compare: { path: a/many, files: 3, length: 10000, seed: 9 } }
  - guest: { drop_caches: { what: all, times: 2 } }
  - guest: sync
",
        )
        .await
        .unwrap();
    assert_eq!(reports[1].output.as_deref(), Some("7\n"));
    assert_eq!(reports[2].output.as_deref(), Some("trial-1\n"));

    let (label, failure) = guest
        .drive(
            "  - guest: { mount: { name: a, local: true } }
  - guest: { open: { handle: f, path: a/nowhere/file, flags: [read] } }\n",
        )
        .await
        .unwrap_err();
    assert_eq!(label, "open a/nowhere/file");
    assert_eq!(failure.errno.as_deref(), Some("ENOENT"));
    guest.power_off().await;
}

#[tokio::test]
async fn a_stuck_step_stops_neither_the_agent_nor_other_steps() {
    let mut guest = boot("kvet").await;
    guest.greet().await;
    // A read of the kernel's log that nothing ends.
    let stuck = guest
        .start(&GuestStep::from(CounterStep::Collect {
            path: "/proc/kmsg".into(),
        }))
        .await;
    assert_eq!(guest.next().await, GuestMessage::Started { step: stuck });
    guest.drive("  - guest: sync\n").await.unwrap();
    guest.link.sysrq("w").await.unwrap();
    loop {
        match guest.next().await {
            GuestMessage::SysrqDone { letters } => {
                assert_eq!(letters, "w");
                break;
            }
            GuestMessage::Finished { step, .. } => panic!("step {step} ended"),
            _ => {}
        }
    }
    guest.power_off().await;
}

#[tokio::test]
async fn a_storm_ends_and_its_ledger_holds_and_tells_of_damage() {
    let mut guest = boot("kvet").await;
    guest.greet().await;
    let storm = "  - guest: { mount: { name: a, local: true } }
  - guest: { storm: { name: s, mounts: [a], writers: 3, operations: 200, memory: 32MiB,
      syncfs_every: 5ms, drop_caches_every: 20ms, mix: { snapshot: 0 } } }
  - guest: { verify: { storm: s, mount: a } }
";
    let reports = guest.drive(storm).await.unwrap();
    assert_eq!(reports[1].counters["operations"], 600);
    for kind in [
        "overwrite",
        "truncate",
        "unlink",
        "rename",
        "mmap",
        "direct",
        "kill",
        "read",
    ] {
        assert!(reports[1].counters[kind] > 0, "no {kind}");
    }
    assert!(reports[2].counters["blocks"] > 0);

    // A file that came behind its back is found.
    let step = GuestStep::from(PathStep::WriteFile {
        path: "a/s/w0/stray".into(),
        text: "x".into(),
    });
    let number = guest.start(&step).await;
    assert!(matches!(guest.finished(number).await, StepResult::Done(_)));
    let step = GuestStep::from(StormStep::Verify {
        storm: "s".into(),
        mount: "a".into(),
    });
    let number = guest.start(&step).await;
    let StepResult::Failed(failure) = guest.finished(number).await else {
        panic!("the stray file went unnoticed");
    };
    assert_eq!(failure.kind, FailureKind::Data);
    assert!(failure.message.contains("stray"), "{}", failure.message);
    guest.power_off().await;
}

#[tokio::test]
async fn a_program_of_the_host_runs_in_the_guest() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tools.yaml");
    std::fs::write(
        &path,
        "name: tools\nabout: a test's\nprograms: [kvet, uname, ls]\n",
    )
    .unwrap();
    let mut guest = boot(path.to_str().unwrap()).await;
    guest.greet().await;
    let reports = guest
        .drive(
            "  - guest: { mount: { name: a, local: true } }
  - guest: { exec: { program: uname, args: [-r] } }
  - guest: { mkdir: { path: a/here } }
  - guest: { exec: { program: ls, args: [\"{a}\"] } }
",
        )
        .await
        .unwrap();
    assert_eq!(
        reports[1].output,
        Some(format!("{}\n", guest.ready.release))
    );
    assert_eq!(reports[3].output.as_deref(), Some("here\n"));
    let (_, failure) = guest
        .drive("  - guest: { exec: { program: ls, args: [/nowhere] } }\n")
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Program);
    guest.power_off().await;
}
