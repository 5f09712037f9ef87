//! What driver and host say to each other over a pipe, such as ssh's: a JSON
//! object a line, and the bytes of a result's files after the line that lists
//! them. The pipe's end is the end of whoever held it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::batch::{Digest, HostCard, HostEnd, Item, ItemKey, Opening};
use super::error::FleetError;
use super::merge;
use crate::kernel::elsewhere::Order;
use crate::store::io_error;

/// How often a driver shows that it lives.
pub(super) const BEAT: Duration = Duration::from_secs(10);

/// The longest line.
const LONGEST: u64 = 16 << 20;

/// The most bytes of a result: a console, and what little else there is.
const LARGEST: u64 = 4 << 30;

/// The most bytes of one of its files. A larger one, such as the image of a large
/// damaged disk, stays behind: it would hold up everything else.
const LARGEST_FILE: u64 = 2 << 30;

/// So many bytes of a file are received at a time.
const PIECE: u64 = 1 << 20;

/// How long these may take, over whatever leads there.
const STALLED: Duration = Duration::from_secs(300);

/// The most bytes of a file's name.
const LONGEST_NAME: usize = 255;

/// What the driver says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToHost {
    /// First of all, if it is to run trials.
    Open(Box<Opening>),
    /// First of all, if it is to make a kernel.
    Build(Box<Order>),
    /// Something to do.
    Item(Box<Item>),
    /// An input that it asked for; its bytes follow.
    Input {
        /// What it is called.
        digest: Digest,
        /// Bytes.
        size: u64,
    },
    /// The files of a kernel's tree that it lacks, as git's pack; its bytes follow.
    Pack {
        /// Bytes.
        size: u64,
    },
    /// The driver lives.
    Beat,
    /// There is nothing more to do.
    Finish,
}

/// What a host says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromHost {
    /// It can begin.
    Hello(Box<HostCard>),
    /// It lives.
    Beat,
    /// It has not got this input, and waits for it.
    Wants(Digest),
    /// What it has of an ordered kernel's line.
    Has {
        /// Trees, by git's names.
        trees: Vec<String>,
        /// Whether the kernel's own is there, so that nothing need be sent.
        own: bool,
    },
    /// The kernel is made; the bytes of its files follow.
    Built {
        /// Its files, as those of a result.
        files: Vec<(PathBuf, u64)>,
    },
    /// The kernel cannot be made: that is its own fault.
    NotBuilt {
        /// Why.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// An item is done; the bytes of its files follow, one after the other.
    Result {
        /// The item.
        key: ItemKey,
        /// Its files: path below the result, and bytes.
        files: Vec<(PathBuf, u64)>,
    },
    /// It is over.
    End(HostEnd),
}

/// Writes a line.
pub(super) async fn say(
    to: &mut (impl AsyncWrite + Unpin),
    what: &impl Serialize,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

/// Does something for a host that listens meanwhile, and shows it that the driver
/// lives.
pub(super) async fn beating<T>(
    to: &mut (impl AsyncWrite + Unpin),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let beats = async {
        let mut beats = tokio::time::interval(BEAT);
        loop {
            beats.tick().await;
            // So short a line is written whole or not at all.
            if say(to, &ToHost::Beat).await.is_err() {
                // Who reads what it says says why.
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        biased;
        done = &mut work => done,
        never = beats => never,
    }
}

/// Reads a line; `None` at the end.
pub(super) async fn hear<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
    host: &str,
) -> Result<Option<T>, FleetError> {
    let mut line = Vec::new();
    let lost = |source| FleetError::Link {
        host: host.to_owned(),
        source,
    };
    // A line's end alone has only pushed out what was before it.
    while matches!(&*line, b"\n" | b"") {
        line.clear();
        let mut limited = (&mut *from).take(LONGEST);
        let count = limited.read_until(b'\n', &mut line).await.map_err(lost)?;
        if count == 0 {
            return Ok(None);
        }
    }
    serde_json::from_slice(&line).map(Some).map_err(|_| {
        let mut said = String::from_utf8_lossy(&line).into_owned();
        said = said.trim_end().chars().take(200).collect();
        FleetError::Nonsense {
            host: host.to_owned(),
            said,
        }
    })
}

/// Sends a file of so many bytes behind the line that announces it.
pub(super) async fn send_file(
    to: &mut (impl AsyncWrite + Unpin),
    line: &ToHost,
    path: &Path,
    size: u64,
) -> Result<(), FleetError> {
    let lost = |source| FleetError::Link {
        host: "the host".to_owned(),
        source,
    };
    say(to, line).await.map_err(lost)?;
    send_bytes(to, path, size, lost).await?;
    end_bytes(to).await.map_err(lost)
}

/// Sends a file as it is.
pub(super) async fn send_raw(
    to: &mut (impl AsyncWrite + Unpin),
    path: &Path,
) -> std::io::Result<()> {
    let mut content = tokio::fs::File::open(path).await?;
    tokio::io::copy(&mut content, to).await?;
    to.flush().await
}

async fn send_bytes(
    to: &mut (impl AsyncWrite + Unpin),
    path: &Path,
    size: u64,
    lost: impl Fn(std::io::Error) -> FleetError,
) -> Result<(), FleetError> {
    let opened = tokio::fs::File::open(path).await;
    let mut content = opened.map_err(io_error("open", path))?.take(size);
    let sent = tokio::io::copy(&mut content, to).await.map_err(lost)?;
    if sent == size {
        return Ok(());
    }
    let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    Err(io_error("read", path)(cut).into())
}

/// Pushes out what was sent: what carries it may wait for the end of a line.
async fn end_bytes(to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    to.write_all(b"\n").await?;
    to.flush().await
}

/// Receives a file of so many bytes.
pub(super) async fn receive_file(
    from: &mut (impl AsyncBufRead + Unpin),
    path: &Path,
    size: u64,
    host: &str,
) -> Result<(), FleetError> {
    receive(from, path, size, host, &mut || {}).await
}

/// The same; `arriving` is told now and then that more has come. Who sends nothing for
/// long is not waited for.
async fn receive(
    from: &mut (impl AsyncBufRead + Unpin),
    path: &Path,
    size: u64,
    host: &str,
    arriving: &mut impl FnMut(),
) -> Result<(), FleetError> {
    let created = tokio::fs::File::create_new(path).await;
    let mut file = created.map_err(io_error("create", path))?;
    let lost = |source| FleetError::Link {
        host: host.to_owned(),
        source,
    };
    let mut left = size;
    while left > 0 {
        let mut piece = (&mut *from).take(left.min(PIECE));
        let copied = tokio::time::timeout(STALLED, tokio::io::copy(&mut piece, &mut file)).await;
        let copied = copied.map_err(|_| lost(ErrorKind::TimedOut.into()))?;
        let copied = copied.map_err(io_error("write", path))?;
        if copied == 0 {
            return Err(lost(ErrorKind::UnexpectedEof.into()));
        }
        left -= copied;
        arriving();
    }
    Ok(file.flush().await.map_err(io_error("write", path))?)
}

/// Sends the files of an item's result behind the line that lists them.
pub(super) async fn send_result(
    to: &mut (impl AsyncWrite + Unpin),
    key: &ItemKey,
    directory: &Path,
) -> Result<(), FleetError> {
    let key = key.clone();
    send_files(to, directory, |files| FromHost::Result { key, files }).await
}

/// Sends the files of a directory behind the line that lists them.
pub(super) async fn send_files(
    to: &mut (impl AsyncWrite + Unpin),
    directory: &Path,
    line: impl FnOnce(Vec<(PathBuf, u64)>) -> FromHost,
) -> Result<(), FleetError> {
    let mut files = merge::files(directory)?;
    files.retain(|file| file.size <= LARGEST_FILE);
    let lost = |source| FleetError::Link {
        host: "the driver".to_owned(),
        source,
    };
    let listed = files.iter().map(|file| (file.name.clone(), file.size));
    let line = line(listed.collect());
    say(to, &line).await.map_err(lost)?;
    for file in files {
        let path = directory.join(&file.name);
        send_bytes(to, &path, file.size, lost).await?;
    }
    end_bytes(to).await.map_err(lost)
}

/// Receives the files of a result into a directory; `arriving` is told now and then
/// that more has come.
pub(super) async fn receive_result(
    from: &mut (impl AsyncBufRead + Unpin),
    files: &[(PathBuf, u64)],
    directory: &Path,
    host: &str,
    mut arriving: impl FnMut(),
) -> Result<(), FleetError> {
    let nonsense = |said: String| FleetError::Nonsense {
        host: host.to_owned(),
        said,
    };
    let all = files
        .iter()
        .try_fold(0_u64, |sum, file| sum.checked_add(file.1));
    if all.is_none_or(|all| all > LARGEST) || files.len() > 1000 {
        return Err(nonsense(format!(
            "a result of {} files, too large",
            files.len()
        )));
    }
    // All of them before the first is written: what cannot be written after this is
    // this host's own trouble.
    let mut places = BTreeSet::new();
    for (name, _) in files {
        if !is_plain(name) || !places.insert(name.as_path()) {
            return Err(nonsense(format!("a result's file {}", name.display())));
        }
    }
    let below = |name: &&Path| name.parent().is_some_and(|above| places.contains(above));
    if let Some(name) = places.iter().copied().find(below) {
        let name = name.display();
        return Err(nonsense(format!("a result's file {name}, below a file")));
    }
    for (name, size) in files {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        receive(from, &path, *size, host, &mut arriving).await?;
    }
    Ok(())
}

/// A path of one or two plain names, which any file system takes.
fn is_plain(name: &Path) -> bool {
    let count = name.components().count();
    let normal = |part: Component<'_>| {
        let Component::Normal(part) = part else {
            return false;
        };
        part.len() <= LONGEST_NAME && !part.as_encoded_bytes().contains(&0)
    };
    (1..=2).contains(&count) && name.components().all(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    fn key() -> ItemKey {
        ItemKey::try_from("arms@a@trials@w@1@1".to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_result_arrives_byte_by_byte() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::create_dir_all(from.join("1")).unwrap();
        std::fs::create_dir(&to).unwrap();
        let console = b"a\n\0\xff{\"end\"";
        std::fs::write(from.join("1/console.log"), console).unwrap();
        std::fs::write(from.join("result.json"), "").unwrap();
        let mut pipe = Vec::new();
        send_result(&mut pipe, &key(), &from).await.unwrap();
        say(&mut pipe, &FromHost::Beat).await.unwrap();
        let mut pipe = BufReader::new(&*pipe);
        let said = hear(&mut pipe, "h").await.unwrap();
        let Some(FromHost::Result { files, .. }) = said else {
            panic!("{said:?}");
        };
        receive_result(&mut pipe, &files, &to, "h", || {})
            .await
            .unwrap();
        assert_eq!(std::fs::read(to.join("1/console.log")).unwrap(), console);
        assert!(to.join("result.json").exists());
        assert!(matches!(
            hear(&mut pipe, "h").await.unwrap(),
            Some(FromHost::Beat)
        ));
    }

    #[tokio::test]
    async fn a_host_cannot_write_elsewhere_or_without_end() {
        let home = tempfile::tempdir().unwrap();
        for name in ["../x", "/x", "a/b/c", "", ".", "a/../../x"] {
            let files = [(PathBuf::from(name), 0)];
            let mut nothing: &[u8] = b"";
            let got = receive_result(&mut nothing, &files, home.path(), "h", || {}).await;
            assert!(matches!(got, Err(FleetError::Nonsense { .. })), "{name}");
        }
        let files = [(PathBuf::from("a"), u64::MAX), (PathBuf::from("b"), 2)];
        let mut nothing: &[u8] = b"";
        let got = receive_result(&mut nothing, &files, home.path(), "h", || {}).await;
        assert!(matches!(got, Err(FleetError::Nonsense { .. })));
    }

    #[tokio::test]
    async fn names_that_nobody_can_write_are_the_host_s_fault() {
        let home = tempfile::tempdir().unwrap();
        let long = "x".repeat(256);
        for names in [
            &["a", "a"][..],
            &["a", "a/b"],
            &["a/b", "a"],
            &["a/b", "a/b"],
            &[&long],
            &["a\0b"],
        ] {
            let files: Vec<_> = names.iter().map(|name| (PathBuf::from(name), 0)).collect();
            let mut nothing: &[u8] = b"";
            let got = receive_result(&mut nothing, &files, home.path(), "h", || {}).await;
            assert!(matches!(got, Err(FleetError::Nonsense { .. })), "{names:?}");
        }
        assert_eq!(home.path().read_dir().unwrap().count(), 0);
    }

    /// A host ends its session with a driver that says nothing for a minute.
    #[tokio::test(start_paused = true)]
    async fn a_driver_shows_that_it_lives_while_it_works() {
        let (mut to, from) = tokio::io::duplex(4096);
        let work = tokio::time::sleep(BEAT * 30);
        let hearing = async {
            let mut from = BufReader::new(from);
            let mut beats = 0;
            loop {
                let heard = tokio::time::timeout(BEAT * 2, hear::<ToHost>(&mut from, "h"));
                match heard.await.unwrap().unwrap() {
                    Some(ToHost::Beat) => beats += 1,
                    _ => return beats,
                }
            }
        };
        let working = async {
            beating(&mut to, work).await;
            drop(to);
        };
        let ((), beats) = tokio::join!(working, hearing);
        assert!(beats >= 30, "{beats}");
    }

    #[tokio::test]
    async fn a_result_that_is_cut_short_is_none() {
        let home = tempfile::tempdir().unwrap();
        let files = [(PathBuf::from("trial.json"), 10)];
        let mut half: &[u8] = b"half";
        let got = receive_result(&mut half, &files, home.path(), "h", || {}).await;
        assert!(matches!(got, Err(FleetError::Link { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_stops_in_the_middle_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let (mut host, driver) = tokio::io::duplex(4096);
        host.write_all(b"the beginning").await.unwrap();
        let mut from = BufReader::new(driver);
        let files = [(PathBuf::from("bzImage"), 1 << 20)];
        let got = receive_result(&mut from, &files, home.path(), "h", || {});
        let got = tokio::time::timeout(2 * STALLED, got).await.unwrap();
        assert!(matches!(got, Err(FleetError::Link { .. })), "{got:?}");
    }

    #[tokio::test]
    async fn a_large_file_is_heard_of_while_it_comes() {
        let home = tempfile::tempdir().unwrap();
        let bytes = vec![7; 3 * usize::try_from(PIECE).unwrap() + 1];
        let files = [(PathBuf::from("vmcore"), bytes.len() as u64)];
        let mut times = 0;
        receive_result(&mut &*bytes, &files, home.path(), "h", || times += 1)
            .await
            .unwrap();
        assert_eq!(times, 4);
        assert_eq!(std::fs::read(home.path().join("vmcore")).unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_shell_s_words_are_told() {
        let mut said: &[u8] = b"sh: kvet: not found\n";
        let got = hear::<FromHost>(&mut said, "n7").await.unwrap_err();
        assert!(got.to_string().starts_with("n7 said"), "{got}");
    }
}
