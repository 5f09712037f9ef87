//! Releases from kernel.org or a mirror of it, and archives from anywhere.

use std::path::{Path, PathBuf};

use super::http::{Downloader, KEYRING_VARIABLE, Network};
use super::{
    KIND, SourceError, TREE, Tree, archive, finished, release_series, seal, stored, words,
};
use crate::context::Context;
use crate::event::Event;
use crate::kernel::line::Line;
use crate::kernel::progress::Progress;
use crate::kernel::turn::turn;
use crate::kernel::version::KernelVersion;
use crate::process::Command;
use crate::store::{Key, Scratch, Store, io_error, write_atomic};

/// The signed list of digests in every directory of releases.
const LIST: &str = "sha256sums.asc";

/// What the line of archives from anywhere is called.
const ARCHIVES: &str = "archives";

/// Gets a release's tree; the flag says whether it was in the store.
pub(super) async fn release(
    context: &Context,
    store: &Store,
    progress: &Progress,
    network: &Network,
    version: &KernelVersion,
) -> Result<(Tree, bool), SourceError> {
    let key = Key::of(["kernel.org", &version.to_string()]);
    if let Some(tree) = stored(context, store, &key).await? {
        return Ok((tree, true));
    }
    let file = format!("linux-{version}.tar.xz");
    let directory = format!("v{}.x", version.major());
    let downloader = Downloader::new(context, network, progress)?;
    let (digest, checked) = listed(context, &downloader, network, &directory, &file).await?;
    let urls: Vec<String> = network
        .mirrors
        .iter()
        .map(|mirror| format!("{mirror}/{directory}/{file}"))
        .collect();
    let origin = format!("{file} from kernel.org (SHA-256 as in {LIST}, {checked})");
    let download = Download {
        line: "kernel.org",
        urls,
        digest,
        file,
        origin,
    };
    fill(context, store, progress, &downloader, &key, &download).await
}

/// Gets the tree in an archive of known digest.
pub(super) async fn archive(
    context: &Context,
    store: &Store,
    progress: &Progress,
    network: &Network,
    url: &str,
    sha256: &str,
) -> Result<(Tree, bool), SourceError> {
    let key = Key::of(["archive", sha256]);
    let path = url.strip_prefix("file://");
    let origin = match path {
        Some(path) => format!("{path} (SHA-256 {sha256})"),
        None => format!("{url} (SHA-256 as the job says)"),
    };
    if let Some(tree) = stored(context, store, &key).await? {
        // It may have come from elsewhere then, with the same digest.
        return Ok((Tree { origin, ..tree }, true));
    }
    if let Some(path) = path {
        let archive = (Path::new(path), sha256);
        return local(context, store, progress, &key, archive, &origin).await;
    }
    let downloader = Downloader::new(context, network, progress)?;
    let download = Download {
        line: ARCHIVES,
        urls: vec![url.to_owned()],
        digest: sha256.to_owned(),
        file: format!("{sha256}.archive"),
        origin,
    };
    fill(context, store, progress, &downloader, &key, &download).await
}

/// Gets the tree in an archive on this machine, which must have this digest.
async fn local(
    context: &Context,
    store: &Store,
    progress: &Progress,
    key: &Key,
    (path, sha256): (&Path, &str),
    origin: &str,
) -> Result<(Tree, bool), SourceError> {
    let reads = format!("reads {}", path.display());
    let wait = async |lock: PathBuf| turn(context, &lock, &reads).await;
    let entry = store
        .fill_in_turn(KIND, key.as_str(), wait, async |entry: PathBuf| {
            let archive = path.to_owned();
            let hash = move || words::digest(&archive);
            let hashed = tokio::task::spawn_blocking(hash).await;
            let problem = match hashed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                Ok(found) if found == sha256 => None,
                Ok(found) => Some(format!("its SHA-256 is {found} and not {sha256}")),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                return Err(SourceError::LocalArchive {
                    path: path.to_owned(),
                    problem,
                });
            }
            archive::unpack(path, &entry.join(TREE), progress, &context.cancel).await?;
            seal(
                context,
                store,
                |version| line(ARCHIVES, version),
                &entry,
                origin,
            )
            .await
        })
        .await?;
    let tree = finished(context, store, key, origin).await?;
    Ok((tree, entry.cached))
}

/// The line of a kernel in an archive of this kind.
fn line(kind: &str, version: &KernelVersion) -> Line {
    let series = release_series(version);
    Line::of([kind, &series], format!("kernels {series} of {kind}"))
}

struct Download {
    /// What its line is called, before the series of releases.
    line: &'static str,
    urls: Vec<String>,
    digest: String,
    file: String,
    origin: String,
}

impl Download {
    /// What it is called in messages.
    fn name(&self) -> &str {
        self.urls.first().unwrap_or(&self.file)
    }
}

async fn fill(
    context: &Context,
    store: &Store,
    progress: &Progress,
    downloader: &Downloader<'_>,
    key: &Key,
    download: &Download,
) -> Result<(Tree, bool), SourceError> {
    let fetches = format!("fetches {}", download.name());
    let wait = async |lock: PathBuf| turn(context, &lock, &fetches).await;
    let entry = store
        .fill_in_turn(KIND, key.as_str(), wait, async |path: PathBuf| {
            // Beside the entry: what arrived survives a failure and is continued.
            let file = store.kind("downloads")?.join(&download.file);
            downloader
                .file(&download.urls, &download.digest, &file)
                .await?;
            let unpacked =
                archive::unpack(&file, &path.join(TREE), progress, &context.cancel).await;
            // One that was interrupted leaves what arrived to the next.
            if !matches!(unpacked, Err(SourceError::Interrupted)) {
                std::fs::remove_file(&file).map_err(io_error("remove", &file))?;
            }
            unpacked?;
            let line = |version: &_| line(download.line, version);
            seal(context, store, line, &path, &download.origin).await
        })
        .await?;
    Ok((
        finished(context, store, key, &download.origin).await?,
        entry.cached,
    ))
}

/// The digest of a file as the first mirror with a list has it, and how far
/// the list itself was checked.
async fn listed(
    context: &Context,
    downloader: &Downloader<'_>,
    network: &Network,
    directory: &str,
    file: &str,
) -> Result<(String, String), SourceError> {
    let mut attempts = Vec::new();
    // Said by the first mirror that does not have it, if no other one has.
    let mut absent = None;
    for mirror in &network.mirrors {
        let url = format!("{mirror}/{directory}/{LIST}");
        let text = tokio::select! {
            text = downloader.text(&url) => text,
            () = context.cancel.cancelled() => return Err(SourceError::Interrupted),
        };
        let text = match text {
            Ok(text) => text,
            Err(reason) => {
                attempts.push(format!("{url}: {reason}"));
                continue;
            }
        };
        let (list, signature) = match &network.keyring {
            None => (
                unchecked(&text),
                Err("signature not checked: no keyring".to_owned()),
            ),
            Some(keyring) => match signed(context, keyring, &text).await? {
                Ok(list) => (list, Ok("signature checked".to_owned())),
                Err(reason) => {
                    attempts.push(format!("{url}: its signature is not good: {reason}"));
                    continue;
                }
            },
        };
        let digests = digests(&list);
        let Some((digest, _)) = digests.iter().find(|(_, name)| *name == file) else {
            absent.get_or_insert_with(|| SourceError::NotReleased {
                file: file.to_owned(),
                url,
                help: newest_like(file, &digests),
            });
            continue;
        };
        let checked = signature.unwrap_or_else(|why| {
            context.emit(Event::Warning(format!(
                "{LIST}: {why}; set {KEYRING_VARIABLE} to one with kernel.org's checksum key"
            )));
            why
        });
        return Ok(((*digest).to_owned(), checked));
    }
    Err(absent.unwrap_or_else(|| SourceError::Download {
        what: format!("{LIST} for {file}"),
        attempts,
    }))
}

/// What of the list is signed, as gpgv hands it out: it ignores what stands around
/// it, and is laxer than kvet about where it ends.
async fn signed(
    context: &Context,
    keyring: &Path,
    text: &str,
) -> Result<Result<String, String>, SourceError> {
    let scratch = Scratch::new()?;
    let (list, inside) = (scratch.join(LIST), scratch.join("signed"));
    write_atomic(&list, text.as_bytes())?;
    let finished = Command::new("gpgv")
        .env("LC_ALL", "C")
        .arg("--output")
        .arg(&inside)
        .arg("--keyring")
        .arg(keyring)
        .arg(&list)
        .status(&context.cancel)
        .await?;
    let said = String::from_utf8_lossy(&finished.stderr);
    Ok(if finished.status.success() {
        Ok(std::fs::read_to_string(&inside).map_err(io_error("read", &inside))?)
    } else {
        Err(said.lines().last().unwrap_or("gpgv failed").to_owned())
    })
}

/// The part of a clear-signed list that would be signed, if anybody looked.
fn unchecked(text: &str) -> String {
    text.lines()
        .skip_while(|line| line.trim_end() != "-----BEGIN PGP SIGNED MESSAGE-----")
        .take_while(|line| line.trim_end() != "-----BEGIN PGP SIGNATURE-----")
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// The digests and names of a list.
fn digests(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| {
            let (digest, name) = line.split_once("  ")?;
            let fit = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            fit.then(|| (digest, name.trim()))
        })
        .collect()
}

/// What to try instead of a release that is not listed.
fn newest_like(file: &str, digests: &[(&str, &str)]) -> String {
    let version = |name: &str| -> Option<KernelVersion> {
        name.strip_prefix("linux-")?
            .strip_suffix(".tar.xz")?
            .parse()
            .ok()
    };
    let wanted = version(file).map(|version| version.numbers());
    let newest = digests
        .iter()
        .filter_map(|(_, name)| version(name))
        .filter(|version| {
            let (major, minor, _) = version.numbers();
            wanted.is_some_and(|wanted| (wanted.0, wanted.1) == (major, minor))
        })
        .max_by_key(KernelVersion::numbers);
    match newest {
        Some(version) => format!("the newest of that series is \"{version}\""),
        None => {
            "release candidates are not there: use `git:`; other versions: see the list".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_part_of_a_list_counts() {
        let digest = "ab".repeat(32);
        let text = format!(
            "{digest}  linux-6.17.9.tar.xz\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n\
             {digest}  linux-6.17.3.tar.xz\n{digest}  linux-6.17.10.tar.xz\nnonsense  x\n\
             -----BEGIN PGP SIGNATURE----- \n{digest}  linux-6.17.8.tar.xz\n"
        );
        let list = unchecked(&text);
        let found = digests(&list);
        let names: Vec<&str> = found.iter().map(|(_, name)| *name).collect();
        assert_eq!(names, ["linux-6.17.3.tar.xz", "linux-6.17.10.tar.xz"]);
        assert_eq!(
            newest_like("linux-6.17.11.tar.xz", &found),
            "the newest of that series is \"6.17.10\""
        );
    }
}
