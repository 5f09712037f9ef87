//! Real Ceph daemons: started, asked, disturbed and ended.
#![cfg(feature = "e2e")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests"
)]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use kvet::cli::cluster::{ClusterArgs, run_at};
use kvet::cluster::{Access, Cluster, ClusterError, ClusterSpec};
use kvet::process::{Command, Namespace, Process, private_network};
use kvet::service::Service;
use kvet::step::HostStep;
use kvet::store::Store;
use kvet::{Context, Error, Exit};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Long enough for a loaded machine; nothing is measured by it.
const LONG: Duration = Duration::from_secs(120);

struct Lab {
    context: Context,
    namespace: Namespace,
    home: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        Self {
            context: Context::default(),
            namespace: private_network(ADDRESS).await.unwrap(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    async fn start(&self, yaml: &str) -> Result<Cluster, ClusterError> {
        let spec: ClusterSpec = serde_yaml::from_str(yaml).unwrap();
        // Kept between runs: the source package is large.
        let store = Store::at(concat!(env!("CARGO_TARGET_TMPDIR"), "/store")).unwrap();
        let began = Instant::now();
        let cluster = Cluster::start(
            &self.context,
            &store,
            &spec,
            &self.namespace,
            ADDRESS,
            &self.logs(),
        )
        .await;
        eprintln!("{yaml:?}: {:?}", began.elapsed());
        cluster
    }

    fn logs(&self) -> PathBuf {
        self.home.path().join("logs")
    }
}

/// Process ids of what has a path in its command line, with the command line.
fn users_of(path: &Path) -> Vec<(i32, String)> {
    let needle = path.to_str().unwrap();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let bytes = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&bytes).replace('\0', " ")))
        })
        .filter(|(_, line)| line.contains(needle))
        .collect()
}

/// The directory of keys and sockets, as the cluster's own ceph.conf has it.
fn state_of(lab: &Lab) -> PathBuf {
    let conf = std::fs::read_to_string(lab.logs().join("ceph.conf")).unwrap();
    let keyring = conf
        .lines()
        .find_map(|line| line.strip_prefix("keyring = "))
        .unwrap();
    Path::new(keyring).parent().unwrap().to_owned()
}

/// The daemon itself, not the nsenter it runs under.
fn pid_of(lab: &Lab, program: &str) -> Pid {
    let pids: Vec<i32> = users_of(&state_of(lab))
        .into_iter()
        .filter(|(_, line)| line.starts_with(program))
        .map(|(pid, _)| pid)
        .collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
    Pid::from_raw(pids[0]).unwrap()
}

/// Waits until the kernel shows a process in a state, such as `T`.
async fn in_state(pid: Pid, wanted: &str) {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let reached = async {
        loop {
            let stat = std::fs::read_to_string(&path).unwrap();
            let state = stat.rsplit(')').next().unwrap().split_whitespace().next();
            if state == Some(wanted) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap();
}

/// What some work comes to that something else disturbs, and the latter. That may wait
/// for what the work does, and would for ever if the work were at its end.
async fn disturbed<T: std::fmt::Debug, U>(
    work: impl Future<Output = T>,
    other: impl Future<Output = U>,
) -> (T, U) {
    let (mut work, other) = (std::pin::pin!(work), std::pin::pin!(other));
    let other = tokio::select! {
        biased;
        other = other => other,
        early = &mut work => panic!("it ended before it was disturbed: {early:?}"),
    };
    (work.await, other)
}

fn assert_nothing_left(lab: &Lab) {
    let state = state_of(lab);
    assert_eq!(users_of(&state), []);
    assert!(!state.exists(), "{} is left", state.display());
}

/// A client of the file system in a process of its own. It mounts, writes a
/// file, says its number, and holds its session until its input ends.
const CLIENT: &str = r#"
import cephfs, sys
fs = cephfs.LibCephFS(conffile=sys.argv[1], auth_id="kvet")
fs.mount(filesystem_name=b"cephfs")
fd = fs.open("/file", "w", 0o644)
fs.write(fd, b"data", 0)
fs.fsync(fd, 0)
fs.setxattr("/", "ceph.quota.max_files", b"1000", 0)
fs.mkdir("/.snap/one", 0o755)
print(fs.get_instance_id(), flush=True)
sys.stdin.read()
"#;

#[tokio::test]
async fn a_cluster_starts_healthy_and_leaves_nothing() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    // In the order of their starts, which a prepared cluster has to itself.
    let mut daemons: Vec<_> = cluster.daemons().collect();
    daemons.sort_unstable();
    assert_eq!(daemons, ["mds.a", "mgr.a", "mon.a", "osd.0"]);
    assert_eq!(cluster.access().monitors, "10.99.0.1:6789");
    assert!(!users_of(&state_of(&lab)).is_empty());
    let began = Instant::now();
    cluster.stop().await;
    eprintln!("stop: {:?}", began.elapsed());
    assert_nothing_left(&lab);
    assert!(lab.logs().join("mds.a.log").exists());
}

#[tokio::test]
async fn no_secret_shows_in_processes_or_logs() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    let secret = cluster.access().secret.expose().to_owned();
    let keyring = state_of(&lab).join("keyring");
    let mode = std::fs::metadata(&keyring).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let keyring = std::fs::read_to_string(keyring).unwrap();
    let keys: Vec<&str> = keyring
        .lines()
        .filter_map(|line| line.trim().strip_prefix("key = "))
        .collect();
    assert!(keys.contains(&secret.as_str()));
    let commands = users_of(&state_of(&lab));
    let mut texts: Vec<String> = commands.into_iter().map(|(_, line)| line).collect();
    texts.push(format!("{:?}", cluster.access()));
    cluster.stop().await;
    for entry in std::fs::read_dir(lab.logs()).unwrap().flatten() {
        texts.push(String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
    }
    for text in texts {
        assert!(!keys.iter().any(|key| text.contains(key)), "{text}");
    }
}

/// A client that mounts one directory with one key, both given on its input, and
/// says what it could do: there, and elsewhere.
const GUEST: &str = r#"
import cephfs, rados, sys
conf, user, root, other = sys.argv[1:5]
key = sys.stdin.readline().strip()

def tried(what, call):
    try:
        call()
        print(what, "yes", flush=True)
    except (cephfs.Error, rados.Error) as error:
        print(what, "no", flush=True)

def mounted(root):
    fs = cephfs.LibCephFS(conffile=conf, auth_id=user)
    fs.conf_set("key", key)
    fs.conf_set("client_mount_timeout", "20")
    fs.mount(mount_root=root.encode(), filesystem_name=b"cephfs")
    return fs

def write(fs):
    fd = fs.open(b"/file", "w", 0o644)
    fs.write(fd, b"data", 0)
    fs.fsync(fd, 0)
    assert fs.read(fs.open(b"/file", "r", 0), 0, 4) == b"data"

fs = mounted(root)
tried("write", lambda: write(fs))
tried("quota", lambda: fs.setxattr(b"/", "ceph.quota.max_files", b"1000", 0))
tried("layout", lambda: fs.setxattr(b"/file2", "ceph.file.layout.stripe_unit", b"65536", 0)
      if fs.close(fs.open(b"/file2", "w", 0o644)) is None else None)
tried("snapshot", lambda: fs.mkdir(b"/.snap/one", 0o755))
fs.shutdown()
whole = mounted("/")
tried("look around", lambda: whole.stat(other.encode()))
tried("a file of its own from the root", lambda: whole.unlink((root + "/file2").encode()))
tried("a file in the root", lambda: whole.close(whole.open(b"/file", "w", 0o644)))
tried("a file in another's", lambda: whole.close(whole.open((other + "/file").encode(), "w", 0o644)))
tried("another's directory away", lambda: whole.rmdir(other.encode()))
whole.shutdown()
cluster = rados.Rados(conffile=conf, name="client." + user, conf={"key": key})
cluster.connect(timeout=20)
pool = cluster.open_ioctx("cephfs.data")

def objects(namespace):
    pool.set_namespace(namespace)
    pool.write_full("stray", b"x")

tried("own objects", lambda: objects(root[1:]))
tried("another's objects", lambda: objects(other[1:]))
tried("objects of all", lambda: objects(""))
command = '{"prefix": "auth get", "entity": "client.admin", "format": "json"}'

def keys():
    code, out, said = cluster.mon_command(command, b"")
    if code:
        raise rados.Error(said)

tried("keys", keys)
"#;

async fn as_guest(lab: &Lab, cluster: &Cluster, access: &Access, other: &str) -> String {
    let mut process = Command::new("/usr/bin/python3")
        .args(["-c", GUEST])
        .arg(cluster.conf())
        .args([&access.user, &access.root, other])
        .deadline(LONG)
        .input(format!("{}\n", access.secret.expose()))
        .inside(&lab.namespace)
        .run(&lab.context.cancel)
        .await
        .unwrap();
    String::from_utf8(std::mem::take(&mut process.stdout)).unwrap()
}

#[tokio::test]
async fn a_guest_has_rights_to_its_own_directory_only() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    let admit = |name| cluster.admit(&lab.context, &lab.namespace, name);
    let (one, two) = (
        admit("trial-1").await.unwrap(),
        admit("trial-2").await.unwrap(),
    );
    assert_ne!(one.secret, two.secret);
    assert_eq!(one.root, "/trial-1");
    let said = as_guest(&lab, &cluster, &one, &two.root).await;
    assert_eq!(
        said,
        "write yes\nquota yes\nlayout yes\nsnapshot yes\n\
         look around yes\na file of its own from the root yes\n\
         a file in the root no\na file in another's no\nanother's directory away no\n\
         own objects yes\nanother's objects no\nobjects of all no\nkeys no\n"
    );
    // No session of kvet's own is left from making the directories.
    assert_eq!(cluster.sessions().await.unwrap().len(), 0);
    assert!(admit("../x").await.is_err());
    cluster.dismiss("trial-2").await.unwrap();
    let keys = cluster
        .mon_command(json!({"prefix": "auth ls"}))
        .await
        .unwrap();
    let keys = keys.to_string();
    assert!(keys.contains("client.kvet.trial-1") && !keys.contains("client.kvet.trial-2"));
    cluster.stop().await;
    lab.namespace.close().await;
}

/// Prints what is in the root of the file system.
const ROOT: &str = r"
import sys, cephfs
fs = cephfs.LibCephFS(conffile=sys.argv[1], auth_id='admin')
fs.mount()
directory = fs.opendir(b'/')
names = []
while entry := fs.readdir(directory):
    names.append(entry.d_name.decode())
print(*sorted(set(names) - {'.', '..'}))
";

#[tokio::test]
async fn what_a_dismissed_guest_left_is_swept_away_with_its_snapshots() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    let root = || async {
        let program = Command::new("/usr/bin/python3").args(["-c", ROOT]);
        let program = program.arg(cluster.conf()).deadline(LONG);
        let listed = program.inside(&lab.namespace).run(&lab.context.cancel);
        String::from_utf8(listed.await.unwrap().stdout.clone()).unwrap()
    };
    for (name, other) in [("trial-1", "/trial-1"), ("trial-2", "/trial-1")] {
        let admitted = cluster.admit(&lab.context, &lab.namespace, name).await;
        // It leaves files, and a snapshot that has them, too.
        let said = as_guest(&lab, &cluster, &admitted.unwrap(), other).await;
        assert!(said.contains("write yes") && said.contains("snapshot yes"));
    }
    assert_eq!(root().await, "trial-1 trial-2\n");
    cluster.dismiss("trial-2").await.unwrap();
    for _ in 0..2 {
        let swept = cluster.sweep(&lab.context, &lab.namespace).await;
        swept.unwrap();
        assert_eq!(root().await, "trial-1\n");
    }
    cluster.stop().await;
    lab.namespace.close().await;
}

#[tokio::test]
async fn a_client_shows_as_a_session_and_can_be_evicted() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    assert_eq!(cluster.sessions().await.unwrap(), []);
    let mut client = Command::new("/usr/bin/python3")
        .args(["-c", CLIENT])
        .arg(lab.logs().join("ceph.conf"))
        .inside(&lab.namespace)
        .spawn(true)
        .unwrap();
    let _input = client.take_stdin().unwrap();
    let mut line = String::new();
    BufReader::new(client.take_stdout().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    let id: u64 = line.trim().parse().unwrap();
    let sessions = cluster.sessions().await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].id, id);
    assert_eq!(sessions[0].state, "open");
    let error = cluster.evict(id + 1).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::NoSession { known, .. } if *known == id.to_string()),
        "{error:?}"
    );
    cluster.evict(id).await.unwrap();
    assert_eq!(cluster.sessions().await.unwrap(), []);
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    client.stop(Duration::ZERO).await;
    cluster.stop().await;
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn a_paused_daemon_goes_on_and_its_end_is_still_noticed() {
    let lab = Lab::new().await;
    let mut cluster = lab.start("{}").await.unwrap();
    let pid = pid_of(&lab, "ceph-osd");
    for _ in 0..20 {
        cluster.pause("osd.0").unwrap();
        in_state(pid, "T").await;
        cluster.resume("osd.0").unwrap();
        in_state(pid, "S").await;
    }
    // Faster than nsenter can follow.
    for _ in 0..100 {
        cluster.pause("osd.0").unwrap();
        cluster.resume("osd.0").unwrap();
    }
    cluster
        .admin("osd.0", json!({"prefix": "status"}))
        .await
        .unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let ended = tokio::time::timeout(LONG, cluster.ended()).await.unwrap();
    assert_eq!(ended.name, "osd.0");
    let error = ClusterError::from(ended).to_string();
    assert!(error.contains("osd.0 ended"), "{error}");
    cluster.stop().await;
    assert_nothing_left(&lab);
}

/// Writes objects into all parts of a pool that has so many copies, many at once,
/// and says so each time.
const WRITER: &str = r#"
import json, rados, sys
cluster = rados.Rados(conffile=sys.argv[1], name="client.admin")
cluster.connect(timeout=20)
def ask(prefix, **words):
    code, _, said = cluster.mon_command(json.dumps(dict(words, prefix=prefix)), b"")
    assert code == 0, said
ask("osd pool create", pool="wide", pg_num=512)
for setting in ["size", "min_size"]:
    ask("osd pool set", pool="wide", var=setting, val=sys.argv[2], yes_i_really_mean_it=True)
pool = cluster.open_ioctx("wide")
while True:
    under_way = [pool.aio_write_full("object %d" % n, b"x") for n in range(999)]
    print("sent", flush=True)
    for write in under_way:
        write.wait_for_complete()
"#;

fn writer(lab: &Lab, copies: &str) -> (Process, Lines<BufReader<ChildStdout>>) {
    let mut writer = Command::new("/usr/bin/python3")
        .args(["-c", WRITER])
        .arg(lab.logs().join("ceph.conf"))
        .arg(copies)
        .inside(&lab.namespace)
        .spawn(true)
        .unwrap();
    let said = BufReader::new(writer.take_stdout().unwrap());
    (writer, said.lines())
}

/// With Ceph's own lease some of what is under way at a stop is held back for good.
#[tokio::test]
async fn an_osd_that_was_stopped_for_long_serves_again() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    let (mut writer, mut said) = writer(&lab, "1");
    let mut sent = async || {
        let line = tokio::time::timeout(LONG, said.next_line()).await;
        line.expect("it waits for the OSD").unwrap().unwrap();
    };
    sent().await;
    cluster.pause("osd.0").unwrap();
    // The stop itself: longer than that lease of 16 s.
    tokio::time::sleep(Duration::from_secs(18)).await;
    cluster.resume("osd.0").unwrap();
    // What was said before the stop is gone by then.
    for _ in 0..9 {
        sent().await;
    }
    writer.stop(Duration::ZERO).await;
    cluster.stop().await;
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn an_osd_that_answers_and_does_not_serve_is_named() {
    let lab = Lab::new().await;
    let store = Store::at(concat!(env!("CARGO_TARGET_TMPDIR"), "/store")).unwrap();
    let spec = serde_yaml::from_str("{ osd: 2 }").unwrap();
    let logs = lab.logs();
    let service = Service::start(&lab.context, &store, &spec, &lab.namespace, &logs)
        .await
        .unwrap();
    let sent = async |said: &mut Lines<BufReader<ChildStdout>>| {
        let line = tokio::time::timeout(LONG, said.next_line()).await;
        line.unwrap().unwrap().unwrap();
    };
    let (mut first, mut said) = writer(&lab, "2");
    // Once it sends anew, all parts of the pool can be written to.
    sent(&mut said).await;
    sent(&mut said).await;
    first.stop(Duration::ZERO).await;
    service.answers().await.unwrap();
    let second = users_of(&state_of(&lab))
        .into_iter()
        .find(|(_, line)| line.starts_with("ceph-osd") && line.contains("--id 1"))
        .unwrap();
    kill_process(Pid::from_raw(second.0).unwrap(), Signal::STOP).unwrap();
    // Of what was under way, osd.0 may have done its part; of what is sent now it
    // cannot finish a write without the other.
    let (mut writer, mut said) = writer(&lab, "2");
    sent(&mut said).await;
    let named = async {
        loop {
            // The stopped one is silent at once, the other once its writes are old.
            match service.answers().await.unwrap_err().to_string().as_str() {
                "osd.0, osd.1 did not answer" => break,
                other => assert_eq!(other, "osd.1 did not answer"),
            }
        }
    };
    tokio::time::timeout(LONG, named).await.unwrap();
    writer.stop(Duration::ZERO).await;
    service.stop().await;
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn what_a_trial_set_is_as_before_once_its_guest_is_gone() {
    let lab = Lab::new().await;
    let store = Store::at(concat!(env!("CARGO_TARGET_TMPDIR"), "/store")).unwrap();
    let spec = serde_yaml::from_str("{ objectstore: memstore }").unwrap();
    let logs = lab.logs();
    let service = Service::start(&lab.context, &store, &spec, &lab.namespace, &logs)
        .await
        .unwrap();
    let option = "mds_bal_fragment_size_max";
    let current = async || {
        let Service::Ceph(ceph) = &service else {
            panic!("a cluster was asked for")
        };
        ceph.option("mds.a", option).await.unwrap()
    };
    let before = current().await;
    for value in ["12", "13"] {
        let step = HostStep::SetOption {
            daemon: "mds.a".to_owned(),
            option: option.to_owned(),
            value: value.to_owned(),
        };
        let clients = HashMap::new();
        let performed = service.perform(&lab.context, &step, "guest", &clients);
        performed.await.unwrap();
        assert_eq!(current().await.as_deref(), Some(value));
    }
    service.clear("guest").await.unwrap();
    assert_eq!(current().await, before);
    assert_ne!(before.as_deref(), Some("12"));
    service.stop().await;
}

#[tokio::test]
async fn the_daemon_that_died_is_named_with_its_signal() {
    let lab = Lab::new().await;
    let mut cluster = lab.start("{}").await.unwrap();
    kill_process(pid_of(&lab, "ceph-mds"), Signal::ABORT).unwrap();
    // Those who share the cluster are told, too, and take nothing away.
    for _ in 0..2 {
        let lost = tokio::time::timeout(LONG, cluster.lost()).await.unwrap();
        assert_eq!(lost.status.unwrap().signal(), Some(libc::SIGABRT));
    }
    let ended = tokio::time::timeout(LONG, cluster.ended()).await.unwrap();
    assert_eq!(ended.name, "mds.a");
    assert!(ended.tail.contains("Aborted"), "{}", ended.tail);
    assert_eq!(ended.status.unwrap().signal(), Some(libc::SIGABRT));
    let again = tokio::time::timeout(LONG, cluster.ended()).await.unwrap();
    assert_eq!(again.name, "mds.a");
    cluster.stop().await;
}

#[tokio::test]
async fn a_rank_that_failed_comes_back() {
    let lab = Lab::new().await;
    let cluster = lab.start("{mds: 2}").await.unwrap();
    cluster.fail_mds(0).await.unwrap();
    cluster.healthy(&lab.context, LONG).await.unwrap();
    let error = cluster.fail_mds(7).await.unwrap_err().to_string();
    assert!(error.contains("rank 7"), "{error}");
    cluster.stop().await;
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn counts_and_bluestore_are_as_asked() {
    let lab = Lab::new().await;
    let cluster = lab
        .start("{mon: 3, mgr: 2, osd: 3, mds: 3, max_mds: 2, objectstore: bluestore}")
        .await
        .unwrap();
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    let map = cluster
        .mon_command(json!({"prefix": "osd dump"}))
        .await
        .unwrap();
    assert_eq!(map["osds"].as_array().unwrap().len(), 3);
    let store = cluster
        .mon_command(json!({"prefix": "osd metadata", "id": 2}))
        .await
        .unwrap();
    assert_eq!(store["osd_objectstore"], "bluestore");
    let quorum = cluster
        .mon_command(json!({"prefix": "quorum_status"}))
        .await
        .unwrap();
    assert_eq!(quorum["quorum"].as_array().unwrap().len(), 3);
    assert_eq!(cluster.access().monitors.split(',').count(), 3);
    cluster.stop().await;
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn what_a_cluster_lacks_is_named_at_the_deadline() {
    let lab = Lab::new().await;
    // One OSD can't hold three copies.
    let error = lab
        .start(
            "{deadline: 3s, options: {osd_pool_default_size: '3', osd_pool_default_min_size: '2'}}",
        )
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClusterError::Unhealthy { .. }), "{text}");
    assert!(text.contains("16 of 16 placement groups"), "{text}");
    assert!(text.contains("mds.a is up:creating"), "{text}");
    assert!(text.contains("osd.0.log"), "{text}");
    assert_nothing_left(&lab);
}

/// Held by tests of vstart.sh: one of them looks at every such script that runs.
static VSTART: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn the_real_vstart_script_gives_the_same_cluster() {
    let _alone = VSTART.lock().await;
    let lab = Lab::new().await;
    let mut cluster = lab
        .start("{vstart: {}, deadline: 180s, options: {mds_session_blocklist_on_evict: 'false'}}")
        .await
        .unwrap();
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    assert_eq!(
        cluster.daemons().collect::<Vec<_>>(),
        ["mds.a", "mgr.x", "mon.a", "osd.0"]
    );
    let access = cluster.access().clone();
    assert_eq!(access.monitors, "10.99.0.1:40001");
    assert_eq!(access.filesystem, "a");
    let option = cluster
        .admin(
            "mds.a",
            json!({"prefix": "config get", "var": "mds_session_blocklist_on_evict"}),
        )
        .await
        .unwrap();
    assert_eq!(option["mds_session_blocklist_on_evict"], "false");
    let lease = "osd_pool_default_read_lease_ratio";
    let option = cluster
        .admin("osd.0", json!({"prefix": "config get", "var": lease}))
        .await
        .unwrap();
    assert_eq!(option[lease], "30.000000");
    assert_eq!(cluster.sessions().await.unwrap(), []);

    let logs = lab.logs();
    let said = std::fs::read_to_string(logs.join("vstart.log")).unwrap();
    assert!(said.contains("--key (key) --osd-uuid"), "{said}");
    assert!(said.contains("vstart cluster complete"), "{said}");
    let socket = cluster
        .admin(
            "mon.a",
            json!({"prefix": "config get", "var": "admin_socket"}),
        )
        .await
        .unwrap();
    let socket = Path::new(socket["admin_socket"].as_str().unwrap());
    let state = socket.ancestors().nth(3).unwrap().to_owned();
    // What it writes into its current directory goes with the rest.
    assert!(state.join("v/logrotate.conf").exists());
    let pids: Vec<i32> = users_of(&state).into_iter().map(|(pid, _)| pid).collect();
    assert!(pids.len() >= 4, "{pids:?}");

    let mds = users_of(&state)
        .into_iter()
        .find(|(_, line)| line.contains("ceph-mds"))
        .unwrap();
    kill_process(Pid::from_raw(mds.0).unwrap(), Signal::KILL).unwrap();
    let ended = tokio::time::timeout(LONG, cluster.ended()).await.unwrap();
    assert_eq!(ended.name, "mds.a");
    let began = Instant::now();
    cluster.stop().await;
    eprintln!("stop: {:?}", began.elapsed());
    assert_eq!(users_of(&state), []);
    assert!(!state.exists());
    assert!(logs.join("out/mds.a.log").exists());
}

/// A directory laid out as a Ceph build, from what is installed.
fn build_tree(home: &Path, script: &Path) -> PathBuf {
    let link = |to: &Path, at: PathBuf| std::os::unix::fs::symlink(to, at).unwrap();
    let build = home.join("build");
    let source = home.join("source");
    for directory in ["bin", "lib", "external/lib"] {
        std::fs::create_dir_all(build.join(directory)).unwrap();
    }
    std::fs::create_dir_all(source.join("src/pybind")).unwrap();
    std::fs::copy(script, source.join("src/vstart.sh")).unwrap();
    link(
        Path::new("/usr/share/ceph/mgr"),
        source.join("src/pybind/mgr"),
    );
    let cache = format!("ceph_SOURCE_DIR:STATIC={}\n", source.display());
    std::fs::write(build.join("CMakeCache.txt"), cache).unwrap();
    for program in [
        "ceph",
        "ceph-authtool",
        "ceph-conf",
        "ceph-mds",
        "ceph-mgr",
        "ceph-mon",
        "ceph-osd",
        "crushtool",
        "monmaptool",
        "osdmaptool",
    ] {
        link(
            &Path::new("/usr/bin").join(program),
            build.join("bin").join(program),
        );
    }
    link(Path::new("/bin/true"), build.join("bin/init-ceph"));
    let multiarch = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    for plugins in ["ceph/erasure-code", "rados-classes"] {
        for entry in std::fs::read_dir(multiarch.join(plugins))
            .unwrap()
            .flatten()
        {
            link(&entry.path(), build.join("lib").join(entry.file_name()));
        }
    }
    build
}

#[tokio::test]
async fn vstart_runs_from_a_build_tree_and_leaves_it_alone() {
    let _alone = VSTART.lock().await;
    let lab = Lab::new().await;
    // Whatever suite it came from.
    lab.start("{vstart: {suite: trixie}, deadline: 180s}")
        .await
        .unwrap()
        .stop()
        .await;
    let store = concat!(
        env!("CARGO_TARGET_TMPDIR"),
        "/store/sources/ceph-vstart-trixie"
    );
    let build = build_tree(lab.home.path(), &Path::new(store).join("vstart.sh"));
    let core = build.join("core.dump");
    std::fs::write(&core, "").unwrap();
    std::fs::remove_dir_all(lab.logs()).unwrap();
    let yaml = format!(
        "{{vstart: {{build: {}}}, deadline: 180s, mds: 2, max_mds: 2, objectstore: bluestore}}",
        build.display()
    );
    let cluster = lab.start(&yaml).await.unwrap();
    assert_eq!(cluster.complaints().await.unwrap(), Vec::<String>::new());
    let running = std::fs::read_link(format!("/proc/{}/cwd", cluster.process("mon.a").unwrap()));
    assert_ne!(running.unwrap(), build);
    let said = std::fs::read_to_string(lab.logs().join("vstart.log")).unwrap();
    let mon = build.join("bin/ceph-mon");
    assert!(said.contains(mon.to_str().unwrap()), "{said}");
    cluster.stop().await;
    assert!(core.exists());
    assert!(
        !lab.home
            .path()
            .join("source/src/vstart_environment.sh")
            .exists()
    );
}

#[tokio::test]
async fn a_vstart_script_that_fails_is_shown() {
    let _alone = VSTART.lock().await;
    let lab = Lab::new().await;
    let script = lab.home.path().join("vstart.sh");
    std::fs::write(&script, "echo no disk; sleep 1000 & exit 4\n").unwrap();
    let yaml = format!("{{vstart: {{script: {}}}}}", script.display());
    let error = lab.start(&yaml).await.unwrap_err().to_string();
    assert!(error.contains("status 4"), "{error}");
    assert!(error.contains("no disk"), "{error}");
    assert_eq!(users_of(Path::new("kvet: vstart.sh ended")), []);

    // Interrupted with daemons already in the background.
    let script = "setsid sleep 1000 & touch \"$VSTART_DEST/out/up\"; wait";
    let path = lab.home.path().join("slow.sh");
    std::fs::write(&path, script).unwrap();
    let other = Lab::new().await;
    let up = other.logs().join("out/up");
    let watch = async {
        while !up.exists() {
            tokio::task::yield_now().await;
        }
        other.context.cancel.cancel();
    };
    let yaml = format!("{{vstart: {{script: {}}}}}", path.display());
    let (result, ()) = disturbed(other.start(&yaml), watch).await;
    assert!(matches!(result.unwrap_err(), ClusterError::Interrupted));
    assert_eq!(users_of(Path::new("kvet: vstart.sh ended")), []);
    // Nobody reaps the dead in there, but none may live.
    let inside = Command::new("sh")
        .args(["-c", "cat /proc/[0-9]*/stat"])
        .inside(&other.namespace)
        .status(&Context::default().cancel)
        .await
        .unwrap();
    let inside = String::from_utf8(inside.stdout).unwrap();
    assert!(inside.contains("(cat)"), "{inside}");
    let alive: Vec<&str> = inside
        .lines()
        .filter(|line| line.contains("(sleep)") && !line.contains(") Z "))
        .collect();
    assert_eq!(alive, Vec::<&str>::new());

    let error = lab.start("{vstart: {script: /none}}").await.unwrap_err();
    assert!(error.to_string().contains("/none"), "{error}");
    let error = lab.start("{vstart: {build: /none}}").await.unwrap_err();
    assert!(error.to_string().contains("CMakeCache.txt"), "{error}");
}

#[tokio::test]
async fn a_daemon_that_cannot_start_says_why() {
    let lab = Lab::new().await;
    let spec = ClusterSpec::default();
    let store = Store::at(lab.home.path().join("store")).unwrap();
    // An address that the namespace does not have.
    let error = Cluster::start(
        &lab.context,
        &store,
        &spec,
        &lab.namespace,
        Ipv4Addr::new(10, 99, 0, 2),
        &lab.logs(),
    )
    .await
    .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(&error, ClusterError::Died { name, .. } if name == "mon.a"),
        "{text}"
    );
    assert!(text.contains("Cannot assign requested address"), "{text}");
    assert_nothing_left(&lab);
}

#[tokio::test]
async fn dropping_and_interrupting_leave_nothing() {
    let lab = Lab::new().await;
    let cluster = lab.start("{}").await.unwrap();
    drop(cluster);
    assert_nothing_left(&lab);

    // While the stores are made, while the monitors are asked, while all wait.
    for sign in ["osd.0.log", "mon-commands.log", "mds.a.log"] {
        let lab = Lab::new().await;
        let log = lab.logs().join(sign);
        let watch = async {
            while !log.exists() {
                tokio::task::yield_now().await;
            }
            lab.context.cancel.cancel();
        };
        let (result, ()) = disturbed(lab.start("{}"), watch).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, ClusterError::Interrupted),
            "{sign}: {error:?}"
        );
        assert_nothing_left(&lab);
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ClusterArgs,
}

/// One invocation of `kvet cluster`: its standard output and exit code.
async fn kvet_cluster(
    home: &Path,
    context: &Context,
    words: &[&str],
) -> (String, Result<Exit, Error>) {
    let args = Line::try_parse_from([&["kvet"], words].concat()).unwrap();
    let store = Store::at(home.join("store")).unwrap();
    let mut out = Vec::new();
    let exit = run_at(args.args, context, &mut out, &store, &home.join("meeting")).await;
    (String::from_utf8(out).unwrap(), exit)
}

#[tokio::test]
async fn up_status_and_down_work_together() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let context = Context::default();
    let socket = home.join("meeting/cluster.sock");
    let secret = home.join("meeting/cluster.secret");
    let by_others = async {
        while !secret.exists() {
            tokio::task::yield_now().await;
        }
        let (out, exit) = kvet_cluster(home, &context, &["status", "--format", "json"]).await;
        assert_eq!(exit.unwrap(), Exit::Good);
        let status: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(status["healthy"], true, "{out}");
        assert_eq!(status["secret_file"], secret.to_str().unwrap());
        // Ceph's own tool, as the human form tells to run it.
        let (out, _) = kvet_cluster(home, &context, &["status"]).await;
        let ceph = out
            .lines()
            .find_map(|line| line.trim().strip_prefix("ceph "))
            .unwrap();
        let said = Command::new("sh")
            .args(["-c", ceph])
            .run(&context.cancel)
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("1/1 daemons up"), "{said}");
        let (_, again) = kvet_cluster(home, &context, &["up"]).await;
        let error = again.unwrap_err().to_string();
        assert!(error.contains("up already"), "{error}");
        let (out, exit) = kvet_cluster(home, &context, &["down"]).await;
        assert_eq!(exit.unwrap(), Exit::Good);
        assert_eq!(out, "");
    };
    let ((out, exit), ()) = tokio::join!(kvet_cluster(home, &context, &["up"]), by_others);
    assert_eq!(exit.unwrap(), Exit::Good);
    assert!(out.contains("healthy"), "{out}");
    assert!(
        out.contains("mount -t ceph 10.99.0.1:6789:/ /mnt -o name=kvet"),
        "{out}"
    );
    assert!(!socket.exists() && !secret.exists());

    let interrupt = async {
        while !secret.exists() {
            tokio::task::yield_now().await;
        }
        let text = std::fs::read_to_string(&secret).unwrap();
        context.cancel.cancel();
        text
    };
    let ((out, exit), key) = disturbed(kvet_cluster(home, &context, &["up"]), interrupt).await;
    assert_eq!(exit.unwrap(), Exit::Interrupted);
    assert!(key.is_empty() || !out.contains(&key));
    assert!(!socket.exists() && !secret.exists());
}

/// The second cluster of a description is a copy of what the first was made from.
#[tokio::test]
async fn a_cluster_is_made_once_and_copied_from_then_on() {
    let lab = Lab::new().await;
    let store = Store::at(lab.home.path().join("store")).unwrap();
    let spec: ClusterSpec = serde_yaml::from_str("{osd: 2, mds: 2, max_mds: 2}").unwrap();
    let start = async || {
        let logs = lab.logs();
        let started = Cluster::start(&lab.context, &store, &spec, &lab.namespace, ADDRESS, &logs);
        started.await
    };
    let first = start().await.unwrap();
    let fsid = first.access().fsid.clone();
    let guest = first.admit(&lab.context, &lab.namespace, "trial-1").await;
    let key = guest.unwrap().secret.expose().to_owned();
    first.stop().await;
    let entries = || std::fs::read_dir(store.root().join("clusters")).unwrap();
    let prepared = || {
        entries()
            .flatten()
            .find(|entry| entry.path().join("state").exists())
    };
    let entry = prepared().unwrap().path();
    let mode = entry.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "keys lie there");
    let second = start().await.unwrap();
    assert_eq!(second.complaints().await.unwrap(), Vec::<String>::new());
    assert_eq!(second.access().fsid, fsid);
    // What a guest had in the first is not in the second.
    let again = second.admit(&lab.context, &lab.namespace, "trial-1").await;
    assert_ne!(again.unwrap().secret.expose(), key);
    second.stop().await;
    // One that was damaged is noticed, and a cluster made in spite of it.
    std::fs::remove_dir_all(entry.join("state/mon.a/store.db")).unwrap();
    let third = start().await.unwrap();
    assert_ne!(third.access().fsid, fsid);
    third.stop().await;
    assert!(prepared().is_none());
    assert_nothing_left(&lab);
}
