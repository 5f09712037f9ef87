//! The course of a trial's steps.

use super::*;

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

#[tokio::test(start_paused = true)]
async fn a_background_step_that_nobody_waits_for_is_waited_for_at_the_end() {
    let steps = "[{ name: a, background: true, guest: sync }, { guest: sync }]";
    for late in [false, true] {
        let played = play(&request(steps), async |mut script| {
            script.come_up().await;
            assert_eq!(script.begins().await, 0);
            assert_eq!(script.begins().await, 1);
            let wrong = StepFailure {
                kind: FailureKind::Data,
                errno: None,
                message: "f0 is missing".to_owned(),
            };
            if late {
                script.done(1).await;
                script.failed(0, wrong).await;
            } else {
                script.failed(0, wrong).await;
                script.done(1).await;
            }
            script
        })
        .await;
        let Ending::StepFailed { step, error, .. } = &played.ending else {
            panic!("late: {late}: {:?}", played.ending);
        };
        assert_eq!((step.as_str(), error.as_str()), ("a", "f0 is missing"));
    }
}

/// The limits of the steps that were begun, in seconds.
fn limits(journal: &[Entry]) -> Vec<f64> {
    let limit = |entry: &Entry| match entry {
        Entry::StepBegan { limit, .. } => *limit,
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
            script.takes_breaks().await;
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
        let limit = limits(&played.journal)[0];
        assert!((limit - seconds).abs() < 0.1, "{wait}: {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_lasts_has_time_for_that() {
    let request = request("[{ host: { pause: 45s } }]");
    assert!(request.workload.step_timeout < SECOND * 45);
    let played = play(&request, async |mut script| {
        script.come_up().await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_host_that_is_late_is_not_the_kernel_s_failure() {
    // What a job says of all steps is about the workload, whoever does the step.
    for whole in [None, Some(SECOND)] {
        let mut request = request("[{ timeout: 2s, host: { pause: 45s } }]");
        request.timeout = whole;
        let played = play(&request, async |mut script| {
            script.takes_breaks().await;
            script.come_up().await;
            if whole.is_some() {
                assert!(matches!(script.told().await, HostMessage::Sysrq { .. }));
            }
            script
        })
        .await;
        let step = "pause".to_owned();
        let expected = match whole {
            Some(_) => Ending::Deadline { step },
            None => Ending::Harness {
                part: Part::Service,
                what: "pause did not finish".to_owned(),
            },
        };
        assert_eq!(played.ending, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_all_steps_begins_with_the_first() {
    let mut request = request("[{ guest: sync }]");
    request.timeout = Some(SECOND * 10);
    let played = play(&request, async |mut script| {
        tokio::time::sleep(SECOND * 12).await;
        script.come_up().await;
        let step = script.begins().await;
        script.done(step).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
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
