//! Secrets of a cluster: cephx keys, and the keyring file the monitors are
//! made from.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A cephx key in the text form that keyrings and mount options take. It can
/// be neither printed nor serialised by accident, unlike the protocol's secrets,
/// which are made to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key that a monitor made.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new random key.
    pub(super) fn random() -> io::Result<Self> {
        let age = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self(encode(age.as_secs(), &random_bytes()?)))
    }

    /// The key itself. Keep it out of argument lists, logs and artifacts.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Ceph's `CryptoKey`, little-endian: type 1 (AES), seconds and nanoseconds of
/// its making, length, key.
fn encode(seconds: u64, key: &[u8; 16]) -> String {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&seconds.to_le_bytes()[..4]);
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&16_u16.to_le_bytes());
    bytes.extend_from_slice(key);
    BASE64_STANDARD.encode(bytes)
}

fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A random (version 4) UUID.
pub(super) fn random_uuid() -> io::Result<String> {
    let mut bytes = random_bytes()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    Ok(format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    ))
}

/// The most bytes that a keyring has.
const LIMIT: u64 = 1 << 20;

/// One section of a keyring.
#[derive(Debug)]
pub(super) struct Entity {
    /// Such as `osd.0` or `client.admin`.
    pub(super) name: String,
    pub(super) secret: Secret,
    /// Service and what may be done there.
    pub(super) caps: Vec<(&'static str, String)>,
}

/// Writes a keyring that only its owner can read.
pub(super) fn write_keyring(path: &Path, entities: &[Entity]) -> io::Result<()> {
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    for Entity { name, secret, caps } in entities {
        writeln!(file, "[{name}]\n\tkey = {}", secret.expose())?;
        for (service, may) in caps {
            writeln!(file, "\tcaps {service} = \"{may}\"")?;
        }
    }
    Ok(())
}

/// The key that a keyring has for an entity.
pub(super) fn read_secret(path: &Path, name: &str) -> io::Result<Secret> {
    let text = String::from_utf8(crate::bounded::read_own(path, LIMIT)?)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let section = format!("[{name}]");
    let mut lines = text.lines().skip_while(|line| *line != section).skip(1);
    let key = lines
        .by_ref()
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.trim().strip_prefix("key = "));
    let key = key.map(Secret::new);
    key.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("it has no key for {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_form_ceph_reads() {
        let key = encode(0x6a00_0001, b"0123456789abcdef");
        let bytes = BASE64_STANDARD.decode(&key).unwrap();
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[..2], [1, 0]);
        assert_eq!(bytes[2..6], [1, 0, 0, 0x6a]);
        assert_eq!(bytes[10..12], [16, 0]);
    }

    #[test]
    fn a_keyring_is_private_and_reads_back() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("keyring");
        let entities = ["mon.", "client.kvet"].map(|name| Entity {
            name: name.to_owned(),
            secret: Secret::random().unwrap(),
            caps: vec![("mon", "allow *".to_owned())],
        });
        write_keyring(&path, &entities).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let section = format!(
            "[client.kvet]\n\tkey = {}\n\tcaps mon = \"allow *\"\n",
            entities[1].secret.expose()
        );
        assert!(text.ends_with(&section), "{text}");
        assert_ne!(entities[0].secret, entities[1].secret);
        assert_eq!(
            read_secret(&path, "client.kvet").unwrap(),
            entities[1].secret
        );
        assert!(read_secret(&path, "client.admin").is_err());
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("AQBtopsecret==");
        assert!(!format!("{secret:?}").contains("topsecret"));
    }

    #[test]
    fn uuids_are_of_version_four() {
        let uuid = random_uuid().unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'4');
    }
}
