//! The real b4: it reads what `kvet check` prints as its own code does for
//! `b4.review-series-check-cmd`, and it fetches a thread for `--message-id` from
//! an archive on this machine.
//!
//! `KVET_TEST_B4` names the directory with b4's programs (of a virtual
//! environment); without it b4 is looked for in PATH.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The directory with b4 and its Python; tells loudly if there is none.
#[expect(clippy::explicit_write, reason = "a test's own capture would hide it")]
fn b4() -> Option<PathBuf> {
    let named = std::env::var_os("KVET_TEST_B4").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap();
    let mut candidates = named.into_iter().chain(std::env::split_paths(&path));
    let found = candidates.find(|directory| directory.join("b4").exists());
    if found.is_none() {
        writeln!(std::io::stderr(), "\nSKIPPED: b4 is not installed\n").unwrap();
        let full = std::env::var_os("KVET_TEST_FULL").is_some();
        assert!(!full, "the full check needs b4");
    }
    found
}

const DIFF: &str = "diff --git a/fs/f.c b/fs/f.c\n--- a/fs/f.c\n+++ b/fs/f.c\n\
                    @@ -1,2 +1,2 @@\n a\n-b\n+c\n-- \n2.47\n";

fn mail(id: &str, parent: &str, subject: &str, body: &str) -> String {
    let parent = match parent {
        "" => String::new(),
        parent => format!("In-Reply-To: <{parent}>\nReferences: <{parent}>\n"),
    };
    format!(
        "From: A U Thor <a@example.org>\nTo: list@example.org\n\
         Date: Fri, 2 Jan 2026 03:04:05 +0000\nSubject: {subject}\nMessage-ID: <{id}>\n{parent}\n\
         {body}\n"
    )
}

fn thread() -> [String; 4] {
    [
        mail(
            "c@example.org",
            "",
            "[PATCH v2 0/2] all",
            "About all of it.\n",
        ),
        mail(
            "p1@example.org",
            "c@example.org",
            "[PATCH v2 1/2] one",
            DIFF,
        ),
        mail(
            "p2@example.org",
            "c@example.org",
            "[PATCH v2 2/2] two",
            DIFF,
        ),
        mail(
            "r@example.org",
            "p1@example.org",
            "Re: [PATCH v2 1/2] one",
            "No.\n",
        ),
    ]
}

fn mailbox() -> String {
    let line = "From mboxrd@z Thu Jan  1 00:00:00 1970\n";
    thread()
        .iter()
        .flat_map(|mail| [line, mail, "\n"])
        .collect()
}

/// A kernel repository whose file the thread's patches do not fit, and a job.
fn repository(home: &Path) -> PathBuf {
    let tree = home.join("linux");
    fs::create_dir_all(tree.join("fs")).unwrap();
    let makefile = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n";
    fs::write(tree.join("Makefile"), makefile).unwrap();
    fs::write(tree.join("fs/f.c"), "a\nother\n").unwrap();
    let job = "name: j\nkernel: { source: { dir: /nowhere }, config: [] }\ncluster: none\n\
               workload: writeback-storm\ntarget: { class: hung_task }\n\
               arms: { stock: { control: true } }\n";
    fs::write(home.join("j.yaml"), job).unwrap();
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &[
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@example.org",
            "commit",
            "-qm",
            "base",
        ],
    ] {
        let git = Command::new("git")
            .args(arguments)
            .current_dir(&tree)
            .status();
        assert!(git.unwrap().success());
    }
    tree
}

/// Has b4's own code run `kvet check` on the cover letter, as its review
/// interface does, and prints what it would show.
const DRIVER: &str = "
import argparse, email, json, sys
import b4, b4.review.checks as checks
b4.setup_config(argparse.Namespace(config={}))
with open(sys.argv[1], 'rb') as cover:
    message = email.message_from_binary_file(cover, policy=b4.emlpolicy)
_, commands = checks.load_check_cmds()
environment = {'B4_TRACKING_FILE': sys.argv[2]}
results = checks.run_series_checks(
    ('c@example.org', message), commands, b4.git_get_toplevel(), extra_env=environment)
print(json.dumps(results))
";

#[test]
fn b4_shows_what_a_check_came_to() {
    let Some(b4) = b4() else { return };
    let home = tempfile::tempdir().unwrap();
    let tree = repository(home.path());
    let cover = home.path().join("cover");
    fs::write(&cover, &thread()[0]).unwrap();
    // b4 keeps the thread in the repository and tells where.
    let mut hash = Command::new("git")
        .args(["hash-object", "-w", "--stdin"])
        .current_dir(&tree)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hash.stdin
        .take()
        .unwrap()
        .write_all(mailbox().as_bytes())
        .unwrap();
    let blob = String::from_utf8(hash.wait_with_output().unwrap().stdout).unwrap();
    let tracking = home.path().join("tracking.json");
    let text = format!(r#"{{"series": {{"thread-blob": "{}"}}}}"#, blob.trim());
    fs::write(&tracking, text).unwrap();
    let job = home.path().join("j.yaml");
    let command = format!(
        "{} check {} --kernel . --url https://ci.example.org/1",
        env!("CARGO_BIN_EXE_kvet"),
        job.display()
    );
    let set = Command::new("git")
        .args(["config", "b4.review-series-check-cmd", &command])
        .current_dir(&tree)
        .status();
    assert!(set.unwrap().success());
    let said = Command::new(b4.join("python3"))
        .args(["-c", DRIVER])
        .args([&cover, &tracking])
        .current_dir(&tree)
        .env("HOME", home.path())
        .env("XDG_CACHE_HOME", home.path().join("cache"))
        .env("XDG_STATE_HOME", home.path().join("state"))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&said.stdout).into_owned();
    let results: serde_json::Value =
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let [result] = results.as_array().unwrap().as_slice() else {
        panic!("{shown}");
    };
    assert_eq!(result["tool"], "kvet/j", "{shown}");
    assert_eq!(result["status"], "fail", "{shown}");
    assert_eq!(result["url"], "https://ci.example.org/1");
    let summary = result["summary"].as_str().unwrap();
    assert!(summary.contains("0001-one.patch does not apply"), "{shown}");
    assert!(
        result["details"].as_str().unwrap().contains("hunk 1"),
        "{shown}"
    );
    let untouched = Command::new("git")
        .args(["status", "--porcelain"])
        .current_dir(&tree)
        .output();
    assert!(untouched.unwrap().stdout.is_empty());
}

/// Answers requests for the thread as a public-inbox does, and for no other;
/// returns its address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(mailbox().as_bytes()).unwrap();
            let known = ["c@example.org", "c%40example.org"]
                .iter()
                .any(|id| request.contains(id));
            let (status, body) = if known {
                ("200 OK", packed.finish().unwrap())
            } else {
                ("404 Not Found", Vec::new())
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/gzip\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            drop(
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body)),
            );
        }
    });
    format!("http://{address}/all")
}

#[test]
fn b4_gets_a_series_from_a_mirror_by_a_mail_s_id() {
    let Some(b4) = b4() else { return };
    let home = tempfile::tempdir().unwrap();
    let tree = repository(home.path());
    let mirror = serve();
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([b4].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let run = |id: &str| {
        Command::new(env!("CARGO_BIN_EXE_kvet"))
            .args(["run", "../j.yaml", "--dry-run", "--kernel", "."])
            .args(["--message-id", id, "--from", &mirror])
            .current_dir(&tree)
            .env("HOME", home.path())
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .env("PATH", &path)
            .output()
            .unwrap()
    };
    let said = run("c@example.org");
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{told}");
    assert!(
        told.contains("c@example.org: 2 patches, version 2"),
        "{told}"
    );
    let plan = String::from_utf8_lossy(&said.stdout);
    assert!(plan.contains("arm patched"), "{plan}");
    let said = run("absent@example.org");
    let told = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(128), "{told}");
    assert!(told.contains("has no mail <absent@example.org>"), "{told}");
    assert!(told.contains("b4 says: "), "{told}");
}
