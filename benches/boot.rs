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
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvet::context::Context;
use kvet::record::Journal;
use kvet::rootfs::cpio::{Archive, Node};
use kvet::rootfs::{self, Recipe};
use kvet::store::{Scratch, Store};
use kvet::testbed::{Happening, Start, Testbed};
use kvet::vm::{Accelerator, Debugging, Hardware};
use tokio::sync::Notify;

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
    let agent = Path::new(env!("CARGO_BIN_EXE_kvet-agent"));
    let rootfs = rootfs::build_with(&context, &store, &recipe, agent)
        .await
        .unwrap();
    let raw = scratch.join("raw.cpio");
    std::fs::write(&raw, one_line_image()).unwrap();
    let ours_on = Testbed::bare(rootfs.path.clone(), Accelerator::Tcg);
    let theirs_on = Testbed::bare(raw, Accelerator::Tcg);
    let (ours_on, theirs_on) = (ours_on.await.unwrap(), theirs_on.await.unwrap());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(boot(&kernel, &theirs_on, Until::Line).await);
        ours.push(boot(&kernel, &ours_on, Until::Ready).await);
    }
    ours_on.close().await;
    theirs_on.close().await;
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

async fn boot(kernel: &Path, testbed: &Testbed, until: Until) -> Duration {
    let start = Start::Boot {
        kernel,
        hardware: &Hardware::default(),
        words: "",
        disks: &[],
        debugging: Debugging::default(),
    };
    let context = Context::default();
    let welcome = testbed.welcome(&context, "bench", 0);
    let line = Arc::new(Notify::new());
    let seen = Arc::clone(&line);
    let mut said = Vec::new();
    let tap = Box::new(move |bytes: &[u8]| {
        said.extend_from_slice(bytes);
        if said
            .windows(LINE.len() - 1)
            .any(|part| part == &LINE[..LINE.len() - 1])
        {
            seen.notify_one();
        }
    });
    let began = Instant::now();
    let started = testbed.start(start, welcome, Journal::nowhere(), &[], Some(tap));
    let mut guest = started.await.unwrap();
    let deadline = guest.within(Duration::from_secs(60));
    loop {
        match (guest.next(deadline, line.notified()).await.unwrap(), &until) {
            (Happening::Aside(()), Until::Line) | (Happening::Ready(_), Until::Ready) => break,
            (Happening::Ended(end), _) => panic!("the guest ended: {end:?}"),
            (Happening::Deadline, _) => panic!("the guest does not come up"),
            _ => {}
        }
    }
    let elapsed = began.elapsed();
    guest.kill().await;
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
