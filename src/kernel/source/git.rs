//! Sources from git: one commit. What a repository on this machine has is
//! borrowed from it, and it is only read; from another one a commit is fetched.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use super::{SourceError, Tree, in_repository};
use crate::context::Context;
use crate::kernel::line::Line;
use crate::kernel::repository::Repository;
use crate::process::{Command, ProcessError};
use crate::store::{Key, Store};

/// A kernel's whole history takes a while; a dead server must not take for ever.
const FETCH_DEADLINE: Duration = Duration::from_secs(3600);

/// Refuses words that git would take for something else.
pub(super) fn check_words(repo: &str, reference: &str) -> Result<(), String> {
    if repo.is_empty() || repo.starts_with('-') {
        return Err(format!(
            "`{repo}` is not the address or path of a repository"
        ));
    }
    let fit = !reference.is_empty()
        && !reference.starts_with(['-', '+', '/'])
        && !reference.contains("..")
        && reference
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !"~^:?*[\\".contains(c));
    if fit {
        Ok(())
    } else {
        Err(format!(
            "`{reference}` is not a branch, a tag or a full commit id"
        ))
    }
}

/// Finds the commit's tree; the flag says whether it was there already.
pub(super) async fn fetch(
    context: &Context,
    store: &Store,
    repo: &str,
    reference: &str,
) -> Result<(Tree, bool), SourceError> {
    let local = std::fs::canonicalize(repo)
        .ok()
        .filter(|path| path.is_dir());
    let line = match &local {
        Some(path) => Line::of([b"git", path.as_os_str().as_bytes()], repo),
        None => Line::of([repo], repo),
    };
    let (repository, _writing) = Repository::open(context, store, &line).await?;
    let mut git = Git {
        context,
        repository,
        repo,
        reference,
    };
    let (commit, there) = match &local {
        Some(directory) => (git.borrowed(directory).await?, true),
        None => git.fetched().await?,
    };
    let tree = format!("{commit}^{{tree}}");
    let id = git
        .resolve(&tree)
        .await
        .map_err(|error| git.failed(error))?;
    let key = Key::of(["git", &commit]);
    let origin = format!("commit {commit} ({reference} of {repo})");
    let tree = in_repository(context, git.repository, (key, line, id), origin).await?;
    Ok((tree, there))
}

struct Git<'a> {
    context: &'a Context,
    repository: Repository,
    repo: &'a str,
    reference: &'a str,
}

/// git in a user's own directory, which it is to find by itself; it writes
/// nothing there.
pub(crate) fn of_the_user(directory: &Path) -> Command {
    Command::new("git")
        .without([
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_COMMON_DIR",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_NAMESPACE",
            "GIT_PREFIX",
        ])
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        // A refreshed index would be a write to the user's repository, and so would
        // be what a partial clone lacks and fetches.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .directory(directory)
}

/// The directory of a user's repository in which its objects are.
pub(in crate::kernel) async fn objects_of(
    context: &Context,
    directory: &Path,
) -> Result<std::path::PathBuf, ProcessError> {
    let ask = of_the_user(directory)
        .args(["rev-parse", "--path-format=absolute"])
        .args(["--git-path", "objects"]);
    let said = ask.run(&context.cancel).await?.stdout;
    let said = said.strip_suffix(b"\n").unwrap_or(&said).to_vec();
    Ok(std::ffi::OsString::from_vec(said).into())
}

impl Git<'_> {
    async fn run(&self, command: Command) -> Result<String, ProcessError> {
        let finished = command.run(&self.context.cancel).await?;
        Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
    }

    /// The commit that the reference names now in a repository on this machine,
    /// whose objects are borrowed.
    async fn borrowed(&mut self, directory: &Path) -> Result<String, SourceError> {
        let ask = of_the_user(directory).args(["rev-parse", "--verify"]);
        let ask = ask.arg(commit_of(self.reference));
        let commit = self.run(ask).await.map_err(|error| self.failed(error))?;
        let objects = objects_of(self.context, directory).await;
        let objects = objects.map_err(|error| self.failed(error))?;
        self.repository = self.repository.clone().borrowing(objects);
        Ok(commit)
    }

    /// The commit that the reference names now, and whether it was here.
    async fn fetched(&self) -> Result<(String, bool), SourceError> {
        let full_id =
            self.reference.len() == 40 && self.reference.bytes().all(|b| b.is_ascii_hexdigit());
        if full_id && let Ok(commit) = self.resolve(&commit_of(self.reference)).await {
            return Ok((commit, true));
        }
        let fetch = || {
            // As one pack, however small: object by object a git that is ended would
            // leave a commit without its files.
            let git = self.repository.git_as_the_user();
            let git = git.args(["-c", "fetch.unpackLimit=1", "fetch", "--quiet"]);
            git.deadline(FETCH_DEADLINE)
        };
        let one = fetch()
            .args(["--no-tags", "--depth=1", "--"])
            .args([self.repo, self.reference]);
        let fetched = match self.run(one).await {
            // A server may hand out tips only: get everything, then look.
            Err(ProcessError::Failed { .. }) if full_id => {
                let all = ["--", self.repo, "+refs/heads/*:refs/kvet/*"];
                self.run(fetch().args(all)).await
            }
            fetched => fetched,
        };
        fetched.map_err(|error| self.failed(error))?;
        let wanted = if full_id {
            self.reference
        } else {
            "FETCH_HEAD"
        };
        let commit = self.resolve(&commit_of(wanted)).await;
        let commit = commit.map_err(|error| self.failed(error))?;
        // Or the next fetch would not tell the server that it is here.
        let name = format!("refs/kvet-commits/{commit}");
        let keep = self.repository.git().args(["update-ref", &name, &commit]);
        self.run(keep).await.map_err(|error| self.failed(error))?;
        Ok((commit, false))
    }

    async fn resolve(&self, name: &str) -> Result<String, ProcessError> {
        let ask = self.repository.git();
        self.run(ask.args(["rev-parse", "--verify", "--quiet", name]))
            .await
    }

    fn failed(&self, error: ProcessError) -> SourceError {
        match error {
            ProcessError::Interrupted => SourceError::Interrupted,
            source => SourceError::Git {
                repo: self.repo.to_owned(),
                reference: self.reference.to_owned(),
                source,
            },
        }
    }
}

/// The commit that a name stands for, as git wants to be asked.
fn commit_of(name: &str) -> String {
    format!("{name}^{{commit}}")
}
