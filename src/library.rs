//! What a job names (workloads, fragments, series, recipes) and jobs themselves:
//! the library that comes with kvet, which is part of the program, and the other
//! places where such things may lie.
//!
//! The repository's directories `jobs`, `kconfigs`, `patches` and `rootfs` are
//! included when kvet is compiled. Series and fragments are read as files, so
//! the library is unpacked once into the store, under a key made of its content.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use include_dir::{Dir, DirEntry, include_dir};
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::names::LARGEST;
use crate::store::{InUse, Key, Store, StoreError, io_error};

static JOBS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/jobs");
static KCONFIGS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/kconfigs");
static PATCHES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/patches");
static ROOTFS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rootfs");

/// The directories of the library.
static SHIPPED: [(&str, &Dir<'_>); 4] = [
    ("jobs", &JOBS),
    ("kconfigs", &KCONFIGS),
    ("patches", &PATCHES),
    ("rootfs", &ROOTFS),
];

/// The library's kind in the store.
const KIND: &str = "library";

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A job.
    Job,
    /// A workload.
    Workload,
    /// A patch series.
    Series,
    /// A Kconfig fragment.
    Fragment,
    /// A recipe of a root file system.
    Rootfs,
}

impl Kind {
    /// Where things of this kind lie in a place, the first with the name first.
    fn directories(self) -> &'static [&'static str] {
        match self {
            Self::Job => &["jobs"],
            Self::Workload => &["workloads", "jobs/workloads"],
            Self::Series => &["patches"],
            Self::Fragment => &["kconfigs"],
            Self::Rootfs => &["rootfs"],
        }
    }

    /// What follows a name in the name of its file.
    fn suffix(self) -> &'static str {
        match self {
            Self::Job | Self::Workload | Self::Rootfs => ".yaml",
            Self::Series => "",
            Self::Fragment => ".config",
        }
    }

    /// The name of the thing that this file or directory is, if it is one.
    fn name_of(self, path: &Path) -> Option<String> {
        let name = path.file_name()?.to_str()?.strip_suffix(self.suffix())?;
        let fits = match self {
            Self::Series => path.is_dir(),
            _ => path.is_file(),
        };
        (fits && !name.starts_with('.')).then(|| name.to_owned())
    }

    /// What the thing at this path is for, in its own words.
    fn about(self, path: &Path) -> Option<String> {
        let text = match self {
            Self::Series => bounded::read_text(&path.join("series.yaml"), LARGEST),
            _ => bounded::read_text(path, LARGEST),
        };
        let text = text.ok()?;
        if self == Self::Fragment {
            return Some(first_comment(&text)).filter(|about| !about.is_empty());
        }
        crate::yaml_shape::check(&text).ok()?;
        let described: Described = serde_yaml::from_str(&text).ok()?;
        let about = described.title.or(described.about)?;
        Some(about.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// The keys of jobs, workloads, series and recipes that say what they are for.
#[derive(Deserialize)]
struct Described {
    title: Option<String>,
    about: Option<String>,
}

/// The comment at the start of a fragment, without what it says to kvet.
fn first_comment(text: &str) -> String {
    text.lines()
        .map_while(|line| line.strip_prefix("# "))
        .filter(|line| !line.starts_with("kvet: "))
        .collect::<Vec<_>>()
        .join(" ")
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Workload => "workload",
            Self::Series => "patch series",
            Self::Fragment => "Kconfig fragment",
            Self::Rootfs => "root file system",
        })
    }
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Beside the job, in a directory above it, or by its path.
    Beside,
    /// In the user's `$XDG_CONFIG_HOME/kvet`.
    User,
    /// In the library that comes with kvet.
    Shipped,
}

/// A name and where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it stands for.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// Where it was found.
    pub place: Place,
    /// Its file or directory.
    pub path: PathBuf,
}

impl fmt::Display for Found {
    /// Where it was found, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Shipped => f.write_str("comes with kvet"),
            Place::Beside | Place::User => write!(f, "{}", self.path.display()),
        }
    }
}

/// The places where names are looked for, in order.
#[derive(Debug, Clone, Default)]
pub struct Places {
    all: Vec<(Place, PathBuf)>,
    /// The directory that they lie around.
    around: PathBuf,
}

/// Whether something that lies around a directory is taken: not if it is a
/// stranger's and lies where anybody may put things, as in `/tmp`. Whoever the
/// directory is of is none.
pub(crate) fn is_taken(path: &Path, around: &Path) -> bool {
    // Of a link the link's: where it leads was its owner's choice.
    let owner = |path: &Path| path.symlink_metadata().map(|data| data.uid()).ok();
    let Some(of) = owner(path) else { return true };
    let own = rustix::process::geteuid().as_raw();
    let is_open = |directory: &Path| {
        let mode = directory.metadata().map(|data| data.mode());
        mode.is_ok_and(|mode| mode & 0o002 != 0)
    };
    let is_taken =
        of == own || of == 0 || owner(around) == Some(of) || !path.parent().is_some_and(is_open);
    if !is_taken {
        tracing::warn!(path = %path.display(), owner = of, "another user's, passed over");
    }
    is_taken
}

impl Places {
    /// The user's own place, and the library unpacked in this directory.
    #[must_use]
    pub fn new(user: Option<PathBuf>, shipped: Option<PathBuf>) -> Self {
        let user = user.map(|path| (Place::User, path));
        let shipped = shipped.map(|path| (Place::Shipped, path));
        Self {
            all: user.into_iter().chain(shipped).collect(),
            around: PathBuf::new(),
        }
    }

    /// The places of this user, with the library unpacked in the store.
    pub async fn of_the_user(store: &Store) -> Result<Self, StoreError> {
        Ok(Self::new(user_directory(), Some(unpack(store).await?)))
    }

    /// With what lies around `directory` in front: in itself, and in the nearest
    /// directory above that has fragments.
    #[must_use]
    pub fn around(&self, directory: &Path) -> Self {
        let above = directory
            .ancestors()
            .skip(1)
            .map(|directory| (directory, directory.join("kconfigs")))
            .find(|(_, fragments)| fragments.is_dir() && is_taken(fragments, directory))
            .map(|(directory, _)| directory);
        let mut places: Vec<_> = std::iter::once(directory)
            .chain(above)
            .filter(|beside| !self.hold(beside))
            .map(|beside| (Place::Beside, beside.to_owned()))
            .collect();
        places.extend(self.all.iter().cloned());
        Self {
            all: places,
            around: directory.to_owned(),
        }
    }

    /// Whether a directory is one of the places, or in one.
    #[must_use]
    pub fn hold(&self, directory: &Path) -> bool {
        let mut places = self.all.iter();
        places.any(|(_, place)| directory.starts_with(place))
    }

    /// The user's own place.
    #[must_use]
    pub fn user(&self) -> Option<&Path> {
        let mut places = self.all.iter();
        let user = places.find(|(place, _)| *place == Place::User)?;
        Some(&user.1)
    }

    /// Where a name leads.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<Found> {
        let file = format!("{name}{}", kind.suffix());
        self.directories(kind).find_map(|(place, directory)| {
            let path = directory.join(&file);
            let is_there = path.exists() && self.is_taken(place, &path);
            is_there.then(|| Found {
                kind,
                name: name.to_owned(),
                place,
                path,
            })
        })
    }

    /// All things of a kind by name, each with what it is for. One that hides
    /// another of the same name is there alone.
    #[must_use]
    pub fn list(&self, kind: Kind) -> Vec<(Found, Option<String>)> {
        let mut all = BTreeMap::new();
        for (place, directory) in self.directories(kind) {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let Some(name) = kind.name_of(&path) else {
                    continue;
                };
                if !self.is_taken(place, &path) {
                    continue;
                }
                all.entry(name.clone()).or_insert_with(|| {
                    let about = kind.about(&path);
                    let found = Found {
                        kind,
                        name,
                        place,
                        path,
                    };
                    (found, about)
                });
            }
        }
        all.into_values().collect()
    }

    /// Whether what lies in one of the places is taken; see [`is_taken`].
    fn is_taken(&self, place: Place, path: &Path) -> bool {
        place != Place::Beside || is_taken(path, &self.around)
    }

    fn directories(&self, kind: Kind) -> impl Iterator<Item = (Place, PathBuf)> {
        self.all
            .iter()
            .flat_map(move |(place, root)| {
                let directories = kind.directories().iter();
                directories.map(move |directory| (*place, root.join(directory)))
            })
            .filter(|(place, directory)| self.is_taken(*place, directory))
    }
}

/// `$XDG_CONFIG_HOME/kvet`, or `~/.config/kvet`.
pub(crate) fn user_directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
    base.filter(|base| base.is_absolute())
        .map(|base| base.join("kvet"))
}

/// The texts that come with kvet in `directory` (`jobs/workloads`), by name, in
/// order.
pub(crate) fn texts(directory: &str, suffix: &str) -> Vec<(&'static str, &'static str)> {
    let (top, rest) = directory.split_once('/').unwrap_or((directory, ""));
    let shelf = SHIPPED.iter().find(|(name, _)| *name == top);
    let shelf = shelf.and_then(|(_, dir)| match rest {
        "" => Some(*dir),
        rest => dir.get_dir(rest),
    });
    let files = shelf.into_iter().flat_map(Dir::files);
    let mut texts: Vec<_> = files
        .filter_map(|file| {
            let name = file.path().file_name()?.to_str()?.strip_suffix(suffix)?;
            Some((name, file.contents_utf8()?))
        })
        .collect();
    texts.sort_unstable();
    texts
}

/// What a job is made of is read now and then, as long as kvet runs.
static HELD: OnceLock<Option<InUse>> = OnceLock::new();

/// The library's directory in the store, written if it is not there yet.
pub async fn unpack(store: &Store) -> Result<PathBuf, StoreError> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for (name, directory) in &SHIPPED {
        parts.push(name.as_bytes());
        add_parts(directory, &mut parts);
    }
    let key = Key::of(parts);
    let entry = store.fill(KIND, key.as_str(), |path| async move { write(&path) });
    let entry = entry.await?;
    HELD.get_or_init(|| entry.in_use);
    Ok(entry.path)
}

fn write(path: &Path) -> Result<(), StoreError> {
    for (name, directory) in &SHIPPED {
        let shelf = path.join(name);
        std::fs::create_dir(&shelf).map_err(io_error("create", &shelf))?;
        directory
            .extract(&shelf)
            .map_err(io_error("unpack the library into", &shelf))?;
    }
    Ok(())
}

/// The path and the content of every file.
fn add_parts<'a>(directory: &'a Dir<'a>, parts: &mut Vec<&'a [u8]>) {
    for entry in directory.entries() {
        match entry {
            DirEntry::Dir(directory) => add_parts(directory, parts),
            DirEntry::File(file) => {
                parts.push(file.path().as_os_str().as_encoded_bytes());
                parts.push(file.contents());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "# What it is for,\n# in two lines.\n\n# No more.\n").unwrap();
        }
    }

    #[tokio::test]
    async fn the_library_is_unpacked_whole_and_once() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let library = unpack(&store).await.unwrap();
        assert_eq!(unpack(&store).await.unwrap(), library);
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut compared = 0;
        let mut directories: Vec<PathBuf> = SHIPPED.iter().map(|(name, _)| name.into()).collect();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(sources.join(&directory)).unwrap() {
                let entry = entry.unwrap();
                let path = directory.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    directories.push(path);
                } else {
                    let there = std::fs::read(library.join(&path)).unwrap();
                    assert_eq!(there, std::fs::read(entry.path()).unwrap(), "{path:?}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 80, "{compared}");
        let places = Places::new(None, Some(library));
        for kind in [Kind::Job, Kind::Workload, Kind::Series, Kind::Fragment] {
            let list = places.list(kind);
            assert!(list.len() > 5, "{kind}");
            for (found, about) in list {
                let about = about.unwrap_or_default();
                assert!(!about.is_empty(), "{kind} {} says nothing", found.name);
                assert!(!about.contains("kvet: from"), "{kind} {}", found.name);
            }
        }
    }

    #[test]
    fn what_lies_beside_comes_before_the_user_s_and_that_before_kvet_s() {
        let root = tempfile::tempdir().unwrap();
        let [top, user, shipped] = ["top", "user", "shipped"].map(|name| root.path().join(name));
        let here = top.join("own/jobs");
        place(&top, &["kconfigs/a.config"]);
        place(&user, &["kconfigs/a.config", "kconfigs/b.config"]);
        place(
            &shipped,
            &[
                "kconfigs/a.config",
                "kconfigs/b.config",
                "kconfigs/c.config",
            ],
        );
        place(&here, &["workloads/w.yaml"]);
        let places = Places::new(Some(user), Some(shipped.clone())).around(&here);
        let at = |name| places.find(Kind::Fragment, name).map(|found| found.place);
        assert_eq!(at("a"), Some(Place::Beside));
        assert_eq!(at("b"), Some(Place::User));
        assert_eq!(at("c"), Some(Place::Shipped));
        assert_eq!(at("d"), None);
        let list = places.list(Kind::Fragment);
        let told: Vec<_> = list.iter().map(|(found, _)| found.place).collect();
        assert_eq!(told, [Place::Beside, Place::User, Place::Shipped]);
        assert_eq!(list[0].1.as_deref(), Some("What it is for, in two lines."));
        assert!(places.find(Kind::Workload, "w").is_some());
        // A job of the library's own has nothing beside it.
        let places = Places::new(None, Some(shipped.clone())).around(&shipped.join("jobs"));
        assert_eq!(places.all.len(), 1);
    }

    /// Anybody may put a directory beside others' into `/tmp`.
    #[test]
    fn what_a_stranger_put_above_or_beside_is_passed_over() {
        use std::fs::Permissions;
        use std::os::unix::fs::{PermissionsExt, chown};
        let root = tempfile::tempdir().unwrap();
        let [top, shipped] = ["top", "shipped"].map(|name| root.path().join(name));
        let here = top.join("mine");
        place(&top, &["kconfigs/a.config", "kconfigs/b.config"]);
        place(&here, &["workloads/w.yaml", "workloads/v.yaml"]);
        place(&shipped, &["kconfigs/a.config", "workloads/w.yaml"]);
        let places = Places::new(None, Some(shipped));
        let at = |kind, name| {
            places
                .around(&here)
                .find(kind, name)
                .map(|found| found.place)
        };
        assert_eq!(at(Kind::Fragment, "a"), Some(Place::Beside));
        // Only root can give something away.
        if chown(here.join("workloads/w.yaml"), Some(12345), None).is_err() {
            return;
        }
        // Who may write here was chosen.
        assert_eq!(at(Kind::Workload, "w"), Some(Place::Beside));
        for open in [&top, &here.join("workloads")] {
            std::fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
        }
        assert_eq!(at(Kind::Workload, "w"), Some(Place::Shipped));
        assert_eq!(at(Kind::Workload, "v"), Some(Place::Beside));
        let listed = places.around(&here).list(Kind::Workload);
        let shown: Vec<_> = listed.iter().map(|(found, _)| found.place).collect();
        assert_eq!(shown, [Place::Beside, Place::Shipped]);
        chown(top.join("kconfigs"), Some(12345), None).unwrap();
        assert_eq!(at(Kind::Fragment, "a"), Some(Place::Shipped));
        assert_eq!(at(Kind::Fragment, "b"), None);
        // A job of theirs is with what is theirs.
        chown(&here, Some(12345), None).unwrap();
        assert_eq!(at(Kind::Workload, "w"), Some(Place::Beside));
        assert_eq!(at(Kind::Fragment, "a"), Some(Place::Beside));
    }
}
