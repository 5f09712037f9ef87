//! The fuzzers' checks without a fuzzer: lines of the project's own fixtures,
//! messages, jobs and records, shuffled, cut and garbled.
//!
//! `cargo run --release --no-default-features --bin drive -- scan 1000000` in
//! `fuzz/`; `link`, `job` and `record` in the place of `scan`; another number is
//! the seed.

use std::error::Error;
use std::fs;
use std::path::Path;

use kvet_fuzz::{job, link, record, scan};

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

/// A text in lines.
type Lines = Vec<Vec<u8>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count: u64 = arguments.next().unwrap_or_default().parse()?;
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse::<u64>())?;
    let mut random = Random(seed.max(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    match what.as_str() {
        "scan" => scans(count, &mut random)?,
        "link" => links(count, &mut random),
        "job" => jobs(count, &mut random)?,
        "record" => records(count, &mut random)?,
        _ => return Err("one of scan, link, job, record is wanted".into()),
    }
    println!("{count} of {what}");
    Ok(())
}

fn scans(count: u64, random: &mut Random) -> Result<(), Box<dyn Error>> {
    let logs = texts(&["tests/fixtures/detect", "tests/fixtures/shapes"])?;
    let containers = u64::from(scan::CONTAINERS);
    for number in 0..count {
        let log = garbled(&logs, random);
        let container = u8::try_from(number % containers)?;
        let packed = scan::pack(container, &log);
        let cut = u16::try_from(random.below(packed.len().min(usize::from(u16::MAX))))?;
        scan::check(cut, &packed);
    }
    Ok(())
}

/// Messages of each kind that a guest may send, one a line.
const MESSAGES: &str = include_str!("messages.jsonl");

/// `count` is that of the messages, not of the guests.
fn links(count: u64, random: &mut Random) {
    let messages = [lines(MESSAGES.as_bytes())];
    let runtime = link::runtime();
    let mut received = 0;
    while received < count {
        let sent = garbled(&messages, random);
        let cut = random.below(sent.len());
        received += link::check(&runtime, cut, &sent) as u64;
    }
}

fn jobs(count: u64, random: &mut Random) -> Result<(), Box<dyn Error>> {
    let jobs = texts(&["jobs", "tests/jobs"])?;
    let directory = tempfile::tempdir()?;
    for _ in 0..count {
        job::check(directory.path(), &garbled(&jobs, random));
    }
    Ok(())
}

fn records(count: u64, random: &mut Random) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let kept = record::Kept::copied(&record::fixture(), directory.path());
    // A JSON file of one line is cut between its values.
    let pieces = |content: &[u8]| -> Lines {
        let cut = content.split_inclusive(|byte| b"\n,:".contains(byte));
        cut.map(<[u8]>::to_vec).collect()
    };
    let files: Vec<Lines> = (0..kept.len()).map(|n| pieces(kept.content(n))).collect();
    for _ in 0..count {
        let number = random.below(files.len());
        if !files[number].is_empty() {
            let content = garbled(&files[number..=number], random);
            kept.check(number, &content);
        }
    }
    Ok(())
}

fn lines(text: &[u8]) -> Lines {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

/// The files of the project's directories.
fn texts(directories: &[&str]) -> Result<Vec<Lines>, Box<dyn Error>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(project.join(directory))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                texts.push(lines(&fs::read(entry.path())?));
            }
        }
    }
    texts.retain(|lines| !lines.is_empty());
    Ok(texts)
}

/// Some lines of a log, most of them in their order, some bytes of them other
/// ones.
fn garbled(logs: &[Lines], random: &mut Random) -> Vec<u8> {
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
