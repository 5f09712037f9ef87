//! What a guest says on its line.

use kvet::guest::link::{Link, LinkError};
use kvet::guest::protocol::GuestMessage;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Reads what a guest sent whole and in two pieces: no panic, the same
/// messages, and of what is no message a short printable excerpt.
///
/// # Panics
///
/// If it is otherwise.
pub fn check(runtime: &Runtime, cut: usize, sent: &[u8]) -> usize {
    let (first, second) = sent.split_at(cut.min(sent.len()));
    let whole = runtime.block_on(received(&[sent]));
    assert_eq!(whole, runtime.block_on(received(&[first, second])));
    whole.len()
}

/// A runtime for [`check`].
///
/// # Panics
///
/// If there can be none.
#[must_use]
pub fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// All that comes until the line is closed: messages, or what is said of them.
async fn received(pieces: &[&[u8]]) -> Vec<Result<GuestMessage, String>> {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    let mut link = Link::open(ours);
    let send = async move {
        for piece in pieces {
            // The host stops to read at a line that is too long.
            if theirs.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let receive = async move {
        let mut all = Vec::new();
        loop {
            match link.next().await {
                Ok(message) => all.push(Ok(message)),
                Err(LinkError::Closed) => return all,
                Err(error @ LinkError::Malformed { .. }) => {
                    let said = error.to_string();
                    assert!(said.len() < 512 && !said.contains(char::is_control), "{said:?}");
                    all.push(Err(said));
                }
                Err(error) => {
                    all.push(Err(error.to_string()));
                    return all;
                }
            }
        }
    };
    tokio::join!(send, receive).1
}
