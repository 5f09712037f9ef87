//! Hosts on one machine: each a pid and mount namespace of its own with a small
//! file system of its own, in which a slurmd or an sshd runs. A host that is
//! killed is gone with all that ran on it and all it had.
#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "configuration files are put together from pieces"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(100);

/// What a test waits for, or how long it may take at most.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what} has not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) struct Node {
    pub(crate) name: String,
    outer: Child,
    /// The namespace's first process.
    first: Pid,
    local: PathBuf,
}

impl Node {
    /// `size`: the room on its file system, as tmpfs takes it.
    fn start(base: &Path, name: &str, size: &str, daemon: &[&str]) -> Self {
        let local = base.join("local");
        let log = fs::File::create(base.join(format!("{name}.out"))).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={size},mode=755 tmpfs {0} && mkdir {0}/cache {0}/tmp && \
             mkdir -p ~/.cache && mount --bind {0}/cache ~/.cache && exec \"$@\"",
            local.display()
        );
        let outer = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL"])
            .args(["--mount-proc", "--propagation", "private", "--", "sh", "-c"])
            .arg(script)
            .arg(name)
            .args(daemon)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let path = format!("/proc/{0}/task/{0}/children", outer.id());
        let mut first = None;
        until("a node's first process", || {
            let children = fs::read_to_string(&path).unwrap_or_default();
            let child = children.split_whitespace().next();
            first = child.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            first.is_some()
        });
        Self {
            name: name.to_owned(),
            outer,
            first: first.unwrap(),
            local,
        }
    }

    /// All processes in its namespace, with their commands.
    fn processes(&self) -> Vec<(Pid, String)> {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space(&self.first.as_raw_nonzero().to_string());
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let pid = Pid::from_raw(name.parse().ok()?)?;
                (own.is_some() && space(&name) == own).then_some(())?;
                let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
                Some((pid, command.replace('\0', " ")))
            })
            .collect()
    }

    /// The power goes off.
    pub(crate) fn kill(&mut self) {
        self.outer.kill().unwrap();
        self.outer.wait().unwrap();
    }

    pub(crate) fn signal_all(&self, signal: Signal) {
        for (pid, _) in self.processes() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Its own file system, as this host sees it.
    fn root(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.first.as_raw_nonzero());
        Path::new(&root).join(self.local.strip_prefix("/").unwrap())
    }

    /// What is in a kind of its store, without locks.
    pub(crate) fn entries(&self, kind: &str) -> Vec<PathBuf> {
        let place = self.root().join("cache/kvet").join(kind);
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let is_entry = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
        entries.filter(is_entry).map(|entry| entry.path()).collect()
    }

    /// Inputs that have not got their place.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let inputs = fs::read_dir(self.root().join("cache/kvet/inputs"));
        let unfinished = inputs.into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let is_lock = Path::new(&name).extension().is_some_and(|e| e == "lock");
            name.starts_with('.') && !is_lock
        });
        unfinished
            .map(|entry| entry.path().display().to_string())
            .collect()
    }

    /// What kvet left on it: processes, and files but for inputs that are kept.
    pub(crate) fn left(&self) -> Vec<String> {
        let daemon = ["slurmd", "sshd", "slurmstepd"];
        let mut left: Vec<String> = self
            .processes()
            .into_iter()
            .map(|(_, command)| command)
            .filter(|command| !daemon.iter().any(|name| command.contains(name)))
            .filter(|command| !command.is_empty())
            .collect();
        let local = self.root();
        let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        left.extend(below(local.join("tmp")).map(|entry| entry.path().display().to_string()));
        left.extend(self.unfinished());
        left
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.signal_all(Signal::CONT);
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

/// A process that ends with the test.
pub(crate) struct Daemon(Child);

impl Daemon {
    fn start(log: &Path, program: &str, arguments: &[String]) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A small file system, there as long as the test.
struct Mount(PathBuf);

impl Mount {
    fn of(place: &Path, size: &str) -> Self {
        fs::create_dir(place).unwrap();
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(place)
            .status();
        assert!(mounted.unwrap().success());
        Self(place.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A directory that all nodes see, with a place for each node's own file system.
fn base() -> TempDir {
    let base = tempfile::Builder::new().prefix("fleet").tempdir().unwrap();
    fs::create_dir(base.path().join("local")).unwrap();
    base
}

/// A Slurm cluster of its own, with its munge.
pub(crate) struct Slurm {
    pub(crate) nodes: Vec<Node>,
    controller: Option<Daemon>,
    _munge: Daemon,
    /// Goes before the directory that it is in.
    _mount: Option<Mount>,
    base: TempDir,
}

impl Slurm {
    pub(crate) fn start(sizes: &[(&str, &str)]) -> Self {
        Self::of(sizes, None)
    }

    /// With a directory of this size that all nodes see, on a file system of its own.
    pub(crate) fn with_shared(sizes: &[(&str, &str)], shared: &str) -> Self {
        Self::of(sizes, Some(shared))
    }

    fn of(sizes: &[(&str, &str)], shared: Option<&str>) -> Self {
        let base = base();
        let mount = shared.map(|size| Mount::of(&base.path().join("shared"), size));
        let path = base.path();
        let munge = munge(path);
        let names: Vec<&str> = sizes.iter().map(|(name, _)| *name).collect();
        fs::write(path.join("slurm.conf"), configuration(path, &names)).unwrap();
        for name in ["state", "spool"] {
            fs::create_dir(path.join(name)).unwrap();
        }
        let mut slurm = Self {
            nodes: Vec::new(),
            controller: None,
            _munge: munge,
            _mount: mount,
            base,
        };
        slurm.start_controller();
        let configuration = slurm.conf().display().to_string();
        for (name, size) in sizes {
            let daemon = ["slurmd", "-D", "-N", name, "-f", &configuration];
            slurm
                .nodes
                .push(Node::start(slurm.base.path(), name, size, &daemon));
        }
        until("all nodes", || {
            let said = slurm.command("sinfo", &["--noheader", "--Node", "--format=%T"]);
            said.lines().filter(|state| *state == "idle").count() == sizes.len()
        });
        slurm
    }

    pub(crate) fn conf(&self) -> PathBuf {
        self.base.path().join("slurm.conf")
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// The directory of [`Self::with_shared`].
    pub(crate) fn shared(&self) -> PathBuf {
        self.base.path().join("shared")
    }

    pub(crate) fn start_controller(&mut self) {
        let log = self.base.path().join("slurmctld.out");
        let conf = self.conf().display().to_string();
        self.controller = Some(Daemon::start(
            &log,
            "slurmctld",
            &["-D".to_owned(), "-f".to_owned(), conf],
        ));
    }

    /// It ends in order: one that is killed may have forgotten which numbers of jobs
    /// are taken, and drains the nodes that run them.
    pub(crate) fn stop_controller(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            let pid = Pid::from_child(&controller.0);
            kill_process(pid, Signal::TERM).unwrap();
            controller.0.wait().unwrap();
        }
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("SLURM_CONF", self.conf())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The logs, for a test that failed.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.base.path()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.contains(".out") {
                let log = fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(15)..];
                text.push_str(&format!("== {name}\n{}\n", tail.join("\n")));
            }
        }
        text
    }
}

fn munge(base: &Path) -> Daemon {
    let key = base.join("munge.key");
    fs::write(&key, [7; 64]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let file = |option: &str, name: &str| format!("--{option}={}", base.join(name).display());
    let daemon = Daemon::start(
        &base.join("munged.out"),
        "munged",
        &[
            "--foreground".to_owned(),
            "--force".to_owned(),
            file("socket", "munge.socket"),
            file("key-file", "munge.key"),
            file("log-file", "munged.log"),
            file("pid-file", "munged.pid"),
            file("seed-file", "munged.seed"),
        ],
    );
    until("munged", || base.join("munge.socket").exists());
    daemon
}

fn configuration(base: &Path, nodes: &[&str]) -> String {
    let base = base.display();
    let mut text = format!(
        "ClusterName=kvet\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={}\n\
         SlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\n\
         AuthInfo=socket={base}/munge.socket\nCryptoType=crypto/munge\n\
         StateSaveLocation={base}/state\nSlurmdSpoolDir={base}/spool/%n\n\
         SlurmctldPidFile={base}/slurmctld.pid\nSlurmdPidFile={base}/slurmd.%n.pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSwitchType=switch/none\n\
         JobCompType=jobcomp/filetxt\nJobCompLoc={base}/completed\n\
         AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n\
         ReturnToService=2\nSlurmdTimeout=600\nKillWait=5\nMessageTimeout=5\n\
         SchedulerParameters=batch_sched_delay=0,sched_min_interval=200000,sched_interval=1\n",
        port()
    );
    for name in nodes {
        text.push_str(&format!(
            "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={} CPUs=2\n",
            port()
        ));
    }
    text.push_str("PartitionName=all Nodes=ALL Default=YES State=UP\n");
    text
}

/// Hosts with an sshd each.
pub(crate) struct Hosts {
    pub(crate) nodes: Vec<Node>,
    base: TempDir,
}

impl Hosts {
    pub(crate) fn start(sizes: &[(&str, &str)], rsync: bool) -> Self {
        Self::with(sizes, rsync, &[])
    }

    /// Hosts of which some have variables of their own: name, variable, value.
    pub(crate) fn with(
        sizes: &[(&str, &str)],
        rsync: bool,
        variables: &[(&str, &str, &str)],
    ) -> Self {
        let base = base();
        let path = base.path();
        for name in ["host", "user"] {
            let key = path.join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status();
            assert!(made.unwrap().success());
        }
        let local = path.join("local");
        // What of the machine a host has is found by PATH: without rsync if so.
        let bin = path.join("bin");
        fs::create_dir(&bin).unwrap();
        if !rsync {
            for program in [
                "sh",
                "cat",
                "mkdir",
                "mv",
                "rm",
                "chmod",
                "sha256sum",
                "test",
            ] {
                let found = Command::new("which").arg(program).output().unwrap();
                let found = String::from_utf8(found.stdout).unwrap();
                std::os::unix::fs::symlink(found.trim(), bin.join(program)).unwrap();
            }
        }
        let search = if rsync {
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
        } else {
            bin.display().to_string()
        };
        fs::create_dir_all("/run/sshd").unwrap();
        let path_text = path.display();
        let mut client = String::new();
        let mut hosts = Self {
            nodes: Vec::new(),
            base: tempfile::Builder::new().prefix("fleet").tempdir().unwrap(),
        };
        for (name, size) in sizes {
            let port = port();
            let file = path.join(format!("sshd.{name}.conf"));
            let own = variables.iter().filter(|(host, ..)| host == name);
            let own: String = own
                .map(|(_, variable, value)| format!(" \"{variable}={value}\""))
                .collect();
            // Their own QEMU, if they have one, comes first.
            let first = path.join(format!("bin.{name}"));
            let search = format!("{}:{search}", first.display());
            let text = format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {path_text}/host\nPidFile none\n\
                 AuthorizedKeysFile {path_text}/user.pub\nStrictModes no\nUsePAM no\n\
                 PermitRootLogin yes\nMaxStartups 100\n\
                 SetEnv XDG_CACHE_HOME={0}/cache TMPDIR={0}/tmp PATH={search}{own}\n",
                local.display()
            );
            fs::write(&file, text).unwrap();
            client.push_str(&format!(
                "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n\
                 \x20 IdentityFile {path_text}/user\n  IdentitiesOnly yes\n\
                 \x20 StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
            ));
            let file = file.display().to_string();
            let daemon = ["/usr/sbin/sshd", "-D", "-e", "-f", &file];
            hosts.nodes.push(Node::start(path, name, size, &daemon));
            until("sshd", || {
                std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        fs::write(path.join("ssh.conf"), client).unwrap();
        hosts.base = base;
        hosts
    }

    /// Another QEMU for a host.
    pub(crate) fn qemu(&self, host: &str, version: &str) {
        let bin = self.base.path().join(format!("bin.{host}"));
        fs::create_dir(&bin).unwrap();
        let program = bin.join("qemu-system-x86_64");
        fs::write(&program, format!("#!/bin/sh\necho {version}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The value of `KVET_SSH`.
    pub(crate) fn ssh(&self) -> String {
        format!("ssh -F {}", self.base.path().join("ssh.conf").display())
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }
}
