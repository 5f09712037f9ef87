//! Any bytes in any container, cut anywhere.
//!
//! `cargo +nightly fuzz run scan -- -max_len=65536` from the project's root;
//! tests/fixtures/detect makes a good corpus to begin with.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (cut, container, log) = input;
    kvet_fuzz::scan::check(cut, &kvet_fuzz::scan::pack(container, log));
});
