//! What fuzzing holds kvet to, whoever makes the input: libFuzzer
//! (`fuzz_targets/`) or a plain loop (`src/bin/drive.rs`). A module for each
//! input that others write: logs, a guest's messages, jobs, run directories.

pub mod job;
pub mod link;
pub mod record;
pub mod scan;
