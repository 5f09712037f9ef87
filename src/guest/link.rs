//! The host's end of the line to the agent: JSON lines over the Unix socket
//! that QEMU connects to the guest's virtio-serial port.
//!
//! A guest is hostile until proven otherwise: a line has a greatest length,
//! anything that is not a message is a typed error, and nothing it says is
//! taken for a path or a command. Waiting is the caller's: race
//! [`Link::next`] (it can be dropped and called again) against whatever else
//! can happen.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, BytesMut};
use miette::Diagnostic;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::protocol::{
    GuestMessage, HostMessage, LINE_LIMIT, Ready, Renewal, Secret, VERSION, Welcome,
};
use crate::error::{Exit, Fault};
use crate::step::GuestStep;
use crate::trace::Shortened;

/// How long a message to the guest may take to leave: a QEMU that is stopped
/// takes none off its socket.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// The most that is taken off the socket at once, in bytes.
const READ_LIMIT: usize = 16 << 10;

/// A guest may send so many messages in a trial. The longest workload has two for
/// each of 10,000 steps, one for every ten seconds of a day, one every five seconds while a
/// storm goes on, one for each test of a suite, and some thousands with line counters.
pub const MESSAGES: u32 = 100_000;

/// And so many bytes: what all these steps could print comes to less.
pub const BYTES: u64 = 1 << 30;

/// The line to the guest failed, or the guest did not keep to the protocol.
#[derive(Debug, Error, Diagnostic)]
pub enum LinkError {
    /// The other end is gone: QEMU ended.
    #[error("the guest's line is closed")]
    #[diagnostic(help("QEMU ended; its log and the console tell why"))]
    Closed,
    /// What is sent to it is not taken.
    #[error("the guest's line is stuck")]
    #[diagnostic(help("QEMU hangs, or was stopped"))]
    Stuck,
    /// Reading or writing failed.
    #[error("cannot talk to the guest")]
    Io {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// A line longer than the protocol allows.
    #[error("the guest sent a line of more than {LINE_LIMIT} bytes")]
    TooLong,
    /// More messages than any workload has, or longer ones.
    #[error("the guest sent more than {MESSAGES} messages, or {} MiB of them", BYTES >> 20)]
    #[diagnostic(help("its agent, or whatever writes to the agent's port, is out of control"))]
    TooMuch,
    /// A line that is not a message.
    #[error(
        "the guest sent a line that is not a message ({problem}): {}",
        excerpt(line)
    )]
    Malformed {
        /// The line, with whatever is in it.
        line: Vec<u8>,
        /// What is wrong with it and where; none of its words.
        problem: String,
    },
    /// The image holds another version of kvet.
    #[error("the guest's agent speaks version {theirs} of the protocol, not {VERSION}")]
    #[diagnostic(help("its root file system was made by another kvet; make it again"))]
    Version {
        /// The guest's version.
        theirs: u32,
    },
    /// The agent gave up.
    #[error("the guest's agent gave up: {text}")]
    Fatal {
        /// Why, escaped.
        text: String,
    },
}

impl Fault for LinkError {
    fn exit(&self) -> Exit {
        Exit::Undecided
    }
}

/// The line to one guest.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    received: BytesMut,
    /// How much of `received` is known to hold no line end.
    scanned: usize,
    /// What the guest may send yet.
    left: Left,
}

/// What may come of a guest yet.
#[derive(Debug)]
struct Left {
    messages: u32,
    bytes: u64,
}

impl Left {
    /// Counts a line; false if it is too much.
    fn take(&mut self, line: usize) -> bool {
        let messages = self.messages.checked_sub(1);
        let bytes = self.bytes.checked_sub(line as u64);
        if let (Some(messages), Some(bytes)) = (messages, bytes) {
            *self = Self { messages, bytes };
            return true;
        }
        false
    }
}

/// Bytes of entropy that a guest is given: twice what its generator's key has.
const ENTROPY: usize = 64;

/// What a guest is given that no other has.
fn renewal(hostname: &str, seed: u64) -> io::Result<Renewal> {
    let mut entropy = [0; ENTROPY];
    File::open("/dev/urandom")?.read_exact(&mut entropy)?;
    let mut address = [0; 6];
    let name = Sha256::new_with_prefix(hostname).chain_update(seed.to_le_bytes());
    address.copy_from_slice(&name.finalize()[..6]);
    // One station's, and nobody's product.
    address[0] = address[0] & 0xfc | 0x02;
    Ok(Renewal {
        clock: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
        entropy: Secret::new(hex::encode(entropy)),
        address,
    })
}

impl Link {
    /// Takes a connected stream.
    #[must_use]
    pub fn open(stream: UnixStream) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            scanned: 0,
            left: Left {
                messages: MESSAGES,
                bytes: BYTES,
            },
        }
    }

    /// Takes no more than so many messages.
    #[cfg(test)]
    pub(crate) fn limit(&mut self, messages: u32) {
        self.left.messages = messages;
    }

    /// Tells the guest who it is; it answers [`GuestMessage::Greeted`].
    pub async fn hello(&mut self, welcome: &Welcome) -> Result<(), LinkError> {
        let renewal = renewal(&welcome.hostname, welcome.seed)?;
        self.send(&HostMessage::Renew(renewal)).await?;
        self.send(&HostMessage::Hello(welcome.clone())).await
    }

    /// Has the guest start a step; it answers [`GuestMessage::Started`] and,
    /// unless the step gets stuck, [`GuestMessage::Finished`]. Several steps
    /// can be under way at once.
    pub async fn start(&mut self, step: u32, action: &GuestStep) -> Result<(), LinkError> {
        self.send(&HostMessage::Start {
            step,
            action: action.clone(),
        })
        .await
    }

    /// Has the agent pull SysRq letters, whatever else is stuck; it answers
    /// [`GuestMessage::SysrqDone`].
    pub async fn sysrq(&mut self, letters: &str) -> Result<(), LinkError> {
        self.send(&HostMessage::Sysrq {
            letters: letters.to_owned(),
        })
        .await
    }

    /// Has the guest power off at once, without unmounting or syncing.
    pub async fn power_off(&mut self) -> Result<(), LinkError> {
        self.send(&HostMessage::PowerOff).await
    }

    async fn send(&mut self, message: &HostMessage) -> Result<(), LinkError> {
        // Debug output of a message leaves secrets out.
        tracing::debug!(message = ?Shortened(message), "to the agent");
        let mut line = serde_json::to_vec(message).map_err(io::Error::from)?;
        line.push(b'\n');
        let sent = tokio::time::timeout(SEND_DEADLINE, self.stream.write_all(&line));
        sent.await.map_err(|_| LinkError::Stuck)??;
        Ok(())
    }

    /// The next message. Safe to drop and call again: nothing gets lost.
    pub async fn next(&mut self) -> Result<GuestMessage, LinkError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.received[self.scanned..]) {
                let line = self.received.split_to(self.scanned + end);
                self.received.advance(1);
                self.scanned = 0;
                if line.len() > LINE_LIMIT {
                    return Err(LinkError::TooLong);
                }
                if !self.left.take(line.len()) {
                    return Err(LinkError::TooMuch);
                }
                return serde_json::from_slice(&line).map_err(|error| LinkError::Malformed {
                    line: line.to_vec(),
                    problem: format!("{:?} at column {}", error.classify(), error.column()),
                });
            }
            self.scanned = self.received.len();
            if self.scanned > LINE_LIMIT {
                return Err(LinkError::TooLong);
            }
            // Bounded, or a fast guest would fill whatever the buffer grew to.
            let mut room = (&mut self.received).limit(READ_LIMIT);
            if self.stream.read_buf(&mut room).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }
}

/// What an agent says of its guest, if it speaks this version of the protocol.
pub fn of_this_version(ready: Ready) -> Result<Ready, LinkError> {
    if ready.protocol == VERSION {
        return Ok(ready);
    }
    let theirs = ready.protocol;
    Err(LinkError::Version { theirs })
}

/// The beginning of what a guest sent, fit for a terminal.
fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 80;
    let shown = bytes[..bytes.len().min(MOST)].escape_ascii().to_string();
    if bytes.len() > MOST {
        format!("{shown}… ({} bytes)", bytes.len())
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::open(ours), theirs)
    }

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let (mut link, mut guest) = pair();
        guest
            .write_all(b"\"greeted\"\n{\"started\":")
            .await
            .unwrap();
        assert_eq!(link.next().await.unwrap(), GuestMessage::Greeted);
        // Dropped in the middle of a line, nothing gets lost.
        {
            let waiting = link.next();
            tokio::pin!(waiting);
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        guest.write_all(b"{\"step\":7}}\n").await.unwrap();
        assert_eq!(
            link.next().await.unwrap(),
            GuestMessage::Started { step: 7 }
        );
        drop(guest);
        assert!(matches!(link.next().await, Err(LinkError::Closed)));
    }

    #[tokio::test]
    async fn an_endless_line_is_an_error_and_does_not_fill_memory() {
        let (mut link, mut guest) = pair();
        let flood = async {
            let block = [b'x'; 4096];
            while guest.write_all(&block).await.is_ok() {}
        };
        tokio::select! {
            result = link.next() => assert!(matches!(result, Err(LinkError::TooLong))),
            () = flood => panic!("the link hung up"),
        }
        assert!(link.received.len() <= LINE_LIMIT + READ_LIMIT);
    }

    #[tokio::test]
    async fn a_guest_sends_no_more_messages_and_bytes_than_it_may() {
        let beat = b"{\"beat\":{\"tick\":1}}\n";
        for (messages, bytes) in [(2, 1000), (1000, 2 * (beat.len() as u64 - 1))] {
            let (mut link, mut guest) = pair();
            link.left = Left { messages, bytes };
            guest.write_all(&beat.repeat(3)).await.unwrap();
            for _ in 0..2 {
                assert_eq!(link.next().await.unwrap(), GuestMessage::Beat { tick: 1 });
            }
            assert!(matches!(link.next().await, Err(LinkError::TooMuch)));
        }
    }

    #[tokio::test]
    async fn noise_is_shown_escaped_and_cut() {
        let (mut link, mut guest) = pair();
        let mut noise = b"\x1b]0;owned\x07".repeat(20);
        noise.push(b'\n');
        guest.write_all(&noise).await.unwrap();
        let error = link.next().await.unwrap_err();
        assert!(matches!(error, LinkError::Malformed { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(": \\x1b]0;owned\\x07"), "{error}");
        assert!(error.len() < 400, "{error}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_line_is_told_without_its_words() {
        let (mut link, mut guest) = pair();
        guest.write_all(b"{\"c2VjcmV0\": 1}\n").await.unwrap();
        let error = link.next().await.unwrap_err();
        let LinkError::Malformed { line, problem } = error else {
            panic!("{error:?}");
        };
        assert_eq!(line, b"{\"c2VjcmV0\": 1}");
        assert!(problem.starts_with("Data at column"), "{problem}");
    }
}
