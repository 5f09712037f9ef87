//! Where the dynamic loader would find a library on this host.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::elf;

/// Directories every loader knows, whatever its configuration.
const DEFAULT: &[&str] = &["/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// The loader's own configuration.
const CONFIGURATION: &str = "/etc/ld.so.conf";

/// The directories that the loader searches on this host, in order.
#[derive(Debug, Clone)]
pub(super) struct Search {
    directories: Vec<PathBuf>,
}

impl Search {
    /// Reads the host's configuration; one that is missing adds nothing.
    #[must_use]
    pub(super) fn of_host() -> Self {
        let mut directories = Vec::new();
        include(Path::new(CONFIGURATION), &mut directories, 0);
        directories.extend(DEFAULT.iter().map(PathBuf::from));
        Self { directories }
    }

    /// Finds a library for a file in `origin` with this run path, made for
    /// the same processor.
    #[must_use]
    pub(super) fn find(
        &self,
        name: &str,
        machine: u16,
        origin: &Path,
        run_path: &[String],
    ) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name));
        }
        let own = run_path
            .iter()
            .filter(|path| !path.is_empty())
            .map(|path| with_origin(path, origin));
        own.chain(self.directories.iter().cloned())
            .map(|directory| directory.join(name))
            .find(|path| fits(path, machine))
    }
}

fn with_origin(path: &str, origin: &Path) -> PathBuf {
    let origin = origin.to_string_lossy();
    path.replace("${ORIGIN}", &origin)
        .replace("$ORIGIN", &origin)
        .into()
}

fn fits(path: &Path, machine: u16) -> bool {
    File::open(path)
        .ok()
        .and_then(|file| elf::read(&file).ok().flatten())
        .is_some_and(|image| image.machine == machine)
}

/// Collects the directories of one configuration file; `include` lines name
/// more files, by a pattern with `*`.
fn include(path: &Path, directories: &mut Vec<PathBuf>, depth: u32) {
    const DEEPEST: u32 = 8;
    let Ok(text) = std::fs::read_to_string(path) else {
        return;
    };
    if depth > DEEPEST {
        return;
    }
    let base = path.parent().unwrap_or(Path::new("/"));
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(patterns) = line.strip_prefix("include") {
            for pattern in patterns.split_whitespace() {
                for file in matching(&base.join(pattern)) {
                    include(&file, directories, depth + 1);
                }
            }
        } else if line.starts_with('/') {
            directories.push(PathBuf::from(line));
        }
    }
}

/// Files whose last component matches a pattern with at most one `*`.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some((start, end)) = name.split_once('*') else {
        return vec![pattern.to_owned()];
    };
    let directory = pattern.parent().unwrap_or(Path::new("/"));
    let mut names: Vec<OsString> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|found| {
            let found = found.to_string_lossy();
            found.len() >= start.len() + end.len()
                && found.starts_with(start)
                && found.ends_with(end)
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_include_others_in_order() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(home.path().join(name), text).unwrap();
        };
        std::fs::create_dir(home.path().join("conf.d")).unwrap();
        write(
            "top",
            "/first # why\ninclude conf.d/*.conf\nnonsense\n/last\n",
        );
        write("conf.d/b.conf", "/b\n");
        write("conf.d/a.conf", "/a\n");
        write("conf.d/c.txt", "/c\n");
        let mut directories = Vec::new();
        include(&home.path().join("top"), &mut directories, 0);
        let shown: Vec<_> = directories
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        assert_eq!(shown, ["/first", "/a", "/b", "/last"]);
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("loop.conf");
        std::fs::write(&path, "include *.conf\n/x\n").unwrap();
        let mut directories = Vec::new();
        include(&path, &mut directories, 0);
        assert!(directories.len() < 20, "{directories:?}");
    }

    #[test]
    fn origin_is_the_file_s_own_directory() {
        assert_eq!(
            with_origin("$ORIGIN/../lib", Path::new("/opt/x/bin")),
            Path::new("/opt/x/bin/../lib")
        );
        assert_eq!(
            with_origin("${ORIGIN}", Path::new("/opt")),
            Path::new("/opt")
        );
    }
}
