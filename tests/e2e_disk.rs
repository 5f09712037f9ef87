//! Trials on disks: each file system mounted in every way, checked afterwards,
//! filled up, damaged; and a suite of tests. The kernel is the one of
//! jobs/local-writeback-storm.yaml.
#![cfg(feature = "e2e")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, and says where"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A run in a directory of its own.
struct Run {
    home: tempfile::TempDir,
    exit: Option<i32>,
    said: String,
}

impl Run {
    /// Runs a workload of tests/disks on a disk.
    fn of(workload: &str, disk: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disks");
        let here = here.display();
        let job = format!(
            "name: disk\n\
             kernel:\n  source: {{ debian: linux-source-7.3 }}\n  \
             config: [base, debug-vfs, ext4, xfs, btrfs, f2fs, programs]\n\
             cluster: none\n\
             disk: {disk}\n\
             rootfs: {here}/tools.yaml\n\
             workload: {here}/{workload}.yaml\n\
             arms:\n  debug: {{ patches: [vfs-sync-owner] }}\n"
        );
        let path = home.path().join("job.yaml");
        std::fs::write(&path, job).unwrap();
        let ran = Command::new(env!("CARGO_BIN_EXE_kvet"))
            .arg("run")
            .arg(&path)
            .arg("--out")
            .arg(home.path().join("run"))
            .env("XDG_STATE_HOME", home.path().join("state"))
            .output()
            .unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let exit = ran.status.code();
        Self { home, exit, said }
    }

    fn json(&self, file: &str) -> Value {
        let path = self.home.path().join("run").join(file);
        let text = std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}\n{}", path.display(), self.said);
        });
        serde_json::from_slice(&text).unwrap()
    }

    /// The trial's outcome and reason.
    fn outcome(&self) -> (String, String) {
        let report = self.json("report.json");
        let judged = &report["arms"][0]["trials"][0];
        let text = |key: &str| judged[key].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("reason"))
    }
}

/// The directory of a workload's one trial.
fn attempt(workload: &str) -> String {
    format!("arms/debug/trials/{workload}/1/1")
}

#[test]
fn every_file_system_is_mounted_remounted_and_left_clean() {
    for disk in [
        "{ size: 256MiB, fs: ext4, options: [data=journal] }",
        "{ size: 512MiB, fs: xfs }",
        "{ size: 256MiB, fs: btrfs }",
        "{ size: 256MiB, fs: f2fs }",
    ] {
        let run = Run::of("disk", disk);
        assert_eq!(run.outcome().0, "clean", "{disk}: {}", run.said);
        let trial = run.json(&format!("{}/trial.json", attempt("disk")));
        assert_eq!(trial["disk"]["state"], "clean", "{disk}: {trial}");
    }
}

#[test]
fn a_disk_that_is_full_is_told_as_what_it_is() {
    let run = Run::of("full", "{ size: 64MiB, fs: ext4 }");
    let (outcome, reason) = run.outcome();
    assert_eq!(outcome, "workload", "{}", run.said);
    assert!(
        reason.contains("ENOSPC") || reason.contains("No space"),
        "{reason}"
    );
}

#[test]
fn a_file_system_that_is_damaged_after_umount_is_a_finding_and_kept() {
    let run = Run::of("damage", "{ size: 64MiB, fs: ext4, mkfs: [-b, 4096] }");
    let (outcome, reason) = run.outcome();
    assert_eq!(outcome, "other", "{}", run.said);
    assert_eq!(reason, "e2fsck found the file system damaged after umount");
    // One trial without a control is no proof that the patches brought it.
    assert_eq!(run.exit, Some(125), "{}", run.said);
    let attempt = attempt("damage");
    let trial = run.json(&format!("{attempt}/trial.json"));
    assert_eq!(trial["disk"]["state"], "damaged");
    let image = run.home.path().join("run").join(attempt).join("disk.img");
    assert_eq!(std::fs::metadata(image).unwrap().len(), 64 << 20);
    // The verdict again, from the record alone.
    let judged = Command::new(env!("CARGO_BIN_EXE_kvet"))
        .arg("judge")
        .arg(run.home.path().join("run"))
        .output()
        .unwrap();
    assert_eq!(judged.status.code(), Some(125));
}

#[test]
fn tests_of_a_suite_that_fail_are_findings_by_their_names() {
    let run = Run::of("suite", "{ size: 64MiB, fs: ext4, spare: true }");
    assert_eq!(run.outcome().0, "other", "{}", run.said);
    let report = run.json("report.json");
    let findings = &report["arms"][0]["trials"][0]["findings"];
    let findings = findings.as_array().unwrap();
    let titles: Vec<_> = findings
        .iter()
        .map(|f| f["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["ext4/005 failed", "generic/002 failed"]);
    assert_eq!(findings[0]["signature"], "test_failure:ext4/005");
    let trial = run.json(&format!("{}/trial.json", attempt("suite")));
    assert_eq!(trial["counters"]["tests_run"], 4);
    assert_eq!(trial["disk"]["state"], "clean", "{trial}");
    let how = trial["failed_tests"][0]["how"].as_str().unwrap();
    assert!(how.contains("/dev/vdb is inconsistent"), "{how}");
}
