//! Where a program is: what starting it by name would find.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Finds a program in the directories of `PATH`, or at its path if `program`
/// has a slash.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    find_in(&std::env::var_os("PATH").unwrap_or_default(), program)
}

fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    let executable = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| executable(file));
    }
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|file| executable(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_can_be_executed_is_a_program() {
        let home = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| home.path().join(name));
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("ip"), "").unwrap();
        }
        std::fs::create_dir(first.join("ls")).unwrap();
        let path = std::env::join_paths([&first, &second]).unwrap();
        assert_eq!(find_in(&path, "ip"), None, "a plain file");
        assert_eq!(find_in(&path, "ls"), None, "a directory");
        let program = second.join("ip");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_in(&path, "ip"), Some(program.clone()));
        let by_path = find_in(OsStr::new(""), &program.display().to_string());
        assert_eq!(by_path, Some(program));
    }
}
