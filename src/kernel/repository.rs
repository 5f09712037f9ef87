//! The git repository of a line: it holds every tree of the line that kvet was
//! ever given, each file once. A line is what shares a working tree and
//! objects: a repository, a directory, the versions of a package.
//!
//! It is kvet's own. What a user's repository holds is borrowed from there and
//! not copied; nothing is ever written to it. Nothing here asks for a user's
//! git configuration, except fetching, which needs their credentials.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::line::Line;
use super::turn::turn;
use crate::context::Context;
use crate::process::{Command, ProcessError};
use crate::store::{
    InUse, Lock, Scratch, Store, StoreError, io_error, remove_tree, remove_unfinished, write_atomic,
};

const KIND: &str = "git";

/// Where a repository lists the trees that it received as packs.
const RECEIVED: &str = "kvet-received";

/// So many of them, the last ones.
const TREES: usize = 200;

/// Files are kept byte for byte, whatever the tree's own attributes say.
const ATTRIBUTES: &str = "* -text -eol -ident -filter -working-tree-encoding\n";

/// Makes git write all files of an import into one pack.
pub(super) const ONE_PACK: [&str; 4] =
    ["-c", "core.bigFileThreshold=1", "-c", "pack.compression=1"];

/// Variables by which git would work on something else, or in another way. What it
/// is told of them here is set after this.
const SWAYING: [&str; 15] = [
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_ATTR_SOURCE",
    "GIT_DEFAULT_HASH",
    "GIT_DEFAULT_REF_FORMAT",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
];

/// The repository of one line. It stays in the store as long as this lives.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    path: PathBuf,
    /// The object store of a user's repository that is read as well.
    borrowed: Option<PathBuf>,
    _in_use: Option<InUse>,
}

/// The right to add whole trees to a repository, the caller's until dropped.
#[derive(Debug)]
pub(super) struct Writing {
    _lock: Lock,
}

impl Repository {
    /// The line's repository, if there is one.
    pub(super) fn existing(store: &Store, line: &Line) -> Option<Self> {
        let entry = store.take(KIND, &name(line))?;
        // A cache that cannot be written serves as well without.
        drop(line.describe(&entry.path));
        Some(Self {
            borrowed: None,
            _in_use: entry.in_use,
            path: entry.path,
        })
    }

    /// Waits until nobody else adds to the line's repository, and makes it if
    /// there is none. What a killed git left there is removed.
    pub(super) async fn open(
        context: &Context,
        store: &Store,
        line: &Line,
    ) -> Result<(Self, Writing), RepositoryError> {
        let name = name(line);
        let path = store.kind(KIND)?.join(&name);
        let lock = path.with_file_name(format!(".{name}.lock"));
        let reads = format!("reads {}", line.name);
        let lock: Lock = turn::<RepositoryError>(context, &lock, &reads).await?;
        let repository = Self {
            borrowed: None,
            _in_use: None,
            path,
        };
        // A git that was killed while it made one leaves a part that it does not take
        // up again; what kvet adds last tells that it came to its end.
        if !Line::is_described(&repository.path) {
            remove_tree(&repository.path)?;
            let init = repository.git().args(["init", "--quiet", "--template="]);
            init.run(&context.cancel).await?;
        }
        let info = repository.path.join("info");
        std::fs::create_dir_all(&info).map_err(io_error("create", &info))?;
        let attributes = info.join("attributes");
        if std::fs::read(&attributes).ok().as_deref() != Some(ATTRIBUTES.as_bytes()) {
            write_atomic(&attributes, ATTRIBUTES.as_bytes())?;
        }
        line.describe(&repository.path)?;
        repository.sweep()?;
        let repository = Self {
            _in_use: InUse::of(&repository.path),
            ..repository
        };
        Ok((repository, Writing { _lock: lock }))
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Packs and index locks of a git that was killed, and files of a kvet. Only who
    /// may add trees writes such.
    fn sweep(&self) -> Result<(), StoreError> {
        remove_unfinished(&self.path)?;
        remove_unfinished(&self.path.join("info"))?;
        for (directory, is_left) in [
            (self.path.clone(), is_lock as fn(&str) -> bool),
            (self.path.join("objects/pack"), is_temporary),
        ] {
            let entries = match std::fs::read_dir(&directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(io_error("read the directory", &directory))?,
            };
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if is_left(&name) {
                    std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    /// git on this repository, with nothing of the user's configuration and
    /// environment.
    pub(super) fn git(&self) -> Command {
        self.git_as_the_user()
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "0")
            .env("GIT_CONFIG_PARAMETERS", "")
    }

    /// The same with the user's configuration, for what needs their
    /// credentials and proxies.
    pub(super) fn git_as_the_user(&self) -> Command {
        Command::new("git")
            .without(SWAYING)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OBJECT_DIRECTORY", self.path.join("objects"))
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.alternates())
            .env("GIT_NAMESPACE", "")
            .args(["-c", "gc.auto=0", "-c", "core.fsync=none"])
            .arg("--git-dir")
            .arg(&self.path)
    }

    /// git with an index and a working tree of the caller's.
    pub(super) fn git_on(&self, index: &Path, tree: &Path) -> Command {
        self.git()
            .env("GIT_INDEX_FILE", index)
            .args(["-c", "core.bare=false", "-c", "checkout.workers=0"])
            .arg("--work-tree")
            .arg(tree)
            .directory(tree)
    }

    /// The same with what the object store of a user's repository holds, which
    /// is only read.
    pub(super) fn borrowing(self, objects: PathBuf) -> Self {
        Self {
            borrowed: Some(objects),
            ..self
        }
    }

    /// The value of git's variable: a list with colons, so that a path with one
    /// is quoted.
    fn alternates(&self) -> OsString {
        let Some(path) = &self.borrowed else {
            return OsString::new();
        };
        let mut quoted = vec![b'"'];
        for &byte in path.as_os_str().as_bytes() {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        OsString::from_vec(quoted)
    }

    /// Whether an object is there.
    pub(super) async fn has(&self, context: &Context, id: &str) -> Result<bool, ProcessError> {
        let asked = self.git().args(["cat-file", "-e", id]);
        let finished = asked.status(&context.cancel).await?;
        Ok(finished.status.success())
    }

    /// The content of a file of a tree.
    pub(super) async fn file(
        &self,
        context: &Context,
        tree: &str,
        path: &str,
    ) -> Result<Vec<u8>, ProcessError> {
        let name = format!("{tree}:{path}");
        let asked = self.git().args(["cat-file", "blob", &name]);
        Ok(asked.run(&context.cancel).await?.stdout)
    }

    /// Adds all files below `tree`, which is nobody else's; returns git's name
    /// of what they are together.
    pub(super) async fn import(
        &self,
        context: &Context,
        _writing: &Writing,
        tree: &Path,
    ) -> Result<String, ProcessError> {
        let index = self.path.join("import");
        drop(std::fs::remove_file(&index));
        let add = self
            .git_on(&index, tree)
            .args(ONE_PACK)
            .args(["add", "--all", "--force", "."]);
        add.run(&context.cancel).await?;
        let id = write_tree(context, self.git_on(&index, tree)).await?;
        drop(std::fs::remove_file(&index));
        Ok(id)
    }

    /// The trees that were received as packs, all of each; the last ones.
    pub(super) fn received(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join(RECEIVED)).unwrap_or_default();
        let ids = text.lines().filter(|line| is_id(line)).map(str::to_owned);
        let mut ids: Vec<String> = ids.collect();
        ids.drain(..ids.len().saturating_sub(TREES));
        ids
    }

    /// Takes over a pack that holds a tree, but for what earlier ones held.
    pub(super) async fn take(
        &self,
        context: &Context,
        _writing: &Writing,
        pack: &Path,
        tree: &str,
    ) -> Result<(), RepositoryError> {
        let scratch = Scratch::new()?;
        let index = scratch.join("tree.idx");
        let indexed = self.git().args(["index-pack", "-o"]).arg(&index).arg(pack);
        let said = indexed.run(&context.cancel).await?.stdout;
        let name = String::from_utf8_lossy(&said);
        let name = name.split_whitespace().last().unwrap_or_default();
        let home = self.path().join("objects/pack");
        std::fs::create_dir_all(&home).map_err(io_error("create", &home))?;
        // git sees a pack once its index is there.
        for (from, end) in [(pack, "pack"), (index.as_path(), "idx")] {
            let partial = home.join(format!("tmp_{name}.{end}"));
            std::fs::copy(from, &partial).map_err(io_error("copy", from))?;
            let to = home.join(format!("pack-{name}.{end}"));
            std::fs::rename(&partial, &to).map_err(io_error("rename", &partial))?;
        }
        let mut ids = self.received();
        ids.push(tree.to_owned());
        let text = ids.join("\n") + "\n";
        write_atomic(&self.path().join(RECEIVED), text.as_bytes())?;
        Ok(())
    }
}

/// Makes a tree of the index that `git` works on; returns its id.
pub(super) async fn write_tree(context: &Context, git: Command) -> Result<String, ProcessError> {
    let finished = git.arg("write-tree").run(&context.cancel).await?;
    Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
}

fn name(line: &Line) -> String {
    format!("{}.git", line.key.as_str())
}

/// Whether this can be git's name of an object.
pub(super) fn is_id(id: &str) -> bool {
    id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_lock(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "lock")
}

fn is_temporary(name: &str) -> bool {
    name.starts_with("tmp_")
}

/// A repository could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepositoryError {
    /// A place of kvet's own failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// git failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kvet may be started by a hook, or by somebody with habits.
    #[test]
    fn nothing_of_the_environment_decides_what_git_does() {
        let repository = Repository {
            path: PathBuf::from("/x"),
            borrowed: None,
            _in_use: None,
        };
        for git in [repository.git(), repository.git_as_the_user()] {
            for name in [
                "GIT_COMMON_DIR",
                "GIT_LITERAL_PATHSPECS",
                "GIT_DEFAULT_HASH",
            ] {
                assert!(git.is_without(name), "{name}");
            }
        }
    }
}
