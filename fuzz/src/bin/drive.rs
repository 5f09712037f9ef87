//! The fuzzer's checks without a fuzzer: lines of the project's fixtures,
//! shuffled, cut and garbled, in every container.
//!
//! `cargo run --release --no-default-features --bin drive -- 1000000` in `fuzz/`;
//! a second number is the seed.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Bytes of a log that is tried: enough for a report.
const LONGEST: usize = 4096;

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().unwrap_or_default().parse()?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse::<u64>())?;
    let mut random = Random(seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let logs = fixtures()?;
    let containers = u64::from(kvet_fuzz::CONTAINERS);
    for number in 0..count {
        let log = garbled(&logs, &mut random);
        let container = u8::try_from(number % containers)?;
        let packed = kvet_fuzz::pack(container, &log);
        let cut = u16::try_from(random.below(packed.len().min(usize::from(u16::MAX))))?;
        kvet_fuzz::check(cut, &packed);
    }
    println!("{count} executions");
    Ok(())
}

fn fixtures() -> Result<Vec<Vec<Vec<u8>>>, Box<dyn Error>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let mut logs = Vec::new();
    for directory in ["detect", "shapes"] {
        for entry in fs::read_dir(tests.join(directory))? {
            let text = fs::read(entry?.path())?;
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            logs.push(lines.map(<[u8]>::to_vec).collect());
        }
    }
    Ok(logs)
}

/// Some lines of a log, most of them in their order, some bytes of them other
/// ones.
fn garbled(logs: &[Vec<Vec<u8>>], random: &mut Random) -> Vec<u8> {
    let mut log = Vec::new();
    let mut lines = &logs[random.below(logs.len())];
    let mut at = random.below(lines.len());
    while log.len() < LONGEST && at < lines.len() {
        match random.below(24) {
            0 => at = random.below(lines.len()),
            1 => {
                lines = &logs[random.below(logs.len())];
                at = random.below(lines.len());
            }
            2 => log.truncate(log.len().saturating_sub(random.below(40))),
            3 => log.extend([b'\r', 0xc2, 0xa0, 0x1b, b'[', 0xff][random.below(6)..].iter()),
            4 if random.below(4) == 0 => break,
            _ => {
                log.extend_from_slice(&lines[at]);
                at += 1;
            }
        }
    }
    for _ in 0..random.below(6) {
        let place = random.below(log.len());
        if let Some(byte) = log.get_mut(place) {
            *byte = random.next().to_le_bytes()[0];
        }
    }
    log
}
