//! Sources from git: one commit, fetched into a repository of kvet's own and
//! written out as a plain tree. The user's repositories are only read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{KIND, SourceError, TREE, Tree, finished, seal, stored};
use crate::context::Context;
use crate::process::{Command, ProcessError};
use crate::store::{Key, Lock, Store, io_error};

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

/// Gets the commit's tree; the flag says whether it was in the store.
pub(super) async fn fetch(
    context: &Context,
    store: &Store,
    repo: &str,
    reference: &str,
) -> Result<(Tree, bool), SourceError> {
    let home = store.kind("git")?;
    let name = Key::of([repo]);
    let lock = home.join(format!(".{}.git.lock", name.as_str()));
    let _lock = tokio::select! {
        lock = Lock::acquire(&lock) => lock?,
        () = context.cancel.cancelled() => return Err(SourceError::Interrupted),
    };
    let git = Git {
        context,
        directory: home.join(format!("{}.git", name.as_str())),
        repo,
        reference,
    };
    let commit = git.commit().await?;
    let key = Key::of(["git", &commit]);
    if let Some(tree) = stored(store, &key) {
        return Ok((tree, true));
    }
    let origin = format!("commit {commit} ({reference} of {repo})");
    let entry = store
        .fill(KIND, key.as_str(), async |path: PathBuf| {
            git.write_out(&commit, &path).await?;
            seal(&path, &origin)
        })
        .await?;
    Ok((finished(store, &key, &origin)?, entry.cached))
}

struct Git<'a> {
    context: &'a Context,
    directory: PathBuf,
    repo: &'a str,
    reference: &'a str,
}

impl Git<'_> {
    fn command(&self) -> Command {
        Command::new("git")
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .arg("--git-dir")
            .arg(&self.directory)
    }

    async fn run(&self, command: Command) -> Result<String, ProcessError> {
        let finished = command.run(&self.context.cancel).await?;
        Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
    }

    /// The commit that the reference names now.
    async fn commit(&self) -> Result<String, SourceError> {
        if !self.directory.join("HEAD").exists() {
            let init = self.command().args(["init", "--quiet", "--bare"]);
            self.run(init).await?;
        }
        let full_id =
            self.reference.len() == 40 && self.reference.bytes().all(|b| b.is_ascii_hexdigit());
        if full_id && let Ok(commit) = self.resolve(self.reference).await {
            return Ok(commit);
        }
        let fetch = self
            .command()
            .args(["fetch", "--quiet", "--no-tags", "--depth=1", "--"])
            .args([self.repo, self.reference])
            .deadline(FETCH_DEADLINE);
        let fetched = match self.run(fetch).await {
            // A server may hand out tips only: get everything, then look.
            Err(ProcessError::Failed { .. }) if full_id => {
                let fetch = self
                    .command()
                    .args(["fetch", "--quiet", "--", self.repo])
                    .arg("+refs/heads/*:refs/kvet/*")
                    .deadline(FETCH_DEADLINE);
                self.run(fetch).await
            }
            fetched => fetched,
        };
        fetched.map_err(|error| self.failed(error))?;
        let wanted = if full_id {
            self.reference
        } else {
            "FETCH_HEAD"
        };
        self.resolve(wanted)
            .await
            .map_err(|error| self.failed(error))
    }

    async fn resolve(&self, name: &str) -> Result<String, ProcessError> {
        let commit = format!("{name}^{{commit}}");
        self.run(
            self.command()
                .args(["rev-parse", "--verify", "--quiet", &commit]),
        )
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

    /// Writes the commit's files below `entry`, by an index of their own.
    async fn write_out(&self, commit: &str, entry: &Path) -> Result<(), SourceError> {
        let (index, tree) = (entry.join("index"), entry.join(TREE));
        std::fs::create_dir(&tree).map_err(io_error("create", &tree))?;
        let command = || {
            self.command()
                .env("GIT_INDEX_FILE", &index)
                .arg("--work-tree")
                .arg(&tree)
                .directory(&tree)
        };
        self.run(command().args(["read-tree", commit])).await?;
        let checkout = command().args(["checkout-index", "--all", "--force"]);
        self.run(checkout).await?;
        drop(std::fs::remove_file(&index));
        Ok(())
    }
}
