//! Any bytes, cut anywhere: no panic, and the same findings as uncut.
//!
//! `cargo +nightly fuzz run scan -- -max_len=65536` from the project's root;
//! tests/fixtures/detect makes a good corpus to begin with.

#![no_main]

use kvet::detect::{Scanner, Sighting, scan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, log) = input;
    let cut = usize::from(cut).min(log.len());
    let mut scanner = Scanner::new();
    let mut sightings = scanner.push(&log[..cut]);
    sightings.extend(scanner.push(&log[cut..]));
    sightings.extend(scanner.end());
    let findings: Vec<_> = sightings
        .into_iter()
        .filter_map(|sighting| match sighting {
            Sighting::Complete(finding) => Some(*finding),
            Sighting::Begun { .. } => None,
        })
        .collect();
    assert_eq!(findings, scan(log));
});
