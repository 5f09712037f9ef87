//! Sources that move, pinned by a list of releases on loopback that is slow, cut,
//! wrong, hostile or huge, and by a repository that is pushed to.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod server;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kvet::Context;
use kvet::kernel::source::{Extent, Network, pin};
use kvet::kernel::{SourceError, SourceSpec};
use kvet::store::Store;
use server::{Reply, Server, response};

const LIST: &str = r#"{ "latest_stable": { "version": "7.3.4" }, "releases": [
    { "moniker": "mainline", "version": "7.4-rc2", "iseol": false,
      "source": "https://evil.example/linux-7.4-rc2.tar.gz" },
    { "moniker": "stable", "version": "7.3.4", "iseol": false },
    { "moniker": "longterm", "version": "6.12.117", "iseol": false } ] }"#;

fn network(server: &Server) -> Network {
    Network {
        releases: format!("{}/releases.json", server.address),
        mainline: "/mainline".to_owned(),
        stall: Duration::from_secs(60),
        pause: Duration::from_millis(1),
        ..Network::default()
    }
}

/// Does not wait for long: a busy host has to answer within it.
fn impatient(server: &Server) -> Network {
    Network {
        stall: Duration::from_secs(2),
        ..network(server)
    }
}

async fn pinned(word: &str, network: &Network) -> Result<SourceSpec, SourceError> {
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path()).unwrap();
    let spec = SourceSpec::from_word(word).unwrap();
    pin(&Context::default(), &store, &spec, Extent::All, network).await
}

fn ok(body: &str) -> Vec<u8> {
    let headers = format!("Content-Length: {}\r\n", body.len());
    response("200 OK", &headers, body.as_bytes())
}

#[tokio::test]
async fn a_channel_is_pinned_to_the_release_it_leads_to_now() {
    let server = Server::start(|_, _| Reply::Send(ok(LIST))).await;
    let network = network(&server);
    for (word, release) in [
        ("latest-stable", "kernel.org:7.3.4"),
        ("longterm", "kernel.org:6.12.117"),
        ("kernel.org:6.12.y", "kernel.org:6.12.117"),
        // Its archive has no digest: the tag of the repository, not the address
        // in the list.
        ("latest-mainline", "git:/mainline@v7.4-rc2"),
    ] {
        assert_eq!(pinned(word, &network).await.unwrap().word(), release);
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|one| one.path == "/releases.json")
    );
    let error = pinned("5.4.y", &network).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("5.4.y (the list has no such release)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_that_is_cut_or_late_is_asked_for_again() {
    let server = Server::start(|number, _| match number {
        0 => Reply::Send(ok(LIST)[..200].to_vec()),
        1 => Reply::Stall(ok(LIST)[..200].to_vec()),
        _ => Reply::Send(ok(LIST)),
    })
    .await;
    let found = pinned("latest-stable", &impatient(&server)).await;
    assert_eq!(found.unwrap().word(), "kernel.org:7.3.4");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_list_that_never_comes_to_its_end_is_given_up() {
    for (reply, said) in [
        ("drip", "it sent no more than"),
        ("stall", "it sent nothing for 2s"),
        ("huge", "it is larger than"),
        ("html", "it is not a list of releases"),
        ("deep", "it is not a list of releases"),
        ("binary", "it is not text"),
        ("404", "404"),
        ("503", "503"),
    ] {
        let server = Server::start(move |_, _| {
            let head = response("200 OK", "", b"{");
            match reply {
                "drip" => Reply::Drip(head),
                "stall" => Reply::Stall(head),
                "huge" => Reply::Send(ok(&" ".repeat(5 << 20))),
                "html" => Reply::Send(ok("<html>Sign in</html>")),
                "deep" => Reply::Send(ok(&"[".repeat(1 << 20))),
                "binary" => Reply::Send(response("200 OK", "", b"\xff\xfe\x00")),
                "404" => Reply::Send(response("404 Not Found", "", b"")),
                _ => Reply::Send(response("503 Service Unavailable", "", b"")),
            }
        })
        .await;
        let patience = match reply {
            "drip" | "stall" => impatient(&server),
            _ => network(&server),
        };
        let error = pinned("latest-stable", &patience).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(said), "{reply}: {text}");
        assert!(text.contains("kernel.org's list of releases"), "{text}");
        assert_eq!(server.requests().len(), 3, "{reply}");
    }
}

#[tokio::test]
async fn a_list_with_hostile_words_names_no_kernel() {
    for version in [
        "../../../etc/passwd",
        "7.3.4\\u001b[2J",
        "-oProxyCommand=x",
        "v7.3.4",
    ] {
        let list = LIST.replace("7.3.4", version).replace("7.4-rc2", version);
        let server = Server::start(move |_, _| Reply::Send(ok(&list))).await;
        for word in ["latest-stable", "latest-mainline"] {
            let error = pinned(word, &network(&server)).await.unwrap_err();
            assert!(matches!(error, SourceError::NotReleased { .. }), "{error}");
        }
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let ran = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t.example"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_watched_branch_is_pinned_to_what_was_pushed_last() {
    let home = tempfile::tempdir().unwrap();
    let repo = home.path();
    git(repo, &["init", "-q", "-b", "for-next"]);
    let commit = || {
        git(repo, &["commit", "-q", "--allow-empty", "-m", "x"]);
        git(repo, &["rev-parse", "HEAD"])
    };
    let shown = repo.display();
    let watched = SourceSpec::Watched {
        repo: shown.to_string(),
        branch: "for-next".to_owned(),
    };
    let store = Store::at(repo.join("cache")).unwrap();
    let network = Network::default();
    let now = |spec: &SourceSpec, extent| {
        let spec = spec.clone();
        let (store, network) = (store.clone(), network.clone());
        async move { pin(&Context::default(), &store, &spec, extent, &network).await }
    };
    let first = commit();
    let found = now(&watched, Extent::Moving).await.unwrap();
    assert_eq!(found.word(), format!("git:{shown}@{first}"));
    // A tag is of the commit, not of the object that names it.
    git(repo, &["tag", "-a", "v1", "-m", "x"]);
    let second = commit();
    let found = now(&watched, Extent::Moving).await.unwrap();
    assert_eq!(found.word(), format!("git:{shown}@{second}"));
    let tag = SourceSpec::from_word(&format!("git:{shown}@v1")).unwrap();
    assert_eq!(now(&tag, Extent::Moving).await.unwrap(), tag);
    let found = now(&tag, Extent::All).await.unwrap();
    assert_eq!(found.word(), format!("git:{shown}@{first}"));
    // A tag is not a branch that could be pushed to.
    for (branch, directory) in [("v1", repo), ("for-next", Path::new("/no/such/place"))] {
        let watched = SourceSpec::Watched {
            repo: directory.display().to_string(),
            branch: branch.to_owned(),
        };
        let error = now(&watched, Extent::Moving).await.unwrap_err();
        assert!(matches!(error, SourceError::Git { .. }), "{error}");
    }
}
