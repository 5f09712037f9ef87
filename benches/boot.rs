//! Boot to the agent's first word, against QEMU with the same kernel and an
//! init of 60 bytes that writes one line: medians of interleaved boots.
//!
//!     KVET_TEST_KERNEL=…/bzImage cargo bench --bench boot
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops when it cannot go on"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kvet::context::Context;
use kvet::guest::link::Link;
use kvet::process::Namespace;
use kvet::rootfs::cpio::{Archive, Node};
use kvet::rootfs::{self, Recipe};
use kvet::store::{Scratch, Store};
use kvet::vm::{Accelerator, Boot, Channels, Hardware, Machine};
use tokio::io::AsyncReadExt;

/// Boots of each kind.
const ROUNDS: usize = 7;

const LINE: &[u8] = b"one line\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(kernel) = std::env::var_os("KVET_TEST_KERNEL").map(PathBuf::from) else {
        println!("KVET_TEST_KERNEL names no bzImage: nothing to measure");
        return;
    };
    let context = Context::default();
    let scratch = Scratch::new().unwrap();
    let store = Store::at(scratch.join("store")).unwrap();
    let recipe = Recipe::find("kvet", Path::new(".")).unwrap();
    let agent = Path::new(env!("CARGO_BIN_EXE_kvet"));
    let rootfs = rootfs::build_with(&context, &store, &recipe, agent)
        .await
        .unwrap();
    let raw = scratch.join("raw.cpio");
    std::fs::write(&raw, one_line_image()).unwrap();
    let namespace = Namespace::create(kvet::run::CLUSTER_ADDRESS).await.unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(boot(&kernel, &raw, &namespace, Until::Line).await);
        ours.push(boot(&kernel, &rootfs.path, &namespace, Until::Ready).await);
    }
    namespace.close().await;
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "boot to ready {ours:.2?}, raw QEMU to one line {theirs:.2?}: ratio {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

enum Until {
    Line,
    Ready,
}

async fn boot(kernel: &Path, image: &Path, namespace: &Namespace, until: Until) -> Duration {
    let scratch = Scratch::new().unwrap();
    let hardware = Hardware::default();
    let boot = Boot {
        hardware: &hardware,
        accelerator: Accelerator::Tcg,
        kernel,
        initramfs: Some(image),
        command_line: kvet::run::COMMAND_LINE,
        directory: scratch.path().to_owned(),
    };
    let began = Instant::now();
    let (mut machine, channels) = Machine::start(boot, namespace).await.unwrap();
    let Channels { mut console, agent } = channels;
    let mut said = Vec::new();
    let mut link = Link::open(agent);
    match until {
        Until::Line => {
            while !said
                .windows(LINE.len() - 1)
                .any(|part| part == &LINE[..LINE.len() - 1])
            {
                assert!(console.read_buf(&mut said).await.unwrap() > 0);
            }
        }
        Until::Ready => tokio::select! {
            ready = link.ready() => { ready.unwrap(); }
            () = async { while console.read_buf(&mut said).await.unwrap() > 0 {} } => {
                panic!("the guest ended")
            }
        },
    }
    let elapsed = began.elapsed();
    machine.kill().await;
    elapsed
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// An initramfs whose init writes the line to the console and pauses.
fn one_line_image() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let code: &[u8] = &[
        0xb8, 1, 0, 0, 0, // mov eax, write
        0xbf, 1, 0, 0, 0, // mov edi, standard output
        0x48, 0x8d, 0x35, 16, 0, 0, 0, // lea rsi, the text after the code
        0xba, 9, 0, 0, 0, // mov edx, its length
        0x0f, 0x05, // syscall
        0xb8, 34, 0, 0, 0, // mov eax, pause
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // and again
    ];
    let size = HEADERS + (code.len() + LINE.len()) as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend_from_slice(code);
    elf.extend_from_slice(LINE);
    let mut archive = Archive::new(Vec::new());
    archive
        .file("init", &Node::Program, elf.len() as u64, elf.as_slice())
        .unwrap();
    archive.finish().unwrap()
}
