//! Reports for the tests of formats.

use std::collections::BTreeMap;

use super::model::{
    ArmReport, ColumnCoverage, Comparison, Coverage, KnownIn, KnownReport, Report, TrialReport,
    VERSION, WorkloadReport,
};
use crate::detect::{Class, Finding, Frame, Mute};
use crate::host::HostFacts;
use crate::job::Rules;
use crate::outcome::Outcome;
use crate::record::{Broken, KernelFacts};
use crate::verdict::{ArmResult, Armed, Judged, judge};

/// A finding with a stack.
pub(crate) fn finding(title: &str) -> Finding {
    let frame = |function: &str, offset, size, reliable, place: Option<&str>| Frame {
        function: function.to_owned(),
        offset: Some(offset),
        size: Some(size),
        reliable,
        place: place.map(str::to_owned),
        ..Frame::default()
    };
    Finding {
        class: Class::HungTask,
        title: title.to_owned(),
        alternatives: Vec::new(),
        signature: format!("hung_task:{title}"),
        damaged: false,
        first_line: 3,
        last_line: 7,
        frames: vec![
            frame(
                "inode_wait_for_writeback",
                95,
                160,
                true,
                Some("fs/fs-writeback.c:1541"),
            ),
            frame("add_wait_queue_priority", 112, 112, false, None),
            frame("evict", 194, 560, true, None),
        ],
        task: Some("kworker/u10:1".to_owned()),
        pid: Some(33),
        cpu: None,
        time: Some(6.5),
        clock: None,
        workqueue: None,
        tainted: None,
        kernel: None,
        instruction: None,
        locks: Vec::new(),
        waits_for: Vec::new(),
        panic: None,
    }
}

/// A trial that came to this; with a title, its kernel said so.
pub(crate) fn trial(number: u32, outcome: Outcome, reason: &str) -> TrialReport {
    let findings = match outcome {
        Outcome::Target | Outcome::Other => vec![finding(reason)],
        _ => Vec::new(),
    };
    TrialReport {
        workload: "example".to_owned(),
        number,
        attempts: 1,
        judged: Judged {
            outcome,
            reason: reason.to_owned(),
            known: Vec::new(),
            boot: None,
            others: Vec::new(),
        },
        findings,
        seconds: 8.25,
        counters: BTreeMap::from([("operations".to_owned(), 7)]),
        directory: format!("arms/x/trials/example/{number}/1"),
        host: None,
        failed_on: Vec::new(),
        alone: false,
        memory: None,
    }
}

pub(crate) fn arm(name: &str, control: bool, trials: Vec<TrialReport>) -> ArmReport {
    ArmReport {
        name: name.to_owned(),
        control,
        target: "hang".to_owned(),
        workloads: vec!["example".to_owned()],
        armed: Armed::Config,
        planned: u32::try_from(trials.len()).unwrap(),
        kernel: Some(KernelFacts {
            release: "7.3.4".to_owned(),
            origin: "linux-source-7.3 7.3.4-1".to_owned(),
            key: "a1efcae93adb".to_owned(),
            cached: true,
            patches: vec![("0001-iput.patch".to_owned(), "0123456789abcdef".repeat(4))],
            left_out: Vec::new(),
        }),
        configuration: vec!["base.config".to_owned(), "ceph.config".to_owned()],
        trials,
        ..ArmReport::default()
    }
}

/// A report of these arms; judged as a run's is.
pub(crate) fn of(arms: Vec<ArmReport>) -> Report {
    let results: Vec<ArmResult> = arms.iter().map(ArmReport::result).collect();
    Report {
        version: VERSION,
        job: "example".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        seconds: 61.5,
        verdict: judge(&results, &Rules::default()),
        workloads: vec![WorkloadReport {
            name: "example".to_owned(),
            about: "Leaves a client with a dirty folio and nothing else.\n".to_owned(),
            steps: vec!["mount a".to_owned(), "evict_client a".to_owned()],
            by_hand: Vec::new(),
        }],
        comparison: vec![Comparison {
            name: "operations/s".to_owned(),
            values: arms.iter().map(|_| Some(123.4)).collect(),
            samples: arms.iter().map(|_| vec![120.0, 123.4, 130.0]).collect(),
        }],
        coverage: vec![Coverage {
            arm: "fixed".to_owned(),
            table: "sites".to_owned(),
            moved: vec!["a".to_owned()],
            still: vec!["b".to_owned()],
            reached: Some("deferred".to_owned()),
            columns: vec![
                ColumnCoverage {
                    name: "deferred".to_owned(),
                    moved: 0,
                    still: vec!["a".to_owned(), "b".to_owned()],
                },
                ColumnCoverage {
                    name: "direct".to_owned(),
                    moved: 1,
                    still: vec!["b".to_owned()],
                },
            ],
        }],
        arms,
        known: Vec::new(),
        host: HostFacts {
            kernel: "Linux 6.1.0 x86_64".to_owned(),
            processor: "Some CPU".to_owned(),
            cpus: 2,
            accelerator: "tcg".to_owned(),
            qemu: "QEMU emulator version 7.2.22".to_owned(),
            service: "ceph version 16.2.15".to_owned(),
            kvet: "0.1.0".to_owned(),
        },
        hosts: Vec::new(),
        deviations: Vec::new(),
    }
}

/// Fixed, though one trial of the control stayed clean.
pub(crate) fn report() -> Report {
    let hung = "INFO: task hung in evict";
    let clean = |number| trial(number, Outcome::Clean, "");
    let mut report = of(vec![
        arm(
            "stock",
            true,
            vec![
                trial(1, Outcome::Target, hung),
                clean(2),
                trial(3, Outcome::Target, hung),
            ],
        ),
        arm("fixed", false, vec![clean(1), clean(2), clean(3)]),
    ]);
    report.verdict.kind = crate::outcome::VerdictKind::Fixed;
    report
}

/// Fixed, with a known finding in a trial of the fix, and an entry that has
/// expired.
pub(crate) fn known() -> Report {
    let hung = "INFO: task hung in evict";
    let mut fixed = arm(
        "fixed",
        false,
        (1..4).map(|n| trial(n, Outcome::Clean, "")).collect(),
    );
    fixed.trials[1].findings = vec![finding("WARNING in f")];
    fixed.trials[1].judged.known = vec!["WARNING in f".to_owned()];
    let stock = (1..4).map(|n| trial(n, Outcome::Target, hung)).collect();
    let mut report = of(vec![arm("stock", true, stock), fixed]);
    let mutes: Vec<Mute> = serde_yaml::from_str(
        "[{ title: 'WARNING in *', reason: it is old, link: 'https://tracker.example.org/1' },
          { title: BUG in g, reason: slow, expires: 2026-01-01 }]",
    )
    .unwrap();
    let at = ["known.yaml:1", "known.yaml:4"].map(str::to_owned);
    let day = jiff::civil::date(2026, 1, 2);
    let rules = Rules::default();
    report.known = super::known::known(&mutes, &at, day, &report.arms, None, &rules);
    report
}

/// Every outcome, an arm without a kernel, one that was cut short, and titles
/// that want to be markup, commands and other formats' words.
pub(crate) fn hostile() -> Report {
    let evil = "<script>alert(1)</script> @here #1 `x` \x1b[2J\u{202e}]]> & \"q\" # SKIP \0 \
                Kernel panic - not syncing: VFS: Subtest: KTAP version 1";
    let mut short = arm("short", false, vec![trial(1, Outcome::Other, evil)]);
    short.planned = 4;
    let mut broken = arm("broken", false, Vec::new());
    broken.kernel = None;
    broken.planned = 2;
    broken.broken = Some(Broken {
        message: format!("it does not compile: {evil}"),
        help: None,
    });
    let mut report = of(vec![
        arm(
            "stock",
            true,
            vec![
                trial(1, Outcome::Clean, ""),
                trial(2, Outcome::Harness, evil),
            ],
        ),
        arm(
            "patched",
            false,
            vec![
                trial(1, Outcome::Clean, ""),
                trial(2, Outcome::Other, evil),
                trial(3, Outcome::Other, "WARNING in other"),
                trial(4, Outcome::Workload, evil),
                trial(5, Outcome::Timeout, evil),
                trial(6, Outcome::Unarmed, evil),
                trial(7, Outcome::Target, evil),
            ],
        ),
        short,
        broken,
        arm("idle", false, Vec::new()),
    ]);
    report.workloads[0].about = evil.to_owned();
    report.arms[1].trials[1].workload = evil.to_owned();
    report.arms[1].name = evil.to_owned();
    report.host.qemu = evil.to_owned();
    report.coverage[0].still = vec![evil.to_owned()];
    report.coverage[0].columns[0].name = evil.to_owned();
    report.coverage[0].columns[0].still = vec![evil.to_owned(), "a".to_owned()];
    report.coverage[0].reached = Some(evil.to_owned());
    report
}

/// Many trials, each with findings of its own and long stacks.
pub(crate) fn large() -> Report {
    let trials = (1..=2000).map(|number| {
        let mut trial = trial(number, Outcome::Other, &format!("WARNING in f{number}"));
        let frame = trial.findings[0].frames[0].clone();
        trial.findings[0].frames = vec![frame; 200];
        trial
    });
    of(vec![
        arm("stock", true, Vec::new()),
        arm("fixed", false, trials.collect()),
    ])
}

/// What was known before and was seen under these titles.
pub(crate) fn seen_before(titles: &[&str]) -> KnownReport {
    KnownReport {
        title: Some("*".to_owned()),
        signature: None,
        reason: "harmless".to_owned(),
        link: None,
        since: None,
        until: None,
        expires: None,
        at: "known.yaml:1".to_owned(),
        expired: false,
        seen: vec![KnownIn {
            arm: "fixed".to_owned(),
            hits: 1,
            trials: 3,
            titles: titles.iter().map(|title| (*title).to_owned()).collect(),
        }],
        gone_for: None,
    }
}
