//! Patch series: which patches an arm names, and which files those are for
//! the kernel at hand.
//!
//! A topic is a directory with a `series.yaml` that lists, per range of kernel
//! versions, the patches in order, its own or those of another topic. A name that is no topic may be a loose patch
//! file, or a directory of them, by its path relative to the job.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::version::{KernelVersion, VersionRange};
use crate::bounded;
use crate::error::{Exit, Fault};

/// No patch file is larger; the largest stable releases are a tenth of it.
const PATCH_LIMIT: u64 = 64 << 20;

/// The file in a directory of patches that has the commit they were made for.
pub(super) const BASE_COMMIT: &str = "base-commit";

/// The name of a topic's description.
const DESCRIPTION: &str = "series.yaml";

/// No description is larger, in bytes.
const DESCRIPTION_LIMIT: u64 = 1 << 20;

/// A topic: one change, in as many versions as kernels need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// One line: what the patches do.
    pub title: String,
    /// Why, and where the idea comes from.
    #[serde(default)]
    pub about: Option<String>,
    /// What the cover letter says when the series is sent, in lines as they stand
    /// there: for the maintainers of the code, who know nothing of kvet.
    #[serde(default)]
    pub cover: Option<String>,
    /// Topics beside this one whose patches have to be applied first, in order.
    #[serde(default)]
    pub after: Vec<String>,
    /// The SPDX licence of the patches.
    #[serde(default)]
    pub license: Option<String>,
    /// Symbols that must be `y` in the final config, or the patches do nothing.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Which patches serve which kernels.
    pub ranges: Vec<Range>,
    /// The topic's directory.
    #[serde(skip)]
    directory: PathBuf,
    /// The topic's name.
    #[serde(skip)]
    topic: String,
}

/// The patches for one range of kernel versions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first version served.
    pub from: KernelVersion,
    /// The first version not served any more; without it all later ones are.
    #[serde(default)]
    pub before: Option<KernelVersion>,
    /// Where the patches are, below the topic.
    pub directory: PathBuf,
    /// The patches, in order.
    pub patches: Vec<Entry>,
}

/// One line of a range's list of patches.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "a file's name, or { series: TOPIC, patch: FILE }"
)]
pub enum Entry {
    /// A file in the range's directory.
    Own(String),
    /// A patch that another topic has for the same kernel.
    Shared(Shared),
}

/// A patch of another topic.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// The topic.
    pub series: String,
    /// The file, as that topic lists it for the kernel.
    pub patch: String,
}

impl Range {
    fn versions(&self) -> VersionRange {
        VersionRange {
            from: Some(self.from.clone()),
            before: self.before.clone(),
        }
    }
}

/// A patch and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFile {
    /// Its name in messages and records: `topic/file` or the path as given.
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// Its content.
    #[serde(with = "in_base64")]
    pub content: Vec<u8>,
}

impl PatchFile {
    /// The SHA-256 of its content, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }
}

/// Bytes as text: patches need not be UTF-8.
mod in_base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// What one name of an arm came to for one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectedSeries {
    /// The name as the arm says it.
    pub name: String,
    /// The patches, in order.
    pub patches: Vec<PatchFile>,
    /// Symbols that must be `y` in the final config.
    pub needs: Vec<String>,
    /// The commit that they were made for, where that is known.
    pub base_commit: Option<String>,
}

/// The patches an arm names are not to be had.
#[derive(Debug, Error, Diagnostic)]
pub enum SeriesError {
    /// Neither a topic nor a file.
    #[error("there is no patch series or patch file `{name}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// The name as the arm says it.
        name: String,
        /// The nearest, or all there are.
        help: String,
    },
    /// A topic has nothing for this kernel.
    #[error("series `{topic}` has no patches for kernel {version}; it has them for {ranges}")]
    #[diagnostic(help("choose another kernel, or add a range to {}", description.display()))]
    NoRange {
        /// The topic.
        topic: String,
        /// The kernel's version.
        version: String,
        /// The ranges there are.
        ranges: String,
        /// The topic's description.
        description: PathBuf,
    },
    /// A description cannot be read.
    #[error("{}: {reason}", path.display())]
    #[diagnostic(help("{help}"))]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where known.
        reason: String,
        /// What to do.
        help: String,
    },
    /// A patch cannot be read.
    #[error("cannot read the patch {}: {reason}", path.display())]
    #[diagnostic(help("check the file, or the list that names it"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Fault for SeriesError {
    fn exit(&self) -> Exit {
        match self {
            // Of this kernel the other arms have something to tell.
            Self::NoRange { .. } => Exit::Undecided,
            Self::Unknown { .. } | Self::Description { .. } | Self::Unreadable { .. } => {
                Exit::Usage
            }
        }
    }
}

impl Series {
    /// Loads the topic in `directory`, whose last part is its name.
    pub fn load(directory: &Path) -> Result<Self, SeriesError> {
        let path = directory.join(DESCRIPTION);
        let wrong = |reason: String, help: &str| SeriesError::Description {
            path: path.clone(),
            reason,
            help: help.to_owned(),
        };
        let text = bounded::read_own_text(&path, DESCRIPTION_LIMIT)
            .map_err(|error| wrong(error.to_string(), "check the file"))?;
        let mut series: Self = serde_yaml::from_str(&text).map_err(|error| {
            wrong(
                error.to_string(),
                "its keys are: title, about, cover, after, license, needs, ranges; \
                 a range's: from, before, directory, patches",
            )
        })?;
        let plain = |path: &Path| {
            path.components()
                .all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        if let Some(topic) = series.after.iter().find(|topic| !plain(topic.as_ref())) {
            return Err(wrong(
                format!("`after` names `{topic}`, but there is no such series beside this one"),
                "name the directories of other series, without `..`",
            ));
        }
        for range in &series.ranges {
            let within = |entry: &Entry| match entry {
                Entry::Own(file) => plain(file.as_ref()),
                Entry::Shared(Shared { series, patch }) => {
                    plain(series.as_ref()) && plain(patch.as_ref())
                }
            };
            if !plain(&range.directory) || !range.patches.iter().all(within) {
                return Err(wrong(
                    format!(
                        "the range from {} names a file outside the topic",
                        range.from
                    ),
                    "name directories and patches relative to the topic, without `..`",
                ));
            }
        }
        directory.clone_into(&mut series.directory);
        series.topic = directory
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(series)
    }

    /// The patches for a kernel of this version.
    pub fn select(&self, version: &KernelVersion) -> Result<SelectedSeries, SeriesError> {
        let patches = self
            .range(version)?
            .patches
            .iter()
            .map(|entry| match entry {
                Entry::Own(file) => self.own(file, version),
                Entry::Shared(shared) => self.shared(shared, version),
            })
            .collect::<Result<_, _>>()?;
        Ok(SelectedSeries {
            name: self.topic.clone(),
            patches,
            needs: self.needs.clone(),
            base_commit: None,
        })
    }

    /// The patches for this kernel that have to be applied before this topic's.
    pub fn before(&self, version: &KernelVersion) -> Result<Vec<PatchFile>, SeriesError> {
        let mut patches = Vec::new();
        for topic in &self.after {
            let other = Self::load(&self.directory.with_file_name(topic))?;
            patches.extend(other.select(version)?.patches);
        }
        Ok(patches)
    }

    fn range(&self, version: &KernelVersion) -> Result<&Range, SeriesError> {
        self.ranges
            .iter()
            .find(|range| range.versions().holds(version))
            .ok_or_else(|| SeriesError::NoRange {
                topic: self.topic.clone(),
                version: version.to_string(),
                ranges: self
                    .ranges
                    .iter()
                    .map(|range| range.versions().to_string())
                    .collect::<Vec<_>>()
                    .join("; "),
                description: self.directory.join(DESCRIPTION),
            })
    }

    /// One of the topic's own patches.
    fn own(&self, file: &str, version: &KernelVersion) -> Result<PatchFile, SeriesError> {
        let directory = self.directory.join(&self.range(version)?.directory);
        read_patch(format!("{}/{file}", self.topic), directory.join(file))
    }

    /// A patch of the topic beside this one. It must be one of that topic's own,
    /// so nothing is looked up further.
    fn shared(&self, shared: &Shared, version: &KernelVersion) -> Result<PatchFile, SeriesError> {
        let Shared { series, patch } = shared;
        let other = Self::load(&self.directory.with_file_name(series))?;
        let listed = other
            .range(version)?
            .patches
            .iter()
            .any(|entry| matches!(entry, Entry::Own(file) if file == patch));
        if !listed {
            return Err(SeriesError::Description {
                path: self.directory.join(DESCRIPTION),
                reason: format!("series `{series}` has no patch {patch} for kernel {version}"),
                help: format!(
                    "name one that {} lists as its own",
                    other.directory.join(DESCRIPTION).display()
                ),
            });
        }
        other.own(patch, version)
    }
}

/// Finds what an arm names: topics below `topics`, loose patches relative to
/// `job` (the directory of the job's file). Those that share patches are to be
/// applied together.
pub fn select(
    topics: &Path,
    job: &Path,
    names: &[String],
    version: &KernelVersion,
) -> Result<Vec<SelectedSeries>, SeriesError> {
    let mut series = names
        .iter()
        .map(|name| select_one(topics, job, name, version))
        .collect::<Result<Vec<_>, _>>()?;
    leave_to_first(&mut series);
    Ok(series)
}

/// Leaves a patch that several series share to the first of them, so that they
/// apply in any order.
pub fn leave_to_first(series: &mut [SelectedSeries]) {
    let mut seen = HashSet::new();
    for one in series {
        one.patches.retain(|patch| seen.insert(patch.path.clone()));
    }
}

fn select_one(
    topics: &Path,
    job: &Path,
    name: &str,
    version: &KernelVersion,
) -> Result<SelectedSeries, SeriesError> {
    let topic = topics.join(name);
    if topic.join(DESCRIPTION).is_file() {
        return Series::load(&topic)?.select(version);
    }
    let path = job.join(name);
    if !path.exists() {
        return Err(unknown(topics, name));
    }
    loose(&path, job, name)
}

/// What is at this path, for a kernel of this version: a topic, a directory of
/// patches, or a patch file.
pub(super) fn select_at(
    path: &Path,
    version: &KernelVersion,
) -> Result<SelectedSeries, SeriesError> {
    if path.join(DESCRIPTION).is_file() {
        return Series::load(path)?.select(version);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    loose(path, path.parent().unwrap_or(path), &name)
}

/// A patch file or a directory of them, with names relative to `base`.
fn loose(path: &Path, base: &Path, name: &str) -> Result<SelectedSeries, SeriesError> {
    let files = if path.is_dir() {
        patches_in(path)?
    } else {
        vec![path.to_owned()]
    };
    let patches = files
        .into_iter()
        .map(|path| {
            let shown = path.strip_prefix(base).unwrap_or(&path);
            read_patch(shown.display().to_string(), path.clone())
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SelectedSeries {
        name: name.to_owned(),
        patches,
        needs: Vec::new(),
        base_commit: base_commit(path),
    })
}

/// The commit that the patches of a directory were made for, if it says so.
fn base_commit(directory: &Path) -> Option<String> {
    let text = bounded::read_own(&directory.join(BASE_COMMIT), 128).ok()?;
    let id = String::from_utf8(text).ok()?;
    let fit = id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    fit.then_some(id)
}

/// How the name of a cover letter ends, which `git format-patch` puts beside patches.
const COVER_LETTER: &str = "0000-cover-letter.patch";

/// The patches of a directory in the order of their names, as `git
/// format-patch` numbers them. Hidden files are an editor's.
fn patches_in(directory: &Path) -> Result<Vec<PathBuf>, SeriesError> {
    let unreadable = |reason: String| SeriesError::Unreadable {
        path: directory.to_owned(),
        reason,
    };
    let entries = std::fs::read_dir(directory)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(|error| unreadable(error.to_string()))?;
    let is_patch = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default();
        let is_one = extension == "patch" || extension == "diff";
        is_one && !name.starts_with('.') && !name.ends_with(COVER_LETTER)
    };
    let paths = entries.iter().map(std::fs::DirEntry::path);
    let mut files: Vec<PathBuf> = paths.filter(is_patch).collect();
    if files.is_empty() {
        return Err(unreadable("it holds no .patch or .diff file".to_owned()));
    }
    files.sort();
    Ok(files)
}

fn read_patch(name: String, path: PathBuf) -> Result<PatchFile, SeriesError> {
    let unreadable = |reason: String| SeriesError::Unreadable {
        path: path.clone(),
        reason,
    };
    let content = bounded::read_own(&path, PATCH_LIMIT);
    let content = content.map_err(|error| unreadable(error.to_string()))?;
    Ok(PatchFile {
        name,
        path,
        content,
    })
}

fn unknown(topics: &Path, name: &str) -> SeriesError {
    let mut known: Vec<String> = std::fs::read_dir(topics)
        .map(|entries| {
            entries
                .flatten()
                .filter(|entry| entry.path().join(DESCRIPTION).is_file())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    known.sort();
    SeriesError::Unknown {
        name: name.to_owned(),
        help: super::nearest(name, &known)
            .unwrap_or_else(|| format!("{} holds no series at all", topics.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "title: One\nneeds: [CONFIG_DEBUG_VFS]\nranges:\n\
        - { from: \"6.12\", before: \"6.13\", directory: \"6.12\", patches: [a.patch] }\n\
        - { from: \"7.3\", before: \"7.4\", directory: \"7.3\", patches: [b.patch, a.patch] }\n";

    fn topics(yaml: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let topic = root.path().join("vfs-sync-owner");
        for range in ["6.12", "7.3"] {
            std::fs::create_dir_all(topic.join(range)).unwrap();
            for file in ["a.patch", "b.patch"] {
                std::fs::write(topic.join(range).join(file), format!("{range} {file}")).unwrap();
            }
        }
        std::fs::write(topic.join(DESCRIPTION), yaml).unwrap();
        root
    }

    fn choose(root: &Path, name: &str, version: &str) -> Result<Vec<SelectedSeries>, SeriesError> {
        select(root, root, &[name.to_owned()], &version.parse().unwrap())
    }

    #[test]
    fn the_range_with_the_version_is_taken_in_order() {
        let root = topics(YAML);
        let found = choose(root.path(), "vfs-sync-owner", "7.3.4").unwrap();
        let contents: Vec<_> = found[0].patches.iter().map(|p| &p.content[..]).collect();
        assert_eq!(contents, [&b"7.3 b.patch"[..], b"7.3 a.patch"]);
        assert_eq!(found[0].needs, ["CONFIG_DEBUG_VFS"]);
    }

    #[test]
    fn a_version_between_the_ranges_names_them() {
        let root = topics(YAML);
        for version in ["6.11.9", "6.13", "7.4-rc1"] {
            let error = choose(root.path(), "vfs-sync-owner", version).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains("6.12 to before 6.13; 7.3 to before 7.4"),
                "{text}"
            );
            // The arm has no kernel; the run goes on.
            assert_eq!(error.exit(), Exit::Undecided);
        }
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let root = topics(YAML);
        let SeriesError::Unknown { help, .. } =
            choose(root.path(), "vfs-sync-onwer", "7.3").unwrap_err()
        else {
            panic!("another error");
        };
        assert!(help.contains("`vfs-sync-owner`"), "{help}");
    }

    #[test]
    fn loose_patches_are_found_beside_the_job() {
        let root = topics(YAML);
        let job = root.path().join("vfs-sync-owner");
        let names = ["7.3".to_owned(), "6.12/a.patch".to_owned()];
        let found = select(root.path(), &job, &names, &"5.4".parse().unwrap()).unwrap();
        assert_eq!(found[0].patches.len(), 2);
        assert_eq!(found[0].patches[0].name, "7.3/a.patch");
        assert_eq!(found[1].patches[0].content, b"6.12 a.patch");
    }

    #[test]
    fn a_description_cannot_reach_outside_its_topic() {
        let root = topics(&YAML.replace("[a.patch]", "[../../secret]"));
        let error = choose(root.path(), "vfs-sync-owner", "7.3").unwrap_err();
        assert!(matches!(error, SeriesError::Description { .. }), "{error}");
    }

    #[test]
    fn a_patch_of_another_series_is_the_one_for_the_same_kernel() {
        let root = topics(YAML);
        let topic = root.path().join("alternative");
        std::fs::create_dir_all(topic.join("all")).unwrap();
        std::fs::write(topic.join("all/own.patch"), "own").unwrap();
        let describe = |patch: &str| {
            let yaml = format!(
                "title: Two\nranges:\n  - from: \"6.1\"\n    directory: all\n    patches:\n\
                 \x20     - own.patch\n      - {{ series: vfs-sync-owner, patch: {patch} }}\n"
            );
            std::fs::write(topic.join(DESCRIPTION), yaml).unwrap();
        };

        describe("b.patch");
        let found = choose(root.path(), "alternative", "7.3.4").unwrap();
        let names: Vec<_> = found[0].patches.iter().map(|p| &p.name[..]).collect();
        assert_eq!(names, ["alternative/own.patch", "vfs-sync-owner/b.patch"]);
        assert_eq!(found[0].patches[1].content, b"7.3 b.patch");

        // With its owner it is applied once, whichever comes first.
        for names in [
            ["vfs-sync-owner", "alternative"],
            ["alternative", "vfs-sync-owner"],
        ] {
            let names = names.map(str::to_owned);
            let version = "7.3".parse().unwrap();
            let found = select(root.path(), root.path(), &names, &version).unwrap();
            assert_eq!(found[0].patches.len(), 2);
            assert_eq!(found[1].patches.len(), 1);
        }

        // 6.12 has the file, but the series does not list it there.
        let error = choose(root.path(), "alternative", "6.12.1").unwrap_err();
        assert!(error.to_string().contains("no patch b.patch"), "{error}");
        let error = choose(root.path(), "alternative", "7.4").unwrap_err();
        assert!(matches!(error, SeriesError::NoRange { .. }), "{error}");
        describe("../b.patch");
        let error = choose(root.path(), "alternative", "7.3").unwrap_err();
        assert!(error.to_string().contains("outside"), "{error}");
    }

    #[test]
    fn a_series_names_those_that_come_before_it() {
        let root = topics(YAML);
        let topic = root.path().join("second");
        std::fs::create_dir_all(&topic).unwrap();
        let describe = |after: &str| {
            let yaml = format!("title: Two\nafter: [{after}]\nranges: []\n");
            std::fs::write(topic.join(DESCRIPTION), yaml).unwrap();
        };
        let before = || Series::load(&topic)?.before(&"7.3.4".parse().unwrap());
        describe("vfs-sync-owner");
        let patches = before().unwrap();
        let names: Vec<_> = patches.iter().map(|patch| &patch.name[..]).collect();
        assert_eq!(names, ["vfs-sync-owner/b.patch", "vfs-sync-owner/a.patch"]);
        describe("../vfs-sync-owner");
        let error = before().unwrap_err().to_string();
        assert!(error.contains("no such series beside this one"), "{error}");
    }

    /// A cover letter goes out as it is written.
    #[test]
    fn the_cover_letters_of_this_repository_can_be_sent() {
        let patches = Path::new(env!("CARGO_MANIFEST_DIR")).join("patches");
        for topic in ["ceph-iput-writeback", "ceph-iput-handlers"] {
            let series = Series::load(&patches.join(topic)).unwrap();
            let cover = series.cover.unwrap();
            for name in ["kvet", "ceph-iput-"] {
                assert!(!cover.contains(name), "{topic} says {name}");
            }
            let long = |line: &&str| line.len() > 72 && !line.starts_with("Link: ");
            assert_eq!(cover.lines().find(long), None, "{topic}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let root = topics(&YAML.replace("needs:", "need:"));
        let text = choose(root.path(), "vfs-sync-owner", "7.3")
            .unwrap_err()
            .to_string();
        assert!(text.contains("need") && text.contains("line 2"), "{text}");
    }

    #[test]
    fn a_cover_letter_beside_patches_is_none_of_them() {
        let home = tempfile::tempdir().unwrap();
        for name in [
            "0000-cover-letter.patch",
            "v2-0000-cover-letter.patch",
            "0002-b.patch",
            ".0003-c.patch.swp.patch",
            "0001-a.patch",
        ] {
            std::fs::write(home.path().join(name), name).unwrap();
        }
        let found = select_at(home.path(), &"7.3".parse().unwrap()).unwrap();
        let contents: Vec<_> = found.patches.iter().map(|p| &p.content[..]).collect();
        assert_eq!(contents, [&b"0001-a.patch"[..], b"0002-b.patch"]);
    }
}
