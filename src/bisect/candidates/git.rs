//! Candidates from git: the commits between a good and a bad end.
//!
//! The user's repository is only read: nothing is checked out, no ref is made
//! and its index is not refreshed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::{Candidate, Candidates, Kind};
use crate::context::Context;
use crate::error::{Exit, Fault};
use crate::kernel::source::of_the_user;
use crate::process::{Command, ProcessError, Stream};

/// The commits to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The repository, or a directory in its working tree.
    pub repository: PathBuf,
    /// The end without the bug; any name that git knows.
    pub good: String,
    /// The end with it.
    pub bad: String,
    /// The bug was cured in between: the bad end is the older one.
    pub fixed: bool,
    /// Follow only the first parent of merges.
    pub first_parent: bool,
    /// Only commits that change these.
    pub paths: Vec<String>,
}

/// What a range came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commits {
    /// The candidates; the last is the newer end, also if it does not change the
    /// paths.
    pub candidates: Candidates,
    /// The good end, in full.
    pub good: String,
    /// The bad end, in full.
    pub bad: String,
    /// The newer end does not change the paths, and stands for all that do not.
    pub stands_in: bool,
    /// Where the older end left the newer one's history, if it is not part of it.
    /// To conclude from the older end, these must be like it.
    pub merge_bases: Vec<String>,
    /// Whether the working tree has changes that no commit has.
    pub dirty: bool,
}

/// What a report says of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Name and address.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// The day it was written, as YYYY-MM-DD.
    pub date: String,
    /// The files it changes.
    pub files: Vec<String>,
}

/// The commits could not be listed.
#[derive(Debug, Error, Diagnostic)]
pub enum GitError {
    /// There is no repository.
    #[error("{} is not in a git repository", .0.display())]
    #[diagnostic(help("name the repository of the kernel with `--git DIR`"))]
    NoRepository(PathBuf),
    /// A name that git does not know, or knows twice.
    #[error("`{name}` does not name one commit of {}:\n{said}", repository.display())]
    #[diagnostic(help(
        "give the full id of a commit, a branch or a tag; `git fetch` gets what is missing"
    ))]
    NoCommit {
        /// The name.
        name: String,
        /// The repository.
        repository: PathBuf,
        /// What git says about it.
        said: String,
    },
    /// A name that is a branch's and a tag's.
    #[error("`{name}` is ambiguous in {}:\n{said}", repository.display())]
    #[diagnostic(help(
        "say which is meant: `refs/heads/{name}`, `refs/tags/{name}`, or the full id"
    ))]
    Ambiguous {
        /// The name.
        name: String,
        /// The repository.
        repository: PathBuf,
        /// What git says about it.
        said: String,
    },
    /// Both ends are the same.
    #[error("the good and the bad end are the same commit, {0}")]
    #[diagnostic(help("there is nothing between them to search: name an older good end"))]
    Equal(String),
    /// The bad end is part of the good end's history.
    #[error("the bad end, {bad}, is an ancestor of the good end, {good}")]
    #[diagnostic(help(
        "exchange the ends; or, to find the commit that cured the bug, add `--fixed`"
    ))]
    Exchanged {
        /// The good end.
        good: String,
        /// The bad end.
        bad: String,
    },
    /// The good end is part of the bad end's history, and a cure is looked for.
    #[error("the good end, {good}, is an ancestor of the bad end, {bad}: nothing was cured")]
    #[diagnostic(help(
        "with `--fixed` the bad end is the older one: exchange the ends, or leave `--fixed` out"
    ))]
    NotCured {
        /// The good end.
        good: String,
        /// The bad end.
        bad: String,
    },
    /// The ends share no history.
    #[error("{good} and {bad} have no common history")]
    #[diagnostic(help(
        "name ends of one repository's history; releases that share none can be searched with `--versions`"
    ))]
    Unrelated {
        /// The good end.
        good: String,
        /// The bad end.
        bad: String,
    },
    /// History is missing.
    #[error("{} is a shallow clone that lacks commits between the two ends", .0.display())]
    #[diagnostic(help("get the rest with `git fetch --unshallow`, or name a newer good end"))]
    Shallow(PathBuf),
    /// Content is missing.
    #[error("{} is a partial clone: it lacks files of its commits", .0.display())]
    #[diagnostic(help(
        "make it whole with `git fetch --refetch --no-filter`, then `git config --unset remote.origin.promisor` and `remote.origin.partialclonefilter`; or clone it without `--filter`"
    ))]
    Partial(PathBuf),
    /// No commit is between the ends.
    #[error("no commit between {good} and {bad} changes {paths}")]
    #[diagnostic(help("check the paths: they are relative to the directory given with `--git`"))]
    NothingThere {
        /// The good end.
        good: String,
        /// The bad end.
        bad: String,
        /// The paths.
        paths: String,
    },
    /// The tree is not complete without other repositories.
    #[error("{commit} of {} has submodules", repository.display())]
    #[diagnostic(help(
        "kvet builds what one repository holds: name the repository of the kernel itself"
    ))]
    Submodules {
        /// The repository.
        repository: PathBuf,
        /// The commit.
        commit: String,
    },
    /// What git printed was not understood.
    #[error("git printed something that is not a list of commits: `{0}`")]
    #[diagnostic(help("check that `git` is git, version 2.30 or later"))]
    Unexpected(String),
    /// git itself failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Process(#[from] ProcessError),
}

impl Fault for GitError {
    fn exit(&self) -> Exit {
        match self {
            Self::Process(error) => error.exit(),
            _ => Exit::Usage,
        }
    }
}

/// Lists the commits of a range, oldest first.
pub async fn commits(context: &Context, range: &Range) -> Result<Commits, GitError> {
    let git = Git {
        context,
        repository: &range.repository,
    };
    git.check_repository().await?;
    if git.is_partial().await? {
        return Err(GitError::Partial(range.repository.clone()));
    }
    let good = git.commit(&range.good).await?;
    let bad = git.commit(&range.bad).await?;
    if good == bad {
        return Err(GitError::Equal(good));
    }
    let bases = git.merge_bases(&good, &bad).await?;
    let (older, newer) = if range.fixed {
        (&bad, &good)
    } else {
        (&good, &bad)
    };
    if bases.contains(newer) {
        return Err(if range.fixed {
            GitError::NotCured { good, bad }
        } else {
            GitError::Exchanged { good, bad }
        });
    }
    let shallow = git.shallow_commits().await?;
    if bases.is_empty() {
        return Err(if shallow.is_empty() {
            GitError::Unrelated { good, bad }
        } else {
            GitError::Shallow(range.repository.clone())
        });
    }
    if git.has(&format!("{newer}:.gitmodules")).await? {
        return Err(GitError::Submodules {
            repository: range.repository.clone(),
            commit: newer.clone(),
        });
    }
    let mut listed = git.list(range, older, newer).await?;
    if listed.iter().any(|one| shallow.contains(&one.id)) {
        return Err(GitError::Shallow(range.repository.clone()));
    }
    if listed.is_empty() {
        return Err(GitError::NothingThere {
            good,
            bad,
            paths: range.paths.join(" "),
        });
    }
    let stands_in = close(&mut listed, newer);
    Ok(Commits {
        stands_in,
        candidates: Candidates {
            kind: Kind::Git,
            base: bases[0].clone(),
            list: numbered(&listed, range.first_parent),
        },
        merge_bases: if bases.contains(older) {
            Vec::new()
        } else {
            bases
        },
        dirty: git.dirty().await?,
        good,
        bad,
    })
}

/// The commit that this name means, in full.
pub async fn commit(context: &Context, repository: &Path, name: &str) -> Result<String, GitError> {
    let git = Git {
        context,
        repository,
    };
    git.commit(name).await
}

/// Describes a commit.
pub async fn describe(
    context: &Context,
    repository: &Path,
    commit: &str,
) -> Result<Description, GitError> {
    let git = Git {
        context,
        repository,
    };
    let format = "--format=%an <%ae>%n%as%n%s";
    let text = git
        // A signature would be told before the format.
        .text([
            "show",
            "--no-show-signature",
            "--no-patch",
            format,
            "--end-of-options",
            commit,
        ])
        .await?;
    let mut lines = text.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    let (author, date, subject) = (next(), next(), next());
    let files = git
        .text([
            "diff-tree",
            "--no-commit-id",
            "--name-only",
            "--root",
            "-r",
            "-m",
            "--first-parent",
            "--end-of-options",
            commit,
        ])
        .await?;
    Ok(Description {
        author,
        subject,
        date,
        files: files.lines().map(str::to_owned).collect(),
    })
}

/// The patch that takes a commit's changes back; of a merge, what it brought to
/// its first parent.
pub async fn revert(
    context: &Context,
    repository: &Path,
    commit: &str,
) -> Result<Vec<u8>, GitError> {
    let git = Git {
        context,
        repository,
    };
    let parent = format!("{commit}^1");
    let words = [
        "diff",
        "--full-index",
        "--binary",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        // Whatever the user likes to see: this is applied with -p1.
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--no-relative",
        commit,
        &parent,
    ];
    let finished = git.command(words).run(&context.cancel).await?;
    let mut patch = format!("Subject: [PATCH] Revert {commit}\n\n---\n").into_bytes();
    patch.extend(finished.stdout);
    Ok(patch)
}

/// A commit as listed.
struct Listed {
    id: String,
    parents: Vec<String>,
}

struct Git<'a> {
    context: &'a Context,
    repository: &'a Path,
}

impl Git<'_> {
    fn command<'b>(&self, words: impl IntoIterator<Item = &'b str>) -> Command {
        of_the_user(self.repository)
            .args(["-c", "core.fsmonitor=false"])
            .args(words)
    }

    async fn text<'b>(
        &self,
        words: impl IntoIterator<Item = &'b str>,
    ) -> Result<String, ProcessError> {
        let finished = self.command(words).run(&self.context.cancel).await?;
        Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
    }

    async fn check_repository(&self) -> Result<(), GitError> {
        match self.text(["rev-parse", "--git-dir"]).await {
            Ok(_) => Ok(()),
            Err(ProcessError::Failed { .. }) => {
                Err(GitError::NoRepository(self.repository.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn commit(&self, name: &str) -> Result<String, GitError> {
        let wanted = format!("{name}^{{commit}}");
        let words = ["-c", "core.warnAmbiguousRefs=true"].into_iter().chain([
            "rev-parse",
            "--verify",
            "--end-of-options",
            &wanted,
        ]);
        match self.command(words).run(&self.context.cancel).await {
            Ok(finished) => {
                // git takes one of them, and says so.
                let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
                if said.contains("ambiguous") {
                    return Err(GitError::Ambiguous {
                        name: name.to_owned(),
                        repository: self.repository.to_owned(),
                        said,
                    });
                }
                Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned())
            }
            Err(ProcessError::Failed { stderr, .. }) => Err(GitError::NoCommit {
                name: name.to_owned(),
                repository: self.repository.to_owned(),
                said: stderr.trim_end().to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn merge_bases(&self, good: &str, bad: &str) -> Result<Vec<String>, GitError> {
        let command = self.command(["merge-base", "--all", good, bad]);
        let finished = command.status(&self.context.cancel).await?;
        let text = String::from_utf8_lossy(&finished.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The commits whose parents a shallow clone does not have.
    async fn shallow_commits(&self) -> Result<Vec<String>, GitError> {
        let words = [
            "rev-parse",
            "--path-format=absolute",
            "--git-path",
            "shallow",
        ];
        let path = self.text(words).await?;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Whether files were left out when it was cloned (`--filter`).
    async fn is_partial(&self) -> Result<bool, GitError> {
        let words = [
            "config",
            "--bool",
            "--get-regexp",
            r"^remote\..*\.promisor$",
        ];
        let finished = self.command(words).status(&self.context.cancel).await?;
        let text = String::from_utf8_lossy(&finished.stdout);
        Ok(text.lines().any(|line| line.ends_with(" true")))
    }

    async fn has(&self, object: &str) -> Result<bool, GitError> {
        let command = self.command(["cat-file", "-e", object]).silent();
        Ok(command.status(&self.context.cancel).await?.status.success())
    }

    async fn dirty(&self) -> Result<bool, GitError> {
        let words = ["status", "--porcelain", "--untracked-files=no"];
        match self.text(words).await {
            Ok(changes) => Ok(!changes.is_empty()),
            // A bare repository has no working tree.
            Err(ProcessError::Failed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The commits that are in the newer end and not in the older one.
    async fn list(&self, range: &Range, older: &str, newer: &str) -> Result<Vec<Listed>, GitError> {
        let not_older = format!("^{older}");
        let mut words = vec!["rev-list", "--topo-order", "--reverse", "--parents"];
        if range.first_parent {
            words.push("--first-parent");
        }
        words.extend([newer, not_older.as_str(), "--"]);
        words.extend(range.paths.iter().map(String::as_str));
        let (mut listed, mut odd, mut complaint) = (Vec::new(), None, String::new());
        let command = self.command(words);
        let shown = command.display();
        let status = command
            .lines(&self.context.cancel, |stream, line| match stream {
                Stream::Err => {
                    complaint.push_str(line);
                    complaint.push('\n');
                }
                Stream::Out => match ids(line) {
                    Some(one) => listed.push(one),
                    None => odd = Some(line.to_owned()),
                },
            })
            .await?;
        if let Some(line) = odd {
            return Err(GitError::Unexpected(line));
        }
        if !status.success() {
            return Err(GitError::Process(ProcessError::Failed {
                command: shown,
                status,
                stderr: complaint,
            }));
        }
        Ok(listed)
    }
}

/// A line of `git rev-list --parents`.
fn ids(line: &str) -> Option<Listed> {
    let mut words = line.split(' ').map(str::to_owned);
    let is_id = |word: &String| word.len() >= 40 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let id = words.next().filter(is_id)?;
    let parents: Vec<String> = words.collect();
    parents.iter().all(is_id).then_some(Listed { id, parents })
}

/// Puts the newer end on top if it is not: with paths it may be a commit that does
/// not change them, and merges may be left out. It is what has the bug or the cure,
/// so it has to be booted itself, and it stands for all that was left out. Whether it
/// was not there.
fn close(listed: &mut Vec<Listed>, newer: &str) -> bool {
    let was_there = listed.iter().any(|one| one.id == newer);
    let parents: std::collections::HashSet<&String> =
        listed.iter().flat_map(|one| &one.parents).collect();
    let tips: Vec<String> = listed
        .iter()
        .map(|one| &one.id)
        .filter(|id| !parents.contains(id))
        .cloned()
        .collect();
    if tips.len() > 1 || tips.iter().any(|id| id != newer) {
        listed.retain(|one| one.id != newer);
        listed.push(Listed {
            id: newer.to_owned(),
            parents: tips.into_iter().filter(|id| id != newer).collect(),
        });
    }
    !was_there
}

fn numbered(listed: &[Listed], first_parent: bool) -> Vec<Candidate> {
    let numbers: HashMap<&String, usize> = listed
        .iter()
        .enumerate()
        .map(|(number, one)| (&one.id, number))
        .collect();
    listed
        .iter()
        .map(|one| {
            let parents: Vec<usize> = one
                .parents
                .iter()
                .take(if first_parent { 1 } else { usize::MAX })
                .filter_map(|parent| numbers.get(parent).copied())
                .collect();
            let below = one.parents.first().filter(|_| parents.is_empty());
            Candidate {
                name: one.id.clone(),
                below: below.cloned(),
                parents,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with a side branch that left before the bug:
    ///
    /// ```text
    /// root - a - b - merge - c   (main)
    ///    \- s1 - s2 -/
    ///    \- old                  (side, not merged)
    /// ```
    struct Fixture {
        directory: tempfile::TempDir,
    }

    impl Fixture {
        fn path(&self) -> &Path {
            self.directory.path()
        }

        async fn git(&self, words: &[&str]) -> String {
            let finished = Command::new("git")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .args(["-c", "user.name=A Person", "-c", "user.email=a@example.org"])
                .args(["-c", "init.defaultBranch=main", "-C"])
                .arg(self.path())
                .args(words)
                .run(&Context::default().cancel)
                .await
                .unwrap();
            String::from_utf8(finished.stdout)
                .unwrap()
                .trim()
                .to_owned()
        }

        async fn commit(&self, file: &str) -> String {
            let path = self.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
            self.git(&["add", "."]).await;
            self.git(&["commit", "--quiet", "-m", &format!("Add {file}")])
                .await;
            self.git(&["rev-parse", "HEAD"]).await
        }

        async fn new() -> Self {
            let fixture = Self {
                directory: tempfile::tempdir().unwrap(),
            };
            fixture.git(&["init", "--quiet"]).await;
            fixture.commit("root").await;
            fixture.git(&["branch", "topic"]).await;
            fixture.git(&["branch", "old"]).await;
            fixture.commit("fs/a").await;
            fixture.commit("mm/b").await;
            fixture.git(&["checkout", "--quiet", "topic"]).await;
            fixture.commit("fs/s1").await;
            fixture.commit("mm/s2").await;
            fixture.git(&["checkout", "--quiet", "old"]).await;
            fixture.commit("old").await;
            fixture.git(&["checkout", "--quiet", "main"]).await;
            fixture.git(&["merge", "--quiet", "--no-ff", "topic"]).await;
            fixture.commit("c").await;
            fixture
        }

        fn range(&self, good: &str, bad: &str) -> Range {
            Range {
                repository: self.path().to_owned(),
                good: good.to_owned(),
                bad: bad.to_owned(),
                fixed: false,
                first_parent: false,
                paths: Vec::new(),
            }
        }

        async fn list(&self, range: &Range) -> Result<Commits, GitError> {
            commits(&Context::default(), range).await
        }

        async fn subjects(&self, commits: &Commits) -> Vec<String> {
            let mut subjects = Vec::new();
            for candidate in &commits.candidates.list {
                let described = describe(&Context::default(), self.path(), &candidate.name)
                    .await
                    .unwrap();
                subjects.push(described.subject.replace("Add ", ""));
            }
            subjects
        }
    }

    #[tokio::test]
    async fn a_range_has_the_commits_of_all_branches_and_their_order() {
        let fixture = Fixture::new().await;
        let listed = fixture
            .list(&fixture.range("main~3", "main"))
            .await
            .unwrap();
        let subjects = fixture.subjects(&listed).await;
        assert_eq!(subjects.len(), 5, "{subjects:?}");
        assert!(listed.merge_bases.is_empty());
        let order = listed.candidates.order().unwrap();
        let number = |name: &str| subjects.iter().position(|one| one == name).unwrap();
        assert!(order.contains(number("c"), number("fs/s1")));
        assert!(!order.contains(number("mm/b"), number("fs/s1")));
        // The side branch left before the older end.
        let root = fixture.git(&["rev-parse", "old~1"]).await;
        let below = |name: &str| listed.candidates.list[number(name)].below.clone();
        assert_eq!(below("fs/s1"), Some(root));
        assert_eq!(below("c"), None);
    }

    #[tokio::test]
    async fn first_parent_and_paths_leave_commits_out() {
        let fixture = Fixture::new().await;
        let mut range = fixture.range("main~3", "main");
        range.first_parent = true;
        let listed = fixture.list(&range).await.unwrap();
        assert_eq!(listed.candidates.list.len(), 3);
        let parents: Vec<&[usize]> = listed
            .candidates
            .list
            .iter()
            .map(|one| &one.parents[..])
            .collect();
        assert_eq!(parents, [&[][..], &[0], &[1]]);
        let mut range = fixture.range("old~1", "main");
        range.paths = vec!["fs".to_owned()];
        let listed = fixture.list(&range).await.unwrap();
        let subjects = fixture.subjects(&listed).await;
        assert!(subjects.contains(&"fs/a".to_owned()) && subjects.contains(&"fs/s1".to_owned()));
        assert!(!subjects.contains(&"mm/b".to_owned()), "{subjects:?}");
        let order = listed.candidates.order().unwrap();
        assert!((0..subjects.len()).all(|one| order.contains(subjects.len() - 1, one)));
    }

    #[tokio::test]
    async fn the_newer_end_is_searched_though_it_does_not_change_the_paths() {
        let fixture = Fixture::new().await;
        let mut range = fixture.range("main~3", "main~2");
        range.paths = vec!["fs".to_owned()];
        range.good = "old~1".to_owned();
        let listed = fixture.list(&range).await.unwrap();
        assert_eq!(fixture.subjects(&listed).await, ["fs/a", "mm/b"]);
        assert_eq!(listed.candidates.list[1].name, listed.bad);
        assert!(listed.stands_in);
        range.paths = vec!["mm".to_owned()];
        assert!(!fixture.list(&range).await.unwrap().stands_in);
        assert_eq!(listed.candidates.list[1].parents, [0]);
    }

    #[tokio::test]
    async fn a_revert_is_applied_whatever_the_user_likes_to_see() {
        let fixture = Fixture::new().await;
        fixture.git(&["config", "diff.noprefix", "true"]).await;
        fixture
            .git(&["config", "diff.mnemonicPrefix", "true"])
            .await;
        let id = fixture.git(&["rev-parse", "main"]).await;
        let patch = revert(&Context::default(), fixture.path(), &id)
            .await
            .unwrap();
        let text = String::from_utf8(patch).unwrap();
        assert!(text.contains("diff --git a/c b/c\n"), "{text}");
    }

    #[tokio::test]
    async fn a_partial_clone_is_refused_and_not_written_to() {
        let fixture = Fixture::new().await;
        fixture
            .git(&["config", "uploadpack.allowFilter", "true"])
            .await;
        let clone = tempfile::tempdir().unwrap();
        let from = format!("file://{}", fixture.path().display());
        let to = clone.path().display().to_string();
        let words = [
            "clone",
            "--quiet",
            "--no-checkout",
            "--filter=blob:none",
            &from,
            &to,
        ];
        fixture.git(&words).await;
        let mut range = fixture.range("origin/main~3", "origin/main");
        range.repository = clone.path().to_owned();
        let error = fixture.list(&range).await;
        assert!(matches!(error, Err(GitError::Partial(_))), "{error:?}");
    }

    #[tokio::test]
    async fn a_good_end_on_a_side_branch_names_where_it_left() {
        let fixture = Fixture::new().await;
        let root = fixture.git(&["rev-parse", "old~1"]).await;
        let listed = fixture.list(&fixture.range("old", "main")).await.unwrap();
        assert_eq!(listed.merge_bases, std::slice::from_ref(&root));
        assert_eq!(listed.candidates.base, root);
    }

    #[tokio::test]
    async fn bad_ends_say_what_to_do() {
        let fixture = Fixture::new().await;
        for (good, bad, wanted) in [
            ("main", "main", "the same commit"),
            ("main", "main~2", "is an ancestor of the good end"),
            ("nowhere", "main", "`nowhere` does not name one commit"),
            ("--all", "main", "`--all` does not name one commit"),
        ] {
            let error = fixture.list(&fixture.range(good, bad)).await.unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
            assert!(error.help().is_some());
            assert_eq!(error.exit(), Exit::Usage);
        }
        fixture.git(&["tag", "old", "main"]).await;
        let error = fixture.list(&fixture.range("old", "main")).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("`old` is ambiguous"), "{error}");
        let full = fixture.range("refs/heads/old", "main");
        assert!(fixture.list(&full).await.is_ok());
        fixture
            .git(&["checkout", "--quiet", "--orphan", "other"])
            .await;
        fixture.commit("other").await;
        let error = fixture.list(&fixture.range("other", "main")).await;
        assert!(
            matches!(error, Err(GitError::Unrelated { .. })),
            "{error:?}"
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let mut range = fixture.range("a", "b");
        range.repository = elsewhere.path().to_owned();
        let error = fixture.list(&range).await;
        assert!(matches!(error, Err(GitError::NoRepository(_))), "{error:?}");
    }

    #[tokio::test]
    async fn what_cured_a_bug_lies_after_the_bad_end() {
        let fixture = Fixture::new().await;
        let mut range = fixture.range("main", "main~3");
        range.fixed = true;
        let listed = fixture.list(&range).await.unwrap();
        assert_eq!(listed.candidates.list.len(), 5);
        assert_eq!(listed.candidates.base, listed.bad);
        let mut range = fixture.range("main~3", "main");
        range.fixed = true;
        let error = fixture.list(&range).await.unwrap_err();
        assert!(error.to_string().contains("nothing was cured"), "{error}");
    }

    /// Two branches that were merged into each other have two merge bases.
    #[tokio::test]
    async fn several_merge_bases_are_all_named() {
        let fixture = Fixture::new().await;
        fixture.git(&["branch", "left", "main~3"]).await;
        fixture.git(&["branch", "right", "topic"]).await;
        for (into, from) in [("left", "topic"), ("right", "main~3")] {
            fixture.git(&["checkout", "--quiet", into]).await;
            fixture.git(&["merge", "--quiet", "--no-ff", from]).await;
            fixture.commit(&format!("mm/{into}")).await;
        }
        let listed = fixture.list(&fixture.range("left", "right")).await.unwrap();
        assert_eq!(listed.merge_bases.len(), 2, "{:?}", listed.merge_bases);
        let subjects = fixture.subjects(&listed).await;
        assert!(subjects.contains(&"mm/right".to_owned()), "{subjects:?}");
    }

    #[tokio::test]
    async fn a_shallow_clone_is_told_from_a_complete_one() {
        let fixture = Fixture::new().await;
        let clone = Fixture {
            directory: tempfile::tempdir().unwrap(),
        };
        let from = format!("file://{}", fixture.path().display());
        let into = clone.path().to_str().unwrap();
        let words = [
            "clone",
            "--quiet",
            "--depth",
            "2",
            "--no-single-branch",
            &from,
            into,
        ];
        fixture.git(&words).await;
        let error = clone.list(&clone.range("origin/old", "main")).await;
        assert!(matches!(error, Err(GitError::Shallow(_))), "{error:?}");
        assert!(clone.list(&clone.range("main~1", "main")).await.is_ok());
    }

    #[tokio::test]
    async fn a_dirty_tree_is_noticed_and_left_alone() {
        let fixture = Fixture::new().await;
        let range = fixture.range("main~3", "main");
        assert!(!fixture.list(&range).await.unwrap().dirty);
        std::fs::write(fixture.path().join("c"), "changed").unwrap();
        let index = std::fs::read(fixture.path().join(".git/index")).unwrap();
        assert!(fixture.list(&range).await.unwrap().dirty);
        let after = std::fs::read(fixture.path().join(".git/index")).unwrap();
        assert!(index == after, "the index was written");
    }

    #[tokio::test]
    async fn submodules_are_refused() {
        let fixture = Fixture::new().await;
        fixture.commit(".gitmodules").await;
        let error = fixture.list(&fixture.range("main~3", "main")).await;
        assert!(
            matches!(error, Err(GitError::Submodules { .. })),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_commit_is_described() {
        let fixture = Fixture::new().await;
        let described = describe(&Context::default(), fixture.path(), "main~2")
            .await
            .unwrap();
        assert_eq!(described.subject, "Add mm/b");
        assert_eq!(described.author, "A Person <a@example.org>");
        assert_eq!(described.files, ["mm/b"]);
    }

    #[tokio::test]
    async fn git_replays_the_log_of_a_bisection() {
        use crate::bisect::log::{Begun, Carried, Entry, Log, Source, VERSION};

        let fixture = Fixture::new().await;
        let listed = fixture
            .list(&fixture.range("main~3", "main"))
            .await
            .unwrap();
        let names: Vec<String> = listed
            .candidates
            .list
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let begun = Begun {
            version: VERSION,
            job: "job.yaml".into(),
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            good: listed.good.clone(),
            bad: listed.bad.clone(),
            fixed: false,
            any: false,
            every_boot: true,
            first_parent: false,
            confidence: 0.95,
            source: Source::Git {
                repository: fixture.path().to_owned(),
            },
            candidates: listed.candidates,
            carried: Carried::default(),
            paths: Vec::new(),
            merge_bases: Vec::new(),
            variations: Vec::new(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let (mut log, mut state) = Log::create(&path, begun).unwrap();
        let first = names[0].clone();
        let good = Entry::Word {
            candidate: first.clone(),
            bad: false,
        };
        log.add(&mut state, good).unwrap();
        let second = names[1].clone();
        let skip = Entry::Skipped {
            candidate: second.clone(),
            reason: "does not build".to_owned(),
            mute: false,
        };
        log.add(&mut state, skip).unwrap();
        let text = directory.path().join("log");
        std::fs::write(&text, state.git_log(|_| "a subject".to_owned())).unwrap();
        fixture
            .git(&["bisect", "replay", text.to_str().unwrap()])
            .await;
        let refs = fixture
            .git(&["for-each-ref", "--format=%(refname)", "refs/bisect"])
            .await;
        assert!(
            refs.contains(&format!("refs/bisect/good-{first}")),
            "{refs}"
        );
        assert!(
            refs.contains(&format!("refs/bisect/skip-{second}")),
            "{refs}"
        );
        assert!(refs.contains("refs/bisect/bad"), "{refs}");
        // What cured a bug has words of its own.
        let mut begun = state.begun.clone();
        (begun.good, begun.bad) = (begun.bad, begun.good);
        begun.fixed = true;
        let path = directory.path().join("fixed.jsonl");
        let (mut log, mut state) = Log::create(&path, begun).unwrap();
        let bad = Entry::Word {
            candidate: first.clone(),
            bad: true,
        };
        log.add(&mut state, bad).unwrap();
        std::fs::write(&text, state.git_log(|_| "a subject".to_owned())).unwrap();
        fixture.git(&["bisect", "reset"]).await;
        fixture
            .git(&["bisect", "replay", text.to_str().unwrap()])
            .await;
        let refs = fixture
            .git(&["for-each-ref", "--format=%(refname)", "refs/bisect"])
            .await;
        assert!(
            refs.contains(&format!("refs/bisect/broken-{first}")),
            "{refs}"
        );
        assert!(refs.contains("refs/bisect/fixed"), "{refs}");
    }
}
