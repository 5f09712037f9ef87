//! What goes into a root file system, as YAML says it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RootfsError;

/// The recipes that come with kvet, by name.
const SHIPPED: &[(&str, &str)] = &[
    ("kvet", include_str!("../../rootfs/kvet.yaml")),
    ("fio", include_str!("../../rootfs/fio.yaml")),
    ("shell", include_str!("../../rootfs/shell.yaml")),
];

/// A list of what to copy from the host. kvet itself is always part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Programs by name, as found on PATH, or by absolute path. They end up
    /// in the guest's `/bin` with the libraries they need. `kvet` is this
    /// very program.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Further files, copied as they are.
    #[serde(default)]
    pub files: Vec<ExtraFile>,
}

/// A file that a program needs at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraFile {
    /// Where it is on the host.
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
        let is_path = name.contains('/')
            || Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_path {
            let path = base.join(name);
            let text = std::fs::read_to_string(&path).map_err(|source| RootfsError::Read {
                path: path.clone(),
                source,
            })?;
            return Self::load(&path.display().to_string(), &text);
        }
        let (_, text) = SHIPPED
            .iter()
            .find(|(shipped, _)| *shipped == name)
            .ok_or_else(|| RootfsError::Unknown {
                name: name.to_owned(),
            })?;
        Self::load(&format!("rootfs/{name}.yaml"), text)
    }

    /// Reads a recipe's text; `path` is what errors call it.
    pub fn load(path: &str, text: &str) -> Result<Self, RootfsError> {
        let wrong = |message: String| RootfsError::Recipe {
            path: path.to_owned(),
            message,
        };
        let recipe: Self = serde_yaml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for file in &recipe.files {
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
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_recipes_are_recipes_of_their_name() {
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
    fn an_unknown_key_is_shown_with_its_line() {
        let error = Recipe::load("r.yaml", "name: r\nabout: x\nprogram: [ls]").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("r.yaml") && text.contains("line 3"), "{text}");
    }
}
