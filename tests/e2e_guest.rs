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

use std::path::{Path, PathBuf};
use std::time::Duration;

use kvet::Context;
use kvet::guest::link::Link;
use kvet::guest::protocol::{
    FailureKind, GuestMessage, Ready, StepFailure, StepReport, StepResult, Welcome,
};
use kvet::process::{Command, Process};
use kvet::rootfs::{self, Recipe, Rootfs};
use kvet::store::{Scratch, Store};
use kvet::workload::{Action, GuestStep, Workload};

/// A guest that says nothing for so long is stuck: generous, since the host
/// may be busy with anything.
const PATIENCE: Duration = Duration::from_secs(180);

struct Guest {
    link: Link,
    qemu: Process,
    scratch: Scratch,
    steps: u32,
}

fn kernel() -> PathBuf {
    std::env::var_os("KVET_TEST_KERNEL")
        .map(PathBuf::from)
        .expect("KVET_TEST_KERNEL names a bzImage")
}

async fn image(recipe: &str) -> (Rootfs, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path()).unwrap();
    let recipe = Recipe::find(recipe, Path::new(".")).unwrap();
    let agent = Path::new(env!("CARGO_BIN_EXE_kvet"));
    let rootfs = rootfs::build_with(&Context::default(), &store, &recipe, agent)
        .await
        .unwrap();
    (rootfs, home)
}

impl Guest {
    async fn boot(recipe: &str) -> (Self, Ready) {
        let (rootfs, _home) = image(recipe).await;
        let scratch = Scratch::new().unwrap();
        let socket = scratch.join("agent");
        let qemu = Command::new("qemu-system-x86_64")
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args([
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
            ])
            .args(["-smp", "2", "-m", "1G"])
            .arg("-kernel")
            .arg(kernel())
            .arg("-initrd")
            .arg(&rootfs.path)
            .args(["-append", "console=ttyS0 panic=-1 quiet"])
            .arg("-serial")
            .arg(format!("file:{}", scratch.join("console").display()))
            .args(["-device", "virtio-serial-pci", "-chardev"])
            .arg(format!(
                "socket,id=agent,path={},server=on,wait=off",
                socket.display()
            ))
            .args(["-device", "virtserialport,chardev=agent,name=kvet.agent"])
            .args([
                "-netdev",
                "user,id=net",
                "-device",
                "virtio-net-pci,netdev=net",
            ])
            .spawn(false)
            .unwrap();
        let connected = async {
            loop {
                match Link::connect(&socket).await {
                    Ok(link) => return link,
                    // QEMU has not made its socket yet and cannot say when.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let link = tokio::time::timeout(PATIENCE, connected).await.unwrap();
        let mut guest = Self {
            link,
            qemu,
            scratch,
            steps: 0,
        };
        let ready = tokio::time::timeout(PATIENCE, guest.link.ready()).await;
        let ready = match ready {
            Ok(Ok(ready)) => ready,
            other => panic!("{other:?}; the console:\n{}", guest.console()),
        };
        (guest, ready)
    }

    fn console(&self) -> String {
        let bytes = std::fs::read(self.scratch.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn next(&mut self) -> GuestMessage {
        match tokio::time::timeout(PATIENCE, self.link.next()).await {
            Ok(Ok(message)) => message,
            other => panic!("{other:?}; the console:\n{}", self.console()),
        }
    }

    async fn greet(&mut self) {
        let welcome = Welcome {
            hostname: "trial-1".into(),
            seed: 1,
            file_system: None,
        };
        self.link.hello(&welcome).await.unwrap();
        assert_eq!(self.next().await, GuestMessage::Greeted);
    }

    async fn start(&mut self, step: &GuestStep) -> u32 {
        self.steps += 1;
        self.link.start(self.steps, step).await.unwrap();
        self.steps
    }

    async fn finished(&mut self, step: u32) -> StepResult {
        loop {
            match self.next().await {
                GuestMessage::Finished { step: of, result } if of == step => return result,
                GuestMessage::Started { .. } | GuestMessage::Progress { .. } => {}
                other => panic!("{other:?}; the console:\n{}", self.console()),
            }
        }
    }

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
    let (mut guest, ready) = Guest::boot("kvet").await;
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
    let (mut guest, _) = Guest::boot("kvet").await;
    guest.greet().await;
    // A read of the kernel's log that nothing ends.
    let stuck = guest
        .start(&GuestStep::Collect {
            path: "/proc/kmsg".into(),
        })
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
    let (mut guest, _) = Guest::boot("kvet").await;
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
    let step = GuestStep::WriteFile {
        path: "a/s/w0/stray".into(),
        text: "x".into(),
    };
    let number = guest.start(&step).await;
    assert!(matches!(guest.finished(number).await, StepResult::Done(_)));
    let step = GuestStep::Verify {
        storm: "s".into(),
        mount: "a".into(),
    };
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
    let (mut guest, ready) = Guest::boot(path.to_str().unwrap()).await;
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
    assert_eq!(reports[1].output, Some(format!("{}\n", ready.release)));
    assert_eq!(reports[3].output.as_deref(), Some("here\n"));
    let (_, failure) = guest
        .drive("  - guest: { exec: { program: ls, args: [/nowhere] } }\n")
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Program);
    guest.power_off().await;
}
