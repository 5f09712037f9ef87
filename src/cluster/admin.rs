//! The protocol of Ceph's admin sockets: one JSON object and a NUL to the
//! daemon; a 32-bit big-endian length and that many bytes back. The daemon
//! closes the connection after one answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The longest answer read. A cache dump of an MDS can be tens of megabytes.
const LONGEST: u32 = 64 << 20;

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// The daemon's process id as this process sees it, whatever namespace it
    /// lives in.
    pub(super) pid: Option<i32>,
    /// JSON for most commands, plain text for errors and some others.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The answer as JSON; nothing is `null`. Errors come as plain text.
    pub(super) fn json(&self) -> Result<Value, String> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| String::from_utf8_lossy(&self.body).trim().to_owned())
    }
}

/// Asks a daemon. The error is `TimedOut` if it does not answer in time.
pub(super) async fn ask(socket: &Path, command: &Value, within: Duration) -> io::Result<Answer> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        let pid = stream.peer_cred()?.pid();
        let mut request = serde_json::to_vec(command)?;
        request.push(0);
        stream.write_all(&request).await?;
        let length = stream.read_u32().await?;
        if length > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("an answer of {length} bytes"),
            ));
        }
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await?;
        Ok(Answer { pid, body })
    };
    tokio::time::timeout(within, talk)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::net::UnixListener;

    const LONG: Duration = Duration::from_secs(60);

    /// A daemon that answers one connection with these bytes.
    async fn exchange(reply: &'static [u8]) -> (io::Result<Answer>, Vec<u8>) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("asok");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while asked.last() != Some(&0) {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(reply).await.unwrap();
            asked
        };
        let command = json!({"prefix": "status"});
        tokio::join!(ask(&path, &command, LONG), daemon)
    }

    #[tokio::test]
    async fn a_command_goes_out_and_its_answer_comes_back() {
        let (answer, asked) = exchange(b"\0\0\0\x0a{\"ok\": 1}\n").await;
        assert_eq!(asked, b"{\"prefix\":\"status\"}\0");
        let answer = answer.unwrap();
        assert_eq!(answer.json().unwrap(), json!({"ok": 1}));
        assert_eq!(answer.pid, i32::try_from(std::process::id()).ok());
    }

    #[tokio::test]
    async fn text_is_an_error_and_nothing_is_null() {
        let (answer, _) = exchange(b"\0\0\0\x05no go").await;
        assert_eq!(answer.unwrap().json().unwrap_err(), "no go");
        let (answer, _) = exchange(b"\0\0\0\x00").await;
        assert_eq!(answer.unwrap().json().unwrap(), Value::Null);
    }

    #[tokio::test]
    async fn a_cut_or_absurd_answer_is_an_error() {
        let (answer, _) = exchange(b"\0\0\0\x05no").await;
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (answer, _) = exchange(b"\xff\xff\xff\xff").await;
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_silent_daemon_times_out() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("asok");
        let _listener = UnixListener::bind(&path).unwrap();
        let error = ask(&path, &json!({}), Duration::from_millis(1))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
