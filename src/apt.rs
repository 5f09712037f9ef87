//! Debian's archive, read through package lists and caches of kvet's own and
//! from the mirror that the host uses, so that the host's apt stays as it is
//! and needs no root. apt checks what it downloads against lists that Debian
//! signed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::process::{Command, ProcessError};
use crate::store::{StoreError, io_error, write_atomic};

/// Signs all of Debian's suites, also those newer than the host.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt itself gives up on a silent server; this ends an apt that does not. A
/// package list is 10 MB, the largest source package 250 MB.
const DEADLINE: Duration = Duration::from_secs(1800);

/// The parts of an archive's index that nobody here reads.
const UNREAD: &[&str] = &[
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
];

/// The mirrors of Debian that the host's apt uses, without trailing slashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mirrors {
    /// That of Debian proper.
    pub(crate) main: Option<String>,
    /// That of its security suites.
    pub(crate) security: Option<String>,
}

/// Asks the host's apt for its mirrors, whatever form its sources have.
pub(crate) async fn mirrors(cancel: &CancellationToken) -> Result<Mirrors, ProcessError> {
    let asked = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .run(cancel)
        .await?;
    Ok(among(&String::from_utf8_lossy(&asked.stdout)))
}

/// The mirrors among the addresses of archives, one per line.
fn among(addresses: &str) -> Mirrors {
    let named = |name: &str| {
        let mut lines = addresses
            .lines()
            .map(|line| line.trim().trim_end_matches('/'));
        let mirror =
            lines.find(|line| line.starts_with("http") && line.rsplit('/').next() == Some(name));
        mirror.map(str::to_owned)
    };
    Mirrors {
        main: named("debian"),
        security: named("debian-security"),
    }
}

/// The line of a `sources.list` for one suite of a mirror; `kind` is `deb` or
/// `deb-src`.
pub(crate) fn source(kind: &str, mirror: &str, suite: &str) -> String {
    format!("{kind} [signed-by={KEYRING}] {mirror} {suite} main")
}

/// A directory that holds lists and caches of kvet's own.
#[derive(Debug, Clone)]
pub(crate) struct Private {
    directory: PathBuf,
}

impl Private {
    /// Makes the directory, if need be, for these lines of a `sources.list`.
    pub(crate) fn new(directory: &Path, lines: &[String]) -> Result<Self, StoreError> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = directory.join(part);
            std::fs::create_dir_all(&part).map_err(io_error("create", &part))?;
        }
        let text = lines.join("\n") + "\n";
        write_atomic(&directory.join("sources.list"), text.as_bytes())?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={}", path("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
        ];
        options.extend(UNREAD.iter().map(|&option| option.to_owned()));
        options
    }
}

/// An apt program on these lists, or on the host's own.
pub(crate) fn command(program: &str, lists: Option<&Private>) -> Command {
    let mut command = Command::new(program)
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "Acquire::Retries=3"])
        .args(["-o", "Acquire::http::Timeout=30"])
        .args(["-o", "Acquire::https::Timeout=30"])
        .deadline(DEADLINE);
    if rustix::process::geteuid().is_root() {
        // The unprivileged user apt switches to cannot enter a private cache.
        command = command.args(["-o", "APT::Sandbox::User=root"]);
    }
    for option in lists.map(Private::options).unwrap_or_default() {
        command = command.args(["-o", &option]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_are_the_hosts_own() {
        let text = "http://security.example/debian-security/\nhttps://mirror.example/debian/\n\
                    http://other.example/debian\n";
        let found = among(text);
        assert_eq!(found.main.as_deref(), Some("https://mirror.example/debian"));
        assert_eq!(
            found.security.as_deref(),
            Some("http://security.example/debian-security")
        );
        assert_eq!(among("file:/srv/debian\n"), Mirrors::default());
    }

    #[test]
    fn nothing_of_the_hosts_lists_is_read_or_written() {
        let home = tempfile::tempdir().unwrap();
        let lines = [source("deb", "http://m.example/debian", "sid")];
        let private = Private::new(home.path(), &lines).unwrap();
        let shown = command("apt-get", Some(&private)).display();
        let inside = home.path().display().to_string();
        for option in ["Dir::Etc::sourcelist", "Dir::State::Lists", "Dir::Cache"] {
            assert!(shown.contains(&format!("{option}={inside}/")), "{shown}");
        }
        let list = std::fs::read_to_string(home.path().join("sources.list")).unwrap();
        assert_eq!(
            list,
            format!("deb [signed-by={KEYRING}] http://m.example/debian sid main\n")
        );
    }
}
