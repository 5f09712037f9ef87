//! The `kvet` program; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // In a guest, this same binary is PID 1.
    if kvet::guest::is_guest() {
        kvet::guest::main()
    }
    kvet::cli::main()
}
