//! Line counters, which are asked for when the steps are through.

use super::*;

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
