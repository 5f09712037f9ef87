//! Names that people write in jobs, in workloads and on the command line: what
//! they lead to, and what was probably meant where they lead nowhere.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use crate::bounded;
use crate::yaml_shape;

/// The most bytes that a job, a workload or a recipe may have. Those that come
/// with kvet have some thousand.
pub(crate) const LARGEST: u64 = 1 << 20;

/// How alike two words are to be taken for each other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.7;

/// "did you mean …?", if one of the known words is near enough.
pub(crate) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(wrong, word), word))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| format!("did you mean `{word}`?"))
}

/// The same for serde's "unknown field `x`, expected one of `a`, `b`".
pub(crate) fn did_you_mean_in(message: &str) -> Option<String> {
    let at = message.find("unknown ")?;
    let mut words = message[at..].split('`').skip(1).step_by(2);
    let wrong = words.next()?;
    did_you_mean(wrong, words)
}

/// Texts that come with kvet, by name.
pub(crate) type Shipped = [(&'static str, &'static str)];

/// A text that a name led to.
pub(crate) struct Named {
    /// Its file; one that came with kvet lies in kvet's sources.
    pub file: PathBuf,
    /// The text.
    pub text: Cow<'static, str>,
}

/// A name led to no text.
pub(crate) enum Missing {
    /// None of this name comes with kvet.
    Unknown,
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
}

/// Finds a text: one that comes with kvet (from `directory` of its sources), by
/// name, or a file relative to `base` if `name` looks like a path: has a `/` or
/// ends in `.yaml`.
pub(crate) fn find(
    shipped: &Shipped,
    directory: &str,
    name: &str,
    base: &Path,
) -> Result<Named, Missing> {
    let is_path = name.contains('/')
        || Path::new(name)
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_path {
        let path = base.join(name);
        let text = bounded::read_text(&path, LARGEST).and_then(|text| {
            yaml_shape::check(&text).map_err(|wrong| {
                let place = format!("{}:{}: {}", wrong.line, wrong.column, wrong.message);
                io::Error::new(io::ErrorKind::InvalidData, place)
            })?;
            Ok(text)
        });
        return match text {
            Ok(text) => Ok(Named {
                file: path,
                text: text.into(),
            }),
            Err(error) => Err(Missing::Unreadable(path, error)),
        };
    }
    let found = shipped.iter().find(|(shipped, _)| *shipped == name);
    let (_, text) = found.ok_or(Missing::Unknown)?;
    Ok(Named {
        file: Path::new(directory).join(format!("{name}.yaml")),
        text: Cow::Borrowed(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_s_words_lead_to_the_nearest() {
        let said = |message| did_you_mean_in(message);
        assert_eq!(
            said("arms: unknown field `patchs`, expected one of `control`, `patches`").as_deref(),
            Some("did you mean `patches`?"),
        );
        assert_eq!(said("unknown field `zzz`, expected `name`"), None);
        assert_eq!(said("missing field `name`"), None);
    }

    #[test]
    fn a_name_that_looks_like_a_path_is_one() {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("own.yaml"), "mine").unwrap();
        let text = |name| match find(&[("own", "shipped")], "texts", name, base.path()) {
            Ok(named) => named.text,
            Err(Missing::Unknown) => "unknown".into(),
            Err(Missing::Unreadable(path, _)) => path.display().to_string().into(),
        };
        assert_eq!(text("own"), "shipped");
        assert_eq!(text("own.yaml"), "mine");
        assert_eq!(text("./own.yaml"), "mine");
        assert_eq!(text("other"), "unknown");
        assert!(text("own/other").ends_with("own/other"));
    }
}
