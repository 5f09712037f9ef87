//! What a bundle's reader needs to know, with tools that kernel developers have.

use std::fmt::Write;

use super::Manifest;
use crate::kernel::BuildRecord;
use crate::printable::printable;
use crate::report::{ArmReport, TrialReport, stack};

/// The commands that made the trial, from the run's own log.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// QEMU's.
    pub(super) qemu: String,
    /// Those of the service's daemons, in order.
    pub(super) service: Vec<String>,
}

/// Frames of a stack that are shown.
const FRAMES: usize = 30;

/// `repro.sh`: the same for every bundle.
pub(super) fn script() -> &'static str {
    include_str!("repro.sh")
}

/// `README.md`.
pub(super) fn readme(
    manifest: &Manifest,
    arm: &ArmReport,
    trial: &TrialReport,
    build: &BuildRecord,
    commands: &Commands,
    lost: &[String],
) -> String {
    let mut out = String::new();
    let id = &manifest.request.id;
    let _ = writeln!(out, "# {}\n", printable(&manifest.plan.name));
    let _ = writeln!(
        out,
        "One trial, to be carried out again: arm `{}`, workload `{}`, trial {} of the run of \
         {}. It ended as **{}**{}{}.\n",
        printable(&id.arm),
        printable(&id.workload),
        id.number,
        manifest.started,
        manifest.outcome.name(),
        if manifest.reason.is_empty() { "" } else { ": " },
        printable(&manifest.reason),
    );
    finding(&mut out, trial);
    how(&mut out, manifest);
    steps(&mut out, manifest);
    kernel(&mut out, manifest, arm, build, lost);
    machine(&mut out, manifest, commands);
    files(&mut out, manifest);
    out
}

fn finding(out: &mut String, trial: &TrialReport) {
    let mut findings = trial.findings.iter();
    let Some(found) = findings.find(|finding| finding.title == trial.judged.reason) else {
        return;
    };
    let _ = writeln!(out, "    {}", printable(&found.title));
    let stack = stack(found);
    for line in stack.iter().take(FRAMES) {
        let _ = writeln!(out, "      {line}");
    }
    if stack.len() > FRAMES {
        let _ = writeln!(out, "      [{} more]", stack.len() - FRAMES);
    }
    out.push('\n');
}

fn how(out: &mut String, manifest: &Manifest) {
    let needed = manifest.request.service.needed();
    let needed = needed.map_or_else(String::new, |needed| format!(", {needed}"));
    let _ = writeln!(
        out,
        "## See it again\n\n\
         \x20   ./repro.sh                     this kernel\n\
         \x20   ./repro.sh ~/linux             another: a built tree or a bzImage\n\
         \x20   ./repro.sh --trials 10 ~/linux\n\n\
         It needs x86-64, QEMU (`qemu-system-x86`){needed}, `unshare`, `nsenter` and `ip`; no \
         root where users may make namespaces. The cluster and the guest live in a namespace \
         without a network; nothing of them is left. What happened goes to \
         `kvet-repro-TIME` below the current directory (`--out` chooses another).\n\n\
         Exit status: 0 nothing was seen, 1 it was seen again, 125 that cannot be told. So this \
         finds the commit that brought it, in a kernel tree whose `.config` is \
         `kernel/config`:\n\n\
         \x20   git bisect run sh -c 'make -sj8 olddefconfig bzImage || exit 125; \
         THIS/repro.sh . --trials 3'\n\n\
         `host/` has the program that plays the host's side: it starts the cluster and QEMU, \
         tells the guest's agent (in `initramfs.cpio`, the same program) what to do, and reads \
         the console. It brings its loader and libraries along.\n"
    );
    if !manifest.same_image {
        let _ = writeln!(
            out,
            "The run was another kvet's: the initramfs was made again by the same recipe.\n"
        );
    }
}

fn steps(out: &mut String, manifest: &Manifest) {
    let workload = &manifest.request.workload;
    let _ = writeln!(
        out,
        "## What it does\n\n{}\n",
        printable(&workload.about.replace('\n', " "))
    );
    if !workload.sysctls.is_empty() {
        let set = workload.sysctls.iter();
        let set: Vec<String> = set.map(|(name, value)| format!("{name}={value}")).collect();
        let _ = writeln!(out, "Before: `sysctl {}`\n", printable(&set.join(" ")));
    }
    for (number, step) in (1..).zip(&workload.steps) {
        let _ = writeln!(out, "{number}. {}", printable(&step.label()));
    }
    let _ = writeln!(
        out,
        "\nSeed of random choices: {}.\n",
        manifest.request.id.seed()
    );
}

fn kernel(
    out: &mut String,
    manifest: &Manifest,
    arm: &ArmReport,
    build: &BuildRecord,
    lost: &[String],
) {
    let facts = &manifest.kernel;
    let _ = writeln!(
        out,
        "## Its kernel\n\n\
         Linux {}, from {}. Built with {}. Configuration: `kernel/config`{}.\n",
        printable(&facts.release),
        printable(&facts.origin),
        printable(&build.compiler),
        if arm.configuration.is_empty() {
            String::new()
        } else {
            format!(
                ", `allnoconfig` and {} (`kernel/fragments`)",
                printable(&arm.configuration.join(", "))
            )
        }
    );
    let patches = if facts.patches.is_empty() {
        ""
    } else {
        "    for p in THIS/kernel/patches/*; do patch -p1 -i \"$p\"; done\n"
    };
    let _ = writeln!(
        out,
        "To build it by hand, in that source:\n\n{patches}\
         \x20   cp THIS/kernel/config .config\n\
         \x20   make -j8 olddefconfig bzImage\n"
    );
    for (file, hash) in &facts.patches {
        let _ = writeln!(out, "- `{}` (SHA-256 {hash})", printable(file));
    }
    for file in lost {
        let _ = writeln!(
            out,
            "\nNot packed, because the file is no longer what was applied: `{}`",
            printable(file)
        );
    }
}

fn machine(out: &mut String, manifest: &Manifest, commands: &Commands) {
    let hardware = &manifest.request.hardware;
    let _ = writeln!(
        out,
        "\n## Machine and cluster\n\n{} CPUs, {} MiB. QEMU as it was started then:\n\n    {}\n",
        hardware.cpus,
        hardware.memory,
        printable(&commands.qemu)
    );
    let service = manifest.request.service.summary();
    let _ = writeln!(out, "Guests mount: {}.", printable(&service));
    if let Some(name) = manifest.request.service.configuration()
        && !commands.service.is_empty()
    {
        let _ = writeln!(
            out,
            "`seen/{name}` has no key; each cluster makes its own. The daemons:\n"
        );
        for command in &commands.service {
            let _ = writeln!(out, "    {}", printable(command));
        }
    }
}

fn files(out: &mut String, manifest: &Manifest) {
    let dump = if manifest.files.contains_key("seen/vmcore") {
        "- `seen/vmcore`: the guest's memory, for `drgn -c seen/vmcore -s kernel/vmlinux`. It has \
         the guest's key to a cluster that is gone, and all else that was in memory.\n"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "\n## Files\n\n\
         - `bundle.json`: the trial as data, with the SHA-256 of every other file\n\
         - `kernel/`: `bzImage`, `System.map`, `config`, patches in order, Kconfig fragments\n\
         - `seen/`: what there was to see then: `console.log`, `trial.json`, `journal.jsonl`\n\
         {dump}"
    );
}
