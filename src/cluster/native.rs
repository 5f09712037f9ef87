//! Starts a cluster from the installed daemons, each in the foreground.
//!
//! The monitors' store is made with every key and capability in it, so that
//! the daemons can start at once instead of one after the other's `auth`
//! command. Left for a running monitor are the OSDs' numbers, two pools and
//! the file system.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::json;

use super::conf::{self, LOGS};
use super::daemon::{Daemon, Kind};
use super::health::{self, Until};
use super::key::{self, Entity, Secret};
use super::monitor::{Bindings, Monitor};
use super::{Access, ClusterError, Daemons, Site, USER, guest_caps};
use crate::process::Command;
use crate::store::io_error;

/// The file system's name.
const FILE_SYSTEM: &str = "cephfs";

/// Placement groups per pool: enough to spread over some OSDs, few to start.
const GROUPS: u32 = 8;

const ADMIN: &[(&str, &str)] = &[
    ("mon", "allow *"),
    ("mgr", "allow *"),
    ("osd", "allow *"),
    ("mds", "allow *"),
];
const MGR: &[(&str, &str)] = &[
    ("mon", "allow profile mgr"),
    ("osd", "allow *"),
    ("mds", "allow *"),
];
const OSD: &[(&str, &str)] = &[
    ("mon", "allow profile osd"),
    ("mgr", "allow profile osd"),
    ("osd", "allow *"),
];
const MDS: &[(&str, &str)] = &[
    ("mon", "allow profile mds"),
    ("mgr", "allow profile mds"),
    ("osd", "allow rw tag cephfs *=*"),
    ("mds", "allow"),
];
/// What the steps below share.
struct Launch<'a> {
    site: &'a Site<'a>,
    fsid: String,
}

/// Starts the daemons on a copy of a prepared cluster, which has this name for
/// itself, and waits until they are healthy.
pub(super) async fn resume(
    site: &Site<'_>,
    fsid: &str,
    daemons: &mut Daemons,
) -> Result<(Access, Monitor), ClusterError> {
    let Site { context, spec, .. } = *site;
    let until = Until::within(spec.deadline);
    let launch = Launch {
        site,
        fsid: fsid.to_owned(),
    };
    launch.configure()?;
    let keyring = site.state.join("keyring");
    let secret = key::read_secret(&keyring, &format!("client.{USER}"))
        .map_err(io_error("read", &keyring))?;
    for id in letters(spec.mon) {
        daemons.push(launch.spawn(Kind::Mon, &id)?);
    }
    // Its libraries load while the monitors start.
    let monitor = Monitor::start(site, &launch.conf(), &keyring, &Bindings::default())?;
    // A daemon that calls before anyone listens waits seconds to call again.
    health::quorum(context, daemons, until).await?;
    for id in 0..spec.osd {
        daemons.push(launch.spawn(Kind::Osd, &id.to_string())?);
    }
    for id in letters(spec.mds) {
        daemons.push(launch.spawn(Kind::Mds, &id)?);
    }
    for id in letters(spec.mgr) {
        daemons.push(launch.spawn(Kind::Mgr, &id)?);
    }
    health::healthy(context, daemons, &monitor, spec.max_mds, until).await?;
    Ok((launch.access(secret), monitor))
}

/// Makes a cluster from nothing, starts it, and waits until it is healthy.
pub(super) async fn fresh(
    site: &Site<'_>,
    daemons: &mut Daemons,
) -> Result<(Access, Monitor), ClusterError> {
    let Site { context, spec, .. } = *site;
    let until = Until::within(spec.deadline);
    let launch = Launch {
        site,
        fsid: key::random_uuid().map_err(io_error("read", "/dev/urandom"))?,
    };
    let secret = launch.prepare()?;
    let osds = launch.make_stores().await?;
    for id in letters(spec.mon) {
        daemons.push(launch.spawn(Kind::Mon, &id)?);
    }
    // A daemon that calls before anyone listens waits seconds to call again.
    health::quorum(context, daemons, until).await?;
    let monitor = Monitor::start(
        site,
        &launch.conf(),
        &site.state.join("keyring"),
        &Bindings::default(),
    )?;
    for id in letters(spec.mgr) {
        daemons.push(launch.spawn(Kind::Mgr, &id)?);
    }
    for id in letters(spec.mds) {
        daemons.push(launch.spawn(Kind::Mds, &id)?);
    }
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(ClusterError::Interrupted),
        ended = daemons.ended() => return Err(ended.into()),
        made = launch.number_osds(&monitor, &osds) => made?,
    }
    for id in 0..spec.osd {
        daemons.push(launch.spawn(Kind::Osd, &id.to_string())?);
    }
    if spec.osd > 1 {
        // Groups that find only some of them would have to move.
        health::osds(context, daemons, &monitor, until).await?;
    }
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(ClusterError::Interrupted),
        ended = daemons.ended() => return Err(ended.into()),
        made = launch.make_file_system(&monitor) => made?,
    }
    health::healthy(context, daemons, &monitor, spec.max_mds, until).await?;
    Ok((launch.access(secret), monitor))
}

impl Launch<'_> {
    fn conf(&self) -> PathBuf {
        self.site.state.join("ceph.conf")
    }

    fn access(self, secret: Secret) -> Access {
        Access {
            monitors: conf::mount_addresses(self.site.address, self.site.spec.mon),
            user: USER.to_owned(),
            secret,
            fsid: self.fsid,
            filesystem: FILE_SYSTEM.to_owned(),
            root: "/".to_owned(),
        }
    }

    /// Writes what belongs to the place where the cluster runs.
    fn configure(&self) -> Result<(), ClusterError> {
        let Site { spec, state, .. } = *self.site;
        let link = state.join(LOGS);
        std::os::unix::fs::symlink(self.site.logs, &link).map_err(io_error("create", &link))?;
        let text = conf::ceph_conf(spec, &self.fsid, self.site.address, state);
        for conf in [self.conf(), self.site.logs.join("ceph.conf")] {
            std::fs::write(&conf, &text).map_err(io_error("write", &conf))?;
        }
        Ok(())
    }

    /// Writes configuration and keys; returns the guests' key.
    fn prepare(&self) -> Result<Secret, ClusterError> {
        let Site { spec, state, .. } = *self.site;
        self.configure()?;
        let names = letters(self.site.spec.mon)
            .map(|id| format!("mon.{id}"))
            .chain(letters(self.site.spec.mgr).map(|id| format!("mgr.{id}")))
            .chain(letters(self.site.spec.mds).map(|id| format!("mds.{id}")))
            .chain((0..self.site.spec.osd).map(|id| format!("osd.{id}")))
            .chain(["modules".to_owned()]);
        for name in names {
            let directory = state.join(name);
            std::fs::create_dir(&directory).map_err(io_error("create", &directory))?;
        }
        let fixed = |caps: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            caps.iter()
                .map(|(to, may)| (*to, (*may).to_owned()))
                .collect()
        };
        let mut entities = vec![
            (format!("client.{USER}"), guest_caps(FILE_SYSTEM)),
            ("mon.".to_owned(), fixed(&ADMIN[..1])),
            ("client.admin".to_owned(), fixed(ADMIN)),
        ];
        entities.extend(letters(spec.mgr).map(|id| (format!("mgr.{id}"), fixed(MGR))));
        entities.extend(letters(spec.mds).map(|id| (format!("mds.{id}"), fixed(MDS))));
        entities.extend((0..spec.osd).map(|id| (format!("osd.{id}"), fixed(OSD))));
        let mut keyring = Vec::with_capacity(entities.len());
        for (name, caps) in entities {
            keyring.push(Entity {
                name,
                secret: Secret::random().map_err(io_error("read", "/dev/urandom"))?,
                caps,
            });
        }
        let path = state.join("keyring");
        key::write_keyring(&path, &keyring).map_err(io_error("write", &path))?;
        // The guests' key is the first, by the order above.
        Ok(keyring.swap_remove(0).secret)
    }

    /// Makes the stores of monitors and OSDs; returns the OSDs' UUIDs.
    async fn make_stores(&self) -> Result<Vec<String>, ClusterError> {
        let cancel = &self.site.context.cancel;
        let monmap = self.site.state.join("monmap");
        let mut command = self
            .tool("monmaptool")
            .args(["--create", "--fsid", &self.fsid]);
        for (index, id) in (0..).zip(letters(self.site.spec.mon)) {
            let addresses = conf::monitor_addresses(self.site.address, index);
            command = command.args(["--addv", &id, &addresses]);
        }
        command.arg(&monmap).run(cancel).await?;
        let uuids = (0..self.site.spec.osd)
            .map(|_| key::random_uuid())
            .collect::<Result<Vec<_>, _>>()
            .map_err(io_error("read", "/dev/urandom"))?;
        let monitors = letters(self.site.spec.mon).map(|id| {
            self.daemon(Kind::Mon, &id)
                .arg("--mkfs")
                .arg("--monmap")
                .arg(&monmap)
        });
        let osds = uuids.iter().enumerate().map(|(id, uuid)| {
            self.daemon(Kind::Osd, &id.to_string())
                .args(["--mkfs", "--osd-uuid", uuid])
        });
        // All run to their ends, also when one fails or kvet is interrupted: a
        // program that is dropped may write for a moment yet.
        let made = join_all(monitors.chain(osds).map(|command| command.run(cancel))).await;
        made.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(uuids)
    }

    async fn number_osds(&self, monitor: &Monitor, uuids: &[String]) -> Result<(), ClusterError> {
        for (id, uuid) in uuids.iter().enumerate() {
            let command = json!({"prefix": "osd new", "uuid": uuid, "id": id});
            monitor.command(&command).await?;
        }
        Ok(())
    }

    async fn make_file_system(&self, monitor: &Monitor) -> Result<(), ClusterError> {
        let pools = ["metadata", "data"].map(|use_| format!("{FILE_SYSTEM}.{use_}"));
        for pool in &pools {
            let create = json!({
                "prefix": "osd pool create", "pool": pool, "pg_num": GROUPS, "pgp_num": GROUPS,
            });
            monitor.command(&create).await?;
        }
        let [metadata, data] = &pools;
        let new = json!({
            "prefix": "fs new", "fs_name": FILE_SYSTEM, "metadata": metadata, "data": data,
        });
        monitor.command(&new).await?;
        if self.site.spec.max_mds > 1 {
            let set = json!({
                "prefix": "fs set", "fs_name": FILE_SYSTEM, "var": "max_mds",
                "val": self.site.spec.max_mds.to_string(),
            });
            monitor.command(&set).await?;
        }
        Ok(())
    }

    fn tool(&self, program: &str) -> Command {
        Command::new(program)
            // What the user's shell has set is for another cluster.
            .env("CEPH_ARGS", "")
            .env("CEPH_CONF", self.conf())
    }

    /// A daemon's program for one id; the command goes into the namespace
    /// only with `inside`, which `spawn` adds.
    fn daemon(&self, kind: Kind, id: &str) -> Command {
        self.tool(kind.program())
            .arg("--conf")
            .arg(self.conf())
            .args(["--id", id])
            .arg("--keyring")
            .arg(self.site.state.join("keyring"))
            // The options are in the file; asking the monitors costs a round.
            .arg("--no-mon-config")
            // Or an OSD forks even to make its store.
            .arg("--foreground")
    }

    fn spawn(&self, kind: Kind, id: &str) -> Result<Daemon, ClusterError> {
        let name = format!("{}.{id}", kind.name());
        let log = self.site.logs.join(format!("{name}.log"));
        let open = || {
            std::fs::File::options()
                .append(true)
                .create(true)
                .open(&log)
                .map_err(io_error("create", &log))
        };
        let process = self
            .daemon(kind, id)
            .stdout_to(open()?)
            .stderr_to(open()?)
            .inside(self.site.namespace)
            .spawn(false)?;
        let socket = self.site.state.join(format!("{name}.asok"));
        Ok(Daemon::new(kind, name, socket, log, Some(process)))
    }
}

/// The ids Ceph's documentation uses: a, b, …, z, then a1, b1, ….
fn letters(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|index| {
        let letter = char::from(b'a' + u8::try_from(index % 26).unwrap_or_default());
        match index / 26 {
            0 => letter.to_string(),
            round => format!("{letter}{round}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat() {
        let ids: Vec<String> = letters(60).collect();
        assert_eq!(ids[0], "a");
        assert_eq!(ids[27], "b1");
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
    }
}
