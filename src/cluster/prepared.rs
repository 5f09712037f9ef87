//! Clusters that were made once, with stores, keys, pools and file system, and
//! are copied for each run: what is left to do is to start the daemons.
//!
//! A prepared cluster is of one set of Ceph's programs and one description, which
//! its key holds. It lies in the user's own store, readable by nobody else, and
//! every run of that user gets the same fsid and the same keys of daemons. That
//! gives nothing away: a cluster can be reached inside its private network alone,
//! what guests mount with is made anew for each of them in the running copy, and
//! no guest sees any other key.
//!
//! An OSD that keeps its objects in memory writes them to its directory when it is
//! ended in order, and reads them from there.

use std::cell::Cell;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::conf::LOGS;
use super::daemon::Kind;
use super::monitor::Monitor;
use super::{ClusterError, Daemons, ObjectStore, Site, conf, native};
use crate::error::Error;
use crate::event::Event;
use crate::patience;
use crate::process::find_program;
use crate::store::{InUse, Key, Scratch, Store, io_error, write_json};

/// The store's kind.
const KIND: &str = "clusters";

/// Changes whenever the way in which a cluster is made does.
const FORMAT: u32 = 1;

/// What says what an entry is.
const RECORD: &str = "cluster.json";

/// The directory of an entry that is copied.
const STATE: &str = "state";

/// How long a daemon may take to end in order.
const ENDED: Duration = Duration::from_secs(20);

/// Who may look into a prepared cluster: its keys lie there.
const PRIVATE: u32 = 0o700;

/// `cluster.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// What it is, for whoever looks into the cache.
    origin: String,
    fsid: String,
}

/// A cluster to copy.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) fsid: String,
    name: String,
    state: PathBuf,
    _in_use: Option<InUse>,
}

/// The prepared cluster for a description, made if there is none yet. `None` if
/// such a cluster is not prepared, or cannot be kept, which is told. An error is
/// one of the cluster itself, which would not come up without this either.
pub(super) async fn get(site: &Site<'_>, store: &Store) -> Result<Option<Prepared>, ClusterError> {
    // A store on disk is made for ten GiB, and most of a file of holes is not
    // worth a copy.
    if site.spec.objectstore != ObjectStore::Memstore || site.spec.vstart.is_some() {
        return Ok(None);
    }
    let key = key(site);
    let came_up = Cell::new(false);
    let made = store.fill(KIND, key.as_str(), async |directory: PathBuf| {
        make(site, &came_up, &directory).await
    });
    let entry = match made.await {
        Ok(entry) => entry,
        Err(error) if came_up.get() || matches!(error, ClusterError::Store(_)) => {
            let text = Error::from(error).one_line();
            let text = format!("no cluster can be prepared, and one is made for this run: {text}");
            site.context.emit(Event::Note(text));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let record = crate::bounded::read_own(&entry.path.join(RECORD), 1 << 16);
    let record = record
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let Some(Record { fsid, .. }) = record else {
        store.discard(KIND, key.as_str()).await?;
        return Ok(None);
    };
    Ok(Some(Prepared {
        fsid,
        name: key.as_str().to_owned(),
        state: entry.path.join(STATE),
        _in_use: entry.in_use,
    }))
}

impl Prepared {
    /// Copies it to where a cluster is to run.
    pub(super) fn copy_to(&self, state: &Path) -> Result<(), ClusterError> {
        copy(&self.state, state)
    }

    /// Removes it: what was copied from it did not work.
    pub(super) async fn discard(self, store: &Store) -> Result<(), ClusterError> {
        let name = self.name.clone();
        drop(self);
        Ok(store.discard(KIND, &name).await?)
    }
}

/// The key of all that decides what is made.
fn key(site: &Site<'_>) -> Key {
    let programs = [Kind::Mon, Kind::Mgr, Kind::Osd, Kind::Mds];
    let programs = programs.map(|kind| program(kind.program()));
    // Where a cluster runs is not what it is.
    let text = conf::ceph_conf(site.spec, "", site.address, Path::new(""));
    let ranks = site.spec.max_mds;
    let what = format!(
        "cluster {FORMAT}, {}, {ranks} ranks\n{text}",
        site.spec.summary()
    );
    Key::of(programs.into_iter().chain([what]))
}

/// Which version of a program is installed: its file is another one after each
/// upgrade. Asking all of them would cost each start what a copy saves.
fn program(name: &str) -> String {
    let data = find_program(name).and_then(|path| Some((path.metadata().ok()?, path)));
    let Some((data, path)) = data else {
        return String::new();
    };
    let modified = data.modified().ok();
    let time = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let time = time.unwrap_or_default().as_nanos();
    format!("{}, {} bytes of {time}", path.display(), data.len())
}

/// Starts a new cluster and ends it in order. What its daemons say is kept where
/// the daemons of the copy go on.
async fn make(site: &Site<'_>, came_up: &Cell<bool>, directory: &Path) -> Result<(), ClusterError> {
    let scratch = Scratch::new()?;
    let site = Site {
        state: scratch.path(),
        ..*site
    };
    let mut daemons = Daemons::new(site.logs.to_owned());
    let (access, monitor) = native::fresh(&site, &mut daemons).await?;
    came_up.set(true);
    settle(&daemons, &monitor, &access.filesystem, site.spec.max_mds).await?;
    drop(monitor);
    drop(daemons);
    let state = directory.join(STATE);
    std::fs::DirBuilder::new()
        .mode(PRIVATE)
        .create(&state)
        .map_err(io_error("create", &state))?;
    copy(scratch.path(), &state)?;
    let record = Record {
        origin: site.spec.summary(),
        fsid: access.fsid,
    };
    let private = std::fs::Permissions::from_mode(PRIVATE);
    std::fs::set_permissions(directory, private).map_err(io_error("protect", directory))?;
    Ok(write_json(&directory.join(RECORD), &record)?)
}

/// Ends the daemons such that all they have is in their directories. A metadata
/// server has all it has in the OSDs, and is simply gone; so is a manager. The
/// monitors must know that nobody holds a rank, or those who start the daemons
/// again would take the cluster for healthy too early.
async fn settle(
    daemons: &Daemons,
    monitor: &Monitor,
    filesystem: &str,
    ranks: u32,
) -> Result<(), ClusterError> {
    let of = |kind: Kind| daemons.iter().filter(move |daemon| daemon.kind == kind);
    for server in of(Kind::Mds) {
        // A standby has no journal.
        drop(
            server
                .ask(&json!({"prefix": "flush journal"}), patience::of(ENDED))
                .await,
        );
        drop(server.kill());
    }
    for rank in 0..ranks {
        let role = format!("{filesystem}:{rank}");
        let fail = json!({"prefix": "mds fail", "role_or_gid": role});
        monitor.command(&fail).await?;
    }
    of(Kind::Mgr).for_each(|daemon| drop(daemon.kill()));
    for osd in of(Kind::Osd) {
        // Or it just ends, since its disk has everything.
        let slowly = json!({
            "prefix": "config set", "var": "osd_fast_shutdown", "val": ["false"],
        });
        osd.ask(&slowly, patience::of(ENDED)).await?;
    }
    for kind in [Kind::Osd, Kind::Mon] {
        for daemon in of(kind) {
            daemon.terminate()?;
        }
        for daemon in of(kind) {
            if tokio::time::timeout(patience::of(ENDED), daemon.lost())
                .await
                .is_err()
            {
                return Err(ClusterError::Silent {
                    daemon: daemon.name.clone(),
                    command: "end".to_owned(),
                    after: patience::of(ENDED),
                });
            }
        }
    }
    Ok(())
}

/// Copies a cluster's state: not what belongs to the place where it runs, such
/// as its configuration, its logs and its sockets.
fn copy(from: &Path, to: &Path) -> Result<(), ClusterError> {
    let entries = std::fs::read_dir(from).map_err(io_error("read the directory", from))?;
    for entry in entries {
        let entry = entry.map_err(io_error("read the directory", from))?;
        let name = entry.file_name();
        let of_the_place = [LOGS, "ceph.conf", ".lock"];
        if of_the_place.iter().any(|place| name == *place) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        let kind = entry.file_type().map_err(io_error("read", &from))?;
        if kind.is_dir() {
            std::fs::create_dir(&to).map_err(io_error("create", &to))?;
            copy(&from, &to)?;
        } else if kind.is_file() {
            // With its mode: keyrings are for their owner alone.
            std::fs::copy(&from, &to).map_err(io_error("write", &to))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_all_but_what_belongs_to_the_place() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        std::fs::create_dir_all(from.join("mon.a/store.db")).unwrap();
        std::fs::create_dir(&to).unwrap();
        for name in ["ceph.conf", ".lock", "keyring", "mon.a/store.db/1.sst"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        let secret = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(from.join("keyring"), secret).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join(LOGS)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("mon.a.asok")).unwrap();
        copy(&from, &to).unwrap();
        let there = |name: &str| to.join(name).symlink_metadata().is_ok();
        assert!(there("mon.a/store.db/1.sst") && there("keyring"));
        for name in ["ceph.conf", ".lock", LOGS, "mon.a.asok"] {
            assert!(!there(name), "{name}");
        }
        let mode = to.join("keyring").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
