//! A step that takes long is looked at: a task that waits for itself ends the
//! trial, whatever the kernel would tell.

use super::*;

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
async fn a_look_that_is_answered_after_its_step_is_the_last_one() {
    let request = request("[{ guest: sync }, { guest: { exec: { program: x } } }]");
    let played = play(&request, async |mut script| {
        script.come_up().await;
        script.begins().await;
        let letters = "w".to_owned();
        let asked = HostMessage::Sysrq {
            letters: letters.clone(),
        };
        assert_eq!(script.told().await, asked);
        script.done(0).await;
        assert_eq!(script.begins().await, 1);
        script.kernel(ITSELF).await;
        script.say(&GuestMessage::SysrqDone { letters }).await;
        tokio::time::sleep(SECOND * 5).await;
        script.done(1).await;
        power_off(&mut script).await;
        script
    })
    .await;
    assert_eq!(played.ending, Ending::Finished);
    let looks = |entry: &&Entry| matches!(entry, Entry::Look);
    assert_eq!(played.journal.iter().filter(looks).count(), 1);
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
        for number in crate::trial::hang::NUMBERS {
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
