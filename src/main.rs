//! The `kvet` program; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // In a guest it is PID 1, where `kvet-agent` was not installed with it.
    if kvet::guest::is_guest() {
        kvet::guest::main()
    }
    kvet::cli::main()
}
