//! Downloads that survive bad servers: resumed when cut, given up when silent,
//! bounded in size and redirects, taken from the next mirror when one fails,
//! and believed only when the SHA-256 is right.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, redirect};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::SourceError;
use crate::context::Context;
use crate::error::with_causes;
use crate::event::Unit;
use crate::kernel::progress::Progress;
use crate::store::io_error;
use crate::tls::choose_cryptography;

/// Environment variable: base addresses of kernel.org mirrors, separated by
/// spaces, tried in order.
pub const MIRRORS_VARIABLE: &str = "KVET_KERNEL_MIRRORS";

/// Environment variable: a keyring for gpgv with the key that signs kernel.org's
/// lists of digests.
pub const KEYRING_VARIABLE: &str = "KVET_KERNEL_KEYRING";

/// Environment variable: the address of a list like kernel.org's `releases.json`.
pub const RELEASES_VARIABLE: &str = "KVET_KERNEL_RELEASES";

/// Environment variable: the repository whose tags are mainline's releases and
/// release candidates.
pub const MAINLINE_VARIABLE: &str = "KVET_KERNEL_MAINLINE";

const RELEASES: &str = "https://www.kernel.org/releases.json";
const MAINLINE: &str = "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git";

/// Where kernel.org's files are, below which `v6.x/` and its like lie.
const MIRRORS: &[&str] = &[
    "https://cdn.kernel.org/pub/linux/kernel",
    "https://mirrors.edge.kernel.org/pub/linux/kernel",
    "https://www.kernel.org/pub/linux/kernel",
];

const REDIRECTS: usize = 5;

/// Attempts in a row that bring nothing new before a mirror is given up.
const FRUITLESS: u32 = 3;

/// No kernel archive is larger.
const ARCHIVE_LIMIT: u64 = 1 << 30;

/// No list of digests is larger.
const TEXT_LIMIT: usize = 4 << 20;

/// A server that sends fewer bytes a second is given up.
const SLOWEST: u64 = 1024;

/// How often progress is told, in bytes.
const REPORT_EVERY: u64 = 1 << 20;

/// How to use the network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Base addresses of kernel.org mirrors, in order.
    pub mirrors: Vec<String>,
    /// The list of releases, as kernel.org has it.
    pub releases: String,
    /// The repository of mainline's releases and release candidates.
    pub mainline: String,
    /// The keyring that lists of digests are checked with, if any.
    pub keyring: Option<PathBuf>,
    /// A server that sends nothing for so long is given up.
    pub stall: Duration,
    /// The pause before a server is asked again.
    pub pause: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            mirrors: MIRRORS.iter().map(|&mirror| mirror.to_owned()).collect(),
            releases: RELEASES.to_owned(),
            mainline: MAINLINE.to_owned(),
            keyring: None,
            stall: Duration::from_secs(30),
            pause: Duration::from_secs(1),
        }
    }
}

impl Network {
    /// The defaults, with what [`MIRRORS_VARIABLE`], [`RELEASES_VARIABLE`],
    /// [`MAINLINE_VARIABLE`] and [`KEYRING_VARIABLE`] say.
    #[must_use]
    pub fn from_environment() -> Self {
        let mut network = Self::default();
        if let Ok(mirrors) = std::env::var(MIRRORS_VARIABLE) {
            let mirrors: Vec<String> = mirrors
                .split_whitespace()
                .map(|mirror| mirror.trim_end_matches('/').to_owned())
                .collect();
            if !mirrors.is_empty() {
                network.mirrors = mirrors;
            }
        }
        for (variable, address) in [
            (RELEASES_VARIABLE, &mut network.releases),
            (MAINLINE_VARIABLE, &mut network.mainline),
        ] {
            if let Ok(other) = std::env::var(variable)
                && !other.is_empty()
            {
                *address = other;
            }
        }
        network.keyring = std::env::var_os(KEYRING_VARIABLE)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        network
    }
}

/// Why one attempt failed.
#[derive(Debug)]
enum Attempt {
    /// This server will not do.
    Refused(String),
    /// It may go on where it stopped.
    Cut(String),
    /// What is there already cannot be continued.
    Restart(String),
}

/// Downloads for one source.
pub(super) struct Downloader<'a> {
    context: &'a Context,
    network: &'a Network,
    progress: &'a Progress,
    client: Client,
}

impl<'a> Downloader<'a> {
    pub(super) fn new(
        context: &'a Context,
        network: &'a Network,
        progress: &'a Progress,
    ) -> Result<Self, SourceError> {
        choose_cryptography();
        let client = Client::builder()
            .user_agent(concat!("kvet/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::limited(REDIRECTS))
            .connect_timeout(network.stall)
            .build()
            .map_err(|error| SourceError::Download {
                what: "anything".to_owned(),
                attempts: vec![with_causes(&error)],
            })?;
        Ok(Self {
            context,
            network,
            progress,
            client,
        })
    }

    /// Fetches a small text from one address.
    pub(super) async fn text(&self, url: &str) -> Result<String, String> {
        let mut response = self.get(url, 0).await.map_err(|attempt| match attempt {
            Attempt::Refused(reason) | Attempt::Cut(reason) | Attempt::Restart(reason) => reason,
        })?;
        let mut text = Vec::new();
        let mut pace = Pace::of(self.network.stall);
        while let Some(chunk) = self.chunk(&mut response).await? {
            pace.came(chunk.len())?;
            text.extend_from_slice(&chunk);
            if text.len() > TEXT_LIMIT {
                return Err(format!("it is larger than {TEXT_LIMIT} bytes"));
            }
        }
        String::from_utf8(text).map_err(|_| "it is not text".to_owned())
    }

    /// Brings the content with this digest to `destination` from the first of
    /// `urls` that has it. What an earlier attempt left in `PATH.part` is
    /// continued.
    pub(super) async fn file(
        &self,
        urls: &[String],
        sha256: &str,
        destination: &Path,
    ) -> Result<(), SourceError> {
        let part = destination.with_extension("part");
        if destination.exists() {
            // It was unpacked when kvet was ended: all that is missing may be nothing.
            std::fs::rename(destination, &part).map_err(io_error("rename", destination))?;
        }
        let mut attempts = Vec::new();
        for url in urls {
            match self.one_mirror(url, sha256, &part).await? {
                Ok(()) => {
                    std::fs::rename(&part, destination).map_err(io_error("rename", &part))?;
                    return Ok(());
                }
                Err(reason) => attempts.push(format!("{url}: {reason}")),
            }
        }
        Err(SourceError::Download {
            what: file_name(urls),
            attempts,
        })
    }

    async fn one_mirror(
        &self,
        url: &str,
        sha256: &str,
        part: &Path,
    ) -> Result<Result<(), String>, SourceError> {
        // The furthest any attempt came: coming as far again is no progress.
        let mut furthest = size(part);
        let mut fruitless = 0;
        loop {
            let start = size(part);
            let outcome = tokio::select! {
                outcome = self.attempt(url, start, part) => outcome?,
                () = self.context.cancel.cancelled() => return Err(SourceError::Interrupted),
            };
            let reason = match outcome {
                Ok(()) => {
                    let found = digest(part).await?;
                    if found == sha256 {
                        return Ok(Ok(()));
                    }
                    remove(part)?;
                    let wrong = format!("what arrived has SHA-256 {found}, not {sha256}");
                    if start == 0 {
                        return Ok(Err(wrong));
                    }
                    // The first half may be another server's.
                    furthest = 0;
                    wrong
                }
                Err(Attempt::Refused(reason)) => return Ok(Err(reason)),
                Err(Attempt::Restart(reason)) => {
                    remove(part)?;
                    reason
                }
                Err(Attempt::Cut(reason)) => reason,
            };
            if size(part) > furthest {
                furthest = size(part);
                fruitless = 0;
            } else {
                fruitless += 1;
            }
            if fruitless >= FRUITLESS {
                // A server that promised more than there is may have sent it all.
                if size(part) > 0 && digest(part).await? == sha256 {
                    return Ok(Ok(()));
                }
                return Ok(Err(reason));
            }
            tokio::select! {
                () = tokio::time::sleep(self.network.pause) => {}
                () = self.context.cancel.cancelled() => return Err(SourceError::Interrupted),
            }
        }
    }

    /// One request for what is missing from `start` on.
    async fn attempt(
        &self,
        url: &str,
        start: u64,
        part: &Path,
    ) -> Result<Result<(), Attempt>, SourceError> {
        let mut response = match self.get(url, start).await {
            Ok(response) => response,
            Err(attempt) => return Ok(Err(attempt)),
        };
        let status = response.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            // All of it is here, or it is not the same file: the digest tells.
            let whole = range_total(&response) == Some(start);
            return Ok(if whole {
                Ok(())
            } else {
                Err(Attempt::Restart("it refuses to continue".to_owned()))
            });
        }
        let continues = status == StatusCode::PARTIAL_CONTENT;
        if continues && range_start(&response) != Some(start) {
            return Ok(Err(Attempt::Restart(
                "it continues at another place than asked".to_owned(),
            )));
        }
        let mut done = if continues { start } else { 0 };
        let total = response.content_length().map(|length| done + length);
        if total.is_some_and(|total| total > ARCHIVE_LIMIT) {
            return Ok(Err(Attempt::Refused(format!(
                "it is larger than {ARCHIVE_LIMIT} bytes"
            ))));
        }
        let file = tokio::fs::File::options()
            .create(true)
            .write(true)
            .append(continues)
            .truncate(!continues)
            .open(part)
            .await
            .map_err(io_error("create", part))?;
        let mut file = tokio::io::BufWriter::with_capacity(256 << 10, file);
        let mut reported = done;
        let mut pace = Pace::of(self.network.stall);
        let end = loop {
            match self.chunk(&mut response).await {
                Ok(Some(chunk)) => {
                    done += chunk.len() as u64;
                    if let Err(slow) = pace.came(chunk.len()) {
                        break Err(Attempt::Refused(slow));
                    }
                    file.write_all(&chunk)
                        .await
                        .map_err(io_error("write", part))?;
                    if done > ARCHIVE_LIMIT {
                        break Err(Attempt::Refused(format!(
                            "it is larger than {ARCHIVE_LIMIT} bytes"
                        )));
                    }
                    if done - reported >= REPORT_EVERY {
                        reported = done;
                        self.progress.at(done, total, Unit::Bytes);
                    }
                }
                Ok(None) => break Ok(()),
                Err(reason) => break Err(Attempt::Cut(reason)),
            }
        };
        file.flush().await.map_err(io_error("write", part))?;
        Ok(end)
    }

    async fn get(&self, url: &str, start: u64) -> Result<Response, Attempt> {
        let mut request = self.client.get(url);
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let response = tokio::time::timeout(self.network.stall, request.send())
            .await
            .map_err(|_| Attempt::Cut(self.silent()))?
            .map_err(|error| {
                if error.is_connect() || error.is_redirect() || error.is_builder() {
                    Attempt::Refused(with_causes(&error))
                } else {
                    Attempt::Cut(with_causes(&error))
                }
            })?;
        let status = response.status();
        if status.is_success() || (start > 0 && status == StatusCode::RANGE_NOT_SATISFIABLE) {
            Ok(response)
        } else if status.is_server_error() {
            Err(Attempt::Cut(format!("it answered {status}")))
        } else {
            Err(Attempt::Refused(format!("it answered {status}")))
        }
    }

    async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, String> {
        tokio::time::timeout(self.network.stall, response.chunk())
            .await
            .map_err(|_| self.silent())?
            .map_err(|error| format!("the connection was cut: {}", with_causes(&error)))
    }

    fn silent(&self) -> String {
        let stall = humantime::format_duration(self.network.stall);
        format!("it sent nothing for {stall}")
    }
}

/// How fast content comes. A byte now and then is not silence, and no download.
struct Pace {
    /// How long is looked at, from a first byte on.
    within: Duration,
    since: Option<Instant>,
    bytes: usize,
}

impl Pace {
    fn of(within: Duration) -> Self {
        Self {
            within,
            since: None,
            bytes: 0,
        }
    }

    /// So many bytes more came; what is wrong if they come too slowly.
    fn came(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes);
        let passed = self.since.get_or_insert_with(Instant::now).elapsed();
        if passed < self.within {
            return Ok(());
        }
        let least = u128::from(SLOWEST) * passed.as_millis() / 1000;
        if (self.bytes as u128) < least {
            let within = humantime::format_duration(self.within);
            return Err(format!(
                "it sent no more than {} bytes in {within}",
                self.bytes
            ));
        }
        *self = Self::of(self.within);
        Ok(())
    }
}

/// `bytes START-END/TOTAL`
fn range_start(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (start, _) = text.strip_prefix("bytes ")?.split_once('-')?;
    start.parse().ok()
}

fn range_total(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.rsplit_once('/')?.1.parse().ok()
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |data| data.len())
}

fn remove(path: &Path) -> Result<(), SourceError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

/// The SHA-256 of a file, in hexadecimal.
async fn digest(path: &Path) -> Result<String, SourceError> {
    let file = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let mut file = std::fs::File::open(file)?;
        let mut block = vec![0; 256 << 10];
        loop {
            let count = file.read(&mut block)?;
            if count == 0 {
                break;
            }
            hash.update(&block[..count]);
        }
        Ok(hex::encode(hash.finalize()))
    })
    .await
    .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    Ok(digest.map_err(io_error("read", path))?)
}

fn file_name(urls: &[String]) -> String {
    urls.first()
        .and_then(|url| url.rsplit('/').next())
        .unwrap_or("anything")
        .to_owned()
}
