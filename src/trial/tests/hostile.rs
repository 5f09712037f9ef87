//! What a guest may say, and what it cannot do by that.

use super::*;

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
            script.takes_breaks().await;
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
        script.takes_breaks().await;
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
    let (mut guest, script) = scripted::guest(journal, std::future::pending()).await;
    guest.take_messages(100);
    let request = request("[{ guest: sync }]");
    let flood = async |mut script: Script| {
        script.come_up().await;
        script.try_raw(&beats(200)).await;
        script
    };
    let played = play_in(directory.path(), &request, (guest, script), flood).await;
    let Ending::Harness { part, what } = &played.ending else {
        panic!("{:?}", played.ending);
    };
    assert_eq!(*part, Part::Link);
    assert!(what.contains("messages"), "{what}");
    assert!(played.heard.told.len() < 100);
}

#[tokio::test(start_paused = true)]
async fn what_a_kernel_says_beyond_what_is_read_is_not_taken_for_silence() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Journal::create(directory.path()).unwrap();
    let (mut guest, script) = scripted::guest(journal, std::future::pending()).await;
    guest.read_console(1 << 20);
    let request = request("[{ guest: sync }]");
    let flood = async |mut script: Script| {
        script.come_up().await;
        let step = script.begins().await;
        script.kernel(&"[    1.0] x\n".repeat(90_000)).await;
        script.done(step).await;
        power_off(&mut script).await;
        script
    };
    let played = play_in(directory.path(), &request, (guest, script), flood).await;
    assert_eq!(played.ending, Ending::Finished);
    let silenced = silenced(directory.path(), &played.ending, &played.heard).unwrap();
    assert_eq!(silenced.as_deref(), Some("1 MiB"));
    let unread = |entry: &&Entry| matches!(entry, Entry::Unread);
    assert_eq!(played.journal.iter().filter(unread).count(), 1);
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

#[tokio::test(start_paused = true)]
async fn the_key_is_not_shown_in_a_line_that_is_no_message_either() {
    use scripted::KEY;
    // Once as a name that the protocol does not have, once where the line is cut.
    for line in [
        format!("{{\"{KEY}\": 1}}\n"),
        format!("{}{KEY}\n", "x".repeat(70)),
    ] {
        let played = play(&request("[{ guest: sync }]"), async |mut script| {
            script.come_up().await;
            script.begins().await;
            script.raw(line.as_bytes()).await;
            script
        })
        .await;
        let Ending::Harness { part, what } = &played.ending else {
            panic!("{:?}", played.ending);
        };
        assert_eq!(*part, Part::Link);
        assert!(!what.contains(&KEY[..10]), "{what}");
        assert!(what.contains("(redact"), "{what}");
        assert!(!format!("{:?} {:?}", played.heard, played.journal).contains(&KEY[..10]));
    }
}

#[test]
fn a_guest_s_counters_cannot_overflow() {
    let mut counters = BTreeMap::new();
    let most = BTreeMap::from([("writes".to_owned(), u64::MAX)]);
    count(&mut counters, &most);
    count(&mut counters, &most);
    assert_eq!(counters["writes"], u64::MAX);
    count(&mut counters, &[("x".repeat(COUNTER + 1), 1)].into());
    assert_eq!(counters.len(), 1);
    let many = (0..=COUNTERS).map(|n| (n.to_string(), 1)).collect();
    count(&mut counters, &many);
    assert_eq!(counters.len(), COUNTERS);
}

#[tokio::test(start_paused = true)]
async fn a_guest_does_not_end_what_the_host_does() {
    let request = request("[{ host: { pause: 5s } }, { guest: sync }]");
    let began = tokio::time::Instant::now();
    let played = play(&request, async |mut script| {
        script.come_up().await;
        // Before the host's step, and while it is under way.
        for _ in 0..20 {
            script.done(0).await;
            tokio::time::sleep(SECOND / 10).await;
        }
        assert_eq!(script.begins().await, 1);
        assert!(began.elapsed() >= SECOND * 5);
        script.done(1).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    let course = course(&played.journal);
    assert_eq!(course[..3], ["+0 pause", "-0 Done", "+1 sync"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_reports_is_short_and_of_steps_that_were_begun() {
    let report = |name: &str| {
        StepResult::Done(StepReport {
            counters: [(name.to_owned(), 1)].into(),
            failed_tests: vec![FailedTest {
                name: format!("{name}/{}", "1".repeat(1000)),
                how: "é".repeat(1000),
            }],
            ..StepReport::default()
        })
    };
    let played = play(&request("[{ guest: sync }]"), async |mut script| {
        script.come_up().await;
        let begun = script.begins().await;
        for (step, name) in [
            (9, "later"),
            (1, "next"),
            (begun, "begun"),
            (begun, "again"),
        ] {
            let result = report(name);
            script.say(&GuestMessage::Finished { step, result }).await;
        }
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    let counted: Vec<&String> = played.heard.counters.keys().collect();
    assert_eq!(counted, ["begun"]);
    let [failure] = &played.heard.failed_tests[..] else {
        panic!("{:?}", played.heard.failed_tests);
    };
    assert!(failure.test.name.starts_with("begun/1"));
    assert_eq!(failure.test.name.len(), FailedTest::NAME);
    assert_eq!(failure.test.how.len(), FailedTest::HOW);
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
