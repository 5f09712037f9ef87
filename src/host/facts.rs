//! Facts for the record of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::process::Command;

/// The machine a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HostFacts {
    /// `uname -srm`.
    pub kernel: String,
    /// The processor's model, as it calls itself.
    #[serde(default)]
    pub processor: String,
    /// Processors available to this process.
    pub cpus: usize,
    /// `kvm` or `tcg`, once known.
    pub accelerator: String,
    /// QEMU's version line.
    pub qemu: String,
    /// The version line of what guests mount.
    #[serde(alias = "ceph")]
    pub service: String,
    /// kvet's version.
    pub kvet: String,
}

/// Asks the host what it is. What cannot be learnt stays empty.
pub async fn facts(context: &Context) -> HostFacts {
    let uname = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let (qemu, service) = tokio::join!(
        version(context, "qemu-system-x86_64"),
        version(context, "ceph-mon"),
    );
    HostFacts {
        kernel: format!(
            "{} {} {}",
            word(uname.sysname()),
            word(uname.release()),
            word(uname.machine())
        ),
        processor: processor(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        accelerator: String::new(),
        qemu,
        service,
        kvet: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The model that `/proc/cpuinfo` names first.
fn processor(cpuinfo: &str) -> String {
    let model = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    };
    cpuinfo.lines().find_map(model).unwrap_or_default()
}

async fn version(context: &Context, program: &str) -> String {
    let asked = Command::new(program)
        .arg("--version")
        .deadline(Duration::from_secs(10))
        .run(&context.cancel)
        .await;
    asked
        .ok()
        .and_then(|finished| {
            let text = String::from_utf8_lossy(&finished.stdout).into_owned();
            text.lines().next().map(str::to_owned)
        })
        .unwrap_or_default()
}
