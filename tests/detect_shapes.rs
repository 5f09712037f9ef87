//! Every shape of report that the table knows, with every kind of prefix that
//! captures put in front of a kernel's words. `fixtures/shapes/` is written by
//! hand after the kernel's sources, from 4.x to 7.x: only messages, since the
//! prefixes are put in front here.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

use std::fmt::Write;

use kvet::detect::{Finding, scan};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    name: String,
    /// The class; `none` for a log without findings.
    class: String,
    #[serde(default)]
    title: Option<String>,
    /// Another title that is as good.
    #[serde(default)]
    alt: Option<String>,
    /// Whom the task waits for.
    #[serde(default)]
    waits_for: Option<Vec<String>>,
    /// Already has its prefixes, or has none by nature.
    #[serde(default)]
    bare: bool,
    log: String,
}

/// Puts a prefix before message `index`, counted in microseconds.
type Prefix = fn(usize) -> String;

const PREFIXES: &[(&str, Prefix)] = &[
    ("no stamps", |_| String::new()),
    ("stamps", |at| format!("[   12.{at:06}] ")),
    ("callers", |at| format!("[   12.{at:06}][  T321] ")),
    ("callers apart", |at| format!("[   12.{at:06}] [   C1] ")),
    ("levels", |at| format!("<4>[   12.{at:06}] ")),
    ("syslog", |at| {
        format!("Nov 22 14:00:00 host kernel: [   12.{at:06}] ")
    }),
    ("journal", |_| "Nov 22 14:00:00 host kernel: ".to_owned()),
    ("ISO journal", |at| {
        format!("2026-11-22T14:00:00.{at:06}+00:00 host kernel: ")
    }),
    ("dmesg -x", |at| format!("kern  :err   : [   12.{at:06}] ")),
    ("dmesg -e", |at| format!("[  +0.{at:06}] ")),
    ("kmsg", |at| format!("4,{at},12{at:06},-,caller=T321;")),
    ("journal since boot", |at| {
        format!("[   12.{at:06}] host kernel: ")
    }),
    ("mail", |_| ">> ".to_owned()),
    ("stamps cut short", |at| {
        format!("[   12.{:03}] ", at % 1000)
    }),
    ("a process of the kernel's", |_| {
        "Nov 22 14:00:00 host kernel[0]: ".to_owned()
    }),
    ("RFC 5424", |at| {
        format!("<4>1 2026-11-22T14:00:00.{at:06}Z host kernel - - - ")
    }),
    ("dmesg -T", |_| "[Sun Nov 22 14:00:00 2026] ".to_owned()),
    ("container engine", |_| {
        "2026-11-22T14:00:00.364515789Z stdout F ".to_owned()
    }),
    ("job runner", |_| {
        "2026-11-22T14:00:00.364515Z 01O ".to_owned()
    }),
    ("job and step", |_| {
        "test\tRun it\t2026-11-22T14:00:00.3645157Z ".to_owned()
    }),
    ("test harness", |_| "# ".to_owned()),
    ("no space after the source", |_| {
        "Nov 22 14:00:00 host kernel:".to_owned()
    }),
    ("phone", |_| {
        "11-22 14:00:00.364     0     0 W kernel  : ".to_owned()
    }),
    ("phone with processor and task", |_| {
        "11-22 14:00:00.364     1     1 W         : (7)[1:swapper/0]".to_owned()
    }),
    ("processor and task", |at| {
        format!("<4>[   12.{at:06}]  [2:      swapper/0:    1] ")
    }),
    ("processor, task and a letter", |at| {
        format!("<4>[   12.{at:06}] I[2:      swapper/0:    1] ")
    }),
    ("hypervisor", |_| "(XEN) ".to_owned()),
    ("collector", |_| {
        "10.5.0.2: kern: warning: [2026-11-22T14:00:00.364515789Z]: ".to_owned()
    }),
    ("numbered", |at| format!("{:6}\t", at + 864)),
    ("netconsole behind syslog", |at| {
        format!("Nov 22 14:00:00 192.168.0.5 4,{at},12{at:06},-;")
    }),
    ("stamps without a fraction", |_| "[   12.] ".to_owned()),
    ("spaces from a browser", |at| {
        format!("[\u{a0} \u{a0}12.{at:06}] ")
    }),
    ("colours", |at| {
        format!("\u{1b}[32m[   12.{at:06}] \u{1b}[0m\u{1b}[31m")
    }),
];

const SHAPES: &[&str] = &[
    include_str!("fixtures/shapes/hangs.yaml"),
    include_str!("fixtures/shapes/bugs.yaml"),
    include_str!("fixtures/shapes/faults.yaml"),
    include_str!("fixtures/shapes/panics.yaml"),
    include_str!("fixtures/shapes/locks.yaml"),
    include_str!("fixtures/shapes/sanitizers.yaml"),
    include_str!("fixtures/shapes/memory.yaml"),
    include_str!("fixtures/shapes/nothing.yaml"),
    include_str!("fixtures/shapes/older.yaml"),
    include_str!("fixtures/shapes/others.yaml"),
];

fn shapes() -> Vec<Shape> {
    let lists = SHAPES
        .iter()
        .map(|text| serde_yaml::from_str::<Vec<Shape>>(text).unwrap());
    lists.flatten().collect()
}

/// What is wrong with what was found; `None` if it is as expected.
fn wrong(shape: &Shape, findings: &[Finding]) -> Option<String> {
    let Some(title) = &shape.title else {
        return (!findings.is_empty()).then(|| format!("found {}", findings[0].title));
    };
    let Some(first) = findings.first() else {
        return Some("found nothing".to_owned());
    };
    let named = first.title == *title || shape.alt.as_ref() == Some(&first.title);
    let waits = shape
        .waits_for
        .as_ref()
        .is_none_or(|wanted| *wanted == first.waits_for);
    let right = named
        && waits
        && findings.len() == 1
        && !first.damaged
        && first.class.name() == shape.class;
    (!right).then(|| {
        let titles: Vec<&str> = findings.iter().map(|found| &*found.title).collect();
        format!(
            "found {titles:?}, class {}, damaged {}, waits for {:?}",
            first.class, first.damaged, first.waits_for
        )
    })
}

#[test]
fn each_shape_is_named_behind_every_prefix() {
    let mut failures = String::new();
    for shape in shapes() {
        let prefixes = if shape.bare { &PREFIXES[..1] } else { PREFIXES };
        for (kind, prefix) in prefixes {
            for end in ["\n", "\r\n"] {
                let mut log = String::new();
                for (at, line) in shape.log.lines().enumerate() {
                    write!(log, "{}{line}{end}", prefix(at)).unwrap();
                }
                if let Some(what) = wrong(&shape, &scan(log.as_bytes())) {
                    writeln!(failures, "{} ({kind}): {what}", shape.name).unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// What nobody told us of is a prefix all the same if the lines that follow have
/// it too.
#[test]
fn shapes_with_a_stack_are_named_behind_prefixes_that_are_not_known() {
    let unknown: &[(&str, Prefix)] = &[
        ("diff", |_| "+".to_owned()),
        ("broken bar", |_| "\u{a6}".to_owned()),
        ("machine", |at| format!("vm-3 {at:>4} ¦ ")),
        ("grep -n", |at| format!("{}:", at + 95)),
        ("lab", |at| format!("console/7: {at}.{at}s: ")),
    ];
    let mut failures = String::new();
    let mut tried = 0;
    for shape in shapes() {
        let stack = shape.log.to_lowercase().contains("call trace");
        // Here the name of a task comes first, which may be anything.
        let named = shape.log.contains(" invoked oom-killer");
        if shape.bare || shape.title.is_none() || !stack || named {
            continue;
        }
        tried += 1;
        for (kind, prefix) in unknown {
            let mut log = String::new();
            for (at, line) in shape.log.lines().enumerate() {
                writeln!(log, "{}{line}", prefix(at)).unwrap();
            }
            if let Some(what) = wrong(&shape, &scan(log.as_bytes())) {
                writeln!(failures, "{} ({kind}): {what}", shape.name).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(tried > 50, "{tried}");
}

/// Where caller ids tell two contexts apart, neither report changes, whichever
/// lines of the one come between those of the other.
#[test]
fn shapes_that_are_interleaved_keep_their_names() {
    let shapes: Vec<Shape> = shapes()
        .into_iter()
        .filter(|shape| shape.title.is_some() && !shape.bare)
        // Panics and answers of other CPUs belong to whatever came before.
        .filter(|shape| !shape.log.contains("Kernel panic") && !shape.log.contains("NMI"))
        .collect();
    assert!(shapes.len() > 50, "{}", shapes.len());
    let mut failures = String::new();
    for pair in shapes.windows(2) {
        let [one, two] = pair else { continue };
        let (mut left, mut right) = (one.log.lines(), two.log.lines());
        let mut log = String::new();
        let mut at = 0;
        loop {
            let (a, b) = (left.next(), right.next());
            if a.is_none() && b.is_none() {
                break;
            }
            for (line, caller) in [(a, "  T321"), (b, "  T654")] {
                if let Some(line) = line {
                    writeln!(log, "[   12.{at:06}][{caller}] {line}").unwrap();
                    at += 1;
                }
            }
        }
        let titles: Vec<String> = scan(log.as_bytes())
            .into_iter()
            .map(|found| found.title)
            .collect();
        for shape in [one, two] {
            let names = [&shape.title, &shape.alt];
            let mut names = names.into_iter().flatten();
            if !names.any(|name| titles.contains(name)) {
                writeln!(failures, "{} in {titles:?}", shape.name).unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// A report of which the log holds only the beginning is damaged or still has
/// its name: never another one.
#[test]
fn a_cut_shape_is_never_silently_mistitled() {
    let mut failures = String::new();
    for shape in shapes() {
        let Some(title) = &shape.title else { continue };
        let count = shape.log.lines().count();
        for kept in 1..count {
            let log: String = shape
                .log
                .lines()
                .take(kept)
                .fold(String::new(), |log, line| log + line + "\n");
            for found in scan(log.as_bytes()) {
                let same = found.title == *title || shape.alt.as_ref() == Some(&found.title);
                if !same && !found.damaged {
                    writeln!(failures, "{} cut at {kept}: {}", shape.name, found.title).unwrap();
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}
