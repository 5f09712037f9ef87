//! A program that reads what a guest wrote: it sees one file, the programs of
//! the host and nothing else of it.
//!
//! The program gets a root of its own, a small tmpfs on which the host's
//! directories of programs and libraries are mounted read-only and the file is
//! [`DISK`]; a process table, a network and an IPC namespace of its own; no
//! capabilities and no way to any; limits on memory and time. It is for
//! programs that take an image apart which a hostile guest may have made. The
//! host's kernel itself never mounts such an image.

use std::path::Path;

use super::{Command, Namespace};

/// Where a confined program finds its file.
pub const DISK: &str = "/disk";

/// What a confined program needs of the host to be confined, and the packages
/// that have it.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("mount", "mount"),
    ("chroot", "coreutils"),
    ("setpriv", "util-linux"),
    ("prlimit", "util-linux"),
];

/// Makes the root on the directory `$1`, shows the file `$2` in it (`$3`: `ro`
/// or `rw`), and becomes the program. Some programs ask first whether the image
/// is mounted: here nothing is.
const SCRIPT: &str = r#"
set -eu
root=$1 file=$2 mode=$3
shift 3
mount -t tmpfs -o size=16m,mode=755,nosuid,nodev none "$root"
for name in usr bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then
        cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"
        mount --bind "/$name" "$root/$name"
        mount -o remount,bind,ro,nosuid "$root/$name"
    fi
done
mkdir -p "$root/dev" "$root/etc" "$root/proc/self" "$root/tmp"
for name in null urandom; do
    : > "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
: > "$root/etc/mtab"
: > "$root/proc/mounts"
: > "$root/proc/self/mounts"
: > "$root/disk"
mount --bind "$file" "$root/disk"
mount -o "remount,bind,$mode,nosuid,nodev" "$root/disk"
mount -o remount,ro,nosuid,nodev "$root"
cd "$root"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec chroot . setpriv --no-new-privs --bounding-set=-all --inh-caps=-all \
    prlimit --as=4294967296 --cpu=120 --core=0 --nofile=256 --nproc=4096 -- "$@"
"#;

impl Command {
    /// The same command inside a namespace and a root of its own, made on the
    /// empty directory `root`, where `file` is [`DISK`].
    #[must_use]
    pub fn confined(self, to: &Namespace, root: &Path, file: &Path, writable: bool) -> Self {
        let mode = if writable { "rw" } else { "ro" };
        let mut confined = Self::new("unshare")
            .args(["--net", "--ipc", "--pid", "--mount", "--fork"])
            .args(["--kill-child=KILL", "--", "sh", "-c", SCRIPT, "kvet"])
            .arg(root)
            .arg(file)
            .arg(mode)
            .arg(&self.program)
            .args(&self.args)
            .inside(to);
        confined.envs = self.envs;
        confined.input = self.input;
        confined.stdout = self.stdout;
        confined.stderr = self.stderr;
        confined.deadline = self.deadline;
        confined
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::process::{Finished, ProcessError};

    /// What a hostile program gets done: `sh` stands for one that an image has
    /// taken over.
    async fn script(text: &str, writable: bool) -> Result<(Finished, String), ProcessError> {
        let namespace = Namespace::create(Ipv4Addr::new(10, 99, 0, 1)).await?;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let file = directory.path().join("image");
        std::fs::write(&file, "before").unwrap();
        std::fs::write(directory.path().join("secret"), "x").unwrap();
        let secret = directory.path().join("secret").display().to_string();
        let result = Command::new("sh")
            .args(["-c", text, "sh", &secret])
            .deadline(Duration::from_secs(20))
            .confined(&namespace, &root, &file, writable)
            .status(&CancellationToken::new())
            .await;
        namespace.close().await;
        Ok((result?, std::fs::read_to_string(&file).unwrap()))
    }

    fn said(finished: &Finished) -> String {
        let mut text = String::from_utf8_lossy(&finished.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&finished.stderr));
        text
    }

    #[tokio::test]
    async fn a_confined_program_sees_its_file_and_nothing_else_of_the_host() {
        let (finished, _) = script("cat /disk; echo; ls -d /* | tr '\\n' ' '", false)
            .await
            .unwrap();
        let said = said(&finished);
        assert!(said.starts_with("before\n"), "{said}");
        for absent in ["/home", "/root", "/var", "/sys", "/run"] {
            assert!(!said.contains(absent), "{said}");
        }
        for attempt in [
            "cat \"$1\"",
            "cat /etc/passwd",
            "echo x > /usr/x",
            "echo x > /x",
            "echo x > /tmp/x",
            "mount -t tmpfs none /tmp",
            "chroot /",
            "unshare --net true",
            "unshare --user --map-root-user --mount mount -t tmpfs none /tmp && echo x > /usr/x",
            "kill -9 -1",
        ] {
            let (finished, _) = script(attempt, false).await.unwrap();
            assert!(!finished.status.success(), "{attempt}");
        }
    }

    #[tokio::test]
    async fn it_writes_to_its_file_only_where_it_may() {
        let (finished, after) = script("echo after > /disk", false).await.unwrap();
        assert!(!finished.status.success());
        assert_eq!(after, "before");
        let (finished, after) = script("echo after > /disk", true).await.unwrap();
        assert!(finished.status.success(), "{}", said(&finished));
        assert_eq!(after, "after\n");
    }

    #[tokio::test]
    async fn its_memory_is_limited() {
        let (finished, _) = script("ulimit -v; ulimit -t", false).await.unwrap();
        assert_eq!(said(&finished), "4194304\n120\n");
    }
}
