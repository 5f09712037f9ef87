//! A guest without a cluster, for tests: a machine of kvet's own with its own
//! initramfs, and the line to the agent, of which a test sees every message. It
//! goes when it is dropped.

use std::path::Path;
use std::time::Duration;

use kvet::Context;
use kvet::guest::link::Link;
use kvet::guest::protocol::{GuestMessage, Ready, StepResult, VERSION, Welcome};
use kvet::process::Namespace;
use kvet::rootfs::{self, Recipe, Rootfs};
use kvet::service::ADDRESS;
use kvet::step::GuestStep;
use kvet::store::{Scratch, Store};
use kvet::testbed::command_line;
use kvet::vm::{Accelerator, Boot, Channels, Debugging, End, Hardware, Machine, Memory};
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::watch;

/// A guest that says nothing for so long is stuck: generous, since the host
/// may be busy with anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Guest {
    pub(crate) link: Link,
    /// Ends with the guest.
    machine: Machine,
    /// What the agent said first.
    pub(crate) ready: Ready,
    /// What the console said; closed once that is all.
    pub(crate) heard: watch::Receiver<Vec<u8>>,
    steps: u32,
    // In this order: the machine has its sockets there.
    _network: Namespace,
    _scratch: Scratch,
}

/// Keeps what a console says, to its end.
fn listen(mut console: OwnedReadHalf) -> watch::Receiver<Vec<u8>> {
    let (keep, heard) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        // An error is QEMU going away.
        while let Ok(count @ 1..) = console.read(&mut buffer).await {
            keep.send_modify(|heard| heard.extend_from_slice(&buffer[..count]));
        }
    });
    heard
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
        let network = Namespace::create(ADDRESS).await.unwrap();
        let accelerator = Accelerator::Tcg;
        let boot = Boot {
            hardware: &Hardware::default(),
            accelerator,
            kernel,
            initramfs: Some(&rootfs.path),
            disks: &[],
            command_line: &command_line(accelerator, words),
            memory: Memory::Own,
            directory: scratch.path().to_owned(),
            debugging: Debugging::default(),
        };
        let (machine, channels) = Machine::start(boot, &network).await.unwrap();
        let Channels { console, agent } = channels;
        let heard = listen(console);
        let mut link = Link::open(agent);
        match tokio::time::timeout(PATIENCE, link.next()).await {
            Ok(Ok(GuestMessage::Ready(ready))) if ready.protocol == VERSION => Self {
                link,
                machine,
                ready,
                heard,
                steps: 0,
                _network: network,
                _scratch: scratch,
            },
            other => {
                let console = heard.borrow();
                let console = String::from_utf8_lossy(&console);
                panic!("{:?}; the console:\n{console}", other.map(|_| ()));
            }
        }
    }

    /// What the console showed until now.
    pub(crate) fn console(&self) -> Vec<u8> {
        self.heard.borrow().clone()
    }

    /// Powers off and returns all that the console said.
    pub(crate) async fn power_off(mut self) -> Vec<u8> {
        self.link.power_off().await.unwrap();
        let end = tokio::time::timeout(PATIENCE, self.machine.end()).await;
        assert_eq!(end.unwrap(), End::PoweredOff);
        let closed = async { while self.heard.changed().await.is_ok() {} };
        let closed = tokio::time::timeout(PATIENCE, closed).await;
        closed.expect("the console is open still");
        self.console()
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
