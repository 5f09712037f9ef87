//! A server on loopback that speaks raw HTTP, because a well-made one could not be
//! made to lie, cut or stall.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test that uses this uses a part of it"
)]

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request.
pub enum Reply {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Sends these bytes and then nothing, until the client leaves.
    Stall(Vec<u8>),
    /// Sends these bytes and then one blank after the other, for ever.
    Drip(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// Where the client wants to go on.
    pub start: Option<usize>,
    /// What came with it.
    pub body: String,
}

/// A server and what it was asked.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request with `reply`, which is told its number, from 0.
    pub async fn start(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A client may have given up.
                let Some(request) = read_request(&mut stream).await else {
                    continue;
                };
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request.clone());
                    seen.len() - 1
                };
                match reply(number, &request) {
                    Reply::Send(bytes) => drop(stream.write_all(&bytes).await),
                    Reply::Drip(bytes) => {
                        tokio::spawn(async move {
                            let mut sent = stream.write_all(&bytes).await;
                            while sent.is_ok() {
                                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                                sent = stream.write_all(b" ").await;
                            }
                        });
                    }
                    Reply::Stall(bytes) => {
                        tokio::spawn(async move {
                            drop(stream.write_all(&bytes).await);
                            drop(stream.read(&mut [0]).await);
                        });
                    }
                }
            }
        });
        Self { address, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn starts(&self) -> Vec<Option<usize>> {
        self.requests().iter().map(|one| one.start).collect()
    }
}

/// `None` if it does not come to its end.
async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let start = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let range = value.strip_prefix("bytes=")?.strip_suffix('-')?;
        (name.eq_ignore_ascii_case("range")).then(|| range.parse().unwrap())
    });
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Request { path, start, body })
}

pub fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
