//! Knows a hang as soon as tasks wait for each other in a circle, long before a
//! timeout. A step that takes longer than it usually does has the kernel print
//! its blocked tasks; a circle that is still there at a second look stays for
//! ever. The kernel's own detector of hung tasks, if it is on, is then made to
//! report at once what it would have reported in the end: the finding is the
//! kernel's, as without this.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Request;
use crate::detect::circle;
use crate::guest::protocol::Ready;
use crate::step::{GuestStep, KernelStep};
use crate::workload::{Action, Step};

/// Between the first look at a circle and the second.
const AGAIN: Duration = Duration::from_millis(500);

/// What the detector of hung tasks is told, each by a step of its own: not every
/// kernel has both.
const HASTE: [&str; 2] = [
    "kernel.hung_task_check_interval_secs",
    "kernel.hung_task_timeout_secs",
];

/// Steps of this module's have the highest numbers.
pub(super) const NUMBERS: [u32; 2] = [u32::MAX - 1, u32::MAX];

/// What a look leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing that lasts, or not yet.
    Nothing,
    /// These tasks wait for each other for ever.
    Circle(Vec<String>),
}

/// Watches one step.
#[derive(Debug)]
pub(super) struct Watch {
    /// When the kernel is asked next; never, if nothing is to be watched.
    at: Option<Instant>,
    /// How long the last wait for a look was.
    wait: Duration,
    /// What the last look showed.
    suspects: Vec<String>,
}

impl Watch {
    /// Watches nothing.
    pub(super) fn none() -> Self {
        Self {
            at: None,
            wait: Duration::ZERO,
            suspects: Vec::new(),
        }
    }

    /// Watches a step that begins now and should be through after `patience`.
    pub(super) fn of(patience: Duration) -> Self {
        Self {
            at: Some(Instant::now() + patience),
            wait: patience,
            suspects: Vec::new(),
        }
    }

    /// When the kernel is to be asked.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// It is asked now; the answer takes its time.
    pub(super) fn asked(&mut self) {
        self.at = None;
    }

    /// What it said of blocked tasks.
    pub(super) fn answered(&mut self, said: &[u8]) -> Seen {
        if self.wait.is_zero() {
            // Of a step that is over.
            return Seen::Nothing;
        }
        let found = circle(said);
        if !found.is_empty() && found == self.suspects {
            return Seen::Circle(found);
        }
        // Ever longer, so that a step that is merely slow is not made slower.
        let wait = if found.is_empty() {
            self.wait *= 2;
            self.wait
        } else {
            AGAIN
        };
        self.suspects = found;
        self.at = Some(Instant::now() + wait);
        Seen::Nothing
    }
}

/// Whether a step should be through in a moment. One that runs for as long as it
/// was asked to is never out of the ordinary; and while a workload stops daemons,
/// tasks wait for these.
pub(super) fn is_brief(request: &Request, step: &Step) -> bool {
    let guest = match &step.action {
        Action::Guest(guest) => guest,
        Action::Host(_) | Action::Wait(_) => return false,
    };
    let lasts = matches!(
        guest,
        GuestStep::Series(_) | GuestStep::Storm(_) | GuestStep::Program(_) | GuestStep::Fault(_)
    );
    !lasts && !step.background && !request.workload.disturbs_others()
}

/// The steps that make the kernel report hung tasks at once; none if it does not
/// report any.
pub(super) fn haste(request: &Request, ready: Option<&Ready>) -> Vec<GuestStep> {
    let has = |name: &str| {
        let set = request.workload.sysctls.get(name);
        set.or_else(|| ready?.sysctls.get(name))
            .is_some_and(|value| value != "0")
    };
    if !has(HASTE[1]) {
        return Vec::new();
    }
    let set = |name: &str| {
        let one = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
        KernelStep::Sysctl(one).into()
    };
    HASTE.map(set).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIRCLE: &[u8] = b"sysrq: Show Blocked State\n\
        task:kworker/u9:2 state:D stack:0 pid:41 tgid:41 ppid:2 flags:0x4000\n\
        Call Trace:\n <TASK>\n schedule+0x27/0xf0\n inode_wait_for_writeback+0x3c/0x120\n \
        evict+0x3c/0x120\n __writeback_single_inode+0x3c/0x120\n \
        writeback_sb_inodes+0x3c/0x120\n wb_workfn+0x3c/0x120\n </TASK>\n";

    #[tokio::test(start_paused = true)]
    async fn only_a_circle_that_is_there_twice_is_one() {
        let mut watch = Watch::of(Duration::from_secs(1));
        assert_eq!(watch.answered(b""), Seen::Nothing);
        assert_eq!(watch.at(), Some(Instant::now() + Duration::from_secs(2)));
        assert_eq!(watch.answered(CIRCLE), Seen::Nothing);
        assert_eq!(watch.at(), Some(Instant::now() + AGAIN));
        assert_eq!(watch.answered(b""), Seen::Nothing);
        assert_eq!(watch.answered(CIRCLE), Seen::Nothing);
        let found = Seen::Circle(vec!["kworker/u9:2:41".to_owned()]);
        assert_eq!(watch.answered(CIRCLE), found);
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_nothing_asks_nothing() {
        let mut watch = Watch::none();
        for said in [b"", CIRCLE, CIRCLE] {
            assert_eq!(watch.answered(said), Seen::Nothing);
            assert_eq!(watch.at(), None);
        }
    }
}
