//! A kernel's source as the command line says it, in a word: `7.3.4`,
//! `kernel.org:6.17.3`, `git:DIR@REF`, an archive, a directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::spec::SourceSpec;
use super::{debian, git};
use crate::error::{Exit, Fault};
use crate::kernel::version::KernelVersion;

/// What there is, for those whose word is none of it.
const FORMS: &str = "\
    a version (`7.3.4`, Debian's source of it), `debian:PACKAGE[=VERSION][/SUITE]`, \
    `kernel.org:VERSION` (or `latest-stable`, `latest-mainline`, `longterm`, `6.12.y`), an archive (`linux.tar.xz`, `https://…#sha256=DIGEST`), a directory \
    (`.` is the tree you are in), or `git:REPOSITORY@REF`";

/// The ends of archives' names.
const ARCHIVES: &[&str] = &[".tar", ".tar.xz", ".tar.gz", ".tgz", ".txz", ".deb"];

/// A word names no source of a kernel.
#[derive(Debug, Error, Diagnostic)]
pub enum WordError {
    /// It has none of the forms.
    #[error("`{word}` names no kernel: {reason}")]
    #[diagnostic(help("--kernel takes {FORMS}"))]
    Form {
        /// The word.
        word: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory is not to be read.
    #[error("cannot read the kernel {}", path.display())]
    #[diagnostic(help("--kernel takes {FORMS}"))]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory holds no kernel.
    #[error("{} holds no kernel tree: its top Makefile states no version", path.display())]
    #[diagnostic(help(
        "name the top directory of a Linux tree; `git:DIR@REF` takes a commit of one"
    ))]
    NoKernel {
        /// The directory.
        path: PathBuf,
    },
}

impl Fault for WordError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl SourceSpec {
    /// The source that a word of the command line names. Paths are taken from the
    /// working directory; an archive's digest is that of its content now.
    pub fn from_word(word: &str) -> Result<Self, WordError> {
        let wrong = |reason: String| WordError::Form {
            word: word.to_owned(),
            reason,
        };
        if let Some(rest) = word.strip_prefix("debian:") {
            return from_debian(rest).map_err(wrong);
        }
        let released = word.strip_prefix("kernel.org:");
        if let Ok(channel) = released.unwrap_or(word).parse() {
            return Ok(Self::Newest { channel });
        }
        if let Some(version) = released {
            let version: KernelVersion =
                version.parse().map_err(|error| wrong(format!("{error}")))?;
            return Ok(Self::Release { version });
        }
        if let Some(rest) = word.strip_prefix("git:") {
            return from_git(rest).map_err(wrong);
        }
        if word.starts_with("https://") || word.starts_with("http://") {
            return from_address(word).map_err(wrong);
        }
        let path = Path::new(word);
        if !path.exists()
            && let Ok(version) = word.parse::<KernelVersion>()
        {
            return Ok(of_debian(&version, None));
        }
        if !path.exists() && !word.contains('/') && !is_archive(word) {
            return Err(wrong(
                "it is neither a version nor the name of a file here".to_owned(),
            ));
        }
        from_path(path)
    }
}

/// `PACKAGE[=VERSION][/SUITE]` as apt takes them, or a kernel's version for the
/// package.
fn from_debian(text: &str) -> Result<SourceSpec, String> {
    let (text, suite) = match text.split_once('/') {
        Some((text, suite)) => (text, Some(suite.to_owned())),
        None => (text, None),
    };
    if let Ok(version) = text.parse::<KernelVersion>() {
        return Ok(of_debian(&version, suite));
    }
    let (package, version) = match text.split_once('=') {
        Some((package, version)) => (package.to_owned(), Some(version.to_owned())),
        None => (text.to_owned(), None),
    };
    debian::check_words(&package, version.as_deref(), suite.as_deref())?;
    Ok(SourceSpec::Debian {
        package,
        version,
        suite,
    })
}

/// Debian's package of a kernel version: `6.12.117` is in linux-source-6.12.
fn of_debian(version: &KernelVersion, suite: Option<String>) -> SourceSpec {
    let text = version.to_string();
    let branch: Vec<&str> = text.splitn(3, '.').take(2).collect();
    SourceSpec::Debian {
        package: format!("linux-source-{}", branch.join(".")),
        version: (text.matches('.').count() > 1).then_some(text),
        suite,
    }
}

/// `REPOSITORY@REF`; a path is made absolute, an address stays.
fn from_git(text: &str) -> Result<SourceSpec, String> {
    let (repo, reference) = text
        .rsplit_once('@')
        .filter(|(repo, reference)| !repo.is_empty() && !reference.is_empty())
        .ok_or("it needs a commit: `git:REPOSITORY@REF`, such as `git:.@HEAD`")?;
    git::check_words(repo, reference)?;
    let absolute = Path::new(repo).is_dir().then(|| absolute(Path::new(repo)));
    Ok(SourceSpec::Git {
        repo: absolute.map_or_else(|| repo.to_owned(), |path| path.display().to_string()),
        reference: reference.to_owned(),
    })
}

/// `URL#sha256=DIGEST`
fn from_address(text: &str) -> Result<SourceSpec, String> {
    let (url, sha256) = text
        .split_once("#sha256=")
        .ok_or("an address needs the digest of what is to arrive: `URL#sha256=DIGEST`")?;
    let sha256 = sha256.to_ascii_lowercase();
    if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a SHA-256 digest has 64 hexadecimal digits".to_owned());
    }
    Ok(SourceSpec::Archive {
        url: url.to_owned(),
        sha256,
    })
}

fn from_path(path: &Path) -> Result<SourceSpec, WordError> {
    let unreadable = |source| WordError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = path.metadata().map_err(unreadable)?;
    let absolute = absolute(path);
    if metadata.is_dir() {
        if KernelVersion::of_tree(path).is_none() {
            return Err(WordError::NoKernel { path: absolute });
        }
        return Ok(SourceSpec::Directory { path: absolute });
    }
    let word = path.display().to_string();
    if !metadata.is_file() || !is_archive(&word) {
        return Err(WordError::Form {
            word,
            reason: format!("an archive ends in one of {}", ARCHIVES.join(" ")),
        });
    }
    Ok(SourceSpec::Archive {
        url: format!("file://{}", absolute.display()),
        sha256: digest(path).map_err(unreadable)?,
    })
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut part = vec![0; 1 << 20];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(digest.finalize())),
            count => digest.update(&part[..count]),
        }
    }
}

fn is_archive(name: &str) -> bool {
    ARCHIVES.iter().any(|end| name.ends_with(end))
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_names_its_source() {
        let home = tempfile::tempdir().unwrap();
        let tree = home.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(
            tree.join("Makefile"),
            "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n",
        )
        .unwrap();
        let archive = home.path().join("l.tar.xz");
        std::fs::write(&archive, "abc").unwrap();
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let [tree, archive] = [tree, archive].map(|path| path.canonicalize().unwrap());
        let (tree, archive) = (tree.display().to_string(), archive.display().to_string());
        let url = format!("https://x.example/l.tar.xz#sha256={digest}");
        for (word, yaml) in [
            ("7.3", "{ debian: linux-source-7.3 }".to_owned()),
            (
                "6.12.117",
                "{ debian: linux-source-6.12, version: 6.12.117 }".to_owned(),
            ),
            (
                "debian:7.3/sid",
                "{ debian: linux-source-7.3, suite: sid }".to_owned(),
            ),
            (
                "debian:linux-source-7.3=7.3.4-1~bpo13+1/trixie-backports",
                "{ debian: linux-source-7.3, version: 7.3.4-1~bpo13+1, suite: trixie-backports }"
                    .to_owned(),
            ),
            ("kernel.org:6.17.3", "{ version: 6.17.3 }".to_owned()),
            ("latest-stable", "{ version: latest-stable }".to_owned()),
            ("kernel.org:6.12.y", "{ version: 6.12.y }".to_owned()),
            (&tree, format!("{{ dir: {tree} }}")),
            (
                &archive,
                format!("{{ url: \"file://{archive}\", sha256: {digest} }}"),
            ),
            (
                &url,
                format!("{{ url: \"https://x.example/l.tar.xz\", sha256: {digest} }}"),
            ),
            (
                &format!("git:{tree}@v7.3"),
                format!("{{ git: {{ repo: {tree}, ref: v7.3 }} }}"),
            ),
            (
                "git:ssh://me@host.example/linux@v7.3",
                "{ git: { repo: \"ssh://me@host.example/linux\", ref: v7.3 } }".to_owned(),
            ),
        ] {
            let wanted: SourceSpec = serde_yaml::from_str(&yaml).unwrap();
            assert_eq!(SourceSpec::from_word(word).unwrap(), wanted, "{word}");
            assert_eq!(SourceSpec::from_word(&wanted.word()).unwrap(), wanted);
        }
    }

    #[test]
    fn what_names_no_kernel_says_what_is_wrong() {
        let home = tempfile::tempdir().unwrap();
        let empty = home.path().display().to_string();
        let text = home.path().join("notes.txt");
        std::fs::write(&text, "").unwrap();
        for (word, said) in [
            ("latest", "neither a version nor the name of a file"),
            ("", "neither a version nor the name of a file"),
            ("no/such", "cannot read the kernel no/such"),
            ("no-such.tar.xz", "cannot read the kernel no-such.tar.xz"),
            (&empty, "holds no kernel tree"),
            (&text.display().to_string(), "an archive ends in one of"),
            ("https://x.example/l.tar.xz", "needs the digest"),
            (
                "https://x.example/l.tar.xz#sha256=12",
                "64 hexadecimal digits",
            ),
            ("git:/linux", "it needs a commit"),
            ("git:/linux@a..b", "not a branch"),
            ("kernel.org:soon", "is not a kernel version"),
            ("debian:linux source", "linux source"),
        ] {
            let error = SourceSpec::from_word(word).unwrap_err();
            assert!(error.to_string().contains(said), "{word}: {error}");
            assert!(error.help().is_some());
        }
    }
}
