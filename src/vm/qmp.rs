//! QEMU's control connection: one JSON object a line, commands out, replies
//! and events in. Only what a trial needs.
//!
//! Every call ends: a QEMU that is stopped, or busy for good, keeps its sockets
//! open and says nothing.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::VmError;
use crate::patience;
use crate::trace::Shortened;

/// QEMU's longest replies (a register dump) stay far below this.
const LINE_LIMIT: u64 = 1 << 20;

/// The events that are kept while a reply is awaited. QEMU sends a handful in a
/// guest's life; a guest that can make it send more fills no memory with them.
const EVENTS: usize = 256;

/// How long QEMU may take over one command. It answers within milliseconds
/// unless it or the host is stuck.
const ANSWER: Duration = Duration::from_secs(20);

/// How long a QEMU that has ended may take to close its end of the connection.
const CLOSING: Duration = Duration::from_secs(5);

/// A negotiated connection.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The next command's number, which its reply carries: one that comes after its
    /// time is no other command's.
    next: u64,
    /// Events that arrived while a reply was awaited.
    events: Vec<Value>,
    /// The beginning of a line whose rest was not awaited.
    partial: Vec<u8>,
    deadlines: Deadlines,
}

/// How long the other end may take.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    /// Over a command's reply, and over its greeting.
    answer: Duration,
    /// Over closing the connection.
    closing: Duration,
}

impl Qmp {
    /// Reads the greeting and leaves negotiation mode.
    pub(super) async fn open(stream: UnixStream) -> Result<Self, VmError> {
        let deadlines = Deadlines {
            answer: patience::of(ANSWER),
            closing: patience::of(CLOSING),
        };
        Self::open_within(stream, deadlines).await
    }

    async fn open_within(stream: UnixStream, deadlines: Deadlines) -> Result<Self, VmError> {
        let (reader, writer) = stream.into_split();
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            next: 0,
            events: Vec::new(),
            partial: Vec::new(),
            deadlines,
        };
        let greeting = within(deadlines.answer, "greet", qmp.line()).await?;
        if greeting.get("QMP").is_none() {
            return Err(VmError::Qmp(format!("no greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        tracing::info!("connected to QEMU's control connection");
        Ok(qmp)
    }

    /// Runs a command and returns its `return` value.
    pub(super) async fn execute(&mut self, name: &str, arguments: Value) -> Result<Value, VmError> {
        let answer = self.deadlines.answer;
        within(
            answer,
            &format!("answer {name}"),
            self.exchange(name, arguments),
        )
        .await
    }

    /// Gives QEMU an open file, which it then knows as `name`.
    pub(super) async fn hand_over(&mut self, name: &str, file: &File) -> Result<(), VmError> {
        tracing::debug!(command = "getfd", "to QEMU");
        let id = self.number();
        let line = json!({"execute": "getfd", "arguments": {"fdname": name}, "id": id});
        let line = format!("{line}\n");
        let answer = self.deadlines.answer;
        let given = async {
            send_with(&self.writer, line.as_bytes(), file)
                .await
                .map_err(|error| VmError::Qmp(error.to_string()))?;
            self.answer("getfd", id).await.map(drop)
        };
        within(answer, "take a file", given).await
    }

    /// How a migration under way ended: `completed` or `failed`.
    pub(super) async fn migrated(&mut self) -> Result<String, VmError> {
        let answer = self.deadlines.answer;
        let told = async {
            loop {
                let status = |event: &Value| {
                    let status = event.pointer("/data/status")?.as_str()?;
                    let is_end = matches!(status, "completed" | "failed" | "cancelled");
                    (event["event"] == "MIGRATION" && is_end).then(|| status.to_owned())
                };
                if let Some(status) = self.events.iter().find_map(status) {
                    return Ok(status);
                }
                let event = self.line().await?;
                self.keep(event);
            }
        };
        within(answer, "move the guest", told).await
    }

    async fn exchange(&mut self, name: &str, arguments: Value) -> Result<Value, VmError> {
        // Names alone: what goes with them may be as long as it likes.
        tracing::debug!(command = name, "to QEMU");
        let id = self.number();
        let mut line = json!({"execute": name, "arguments": arguments, "id": id}).to_string();
        line.push('\n');
        self.writer
            .write_all(line.as_bytes())
            .await
            .map_err(|error| VmError::Qmp(error.to_string()))?;
        self.answer(name, id).await
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    async fn answer(&mut self, name: &str, id: u64) -> Result<Value, VmError> {
        loop {
            let mut message = self.line().await?;
            // QEMU gives none to what it could not read at all.
            if message.get("id").is_some_and(|theirs| *theirs != id) {
                continue;
            }
            if let Some(value) = message.get_mut("return") {
                tracing::debug!(command = name, "done by QEMU");
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let said = error.get("desc").and_then(Value::as_str).unwrap_or("error");
                tracing::debug!(command = name, said = ?Shortened(&said), "refused by QEMU");
                return Err(VmError::Qmp(format!("{name}: {said}")));
            }
            self.keep(message);
        }
    }

    /// Keeps an event; the oldest of too many go.
    fn keep(&mut self, event: Value) {
        if self.events.len() == EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    /// The reason of the SHUTDOWN event, if one has come or comes before the
    /// connection ends. For a QEMU that has ended: whoever else holds its end
    /// open is not waited for.
    pub(super) async fn shutdown_reason(&mut self) -> Option<String> {
        let reason = |message: &Value| {
            (message.get("event")?.as_str()? == "SHUTDOWN")
                .then(|| message.pointer("/data/reason")?.as_str().map(str::to_owned))?
        };
        if let Some(found) = self.events.iter().find_map(reason) {
            return Some(found);
        }
        let closing = self.deadlines.closing;
        let rest = async {
            while let Ok(message) = self.line().await {
                if let Some(found) = reason(&message) {
                    return Some(found);
                }
            }
            None
        };
        tokio::time::timeout(closing, rest).await.ok().flatten()
    }

    /// Returns when QEMU has told of an event, with what it said of it, within a
    /// time; one that came before counts.
    pub(super) async fn event(&mut self, name: &str, deadline: Duration) -> Result<Value, VmError> {
        within(deadline, &format!("tell of {name}"), self.heard(name)).await
    }

    /// Returns when the guest's machine has come to an end that QEMU itself
    /// outlives. Never, if the connection ends before. Safe to race and to call
    /// again.
    pub(super) async fn shut_down(&mut self) {
        if self.heard("SHUTDOWN").await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The data of the first event of this name; it stays among the events.
    async fn heard(&mut self, name: &str) -> Result<Value, VmError> {
        loop {
            let found = self.events.iter().find(|event| event["event"] == name);
            if let Some(found) = found {
                return Ok(found["data"].clone());
            }
            let message = self.line().await?;
            self.keep(message);
        }
    }

    /// The next line. Nothing is lost by dropping the future.
    async fn line(&mut self) -> Result<Value, VmError> {
        let room = LINE_LIMIT.saturating_sub(self.partial.len() as u64);
        let read = (&mut self.reader)
            .take(room)
            .read_until(b'\n', &mut self.partial)
            .await
            .map_err(|error| VmError::Qmp(error.to_string()))?;
        if read == 0 {
            return Err(VmError::Qmp("it was closed".to_owned()));
        }
        let line = std::mem::take(&mut self.partial);
        let message: Value =
            serde_json::from_slice(&line).map_err(|error| VmError::Qmp(error.to_string()))?;
        if let Some(event) = message.get("event") {
            tracing::debug!(event = ?Shortened(event), "from QEMU");
        }
        Ok(message)
    }
}

/// Sends a line and with it a file.
async fn send_with(writer: &OwnedWriteHalf, line: &[u8], file: &File) -> std::io::Result<()> {
    let stream: &UnixStream = writer.as_ref();
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files = [file.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&files));
            let parts = [IoSlice::new(line)];
            Ok(sendmsg(stream, &parts, &mut control, SendFlags::empty())?)
        })
        .await?;
    if sent == line.len() {
        return Ok(());
    }
    // A line this short goes at once, or the socket is beyond use.
    Err(std::io::ErrorKind::WriteZero.into())
}

/// Gives the other end so long to do something.
async fn within<T>(
    deadline: Duration,
    what: &str,
    call: impl Future<Output = Result<T, VmError>>,
) -> Result<T, VmError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result,
        Err(_) => Err(VmError::Qmp(format!(
            "it did not {what} within {}",
            humantime::format_duration(deadline)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Soon for a test, and never for a peer that says nothing.
    const SOON: Deadlines = Deadlines {
        answer: Duration::from_millis(20),
        closing: Duration::from_millis(20),
    };

    const GREETING: &[u8] = b"{\"QMP\": {}}\n{\"return\": {}}\n";

    /// The other end, as QEMU behaves: greeting, then whatever `lines` says
    /// after each command.
    async fn peer(stream: UnixStream, answers: Vec<&'static str>) {
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader).lines();
        writer
            .write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n")
            .await
            .unwrap();
        for answer in answers {
            reader.next_line().await.unwrap().unwrap();
            writer.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn events_between_command_and_reply_are_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let answers = vec![
            "{\"return\": {}}\n",
            "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n{\"return\": {\"status\": \"shutdown\"}}\n",
        ];
        let (qmp, ()) = tokio::join!(
            async {
                let mut qmp = Qmp::open(ours).await.unwrap();
                let status = qmp.execute("query-status", json!({})).await.unwrap();
                assert_eq!(status["status"], "shutdown");
                qmp
            },
            peer(theirs, answers)
        );
        let mut qmp = qmp;
        assert_eq!(qmp.shutdown_reason().await.as_deref(), Some("guest-reset"));
    }

    #[tokio::test]
    async fn commands_and_events_are_traced_by_name() {
        let (traced, _guard) = crate::trace::capture(2);
        let (mut qmp, mut theirs) = frozen().await;
        let event = b"{\"event\": \"RESUME\"}\n{\"return\": {}}\n";
        theirs.write_all(event).await.unwrap();
        let secret = json!({"text": "c2VjcmV0"});
        qmp.execute("cont", secret).await.unwrap();
        let text = traced.text();
        for told in ["connected to QEMU", "\"cont\"", "RESUME"] {
            assert!(text.contains(told), "{text}");
        }
        assert!(!text.contains("c2VjcmV0"), "{text}");
    }

    #[tokio::test]
    async fn an_error_reply_names_the_command() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let answers = vec![
            "{\"return\": {}}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such chardev\"}}\n",
        ];
        let (error, ()) = tokio::join!(
            async {
                let mut qmp = Qmp::open(ours).await.unwrap();
                qmp.execute("chardev-send-break", json!({"id": "x"}))
                    .await
                    .unwrap_err()
            },
            peer(theirs, answers)
        );
        assert!(
            error
                .to_string()
                .contains("chardev-send-break: no such chardev")
        );
    }

    #[tokio::test]
    async fn an_event_is_heard_however_its_line_is_cut() {
        let (mut qmp, mut theirs) = frozen().await;
        theirs.write_all(b"{\"event\": \"SHUT").await.unwrap();
        // Raced against something else, and asked again.
        for _ in 0..3 {
            tokio::select! {
                biased;
                () = qmp.shut_down() => unreachable!("the line is not whole"),
                () = tokio::task::yield_now() => {}
            }
        }
        let rest = b"DOWN\", \"data\": {\"reason\": \"guest-reset\"}}\n";
        theirs.write_all(rest).await.unwrap();
        qmp.shut_down().await;
        let data = qmp.event("SHUTDOWN", SOON.answer).await.unwrap();
        assert_eq!(data["reason"], "guest-reset");
        let error = qmp.event("DUMP_COMPLETED", SOON.answer).await.unwrap_err();
        assert!(error.to_string().contains("did not tell of DUMP_COMPLETED"));
    }

    #[tokio::test]
    async fn a_frozen_qemu_does_not_greet_for_ever() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = Qmp::open_within(ours, SOON).await.unwrap_err().to_string();
        assert!(error.contains("did not greet within 20ms"), "{error}");
    }

    /// A connection whose other end has answered the negotiation and then stops.
    async fn frozen() -> (Qmp, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(GREETING).await.unwrap();
        (Qmp::open_within(ours, SOON).await.unwrap(), theirs)
    }

    #[tokio::test]
    async fn a_frozen_qemu_ends_a_command_and_a_wait() {
        let (mut qmp, _theirs) = frozen().await;
        let error = qmp.execute("query-status", json!({})).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("did not answer query-status within 20ms"),
            "{error}"
        );
        assert_eq!(qmp.shutdown_reason().await, None);
    }

    #[tokio::test]
    async fn a_reply_that_comes_late_is_no_other_command_s() {
        let (mut qmp, mut theirs) = frozen().await;
        qmp.execute("query-status", json!({})).await.unwrap_err();
        // The first one was of the negotiation.
        let late = b"{\"return\": {}, \"id\": 2}\n";
        let refused = b"{\"error\": {\"desc\": \"not now\"}, \"id\": 3}\n";
        theirs
            .write_all(&[&late[..], refused].concat())
            .await
            .unwrap();
        let error = qmp.execute("stop", json!({})).await.unwrap_err();
        assert!(error.to_string().contains("stop: not now"), "{error}");
    }

    #[tokio::test]
    async fn a_frozen_qemu_whose_buffer_is_full_ends_a_command_too() {
        let (mut qmp, _theirs) = frozen().await;
        let long = json!({"text": "x".repeat(8 << 20)});
        let error = qmp.execute("human-monitor-command", long).await;
        assert!(error.unwrap_err().to_string().contains("did not answer"));
    }

    #[tokio::test]
    async fn a_qemu_that_only_sends_events_is_not_heard_for_ever() {
        let (mut qmp, mut theirs) = frozen().await;
        let chatter = async {
            let event = b"{\"event\": \"RTC_CHANGE\"}\n";
            while theirs.write_all(event).await.is_ok() {}
        };
        let asked = async {
            let error = qmp.execute("query-status", json!({})).await.unwrap_err();
            (error, qmp.events.len())
        };
        tokio::select! {
            biased;
            (error, kept) = asked => {
                assert!(error.to_string().contains("did not answer"));
                assert!(kept <= EVENTS, "{kept}");
            }
            () = chatter => unreachable!("the connection is open"),
        }
    }
}
