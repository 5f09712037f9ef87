//! The loop of a trial against a scripted console and agent: no QEMU, and no
//! time goes by but what the script takes.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::guest::protocol::{
    FailureKind, GuestMessage, HostMessage, StepFailure, StepReport, StepResult, VERSION,
};
use crate::record::Line;
use crate::step::{CounterStep, PIECE};
use crate::testbed::scripted::{self, Script, ready};
use crate::trial_id::TrialId;
use crate::workload::Workload;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

const HANG: &str = "\
[    6.774538] INFO: task sync:33 blocked for more than 3 seconds.
[    6.774552] task:sync   state:D stack:0     pid:33    tgid:33    ppid:2
[    6.774725] Call Trace:
[    6.774730]  <TASK>
[    6.774734]  __schedule+0x2f8/0x6e0
[    6.774746]  inode_wait_for_writeback+0x5f/0xa0
[    6.774918]  </TASK>
";

fn request(steps: &str) -> Request {
    let workload = format!("{{ name: w, about: x, steps: {steps} }}");
    Request {
        id: TrialId {
            arm: "stock".to_owned(),
            workload: "w".to_owned(),
            number: 1,
        },
        attempt: 1,
        host: None,
        hostname: "trial-1-1".to_owned(),
        kernel: "/k".into(),
        release: "7.3.4".to_owned(),
        words: String::new(),
        hardware: crate::vm::Hardware::default(),
        image: "/i".into(),
        acceleration: crate::vm::Acceleration::Tcg,
        start: Startup::Boot,
        save: false,
        service: crate::service::ServiceSpec::None,
        workload: Workload::load("w", &workload).unwrap(),
        timeout: None,
        target: Some(serde_yaml::from_str("{ class: hung_task }").unwrap()),
        known: Vec::new(),
        patterns: Vec::new(),
        profile: Vec::new(),
        counters: Vec::new(),
        counted: Vec::new(),
        dump: false,
        day: jiff::civil::date(2026, 1, 2),
    }
}

struct Played {
    ending: Ending,
    heard: Heard,
    journal: Vec<Entry>,
}

/// Plays a script against the loop. What the loop leaves unanswered at its end
/// (a dump, the power-off) meets a script that is over.
async fn play(request: &Request, script: impl AsyncFnOnce(Script) -> Script) -> Played {
    play_with(request, std::future::pending(), script).await
}

async fn play_with(
    request: &Request,
    lost: impl Future<Output = String> + 'static,
    script: impl AsyncFnOnce(Script) -> Script,
) -> Played {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path()).unwrap();
    let (guest, theirs) = scripted::holding(journal, lost, request.dump).await;
    let context = Context::default();
    let pace = Pace::default();
    let attempt = Attempt::new(&context, request, directory.path(), guest, &pace);
    let (result, script) = tokio::join!(attempt.run(&Service::None), script(theirs));
    drop(script);
    let (ending, heard) = result.unwrap();
    let text = std::fs::read_to_string(directory.path().join("journal.jsonl")).unwrap();
    let line = |line: &str| serde_json::from_str::<Line>(line).unwrap().entry;
    Played {
        ending,
        heard,
        journal: text.lines().map(line).collect(),
    }
}

/// The steps that began and ended, as the journal tells them.
fn course(journal: &[Entry]) -> Vec<String> {
    let tell = |entry: &Entry| match entry {
        Entry::StepBegan { step, label, .. } => Some(format!("+{step} {label}")),
        Entry::StepEnded { step, result } => Some(format!("-{step} {result:?}")),
        Entry::Deadline { step } => Some(format!("late {step}")),
        Entry::Finding { title, .. } => Some(title.clone()),
        Entry::Service { what } => Some(what.clone()),
        _ => None,
    };
    journal.iter().filter_map(tell).collect()
}

/// Unmounts what is left, and powers off as it is asked to.
async fn power_off(script: &mut Script) {
    let step = script.begins().await;
    script.done(step).await;
    assert_eq!(script.told().await, HostMessage::PowerOff);
    script.end("guest-shutdown").await;
}

#[tokio::test(start_paused = true)]
async fn steps_of_guest_and_host_are_walked_in_order_and_told_in_the_journal() {
    let request = request("[{ guest: sync }, { host: { pause: 1s } }, { guest: sync }]");
    let played = play(&request, async |mut script| {
        script.kernel("[    0.1] Linux version 7.3.4\n").await;
        script.come_up().await;
        for expected in [0, 2] {
            assert_eq!(script.begins().await, expected);
            script.done(expected).await;
        }
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    assert_eq!(
        course(&played.journal),
        [
            "+0 sync",
            "-0 Done",
            "+1 pause",
            "-1 Done",
            "+2 sync",
            "-2 Done",
            "+3 umount_all",
            "-3 Done"
        ]
    );
    assert_eq!(played.heard.ready.unwrap().release, "7.3.4");
    assert!(matches!(
        played.journal.last(),
        Some(Entry::Ended(Ending::Finished))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_background_step_is_waited_for_whether_it_ends_early_or_late() {
    let steps = "[{ name: a, background: true, guest: sync }, { guest: sync }, { wait: a }]";
    for early in [true, false] {
        let played = play(&request(steps), async |mut script| {
            script.come_up().await;
            assert_eq!(script.begins().await, 0);
            assert_eq!(script.begins().await, 1);
            if early {
                script.done(0).await;
                // What is said twice has not ended twice.
                script.done(0).await;
                script.done(1).await;
            } else {
                script.done(1).await;
                script.done(0).await;
            }
            power_off(&mut script).await;
            script
        })
        .await;
        assert_eq!(played.ending, Ending::Finished, "early: {early}");
        let course = course(&played.journal);
        for step in 0..3 {
            let ended = format!("-{step} Done");
            let times = course.iter().filter(|told| **told == ended).count();
            assert_eq!(times, 1, "early: {early}: {course:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_background_step_can_be_waited_for_again() {
    let steps = "[{ name: a, background: true, guest: sync }, { wait: a }, { wait: a }]";
    let played = play(&request(steps), async |mut script| {
        script.come_up().await;
        let step = script.begins().await;
        script.done(step).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
}

/// The limits of the steps that were begun, in seconds.
fn limits(journal: &[Entry]) -> Vec<f64> {
    let limit = |entry: &Entry| match entry {
        Entry::StepBegan { limit, .. } => Some(*limit),
        _ => None,
    };
    journal.iter().filter_map(limit).collect()
}

#[tokio::test(start_paused = true)]
async fn a_wait_takes_as_long_as_it_says_itself() {
    let steps = "[{ name: a, background: true, timeout: 1m, guest: sync }, WAIT]";
    for (wait, seconds) in [("{ timeout: 5m, wait: a }", 300.0), ("{ wait: a }", 60.0)] {
        let request = request(&steps.replace("WAIT", wait));
        let played = play(&request, async |mut script| {
            for _ in 0..3 {
                script.control(&serde_json::json!({"return": {}})).await;
            }
            script.come_up().await;
            script.begins().await;
            assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
            script
        })
        .await;
        let late = played.ending
            == Ending::Deadline {
                step: "a".to_owned(),
            };
        assert!(late, "{wait}: {:?}", played.ending);
        // The deadline is made of the same.
        let limit = limits(&played.journal)[1];
        assert!((limit - seconds).abs() < 0.1, "{wait}: {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_allowed_is_as_good_as_done_and_another_one_is_not() {
    let steps = "[{ allow: [EIO], guest: sync }]";
    let failure = |errno: &str| StepFailure {
        kind: FailureKind::Syscall,
        errno: Some(errno.to_owned()),
        message: format!("sync: {errno}"),
    };
    for errno in ["EIO", "ENOSPC"] {
        let played = play(&request(steps), async |mut script| {
            script.come_up().await;
            let step = script.begins().await;
            script.failed(step, failure(errno)).await;
            if errno == "EIO" {
                power_off(&mut script).await;
            }
            script
        })
        .await;
        if errno == "EIO" {
            assert_eq!(played.ending, Ending::Finished);
            assert_eq!(course(&played.journal)[1], "-0 Allowed { errno: \"EIO\" }");
        } else {
            let Ending::StepFailed { step, error, .. } = &played.ending else {
                panic!("{:?}", played.ending);
            };
            assert_eq!((step.as_str(), error.as_str()), ("sync", "sync: ENOSPC"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_host_that_fails_is_the_harness_s_failure() {
    let played = play(
        &request("[{ host: { mds_fail: { rank: 0 } } }]"),
        async |mut script| {
            script.come_up().await;
            script
        },
    )
    .await;
    let Ending::Harness { part, what } = &played.ending else {
        panic!("{:?}", played.ending);
    };
    assert_eq!(*part, Part::Service);
    assert!(
        what.starts_with("mds_fail: the step mds_fail needs a cluster"),
        "{what}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_target_ends_the_trial_as_soon_as_its_report_is_complete() {
    let played = play(&request("[{ guest: sync }]"), async |mut script| {
        script.come_up().await;
        script.begins().await;
        // Nothing follows: silence completes it.
        script.kernel(HANG).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        script.kernel("[    7.0] sysrq: Show Blocked State\n").await;
        let letters = "wlt".to_owned();
        script.say(&GuestMessage::SysrqDone { letters }).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
    assert_eq!(played.heard.findings.len(), 1);
    assert_eq!(played.heard.console_length, HANG.len() as u64);
    assert!(played.heard.said > played.heard.console_length);
    assert!(played.journal.contains(&Entry::Dump));
}

#[tokio::test(start_paused = true)]
async fn another_finding_leaves_time_for_what_follows_and_a_warning_ends_nothing() {
    let mut request = request("[{ guest: sync }]");
    request.target = Some(serde_yaml::from_str("{ class: kasan }").unwrap());
    let began = tokio::time::Instant::now();
    let played = play(&request, async |mut script| {
        // QEMU passes on the keys of the dump, as the agent does not.
        for _ in 0..3 {
            script.control(&serde_json::json!({"return": {}})).await;
        }
        script.come_up().await;
        script.begins().await;
        script.kernel(HANG).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        script.end("guest-reset").await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
    assert!(began.elapsed() >= SETTLE);

    let warning = "\
[    1.000000] ------------[ cut here ]------------
[    1.000001] WARNING: CPU: 0 PID: 1 at fs/x.c:1 f+0x5/0x10
[    1.000002] RIP: 0010:f+0x5/0x10
[    1.000005] ---[ end trace 0000000000000000 ]---
";
    let played = play(&request, async |mut script| {
        script.come_up().await;
        let step = script.begins().await;
        script.kernel(warning).await;
        script.done(step).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    assert_eq!(played.heard.findings.len(), 1);
}

/// The kernel is left waiting in the middle of a report, once before its stack and
/// once when another finding has settled the trial.
#[tokio::test(start_paused = true)]
async fn a_report_that_comes_slowly_is_heard_to_its_end() {
    let mut request = request("[{ guest: sync }]");
    request.target =
        Some(serde_yaml::from_str("{ class: hung_task, frames: [find_inode] }").unwrap());
    let other = HANG.replace("inode_wait_for_writeback", "frob_ioctl");
    let target = HANG.replace("inode_wait_for_writeback", "find_inode");
    let target = target.replace("   6.", "   9.");
    let (first, rest) = target.split_at(target.find('\n').unwrap() + 1);
    let played = play(&request, async |mut script| {
        for _ in 0..3 {
            script.control(&serde_json::json!({"return": {}})).await;
        }
        script.come_up().await;
        script.begins().await;
        script.kernel(&other).await;
        // Shortly before the trial would be over.
        tokio::time::sleep(SECOND * 5 / 2).await;
        script.kernel(first).await;
        tokio::time::sleep(SECOND * 3 / 2).await;
        script.kernel(rest).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        script.end("guest-reset").await;
        script
    })
    .await;
    let titles: Vec<&str> = (played.heard.findings.iter())
        .map(|finding| finding.title.as_str())
        .collect();
    assert_eq!(
        titles,
        [
            "INFO: task hung in frob_ioctl",
            "INFO: task hung in find_inode"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_step_or_a_boot_that_takes_too_long_is_told_by_name_and_dumped() {
    for (boots, step) in [(false, "the boot"), (true, "sync")] {
        let played = play(&request("[{ guest: sync }]"), async |mut script| {
            // QEMU will pass on the keys, if the agent is too slow for the clock,
            // which jumps whenever everybody waits.
            for _ in 0..3 {
                script.control(&serde_json::json!({"return": {}})).await;
            }
            if boots {
                script.come_up().await;
                script.begins().await;
            }
            assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
            script
        })
        .await;
        let step = step.to_owned();
        assert_eq!(played.ending, Ending::Deadline { step: step.clone() });
        assert!(course(&played.journal).contains(&format!("late {step}")));
        assert!(played.journal.contains(&Entry::Dump));
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_was_greeted_in_time_has_booted_in_time() {
    let mut request = request("[{ guest: sync }]");
    // Its first step is long in coming.
    let late = |number: &u32| {
        request.id.number = *number;
        super::phase(request.id.seed()) > SECOND / 2
    };
    assert!((1..100).find(late).is_some());
    let played = play(&request, async |mut script| {
        for _ in 0..3 {
            script.control(&serde_json::json!({"return": {}})).await;
        }
        tokio::time::sleep(BOOT_DEADLINE * 59 / 60).await;
        script.come_up().await;
        let step = script.begins().await;
        script.done(step).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
}

#[tokio::test]
async fn an_attempt_without_a_guest_has_a_journal_and_names_what_failed() {
    let fault = || ServiceFault::Silent(vec!["osd.0".to_owned()]);
    let failed = Cell::new(Part::Machine);
    let made = async { Err::<(), _>(Error::from(fault())) };
    let error = of_part(Part::Service, &failed, made).await.unwrap_err();
    let directory = tempfile::tempdir().unwrap();
    drop(Journal::create(directory.path()).unwrap());
    let not_begun = NotBegun {
        part: failed.get(),
        error,
    };
    let ending = not_begun.end(directory.path(), Instant::now()).unwrap();
    let expected = Ending::Harness {
        part: Part::Service,
        what: "osd.0 did not answer".to_owned(),
    };
    assert_eq!(ending, expected);
    let text = std::fs::read_to_string(directory.path().join("journal.jsonl")).unwrap();
    let line: Line = serde_json::from_str(&text).unwrap();
    assert_eq!(line.entry, Entry::Ended(expected));
}

/// QEMU is asked for the guest's memory, and writes it.
async fn dumped(script: &mut Script) {
    let command = script.command().await;
    assert_eq!(command["execute"], "dump-guest-memory", "{command}");
    assert_eq!(command["arguments"]["format"], "kdump-zlib");
    let file = command["arguments"]["protocol"].as_str().unwrap();
    let memory = [b"KDUMP   ".as_slice(), &[0; 4992]].concat();
    std::fs::write(file.strip_prefix("file:").unwrap(), memory).unwrap();
    script.control(&serde_json::json!({"return": {}})).await;
    let done = serde_json::json!({"result": {"status": "completed"}});
    let event = serde_json::json!({"event": "DUMP_COMPLETED", "data": done});
    script.control(&event).await;
}

const DUMPED: Entry = Entry::Memory {
    bytes: Some(5000),
    problem: None,
};

#[tokio::test(start_paused = true)]
async fn a_hung_guest_s_memory_is_kept_before_it_is_asked_where_it_hangs() {
    let mut request = request("[{ guest: sync }]");
    request.dump = true;
    let played = play(&request, async |mut script| {
        script.come_up().await;
        script.begins().await;
        script.kernel(HANG).await;
        dumped(&mut script).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        let letters = "wlt".to_owned();
        script.say(&GuestMessage::SysrqDone { letters }).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
    assert_eq!(played.heard.memory, Some(5000));
    let at = |wanted: &Entry| played.journal.iter().position(|entry| entry == wanted);
    assert!(at(&DUMPED).unwrap() < at(&Entry::Dump).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_panicked_guest_s_memory_is_kept_before_qemu_ends() {
    let mut request = request("[{ guest: sync }]");
    request.dump = true;
    request.target = Some(serde_yaml::from_str("{ class: kasan }").unwrap());
    for hit in [true, false] {
        let played = play(&request, async |mut script| {
            script.come_up().await;
            script.begins().await;
            if hit {
                script.kernel(HANG).await;
            }
            let reason = serde_json::json!({"guest": true, "reason": "guest-reset"});
            let event = serde_json::json!({"event": "SHUTDOWN", "data": reason});
            script.control(&event).await;
            dumped(&mut script).await;
            assert_eq!(script.command().await["execute"], "quit");
            // A process ends in its own time, whatever the test's clock says.
            tokio::time::resume();
            script.control(&serde_json::json!({"return": {}})).await;
            script.end("guest-reset").await;
            script
        })
        .await;
        tokio::time::pause();
        let ended = matches!(&played.ending, Ending::GuestEnded { how, .. } if how == "reset");
        assert!(ended, "{:?}", played.ending);
        assert_eq!(played.heard.memory, Some(5000));
        assert!(played.journal.contains(&DUMPED));
        assert_eq!(played.heard.findings.len(), usize::from(hit));
    }
}

#[tokio::test(start_paused = true)]
async fn a_memory_that_cannot_be_kept_costs_the_trial_nothing() {
    let mut request = request("[{ guest: sync }]");
    request.dump = true;
    let played = play(&request, async |mut script| {
        script.come_up().await;
        script.begins().await;
        script.kernel(HANG).await;
        script.command().await;
        let error = serde_json::json!({"error": {"desc": "no space left"}});
        script.control(&error).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        let letters = "wlt".to_owned();
        script.say(&GuestMessage::SysrqDone { letters }).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
    assert_eq!(played.heard.memory, None);
    let why = |entry: &Entry| match entry {
        Entry::Memory { problem, .. } => problem.clone(),
        _ => None,
    };
    let why = played.journal.iter().find_map(why).unwrap();
    assert!(why.contains("no space left"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_s_end_is_told_with_its_last_words() {
    let played = play(&request("[{ guest: sync }]"), async |mut script| {
        script.come_up().await;
        script.begins().await;
        script.kernel(HANG).await;
        script.end("guest-panic").await;
        script
    })
    .await;
    let expected = Ending::GuestEnded {
        step: "sync".to_owned(),
        how: "reset".to_owned(),
    };
    // The target came first, if its report was complete in time.
    assert!([expected, Ending::Stopped].contains(&played.ending));
    assert_eq!(played.heard.findings.len(), 1);
    assert_eq!(played.heard.said, HANG.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_another_version_is_not_talked_to() {
    let played = play(&request("[{ guest: sync }]"), async |mut script| {
        script.say(&GuestMessage::Ready(ready(999))).await;
        script
    })
    .await;
    let Ending::Harness { part, what } = &played.ending else {
        panic!("{:?}", played.ending);
    };
    assert_eq!(*part, Part::Link);
    assert!(what.contains("version 999"), "{what}");
    assert_ne!(VERSION, 999);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_protocol_and_what_is_said_twice_does_not_move_the_trial() {
    let played = play(
        &request("[{ guest: sync }, { guest: sync }]"),
        async |mut script| {
            // Too early, twice, for steps that were not begun.
            script.done(0).await;
            script.come_up().await;
            script.say(&GuestMessage::Ready(ready(VERSION))).await;
            script.say(&GuestMessage::Greeted).await;
            assert_eq!(script.begins().await, 0);
            script.done(7).await;
            script.done(1).await;
            script.done(0).await;
            assert_eq!(script.begins().await, 1);
            script.raw(b"\x1b]0;owned\x07\n").await;
            script
        },
    )
    .await;
    let Ending::Harness { part, what } = &played.ending else {
        panic!("{:?}", played.ending);
    };
    assert_eq!(*part, Part::Link);
    assert!(what.contains("\\x1b]0;owned"), "{what}");
}

/// Signs of life, as one text.
fn beats(count: u32) -> Vec<u8> {
    let beat = |tick| {
        let mut line = serde_json::to_vec(&GuestMessage::Beat { tick }).unwrap();
        line.push(b'\n');
        line
    };
    (1..=count).flat_map(beat).collect()
}

/// What an agent that never stops talking may not hide, with what the trial ends
/// by then.
#[tokio::test(start_paused = true)]
async fn a_guest_that_never_stops_talking_hides_nothing() {
    const BEATS: u32 = 2000;
    let flood = beats(BEATS);
    let request = request("[{ guest: sync }]");
    for hidden in ["deadline", "service", "machine"] {
        let (tell, told) = tokio::sync::oneshot::channel::<String>();
        let lost = async {
            match told.await {
                Ok(what) => what,
                Err(_) => std::future::pending().await,
            }
        };
        let played = play_with(&request, lost, async |mut script| {
            for _ in 0..3 {
                script.control(&serde_json::json!({"return": {}})).await;
            }
            script.come_up().await;
            script.begins().await;
            // All of it is there at once when the trial looks next.
            script.raw(&flood).await;
            match hidden {
                "deadline" => {
                    tokio::time::advance(request.workload.step_timeout).await;
                    assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
                }
                "service" => tell.send("osd.0 ended".to_owned()).unwrap(),
                _ => {
                    // A process ends in its own time, whatever the test's clock says.
                    tokio::time::resume();
                    script.end_talking("guest-reset").await;
                }
            }
            script
        })
        .await;
        if hidden == "machine" {
            tokio::time::pause();
        }
        let as_it_should = match &played.ending {
            Ending::Deadline { step } => hidden == "deadline" && step == "sync",
            Ending::Harness { part, .. } => hidden == "service" && *part == Part::Service,
            Ending::GuestEnded { how, .. } => hidden == "machine" && how == "reset",
            _ => false,
        };
        assert!(as_it_should, "{hidden}: {:?}", played.ending);
        // How much was said before a process has ended is the host's affair.
        let heard = played.heard.told.len();
        let early = heard < BEATS as usize / 2;
        assert!(
            early || hidden == "machine",
            "{hidden}: {heard} heard first"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dump_ends_in_time_whatever_else_the_agent_says() {
    let request = request("[{ guest: sync }]");
    let played = play(&request, async |mut script| {
        script.come_up().await;
        script.begins().await;
        script.kernel(HANG).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        for _ in 0..3 {
            script.control(&serde_json::json!({"return": {}})).await;
        }
        script.raw(&beats(2000)).await;
        // Too late: behind all the rest.
        let letters = "wlt".to_owned();
        script.say(&GuestMessage::SysrqDone { letters }).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        // So QEMU is asked to pass on the keys.
        let command = script.command().await;
        assert_eq!(command["execute"], "chardev-send-break");
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_sends_more_messages_than_any_is_not_listened_to() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path()).unwrap();
    let (mut guest, mut script) = scripted::guest(journal, std::future::pending()).await;
    guest.take_messages(100);
    let request = request("[{ guest: sync }]");
    let context = Context::default();
    let pace = Pace::default();
    let attempt = Attempt::new(&context, &request, directory.path(), guest, &pace);
    let flood = async {
        script.come_up().await;
        script.try_raw(&beats(200)).await;
        script
    };
    let (result, script) = tokio::join!(attempt.run(&Service::None), flood);
    drop(script);
    let (ending, heard) = result.unwrap();
    let Ending::Harness { part, what } = &ending else {
        panic!("{ending:?}");
    };
    assert_eq!(*part, Part::Link);
    assert!(what.contains("messages"), "{what}");
    assert!(heard.told.len() < 100);
}

#[tokio::test(start_paused = true)]
async fn a_lost_service_ends_the_trial_as_the_harness_s_failure() {
    let (tell, told) = tokio::sync::oneshot::channel::<String>();
    let lost = async { told.await.unwrap() };
    let played = play_with(&request("[{ guest: sync }]"), lost, async |mut script| {
        script.come_up().await;
        script.begins().await;
        tell.send("osd.0 ended".to_owned()).unwrap();
        script
    })
    .await;
    let expected = Ending::Harness {
        part: Part::Service,
        what: "osd.0 ended".to_owned(),
    };
    assert_eq!(played.ending, expected);
    assert!(course(&played.journal).contains(&"osd.0 ended".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_neither_talks_nor_obeys_is_given_up() {
    // As a QEMU that was stopped: everything is open, nothing is answered.
    let played = play(&request("[{ guest: sync }]"), async |mut script| {
        script.come_up().await;
        script.begins().await;
        script
            .console
            .as_mut()
            .unwrap()
            .write_all(b"[    1.0] x\n")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        script
    })
    .await;
    let expected = Ending::Harness {
        part: Part::Machine,
        what: "QEMU does not answer".to_owned(),
    };
    assert_eq!(played.ending, expected);
}

#[tokio::test(start_paused = true)]
async fn the_key_that_a_guest_was_given_is_kept_nowhere() {
    use scripted::KEY;
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path()).unwrap();
    let (guest, mut script) = scripted::guest(journal, std::future::pending()).await;
    let request = request("[{ guest: sync }]");
    let context = Context::default();
    let (front, back) = KEY.split_at(5);
    let hostile = async {
        script.come_up().await;
        let step = script.begins().await;
        script.kernel(&format!("[    1.0] key {front}")).await;
        script.kernel(&format!("{back} {KEY}\n{HANG}")).await;
        let failure = StepFailure {
            kind: FailureKind::Program,
            errno: None,
            message: format!("the key is {KEY}"),
        };
        script.failed(step, failure).await;
        script
    };
    let pace = Pace::default();
    let attempt = Attempt::new(&context, &request, directory.path(), guest, &pace);
    let (result, script) = tokio::join!(attempt.run(&Service::None), hostile);
    drop(script);
    let (ending, heard) = result.unwrap();
    assert!(!format!("{ending:?} {heard:?}").contains(KEY));
    for file in ["console.log", "journal.jsonl"] {
        let text = std::fs::read_to_string(directory.path().join(file)).unwrap();
        assert!(!text.contains(KEY), "{text}");
        assert!(text.contains("(redacted)"), "{text}");
    }
}

#[test]
fn a_guest_s_counters_cannot_overflow() {
    let mut counters = BTreeMap::new();
    let most = BTreeMap::from([("writes".to_owned(), u64::MAX)]);
    count(&mut counters, &most);
    count(&mut counters, &most);
    assert_eq!(counters["writes"], u64::MAX);
    let many = (0..=COUNTERS).map(|n| (n.to_string(), 1)).collect();
    count(&mut counters, &many);
    assert_eq!(counters.len(), COUNTERS);
}

/// What a guest may say at any time, whether it makes sense there or not.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let step = || prop_oneof![0..4_u32, Just(u32::MAX)];
    let counters = || [("operations".to_owned(), u64::MAX)].into();
    let failure = StepFailure {
        kind: FailureKind::Agent,
        errno: Some("E\u{1b}".to_owned()),
        message: "\u{202e}".repeat(99),
    };
    let report = StepReport {
        micros: u64::MAX,
        client: Some(u64::MAX),
        counters: counters(),
        output: Some("words\0".to_owned()),
        ..StepReport::default()
    };
    let message = prop_oneof![
        Just(GuestMessage::Ready(ready(VERSION))),
        Just(GuestMessage::Greeted),
        step().prop_map(|step| GuestMessage::Started { step }),
        step().prop_map(move |step| GuestMessage::Progress {
            step,
            counters: counters()
        }),
        step().prop_map(move |step| {
            let result = StepResult::Done(report.clone());
            GuestMessage::Finished { step, result }
        }),
        step().prop_map(move |step| {
            let result = StepResult::Failed(failure.clone());
            GuestMessage::Finished { step, result }
        }),
        Just(GuestMessage::SysrqDone {
            letters: "w".to_owned()
        }),
        any::<u32>().prop_map(|tick| GuestMessage::Beat { tick }),
        Just(GuestMessage::Note {
            text: "note".to_owned()
        }),
    ];
    let line = message.prop_map(|message| {
        let mut line = serde_json::to_vec(&message).unwrap();
        line.push(b'\n');
        line
    });
    prop_oneof![9 => line, 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a guest says, in whatever order: the trial ends, its journal can
    /// be read, and a step that the host did not start is not part of it.
    #[test]
    fn a_hostile_guest_ends_its_own_trial_and_nothing_else(
        greeted in any::<bool>(),
        said in proptest::collection::vec(any_message(), 0..30),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        let request = request("[{ guest: sync }, { name: a, background: true, guest: sync }, { wait: a }]");
        let played = runtime.block_on(play(&request, async |mut script| {
            if greeted {
                script.come_up().await;
            }
            for piece in &said {
                script.try_raw(piece).await;
            }
            script.end("guest-shutdown").await;
            script
        }));
        prop_assert!(matches!(played.journal.last(), Some(Entry::Ended(_))), "{:?}", played.journal);
        let began = played.journal.iter().filter(|entry| matches!(entry, Entry::StepBegan { .. }));
        prop_assert!(began.count() <= 4);
    }
}

/// Answers for a piece of line counters with this text.
async fn gives(script: &mut Script, object: &str, offset: u64, text: String) {
    let HostMessage::Start { step, action } = script.told().await else {
        panic!("no step");
    };
    let asked = CounterStep::LineCounters {
        object: object.to_owned(),
        offset,
    };
    assert_eq!(action, asked.into());
    let report = StepReport {
        output: Some(text),
        ..StepReport::default()
    };
    let result = StepResult::Done(report);
    script.say(&GuestMessage::Finished { step, result }).await;
}

#[tokio::test(start_paused = true)]
async fn line_counters_come_at_the_end_piece_by_piece() {
    let mut request = request("[{ guest: sync }]");
    request.counted = ["fs/a", "fs/b", "fs/c"].map(str::to_owned).to_vec();
    let piece = STANDARD.encode(vec![7; PIECE]);
    let played = play(&request, async |mut script| {
        script.come_up().await;
        for step in 0..2 {
            assert_eq!(script.begins().await, step);
            script.done(step).await;
        }
        gives(&mut script, "fs/a", 0, piece.clone()).await;
        // What the kernel says meanwhile is not lost.
        script.kernel(HANG).await;
        gives(&mut script, "fs/a", PIECE as u64, STANDARD.encode("end")).await;
        let step = script.begins().await;
        let absent = StepFailure {
            kind: FailureKind::Syscall,
            errno: Some("ENOENT".to_owned()),
            message: "find fs/b.gcda: ENOENT".to_owned(),
        };
        script.failed(step, absent).await;
        gives(&mut script, "fs/c", 0, "not base64!".to_owned()).await;
        assert_eq!(script.told().await, HostMessage::PowerOff);
        script.end("guest-shutdown").await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    assert_eq!(played.heard.findings.len(), 1);
    let home = tempfile::tempdir().unwrap();
    played.heard.counted.keep(home.path()).unwrap();
    let kept = crate::coverage::Kept::of(home.path()).unwrap().taken;
    let told: Vec<_> = kept
        .iter()
        .map(|(taken, path)| {
            let length = path.as_ref().map(|path| std::fs::read(path).unwrap().len());
            (taken.object.as_str(), length, taken.problem.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("fs/a", Some(PIECE + 3), None),
            ("fs/b", None, Some("find fs/b.gcda: ENOENT")),
            ("fs/c", None, Some("the guest's answer is not base64")),
        ]
    );
    // They are kept where they belong, and not in the journal, too.
    let text = format!("{:?}", played.journal);
    assert!(!text.contains("not base64!"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_gives_no_line_counters_is_not_waited_for_long() {
    let mut request = request("[{ guest: sync }]");
    request.counted = ["fs/a", "fs/b"].map(str::to_owned).to_vec();
    let played = play(&request, async |mut script| {
        script.come_up().await;
        for step in 0..2 {
            assert_eq!(script.begins().await, step);
            script.done(step).await;
        }
        script.begins().await;
        // It never answers.
        assert_eq!(script.told().await, HostMessage::PowerOff);
        script.end("guest-shutdown").await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
}

/// What the kernel says when it is asked for its blocked tasks and one waits for
/// itself.
const ITSELF: &str = "\
[    9.100000] sysrq: Show Blocked State
[    9.100000] task:kworker/u9:2 state:D stack:0 pid:41 tgid:41 ppid:2 flags:0x00004000
[    9.100000] Call Trace:
[    9.100000]  <TASK>
[    9.100000]  schedule+0x27/0xf0
[    9.100000]  inode_wait_for_writeback+0x3c/0x120
[    9.100000]  evict+0x3c/0x120
[    9.100000]  __writeback_single_inode+0x3c/0x120
[    9.100000]  writeback_sb_inodes+0x3c/0x120
[    9.100000]  wb_workfn+0x3c/0x120
[    9.100000]  </TASK>
";

/// Is asked for the blocked tasks, and says that one waits for itself.
async fn wait_for_itself(script: &mut Script) {
    let letters = "w".to_owned();
    let asked = script.told().await;
    assert_eq!(
        asked,
        HostMessage::Sysrq {
            letters: letters.clone()
        }
    );
    script.kernel(ITSELF).await;
    script.say(&GuestMessage::SysrqDone { letters }).await;
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_waits_ends_a_trial_whose_kernel_would_never_tell() {
    let request = request("[{ guest: sync }]");
    let began = tokio::time::Instant::now();
    let played = play(&request, async |mut script| {
        script.come_up().await;
        script.begins().await;
        wait_for_itself(&mut script).await;
        wait_for_itself(&mut script).await;
        script
    })
    .await;
    // Nobody answers the dump that follows: the clock jumps, and QEMU is blamed.
    let machine = Ending::Harness {
        part: Part::Machine,
        what: "QEMU does not answer".to_owned(),
    };
    let step = "sync".to_owned();
    assert!([Ending::Deadline { step }, machine].contains(&played.ending));
    // What the harness provoked is no finding.
    assert_eq!(played.heard.findings, []);
    let tasks = vec!["kworker/u9:2:41".to_owned()];
    assert!(played.journal.contains(&Entry::Circle { tasks }));
    // Of the script's time, not of the machine's.
    assert!(began.elapsed() < request.workload.step_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_waits_has_the_kernel_report_it_at_once() {
    let mut request = request("[{ guest: sync }]");
    let timeout = "kernel.hung_task_timeout_secs";
    request
        .workload
        .sysctls
        .insert(timeout.to_owned(), "120".to_owned());
    let played = play(&request, async |mut script| {
        script.come_up().await;
        let prepared = script.begins().await;
        script.done(prepared).await;
        script.begins().await;
        wait_for_itself(&mut script).await;
        wait_for_itself(&mut script).await;
        for number in hang::NUMBERS {
            assert_eq!(script.begins().await, number);
            script.done(number).await;
        }
        script.kernel(HANG).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Stopped);
    assert_eq!(played.heard.findings.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_merely_slow_is_looked_at_ever_more_rarely() {
    let request = request("[{ guest: sync }]");
    let played = play(&request, async |mut script| {
        script.come_up().await;
        let step = script.begins().await;
        for _ in 0..3 {
            let letters = "w".to_owned();
            let asked = script.told().await;
            assert_eq!(
                asked,
                HostMessage::Sysrq {
                    letters: letters.clone()
                }
            );
            script.say(&GuestMessage::SysrqDone { letters }).await;
        }
        script.done(step).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    let looks = |entry: &&Entry| matches!(entry, Entry::Look);
    assert_eq!(played.journal.iter().filter(looks).count(), 3);
}

#[test]
fn few_trials_begin_all_over_a_second_already() {
    let mut tenths: Vec<u128> = (1..=20)
        .map(|number| super::phase(number).as_millis() / 100)
        .collect();
    tenths.sort_unstable();
    tenths.dedup();
    assert_eq!(tenths, (0..10).collect::<Vec<_>>());
}
