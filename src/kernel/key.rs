//! What decides which kernel comes out: the key of a build in the store.

use std::os::unix::ffi::OsStrExt;

use super::configuration::Configuration;
use super::series::SelectedSeries;
use crate::store::Key;

/// Part of every build's key; changes when what is built from the same inputs
/// changes.
const RECIPE: &str = "kvet build 1";

/// The key of the kernel that these inputs make; of its tree that one's key.
pub(super) fn build_key(
    tree: &Key,
    series: &[SelectedSeries],
    configuration: &Configuration,
    compiler: &str,
) -> Key {
    let mut parts: Vec<&[u8]> = vec![
        RECIPE.as_bytes(),
        tree.as_str().as_bytes(),
        compiler.as_bytes(),
    ];
    for one in series {
        parts.push(b"series");
        parts.extend(one.needs.iter().map(String::as_bytes));
        for patch in &one.patches {
            parts.extend([b"patch".as_slice(), &patch.content]);
        }
    }
    let configured = configuration.parts();
    parts.extend(configured.iter().map(Vec::as_slice));
    let instrumented = &configuration.instrumented;
    for file in instrumented {
        parts.extend([b"instrumented".as_slice(), file.as_os_str().as_bytes()]);
    }
    Key::of(parts)
}
