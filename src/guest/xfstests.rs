//! What `check` of xfstests prints, line by line: which tests ran and what did
//! not pass. Pure.
//!
//! A test's line begins with its name and ends with how long it took, or with
//! what went wrong; more about it may follow until the next test's. At the end
//! come the lists `Ran:`, `Not run:` and `Failures:`, and of these the last
//! decides. A line can be as long as its list.

use std::collections::{BTreeMap, BTreeSet};

use super::protocol::FailedTest;

/// More failures than this are not named.
const MOST: usize = 2000;

/// What is said of a test that went wrong, wherever it stands in a line.
const TROUBLE: &[&str] = &[
    "[failed, exit status",
    "output mismatch",
    "no qualified output",
    "[dumped core]",
    "is inconsistent",
    "something found in dmesg",
    "no such test",
];

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The test whose lines come.
    current: Option<String>,
    /// The first that was said of what went wrong with a test.
    troubles: BTreeMap<String, String>,
    ran: BTreeSet<String>,
    not_run: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// Whether the lists at the end have come.
    ended: bool,
}

/// What a whole run came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Results {
    /// How many tests ran.
    pub(super) ran: u64,
    /// How many did not apply.
    pub(super) not_run: u64,
    /// Those that did not pass, by name.
    pub(super) failed: Vec<FailedTest>,
}

impl Reader {
    /// Takes a line without its end.
    pub(super) fn line(&mut self, line: &str) {
        for (list, is) in [
            ("Ran:", List::Ran),
            ("Not run:", List::NotRun),
            ("Failures:", List::Failed),
        ] {
            if let Some(names) = line.strip_prefix(list) {
                self.current = None;
                return self.list(is, names);
            }
        }
        if let Some(name) = name_at_start(line) {
            self.current = Some(name.to_owned());
        }
        let Some(current) = &self.current else { return };
        if TROUBLE.iter().any(|trouble| line.contains(trouble)) {
            let rest = line.strip_prefix(current.as_str()).unwrap_or(line);
            let how = after_time(rest.trim());
            if self.troubles.len() < MOST && !self.troubles.contains_key(current) {
                let trouble = FailedTest::new(current, how);
                self.troubles.insert(trouble.name, trouble.how);
            }
        }
    }

    fn list(&mut self, list: List, names: &str) {
        let names = names.split_whitespace().filter(|name| is_name(name));
        let names = names.map(str::to_owned).take(100 * MOST);
        match list {
            List::Ran => {
                self.ended = true;
                self.ran.extend(names);
            }
            List::NotRun => self.not_run.extend(names),
            List::Failed => self.failed.extend(names),
        }
    }

    /// How many tests have begun to go wrong.
    pub(super) fn troubled(&self) -> usize {
        self.troubles.len()
    }

    /// The test under way.
    pub(super) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// What it all came to; `None` if it did not come to its end.
    pub(super) fn results(mut self) -> Option<Results> {
        if !self.ended {
            return None;
        }
        let failed = std::mem::take(&mut self.failed);
        let name = |name: String| {
            let how = self.troubles.remove(&name);
            let how = how.unwrap_or_else(|| "check lists it as a failure".to_owned());
            FailedTest::new(&name, &how)
        };
        let count = |names: &BTreeSet<String>| names.len() as u64;
        Some(Results {
            ran: count(&self.ran),
            not_run: count(&self.not_run),
            failed: failed.into_iter().take(MOST).map(name).collect(),
        })
    }
}

#[derive(Clone, Copy)]
enum List {
    Ran,
    NotRun,
    Failed,
}

/// The name that a test's own line begins with: `generic/001`.
fn name_at_start(line: &str) -> Option<&str> {
    let end = line
        .find([' ', '\t', '-'])
        .filter(|end| *end > 0)
        .unwrap_or(line.len());
    let name = &line[..end];
    is_name(name).then_some(name)
}

/// A directory of tests, a slash, and a number of at least three digits, with
/// perhaps more after it.
fn is_name(word: &str) -> bool {
    let Some((group, number)) = word.split_once('/') else {
        return false;
    };
    let plain = |text: &str| {
        let mut letters = text.chars();
        !text.is_empty() && letters.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let digits = number.chars().take_while(char::is_ascii_digit).count();
    word.len() <= FailedTest::NAME && plain(group) && plain(number) && digits >= 3
}

/// What follows the time that the test took when it ran before: ` 4s ... `.
fn after_time(rest: &str) -> &str {
    let after = rest
        .split_once("s ...")
        .filter(|(time, _)| time.trim().chars().all(|c| c.is_ascii_digit()))
        .map_or(rest, |(_, after)| after);
    after.trim().trim_start_matches('-').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `check`: a pass with and without an earlier time, one that
    /// does not apply, one left out, each way to fail, and the lists.
    const RUN: &str = "\
FSTYP         -- ext4
PLATFORM      -- Linux/x86_64 trial-1 7.3.4 #1 SMP PREEMPT Thu Jan 1 00:00:00 UTC 1970
MKFS_OPTIONS  -- /dev/vdb
MOUNT_OPTIONS -- -o acl,user_xattr /dev/vdb /mnt/scratch

generic/001 4s ... 5s
generic/002\t 1s
generic/003\t [not run] this test requires a valid $SCRATCH_DEV
generic/004       [expunged]
generic/005 0s ... [failed, exit status 1] - output mismatch (see /x/results//generic/005.out.bad)
    --- tests/generic/005.out\t2026-01-01 00:00:00.000000000 +0000
    +++ /x/results//generic/005.out.bad\t2026-01-01 00:00:01.000000000 +0000
    @@ -1,2 +1,3 @@
     QA output created by 005
    +generic/999 is inconsistent
    ...
ext4/006\t - output mismatch (see /x/results//ext4/006.out.bad)
generic/007\t 2s
_check_generic_filesystem: filesystem on /dev/vdb is inconsistent
(see /x/results//generic/007.full for details)
generic/008 1s ... 1s
_check_dmesg: something found in dmesg (see /x/results//generic/008.dmesg)
generic/009\t - no qualified output
Ran: generic/001 generic/002 generic/003 generic/005 ext4/006 generic/007 generic/008 generic/009
Not run: generic/003
Failures: generic/005 ext4/006 generic/007 generic/008 generic/009
Failed 5 of 8 tests
";

    fn read(text: &str) -> Option<Results> {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.results()
    }

    #[test]
    fn failures_are_told_by_test_and_with_what_went_wrong() {
        let results = read(RUN).unwrap();
        assert_eq!((results.ran, results.not_run), (8, 1));
        let how: Vec<(&str, &str)> = results
            .failed
            .iter()
            .map(|test| (test.name.as_str(), test.how.as_str()))
            .collect();
        let mismatch = "output mismatch (see /x/results//ext4/006.out.bad)";
        let both =
            "[failed, exit status 1] - output mismatch (see /x/results//generic/005.out.bad)";
        let inconsistent = "_check_generic_filesystem: filesystem on /dev/vdb is inconsistent";
        let dmesg = "_check_dmesg: something found in dmesg (see /x/results//generic/008.dmesg)";
        assert_eq!(
            how,
            [
                ("ext4/006", mismatch),
                ("generic/005", both),
                ("generic/007", inconsistent),
                ("generic/008", dmesg),
                ("generic/009", "no qualified output"),
            ]
        );
    }

    #[test]
    fn a_run_that_passed_has_no_failures() {
        let passed = "generic/001\t 1s\nRan: generic/001\nPassed all 1 tests\n";
        let results = read(passed).unwrap();
        assert_eq!((results.ran, results.failed.len()), (1, 0));
    }

    #[test]
    fn a_run_that_was_cut_off_has_no_results() {
        let (cut, _) = RUN.split_once("Ran:").unwrap();
        assert_eq!(read(cut), None);
        assert_eq!(read("check: no such program\n"), None);
    }

    #[test]
    fn what_only_looks_like_a_test_is_none() {
        for line in [
            "/dev/vdb x",
            "a/b",
            "generic/1",
            "../001",
            "generic/001\u{1b}[0m",
        ] {
            assert_eq!(name_at_start(line), None, "{line}");
        }
        assert_eq!(name_at_start("shared/298-aio 2s"), Some("shared/298"));
        assert_eq!(name_at_start("btrfs/001"), Some("btrfs/001"));
    }
}
