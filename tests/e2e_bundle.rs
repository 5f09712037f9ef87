//! A bundle in other hands: another directory, another user, no cache, and then
//! another kernel.
#![cfg(feature = "e2e")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and shows what was said"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn kvet(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    eprintln!("{}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The kernel that an arm of a run had, in the cache.
fn kernel(run: &Path, arm: &str) -> PathBuf {
    let facts = fs::read(run.join("arms").join(arm).join("kernel.json")).unwrap();
    let facts: Value = serde_json::from_slice(&facts).unwrap();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap();
    let key = facts["key"].as_str().unwrap();
    cache.join("kvet/builds").join(key).join("bzImage")
}

/// Runs an unpacked bundle's script where there is no cache, no home and no
/// source of kvet's, as somebody else if this is root.
fn repro(bundle: &Path, arguments: &[&str]) -> Output {
    let root = rustix::process::geteuid().is_root();
    let hidden = [env!("CARGO_MANIFEST_DIR"), "/root", "/home"];
    let hidden = hidden
        .map(|path| format!("[ ! -d '{path}' ] || mount -t tmpfs none '{path}' || exit 99; "));
    let user = if root {
        "chown -R 65534:65534 .; exec setpriv --reuid=65534 --regid=65534 --clear-groups"
    } else {
        "exec"
    };
    let script = format!(
        "{} {user} env -i HOME=/nonexistent PATH=/usr/sbin:/usr/bin:/sbin:/bin \
         NO_COLOR=1 ./repro.sh \"$@\"",
        hidden.concat()
    );
    let mut command = Command::new("unshare");
    if !root {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command
        .args(["--mount", "--", "sh", "-c", &script, "sh"])
        .args(arguments)
        .current_dir(bundle)
        .output()
        .unwrap();
    eprintln!("{}", text(&output.stderr));
    output
}

#[test]
fn a_bundle_shows_the_same_to_somebody_else_and_takes_another_kernel() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = home.path().join("run");
    let job = "jobs/ceph-iput-async.yaml";
    let out = run.display().to_string();
    let ran = kvet(&[
        "run", job, "--arm", "stock", "--arm", "fixed", "--trials", "1", "--out", &out,
    ]);
    assert!(ran.status.code().is_some_and(|code| code != 128), "{ran:?}");
    let archive = home.path().join("bundle.tar.gz").display().to_string();
    let made = kvet(&[
        "bundle",
        &out,
        "--trial",
        "stock/evict-truncate/1",
        "--out",
        &archive,
    ]);
    assert!(made.status.success());
    let said = text(&made.stdout);
    assert!(
        said.contains("stock/evict-truncate/1, target (INFO: task hung"),
        "{said}"
    );

    // Where it cannot be written, and a record that names what is no kernel.
    for (target, problem) in [
        ("/dev/null/bundle.tar.gz", "cannot create"),
        (&*archive, "exists already"),
    ] {
        let refused = kvet(&["bundle", &out, "--out", target]);
        assert_eq!(refused.status.code(), Some(128));
        let said = text(&refused.stderr);
        assert!(said.contains(problem), "{said}");
    }
    let report = run.join("report.json");
    let tampered = fs::read_to_string(&report).unwrap();
    let tampered = tampered.replace("\"key\": \"", "\"key\": \"../../");
    fs::write(&report, tampered).unwrap();
    let refused = kvet(&["bundle", &out, "--out", "never.tar.gz"]);
    assert_eq!(refused.status.code(), Some(128));
    let said = text(&refused.stderr);
    assert!(said.contains("is not in the cache"), "{said}");
    assert!(!Path::new("never.tar.gz").exists());

    let elsewhere = home.path().join("else where");
    fs::create_dir(&elsewhere).unwrap();
    let unpacked = Command::new("tar")
        .args(["xzf", &archive, "--strip-components=1", "--no-same-owner"])
        .current_dir(&elsewhere)
        .status()
        .unwrap();
    assert!(unpacked.success());
    for file in [
        "README.md",
        "kernel/config",
        "seen/console.log",
        "seen/ceph.conf",
    ] {
        let text = fs::read_to_string(elsewhere.join(file)).unwrap();
        // The beginning of every cephx key that was made in this millennium.
        let key = text
            .split_whitespace()
            .find(|word| word.starts_with("AQ") && word.ends_with("=="));
        assert_eq!(key, None, "{file}");
    }
    // It must not need what it was made from.
    let fixed = elsewhere.join("another-bzImage");
    fs::copy(kernel(&run, "fixed"), &fixed).unwrap();
    fs::remove_dir_all(&run).unwrap();

    let again = repro(&elsewhere, &["--out", "again"]);
    let said = text(&again.stdout);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 1 trials showed it again"), "{said}");
    assert!(
        elsewhere
            .join("again/arms/stock/trials/evict-truncate/1/1/console.log")
            .exists()
    );

    let config = elsewhere.join("kernel/config").display().to_string();
    let other = repro(
        &elsewhere,
        &["another-bzImage", "--config", &config, "--out", "other"],
    );
    let said = text(&other.stdout);
    assert_eq!(other.status.code(), Some(0), "{said}");
    assert!(said.contains("now:  clean (Linux 7."), "{said}");

    fs::write(elsewhere.join("kernel/bzImage"), "cut").unwrap();
    let damaged = repro(&elsewhere, &[]);
    assert_eq!(damaged.status.code(), Some(128));
    let said = text(&damaged.stderr);
    assert!(
        said.contains("kernel/bzImage is not what was packed"),
        "{said}"
    );
}
