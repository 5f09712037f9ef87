//! Which accelerator runs guests here. `/dev/kvm` can exist, open and create a
//! machine and still never run a kernel, so `auto` boots one before trusting
//! it, and remembers the answer until the host reboots or QEMU changes.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use crate::context::Context;
use crate::event::Event;
use crate::process::{Command, Namespace};
use crate::store::{Key, Scratch, Store, write_json};
use crate::vm::{Acceleration, Accelerator, Boot, End, Hardware, Machine, Memory, QEMU, VmError};

/// A remembered probe.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// `None`: KVM works. Otherwise why it does not.
    failure: Option<String>,
}

/// How long a kernel may take to say its first word under KVM; it takes
/// milliseconds where KVM works.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

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
    let key = Key::of([&version, &boot]);
    let remembered = store
        .kind("accelerators")
        .ok()
        .map(|directory| directory.join(format!("{}.json", key.as_str())));
    if let Some(path) = &remembered
        && let Ok(text) = std::fs::read(path)
        && let Ok(known) = serde_json::from_slice::<Remembered>(&text)
    {
        return known.failure;
    }
    let failure = probe(kernel, namespace).await;
    if let Some(path) = remembered {
        // Not remembering costs the next run a probe, no more.
        drop(write_json(
            &path,
            &Remembered {
                failure: failure.clone(),
            },
        ));
    }
    failure
}

/// Boots the kernel without an initramfs and waits for its first byte.
async fn probe(kernel: &Path, namespace: &Namespace) -> Option<String> {
    let scratch = match Scratch::new() {
        Ok(scratch) => scratch,
        Err(error) => return Some(error.to_string()),
    };
    let boot = Boot {
        hardware: &Hardware::default(),
        accelerator: Accelerator::Kvm,
        kernel,
        initramfs: None,
        disks: &[],
        command_line: "console=ttyS0 earlyprintk=serial,ttyS0 panic=-1",
        memory: Memory::Own,
        directory: scratch.path().to_owned(),
        debugging: crate::vm::Debugging::default(),
    };
    let (mut machine, mut channels) = match Machine::start(boot, namespace).await {
        Ok(started) => started,
        Err(error) => return Some(format!("/dev/kvm opens, but {error}")),
    };
    let mut byte = [0];
    match tokio::time::timeout(PROBE_DEADLINE, channels.console.read(&mut byte)).await {
        Ok(Ok(1)) => {
            machine.kill().await;
            None
        }
        Ok(_) => Some(match machine.end().await {
            End::Failed { said } => format!("/dev/kvm opens, but QEMU failed: {said}"),
            End::PoweredOff | End::Reset => {
                "/dev/kvm opens, but a guest ends without a word".to_owned()
            }
        }),
        Err(_) => {
            machine.kill().await;
            Some("/dev/kvm opens, but a guest on it says nothing".to_owned())
        }
    }
}
