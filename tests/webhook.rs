//! A webhook on loopback that hangs, refuses, redirects and fails: it is told
//! when it can be, and costs nothing but a warning when it cannot.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod server;

use std::time::Duration;

use kvet::notify::{Address, Body, Facts, Patience, deliver};
use kvet::outcome::VerdictKind;
use server::{Reply, Server, response};

/// Waited out where a server does not answer: a busy host has to read a request
/// within it.
const SHORT: Duration = Duration::from_secs(1);

fn patience(each: Duration) -> Patience {
    Patience {
        attempts: 3,
        each,
        pause: Duration::from_millis(1),
    }
}

fn long() -> Patience {
    patience(Duration::from_secs(60))
}

fn facts() -> Facts {
    Facts {
        job: "a".to_owned(),
        verdict: VerdictKind::NotFixed,
        before: None,
        reason: String::new(),
        kernels: String::new(),
        run: String::new(),
        host: String::new(),
        link: String::new(),
    }
}

/// Sends something to the server, and tells how that ended.
async fn sent(server: &Server, patience: Patience) -> Result<(), String> {
    let address = Address::read(&format!("{}/hooks/SECRET", server.address)).unwrap();
    let message = Body::default().filled(&facts());
    let sent = deliver(&address, &message, &patience).await;
    if let Err(reason) = &sent {
        assert!(
            !reason.contains("SECRET") && !reason.contains("127.0.0.1"),
            "{reason}"
        );
    }
    sent
}

#[tokio::test]
async fn one_that_fails_at_first_is_told_all_the_same() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Send(response("503 Service Unavailable", "", b"")),
        1 => Reply::Send(Vec::new()),
        _ => Reply::Send(response("204 No Content", "", b"")),
    })
    .await;
    sent(&server, long()).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|one| one.path == "/hooks/SECRET"));
    let body: serde_json::Value = serde_json::from_str(&requests[2].body).unwrap();
    assert!(body["text"].is_string(), "{body}");
}

#[tokio::test]
async fn one_that_does_not_take_it_is_given_up() {
    for (reply, said, times) in [
        ("hang", "it did not answer within 1s, 3 times", 3),
        ("cut", "the connection was cut, 3 times", 3),
        ("500", "it answered 500, 3 times", 3),
        ("429", "it answered 429, 3 times", 3),
        // Asking again would not help.
        ("404", "it answered 404", 1),
        ("302", "it answered 302", 1),
    ] {
        let server = Server::start(move |_, _| match reply {
            "hang" => Reply::Stall(Vec::new()),
            "cut" => Reply::Send(b"HTTP/1.1 ".to_vec()),
            "500" => Reply::Send(response("500 Internal Server Error", "", b"")),
            "429" => Reply::Send(response("429 Too Many Requests", "", b"")),
            "404" => Reply::Send(response("404 Not Found", "", b"")),
            _ => {
                let there = "Location: http://127.0.0.1:1/elsewhere\r\n";
                Reply::Send(response("302 Found", there, b""))
            }
        })
        .await;
        let patience = if reply == "hang" {
            patience(SHORT)
        } else {
            long()
        };
        assert_eq!(sent(&server, patience).await.unwrap_err(), said);
        assert_eq!(server.requests().len(), times, "{reply}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_waited_for() {
    let server = Server::start(|_, _| Reply::Drip(response("200 OK", "", b""))).await;
    sent(&server, long()).await.unwrap();
}

#[tokio::test]
async fn one_that_is_not_there_is_said_to_be_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let address = Address::read(&format!("http://127.0.0.1:{port}/SECRET")).unwrap();
    let message = Body::default().filled(&facts());
    let error = deliver(&address, &message, &long()).await.unwrap_err();
    assert_eq!(error, "no connection to it, 3 times");
}
