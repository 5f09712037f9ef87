//! QEMU's control connection: one JSON object a line, commands out, replies
//! and events in. Only what a trial needs.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::VmError;

/// QEMU's longest replies (a register dump) stay far below this.
const LINE_LIMIT: u64 = 1 << 20;

/// A negotiated connection.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Events that arrived while a reply was awaited.
    events: Vec<Value>,
}

impl Qmp {
    /// Reads the greeting and leaves negotiation mode.
    pub(super) async fn open(stream: UnixStream) -> Result<Self, VmError> {
        let (reader, writer) = stream.into_split();
        let mut qmp = Self {
            reader: BufReader::new(reader),
            writer,
            events: Vec::new(),
        };
        let greeting = qmp.line().await?;
        if greeting.get("QMP").is_none() {
            return Err(VmError::Qmp(format!("no greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Runs a command and returns its `return` value.
    pub(super) async fn execute(&mut self, name: &str, arguments: Value) -> Result<Value, VmError> {
        let mut line = json!({"execute": name, "arguments": arguments}).to_string();
        line.push('\n');
        self.writer
            .write_all(line.as_bytes())
            .await
            .map_err(|error| VmError::Qmp(error.to_string()))?;
        loop {
            let mut message = self.line().await?;
            if let Some(value) = message.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = message.get("error") {
                let said = error.get("desc").and_then(Value::as_str).unwrap_or("error");
                return Err(VmError::Qmp(format!("{name}: {said}")));
            }
            self.events.push(message);
        }
    }

    /// The reason of the SHUTDOWN event, if one has come or comes before the
    /// connection ends.
    pub(super) async fn shutdown_reason(&mut self) -> Option<String> {
        let reason = |message: &Value| {
            (message.get("event")?.as_str()? == "SHUTDOWN")
                .then(|| message.pointer("/data/reason")?.as_str().map(str::to_owned))?
        };
        if let Some(found) = self.events.iter().find_map(reason) {
            return Some(found);
        }
        while let Ok(message) = self.line().await {
            if let Some(found) = reason(&message) {
                return Some(found);
            }
        }
        None
    }

    async fn line(&mut self) -> Result<Value, VmError> {
        let mut line = Vec::new();
        let read = (&mut self.reader)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .await
            .map_err(|error| VmError::Qmp(error.to_string()))?;
        if read == 0 {
            return Err(VmError::Qmp("it was closed".to_owned()));
        }
        serde_json::from_slice(&line).map_err(|error| VmError::Qmp(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
