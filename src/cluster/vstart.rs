//! Starts a cluster with Ceph's own `vstart.sh`, from a build tree or with the
//! installed binaries.
//!
//! The script leaves daemons in the background, and has habits of a tool for
//! one developer's machine: it signals all daemons that it can see and writes
//! into its own and the current directory. So it runs as a copy in the
//! cluster's scratch directory, under a process-id namespace of its own, which
//! also is what ends its daemons: with its first process the kernel ends all.
//! The script calls it done before the cluster is healthy; kvet waits for that
//! by itself.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::conf::LEASE_WITHOUT_COPIES;
use super::daemon::{Daemon, Kind};
use super::health::{self, Until};
use super::key::Secret;
use super::monitor::{Bindings, Monitor};
use super::{
    Access, ClusterError, Daemons, ObjectStore, Site, USER, VstartSpec, guest_caps, log_tail,
    programs, script,
};
use crate::process::{Command, Process};
use crate::store::{Lock, Store, io_error};

/// The first monitor's v2 port; v1 is the next, and so on by twos.
const PORT: u32 = 40000;

/// What the wrapper says when the script is through, before its exit status.
const DONE: &str = "kvet: vstart.sh ended with ";

/// Options that make the start quicker, and let monitors use a disk to its end;
/// the rest is the script's choice.
const SETTINGS: &[&str] = &[
    "paxos propose interval = 0.02",
    "paxos min wait = 0.01",
    "mds beacon interval = 0.5",
    "osd pool default pg autoscale mode = off",
    "mon data avail crit = -1",
];

/// Starts everything and waits until it is healthy.
pub(super) async fn start(
    site: &Site<'_>,
    store: &Store,
    vstart: &VstartSpec,
    daemons: &mut Daemons,
) -> Result<(Access, Monitor), ClusterError> {
    let script = script::locate(site.context, store, vstart).await?;
    // The script keeps a monitor map in /tmp under its process id, which is the
    // same in every pid namespace: one script at a time.
    let lock = store.kind("vstart")?.join(".lock");
    let alone = tokio::select! {
        lock = Lock::acquire(&lock) => lock?,
        () = site.context.cancel.cancelled() => return Err(ClusterError::Interrupted),
    };
    let until = Until::within(site.spec.deadline);
    let home = prepare(site, vstart, &script)?;
    let environment = environment(site, vstart, &home)?;
    let log = site.logs.join("vstart.log");
    let mut holder = spawn(site, &home, &environment)?;
    let stdout = holder.take_stdout();
    daemons.hold(holder);
    let finished = async {
        match stdout {
            Some(stdout) => follow(BufReader::new(stdout), &log).await,
            None => Ok(None),
        }
    };
    let status = tokio::select! {
        biased;
        () = site.context.cancel.cancelled() => return Err(ClusterError::Interrupted),
        () = until.reached() => {
            return Err(failed(&log, "it was not done at the deadline"));
        }
        status = finished => status.map_err(io_error("write", &log))?,
    };
    match status.as_deref() {
        Some("0") => {}
        Some(status) => return Err(failed(&log, &format!("it failed with status {status}"))),
        None => return Err(failed(&log, "it ended without a word")),
    }
    drop(alone);
    for daemon in found(&home, site.logs)? {
        daemons.push(daemon);
    }
    health::quorum(site.context, daemons, until).await?;
    let monitor = Monitor::start(
        site,
        &home.join("ceph.conf"),
        &home.join("keyring"),
        &libraries(vstart, &environment),
    )?;
    health::healthy(site.context, daemons, &monitor, site.spec.max_mds, until).await?;
    let access = access(site, &monitor).await?;
    Ok((access, monitor))
}

/// Copies the script to a place that it may fill, `VSTART_DEST`.
fn prepare(site: &Site<'_>, vstart: &VstartSpec, script: &Path) -> Result<PathBuf, ClusterError> {
    let home = site.state.join("v");
    let logs = site.logs.join("out");
    for directory in [&home, &logs] {
        std::fs::create_dir_all(directory).map_err(io_error("create", directory))?;
    }
    let copy = home.join("vstart.sh");
    std::fs::copy(script, &copy).map_err(io_error("copy", script))?;
    let mut links = vec![(logs, home.join("out"))];
    if let Some(build) = &vstart.build {
        // This is how the script learns where the sources are.
        links.push((build.join("CMakeCache.txt"), home.join("CMakeCache.txt")));
    }
    for (to, link) in links {
        std::os::unix::fs::symlink(to, &link).map_err(io_error("create", &link))?;
    }
    Ok(home)
}

/// The variables that tell the script what to start and from where.
fn environment(
    site: &Site<'_>,
    vstart: &VstartSpec,
    home: &Path,
) -> Result<Vec<(OsString, OsString)>, ClusterError> {
    let spec = site.spec;
    let mut variables: Vec<(&str, OsString)> = vec![
        ("VSTART_DEST", home.into()),
        ("CEPH_PORT", PORT.to_string().into()),
        ("MON", spec.mon.to_string().into()),
        ("MGR", spec.mgr.to_string().into()),
        ("OSD", spec.osd.to_string().into()),
        ("MDS", spec.mds.to_string().into()),
        ("FS", "1".into()),
        ("RGW", "0".into()),
        ("NFS", "0".into()),
        ("HOME", home.into()),
        ("USER", "kvet".into()),
        ("PATH", std::env::var_os("PATH").unwrap_or_default()),
    ];
    match &vstart.build {
        Some(build) => {
            let build = build.canonicalize().map_err(io_error("open", build))?;
            let source = script::source_of(&build)?;
            let bin = build.join("bin");
            let lib = build.join("lib");
            let mut python = lib.join("cython_modules/lib.3").into_os_string();
            for more in ["src/pybind", "src/python-common"] {
                python.push(":");
                python.push(source.join(more));
            }
            variables.extend([
                ("CEPH_ADM", bin.join("ceph").into()),
                ("INIT_CEPH", bin.join("init-ceph").into()),
                ("CEPH_BIN", bin.into()),
                ("CEPH_EXT_LIB", build.join("external/lib").into()),
                ("EC_PATH", lib.clone().into()),
                ("OBJCLASS_PATH", lib.clone().into()),
                ("LD_LIBRARY_PATH", lib.clone().into()),
                ("CEPH_LIB", lib.into()),
                ("PYTHONPATH", python),
            ]);
        }
        None => variables.extend(installed()?),
    }
    Ok(variables
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect())
}

/// What librados's bindings of a build tree need, and the `ceph` whose Python
/// they are for.
fn libraries(vstart: &VstartSpec, environment: &[(OsString, OsString)]) -> Bindings {
    let Some(build) = &vstart.build else {
        return Bindings::default();
    };
    Bindings {
        ceph: Some(build.join("bin/ceph")),
        environment: environment
            .iter()
            .filter(|(name, _)| name == "PYTHONPATH" || name == "LD_LIBRARY_PATH")
            .cloned()
            .collect(),
    }
}

/// Where a distribution's packages put what a build tree has in bin and lib.
fn installed() -> Result<Vec<(&'static str, OsString)>, ClusterError> {
    let missing = |what: &str, package: &str| ClusterError::Missing {
        programs: vec![what.to_owned()],
        packages: vec![package.to_owned()],
    };
    let bin = programs::directory_of("ceph-mon").ok_or_else(|| missing("ceph-mon", "ceph-mon"))?;
    let plugins = library("ceph/erasure-code")
        .ok_or_else(|| missing("the erasure code plugins", "ceph-base"))?;
    let classes =
        library("rados-classes").ok_or_else(|| missing("the RADOS classes", "ceph-osd"))?;
    Ok(vec![
        ("CEPH_ADM", bin.join("ceph").into()),
        ("INIT_CEPH", "/bin/true".into()),
        ("CEPH_BIN", bin.into()),
        ("CEPH_LIB", plugins.clone().into()),
        ("EC_PATH", plugins.into()),
        ("OBJCLASS_PATH", classes.into()),
        ("MGR_PYTHON_PATH", "/usr/share/ceph/mgr".into()),
        ("PYBIND", "/usr/share/ceph".into()),
    ])
}

/// A directory below one of the places for libraries.
fn library(name: &str) -> Option<PathBuf> {
    let multiarch = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-linux-gnu"));
    ["/usr/lib64", "/usr/lib"]
        .into_iter()
        .map(PathBuf::from)
        .chain(multiarch)
        .map(|base| base.join(name))
        .find(|path| path.is_dir())
}

/// Runs the script as the first of its own processes, which stays when the
/// script has ended.
fn spawn(
    site: &Site<'_>,
    home: &Path,
    environment: &[(OsString, OsString)],
) -> Result<Process, ClusterError> {
    // Entering the namespace's mounts leads to its root, whatever the directory
    // was before.
    let wrapper =
        format!("cd \"$0\" && bash \"$@\" 2>&1 </dev/null; echo \"{DONE}$?\"; exec cat >/dev/null");
    let objectstore = match site.spec.objectstore {
        ObjectStore::Memstore => "--memstore",
        ObjectStore::Bluestore => "--bluestore",
    };
    // The script obeys many variables, which the user's shell may have set for
    // another cluster: only those below reach it.
    let mut command = Command::new("unshare")
        .args(["--pid", "--mount", "--fork", "--kill-child=KILL"])
        .args(["--mount-proc", "--", "env", "-i"]);
    for (name, value) in environment {
        let mut assignment = name.clone();
        assignment.push("=");
        assignment.push(value);
        command = command.arg(assignment);
    }
    command = command
        .args(["sh", "-c", &wrapper])
        .arg(home)
        .arg(home.join("vstart.sh"))
        .args(["-n", "-i", &site.address.to_string(), objectstore])
        .args(["--without-dashboard", "--no-parallel", "--nolockdep"]);
    if site.spec.max_mds > 1 {
        command = command.args(["--multimds", &site.spec.max_mds.to_string()]);
    }
    for option in SETTINGS {
        command = command.args(["-o", option]);
    }
    if site.spec.osd == 1 {
        let (name, value) = LEASE_WITHOUT_COPIES;
        command = command.arg("-o").arg(format!("{name} = {value}"));
    }
    for (name, value) in &site.spec.options {
        command = command.arg("-o").arg(format!("{name} = {value}"));
    }
    // Its input stays open for as long as kvet lives; that is what `cat` waits for.
    let process = command.directory(home).inside(site.namespace).spawn(true)?;
    Ok(process)
}

/// Keeps what the script says, without the keys that it prints; returns its
/// exit status.
async fn follow(
    mut output: impl tokio::io::AsyncBufRead + Unpin,
    log: &Path,
) -> std::io::Result<Option<String>> {
    let mut file = std::fs::File::create(log)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if output.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        if let Some((_, status)) = text.split_once(DONE) {
            return Ok(Some(status.trim().to_owned()));
        }
        file.write_all(without_keys(&text).as_bytes())?;
    }
}

/// Blots out everything that has the form of a cephx key.
fn without_keys(text: &str) -> String {
    // In base64, the type (1 or 2) in the first two bytes: 28 bytes, or more.
    match Regex::new(r"\bA[Qg][A-Za-z0-9+/]{36,}={1,2}") {
        Ok(key) => key.replace_all(text, "(key)").into_owned(),
        // A line that can't be checked is not kept.
        Err(_) => String::from("(unreadable)\n"),
    }
}

fn failed(log: &Path, problem: &str) -> ClusterError {
    ClusterError::Vstart {
        problem: problem.to_owned(),
        tail: log_tail(log),
        help: format!(
            "all it said is in {}, the daemons' logs are in `out` beside it; `deadline:` under \
             `cluster:` gives it more time",
            log.display()
        ),
    }
}

/// The daemons that the script left, by their admin sockets.
fn found(home: &Path, logs: &Path) -> Result<Vec<Daemon>, ClusterError> {
    let sockets = home.join("asok");
    let mut daemons: Vec<Daemon> = std::fs::read_dir(&sockets)
        .map_err(io_error("read", &sockets))?
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let name = file.strip_suffix(".asok")?.to_owned();
            let kind = Kind::of(&name)?;
            let log = logs.join("out").join(format!("{name}.log"));
            Some(Daemon::new(kind, name, entry.path(), log, None))
        })
        .collect();
    daemons.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(daemons)
}

/// Makes the guests' user, as the other launcher does, and asks for the rest.
async fn access(site: &Site<'_>, monitor: &Monitor) -> Result<Access, ClusterError> {
    let odd = |what: &str| ClusterError::Refused {
        daemon: "mon".to_owned(),
        command: what.to_owned(),
        said: "an answer in an unknown form".to_owned(),
    };
    let map = monitor.command(&json!({"prefix": "fs dump"})).await?;
    let filesystem = map["filesystems"][0]["mdsmap"]["fs_name"]
        .as_str()
        .ok_or_else(|| odd("fs dump"))?
        .to_owned();
    let status = monitor.command(&json!({"prefix": "status"})).await?;
    let fsid = status["fsid"].as_str().ok_or_else(|| odd("status"))?;
    let entity = format!("client.{USER}");
    let caps = guest_caps(&filesystem);
    let caps: Vec<&str> = caps
        .iter()
        .flat_map(|(service, may)| [*service, may.as_str()])
        .collect();
    let command = json!({"prefix": "auth get-or-create", "entity": entity, "caps": caps});
    let made = monitor.command(&command).await?;
    let secret = made[0]["key"]
        .as_str()
        .ok_or_else(|| odd("auth get-or-create"))?;
    let monitors: Vec<String> = (0..site.spec.mon)
        .map(|index| format!("{}:{}", site.address, PORT + 2 * index + 1))
        .collect();
    Ok(Access {
        monitors: monitors.join(","),
        user: USER.to_owned(),
        secret: Secret::new(secret),
        fsid: fsid.to_owned(),
        filesystem,
        root: "/".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_blotted_out() {
        let key = "AQBx1iFqAAAAABAAMDEyMzQ1Njc4OWFiY2RlZg==";
        let line = format!("ceph-osd -i 0 --mkfs --key {key} --osd-uuid 1\n");
        assert_eq!(
            without_keys(&line),
            "ceph-osd -i 0 --mkfs --key (key) --osd-uuid 1\n"
        );
    }

    #[test]
    fn longer_keys_are_blotted_out_too() {
        let key = format!("AgBx1iFqAAAAACAA{}=", "MDEy".repeat(10) + "MzQ");
        assert_eq!(without_keys(&format!("key = {key}\n")), "key = (key)\n");
    }

    #[tokio::test]
    async fn the_status_ends_the_output() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("vstart.log");
        let said = format!("one\ntwo {DONE}3\nthree\n");
        let status = follow(said.as_bytes(), &log).await.unwrap();
        assert_eq!(status.as_deref(), Some("3"));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\n");
        let status = follow("killed".as_bytes(), &log).await.unwrap();
        assert_eq!(status, None);
    }
}
