//! Sources from a directory on this machine: a snapshot of it, so that edits
//! during a run, or what a build left there, cannot get into a kernel.
//!
//! The snapshot is a tree in a repository of kvet's own, which an index of
//! kvet's own keeps up with the directory: an edit costs the files that were
//! edited. Of a user's repository not even the files it has are copied, and its
//! objects are not in sight while the snapshot is made: git would give those
//! that it meets again a new time.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::git::{objects_of, of_the_user};
use super::{SourceError, Tree, in_repository};
use crate::context::Context;
use crate::event::Event;
use crate::kernel::line::Line;
use crate::kernel::repository::{ONE_PACK, Repository, is_id};
use crate::kernel::version::KernelVersion;
use crate::process::ProcessError;
use crate::store::{Key, Store, write_atomic};

/// What builds leave in a source tree, by the ends of names; make would take
/// it for its own.
const BUILT: &[&str] = &[
    ".o", ".a", ".cmd", ".ko", ".mod", ".mod.c", ".order", ".symvers", ".lex.c", ".tab.c",
    ".tab.h", ".asn1.c", ".asn1.h", ".dwo", ".gcno", ".su",
];

/// The same by paths.
const BUILT_PATHS: &[&str] = &[
    ".config",
    ".config.old",
    ".git",
    ".version",
    "System.map",
    "arch/x86/include/generated",
    "include/config",
    "include/generated",
    "kvet-runs",
    "vmlinux",
];

/// Gets a snapshot; the flag says whether it is the same as the last one.
pub(super) async fn fetch(
    context: &Context,
    store: &Store,
    path: &Path,
) -> Result<(Tree, bool), SourceError> {
    let origin = path.display().to_string();
    if KernelVersion::of_tree(path).is_none() {
        return Err(SourceError::NoKernel { origin });
    }
    let unreadable = |source: io::Error| SourceError::Directory {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(unreadable)?;
    let in_git = is_in_git(&path);
    let line = line_of(&path, &origin);
    let (repository, _writing) = Repository::open(context, store, &line).await?;
    let mut files = if in_git {
        files_of_git(context, &path).await?
    } else {
        let root = path.clone();
        let found = tokio::task::spawn_blocking(move || {
            let mut found = BTreeSet::new();
            walk(&root, Path::new(""), &mut found).map(|()| found)
        });
        let found = found
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        found.map_err(unreadable)?
    };
    let outside = take_links_out(&path, &mut files);
    if !outside.is_empty() {
        context.emit(Event::Note(left_out(&path, &outside)));
    }
    let failed = |error| match error {
        ProcessError::Interrupted => SourceError::Interrupted,
        source => SourceError::Snapshot {
            path: path.clone(),
            source,
        },
    };
    let known = if in_git {
        known_to_git(context, &path).await.map_err(failed)?
    } else {
        Vec::new()
    };
    let id = snapshot(context, &repository, &path, &files, &known).await;
    let id = id.map_err(failed)?;
    let repository = if in_git {
        repository.borrowing(objects_of(context, &path).await?)
    } else {
        repository
    };
    let last = repository.path().join("last");
    let cached = std::fs::read(&last).is_ok_and(|last| last == id.as_bytes());
    if !cached {
        write_atomic(&last, id.as_bytes())?;
    }
    let key = Key::of(["tree", &id]);
    let tree = in_repository(context, repository, (key, line, id), origin).await?;
    Ok((tree, cached))
}

/// The snapshot that git calls by this name, taken before; `None` if the store has it
/// no longer.
pub(super) async fn taken(
    context: &Context,
    store: &Store,
    path: &Path,
    id: &str,
) -> Result<Option<Tree>, SourceError> {
    let origin = path.display().to_string();
    let Ok(path) = path.canonicalize() else {
        return Ok(None);
    };
    let line = line_of(&path, &origin);
    let Some(repository) = Repository::existing(store, &line) else {
        return Ok(None);
    };
    if !is_id(id) || !repository.has(context, id).await? {
        return Ok(None);
    }
    let repository = if is_in_git(&path) {
        repository.borrowing(objects_of(context, &path).await?)
    } else {
        repository
    };
    let of = (Key::of(["tree", id]), line, id.to_owned());
    Ok(Some(in_repository(context, repository, of, origin).await?))
}

fn is_in_git(path: &Path) -> bool {
    path.join(".git").exists()
}

/// The line of a directory's states. Work on top of a commit shares what was built of
/// the commit.
fn line_of(path: &Path, origin: &str) -> Line {
    let kind: &[u8] = if is_in_git(path) { b"git" } else { b"dir" };
    Line::of([kind, path.as_os_str().as_bytes()], origin)
}

/// Brings the repository's index to these files of the directory as they are
/// now; returns the tree they make. `known` are entries of a user's index:
/// files that are as it says are neither copied nor looked for.
async fn snapshot(
    context: &Context,
    repository: &Repository,
    path: &Path,
    files: &BTreeSet<PathBuf>,
    known: &[u8],
) -> Result<String, ProcessError> {
    let index = repository.path().join("snapshot");
    let first = !index.exists();
    let git = || repository.git_on(&index, path);
    let listing = git().args(["ls-files", "--stage", "-z"]);
    let present = listing.run(&context.cancel).await?.stdout;
    let news = entries_not_in(known, &present);
    if !news.is_empty() {
        let enter = git().args(["update-index", "-z", "--index-info"]);
        enter.input(news).run(&context.cancel).await?;
        let compare = git().args(["update-index", "-q", "--refresh"]);
        // It fails if a file differs, which is found out below.
        compare.status(&context.cancel).await?;
    }
    let listing = git().args(["ls-files", "-z"]);
    let present = listing.run(&context.cancel).await?.stdout;
    let gone: Vec<PathBuf> = names(&present)
        .filter(|name| !files.contains(name))
        .collect();
    if !gone.is_empty() {
        let remove = git().args(["update-index", "--force-remove", "-z", "--stdin"]);
        remove.input(list(gone.iter())).run(&context.cancel).await?;
    }
    let git_adding = if first { git().args(ONE_PACK) } else { git() };
    let add = git_adding
        .args(["update-index", "--add", "--remove", "--replace"])
        .args(["-z", "--stdin"])
        .input(list(files.iter()));
    add.run(&context.cancel).await?;
    // What the user's repository has is not missing.
    let write = git().args(["write-tree", "--missing-ok"]);
    let id = write.run(&context.cancel).await?.stdout;
    Ok(String::from_utf8_lossy(&id).trim().to_owned())
}

/// The entries of a user's index, without submodules and what is being merged.
async fn known_to_git(context: &Context, path: &Path) -> Result<Vec<u8>, ProcessError> {
    let listing = of_the_user(path).args(["ls-files", "--stage", "-z"]);
    let listing = listing.run(&context.cancel).await?.stdout;
    let is_file = |entry: &&[u8]| {
        let head = entry
            .split(|&byte| byte == b'\t')
            .next()
            .unwrap_or_default();
        !head.starts_with(b"160000 ") && head.ends_with(b" 0")
    };
    let entries = listing.split_inclusive(|&byte| byte == 0);
    Ok(entries
        .filter(|entry| is_file(&&entry[..]))
        .flatten()
        .copied()
        .collect())
}

/// The entries, each ending in NUL, that are in the first list and not in the
/// second.
fn entries_not_in(wanted: &[u8], present: &[u8]) -> Vec<u8> {
    let ending = |list| <[u8]>::split_inclusive(list, |&byte: &u8| byte == 0);
    let present: HashSet<&[u8]> = ending(present).collect();
    let news = ending(wanted).filter(|entry| !present.contains(entry));
    news.flatten().copied().collect()
}

/// Names that end in NUL, as git takes them.
fn list<'a>(names: impl Iterator<Item = &'a PathBuf>) -> Vec<u8> {
    names
        .flat_map(|name| [name.as_os_str().as_bytes(), b"\0"])
        .flatten()
        .copied()
        .collect()
}

/// Names that end in NUL, as git tells them.
fn names(text: &[u8]) -> impl Iterator<Item = PathBuf> {
    text.split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(OsString::from_vec(name.to_vec())))
}

/// The files of a user's repository that belong to the source: those git knows
/// or would add.
async fn files_of_git(context: &Context, path: &Path) -> Result<BTreeSet<PathBuf>, SourceError> {
    let listing = of_the_user(path)
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .run(&context.cancel)
        .await?;
    // Not those that are deleted, but still in the index, and no submodules.
    let is_file = |name: &PathBuf| {
        if name.starts_with("kvet-runs") {
            return false;
        }
        let data = path.join(name).symlink_metadata();
        data.is_ok_and(|data| data.is_file() || data.is_symlink())
    };
    let files: BTreeSet<PathBuf> = names(&listing.stdout).filter(is_file).collect();
    Ok(without_builds(files))
}

/// What kbuild leaves in a directory that it builds in, `make O=DIR`.
const BUILT_IN: &str = "include/config/auto.conf";

/// The files that are in no directory of a build.
fn without_builds(files: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let builds: Vec<PathBuf> = files
        .iter()
        .filter(|file| file.ends_with(BUILT_IN))
        .filter_map(|file| Some(file.ancestors().nth(3)?.to_owned()))
        .filter(|directory| !directory.as_os_str().is_empty())
        .collect();
    let is_built = |file: &PathBuf| builds.iter().any(|directory| file.starts_with(directory));
    let files = files.into_iter();
    files.filter(|file| !is_built(file)).collect()
}

/// Takes the links from a tree's files that lead out of it: a snapshot has not what
/// they lead to, which may change under a kernel that is known by the snapshot.
fn take_links_out(root: &Path, files: &mut BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let leads_out = |name: &&PathBuf| {
        let target = std::fs::read_link(root.join(name));
        target.is_ok_and(|target| is_outside(name, &target))
    };
    let outside: Vec<PathBuf> = files.iter().filter(leads_out).cloned().collect();
    for link in &outside {
        files.remove(link);
    }
    outside
}

/// Whether a link of a tree leads out of it, or to the place where it lies now.
fn is_outside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    target.components().any(|part| match part {
        Component::ParentDir if depth == 0 => true,
        Component::ParentDir => {
            depth -= 1;
            false
        }
        Component::Normal(_) => {
            depth += 1;
            false
        }
        Component::CurDir => false,
        Component::RootDir | Component::Prefix(_) => true,
    })
}

/// So many links are named.
const NAMED: usize = 6;

fn left_out(root: &Path, links: &[PathBuf]) -> String {
    let named = links
        .iter()
        .take(NAMED)
        .map(|link| link.display().to_string());
    let named: Vec<String> = named.collect();
    let more = match links.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "links that lead out of {} are not in its snapshot: {}{more}",
        root.display(),
        named.join(", ")
    )
}

/// All files below, without what builds leave, which only the names beside a file tell.
fn walk(root: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = std::fs::read_dir(root.join(below))?.collect::<io::Result<Vec<_>>>()?;
    let names: HashSet<OsString> = entries.iter().map(std::fs::DirEntry::file_name).collect();
    for entry in entries {
        let path = below.join(entry.file_name());
        if is_built(&path, &names) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() && entry.path().join(BUILT_IN).exists() {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, found)?;
        } else if kind.is_file() || kind.is_symlink() {
            found.insert(path);
        }
    }
    Ok(())
}

/// Whether a build made this file; `beside` are all names in its directory.
/// kbuild leaves the command for a target NAME in `.NAME.cmd`.
fn is_built(path: &Path, beside: &HashSet<OsString>) -> bool {
    let name = path.file_name().unwrap_or_default();
    let mut command = OsString::from(".");
    command.push(name);
    command.push(".cmd");
    let ends = |end: &&str| name.as_bytes().ends_with(end.as_bytes());
    beside.contains(OsStr::new(&command))
        || BUILT.iter().any(ends)
        || name.as_bytes().starts_with(b".tmp_")
        || BUILT_PATHS.iter().any(|built| path == Path::new(built))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKEFILE: &str = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION = -x\n";

    async fn snapshot_of(store: &Store, path: &Path) -> (Tree, bool) {
        fetch(&Context::default(), store, path).await.unwrap()
    }

    async fn has(tree: &Tree, path: &str) -> Option<String> {
        let content = tree.file(&Context::default(), path).await.ok()?;
        Some(String::from_utf8(content).unwrap())
    }

    #[test]
    fn of_a_repository_what_was_built_in_a_directory_of_its_own_is_left_out() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let files = [
            "fs/inode.c",
            "include/config/auto.conf",
            "out/x86/.config",
            "out/x86/include/config/auto.conf",
            "out/x86/vmlinux",
            "out/notes",
        ];
        let left = ["fs/inode.c", "include/config/auto.conf", "out/notes"];
        assert_eq!(without_builds(paths(&files)), paths(&left));
    }

    #[tokio::test]
    async fn a_snapshot_leaves_builds_behind_and_follows_edits() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("cache")).unwrap();
        let source = home.path().join("linux");
        std::fs::create_dir_all(source.join("include/config")).unwrap();
        std::fs::create_dir_all(source.join("out/include/config")).unwrap();
        for (name, text) in [
            ("Makefile", MAKEFILE),
            ("fs.c", "one"),
            ("gone.c", "gone"),
            ("fixdep.c", "source"),
            // With CR and LF: kept as it is.
            (".gitattributes", "* text=auto\r\n"),
            (".gitignore", "/*\n"),
            ("fs.o", "built"),
            ("fixdep", "built"),
            (".fixdep.cmd", "built"),
            (".config", "built"),
            ("include/config/auto.conf", "built"),
            ("out/include/config/auto.conf", "built"),
            ("out/generated.c", "built"),
        ] {
            std::fs::write(source.join(name), text).unwrap();
        }
        let (first, cached) = snapshot_of(&store, &source).await;
        assert!(!cached);
        assert_eq!(first.version.to_string(), "7.3.4-x");
        for (name, text) in [
            ("fs.c", "one"),
            ("fixdep.c", "source"),
            (".gitattributes", "* text=auto\r\n"),
        ] {
            assert_eq!(has(&first, name).await.as_deref(), Some(text));
        }
        let others = [".config", "include/config/auto.conf", "out/generated.c"];
        for built in ["fs.o", "fixdep"].into_iter().chain(others) {
            assert_eq!(has(&first, built).await, None, "{built}");
        }
        assert!(snapshot_of(&store, &source).await.1);
        std::fs::write(source.join("fs.c"), "three").unwrap();
        std::fs::remove_file(source.join("gone.c")).unwrap();
        let (second, cached) = snapshot_of(&store, &source).await;
        assert!(!cached);
        assert_eq!(first.line, second.line);
        assert_ne!(first.key, second.key);
        assert_eq!(has(&first, "fs.c").await.as_deref(), Some("one"));
        assert_eq!(has(&second, "fs.c").await.as_deref(), Some("three"));
        assert_eq!(has(&second, "gone.c").await, None);
        // Undone, it is the first again.
        std::fs::write(source.join("fs.c"), "one").unwrap();
        std::fs::write(source.join("gone.c"), "gone").unwrap();
        assert_eq!(snapshot_of(&store, &source).await.0.key, first.key);
    }

    /// What a link leads to outside is not in the snapshot, and would change under
    /// a kernel that is known by it.
    #[tokio::test]
    async fn links_that_lead_out_of_the_tree_are_left_out_and_told() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("cache")).unwrap();
        let source = home.path().join("linux");
        std::fs::create_dir_all(source.join("drivers/net")).unwrap();
        std::fs::create_dir(home.path().join("mine")).unwrap();
        std::fs::write(source.join("Makefile"), MAKEFILE).unwrap();
        std::fs::write(home.path().join("mine/x.c"), "one").unwrap();
        let link = |to: &Path, name: &str| {
            std::os::unix::fs::symlink(to, source.join(name)).unwrap();
        };
        link(Path::new("../../Makefile"), "drivers/net/inside");
        link(Path::new("../../mine"), "drivers/mine");
        link(&home.path().join("mine/x.c"), "drivers/net/x.c");
        // Where the snapshot is built, this would be the user's own file.
        link(&source.join("Makefile"), "drivers/absolute");
        for in_git in [false, true] {
            if in_git {
                let init = of_the_user(&source).args(["init", "--quiet"]);
                init.run(&Context::default().cancel).await.unwrap();
                let add = of_the_user(&source).args(["add", "drivers/mine"]);
                add.run(&Context::default().cancel).await.unwrap();
            }
            let (events, mut receiver) = crate::event::EventSink::channel();
            let context = Context {
                events,
                ..Context::default()
            };
            let (tree, _) = fetch(&context, &store, &source).await.unwrap();
            let inside = has(&tree, "drivers/net/inside").await;
            assert_eq!(inside.as_deref(), Some("../../Makefile"));
            for name in ["drivers/mine", "drivers/net/x.c", "drivers/absolute"] {
                assert_eq!(has(&tree, name).await, None, "{name}");
            }
            let event = receiver.try_recv().unwrap().event;
            let crate::event::Event::Note(note) = event else {
                panic!("{event:?}");
            };
            assert!(note.contains("drivers/absolute, drivers/mine"), "{note}");
        }
    }
}
