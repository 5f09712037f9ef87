//! Which program becomes the guest's PID 1: `kvet-agent` where it was installed
//! with this kvet, and otherwise kvet itself, which does the same and is larger.

use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::guest::BUILD;

/// The program's name.
const NAME: &str = "kvet-agent";

/// The agent that belongs to this program.
pub(super) fn locate() -> PathBuf {
    // The link stays good when the file was replaced since kvet started.
    let this = PathBuf::from("/proc/self/exe");
    let Ok(program) = std::env::current_exe() else {
        return this;
    };
    beside(&program).unwrap_or(this)
}

/// `kvet-agent` next to the program, or where packages put it, if it is of the
/// same build: another kvet's might speak another protocol.
fn beside(program: &Path) -> Option<PathBuf> {
    let directory = program.parent()?;
    let places = [
        directory.join(NAME),
        directory.join("../lib/kvet").join(NAME),
    ];
    places.into_iter().find(|place| is_of_this_build(place))
}

fn is_of_this_build(agent: &Path) -> bool {
    std::fs::read(agent).is_ok_and(|bytes| memmem::find(&bytes, BUILD.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_of_this_build_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("bin/kvet");
        let packaged = home.path().join("lib/kvet/kvet-agent");
        for file in [&program, &packaged] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        assert_eq!(beside(&program), None);
        std::fs::write(&packaged, format!("\0{BUILD}\0")).unwrap();
        let found = beside(&program).unwrap();
        assert_eq!(found.canonicalize().unwrap(), packaged);
        let own = home.path().join("bin/kvet-agent");
        std::fs::write(&own, "kvet-agent of the source 0123456789abcdef").unwrap();
        assert_eq!(beside(&program).unwrap().canonicalize().unwrap(), packaged);
        std::fs::write(&own, BUILD).unwrap();
        assert_eq!(beside(&program), Some(own));
    }
}
