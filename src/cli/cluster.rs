//! `kvet cluster up|status|down`: the cluster of a job, by hand.
//!
//! `up` stays in the foreground and holds the cluster; the other two talk to
//! it over a socket in the user's runtime directory, one line each way. A lock
//! beside it tells whether there is anyone to talk to.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::output::Format;
use crate::bounded;
use crate::cluster::{Cluster, ClusterError, ClusterSpec, ObjectStore, Session, VstartSpec};
use crate::context::Context;
use crate::error::{Error, Exit, Fault};
use crate::names::LARGEST;
use crate::printable::{printable_json, printable_lines};
use crate::process::private_network;
use crate::store::{Lock, Store, io_error, remove_tree};
use crate::yaml_shape;

/// How long the lock of a cluster is waited for that may only be looked at.
const INSTANT: Duration = Duration::from_millis(50);

/// How long either end waits for the other's line.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest line of either end.
const LONGEST: u64 = 16 << 20;

/// Starts, shows or ends a Ceph cluster like those that jobs run against.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts a cluster and keeps it until Ctrl-C or `kvet cluster down`.
    Up(UpArgs),
    /// Tells how the cluster is and who uses it.
    Status {
        /// For people or for programs.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Ends the cluster.
    Down,
}

#[derive(Debug, Clone, Args)]
struct UpArgs {
    /// Take the cluster that this job describes under `cluster:`.
    job: Option<PathBuf>,
    /// Monitors.
    #[arg(long, value_name = "N")]
    mon: Option<u32>,
    /// Managers.
    #[arg(long, value_name = "N")]
    mgr: Option<u32>,
    /// Object storage daemons.
    #[arg(long, value_name = "N")]
    osd: Option<u32>,
    /// Metadata servers.
    #[arg(long, value_name = "N")]
    mds: Option<u32>,
    /// Metadata servers that are active at a time.
    #[arg(long, value_name = "N")]
    max_mds: Option<u32>,
    /// Keep objects in files as production does, not in memory.
    #[arg(long)]
    bluestore: bool,
    /// One more option for ceph.conf.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
    /// Let Ceph's vstart.sh start the daemons.
    #[arg(long)]
    vstart: bool,
    /// The cluster's address in its private network.
    #[arg(long, default_value_t = Ipv4Addr::new(10, 99, 0, 1))]
    address: Ipv4Addr,
    /// Keep the daemons' logs here.
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))
}

/// `up`, `status` and `down` did not find each other.
#[derive(Debug, ThisError, Diagnostic)]
enum ControlError {
    #[error("a cluster is up already")]
    #[diagnostic(help("`kvet cluster status` shows it, `kvet cluster down` ends it"))]
    AlreadyUp,
    #[error("no cluster is up")]
    #[diagnostic(help("start one with `kvet cluster up`"))]
    NotUp,
    #[error("the process that holds the cluster does not answer")]
    #[diagnostic(help(
        "it is the one that runs `kvet cluster up`, and may be starting or ending it; Ctrl-C \
         there ends the cluster"
    ))]
    Deaf(#[source] io::Error),
    #[error("cannot write the result")]
    #[diagnostic(help("standard output is closed or its disk full"))]
    Output(#[source] io::Error),
    #[error("{}:{line}: {problem}", path.display())]
    #[diagnostic(help("correct the job"))]
    Shape {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("{} describes no cluster", path.display())]
    #[diagnostic(help("correct `cluster:` in it"))]
    Job {
        path: PathBuf,
        source: serde_yaml::Error,
    },
}

impl Fault for ControlError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What the holder of the cluster tells of it. No secret is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    healthy: bool,
    complaints: Vec<String>,
    daemons: Vec<String>,
    sessions: Vec<Session>,
    filesystem: String,
    fsid: String,
    monitors: String,
    user: String,
    secret_file: PathBuf,
    /// Enters the cluster's network; what to run there follows it.
    enter: String,
    conf: PathBuf,
    logs: PathBuf,
}

/// Runs the subcommand; data goes to `out`.
pub async fn run(
    args: ClusterArgs,
    context: &Context,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Error> {
    let store = super::open_store(context).await?;
    let meeting = match std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("kvet"),
        None => store.root().join("run"),
    };
    run_at(args, context, out, &store, &meeting).await
}

/// The same, with everything that the environment decides as arguments:
/// `meeting` is the directory where `up`, `status` and `down` meet.
pub async fn run_at(
    args: ClusterArgs,
    context: &Context,
    out: &mut (dyn Write + Send),
    store: &Store,
    meeting: &Path,
) -> Result<Exit, Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(meeting)
        .map_err(io_error("create", meeting))?;
    match args.action {
        Action::Up(args) => up(args, context, out, store, meeting).await,
        Action::Status { format } => {
            let line = ask(meeting, "status").await?;
            let status: Status = serde_json::from_str(&line)
                .map_err(|error| ControlError::Deaf(io::Error::other(error)))?;
            tell(out, &status, format)?;
            Ok(if status.healthy {
                Exit::Good
            } else {
                Exit::Undecided
            })
        }
        Action::Down => {
            ask(meeting, "down").await?;
            Ok(Exit::Good)
        }
    }
}

async fn up(
    args: UpArgs,
    context: &Context,
    out: &mut (dyn Write + Send),
    store: &Store,
    meeting: &Path,
) -> Result<Exit, Error> {
    // Closed last: whoever asked for the end takes that for its coming.
    let mut asked = None;
    // `status` has it for an instant, to see whether there is one.
    let lock = meeting.join("cluster.lock");
    let Some(_lock) = Lock::acquire_within(&lock, INSTANT)? else {
        return Err(ControlError::AlreadyUp.into());
    };
    let wanted = args.clone();
    let spec = super::on_a_thread(context, move || spec_of(&wanted)).await?;
    let logs = if let Some(logs) = args.logs {
        logs
    } else {
        // The lock makes this the only one; the last one's are replaced.
        let logs = store.root().join("cluster-logs");
        remove_tree(&logs)?;
        logs
    };
    let namespace = private_network(args.address).await?;
    let mut cluster =
        Cluster::start(context, store, &spec, &namespace, args.address, &logs).await?;
    let meet = Meet::open(meeting, &cluster)?;
    let status = status_of(&mut cluster, &meet, &logs).await;
    tell(out, &status, args.format)?;
    let held = hold(context, &mut cluster, &meet, &logs, &mut asked).await;
    cluster.stop().await;
    namespace.close().await;
    held
}

fn spec_of(args: &UpArgs) -> Result<ClusterSpec, Error> {
    let mut spec = match &args.job {
        Some(path) => read_job(path)?,
        None => ClusterSpec::default(),
    };
    for (to, from) in [
        (&mut spec.mon, args.mon),
        (&mut spec.mgr, args.mgr),
        (&mut spec.osd, args.osd),
        (&mut spec.mds, args.mds),
        (&mut spec.max_mds, args.max_mds),
    ] {
        if let Some(count) = from {
            *to = count;
        }
    }
    if args.bluestore {
        spec.objectstore = ObjectStore::Bluestore;
    }
    if args.vstart {
        spec.vstart.get_or_insert_with(VstartSpec::default);
    }
    spec.options.extend(args.options.iter().cloned());
    spec.check()?;
    Ok(spec)
}

/// Only the cluster's part of a job; the rest is not looked at.
fn read_job(path: &Path) -> Result<ClusterSpec, Error> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        cluster: ClusterSpec,
    }
    let text = bounded::read_text(path, LARGEST).map_err(io_error("read", path))?;
    yaml_shape::check(&text).map_err(|wrong| ControlError::Shape {
        path: path.to_owned(),
        line: wrong.line,
        problem: wrong.message,
    })?;
    let part: Part = serde_yaml::from_str(&text).map_err(|source| ControlError::Job {
        path: path.to_owned(),
        source,
    })?;
    Ok(part.cluster)
}

/// The socket and the secret's file; both go with it.
#[derive(Debug)]
struct Meet {
    listener: UnixListener,
    socket: PathBuf,
    secret: PathBuf,
}

impl Meet {
    fn open(directory: &Path, cluster: &Cluster) -> Result<Self, Error> {
        let socket = directory.join("cluster.sock");
        let secret = directory.join("cluster.secret");
        // Left by a process that was killed; the lock says that it is gone.
        for path in [&socket, &secret] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", path)(error).into());
                }
                _ => {}
            }
        }
        let listener = UnixListener::bind(&socket).map_err(io_error("create", &socket))?;
        let meet = Self {
            listener,
            socket,
            secret,
        };
        std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&meet.secret)
            .and_then(|mut file| file.write_all(cluster.access().secret.expose().as_bytes()))
            .map_err(io_error("write", &meet.secret))?;
        Ok(meet)
    }
}

impl Drop for Meet {
    fn drop(&mut self) {
        for path in [&self.socket, &self.secret] {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Keeps the cluster until someone wants its end or a daemon has found its
/// own. The connection that asked for the end is put in `asked`.
async fn hold(
    context: &Context,
    cluster: &mut Cluster,
    meet: &Meet,
    logs: &Path,
    asked: &mut Option<UnixStream>,
) -> Result<Exit, Error> {
    loop {
        let mut stream = tokio::select! {
            () = context.cancel.cancelled() => return Ok(Exit::Interrupted),
            ended = cluster.ended() => return Err(ClusterError::from(ended).into()),
            accepted = meet.listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Whoever it was will say so.
                Err(_) => continue,
            },
        };
        match tokio::time::timeout(PATIENCE, read_line(&mut stream)).await {
            Ok(Ok(line)) if line == "down" => {
                *asked = Some(stream);
                return Ok(Exit::Good);
            }
            Ok(Ok(line)) if line == "status" => {
                let status = status_of(cluster, meet, logs).await;
                let mut line = serde_json::to_vec(&status).unwrap_or_default();
                line.push(b'\n');
                // A reader that is gone is no reason to end the cluster.
                let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
            }
            _ => {}
        }
    }
}

async fn status_of(cluster: &mut Cluster, meet: &Meet, logs: &Path) -> Status {
    // A cluster that can't be asked is not healthy either.
    let complaints = match cluster.complaints().await {
        Ok(complaints) => complaints,
        Err(error) => vec![error.to_string()],
    };
    let sessions = cluster.sessions().await.unwrap_or_default();
    let access = cluster.access();
    let enter = cluster.process("mon.a").map_or_else(String::new, |pid| {
        format!("nsenter --target {pid} --user --preserve-credentials --net --mount --")
    });
    Status {
        healthy: complaints.is_empty(),
        complaints,
        daemons: cluster.daemons().map(str::to_owned).collect(),
        sessions,
        filesystem: access.filesystem.clone(),
        fsid: access.fsid.clone(),
        monitors: access.monitors.clone(),
        user: access.user.clone(),
        secret_file: meet.secret.clone(),
        enter,
        conf: cluster.conf().to_owned(),
        logs: logs.to_owned(),
    }
}

fn tell(out: &mut dyn Write, status: &Status, format: Format) -> Result<(), ControlError> {
    let text = match format {
        // Clients call themselves what they like.
        Format::Human => printable_lines(&human(status)),
        Format::Json => printable_json(&serde_json::to_string(status).unwrap_or_default()) + "\n",
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(ControlError::Output)
}

fn human(status: &Status) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let health = if status.healthy {
        "healthy".to_owned()
    } else {
        format!("not healthy:\n  {}", status.complaints.join("\n  "))
    };
    // Writing to a string can't fail.
    let _ = writeln!(text, "cluster {}: {health}", status.fsid);
    for (name, value) in [
        ("daemons", status.daemons.join(" ")),
        ("logs", status.logs.display().to_string()),
        (
            "ceph",
            format!("{} ceph -c {} status", status.enter, status.conf.display()),
        ),
        (
            "mount",
            format!(
                "mount -t ceph {}:/ /mnt -o name={},mds_namespace={},secretfile={}",
                status.monitors,
                status.user,
                status.filesystem,
                status.secret_file.display()
            ),
        ),
    ] {
        let _ = writeln!(text, "  {name:<8} {value}");
    }
    for session in &status.sessions {
        let _ = writeln!(
            text,
            "  session  {} {} ({}, {} caps)",
            session.id, session.hostname, session.state, session.caps
        );
    }
    text
}

/// Sends the holder one line and returns its answer; an end without one is
/// empty.
async fn ask(meeting: &Path, line: &str) -> Result<String, Error> {
    if Lock::try_acquire(&meeting.join("cluster.lock"))?.is_some() {
        return Err(ControlError::NotUp.into());
    }
    let talk = async {
        let mut stream = UnixStream::connect(meeting.join("cluster.sock")).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        read_line(&mut stream).await
    };
    let answer = tokio::time::timeout(PATIENCE, talk)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Ok(answer.map_err(ControlError::Deaf)?)
}

async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST))
        .read_line(&mut line)
        .await?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ClusterArgs,
    }

    fn up_args(words: &[&str]) -> UpArgs {
        let words = [&["kvet", "up"], words].concat();
        match Line::try_parse_from(words).unwrap().args.action {
            Action::Up(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_job_gives_the_cluster_and_arguments_win() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        std::fs::write(
            &job,
            "name: x\ncluster: {osd: 3, mds: 2, options: {a: '1'}}\narms: {}\n",
        )
        .unwrap();
        let args = up_args(&[
            job.to_str().unwrap(),
            "--osd",
            "2",
            "--bluestore",
            "--option",
            "b = 2",
        ]);
        let spec = spec_of(&args).unwrap();
        assert_eq!((spec.osd, spec.mds, spec.mon), (2, 2, 1));
        assert_eq!(spec.objectstore, ObjectStore::Bluestore);
        assert_eq!(spec.options["a"], "1");
        assert_eq!(spec.options["b"], "2");
    }

    #[test]
    fn a_wrong_key_in_the_job_is_named() {
        let home = tempfile::tempdir().unwrap();
        let job = home.path().join("job.yaml");
        std::fs::write(&job, "cluster:\n  osds: 3\n").unwrap();
        let error = spec_of(&up_args(&[job.to_str().unwrap()])).unwrap_err();
        assert!(error.one_line().contains("osds"), "{error}");
        assert!(error.one_line().contains("line 2"), "{error}");
        let error = spec_of(&up_args(&["--osd", "0"])).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[tokio::test]
    async fn without_a_cluster_status_and_down_say_so() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("store")).unwrap();
        for action in ["status", "down"] {
            let args = Line::try_parse_from(["kvet", action]).unwrap().args;
            let mut out = Vec::new();
            let error = run_at(args, &Context::default(), &mut out, &store, home.path())
                .await
                .unwrap_err();
            assert!(error.one_line().contains("no cluster is up"), "{error}");
            assert_eq!(error.exit(), Exit::Usage);
            assert!(out.is_empty());
        }
    }

    #[test]
    fn what_clients_call_themselves_is_no_escape() {
        let session = Session {
            id: 1,
            hostname: "guest\u{1b}[2J\u{9b}1m".to_owned(),
            state: "open".to_owned(),
            kernel_version: String::new(),
            root: "/".to_owned(),
            caps: 1,
            servers: Vec::new(),
        };
        let status = Status {
            healthy: false,
            complaints: vec!["slow: guest\u{1b}[2J".to_owned()],
            daemons: Vec::new(),
            sessions: vec![session],
            filesystem: String::new(),
            fsid: String::new(),
            monitors: String::new(),
            user: String::new(),
            secret_file: PathBuf::new(),
            enter: String::new(),
            conf: PathBuf::new(),
            logs: PathBuf::new(),
        };
        for format in [Format::Human, Format::Json] {
            let mut out = Vec::new();
            tell(&mut out, &status, format).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains("guest") && text.ends_with('\n'));
            assert!(!text.contains(['\u{1b}', '\u{9b}']), "{text:?}");
        }
    }
}
