//! Which accelerator runs guests here. `/dev/kvm` can exist, open and create a
//! machine and still never run a kernel, so `auto` boots one before trusting
//! it, and remembers the answer until the host reboots or QEMU changes. That KVM
//! does not work is believed for an hour: the host may have had a bad moment, and
//! where a guest was silent, of the kernel that was booted alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::context::Context;
use crate::event::Event;
use crate::process::{Command, Namespace};
use crate::store::{Key, Scratch, Store, write_json};
use crate::vm::{self, Acceleration, Accelerator, Boot, End, Hardware, Machine, QEMU, VmError};

/// A remembered probe.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// `None`: KVM works. Otherwise why it does not.
    failure: Option<String>,
}

/// How long a kernel may take to say its first word under KVM; it takes
/// milliseconds where KVM works.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// How long it is believed that KVM does not work.
const DOUBT: Duration = Duration::from_secs(3600);

/// Why a kernel did not run under KVM.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// Something of this host's moment, which says nothing of KVM.
    Host(String),
    /// QEMU said it of KVM.
    Kvm(String),
    /// The guest was silent, or gone at once: KVM, or this kernel.
    Guest(String),
}

impl Failure {
    /// QEMU gave up, with these words.
    fn of_qemu(said: String) -> Self {
        if said.to_ascii_lowercase().contains("kvm") {
            Self::Kvm(said)
        } else {
            Self::Host(said)
        }
    }

    fn reason(self) -> String {
        let (Self::Host(reason) | Self::Kvm(reason) | Self::Guest(reason)) = self;
        reason
    }
}

/// What is remembered of KVM, and where.
struct Known {
    /// Of every kernel.
    whole: PathBuf,
    /// Of the one that is to be booted.
    kernel: PathBuf,
}

impl Known {
    /// What was found with this QEMU since this boot, in the store.
    fn of(store: &Store, version: &[u8], boot: &[u8], kernel: &Path) -> Option<Self> {
        let directory = store.kind("accelerators").ok()?;
        let file = |key: Key| directory.join(format!("{}.json", key.as_str()));
        let kernel = kernel.as_os_str().as_encoded_bytes();
        Some(Self {
            whole: file(Key::of([version, boot])),
            kernel: file(Key::of([version, boot, kernel])),
        })
    }

    /// What is known: that KVM works, or why not.
    fn recall(&self, now: SystemTime) -> Option<Result<(), String>> {
        let read = |path: &Path| {
            let known: Remembered = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
            let Some(failure) = known.failure else {
                return Some(Ok(()));
            };
            let since = std::fs::metadata(path).ok()?.modified().ok()?;
            let age = now.duration_since(since).unwrap_or_default();
            let place = path.display();
            (age < DOUBT).then(|| Err(format!("{failure} (tried before, see {place})")))
        };
        read(&self.whole).or_else(|| read(&self.kernel))
    }

    /// Keeps what a probe found. Not to remember costs the next run a probe, no more.
    fn keep(&self, failure: Option<&Failure>) {
        let (path, failure) = match failure {
            None => (&self.whole, None),
            Some(Failure::Host(_)) => return,
            Some(Failure::Kvm(reason)) => (&self.whole, Some(reason.clone())),
            Some(Failure::Guest(reason)) => (&self.kernel, Some(reason.clone())),
        };
        drop(write_json(path, &Remembered { failure }));
    }
}

/// Decides, booting `kernel` as the probe if nothing is known yet. Falling
/// back is told as an event, with the reason.
pub(super) async fn choose(
    context: &Context,
    store: &Store,
    asked: Acceleration,
    kernel: &Path,
    namespace: &Namespace,
) -> Result<Accelerator, VmError> {
    let failure = match asked {
        Acceleration::Tcg => return Ok(Accelerator::Tcg),
        Acceleration::Auto | Acceleration::Kvm => {
            kvm_failure(context, store, kernel, namespace).await
        }
    };
    match (failure, asked) {
        (None, _) => Ok(Accelerator::Kvm),
        (Some(reason), Acceleration::Kvm) => Err(VmError::NoKvm { reason }),
        (Some(reason), _) => {
            context.emit(Event::Note(format!("emulating (TCG): {reason}")));
            Ok(Accelerator::Tcg)
        }
    }
}

async fn kvm_failure(
    context: &Context,
    store: &Store,
    kernel: &Path,
    namespace: &Namespace,
) -> Option<String> {
    if let Err(error) = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        return Some(match error.kind() {
            std::io::ErrorKind::NotFound => "this host has no /dev/kvm".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "/dev/kvm is not yours to open (is the user in group kvm?)".to_owned()
            }
            _ => format!("/dev/kvm cannot be opened: {error}"),
        });
    }
    let version = Command::new(QEMU)
        .arg("--version")
        .deadline(PROBE_DEADLINE)
        .run(&context.cancel)
        .await
        .map(|finished| finished.stdout)
        .unwrap_or_default();
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let known = Known::of(store, version.as_ref(), &boot, kernel);
    let recalled = |known: &Known| known.recall(SystemTime::now());
    if let Some(found) = known.as_ref().and_then(recalled) {
        return found.err();
    }
    let mut found = probe(kernel, namespace).await;
    if matches!(found, Err(Failure::Host(_) | Failure::Guest(_))) {
        // It may have been a bad moment.
        found = probe(kernel, namespace).await;
    }
    if let Some(known) = known {
        known.keep(found.as_ref().err());
    }
    found.err().map(Failure::reason)
}

/// Boots the kernel without an initramfs and waits for its first byte.
async fn probe(kernel: &Path, namespace: &Namespace) -> Result<(), Failure> {
    let scratch = Scratch::new().map_err(|error| Failure::Host(error.to_string()))?;
    let boot = Boot {
        hardware: &Hardware::default(),
        accelerator: Accelerator::Kvm,
        kernel,
        initramfs: None,
        disks: &[],
        command_line: "console=ttyS0 earlyprintk=serial,ttyS0 panic=-1",
        memory: vm::Memory::Own,
        directory: scratch.path().to_owned(),
        debugging: vm::Debugging::default(),
    };
    let (mut machine, mut channels) = match Machine::start(boot, namespace).await {
        Ok(started) => started,
        Err(VmError::NotStarted { said, .. }) => {
            let said = format!("QEMU ended before the machine started: {said}");
            return Err(Failure::of_qemu(said));
        }
        Err(error) => return Err(Failure::Host(format!("QEMU does not start: {error}"))),
    };
    let mut byte = [0];
    match tokio::time::timeout(PROBE_DEADLINE, channels.console.read(&mut byte)).await {
        Ok(Ok(1)) => {
            machine.kill().await;
            Ok(())
        }
        Ok(_) => Err(match machine.end().await {
            End::Failed { said } => Failure::of_qemu(format!("QEMU failed: {said}")),
            End::PoweredOff | End::Reset => {
                Failure::Guest("/dev/kvm opens, but a guest ends without a word".to_owned())
            }
        }),
        Err(_) => {
            machine.kill().await;
            let silent = "/dev/kvm opens, but a guest on it says nothing";
            Err(Failure::Guest(silent.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_moment_does_not_turn_kvm_off() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path()).unwrap();
        let of = |kernel: &str| Known::of(&store, b"QEMU 9", b"boot", kernel.as_ref()).unwrap();
        let now = SystemTime::now();
        let known = |kernel: &str| of(kernel).recall(now);
        // The host's moment is not remembered, and a silent guest's kernel alone.
        of("a").keep(Some(&Failure::of_qemu("cannot allocate memory".to_owned())));
        assert_eq!(known("a"), None);
        of("a").keep(Some(&Failure::Guest("silent".to_owned())));
        assert!(
            known("a")
                .unwrap()
                .unwrap_err()
                .starts_with("silent (tried before")
        );
        assert_eq!(known("b"), None);
        // What QEMU says of KVM holds for all, for a while.
        of("b").keep(Some(&Failure::of_qemu("KVM is not there".to_owned())));
        assert!(known("c").unwrap().is_err());
        assert_eq!(of("c").recall(now + DOUBT + DOUBT), None);
        of("c").keep(None);
        assert_eq!(of("a").recall(now + DOUBT + DOUBT), Some(Ok(())));
    }
}
