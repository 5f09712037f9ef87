//! The `kvet-agent` program: the guest's side alone, which is PID 1 there. It is
//! what `kvet` is in a guest, too, at a fraction of its size.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if kvet::guest::is_guest() {
        kvet::guest::main()
    }
    // For a person who starts it; also how kvet knows the file as its own.
    let said = writeln!(std::io::stdout(), "{}", kvet::guest::BUILD);
    drop(said);
    ExitCode::from(128)
}
