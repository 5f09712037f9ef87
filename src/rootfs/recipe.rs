//! What goes into a root file system, as YAML says it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::RootfsError;
use crate::library;
use crate::names::{self, Missing, Named};

/// What recipes call this very program.
const AGENT: &str = "kvet";

/// Where in kvet's sources the recipes are that come with it.
const DIRECTORY: &str = "rootfs";

/// The recipes that come with kvet, by name.
static SHIPPED: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| library::texts(DIRECTORY, ".yaml"));

/// A list of what to copy from the host. kvet itself is always part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Programs by name, as found on PATH, or by path. They end up in the
    /// guest's `/bin` with the libraries they need. `kvet` is this very
    /// program.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Further files, copied as they are.
    #[serde(default)]
    pub files: Vec<ExtraFile>,
    /// Further directories, copied with all in them but `.git` and object files.
    /// Programs in them get the libraries they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<ExtraFile>,
    /// Other recipes by name, whose programs and files this one has, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Debian packages that have what the host may lack of all this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A file that a program needs at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraFile {
    /// Where it is on the host; relative to the recipe.
    pub from: PathBuf,
    /// Where it goes in the guest, absolute.
    pub to: String,
}

impl Recipe {
    /// The names of the recipes that come with kvet.
    #[must_use]
    pub fn shipped() -> Vec<&'static str> {
        SHIPPED.iter().map(|(name, _)| *name).collect()
    }

    /// Finds a recipe: one that comes with kvet, by name, or a file relative
    /// to `base` if `name` looks like a path.
    pub fn find(name: &str, base: &Path) -> Result<Self, RootfsError> {
        match names::find(&SHIPPED, DIRECTORY, name, base) {
            Ok(Named { file, text }) => {
                let mut recipe = Self::load(&file.display().to_string(), &text)?;
                let directory = file.parent().unwrap_or(base).to_owned();
                recipe.set_out_from(&directory);
                recipe.with_others(&directory)
            }
            Err(Missing::Unknown) => Err(RootfsError::Unknown {
                name: name.to_owned(),
            }),
            Err(Missing::Unreadable(path, source)) => Err(RootfsError::Read { path, source }),
        }
    }

    /// Reads a recipe's text; `path` is what errors call it.
    pub fn load(path: &str, text: &str) -> Result<Self, RootfsError> {
        let wrong = |message: String| RootfsError::Recipe {
            path: path.to_owned(),
            message,
        };
        let recipe: Self = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for file in recipe.files.iter().chain(&recipe.trees) {
            let plain = file.to.starts_with('/')
                && file.to.len() > 1
                && file.to[1..]
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | ".."));
            if !plain {
                return Err(wrong(format!(
                    "`to: {}` is not an absolute path of a file",
                    file.to
                )));
            }
        }
        // apt-get takes other words for options, files of the host, and requests to
        // remove something.
        if let Some(package) = recipe.packages.iter().find(|name| !is_package(name)) {
            return Err(wrong(format!(
                "`{package}` under `packages` is not the name of a Debian package"
            )));
        }
        Ok(recipe)
    }

    /// This one with all that another one has.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.programs.extend_from_slice(&other.programs);
        self.files.extend_from_slice(&other.files);
        self.trees.extend_from_slice(&other.trees);
        self.packages.extend_from_slice(&other.packages);
        self
    }

    /// This one with all that the recipes have that it names. Those name none.
    fn with_others(mut self, base: &Path) -> Result<Self, RootfsError> {
        for name in std::mem::take(&mut self.with) {
            if name == self.name {
                continue;
            }
            let named = names::find(&SHIPPED, DIRECTORY, &name, base);
            let Ok(Named { file, text }) = named else {
                return Err(RootfsError::Unknown { name });
            };
            let mut other = Self::load(&file.display().to_string(), &text)?;
            other.set_out_from(file.parent().unwrap_or(base));
            self = self.and(&other);
        }
        Ok(self)
    }

    /// What is copied from the host besides programs, by its path there.
    pub fn extras(&self) -> impl Iterator<Item = &Path> {
        let all = self.files.iter().chain(&self.trees);
        all.map(|file| file.from.as_path())
    }

    /// The programs that are copied from the host.
    pub fn from_host(&self) -> impl Iterator<Item = &str> {
        let programs = self.programs.iter().map(String::as_str);
        programs.filter(|program| *program != AGENT)
    }

    /// Whether a guest finds a program of this name.
    #[must_use]
    pub fn has(&self, program: &str) -> bool {
        let mut all = self.programs.iter().map(Path::new);
        all.any(|path| path.file_name().is_some_and(|name| name == program))
    }

    /// Takes relative paths as from `directory`, the recipe's own.
    fn set_out_from(&mut self, directory: &Path) {
        for program in &mut self.programs {
            if program.contains('/') {
                *program = directory.join(&program).display().to_string();
            }
        }
        for file in self.files.iter_mut().chain(&mut self.trees) {
            file.from = directory.join(&file.from);
        }
    }
}

/// Whether a word is a package's name (deb-control(5), under Package), perhaps with an
/// architecture behind it.
pub(crate) fn is_package(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (word, architecture) = word.split_once(':').unwrap_or((word, "any"));
    let is_one = |byte: u8| plain(byte) || byte == b'-';
    if architecture.is_empty() || !architecture.bytes().all(is_one) || architecture.ends_with('-') {
        return false;
    }
    word.len() >= 2
        && word
            .bytes()
            .all(|byte| plain(byte) || b"+-.".contains(&byte))
        && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !word.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_recipes_are_recipes_of_their_name() {
        assert!(Recipe::shipped().contains(&"kvet"));
        for name in Recipe::shipped() {
            assert_eq!(Recipe::find(name, Path::new(".")).unwrap().name, name);
        }
    }

    #[test]
    fn files_go_to_plain_absolute_paths() {
        for (to, good) in [
            ("/etc/x", true),
            ("etc/x", false),
            ("/a/../b", false),
            ("/", false),
        ] {
            let text = format!("name: r\nabout: x\nfiles: [{{ from: /x, to: \"{to}\" }}]");
            assert_eq!(Recipe::load("r.yaml", &text).is_ok(), good, "{to}");
        }
    }

    #[test]
    fn paths_in_a_recipe_begin_where_it_is() {
        let base = tempfile::tempdir().unwrap();
        let text = "name: own\nabout: x\nprograms: [dd, ./tools/ls, /bin/cat]\n\
                    files: [{ from: data, to: /data }]\n";
        std::fs::create_dir(base.path().join("sub")).unwrap();
        std::fs::write(base.path().join("sub/own.yaml"), text).unwrap();
        let recipe = Recipe::find("sub/own.yaml", base.path()).unwrap();
        let tool = base.path().join("sub/./tools/ls").display().to_string();
        assert_eq!(recipe.programs, ["dd", &tool, "/bin/cat"]);
        assert_eq!(recipe.files[0].from, base.path().join("sub/data"));
        assert!(recipe.has("ls") && recipe.has("cat") && !recipe.has("data"));
    }

    #[test]
    fn a_recipe_has_what_the_recipes_have_that_it_names() {
        let base = tempfile::tempdir().unwrap();
        let text = "name: own\nabout: x\nwith: [fio]\ntrees: [{ from: suite, to: /suite }]\n";
        std::fs::write(base.path().join("own.yaml"), text).unwrap();
        let recipe = Recipe::find("./own.yaml", base.path()).unwrap();
        assert!(recipe.has("fio") && recipe.packages == ["fio"]);
        assert_eq!(
            recipe.extras().collect::<Vec<_>>(),
            [base.path().join("suite")]
        );
        std::fs::write(base.path().join("own.yaml"), text.replace("fio", "foi")).unwrap();
        let error = Recipe::find("./own.yaml", base.path()).unwrap_err();
        assert!(matches!(error, RootfsError::Unknown { .. }), "{error}");
    }

    #[test]
    fn what_apt_would_not_take_for_a_package_is_refused() {
        let load = |package: &str| {
            let text = format!("name: r\nabout: x\npackages: [fio, \"{package}\"]");
            Recipe::load("r.yaml", &text)
        };
        for package in [
            "g++",
            "libstdc++6",
            "linux-source-6.12",
            "0ad",
            "libc6:i386",
        ] {
            load(package).unwrap();
        }
        for word in [
            "-oDPkg::Pre-Invoke::=sh",
            "--purge",
            "./x.deb",
            "/tmp/x.deb",
            "libc6-",
            "libc6:i386-",
            "libc6:",
            "fio -y",
            "fio=1",
            "fio/sid",
            "fio;sh",
            "~i",
            "",
        ] {
            let error = load(word).unwrap_err().to_string();
            assert!(error.contains("under `packages`"), "{word}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_line() {
        let error = Recipe::load("r.yaml", "name: r\nabout: x\nprogram: [ls]").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("r.yaml") && text.contains("line 3"), "{text}");
    }
}
