//! The self-test of an arm: before its first trial a guest of its own provokes
//! a warning, a hung task and a BUG through LKDTM. What this kernel does not
//! report, or kvet does not see, makes the arm's trials `unarmed`: their silence
//! would mean nothing.
//!
//! The BUG ends the machine and therefore comes last. A kernel that does not
//! survive one of the others either (`panic_on_warn`, `hung_task_panic`) is
//! booted again for the rest.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

use super::journal::Journal;
use super::record::Record;
use super::trial::{BOOT_DEADLINE, Bench, COMMAND_LINE, SILENCE};
use crate::detect::{Class, Finding, Scanner, Sighting};
use crate::error::Error;
use crate::event::Event;
use crate::guest::link::Link;
use crate::guest::protocol::{GuestMessage, Welcome};
use crate::job::Arm;
use crate::kernel::KernelImage;
use crate::store::{Scratch, io_error};
use crate::vm::{Boot, Machine};
use crate::workload::GuestStep;

/// What is provoked, in order: the class it must give, and what
/// `/sys/kernel/debug/provoke-crash/DIRECT` calls it.
const PROVOCATIONS: &[(Class, &str)] = &[
    (Class::Warning, "WARNING"),
    (Class::HungTask, "HUNG_TASK"),
    (Class::KernelBug, "BUG"),
];

/// Set before: a task that hangs is told of within three seconds then.
const HASTE: &[(&str, &str)] = &[
    ("kernel.hung_task_timeout_secs", "2"),
    ("kernel.hung_task_check_interval_secs", "1"),
];

/// How long a provocation may take to be seen, under KVM.
const PATIENCE: Duration = Duration::from_secs(8);

/// A guest that says more than this has more to say than was asked for.
const CONSOLE_LIMIT: u64 = 16 << 20;

/// What a self-test found, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// How many boots it took; each has a directory of its own.
    pub boots: u32,
    /// What was provoked and not seen.
    pub unseen: Vec<Class>,
    /// Wall-clock time, in seconds.
    pub seconds: u64,
}

/// What of all that is provoked these findings do not show. Only LKDTM's own
/// failures count: a warning of the boot shows nothing about those to come, and
/// the machine that hangs for another reason is not the proof that is wanted.
pub(super) fn unseen(findings: &[Finding]) -> Vec<Class> {
    let unseen = |class: Class| !findings.iter().any(|finding| shows(finding, class));
    let classes = PROVOCATIONS.iter().map(|(class, _)| *class);
    classes.filter(|class| unseen(*class)).collect()
}

fn shows(finding: &Finding, class: Class) -> bool {
    let provoked = PROVOCATIONS.iter().find(|(known, _)| *known == class);
    // `lkdtm_BUG`, with or without what compilers append.
    let function_of = |name: &str, function: &str| {
        let rest = function.strip_prefix("lkdtm_");
        rest.and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    provoked.is_some_and(|(_, name)| {
        let mut functions = finding.frames.iter().map(|frame| &*frame.function);
        let mut words = finding.title.split(' ');
        finding.class == class
            && (functions.any(|function| function_of(name, function))
                || words.any(|word| function_of(name, word)))
    })
}

/// Tests an arm's kernel and returns what it did not show. An error means that
/// kvet itself could not go on.
pub(super) async fn self_test(
    bench: &Bench<'_>,
    record: &Record,
    arm: &Arm,
    image: &KernelImage,
) -> Result<Vec<Class>, Error> {
    let began = Instant::now();
    let mut findings = Vec::new();
    let mut boots = 0;
    let mut left = PROVOCATIONS;
    let mut in_vain = 0;
    // One boot that gets nowhere may be the host's fault.
    while !left.is_empty() && in_vain < 2 {
        boots += 1;
        let directory = record.begin_self_test(&arm.name, boots)?;
        let tried = boot(bench, arm, image, &directory, left, &mut findings).await?;
        in_vain = if tried == 0 { in_vain + 1 } else { 0 };
        left = &left[tried..];
    }
    let unseen = unseen(&findings);
    let result = SelfTest {
        boots,
        unseen: unseen.clone(),
        seconds: began.elapsed().as_secs(),
    };
    record.end_self_test(&arm.name, &result)?;
    let told = if unseen.is_empty() {
        Event::Note(format!("{} reports what its self-test provokes", arm.name))
    } else {
        let names: Vec<&str> = unseen.iter().map(|class| class.name()).collect();
        Event::Warning(format!(
            "{} did not report what its self-test provoked: {}",
            arm.name,
            names.join(", ")
        ))
    };
    bench.context.emit(told);
    Ok(unseen)
}

/// Boots once and provokes one after the other until the machine ends; how many
/// it came to.
async fn boot(
    bench: &Bench<'_>,
    arm: &Arm,
    image: &KernelImage,
    directory: &Path,
    provocations: &[(Class, &str)],
    findings: &mut Vec<Finding>,
) -> Result<usize, Error> {
    let scratch = Scratch::new()?;
    let command_line = format!("{COMMAND_LINE} {}", arm.command_line);
    let boot = Boot {
        hardware: &bench.plan.hardware,
        accelerator: bench.accelerator,
        kernel: &image.bzimage,
        initramfs: Some(bench.initramfs),
        command_line: command_line.trim_end(),
        directory: scratch.path().to_owned(),
    };
    let journal = Journal::create(directory, Instant::now())?;
    let (machine, channels) = match Machine::start(boot, bench.namespace).await {
        Ok(started) => started,
        Err(error) => {
            let text = Error::from(error).one_line();
            bench
                .context
                .emit(Event::Warning(format!("self-test of {}: {text}", arm.name)));
            return Ok(0);
        }
    };
    let command = directory.join("command.txt");
    std::fs::write(&command, format!("{}\n", machine.command))
        .map_err(io_error("write", &command))?;
    let mut subject = Subject {
        machine,
        console: channels.console,
        console_open: true,
        link: Link::open(channels.agent),
        link_open: true,
        scanner: Scanner::new(),
        journal,
        findings,
        slowdown: bench.accelerator.slowdown(),
    };
    let tried = subject.provoke_all(provocations).await;
    subject.machine.kill().await;
    subject.findings.extend(subject.scanner.finish());
    tried
}

/// The machine under test.
struct Subject<'a> {
    machine: Machine,
    console: OwnedReadHalf,
    console_open: bool,
    link: Link,
    link_open: bool,
    scanner: Scanner,
    journal: Journal,
    findings: &'a mut Vec<Finding>,
    slowdown: u32,
}

/// Why waiting ended.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// For what was waited for.
    Come,
    /// The machine is gone and everything it said was read.
    Ended,
    /// It took too long.
    Late,
}

impl Subject<'_> {
    async fn provoke_all(&mut self, provocations: &[(Class, &str)]) -> Result<usize, Error> {
        let ready = |message: &GuestMessage| matches!(message, GuestMessage::Ready(_));
        if self.message(BOOT_DEADLINE, ready).await? != Waited::Come {
            return Ok(0);
        }
        let welcome = Welcome {
            hostname: "self-test".to_owned(),
            seed: 0,
            file_system: None,
        };
        let greeted = |message: &GuestMessage| *message == GuestMessage::Greeted;
        if self.link.hello(&welcome).await.is_err()
            || self.message(PATIENCE, greeted).await? != Waited::Come
        {
            return Ok(0);
        }
        let mut step = 0;
        for (name, value) in HASTE {
            let set = GuestStep::Sysctl([((*name).to_owned(), (*value).to_owned())].into());
            let done = |message: &GuestMessage| matches!(message, GuestMessage::Finished { step: ended, .. } if *ended == step);
            // A kernel without this parameter shows it by what it does not say.
            if self.link.start(step, &set).await.is_err()
                || self.message(PATIENCE, done).await? != Waited::Come
            {
                return Ok(0);
            }
            step += 1;
        }
        let mut tried = 0;
        for (class, name) in provocations {
            self.journal.entry(&json!({"provoke": name}))?;
            let provoke = GuestStep::Lkdtm {
                provoke: (*name).to_owned(),
            };
            if self.link.start(step, &provoke).await.is_err() {
                break;
            }
            step += 1;
            tried += 1;
            if self.sighting(*class).await? == Waited::Ended {
                break;
            }
        }
        Ok(tried)
    }

    /// Waits for a message of the agent.
    async fn message(
        &mut self,
        within: Duration,
        wanted: impl Fn(&GuestMessage) -> bool,
    ) -> Result<Waited, Error> {
        let deadline = tokio::time::Instant::now() + within * self.slowdown;
        self.wait(deadline, |_, message| message.is_some_and(&wanted))
            .await
    }

    /// Waits until the kernel has reported what was provoked.
    async fn sighting(&mut self, class: Class) -> Result<Waited, Error> {
        let deadline = tokio::time::Instant::now() + PATIENCE * self.slowdown;
        self.wait(deadline, |findings, _| {
            findings.iter().any(|finding| shows(finding, class))
        })
        .await
    }

    async fn wait(
        &mut self,
        deadline: tokio::time::Instant,
        come: impl Fn(&[Finding], Option<&GuestMessage>) -> bool,
    ) -> Result<Waited, Error> {
        let mut buffer = vec![0; 64 << 10];
        let mut ended = false;
        loop {
            let silence = tokio::time::Instant::now() + SILENCE * self.slowdown;
            let mut said = None;
            tokio::select! {
                biased;
                read = self.console.read(&mut buffer), if self.console_open => {
                    // An error here is QEMU going away.
                    let bytes = &buffer[..read.unwrap_or(0)];
                    self.journal.console(bytes)?;
                    self.console_open =
                        !bytes.is_empty() && self.journal.console_length() < CONSOLE_LIMIT;
                    let sightings = self.scanner.push(bytes);
                    self.sighted(sightings);
                }
                message = self.link.next(), if self.link_open => match message {
                    Ok(message) => {
                        self.journal.entry(&json!({"guest": message}))?;
                        said = Some(message);
                    }
                    // The machine's end follows.
                    Err(_) => self.link_open = false,
                },
                () = self.machine.ended(), if !ended => ended = true,
                () = tokio::time::sleep_until(silence), if self.scanner.is_open() => {
                    let sightings = self.scanner.settle();
                    self.sighted(sightings);
                }
                () = tokio::time::sleep_until(deadline) => return Ok(Waited::Late),
            }
            // The console is read to its end first: it holds the last words.
            if ended && !self.console_open {
                return Ok(Waited::Ended);
            }
            if come(self.findings, said.as_ref()) {
                return Ok(Waited::Come);
            }
        }
    }

    fn sighted(&mut self, sightings: Vec<Sighting>) {
        for sighting in sightings {
            if let Sighting::Complete(finding) = sighting {
                self.findings.push(*finding);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::scan;

    fn warning(function: &str) -> Vec<Finding> {
        scan(
            format!(
                "[    1.000000] ------------[ cut here ]------------\n\
                 [    1.000001] WARNING: CPU: 0 PID: 1 at drivers/x.c:1 {function}+0x5/0x10\n\
                 [    1.000002] RIP: 0010:{function}+0x5/0x10\n\
                 [    1.000003] Call Trace:\n\
                 [    1.000004]  direct_entry+0x5/0x10\n\
                 [    1.000005] ---[ end trace 0000000000000000 ]---\n"
            )
            .as_bytes(),
        )
    }

    #[test]
    fn only_what_was_provoked_counts_as_seen() {
        assert_eq!(
            unseen(&[]),
            [Class::Warning, Class::HungTask, Class::KernelBug]
        );
        assert_eq!(
            unseen(&warning("lkdtm_WARNING")),
            [Class::HungTask, Class::KernelBug]
        );
        for other in ["mount_root", "lkdtm_WARNING_MESSAGE", "lkdtm_do_action"] {
            assert_eq!(unseen(&warning(other)).len(), 3, "{other}");
        }
    }
}
