//! Boots a real kernel in QEMU with kvet's own initramfs and drives the agent.
//!
//! Needs `qemu-system-x86_64` and, in `KVET_TEST_KERNEL`, a bzImage with the
//! options of `kconfigs/base.config`. No cluster: mounts are of a tmpfs.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests"
)]

mod guest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use guest::{Guest, image, image_with};
use kvet::guest::heartbeat::{Beat, unheard};
use kvet::guest::protocol::{FailureKind, GuestMessage, StepFailure, StepReport, StepResult};
use kvet::step::{CounterStep, GuestStep, KernelStep, MountStep, PathStep, ProgramStep, StormStep};
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

    /// The next beat of its heart that the agent tells of.
    async fn beat(&mut self) -> Beat {
        loop {
            match self.next().await {
                GuestMessage::Finished { step, .. } => return Beat::Step(step),
                GuestMessage::Beat { tick } => return Beat::Tick(tick),
                GuestMessage::Started { .. } => {}
                other => panic!("{other:?}"),
            }
        }
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
async fn kvet_is_the_agent_where_there_is_no_other() {
    let kvet = Path::new(env!("CARGO_BIN_EXE_kvet"));
    let (rootfs, _home) = image_with("kvet", kvet).await;
    let guest = Guest::boot(&kernel(), &rootfs, "quiet").await;
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

/// Mounts of a guest without a cluster show one file system, so what is written
/// through several mounts of a cluster's runs there as it is.
#[tokio::test]
async fn a_workload_for_a_cluster_runs_without_one() {
    let mut guest = boot("kvet").await;
    guest.greet().await;
    let workload = Workload::find("writeback-storm", Path::new(".")).unwrap();
    let mut counters = BTreeMap::new();
    let prepared = guest.start(&workload.preparation().unwrap()).await;
    assert!(matches!(
        guest.finished(prepared).await,
        StepResult::Done(_)
    ));
    for step in &workload.steps {
        let Action::Guest(action) = &step.action else {
            panic!("{step:?}");
        };
        let number = guest.start(action).await;
        match guest.finished(number).await {
            StepResult::Done(report) => counters.extend(report.counters),
            StepResult::Failed(failure) => panic!("{}: {failure:?}", step.label()),
        }
    }
    // Two mounts with three writers each, who cannot make snapshots here.
    assert_eq!(counters["operations"], 2400);
    assert!(!counters.contains_key("snapshot"));
    assert!(counters["blocks"] > 0);
    let concluded = guest.start(&workload.conclusion()).await;
    assert!(matches!(
        guest.finished(concluded).await,
        StepResult::Done(_)
    ));
    guest.power_off().await;
}

#[tokio::test]
async fn what_steps_mounted_is_unmounted_at_the_end_and_what_refuses_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tools.yaml");
    std::fs::write(
        &path,
        "name: tools\nabout: a test's\nprograms: [kvet, bash, sleep]\n",
    )
    .unwrap();
    let mut guest = boot(path.to_str().unwrap()).await;
    guest.greet().await;
    // A file that a step left open is closed, or `a` could not go.
    guest
        .drive(
            "  - guest: { mount: { name: a } }
  - guest: { mount: { name: b } }
  - guest: { mount: { name: own, local: true } }
  - guest: { mount: { name: stays } }
  - guest: { open: { handle: left, path: a/file, flags: [create, write] } }
  - guest: { truncate: { path: b/file, length: 10 } }
  - guest: { wait_size: { path: a/file, length: 10 } }
",
        )
        .await
        .unwrap();
    let elsewhere = "  - guest: { mount: { name: own, local: true } }
  - guest: { truncate: { path: own/file, length: 10 } }\n";
    let (_, failure) = guest.drive(elsewhere).await.unwrap_err();
    assert_eq!(failure.errno.as_deref(), Some("ENOENT"));

    let script = "exec 3<{b}/file; echo open >{stays}/ready; exec sleep 1000";
    let busy = ProgramStep::Exec {
        program: "bash".into(),
        args: vec!["-c".into(), script.into()],
    };
    guest
        .drive("  - guest: { write_file: { path: stays/ready, text: \"\" } }\n")
        .await
        .unwrap();
    guest.start(&busy.into()).await;
    guest
        .drive("  - guest: { wait_size: { path: stays/ready, length: 5, within: 2m } }\n")
        .await
        .unwrap();
    let all = GuestStep::from(MountStep::UmountAll {
        except: vec!["stays".into()],
    });
    let number = guest.start(&all).await;
    let StepResult::Failed(failure) = guest.finished(number).await else {
        panic!("a busy mount went");
    };
    assert_eq!(failure.errno.as_deref(), Some("EBUSY"));
    assert!(failure.message.starts_with("umount b: "), "{failure:?}");
    // One that refuses keeps no other.
    let reports = guest
        .drive("  - guest: { collect: { path: /proc/mounts } }\n")
        .await
        .unwrap();
    let mounts = reports[0].output.as_deref().unwrap();
    for (name, there) in [("a", false), ("b", true), ("own", false), ("stays", true)] {
        let shown = mounts.contains(&format!(" /mnt/{name} "));
        assert_eq!(shown, there, "{name} in {mounts}");
    }
    guest.power_off().await;
}

#[tokio::test]
async fn a_console_that_was_turned_off_is_noticed_by_its_heartbeat() {
    let mut guest = boot("kvet").await;
    guest
        .greet_with_heartbeat(Some(Duration::from_secs(1)))
        .await;
    let mut told = Vec::new();
    let mut off = Vec::new();
    for value in ["7", "1", "7"] {
        let set = KernelStep::Sysctl([("kernel.printk".into(), value.into())].into());
        for step in [set.into(), MountStep::Sync.into()] {
            let number = guest.start(&step).await;
            while told.last() != Some(&Beat::Step(number)) {
                told.push(guest.beat().await);
            }
            if value == "1" {
                off.push(Beat::Step(number));
            }
        }
        // Two, so that one of them is of this time.
        for _ in 0..2 {
            told.push(guest.beat().await);
        }
    }
    let console = guest.power_off().await;
    let (ticks, steps): (Vec<Beat>, Vec<Beat>) = unheard(&console, &told)
        .into_iter()
        .partition(|beat| matches!(beat, Beat::Tick(_)));
    assert_eq!(steps, off);
    assert!(!ticks.is_empty());
    assert_eq!(kvet::detect::scan(&console), []);
}

#[tokio::test]
async fn a_program_of_the_host_runs_in_the_guest() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tools.yaml");
    std::fs::write(
        &path,
        "name: tools\nabout: a test's\nprograms: [kvet, uname, ls, sh]\n",
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
    // Whose parent has ended is reaped: this step has no end before.
    guest
        .drive(
            r#"  - guest: { exec: { program: sh, args: [-c, "( : & ); ( : & ); ( : & )"] } }
  - guest:
      exec:
        program: sh
        args:
          - -c
          - |
            zombies() {
              for stat in /proc/[0-9]*/stat; do
                read -r line < $stat || continue
                case $line in *") Z 1 "*) return 0 ;; esac
              done 2>/dev/null
              return 1
            }
            while zombies; do :; done
"#,
        )
        .await
        .unwrap();
    guest.power_off().await;
}
