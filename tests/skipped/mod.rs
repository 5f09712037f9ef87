//! How a test says that this host lacks what it needs.

use std::io::Write;

/// Says what was not tested, where nobody can miss it: past the test's own
/// capture. In the full check it is a failure.
#[expect(clippy::explicit_write, reason = "a test's own capture would hide it")]
pub(crate) fn skipped(what: &str) {
    writeln!(std::io::stderr(), "\nSKIPPED: {what}\n").unwrap();
    assert!(std::env::var_os("KVET_CHECK_FULL").is_none(), "{what}");
}
