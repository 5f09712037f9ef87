//! Downloading kernels from servers that cut, stall, redirect, refuse, lie and
//! serve the wrong bytes. The server is on loopback and speaks raw HTTP, because
//! a well-made one could not be made to lie.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod server;

use std::path::Path;
use std::time::Duration;

use kvet::Context;
use kvet::event::{Event, EventSink};
use kvet::kernel::source::{Network, fetch_with};
use kvet::kernel::{SourceError, SourceSpec, Tree};
use kvet::store::{Key, Lock, Store};
use server::{Reply, Request, Server, response};
use sha2::{Digest, Sha256};

/// An honest answer, also to a request that goes on somewhere.
fn honest(content: &[u8], request: &Request) -> Vec<u8> {
    let Some(start) = request.start else {
        let headers = format!("Content-Length: {}\r\n", content.len());
        return response("200 OK", &headers, content);
    };
    let rest = &content[start..];
    let (total, last) = (content.len(), content.len() - 1);
    let headers = format!(
        "Content-Range: bytes {start}-{last}/{total}\r\nContent-Length: {}\r\n",
        rest.len()
    );
    response("206 Partial Content", &headers, rest)
}

/// The first part of an honest answer: its head and `count` bytes of body.
fn first(answer: &[u8], count: usize) -> Vec<u8> {
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    answer[..head + count].to_vec()
}

/// Large enough to be cut in several places.
const INODE_SIZE: usize = 100_000;

/// A kernel's archive, small and true.
fn archive() -> Vec<u8> {
    archive_of(INODE_SIZE)
}

/// The same with a file of another size.
fn archive_of(inode_size: usize) -> Vec<u8> {
    let makefile = b"VERSION = 6\nPATCHLEVEL = 17\nSUBLEVEL = 3\nEXTRAVERSION =\n";
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("linux-6.17.3/Makefile", &makefile[..]),
        ("linux-6.17.3/fs/inode.c", &vec![b'x'; inode_size]),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn network(mirrors: &[&Server]) -> Network {
    Network {
        mirrors: mirrors.iter().map(|one| one.address.clone()).collect(),
        stall: Duration::from_secs(60),
        pause: Duration::from_millis(1),
        ..Network::default()
    }
}

/// Does not wait for long: a busy host has to answer within it.
fn impatient(mirrors: &[&Server]) -> Network {
    Network {
        stall: Duration::from_secs(2),
        ..network(mirrors)
    }
}

async fn fetch_archive(
    home: &Path,
    server: &Server,
    sha256: &str,
    network: &Network,
) -> Result<Tree, SourceError> {
    let spec = SourceSpec::Archive {
        url: format!("{}/linux.tar", server.address),
        sha256: sha256.to_owned(),
    };
    let store = Store::at(home).unwrap();
    fetch_with(&Context::default(), &store, &spec, network).await
}

async fn fetch_release(home: &Path, network: &Network) -> Result<Tree, SourceError> {
    let spec = SourceSpec::Release {
        version: "6.17.3".parse().unwrap(),
    };
    let store = Store::at(home).unwrap();
    fetch_with(&Context::default(), &store, &spec, network).await
}

async fn assert_is_the_kernel(tree: &Tree) {
    assert_eq!(tree.version.to_string(), "6.17.3");
    let inode = tree.file(&Context::default(), "fs/inode.c").await.unwrap();
    assert_eq!(inode, vec![b'x'; INODE_SIZE]);
}

/// Nothing of a failed download may look like a source.
fn assert_no_source(home: &Path) {
    let names: Vec<_> = std::fs::read_dir(home.join("trees"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    assert_eq!(names, Vec::<String>::new());
}

fn help(error: &SourceError) -> String {
    miette::Diagnostic::help(error).unwrap().to_string()
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_stopped() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |number, request| {
        let answer = honest(&content, request);
        Reply::Send(match number {
            0 => first(&answer, 30_000),
            1 => first(&answer, 20_000),
            _ => answer,
        })
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let tree = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;
    assert_eq!(server.starts(), [None, Some(30_000), Some(50_000)]);
}

#[tokio::test]
async fn what_a_failed_run_left_is_continued_by_the_next() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |number, request| {
        let answer = honest(&content, request);
        Reply::Send(match number {
            0 => first(&answer, 30_000),
            1..=3 => response("503 Service Unavailable", "Content-Length: 0\r\n", b""),
            _ => answer,
        })
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_no_source(home.path());
    let tree = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;
    assert_eq!(server.starts().last(), Some(&Some(30_000)));
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_asked_again() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |number, request| {
        let answer = honest(&content, request);
        match number {
            0 => Reply::Stall(Vec::new()),
            1 => Reply::Stall(first(&answer, 10_000)),
            _ => Reply::Send(answer),
        }
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let tree = fetch_archive(home.path(), &server, &expected, &impatient(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;
    assert_eq!(server.starts(), [None, None, Some(10_000)]);
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let content = archive();
    let expected = digest(&content);
    let to = |place: &str| {
        response(
            "302 Found",
            &format!("Location: {place}\r\nContent-Length: 0\r\n"),
            b"",
        )
    };
    let server = Server::start(move |_, request| {
        Reply::Send(match request.path.as_str() {
            "/linux.tar" => to("/real"),
            _ => honest(&content, request),
        })
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let tree = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;

    let loops = Server::start(move |_, _| Reply::Send(to("/linux.tar"))).await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_archive(home.path(), &loops, &expected, &network(&[]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("redirect"), "{error}");
    assert!(help(&error).contains("another source"));
    assert_eq!(loops.requests().len(), 6);
}

#[tokio::test]
async fn wrong_bytes_are_never_unpacked() {
    let server = Server::start(|_, request| Reply::Send(honest(&archive(), request))).await;
    let home = tempfile::tempdir().unwrap();
    let wanted = "0".repeat(64);
    let error = fetch_archive(home.path(), &server, &wanted, &network(&[]))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&wanted) && text.contains(&digest(&archive())),
        "{text}"
    );
    assert_no_source(home.path());
    // Nor kept, to be continued for ever.
    let left = std::fs::read_dir(home.path().join("downloads"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_length_too_long_does_not_hide_a_whole_file() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |_, _| {
        let headers = format!("Content-Length: {}\r\n", content.len() + 5);
        Reply::Send(response("200 OK", &headers, &content))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let tree = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;
}

#[tokio::test]
async fn a_length_too_short_is_a_wrong_file() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |_, _| {
        let headers = format!("Content-Length: {}\r\n", content.len() - 5000);
        Reply::Send(response("200 OK", &headers, &content))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert_no_source(home.path());
}

#[tokio::test]
async fn a_length_beyond_reason_is_refused_unread() {
    let server = Server::start(|_, _| {
        Reply::Stall(response("200 OK", "Content-Length: 99999999999\r\n", b""))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_archive(home.path(), &server, &"0".repeat(64), &network(&[]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_goes_on_elsewhere_is_asked_for_everything() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |number, request| {
        Reply::Send(match number {
            0 => first(&honest(&content, request), 30_000),
            1 => {
                let wrong = Request {
                    start: Some(12),
                    ..request.clone()
                };
                honest(&content, &wrong)
            }
            _ => honest(&content, request),
        })
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let tree = fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    assert_is_the_kernel(&tree).await;
    assert_eq!(server.starts(), [None, Some(30_000), None]);
}

/// A mirror with a list that names `sha256` for the release.
async fn mirror(
    sha256: String,
    file: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let list = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{sha256}  linux-6.17.3.tar.xz\n\
         -----BEGIN PGP SIGNATURE-----\n"
    );
    Server::start(move |_, request| match request.path.as_str() {
        "/v6.x/sha256sums.asc" => Reply::Send(honest(list.as_bytes(), request)),
        "/v6.x/linux-6.17.3.tar.xz" => file(request),
        path => panic!("asked for {path}"),
    })
    .await
}

fn not_found() -> Vec<u8> {
    response("404 Not Found", "Content-Length: 0\r\n", b"")
}

#[tokio::test]
async fn the_next_mirror_serves_where_one_fails() {
    let gone = Server::start(|_, _| Reply::Send(not_found())).await;
    let wrong = mirror(digest(&archive()), |request| {
        Reply::Send(honest(b"something else", request))
    })
    .await;
    let good = mirror(digest(&archive()), |request| {
        Reply::Send(honest(&archive(), request))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let network = network(&[&gone, &wrong, &good]);
    let tree = fetch_release(home.path(), &network).await.unwrap();
    assert_is_the_kernel(&tree).await;
    assert!(
        tree.origin.contains("signature not checked"),
        "{}",
        tree.origin
    );
    // The list came from the second, the content from the third.
    assert_eq!(good.requests().len(), 1);
    let asked = good.requests().len();
    fetch_release(home.path(), &network).await.unwrap();
    assert_eq!(
        good.requests().len(),
        asked,
        "the second time cost a request"
    );
}

#[tokio::test]
async fn when_all_mirrors_fail_each_is_named_with_its_reason() {
    let gone = Server::start(|_, _| Reply::Send(not_found())).await;
    let unlisted = mirror(digest(&archive()), |_| Reply::Send(not_found())).await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_release(home.path(), &network(&[&gone, &unlisted]))
        .await
        .unwrap_err();
    let text = error.to_string();
    for server in [&gone, &unlisted] {
        assert!(text.contains(&server.address), "{text}");
    }
    assert!(text.contains("404"), "{text}");
    assert!(help(&error).contains("KVET_KERNEL_MIRRORS"));
    assert_no_source(home.path());
}

#[tokio::test]
async fn a_list_that_nobody_signed_is_refused_where_a_keyring_is_given() {
    let server = mirror(digest(&archive()), |request| {
        Reply::Send(honest(&archive(), request))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let keyring = home.path().join("keyring.gpg");
    std::fs::write(&keyring, "").unwrap();
    let network = Network {
        keyring: Some(keyring),
        ..network(&[&server])
    };
    let error = fetch_release(home.path(), &network).await.unwrap_err();
    assert!(
        error.to_string().contains("signature is not good"),
        "{error}"
    );
    assert_no_source(home.path());
}

#[tokio::test]
async fn an_archive_of_the_cache_is_told_by_the_address_that_is_asked_for() {
    let content = archive();
    let expected = digest(&content);
    let server = Server::start(move |_, request| Reply::Send(honest(&content, request))).await;
    let home = tempfile::tempdir().unwrap();
    fetch_archive(home.path(), &server, &expected, &network(&[]))
        .await
        .unwrap();
    let other = Server::start(|_, request| panic!("asked for {}", request.path)).await;
    let tree = fetch_archive(home.path(), &other, &expected, &network(&[]))
        .await
        .unwrap();
    assert!(tree.origin.contains(&other.address), "{}", tree.origin);
}

/// Each byte comes in time, and the whole never.
#[tokio::test]
async fn a_server_that_drips_is_given_up_for_the_next() {
    let slow = mirror(digest(&archive()), |request| {
        Reply::Drip(first(&honest(&archive(), request), 10_000))
    })
    .await;
    let slower = Server::start(|_, _| {
        let head = response("200 OK", "Content-Length: 99999\r\n", b"");
        Reply::Drip(head)
    })
    .await;
    let good = mirror(digest(&archive()), |request| {
        Reply::Send(honest(&archive(), request))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let network = impatient(&[&slower, &slow, &good]);
    let tree = fetch_release(home.path(), &network).await.unwrap();
    assert_is_the_kernel(&tree).await;
    // One alone is told.
    let network = impatient(&[]);
    let error = fetch_archive(home.path(), &slower, &"0".repeat(64), &network)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("bytes in 2s"), "{error}");
}

#[tokio::test]
async fn what_arrived_before_an_interruption_is_not_fetched_again() {
    let whole = archive_of(6 << 20);
    let (expected, length) = (digest(&whole), whole.len());
    let server = Server::start(move |_, request| Reply::Send(honest(&whole, request))).await;
    let home = tempfile::tempdir().unwrap();
    let spec = SourceSpec::Archive {
        url: format!("{}/linux.tar", server.address),
        sha256: expected.clone(),
    };
    let store = Store::at(home.path()).unwrap();
    let (events, mut receiver) = EventSink::channel();
    let context = Context {
        events,
        ..Context::default()
    };
    let network = network(&[]);
    let result = {
        let mut fetched = std::pin::pin!(fetch_with(&context, &store, &spec, &network));
        let mut furthest = 0;
        loop {
            tokio::select! {
                biased;
                Some(event) = receiver.recv() => {
                    if let Event::Progress { done, .. } = event.event {
                        // It begins again: all is here, and being unpacked.
                        if done < furthest {
                            context.cancel.cancel();
                        }
                        furthest = done;
                    }
                }
                result = &mut fetched => break result,
            }
        }
    };
    assert!(
        matches!(result, Err(SourceError::Interrupted)),
        "{result:?}"
    );
    assert_no_source(home.path());
    fetch_archive(home.path(), &server, &expected, &network)
        .await
        .unwrap();
    assert_eq!(server.starts(), [None, Some(length)]);
}

/// Another kvet that fetches the same may take minutes.
#[tokio::test]
async fn waiting_for_another_kvet_is_told_and_can_be_ended() {
    let server = Server::start(|_, request| panic!("asked for {}", request.path)).await;
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path()).unwrap();
    let sha256 = "0".repeat(64);
    let key = Key::of(["archive", &sha256]);
    let lock = format!(".{}.lock", key.as_str());
    let _held = Lock::try_acquire(&store.kind("trees").unwrap().join(lock)).unwrap();
    let spec = SourceSpec::Archive {
        url: format!("{}/linux.tar", server.address),
        sha256,
    };
    let (events, mut receiver) = EventSink::channel();
    let context = Context {
        events,
        ..Context::default()
    };
    let network = network(&[]);
    let mut fetched = std::pin::pin!(fetch_with(&context, &store, &spec, &network));
    let result = loop {
        tokio::select! {
            result = &mut fetched => break result,
            Some(event) = receiver.recv() => {
                if let Event::Note(note) = event.event {
                    assert!(note.starts_with("waiting for another kvet"), "{note}");
                    context.cancel.cancel();
                }
            }
        }
    };
    assert!(
        matches!(result, Err(SourceError::Interrupted)),
        "{result:?}"
    );
}

/// A mirror may be some days behind.
#[tokio::test]
async fn a_release_that_a_mirror_does_not_have_yet_is_looked_for_at_the_next() {
    let list = |name: &str| {
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}  {name}\n\
             -----BEGIN PGP SIGNATURE-----\n",
            digest(b"")
        )
    };
    let old = list("linux-6.17.2.tar.xz");
    let behind = Server::start(move |_, request| {
        Reply::Send(if request.path == "/v6.x/sha256sums.asc" {
            honest(old.as_bytes(), request)
        } else {
            not_found()
        })
    })
    .await;
    let good = mirror(digest(&archive()), |request| {
        Reply::Send(honest(&archive(), request))
    })
    .await;
    let home = tempfile::tempdir().unwrap();
    let both = network(&[&behind, &good]);
    let tree = fetch_release(home.path(), &both).await.unwrap();
    assert_is_the_kernel(&tree).await;
    let home = tempfile::tempdir().unwrap();
    let error = fetch_release(home.path(), &network(&[&behind])).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("is not in"), "{error}");
    assert!(help(&error).contains("6.17.2"));
}
