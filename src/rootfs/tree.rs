//! From a recipe to a tree of files: programs, loaders, libraries; then to the
//! key of its content, and to the image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cpio::{Archive, Node};
use super::library::Search;
use super::{ExtraFile, Recipe, RootfsError, elf};
use crate::guest::MARKER;
use crate::process::find_program;
use crate::store::{Key, io_error};

/// Where kvet itself is.
const AGENT_PLACE: &str = "bin/kvet";

/// Changes whenever the tree's layout does, so that keys do.
const LAYOUT: &str = "rootfs 1";

/// The most that a directory of the host may bring. A built xfstests has some
/// 8,000 files and 100 MiB.
const MOST_FILES: u64 = 50_000;
const MOST_BYTES: u64 = 512 << 20;

/// Directories that exist whether or not anything is in them.
const DIRECTORIES: &[&str] = &["bin", "dev", "mnt", "proc", "run", "sys", "tmp"];

/// A tree of files by their paths in the guest, without leading slash.
#[derive(Debug)]
pub(super) struct Tree {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Plain(Node),
    Copy(Source),
}

/// A file of the host that is copied.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    node: Node,
    /// For ELF files, how much of it is loaded; the rest is left out.
    loaded: Option<u64>,
}

/// Collects everything a recipe asks for.
pub(super) fn gather(recipe: &Recipe, agent: &Path) -> Result<Tree, RootfsError> {
    let mut tree = Tree {
        entries: BTreeMap::new(),
    };
    for directory in DIRECTORIES {
        tree.directory(directory);
    }
    // Before devtmpfs is there, the kernel opens this one for PID 1.
    tree.plain("dev/console", Node::Device(5, 1));
    tree.plain(MARKER.trim_start_matches('/'), Node::File);
    tree.plain("init", Node::Link(AGENT_PLACE.to_owned()));
    let mut programs = vec![(AGENT_PLACE.to_owned(), agent.to_owned())];
    for name in recipe.from_host() {
        let path = find_program(name).ok_or_else(|| RootfsError::NoProgram {
            recipe: recipe.name.clone(),
            program: name.to_owned(),
        })?;
        let file_name = Path::new(name).file_name().unwrap_or(name.as_ref());
        programs.push((format!("bin/{}", file_name.to_string_lossy()), path));
    }
    let search = Search::of_host();
    let mut libraries = BTreeMap::new();
    for (place, path) in programs {
        tree.program(&place, &path, &search, &mut libraries)?;
    }
    for ExtraFile { from, to } in &recipe.trees {
        tree.links_to_programs();
        tree.directory_of_host(from, to.trim_start_matches('/'), &search, &mut libraries)?;
    }
    tree.place_libraries(libraries)?;
    for file in &recipe.files {
        let source = Source {
            node: Node::File,
            loaded: None,
            path: file.from.clone(),
        };
        tree.copy(file.to.trim_start_matches('/'), source)?;
    }
    Ok(tree)
}

/// A program with its loader and libraries, and nothing else.
pub(super) fn program(name: &str, path: &Path) -> Result<Tree, RootfsError> {
    let mut tree = Tree {
        entries: BTreeMap::new(),
    };
    let mut libraries = BTreeMap::new();
    tree.program(name, path, &Search::of_host(), &mut libraries)?;
    tree.place_libraries(libraries)?;
    Ok(tree)
}

impl Tree {
    fn plain(&mut self, place: &str, node: Node) {
        self.parents(place);
        self.entries.insert(place.to_owned(), Entry::Plain(node));
    }

    fn directory(&mut self, place: &str) {
        self.plain(place, Node::Directory);
    }

    fn parents(&mut self, place: &str) {
        for (at, _) in place.match_indices('/') {
            self.entries
                .entry(place[..at].to_owned())
                .or_insert(Entry::Plain(Node::Directory));
        }
    }

    fn copy(&mut self, place: &str, source: Source) -> Result<(), RootfsError> {
        self.parents(place);
        if let Some(Entry::Copy(there)) = self.entries.get(place)
            && there.path != source.path
        {
            return Err(RootfsError::Collision {
                place: format!("/{place}"),
                one: there.path.clone(),
                other: source.path,
            });
        }
        self.entries.insert(place.to_owned(), Entry::Copy(source));
        Ok(())
    }

    /// Scripts name their interpreter, and other programs, by these paths, too.
    fn links_to_programs(&mut self) {
        for place in ["usr/bin", "sbin", "usr/sbin"] {
            self.plain(place, Node::Link("/bin".to_owned()));
        }
    }

    /// Adds a directory with all in it that a guest can use.
    fn directory_of_host(
        &mut self,
        from: &Path,
        to: &str,
        search: &Search,
        libraries: &mut BTreeMap<String, PathBuf>,
    ) -> Result<(), RootfsError> {
        let (mut entries, mut bytes) = (0u64, 0u64);
        let mut open = vec![(from.to_owned(), to.to_owned())];
        while let Some((directory, place)) = open.pop() {
            self.directory(&place);
            let listed = std::fs::read_dir(&directory).map_err(read_error(&directory))?;
            for entry in listed {
                let entry = entry.map_err(read_error(&directory))?;
                let (name, path) = (entry.file_name(), entry.path());
                let place = format!("{place}/{}", name.to_string_lossy());
                let data = entry.metadata().map_err(read_error(&path))?;
                entries += 1;
                if data.is_dir() {
                    if name != ".git" {
                        open.push((path, place));
                    }
                } else if data.is_symlink() {
                    let target = std::fs::read_link(&path).map_err(read_error(&path))?;
                    self.plain(&place, Node::Link(target.to_string_lossy().into_owned()));
                } else if data.is_file() && !is_object(&path) {
                    bytes = bytes.saturating_add(data.len());
                    if data.permissions().mode() & 0o111 != 0 {
                        self.program(&place, &path, search, libraries)?;
                    } else {
                        let (node, loaded) = (Node::File, None);
                        self.copy(&place, Source { path, node, loaded })?;
                    }
                }
                let what = match (entries > MOST_FILES, bytes > MOST_BYTES) {
                    (true, _) => format!("more than {MOST_FILES} files"),
                    (_, true) => format!("more than {} MiB", MOST_BYTES >> 20),
                    _ => continue,
                };
                let path = from.to_owned();
                return Err(RootfsError::TooMuch { path, what });
            }
        }
        Ok(())
    }

    /// Adds a program and its loader, and collects the libraries it and they
    /// need, by name.
    fn program(
        &mut self,
        place: &str,
        path: &Path,
        search: &Search,
        libraries: &mut BTreeMap<String, PathBuf>,
    ) -> Result<(), RootfsError> {
        let image = read_elf(path)?;
        self.copy(
            place,
            Source {
                path: path.to_owned(),
                node: Node::Program,
                loaded: image.as_ref().map(|image| image.loaded),
            },
        )?;
        let Some(image) = image else {
            return Ok(());
        };
        if let Some(loader) = &image.interpreter {
            let loader_image = read_elf(Path::new(loader))?;
            let source = Source {
                path: PathBuf::from(loader),
                node: Node::Program,
                loaded: loader_image.map(|image| image.loaded),
            };
            self.copy(loader.trim_start_matches('/'), source)?;
        }
        let mut open = vec![(path.to_owned(), image)];
        while let Some((path, image)) = open.pop() {
            let real = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            let origin = real.parent().unwrap_or(Path::new("/"));
            for name in &image.needed {
                // The loader is there already, under the name programs know.
                if libraries.contains_key(name) || name.starts_with("ld-linux") {
                    continue;
                }
                let missing = || RootfsError::NoLibrary {
                    program: path.clone(),
                    library: name.clone(),
                };
                let found = search
                    .find(name, image.machine, origin, &image.run_path)
                    .ok_or_else(missing)?;
                let next = read_elf(&found)?.ok_or_else(missing)?;
                libraries.insert(name.clone(), found.clone());
                open.push((found, next));
            }
        }
        Ok(())
    }

    /// The guest has no loader cache: all libraries go where libc is, which is
    /// a directory that the loader searches in any case.
    fn place_libraries(&mut self, libraries: BTreeMap<String, PathBuf>) -> Result<(), RootfsError> {
        let directory = libraries
            .get("libc.so.6")
            .and_then(|path| path.parent())
            .unwrap_or(Path::new("/lib"))
            .to_string_lossy()
            .trim_start_matches('/')
            .to_owned();
        for (name, path) in libraries {
            let place = if name.contains('/') {
                name.trim_start_matches('/').to_owned()
            } else {
                format!("{directory}/{name}")
            };
            let loaded = read_elf(&path)?.map(|image| image.loaded);
            self.copy(
                &place,
                Source {
                    path,
                    node: Node::Program,
                    loaded,
                },
            )?;
        }
        Ok(())
    }

    /// A key of every path, kind and content.
    pub(super) fn key(&self) -> Result<Key, RootfsError> {
        let mut parts = vec![LAYOUT.as_bytes().to_vec()];
        for (place, entry) in &self.entries {
            parts.push(place.as_bytes().to_vec());
            match entry {
                Entry::Plain(node) => parts.push(format!("{node:?}").into_bytes()),
                Entry::Copy(source) => {
                    let digest = source.digest().map_err(read_error(&source.path))?;
                    parts.push(format!("{:?}", source.node).into_bytes());
                    parts.push(digest);
                }
            }
        }
        Ok(Key::of(parts))
    }

    /// Writes the image.
    pub(super) fn write(&self, path: &Path) -> Result<(), RootfsError> {
        let file = File::create(path).map_err(io_error("create", path))?;
        let mut archive = Archive::new(BufWriter::new(file));
        let failed = || io_error("write", path);
        for (place, entry) in &self.entries {
            match entry {
                Entry::Plain(node) => archive.node(place, node).map_err(failed())?,
                Entry::Copy(source) => {
                    let (length, content) = source.open().map_err(read_error(&source.path))?;
                    archive
                        .file(place, &source.node, length, content)
                        .map_err(failed())?;
                }
            }
        }
        let mut out = archive.finish().map_err(failed())?;
        out.flush().map_err(failed())?;
        Ok(())
    }
}

impl Tree {
    /// Writes the files side by side, the loader as `ld.so`; their names.
    pub(super) fn write_flat(&self, directory: &Path) -> Result<Vec<String>, RootfsError> {
        let mut names = Vec::new();
        for (place, entry) in &self.entries {
            let Entry::Copy(source) = entry else { continue };
            let name = place.rsplit('/').next().unwrap_or(place);
            let name = if name.starts_with("ld-") {
                "ld.so"
            } else {
                name
            };
            let to = directory.join(name);
            let (_, mut content) = source.open().map_err(read_error(&source.path))?;
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o755)
                .open(&to)
                .map_err(io_error("create", &to))?;
            io::copy(&mut content, &mut file).map_err(io_error("write", &to))?;
            names.push(name.to_owned());
        }
        Ok(names)
    }
}

/// What a compiler left on its way to a program.
fn is_object(path: &Path) -> bool {
    let extension = path.extension().and_then(|end| end.to_str());
    matches!(extension, Some("o" | "lo" | "a" | "la"))
}

impl Source {
    /// A hash of the copy's bytes.
    fn digest(&self) -> io::Result<Vec<u8>> {
        let (_, mut content) = self.open()?;
        let mut hash = Sha256::new();
        let mut block = vec![0; 64 << 10];
        loop {
            let length = content.read(&mut block)?;
            if length == 0 {
                return Ok(hash.finalize().to_vec());
            }
            hash.update(&block[..length]);
        }
    }

    /// How long the copy is, and its bytes.
    fn open(&self) -> io::Result<(u64, Box<dyn Read>)> {
        // A device or a FIFO in its place may have no end.
        if !self.path.metadata()?.is_file() {
            let problem = "it is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let mut file = File::open(&self.path)?;
        let Some(loaded) = self.loaded else {
            return Ok((file.metadata()?.len(), Box::new(file)));
        };
        let mut header = [0; 64];
        file.read_exact(&mut header)?;
        elf::without_sections(&mut header);
        let rest = file.take(loaded.saturating_sub(64));
        Ok((loaded, Box::new(Cursor::new(header).chain(rest))))
    }
}

fn read_elf(path: &Path) -> Result<Option<elf::Image>, RootfsError> {
    File::open(path)
        .and_then(|file| elf::read(&file))
        .map_err(read_error(path))
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> RootfsError {
    let path = path.to_owned();
    move |source| RootfsError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(programs: &[&str]) -> Recipe {
        Recipe {
            name: "test".into(),
            about: "a test's".into(),
            programs: programs.iter().map(|name| (*name).to_owned()).collect(),
            files: vec![],
            ..Recipe::default()
        }
    }

    #[test]
    fn a_program_comes_with_loader_and_libraries() {
        let tree = gather(&recipe(&["kvet", "sh"]), Path::new("/bin/true")).unwrap();
        let places: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
        for place in ["init", "bin/kvet", "bin/sh", "dev/console"] {
            assert!(places.contains(&place), "{place} in {places:?}");
        }
        assert!(places.iter().any(|place| place.contains("ld-linux")));
        assert!(places.iter().any(|place| place.ends_with("/libc.so.6")));
        for place in &places {
            for (at, _) in place.match_indices('/') {
                assert!(places.contains(&&place[..at]), "{place} has no parent");
            }
        }
    }

    #[test]
    fn a_file_without_end_is_not_copied() {
        let mut recipe = recipe(&["kvet"]);
        recipe.files.push(crate::rootfs::recipe::ExtraFile {
            from: "/dev/zero".into(),
            to: "/etc/zero".into(),
        });
        let tree = gather(&recipe, Path::new("/bin/true")).unwrap();
        let error = tree.key().unwrap_err();
        assert!(matches!(error, RootfsError::Read { .. }), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = gather(&recipe(&["no-such-program"]), Path::new("/bin/true")).unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
    }

    #[test]
    fn the_key_follows_content_and_not_paths() {
        let home = tempfile::tempdir().unwrap();
        let agent = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            gather(&recipe(&[]), &path).unwrap().key().unwrap()
        };
        let key = agent("one", "content");
        assert_eq!(agent("other", "content"), key);
        assert_ne!(agent("one", "changed"), key);
    }

    #[test]
    fn two_writes_give_the_same_bytes() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = home.path().join(name);
            let tree = gather(&recipe(&[]), Path::new("/bin/true")).unwrap();
            tree.write(&path).unwrap();
            std::fs::read(path).unwrap()
        };
        assert_eq!(write("one"), write("two"));
    }

    #[test]
    fn a_directory_comes_with_all_that_a_guest_can_use() {
        let suite = tempfile::tempdir().unwrap();
        let path = |name: &str| suite.path().join(name);
        for directory in [".git", "tests/generic"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        for (name, mode) in [
            ("check", 0o755),
            ("tests/generic/001", 0o755),
            ("x.o", 0o644),
            ("list", 0o644),
            (".git/HEAD", 0o644),
        ] {
            std::fs::write(path(name), "#!/bin/bash\n").unwrap();
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("check", path("link")).unwrap();
        let mut tree = Tree {
            entries: BTreeMap::new(),
        };
        let mut libraries = BTreeMap::new();
        let search = Search::of_host();
        tree.directory_of_host(suite.path(), "suite", &search, &mut libraries)
            .unwrap();
        let places: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
        let expected = [
            "suite",
            "suite/check",
            "suite/link",
            "suite/list",
            "suite/tests",
            "suite/tests/generic",
            "suite/tests/generic/001",
        ];
        assert_eq!(places, expected);
        let is_program = |place: &str| {
            matches!(
                &tree.entries[place],
                Entry::Copy(Source {
                    node: Node::Program,
                    ..
                })
            )
        };
        assert!(is_program("suite/check") && !is_program("suite/list"));
    }
}
