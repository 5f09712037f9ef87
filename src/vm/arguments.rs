//! QEMU's argument vector as a pure function of what the machine is made of.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Accelerator;

/// What a job may choose about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory: u32,
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            cpus: 2,
            memory: 1024,
        }
    }
}

/// Everything that decides how a machine comes up.
#[derive(Debug, Clone)]
pub struct Boot<'a> {
    /// CPUs and memory.
    pub hardware: &'a Hardware,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// The bzImage.
    pub kernel: &'a Path,
    /// The initramfs; a probe has none.
    pub initramfs: Option<&'a Path>,
    /// Images of its disks, raw, in order.
    pub disks: &'a [PathBuf],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Where its memory lies.
    pub memory: Memory<'a>,
    /// A private directory with a short path, for the sockets.
    pub directory: PathBuf,
    /// What it has for those who look into it.
    pub debugging: Debugging<'a>,
}

/// Unix sockets on which kvet listens and to which QEMU connects, so that
/// nothing has to wait for a file to appear.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// The first serial port.
    pub console: PathBuf,
    /// The agent's virtio-serial port.
    pub agent: PathBuf,
    /// The control connection.
    pub qmp: PathBuf,
}

impl Sockets {
    /// The three sockets of a machine, in a directory of its own.
    #[must_use]
    pub fn under(directory: &Path) -> Self {
        Self {
            console: directory.join("console"),
            agent: directory.join("agent"),
            qmp: directory.join("qmp"),
        }
    }
}

/// Where a machine's memory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory<'a> {
    /// With QEMU alone.
    Own,
    /// In this file, which has all of it as long as the machine runs: for a guest
    /// that is to be saved.
    In(&'a Path),
    /// As this file has it, page by page as the guest looks at it. What it writes
    /// stays its own, so that any number of machines can share the file; and the
    /// state of all the rest is awaited on the control connection.
    Of(&'a Path),
}

/// What a machine has for those who look into it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Debugging<'a> {
    /// Whether its memory outlives its end, for a dump, and its kernel can tell
    /// what the dump is made of.
    pub keeps_memory: bool,
    /// A socket that gdb can connect to.
    pub gdb: Option<&'a Path>,
}

impl Debugging<'_> {
    fn arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.keeps_memory {
            // Instead of ending, QEMU stops and waits to be told.
            words.extend(["-action", "shutdown=pause", "-device", "vmcoreinfo"].map(String::from));
        }
        if let Some(path) = self.gdb {
            let listen = format!("unix:{},server=on,wait=off", escaped(path));
            words.extend(["-gdb".to_owned(), listen]);
        }
        words
    }
}

/// The name by which the guest finds its agent's port.
const AGENT_PORT: &str = "kvet.agent";

/// The whole vector, program name excluded.
#[must_use]
pub fn arguments(boot: &Boot<'_>, sockets: &Sockets) -> Vec<OsString> {
    let Boot {
        hardware,
        accelerator,
        kernel,
        initramfs,
        disks,
        command_line,
        memory,
        directory: _,
        debugging,
    } = *boot;
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| all.extend(words.iter().map(OsString::from));
    // Nothing that was not asked for: no display, no default devices, no
    // configuration files of the host.
    add(&["-nodefaults", "-no-user-config", "-display", "none"]);
    // A panic ends the machine instead of booting it again.
    add(&["-no-reboot"]);
    // A guest that breaks out of the device models may not start programs.
    add(&["-sandbox", "on,spawn=deny,elevateprivileges=deny"]);
    add(&["-name", "kvet"]);
    let size = format!("{}M", hardware.memory);
    match memory {
        Memory::Own => add(&["-machine", "q35"]),
        Memory::In(file) | Memory::Of(file) => {
            let shared = if matches!(memory, Memory::In(_)) {
                "on"
            } else {
                "off"
            };
            let object = format!(
                "memory-backend-file,id=memory,size={size},share={shared},mem-path={}",
                escaped(file)
            );
            add(&["-machine", "q35,memory-backend=memory"]);
            add(&["-object", &object]);
        }
    }
    if matches!(memory, Memory::Of(_)) {
        add(&["-incoming", "defer"]);
    }
    match accelerator {
        Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Tcg => add(&["-accel", "tcg,thread=multi", "-cpu", "max"]),
    }
    add(&["-smp", &hardware.cpus.to_string()]);
    add(&["-m", &size]);
    add(&["-chardev", &socket("console", &sockets.console)]);
    add(&["-serial", "chardev:console"]);
    add(&["-chardev", &socket("qmp", &sockets.qmp)]);
    add(&["-mon", "chardev=qmp,mode=control"]);
    add(&["-device", "virtio-serial-pci"]);
    add(&["-chardev", &socket("agent", &sockets.agent)]);
    add(&[
        "-device",
        &format!("virtserialport,chardev=agent,name={AGENT_PORT}"),
    ]);
    // QEMU's own network stack; the namespace around QEMU decides what it reaches.
    add(&["-netdev", "user,id=net"]);
    add(&["-device", "virtio-net-pci,netdev=net,romfile="]);
    for (number, image) in disks.iter().enumerate() {
        let id = format!("disk{number}");
        // Raw, whatever a guest writes to its beginning: it must not be taken for
        // a format that names other files. What was written is in the host's
        // cache, and nobody needs it after a crash of the host.
        let drive = format!(
            "if=none,id={id},format=raw,cache=unsafe,discard=unmap,file={}",
            escaped(image)
        );
        add(&["-drive", &drive]);
        add(&["-device", &format!("virtio-blk-pci,drive={id},serial={id}")]);
    }
    add(&["-append", command_line]);
    all.extend(debugging.arguments().into_iter().map(OsString::from));
    all.extend(["-kernel".into(), kernel.into()]);
    if let Some(initramfs) = initramfs {
        all.extend(["-initrd".into(), initramfs.into()]);
    }
    all
}

fn socket(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={}", escaped(path))
}

/// A path in a list of options. A comma separates them; two stand for one.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(accelerator: Accelerator) -> Vec<String> {
        words_with(accelerator, Memory::Own, Debugging::default())
    }

    fn words_with(
        accelerator: Accelerator,
        memory: Memory<'_>,
        debugging: Debugging<'_>,
    ) -> Vec<String> {
        let boot = Boot {
            hardware: &Hardware::default(),
            accelerator,
            kernel: Path::new("/k"),
            initramfs: Some(Path::new("/i")),
            disks: &["/tmp/a,b/t.img".into(), "/tmp/t.spare.img".into()],
            command_line: "console=ttyS0",
            memory,
            directory: PathBuf::new(),
            debugging,
        };
        let words = arguments(&boot, &Sockets::under(Path::new("/tmp/a,b")));
        words
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn each_part_is_where_qemu_expects_it() {
        let words = words(Accelerator::Tcg);
        let after = |flag: &str| {
            let at = words.iter().position(|word| word == flag).unwrap();
            words[at + 1].as_str()
        };
        assert_eq!(after("-accel"), "tcg,thread=multi");
        assert_eq!(after("-m"), "1024M");
        assert_eq!(after("-kernel"), "/k");
        assert_eq!(after("-initrd"), "/i");
        assert_eq!(after("-append"), "console=ttyS0");
        assert_eq!(
            after("-chardev"),
            "socket,id=console,path=/tmp/a,,b/console"
        );
        for flag in ["-no-reboot", "-nodefaults", "-no-user-config"] {
            assert!(words.contains(&flag.to_owned()), "{flag}");
        }
        let sandbox = after("-sandbox");
        assert!(sandbox.starts_with("on,") && sandbox.contains("spawn=deny"));
    }

    #[test]
    fn disks_are_raw_and_in_their_order() {
        let words = words(Accelerator::Tcg);
        let drives: Vec<_> = words
            .iter()
            .filter(|word| word.contains("if=none"))
            .collect();
        assert_eq!(drives.len(), 2);
        assert!(drives.iter().all(|drive| drive.contains("format=raw")));
        assert!(drives[0].ends_with("file=/tmp/a,,b/t.img"), "{}", drives[0]);
        let devices = words
            .iter()
            .filter(|word| word.starts_with("virtio-blk-pci"));
        let serials: Vec<_> = devices
            .filter_map(|word| word.split("serial=").nth(1))
            .collect();
        assert_eq!(serials, ["disk0", "disk1"]);
    }

    #[test]
    fn a_guest_s_memory_is_shared_to_be_saved_and_private_when_restored() {
        let file = Path::new("/a,b/ram");
        for (memory, share, awaits) in [
            (Memory::In(file), "share=on,", false),
            (Memory::Of(file), "share=off,", true),
        ] {
            let words = words_with(Accelerator::Tcg, memory, Debugging::default());
            let object = words
                .iter()
                .find(|word| word.starts_with("memory-backend-file"))
                .unwrap();
            assert!(object.contains("size=1024M,"), "{object}");
            assert!(object.contains(share), "{object}");
            assert!(object.ends_with("mem-path=/a,,b/ram"), "{object}");
            assert_eq!(words.contains(&"-incoming".to_owned()), awaits);
        }
    }

    #[test]
    fn kvm_runs_the_host_s_cpu() {
        let words = words(Accelerator::Kvm);
        assert!(words.windows(2).any(|pair| pair == ["-cpu", "host"]));
    }

    #[test]
    fn a_machine_that_is_looked_into_outlives_its_end() {
        let debugging = Debugging {
            keeps_memory: true,
            gdb: Some(Path::new("/tmp/a,b/gdb")),
        };
        let words = words_with(Accelerator::Tcg, Memory::Own, debugging);
        let has = |pair: [&str; 2]| words.windows(2).any(|words| words == pair);
        assert!(has(["-action", "shutdown=pause"]), "{words:?}");
        assert!(has(["-device", "vmcoreinfo"]), "{words:?}");
        let gdb = "unix:/tmp/a,,b/gdb,server=on,wait=off";
        assert!(has(["-gdb", gdb]), "{words:?}");
    }
}
