//! Facts for the record of a run.

use std::time::Duration;

use crate::context::Context;
use crate::process::Command;
use crate::report::HostFacts;

/// Asks the host what it is. What cannot be learnt stays empty.
pub async fn facts(context: &Context) -> HostFacts {
    let uname = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let (qemu, ceph) = tokio::join!(
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
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        accelerator: String::new(),
        qemu,
        ceph,
        kvet: env!("CARGO_PKG_VERSION").to_owned(),
    }
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
