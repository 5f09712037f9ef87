//! Sources from Debian's archive: `linux-source-X.Y` packages.
//!
//! What the host's own apt lists offer is taken from there, everything else
//! through lists of kvet's own.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{KIND, SourceError, TREE, Tree, archive, finished, seal, stored};
use crate::apt::{self, Mirrors, Private};
use crate::context::Context;
use crate::event::Event;
use crate::kernel::line::Line;
use crate::kernel::progress::Progress;
use crate::kernel::turn::turn;
use crate::kernel::version::KernelVersion;
use crate::process::ProcessError;
use crate::store::{Key, Lock, Scratch, Store, io_error, write_atomic, write_json};

/// Suites looked through when the host's own have nothing, besides those.
const SUITES: &[&str] = &[
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "sid",
];

/// Their like on the security mirror.
const SECURITY_SUITES: &[&str] = &["bookworm-security", "trixie-security"];

/// How long lists, and the answer to "which is the newest", are good for.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// The same for those who ask whether there is anything new.
const LATELY: Duration = Duration::from_secs(3600);

/// What another kvet does that has the lists' lock.
const READS: &str = "reads Debian's package lists";

/// The version a package was last resolved to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resolved {
    version: String,
}

/// A version of a package that some archive offers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    version: String,
    place: String,
}

/// Lines of a `sources.list` that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lists {
    lines: Vec<String>,
    /// Whether nobody said that there is such an archive.
    guessed: bool,
}

/// Refuses words that apt would take for something else.
pub(super) fn check_words(
    package: &str,
    version: Option<&str>,
    suite: Option<&str>,
) -> Result<(), String> {
    let fit = |word: &str, also: &str| {
        word.starts_with(|c: char| c.is_ascii_alphanumeric())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    if !package.starts_with("linux-source") || !fit(package, "+-.") {
        return Err(format!(
            "`{package}` is not a source package of a kernel such as `linux-source-7.3`"
        ));
    }
    if let Some(version) = version.filter(|version| !fit(version, "+-.:~")) {
        return Err(format!("`{version}` is not a version of a Debian package"));
    }
    if let Some(suite) = suite.filter(|suite| !fit(suite, "-_./")) {
        return Err(format!(
            "`{suite}` is not a suite such as `trixie-backports`"
        ));
    }
    Ok(())
}

/// Gets the package's tree; the flag says whether it was in the store.
pub(super) async fn fetch(
    context: &Context,
    store: &Store,
    progress: &Progress,
    package: &str,
    version: Option<&str>,
    suite: Option<&str>,
) -> Result<(Tree, bool), SourceError> {
    let home = store.kind("debian")?;
    let question = [package, version.unwrap_or(""), suite.unwrap_or("")];
    let answer = home.join(format!("{}.json", Key::of(question).as_str()));
    let known = recall(&answer);
    if let Some((resolved, fresh)) = &known
        && (*fresh || version.is_some())
        && let Some(tree) = stored(context, store, &key(package, &resolved.version)).await?
    {
        return Ok((tree, true));
    }
    let apt = Apt {
        context,
        home: home.clone(),
        fresh: FRESH,
    };
    let found = apt.find(package, version, suite).await;
    let (lists, offer) = match (found, known) {
        (Ok(found), _) => found,
        // Without a network yesterday's newest still serves.
        (Err(error @ SourceError::Interrupted), _) | (Err(error), None) => return Err(error),
        (Err(error), Some((resolved, _))) => {
            let key = key(package, &resolved.version);
            let Some(tree) = stored(context, store, &key).await? else {
                return Err(error);
            };
            context.emit(Event::Warning(format!(
                "{error}; going on with {package} {} from the cache",
                resolved.version
            )));
            return Ok((tree, true));
        }
    };
    let key = key(package, &offer.version);
    let origin = format!(
        "{package} {} from {} (checked by apt against Debian's signed lists)",
        offer.version, offer.place
    );
    // All versions of the package.
    let line = Line::of(["debian", package], format!("{package} of Debian"));
    let fetches = format!("fetches {package} {}", offer.version);
    let wait = async |lock: PathBuf| turn(context, &lock, &fetches).await;
    let entry = store
        .fill_in_turn(KIND, key.as_str(), wait, async |path: PathBuf| {
            let download = path.join("download");
            std::fs::create_dir(&download).map_err(io_error("create", &download))?;
            let package = apt
                .download(lists.as_ref(), package, &offer.version, &download)
                .await?;
            archive::unpack(&package, &path.join(TREE), progress, &context.cancel).await?;
            std::fs::remove_dir_all(&download).map_err(io_error("remove", &download))?;
            seal(context, store, |_| line, &path, &origin).await
        })
        .await?;
    write_json(
        &answer,
        &Resolved {
            version: offer.version,
        },
    )?;
    Ok((finished(context, store, &key, &origin).await?, entry.cached))
}

/// The package's newest version, by lists that are an hour old at most.
pub(super) async fn newest(
    context: &Context,
    store: &Store,
    package: &str,
    suite: Option<&str>,
) -> Result<String, SourceError> {
    let apt = Apt {
        context,
        home: store.kind("debian")?,
        fresh: LATELY,
    };
    Ok(apt.find(package, None, suite).await?.1.version)
}

/// The kernel versions of which some suite has a source package, unordered.
pub(super) async fn offered(
    context: &Context,
    store: &Store,
) -> Result<Vec<KernelVersion>, SourceError> {
    let apt = Apt {
        context,
        home: store.kind("debian")?,
        fresh: FRESH,
    };
    let mut found = apt.sources(None).await?;
    if Path::new(apt::KEYRING).exists() {
        let mirrors = apt::mirrors(&context.cancel)
            .await
            .map_err(apt_failed("ask apt for its mirrors"))?;
        for lists in source_lists(&mirrors, None)? {
            match apt.sources_of(&lists).await {
                Ok(more) => found.extend(more),
                Err(SourceError::Apt { .. }) if lists.guessed => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// The kernel's part of a package's version: `6.12.117` of `6.12.117-1~bpo12+1`.
fn upstream(version: &str) -> Option<KernelVersion> {
    let end = version.find(['-', '~', '+']).unwrap_or(version.len());
    version[..end].parse().ok()
}

fn key(package: &str, version: &str) -> Key {
    Key::of(["debian", package, version])
}

/// The last answer to this question, and whether it is from today.
fn recall(path: &Path) -> Option<(Resolved, bool)> {
    let resolved = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some((resolved, is_fresh(path, FRESH)))
}

fn is_fresh(path: &Path, within: Duration) -> bool {
    path.metadata()
        .and_then(|data| data.modified())
        .is_ok_and(|time| {
            SystemTime::now()
                .duration_since(time)
                .is_ok_and(|age| age < within)
        })
}

struct Apt<'a> {
    context: &'a Context,
    home: PathBuf,
    /// How old lists may be that are read again.
    fresh: Duration,
}

impl Apt<'_> {
    /// Finds the package, first in the host's lists, then in those of the
    /// wanted or the usual suites. Returns the lists that have it; `None` are
    /// the host's.
    async fn find(
        &self,
        package: &str,
        version: Option<&str>,
        suite: Option<&str>,
    ) -> Result<(Option<Private>, Offer), SourceError> {
        let mut seen = Vec::new();
        if suite.is_none() {
            let offers = self.offers(None, package).await?;
            if let Some(offer) = choose(&offers, version) {
                return Ok((None, offer));
            }
            seen.extend(offers);
        }
        if !Path::new(apt::KEYRING).exists() {
            return Err(SourceError::NoDebian {
                reason: format!(
                    "{} is missing (package debian-archive-keyring)",
                    apt::KEYRING
                ),
            });
        }
        let mirrors = apt::mirrors(&self.context.cancel)
            .await
            .map_err(apt_failed("ask apt for its mirrors"))?;
        let mut read = Vec::new();
        for lists in source_lists(&mirrors, suite)? {
            match self.look(&lists, package, version, &mut seen).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => read.extend(lists.lines),
                // Not every mirror has what lies next to it elsewhere.
                Err(SourceError::Apt { .. }) if lists.guessed => {}
                Err(error) => return Err(error),
            }
        }
        Err(not_found(package, version, &read, &seen))
    }

    /// Looks for the package in these lists, as they were read lately and, if
    /// it is not there, as they are now.
    async fn look(
        &self,
        lists: &Lists,
        package: &str,
        version: Option<&str>,
        seen: &mut Vec<Offer>,
    ) -> Result<Option<(Option<Private>, Offer)>, SourceError> {
        let (private, lock) = self.private(&lists.lines)?;
        let _lock: Lock = turn::<SourceError>(self.context, &lock, READS).await?;
        let stamp = private.directory().join("updated");
        let mut updated = false;
        loop {
            if updated || is_fresh(&stamp, self.fresh) {
                let offers = self.offers(Some(&private), package).await?;
                if let Some(offer) = choose(&offers, version) {
                    return Ok(Some((Some(private), offer)));
                }
                seen.extend(offers);
            }
            if updated {
                return Ok(None);
            }
            self.update(&private).await?;
            write_atomic(&stamp, b"")?;
            updated = true;
        }
    }

    /// The versions of kernel sources in these lists, as they are today.
    async fn sources_of(&self, lists: &Lists) -> Result<Vec<KernelVersion>, SourceError> {
        let (private, lock) = self.private(&lists.lines)?;
        let _lock: Lock = turn::<SourceError>(self.context, &lock, READS).await?;
        let stamp = private.directory().join("updated");
        if !is_fresh(&stamp, self.fresh) {
            self.update(&private).await?;
            write_atomic(&stamp, b"")?;
        }
        self.sources(Some(&private)).await
    }

    async fn sources(&self, lists: Option<&Private>) -> Result<Vec<KernelVersion>, SourceError> {
        let names = apt::command("apt-cache", lists)
            .args(["pkgnames", "linux-source-"])
            .run(&self.context.cancel)
            .await
            .map_err(apt_failed("list kernel sources"))?;
        let mut found = Vec::new();
        for package in String::from_utf8_lossy(&names.stdout).lines() {
            let series = package.strip_prefix("linux-source-").unwrap_or_default();
            if series.parse::<KernelVersion>().is_ok() {
                let offers = self.offers(lists, package).await?;
                found.extend(offers.iter().filter_map(|offer| upstream(&offer.version)));
            }
        }
        Ok(found)
    }

    /// Lists of kvet's own for these lines, and their lock.
    fn private(&self, lines: &[String]) -> Result<(Private, PathBuf), SourceError> {
        let name = format!("apt-{}", Key::of(lines).as_str());
        let lock = self.home.join(format!(".{name}.lock"));
        Ok((Private::new(&self.home.join(&name), lines)?, lock))
    }

    async fn offers(
        &self,
        lists: Option<&Private>,
        package: &str,
    ) -> Result<Vec<Offer>, SourceError> {
        let finished = apt::command("apt-cache", lists)
            .args(["madison", package])
            .run(&self.context.cancel)
            .await;
        match finished {
            Ok(finished) => Ok(parse_madison(&String::from_utf8_lossy(&finished.stdout))),
            // An unknown package is an error to some versions of apt.
            Err(ProcessError::Failed { .. }) => Ok(Vec::new()),
            Err(ProcessError::Start { .. }) => Err(SourceError::NoDebian {
                reason: "there is no apt-cache on this host".to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    async fn update(&self, lists: &Private) -> Result<(), SourceError> {
        // What apt leaves behind when it is interrupted goes with this.
        let scratch = Scratch::new()?;
        apt::command("apt-get", Some(lists))
            .args(["-q", "update"])
            .env("TMPDIR", scratch.path())
            .run(&self.context.cancel)
            .await
            .map_err(apt_failed("read the suites' package lists"))?;
        Ok(())
    }

    async fn download(
        &self,
        lists: Option<&Private>,
        package: &str,
        version: &str,
        directory: &Path,
    ) -> Result<PathBuf, SourceError> {
        let wanted = format!("{package}={version}");
        let scratch = Scratch::new()?;
        apt::command("apt-get", lists)
            .args(["-q", "download", &wanted])
            .env("TMPDIR", scratch.path())
            .directory(directory)
            .run(&self.context.cancel)
            .await
            .map_err(apt_failed(&format!("download {wanted}")))?;
        let entries =
            std::fs::read_dir(directory).map_err(io_error("read the directory", directory))?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| SourceError::NoDebian {
                reason: format!("apt-get download {wanted} left no package behind"),
            })
    }
}

fn apt_failed(action: &str) -> impl FnOnce(ProcessError) -> SourceError {
    let action = action.to_owned();
    move |source| match source {
        ProcessError::Interrupted => SourceError::Interrupted,
        source => SourceError::Apt { action, source },
    }
}

/// The lists to look through, in turn: those of the wanted suite, or of the
/// usual ones. A host may do without a security mirror, while some versions are
/// there alone; then it is looked for next to the main one, where it usually is.
fn source_lists(mirrors: &Mirrors, suite: Option<&str>) -> Result<Vec<Lists>, SourceError> {
    let Some(main) = &mirrors.main else {
        return Err(SourceError::NoDebian {
            reason: "no Debian mirror is in the host's apt sources".to_owned(),
        });
    };
    let guessed = mirrors.security.is_none();
    let security = mirrors.security.clone();
    let security = security.unwrap_or_else(|| format!("{main}-security"));
    let lines = |uri: &str, suites: &[&str]| -> Vec<String> {
        suites
            .iter()
            .map(|suite| apt::source("deb", uri, suite))
            .collect()
    };
    let certain = |lines| Lists {
        lines,
        guessed: false,
    };
    Ok(match suite {
        Some(suite) if suite.ends_with("-security") => {
            vec![certain(lines(&security, &[suite]))]
        }
        Some(suite) => vec![certain(lines(main, &[suite]))],
        None if guessed => vec![
            certain(lines(main, SUITES)),
            Lists {
                lines: lines(&security, SECURITY_SUITES),
                guessed,
            },
        ],
        None => {
            let mut all = lines(main, SUITES);
            all.extend(lines(&security, SECURITY_SUITES));
            vec![certain(all)]
        }
    })
}

/// `package | version | URI suite/component architecture Packages` per line,
/// newest first.
fn parse_madison(text: &str) -> Vec<Offer> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let (_, version, place) = (fields.next()?, fields.next()?, fields.next()?);
            let place = place.strip_suffix(" Packages")?;
            Some(Offer {
                version: version.to_owned(),
                place: place.to_owned(),
            })
        })
        .collect()
}

/// The newest offer of this version: Debian's own (`6.12.117-1`), or the
/// kernel's (`6.12.117`) whatever Debian made of it.
fn choose(offers: &[Offer], version: Option<&str>) -> Option<Offer> {
    let fits = |offer: &&Offer| {
        version.is_none_or(|version| {
            let rest = offer.version.strip_prefix(version);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    offers.iter().find(fits).cloned()
}

fn not_found(
    package: &str,
    version: Option<&str>,
    lines: &[String],
    seen: &[Offer],
) -> SourceError {
    let mut versions: Vec<&str> = seen.iter().map(|offer| offer.version.as_str()).collect();
    versions.dedup();
    let help = if versions.is_empty() {
        "check the package's name; or use another source: `version: \"…\"` (kernel.org), \
         `url:` with `sha256:`, `git:` or `dir:`"
            .to_owned()
    } else {
        format!("there is: {}", versions.join(", "))
    };
    let suites: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect();
    SourceError::NotInDebian {
        wanted: match version {
            Some(version) => format!("{package} {version}"),
            None => package.to_owned(),
        },
        suites: suites.join(", "),
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_and_chosen() {
        let text = " linux-source-7.3 | 7.3.4-1~bpo13+1 | http://m.example/debian trixie-backports/main amd64 Packages\n\
                     linux-source-7.3 | 7.3.3-1 | http://m.example/debian sid/main amd64 Packages\n\
                     linux | 7.3.4-1 | http://m.example/debian sid/main Sources\n";
        let offers = parse_madison(text);
        assert_eq!(offers.len(), 2);
        assert_eq!(choose(&offers, None).unwrap().version, "7.3.4-1~bpo13+1");
        assert_eq!(choose(&offers, Some("7.3.3")).unwrap().version, "7.3.3-1");
        assert!(choose(&offers, Some("7.3")).is_none());
        assert_eq!(
            choose(&offers, Some("7.3.3-1")).unwrap().place,
            "http://m.example/debian sid/main amd64"
        );
        assert_eq!(choose(&offers, Some("7.3.9-1")), None);
    }

    #[test]
    fn a_package_s_version_holds_the_kernel_s() {
        for (version, kernel) in [
            ("6.12.117-1", "6.12.117"),
            ("7.3.4-1~bpo13+1", "7.3.4"),
            ("6.1~rc3-1", "6.1"),
        ] {
            assert_eq!(upstream(version).unwrap().to_string(), kernel);
        }
        assert_eq!(upstream("latest-1"), None);
    }

    #[test]
    fn a_security_mirror_is_looked_for_next_to_the_main_one() {
        let mut mirrors = Mirrors {
            main: Some("http://m.example/debian".to_owned()),
            security: Some("http://s.example/debian-security".to_owned()),
        };
        let told = source_lists(&mirrors, None).unwrap();
        assert_eq!(told.len(), 1);
        let line = told[0].lines.last().unwrap();
        assert!(line.contains("s.example/debian-security trixie-security"));

        mirrors.security = None;
        let untold = source_lists(&mirrors, None).unwrap();
        assert_eq!([untold[0].guessed, untold[1].guessed], [false, true]);
        assert!(untold[1].lines[0].contains("m.example/debian-security bookworm-security"));

        let asked = source_lists(&mirrors, Some("bookworm-security")).unwrap();
        assert!(asked[0].lines[0].contains("m.example/debian-security bookworm-security"));
        assert!(!asked[0].guessed);
    }

    #[test]
    fn words_that_apt_would_misread_are_refused() {
        assert!(check_words("linux-source-7.3", Some("7.3.4-1~bpo13+1"), Some("sid")).is_ok());
        assert!(check_words("bash", None, None).is_err());
        assert!(check_words("linux-source=1 -o X", None, None).is_err());
        assert!(check_words("linux-source", Some("-o"), None).is_err());
        assert!(check_words("linux-source", None, Some("sid main\ndeb x")).is_err());
    }

    #[test]
    fn what_there_is_instead_is_named() {
        let seen = [Offer {
            version: "7.3.3-1".to_owned(),
            place: String::new(),
        }];
        let lines = ["deb [signed-by=x] http://m.example/debian sid main".to_owned()];
        let SourceError::NotInDebian { help, suites, .. } =
            not_found("linux-source-7.3", Some("7.3.9-1"), &lines, &seen)
        else {
            panic!("another error");
        };
        assert_eq!(help, "there is: 7.3.3-1");
        assert_eq!(suites, "sid");
    }
}
