//! What one guest gets: a directory, and a key that is good for nothing else.
//!
//! A guest runs a kernel that may do anything, and can read its own key. So it
//! cannot see, change or remove what another trial has written: the metadata
//! servers hold it to its directory, and the OSDs to the namespace in which the
//! directory's objects lie.

use std::time::Duration;

use serde_json::{Value, json};

use super::key::Secret;
use super::{Access, Cluster, ClusterError, PATIENCE, USER, programs};
use crate::context::Context;
use crate::patience;
use crate::process::{Command, Namespace};

const MAKE_DIRECTORY: &str = include_str!("directory.py");
const SWEEP: &str = include_str!("sweep.py");

/// Removing what hundreds of guests have left takes no longer.
const SWEPT: Duration = Duration::from_secs(120);

impl Cluster {
    /// Makes `/NAME` on the file system, which is [`Access::root`], and a key that
    /// writes there alone. `namespace` is the cluster's.
    pub async fn admit(
        &self,
        context: &Context,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Access, ClusterError> {
        if !is_host_name(name) {
            return Err(ClusterError::Spec {
                problem: format!("a guest cannot be called {name:?}"),
            });
        }
        let shared = &self.access;
        let root = format!("/{name}");
        let words = [&shared.filesystem, &root, name];
        self.have(context, namespace, MAKE_DIRECTORY, words, PATIENCE)
            .await?;
        let pool = self.data_pool().await?;
        let caps: Vec<String> = caps(&shared.filesystem, &pool, name)
            .into_iter()
            .flat_map(|(service, may)| [service.to_owned(), may])
            .collect();
        let user = user(name);
        let made = self
            .mon_command(json!({
                "prefix": "auth get-or-create", "entity": format!("client.{user}"), "caps": caps,
            }))
            .await?;
        let secret = made[0]["key"]
            .as_str()
            .ok_or_else(|| odd("auth get-or-create"))?;
        Ok(Access {
            user,
            secret: Secret::new(secret),
            root,
            ..shared.clone()
        })
    }

    /// Takes a guest's key back: it opens no more sessions. Those that it has go
    /// on; [`Cluster::evict`] ends them. Its directory stays until
    /// [`Cluster::sweep`].
    pub async fn dismiss(&self, name: &str) -> Result<(), ClusterError> {
        let entity = format!("client.{}", user(name));
        self.mon_command(json!({"prefix": "auth rm", "entity": entity}))
            .await?;
        self.gone.borrow_mut().push(name.to_owned());
        Ok(())
    }

    /// Removes the directories of guests that were dismissed. The metadata servers
    /// have the OSDs remove what was in the files some time after. What this does not
    /// come to is not tried again. `namespace` is the cluster's.
    pub async fn sweep(
        &self,
        context: &Context,
        namespace: &Namespace,
    ) -> Result<(), ClusterError> {
        let gone = self.gone.take();
        if gone.is_empty() {
            return Ok(());
        }
        let words = std::iter::once(&self.access.filesystem).chain(&gone);
        let words = words.map(String::as_str);
        self.have(context, namespace, SWEEP, words, SWEPT).await
    }

    /// Has a script do something to the file system, with every right. Its first
    /// word is ceph.conf.
    async fn have(
        &self,
        context: &Context,
        namespace: &Namespace,
        script: &str,
        words: impl IntoIterator<Item = &str>,
        within: Duration,
    ) -> Result<(), ClusterError> {
        let bindings = self.monitor.bindings();
        let mut program = Command::new(programs::python_of(bindings.ceph.as_deref()))
            .args(["-c", script])
            .arg(&self.conf)
            .args(words)
            // What the user's shell has set is for another cluster.
            .env("CEPH_ARGS", "")
            .env("CEPH_KEYRING", self.monitor.keyring())
            .deadline(patience::of(within));
        for (variable, value) in &bindings.environment {
            program = program.env(variable, value);
        }
        program.inside(namespace).run(&context.cancel).await?;
        Ok(())
    }

    /// The pool of the file system's data.
    async fn data_pool(&self) -> Result<String, ClusterError> {
        let all = self.mon_command(json!({"prefix": "fs ls"})).await?;
        let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = |one: &&Value| one["name"] == self.access.filesystem.as_str();
        let pool = all
            .iter()
            .find(ours)
            .and_then(|one| one["data_pools"][0].as_str());
        Ok(pool.ok_or_else(|| odd("fs ls"))?.to_owned())
    }
}

/// A guest's user, without `client.`.
fn user(name: &str) -> String {
    format!("{USER}.{name}")
}

/// What a guest may do: mount the root and look around, which needs no data; and
/// everything in its own directory, where `p` is for quotas and layouts and `s`
/// for snapshots.
fn caps(filesystem: &str, pool: &str, name: &str) -> [(&'static str, String); 3] {
    [
        ("mon", format!("allow r fsname={filesystem}")),
        ("osd", format!("allow rw pool={pool} namespace={name}")),
        (
            "mds",
            format!("allow r fsname={filesystem}, allow rwps fsname={filesystem} path=/{name}"),
        ),
    ]
}

/// Whether a name can be a host's, and so stand in capabilities as it is.
fn is_host_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

fn odd(command: &str) -> ClusterError {
    ClusterError::Refused {
        daemon: "mon".to_owned(),
        command: command.to_owned(),
        said: "an answer in an unknown form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_s_name_adds_nothing_to_its_capabilities() {
        for name in ["trial-1", "self-test", "trial-12-3"] {
            assert!(is_host_name(name), "{name}");
        }
        let long = "x".repeat(64);
        for name in [
            "",
            "a b",
            "a,allow *",
            "../x",
            "-x",
            "a/b",
            "a.b",
            "ä",
            &long,
        ] {
            assert!(!is_host_name(name), "{name}");
        }
    }

    #[test]
    fn a_guest_is_held_to_its_directory() {
        let caps = caps("cephfs", "cephfs.data", "trial-1");
        assert_eq!(caps[1].1, "allow rw pool=cephfs.data namespace=trial-1");
        assert_eq!(
            caps[2].1,
            "allow r fsname=cephfs, allow rwps fsname=cephfs path=/trial-1"
        );
    }
}
