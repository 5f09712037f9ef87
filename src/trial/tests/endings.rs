//! What ends a trial, and what is kept of it then.

use super::*;

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
        script.takes_breaks().await;
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

#[tokio::test(start_paused = true)]
async fn the_target_is_kept_behind_any_number_of_other_findings() {
    let warning = |number: usize| {
        format!(
            "[    1.0] ------------[ cut here ]------------\n\
             [    1.0] WARNING: CPU: 0 PID: 1 at fs/x.c:{number} f+0x5/0x10\n\
             [    1.0] ---[ end trace 0000000000000000 ]---\n"
        )
    };
    let warnings: String = (0..FINDINGS + 9).map(warning).collect();
    let (events, mut told) = crate::event::EventSink::channel();
    let context = Context {
        events,
        ..Context::default()
    };
    let request = request("[{ guest: sync }]");
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path()).unwrap();
    let (guest, mut script) = scripted::guest(journal, std::future::pending()).await;
    let pace = Pace::default();
    let attempt = Attempt::new(&context, &request, directory.path(), guest, &pace);
    let flood = async {
        script.come_up().await;
        script.begins().await;
        script.kernel(&warnings).await;
        script.kernel(HANG).await;
        script.kernel(HANG).await;
        assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
        script.end("guest-reset").await;
        script
    };
    let (result, script) = tokio::join!(attempt.run(&Service::None), flood);
    drop(script);
    let (ending, heard) = result.unwrap();
    assert_eq!(ending, Ending::Stopped);
    assert_eq!(heard.findings.len(), FINDINGS / 2 + 1);
    assert_eq!(
        heard.findings[FINDINGS / 2].class,
        crate::detect::Class::HungTask
    );
    // What is passed over is not told, either.
    drop(context);
    let mut events = 0;
    while let Ok(stamped) = told.try_recv() {
        events += usize::from(matches!(stamped.event, Event::TrialFinding { .. }));
    }
    assert_eq!(events, FINDINGS / 2 + 1);
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
        script.takes_breaks().await;
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
async fn a_step_that_fails_does_not_cut_the_kernel_short() {
    let (first, rest) = HANG.split_at(HANG.find('\n').unwrap() + 1);
    for lost in [false, true] {
        let (tell, told) = tokio::sync::oneshot::channel::<String>();
        let service = async {
            match told.await {
                Ok(what) => what,
                Err(_) => std::future::pending().await,
            }
        };
        let played = play_with(
            &request("[{ guest: sync }]"),
            service,
            async |mut script| {
                script.come_up().await;
                let step = script.begins().await;
                script.kernel(first).await;
                let failure = StepFailure {
                    kind: FailureKind::Syscall,
                    errno: Some("EIO".to_owned()),
                    message: "sync: EIO".to_owned(),
                };
                script.failed(step, failure).await;
                tokio::time::sleep(SECOND / 20).await;
                if lost {
                    // What made it fail.
                    tell.send("osd.0 ended".to_owned()).unwrap();
                } else {
                    script.kernel(rest).await;
                }
                script
            },
        )
        .await;
        if lost {
            let is_lost =
                matches!(&played.ending, Ending::Harness { what, .. } if what == "osd.0 ended");
            assert!(is_lost, "{:?}", played.ending);
            continue;
        }
        assert!(matches!(played.ending, Ending::StepFailed { .. }));
        let [hang] = &played.heard.findings[..] else {
            panic!("{:?}", played.heard.findings);
        };
        let mut functions = hang.frames.iter().map(|frame| &*frame.function);
        assert!(functions.any(|function| function == "inode_wait_for_writeback"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_or_a_boot_that_takes_too_long_is_told_by_name_and_dumped() {
    for (boots, step) in [(false, "the boot"), (true, "sync")] {
        let played = play(&request("[{ guest: sync }]"), async |mut script| {
            // QEMU will pass on the keys, if the agent is too slow for the clock,
            // which jumps whenever everybody waits.
            script.takes_breaks().await;
            if boots {
                script.come_up().await;
                script.begins().await;
                assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
            } else {
                // Nobody is there yet whom one could ask.
                assert_eq!(script.command().await["execute"], "chardev-send-break");
            }
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
async fn the_stacks_of_a_guest_that_does_not_answer_are_heard_through_the_serial_line() {
    const STACKS: &str = "[   15.0] sysrq: Show Blocked State\n";
    for boots in [false, true] {
        let played = play(&request("[{ guest: sync }]"), async |mut script| {
            if boots {
                script.come_up().await;
                script.begins().await;
                // It hangs as all the rest does.
                assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
            }
            for _ in 0..3 {
                assert_eq!(script.command().await["execute"], "chardev-send-break");
                script.control(&serde_json::json!({"return": {}})).await;
                tokio::time::sleep(SECOND / 20).await;
                script.kernel(STACKS).await;
            }
            script
        })
        .await;
        assert!(matches!(played.ending, Ending::Deadline { .. }));
        assert_eq!(played.heard.said, 3 * STACKS.len() as u64, "boots: {boots}");
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
        script.takes_breaks().await;
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
    dumped_within(script, Duration::ZERO).await;
}

/// The same; it takes so long.
async fn dumped_within(script: &mut Script, time: Duration) {
    let command = script.command().await;
    assert_eq!(command["execute"], "dump-guest-memory", "{command}");
    assert_eq!(command["arguments"]["format"], "kdump-zlib");
    let file = command["arguments"]["protocol"].as_str().unwrap();
    let memory = [b"KDUMP   ".as_slice(), &[0; 4992]].concat();
    std::fs::write(file.strip_prefix("file:").unwrap(), memory).unwrap();
    script.control(&serde_json::json!({"return": {}})).await;
    tokio::time::advance(time).await;
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
            // Longer than its step may take.
            dumped_within(&mut script, request.workload.step_timeout * 3 / 2).await;
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
        let told = |entry: &&Entry| matches!(entry, Entry::Memory { .. });
        let told: Vec<&Entry> = played.journal.iter().filter(told).collect();
        assert_eq!(told, [&DUMPED]);
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
async fn an_agent_that_gives_up_is_the_harness_s_failure_wherever_it_says_so() {
    let reason = "no port is called kvet.agent";
    for has_port in [false, true] {
        let played = play(&request("[{ guest: sync }]"), async |mut script| {
            if has_port {
                let text = reason.to_owned();
                script.say(&GuestMessage::Fatal { text }).await;
            } else {
                script.kernel(&format!("{GAVE_UP}{reason}\r\n")).await;
            }
            // A process ends in its own time, whatever the test's clock says.
            tokio::time::resume();
            script.end_talking("guest-shutdown").await;
            script
        })
        .await;
        tokio::time::pause();
        let expected = Ending::Harness {
            part: Part::Link,
            what: format!("the guest's agent gave up: {reason}"),
        };
        assert_eq!(played.ending, expected, "{has_port}");
    }
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
