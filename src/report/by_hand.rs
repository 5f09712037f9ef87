//! A workload as lines for bash, for those who want to see a bug without kvet:
//! with the tools that everybody has. What has no such line is told as a comment.
//! They are for people to read and to adapt; nobody runs them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::workload::Workload;

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

/// The lines, one or more for each step.
#[must_use]
pub fn by_hand(workload: &Workload, mounted: Mounted) -> Vec<String> {
    // What open handles are called, and their files.
    let mut files = BTreeMap::new();
    let steps = workload.steps.iter();
    steps
        .map(|step| {
            let step = serde_json::to_value(step).unwrap_or_default();
            line(&step, mounted, &mut files)
        })
        .collect()
}

/// A step's line.
fn line(step: &Value, mounted: Mounted, files: &mut BTreeMap<String, String>) -> String {
    let (host, what) = match (step.get("guest"), step.get("host")) {
        (Some(what), _) => (false, what),
        (_, Some(what)) => (true, what),
        (None, None) => {
            let name = step.get("wait").and_then(Value::as_str);
            return format!("wait ${}", variable(name.unwrap_or_default()));
        }
    };
    let empty = Value::Null;
    let (kind, value) = match what {
        Value::String(kind) => (kind.as_str(), &empty),
        Value::Object(of) => match of.iter().next() {
            Some((kind, value)) => (kind.as_str(), value),
            None => return String::new(),
        },
        _ => return String::new(),
    };
    let of = Arguments(value);
    let command = if host {
        of_host(kind, &of)
    } else {
        of_guest(kind, &of, mounted, files)
    };
    let background = step.get("background").and_then(Value::as_bool) == Some(true);
    match command {
        Some(command) if background => {
            let name = step.get("name").and_then(Value::as_str);
            format!("({command}) & {}=$!", variable(name.unwrap_or("pid")))
        }
        Some(command) => command,
        None => {
            let side = if host { "outside: " } else { "" };
            format!("# {side}{kind}{}", of.in_words())
        }
    }
}

/// A step's arguments.
struct Arguments<'a>(&'a Value);

impl Arguments<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// A path or a name, fit for a shell.
    fn word(&self, key: &str) -> Option<String> {
        self.text(key).map(quoted)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    fn is(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool) == Some(true)
    }

    fn texts(&self, key: &str) -> Vec<&str> {
        let list = self.0.get(key).and_then(Value::as_array);
        let list = list.into_iter().flatten();
        list.filter_map(Value::as_str).collect()
    }

    fn map(&self) -> Option<&Map<String, Value>> {
        self.0.as_object()
    }

    /// ` path=a/b length=4096`: what is not as it is without a word.
    fn in_words(&self) -> String {
        let mut words = String::new();
        match self.0 {
            Value::Object(map) => {
                for (key, value) in map {
                    if !matches!(value, Value::Null | Value::Bool(false)) {
                        let _ = write!(words, " {key}={}", plain(value));
                    }
                }
            }
            Value::Null => {}
            value => {
                let _ = write!(words, " {}", plain(value));
            }
        }
        words
    }
}

fn of_guest(
    kind: &str,
    of: &Arguments<'_>,
    mounted: Mounted,
    files: &mut BTreeMap<String, String>,
) -> Option<String> {
    Some(match kind {
        "mount" => mount(of, mounted)?,
        "remount" => {
            let options = of.texts("options").join(",");
            let options = format!("remount,{options}");
            format!(
                "mount -o {} {}",
                quoted(options.trim_end_matches(',')),
                of.word("name")?
            )
        }
        "umount" => {
            let force = if of.is("force") { "-f " } else { "" };
            let lazy = if of.is("lazy") { "-l " } else { "" };
            format!("umount {force}{lazy}{}", of.word("name")?)
        }
        "sync" => "sync".to_owned(),
        "syncfs" => format!("sync -f {}", of.word("mount")?),
        "open" => {
            let (handle, path) = (of.text("handle")?, of.word("path")?);
            let flags = of.texts("flags");
            files.insert(handle.to_owned(), path.clone());
            let way = match flags.as_slice() {
                flags if flags.contains(&"direct") => return None,
                flags if flags.contains(&"append") => ">>",
                flags if flags.contains(&"truncate") => ">",
                flags if flags.contains(&"write") => "<>",
                _ => "<",
            };
            format!("exec {{{}}}{way}{path}", variable(handle))
        }
        "write" => {
            let (offset, length) = (of.number("offset")?, of.number("length")?);
            format!(
                "dd if=/dev/urandom bs={length} count=1 oflag=seek_bytes seek={offset} conv=notrunc \
                 >&${}",
                variable(of.text("handle")?)
            )
        }
        "read" => {
            let (offset, length) = (of.number("offset")?, of.number("length")?);
            format!(
                "dd bs={length} count=1 iflag=skip_bytes skip={offset} of=/dev/null <&${}",
                variable(of.text("handle")?)
            )
        }
        "fsync" => format!("sync {}", files.get(of.text("handle")?)?),
        "close" => format!("exec {{{}}}>&-", variable(of.text("handle")?)),
        "mkdir" => format!("mkdir -p {}", of.word("path")?),
        "rename" => format!("mv -T {} {}", of.word("path")?, of.word("to")?),
        "chmod" => format!("chmod {:o} {}", of.number("mode")?, of.word("path")?),
        "truncate" => format!("truncate -s {} {}", of.number("length")?, of.word("path")?),
        "wait_size" => format!(
            "until [ \"$(stat -c %s {})\" = {} ]; do sleep 0.1; done",
            of.word("path")?,
            of.number("length")?
        ),
        "snapshot" => {
            let place = format!("{}/.snap/{}", of.text("path")?, of.text("name")?);
            let does = if of.is("remove") { "rmdir" } else { "mkdir" };
            format!("{does} {}", quoted(&place))
        }
        "set_xattr" => format!(
            "setfattr -n {} -v {} {}",
            of.word("name")?,
            of.word("value")?,
            of.word("path")?
        ),
        "write_file" => format!("echo {} > {}", of.word("text")?, of.word("path")?),
        "sysctl" => {
            let all = of.map()?.iter();
            let all = all.map(|(key, value)| quoted(&format!("{key}={}", plain(value))));
            format!("sysctl -w {}", all.collect::<Vec<_>>().join(" "))
        }
        "drop_caches" => {
            let what = match of.text("what")? {
                "pages" => 1,
                "inodes" => 2,
                _ => 3,
            };
            let once = format!("echo {what} > /proc/sys/vm/drop_caches");
            match of.number("times")? {
                1 => once,
                times => format!("for n in $(seq {times}); do {once}; done"),
            }
        }
        "sysrq" => format!("echo {} > /proc/sysrq-trigger", of.word("letters")?),
        "exec" => {
            let mut words = vec![of.word("program")?];
            words.extend(of.texts("args").into_iter().map(quoted));
            words.join(" ")
        }
        "xfstests" => {
            let words: Vec<String> = of.texts("args").into_iter().map(quoted).collect();
            format!("cd {} && ./check {}", of.word("tree")?, words.join(" "))
        }
        _ => return None,
    })
}

fn mount(of: &Arguments<'_>, mounted: Mounted) -> Option<String> {
    let place = of.word("name")?;
    let (kind, from, mut options) = match mounted {
        _ if of.is("local") => ("-t tmpfs", "tmpfs", Vec::new()),
        Mounted::Ceph => (
            "-t ceph",
            "MONITOR:/",
            [vec!["name=admin"], of.texts("options")].concat(),
        ),
        Mounted::Disk => ("", "DISK", of.texts("disk_options")),
        Mounted::Memory => ("-t tmpfs", "tmpfs", Vec::new()),
    };
    options.retain(|option| !option.is_empty());
    let options = match options.as_slice() {
        [] => String::new(),
        options => format!(" -o {}", quoted(&options.join(","))),
    };
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!(" {kind}")
    };
    Some(format!(
        "mkdir -p {place} && mount{kind}{options} {from} {place}"
    ))
}

fn of_host(kind: &str, of: &Arguments<'_>) -> Option<String> {
    Some(match kind {
        "evict_client" => format!(
            "ceph tell mds.0 client evict id=ID  # that of the client of {}, see client ls",
            of.word("mount")?
        ),
        "mds_fail" => format!("ceph mds fail {}", of.number("rank")?),
        "mds_cache_drop" => "ceph tell mds.0 cache drop".to_owned(),
        "stop_daemon" => format!("kill -STOP PID  # of {}", of.word("daemon")?),
        "continue_daemon" => format!("kill -CONT PID  # of {}", of.word("daemon")?),
        "set_option" => format!(
            "ceph tell {} config set {} {}",
            of.word("daemon")?,
            of.word("option")?,
            of.word("value")?
        ),
        "wait_healthy" => "until ceph health | grep -q HEALTH_OK; do sleep 1; done".to_owned(),
        "pause" => format!("sleep {}", quoted(of.0.as_str()?)),
        _ => return None,
    })
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
            guest: { drop_caches: { what: inodes, times: 3 } }, \
            guest: { sysctl: { vm.dirty_ratio: 5 } }, \
            { name: write-all, guest: sync, background: true }, \
            wait: write-all, \
            host: { pause: 3s }, \
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
                "for n in $(seq 3); do echo 2 > /proc/sys/vm/drop_caches; done",
                "sysctl -w vm.dirty_ratio=5",
                "(sync) & write_all=$!",
                "wait $write_all",
                "sleep 3s",
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
