//! Any bytes in any one file of a run directory.
//!
//! `cargo +nightly fuzz run record` from the project's root.

#![no_main]

use std::sync::LazyLock;

use kvet_fuzz::record::{Kept, fixture};
use libfuzzer_sys::fuzz_target;

static KEPT: LazyLock<(tempfile::TempDir, Kept)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = Kept::copied(&fixture(), directory.path());
    (directory, kept)
});

fuzz_target!(|input: (u8, &[u8])| {
    let (number, content) = input;
    KEPT.1.check(usize::from(number), content);
});
