//! The loop of a trial against a scripted console and agent: no QEMU, and no
//! time goes by but what the script takes.

mod endings;
mod hang;
mod hostile;
mod line_counters;
mod steps;

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::guest::protocol::{
    FailureKind, GuestMessage, HostMessage, StepFailure, StepReport, StepResult, VERSION,
};
use crate::record::Line;
use crate::step::{CounterStep, PIECE};
use crate::testbed::scripted::{self, Script, ready};
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
    Request {
        target: Some(serde_yaml::from_str("{ class: hung_task }").unwrap()),
        ..Request::of_steps(steps)
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
    let guest = scripted::holding(journal, lost, request.dump).await;
    play_in(directory.path(), request, guest, script).await
}

/// The same with a guest that is there, whose journal is in this directory.
async fn play_in(
    directory: &Path,
    request: &Request,
    (guest, theirs): (Guest<'static>, Script),
    script: impl AsyncFnOnce(Script) -> Script,
) -> Played {
    let context = Context::default();
    let pace = Pace::default();
    let attempt = Attempt::new(&context, request, directory, guest, &pace);
    let (result, script) = tokio::join!(attempt.run(&Service::None), script(theirs));
    drop(script);
    let (ending, heard) = result.unwrap();
    let text = std::fs::read_to_string(directory.join("journal.jsonl")).unwrap();
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

#[test]
fn few_trials_begin_all_over_a_second_already() {
    let mut tenths: Vec<u128> = (1..=20)
        .map(|number| super::phase(number).as_millis() / 100)
        .collect();
    tenths.sort_unstable();
    tenths.dedup();
    assert_eq!(tenths, (0..10).collect::<Vec<_>>());
}
