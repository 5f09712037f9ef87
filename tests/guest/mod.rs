//! A guest without a cluster, for tests: QEMU with kvet's own initramfs, and
//! the link to the agent. It goes when it is dropped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kvet::Context;
use kvet::guest::link::Link;
use kvet::guest::protocol::{GuestMessage, Ready, StepResult, Welcome};
use kvet::process::{Command, Process};
use kvet::rootfs::{self, Recipe, Rootfs};
use kvet::step::GuestStep;
use kvet::store::{Scratch, Store};

/// A guest that says nothing for so long is stuck: generous, since the host
/// may be busy with anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Guest {
    pub(crate) link: Link,
    /// Ends with the guest.
    pub(crate) qemu: Process,
    /// What the agent said first.
    pub(crate) ready: Ready,
    scratch: Scratch,
    steps: u32,
}

/// The image of a recipe with this build's agent, in a cache of its own.
pub(crate) async fn image(recipe: &str) -> (Rootfs, tempfile::TempDir) {
    image_with(recipe, Path::new(env!("CARGO_BIN_EXE_kvet-agent"))).await
}

/// The same with another program as the agent.
pub(crate) async fn image_with(recipe: &str, agent: &Path) -> (Rootfs, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path()).unwrap();
    let recipe = Recipe::find(recipe, Path::new(".")).unwrap();
    let rootfs = rootfs::build_with(&Context::default(), &store, &recipe, agent)
        .await
        .unwrap();
    (rootfs, home)
}

impl Guest {
    /// Boots a kernel with further words on its command line, until the agent
    /// is ready.
    pub(crate) async fn boot(kernel: &Path, rootfs: &Rootfs, words: &str) -> Self {
        let scratch = Scratch::new().unwrap();
        let socket = scratch.join("agent");
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-no-reboot", "-machine", "q35"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
            .args(["-smp", "2", "-m", "1G"])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(&rootfs.path)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=-1 {words}"))
            .arg("-serial")
            .arg(format!("file:{}", scratch.join("console").display()))
            .args(["-device", "virtio-serial-pci", "-chardev"])
            .arg(format!(
                "socket,id=agent,path={},server=on,wait=off",
                socket.display()
            ))
            .args(["-device", "virtserialport,chardev=agent,name=kvet.agent"])
            .args(["-netdev", "user,id=net,restrict=on"])
            .args(["-device", "virtio-net-pci,netdev=net"])
            .spawn(false)
            .unwrap();
        let ready = async {
            let mut link = loop {
                match Link::connect(&socket).await {
                    Ok(link) => break link,
                    // QEMU has not made its socket yet and cannot say when.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            };
            link.ready().await.map(|ready| (link, ready))
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(Ok((link, ready))) => Self {
                link,
                qemu,
                ready,
                scratch,
                steps: 0,
            },
            other => {
                let console = std::fs::read(scratch.join("console")).unwrap_or_default();
                let console = String::from_utf8_lossy(&console);
                panic!("{:?}; the console:\n{console}", other.map(|_| ()));
            }
        }
    }

    /// All that the console showed.
    pub(crate) fn console(&self) -> Vec<u8> {
        std::fs::read(self.log()).unwrap_or_default()
    }

    /// Where that is kept.
    pub(crate) fn log(&self) -> PathBuf {
        self.scratch.join("console")
    }

    /// The agent's next message.
    pub(crate) async fn next(&mut self) -> GuestMessage {
        match tokio::time::timeout(PATIENCE, self.link.next()).await {
            Ok(Ok(message)) => message,
            other => panic!("{other:?}; {}", self.place()),
        }
    }

    /// Tells the agent who it is.
    pub(crate) async fn greet(&mut self) {
        self.greet_with_heartbeat(None).await;
    }

    /// The same, and asks it for a heartbeat.
    pub(crate) async fn greet_with_heartbeat(&mut self, heartbeat: Option<Duration>) {
        let welcome = Welcome {
            hostname: "trial-1".into(),
            seed: 1,
            file_system: None,
            heartbeat,
        };
        self.link.hello(&welcome).await.unwrap();
        assert_eq!(self.next().await, GuestMessage::Greeted);
    }

    /// Starts a step and returns its number.
    pub(crate) async fn start(&mut self, step: &GuestStep) -> u32 {
        self.steps += 1;
        self.link.start(self.steps, step).await.unwrap();
        self.steps
    }

    /// Waits for the end of a step.
    pub(crate) async fn finished(&mut self, step: u32) -> StepResult {
        loop {
            match self.next().await {
                GuestMessage::Finished { step: of, result } if of == step => return result,
                GuestMessage::Started { .. }
                | GuestMessage::Progress { .. }
                | GuestMessage::Beat { .. } => {}
                other => panic!("{other:?}; {}", self.place()),
            }
        }
    }

    fn place(&self) -> String {
        let console = self.console();
        format!("the console:\n{}", String::from_utf8_lossy(&console))
    }
}
