//! Any bytes from a guest, cut anywhere.
//!
//! `cargo +nightly fuzz run link` from the project's root.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(kvet_fuzz::link::runtime);

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, sent) = input;
    kvet_fuzz::link::check(&RUNTIME, usize::from(cut), sent);
});
