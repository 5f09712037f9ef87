//! What driver and host say to each other over a pipe, such as ssh's: a JSON
//! object a line, and the bytes of a result's files after the line that lists
//! them. The pipe's end is the end of whoever held it.

use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::batch::{HostCard, HostEnd, Item, ItemKey, Opening};
use super::error::FleetError;
use super::merge;
use crate::store::io_error;

/// The longest line.
const LONGEST: u64 = 16 << 20;

/// The most bytes of a result: a console, and what little else there is.
const LARGEST: u64 = 4 << 30;

/// The most bytes of one of its files. A larger one, such as the image of a large
/// damaged disk, stays behind: it would hold up everything else.
const LARGEST_FILE: u64 = 2 << 30;

/// What the driver says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToHost {
    /// First of all.
    Open(Box<Opening>),
    /// Something to do.
    Item(Box<Item>),
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
    let mut limited = from.take(LONGEST);
    limited.read_until(b'\n', &mut line).await.map_err(lost)?;
    if line.is_empty() {
        return Ok(None);
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

/// Sends a result's files behind the line that lists them.
pub(super) async fn send_result(
    to: &mut (impl AsyncWrite + Unpin),
    key: &ItemKey,
    directory: &Path,
) -> Result<(), FleetError> {
    let mut files = merge::files(directory)?;
    files.retain(|file| file.size <= LARGEST_FILE);
    let lost = |source| FleetError::Link {
        host: "the driver".to_owned(),
        source,
    };
    let listed = files.iter().map(|file| (file.name.clone(), file.size));
    let line = FromHost::Result {
        key: key.clone(),
        files: listed.collect(),
    };
    say(to, &line).await.map_err(lost)?;
    for file in files {
        let path = directory.join(&file.name);
        let opened = tokio::fs::File::open(&path).await;
        let mut content = opened.map_err(io_error("open", &path))?.take(file.size);
        let sent = tokio::io::copy(&mut content, to).await.map_err(lost)?;
        if sent != file.size {
            let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(io_error("read", &path)(cut).into());
        }
    }
    to.flush().await.map_err(lost)
}

/// Receives the files of a result into a directory.
pub(super) async fn receive_result(
    from: &mut (impl AsyncBufRead + Unpin),
    files: &[(PathBuf, u64)],
    directory: &Path,
    host: &str,
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
    for (name, size) in files {
        if !is_plain(name) {
            return Err(nonsense(format!("a result's file {}", name.display())));
        }
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
        }
        let created = tokio::fs::File::create_new(&path).await;
        let mut file = created.map_err(io_error("create", &path))?;
        let mut content = from.take(*size);
        let received = tokio::io::copy(&mut content, &mut file)
            .await
            .map_err(io_error("write", &path))?;
        file.flush().await.map_err(io_error("write", &path))?;
        if received != *size {
            return Err(FleetError::Link {
                host: host.to_owned(),
                source: std::io::ErrorKind::UnexpectedEof.into(),
            });
        }
    }
    Ok(())
}

/// A path of one or two plain names.
fn is_plain(name: &Path) -> bool {
    let count = name.components().count();
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
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
        receive_result(&mut pipe, &files, &to, "h").await.unwrap();
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
            let got = receive_result(&mut nothing, &files, home.path(), "h").await;
            assert!(matches!(got, Err(FleetError::Nonsense { .. })), "{name}");
        }
        let files = [(PathBuf::from("a"), u64::MAX), (PathBuf::from("b"), 2)];
        let mut nothing: &[u8] = b"";
        let got = receive_result(&mut nothing, &files, home.path(), "h").await;
        assert!(matches!(got, Err(FleetError::Nonsense { .. })));
    }

    #[tokio::test]
    async fn a_result_that_is_cut_short_is_none() {
        let home = tempfile::tempdir().unwrap();
        let files = [(PathBuf::from("trial.json"), 10)];
        let mut half: &[u8] = b"half";
        let got = receive_result(&mut half, &files, home.path(), "h").await;
        assert!(matches!(got, Err(FleetError::Link { .. })));
    }

    #[tokio::test]
    async fn a_shell_s_words_are_told() {
        let mut said: &[u8] = b"sh: kvet: not found\n";
        let got = hear::<FromHost>(&mut said, "n7").await.unwrap_err();
        assert!(got.to_string().starts_with("n7 said"), "{got}");
    }
}
