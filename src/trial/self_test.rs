//! The self-test of an arm: before its first trial a guest of its own provokes
//! a warning, a hung task and a BUG through LKDTM. What this kernel does not
//! report, or kvet does not see, makes the arm's trials `unarmed`: their silence
//! would mean nothing.
//!
//! The BUG ends the machine and therefore comes last. A kernel that does not
//! survive one of the others either (`panic_on_warn`, `hung_task_panic`) is
//! booted again for the rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::detect::{Class, Finding};
use crate::error::{Error, Exit};
use crate::event::Event;
use crate::guest::protocol::Welcome;
use crate::record::{Entry, Journal, SelfTest, begin_self_test, end_self_test};
use crate::step::{FaultStep, KernelStep};
use crate::testbed::{BOOT_DEADLINE, Guest, Happening, Start, Testbed};
use crate::vm::{Debugging, Hardware};

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
const SEEN_WITHIN: Duration = Duration::from_secs(8);

/// What of all that is provoked these findings do not show. Only LKDTM's own
/// failures count: a warning of the boot shows nothing about those to come, and
/// the machine that hangs for another reason is not the proof that is wanted.
#[must_use]
pub fn unseen(findings: &[Finding]) -> Vec<Class> {
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

/// A self-test that is to be done, as a value: here, in another process or on
/// another host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SelfTestRequest {
    /// The arm, for messages.
    pub arm: String,
    /// The bzImage.
    pub kernel: PathBuf,
    /// CPUs and memory.
    pub hardware: Hardware,
    /// Words added to the kernel's command line.
    pub words: String,
}

/// Tests an arm's kernel and records in `directory` what it did not show. An
/// error means that kvet itself could not go on.
pub async fn self_test(
    context: &Context,
    testbed: &Testbed,
    request: &SelfTestRequest,
    directory: &Path,
) -> Result<SelfTest, Error> {
    let began = Instant::now();
    let mut findings = Vec::new();
    let mut boots = 0;
    let mut first = None;
    let mut left = PROVOCATIONS;
    let mut in_vain = 0;
    let mut not_done = None;
    // One boot that gets nowhere may be the host's fault.
    while !left.is_empty() && not_done.is_none() {
        boots += 1;
        let (number, files) = begin_self_test(directory)?;
        first.get_or_insert(number);
        match boot(context, testbed, request, &files, left, &mut findings).await? {
            Ok(tried) => {
                in_vain = 0;
                left = &left[tried..];
            }
            Err(why) => {
                in_vain += 1;
                not_done = (in_vain == 2).then_some(why);
            }
        }
    }
    let result = SelfTest {
        boots,
        first: first.unwrap_or(1),
        unseen: unseen(&findings),
        not_done,
        seconds: began.elapsed().as_secs(),
    };
    end_self_test(directory, &result)?;
    Ok(result)
}

/// Boots once and provokes one after the other until the machine ends; how many it
/// came to, or why to none.
async fn boot(
    context: &Context,
    testbed: &Testbed,
    request: &SelfTestRequest,
    directory: &Path,
    provocations: &[(Class, &str)],
    findings: &mut Vec<Finding>,
) -> Result<Result<usize, String>, Error> {
    let welcome = Welcome {
        hostname: "self-test".to_owned(),
        seed: 0,
        file_system: None,
        heartbeat: None,
    };
    let start = Start::Boot {
        kernel: &request.kernel,
        hardware: &request.hardware,
        words: &request.words,
        disks: &[],
        debugging: Debugging::default(),
    };
    let journal = Journal::create(directory)?;
    let started = testbed.start(start, async { Ok(welcome) }, journal, &[], None);
    let guest = match started.await {
        Ok(guest) => guest,
        Err(error) if error.exit() == Exit::Interrupted => return Err(error),
        Err(error) => {
            let why = error.one_line();
            let text = format!("self-test of {}: {why}", request.arm);
            context.emit(Event::Warning(text));
            return Ok(Err(why));
        }
    };
    let mut subject = Subject { guest, findings };
    let tried = subject.provoke_all(provocations).await;
    subject.guest.kill().await;
    subject.findings.extend(subject.guest.last_findings());
    tried
}

/// The guest under test.
struct Subject<'a> {
    guest: Guest<'a>,
    findings: &'a mut Vec<Finding>,
}

/// Why waiting ended.
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    /// What was waited for happened.
    Over,
    /// The guest is gone, or cannot be talked to.
    Lost,
    /// It took too long.
    Late,
}

impl Wait {
    /// Why nothing is provoked, if what was waited for did not happen.
    fn in_vain(&self, what: &str) -> Option<String> {
        match self {
            Self::Over => None,
            Self::Lost => Some(format!("its guest was lost before {what}")),
            Self::Late => Some(format!("it took too long until {what}")),
        }
    }
}

/// What is waited for.
#[derive(Clone, Copy)]
enum Until {
    Greeted,
    Step(u32),
    Shown(Class),
}

impl Subject<'_> {
    async fn provoke_all(
        &mut self,
        provocations: &[(Class, &str)],
    ) -> Result<Result<usize, String>, Error> {
        let greeted = self.wait(BOOT_DEADLINE, Until::Greeted).await?;
        if let Some(why) = greeted.in_vain("its agent was up") {
            return Ok(Err(why));
        }
        let mut step = 0;
        for (name, value) in HASTE {
            let set = KernelStep::Sysctl([((*name).to_owned(), (*value).to_owned())].into()).into();
            self.guest.start(step, &set).await;
            // A kernel without this parameter shows it by what it does not say.
            let set = self.wait(SEEN_WITHIN, Until::Step(step)).await?;
            if let Some(why) = set.in_vain(&format!("{name} was set")) {
                return Ok(Err(why));
            }
            step += 1;
        }
        let mut tried = 0;
        for (class, name) in provocations {
            let name = (*name).to_owned();
            let entry = Entry::Provoke { name: name.clone() };
            self.guest.journal.entry(entry)?;
            let provoke = FaultStep::Lkdtm { provoke: name }.into();
            self.guest.start(step, &provoke).await;
            step += 1;
            tried += 1;
            if self.wait(SEEN_WITHIN, Until::Shown(*class)).await? == Wait::Lost {
                break;
            }
        }
        Ok(Ok(tried))
    }

    async fn wait(&mut self, within: Duration, until: Until) -> Result<Wait, Error> {
        let deadline = self.guest.within(within);
        loop {
            let happening = self.guest.next(deadline, std::future::pending::<()>());
            match (happening.await?, until) {
                (Happening::Finding(finding), until) => {
                    let over = matches!(until, Until::Shown(class) if shows(&finding, class));
                    self.findings.push(*finding);
                    if over {
                        return Ok(Wait::Over);
                    }
                }
                (Happening::Greeted, Until::Greeted) => return Ok(Wait::Over),
                (Happening::Finished { step, .. }, Until::Step(awaited)) if step == awaited => {
                    return Ok(Wait::Over);
                }
                (Happening::Ended(_) | Happening::Broken(_) | Happening::ServiceLost(_), _) => {
                    return Ok(Wait::Lost);
                }
                (Happening::Deadline, _) => return Ok(Wait::Late),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::scan;
    use crate::testbed::scripted;

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

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_never_came_up_says_why_and_nothing_of_its_kernel() {
        for (gone, expected) in [
            (false, "it took too long until its agent was up"),
            (true, "its guest was lost before its agent was up"),
        ] {
            let journal = Journal::nowhere();
            let (guest, mut script) = scripted::guest(journal, std::future::pending()).await;
            let mut findings = Vec::new();
            let mut subject = Subject {
                guest,
                findings: &mut findings,
            };
            if gone {
                tokio::time::resume();
                script.end("guest-reset").await;
            }
            let provoked = subject.provoke_all(PROVOCATIONS).await.unwrap();
            let why = provoked.unwrap_err();
            assert!(why.starts_with(expected), "{why}");
        }
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
