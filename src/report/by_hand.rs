//! A workload as lines for bash, for those who want to see a bug without kvet:
//! with the tools that everybody has. What has no such line is told as a comment.
//! They are for people to read and to adapt; nobody runs them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::printable::shell_word;
use crate::service::{MountByHand, ServiceSpec};
use crate::step::{
    Caches, GuestStep, HandleStep, KernelStep, MountStep, OpenFlag, PathStep, ProgramStep,
};
use crate::workload::{Action, Step, Workload};

/// The lines, one for each step, where guests mount this.
#[must_use]
pub fn by_hand(workload: &Workload, service: &ServiceSpec) -> Vec<String> {
    // What open handles are called, and their files.
    let mut files = BTreeMap::new();
    let steps = workload.steps.iter();
    steps.map(|step| line(step, service, &mut files)).collect()
}

fn line(step: &Step, service: &ServiceSpec, files: &mut BTreeMap<String, String>) -> String {
    let command = match &step.action {
        Action::Guest(of) => of_guest(of, service, files),
        Action::Host(of) => service.by_hand(of),
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
    service: &ServiceSpec,
    files: &mut BTreeMap<String, String>,
) -> Option<String> {
    match step {
        GuestStep::Mount(step) => of_mount(step, service),
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

fn of_mount(step: &MountStep, service: &ServiceSpec) -> Option<String> {
    Some(match step {
        MountStep::Mount {
            name,
            options,
            disk_options,
            local,
        } => {
            let mounted = if *local { &ServiceSpec::None } else { service };
            let MountByHand {
                fstype,
                source,
                options,
            } = mounted.mount_by_hand(options, disk_options);
            let fstype = fstype.map_or_else(String::new, |fstype| format!(" -t {fstype}"));
            let options = match options.join(",").as_str() {
                "" => String::new(),
                options => format!(" -o {}", shell_word(options)),
            };
            let place = shell_word(name);
            format!("mkdir -p {place} && mount{fstype}{options} {source} {place}")
        }
        MountStep::Remount { name, options } => {
            let options = [&["remount".to_owned()], options.as_slice()].concat();
            format!(
                "mount -o {} {}",
                shell_word(&options.join(",")),
                shell_word(name)
            )
        }
        MountStep::Umount { name, force, lazy } => {
            let force = if *force { "-f " } else { "" };
            let lazy = if *lazy { "-l " } else { "" };
            format!("umount {force}{lazy}{}", shell_word(name))
        }
        MountStep::UmountAll { .. } => return None,
        MountStep::Syncfs { mount } => format!("sync -f {}", shell_word(mount)),
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
            let path = shell_word(path);
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
        PathStep::Mkdir { path } => format!("mkdir -p {}", shell_word(path)),
        PathStep::Rename { path, to } => format!("mv -T {} {}", shell_word(path), shell_word(to)),
        PathStep::Chmod { path, mode } => format!("chmod {mode:o} {}", shell_word(path)),
        PathStep::Truncate { path, length } => format!("truncate -s {length} {}", shell_word(path)),
        PathStep::WaitSize { path, length, .. } => format!(
            "until [ \"$(stat -c %s {})\" = {length} ]; do sleep 0.1; done",
            shell_word(path)
        ),
        PathStep::Snapshot { path, name, remove } => {
            let does = if *remove { "rmdir" } else { "mkdir" };
            format!("{does} {}", shell_word(&format!("{path}/.snap/{name}")))
        }
        PathStep::Encrypt { .. } => return None,
        PathStep::SetXattr { path, name, value } => format!(
            "setfattr -n {} -v {} {}",
            shell_word(name),
            shell_word(value),
            shell_word(path)
        ),
        PathStep::WriteFile { path, text } => {
            format!("echo {} > {}", shell_word(text), shell_word(path))
        }
    })
}

fn of_kernel(step: &KernelStep) -> String {
    match step {
        KernelStep::Sysctl(all) => {
            let all = all
                .iter()
                .map(|(key, value)| shell_word(&format!("{key}={value}")));
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
            format!("echo {} > /proc/sysrq-trigger", shell_word(letters))
        }
    }
}

fn of_program(step: &ProgramStep) -> String {
    let words = |words: &[String]| {
        let words = words.iter().map(|word| format!(" {}", shell_word(word)));
        words.collect::<String>()
    };
    match step {
        ProgramStep::Exec { program, args } => format!("{}{}", shell_word(program), words(args)),
        ProgramStep::Xfstests { tree, args, .. } => {
            format!("cd {} && ./check{}", shell_word(tree), words(args))
        }
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lines(steps: &str, service: &ServiceSpec) -> Vec<String> {
        let text = format!("{{ name: w, about: x, steps: [{steps}] }}");
        by_hand(&Workload::load("w", &text).unwrap(), service)
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
            lines(steps, &ServiceSpec::default()),
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
            guest: { mount: { name: b, local: true } }, \
            host: wait_healthy";
        let disk = serde_yaml::from_str("{ size: 1GiB, fs: ext4 }").unwrap();
        let disk = ServiceSpec::Disk(disk);
        assert_eq!(
            lines(on_disk, &disk),
            [
                "mkdir -p a && mount -o ro DISK a",
                "mkdir -p b && mount -t tmpfs tmpfs b",
                "# outside: wait_healthy",
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
            for line in by_hand(&workload, &ServiceSpec::default()) {
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
