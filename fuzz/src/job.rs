//! Job files.

use std::path::Path;

use kvet::job::{Choice, Plan};

/// Plans a job in a directory of its own: a plan or an error, no panic.
///
/// # Panics
///
/// If the file cannot be written.
pub fn check(directory: &Path, text: &[u8]) {
    let path = directory.join("job.yaml");
    std::fs::write(&path, text).expect("a job is written");
    if let Err(error) = Plan::load(&path, &Choice::default()) {
        // What is shown with the file's own lines is made, too.
        let _ = format!("{:?}", miette::Report::new(error));
    }
}
