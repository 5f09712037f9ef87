//! Where steps' paths lead: `a/victim` is `/mnt/a/HOSTNAME/victim`.

use std::path::{Component, Path, PathBuf};

use crate::guest::protocol::StepFailure;

/// Where a mount is.
pub(super) fn mount_point(mount: &str) -> PathBuf {
    Path::new("/mnt").join(mount)
}

/// The trial's own directory on a mount.
pub(super) fn own_directory(mount: &str, hostname: &str) -> PathBuf {
    mount_point(mount).join(hostname)
}

/// The file a step's path names. Absolute paths stay; a path that leaves its
/// directory is refused.
pub(super) fn resolve(path: &str, hostname: &str) -> Result<PathBuf, StepFailure> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let mut parts = path.components();
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    match parts.next() {
        Some(Component::Normal(mount)) if plain => {
            let own = own_directory(&mount.to_string_lossy(), hostname);
            let rest = parts.as_path();
            if rest.as_os_str().is_empty() {
                Ok(own)
            } else {
                Ok(own.join(rest))
            }
        }
        _ => Err(StepFailure::usage(format!(
            "`{}` is not a path for a step: write MOUNT/NAME or an absolute path",
            path.display()
        ))),
    }
}

/// The files that an absolute path with `*` for single names stands for.
pub(super) fn expand(path: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|directory| {
                if part != "*" {
                    return vec![directory.join(part)];
                }
                let mut names: Vec<PathBuf> = std::fs::read_dir(&directory)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path())
                    .collect();
                names.sort();
                names
            })
            .filter(|path| path.exists())
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::protocol::FailureKind;

    #[test]
    fn steps_stay_in_their_directory() {
        let place = |path| resolve(path, "trial-1").map_err(|failure| failure.kind);
        assert_eq!(place("a/x/y"), Ok("/mnt/a/trial-1/x/y".into()));
        assert_eq!(place("a"), Ok("/mnt/a/trial-1".into()));
        assert_eq!(place("/proc/stat"), Ok("/proc/stat".into()));
        for path in ["a/../../etc", "../a", "", "./a"] {
            assert_eq!(place(path), Err(FailureKind::Usage), "{path}");
        }
    }

    #[test]
    fn a_star_is_any_one_name() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
            std::fs::write(directory.path().join(name).join("stats"), "").unwrap();
        }
        std::fs::create_dir(directory.path().join("three")).unwrap();
        let found = expand(&format!("{}/*/stats", directory.path().display()));
        assert_eq!(
            found,
            [
                directory.path().join("one/stats"),
                directory.path().join("two/stats")
            ]
        );
    }
}
