//! A guest without QEMU, for tests: the console, the agent and the control
//! connection are sockets whose other ends a test holds, and the process is one
//! that ends when the test says so.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::ChildStdin;

use super::guest::{Guest, Manner, Tap};
use crate::guest::protocol::{
    GuestMessage, HostMessage, Mountable, Ready, Secret, StepFailure, StepReport, StepResult,
    VERSION, Welcome,
};
use crate::process::Command;
use crate::record::Journal;
use crate::vm::{Channels, Machine};

/// The key that the guest is given.
pub(crate) const KEY: &str = "c2VjcmV0c2VjcmV0";

/// The test's ends.
pub(crate) struct Script {
    /// Where the kernel's words go; dropped, the console is closed.
    pub(crate) console: Option<UnixStream>,
    agent: Option<(BufReader<OwnedReadHalf>, OwnedWriteHalf)>,
    control: OwnedWriteHalf,
    commands: BufReader<OwnedReadHalf>,
    process: Option<ChildStdin>,
}

/// A guest and the script that plays it. `lost` is the reason for which its
/// service is lost, once it is told.
pub(crate) async fn guest(
    journal: Journal,
    lost: impl Future<Output = String> + 'static,
) -> (Guest<'static>, Script) {
    holding(journal, lost, false).await
}

/// One that is to be saved: nobody tells it who it is. `tap` sees its console.
pub(crate) async fn nobody(tap: Tap) -> (Guest<'static>, Script) {
    let (machine, channels, script) = machine().await;
    let manner = Manner {
        welcome: None,
        tap: Some(tap),
        ..manner(Journal::nowhere(), std::future::pending())
    };
    (Guest::new(machine, channels, manner), script)
}

/// The same; whether its QEMU outlives the guest's machine.
pub(crate) async fn holding(
    journal: Journal,
    lost: impl Future<Output = String> + 'static,
    holds: bool,
) -> (Guest<'static>, Script) {
    let (mut machine, channels, script) = machine().await;
    machine.hold(holds);
    let guest = Guest::new(machine, channels, manner(journal, lost));
    (guest, script)
}

/// A machine without QEMU, and the script that plays it.
async fn machine() -> (Machine, Channels, Script) {
    let (console, our_console) = UnixStream::pair().unwrap();
    let (agent, our_agent) = UnixStream::pair().unwrap();
    let (control, our_control) = UnixStream::pair().unwrap();
    // It reads until the end of its input, as QEMU runs until it is told.
    let mut process = Command::new("cat").spawn(true).unwrap();
    let stdin = process.take_stdin();
    let (commands, control_out) = our_control.into_split();
    let (agent_in, agent_out) = our_agent.into_split();
    let mut script = Script {
        console: Some(our_console),
        agent: Some((BufReader::new(agent_in), agent_out)),
        control: control_out,
        commands: BufReader::new(commands),
        process: stdin,
    };
    let greeting = async {
        script.control(&json!({"QMP": {"version": {}}})).await;
        script.command().await;
        script.control(&json!({"return": {}})).await;
    };
    let (machine, ()) = tokio::join!(
        Machine::scripted(process, control, console, agent),
        greeting
    );
    let (machine, channels) = machine.unwrap();
    (machine, channels, script)
}

fn manner(journal: Journal, lost: impl Future<Output = String> + 'static) -> Manner<'static> {
    Manner {
        welcome: Some(Welcome {
            hostname: "trial-1-1".to_owned(),
            seed: 1,
            file_system: Some(Mountable {
                fstype: "ceph".to_owned(),
                source: "10.99.0.1:6789:/".to_owned(),
                data: Secret::new(format!("name=kvet,secret={KEY}")),
                options: Vec::new(),
                hidden: vec![Secret::new(KEY)],
            }),
            heartbeat: None,
        }),
        journal,
        patterns: Vec::new(),
        slowdown: 1,
        memory: 0,
        lost: Box::pin(lost),
        tap: None,
        scratch: None,
    }
}

impl Script {
    /// The kernel says this.
    pub(crate) async fn kernel(&mut self, words: &str) {
        let console = self.console.as_mut().unwrap();
        console.write_all(words.as_bytes()).await.unwrap();
    }

    /// The agent says this.
    pub(crate) async fn say(&mut self, message: &GuestMessage) {
        let mut line = serde_json::to_vec(message).unwrap();
        line.push(b'\n');
        self.raw(&line).await;
    }

    /// The agent's port carries this.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let (_, port) = self.agent.as_mut().unwrap();
        port.write_all(bytes).await.unwrap();
    }

    /// The agent's port carries this, unless the host has stopped to listen.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) {
        if let Some((_, port)) = &mut self.agent {
            let _ = port.write_all(bytes).await;
        }
    }

    /// What the host says to the agent next.
    pub(crate) async fn told(&mut self) -> HostMessage {
        let (port, _) = self.agent.as_mut().unwrap();
        let mut line = String::new();
        port.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// All that the host has said to the agent and nobody has read, once the guest
    /// is gone.
    pub(crate) async fn told_until_the_end(&mut self) -> String {
        let (port, _) = self.agent.as_mut().unwrap();
        let mut text = String::new();
        port.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Comes up and is greeted.
    pub(crate) async fn come_up(&mut self) {
        self.say(&GuestMessage::Ready(ready(VERSION))).await;
        assert!(matches!(self.told().await, HostMessage::Renew(_)));
        assert!(matches!(self.told().await, HostMessage::Hello(_)));
        self.say(&GuestMessage::Greeted).await;
    }

    /// Is told to start a step: its number.
    pub(crate) async fn begins(&mut self) -> u32 {
        match self.told().await {
            HostMessage::Start { step, .. } => step,
            other => panic!("{other:?}"),
        }
    }

    /// A step ends as asked.
    pub(crate) async fn done(&mut self, step: u32) {
        let result = StepResult::Done(StepReport::default());
        self.say(&GuestMessage::Finished { step, result }).await;
    }

    /// A step fails.
    pub(crate) async fn failed(&mut self, step: u32, failure: StepFailure) {
        let result = StepResult::Failed(failure);
        self.say(&GuestMessage::Finished { step, result }).await;
    }

    /// QEMU ends, for this reason, with everything closed.
    pub(crate) async fn end(&mut self, reason: &str) {
        let event = json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": reason}});
        self.control(&event).await;
        self.console = None;
        self.agent = None;
        self.process = None;
    }

    /// QEMU ends, for this reason; what the agent said is there still.
    pub(crate) async fn end_talking(&mut self, reason: &str) {
        let agent = self.agent.take();
        self.end(reason).await;
        self.agent = agent;
    }

    /// QEMU says this on its control connection.
    pub(crate) async fn control(&mut self, message: &serde_json::Value) {
        let line = format!("{message}\n");
        self.control.write_all(line.as_bytes()).await.unwrap();
    }

    /// QEMU takes the breaks by which a guest's stacks are asked for, one for each key
    /// of a dump, whenever they come.
    pub(crate) async fn takes_breaks(&mut self) {
        for _ in 0..3 {
            self.control(&serde_json::json!({"return": {}})).await;
        }
    }

    /// The next command on the control connection.
    pub(crate) async fn command(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.commands.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

/// What an agent that speaks this version says first.
pub(crate) fn ready(protocol: u32) -> Ready {
    Ready {
        protocol,
        release: "7.3.4".to_owned(),
        version: "#1 SMP".to_owned(),
        uptime: 0.9,
        memory: 1 << 30,
        processors: 2,
        sysctls: [].into(),
        lacks: Vec::new(),
    }
}
