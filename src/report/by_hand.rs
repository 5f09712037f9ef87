//! A workload as lines for bash, for those who want to see a bug without kvet:
//! with the tools that everybody has. What has no such line is told as a comment.
//! They are for people to read and to adapt; nobody runs them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::step::{
    Caches, GuestStep, HandleStep, HostStep, KernelStep, MountStep, OpenFlag, PathStep, ProgramStep,
};
use crate::workload::{Action, Step, Workload};

/// What guests mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// A Ceph cluster's file system.
    Ceph,
    /// A file system on a disk.
    Disk,
    /// A tmpfs.
    Memory,
}

/// The lines, one for each step.
#[must_use]
pub fn by_hand(workload: &Workload, mounted: Mounted) -> Vec<String> {
    // What open handles are called, and their files.
    let mut files = BTreeMap::new();
    let steps = workload.steps.iter();
    steps.map(|step| line(step, mounted, &mut files)).collect()
}

fn line(step: &Step, mounted: Mounted, files: &mut BTreeMap<String, String>) -> String {
    let command = match &step.action {
        Action::Guest(of) => of_guest(of, mounted, files),
        Action::Host(of) => of_host(of),
        Action::Wait(name) => Some(format!("wait ${}", variable(name))),
    };
    match command {
        Some(command) if step.background => {
            let name = step.name.as_deref().unwrap_or("pid");
            format!("({command}) & {}=$!", variable(name))
        }
        Some(command) => command,
        None => format!("# {}", in_words(&step.action)),
    }
}

fn of_guest(
    step: &GuestStep,
    mounted: Mounted,
    files: &mut BTreeMap<String, String>,
) -> Option<String> {
    match step {
        GuestStep::Mount(step) => of_mount(step, mounted),
        GuestStep::Handle(step) => of_handle(step, files),
        GuestStep::Path(step) => of_path(step),
        GuestStep::Kernel(step) => Some(of_kernel(step)),
        GuestStep::Program(step) => Some(of_program(step)),
        // What takes a program of its own.
        GuestStep::Series(_)
        | GuestStep::Storm(_)
        | GuestStep::Fault(_)
        | GuestStep::Counter(_) => None,
    }
}

fn of_mount(step: &MountStep, mounted: Mounted) -> Option<String> {
    Some(match step {
        MountStep::Mount {
            name,
            options,
            disk_options,
            local,
        } => {
            let (kind, from, options) = match mounted {
                _ if *local => (" -t tmpfs", "tmpfs", String::new()),
                Mounted::Ceph => {
                    let options = [&["name=admin".to_owned()], options.as_slice()].concat();
                    (" -t ceph", "MONITOR:/", options.join(","))
                }
                Mounted::Disk => ("", "DISK", disk_options.join(",")),
                Mounted::Memory => (" -t tmpfs", "tmpfs", String::new()),
            };
            let options = match options.as_str() {
                "" => String::new(),
                options => format!(" -o {}", quoted(options)),
            };
            let place = quoted(name);
            format!("mkdir -p {place} && mount{kind}{options} {from} {place}")
        }
        MountStep::Remount { name, options } => {
            let options = [&["remount".to_owned()], options.as_slice()].concat();
            format!("mount -o {} {}", quoted(&options.join(",")), quoted(name))
        }
        MountStep::Umount { name, force, lazy } => {
            let force = if *force { "-f " } else { "" };
            let lazy = if *lazy { "-l " } else { "" };
            format!("umount {force}{lazy}{}", quoted(name))
        }
        MountStep::UmountAll { .. } => return None,
        MountStep::Syncfs { mount } => format!("sync -f {}", quoted(mount)),
        MountStep::Sync => "sync".to_owned(),
    })
}

fn of_handle(step: &HandleStep, files: &mut BTreeMap<String, String>) -> Option<String> {
    Some(match step {
        HandleStep::Open {
            handle,
            path,
            flags,
        } => {
            let path = quoted(path);
            files.insert(handle.clone(), path.clone());
            let has = |flag| flags.contains(&flag);
            let way = if has(OpenFlag::Direct) {
                return None;
            } else if has(OpenFlag::Append) {
                ">>"
            } else if has(OpenFlag::Truncate) {
                ">"
            } else if has(OpenFlag::Write) {
                "<>"
            } else {
                "<"
            };
            format!("exec {{{}}}{way}{path}", variable(handle))
        }
        HandleStep::Write {
            handle,
            offset,
            length,
            ..
        } => format!(
            "dd if=/dev/urandom bs={length} count=1 oflag=seek_bytes seek={offset} conv=notrunc \
             >&${}",
            variable(handle)
        ),
        HandleStep::Read {
            handle,
            offset,
            length,
            ..
        } => format!(
            "dd bs={length} count=1 iflag=skip_bytes skip={offset} of=/dev/null <&${}",
            variable(handle)
        ),
        HandleStep::Fsync { handle } => format!("sync {}", files.get(handle)?),
        HandleStep::Close { handle } => format!("exec {{{}}}>&-", variable(handle)),
        HandleStep::Readahead { .. } | HandleStep::List { .. } | HandleStep::StatListed { .. } => {
            return None;
        }
    })
}

fn of_path(step: &PathStep) -> Option<String> {
    Some(match step {
        PathStep::Mkdir { path } => format!("mkdir -p {}", quoted(path)),
        PathStep::Rename { path, to } => format!("mv -T {} {}", quoted(path), quoted(to)),
        PathStep::Chmod { path, mode } => format!("chmod {mode:o} {}", quoted(path)),
        PathStep::Truncate { path, length } => format!("truncate -s {length} {}", quoted(path)),
        PathStep::WaitSize { path, length, .. } => format!(
            "until [ \"$(stat -c %s {})\" = {length} ]; do sleep 0.1; done",
            quoted(path)
        ),
        PathStep::Snapshot { path, name, remove } => {
            let does = if *remove { "rmdir" } else { "mkdir" };
            format!("{does} {}", quoted(&format!("{path}/.snap/{name}")))
        }
        PathStep::Encrypt { .. } => return None,
        PathStep::SetXattr { path, name, value } => format!(
            "setfattr -n {} -v {} {}",
            quoted(name),
            quoted(value),
            quoted(path)
        ),
        PathStep::WriteFile { path, text } => format!("echo {} > {}", quoted(text), quoted(path)),
    })
}

fn of_kernel(step: &KernelStep) -> String {
    match step {
        KernelStep::Sysctl(all) => {
            let all = all
                .iter()
                .map(|(key, value)| quoted(&format!("{key}={value}")));
            format!("sysctl -w {}", all.collect::<Vec<_>>().join(" "))
        }
        KernelStep::DropCaches { what, times } => {
            let what = match what {
                Caches::Pages => 1,
                Caches::Inodes => 2,
                Caches::All => 3,
            };
            let once = format!("echo {what} > /proc/sys/vm/drop_caches");
            match times {
                1 => once,
                times => format!("for n in $(seq {times}); do {once}; done"),
            }
        }
        KernelStep::Sysrq { letters } => {
            format!("echo {} > /proc/sysrq-trigger", quoted(letters))
        }
    }
}

fn of_program(step: &ProgramStep) -> String {
    let words = |words: &[String]| {
        let words = words.iter().map(|word| format!(" {}", quoted(word)));
        words.collect::<String>()
    };
    match step {
        ProgramStep::Exec { program, args } => format!("{}{}", quoted(program), words(args)),
        ProgramStep::Xfstests { tree, args, .. } => {
            format!("cd {} && ./check{}", quoted(tree), words(args))
        }
    }
}

fn of_host(step: &HostStep) -> Option<String> {
    Some(match step {
        HostStep::EvictClient { mount } => format!(
            "ceph tell mds.0 client evict id=ID  # that of the client of {}, see client ls",
            quoted(mount)
        ),
        HostStep::MdsCacheDrop { timeout } => format!(
            "ceph tell mds.0 cache drop {}  # and so with each other rank that is active",
            timeout.as_secs()
        ),
        HostStep::MdsFail { rank } => format!("ceph mds fail {rank}"),
        HostStep::StopDaemon { daemon } => format!("kill -STOP PID  # of {}", quoted(daemon)),
        HostStep::ContinueDaemon { daemon } => format!("kill -CONT PID  # of {}", quoted(daemon)),
        HostStep::SetOption {
            daemon,
            option,
            value,
        } => format!(
            "ceph tell {} config set {} {}",
            quoted(daemon),
            quoted(option),
            quoted(value)
        ),
        HostStep::AdminCommand { .. } => return None,
        HostStep::Pause(time) => format!("sleep {}", time.as_secs_f64()),
        HostStep::WaitHealthy => {
            "until ceph health | grep -q HEALTH_OK; do sleep 1; done".to_owned()
        }
    })
}

/// A step as its workload has it, on one line: `unlink files=4 path=a/many`.
fn in_words(action: &Action) -> String {
    let (side, step) = match action {
        Action::Guest(step) => ("", serde_json::to_value(step)),
        Action::Host(step) => ("outside: ", serde_json::to_value(step)),
        Action::Wait(name) => return format!("wait {name}"),
    };
    let mut words = side.to_owned();
    match step.unwrap_or_default() {
        Value::Object(step) => {
            for (kind, of) in step {
                words.push_str(&kind);
                let Value::Object(of) = of else {
                    let _ = write!(words, " {}", plain(&of));
                    continue;
                };
                for (key, value) in of {
                    if !matches!(value, Value::Null | Value::Bool(false)) {
                        let _ = write!(words, " {key}={}", plain(&value));
                    }
                }
            }
        }
        step => words.push_str(&plain(&step)),
    }
    words
}

/// A value without quotes if it is a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A handle as a variable's name.
fn variable(handle: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = handle
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("f{name}")
    } else {
        name
    }
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.contains('\n') {
        // On one line: bash's own quotes.
        let text = text.replace('\\', "\\\\").replace('\'', "\\'");
        format!("$'{}'", text.replace('\n', "\\n"))
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lines(steps: &str, mounted: Mounted) -> Vec<String> {
        let text = format!("{{ name: w, about: x, steps: [{steps}] }}");
        by_hand(&Workload::load("w", &text).unwrap(), mounted)
    }

    #[test]
    fn steps_are_what_one_would_type() {
        let steps = "guest: { mount: { name: a, options: [noshare] } }, \
            guest: { open: { handle: the-file, path: a/f, flags: [create, write] } }, \
            guest: { write: { handle: the-file, offset: 4KiB, length: 1MiB } }, \
            guest: { fsync: { handle: the-file } }, \
            guest: { chmod: { path: a/f, mode: 0o640 } }, \
            guest: { truncate: { path: \"a/it's\", length: 0 } }, \
            host: { evict_client: { mount: a } }, \
            host: { mds_cache_drop: { timeout: 45s } }, \
            guest: { drop_caches: { what: inodes, times: 3 } }, \
            guest: { sysctl: { vm.dirty_ratio: 5 } }, \
            { name: write-all, guest: sync, background: true }, \
            wait: write-all, \
            host: { pause: 2500ms }, \
            guest: { unlink: { path: a/many, files: 4 } }, \
            guest: { close: { handle: the-file } }";
        assert_eq!(
            lines(steps, Mounted::Ceph),
            [
                "mkdir -p a && mount -t ceph -o name=admin,noshare MONITOR:/ a",
                "exec {the_file}<>a/f",
                "dd if=/dev/urandom bs=1048576 count=1 oflag=seek_bytes seek=4096 conv=notrunc \
                 >&$the_file",
                "sync a/f",
                "chmod 640 a/f",
                "truncate -s 0 'a/it'\\''s'",
                "ceph tell mds.0 client evict id=ID  # that of the client of a, see client ls",
                "ceph tell mds.0 cache drop 45  # and so with each other rank that is active",
                "for n in $(seq 3); do echo 2 > /proc/sys/vm/drop_caches; done",
                "sysctl -w vm.dirty_ratio=5",
                "(sync) & write_all=$!",
                "wait $write_all",
                "sleep 2.5",
                "# unlink files=4 path=a/many",
                "exec {the_file}>&-",
            ]
        );
        let on_disk = "guest: { mount: { name: a, options: [noshare], disk_options: [ro] } }, \
            guest: { mount: { name: b, local: true } }";
        assert_eq!(
            lines(on_disk, Mounted::Disk),
            [
                "mkdir -p a && mount -o ro DISK a",
                "mkdir -p b && mount -t tmpfs tmpfs b"
            ]
        );
    }

    /// What kvet ships has a line for each step, and bash reads all of them.
    #[test]
    fn bash_reads_every_shipped_workload() {
        let mut script = String::new();
        let mut bare = 0;
        for name in Workload::shipped() {
            let workload = Workload::find(name, Path::new("/")).unwrap();
            for line in by_hand(&workload, Mounted::Ceph) {
                assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
                bare += usize::from(!line.starts_with('#'));
                script.push_str(&line);
                script.push('\n');
            }
        }
        assert!(bare > 100, "{bare} commands");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &script).unwrap();
        let read = std::process::Command::new("bash")
            .arg("-n")
            .arg(file.path())
            .output()
            .unwrap();
        assert!(read.status.success(), "{read:?}");
    }
}
