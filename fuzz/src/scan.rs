//! Logs, in every container that logs are kept in.

use std::fmt::Write;

use kvet::detect::{Finding, Scanner, Sighting, scan};

/// Scans a log whole and in two pieces: no panic, and the same findings.
///
/// # Panics
///
/// If they differ.
pub fn check(cut: u16, log: &[u8]) {
    let cut = usize::from(cut).min(log.len());
    let mut scanner = Scanner::new();
    let mut sightings = scanner.push(&log[..cut]);
    sightings.extend(scanner.push(&log[cut..]));
    sightings.extend(scanner.end());
    let findings: Vec<Finding> = sightings
        .into_iter()
        .filter_map(|sighting| match sighting {
            Sighting::Complete(finding) => Some(*finding),
            Sighting::Begun { .. } => None,
        })
        .collect();
    assert_eq!(findings, scan(log));
}

/// How many containers `pack` knows.
pub const CONTAINERS: u8 = 12;

/// Puts a log into one of the containers that logs are kept in.
#[must_use]
pub fn pack(container: u8, log: &[u8]) -> Vec<u8> {
    let lines = |line: &dyn Fn(&mut String, usize, &str)| {
        let text = String::from_utf8_lossy(log);
        let mut out = String::with_capacity(log.len() * 2);
        for (number, message) in text.lines().enumerate() {
            line(&mut out, number, message);
            out.push('\n');
        }
        out.into_bytes()
    };
    let prefixed = |prefix: &dyn Fn(usize) -> String| {
        lines(&|out, number, message| {
            let _ = write!(out, "{}{message}", prefix(number));
        })
    };
    match container % CONTAINERS {
        1 => lines(&|out, number, message| {
            let _ = write!(
                out,
                "{{\"MESSAGE\":{message:?},\"_TRANSPORT\":\"kernel\",\"__MONOTONIC_TIMESTAMP\":\"{number}000\"}}"
            );
        }),
        2 => lines(&|out, number, message| {
            let _ = write!(
                out,
                "      {{\n\"pri\": 4,\n\"time\": {number}.3,\n\"msg\": {message:?}\n      }},"
            );
        }),
        3 => lines(&|out, number, message| {
            let _ = write!(
                out,
                "Tue 2026-11-24 14:00:29.364515 CET [s=01;i=1;b=02;m={number:x};t=1;x=1]\n    MESSAGE={message}"
            );
        }),
        4 => prefixed(&|_| "2026-11-24T14:00:29.364515789Z stdout F ".to_owned()),
        5 => prefixed(&|_| "job\tstep\t2026-11-24T14:00:29.3645157Z ".to_owned()),
        6 => prefixed(&|_| "# ".to_owned()),
        7 => prefixed(&|number| format!("{:6}\t", number + 1)),
        8 => prefixed(&|_| "11-24 14:00:29.364     0     0 W kernel  : ".to_owned()),
        9 => prefixed(&|number| format!("host-7 | {number} | ")),
        10 => {
            let text = String::from_utf8_lossy(log);
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            units.flat_map(u16::to_le_bytes).collect()
        }
        // A mail program that breaks lines.
        11 => {
            let text = String::from_utf8_lossy(log);
            let mut out = String::with_capacity(log.len());
            let mut width = 0;
            for c in text.chars() {
                width = if c == '\n' { 0 } else { width + 1 };
                if c == ' ' && width > 60 {
                    out.push('\n');
                    width = 0;
                } else {
                    out.push(c);
                }
            }
            out.into_bytes()
        }
        _ => log.to_vec(),
    }
}
