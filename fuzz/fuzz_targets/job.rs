//! Any bytes for a job.
//!
//! `cargo +nightly fuzz run job jobs` from the project's root, `jobs` being a
//! copy of the jobs that kvet comes with.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static DIRECTORY: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fuzz_target!(|text: &[u8]| kvet_fuzz::job::check(DIRECTORY.path(), text));
